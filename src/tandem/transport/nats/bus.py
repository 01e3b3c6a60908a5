"""Publish and subscribe on NATS core."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from tandem.transport.hub_bus import check_subject
from tandem.transport.mailbox import Mailbox
from tandem.transport.nats.connection import NatsConnection
from tandem.transport.nats.work_queue import NatsWorkQueue
from tandem.transport.ports import BusMessage
from tandem.transport.settings import NatsSettings

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Wanted:
    """A subscription of ours, and what it is to the present server."""

    subject: str
    mailbox: Mailbox[BusMessage]
    server_side: Subscription | None = field(default=None)

    async def on_message(self, message: Msg) -> None:
        self.mailbox.put(BusMessage(message.subject, message.data))


class NatsBus:
    """Implements `ports.Bus`. The server may come later than we, and go and come back empty."""

    def __init__(self, settings: NatsSettings) -> None:
        self._settings = settings
        self._wanted: set[_Wanted] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connection = NatsConnection(settings, self._subscribe_again)

    async def publish(self, subject: str, payload: bytes) -> None:
        check_subject(subject, pattern=False)
        await self._connection.publish(subject, payload)

    def subscribe(
        self, subject: str, *, max_pending: int = 65536
    ) -> AbstractAsyncContextManager[AsyncIterator[BusMessage]]:
        return self._subscribe(subject, max_pending)

    async def work_queue(self, name: str, *, ack_wait_s: float) -> NatsWorkQueue:
        """Open a queue. Raises `Unavailable` when the server is there but has no JetStream."""
        queue = NatsWorkQueue(
            self._connection, name, ack_wait_s=ack_wait_s, max_age_s=self._settings.max_job_age_s, tasks=self._tasks
        )
        if self.connected:
            await queue.ensure_stream()
        return queue

    @property
    def connected(self) -> bool:
        return self._connection.connected

    async def aclose(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._connection.aclose()

    @asynccontextmanager
    async def _subscribe(self, subject: str, max_pending: int) -> AsyncIterator[Mailbox[BusMessage]]:
        check_subject(subject, pattern=True)
        wanted = _Wanted(subject, Mailbox[BusMessage](max_pending))
        self._wanted.add(wanted)
        try:
            if self.connected:
                client = self._connection.client()
                try:
                    await self._tell(client, wanted)
                    await self._connection.settle(client)
                except (nats_errors.Error, OSError, TimeoutError) as error:
                    log.info("nats.subscription_waits subject=%s reason=%r", subject, str(error))
            yield wanted.mailbox
        finally:
            self._wanted.discard(wanted)
            if wanted.server_side is not None:
                try:
                    await wanted.server_side.unsubscribe()
                except (nats_errors.Error, OSError) as error:
                    log.debug("nats.unsubscribe_failed subject=%s reason=%r", subject, str(error))

    async def _subscribe_again(self) -> None:
        client = self._connection.client()
        for wanted in list(self._wanted):
            await self._tell(client, wanted)
        await self._connection.settle(client)

    async def _tell(self, client: Client, wanted: _Wanted) -> None:
        # nats-py's own limits are off: the mailbox bounds what is unread, and drops the oldest, not the newest.
        wanted.server_side = await client.subscribe(
            wanted.subject, cb=wanted.on_message, pending_msgs_limit=0, pending_bytes_limit=0
        )
