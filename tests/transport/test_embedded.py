"""The embedded planes pass the contracts: in this process, and over a Unix socket."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.contracts.bus_contract import BusContract
from tests.contracts.store_contract import Backend, StoreContract, StoreOutageContract
from tests.contracts.work_queue_contract import WorkQueueContract

from tandem.transport.embedded import EmbeddedBus, EmbeddedHub, EmbeddedStore
from tandem.transport.embedded_host import HubServer
from tandem.transport.embedded_remote import HubConnection, RemoteStore
from tandem.transport.embedded_remote_bus import RemoteBus


@pytest.fixture
def ttl_s() -> float:
    return 0.3


@pytest.fixture
def ack_wait_s() -> float:
    return 0.3


@pytest.fixture
async def hub() -> AsyncIterator[EmbeddedHub]:
    hub = EmbeddedHub()
    yield hub
    hub.close()


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "hub.sock"


class HubBackend(Backend):
    """A hub and its host, in this process but behind its socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._running: tuple[EmbeddedHub, HubServer] | None = None

    async def start(self) -> None:
        hub = EmbeddedHub()
        server = HubServer(hub, self._path)
        await server.start()
        self._running = hub, server

    async def kill(self) -> None:
        if self._running is not None:
            hub, server = self._running
            await server.aclose()
            hub.close()
            self._running = None


@pytest.fixture
async def backend(path: Path) -> AsyncIterator[HubBackend]:
    backend = HubBackend(path)
    yield backend
    await backend.kill()


class TestEmbeddedStore(StoreContract):
    @pytest.fixture
    async def store(self, hub: EmbeddedHub) -> AsyncIterator[EmbeddedStore]:
        store = EmbeddedStore(hub)
        yield store
        await store.aclose()

    @pytest.fixture
    async def other(self, hub: EmbeddedHub) -> AsyncIterator[EmbeddedStore]:
        store = EmbeddedStore(hub)
        yield store
        await store.aclose()


class TestEmbeddedBus(BusContract):
    @pytest.fixture
    async def bus(self, hub: EmbeddedHub) -> EmbeddedBus:
        return EmbeddedBus(hub)

    @pytest.fixture
    async def other(self, hub: EmbeddedHub) -> EmbeddedBus:
        return EmbeddedBus(hub)


class TestEmbeddedWorkQueue(WorkQueueContract):
    @pytest.fixture
    async def bus(self, hub: EmbeddedHub) -> EmbeddedBus:
        return EmbeddedBus(hub)

    @pytest.fixture
    async def other(self, hub: EmbeddedHub) -> EmbeddedBus:
        return EmbeddedBus(hub)


async def _remote_store(path: Path) -> AsyncIterator[RemoteStore]:
    store = RemoteStore(HubConnection(path))
    yield store
    await store.aclose()


async def _remote_bus(path: Path) -> AsyncIterator[RemoteBus]:
    bus = RemoteBus(HubConnection(path))
    yield bus
    await bus.aclose()


class TestRemoteStore(StoreContract):
    @pytest.fixture
    async def store(self, backend: HubBackend, path: Path) -> AsyncIterator[RemoteStore]:
        await backend.start()
        async for store in _remote_store(path):
            yield store

    @pytest.fixture
    async def other(self, store: RemoteStore, path: Path) -> AsyncIterator[RemoteStore]:
        async for store in _remote_store(path):
            yield store


class TestRemoteStoreOutage(StoreOutageContract):
    @pytest.fixture
    async def store(self, path: Path) -> AsyncIterator[RemoteStore]:
        async for store in _remote_store(path):
            yield store


class TestRemoteBus(BusContract):
    @pytest.fixture
    async def bus(self, backend: HubBackend, path: Path) -> AsyncIterator[RemoteBus]:
        await backend.start()
        async for bus in _remote_bus(path):
            yield bus

    @pytest.fixture
    async def other(self, bus: RemoteBus, path: Path) -> AsyncIterator[RemoteBus]:
        async for bus in _remote_bus(path):
            yield bus


class TestRemoteWorkQueue(WorkQueueContract):
    @pytest.fixture
    async def bus(self, backend: HubBackend, path: Path) -> AsyncIterator[RemoteBus]:
        await backend.start()
        async for bus in _remote_bus(path):
            yield bus

    @pytest.fixture
    async def other(self, bus: RemoteBus, path: Path) -> AsyncIterator[RemoteBus]:
        async for bus in _remote_bus(path):
            yield bus
