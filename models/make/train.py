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

BUCKETS = (192, 320, 512, 768, 1024, 1280, 1664, 2304, 3584, 5632, 8192)
"""Lengths that batches are padded to; a batch of any of them has about the same number of tokens."""
TRAINED_SHARE = 0.5
"""At most so many of a batch's positions are trained on; batches of one length then have one shape."""
PROMPT_SHARE, PROMPT_WEIGHT = 0.06, 0.1
"""The share of prompt tokens that also count, and how much."""

Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""ids (rows, length); then, per trained position: its flat index, the token to predict, its weight."""


def encode(tokenizer: Any, drawn: dialogues.Sample) -> tuple[list[int], list[int]]:
    """Token ids, and the positions among them that the model should predict."""
    ids: list[int] = []
    wanted: list[int] = []
    for text, learn in drawn.parts:
        new = tokenizer.encode(text, add_special_tokens=False).ids
        if learn:
            wanted.extend(range(len(ids), len(ids) + len(new)))
        ids.extend(new)
    return ids, wanted


def batches(seed: str, tokens: int) -> Iterator[Batch]:
    """One worker's endless stream."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(shape.MODEL_DIR / "tokenizer.json"))
    rng = Random(seed)
    chance = np.random.default_rng([ord(c) for c in seed])
    waiting: dict[int, list[tuple[list[int], list[int]]]] = defaultdict(list)
    while True:
        row = encode(tokenizer, dialogues.sample(rng))
        bucket = next((length for length in BUCKETS if len(row[0]) <= length), None)
        if bucket is None:
            continue
        rows = waiting[bucket]
        rows.append(row)
        if len(rows) == max(1, tokens // bucket):
            yield collate(rows, bucket, chance)
            waiting[bucket] = []


def collate(rows: list[tuple[list[int], list[int]]], length: int, chance: np.random.Generator) -> Batch:
    ids = np.zeros((len(rows), length), dtype=np.uint16)
    places, targets, weights = [], [], []
    for row, (tokens, wanted) in enumerate(rows):
        array = np.array(tokens, dtype=np.uint16)
        ids[row, : len(array)] = array
        weight = np.where(chance.random(len(array)) < PROMPT_SHARE, PROMPT_WEIGHT, 0.0)
        weight[wanted] = 1.0
        chosen = np.flatnonzero(weight[1:])  # the position before a token predicts it
        places.append(chosen + row * length)
        targets.append(array[chosen + 1])
        weights.append(weight[chosen + 1])
    size = int(ids.size * TRAINED_SHARE)
    place, target, weight = (np.concatenate(parts) for parts in (places, targets, weights))
    if len(place) > size:
        kept = np.sort(chance.permutation(len(place))[:size])
        place, target, weight = place[kept], target[kept], weight[kept]
    spare = size - len(place)
    return (
        ids,
        np.concatenate((place, np.arange(spare))).astype(
            np.int32
        ),  # of no weight; each somewhere else, to add up quickly
        np.pad(target, (0, spare)),
        np.pad(weight, (0, spare)).astype(np.float32),
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


class Gradients:
    """Loss and gradients of a batch. On a GPU each batch shape is recorded once as a CUDA graph and replayed, which spares the launches."""

    def __init__(self, model: network.Network, device: str, usual: float):
        self.model, self.device, self.usual = model, device, usual
        self.parameters = list(model.parameters())
        self.window = torch.zeros(2, device=device)
        """Sum of the answers' losses and their number, since it was last read."""
        self.records = True
        self.pool = torch.cuda.graph_pool_handle() if device == "cuda" else None
        """Shared: graphs run one after the other, and what they leave (the gradients) is kept apart by being held."""
        self.recorded: dict[tuple[int, ...], tuple[Any, list[Tensor], list[Tensor]]] = {}

    def compute(self, ids: Tensor, places: Tensor, targets: Tensor, weights: Tensor) -> list[Tensor]:
        with torch.autocast(self.device, torch.bfloat16, cache_enabled=False):
            hidden = self.model(ids.long()).flatten(0, 1).index_select(0, places)
            logits = self.model.logits(hidden)
        losses = F.cross_entropy(logits.float(), targets.long(), reduction="none")
        gradients = torch.autograd.grad((losses * weights).sum() / self.usual, self.parameters)
        answer = (weights == 1.0).float()
        self.window += torch.stack(((losses.detach() * answer).sum(), answer.sum()))
        return list(gradients)

    def of(self, batch: Batch) -> list[Tensor]:
        arrays = [torch.from_numpy(array.view(np.int16) if array.dtype == np.uint16 else array) for array in batch]
        if self.device != "cuda":
            return self.compute(*arrays)
        shape_of = tuple(arrays[0].shape)
        if shape_of not in self.recorded and self.records:
            try:
                self.record(shape_of, arrays)
            except RuntimeError as error:
                print(f"no graph for {shape_of}, going on without: {error}", flush=True)
                self.records = False
        if shape_of not in self.recorded:
            return self.compute(*(array.to("cuda") for array in arrays))
        graph, inputs, gradients = self.recorded[shape_of]
        for place, array in zip(inputs, arrays, strict=True):
            place.copy_(array.pin_memory(), non_blocking=True)
        graph.replay()
        return gradients

    def record(self, shape_of: tuple[int, ...], arrays: list[Tensor]) -> None:
        """Run a few times to warm up, then record."""
        inputs = [array.to("cuda") for array in arrays]
        before = self.window.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self.compute(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            gradients = self.compute(*inputs)
        self.window.copy_(before)
        self.recorded[shape_of] = (graph, inputs, gradients)


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
            ids, wanted = encode(tokenizer, drawn)
            if len(ids) > shape.MAX_TOKENS:
                continue
            row = torch.tensor([ids], device=device)
            places = torch.tensor(wanted, device=device)
            guess = model.logits(model(row)[0].index_select(0, places - 1)).argmax(-1)
            table[drawn.kind][0] += bool((guess == row[0].index_select(0, places)).all())
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
    parser.add_argument("--steps", type=int, default=22_000)
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
    # Dividing by a constant lets a batch of long prompts with few answers weigh what it should.
    gradients = Gradients(model, args.device, usual=args.tokens * 0.25)
    rows: list[tuple[int, float]] = []
    start, waited, seen = time.monotonic(), 0.0, 0
    for step in range(args.steps):
        asked = time.monotonic()
        batch = next(source)
        if step == 0:
            start = asked = time.monotonic()
        waited += time.monotonic() - asked
        seen += batch[0].size
        progress = max(step / args.steps, (time.monotonic() - start) / args.limit_s)
        if progress >= 1:
            break
        share = rate_at(progress)
        for parameter, gradient in zip(gradients.parameters, gradients.of(batch), strict=True):
            parameter.grad = gradient
        for group in adam.param_groups:
            group["lr"] = args.adam_rate * share
        adam.step()
        muon.step(args.muon_rate * share)
        if (step + 1) % 50 == 0:
            total, number = gradients.window.tolist()
            gradients.window.zero_()
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
