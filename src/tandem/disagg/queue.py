"""The prefill queue: `PrefillJob`s in lanes, over any bus's work queue.

A job that does not decode is acked and counted, never redelivered for ever. The queue is opened by
need, so that a bus that arrives late delays only remote prefill.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from tandem.core.handoff import PrefillJob
from tandem.errors import Unavailable
from tandem.transport.ports import Bus, Delivery, LaneDepth, WorkQueue

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PrefillJob).decode

DEPTH_MAX_AGE_S = 0.5
"""How old the known queue depth may be when a decision uses it: one look serves every request in that time."""

_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class TakenJob:
    """A delivery and the job in it; None when its bytes are not a job of ours."""

    job: PrefillJob | None
    delivery: Delivery


class PrefillQueue:
    """Jobs for whoever prefills this model.

    Args:
        name: from `rules.queue_name`.
        ack_wait_s: a job whose taker shows no sign of life for this long goes to somebody else. Seconds.
        clock: monotonic seconds.
    """

    def __init__(self, bus: Bus, name: str, *, ack_wait_s: float, clock: Callable[[], float]) -> None:
        self.name = name
        self.ack_wait_s = ack_wait_s
        self._bus = bus
        self._clock = clock
        self._queue: WorkQueue | None = None
        self._opening = asyncio.Lock()
        self._depth: dict[str, LaneDepth] = {}
        self._depth_at = float("-inf")

    @property
    def connected(self) -> bool:
        return self._bus.connected

    async def reachable(self, *, timeout_s: float) -> bool:
        """Whether jobs can be put and taken; a bus that is about to be there is waited for."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if self._bus.connected:
                        await self._open()
                        return True
                    await asyncio.sleep(_LOOK_S)
        except (TimeoutError, Unavailable):
            return False

    async def _open(self) -> WorkQueue:
        if self._queue is None:
            async with self._opening:
                if self._queue is None:
                    self._queue = await self._bus.work_queue(self.name, ack_wait_s=self.ack_wait_s)
        return self._queue

    async def put(self, job: PrefillJob, *, lane: str) -> None:
        """Add a job. Raises `Unavailable` when the bus did not take it."""
        queue = await self._open()
        await queue.put(lane, f"{job.job_id}#{job.attempt}", _encode(job))

    async def cancel(self, job_id: str, attempt: int) -> bool:
        """Remove a job that nobody has taken yet."""
        return self._queue is not None and await self._queue.cancel(f"{job_id}#{attempt}")

    async def take(self, lanes: Sequence[str], *, timeout_s: float) -> list[TakenJob]:
        """Wait for jobs: at most one per lane. Raises `Unavailable` while the bus is away."""
        queue = await self._open()
        taken = []
        for delivery in await queue.take(lanes, timeout_s=timeout_s):
            try:
                job = _decode(delivery.payload)
            except msgspec.MsgspecError:
                job = None
            taken.append(TakenJob(job, delivery))
        return taken

    async def depth(self) -> dict[str, LaneDepth]:
        """Depth per lane, at most `DEPTH_MAX_AGE_S` old; the last one known while the bus is away."""
        if self._clock() - self._depth_at > DEPTH_MAX_AGE_S:
            try:
                self._depth = await (await self._open()).lanes()
                self._depth_at = self._clock()
            except Unavailable:
                return self._depth
        return self._depth

    async def drop_lane(self, lane: str, *, into: str) -> None:
        """Move a gone worker's waiting jobs to the lane `into`."""
        await (await self._open()).drop_lane(lane, into=into)
