"""One connection to NATS that comes back by itself.

Every connection is a fresh nats-py client with its own reconnecting switched off: what nats-py would keep
over a break (buffered publishes, pending requests, a half-reset parser) we do not want, and whoever needs
something renewed sees a new `epoch`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from tandem.errors import Unavailable
from tandem.transport.nats.login import login_of
from tandem.transport.settings import NatsSettings

log = logging.getLogger(__name__)

# nats-py logs tracebacks of its own for what is told here in one line.
logging.getLogger("nats").setLevel(logging.CRITICAL)

_RETRY_S = 0.1
_LONGEST_RETRY_S = 1.0
_MAX_UNSENT_BYTES = 32 << 20
"""Bytes that wait for a server that takes nothing; over it, messages are dropped."""


class NatsConnection:
    """Connects and reconnects until closed. Raises `ConfigError` for a log-in that cannot work."""

    def __init__(self, settings: NatsSettings, on_connect: Callable[[], Awaitable[None]]) -> None:
        """`on_connect` runs after each connect, before anybody is told of it: it renews subscriptions."""
        self.epoch = 0
        """Grows with every connect: what a server was told before, it may have forgotten."""
        self.dropped = 0
        """Messages of ours that were published while there was no server to take them."""
        self.request_timeout_s = settings.request_timeout_s
        self._settings = settings
        self._login = login_of(settings)
        self._on_connect = on_connect
        self._client: Client | None = None
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._down.set()
        self._keeper = asyncio.create_task(self._keep(), name="nats connection")

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    @property
    def described(self) -> str:
        """Servers, for messages: no credentials in it."""
        return ", ".join(self._login.servers)

    @property
    def lost(self) -> asyncio.Event:
        """Set while there is no connection; a new event per connection."""
        return self._down

    async def wait_connected(self, timeout_s: float) -> Client:
        """The client of the present connection. Raises `Unavailable` when there is none in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        except TimeoutError:
            raise Unavailable(f"NATS at {self.described} cannot be reached") from None
        return self.client()

    def client(self) -> Client:
        """The client of the present connection. Raises `Unavailable` when there is none."""
        if self._client is None:
            raise Unavailable(f"NATS at {self.described} is not connected")
        return self._client

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> bool:
        """Send without waiting; False when there is nobody to take it: the message is dropped and counted."""
        client = self._client
        if client is not None and client.pending_data_size + len(payload) < _MAX_UNSENT_BYTES:
            with contextlib.suppress(nats_errors.Error, OSError):
                await client.publish(subject, payload, reply=reply)
                return True
        self.dropped += 1
        return False

    async def request(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> Msg:
        """One answer.

        Raises: `LookupError` when nobody listens, `Unavailable` when the connection breaks or time is over.
        """
        client = await self.wait_connected(self.request_timeout_s)
        asking = asyncio.ensure_future(
            client.request(subject, payload, timeout=self.request_timeout_s, headers=headers)
        )
        losing = asyncio.ensure_future(self._down.wait())
        try:
            await asyncio.wait([asking, losing], return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            raise Unavailable(f"the connection to NATS at {self.described} broke")
        except nats_errors.NoRespondersError:
            raise LookupError(subject) from None
        except (nats_errors.Error, TimeoutError, OSError) as error:
            raise Unavailable(f"NATS at {self.described} did not answer: {_reason(error)}") from error
        finally:
            for task in (asking, losing):
                task.cancel()
            await asyncio.wait([asking, losing])
            if not asking.cancelled():
                asking.exception()

    async def settle(self, client: Client) -> None:
        """Return when the server has seen all that we sent, and we all that it had sent before.

        nats-py's own `flush` is not enough: its PING overtakes what is still in its buffer, a SUB or an UNSUB.
        """
        async with asyncio.timeout(self.request_timeout_s):
            # In a task of its own, because nats-py swallows a cancellation in there.
            await asyncio.shield(asyncio.ensure_future(client._flush_pending(force_flush=True)))
            await client.flush(max(1, round(self.request_timeout_s)))

    async def aclose(self) -> None:
        """Disconnect. Safe to repeat."""
        self._keeper.cancel()
        await asyncio.wait([self._keeper])

    async def _keep(self) -> None:
        retry_s, told = _RETRY_S, False
        at = 0
        try:
            while True:
                server = self._login.servers[at % len(self._login.servers)]
                at += 1
                down = asyncio.Event()
                client = Client()
                try:
                    await self._connect(client, server, down)
                    self._client, self._down = client, down
                    self.epoch += 1
                    await self._on_connect()
                    log.info("nats.connected server=%s", server)
                    retry_s, told = _RETRY_S, False
                    self._up.set()
                    await down.wait()
                    log.warning("nats.disconnected server=%s", server)
                except (nats_errors.Error, Unavailable, OSError, TimeoutError, ValueError) as error:
                    if not told:
                        told = True
                        log.warning("nats.unreachable server=%s reason=%r", server, _reason(error))
                self._up.clear()
                self._client = None
                down.set()
                await _closed(client)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
        finally:
            self._up.clear()
            self._down.set()
            client, self._client = self._client or Client(), None
            await _closed(client)

    async def _connect(self, client: Client, server: str, down: asyncio.Event) -> None:
        async def on_closed() -> None:
            down.set()

        async def on_error(error: Exception) -> None:
            log.debug("nats.client_error reason=%r", _reason(error))

        client._public_nkey = self._login.public_nkey  # nats-py has no argument for it beside the package nkeys
        timeout_s = self._settings.request_timeout_s
        async with asyncio.timeout(timeout_s):
            await client.connect(
                servers=[server],
                name="tandem",
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=max(1, round(timeout_s)),
                ping_interval=self._settings.ping_interval_s,  # type: ignore[arg-type]
                max_outstanding_pings=2,
                flusher_queue_size=0,  # no limit: `publish` must not wait, and has a limit of its own
                pending_size=2 * _MAX_UNSENT_BYTES,
                closed_cb=on_closed,
                error_cb=on_error,
                **self._login.options,
            )


async def _closed(client: Client) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(1):
            await client.close()


def _reason(error: BaseException) -> Any:
    # Authorisation errors of the server name neither user nor password.
    return str(error) or type(error).__name__
