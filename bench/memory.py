"""`python -m bench.memory [REQUESTS]`: is memory flat over 10,000 or so many requests? Simulated, prefill apart."""

import asyncio
import json
import random
import sys
import tempfile
from pathlib import Path

import httpx

from bench.processes import Served
from bench.serving import ROOT, TANDEM, a_prompt, free_port

REQUESTS = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
AT_ONCE = 32
WARM = 5_000
"""Requests after which the stores of the last stories (4,096) and caches have their size."""


async def run(port: int, served: Served) -> list[tuple[int, float]]:
    """Send them all; (requests so far, megabytes) at every thousand."""
    rng, seen = random.Random(5), [(0, served.pss_bytes() / 1e6)]
    prompts = iter([a_prompt(rng, rng.randrange(1, 200)) for _ in range(REQUESTS)])
    done = 0
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

        async def work() -> None:
            nonlocal done
            for prompt in prompts:
                body = {"model": "tiny-qwen3", "prompt": prompt, "max_tokens": 8}
                answer = await client.post("/v1/completions", json=body)
                answer.raise_for_status()
                done += 1
                if done % 1000 == 0:
                    seen.append((done, served.pss_bytes() / 1e6))
                    print(f"{done:6} requests {seen[-1][1]:8.1f} MB", flush=True)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return seen


def main() -> None:
    """Print the curve and one JSON line."""
    with tempfile.TemporaryDirectory(prefix="td-") as name:
        port = free_port()
        command = [str(TANDEM), "demo", "--port", str(port), "--engine", "simulated"]
        env = {"XDG_RUNTIME_DIR": name, "TANDEM_SYSTEM_PORT": "0"}
        with Served(command, port=port, log=Path(name) / "log", cwd=ROOT, **env) as served:
            served.wait_ready()
            seen = asyncio.run(run(port, served))
    warm = next(megabytes for requests, megabytes in seen if requests == WARM)
    print(json.dumps({"warm_mb": round(warm, 1), "grown_mb": round(seen[-1][1] - warm, 1)}))


if __name__ == "__main__":
    main()
