"""A Router in a process of its own, and those who ask it: who is counted, and for how long."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tandem.core.cards import InstanceCard
from tandem.core.routing import RouteChoice, RouteRequest
from tandem.errors import Unavailable
from tandem.graph.askers import Askers
from tandem.graph.clients import RemoteClient, Signature
from tandem.graph.declare import info_of
from tandem.graph.far import FarRouter
from tandem.graph.hosting import _handler
from tandem.graph.services import Router
from tandem.router.rules import least_loaded
from tandem.router.service import RuleRouter
from tandem.runtime.ports import Registration
from tandem.runtime.service import ConnectedRuntime, connect
from tandem.runtime.settings import PlaneSettings
from tandem.transport.embedded import EmbeddedHub


class Fleet:
    """Routers and front ends, each with a connection of its own."""

    def __init__(self) -> None:
        self.hub = EmbeddedHub()
        self.services: list[Router] = []
        self.announced: list[Registration] = []
        self.runtimes: list[ConnectedRuntime] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def connected(self) -> ConnectedRuntime:
        self.runtimes.append(await connect(PlaneSettings(namespace="test", hub=self.hub)))
        return self.runtimes[-1]

    async def router(self) -> tuple[RuleRouter, ConnectedRuntime]:
        runtime, service = await self.connected(), Router()
        service.router, service.askers, service.closing = RuleRouter(least_loaded), Askers(), asyncio.Event()
        for each in info_of(Router).endpoints:
            method = getattr(service, each.method)
            runtime.serve(f"Router/{each.name}", Signature.of(method).wire_request, Any, _handler({}, method))
        card = InstanceCard(
            instance_id=runtime.instance_id, namespace="test", component="Router", endpoints=["choose"],
            address=runtime.server.address,
        )  # fmt: skip
        self.announced.append(await runtime.announce(card))
        self.services.append(service)
        return service.router, runtime

    async def front(self) -> tuple[FarRouter, ConnectedRuntime]:
        """A front end's router, once its line stands."""
        runtime = await self.connected()
        endpoints = {
            each.method: (each.name, Signature.of(getattr(Router, each.method))) for each in info_of(Router).endpoints
        }
        far = FarRouter(RemoteClient(runtime, "test", "Router", endpoints), runtime.instance_id)
        self.tasks.append(asyncio.create_task(far.follow()))
        await until(lambda: far._at is not None)
        return far, runtime

    async def aclose(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for runtime in self.runtimes:
            await runtime.aclose()
        self.hub.close()


@asynccontextmanager
async def a_fleet() -> AsyncIterator[Fleet]:
    fleet = Fleet()
    try:
        yield fleet
    finally:
        await fleet.aclose()


async def until(true: Callable[[], bool], *, within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.01)


def ask(far: FarRouter, request_id: str) -> Awaitable[RouteChoice]:
    return far.choose(RouteRequest(request_id=request_id, candidates=["a", "b"]))


async def test_what_a_crashed_front_end_had_asked_for_is_counted_no_more() -> None:
    async with a_fleet() as fleet:
        router, _ = await fleet.router()
        lost, its_runtime = await fleet.front()
        lives, _ = await fleet.front()
        for number in range(4):
            await ask(lost, f"lost-{number}")
        await ask(lives, "lives")
        lost.finished("lost-0")
        await until(lambda: len(router._open) == 4)
        fleet.tasks[0].cancel()
        await its_runtime.client.aclose()
        await until(lambda: set(router._open) == {"lives"})
        loads = [router._loads.candidate(name, 0.0).active for name in "ab"]
        assert sorted(loads) == [0, 1]
        assert await ask(lives, "next") is not None


async def test_a_router_that_stops_lets_go_at_once_and_its_askers_turn_to_another() -> None:
    async with a_fleet() as fleet:
        first, its_runtime = await fleet.router()
        far, _ = await fleet.front()
        await ask(far, "1")
        assert set(first._open) == {"1"}
        second, _ = await fleet.router()
        await fleet.announced[0].withdraw()
        fleet.services[0].closing.set()
        async with asyncio.timeout(1.0):
            await its_runtime.server.drain(30.0)
        await until(lambda: far._at == fleet.runtimes[2].instance_id)
        await ask(far, "2")
        assert (set(first._open), set(second._open)) == (set(), {"2"})


async def test_without_a_router_a_front_end_hears_so_at_once() -> None:
    async with a_fleet() as fleet:
        _, its_runtime = await fleet.router()
        far, _ = await fleet.front()
        await its_runtime.server.aclose()
        await until(lambda: far._at is None)
        with pytest.raises(Unavailable, match="no router answers"):
            await ask(far, "1")


class TestAskers:
    def test_an_asker_that_dials_again_before_its_old_line_is_seen_to_break_keeps_what_it_has(self) -> None:
        askers = Askers()
        askers.came("f")
        askers.asked("f", "1")
        askers.came("f")
        assert askers.went("f") == []
        askers.asked("f", "2")
        assert askers.went("f") == ["1", "2"]

    def test_what_is_over_is_forgotten_and_the_local_caller_is_nobody(self) -> None:
        askers = Askers()
        askers.came("f")
        for request_id in ("1", "1", "2"):
            askers.asked("f", request_id)
        askers.asked("", "here")
        askers.over("1")
        askers.over("1")
        assert askers.went("f") == ["2"]
        assert (askers._open, askers._whose, dict(askers._lines)) == ({}, {}, {})
