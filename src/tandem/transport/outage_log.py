"""Tells the log of an outage when it begins, seldom while it lasts, and when it is over; not at every try."""

import logging
import time
from collections.abc import Callable

_AGAIN_S = 300.0


class OutageLog:
    """One thing that can be broken for long, tried again and again.

    Args:
        event: begins each line, as in `hub.watch`.
        about: which one, as in `prefix=/a`.
    """

    def __init__(
        self, log: logging.Logger, event: str, about: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._event, self._about, self._clock = log, event, about, clock
        self._since: float | None = None
        self._told_at = 0.0

    def broken(self, reason: str) -> None:
        """It does not work. Said the first time, and again every five minutes."""
        now = self._clock()
        if self._since is None:
            self._since = self._told_at = now
            self._log.info("%s_broken %s reason=%r", self._event, self._about, reason)
        elif now - self._told_at >= _AGAIN_S:
            self._told_at = now
            age_s = now - self._since
            self._log.warning("%s_still_broken %s for_s=%.0f reason=%r", self._event, self._about, age_s, reason)

    def works(self) -> None:
        """It works; said where it did not before."""
        if self._since is not None:
            self._log.info("%s_back %s after_s=%.0f", self._event, self._about, self._clock() - self._since)
            self._since = None
