"""One connection of the request plane, as both sides see it: hello, heartbeat, and one write per loop turn.

Built on `asyncio.Protocol`: bytes become calls of `on_frame` with no task in between. What is sent
during one turn of the loop, by however many streams, is encoded into one buffer and leaves in one write.
"""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from typing import cast

from tandem.transport.frames import PROTOCOL, Frame, FrameReader, Hello, Items, NotOurs, Ping, Pong, append_frame
from tandem.transport.settings import RequestPlaneSettings

log = logging.getLogger(__name__)

_SPLIT_BYTES = 1 << 20
"""An items frame ends before the payload that would take it over this size, unless it is the frame's only one."""

_LINGER_S = 2.0
"""After an orderly close, how long the peer may take to read what was sent."""


class Outbox:
    """What one stream has to send at the next flush: payloads first, then the frame that ends it."""

    __slots__ = ("final", "payloads", "stream")

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.payloads: list[bytes] = []
        self.final: Frame | None = None


class Link(asyncio.Protocol, ABC):
    """Base of the caller's and the listener's end of a connection."""

    def __init__(self, settings: RequestPlaneSettings, identity: str) -> None:
        self.settings = settings
        self.peer = "?"
        self.lost: str | None = None
        """Why the connection is over, None while it lives."""
        self._identity = identity
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(settings.max_frame_bytes)
        self._transport: asyncio.Transport | None = None
        self._control: list[Frame | Hello] = []
        self._dirty: list[Outbox] = []
        self._flush_due = False
        self._heard = True
        self._silent_beats = 0
        self._beat: asyncio.TimerHandle | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._awaiting_sign: list[asyncio.Future[None]] = []

    # ── what the two ends add ────────────────────────────────────────────────────────────────────

    @abstractmethod
    def on_hello(self, hello: Hello) -> None:
        """The peer is one of ours; its version may differ."""

    @abstractmethod
    def on_frame(self, frame: Frame) -> None:
        """Any frame but ping and pong. Raises `NotOurs` for one that this end never receives."""

    @abstractmethod
    def on_lost(self, reason: str) -> None:
        """Called once, when the connection is over."""

    @abstractmethod
    def on_rejected(self, reason: str) -> None:
        """Called once, before `on_lost`, when the peer sent what is not ours."""

    def on_read(self) -> None:
        """Every frame of what was just read has been handled."""

    def on_never_greeted(self) -> None:
        """The connection is about to be closed and no hello has come on it."""

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def send(self, frame: Frame | Hello) -> None:
        """Send with the next flush, before any payload."""
        self._control.append(frame)
        self._schedule_flush()

    def mark_dirty(self, outbox: Outbox) -> None:
        """`outbox` has something to send. Called once per stream and turn."""
        self._dirty.append(outbox)
        self._schedule_flush()

    @property
    def congested(self) -> bool:
        """Whether the socket takes no more: senders should wait for `wait_drained`."""
        return not self._drained.is_set()

    async def answers(self, timeout_s: float) -> bool:
        """Ask the peer for a sign of life and wait for it."""
        if self.lost is not None:
            return False
        sign = self._loop.create_future()
        self._awaiting_sign.append(sign)
        self.send(Ping())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await sign
        return sign.done() and not sign.cancelled() and self.lost is None

    async def wait_drained(self) -> None:
        """Return when the socket takes bytes again, or is lost."""
        await self._drained.wait()

    def _schedule_flush(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        control, self._control = self._control, []
        dirty, self._dirty = self._dirty, []
        if self.lost is not None or self._transport is None:
            return
        buffer = bytearray()
        for frame in control:
            append_frame(buffer, frame)
        streams: list[int] = []
        payloads: list[bytes] = []
        finals: list[Frame] = []
        for outbox in dirty:
            waiting, outbox.payloads = outbox.payloads, []
            payloads += waiting
            streams += [outbox.stream] * len(waiting)
            if outbox.final is not None:
                finals.append(outbox.final)
                outbox.final = None
        _append_items(buffer, streams, payloads)
        for frame in finals:  # a stream's end, after its payloads
            append_frame(buffer, frame)
        # A fresh buffer each time: the transport may keep a reference to what the socket did not take.
        self._transport.write(buffer)

    # ── asyncio.Protocol ─────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        transport = self._transport
        peer = transport.get_extra_info("peername")
        self.peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unix"
        self._beat = self._loop.call_later(self.settings.heartbeat_interval_s, self._on_beat)

    def data_received(self, data: bytes) -> None:
        if self.lost is not None:
            return
        self._heard = True
        if self._awaiting_sign:
            self._give_signs()
        greeted = self._reader.hello is not None
        try:
            frames = self._reader.feed(data)
            if not greeted and self._reader.hello is not None:
                self.on_hello(self._reader.hello)
            for frame in frames:
                kind = type(frame)
                if kind is Ping:
                    self.send(Pong())
                elif kind is not Pong:
                    self.on_frame(frame)
        except NotOurs as error:
            self.on_rejected(str(error))
            self.close(str(error))
        self.on_read()

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over(f"connection lost: {exc}" if exc else "connection closed by the peer")

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def close(self, reason: str, *, flush: bool = False) -> None:
        """End the connection now. With `flush`, what is waiting is sent first as far as the peer takes it."""
        if self.lost is not None:
            return
        if flush:
            self._flush()
        if self._transport is not None:
            if flush:
                self._transport.close()
                if self._transport.get_write_buffer_size():  # a peer that reads nothing must not keep the socket
                    self._loop.call_later(_LINGER_S, self._transport.abort)
            else:
                self._transport.abort()
        self._over(reason)

    def _over(self, reason: str) -> None:
        if self.lost is not None:
            return
        self.lost = reason
        self._drained.set()
        self._give_signs()
        if self._beat is not None:
            self._beat.cancel()
        self.on_lost(reason)

    def _give_signs(self) -> None:
        signs, self._awaiting_sign = self._awaiting_sign, []
        for sign in signs:
            if not sign.done():
                sign.set_result(None)

    def _on_beat(self) -> None:
        # Beats are counted instead of seconds: after our own process was stopped or busy for long,
        # one beat has passed, not many, and a healthy peer gets its chance to be heard.
        self._beat = self._loop.call_later(self.settings.heartbeat_interval_s, self._on_beat)
        if self._heard:
            self._heard = False
            self._silent_beats = 0
            return
        self._silent_beats += 1
        if self._silent_beats >= self.settings.silent_beats:
            if self._reader.hello is None:
                self.on_never_greeted()
            silence_s = self._silent_beats * self.settings.heartbeat_interval_s
            self.close(f"no sign of life for {silence_s:g} s")
            return
        if self._reader.hello is not None:
            self.send(Ping())

    def greet(self) -> None:
        """Send our hello."""
        self.send(Hello("tandem", PROTOCOL, self._identity))


def _append_items(buffer: bytearray, streams: list[int], payloads: list[bytes]) -> None:
    """One frame, or several where that would be too long."""
    start = size = 0
    for end, payload in enumerate(payloads):
        size += len(payload)
        if size > _SPLIT_BYTES and end > start:
            append_frame(buffer, Items(streams[start:end], payloads[start:end]))
            start, size = end, len(payload)
    if payloads:
        append_frame(buffer, Items(streams[start:], payloads[start:]) if start else Items(streams, payloads))
