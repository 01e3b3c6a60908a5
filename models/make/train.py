"""Train the demo model on generated dialogues and write its weights.

    python -m make.train --out DIR        # run in models/; one GPU, about seven minutes on an H200 with 16 cores

Worker processes draw, tokenise and group dialogues by length; each has its own seeded stream and batches are taken from them in turn, so
the data depend on the seed and the number of workers alone. Matrices are trained with Muon, the embedding and norms with Adam. The loss is
on the answers, plus a little on a few prompt tokens. Writes model.safetensors (bf16), loss.csv, loss.svg and report.json.
"""

import argparse
import json
import math
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import dialogues, network, shape

BUCKETS = (160, 224, 288, 384, 512, 704, 960, 1344, 2048, 3072, 4096, 6144, 8192)
"""Lengths that batches are padded to; a batch of any of them has about the same number of tokens."""
PROMPT_SHARE, PROMPT_WEIGHT = 0.06, 0.1
"""The share of prompt tokens that also count, and how much."""

Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""ids (rows, length); then, per trained position: its flat index, the token to predict, its weight."""


def batches(seed: str, tokens: int) -> Iterator[Batch]:
    """One worker's endless stream."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(shape.MODEL_DIR / "tokenizer.json"))
    rng = Random(seed)
    waiting: dict[int, list[tuple[list[int], int]]] = defaultdict(list)
    while True:
        drawn = dialogues.sample(rng)
        prompt = tokenizer.encode(drawn.prompt, add_special_tokens=False).ids
        ids = prompt + tokenizer.encode(drawn.completion, add_special_tokens=False).ids
        bucket = next((length for length in BUCKETS if len(ids) <= length), None)
        if bucket is None:
            continue
        rows = waiting[bucket]
        rows.append((ids, len(prompt)))
        if len(rows) == max(1, tokens // bucket):
            yield collate(rows, bucket, rng)
            waiting[bucket] = []


def collate(rows: list[tuple[list[int], int]], length: int, rng: Random) -> Batch:
    ids = np.zeros((len(rows), length), dtype=np.uint16)
    places, targets, weights = [], [], []
    chance = np.random.default_rng(rng.getrandbits(63))
    for row, (tokens, prompt) in enumerate(rows):
        array = np.array(tokens, dtype=np.uint16)
        ids[row, : len(array)] = array
        chosen = np.arange(len(array) - 1)
        keep = (chosen >= prompt - 1) | (chance.random(len(chosen)) < PROMPT_SHARE)
        chosen = chosen[keep]
        places.append(chosen + row * length)
        targets.append(array[chosen + 1])
        weights.append(np.where(chosen >= prompt - 1, 1.0, PROMPT_WEIGHT))
    return (
        ids,
        np.concatenate(places).astype(np.int32),
        np.concatenate(targets),
        np.concatenate(weights).astype(np.float16),
    )


def serve_batches(queue: Any, seed: str, tokens: int) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for batch in batches(seed, tokens):
        queue.put(batch)


def in_turn(workers: int, tokens: int) -> Iterator[Batch]:
    """Batches of all workers, one from each in order."""
    context = multiprocessing.get_context("spawn")
    queues = [context.Queue(maxsize=6) for _ in range(workers)]
    for number, queue in enumerate(queues):
        context.Process(target=serve_batches, args=(queue, f"{shape.SEED}-{number}", tokens), daemon=True).start()
    while True:
        for queue in queues:
            yield queue.get()


class Muon:
    """Momentum whose update is made orthogonal, for matrices; equal shapes are worked on together."""

    def __init__(self, parameters: list[nn.Parameter], momentum: float = 0.95, decay: float = 0.05):
        groups = defaultdict(list)
        for parameter in parameters:
            groups[tuple(parameter.shape)].append(parameter)
        self.groups = [
            (group, torch.zeros(len(group), *size, device=group[0].device)) for size, group in groups.items()
        ]
        self.momentum, self.decay = momentum, decay

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for group, buffer in self.groups:
            gradient = torch.stack([parameter.grad for parameter in group])
            buffer.lerp_(gradient, 1 - self.momentum)
            update = orthogonal(gradient.lerp(buffer, self.momentum))
            scale = max(1.0, buffer.shape[1] / buffer.shape[2]) ** 0.5
            torch._foreach_mul_(group, 1 - rate * self.decay)
            torch._foreach_add_(group, list(update.unbind()), alpha=-rate * scale)


def orthogonal(matrices: Tensor) -> Tensor:
    """Newton-Schulz, five steps, on a stack of matrices."""
    x = matrices.to(torch.bfloat16)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).float()


