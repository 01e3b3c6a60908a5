"""How far a transfer is, on standard error: bars where somebody looks, plain lines elsewhere."""

import sys
import threading
import time
from types import TracebackType
from typing import Protocol, Self

from tandem.models.ports import Watcher

_LINE_EVERY_S = 5.0


class Shown(Watcher, Protocol):
    """A watcher that is closed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def watcher(*, quiet: bool = False) -> Shown:
    """The one for this terminal."""
    if quiet:
        return Lines(notes_only=True)
    return Bars() if sys.stderr.isatty() else Lines()


def size(count: float) -> str:
    """Bytes, as people write them."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if count >= 10**power:
            return f"{count / 10**power:.{2 if power == 9 else 1}f} {unit}"
    return f"{count:.0f} B"


class Lines:
    """A line every few seconds, one per note and one at the end."""

    def __init__(self, *, notes_only: bool = False) -> None:
        self._notes_only = notes_only
        self._lock = threading.Lock()
        self._total = self._there = self._done = 0
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._total and not self._notes_only:
            self._say()

    def begin(self, what: str, total_bytes: int, there_bytes: int) -> None:
        self._total, self._there, self._done = total_bytes, there_bytes, there_bytes

    def file(self, path: str, size: int, there_bytes: int) -> None:
        """Bars show it."""

    def moved(self, path: str, count: int) -> None:
        with self._lock:
            self._done += count
            now = time.monotonic()
            due = now - self._said > _LINE_EVERY_S and not self._notes_only
            if due:
                self._said = now
        if due:
            self._say()

    def finished(self, path: str) -> None:
        """Bars show it."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def _say(self) -> None:
        passed = max(time.monotonic() - self._began, 0.001)
        share = self._done / self._total if self._total else 1.0
        rate = size((self._done - self._there) / passed)
        print(f"{share:.0%} of {size(self._total)}, {rate}/s", file=sys.stderr, flush=True)


class Bars:
    """A bar for all, and one for each file that is under way."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TaskID,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bars = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
        self._files: dict[str, TaskID] = {}
        self._all: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, what: str, total_bytes: int, there_bytes: int) -> None:
        self._all = self._bars.add_task("all", total=total_bytes, completed=there_bytes)

    def file(self, path: str, size: int, there_bytes: int) -> None:
        if path not in self._files:
            shown = path if len(path) <= 40 else f"…{path[-39:]}"
            self._files[path] = self._bars.add_task(shown, total=size, completed=there_bytes)

    def moved(self, path: str, count: int) -> None:
        for task in (self._all, self._files.get(path)):
            if task is not None:
                self._bars.advance(task, count)

    def finished(self, path: str) -> None:
        task = self._files.pop(path, None)
        if task is not None:
            self._bars.remove_task(task)

    def note(self, text: str) -> None:
        from rich.text import Text

        self._bars.console.print(Text(text))
