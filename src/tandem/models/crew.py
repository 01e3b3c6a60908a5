"""A few threads that work off a line of tasks, try again what may work later, and stop together.

The first failure that is final stops all of them; what they had is kept by whoever gave the tasks.
"""

import queue
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tandem.errors import TransferFailed
from tandem.models.ports import Later, Watcher

T = TypeVar("T")
TRIES = 6
"""Failures in a row, without a byte between them, until a task is given up."""
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_LONGEST_ASKED_PAUSE_S = 300.0
"""A server that asks for more than this is not waited for: the command ends and says so."""

_QUIET_S = 1.0
"""The same trouble of the same file is told once in this time."""


class Stopped(Exception):
    """Another task has failed, or the user has had enough."""


class Crew:
    """Threads and their line of tasks."""

    def __init__(self, size: int, watcher: Watcher) -> None:
        self._size = size
        self._watcher = watcher
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._open = 0
        self._idle = threading.Condition(self._lock)
        self._failure: BaseException | None = None
        self._not_before = 0.0
        self._noted: dict[tuple[str, str], float] = {}

    def add(self, task: Callable[[], None]) -> None:
        """Put a task at the end of the line. Tasks may add tasks."""
        with self._lock:
            self._open += 1
        self._tasks.put(task)

    def run(self) -> None:
        """Work until the line is empty.

        Raises:
            TransferFailed, ConfigError, OSError: the first failure, once all threads have stopped.
            KeyboardInterrupt: likewise.
        """
        threads = [threading.Thread(target=self._work, name=f"models-{n}", daemon=True) for n in range(self._size)]
        for thread in threads:
            thread.start()
        try:
            with self._idle:
                while self._open and self._failure is None:
                    self._idle.wait(0.5)
        except BaseException:
            self._stop.set()
            raise
        finally:
            if self._failure is not None:
                self._stop.set()
            for _ in threads:
                self._tasks.put(None)
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def check(self) -> None:
        """Raise `Stopped` when work is to end."""
        if self._stop.is_set():
            raise Stopped

    def stop(self) -> None:
        """End all work, without an error of its own."""
        self._stop.set()

    def fail(self, error: BaseException) -> None:
        """End all work with this error; the first one wins."""
        with self._idle:
            self._failure = self._failure or error
            self._stop.set()
            self._idle.notify_all()

    def patiently(self, what: str, step: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
        """Do a step, and again after a pause when it fails for now.

        Args:
            what: the step, for messages.
            progress: a number that grows with what has arrived: whoever gets further is not given up.
        """
        failures, before = 0, progress()
        while True:
            self._wait(self._not_before - time.monotonic())
            try:
                return step()
            except Later as later:
                self.check()
                failures = failures + 1 if progress() == before else 1
                before = progress()
                self._pause(what, later, failures)

    def _pause(self, what: str, later: Later, failures: int) -> None:
        if failures >= TRIES:
            raise TransferFailed(f"{what}: {later}, {failures} times in a row; the same command goes on from here")
        asked = later.retry_after_s
        if asked is not None and asked > _LONGEST_ASKED_PAUSE_S:
            raise TransferFailed(f"{what}: {later}, and asks to wait {asked:.0f} s; run the same command again then")
        backoff = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (failures - 1)) * random.uniform(0.75, 1.25)
        pause = backoff if asked is None else asked
        self._note(what, f"{later}; again in {pause:.1f} s", str(later))
        if asked is not None:  # the server has had enough of all of us
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + asked)
        self._wait(pause)

    def _note(self, what: str, text: str, trouble: str) -> None:
        """Tell of a trouble, once for all the threads that it meets at the same time."""
        now = time.monotonic()
        with self._lock:
            told = now - self._noted.get((what, trouble), -_QUIET_S) < _QUIET_S
            self._noted[what, trouble] = now
        if not told:
            self._watcher.note(f"{what}: {text}")

    def _wait(self, seconds: float) -> None:
        if (seconds > 0 and self._stop.wait(seconds)) or self._stop.is_set():
            raise Stopped

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                if not self._stop.is_set():
                    task()
            except Stopped:
                pass
            except BaseException as error:
                self.fail(error)
            finally:
                with self._idle:
                    self._open -= 1
                    if not self._open:
                        self._idle.notify_all()
