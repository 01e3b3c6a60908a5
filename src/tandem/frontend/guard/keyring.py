"""The keys in use: those that settings name and those of a file, which is read anew when it changes."""

import hashlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tandem.errors import ConfigError
from tandem.frontend.guard.keys import KeyEntry, KeyRing, read_keys
from tandem.observe import metrics

_log = logging.getLogger(__name__)
_LOOK_EVERY_S: Final = 1.0
ONLY: Final = "default"
"""Name of the key that the setting `api-key` gives."""


class Keys:
    """Who holds a key. Built once; `ring()` may be called per request: it looks at the file once a second at most."""

    def __init__(
        self,
        *,
        api_key: str | None = None,
        text: str | None = None,
        file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
            api_key: one key in plain, which may do everything.
            text: entries, in the words of a file.
            file: where entries are listed.

        Raises:
            ConfigError: what is listed cannot be read.
        """
        self.required = api_key is not None or text is not None or file is not None
        """Whether clients need a key. With a file that lists none, nobody comes in."""
        self._fixed: list[KeyEntry] = []
        if api_key is not None:
            self._fixed.append(KeyEntry(name=ONLY, sha256=hashlib.sha256(api_key.encode()).hexdigest()))
        if text is not None:
            self._fixed += read_keys(text, "TANDEM_API_KEYS")
        self._file = file
        self._clock = clock
        self._looked_at = clock()
        self._seen: tuple[int, ...] = ()
        self._ring = self._read() if file is not None else KeyRing(self._fixed)

    def ring(self) -> KeyRing:
        """The keys that are valid now."""
        if self._file is not None and (now := self._clock()) - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            self._look()
        return self._ring

    def _look(self) -> None:
        """Read the file if it changed. One that cannot be read changes nothing, and says so once."""
        assert self._file is not None
        try:
            seen = _glance(self._file)
            if seen == self._seen:
                return
            self._ring = self._read()
        except (OSError, ConfigError) as error:
            if self._seen != ():
                _log.error("frontend.keys_unreadable file=%s error=%s kept=%d", self._file, error, len(self._ring))
                metrics.KEYS_RELOADS.labels("failed").inc()
            self._seen = ()
            return
        _log.info("frontend.keys_read file=%s keys=%d", self._file, len(self._ring))
        metrics.KEYS_RELOADS.labels("read").inc()

    def _read(self) -> KeyRing:
        assert self._file is not None
        try:
            seen = _glance(self._file)  # before reading: what changes meanwhile is seen the next time
            text = self._file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the keys file {self._file} cannot be read: {error}", param="api-keys-file") from error
        entries = [*self._fixed, *read_keys(text, str(self._file))]
        names = [entry.name for entry in entries]
        if len(set(names)) != len(names):
            raise ConfigError(f"{self._file}: a key has the name of one that is set elsewhere", param="api-keys-file")
        self._seen = seen
        return KeyRing(entries)


def _glance(file: Path) -> tuple[int, ...]:
    """What changes when a file does, also when it is swapped for another (as Kubernetes does with secrets)."""
    about = os.stat(file)
    return about.st_dev, about.st_ino, about.st_mtime_ns, about.st_size
