"""A process connected to planes, for the runtime's tests: callers, workers, and what a crash leaves."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tandem.core.cards import InstanceCard
from tandem.runtime.service import ConnectedRuntime, connect
from tandem.runtime.settings import PlaneSettings
from tandem.transport.embedded import EmbeddedHub
from tandem.transport.settings import RequestPlaneSettings

Connect = Callable[..., Awaitable[ConnectedRuntime]]

TTL_S = 0.6
QUICK = RequestPlaneSettings(heartbeat_interval_s=0.2, connect_timeout_s=0.5)


class Ask(msgspec.Struct):
    count: int
    pause_s: float = 0.0


@pytest.fixture
async def hub() -> AsyncIterator[EmbeddedHub]:
    hub = EmbeddedHub()
    yield hub
    hub.close()


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "hub.sock"


@pytest.fixture
async def join(hub: EmbeddedHub) -> AsyncIterator[Connect]:
    """Connects runtimes that are closed at the end."""
    opened: list[ConnectedRuntime] = []

    async def join(**settings: object) -> ConnectedRuntime:
        chosen = {"hub": hub, "lease_ttl_s": TTL_S, "requests": QUICK, "drain_timeout_s": 2.0, **settings}
        opened.append(await connect(PlaneSettings(**chosen)))  # type: ignore[arg-type]
        return opened[-1]

    yield join
    for runtime in opened:
        await runtime.aclose()


def card_of(runtime: ConnectedRuntime, **fields: object) -> InstanceCard:
    described = {
        "instance_id": runtime.instance_id,
        "namespace": runtime.namespace,
        "component": "worker",
        "endpoints": ["count"],
        "address": runtime.server.address,
        **fields,
    }
    return InstanceCard(**described)  # type: ignore[arg-type]


async def count(ask: Ask) -> AsyncGenerator[int, None]:
    for number in range(ask.count):
        await asyncio.sleep(ask.pause_s)
        yield number


async def eventually(holds: Callable[[], bool], *, timeout_s: float = 8.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.01)


def crash(runtime: ConnectedRuntime) -> Awaitable[None]:
    """What is left of a process after kill -9: no listener, no connections, no keeper of its lease."""

    async def gone() -> None:
        for registry in runtime._announced._registries:
            registry._keeper.cancel()  # type: ignore[union-attr]
            registry._written.clear()
        await runtime.server.aclose()
        await runtime.client.aclose()
        for store in runtime._stores:
            await store.aclose()

    return gone()
