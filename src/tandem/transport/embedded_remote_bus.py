"""The bus and the work queues over another process's hub. See `embedded_remote.py` for the store."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

import msgspec

from tandem.errors import InstanceLost, ServingError
from tandem.transport import embedded_wire as wire
from tandem.transport.embedded_remote import ASK_TIMEOUT_S, HubConnection
from tandem.transport.mailbox import Mailbox
from tandem.transport.outage_log import OutageLog
from tandem.transport.ports import BusMessage, Delivery, LaneDepth

log = logging.getLogger(__name__)

_RETRY_S = 0.2
_ACK_PATIENCE_S = 60.0
"""How long an ack is repeated over an outage; later the job has long been delivered again."""
_MAX_UNSENT = 65536
_message_decoder = msgspec.msgpack.Decoder(tuple[str, bytes])


class RemoteBus:
    """Implements `ports.Bus`."""

    def __init__(self, connection: HubConnection) -> None:
        self.dropped = 0
        """Messages of ours that nobody got: published during an outage, or faster than the host takes them."""
        self._connection = connection
        self._unsent: list[tuple[str, bytes]] = []
        self._wake = asyncio.Event()
        self._tasks = {
            asyncio.create_task(self._publish_all(), name="hub publisher"),
            asyncio.create_task(self._stay_connected(), name="hub pulse"),
        }

    async def publish(self, subject: str, payload: bytes) -> None:
        if len(self._unsent) >= _MAX_UNSENT:
            self.dropped += 1
            return
        self._unsent.append((subject, payload))
        self._wake.set()

    def subscribe(
        self, subject: str, *, max_pending: int = 65536
    ) -> AbstractAsyncContextManager[AsyncIterator[BusMessage]]:
        return self._subscribe(subject, max_pending)

    async def work_queue(self, name: str, *, ack_wait_s: float) -> "RemoteWorkQueue":
        return RemoteWorkQueue(self._connection, name, ack_wait_s, self._tasks)

    @property
    def connected(self) -> bool:
        return self._connection.connected

    async def aclose(self) -> None:
        if not self._tasks:
            return
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self._connection.aclose()

    @asynccontextmanager
    async def _subscribe(self, subject: str, max_pending: int) -> AsyncIterator[Mailbox[BusMessage]]:
        mailbox = Mailbox[BusMessage](max_pending)
        stands = asyncio.Event()
        reader = asyncio.create_task(self._read(subject, mailbox, stands), name=f"hub subscription {subject}")
        try:
            try:
                async with asyncio.timeout(ASK_TIMEOUT_S):
                    await stands.wait()
            except TimeoutError:
                log.warning("hub.subscription_waits subject=%s", subject)
            yield mailbox
        finally:
            reader.cancel()
            await asyncio.wait([reader])

    async def _read(self, subject: str, mailbox: Mailbox[BusMessage], stands: asyncio.Event) -> None:
        # Reads on without waiting for the subscriber: a slow one loses its oldest messages here, not the host's time.
        outage = OutageLog(log, "hub.subscription", f"subject={subject}")
        while True:
            try:
                async with aclosing(self._connection.stream(wire.Subscribe(subject, mailbox.limit))) as messages:
                    async for packed in messages:
                        name, payload = _message_decoder.decode(packed)
                        if name:
                            mailbox.put(BusMessage(name, payload))
                        else:
                            stands.set()
                            outage.works()
            except ServingError as error:
                outage.broken(error.message)
            await asyncio.sleep(_RETRY_S)

    async def _publish_all(self) -> None:
        # One batch under way at a time: while it travels, the next one gathers.
        outage = OutageLog(log, "hub.publish", "meanwhile=dropped")
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._unsent = self._unsent, []
            try:
                if not self.connected:
                    raise InstanceLost("not connected")
                await self._connection.ask(wire.Publish(batch), type(None), dial_s=0)
                outage.works()
            except ServingError as error:
                self.dropped += len(batch)
                outage.broken(error.message)

    async def _stay_connected(self) -> None:
        while True:
            await self._connection.client.probe(self._connection.address, timeout_s=ASK_TIMEOUT_S)
            await self._connection.client.wait_lost(self._connection.address)
            await asyncio.sleep(_RETRY_S)


class RemoteDelivery:
    """Implements `ports.Delivery`."""

    def __init__(self, queue: "RemoteWorkQueue", taken: wire.Taken) -> None:
        self._queue = queue
        self._taken = taken

    @property
    def lane(self) -> str:
        return self._taken.lane

    @property
    def payload(self) -> bytes:
        return self._taken.payload

    @property
    def number(self) -> int:
        return self._taken.number

    async def in_progress(self) -> None:
        await self._queue.tell(wire.InProgress(*self._queue.key, self._taken.seq, self._taken.number), patience_s=0)

    async def ack(self) -> None:
        await self._queue.tell(wire.Ack(*self._queue.key, self._taken.seq), patience_s=_ACK_PATIENCE_S)

    async def nak(self, delay_s: float = 0.0) -> None:
        nak = wire.Nak(*self._queue.key, self._taken.seq, self._taken.number, delay_s)
        await self._queue.tell(nak, patience_s=self._queue.ack_wait_s)


class RemoteWorkQueue:
    """Implements `ports.WorkQueue`."""

    def __init__(self, connection: HubConnection, name: str, ack_wait_s: float, tasks: set[asyncio.Task[None]]) -> None:
        self.ack_wait_s = ack_wait_s
        self.key = (name, ack_wait_s)
        self._connection = connection
        self._tasks = tasks
        self._outage = OutageLog(log, "hub.take", f"queue={name}")

    async def put(self, lane: str, job_id: str, payload: bytes) -> None:
        await self._connection.ask(wire.PutJob(*self.key, lane, job_id, payload), type(None))

    async def take(self, lanes: Sequence[str], *, timeout_s: float) -> list[Delivery]:
        until = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, until - time.monotonic())
            try:
                take = wire.Take(*self.key, list(lanes), left_s)
                made = await self._connection.ask(
                    take, list[wire.Taken], timeout_s=left_s + ASK_TIMEOUT_S, dial_s=left_s
                )
                self._outage.works()
                return [RemoteDelivery(self, taken) for taken in made]
            except ServingError as error:
                self._outage.broken(error.message)
            if until - time.monotonic() <= _RETRY_S:
                return []
            await asyncio.sleep(_RETRY_S)

    async def cancel(self, job_id: str) -> bool:
        try:
            return await self._connection.ask(wire.CancelJob(*self.key, job_id), bool, dial_s=0)
        except ServingError:
            return False

    async def lanes(self) -> dict[str, LaneDepth]:
        found = await self._connection.ask(wire.Lanes(*self.key), dict[str, tuple[int, int]])
        return {lane: LaneDepth(waiting, claimed) for lane, (waiting, claimed) in found.items()}

    async def drop_lane(self, lane: str, *, into: str) -> None:
        await self._connection.ask(wire.DropLane(*self.key, lane, into), type(None))

    async def tell(self, message: wire.Queued, *, patience_s: float) -> None:
        """Send what needs no answer; over an outage it is repeated in the background for `patience_s`."""
        try:
            await self._connection.ask(message, type(None), dial_s=0)
        except ServingError:
            if patience_s > 0:
                task = asyncio.create_task(self._tell_later(message, patience_s), name="hub late ack")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _tell_later(self, message: wire.Queued, patience_s: float) -> None:
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            await asyncio.sleep(_RETRY_S)
            try:
                await self._connection.ask(message, type(None))
                return
            except ServingError:
                continue
        log.warning("hub.ack_given_up queue=%s", self.key[0])
