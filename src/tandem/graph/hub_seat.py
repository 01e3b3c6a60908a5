"""Who hosts the embedded planes of a namespace: the first supervisor; the next ones join it.

A lock file decides. When the host goes, that is an outage for the others, and the first of them that gets
the lock hosts an empty hub at the same place: everybody registers again.
"""

import asyncio
import logging
from pathlib import Path

from tandem.graph.runtime_dir import Lock
from tandem.transport.embedded import EmbeddedHub
from tandem.transport.embedded_host import HubServer

log = logging.getLogger(__name__)

_RETRY_S = 1.0


class HubSeat:
    """Our place at a namespace's hub: its host, or one of those who join."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._lock = Lock(socket.with_suffix(".lock"))
        self._server: HubServer | None = None
        self._waiting: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where to join it."""
        return str(self.socket)

    @property
    def hosting(self) -> bool:
        """Whether the hub is in this process."""
        return self._server is not None

    async def take(self) -> bool:
        """Host the hub if nobody does; otherwise stand by. Returns whether we host it."""
        if await self._try():
            return True
        self._waiting = asyncio.create_task(self._stand_by(), name="hub stand-by")
        return False

    async def aclose(self) -> None:
        """Give the seat up. Safe to repeat."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._server is not None:
            server, self._server = self._server, None
            await server.aclose()
            self.socket.unlink(missing_ok=True)
        self._lock.release()

    async def _try(self) -> bool:
        if not self._lock.take():
            return False
        self.socket.unlink(missing_ok=True)  # left by a host that was killed: we hold the lock
        server = HubServer(EmbeddedHub(), self.socket)
        await server.start()
        self._server = server
        return True

    async def _stand_by(self) -> None:
        while True:
            await asyncio.sleep(_RETRY_S)
            if await self._try():
                log.warning("hub.taken_over socket=%s: its host went away", self.socket)
                return
