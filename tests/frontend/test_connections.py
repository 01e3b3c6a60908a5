"""Raw bytes on the door's socket: heads over their limits, slow ones, ambiguous ones; and what a client still gets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tandem.frontend.protocol import HeadLimits
from tandem.frontend.server import DoorServer
from tandem.frontend.wire import EXTENSION, Wire

Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Echo:
    """Answers with method, path and body; `/unread` does not read the body, `/slow` waits for `go`."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.go = asyncio.Event()
        self.gone: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope["path"])
        body = b""
        if scope["path"] == "/slow":
            scope["extensions"][EXTENSION].tell_gone(lambda: self.gone.append(scope["path"]))
            await self.go.wait()
        if scope["path"] != "/unread":
            more = True
            while more:
                event = await receive()
                if event["type"] == "http.disconnect":
                    self.gone.append(scope["path"])
                    return
                body, more = body + event["body"], event["more_body"]
        answer = f"{scope['method']} {scope['path']} ".encode() + body
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def dial(echo: Echo) -> AsyncIterator[Dial]:
    server = DoorServer(
        echo, host="127.0.0.1", port=0, drain_timeout_s=1, head_limits=HeadLimits(max_bytes=4096, timeout_s=0.15)
    )
    await server.open()
    writers = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writers.append(writer)
        return reader, writer

    yield connect
    for writer in writers:
        writer.close()
    await server.aclose()


