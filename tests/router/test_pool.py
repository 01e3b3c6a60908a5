"""What a router knows of its workers over time: predictions, queues, speeds, deaths."""

import pytest

from tandem.core.kv_updates import KvChange
from tandem.core.routing import RouteRequest
from tandem.kv.blocks import to_bytes
from tandem.router.kv_rule import KvWeights, kv_rule
from tandem.router.pool import Decision, PredictionTimes, WorkerPool
from tandem.router.predictions import marks_of
from tandem.router.prefills import PrefillQueue

BLOCK = 16
TIMES = PredictionTimes(eventful_s=60, settle_s=2, eventless_s=100)


def a_pool(*names: str, tells: bool = True, capacity: int | None = None) -> WorkerPool:
    pool = WorkerPool(kv_rule(KvWeights()), BLOCK, times=TIMES)
    for name in names:
        pool.join((name, None), tells=tells, capacity_blocks=capacity)
    return pool


def blocks(start: int, count: int = 20) -> list[int]:
    return list(range(start, start + count))


def send(pool: WorkerPool, request_id: str, names: list[int], now: float, *, to: str = "ab") -> Decision:
    request = RouteRequest(request_id=request_id, candidates=list(to), token_ids=[0] * (len(names) * BLOCK))
    return pool.choose(request, names, now=now, draw=0.0)


def stored(pool: WorkerPool, name: str, names: list[int]) -> None:
    pool.told((name, None), KvChange("stored", names=to_bytes(names)))


def test_a_burst_of_equal_prompts_follows_the_first_before_anybody_tells() -> None:
    pool = a_pool("a", "b")
    first = send(pool, "1", blocks(1), 0.0)
    second = send(pool, "2", blocks(1), 0.0)
    assert second.choice.instance_id == first.choice.instance_id
    assert (second.found_blocks, second.predicted_blocks, second.choice.reason) == (0, 20, "overlap")


def test_a_burst_of_different_prompts_is_spread() -> None:
    pool = a_pool("a", "b", "c", "d")
    sent = [send(pool, str(i), blocks(1 + 100 * i), 0.0, to="abcd").choice.instance_id for i in range(8)]
    assert sorted(sent) == list("aabbccdd")


def test_a_prediction_gives_way_to_what_the_worker_says() -> None:
    pool = a_pool("a", "b")
    to = send(pool, "1", blocks(1), 0.0).choice.instance_id
    pool.prefilled("1", 1.0)
    pool.finished("1", 1.5)
    assert send(pool, "2", blocks(1), 2.0).predicted_blocks == 20
    pool.finished("2", 2.0)
    stored(pool, to, blocks(1, 12))  # it could keep only these
    late = send(pool, "3", blocks(1), 10.0)
    assert (late.choice.instance_id, late.found_blocks, late.predicted_blocks) == (to, 12, 12)


def test_without_events_predictions_last_and_are_bounded_by_the_cache() -> None:
    pool = a_pool("a", tells=False, capacity=30)
    send(pool, "1", blocks(1), 0.0, to="a")
    pool.finished("1", 1.0)
    assert send(pool, "2", blocks(1), 50.0, to="a").predicted_blocks == 20
    pool.finished("2", 50.0)
    send(pool, "3", blocks(1000), 60.0, to="a")
    again = send(pool, "4", blocks(1), 61.0, to="a")
    assert 0 < again.predicted_blocks < 20, "the tail went for the newer prompt, the head stayed"
    assert send(pool, "5", blocks(1000), 500.0, to="a").predicted_blocks == 0


def test_what_was_sent_again_counts_once_and_is_young_again() -> None:
    pool = a_pool("a", tells=False, capacity=50)
    for number, start in enumerate((1, 100, 1, 200)):  # 20 + 20 blocks, 20 of them again, 20 new ones: 10 too many
        send(pool, str(number), blocks(start), float(number), to="a")
        pool.finished(str(number), float(number))
    worker = pool._workers["a", None]
    assert worker.predictions._blocks == 50
    found = {start: worker.predictions.run(blocks(start), marks_of(blocks(start)), 0, 5.0) for start in (1, 100, 200)}
    assert found == {1: 20, 100: 10, 200: 20}
    worker.predictions.run(blocks(1), marks_of(blocks(1)), 0, 500.0)
    assert (worker.predictions._blocks, worker.predictions._by_mark, len(worker.predictions._oldest)) == (0, {}, 0)


