"""Asking several consumers for one message each, and giving back what comes too late to be used."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from nats import errors as nats_errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from tandem.errors import Unavailable
from tandem.transport.nats.connection import NatsConnection
from tandem.transport.nats.jetstream import JetStream, nanoseconds

_DRAIN_TIMEOUT_S = 2.0


class Pull:
    """One inbox and the requests that answer into it. Open, ask, wait, then `finish` or `abandon`."""

    def __init__(self, jetstream: JetStream) -> None:
        self.messages: list[Msg] = []
        self.refused: set[str] = set()
        """Statuses other than "nothing here" and "time is over": the consumer, the stream or JetStream is missing."""
        self._jetstream = jetstream
        self._connection: NatsConnection = jetstream.connection
        self._lost = self._connection.lost
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._open = 0
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Open the inbox. Raises `Unavailable` or a NATS error when there is no connection."""
        client = self._connection.client()
        self._inbox = client.new_inbox()
        self._subscription = await client.subscribe(f"{self._inbox}.*", cb=self._on_message)

    async def ask(self, consumer: str, expires_s: float) -> None:
        """Ask for one message; for 0 s: only if there is one now."""
        body = {"batch": 1, "no_wait": True} if expires_s <= 0 else {"batch": 1, "expires": nanoseconds(expires_s)}
        self._open += 1
        reply = f"{self._inbox}.{self._open}"
        await self._connection.publish(self._jetstream.request_next(consumer), msgspec.json.encode(body), reply)

    async def wait(self, timeout_s: float) -> None:
        """Return when a message is there, nothing more will come, or the connection is lost."""
        tasks = [asyncio.ensure_future(self._news.wait()), asyncio.ensure_future(self._lost.wait())]
        try:
            await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        self._news.clear()

    async def finish(self) -> list[Msg]:
        """Close the inbox. Everything that the server had sent until then is in the answer: no message is in limbo."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None and not self._lost.is_set():
            with contextlib.suppress(nats_errors.Error, OSError, TimeoutError, Unavailable):
                async with asyncio.timeout(_DRAIN_TIMEOUT_S):
                    client = self._connection.client()
                    await client._send_unsubscribe(subscription._id)
                    await self._connection.settle(client)
                    await subscription.drain()  # type: ignore[no-untyped-call]
        return self.messages

    def abandon(self, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Nobody waits any more: in the background, close the inbox and give back what it holds."""
        spawn(self._give_back())

    async def _give_back(self) -> None:
        for message in await self.finish():
            await self._connection.publish(message.reply, b"-NAK")

    async def _on_message(self, message: Msg) -> None:
        status = (message.headers or {}).get("Status")
        if status is None:
            self.messages.append(message)
        else:
            self._open -= 1
            if status not in ("404", "408"):
                self.refused.add(status)
        if status is None or self.refused or self._open <= 0:
            self._news.set()
