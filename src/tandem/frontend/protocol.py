"""One client connection: uvicorn's httptools protocol, with limits while a request is read and a direct way to write.

uvicorn brings pipelining, keep-alive, back-pressure and ASGI; llhttp below it refuses every ambiguous framing
(both lengths, two lengths, bare line feeds, folded headers). Added here:

    heads      at most so many bytes, headers and seconds, one Host; 400, 408, 431 in OpenAI's form
    leftovers  a body that nobody waits for any more does not hold the connection
    Wire       a short way to write and to hear that the client left (wire.py)
    Outgoing   what one turn of the loop has to say on a connection is one write
"""

import asyncio
import urllib.parse
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
import msgspec
import uvicorn
from uvicorn._types import ASGI3Application, HTTPScope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from tandem.frontend.outgoing import Outgoing, Turn
from tandem.frontend.statuses import HttpFault, error_body, status_of
from tandem.frontend.tls import Tls
from tandem.frontend.wire import EXTENSION, ClosingWire, Wire
from tandem.observe import metrics

_LINGER_S: Final = 1.0
"""How long a client that was refused may go on sending before its connection is closed on our side too."""
_FIRST_REQUEST_S: Final = 1.0
"""So long a server that stops waits for the first request of a connection that it has accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadLimits:
    """What a client may send before its body."""

    max_bytes: int = 32 * 1024
    """Of the target and all headers together; over it 431."""
    max_headers: int = 100
    timeout_s: float = 10.0
    """From a request's first byte (or the connection's opening) to the end of its headers; then 408."""
    send_timeout_s: float = 60.0
    """A client that has something to read and reads nothing for so long is cut off."""


class DoorConfig(uvicorn.Config):
    """uvicorn's, with our limits."""

    def __init__(self, *arguments: Any, head_limits: HeadLimits, tls: Tls | None, **others: Any) -> None:
        super().__init__(*arguments, **{**others, "http": DoorProtocol})
        self.head_limits = head_limits
        self.turn = Turn(asyncio.get_running_loop())
        self._tls = tls

    def load(self) -> None:
        super().load()
        self.ssl = self._tls.context if self._tls else None


