"""Which batches this process works on, and when."""

import asyncio
import contextlib
import logging
from typing import Final

from tandem.frontend.batches.desk import Desk, Floor
from tandem.frontend.batches.ledger import Claimed, LeaseLapsed, Ledger
from tandem.frontend.batches.store import BROKEN
from tandem.observe import metrics

_log = logging.getLogger(__name__)
_LOOK_EVERY_S: Final = 5.0
"""For batches that other processes left, or were given: as often at least."""
_SWEEP_EVERY_S: Final = 600.0
_STRAY_S: Final = 86_400.0
"""Age from which on a file that nobody knows of is no upload any more."""
BATCHES_AT_ONCE: Final = 4
"""Of one process: a short batch need not wait for a long one."""


class Runner:
    """Takes batches that nobody works on and works them off."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._awake = asyncio.Event()
        self._desks: set[asyncio.Task[None]] = set()
        self._swept_at = 0.0

    def wake(self) -> None:
        """There is something to do."""
        self._awake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._awake.clear()
            try:
                if self._floor.store.exists:
                    await self._look()
            except BROKEN as error:
                _log.error("batch.store_failed folder=%s error=%s", self._floor.store.folder.root, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), min(_LOOK_EVERY_S, self._floor.lease_s / 2))

    async def stop(self, drain_s: float) -> None:
        """Start no more lines, let those that run end within `drain_s`, and leave the rest to others."""
        self._floor.stopping.set()
        if self._desks:
            await asyncio.wait(self._desks, timeout=drain_s)
            for desk in self._desks:
                desk.cancel()
            await asyncio.gather(*self._desks, return_exceptions=True)
        if self._floor.store.exists:
            with contextlib.suppress(*BROKEN):
                await self._floor.store.call(lambda ledger: ledger.release(self._floor.holder))

    async def _look(self) -> None:
        floor = self._floor
        served = floor.served()
        while served and len(self._desks) < BATCHES_AT_ONCE and not floor.stopping.is_set():
            claimed = await floor.store.call(self._claim)
            if claimed is None:
                break
            floor.desks += 1
            desk = asyncio.create_task(self._work(claimed), name=f"batch-{claimed.batch.id}")
            self._desks.add(desk)
            desk.add_done_callback(self._left)
        now = floor.wall_clock()
        if now - self._swept_at > _SWEEP_EVERY_S:
            self._swept_at = now
            await floor.store.call(self._sweep)

    def _claim(self, ledger: Ledger) -> Claimed | None:
        floor = self._floor
        return ledger.claim(floor.holder, floor.served(), now=floor.wall_clock(), lease_s=floor.lease_s)

    def _left(self, desk: asyncio.Task[None]) -> None:
        self._desks.discard(desk)
        self._floor.desks -= 1
        self.wake()

    async def _work(self, claimed: Claimed) -> None:
        batch_id = claimed.batch.id
        try:
            await Desk(self._floor, claimed).work()
        except LeaseLapsed:
            _log.info("batch.lapsed batch=%s", batch_id)
        except BROKEN as error:  # the lease lapses, and whoever can goes on
            _log.error("batch.store_failed batch=%s error=%s", batch_id, error)
        except Exception:
            metrics.BUGS.labels("frontend").inc()
            _log.exception("batch.bug batch=%s", batch_id)

    def _sweep(self, ledger: Ledger) -> None:
        """Delete files whose time is over, and what processes that died left behind."""
        now, folder = self._floor.wall_clock(), self._floor.store.folder
        gone = ledger.expire_files(now)
        for file_id in [*gone, *folder.stray(ledger.file_ids(), older_than=now - _STRAY_S)]:
            folder.remove(file_id)
        if gone:
            _log.info("batch.files_expired files=%d", len(gone))