def test_a_prompt_that_went_for_want_of_room_keeps_no_memory_until_its_time_is_up() -> None:
    pool = a_pool("a", tells=False, capacity=50)
    for number in range(100):  # 20 different blocks each
        send(pool, str(number), blocks(1 + 20 * number), 0.0, to="a")
        pool.finished(str(number), 0.0)
    assert sum(len(expected.names) for *_, expected in pool._workers["a", None].predictions._ends) == 50


def test_a_worker_that_leaves_takes_its_blocks_along_and_a_new_one_starts_empty() -> None:
    pool = a_pool("a", "b")
    stored(pool, "a", blocks(1))
    pool.leave(("a", None))
    pool.join(("c", None), tells=True)
    assert pool.number(("c", None)) == 0, "the number is used anew"
    assert send(pool, "1", blocks(1), 0.0, to="bc").best_blocks == 0


def test_a_worker_that_left_and_came_back_under_its_name_owes_nothing_of_its_first_life() -> None:
    pool = a_pool("a")
    send(pool, "1", blocks(1), 0.0, to="a")
    pool.leave(("a", None))
    pool.join(("a", None), tells=True)
    pool.prefilled("1", 1.0)
    pool.finished("1", 2.0)
    again = send(pool, "2", blocks(1), 100.0, to="a")
    assert (again.predicted_blocks, again.choice.reason) == (0, "only_one")


def test_a_worker_that_stops_telling_is_known_by_what_was_sent_up_to_its_size() -> None:
    pool = a_pool("a", tells=True)
    stored(pool, "a", blocks(1))
    pool.join(("a", None), tells=False, capacity_blocks=30)
    assert send(pool, "1", blocks(1), 0.0, to="a").found_blocks == 0, "nobody says when they go"
    pool.finished("1", 1.0)
    send(pool, "2", blocks(1000), 2.0, to="a")
    pool.finished("2", 3.0)
    assert send(pool, "3", blocks(1), 4.0, to="a").predicted_blocks == 10, "30 blocks hold one prompt and a half"
    pool.join(("a", None), tells=True)
    assert send(pool, "4", blocks(1000), 5.0, to="a").predicted_blocks == 0


def test_a_worker_that_nobody_described_can_still_be_chosen() -> None:
    pool = a_pool()
    assert send(pool, "1", blocks(1), 0.0, to="x").choice.instance_id == "x"
    pool.prefilled("1", 0.0)
    pool.finished("1", 0.0)
    assert pool.open_requests() == 0


def test_other_routers_loads_count() -> None:
    pool = a_pool("a", "b")
    pool.elsewhere({("a", None): 5.0})
    assert [send(pool, str(i), blocks(1 + 50 * i), 0.0).choice.instance_id for i in range(3)] == ["b"] * 3
    assert pool.waits(0.0).keys() == {("b", None)}


class TestPrefillQueue:
    def test_it_empties_as_first_tokens_come(self) -> None:
        queue = PrefillQueue()
        queue.sent("1", 8000, 0.0)
        queue.sent("2", 4000, 0.0)
        assert queue.wait_s(0.0, 8000.0) == pytest.approx(1.5)
        assert queue.wait_s(0.5, 8000.0) == pytest.approx(1.0)
        assert queue.wait_s(50.0, 8000.0) == pytest.approx(0.6), "the oldest is overdue, not gone"
        queue.first_token("1", 1.0)
        assert queue.wait_s(1.0, 8000.0) == pytest.approx(0.5)
        queue.left("2", 1.1)
        queue.left("2", 1.1)
        assert (queue.tokens, queue.wait_s(2.0, 8000.0)) == (0, 0.0)

    def test_it_learns_how_fast_a_worker_is_from_the_time_it_was_busy(self) -> None:
        queue = PrefillQueue()
        assert queue.speed(7.0) == 7.0
        for i in range(100):
            queue.sent(str(i), 2000, 10.0 * i)
            queue.first_token(str(i), 10.0 * i + 0.5)
        assert queue.speed(7.0) == pytest.approx(4000)
        for i in range(300):
            queue.sent(str(i), 2000, 10000 + 10.0 * i)
            queue.first_token(str(i), 10000 + 10.0 * i + 1.0)
        assert queue.speed(7.0) == pytest.approx(2000, rel=0.02), "it has slowed down"