class DoorProtocol(HttpToolsProtocol):
    """A connection of the front door."""

    cycle: Wire | None  # type: ignore[assignment]

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._turn = cast(DoorConfig, config).turn
        self._limits = cast(DoorConfig, config).head_limits
        self._app: Any = config.loaded_app
        self._fault: HttpFault | None = None
        self._head_bytes = self._raw_bytes = self._hosts = 0
        self._over = False
        """Nothing more is read: the client was refused, or is gone."""
        self._in_head = self._in_body = False
        """Which part of a request is being read."""
        self._answered: Wire | None = None
        """What is answered; `cycle` may be a later request, which waits behind it."""
        self._late: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._begun = 0
        """Requests that began in the bytes being read."""
        self._leaving = False
        """We close after the answer that is under way."""

    # ── bytes in ─────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = Outgoing(transport, self._turn)
        # Proxies open connections ahead of need: a silent one lives as long as an idle one.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        if self._over or self.transport.is_closing():
            return  # refused already
        self._unset_keepalive_if_required()
        size, in_head, in_body, self._begun = len(data), self._in_head, self._in_body, 0
        try:
            while data:
                data = self._fed(data)
            if self._in_head and not in_body and self._begun == (0 if in_head else 1):
                self._count_raw(size)  # all of it belongs to this head
        except (httptools.HttpParserError, HttpFault):
            self._refuse(self._fault or HttpFault("invalid_request", "this is no valid HTTP request"))
            return
        if self._late is None and (self._in_head or self.cycle is None or self.cycle.response_complete):
            self._late = self.loop.call_later(self._limits.timeout_s, self._on_late)

    def _fed(self, data: bytes) -> bytes:
        """Parse, and return what is still to be parsed."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # The parser takes what follows the head for another protocol, also where it is the request's body
            # (Java's client offers h2c with every first request). We never upgrade: the same head without the offer.
            kept = [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] not in (b"upgrade", b"connection")]
            version = self.parser.get_http_version().encode()
            head = b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, b"".join(kept))
            self.parser = httptools.HttpRequestParser(self)
            return head + data[upgrade.args[0] :]
        return b""

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._head_bytes = self._raw_bytes = self._hosts = 0
        self._begun += 1
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if len(self.headers) >= self._limits.max_headers:
            self._give_up("headers_too_large", f"more than {self._limits.max_headers} headers")
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"transfer-encoding" and (value.strip().lower() != b"chunked" or name in dict(self.headers)):
            self._give_up("invalid_request", "a body comes plain or chunked, and is coded in no other way")
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._give_up("method_not_allowed", "this is no proxy")
            return  # `_fed` parses it anew
        if self._hosts != 1 and (self._hosts or version != "1.0"):
            self._give_up("invalid_request", f"the request has {self._hosts} Host headers")
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        before = self.cycle
        self.cycle = wire = (ClosingWire if version == "1.0" else Wire)(
            scope=cast(HTTPScope, {}),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=not self._leaving and version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        wire.scope = cast(
            HTTPScope,
            {
                "type": "http",
                "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
                "http_version": version,
                "server": self.server,
                "client": self.client,
                "scheme": self.scheme,
                "method": self.parser.get_method().decode("ascii"),
                "root_path": "",
                "path": urllib.parse.unquote(path) if "%" in path else path,
                "raw_path": url.path,
                "query_string": url.query or b"",
                "headers": self.headers,
                "state": {},
                "extensions": {EXTENSION: wire},
            },
        )
        self._in_head, self._in_body = False, True
        self._in_time()
        if before is None or before.response_complete:
            self._start_asgi_task(wire, self._app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((wire, self._app))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered = cast(Wire, cycle)
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_body = False
        if self.cycle is not None and not self.cycle.response_complete:
            super().on_message_complete()

    # ── what a client may not do ─────────────────────────────────────────────────────────────────

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.max_bytes:
            self._give_up("headers_too_large", f"target and headers take more than {self._limits.max_bytes} bytes")

    def _count_raw(self, size: int) -> None:
        """The parser keeps a header until it is whole: one without end is counted as it comes."""
        self._raw_bytes += size
        if self._raw_bytes > 2 * self._limits.max_bytes:
            self._count(self._limits.max_bytes + 1)

    def _give_up(self, code: str, message: str) -> None:
        """End parsing from inside one of the parser's callbacks."""
        self._fault = HttpFault(code, message)
        raise self._fault

    def _refuse(self, fault: HttpFault) -> None:
        """Answer what cannot be read, if an answer can still be told apart from others, and close."""
        metrics.HTTP_RESPONSES.labels("unread", str(status_of(fault.code).http)).inc()
        self._over = True
        self._in_time()
        running = self._answered
        alone = running is self.cycle
        if (
            running is None
            or running.response_complete
            or (alone and running.more_body and not running.response_started)
        ):
            body = msgspec.json.encode(error_body(fault))
            status = status_of(fault.code).http
            head = (
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.pipeline.clear()
        self._tell_gone()
        if self.transport.can_write_eof():
            # Closing while the client still sends would make its kernel throw our answer away.
            self.transport.write_eof()
            self.loop.call_later(_LINGER_S, self.transport.close)
        else:
            self.transport.close()

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _on_late(self) -> None:
        """The client owes us bytes that no task waits for: a head, or the rest of a body that was refused."""
        self._late = None
        if self._over or self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            return  # a request is being answered; what trickles in behind it may wait
        if self._in_head:
            self._refuse(HttpFault("head_timeout", f"the headers did not come within {self._limits.timeout_s:g} s"))
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Close, after the answer that is under way.

        What came with a new connection may not be read yet, and closing would reset it: it gets a moment.
        """
        if self.cycle is None and not self._leaving:
            self.loop.call_later(_FIRST_REQUEST_S, self.shutdown)
        else:
            super().shutdown()
        self._leaving = True

    # ── bytes out ────────────────────────────────────────────────────────────────────────────────

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watching()

    def timeout_keep_alive_handler(self) -> None:
        # Closing waits until everything is read: a client that reads nothing would keep its connection for ever.
        if not self.transport.is_closing() and self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _watch_reader(self) -> None:
        """Look again after a while whether the client has read anything."""
        left = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(self._limits.send_timeout_s, self._on_unread, left)

    def _stop_watching(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _on_unread(self, left_then: int) -> None:
        if self.transport.get_write_buffer_size() < left_then:
            self._watch_reader()
            return
        self._unread = None
        metrics.SLOW_READERS.inc()
        self.transport.abort()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._over = True
        self._in_time()
        self._stop_watching()
        self._unset_keepalive_if_required()
        self._tell_gone()

    def _tell_gone(self) -> None:
        for cycle in (self._answered, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.message_event.set()
                cycle.leave()
