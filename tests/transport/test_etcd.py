"""The etcd adapter passes the store's contract on a real etcd, and lives through etcd's troubles."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from tests.contracts.store_contract import StoreContract, StoreOutageContract, next_event, until_synced
from tests.servers import EtcdServer, free_port

from tandem.errors import ConfigError, Unavailable
from tandem.transport.etcd import EtcdStore
from tandem.transport.etcd_gateway import from_wire, prefix_range
from tandem.transport.ports import StoreEvent
from tandem.transport.settings import EtcdSettings


@pytest.fixture
def ttl_s() -> float:
    return 1.0


@pytest.fixture
async def backend() -> AsyncIterator[EtcdServer]:
    server = EtcdServer()
    yield server
    await server.aclose()


@pytest.fixture
async def store(backend: EtcdServer) -> AsyncIterator[EtcdStore]:
    store = EtcdStore(EtcdSettings(endpoints=(backend.url,), probe_interval_s=0.5, request_timeout_s=1.5))
    yield store
    await store.aclose()


@pytest.fixture(scope="module")
def shared_server() -> Iterator[EtcdServer]:
    """For the contract, which empties it before each test."""
    server = EtcdServer()
    asyncio.run(server.start())
    yield server
    asyncio.run(server.aclose())


class TestEtcdStore(StoreContract):
    @pytest.fixture
    async def backend(self, shared_server: EtcdServer) -> EtcdServer:
        await _call(shared_server, "/v3/kv/deleterange", prefix_range(""))
        return shared_server

    @pytest.fixture
    async def other(self, backend: EtcdServer) -> AsyncIterator[EtcdStore]:
        store = EtcdStore(EtcdSettings(endpoints=(f"127.0.0.1:{backend.port}",)))
        yield store
        await store.aclose()


class TestEtcdOutage(StoreOutageContract):
    pass


async def _call(server: EtcdServer, path: str, body: dict[str, object]) -> None:
    async with aiohttp.ClientSession() as session, session.post(server.url + path, json=body) as response:
        assert response.status == 200, await response.text()


async def test_the_next_endpoint_is_asked_when_one_does_not_answer(backend: EtcdServer) -> None:
    await backend.start()
    endpoints = (f"http://127.0.0.1:{free_port()}", backend.url)
    store = EtcdStore(EtcdSettings(endpoints=endpoints))
    try:
        assert await store.create("/a/1", b"1")
        async with store.watch("/a/") as events:
            assert await until_synced(events) == [StoreEvent("put", "/a/1", b"1")]
    finally:
        await store.aclose()


async def test_an_etcd_that_stopped_without_a_word_is_noticed(store: EtcdStore, backend: EtcdServer) -> None:
    await backend.start()
    await store.put("/a/1", b"1")
    async with store.watch("/a/") as events:
        assert len(await until_synced(events)) == 1
        backend.pause()
        before = time.monotonic()
        assert (await next_event(events)).kind == "outage"
        with pytest.raises(Unavailable, match="does not answer"):
            await store.get("/a/1")
        assert time.monotonic() - before < 6
        backend.resume()
        assert await until_synced(events) == [StoreEvent("put", "/a/1", b"1")]


async def test_user_and_password_are_used_and_a_lost_token_is_renewed(backend: EtcdServer) -> None:
    await backend.start()
    await _call(backend, "/v3/auth/user/add", {"name": "root", "password": "s3cret"})
    await _call(backend, "/v3/auth/role/add", {"name": "root"})
    await _call(backend, "/v3/auth/user/grant", {"user": "root", "role": "root"})
    await _call(backend, "/v3/auth/enable", {})
    settings = EtcdSettings(endpoints=(backend.url,), username="root", password="s3cret")
    assert "s3cret" not in repr(settings)
    store = EtcdStore(settings)
    try:
        lease = await store.grant(1)
        await store.put("/a/1", b"1", lease=lease)
        store._gateway._token = "expired.1"
        assert await store.get("/a/1") == b"1"
        async with store.watch("/a/") as events:
            assert len(await until_synced(events)) == 1
            await store.put("/a/2", b"2")
            assert (await next_event(events)).key == "/a/2"
    finally:
        await store.aclose()
    wrong = EtcdStore(EtcdSettings(endpoints=(backend.url,), username="root", password="wr0ng"))
    try:
        with pytest.raises(Unavailable, match="user name and password") as caught:
            await wrong.get("/a/1")
        assert "wr0ng" not in str(caught.value)
    finally:
        await wrong.aclose()


@pytest.mark.parametrize("password", ["s3cret", "s3%2Fcret", "s3/cret"])
async def test_a_password_in_an_address_is_used_and_never_told(password: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    settings = EtcdSettings(endpoints=("127.0.0.1:2", f"http://root:{password}@127.0.0.1:1"), request_timeout_s=1)
    assert (settings.username, settings.password) == ("root", password.replace("%2F", "/"))
    store = EtcdStore(settings)
    try:
        with pytest.raises(Unavailable, match=r"etcd at http://127.0.0.1:2, http://127.0.0.1:1 ") as caught:
            await store.get("/a/1")
        assert "cret" not in repr(caught.value) + repr(settings) + caplog.text
    finally:
        await store.aclose()


async def test_a_watch_whose_revision_was_compacted_lists_again(store: EtcdStore, backend: EtcdServer) -> None:
    await backend.start()
    for number in range(10):
        await store.put("/a/1", b"%d" % number)
    await _call(backend, "/v3/kv/compaction", {"revision": "8"})
    with pytest.raises(Unavailable, match="compacted"):
        async for _ in store._follow("/a/", 3):
            pass
    async with store.watch("/a/") as events:
        assert await until_synced(events) == [StoreEvent("put", "/a/1", b"9")]


async def test_a_large_answer_is_read_whole(store: EtcdStore, backend: EtcdServer) -> None:
    await backend.start()
    async with store.watch("/a/") as events:
        await until_synced(events)
        await store.put("/a/big", b"x" * 600_000)
        assert len((await next_event(events)).value) == 600_000
    assert len((await store.get_prefix("/a/"))["/a/big"]) == 600_000


async def test_something_else_on_the_port_is_unavailable_and_no_crash() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    store = EtcdStore(EtcdSettings(endpoints=(f"127.0.0.1:{server.sockets[0].getsockname()[1]}",)))
    try:
        with pytest.raises(Unavailable, match="no HTTP gateway"):
            await store.get("/a/1")
    finally:
        await store.aclose()
        server.close()


def test_certificate_files_that_cannot_be_read_are_a_config_error() -> None:
    with pytest.raises(ConfigError, match="certificate"):
        EtcdStore(EtcdSettings(endpoints=("https://etcd:2379",), ca_file="/nowhere/ca.pem"))


@pytest.mark.parametrize(
    ("prefix", "end"), [("/a/", b"/a0"), ("a", b"b"), ("", b"\0"), ("ÿ", "ÿ".encode()[:-1] + b"\xc0")]
)
def test_a_prefix_becomes_a_range_that_ends_right_after_it(prefix: str, end: bytes) -> None:
    asked = prefix_range(prefix)
    assert from_wire(asked["range_end"]) == end
    assert base64.b64decode(asked["key"]) == (prefix.encode() or b"\0")
