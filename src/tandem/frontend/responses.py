"""Writes JSON responses and event streams."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tandem.frontend.ports import Send

_encoder: Final = msgspec.json.Encoder()
encode: Final = _encoder.encode
_STREAM_HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # proxies would hold events back
}


class Response:
    """One request's response. Nothing is sent before there is something to say, so that errors get a status."""

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._send = send
        self._headers = dict(headers)
        self.status: int | None = None
        """Set once the head is on its way."""
        self.complete = False

    async def json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """The whole response."""
        data = encode(body)
        about = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
        await self._start(status, about)
        await self._send({"type": "http.response.body", "body": data})
        self.complete = True

    async def event(self, body: Any) -> None:
        """One event of a stream. Waits while the client reads too slowly: the stream behind it waits too."""
        if self.status is None:
            await self._start(200, _STREAM_HEADERS)
        await self._send({"type": "http.response.body", "body": b"data: %b\n\n" % encode(body), "more_body": True})

    async def end_stream(self) -> None:
        """All events were sent."""
        await self._send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
        self.complete = True

    async def break_stream(self, body: Any) -> None:
        """The stream failed: one last event says so, and no [DONE] follows."""
        await self._send({"type": "http.response.body", "body": b"data: %b\n\n" % encode(body)})
        self.complete = True

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        pairs = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in {**self._headers, **headers}.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})
