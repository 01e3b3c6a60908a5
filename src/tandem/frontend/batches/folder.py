"""Contents of files on disk. A file is there whole or not at all."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO


class Folder:
    """`FOLDER/files/ID`. Blocks: call it from a thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files = root / "files"

    def prepare(self) -> None:
        """Make the folder, for this user alone."""
        self._files.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, file_id: str) -> Path:
        """Where a file's content is."""
        assert "/" not in file_id, file_id
        return self._files / file_id

    def remove(self, file_id: str) -> None:
        """Safe to repeat."""
        self.path(file_id).unlink(missing_ok=True)

    def write(self, file_id: str, parts: Iterable[bytes]) -> int:
        """A whole file; its size in bytes."""
        with Draft(self, file_id) as draft:
            for part in parts:
                draft.write(part)
            draft.keep()
        return draft.size

    def lines(self, file_id: str, *, most: int) -> Iterator[bytes]:
        """Its lines, with their ends; of one with more than `most` bytes, a piece that has more."""
        with self.path(file_id).open("rb") as content:
            while line := content.readline(most + 1):
                yield line

    def read(self, file_id: str, start: int, size: int) -> bytes:
        """A piece of it."""
        with self.path(file_id).open("rb") as content:
            content.seek(start)
            return content.read(size)

    def stray(self, known: set[str], *, older_than: float) -> list[str]:
        """Files and drafts that nobody knows of: what a process that died left behind."""
        found = []
        for path in self._files.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.name not in known and path.stat().st_mtime < older_than:
                    found.append(path.name)
        return found


class Draft:
    """A file while it is written. Left without `keep`, nothing of it stays."""

    def __init__(self, folder: Folder, file_id: str) -> None:
        self._final = folder.path(file_id)
        self._path = folder.path(f"{file_id}.draft-{os.getpid()}")
        self._file: BinaryIO | None = None
        self.size = 0

    def __enter__(self) -> "Draft":
        fd = os.open(self._path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(fd, "wb")
        return self

    def write(self, data: bytes) -> None:
        """More of it."""
        assert self._file is not None
        self._file.write(data)
        self.size += len(data)

    def keep(self) -> None:
        """It is whole, and survives a power cut from now on."""
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        self._path.replace(self._final)
        folder = os.open(self._final.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)
