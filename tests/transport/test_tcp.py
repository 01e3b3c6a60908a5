"""The request plane passes its contract over TCP and over Unix sockets, and lives through bad peers."""

import asyncio
import contextlib
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import uvloop
from tests.contracts.relay_contract import RelayContract
from tests.contracts.request_contract import Endless, RequestContract, collect, echo
from tests.servers import wait_stopped

from tandem.errors import InstanceLost, ProtocolMismatch, Unavailable
from tandem.transport.frames import PROTOCOL, Hello, Items, Open, encode_frames
from tandem.transport.ports import CallContext
from tandem.transport.settings import RequestPlaneSettings
from tandem.transport.tcp import TcpRequestClient, TcpRequestServer

QUICK = RequestPlaneSettings(heartbeat_interval_s=0.1, connect_timeout_s=0.25)


@pytest.fixture
async def client() -> AsyncIterator[TcpRequestClient]:
    client = TcpRequestClient()
    yield client
    await client.aclose()


@pytest.fixture
async def other() -> AsyncIterator[TcpRequestClient]:
    client = TcpRequestClient()
    yield client
    await client.aclose()


@pytest.fixture
async def server() -> AsyncIterator[TcpRequestServer]:
    server = TcpRequestServer(identity="instance-1")
    await server.start()
    yield server
    await server.aclose()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


class TestTcpRequests(RequestContract, RelayContract):
    pass


class TestUnixRequests(RequestContract, RelayContract):
    @pytest.fixture
    async def server(self, folder: Path) -> AsyncIterator[TcpRequestServer]:
        server = TcpRequestServer(f"unix:{folder}/plane.sock", identity="instance-1")
        await server.start()
        yield server
        await server.aclose()


# ── addresses ────────────────────────────────────────────────────────────────────────────────────


async def test_a_unix_socket_is_for_this_user_only_and_is_removed_with_its_server(folder: Path) -> None:
    path = folder / "plane.sock"
    server = TcpRequestServer(f"unix:{path}")
    await server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(Unavailable):
        await TcpRequestServer(f"unix:{path}").start()
    await server.aclose()
    assert not path.exists()


async def test_a_socket_file_that_a_dead_server_left_is_replaced(folder: Path) -> None:
    path = folder / "plane.sock"
    with socket.socket(socket.AF_UNIX) as leftover:
        leftover.bind(str(path))
    server = TcpRequestServer(f"unix:{path}", identity="new")
    await server.start()
    client = TcpRequestClient()
    assert await client.probe(server.address, timeout_s=1) == "new"
    await client.aclose()
    await server.aclose()


async def test_a_taken_port_is_unavailable_and_an_advertised_host_is_told(server: TcpRequestServer) -> None:
    port = server.address.rpartition(":")[2]
    with pytest.raises(Unavailable, match="cannot listen"):
        await TcpRequestServer(f"127.0.0.1:{port}").start()
    advertised = TcpRequestServer("127.0.0.1:0", advertise_host="10.1.2.3")
    await advertised.start()
    assert advertised.address.startswith("10.1.2.3:")
    await advertised.aclose()


# ── peers that are not ours ──────────────────────────────────────────────────────────────────────

HELLO = bytes(encode_frames([Hello("tandem", PROTOCOL)]))


