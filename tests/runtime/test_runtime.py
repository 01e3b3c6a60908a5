"""A process's connection to the planes: instances are found, called, and gone when they are dead."""

import asyncio
import time
from collections.abc import AsyncGenerator

import msgspec
import pytest
from tests.runtime.joined import TTL_S, Ask, Connect, card_of, count, crash, eventually

from tandem.errors import InstanceLost, ProtocolMismatch, Unavailable
from tandem.runtime.calls import current_call
from tandem.transport.embedded import EmbeddedHub

# ── finding and calling ──────────────────────────────────────────────────────────────────────────


async def test_an_announced_instance_is_found_and_called_by_types(join: Connect) -> None:
    worker, caller = await join(), await join()
    worker.serve("count", Ask, int, count)
    view = caller.instances("worker")
    assert view.all() == ()
    registration = await worker.announce(card_of(worker))
    (card,) = await view.wait_for(1, timeout_s=2)
    assert card == registration.card
    assert view.get(worker.instance_id) == card
    assert caller.instances("worker") is view
    assert [number async for number in caller.call(card, "count", Ask(3), int)] == [0, 1, 2]
    assert [number async for number in caller.call(card.address, "count", Ask(1), int)] == [0]
    with pytest.raises(Unavailable, match="1 of 2"):
        await view.wait_for(2, timeout_s=0.05)


async def test_namespaces_do_not_see_each_other(join: Connect) -> None:
    worker, stranger = await join(namespace="a"), await join(namespace="b")
    await worker.announce(card_of(worker))
    with pytest.raises(Unavailable):
        await stranger.instances("worker").wait_for(1, timeout_s=0.05)
    assert len(await stranger.instances("worker", namespace="a").wait_for(1, timeout_s=2)) == 1


async def test_a_handler_can_ask_which_call_it_answers(join: Connect) -> None:
    worker, caller = await join(), await join()

    async def who(ask: Ask) -> AsyncGenerator[tuple[str, str], None]:
        await asyncio.sleep(0)
        yield current_call().request_id, current_call().headers["traceparent"]

    worker.serve("who", Ask, tuple[str, str], who)
    answers = [
        caller.call(
            worker.server.address,
            "who",
            Ask(0),
            tuple[str, str],
            request_id=f"req-{n}",
            headers={"traceparent": f"{n}"},
        )
        for n in range(3)
    ]
    assert [[item async for item in answer] for answer in answers] == [[(f"req-{n}", f"{n}")] for n in range(3)]
    with pytest.raises(LookupError):
        current_call()


async def test_messages_that_do_not_decode_are_a_protocol_mismatch(join: Connect) -> None:
    worker, caller = await join(), await join()
    worker.serve("count", Ask, int, count)
    with pytest.raises(ProtocolMismatch, match="request to count"):
        await anext(caller.call(worker.server.address, "count", {"count": "many"}, int))
    with pytest.raises(ProtocolMismatch, match="answer of count"):
        await anext(caller.call(worker.server.address, "count", Ask(1), str))


async def test_closing_an_answer_cancels_the_handler(join: Connect) -> None:
    worker, caller = await join(), await join()
    closed = asyncio.Event()

    async def endless(ask: Ask) -> AsyncGenerator[int, None]:
        try:
            while True:
                await asyncio.sleep(0.001)
                yield 1
        finally:
            closed.set()

    worker.serve("endless", Ask, int, endless)
    answer = caller.call(worker.server.address, "endless", Ask(0), int)
    assert await anext(answer) == 1
    await answer.aclose()
    async with asyncio.timeout(2):
        await closed.wait()


async def test_changes_tell_the_picture_now_and_then_the_latest(join: Connect) -> None:
    worker, caller = await join(), await join()
    changes = caller.instances("worker").changes()
    assert await anext(changes) == ()
    registration = await worker.announce(card_of(worker))
    assert [card.extra for card in await anext(changes)] == [{}]
    for number in range(20):
        await registration.update(card_of(worker, extra={"step": str(number)}))
    await eventually(lambda: caller.instances("worker").all()[0].extra == {"step": "19"})
    (latest,) = await anext(changes)
    assert latest.extra == {"step": "19"}, "a slow reader skips what is no longer so"
    assert latest.instance_id == worker.instance_id
    await registration.withdraw()
    await registration.withdraw()
    assert await anext(changes) == ()
    with pytest.raises(ValueError, match="keeps"):
        await registration.update(card_of(worker, component="other"))


