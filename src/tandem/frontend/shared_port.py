"""Accepting on a socket that several processes have: one connection per turn of the loop, so that all get their share.

An event loop accepts whatever waits: the process that looks first would take a whole burst, and keep it for as long as
those clients keep their connections. One at a time, a busy process takes fewer, since its turns are longer.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

from tandem.frontend.protocol import DoorProtocol
from tandem.frontend.tls import GOODBYE_S

_log = logging.getLogger(__name__)
_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_AGAIN_S: Final = 1.0


class SharedListener:
    """One process's part. Has what uvicorn asks of an `asyncio.Server`."""

    def __init__(
        self,
        sock: socket.socket,
        make_protocol: Callable[[], DoorProtocol],
        tls: ssl.SSLContext | None,
        *,
        backlog: int,
    ) -> None:
        self._socket = sock
        self._make_protocol = make_protocol
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._closed = False
        sock.listen(backlog)
        self._look()

    def close(self) -> None:
        """Accept nobody new. Safe to repeat."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._socket.fileno())

    async def wait_closed(self) -> None:
        """Nothing to wait for: uvicorn itself has waited for the connections."""

    def _look(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._socket.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:  # it stays readable: look again later, not at once
                _log.warning("frontend.cannot_accept error=%s", error)
                self._loop.remove_reader(self._socket.fileno())
                self._loop.call_later(_AGAIN_S, self._look)
            return  # another process took it, or its client has gone already
        connection.setblocking(False)
        task = self._loop.create_task(self._opened(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _opened(self, connection: socket.socket) -> None:
        try:
            _, opened = await self._loop.connect_accepted_socket(
                self._make_protocol,
                connection,
                ssl=self._tls,
                ssl_shutdown_timeout=None if self._tls is None else GOODBYE_S,
            )
        except OSError as error:  # TLS without a handshake, or a client that left during it
            _log.debug("frontend.not_opened error=%s", error)
            connection.close()
            return
        if self._closed:
            opened.shutdown()  # uvicorn has told the others by now
