"""What every request plane promises of payloads that wake nobody: pushed by a handler, relayed to a reader."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from tests.contracts.request_contract import PATIENCE_S, Endless, collect, echo

from tandem.errors import Overloaded
from tandem.transport.ports import CallContext, RequestClient, RequestServer


class RelayContract:
    """A subclass supplies the fixtures of `RequestContract`."""

    async def test_what_a_handler_pushes_stands_in_order_with_what_it_yields(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        async def mixed(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
            yield b"0"
            assert context.push(b"1")
            assert context.push(b"2")
            await asyncio.sleep(0.01)
            yield b"3"
            assert context.push(b"4")

        server.register("mixed", mixed)
        assert await collect(client, server.address, "mixed") == [b"%d" % n for n in range(5)]

    async def test_a_push_is_refused_while_the_caller_takes_no_more(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        pushed = asyncio.Event()
        taken = 0

        async def pushes(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
            nonlocal taken
            assert not context.push(bytes(100 << 20)), "longer than any payload may be"
            while context.push(b"%d" % taken):
                taken += 1
            pushed.set()
            for n in range(taken, taken + 10):
                yield b"%d" % n

        server.register("pushes", pushes)
        stream = await client.call(server.address, "pushes", b"")
        async with asyncio.timeout(PATIENCE_S):
            await pushed.wait()
        assert taken == 256, "the window is 256 items"
        assert [payload async for payload in stream] == [b"%d" % n for n in range(266)], "nothing is lost or late"

    async def test_a_relay_takes_payloads_in_order_until_it_refuses_one(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        server.register("count", Endless())
        stream = await client.call(server.address, "count", b"")
        taken: list[bytes] = []
        async with asyncio.timeout(PATIENCE_S):
            for stop in (0, 5, 6, 1000, 1001):

                def take(payloads: Sequence[bytes], stop: int = stop) -> int:
                    some = payloads[: stop - len(taken)]
                    taken.extend(some)
                    return len(some)

                await stream.relay(take)
                assert await anext(stream) == b"%d" % stop, "the refused one comes next"
                taken.append(b"%d" % stop)
        assert taken == [b"%d" % n for n in range(1002)]
        await stream.aclose()

    async def test_what_came_together_is_relayed_together(self, server: RequestServer, client: RequestClient) -> None:
        async def bursts(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
            for first in (0, 10):
                for n in range(first, first + 10):
                    yield b"%d" % n
                await asyncio.sleep(0.05)

        server.register("bursts", bursts)
        stream = await client.call(server.address, "bursts", b"")
        portions: list[list[bytes]] = []

        def take(payloads: Sequence[bytes]) -> int:
            portions.append(list(payloads))
            return len(payloads)

        async with asyncio.timeout(PATIENCE_S):
            await stream.relay(take)
        assert portions == [[b"%d" % n for n in range(10)], [b"%d" % n for n in range(10, 20)]]

    async def test_a_relay_returns_at_the_end_and_iterating_says_how_it_ended(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        async def fails(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
            yield b"one"
            await asyncio.sleep(0.01)
            yield b"two"
            raise Overloaded("full")

        server.register("fails", fails)
        server.register("echo", echo)
        for endpoint, taken in (("echo", [b"x"] * 3), ("fails", [b"one", b"two"])):
            stream = await client.call(server.address, endpoint, b"x")
            got: list[bytes] = []

            def take(payloads: Sequence[bytes], got: list[bytes] = got) -> int:
                got.extend(payloads)
                return len(payloads)

            async with asyncio.timeout(PATIENCE_S):
                await stream.relay(take)
                assert got == taken
                with pytest.raises(StopAsyncIteration if endpoint == "echo" else Overloaded):
                    await anext(stream)

    async def test_a_relay_that_raises_ends_with_what_it_raised_and_harms_no_other(
        self, server: RequestServer, client: RequestClient
    ) -> None:
        server.register("count", Endless())
        stream, other = [await client.call(server.address, "count", b"") for _ in range(2)]
        assert await anext(stream) == b"0"

        def take(payloads: Sequence[bytes]) -> int:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(PATIENCE_S):
                await stream.relay(take)
        numbers = [int(await anext(other)) for _ in range(300)]
        assert numbers == sorted(set(numbers)), "one counter serves both; each number once, in order"
        await stream.aclose()
        await other.aclose()

    async def test_a_cancelled_relay_takes_no_more(self, server: RequestServer, client: RequestClient) -> None:
        server.register("count", Endless())
        stream, taken = await client.call(server.address, "count", b""), list[bytes]()

        def take(payloads: Sequence[bytes]) -> int:
            taken.extend(payloads)
            return len(payloads)

        relaying = asyncio.create_task(stream.relay(take))
        async with asyncio.timeout(PATIENCE_S):
            while len(taken) < 600:
                await asyncio.sleep(0)
        relaying.cancel()
        await asyncio.gather(relaying, return_exceptions=True)
        seen = len(taken)
        assert [await anext(stream) for _ in range(3)] == [b"%d" % n for n in range(seen, seen + 3)]
        assert len(taken) == seen
        await stream.aclose()
