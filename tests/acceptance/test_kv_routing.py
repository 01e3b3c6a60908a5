"""Routing by KV cache on real engines: what the router expects is what vLLM reports, and equal prompts share a home."""

import json
import random
from collections import Counter, defaultdict

import httpx
import pytest
from tests.process.serving import EXAMPLES, Host, free_port

pytestmark = [pytest.mark.acceptance, pytest.mark.engine, pytest.mark.timeout(900)]

WORDS = ["river", "stone", "cloud", "ember", "quiet", "marble", "hollow", "signal", "copper", "meadow", "lantern"]
PREFIXES = 8


class Service:
    """A served graph, asked one chat after the other."""

    def __init__(self, host: Host, graph: str, *flags: str) -> None:
        port = free_port()
        config = f"configs/{graph}.yaml"
        serve = host.serve(f"graphs.{graph}:Frontend", "-f", config, "--port", str(port), *flags, cwd=EXAMPLES)
        self._system = serve.wait_ready(180).get
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False)
        rng = random.Random(3)
        self._prefixes = [" ".join(rng.choices(WORDS, k=120)) for _ in range(PREFIXES)]

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, number: int) -> dict[str, dict[str, object]]:
        """One chat that begins with one of the shared prefixes: its stages by name, with their instance."""
        rng = random.Random(number)
        answer = self._client.post(
            "/v1/chat/completions",
            json={
                "max_tokens": 4,
                "temperature": 0,
                "messages": [
                    {"role": "system", "content": self._prefixes[number % PREFIXES]},
                    {"role": "user", "content": f"{number}: {' '.join(rng.choices(WORDS, k=8))}"},
                ],
            },
        )
        assert answer.status_code == 200, answer.text
        code, page = self._system(f"/trace/{answer.headers['x-request-id']}")
        assert code == 200
        return {
            each["name"]: {**each["detail"], "instance": each.get("instance")} for each in json.loads(page)["stages"]
        }


def test_two_hundred_predictions_are_what_the_engine_reports_and_each_prefix_has_one_home(host: Host) -> None:
    with Service(host, "agg_router") as service:
        stories = [service.ask(number) for number in range(200)]
    homes: dict[int, Counter[object]] = defaultdict(Counter)
    wrong, cached, prompts = [], 0, 0
    for number, story in enumerate(stories):
        homes[number % PREFIXES][story["routed"]["to"]] += 1
        expected, reported = story["routed"]["expected_cached_tokens"], story["finished"]["cached_tokens"]
        if expected != reported:
            wrong.append((number, expected, reported))
        cached += int(str(reported))
        prompts += int(str(story["finished"]["prompt_tokens"]))
    print({"wrong": wrong, "cached": round(cached / prompts, 3), "homes": [dict(each) for each in homes.values()]})
    assert wrong == []
    assert all(len(each) == 1 for each in homes.values())
    assert len({home for each in homes.values() for home in each}) == 2, "one worker got everything"
    assert cached > 0.8 * prompts


def test_a_remote_prefill_goes_to_the_prefill_worker_that_has_the_prefix(host: Host) -> None:
    with Service(host, "disagg_router", "--VllmWorker.conditional-disagg=false") as service:
        stories = [service.ask(number) for number in range(80)]
    homes: dict[int, Counter[object]] = defaultdict(Counter)
    for number, story in enumerate(stories):
        assert story["prefill_decision"]["site"] == "remote"
        if number >= 2 * PREFIXES:
            assert story["routed"]["prefill_hint"] == story["prefill"]["instance"]
            homes[number % PREFIXES][story["prefill"]["instance"]] += 1
    print([dict(each) for each in homes.values()])
    assert all(len(each) == 1 for each in homes.values())
    assert len({home for each in homes.values() for home in each}) == 2, "one worker got everything"
