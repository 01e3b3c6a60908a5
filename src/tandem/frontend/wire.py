"""One request and its response, as those who answer it see it: ASGI, and a shorter way past it.

`pieces` takes pieces of the body without a coroutine, `on_gone` tells that the client left without a task. It travels
in the ASGI extension `tandem.wire`.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

EXTENSION: Final = "tandem.wire"
_SIZES: Final = [b"%x\r\n" % size for size in range(4096)]
"""Heads of chunks: sizes of nearly every event of a stream."""


class Wire(RequestResponseCycle):
    """One request and its response."""

    on_gone: Callable[[], None] | None = None
    """Called once if the client leaves before its response is complete."""

    def tell_gone(self, on_gone: Callable[[], None]) -> None:
        """Have `on_gone` called when the client leaves; soon, if it has left already."""
        self.on_gone = on_gone
        if self.disconnected:
            asyncio.get_running_loop().call_soon(self.leave)

    def whole_body(self) -> bytes | None:
        """The request's body, where all of it has come already and nobody has read any."""
        if self.more_body or self.disconnected:
            return None
        body, self.body = bytes(self.body), bytearray()
        self.message_event.clear()
        self.flow.resume_reading()
        return body

    def leave(self) -> None:
        """The client has left."""
        self.disconnected = True
        gone, self.on_gone = self.on_gone, None
        if gone is not None:
            gone()

    def writable(self) -> bool:
        """Whether a piece may be written: a chunked body is under way and the client keeps up."""
        return bool(
            self.chunked_encoding
            and not self.flow.write_paused
            and not self.response_complete
            and not self.disconnected
        )

    def pieces(self, before: bytes, after: bytes) -> Callable[[list[bytes]], None]:
        """A writer of pieces of the body that differ in their middle only. Call it while `writable`."""
        fixed, between, end = len(before) + len(after), after + before, after + b"\r\n"
        write, sizes, known = self.transport.write, _SIZES, len(_SIZES)

        def write_pieces(middles: list[bytes]) -> None:
            middle = between.join(middles)
            size = fixed + len(middle)
            write(b"".join((sizes[size] if size < known else b"%x\r\n" % size, before, middle, end)))

        return write_pieces


class ClosingWire(Wire):
    """Of a client of HTTP/1.0, which knows no chunks: the end of the connection ends the body."""

    async def send(self, message: ASGISendEvent) -> None:
        self.chunked_encoding = False
        self.expected_content_length = len(cast(dict[str, Any], message).get("body", b""))
        await super().send(message)
