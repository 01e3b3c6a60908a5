"""The system port: /live, /ready, /metrics, /status and /trace/ID, from process start to its end.

A few lines of HTTP/1.1 of our own: it must answer before anything else is loaded, and keep answering while
everything else fails.
"""

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

log = logging.getLogger(__name__)

Page = tuple[int, str, bytes]
"""Status, content type, body."""
Answerer = Callable[[str], Awaitable[Page]]

_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error", 503: "Unavailable"}
_TEXT = "text/plain; charset=utf-8"
_HEAD_TIMEOUT_S = 5.0


def text(status: int, body: str) -> Page:
    """A page of plain text."""
    return status, _TEXT, body.encode() + b"\n"


class SystemPort:
    """Listens; `answer(path)` makes the pages."""

    def __init__(self, answer: Answerer) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> bool:
        """Listen on `port`, or on a free one when it is taken. Returns whether it got the one asked for."""
        try:
            self._server = await asyncio.start_server(self._serve, host, port)
            got = True
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            self._server = await asyncio.start_server(self._serve, host, 0)
            got = False
        self.port = self._server.sockets[0].getsockname()[1]
        return got

    async def aclose(self) -> None:
        """Safe to repeat."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            status, kind, body = await self._page(head)
            reason = _REASONS.get(status, "")
            lines = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            writer.write(f"{lines}Connection: close\r\n\r\n".encode() + (b"" if head.startswith(b"HEAD ") else body))
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # a probe that went away, or a peer that speaks no HTTP
        finally:
            with suppress(ConnectionError):
                writer.close()

    async def _page(self, head: bytes) -> Page:
        method, _, rest = head.partition(b" ")
        if method not in (b"GET", b"HEAD"):
            return text(405, "GET only")
        path = rest.split(b" ", 1)[0].decode("latin-1").split("?", 1)[0]
        try:
            return await self._answer(path)
        except Exception:
            log.exception("system_port.failed path=%s", path)
            return text(500, "internal error; see the log")
