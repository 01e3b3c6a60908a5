"""What the request plane promises. A subclass supplies `server` (started), `client` and `other` (a second client)."""

import asyncio
import gc
import time
from collections.abc import AsyncGenerator

import pytest

from tandem.errors import (
    BodyTooLarge,
    ContextTooLong,
    DeadlineExceeded,
    InstanceLost,
    Overloaded,
    ServingError,
    Unavailable,
)
from tandem.transport.ports import CallContext, RequestClient, RequestServer

PATIENCE_S = 10.0


async def collect(client: RequestClient, address: str, endpoint: str, payload: bytes = b"") -> list[bytes]:
    """The whole answer."""
    async with asyncio.timeout(PATIENCE_S):
        return [item async for item in await client.call(address, endpoint, payload)]


class Endless:
    """A handler that yields numbers for ever and remembers how far it came and whether it was closed."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.sent = 0
        self.closed = asyncio.Event()
        self._pause_s = pause_s

    async def __call__(self, payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                await asyncio.sleep(self._pause_s)
                self.sent += 1
                yield payload or b"%d" % (self.sent - 1)
        finally:
            self.closed.set()


async def echo(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
    """The payload, three times."""
    for _ in range(3):
        yield payload


class RequestContract:
    """Inherited by a test class per kind of address."""

    async def test_an_answer_is_its_items_in_order_and_an_end(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        async def count(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
            for number in range(2000):
                yield b"%d" % number

        server.register("count", count)
        server.register("echo", echo)
        assert await collect(client, server.address, "count") == [b"%d" % n for n in range(2000)]
        assert await collect(client, server.address, "echo", b"\x00\xff") == [b"\x00\xff"] * 3
        assert await collect(client, server.address, "echo", b"") == [b""] * 3

    async def test_a_handler_learns_who_calls_and_until_when(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        seen: list[CallContext] = []

        async def look(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
            seen.append(context)
            return
            yield b""

        server.register("look", look)
        deadline = time.time() + 60
        stream = await client.call(
            server.address, "look", b"", request_id="req-1", deadline=deadline, headers={"traceparent": "00-1"}
        )
        assert [item async for item in stream] == []
        (context,) = seen
        assert (context.endpoint, context.request_id, context.deadline) == ("look", "req-1", deadline)
        assert context.headers == {"traceparent": "00-1"}
        assert context.peer

    async def test_an_error_of_the_handler_reaches_the_caller_whole(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        async def fail(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
            yield b"first"
            if payload == b"overloaded":
                raise Overloaded("12 requests wait", retry_after_s=7.5)
            raise ContextTooLong("prompt has 9000 tokens; the model takes 8192", param="messages")

        server.register("fail", fail)
        stream = await client.call(server.address, "fail", b"")
        assert await anext(aiter(stream)) == b"first"
        with pytest.raises(ContextTooLong, match="9000 tokens") as caught:
            await anext(aiter(stream))
        assert (caught.value.param, caught.value.retry) == ("messages", "never")
        with pytest.raises(Overloaded) as full:
            await collect(client, server.address, "fail", b"overloaded")
        assert full.value.retry_after_s == 7.5

    async def test_a_bug_in_a_handler_is_an_internal_error_and_is_logged_once(
        self, server: RequestServer, client: RequestClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def buggy(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
            yield b""
            raise KeyError("secret prompt")

        server.register("buggy", buggy)
        with pytest.raises(ServingError) as caught:
            await collect(client, server.address, "buggy")
        assert caught.value.code == "internal"
        assert "secret prompt" not in caught.value.message
        assert len([record for record in caplog.records if record.exc_info]) == 1

    async def test_an_endpoint_that_is_not_there_is_unavailable(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        with pytest.raises(Unavailable, match="nothing"):
            await collect(client, server.address, "nothing")

    async def test_closing_a_stream_reaches_its_handler(self, server: RequestServer, client: RequestClient) -> None:
        endless = Endless(0.001)
        server.register("endless", endless)
        stream = await client.call(server.address, "endless", b"")
        assert await anext(aiter(stream)) == b"0"
        await stream.aclose()
        await stream.aclose()
        async with asyncio.timeout(PATIENCE_S):
            await endless.closed.wait()

    async def test_a_caller_that_vanishes_closes_its_handlers(
        self, server: RequestServer, client: RequestClient, other: RequestClient
    ) -> None:
        gone, stays = Endless(0.001), Endless(0.001)
        server.register("gone", gone)
        server.register("stays", stays)
        await other.call(server.address, "gone", b"")
        stream = await client.call(server.address, "stays", b"")
        await other.aclose()
        async with asyncio.timeout(PATIENCE_S):
            await gone.closed.wait()
        assert not stays.closed.is_set()
        await stream.aclose()

    async def test_a_caller_that_does_not_read_stops_its_own_handler_only(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        slow, big = Endless(), Endless()
        server.register("slow", slow)
        server.register("big", big)
        server.register("echo", echo)
        unread = await client.call(server.address, "slow", b"")
        unread_big = await client.call(server.address, "big", b"x" * 100_000)
        while slow.sent < 256 or big.sent < 10:
            await asyncio.sleep(0.01)
        assert await collect(client, server.address, "echo", b"quick") == [b"quick"] * 3
        await asyncio.sleep(0.1)
        assert slow.sent <= 256, "the window is 256 items"
        assert big.sent <= 11, "the window is 1 MiB, and one item may go over it"
        got = [await anext(aiter(unread)) for _ in range(300)]
        assert got == [b"%d" % n for n in range(300)], "reading on moves it again, and nothing was lost"
        await unread.aclose()
        await unread_big.aclose()

    async def test_a_deadline_ends_the_answer_and_the_handler(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        endless = Endless(30)
        server.register("endless", endless)
        before = time.monotonic()
        stream = await client.call(server.address, "endless", b"", deadline=time.time() + 0.2)
        with pytest.raises(DeadlineExceeded):
            await anext(aiter(stream))
        assert time.monotonic() - before < 2
        async with asyncio.timeout(PATIENCE_S):
            await endless.closed.wait()
        with pytest.raises(DeadlineExceeded):
            await client.call(server.address, "endless", b"", deadline=time.time() - 1)

    async def test_large_payloads_pass_and_too_large_ones_are_refused(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        async def grow(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
            yield payload
            yield b"y" * (65 << 20)

        server.register("grow", grow)
        payload = b"x" * (20 << 20)
        stream = await client.call(server.address, "grow", payload)
        assert await anext(aiter(stream)) == payload
        with pytest.raises(ServingError, match="the request plane takes"):
            await anext(aiter(stream))
        with pytest.raises(BodyTooLarge):
            await client.call(server.address, "grow", b"x" * (65 << 20))

    async def test_draining_refuses_new_calls_and_lets_running_ones_end(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        goes_on = asyncio.Event()

        async def waits(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
            yield b"begun"
            await goes_on.wait()
            yield b"done"

        server.register("waits", waits, to_the_end=True)
        server.register("waits", waits)  # replaces the first in this as well
        stream = await client.call(server.address, "waits", b"")
        assert await anext(aiter(stream)) == b"begun"
        draining = asyncio.create_task(server.drain(PATIENCE_S))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="stopping"):
            await collect(client, server.address, "waits")
        assert not draining.done()
        goes_on.set()
        assert [item async for item in stream] == [b"done"]
        await draining

    async def test_what_running_calls_wait_for_is_served_while_draining(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        told = asyncio.Event()

        async def waits(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
            yield b"begun"
            await told.wait()
            yield b"done"

        async def tells(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
            told.set()
            yield b"thanks"

        server.register("waits", waits)
        server.register("tells", tells, to_the_end=True)
        stream = await client.call(server.address, "waits", b"")
        assert await anext(aiter(stream)) == b"begun"
        draining = asyncio.create_task(server.drain(PATIENCE_S))
        await asyncio.sleep(0)
        assert await collect(client, server.address, "tells") == [b"thanks"]
        assert [item async for item in stream] == [b"done"]
        await draining

    async def test_draining_waits_no_longer_than_it_may(self, server: RequestServer, client: RequestClient) -> None:
        server.register("endless", Endless(0.01))
        stream = await client.call(server.address, "endless", b"")
        assert await anext(aiter(stream)) == b"0"
        before = time.monotonic()
        await server.drain(0.2)
        assert 0.15 < time.monotonic() - before < 1.5

    async def test_a_server_that_closes_is_a_lost_instance_to_open_streams(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        endless = Endless(0.01)
        server.register("endless", endless)
        stream = await client.call(server.address, "endless", b"")
        assert await anext(aiter(stream)) == b"0"
        await server.aclose()
        await server.aclose()
        assert endless.closed.is_set()
        with pytest.raises(InstanceLost):
            async for _ in stream:
                pass
        with pytest.raises(InstanceLost):
            await client.call(server.address, "endless", b"")

    async def test_a_probe_tells_who_is_there(self, server: RequestServer, client: RequestClient) -> None:
        assert await client.probe(server.address, timeout_s=2) == "instance-1"
        await server.aclose()
        assert await client.probe(server.address, timeout_s=2) is None

    async def test_ten_thousand_streams_leave_nothing_behind(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        server.register("echo", echo)

        async def one(close_early: bool) -> int:
            stream = await client.call(server.address, "echo", b"x")
            if close_early:
                await anext(aiter(stream))
                await stream.aclose()
                return 3
            return len([item async for item in stream])

        await one(False)
        gc.collect()
        before = len(asyncio.all_tasks()), len(gc.get_objects())
        for _ in range(10):
            assert sum(await asyncio.gather(*(one(number % 4 == 0) for number in range(1000)))) == 3000
        await asyncio.sleep(0.05)
        gc.collect()
        assert len(asyncio.all_tasks()) == before[0]
        assert len(gc.get_objects()) < before[1] + 1000