async def reply(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of the next response."""
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head.split()[1]), await reader.readexactly(length)


async def closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(5):
        return await reader.read(1) == b""


def code_of(body: bytes) -> str:
    return str(json.loads(body)["error"]["code"])


async def test_a_flood_of_headers_is_refused_while_it_comes(dial: Dial, echo: Echo) -> None:
    for head in (
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 200,
        b"GET / HTTP/1.1\r\nHost: x\r\nlong: " + b"b" * 5000 + b"\r\nmore: c\r\n",
        b"GET /" + b"c" * 5000,
    ):
        reader, writer = await dial()
        writer.write(head)
        status, body = await reply(reader)
        assert (status, code_of(body)) == (431, "headers_too_large")
        assert await closed(reader)
    assert echo.seen == []


async def test_a_header_without_end_is_refused(dial: Dial) -> None:
    reader, writer = await dial()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nlong: ")
    for _ in range(10):
        writer.write(b"b" * 1000)
        await writer.drain()
        await asyncio.sleep(0.002)
    assert (await reply(reader))[0] == 431


async def test_a_head_that_trickles_gets_408(dial: Dial, echo: Echo) -> None:
    reader, writer = await dial()

    async def trickle() -> None:
        for byte in b"GET / HTTP/1.1\r\nHost: " + b"x" * 1000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)

    trickling = asyncio.create_task(trickle())
    status, body = await reply(reader)
    assert (status, code_of(body)) == (408, "head_timeout")
    assert await closed(reader)
    trickling.cancel()
    assert echo.seen == []


async def test_the_second_request_of_a_connection_may_not_trickle_either(dial: Dial) -> None:
    reader, writer = await dial()
    writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await reply(reader) == (200, b"GET /a ")
    writer.write(b"GET /b HT")
    assert (await reply(reader))[0] == 408


async def test_stray_line_ends_do_not_keep_a_connection_for_ever(dial: Dial) -> None:
    reader, writer = await dial()
    writer.write(b"\r\n")
    assert await closed(reader)


async def test_a_body_that_nobody_reads_does_not_hold_the_connection(dial: Dial) -> None:
    reader, writer = await dial()
    writer.write(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    assert (await reply(reader))[0] == 200
    writer.write(b"x")
    assert await closed(reader)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
async def test_ambiguous_requests_are_refused_once_and_the_connection_ends(dial: Dial, request_bytes: bytes) -> None:
    reader, writer = await dial()
    writer.write(request_bytes + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    status, body = await reply(reader)
    assert (status, code_of(body)) == (400, "invalid_request")
    assert await closed(reader)


async def test_garbage_behind_a_request_does_not_break_into_its_answer(dial: Dial, echo: Echo) -> None:
    reader, writer = await dial()
    writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    while not echo.seen:
        await asyncio.sleep(0.001)
    writer.write(b"GARBAGE\r\n\r\n")
    assert await closed(reader)
    assert echo.gone == ["/slow"]
    echo.go.set()


async def test_garbage_in_a_second_request_is_no_answer_to_the_first(dial: Dial, echo: Echo) -> None:
    reader, writer = await dial()
    second = b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + second)
    assert await closed(reader)
    async with asyncio.timeout(5):
        while echo.gone != ["/slow"]:
            await asyncio.sleep(0.001)
    echo.go.set()


async def test_a_client_that_leaves_a_stream_with_another_request_behind_it_is_told_of() -> None:
    gone, seen = asyncio.Event(), []

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        scope["extensions"][EXTENSION].tell_gone(gone.set)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.is_set():
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(0.001)

    server = DoorServer(stream, host="127.0.0.1", port=0, drain_timeout_s=1)
    await server.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readexactly(200)
    writer.close()
    async with asyncio.timeout(5):
        await gone.wait()
    assert seen == ["/a"]
    await server.aclose()


async def test_an_offer_to_upgrade_is_passed_over(dial: Dial) -> None:
    reader, writer = await dial()
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n"
    writer.write(head + b"\r\nabc")
    assert await reply(reader) == (200, b"POST /a abc")
    offer = head.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"\r\n3\r\nabc\r\n0\r\n\r\n"
    writer.write(offer + b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await reply(reader) == (200, b"POST /a abc")
    assert await reply(reader) == (200, b"GET /b ")


async def test_a_tunnel_is_refused(dial: Dial) -> None:
    reader, writer = await dial()
    writer.write(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
    assert (await reply(reader))[0] == 405
    assert await closed(reader)


async def test_pipelined_requests_are_answered_in_order(dial: Dial) -> None:
    reader, writer = await dial()
    writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(20)))
    for n in range(20):
        assert await reply(reader) == (200, b"GET /%d " % n)


async def test_a_client_that_leaves_is_told_of_at_once(dial: Dial, echo: Echo) -> None:
    _, writer = await dial()
    writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    while not echo.seen:
        await asyncio.sleep(0.001)
    writer.close()
    async with asyncio.timeout(5):
        while not echo.gone:
            await asyncio.sleep(0.001)
    echo.go.set()


async def test_pieces_are_written_at_once_until_the_client_falls_behind() -> None:
    done = asyncio.Event()
    written = 0

    async def flood(scope: Any, receive: Any, send: Any) -> None:
        nonlocal written
        wire: Wire = scope["extensions"][EXTENSION]
        assert not wire.writable()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        write = wire.pieces(b"<", b">")
        while wire.writable():
            sizes = [written % 5000, written % 7]
            write([b"x" * size for size in sizes])
            written += sum(sizes) + 4
            if written % 64 == 0:
                await asyncio.sleep(0)  # the transport writes between turns
            assert written < 1 << 28
        done.set()
        await send({"type": "http.response.body", "body": b"end"})

    server = DoorServer(flood, host="127.0.0.1", port=0, drain_timeout_s=1)
    await server.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 16)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(10):
        await done.wait()
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        size = 0
        while length := int(await reader.readline(), 16):
            size += length
            await reader.readexactly(length + 2)
    assert size == written + len(b"end")
    writer.close()
    await server.aclose()


async def test_a_client_of_before_chunks_gets_its_stream_until_the_connection_ends() -> None:
    async def stream(scope: Any, receive: Any, send: Any) -> None:
        assert not scope["extensions"][EXTENSION].writable()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert not scope["extensions"][EXTENSION].writable()
        for piece in (b"one ", b"", b"two "):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})

    server = DoorServer(stream, host="127.0.0.1", port=0, drain_timeout_s=1)
    await server.open()
    for method, body in ((b"GET", b"one two end"), (b"HEAD", b"")):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(method + b" / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        async with asyncio.timeout(5):
            head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        assert (b"transfer-encoding" in head, b"connection: close" in head, rest) == (False, True, body)
        writer.close()
    await server.aclose()


async def test_a_client_that_never_reads_is_cut_and_others_are_not() -> None:
    gone, written = asyncio.Event(), 0

    async def flood(scope: Any, receive: Any, send: Any) -> None:
        nonlocal written
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/quick":
            await send({"type": "http.response.body", "body": b"quick"})
            return
        while not scope["extensions"][EXTENSION].disconnected:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            written += 65536
            await asyncio.sleep(0)
        gone.set()

    server = DoorServer(flood, host="127.0.0.1", port=0, drain_timeout_s=1, head_limits=HeadLimits(send_timeout_s=0.3))
    await server.open()
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", server.port))
    deaf.sendall(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        assert b"quick" in await reader.readuntil(b"quick")
        await gone.wait()
    assert written < 16 << 20, "what it does not read is bounded"
    writer.close()
    deaf.close()
    await server.aclose()
