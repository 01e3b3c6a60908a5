"""A lease and the task that keeps it alive: the same for every store."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from tandem.errors import LeaseLost, ServingError, Unavailable
from tandem.transport.ports import Lease

log = logging.getLogger(__name__)

_RETRY_S = 0.5


class KeptLease:
    """Implements `ports.Lease` over two operations of a store: renew and revoke."""

    def __init__(
        self,
        lease_id: int,
        ttl_s: float,
        renew: Callable[[int], Awaitable[bool]],
        revoke: Callable[[int], Awaitable[None]],
    ) -> None:
        """`renew` answers False when the store knows no such lease and raises `Unavailable` over an outage."""
        self._id = lease_id
        self._renew = renew
        self._revoke = revoke
        self._lost = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep(ttl_s / 3), name=f"lease {lease_id:x}")

    @property
    def id(self) -> int:
        return self._id

    @property
    def lost(self) -> bool:
        """Whether the store has forgotten it."""
        return self._lost.is_set()

    async def wait_lost(self) -> None:
        """Return when the store has told us that it no longer knows this lease."""
        await self._lost.wait()

    async def revoke(self) -> None:
        """End it and delete its keys. Safe to repeat, and when the store is gone."""
        if not self.stop():
            return
        try:
            await self._revoke(self._id)
        except Unavailable as error:
            log.info("lease.left_to_lapse lease=%x reason=%r", self._id, error.message)

    def stop(self) -> bool:
        """Keep it alive no longer: it lapses. False when that was so already."""
        return self._keeper.cancel()

    def note_lost(self) -> None:
        """Another operation found that the store does not know it."""
        self._keeper.cancel()
        self._lost.set()

    async def _keep(self, period_s: float) -> None:
        wait_s = period_s
        while True:
            await asyncio.sleep(wait_s)
            try:
                alive = await self._renew(self._id)
            except ServingError:
                wait_s = min(period_s, _RETRY_S)
                continue
            if not alive:
                log.warning("lease.lost lease=%x", self._id)
                self._lost.set()
                return
            wait_s = period_s


@contextmanager
def noting_loss(lease: Lease | None) -> Iterator[None]:
    """Around an operation on `lease`: when the store says that it is unknown, its keeper learns it too."""
    try:
        yield
    except LeaseLost:
        if isinstance(lease, KeptLease):
            lease.note_lost()
        raise
