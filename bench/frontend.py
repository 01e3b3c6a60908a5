"""`make bench-frontend`: what the front end costs, beside Dynamo 1.6.1's, in one run.

Ours: one process with Frontend, Processor and Router, two simulated engines in processes of their own.
Theirs: its front end with its router, its simulated engines (mocker) in a process of their own. Both over TCP,
streaming chat, one event per token, fresh random prompts; the two take turns. CPU is the front end's alone, per
request, fitted as a + b x tokens. Prints a table and one JSON line of ratios, ours over theirs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.load import Result, Workload, measured
from bench.peer import peer_running, peer_venv
from bench.processes import Served
from bench.serving import MODEL, ROOT, free_port

_GRAPH = (
    "from tandem.graph.services import Frontend, Processor, Router, VllmWorker\n\n"
    "Frontend.link(Processor).link(Router).link(VllmWorker)\nProcessor.link(VllmWorker)\n"
)
_CONFIG = """
Common:
  model: {model}
Frontend:
  served_model_name: q
  host: 127.0.0.1
  port: {port}
  max-inflight: 4096
Processor:
  common-configs: [model]
  router: {router}
VllmWorker:
  common-configs: [model]
  engine: simulated
  block-size: 16
  max-model-len: 8192
  max-num-seqs: 512
  num-kv-blocks: 65536
  speedup: {speedup}
  ServiceArgs:
    workers: 2
"""
_PEER_ENGINES = ("--num-workers", "2", "--block-size", "16", "--max-num-seqs", "512")
SPEEDUP = 200
"""Engines that much faster than a 32B model on an H200, so that neither side waits for computing that is only modelled.
At 50 ours are a fifth of the time in it, 0.6 ms for a prompt of 200 words; the peer's rate is the same at both."""
_RATIOS = (
    "cpu_total_ratio",
    "cpu_per_token_ratio",
    "cpu_per_request_ratio",
    "requests_per_s_ratio",
    "ttft_p99_ratio",
)
_CHUNKS_PER_TOKEN = (0.9, 1.02)
"""A token that ends inside a character has no event of its own, on either side."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack."""

    name: str
    port: int
    front_pid: int

    def run(self, **what: object) -> Result:
        """One load. Raises RuntimeError unless answers have an event per token, and 99 of 100 requests an answer."""
        work = Workload(port=self.port, model="q", **what)  # type: ignore[arg-type]
        try:
            result = measured(work, [self.front_pid])
        except RuntimeError as error:
            raise RuntimeError(f"{self.name}: {error}") from None
        share = result.chunks / max(1, result.done * work.tokens)
        if (
            len(result.errors) * 100 > work.requests
            or not _CHUNKS_PER_TOKEN[0] <= share <= _CHUNKS_PER_TOKEN[1] + 1 / work.tokens
        ):
            raise RuntimeError(f"{self.name}: {share:.3f} events per token, errors {result.errors[:1]}")
        return result


@contextmanager
def ours(folder: Path, router: str, speedup: int = SPEEDUP) -> Iterator[Stack]:
    """Our stack, ready."""
    port, system_port = free_port(), free_port()
    (folder / "bench_front.py").write_text(_GRAPH)
    (folder / "front.yaml").write_text(_CONFIG.format(model=MODEL, port=port, router=router, speedup=speedup))
    command = [sys.executable, "-m", "tandem.cli.main", "serve", "bench_front:Frontend", "-f", "front.yaml"]
    env = {"XDG_RUNTIME_DIR": str(folder), "TANDEM_SYSTEM_PORT": str(system_port), "PYTHONPATH": str(ROOT / "src")}
    with Served(command, port=port, log=folder / "ours.log", cwd=folder, **env) as served:
        served.wait_ready()
        with urllib.request.urlopen(f"http://127.0.0.1:{system_port}/status") as answer:
            processes = json.load(answer)["processes"]
        yield Stack("ours", port, next(p["pid"] for p in processes if "Frontend" in p["services"]))


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    tokens: Sequence[int]
    words: Sequence[int]
    connections: Sequence[int]
    requests: int
    turns: int
    open_requests: int


QUICK = Plan((16, 128), (200,), (128,), 500, 1, 400)
FULL = Plan((16, 64, 128, 256), (200, 3000), (64, 128), 1500, 3, 2000)

Key = tuple[str, str, int, int, int]
"""Router, stack, connections, words, tokens."""


def closed(stacks: Sequence[Stack], router: str, plan: Plan, keep: Callable[[Key, Result], None]) -> None:
    """Closed loops, the stacks in turn."""
    for stack in stacks:
        stack.run(connections=64, requests=200, tokens=16)  # warm
    for _ in range(plan.turns):
        for words in plan.words:
            for connections in plan.connections:
                for tokens in plan.tokens if words == plan.words[0] else (64,):
                    requests = plan.requests if words == plan.words[0] else plan.requests // 4
                    for stack in stacks:
                        result = stack.run(connections=connections, requests=requests, tokens=tokens, words=words)
                        keep((router, stack.name, connections, words, tokens), result)