def _frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: tandem\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\x00\x00\x08\xff\xff\xff\xff\xff\xff\xff\xff",
        _frame(msgspec.msgpack.encode(["redis", 1, ""])),
        _frame(msgspec.msgpack.encode(["tandem", 99, ""])),
        b"\xff\xff\xff\xff" + b"x" * 1000,
        HELLO + b"\xff\xff\xff\xff",
        HELLO + _frame(b"\xc1 garbage"),
        HELLO + _frame(msgspec.msgpack.encode([1, "stream", 2, 3])),
        HELLO + _frame(msgspec.msgpack.encode([42, 1])),
        HELLO + _frame(b"\x93\x01\x01\xa2\xff\xfe"),
        HELLO + bytes(encode_frames([Items([1], [b"x"])])),
        HELLO + bytes(encode_frames([Open(7, "endless", b""), Open(7, "endless", b"")])),
    ],
)
async def test_what_is_not_ours_closes_its_connection_and_harms_no_other(
    server: TcpRequestServer, client: TcpRequestClient, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    endless = Endless(0.001)
    server.register("endless", endless)
    stream = await client.call(server.address, "endless", b"")
    assert await anext(stream) == b"0"
    host, _, port = server.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
    writer.close()
    assert await anext(stream) == b"1"
    assert sum(server.rejected.values()) == 1
    assert len([record for record in caplog.records if "requests.rejected" in record.message]) == 1
    await stream.aclose()


async def test_a_connection_that_says_nothing_is_closed() -> None:
    server = TcpRequestServer(settings=QUICK)
    await server.start()
    host, _, port = server.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(3):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()
    assert server.rejected == {"silence": 1}
    await server.aclose()


async def test_a_listener_that_is_not_ours_is_a_protocol_mismatch(client: TcpRequestClient) -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    web = await asyncio.start_server(http, "127.0.0.1", 0)
    address = f"127.0.0.1:{web.sockets[0].getsockname()[1]}"
    with pytest.raises(ProtocolMismatch, match="no request plane"):
        await client.call(address, "echo", b"")
    assert await client.probe(address, timeout_s=1) is None
    web.close()


async def test_an_address_that_nobody_answers_on_is_a_lost_instance() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = TcpRequestClient(QUICK)
        before = time.monotonic()
        with pytest.raises(InstanceLost, match="no answer"):
            await client.call(f"127.0.0.1:{silent.getsockname()[1]}", "echo", b"")
        assert time.monotonic() - before < 2
        refused = silent.getsockname()[1]
    with pytest.raises(InstanceLost):
        await client.call(f"127.0.0.1:{refused}", "echo", b"")
    with pytest.raises(InstanceLost):
        await client.call("unix:/nowhere/at.all", "echo", b"")
    await client.aclose()


# ── peers that stop, die or are in no hurry ──────────────────────────────────────────────────────

PEER = """
import asyncio, sys
from tandem.transport.tcp import TcpRequestServer
from tandem.transport.settings import RequestPlaneSettings

async def endless(payload, context):
    while True:
        await asyncio.sleep(0.01)
        yield b"x"

async def main():
    server = TcpRequestServer(identity="peer", settings=RequestPlaneSettings(heartbeat_interval_s=0.1))
    server.register("endless", endless)
    await server.start()
    print(server.address, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def peer() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, and its address."""
    process = subprocess.Popen([sys.executable, "-c", PEER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    yield process, address
    process.kill()
    process.wait()
    process.stdout.close()


async def test_a_killed_peer_is_lost_at_once(peer: tuple[subprocess.Popen[str], str]) -> None:
    process, address = peer
    client = TcpRequestClient()
    stream = await client.call(address, "endless", b"")
    assert await anext(stream) == b"x"
    process.kill()
    before = time.monotonic()
    with pytest.raises(InstanceLost):
        async for _ in stream:
            pass
    assert time.monotonic() - before < 1
    await client.aclose()


async def test_a_stopped_peer_is_lost_after_a_few_beats(peer: tuple[subprocess.Popen[str], str]) -> None:
    process, address = peer
    client = TcpRequestClient(QUICK)
    stream = await client.call(address, "endless", b"")
    assert await anext(stream) == b"x"
    os.kill(process.pid, 19)
    wait_stopped(process.pid)
    before = time.monotonic()
    with pytest.raises(InstanceLost, match="no sign of life"):
        async for _ in stream:
            pass
    assert time.monotonic() - before < 1.5
    with pytest.raises(InstanceLost, match="no answer"):
        await client.call(address, "endless", b"")
    os.kill(process.pid, 18)
    stream = await client.call(address, "endless", b"")
    assert await anext(stream) == b"x", "dialled again once it goes on"
    await client.aclose()


async def test_a_pause_of_our_own_kills_no_connection(peer: tuple[subprocess.Popen[str], str]) -> None:
    _, address = peer
    client = TcpRequestClient(QUICK)
    stream = await client.call(address, "endless", b"")
    assert await anext(stream) == b"x"
    time.sleep(0.7)  # noqa: ASYNC251 - seven beats in which our loop does not run
    await asyncio.sleep(0.15)
    for _ in range(5):
        assert await anext(stream) == b"x"
    await stream.aclose()
    await client.aclose()


async def test_a_quiet_call_lives_on_heartbeats() -> None:
    server = TcpRequestServer(settings=QUICK)

    async def quiet(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(1.0)
        yield b"at last"

    server.register("quiet", quiet)
    await server.start()
    client = TcpRequestClient(QUICK)
    assert await collect(client, server.address, "quiet") == [b"at last"]
    await client.aclose()
    await server.aclose()


async def test_what_streams_produce_in_one_turn_leaves_in_one_write(
    server: TcpRequestServer, client: TcpRequestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = asyncio.Event()

    async def waits(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
        yield b"ready"
        await step.wait()
        for _ in range(5):
            yield payload

    server.register("waits", waits)
    streams = [await client.call(server.address, "waits", b"%d" % n) for n in range(50)]
    for stream in streams:
        assert await anext(stream) == b"ready"
    (link,) = server.links
    flushes = 0
    flush = type(link)._flush

    def counted(self: object) -> None:
        nonlocal flushes
        flushes += 1
        flush(link)

    monkeypatch.setattr(type(link), "_flush", counted)
    step.set()
    for number, stream in enumerate(streams):
        assert [item async for item in stream] == [b"%d" % number] * 5
    assert flushes <= 3, "50 streams with 5 items each"


async def test_callers_of_one_address_share_one_connection(server: TcpRequestServer, client: TcpRequestClient) -> None:
    server.register("echo", echo)
    answers = await asyncio.gather(*(collect(client, server.address, "echo", b"x") for _ in range(20)))
    assert answers == [[b"x"] * 3] * 20
    assert len(server.links) == 1


async def test_a_caller_cancelled_while_dialling_disturbs_nobody_else(server: TcpRequestServer) -> None:
    server.register("echo", echo)
    client = TcpRequestClient()
    impatient = asyncio.create_task(client.call(server.address, "echo", b""))
    patient = asyncio.create_task(collect(client, server.address, "echo", b"x"))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert await patient == [b"x"] * 3
    await client.aclose()
    with pytest.raises(InstanceLost, match="closed"):
        await client.call(server.address, "echo", b"")


async def test_a_listener_of_another_version_is_a_protocol_mismatch(client: TcpRequestClient) -> None:
    async def newer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(encode_frames([Hello("tandem", PROTOCOL + 1)])))
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(newer, "127.0.0.1", 0)
    address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    with pytest.raises(ProtocolMismatch, match=f"speaks protocol {PROTOCOL + 1}, ours is {PROTOCOL}"):
        await client.call(address, "echo", b"")
    listener.close()
    await asyncio.sleep(0.05)


def test_the_plane_runs_on_uvloop_too(folder: Path) -> None:
    async def main() -> list[list[bytes]]:
        answers = []
        for listen in ("127.0.0.1:0", f"unix:{folder}/plane.sock"):
            server = TcpRequestServer(listen)
            server.register("echo", echo)
            await server.start()
            client = TcpRequestClient()
            answers.append(await collect(client, server.address, "echo", b"x" * (3 << 20)))
            await client.aclose()
            await server.aclose()
        return answers

    assert uvloop.run(main()) == [[b"x" * (3 << 20)] * 3] * 2


async def test_small_and_large_answers_of_one_turn_fit_frames_that_the_caller_takes() -> None:
    settings = RequestPlaneSettings(max_frame_bytes=3 << 20)
    server, client = TcpRequestServer(settings=settings), TcpRequestClient(settings)
    await server.start()
    largest = settings.max_frame_bytes - 64

    async def sized(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
        yield bytes(int(payload))

    server.register("sized", sized)
    sizes = [1 << 19, largest, 1 << 19, 1]
    try:
        calls = [await client.call(server.address, "sized", str(size).encode()) for size in sizes]
        async with asyncio.timeout(10):
            answers = [[item async for item in call] for call in calls]
        assert [[len(item) for item in answer] for answer in answers] == [[size] for size in sizes]
    finally:
        await client.aclose()
        await server.aclose()
