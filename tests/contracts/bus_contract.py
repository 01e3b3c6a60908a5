"""What every bus adapter promises. A subclass supplies `bus` and `other` (a second client)."""

import asyncio
from collections.abc import AsyncIterator

from tandem.transport.ports import Bus, BusMessage

PATIENCE_S = 10.0


async def next_message(messages: AsyncIterator[BusMessage]) -> BusMessage:
    """The next message of a subscription."""
    async with asyncio.timeout(PATIENCE_S):
        return await anext(messages)


async def until_connected(*buses: Bus) -> None:
    """Return when all of them say that they are."""
    async with asyncio.timeout(PATIENCE_S):
        while not all(bus.connected for bus in buses):
            await asyncio.sleep(0.01)


class BusContract:
    """Inherited by a test class per adapter."""

    async def test_a_message_reaches_every_subscriber_of_its_subject(self, bus: Bus, other: Bus) -> None:
        await until_connected(bus, other)
        async with other.subscribe("load.ns.worker") as one, bus.subscribe("load.ns.worker") as two:
            await bus.publish("load.ns.worker", b"\x00\xff")
            assert await next_message(one) == BusMessage("load.ns.worker", b"\x00\xff")
            assert await next_message(two) == BusMessage("load.ns.worker", b"\x00\xff")

    async def test_messages_keep_their_order(self, bus: Bus, other: Bus) -> None:
        await until_connected(bus, other)
        async with other.subscribe("a") as messages:
            for number in range(1000):
                await bus.publish("a", b"%d" % number)
            assert [(await next_message(messages)).payload for _ in range(1000)] == [b"%d" % n for n in range(1000)]

    async def test_wildcards_match_one_word_or_the_rest(self, bus: Bus, other: Bus) -> None:
        await until_connected(bus, other)
        async with other.subscribe("kv.*.events") as star, other.subscribe("kv.>") as rest:
            for subject in ("kv", "kv.one", "kv.one.two.events", "other.one.events", "kv.one.events"):
                await bus.publish(subject, b"")
            assert (await next_message(star)).subject == "kv.one.events"
            seen = [(await next_message(rest)).subject for _ in range(3)]
        assert seen == ["kv.one", "kv.one.two.events", "kv.one.events"]

    async def test_a_subscription_begins_when_it_is_entered_and_ends_when_it_is_left(
        self, bus: Bus, other: Bus
    ) -> None:
        await until_connected(bus, other)
        await bus.publish("a", b"too early")
        async with other.subscribe("b") as later:
            await bus.publish("b", b"now")
            assert (await next_message(later)).payload == b"now"
        async with other.subscribe("a") as messages:
            await bus.publish("a", b"in time")
            assert (await next_message(messages)).payload == b"in time"

    async def test_a_slow_subscriber_misses_the_oldest_and_delays_nobody(self, bus: Bus, other: Bus) -> None:
        await until_connected(bus, other)
        async with other.subscribe("a", max_pending=10) as slow, other.subscribe("a") as quick:
            for number in range(500):
                await bus.publish("a", b"%d" % number)
            assert [(await next_message(quick)).payload for _ in range(500)][-1] == b"499"
            await asyncio.sleep(0.1)
            kept = [(await next_message(slow)).payload for _ in range(10)]
        assert kept == [b"%d" % number for number in range(490, 500)]

    async def test_publishing_to_nobody_is_no_error(self, bus: Bus) -> None:
        await until_connected(bus)
        await bus.publish("nobody.listens", b"x" * 10000)
        assert bus.connected
