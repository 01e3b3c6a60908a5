"""Does the router's prediction agree with the engine? Against a running `tandem serve` with `router: kv`.

Sends chats that share long system prompts, asks for each one's trace, and compares the cached tokens that the
router expected at the worker it chose with those that the engine itself reported. Last line: JSON.

    cd examples/llm && tandem serve graphs.agg_router:Frontend -f configs/agg_router.yaml
    python -m bench.routing_real http://127.0.0.1:8000 http://127.0.0.1:9347
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx

WORDS = ["river", "stone", "cloud", "ember", "quiet", "marble", "hollow", "signal", "copper", "meadow", "lantern"]


def main(arguments: Sequence[str]) -> int:
    """Send, ask, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("door", help="the front door's URL")
    parser.add_argument("system", help="the system port's URL")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--prefixes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    prefixes = [" ".join(rng.choices(WORDS, k=120)) for _ in range(options.prefixes)]
    served: dict[int, Counter[str]] = {}
    equal = close = cached = prompts = 0
    with httpx.Client(timeout=120, trust_env=False) as client:
        model = client.get(f"{options.door}/v1/models").json()["data"][0]["id"]
        for number in range(options.requests):
            which = rng.randrange(len(prefixes))
            body = {
                "model": model,
                "max_tokens": 4,
                "temperature": 0,
                "messages": [
                    {"role": "system", "content": prefixes[which]},
                    {"role": "user", "content": f"{number}: {' '.join(rng.choices(WORDS, k=8))}"},
                ],
            }
            answer = client.post(f"{options.door}/v1/chat/completions", json=body)
            answer.raise_for_status()
            story = client.get(f"{options.system}/trace/{answer.headers['x-request-id']}").json()
            routed, finished = stage(story, "routed"), stage(story, "finished")
            served.setdefault(which, Counter())[routed["to"]] += 1
            expected, reported = routed["expected_cached_tokens"], finished["cached_tokens"]
            equal += expected == reported
            close += abs(expected - reported) <= 32
            cached += reported
            prompts += finished["prompt_tokens"]
    homes = sum(counter.most_common(1)[0][1] for counter in served.values())
    figures = {
        "requests": options.requests,
        "prediction_equal": equal / options.requests,
        "prediction_within_a_block": close / options.requests,
        "to_the_prefix_home": homes / options.requests,
        "cached_share": round(cached / prompts, 3),
        "workers_used": len({worker for counter in served.values() for worker in counter}),
    }
    print(json.dumps(figures))
    return 0


def stage(story: Any, name: str) -> dict[str, Any]:
    """The detail of a story's first stage of that name."""
    stages = story["stages"] if isinstance(story, dict) else story
    detail: dict[str, Any] = next(s for s in stages if s["name"] == name).get("detail", {})
    return detail


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
