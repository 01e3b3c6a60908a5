"""Our KV routing and NVIDIA Dynamo's, ten minutes of a trace: `python -m bench.routing_peer TRACE`.

Both stacks serve eight simulated engines with the same cache and the same cost of a prompt token and a decode step, in
real time, one after the other, in turn. Trace and engines run on one compressed clock, and every length is divided, so
that two cores carry it: queues and caches behave as at full size. Prompts are token ids: no tokenizer is in the way.
Ends with one JSON line.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np

from bench.peer import peer_running, peer_venv
from bench.processes import Served, cpu_seconds
from bench.serving import GRAPH, ROOT, TANDEM, free_port
from tandem.simulate.report import pooled_hit_rate
from tandem.simulate.trace import TRACE_BLOCK_TOKENS, TraceRequest, read_trace

WORKERS = 8
BLOCK = 64
SHRINK = TRACE_BLOCK_TOKENS // BLOCK
"""A block of the trace becomes one block of the engines."""
CACHE_BLOCKS = 1_000_000 // TRACE_BLOCK_TOKENS
PREFILL_TOKENS_PER_S = 7000.0 / SHRINK
DECODE_STEP_S = 0.019
CONTEXT = 32_768


@dataclass(frozen=True, slots=True)
class Played:
    """What one stack did with the slice."""

    ttft_mean_s: float
    """Since the moment at which the request was due, in the trace's own seconds."""
    ttft_p50_s: float
    ttft_p99_s: float
    hit_rate: float
    """Share of prompt tokens that the engines reported as cached."""
    front_cpu_ms: float
    """CPU of the front end, router included, per request."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running service."""

    url: str
    model: str
    front_pid: int


