"""The router's shell: turns, exclusion, load reports from the bus, rules by name."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint, EntryPoints
from random import Random
from typing import cast

import msgspec
import pytest

from tandem.core.load import LoadReport
from tandem.core.routing import RouteChoice, RouteRequest
from tandem.errors import ConfigError
from tandem.router import registry
from tandem.router.ports import Ask, Candidate
from tandem.router.registry import rule_named
from tandem.router.service import RuleRouter
from tandem.transport.ports import Bus, BusMessage


def request(number: int, candidates: Sequence[str] = ("a", "b", "c"), sequences: int = 1) -> RouteRequest:
    return RouteRequest(request_id=f"r{number}", candidates=list(candidates), sequences=sequences)


async def test_round_robin_is_even_and_skips_what_is_not_offered() -> None:
    router = RuleRouter(rule_named("round-robin"))
    assert [(await router.choose(request(i))).instance_id for i in range(4)] == ["a", "b", "c", "a"]
    assert (await router.choose(request(5, ["a", "c"]))).instance_id == "c"


async def test_random_is_seeded_by_its_owner() -> None:
    first, second = (RuleRouter(rule_named("random"), rng=Random(7)) for _ in range(2))
    drawn = [(await first.choose(request(i))).instance_id for i in range(60)]
    assert drawn == [(await second.choose(request(i))).instance_id for i in range(60)]
    assert set(Counter(drawn)) == {"a", "b", "c"}


async def test_least_loaded_follows_its_own_sends_until_they_finish() -> None:
    router = RuleRouter(rule_named("least_loaded"))
    assert (await router.choose(request(1, sequences=4))).instance_id == "a"
    assert sorted([(await router.choose(request(n))).instance_id for n in (2, 3, 4, 5)]) == ["b", "b", "c", "c"]
    for number in (1, 1, 99):
        router.finished(f"r{number}")
    assert (await router.choose(request(6))).instance_id == "a"


async def test_choosing_again_for_a_request_ends_its_first_choice() -> None:
    router = RuleRouter(rule_named("least-loaded"))
    assert (await router.choose(request(1, ["a"], sequences=9))).instance_id == "a"
    assert (await router.choose(request(1, ["b"], sequences=9))).instance_id == "b"
    assert (await router.choose(request(2, ["a", "b"]))).instance_id == "a"


class _Bus:
    """A bus that replays messages, then waits."""

    def __init__(self, *payloads: bytes) -> None:
        self.payloads, self.subject, self.heard = payloads, "", asyncio.Event()

    @asynccontextmanager
    async def subscribe(self, subject: str, *, max_pending: int = 0) -> AsyncIterator[AsyncIterator[BusMessage]]:
        self.subject = subject
        yield self._messages()

    async def _messages(self) -> AsyncIterator[BusMessage]:
        for payload in self.payloads:
            yield BusMessage(self.subject, payload)
        self.heard.set()
        await asyncio.Event().wait()


async def test_reports_from_the_bus_are_believed_and_rubbish_is_not() -> None:
    busy = msgspec.msgpack.encode(LoadReport(instance_id="a", running=8, waiting=1))
    bus = _Bus(b"\xc1 not msgpack", busy)
    router = RuleRouter(rule_named("least-loaded"))
    listening = asyncio.create_task(router.listen(cast(Bus, bus), "dynamo", "VllmWorker"))
    await bus.heard.wait()
    assert bus.subject == "dynamo.load.VllmWorker"
    assert {(await router.choose(request(n, ["a", "b"]))).instance_id for n in range(5)} == {"b"}
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening


def test_an_unknown_router_is_a_config_error_that_lists_the_others() -> None:
    with pytest.raises(
        ConfigError, match=r"router 'kvv' is not there; choose from kv, least-loaded, random, round-robin"
    ):
        rule_named("kvv")


def always_the_last(candidates: Sequence[Candidate], ask: Ask) -> RouteChoice:
    return RouteChoice(instance_id=candidates[-1].instance_id, rule="mine")


async def test_an_own_rule_comes_from_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*, group: str) -> EntryPoints:
        assert group == "tandem.routers"
        here = EntryPoint("mine", "router_under_test:always_the_last", group)
        return EntryPoints((here, EntryPoint("broken", "no_such_module:rule", group)))

    monkeypatch.setattr(registry, "entry_points", found)
    monkeypatch.setitem(__import__("sys").modules, "router_under_test", __import__("sys").modules[__name__])
    router = RuleRouter(rule_named("mine"))
    assert (await router.choose(request(1))).instance_id == "c"
    with pytest.raises(ConfigError, match="does not load"):
        rule_named("broken")
