"""Bytes that no honest client sends, on a door's socket: one answer, the connection closed, others unharmed."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from tests.frontend.conftest import Door, OpenDoor
from tests.processor.fakes import saying

from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.frontend.answering import DoorOptions
from tandem.processor.model import TextModel
from tandem.settings import LimitSettings

CHAT = b"/v1/chat/completions"
HI = b'{"messages": [{"role": "user", "content": "Hi"}]}'
STREAM = b'{"messages": [{"role": "user", "content": "Hi"}], "stream": true}'
SMUGGLED = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"


def post(*headers: bytes, body: bytes = b"", host: bytes = b"Host: x") -> bytes:
    return b"\r\n".join([b"POST " + CHAT + b" HTTP/1.1", host, *headers, b"", b""]) + body


CHUNKED = b"Transfer-Encoding: chunked"
AMBIGUOUS: dict[str, bytes] = {
    "length and chunks": post(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"),
    "chunks and length": post(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"),
    "two lengths": post(b"Content-Length: 3", b"Content-Length: 49", body=HI),
    "two equal lengths": post(b"Content-Length: 49", b"Content-Length: 49", body=HI),
    "a list of lengths": post(b"Content-Length: 49, 49", body=HI),
    "a length with a sign": post(b"Content-Length: +49", body=HI),
    "a negative length": post(b"Content-Length: -1", body=HI),
    "a length in hex": post(b"Content-Length: 0x31", body=HI),
    "a length with a space": post(b"Content-Length: 4 9", body=HI),
    "an empty length": post(b"Content-Length: ", body=HI),
    "a huge length": post(b"Content-Length: 99999999999999999999999", body=HI),
    "an unknown coding": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "a coding below chunked": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "chunked in two headers": post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"),
    "chunked not last": post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "a space before the colon": post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "a tab in a name": post(b"Transfer\tEncoding: chunked", body=b"0\r\n\r\n"),
    "a folded header": post(b"X-A: b", b" c", b"Content-Length: 49", body=HI),
    "a folded coding": post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"),
    "a bare line feed": b"POST " + CHAT + b" HTTP/1.1\nHost: x\nContent-Length: 49\n\n" + HI,
    "a bare carriage return": post(b"X-A: b\rTransfer-Encoding: chunked", b"Content-Length: 49", body=HI),
    "a null in a header": post(b"X-A: b\x00c", b"Content-Length: 49", body=HI),
    "a header without a colon": post(b"Content-Length 49", body=HI),
    "two hosts": post(b"Host: y", b"Content-Length: 49", body=HI),
    "no host": post(b"Content-Length: 49", body=HI, host=b"X-No: host"),
    "a chunk size that is none": post(CHUNKED, body=b"zz\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with a sign": post(CHUNKED, body=b"+3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size in 0x": post(CHUNKED, body=b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size beyond numbers": post(CHUNKED, body=b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    "a chunk longer than its size": post(CHUNKED, body=b"3\r\nabcdef\r\n0\r\n\r\n"),
    "a chunk with bare line feeds": post(CHUNKED, body=b"3\nabc\n0\n\n"),
    "a version that is none": b"POST " + CHAT + b" HTTP/9.9\r\nHost: x\r\n\r\n",
    "a method that is none": b"P\x00ST " + CHAT + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "http2's greeting": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


async def exchange(door: Door, data: bytes) -> bytes:
    """Everything that is answered until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
    try:
        writer.write(data)
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_what_two_parsers_could_read_differently_is_refused(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "Hello."))
    for name, data in AMBIGUOUS.items():
        answered = await exchange(one, data + SMUGGLED)
        assert answered.startswith(b"HTTP/1.1 400 "), (name, answered[:200])
        assert answered.count(b"HTTP/1.1 ") == 1, f"{name}: something was smuggled"
        assert b'"object":"list"' not in answered, name
        reply = await one.client.post(CHAT.decode(), content=HI)
        assert reply.json()["choices"][0]["message"]["content"] == "Hello.", name
    await one.idle()
    assert len(one.house.workers.calls) == len(AMBIGUOUS), "a request that was refused reached a worker"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 1000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"a" * 66_000, 431),
        (b"GET /" + b"a" * 100_000, 431),
        (post(b"Content-Length: 99999999999"), 413),
        (b"GET /v1/models HTTP/1.1\r\nHost:", 408),
        (post(b"Content-Length: 49", body=HI[:10]), 408),
        (post(CHUNKED, body=b"1\r\n{\r\n"), 408),
    ],
    ids=["many headers", "a long header", "a long target", "a long body", "half a head", "half a body", "half a chunk"],
)
async def test_floods_and_dawdlers_get_one_answer_and_the_door(
    door: OpenDoor, text_model: TextModel, data: bytes, status: int
) -> None:
    limits = LimitSettings(header_timeout_s=0.2, body_timeout_s=0.2)
    one = await door(saying(text_model, "Hello."), door_options=DoorOptions(limits=limits))
    answered = await exchange(one, data)
    assert answered.startswith(b"HTTP/1.1 %d " % status), answered[:200]
    assert answered.count(b"HTTP/1.1 ") == 1
    assert (await one.client.post(CHAT.decode(), content=HI)).status_code == 200


async def test_a_byte_a_moment_does_not_hold_the_door(door: OpenDoor, text_model: TextModel) -> None:
    limits = LimitSettings(header_timeout_s=0.3, body_timeout_s=0.3)
    one = await door(saying(text_model, "Hello."), door_options=DoorOptions(limits=limits))

    async def trickle(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.server.port)
        reading = asyncio.create_task(reader.readline())
        try:
            for byte in data:
                if reading.done():
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)
            async with asyncio.timeout(5):
                return await reading
        except ConnectionError:
            return b""
        finally:
            writer.close()

    slow_heads = [trickle(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: " + b"b" * 200) for _ in range(20)]
    slow_bodies = [trickle(post(b"Content-Length: 1000")[:-1] + b"\n" + b"{" + b" " * 200) for _ in range(1)]
    crowd = asyncio.gather(*slow_heads, *slow_bodies)
    for _ in range(10):
        assert (await one.client.post(CHAT.decode(), content=HI)).status_code == 200
    assert all(answered.startswith(b"HTTP/1.1 408 ") for answered in await crowd)


async def test_a_header_without_an_end_is_refused_while_it_comes(door: OpenDoor) -> None:
    one = await door()
    reader, writer = await asyncio.open_connection("127.0.0.1", one.server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nCookie: ")
    async with asyncio.timeout(5):
        for _ in range(7):
            writer.write(b"a" * 10_000)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
    writer.close()


async def test_a_request_that_is_refused_while_it_is_awaited_stops_no_other_stream(
    door: OpenDoor, text_model: TextModel
) -> None:
    over = asyncio.Event()

    async def flowing(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        while not over.is_set():
            await asyncio.sleep(0)
            yield GenerateOutput(token_ids=[100])
        yield GenerateOutput(token_ids=[100], finish_reason="length")

    one = await door(flowing)
    streams = [asyncio.create_task(one.client.post(CHAT.decode(), content=STREAM)) for _ in range(4)]
    # Refused by its body in the same read as its head: by then a handler is about to say "100 Continue".
    broken = post(b"Expect: 100-continue", CHUNKED, body=b"zz\r\n")
    for _ in range(20):
        answered = await exchange(one, broken)
        assert answered.startswith(b"HTTP/1.1 400 "), answered[:200]
    over.set()
    async with asyncio.timeout(10):
        for stream in streams:
            assert (await stream).text.endswith("data: [DONE]\n\n")