async def test_cards_that_cannot_be_used_are_left_out(join: Connect, caplog: pytest.LogCaptureFixture) -> None:
    worker, caller = await join(), await join()
    await caller.store.put("/tandem/v1/default/worker/noise", b"\xff not json")
    await worker.announce(card_of(worker, instance_id="newer", protocol=99))
    await worker.announce(card_of(worker))
    (card,) = await caller.instances("worker").wait_for(1, timeout_s=2)
    assert card.instance_id == worker.instance_id
    assert "view.card_unreadable" in caplog.text
    assert "view.other_protocol" in caplog.text


async def test_cards_are_json_that_a_person_can_read(join: Connect) -> None:
    worker = await join()
    await worker.announce(card_of(worker))
    value = await worker.store.get(f"/tandem/v1/default/worker/{worker.instance_id}")
    assert value is not None
    assert msgspec.json.decode(value)["address"] == worker.server.address


# ── dying ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_that_finds_an_instance_dead_takes_it_out_at_once(join: Connect) -> None:
    worker, caller = await join(lease_ttl_s=5.0), await join()
    worker.serve("count", Ask, int, count)
    await worker.announce(card_of(worker))
    view = caller.instances("worker")
    (card,) = await view.wait_for(1, timeout_s=2)
    answer = caller.call(card, "count", Ask(100, 0.01), int)
    assert await anext(answer) == 0
    await crash(worker)
    with pytest.raises(InstanceLost):
        async for _ in answer:
            pass
    assert view.all() == ()


async def test_a_live_instance_that_tells_of_a_lost_one_is_not_taken_out(join: Connect) -> None:
    worker, caller = await join(), await join()

    async def relays(ask: Ask) -> AsyncGenerator[int, None]:
        raise InstanceLost("the prefill instance is gone")
        yield 0

    worker.serve("relays", Ask, int, relays)
    await worker.announce(card_of(worker))
    view = caller.instances("worker")
    (card,) = await view.wait_for(1, timeout_s=2)
    with pytest.raises(InstanceLost, match="prefill instance"):
        await anext(caller.call(card, "relays", Ask(0), int))
    assert view.all() == (card,)


async def test_a_dead_instance_is_gone_after_a_time_to_live(join: Connect) -> None:
    worker, caller = await join(), await join()
    await worker.announce(card_of(worker))
    view = caller.instances("worker")
    await view.wait_for(1, timeout_s=2)
    await crash(worker)
    before = time.monotonic()
    await eventually(lambda: view.all() == ())
    assert time.monotonic() - before < 2 * TTL_S


async def test_an_instance_reported_lost_comes_back_when_it_answers(join: Connect) -> None:
    worker, caller = await join(), await join()
    await worker.announce(card_of(worker))
    view = caller.instances("worker")
    await view.wait_for(1, timeout_s=2)
    view.report_lost(worker.instance_id)
    assert view.all() == ()
    assert len(await view.wait_for(1, timeout_s=2)) == 1


async def test_another_instance_on_a_reused_port_is_not_taken_for_the_lost_one(join: Connect) -> None:
    worker, caller = await join(), await join()
    await worker.announce(card_of(worker, instance_id="the-dead-one"))
    view = caller.instances("worker")
    await view.wait_for(1, timeout_s=2)
    view.report_lost("the-dead-one")
    await asyncio.sleep(0.8)
    assert view.all() == ()


async def test_a_worker_whose_lease_lapsed_registers_again(join: Connect, hub: EmbeddedHub) -> None:
    worker, caller = await join(), await join()
    await worker.announce(card_of(worker))
    view = caller.instances("worker")
    await view.wait_for(1, timeout_s=2)
    lease = worker._announced._registries[0]._lease
    assert lease is not None
    hub.apply(hub.state.store.revoke(lease.id))
    await eventually(lambda: view.all() == ())
    assert len(await view.wait_for(1, timeout_s=2 * TTL_S)) == 1
