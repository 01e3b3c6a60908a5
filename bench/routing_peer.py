"""Our KV routing and NVIDIA Dynamo's, ten minutes of a trace: `python -m bench.routing_peer TRACE --peer PYTHON`.

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
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np

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
    parser.add_argument("--peer", required=True, help="python of an environment that holds ai-dynamo")
    parser.add_argument("--from-minute", type=float, default=20.0)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--speedup", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    begin, end = options.from_minute * 60, (options.from_minute + options.minutes) * 60
    requests = [request for request in read_trace(options.trace) if begin <= request.at_s < end]
    print(
        f"{len(requests)} requests; one cache as large as all would hit "
        f"{pooled_hit_rate(requests, WORKERS * CACHE_BLOCKS):.3f}"
    )
    found: dict[str, list[Played]] = {"ours": [], "theirs": []}
    for number in range(options.repeats):
        for name in found:
            with tempfile.TemporaryDirectory(prefix="tandem-bench-") as folder:
                serving = _ours(Path(folder), options.speedup) if name == "ours" else _theirs(Path(folder), options)
                with serving as stack:
                    played = asyncio.run(_play(stack, requests, begin, options.speedup, seed=number))
            found[name].append(played)
            print(f"{name:7} {played}", flush=True)
    ours, theirs = (_medians(found[name]) for name in ("ours", "theirs"))
    figures = {
        "ttft_over_dynamo": ours["ttft_mean_s"] / theirs["ttft_mean_s"],
        "hit_rate_over_dynamo": ours["hit_rate"] / theirs["hit_rate"],
        "front_cpu_over_dynamo": ours["front_cpu_ms"] / theirs["front_cpu_ms"],
    }
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
    return 0


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
def _theirs(folder: Path, options: argparse.Namespace) -> Iterator[Stack]:
    port, model = free_port(), _model(folder)
    lengths = np.array([64.0, 1024.0, 4096.0, 16384.0, 131072.0])
    np.savez(
        folder / "costs.npz",
        prefill_isl=lengths,
        prefill_ttft_ms=lengths / PREFILL_TOKENS_PER_S * 1e3,
        decode_active_kv_tokens=np.array([0.0, float(BLOCK * CACHE_BLOCKS)]),
        decode_context_length=np.array([1.0, float(CONTEXT)]),
        decode_itl=np.full((2, 2), DECODE_STEP_S * 1e3),
    )
    env = {
        **os.environ, "DYN_FILE_KV": str(folder / "kv"), "DYN_DISCOVERY_BACKEND": "file", "DYN_REQUEST_PLANE": "tcp",
        "DYN_EVENT_PLANE": "zmq", "DYN_LOG": "warn",
    }  # fmt: skip
    env.pop("PYTHONPATH", None)
    planes = ["--discovery-backend", "file", "--request-plane", "tcp", "--event-plane", "zmq"]
    front = [options.peer, "-m", "dynamo.frontend", "--http-port", str(port), *planes, "--router-mode", "kv"]
    mocker = [
        options.peer, "-m", "dynamo.mocker", "--model-path", str(model), "--model-name", "bench", *planes,
        "--num-workers", str(WORKERS), "--speedup-ratio", str(options.speedup), "--block-size", str(BLOCK),
        "--num-gpu-blocks-override", str(CACHE_BLOCKS), "--max-num-seqs", "512", "--max-num-batched-tokens", "8192",
        "--planner-profile-data", str(folder / "costs.npz"),
    ]  # fmt: skip
    started = []
    try:
        for command in ([*front, "--kv-cache-block-size", str(BLOCK)], mocker):
            log = (folder / f"{len(started)}.log").open("wb")
            started.append(
                subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env, start_new_session=True)
            )
        if not asyncio.run(_listed(f"http://127.0.0.1:{port}")):
            raise RuntimeError("\n".join(path.read_text(errors="replace")[-1500:] for path in folder.glob("*.log")))
        yield Stack(f"http://127.0.0.1:{port}", "bench", started[0].pid)
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def _listed(url: str) -> bool:
    """Whether the model is served within a minute; returns when all workers had time to come."""
    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            try:
                async with session.get(f"{url}/v1/models") as answer:
                    if (await answer.json())["data"]:
                        await asyncio.sleep(5)
                        return True
            except (aiohttp.ClientError, OSError):
                pass
            await asyncio.sleep(0.2)
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
