"""What every work queue promises. A subclass supplies `bus`, `other` (a second client) and `ack_wait_s`."""

import asyncio
import itertools

import pytest

from tandem.transport.ports import Bus, Delivery, LaneDepth, WorkQueue

LANE = "common"
_numbers = itertools.count()


async def take(queue: WorkQueue, *lanes: str, timeout_s: float = 5.0) -> Delivery:
    """The one delivery of `lanes`."""
    (delivery,) = await queue.take(lanes or (LANE,), timeout_s=timeout_s)
    return delivery


class WorkQueueContract:
    """Inherited by a test class per adapter."""

    @pytest.fixture
    def name(self) -> str:
        """A queue of its own for each test: they may share a server."""
        return f"prefill-{next(_numbers)}"

    @pytest.fixture
    async def queue(self, bus: Bus, name: str, ack_wait_s: float) -> WorkQueue:
        return await bus.work_queue(name, ack_wait_s=ack_wait_s)

    @pytest.fixture
    async def other_queue(self, other: Bus, name: str, ack_wait_s: float) -> WorkQueue:
        return await other.work_queue(name, ack_wait_s=ack_wait_s)

    async def test_a_job_is_taken_by_another_client_and_is_over_when_acked(
        self, queue: WorkQueue, other_queue: WorkQueue, ack_wait_s: float
    ) -> None:
        await queue.put(LANE, "job", b"\x00payload")
        delivery = await take(other_queue)
        assert (delivery.lane, delivery.payload, delivery.number) == (LANE, b"\x00payload", 1)
        await delivery.ack()
        assert await queue.take([LANE], timeout_s=1.5 * ack_wait_s) == []

    async def test_a_job_without_a_sign_of_life_comes_again(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        await queue.put(LANE, "job", b"1")
        first = await take(queue)
        again = await take(other_queue)
        assert (first.number, again.number, again.payload) == (1, 2, b"1")
        await again.ack()

    async def test_a_job_in_progress_stays_claimed(
        self, queue: WorkQueue, other_queue: WorkQueue, ack_wait_s: float
    ) -> None:
        await queue.put(LANE, "job", b"1")
        delivery = await take(queue)
        waiting = asyncio.create_task(other_queue.take([LANE], timeout_s=2.5 * ack_wait_s))
        for _ in range(6):
            await asyncio.sleep(ack_wait_s / 3)
            await delivery.in_progress()
        assert not waiting.done()
        await delivery.ack()
        assert await waiting == []

    async def test_a_job_given_back_comes_again_at_once(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        await queue.put(LANE, "job", b"1")
        await (await take(queue)).nak()
        again = await take(other_queue, timeout_s=0.6)
        assert again.number == 2
        await again.ack()

    async def test_a_job_given_back_with_a_delay_comes_after_it(self, queue: WorkQueue) -> None:
        await queue.put(LANE, "job", b"1")
        await (await take(queue)).nak(0.8)
        assert await queue.take([LANE], timeout_s=0.4) == []
        again = await take(queue)
        assert again.number == 2
        await again.ack()

    async def test_a_repeated_put_is_one_job(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        await queue.put(LANE, "job", b"1")
        await queue.put(LANE, "job", b"1")
        await (await take(queue)).ack()
        await other_queue.put(LANE, "job", b"1")
        assert await queue.take([LANE], timeout_s=0.3) == []

    async def test_jobs_of_a_lane_come_oldest_first(self, queue: WorkQueue) -> None:
        for number in range(5):
            await queue.put(LANE, f"job-{number}", b"%d" % number)
        assert [(await take(queue)).payload for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]

    async def test_an_earlier_lane_is_preferred(self, queue: WorkQueue) -> None:
        await queue.put("common", "a", b"common")
        await queue.put("mine", "b", b"mine")
        first, *rest = await queue.take(["mine", "common"], timeout_s=2)
        assert first.payload == b"mine"
        assert len(rest) <= 1
        if not rest:
            assert (await take(queue, "mine", "common")).payload == b"common"

    async def test_a_taker_leaves_other_lanes_alone(self, queue: WorkQueue) -> None:
        await queue.put("theirs", "a", b"1")
        assert await queue.take(["mine", "common"], timeout_s=0.3) == []
        assert (await take(queue, "theirs")).number == 1

    async def test_a_waiting_taker_gets_a_job_as_soon_as_it_is_put(self, queue: WorkQueue) -> None:
        waiting = asyncio.create_task(queue.take(["mine", "common"], timeout_s=10))
        await asyncio.sleep(0.2)
        before = asyncio.get_running_loop().time()
        await queue.put("common", "a", b"1")
        (delivery,) = await waiting
        assert delivery.payload == b"1"
        assert asyncio.get_running_loop().time() - before < 0.5

    async def test_each_job_goes_to_one_taker(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        async def work(mine: WorkQueue) -> list[bytes]:
            done = []
            while deliveries := await mine.take([LANE], timeout_s=0.5):
                for delivery in deliveries:
                    done.append(delivery.payload)
                    await delivery.ack()
            return done

        workers = [asyncio.create_task(work(q)) for q in (queue, other_queue, queue)]
        for number in range(30):
            await queue.put(LANE, f"job-{number}", b"%d" % number)
        done = [payload for worker in workers for payload in await worker]
        assert sorted(done) == sorted(b"%d" % number for number in range(30))

    async def test_a_cancelled_taker_loses_no_job(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        for after_s in (0.0, 0.05):
            waiting = asyncio.create_task(queue.take([LANE], timeout_s=10))
            await asyncio.sleep(after_s)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await queue.put(LANE, "job", b"1")
        racing = asyncio.create_task(queue.take([LANE], timeout_s=10))
        await asyncio.sleep(0)
        racing.cancel()
        delivery = await take(other_queue)
        assert delivery.payload == b"1"
        await delivery.ack()

    async def test_a_job_that_nobody_took_can_be_cancelled(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        await queue.put(LANE, "kept", b"kept")
        await queue.put(LANE, "gone", b"gone")
        assert await queue.cancel("gone")
        assert not await queue.cancel("gone")
        assert not await queue.cancel("never there")
        delivery = await take(other_queue)
        assert delivery.payload == b"kept"
        assert await other_queue.take([LANE], timeout_s=0.2) == []
        assert not await queue.cancel("kept"), "it is taken"
        await delivery.ack()
        assert not await queue.cancel("kept"), "it is over"

    async def test_lanes_are_listed_with_their_depth(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        for number in range(3):
            await queue.put(LANE, f"job-{number}", b"")
        await queue.put("idle", "other", b"")
        await take(queue)
        lanes = await other_queue.lanes()
        assert lanes == {LANE: LaneDepth(waiting=2, claimed=1), "idle": LaneDepth(waiting=1, claimed=0)}

    async def test_a_dropped_lane_gives_its_waiting_jobs_to_another(
        self, queue: WorkQueue, other_queue: WorkQueue
    ) -> None:
        assert await queue.take(["gone"], timeout_s=0.05) == []
        for number in range(3):
            await queue.put("gone", f"job-{number}", b"%d" % number)
        await other_queue.drop_lane("gone", into=LANE)
        lanes = await queue.lanes()
        assert "gone" not in lanes
        assert lanes[LANE].waiting == 3
        taken = [await take(queue) for _ in range(3)]
        assert [delivery.payload for delivery in taken] == [b"0", b"1", b"2"]
        for delivery in taken:
            await delivery.ack()
        await other_queue.drop_lane("never there", into=LANE)

    async def test_an_ack_may_be_repeated(self, queue: WorkQueue) -> None:
        await queue.put(LANE, "a", b"1")
        await queue.put(LANE, "b", b"2")
        first = await take(queue)
        await first.ack()
        await first.ack()
        await first.nak()
        await first.in_progress()
        assert (await take(queue)).payload == b"2"
