"""What pulling and pushing need of the places that models come from and go to, and of whoever watches."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol


class Later(Exception):
    """This request did not work; the same one may work in a while. Adapters raise it, `Crew` waits and tries again."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """What the other side asked for, if it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file as its source lists it."""

    path: str
    size: int
    sha256: str = ""
    git_blob: str = ""
    """SHA-1 of git's blob, which hubs tell of small files instead."""
    md5: str = ""
    """MD5 of the file, or of its parts' MD5s with `-PARTS`, where the store's ETag is one."""
    md5_part_bytes: int = 0
    """Size of the parts that `md5` is made of; 0 if it is of the whole."""
    version: str = ""
    """Changes with the content: an ETag, a commit."""

    @property
    def identity(self) -> str:
        """Equal as long as the content is."""
        return self.sha256 or f"{self.version}:{self.git_blob or self.md5}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a source has, at one moment."""

    source: str
    revision: str
    files: tuple[RemoteFile, ...]
    left_out: frozenset[str] = frozenset()
    """Names of files that are there and not wanted."""

    def only(self, wanted: Callable[[str], bool]) -> "Listing":
        """The same without the files that are not wanted."""
        kept = tuple(file for file in self.files if wanted(file.path))
        return replace(self, files=kept, left_out=self.names - {file.path for file in kept})

    @property
    def names(self) -> frozenset[str]:
        """Of all files that are there."""
        return self.left_out | {file.path for file in self.files}

    @property
    def bytes(self) -> int:
        """All files together."""
        return sum(file.size for file in self.files)


class Source(Protocol):
    """A place that models come from."""

    name: str
    """As the user wrote it; without credentials."""

    def list(self) -> Listing:
        """All files. Raises `TransferFailed`, `ConfigError` or `Later`."""
        ...

    def read(self, file: RemoteFile, start: int, stop: int) -> AbstractContextManager[Iterator[bytes]]:
        """Bytes from `start` to `stop`, in pieces. Raises `TransferFailed` or `Later`, also while reading."""
        ...

    def close(self) -> None:
        """Give connections back. Safe to repeat."""
        ...


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in a store."""

    size: int
    etag: str


class Store(Protocol):
    """A place that models go to. All methods raise `TransferFailed`, `ConfigError` or `Later`."""

    name: str

    def objects(self) -> Mapping[str, Stored]:
        """What is there, by path under the model's own."""
        ...

    def get(self, path: str) -> bytes | None:
        """A small object; None where there is none."""
        ...

    def put(self, path: str, body: bytes) -> str:
        """Store an object in one piece. Returns its ETag."""
        ...

    def delete(self, path: str) -> None:
        """Remove an object; none there is well too."""
        ...

    def uploads(self) -> Mapping[str, str]:
        """Uploads in parts that were begun and not ended: the newest upload's id by path."""
        ...

    def parts(self, path: str, upload: str) -> Mapping[int, Stored]:
        """Parts that have arrived, by number from 1."""
        ...

    def begin(self, path: str) -> str:
        """Begin an upload in parts. Returns its id."""
        ...

    def put_part(self, path: str, upload: str, number: int, body: bytes, sent: Callable[[], None]) -> str:
        """Store one part; `sent` is called when its last byte has left. Returns its ETag."""
        ...

    def complete(self, path: str, upload: str, etags: Mapping[int, str]) -> str:
        """End an upload: the parts become one object. Returns its ETag."""
        ...

    def abort(self, path: str, upload: str) -> None:
        """Throw an upload's parts away."""
        ...

    def close(self) -> None:
        """Give connections back. Safe to repeat."""
        ...


class Watcher(Protocol):
    """Whoever is told how far it is. Called from several threads."""

    def begin(self, what: str, total_bytes: int, there_bytes: int) -> None:
        """So much is to be moved; so much of it is there already."""
        ...

    def file(self, path: str, size: int, there_bytes: int) -> None:
        """A file's turn has come."""
        ...

    def moved(self, path: str, count: int) -> None:
        """Bytes of a file have arrived; negative when they turned out wrong."""
        ...

    def finished(self, path: str) -> None:
        """A file is whole and verified."""
        ...

    def note(self, text: str) -> None:
        """Something that a person may want to know: a retry and its reason."""
        ...
