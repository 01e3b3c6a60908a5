"""The listening end of the request plane: accepts connections, runs handlers, sends what they yield.

Each call is one task that iterates its handler. A payload goes into the stream's outbox and leaves with
the connection's next flush; the task waits only when the caller's window is used up.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections import Counter
from pathlib import Path

from tandem.errors import Overloaded, ServingError, Unavailable
from tandem.transport.address import format_address, parse_address
from tandem.transport.frames import PROTOCOL, Cancel, Credit, End, Error, Frame, Hello, NotOurs, Open
from tandem.transport.link import Link, Outbox
from tandem.transport.ports import CallContext, Handler
from tandem.transport.settings import RequestPlaneSettings

log = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 5.0
_MESSAGE_LIMIT = 2000
"""Characters of an error message that cross the wire."""


class _Call(Outbox):
    """A running call: its outbox, what the caller still takes, and the task that runs the handler."""

    __slots__ = ("bytes_left", "items_left", "link", "room", "task")

    def __init__(self, link: "_ServerLink", opened: Open) -> None:
        super().__init__(opened.stream)
        self.link = link
        self.items_left = opened.window_items
        self.bytes_left = opened.window_bytes
        self.room: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        """Whether the caller takes no more for now: wait for `until_room`."""
        return self.items_left <= 0 or self.bytes_left <= 0 or self.link.congested

    def queue(self, payload: bytes) -> None:
        """Have a payload sent."""
        if not self.payloads:
            self.link.mark_dirty(self)
        self.payloads.append(payload)
        self.items_left -= 1
        self.bytes_left -= len(payload)

    def push(self, payload: bytes) -> bool:
        """See `ports.CallContext.push`."""
        if self.full or len(payload) > self.link.most_bytes:
            return False
        self.queue(payload)
        return True

    async def until_room(self) -> None:
        while self.items_left <= 0 or self.bytes_left <= 0:
            self.room = asyncio.get_running_loop().create_future()
            try:
                await self.room
            finally:
                self.room = None
        if self.link.congested:
            await self.link.wait_drained()

    def credit(self, items: int, size: int) -> None:
        self.items_left += items
        self.bytes_left += size
        if self.room is not None and not self.room.done():
            self.room.set_result(None)

    def finish(self, final: Frame) -> None:
        """Send `final` after what is queued."""
        if not self.payloads:
            self.link.mark_dirty(self)
        self.final = final


class _ServerLink(Link):
    """One caller's connection."""

    def __init__(self, server: "TcpRequestServer") -> None:
        super().__init__(server.settings, server.identity)
        self.most_bytes = server.settings.max_frame_bytes - 64
        """Of one payload."""
        self._server = server
        self._calls: dict[int, _Call] = {}
        server.links.add(self)

    def on_hello(self, hello: Hello) -> None:
        self.greet()
        if hello.version != PROTOCOL:
            self._server.note_rejected(self.peer, f"protocol {hello.version}, ours is {PROTOCOL}")
            self.close("protocol version", flush=True)

    def on_rejected(self, reason: str) -> None:
        self._server.note_rejected(self.peer, reason)

    def on_never_greeted(self) -> None:
        self._server.note_rejected(self.peer, "silence in place of a hello")

    def on_frame(self, frame: Frame) -> None:
        match frame:
            case Credit(stream, items, size):
                if call := self._calls.get(stream):
                    call.credit(items, size)
            case Open():
                self._open(frame)
            case Cancel(stream):
                if call := self._calls.pop(stream, None):
                    self._cancel(call)
            case _:
                raise NotOurs(f"{type(frame).__name__} frame from a caller")

    def on_lost(self, reason: str) -> None:
        self._server.links.discard(self)
        calls, self._calls = self._calls, {}
        for call in calls.values():
            self._cancel(call)

    def _cancel(self, call: _Call) -> None:
        if call.task is not None:
            call.task.cancel("caller is gone")

    def _open(self, opened: Open) -> None:
        if self.lost is not None:
            return
        if opened.stream in self._calls:
            raise NotOurs("stream opened twice")
        handler = self._server.handlers.get(opened.endpoint)
        refusal: ServingError | None = None
        if self._server.draining and opened.endpoint not in self._server.to_the_end:
            refusal = Unavailable("this instance is stopping")
        elif handler is None:
            refusal = Unavailable(f"no endpoint {opened.endpoint[:100]!r} here")
        elif len(self._calls) >= self.settings.max_streams:
            refusal = Overloaded(f"{len(self._calls)} calls run on this connection already")
        if refusal is not None or handler is None:
            assert refusal is not None
            self.send(_error_frame(opened.stream, refusal, self._server.identity))
            return
        call = _Call(self, opened)
        self._calls[opened.stream] = call
        context = CallContext(opened.endpoint, opened.request_id, opened.deadline, self.peer, opened.headers, call.push)
        call.task = self._loop.create_task(self._run(call, handler, opened.payload, context))
        self._server.track(call.task)

    async def _run(self, call: _Call, handler: Handler, payload: bytes, context: CallContext) -> None:
        final: Frame = End(call.stream)
        source = None
        try:
            source = handler(payload, context)
            async for item in source:
                if len(item) > self.most_bytes:
                    raise ServingError(f"answer of {len(item)} bytes; the request plane takes {self.most_bytes}")
                if call.full:  # by what was pushed since
                    await call.until_room()
                call.queue(item)
                if call.full:
                    await call.until_room()
                if self.lost is not None:
                    break  # a handler that ignored its cancellation
        except ServingError as error:
            final = _error_frame(call.stream, error, self._server.identity)
        except asyncio.CancelledError:
            if self._calls.get(call.stream) is call:  # not by the caller: something in the handler was cancelled
                final = _error_frame(call.stream, Unavailable("the call was cancelled here"), self._server.identity)
        except Exception as error:
            log.exception("requests.handler_failed endpoint=%s request_id=%s", context.endpoint, context.request_id)
            failure = ServingError(f"{type(error).__name__} in {context.endpoint}")
            final = _error_frame(call.stream, failure, self._server.identity)
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                try:
                    await close()
                except Exception:
                    log.exception("requests.handler_close_failed endpoint=%s", context.endpoint)
            if self._calls.get(call.stream) is call:
                del self._calls[call.stream]
                call.finish(final)


