"""Writes JSON responses and event streams."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tandem.frontend.ports import Send
from tandem.frontend.wire import Wire

_encoder: Final = msgspec.json.Encoder()
encode: Final = _encoder.encode
_STREAM_HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # proxies would hold events back
}


class EventOutlet:
    """An `Outlet` into an event stream: what it is given leaves at once."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.ready = wire.writable

    def events(self, parts: Sequence[bytes]) -> Callable[[list[bytes]], None]:
        """See `Outlet.events`."""
        before, *middle, after = parts
        write = self._wire.pieces(b"data: " + before, after + b"\n\n")
        if not middle:
            return write
        return lambda texts: write([text.join((b"", *middle, b"")) for text in texts])


class Response:
    """One request's response. Nothing is sent before there is something to say, so that errors get a status."""

    def __init__(self, send: Send, headers: Mapping[str, str], wire: Wire | None = None) -> None:
        self._send = send
        self.outlet = None if wire is None else EventOutlet(wire)
        """A short way for the events of a stream, where the server has one."""
        self._headers = dict(headers)
        self.status: int | None = None
        """Set once the head is on its way."""
        self.complete = False

    def add_header(self, name: str, value: str) -> None:
        """One more header, before anything is sent."""
        self._headers[name] = value

    async def json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """The whole response."""
        data = encode(body)
        about = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
        await self._start(status, about)
        await self._send({"type": "http.response.body", "body": data})
        self.complete = True

    async def empty(self, status: int, headers: Mapping[str, str]) -> None:
        """A response without a body."""
        await self._start(status, headers)
        await self._send({"type": "http.response.body", "body": b""})
        self.complete = True

    async def event(self, body: Any) -> None:
        """One event of a stream. Waits while the client reads too slowly: the stream behind it waits too."""
        await self._part(b"data: %b\n\n" % encode(body))

    async def named_events(self, bodies: Iterable[msgspec.Struct]) -> None:
        """Several events of a stream at once, each named by its type's tag. Waits as `event`."""
        if data := b"".join([b"event: %b\ndata: %b\n\n" % (_tag(body), encode(body)) for body in bodies]):
            await self._part(data)

    async def content(self, pieces: AsyncIterable[bytes], *, size: int, media: str) -> None:
        """`size` bytes of a file. Waits as `event`."""
        await self._start(200, {"content-type": media, "content-length": str(size)})
        async for piece in pieces:
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})
        self.complete = True

    async def end_stream(self, last: bytes = b"data: [DONE]\n\n") -> None:
        """All events were sent."""
        await self._send({"type": "http.response.body", "body": last})
        self.complete = True

    async def break_stream(self, body: Any, name: str | None = None) -> None:
        """The stream failed: one last event, called `name`, says so, and no [DONE] follows."""
        line = b"event: %b\n" % name.encode() if name else b""
        await self._send({"type": "http.response.body", "body": b"%bdata: %b\n\n" % (line, encode(body))})
        self.complete = True

    async def _part(self, data: bytes) -> None:
        if self.status is None:
            await self._start(200, _STREAM_HEADERS)
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        pairs = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in {**self._headers, **headers}.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})


def _tag(body: msgspec.Struct) -> bytes:
    return str(body.__struct_config__.tag).encode()
