"""The embedded planes pass the contracts: in this process, over a Unix socket, and on a port for other hosts."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.contracts.bus_contract import BusContract, next_message, until_connected
from tests.contracts.store_contract import Backend, StoreContract, StoreOutageContract, next_event
from tests.contracts.work_queue_contract import WorkQueueContract
from tests.servers import free_port

from tandem.errors import ProtocolMismatch, Unavailable
from tandem.transport import embedded_wire as wire
from tandem.transport.embedded import EmbeddedBus, EmbeddedHub, EmbeddedStore
from tandem.transport.embedded_host import HubServer
from tandem.transport.embedded_remote import HubConnection, RemoteStore
from tandem.transport.embedded_remote_bus import RemoteBus
from tandem.transport.ports import LaneDepth, StoreEvent

QUEUE = ("prefill", 5.0)


@pytest.fixture
def ttl_s() -> float:
    return 0.3


@pytest.fixture
def ack_wait_s() -> float:
    return 0.6


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
    """A hub and its host, in this process but behind its socket or port."""

    def __init__(self, path: Path | str, token: str | None = None) -> None:
        self._path, self._token = path, token
        self._running: tuple[EmbeddedHub, HubServer] | None = None

    async def start(self) -> None:
        hub = EmbeddedHub()
        server = HubServer(hub, self._path, token=self._token)
        await server.start()
        self._running = hub, server

    async def kill(self) -> None:
        if self._running is not None:
            hub, server = self._running
            await server.aclose()
            hub.close()
            self._running = None


@pytest.fixture
def token() -> str | None:
    """What the host wants of its callers."""
    return None


@pytest.fixture
async def backend(path: Path, token: str | None) -> AsyncIterator[HubBackend]:
    backend = HubBackend(path, token)
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


async def _remote_store(path: Path | str, token: str | None = None) -> AsyncIterator[RemoteStore]:
    store = RemoteStore(HubConnection(path, token=token))
    yield store
    await store.aclose()


async def _remote_bus(path: Path | str, token: str | None = None) -> AsyncIterator[RemoteBus]:
    bus = RemoteBus(HubConnection(path, token=token))
    yield bus
    await bus.aclose()


class TestRemoteStore(StoreContract):
    @pytest.fixture
    async def store(self, backend: HubBackend, path: Path, token: str | None) -> AsyncIterator[RemoteStore]:
        await backend.start()
        async for store in _remote_store(path, token):
            yield store

    @pytest.fixture
    async def other(self, store: RemoteStore, path: Path, token: str | None) -> AsyncIterator[RemoteStore]:
        async for store in _remote_store(path, token):
            yield store


class OnAPort:
    """The same, as pods of a group have it: behind a token that all of them hold."""

    @pytest.fixture
    def path(self) -> str:
        return f"127.0.0.1:{free_port()}"

    @pytest.fixture
    def token(self) -> str:
        return "let-us-in"


class TestRemoteStoreOnAPort(OnAPort, TestRemoteStore):
    pass


class TestRemoteStoreOutage(StoreOutageContract):
    @pytest.fixture
    async def store(self, path: Path, token: str | None) -> AsyncIterator[RemoteStore]:
        async for store in _remote_store(path, token):
            yield store


class TestRemoteBus(BusContract):
    @pytest.fixture
    async def bus(self, backend: HubBackend, path: Path, token: str | None) -> AsyncIterator[RemoteBus]:
        await backend.start()
        async for bus in _remote_bus(path, token):
            yield bus

    @pytest.fixture
    async def other(self, bus: RemoteBus, path: Path, token: str | None) -> AsyncIterator[RemoteBus]:
        async for bus in _remote_bus(path, token):
            yield bus


class TestRemoteBusOnAPort(OnAPort, TestRemoteBus):
    pass


class TestRemoteStoreOutageOnAPort(OnAPort, TestRemoteStoreOutage):
    pass


class TestRemoteWorkQueue(WorkQueueContract):
    @pytest.fixture
    async def bus(self, backend: HubBackend, path: Path, token: str | None) -> AsyncIterator[RemoteBus]:
        await backend.start()
        async for bus in _remote_bus(path, token):
            yield bus

    @pytest.fixture
    async def other(self, bus: RemoteBus, path: Path, token: str | None) -> AsyncIterator[RemoteBus]:
        async for bus in _remote_bus(path, token):
            yield bus


class TestRemoteWorkQueueOnAPort(OnAPort, TestRemoteWorkQueue):
    pass


# ── the token ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("held", [None, "", "another", "let-us-in-", "let-us-"])
class TestWithoutTheToken(OnAPort):
    """Somebody who reaches the port and does not hold what the pods of the group hold."""

    async def test_nothing_is_read_and_nothing_written(self, backend: HubBackend, path: str, held: str | None) -> None:
        await backend.start()
        connection = HubConnection(path, token=held)
        wanted: list[wire.Request] = [wire.Put("/a", b"1", None, False), wire.Get("/a"), wire.GetPrefix("/")]
        wanted += [wire.Grant(5.0), wire.Delete("/a"), wire.Publish([("a", b"1")]), wire.Lanes(*QUEUE)]
        wanted += [wire.PutJob(*QUEUE, "lane", "job", b"1"), wire.Take(*QUEUE, ["lane"], 0.0)]
        for request in wanted:
            with pytest.raises(Unavailable, match=r"wants its token, and .* has (none|another than ours)") as refused:
                await connection.ask(request, object)
            assert "let-us" not in str(refused.value)
        async for store in _remote_store(path, "let-us-in"):
            assert await store.get_prefix("/") == {}
        await connection.aclose()

    async def test_nobody_is_listened_to(self, backend: HubBackend, path: str, held: str | None) -> None:
        await backend.start()
        connection = HubConnection(path, token=held)
        for request in (wire.Watch("/"), wire.Subscribe("a", 10)):
            with pytest.raises(Unavailable, match="wants its token"):
                await anext(connection.stream(request))
        await connection.aclose()

    async def test_what_is_no_request_is_refused_for_the_token_first(
        self, backend: HubBackend, path: str, held: str | None
    ) -> None:
        await backend.start()
        connection = HubConnection(path, token=held)
        stream = await connection.client.call(path, wire.Put.endpoint(), b"\xc1")
        with pytest.raises(Unavailable, match="wants its token"):
            await anext(stream)
        await connection.aclose()


async def test_a_host_without_a_token_lets_in_who_holds_one(backend: HubBackend, path: Path) -> None:
    await backend.start()
    async for store in _remote_store(path, "some"):
        await store.put("/a", b"1")
        assert await store.get("/a") == b"1"


# ── troubles ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_watcher_who_falls_far_behind_starts_afresh(hub: EmbeddedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tandem.transport.embedded_hub._WATCH_PENDING", 10)
    store = EmbeddedStore(hub)
    async with store.watch("/a/") as events:
        for number in range(100):
            await store.put(f"/a/{number % 5}", b"%d" % number)
        await store.delete("/a/0")
        told: dict[str, bytes] = {}
        seen = set()
        while (event := await next_event(events)) != StoreEvent("delete", "/a/0"):
            seen.add(event.kind)
            if event.kind == "outage":
                told.clear()
            elif event.kind == "put":
                told[event.key] = event.value
    del told["/a/0"]
    assert told == await store.get_prefix("/a/")
    assert seen == {"put", "outage", "synced"}


async def test_a_bus_whose_host_comes_back_empty_goes_on(path: Path) -> None:
    backend = HubBackend(path)
    await backend.start()
    bus = RemoteBus(HubConnection(path))
    try:
        await until_connected(bus)
        queue = await bus.work_queue("prefill", ack_wait_s=5)
        await queue.put("mine", "held", b"1")
        (held,) = await queue.take(["mine"], timeout_s=2)
        async with bus.subscribe("a.*") as messages:
            taking = asyncio.create_task(queue.take(["idle", "mine"], timeout_s=15))
            await asyncio.sleep(0.05)
            await backend.kill()
            async with asyncio.timeout(5):
                while bus.connected:
                    await asyncio.sleep(0.01)
            await bus.publish("a.b", b"dropped")
            acking = asyncio.create_task(held.ack())
            await asyncio.sleep(0.3)
            await backend.start()
            await until_connected(bus)
            await asyncio.sleep(0.5)
            await bus.publish("a.b", b"heard")
            assert (await next_message(messages)).payload == b"heard"
            assert bus.dropped == 1
            await queue.put("mine", "new", b"2")
            await acking
            (delivery,) = await taking
            assert (delivery.payload, delivery.number) == (b"2", 1)
            assert await queue.lanes() == {"idle": LaneDepth(0, 0), "mine": LaneDepth(0, 1)}, "the old ack hit nothing"
    finally:
        await bus.aclose()
        await backend.kill()


async def test_putting_a_job_where_no_host_is_raises_unavailable(path: Path) -> None:
    bus = RemoteBus(HubConnection(path))
    queue = await bus.work_queue("prefill", ack_wait_s=5)
    with pytest.raises(Unavailable):
        await queue.put("lane", "job", b"1")
    before = time.monotonic()
    assert await queue.take(["lane"], timeout_s=0.1) == []
    assert not await queue.cancel("job")
    assert time.monotonic() - before < 1
    assert not bus.connected
    await bus.aclose()


async def test_a_second_host_on_the_same_path_is_refused(path: Path, backend: HubBackend) -> None:
    await backend.start()
    hub = EmbeddedHub()
    with pytest.raises(Unavailable):
        await HubServer(hub, path).start()
    store = RemoteStore(HubConnection(path))
    await store.put("/a", b"the first one still serves")
    assert await store.get("/a") == b"the first one still serves"
    await store.aclose()


@pytest.mark.parametrize(
    "request_",
    [
        wire.Grant(1e12),
        wire.Grant(0),
        wire.Grant(float("nan")),
        wire.Subscribe("a", 10**9),
        wire.Subscribe("a", -1),
        wire.Take(*QUEUE, ["lane"], float("inf")),
        wire.Take(*QUEUE, ["lane"], float("nan")),
        wire.Take("prefill", 1e9, ["lane"], 1.0),
        wire.Nak(*QUEUE, 1, 1, 1e9),
    ],
    ids=repr,
)
async def test_a_peer_cannot_make_a_host_keep_something_for_ever(
    request_: wire.Request, path: Path, backend: HubBackend
) -> None:
    await backend.start()
    connection = HubConnection(path)
    with pytest.raises(ProtocolMismatch, match="does not decode: Expected"):
        await connection.ask(request_, int)
    assert await connection.ask(wire.Grant(3600.0), int) > 0
    await connection.aclose()