class TcpRequestServer:
    """Serves calls on TCP or on a Unix socket. Implements `ports.RequestServer`.

    Args:
        listen: `host:port` (port 0: any free one) or `unix:/path` (made readable for this user only).
        advertise_host: the host that callers should dial, where it is not the one we listen on.
        identity: told to every caller in the hello.
    """

    def __init__(
        self,
        listen: str = "127.0.0.1:0",
        *,
        advertise_host: str | None = None,
        identity: str = "",
        settings: RequestPlaneSettings | None = None,
    ) -> None:
        self.address = ""
        self.identity = identity
        self.settings = settings or RequestPlaneSettings()
        self.handlers: dict[str, Handler] = {}
        self.links: set[_ServerLink] = set()
        self.draining = False
        self.to_the_end: set[str] = set()
        """Endpoints whose calls running ones wait for: they are served while draining."""
        self.rejected: Counter[str] = Counter()
        """Connections closed because of what came on them, by reason without its numbers."""
        self._listen = parse_address(listen)
        self._advertise_host = advertise_host
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Calls that have not ended."""
        return len(self._tasks)

    def register(self, endpoint: str, handler: Handler, *, to_the_end: bool = False) -> None:
        """Serve `endpoint` from now on. A second handler replaces the first for new calls."""
        self.handlers[endpoint] = handler
        (self.to_the_end.add if to_the_end else self.to_the_end.discard)(endpoint)

    async def start(self) -> None:
        """Listen. Raises `Unavailable` when the address is taken."""
        loop = asyncio.get_running_loop()
        try:
            if isinstance(self._listen, str):
                sock = _private_unix_socket(Path(self._listen))
                self._server = await loop.create_unix_server(lambda: _ServerLink(self), sock=sock, backlog=1024)
                self.address = f"unix:{self._listen}"
            else:
                host, port = self._listen
                self._server = await loop.create_server(lambda: _ServerLink(self), host, port, backlog=1024)
                bound = self._server.sockets[0].getsockname()
                self.address = format_address(self._advertise_host or bound[0], bound[1])
        except OSError as error:
            raise Unavailable(f"cannot listen on {self._listen}: {error.strerror or error}") from error

    async def drain(self, timeout_s: float) -> None:
        """Accept no new call (they get `Unavailable`), wait for the running ones, at most `timeout_s`."""
        self.draining = True
        running = self._tasks - {asyncio.current_task()}
        if running:
            await asyncio.wait(running, timeout=timeout_s)

    async def aclose(self) -> None:
        """Close every connection; running handlers are cancelled. Safe to repeat."""
        self.draining = True
        if self._server is not None:
            self._server.close()
            self._server = None
            if isinstance(self._listen, str):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._listen)
        for link in list(self.links):
            link.close("server closed", flush=True)
        running = self._tasks - {asyncio.current_task()}
        if running:
            _, stuck = await asyncio.wait(running, timeout=_CLOSE_TIMEOUT_S)
            if stuck:
                log.warning("requests.handlers_stuck count=%d", len(stuck))

    def track(self, task: asyncio.Task[None]) -> None:
        """Keep `task` alive and counted until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def note_rejected(self, peer: str, reason: str) -> None:
        """Count and log, once per connection, that it carried what is not ours."""
        self.rejected[reason.split(" ")[0]] += 1
        log.warning("requests.rejected peer=%s reason=%r", peer, reason)


def _error_frame(stream: int, error: ServingError, origin: str) -> Error:
    retry_after_s = error.retry_after_s if isinstance(error, Overloaded) else None
    return Error(stream, error.code, error.message[:_MESSAGE_LIMIT], error.retry, error.param, retry_after_s, origin)


def _private_unix_socket(path: Path) -> socket.socket:
    """Bound, mode 0600, not yet listening: nobody can connect before the mode is right.

    A socket file that nobody answers on is a leftover and is replaced.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(1.0)
                try:
                    probe.connect(str(path))
                except (ConnectionRefusedError, FileNotFoundError):
                    path.unlink(missing_ok=True)
        sock.bind(str(path))
        os.chmod(path, 0o600)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
