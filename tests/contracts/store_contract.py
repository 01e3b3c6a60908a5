"""What every store adapter promises. A subclass supplies `store`, `other` (a second client) and `ttl_s`."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tandem.errors import LeaseLost, Unavailable
from tandem.transport.ports import Store, StoreEvent

PATIENCE_S = 12.0


async def next_event(events: AsyncIterator[StoreEvent], *, skip: tuple[str, ...] = ()) -> StoreEvent:
    """The next event of a watch, but for kinds in `skip`."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            event = await anext(events)
            if event.kind not in skip:
                return event


async def until_synced(events: AsyncIterator[StoreEvent]) -> list[StoreEvent]:
    """Events up to the next `synced`, which is left out."""
    found: list[StoreEvent] = []
    while (event := await next_event(events)).kind != "synced":
        found.append(event)
    return found


class StoreContract:
    """Inherited by a test class per adapter."""

    async def test_a_value_that_was_put_is_read_by_another_client(self, store: Store, other: Store) -> None:
        await store.put("/a/ключ", b"\x00\xff binary")
        assert await other.get("/a/ключ") == b"\x00\xff binary"
        assert await other.get("/a/nothing") is None

    async def test_a_second_put_replaces_the_first(self, store: Store) -> None:
        await store.put("/a/1", b"old")
        await store.put("/a/1", b"new")
        assert await store.get("/a/1") == b"new"

    async def test_create_writes_only_where_nothing_is(self, store: Store, other: Store) -> None:
        assert await store.create("/a/1", b"first")
        assert not await other.create("/a/1", b"second")
        assert await store.get("/a/1") == b"first"

    async def test_a_prefix_lists_its_keys_in_order_and_no_others(self, store: Store) -> None:
        for key in ("/a/2", "/a/1", "/ab", "/a/10"):
            await store.put(key, key.encode())
        found = await store.get_prefix("/a/")
        assert list(found.items()) == [("/a/1", b"/a/1"), ("/a/10", b"/a/10"), ("/a/2", b"/a/2")]
        assert await store.get_prefix("/nothing/") == {}

    async def test_delete_says_whether_there_was_something(self, store: Store) -> None:
        await store.put("/a/1", b"")
        assert await store.delete("/a/1")
        assert not await store.delete("/a/1")
        assert await store.get("/a/1") is None

    async def test_keys_of_a_revoked_lease_vanish_and_others_stay(self, store: Store, ttl_s: float) -> None:
        lease = await store.grant(ttl_s)
        await store.put("/a/leased", b"1", lease=lease)
        assert await store.create("/a/made", b"2", lease=lease)
        await store.put("/a/free", b"3")
        await lease.revoke()
        await lease.revoke()
        assert await store.get_prefix("/a/") == {"/a/free": b"3"}

    async def test_a_key_put_anew_without_its_lease_outlives_it(self, store: Store, ttl_s: float) -> None:
        lease = await store.grant(ttl_s)
        await store.put("/a/1", b"1", lease=lease)
        await store.put("/a/1", b"2")
        await lease.revoke()
        assert await store.get("/a/1") == b"2"

    async def test_leases_have_numbers_of_their_own(self, store: Store, other: Store, ttl_s: float) -> None:
        leases = [await store.grant(ttl_s), await other.grant(ttl_s), await store.grant(ttl_s)]
        assert len({lease.id for lease in leases}) == 3

    async def test_writing_on_a_lease_that_is_over_raises_lease_lost(self, store: Store, ttl_s: float) -> None:
        lease = await store.grant(ttl_s)
        await lease.revoke()
        with pytest.raises(LeaseLost):
            await store.put("/a/1", b"", lease=lease)
        with pytest.raises(LeaseLost):
            await store.create("/a/1", b"", lease=lease)
        assert await store.get("/a/1") is None

    async def test_a_lease_lives_as_long_as_its_keeper(self, store: Store, other: Store, ttl_s: float) -> None:
        lease = await store.grant(ttl_s)
        await store.put("/a/1", b"1", lease=lease)
        async with other.watch("/a/") as events:
            assert len(await until_synced(events)) == 1
            await asyncio.sleep(1.5 * ttl_s)
            assert await other.get("/a/1") == b"1", "it was kept"
            await store.aclose()
            assert await next_event(events) == StoreEvent("delete", "/a/1")

    async def test_a_watch_begins_with_what_is_there(self, store: Store, other: Store) -> None:
        await store.put("/a/2", b"2")
        await store.put("/a/1", b"1")
        await store.put("/b/1", b"-")
        async with other.watch("/a/") as events:
            assert await until_synced(events) == [StoreEvent("put", "/a/1", b"1"), StoreEvent("put", "/a/2", b"2")]

    async def test_a_watch_tells_every_change_in_order(self, store: Store, other: Store) -> None:
        async with other.watch("/a/") as events:
            assert await until_synced(events) == []
            for number in range(50):
                await store.put("/a/1", b"%d" % number)
            await store.put("/b/1", b"unseen")
            await store.delete("/a/1")
            seen = [await next_event(events) for _ in range(51)]
        assert seen == [*(StoreEvent("put", "/a/1", b"%d" % n) for n in range(50)), StoreEvent("delete", "/a/1")]

    async def test_watches_do_not_disturb_each_other(self, store: Store) -> None:
        async with store.watch("/a/") as ours, store.watch("/") as all_events:
            await until_synced(ours)
            await until_synced(all_events)
            await store.put("/b/1", b"b")
            await store.put("/a/1", b"a")
            assert (await next_event(ours)).key == "/a/1"
            assert [(await next_event(all_events)).key for _ in range(2)] == ["/b/1", "/a/1"]
        async with store.watch("/a/") as again:
            assert len(await until_synced(again)) == 1


