"""This user's private folder for sockets, locks and the list of running supervisors."""

import contextlib
import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tandem.errors import ConfigError

_LONGEST_SOCKET = 100
"""A Unix socket's path holds 107 bytes; some are kept for temporary names."""


def runtime_dir(configured: str | None, environ: Mapping[str, str]) -> Path:
    """The folder, made with mode 0700.

    Raises:
        ConfigError: it belongs to somebody else, is open to others, or its path is too long for sockets.
    """
    if configured:
        folder = Path(configured)
    elif environ.get("XDG_RUNTIME_DIR"):
        folder = Path(environ["XDG_RUNTIME_DIR"]) / "tandem"
    else:
        folder = Path(environ.get("TMPDIR") or tempfile.gettempdir()) / f"tandem-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ConfigError(f"cannot make {folder}: {error}; set TANDEM_RUNTIME_DIR") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigError(f"{folder} is not a folder of ours; set TANDEM_RUNTIME_DIR to one that is")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    if len(os.fsencode(folder)) > _LONGEST_SOCKET - 32:
        raise ConfigError(f"{folder} is too long a path for sockets; set TANDEM_RUNTIME_DIR to a shorter one")
    return folder


def hub_socket(folder: Path, namespace: str) -> Path:
    """Where the supervisors of a namespace meet."""
    return folder / f"{namespace[:24]}.sock"


class Lock:
    """A file lock that the kernel lets go when its holder dies in any way."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def take(self) -> bool:
        """Try once. True when we hold it, also from before."""
        if self._fd is not None:
            return True
        fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        """Safe to repeat."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Entry:
    """Our line in the list of running supervisors."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"serve-{os.getpid()}.json"

    def write(self, **facts: Any) -> None:
        """Tell `tandem status` where we are."""
        self.path.write_text(json.dumps({"pid": os.getpid(), **facts}))

    def remove(self) -> None:
        """Safe to repeat."""
        self.path.unlink(missing_ok=True)


def entries(folder: Path) -> list[dict[str, Any]]:
    """The supervisors that run, oldest first; lines of dead ones are removed."""
    found = []
    for path in sorted(folder.glob("serve-*.json"), key=lambda each: each.stat().st_mtime):
        with contextlib.suppress(OSError, ValueError):
            facts = json.loads(path.read_text())
            try:
                os.kill(facts["pid"], 0)
            except ProcessLookupError:
                path.unlink(missing_ok=True)
                continue
            found.append(facts)
    return found
