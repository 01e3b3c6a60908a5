"""What goes out on the connections of a server, gathered over one turn of the event loop: one write for each.

A write costs the kernel several times what an event of a stream costs us. Nothing waits longer than the turn lasts; the
busier the process, the longer its turns, and the more tokens of a stream leave together.
"""

import asyncio
import logging
from typing import Any, Final

_log = logging.getLogger(__name__)
_MOST_BYTES: Final = 64 * 1024
"""Kept of one connection at most: then it is written at once, and the transport's own limits count it."""


class Turn:
    """Connections that have something to send when this turn ends. One per server."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Outgoing] = []

    def add(self, outgoing: "Outgoing") -> None:
        """Flush it when the turn ends."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(outgoing)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for outgoing in waiting:
            try:
                outgoing.flush()
            except Exception:  # those behind it would never be flushed again
                _log.exception("frontend.write_failed")
                outgoing.abort()


class Outgoing(asyncio.Transport):
    """A connection's transport, as whoever writes on it sees it."""

    __slots__ = ("_ended", "_parts", "_size", "_transport", "_turn")

    def __init__(self, transport: asyncio.Transport, turn: Turn) -> None:
        self._transport = transport
        self._turn = turn
        self._parts: list[bytes] = []
        self._size = 0
        self._ended = False

    def write(self, data: Any) -> None:
        """Send `data`, in order with everything else, when the turn ends."""
        if not self._parts:
            self._turn.add(self)
        self._parts.append(data)
        self._size += len(data)
        if self._size > _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what is kept. Safe to repeat."""
        if not self._parts:
            return
        parts, self._parts, self._size = self._parts, [], 0
        if not (self._ended or self._transport.is_closing()):
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def close(self) -> None:
        """Close once everything is sent."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close, and lose what is not sent."""
        self._parts.clear()
        self._transport.abort()

    def can_write_eof(self) -> bool:
        """See `asyncio.Transport`."""
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        """Say that nothing follows what was written: what comes nevertheless is dropped."""
        self.flush()
        self._ended = True
        self._transport.write_eof()

    def is_closing(self) -> bool:
        """See `asyncio.Transport`."""
        return self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken."""
        return self._size + self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `asyncio.Transport`."""
        return self._transport.get_extra_info(name, default)