def fitted(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """a and b of a + b x tokens, by least squares. Milliseconds; microseconds per token."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    slope, start = statistics.linear_regression(xs, ys) if len(points) > 1 else (0.0, ys[0])
    return start, slope * 1e3


def main() -> None:
    """Run both, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one turn of a few runs: about a minute")
    parser.add_argument("--requests", type=int, help="of each run of 200 words; the others are scaled with them")
    parser.add_argument("--speedup", type=int, default=SPEEDUP, help="of all engines, on both sides")
    parser.add_argument("--dynamo", default=os.environ.get("DYNAMO"), help="a virtual environment with the peer")
    parser.add_argument("--routers", default="round-robin,kv", help="which routers, comma-separated")
    asked = parser.parse_args()
    plan = QUICK if asked.quick else FULL
    if asked.requests:
        opened_too = plan.open_requests * asked.requests // plan.requests
        plan = replace(plan, requests=asked.requests, open_requests=opened_too)
    venv = peer_venv(asked.dynamo, ROOT / ".run")
    flags = (*_PEER_ENGINES, "--speedup-ratio", str(asked.speedup))
    found: dict[Key, list[Result]] = {}
    opened: dict[tuple[str, str], list[Result]] = {}
    for router in asked.routers.split(","):
        with (
            tempfile.TemporaryDirectory(prefix="tf-") as name,
            ours(Path(name), router, asked.speedup) as us,
            peer_running(venv, Path(name), MODEL, router, engine_flags=flags) as (port, pid),
        ):
            stacks = [us, Stack("dynamo", port, pid)]
            closed(stacks, router, plan, lambda key, result: found.setdefault(key, []).append(result))
            peak = max(r.requests_per_s for key, rs in found.items() if key[:2] == (router, "dynamo")
                       for r in rs if key[3:] == (plan.words[0], 64 if 64 in plan.tokens else 128))  # fmt: skip
            for _ in range(plan.turns):
                for stack in stacks:
                    result = stack.run(
                        requests=plan.open_requests, tokens=64 if 64 in plan.tokens else 128, rate=0.7 * peak
                    )
                    opened.setdefault((router, stack.name), []).append(result)
    report(found, opened, plan)


def report(found: dict[Key, list[Result]], opened: dict[tuple[str, str], list[Result]], plan: Plan) -> None:
    """The table, and the ratios as JSON. The ratios are of the last router measured, which is the dearest."""

    def median(key: Key, what: Callable[[Result], float]) -> float:
        return statistics.median(what(result) for result in found[key])

    print(f"\n{os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, load {os.getloadavg()[0]:.1f}, commit {commit()}\n")
    heads = (
        "router",
        "connections, words, tokens",
        "stack",
        "req/s",
        "tokens/s",
        "TTFT p50 / p99 ms",
        "CPU ms/request",
    )
    print(f"| {' | '.join(heads)} |")
    print("|---|---|---|---|---|---|---|")
    for key in sorted(found):
        router, stack, connections, words, tokens = key
        rate = median(key, lambda r: r.requests_per_s)
        ttft = f"{median(key, lambda r: r.ttft_ms(0.5)):.0f} / {median(key, lambda r: r.ttft_ms(0.99)):.0f}"
        cpu = median(key, lambda r: r.cpu_ms_per_request())
        cells = (router, f"{connections}, {words}, {tokens}", stack, f"{rate:.0f}", f"{rate * tokens:.0f}", ttft)
        print(f"| {' | '.join(cells)} | {cpu:.2f} |")
    told: dict[str, dict[str, float]] = {}
    for router in dict.fromkeys(key[0] for key in found):
        sides = {}
        for stack in ("ours", "dynamo"):
            keys = [key for key in found if key[:4] == (router, stack, 128, plan.words[0])]
            a, b = fitted([(key[4], median(key, lambda r: r.cpu_ms_per_request())) for key in keys])
            total = median((router, stack, 128, plan.words[0], 128), lambda r: r.cpu_ms_per_request())
            rate = median((router, stack, 128, plan.words[0], 128), lambda r: r.requests_per_s)
            ttft = [statistics.median(r.ttft_ms(q) for r in opened[router, stack]) for q in (0.5, 0.99)]
            sides[stack] = (total, b, a, rate, ttft[1])
            opened_ttft = f"p50 {ttft[0]:.1f}, p99 {ttft[1]:.1f} ms"
            print(f"{router}, {stack}: {a:.2f} ms + {b:.1f} us x tokens; open loop TTFT {opened_ttft}")
        told[router] = {
            name: round(x / y, 3) for name, x, y in zip(_RATIOS, sides["ours"], sides["dynamo"], strict=True)
        }
    print(json.dumps({**told[list(told)[-1]], "by_router": told}))


def commit() -> str:
    """What is measured."""
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT
    ).stdout.strip()


if __name__ == "__main__":
    main()
