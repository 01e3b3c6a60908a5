"""Lets other processes use a hub: its operations as endpoints on a private socket, or for other hosts on a port."""

import hmac
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from tandem.errors import ProtocolMismatch, Unavailable
from tandem.transport import embedded_wire as wire
from tandem.transport.embedded_hub import EmbeddedHub
from tandem.transport.embedded_wire import hub_address
from tandem.transport.hub_queue import QueueState
from tandem.transport.ports import CallContext
from tandem.transport.settings import RequestPlaneSettings
from tandem.transport.tcp import TcpRequestServer

log = logging.getLogger(__name__)

R = TypeVar("R", bound=wire.Request)

_encode = msgspec.msgpack.Encoder().encode


class HubServer:
    """Serves `hub` at the Unix socket `at` (mode 0600; its folder should be 0700), or at the address `host:port`.

    Args:
        token: what every call must carry; None lets in whoever reaches the address.
    """

    def __init__(
        self,
        hub: EmbeddedHub,
        at: Path | str,
        settings: RequestPlaneSettings | None = None,
        *,
        token: str | None = None,
    ) -> None:
        self._hub = hub
        self._token = token.encode() if token else None
        self._server = TcpRequestServer(hub_address(at), identity="hub", settings=settings)
        one, many = self._one, self._many
        one(wire.Grant, self._grant)
        one(wire.Renew, self._renew)
        one(wire.Revoke, self._revoke)
        one(wire.Put, self._put)
        one(wire.Get, self._get)
        one(wire.GetPrefix, self._get_prefix)
        one(wire.Delete, self._delete)
        many(wire.Watch, self._watch)
        one(wire.Publish, self._publish)
        many(wire.Subscribe, self._subscribe)
        one(wire.PutJob, self._put_job)
        one(wire.Take, self._take)
        one(wire.InProgress, self._in_progress)
        one(wire.Ack, self._ack)
        one(wire.Nak, self._nak)
        one(wire.CancelJob, self._cancel_job)
        one(wire.Lanes, self._lanes)
        one(wire.DropLane, self._drop_lane)

    async def start(self) -> None:
        """Listen. Raises `Unavailable` when another host already serves there."""
        await self._server.start()

    async def aclose(self) -> None:
        """Close every client's connection; to them it is an outage. Safe to repeat."""
        await self._server.aclose()

    def _one(self, request_type: type[R], answer: Callable[[R], Awaitable[object]]) -> None:
        async def stream(request: R) -> AsyncGenerator[object, None]:
            yield await answer(request)

        self._many(request_type, stream)

    def _many(self, request_type: type[R], answers: Callable[[R], AsyncGenerator[object, None]]) -> None:
        decoder = msgspec.msgpack.Decoder(request_type)

        async def handler(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
            self._admit(context)
            try:
                request = decoder.decode(payload)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ProtocolMismatch(f"request to {context.endpoint} does not decode: {error}") from None
            stream = answers(request)
            try:
                async for answer in stream:
                    yield _encode(answer)
            finally:
                await stream.aclose()

        self._server.register(request_type.endpoint(), handler)

    def _admit(self, context: CallContext) -> None:
        """Raises `Unavailable`, as any place where the caller is not served."""
        if self._token is None:
            return
        given = context.headers.get(wire.TOKEN_HEADER, "")
        if not hmac.compare_digest(given.encode(), self._token):
            has = "another than ours" if given else "none"
            raise Unavailable(f"the group's hub wants its token, and {context.peer} has {has}: see TANDEM_GROUP_TOKEN")

    # ── store ────────────────────────────────────────────────────────────────────────────────────

    async def _grant(self, request: wire.Grant) -> int:
        now = self._hub.now()
        lease = self._hub.state.store.grant(request.ttl_s, now)
        self._hub.arm(now + request.ttl_s)
        return lease

    async def _renew(self, request: wire.Renew) -> bool:
        return self._hub.state.store.renew(request.lease, self._hub.now())

    async def _revoke(self, request: wire.Revoke) -> None:
        self._hub.apply(self._hub.state.store.revoke(request.lease))

    async def _put(self, request: wire.Put) -> bool:
        done, effects = self._hub.state.store.put(
            request.key, request.value, request.lease, only_if_absent=request.only_if_absent
        )
        self._hub.apply(effects)
        return done

    async def _get(self, request: wire.Get) -> list[bytes]:
        value = self._hub.state.store.get(request.key)
        return [] if value is None else [value]

    async def _get_prefix(self, request: wire.GetPrefix) -> dict[str, bytes]:
        return self._hub.state.store.get_prefix(request.prefix)

    async def _delete(self, request: wire.Delete) -> bool:
        there = self._hub.state.store.has(request.key)
        self._hub.apply(self._hub.state.store.delete(request.key))
        return there

    async def _watch(self, request: wire.Watch) -> AsyncGenerator[object, None]:
        async with self._hub.watch(request.prefix) as events:
            async for event in events:
                yield event.kind, event.key, event.value

    # ── bus ──────────────────────────────────────────────────────────────────────────────────────

    async def _publish(self, request: wire.Publish) -> None:
        for subject, payload in request.messages:
            self._hub.publish(subject, payload)

    async def _subscribe(self, request: wire.Subscribe) -> AsyncGenerator[object, None]:
        async with self._hub.subscribe(request.subject, request.max_pending) as messages:
            yield "", b""
            async for message in messages:
                yield message.subject, message.payload

    # ── work queues ──────────────────────────────────────────────────────────────────────────────

    def _queue(self, request: wire.Queued) -> QueueState:
        return self._hub.state.queue(request.queue, request.ack_wait_s)

    async def _put_job(self, request: wire.PutJob) -> None:
        queue = self._queue(request)
        self._hub.apply(queue.put(request.lane, request.job_id, request.payload, self._hub.now()))

    async def _take(self, request: wire.Take) -> list[wire.Taken]:
        made = await self._hub.take(self._queue(request), request.lanes, request.timeout_s)
        return [] if made is None else [wire.Taken(made.seq, made.lane, made.payload, made.number)]

    async def _in_progress(self, request: wire.InProgress) -> None:
        self._queue(request).in_progress(request.seq, request.number, self._hub.now())

    async def _ack(self, request: wire.Ack) -> None:
        self._queue(request).ack(request.seq)

    async def _nak(self, request: wire.Nak) -> None:
        now = self._hub.now()
        self._hub.apply(self._queue(request).nak(request.seq, request.number, request.delay_s, now))
        self._hub.arm(now + request.delay_s)

    async def _cancel_job(self, request: wire.CancelJob) -> bool:
        return self._queue(request).cancel(request.job_id)

    async def _lanes(self, request: wire.Lanes) -> dict[str, tuple[int, int]]:
        lanes = self._queue(request).lanes()
        return {lane: (depth.waiting, depth.claimed) for lane, depth in lanes.items()}

    async def _drop_lane(self, request: wire.DropLane) -> None:
        self._hub.apply(self._queue(request).drop_lane(request.lane, request.into, self._hub.now()))