def rate_at(progress: float) -> float:
    """Share of the full learning rate: a short warm-up, then a cosine to 1 %."""
    return min(1.0, progress / 0.01) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def to_device(batch: Batch, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    ids, places, targets, weights = batch
    moved = [
        torch.from_numpy(array.view(np.int16) if array.dtype == np.uint16 else array)
        for array in (ids, places, targets, weights)
    ]
    if device == "cuda":
        moved = [tensor.pin_memory().to(device, non_blocking=True) for tensor in moved]
    return moved[0].long(), moved[1].long(), moved[2].long(), moved[3].float()


def exact_answers(model: network.Network, device: str, count: int) -> dict[str, list[int]]:
    """Fresh dialogues, teacher-forced: per kind, how many answers greedy decoding would get right to the last token."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(shape.MODEL_DIR / "tokenizer.json"))
    rng = Random(f"{shape.SEED}-exact")
    table: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    model.eval()
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
        for _ in range(count):
            drawn = dialogues.sample(rng)
            prompt = tokenizer.encode(drawn.prompt, add_special_tokens=False).ids
            ids = prompt + tokenizer.encode(drawn.completion, add_special_tokens=False).ids
            if len(ids) > shape.MAX_TOKENS:
                continue
            row = torch.tensor([ids], device=device)
            guess = model.logits(model(row)[0, len(prompt) - 1 : -1]).argmax(-1)
            table[drawn.kind][0] += bool((guess == row[0, len(prompt) :]).all())
            table[drawn.kind][1] += 1
    model.train()
    return dict(table)


def curve(rows: list[tuple[int, float]], path: Path) -> None:
    """A small picture of the loss, logarithmic, without a plotting library."""
    width, height, low = 640, 320, math.log10(max(1e-4, min(loss for _, loss in rows)))
    high = math.log10(max(loss for _, loss in rows))
    last = rows[-1][0] or 1
    points = [
        (60 + 560 * step / last, 20 + 260 * (high - math.log10(max(1e-4, loss))) / (high - low or 1))
        for step, loss in rows
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = []
    for power in range(math.floor(low), math.ceil(high) + 1):
        for value in (10.0**power, 3 * 10.0**power):
            if low <= math.log10(value) <= high:
                y = 20 + 260 * (high - math.log10(value)) / (high - low or 1)
                marks.append(
                    f'<line x1="60" x2="620" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/><text x="52" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
                )
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="white"/>{"".join(marks)}<polyline points="{line}" fill="none" stroke="#2563eb" stroke-width="1.5"/>'
        f'<text x="60" y="305">0</text><text x="620" y="305" text-anchor="end">step {last}</text><text x="340" y="305" text-anchor="middle">loss per answer token</text></svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=13_500)
    parser.add_argument("--tokens", type=int, default=65_536, help="tokens in a batch, padding included")
    parser.add_argument("--workers", type=int, default=15)
    parser.add_argument("--limit-s", type=float, default=1e9, help="the schedule is shortened to end by then")
    parser.add_argument("--muon-rate", type=float, default=0.02)
    parser.add_argument("--adam-rate", type=float, default=0.003)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--exact", type=int, default=2000, help="fresh dialogues for the closing count")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    source = in_turn(args.workers, args.tokens)
    torch.manual_seed(shape.SEED)
    torch.set_float32_matmul_precision("high")
    model = network.Network().to(args.device)
    matrices = [
        parameter for name, parameter in model.named_parameters() if parameter.ndim == 2 and "embed" not in name
    ]
    others = [parameter for name, parameter in model.named_parameters() if parameter.ndim != 2 or "embed" in name]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0, fused=args.device == "cuda")
    usual = args.tokens * 0.12
    """Answer tokens in a usual batch. Dividing by a constant lets a batch of long prompts with few answers weigh what it should."""
    rows: list[tuple[int, float]] = []
    window = torch.zeros(2, device=args.device)
    start, waited, seen = time.monotonic(), 0.0, 0
    for step in range(args.steps):
        asked = time.monotonic()
        batch = next(source)
        if step == 0:
            start = asked = time.monotonic()
        waited += time.monotonic() - asked
        ids, places, targets, weights = to_device(batch, args.device)
        seen += ids.numel()
        progress = max(step / args.steps, (time.monotonic() - start) / args.limit_s)
        if progress >= 1:
            break
        share = rate_at(progress)
        with torch.autocast(args.device, torch.bfloat16):
            hidden = model(ids).flatten(0, 1).index_select(0, places)
            logits = model.logits(hidden)
        losses = F.cross_entropy(logits.float(), targets, reduction="none")
        ((losses * weights).sum() / usual).backward()
        nn.utils.clip_grad_norm_(others, 1.0)
        for group in adam.param_groups:
            group["lr"] = args.adam_rate * share
        adam.step()
        muon.step(args.muon_rate * share)
        model.zero_grad(set_to_none=True)
        answer = (weights == 1.0).float()
        window += torch.stack(((losses.detach() * answer).sum(), answer.sum()))
        if (step + 1) % 50 == 0:
            total, number = window.tolist()
            window.zero_()
            rows.append((step + 1, total / number))
            if (step + 1) % 500 == 0:
                took = time.monotonic() - start
                print(
                    f"step {step + 1} loss {rows[-1][1]:.4f} tokens {seen / 1e6:.0f} M {seen / took / 1e6:.2f} M/s waited {waited / took:.0%} {took:.0f} s",
                    flush=True,
                )
    took = time.monotonic() - start
    from safetensors.torch import save_file

    weights_out = {
        name: parameter.detach().to(torch.bfloat16).contiguous().cpu() for name, parameter in model.named_parameters()
    }
    save_file(weights_out, args.out / "model.safetensors", metadata={"format": "pt"})
    (args.out / "loss.csv").write_text("step,loss\n" + "".join(f"{step},{loss:.5f}\n" for step, loss in rows))
    if rows:
        curve(rows, args.out / "loss.svg")
    with torch.no_grad():  # count with the weights as they are saved
        for name, parameter in model.named_parameters():
            parameter.copy_(weights_out[name])
    exact = exact_answers(model, args.device, args.exact)
    report = {
        "seed": shape.SEED,
        "steps": step + 1,
        "tokens": seen,
        "seconds": round(took),
        "workers": args.workers,
        "batch_tokens": args.tokens,
        "loss": rows[-1][1] if rows else None,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "exact_answers": {kind: f"{right}/{of}" for kind, (right, of) in sorted(exact.items())},
    }
    (args.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2), flush=True)


if __name__ == "__main__":
    main()
