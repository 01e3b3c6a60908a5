"""Keys that wait for a reconciliation."""

import asyncio

from tandem.operator.queue import FIRST_PAUSE_S, LONGEST_PAUSE_S, WorkQueue

A, B, C = ("n", "a"), ("n", "b"), ("n", "c")


def queue() -> WorkQueue:
    return WorkQueue(lambda: asyncio.get_running_loop().time())


async def test_a_key_waits_once_and_is_worked_on_by_one_at_a_time() -> None:
    keys = queue()
    for key in (A, B, A):
        keys.add(key)
    assert [await keys.take(), await keys.take(), len(keys)] == [A, B, 0]
    keys.add(A)
    assert len(keys) == 0, "somebody works on it"
    keys.done(A)
    assert await keys.take() == A, "what came meanwhile is not lost"


async def test_new_groups_go_before_those_that_only_changed() -> None:
    keys = queue()
    keys.add(A)
    keys.add(B)
    keys.add(C, new=True)
    assert [await keys.take() for _ in range(3)] == [C, A, B]


async def test_a_failed_key_comes_again_after_pauses_that_double() -> None:
    keys = queue()
    pauses = [keys.done(A, failed=True) for _ in range(10)]
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert keys.done(A) is None
    assert keys.done(A, failed=True) == FIRST_PAUSE_S
    keys.add(A)
    assert await keys.take() == A, "a change does not wait for the pause"
    keys.close()


async def test_a_key_asked_for_later_comes_then_or_when_something_asks_earlier() -> None:
    keys = queue()
    keys.add_after(A, 0.05)
    keys.add_after(A, 60.0)
    assert len(keys) == 0
    async with asyncio.timeout(5):
        assert await keys.take() == A
    keys.done(A)
    keys.add_after(A, 60.0)
    keys.add(A)
    assert await keys.take() == A
    keys.close()