class StoreOutageContract:
    """For stores that live in another process. A subclass supplies `store`, `ttl_s` and `backend`."""

    async def test_a_lost_store_is_an_outage_and_comes_back_empty(
        self, store: Store, backend: "Backend", ttl_s: float
    ) -> None:
        await backend.start()
        lease = await store.grant(ttl_s)
        await store.put("/a/1", b"1", lease=lease)
        async with store.watch("/a/") as events:
            assert len(await until_synced(events)) == 1
            await backend.kill()
            assert (await next_event(events)).kind == "outage"
            with pytest.raises(Unavailable):
                await store.get("/a/1")
            await backend.start()
            assert await until_synced(events) == [], "one outage is told once; nothing is left"
            async with asyncio.timeout(PATIENCE_S):
                await lease.wait_lost()
            with pytest.raises(LeaseLost):
                await store.put("/a/1", b"1", lease=lease)
            fresh = await store.grant(ttl_s)
            await store.put("/a/1", b"again", lease=fresh)
            assert await next_event(events) == StoreEvent("put", "/a/1", b"again")

    async def test_a_store_that_arrives_late_is_waited_for_by_watches(self, store: Store, backend: "Backend") -> None:
        async with store.watch("/a/") as events:
            assert (await next_event(events)).kind == "outage"
            with pytest.raises(Unavailable):
                await store.put("/a/1", b"1")
            await backend.start()
            assert await until_synced(events) == []
            await store.put("/a/1", b"1")
            assert await next_event(events) == StoreEvent("put", "/a/1", b"1")

    async def test_revoking_a_lease_of_a_store_that_is_gone_is_no_error(
        self, store: Store, backend: "Backend", ttl_s: float
    ) -> None:
        await backend.start()
        lease = await store.grant(ttl_s)
        await backend.kill()
        await lease.revoke()
        await lease.revoke()
        with pytest.raises(Unavailable):
            await store.grant(ttl_s)


class Backend:
    """A server that a test may start and kill; every start is with empty data at the same address."""

    async def start(self) -> None:
        raise NotImplementedError

    async def kill(self) -> None:
        raise NotImplementedError
