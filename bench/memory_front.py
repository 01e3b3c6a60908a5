"""`python -m bench.memory_front [REQUESTS] [--router kv]`: does the front-end process grow over 100,000 streamed chats?

Two simulated engines, 64 connections, fresh prompts of 40 words, 4 tokens each. Prints its memory (Pss) at every 5,000.
"""

import argparse
import json
import tempfile
from pathlib import Path

from bench.frontend import ours

WARM = 25_000
"""Requests after which the stores of the last stories (4,096) and the tables of words and texts have their size."""
STEP = 5_000


def pss_mb(pid: int) -> float:
    """Proportional set size of a process. Megabytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


def main() -> None:
    """Print the curve and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", type=int, nargs="?", default=100_000)
    parser.add_argument("--router", default="round-robin")
    asked = parser.parse_args()
    seen: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="tf-") as name, ours(Path(name), asked.router) as stack:
        for done in range(STEP, asked.requests + 1, STEP):
            result = stack.run(connections=64, requests=STEP, tokens=4, words=40)
            seen[done] = pss_mb(stack.front_pid)
            print(f"{done:7} requests {seen[done]:7.1f} MB {result.requests_per_s:6.0f} requests/s", flush=True)
    warm = seen[min(WARM, max(seen))]
    print(
        json.dumps({"router": asked.router, "warm_mb": round(warm, 1), "grown_mb": round(max(seen.values()) - warm, 1)})
    )


if __name__ == "__main__":
    main()