def main(arguments: Sequence[str]) -> int:
    """Both, in turn; the figures last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--dynamo", default=os.environ.get("DYNAMO"), help="a virtual environment with the peer")
    parser.add_argument("--from-minute", type=float, default=20.0)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--speedup", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    begin = options.from_minute * 60
    requests = [r for r in read_trace(options.trace) if begin <= r.at_s < begin + options.minutes * 60]
    venv = peer_venv(options.dynamo, ROOT / ".run")
    print(json.dumps(compared(requests, begin, venv, speedup=options.speedup, repeats=options.repeats)))
    return 0


def compared(
    requests: Sequence[TraceRequest], begin_s: float, venv: Path, *, speedup: float = 10.0, repeats: int = 3
) -> dict[str, float]:
    """Ours over theirs, of medians; each run is printed."""
    pooled = pooled_hit_rate(requests, WORKERS * CACHE_BLOCKS)
    print(f"{len(requests)} requests; one cache as large as all would hit {pooled:.3f}")
    found: dict[str, list[Played]] = {"ours": [], "theirs": []}
    for number in range(repeats):
        for name in found:
            with tempfile.TemporaryDirectory(prefix="tb-") as made:
                folder = Path(made)
                with _ours(folder, speedup) if name == "ours" else _theirs(folder, venv, speedup) as stack:
                    found[name].append(asyncio.run(_play(stack, requests, begin_s, speedup, seed=number)))
            print(f"{name:7} {found[name][-1]}", flush=True)
    ours, theirs = (_medians(found[name]) for name in ("ours", "theirs"))
    return {
        "ttft_over_dynamo": round(ours["ttft_mean_s"] / theirs["ttft_mean_s"], 3),
        "hit_rate_over_dynamo": round(ours["hit_rate"] / theirs["hit_rate"], 3),
        "front_cpu_over_dynamo": round(ours["front_cpu_ms"] / theirs["front_cpu_ms"], 3),
    }


def _medians(played: Sequence[Played]) -> dict[str, float]:
    return {name: statistics.median(getattr(each, name) for each in played) for name in Played.__slots__}


# ── the load ─────────────────────────────────────────────────────────────────────────────────────


async def _play(stack: Stack, requests: Sequence[TraceRequest], begin: float, speedup: float, seed: int) -> Played:
    """Send each request when it is due, whatever became of those before it."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=600)) as session:
        for number in range(20):  # connections, code paths
            await _ask(session, stack, [300 + number] * 20, 2)
        cpu, origin = cpu_seconds(stack.front_pid), time.monotonic()
        answers = []
        for request in requests:
            due = origin + (request.at_s - begin) / speedup
            prompt, tokens = _prompt(request, seed), max(1, request.output_tokens // SHRINK)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            answers.append(asyncio.create_task(_ask(session, stack, prompt, tokens, due)))
        done = await asyncio.gather(*answers)
        spent = cpu_seconds(stack.front_pid) - cpu
    ttfts = sorted(ttft * speedup for ttft, _ in done)
    prompt_tokens = sum(min(CONTEXT - 2048, max(1, request.prompt_tokens // SHRINK)) for request in requests)
    return Played(
        ttft_mean_s=round(statistics.fmean(ttfts), 3),
        ttft_p50_s=round(ttfts[len(ttfts) // 2], 3),
        ttft_p99_s=round(ttfts[len(ttfts) * 99 // 100], 3),
        hit_rate=round(sum(cached for _, cached in done) / prompt_tokens, 4),
        front_cpu_ms=round(spent / len(requests) * 1e3, 3),
    )


def _prompt(request: TraceRequest, seed: int) -> list[int]:
    """Equal block ids become equal tokens; another seed makes other ones."""
    tokens: list[int] = []
    for name in request.names.tolist():
        tokens += np.random.default_rng((seed, name)).integers(300, 4000, BLOCK).tolist()
    return tokens[: min(CONTEXT - 2048, max(1, request.prompt_tokens // SHRINK))]


async def _ask(
    session: aiohttp.ClientSession, stack: Stack, prompt: list[int], tokens: int, due: float = 0.0
) -> tuple[float, int]:
    """Seconds from `due` to the first token, and cached prompt tokens."""
    body = {
        "model": stack.model,
        "prompt": prompt,
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    first, cached = 0.0, 0
    async with session.post(f"{stack.url}/v1/completions", json=body) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {(await answer.text())[:300]}")
        async for line in answer.content:
            if not line.startswith(b"data: {"):
                continue
            first = first or time.monotonic()
            if b'"usage":{' in line:
                usage = json.loads(line[6:])["usage"]
                if usage["completion_tokens"] != tokens:
                    raise RuntimeError(f"asked for {tokens} tokens, got {usage['completion_tokens']}")
                cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return first - due, cached


# ── the stacks ───────────────────────────────────────────────────────────────────────────────────


def _model(folder: Path) -> Path:
    """The demo model's tokenizer with a longer context: nothing is computed with it."""
    model = folder / "long-context"
    model.mkdir()
    for path in (ROOT / "models" / "tiny-qwen3").iterdir():
        if path.suffix != ".safetensors":
            shutil.copy(path, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": CONTEXT}))
    return model


@contextmanager
def _ours(folder: Path, speedup: float) -> Iterator[Stack]:
    port, system_port, model = free_port(), free_port(), _model(folder)
    (folder / "bench_graph.py").write_text(GRAPH)
    (folder / "agg.yaml").write_text(
        f"Common: {{model: {model}}}\n"
        f"Frontend: {{served_model_name: bench, port: {port}}}\n"
        f"Processor: {{common-configs: [model], router: kv}}\n"
        f"VllmWorker:\n  common-configs: [model]\n  engine: simulated\n  block-size: {BLOCK}\n"
        f"  num-kv-blocks: {CACHE_BLOCKS}\n  max-num-seqs: 512\n  max-num-batched-tokens: 8192\n"
        f"  prefill-tokens-per-s: {PREFILL_TOKENS_PER_S}\n  decode-step-s: {DECODE_STEP_S}\n  decode-seq-s: 0\n"
        f"  speedup: {speedup}\n  ServiceArgs: {{workers: {WORKERS}}}\n"
    )
    command = [str(TANDEM), "serve", "bench_graph:Frontend", "-f", "agg.yaml"]
    env = {"XDG_RUNTIME_DIR": str(folder), "TANDEM_SYSTEM_PORT": str(system_port)}
    with Served(command, port=port, log=folder / "log", cwd=folder, **env) as served:
        served.wait_ready()
        yield Stack(f"http://127.0.0.1:{port}", "bench", served.pid_of("Frontend", system_port))


@contextmanager
def _theirs(folder: Path, venv: Path, speedup: float) -> Iterator[Stack]:
    lengths = np.array([64.0, 1024.0, 4096.0, 16384.0, 131072.0])
    np.savez(
        folder / "costs.npz",
        prefill_isl=lengths,
        prefill_ttft_ms=lengths / PREFILL_TOKENS_PER_S * 1e3,
        decode_active_kv_tokens=np.array([0.0, float(BLOCK * CACHE_BLOCKS)]),
        decode_context_length=np.array([1.0, float(CONTEXT)]),
        decode_itl=np.full((2, 2), DECODE_STEP_S * 1e3),
    )
    engines = {
        "num-workers": WORKERS, "speedup-ratio": speedup, "block-size": BLOCK, "num-gpu-blocks-override": CACHE_BLOCKS,
        "max-num-seqs": 512, "max-num-batched-tokens": 8192, "planner-profile-data": folder / "costs.npz",
    }  # fmt: skip
    flags = [part for key, value in engines.items() for part in (f"--{key}", str(value))]
    front = ["--kv-cache-block-size", str(BLOCK)]
    with peer_running(venv, folder, _model(folder), "kv", front_flags=front, engine_flags=flags) as (port, pid):
        time.sleep(5)  # it lists the model when the first of its workers is there
        yield Stack(f"http://127.0.0.1:{port}", "q", pid)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
