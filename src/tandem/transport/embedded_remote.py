"""The planes' ports over another process's hub, by its Unix socket or address. The host may come back empty."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from tandem.errors import DeadlineExceeded, ServingError, Unavailable
from tandem.transport import embedded_wire as wire
from tandem.transport.lease import KeptLease, noting_loss
from tandem.transport.outage_log import OutageLog
from tandem.transport.ports import Lease, StoreEvent
from tandem.transport.settings import RequestPlaneSettings
from tandem.transport.tcp import TcpCallStream, TcpRequestClient

log = logging.getLogger(__name__)

T = TypeVar("T")

ASK_TIMEOUT_S = 3.0
_RETRY_S = 0.2
_FAR_RETRY_S = 2.0
_decode = msgspec.msgpack.decode
_change_decoder = msgspec.msgpack.Decoder(wire.Change)


class HubConnection:
    """The way to a hub's host, shared by the store and the bus of a process.

    Args:
        token: what the host wants of its callers, if it does.
    """

    def __init__(
        self, at: Path | str, settings: RequestPlaneSettings | None = None, *, token: str | None = None
    ) -> None:
        self.address = wire.hub_address(at)
        self.local = isinstance(at, Path)
        self.client = TcpRequestClient(settings)
        self._headers = {wire.TOKEN_HEADER: token} if token else {}

    @property
    def connected(self) -> bool:
        return self.client.is_connected(self.address)

    async def ask(
        self,
        request: wire.Request,
        answer_type: type[T],
        *,
        timeout_s: float = ASK_TIMEOUT_S,
        dial_s: float = ASK_TIMEOUT_S,
    ) -> T:
        """The one answer to `request`, within `timeout_s`. Raises `Unavailable`.

        Args:
            dial_s: how long a host that is not there is waited for; it may be coming back.
        """
        now = time.time()
        deadline, give_up = now + timeout_s, now + dial_s
        while True:
            try:
                stream = await self._call(request, deadline)
                break
            except DeadlineExceeded:
                raise Unavailable(f"the embedded planes at {self.address} do not answer") from None
            except Unavailable:
                if time.time() + _RETRY_S >= give_up:
                    raise
            await asyncio.sleep(_RETRY_S)
        try:
            async for payload in stream:
                return _decode(payload, type=answer_type)
        except DeadlineExceeded:
            raise Unavailable(f"the embedded planes at {self.address} did not answer in {timeout_s:g} s") from None
        finally:
            await stream.aclose()
        raise Unavailable(f"the embedded planes at {self.address} gave no answer")

    async def stream(self, request: wire.Request) -> AsyncGenerator[bytes, None]:
        """The answers to `request` until the connection breaks. Raises `Unavailable`."""
        stream = await self._call(request, None)
        try:
            async for payload in stream:
                yield payload
        finally:
            await stream.aclose()

    async def _call(self, request: wire.Request, deadline: float | None) -> TcpCallStream:
        packed = msgspec.msgpack.encode(request)
        return await self.client.call(
            self.address, request.endpoint(), packed, deadline=deadline, headers=self._headers
        )

    async def aclose(self) -> None:
        """Close. Safe to repeat: the store and the bus both do."""
        await self.client.aclose()


class RemoteStore:
    """Implements `ports.Store`."""

    def __init__(self, connection: HubConnection) -> None:
        self._connection = connection
        self._leases: set[KeptLease] = set()
        self._closed = False

    async def grant(self, ttl_s: float) -> KeptLease:
        number = await self._connection.ask(wire.Grant(ttl_s), int)
        lease = KeptLease(number, ttl_s, self._renew, self._revoke)
        self._leases.add(lease)
        return lease

    async def put(self, key: str, value: bytes, *, lease: Lease | None = None) -> None:
        await self._put(key, value, lease, only_if_absent=False)

    async def create(self, key: str, value: bytes, *, lease: Lease | None = None) -> bool:
        return await self._put(key, value, lease, only_if_absent=True)

    async def get(self, key: str) -> bytes | None:
        found = await self._connection.ask(wire.Get(key), list[bytes])
        return found[0] if found else None

    async def get_prefix(self, prefix: str) -> dict[str, bytes]:
        return await self._connection.ask(wire.GetPrefix(prefix), dict[str, bytes])

    async def delete(self, key: str) -> bool:
        return await self._connection.ask(wire.Delete(key), bool)

    def watch(self, prefix: str) -> AbstractAsyncContextManager[AsyncIterator[StoreEvent]]:
        return self._watch(prefix)

    async def aclose(self) -> None:
        self._closed = True
        for lease in self._leases:
            lease.stop()
        self._leases.clear()
        await self._connection.aclose()

    @asynccontextmanager
    async def _watch(self, prefix: str) -> AsyncIterator[AsyncIterator[StoreEvent]]:
        events = self._events(prefix)
        try:
            yield events
        finally:
            await events.aclose()

    async def _events(self, prefix: str) -> AsyncGenerator[StoreEvent, None]:
        told, pause_s = False, _RETRY_S
        outage = OutageLog(log, "hub.watch", f"prefix={prefix}")
        while not self._closed:
            changes = self._connection.stream(wire.Watch(prefix))
            try:
                async for payload in changes:
                    kind, key, value = _change_decoder.decode(payload)
                    told, pause_s = False, _RETRY_S
                    outage.works()
                    yield StoreEvent(kind, key, value)
            except ServingError as error:
                outage.broken(error.message)
            finally:
                await changes.aclose()
            if not told and not self._closed:
                told = True
                yield StoreEvent("outage")
            await asyncio.sleep(pause_s)
            if not self._connection.local:  # a name that does not resolve yet need not be asked for all the time
                pause_s = min(2 * pause_s, _FAR_RETRY_S)

    async def _put(self, key: str, value: bytes, lease: Lease | None, *, only_if_absent: bool) -> bool:
        lease_id = None if lease is None else lease.id
        with noting_loss(lease):
            return await self._connection.ask(wire.Put(key, value, lease_id, only_if_absent), bool)

    async def _renew(self, lease: int) -> bool:
        return await self._connection.ask(wire.Renew(lease), bool)

    async def _revoke(self, lease: int) -> None:
        await self._connection.ask(wire.Revoke(lease), type(None))
