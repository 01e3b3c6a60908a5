"""`make bench`: what Tandem adds to its engine on this machine, one request at a time.

Aggregated: Tandem and a bare AsyncLLM with the same engine settings, request by request in turn, fresh prompts.
Apart: the demo (two prefill workers, one decode worker): time to ready, memory, idle CPU, hand-over.
Ends with one JSON line.
"""

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.processes import Served
from bench.streaming import Client

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "models" / "tiny-qwen3"
TANDEM = Path(sys.executable).parent / "tandem"
ENGINE: dict[str, Any] = {
    "block_size": 32,
    "max_model_len": 2048,
    "max_num_batched_tokens": 2048,
    "kv_cache_memory_bytes": 64 << 20,
    "enforce_eager": True,
}
GRAPH = (
    "from tandem.graph.services import Frontend, Processor, VllmWorker\n\nFrontend.link(Processor).link(VllmWorker)\n"
)


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def a_prompt(rng: random.Random, tokens: int) -> list[int]:
    """Ordinary tokens, new in every call, so that no cache helps."""
    return [rng.randrange(300, 4000) for _ in range(tokens)]


def aggregated(folder: Path, requests: int) -> dict[str, float]:
    """Added time to first token and between tokens, medians over requests taken in turn."""
    (folder / "bench_graph.py").write_text(GRAPH)
    keys = "".join(f"  {key.replace('_', '-')}: {json.dumps(value)}\n" for key, value in ENGINE.items())
    port = free_port()
    (folder / "agg.yaml").write_text(
        f"Common:\n  model: {MODEL}\nFrontend:\n  served_model_name: bench\n  port: {port}\n"
        f"Processor:\n  common-configs: [model]\nVllmWorker:\n  common-configs: [model]\n{keys}"
    )
    command = [str(TANDEM), "serve", "bench_graph:Frontend", "-f", "agg.yaml"]
    env = {"XDG_RUNTIME_DIR": str(folder), "TANDEM_SYSTEM_PORT": "0"}
    bare = subprocess.Popen(
        [sys.executable, "-m", "bench.baseline", str(MODEL), json.dumps(ENGINE)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(folder / "bare.log").open("wb"), text=True, cwd=ROOT,
        start_new_session=True,
    )  # fmt: skip
    assert bare.stdin is not None
    assert bare.stdout is not None
    try:
        with Served(command, port=port, log=folder / "agg.log", cwd=folder, **env) as served:
            served.wait_ready()
            if not bare.stdout.readline():
                raise RuntimeError((folder / "bare.log").read_text()[-2000:])
            client, rng = Client(port, "bench"), random.Random(7)
            ours: list[tuple[float, float]] = []
            theirs: list[tuple[float, float]] = []
            for number in range(requests + 5):
                timed = client.complete(a_prompt(rng, 200), 64)
                print(json.dumps({"prompt": a_prompt(rng, 200), "max_tokens": 64}), file=bare.stdin, flush=True)
                answer = json.loads(bare.stdout.readline())
                if number >= 5:  # the first few warm both up
                    ours.append((timed.ttft_s, statistics.median(timed.gaps_s)))
                    theirs.append((answer["ttft_s"], statistics.median(answer["gaps_s"])))
    finally:
        os.killpg(bare.pid, signal.SIGKILL)  # the engine's own process too
        bare.wait()
    medians = [[statistics.median(column) * 1e3 for column in zip(*rows, strict=True)] for rows in (ours, theirs)]
    return {
        "ttft_p50_ms": medians[0][0],
        "itl_p50_ms": medians[0][1],
        "bare_ttft_p50_ms": medians[1][0],
        "bare_itl_p50_ms": medians[1][1],
        "added_ttft_p50_ms": medians[0][0] - medians[1][0],
        "added_itl_p50_ms": medians[0][1] - medians[1][1],
    }


def apart(folder: Path, requests: int) -> dict[str, float]:
    """The demo as `make run` starts it."""
    port, system_port = free_port(), free_port()
    env = {"XDG_RUNTIME_DIR": str(folder), "TANDEM_SYSTEM_PORT": str(system_port)}
    command = [str(TANDEM), "demo", "--port", str(port)]
    with Served(command, port=port, log=folder / "demo.log", cwd=ROOT, **env) as served:
        ready_s = served.wait_ready()
        time.sleep(5)
        before = served.cpu_s()
        time.sleep(10)
        idle = (served.cpu_s() - before) / 10
        client, rng = Client(port, MODEL.name), random.Random(11)
        handovers: list[float] = []
        ttfts: list[float] = []
        gaps: list[float] = []  # of all answers together: one whose tokens end inside characters has few events
        for number in range(requests + 10):
            timed = client.complete(a_prompt(rng, 400), 16)
            if number >= 10:
                ttfts.append(timed.ttft_s)
                gaps += timed.gaps_s[2:]
                handovers.append(_handover_s(system_port, timed.request_id))
        return {
            "ready_s": ready_s,
            "resident_gb": served.pss_bytes() / 1e9,
            "idle_core_fraction": idle,
            "remote_ttft_p50_ms": statistics.median(ttfts) * 1e3,
            "remote_itl_p50_ms": statistics.median(gaps) * 1e3,
            "handover_p50_ms": (statistics.median(handovers) - statistics.median(gaps)) * 1e3,
        }


def _handover_s(system_port: int, request_id: str) -> float:
    """Prefill worker's final output → decode worker's first output, from the request's own story. Seconds."""
    with urllib.request.urlopen(f"http://127.0.0.1:{system_port}/trace/{request_id}") as answer:
        stages = {stage["name"]: stage for stage in json.load(answer)["stages"]}
    ends = {name: stages[name]["at"] + stages[name]["duration_s"] for name in ("prefill", "kv_pull")}
    return float(ends["kv_pull"] - ends["prefill"])


def main() -> None:
    """Run both, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as name:
        folder = Path(name)
        figures = {**apart(folder, asked.requests), **aggregated(folder, asked.requests)}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout
    print(f"\n{os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, commit {commit.strip()}\n")
    for key, value in figures.items():
        print(f"{key:24} {value:10.3f}")
    asked_for = (
        "added_ttft_p50_ms", "added_itl_p50_ms", "ready_s", "resident_gb", "idle_core_fraction", "handover_p50_ms",
    )  # fmt: skip
    print(json.dumps({key: round(figures[key], 3) for key in asked_for}))


if __name__ == "__main__":
    main()
