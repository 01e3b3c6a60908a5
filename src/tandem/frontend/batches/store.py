"""Ledger and folder behind one thread, opened when they are first needed."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from tandem.errors import Unavailable
from tandem.frontend.batches.folder import Folder
from tandem.frontend.batches.ledger import Ledger

T = TypeVar("T")
_LEDGER: Final = "ledger.sqlite"
BROKEN: Final = (sqlite3.Error, OSError)
"""What a disk that fails, or is full, raises."""


class Store:
    """Of one process."""

    def __init__(self, root: Path) -> None:
        self.folder = Folder(root)
        self._ledger: Ledger | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._closing = threading.Event()

    @property
    def exists(self) -> bool:
        """Whether anybody has ever kept anything here."""
        return self._ledger is not None or (self.folder.root / _LEDGER).exists()

    async def call(self, work: Callable[[Ledger], T]) -> T:
        """What `work` returns, done in the thread. Raises what it raises; `BROKEN` when the disk does not work."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._with_ledger, work)

    async def ask(self, work: Callable[[Ledger], T]) -> T:
        """The same for a client. Raises `Unavailable` when the disk does not work."""
        try:
            return await self.call(work)
        except BROKEN as error:
            raise unusable(error) from error

    async def aclose(self) -> None:
        """Safe to repeat."""
        if not self._closing.is_set():
            self._closing.set()
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            self._thread.shutdown()

    def _with_ledger(self, work: Callable[[Ledger], T]) -> T:
        if self._ledger is None:
            self.folder.prepare()
            self._ledger = Ledger(self.folder.root / _LEDGER)
        return work(self._ledger)

    def _close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None


def unusable(error: Exception) -> Unavailable:
    """What a client is told of a disk that does not work."""
    return Unavailable(f"the folder of files and batches cannot be used: {error}")
