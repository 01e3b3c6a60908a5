"""Jobs in lanes on a JetStream work queue stream: a subject `{name}.{lane}` and a durable pull consumer per lane.

Stream and consumers are made when they are found missing, so a server that came back empty is set up again
by whoever next puts or takes.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from typing import Any

from nats import errors as nats_errors
from nats.aio.msg import Msg

from tandem.errors import ServingError, Unavailable
from tandem.transport.hub_bus import check_subject
from tandem.transport.nats.connection import NatsConnection
from tandem.transport.nats.jetstream import STREAM_NOT_FOUND, JetStream, JetStreamRefused, nanoseconds
from tandem.transport.nats.pull import Pull
from tandem.transport.ports import Delivery, LaneDepth

log = logging.getLogger(__name__)

_PULL_S = 5.0
"""Longest single request for a message: a request that got lost is made again after this."""
_NOW_S = 0.25
"""How long "only if there is one now" may take. The server may leave such a request open, when somebody else's
request gets the one message that it had seen waiting."""
_RETRY_S = 0.2
_ACK_PATIENCE_S = 60.0
_REMEMBERED_JOBS = 16384
_JOB_HEADER = "Nats-Msg-Id"


class NatsDelivery:
    """Implements `ports.Delivery`."""

    def __init__(self, queue: "NatsWorkQueue", message: Msg) -> None:
        self._queue = queue
        self._reply = message.reply
        self._payload = message.data
        self._lane = message.subject.removeprefix(f"{queue.name}.")
        self._number = message.metadata.num_delivered or 1

    @property
    def lane(self) -> str:
        return self._lane

    @property
    def payload(self) -> bytes:
        return self._payload

    @property
    def number(self) -> int:
        return self._number

    async def in_progress(self) -> None:
        await self._queue.connection.publish(self._reply, b"+WPI")

    async def ack(self) -> None:
        await self._queue.acknowledge(self._reply)

    async def nak(self, delay_s: float = 0.0) -> None:
        delay = f' {{"delay": {nanoseconds(delay_s)}}}' if delay_s > 0 else ""
        await self._queue.connection.publish(self._reply, f"-NAK{delay}".encode())


class NatsWorkQueue:
    """Implements `ports.WorkQueue`."""

    def __init__(
        self,
        connection: NatsConnection,
        name: str,
        *,
        ack_wait_s: float,
        max_age_s: float,
        tasks: set[asyncio.Task[None]],
    ) -> None:
        """`tasks` keeps what runs on in the background; its owner cancels it."""
        check_subject(name, pattern=False)
        self.name = name
        self.ack_wait_s = ack_wait_s
        self.connection = connection
        # A stream's name is one word without the letters that mean something in a subject or a path.
        self._jetstream = JetStream(connection, "".join(c if c.isalnum() or c in "-_" else "_" for c in name))
        self._max_age_s = max_age_s
        self._tasks = tasks
        self._ready_lanes: set[str] = set()
        self._ready_epoch = 0
        self._mine: OrderedDict[str, tuple[str, int]] = OrderedDict()
        """Where our own jobs are in the stream, so that they can be cancelled: job id → lane, seq."""

    async def put(self, lane: str, job_id: str, payload: bytes) -> None:
        subject = self._subject(lane)
        until = time.monotonic() + self.connection.request_timeout_s
        while True:
            try:
                seq = await self._jetstream.publish(subject, payload, job_id)
                break
            except JetStreamRefused as refused:
                raise Unavailable(f"NATS did not store the job: {refused}") from refused
            except LookupError:
                await self.ensure_stream()  # nobody listens on the subject: the stream is gone
            except Unavailable:
                if time.monotonic() >= until:
                    raise
            await asyncio.sleep(_RETRY_S / 4)
            if time.monotonic() >= until:
                raise Unavailable(f"NATS did not confirm a job within {self.connection.request_timeout_s:g} s")
        self._mine[job_id] = lane, seq
        if len(self._mine) > _REMEMBERED_JOBS:
            self._mine.popitem(last=False)

    async def take(self, lanes: Sequence[str], *, timeout_s: float) -> list[Delivery]:
        until = time.monotonic() + timeout_s
        first = True
        while first or time.monotonic() < until:
            first = False
            try:
                await self.connection.wait_connected(max(0.0, until - time.monotonic()))
                for lane in lanes:
                    await self._ensure_lane(lane)
                # In order of preference first, and only when all are empty wait for all at once.
                for lane in lanes:
                    if found := await self._pull([lane], 0.0):
                        return found
                left_s = min(_PULL_S, until - time.monotonic())
                if left_s > 0 and (found := await self._pull(lanes, left_s)):
                    return found
            except (ServingError, JetStreamRefused, nats_errors.Error, OSError, LookupError) as error:
                log.info("nats.take_broken queue=%s reason=%r", self.name, str(error))
                self._ready_lanes.clear()
                await asyncio.sleep(max(0.0, min(_RETRY_S, until - time.monotonic())))
        return []

    async def cancel(self, job_id: str) -> bool:
        """Remove a job of this process that nobody has taken.

        A consumer delivers in order and never goes back, so what lies beyond its position is untaken.
        """
        lane, seq = self._mine.get(job_id, ("", 0))
        if not lane:
            return False
        try:
            if await self._was_taken(lane, seq) or not await self._jetstream.delete_message(seq):
                return False
            del self._mine[job_id]
            return not await self._was_taken(lane, seq)
        except (ServingError, JetStreamRefused) as error:
            log.info("nats.cancel_failed queue=%s reason=%r", self.name, str(error))
            return False

    async def lanes(self) -> dict[str, LaneDepth]:
        try:
            subjects, consumers = await self._jetstream.subjects(), await self._jetstream.consumers()
        except JetStreamRefused as refused:
            if refused.code == STREAM_NOT_FOUND:
                return {}
            raise Unavailable(f"NATS does not list the lanes: {refused}") from refused
        # A lane that nobody has asked for yet has messages and no consumer.
        depths = {subject.removeprefix(f"{self.name}."): LaneDepth(held, 0) for subject, held in subjects.items()}
        for lane, info in consumers.items():
            depths[lane] = LaneDepth(info["num_pending"], info["num_ack_pending"])
        return dict(sorted(depths.items()))

    async def drop_lane(self, lane: str, *, into: str) -> None:
        """Move what waits in `lane` to `into`.

        The lane itself goes when nobody holds a job of it; while somebody does, it is still listed: drop it again.
        """
        if lane == into:
            return
        held = (await self.lanes()).get(lane)
        if held is None:
            return
        try:
            if held.waiting or held.claimed:
                await self._ensure_lane(lane)
            while found := await self._pull_messages([lane], 0.0):
                for message in found:
                    job_id = (message.headers or {}).get(_JOB_HEADER, message.reply)
                    # Another id than the job's own, which was put moments ago; the same one for every mover.
                    await self._jetstream.publish(self._subject(into), message.data, f"{job_id}>{into}")
                    await self.acknowledge(message.reply)
            info = await self._jetstream.consumer(lane)
            if info is not None and not info["num_ack_pending"] and not info["num_pending"]:
                await self._jetstream.delete_consumer(lane)
                self._ready_lanes.discard(lane)
        except (JetStreamRefused, LookupError, nats_errors.Error, OSError) as error:
            raise Unavailable(f"NATS did not drop the lane {lane}: {error}") from error

    async def ensure_stream(self) -> None:
        """Make the stream if it is not there. Raises `Unavailable`, with advice when JetStream is off.

        A server that has just started has no JetStream for a moment, so it is asked for a while.
        """
        until = time.monotonic() + self.connection.request_timeout_s / 2
        while True:
            try:
                await self._jetstream.create_stream(f"{self.name}.*", max_age_s=self._max_age_s)
                return
            except Unavailable:
                if time.monotonic() >= until:
                    raise
            await asyncio.sleep(_RETRY_S)

    async def acknowledge(self, reply: str) -> None:
        """Ack and see it confirmed; over an outage it is repeated in the background. Never raises."""
        if not await self._acked(reply):
            self._spawn(self._ack_later(reply))

    async def _acked(self, reply: str) -> bool:
        try:
            await self.connection.request(reply, b"+ACK")
        except ServingError:
            return False
        except LookupError:
            log.info("nats.ack_of_vanished_job queue=%s", self.name)  # its consumer is gone, and the job with it
        return True

    async def _ack_later(self, reply: str) -> None:
        until = time.monotonic() + _ACK_PATIENCE_S
        while time.monotonic() < until:
            await asyncio.sleep(_RETRY_S)
            if await self._acked(reply):
                return
        log.warning("nats.ack_given_up queue=%s", self.name)

    async def _ensure_lane(self, lane: str) -> None:
        if self._ready_epoch != self.connection.epoch:
            self._ready_lanes.clear()
            await self.ensure_stream()
            self._ready_epoch = self.connection.epoch
        if lane not in self._ready_lanes:
            subject = self._subject(lane)
            try:
                await self._jetstream.create_consumer(lane, subject, ack_wait_s=self.ack_wait_s)
            except JetStreamRefused:
                await self.ensure_stream()
                await self._jetstream.create_consumer(lane, subject, ack_wait_s=self.ack_wait_s)
            self._ready_lanes.add(lane)

    async def _pull(self, lanes: Sequence[str], expires_s: float) -> list[Delivery]:
        found = [NatsDelivery(self, message) for message in await self._pull_messages(lanes, expires_s)]
        return sorted(found, key=lambda delivery: lanes.index(delivery.lane))

    async def _pull_messages(self, lanes: Sequence[str], expires_s: float) -> list[Msg]:
        pull = Pull(self._jetstream)
        try:
            await pull.start()
            for lane in lanes:
                await pull.ask(lane, expires_s)
            await pull.wait(expires_s + self.connection.request_timeout_s if expires_s > 0 else _NOW_S)
            found = await pull.finish()
        except BaseException:
            pull.abandon(self._spawn)
            raise
        if not found and pull.refused:
            raise Unavailable(f"NATS answered {', '.join(sorted(pull.refused))} to a request for jobs")
        return found

    async def _was_taken(self, lane: str, seq: int) -> bool:
        info = await self._jetstream.consumer(lane)
        return info is not None and int(info["delivered"]["stream_seq"]) >= seq

    def _subject(self, lane: str) -> str:
        check_subject(lane, pattern=False)
        return f"{self.name}.{lane}"

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"nats {self.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
