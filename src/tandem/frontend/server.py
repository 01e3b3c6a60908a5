"""The front door's socket. Its port is taken at start and answers only from the first readiness on.

Taking it early tells a busy port at once, not after minutes of loading. Until `open`, connecting is refused:
that is what a TCP readiness probe looks at.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any, cast

import uvicorn

from tandem.errors import ConfigError
from tandem.frontend.port import let_reuse, take, unusable
from tandem.frontend.protocol import DoorConfig, DoorProtocol, HeadLimits
from tandem.frontend.shared_port import SharedListener
from tandem.frontend.tls import GOODBYE_S, Tls

_log = logging.getLogger(__name__)
_BACKLOG = 2048
"""Connections that the kernel holds until we accept them: a burst of clients at once."""
_TICK_S = 1.0
_KEEP_ALIVE_S = 75
"""Idle connections are kept longer than usual proxies keep theirs, so that it is not we who close first."""


class _Uvicorn(uvicorn.Server):
    """Leaves signals to whoever runs the process, and says when it listens."""

    def __init__(self, config: uvicorn.Config, sock: socket.socket, *, shared: bool) -> None:
        super().__init__(config)
        self._socket = sock
        self._shared = shared
        self.listening = asyncio.Event()
        self.exiting = asyncio.Event()

    def stop_soon(self) -> None:
        """Accept nobody new, and end `serve` once running requests have."""
        self.should_exit = True
        self.exiting.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])  # uvicorn cannot say how long TLS may wait for a client's goodbye
        tls, backlog = self.config.ssl, self.config.backlog
        if self._shared:
            listener = SharedListener(self._socket, self._protocol, tls, backlog=backlog)
            self.servers.append(cast(asyncio.Server, listener))
        else:
            loop = asyncio.get_running_loop()
            goodbye_s = None if tls is None else GOODBYE_S
            server = await loop.create_server(
                self._protocol, sock=self._socket, ssl=tls, backlog=backlog, ssl_shutdown_timeout=goodbye_s
            )
            self.servers.append(server)
        self.listening.set()

    def _protocol(self) -> DoorProtocol:
        return DoorProtocol(self.config, self.server_state, self.lifespan.state)

    async def main_loop(self) -> None:
        """As uvicorn's, which makes the Date header once a second but wakes ten times for it."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self.exiting.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class DoorServer:
    """Carries an ASGI application over HTTP/1.1, in this event loop."""

    def __init__(
        self,
        app: Any,
        *,
        host: str = "0.0.0.0",
        port: int = 8000,
        drain_timeout_s: float = 30.0,
        head_limits: HeadLimits | None = None,
        tls: Tls | None = None,
        shared: socket.socket | None = None,
    ) -> None:
        """`shared`: a socket made by `port.take`, on which other processes answer too; it has host and port."""
        self._tls = tls
        self._app = app
        self._head_limits = head_limits or HeadLimits()
        self._host = host
        self._port = port
        self._drain_timeout_s = drain_timeout_s
        self._socket = shared
        self._shared = shared is not None
        self._server: _Uvicorn | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port, also when 0 (any) was asked for. Known after `reserve`."""
        assert self._socket is not None, "reserve() comes first"
        return int(self._socket.getsockname()[1])

    def reserve(self) -> None:
        """Take the port without answering on it. Raises `ConfigError` when that cannot be."""
        if self._socket is None:
            self._socket = take(self._host, self._port)

    async def open(self) -> None:
        """Answer from now on. Safe to repeat. Raises `ConfigError` when somebody else answers on the port."""
        if self._serving is not None:
            return
        if self._socket is None:
            self.reserve()
        assert self._socket is not None
        let_reuse(self._socket)
        config = DoorConfig(
            cast("uvicorn._types.ASGIApplication", self._app),
            head_limits=self._head_limits,
            tls=self._tls,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(self._drain_timeout_s)),
        )
        server = _Uvicorn(config, self._socket, shared=self._shared)
        serving = asyncio.create_task(server.serve(), name="front-door")
        listening = asyncio.create_task(server.listening.wait())
        await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if serving.done():
            try:
                await serving
            except OSError as error:
                raise unusable(self._host, self._port, error) from error
            raise ConfigError(f"the front door on port {self._port} did not open")
        self._server, self._serving = server, serving
        _log.info("frontend.open host=%s port=%d", self._host, self.port)

    async def aclose(self) -> None:
        """Accept nobody new, let running requests finish within the drain time, close. Safe to repeat."""
        if self._server is not None and self._serving is not None:
            self._server.stop_soon()
            await asyncio.gather(self._serving, return_exceptions=True)
            self._server = self._serving = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
