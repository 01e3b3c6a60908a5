"""The folder `.tandem-pull` inside a model folder: what has arrived of each file, readable after a kill.

Each file is written beside its final name's folder as `KEY.part`, and `KEY.parts` holds one number per part:
how many of its bytes have been written. Bytes go first, their number after them, so a kill between the two
costs the bytes of one write. `KEY.done` remembers a file that has been verified and moved to its place.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tandem.core.model_folder import PULLING
from tandem.errors import ModelBroken, TransferFailed
from tandem.models.names import fault_of
from tandem.models.ports import RemoteFile

PART_BYTES = 16 << 20
_COUNT = struct.Struct("<Q")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a half-pulled folder is being made into."""

    source: str
    revision: str
    files: int
    bytes: int


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was verified."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


class Workspace:
    """The workspace of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / PULLING

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Open it; nobody else may meanwhile."""
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_dir()):
            raise ModelBroken(f"{self.path} is no folder; remove it")
        self.path.mkdir(parents=True, exist_ok=True)
        if link := next((path for path in self.path.iterdir() if path.is_symlink()), None):
            raise ModelBroken(f"{link} is a link, which no pull makes: what it leads to would be written; remove it")
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self.path / "lock", flags, 0o644), "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise TransferFailed(f"another `tandem models pull` is working on {self.folder}") from error
            yield

    def plan(self) -> Plan | None:
        """What was being made here; None if nothing was, or a kill came before it was written."""
        try:
            return msgspec.json.decode((self.path / "plan.json").read_bytes(), type=Plan)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def write_plan(self, plan: Plan) -> None:
        """Remember it."""
        (self.path / "plan.json").write_bytes(msgspec.json.encode(plan))

    def key(self, file: RemoteFile) -> str:
        """Names a file's state: another content has another one."""
        return hashlib.sha256(f"{file.path}\0{file.size}\0{file.identity}".encode()).hexdigest()[:24]

    def part(self, file: RemoteFile) -> "PartFile":
        """The file's bytes so far."""
        return PartFile(self.path / self.key(file), file.size)

    def done(self, file: RemoteFile) -> Done | None:
        """What is remembered of a file that lies in its place, untouched since."""
        try:
            found = msgspec.json.decode((self.path / f"{self.key(file)}.done").read_bytes(), type=Done)
            stat = (self.folder / file.path).stat()
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return found if (stat.st_size, stat.st_mtime_ns) == (found.size, found.mtime_ns) else None

    def mark_done(self, file: RemoteFile, sha256: str) -> None:
        """Remember that a file in its place is right."""
        stat = (self.folder / file.path).stat()
        done = Done(path=file.path, size=stat.st_size, mtime_ns=stat.st_mtime_ns, sha256=sha256)
        (self.path / f"{self.key(file)}.done").write_bytes(msgspec.json.encode(done))

    def places(self) -> list[Path]:
        """Files in their places that this pull has put or found there."""
        found = []
        for path in self.path.glob("*.done"):
            with contextlib.suppress(msgspec.DecodeError):
                done = msgspec.json.decode(path.read_bytes(), type=Done)
                if not fault_of(done.path):  # the folder may have come from anywhere
                    found.append(self.folder / done.path)
        return sorted(found)

    def drop_others(self, files: tuple[RemoteFile, ...]) -> None:
        """Throw away what belongs to none of these files."""
        keys = {self.key(file) for file in files}
        for path in self.path.iterdir():
            if path.suffix in (".part", ".parts", ".done") and path.stem not in keys:
                path.unlink()

    def remove(self) -> None:
        """The folder is whole: forget."""
        shutil.rmtree(self.path)


class PartFile:
    """A file on its way: bytes at their places, and how many of each part are there."""

    def __init__(self, stem: Path, size: int) -> None:
        self.path = stem.with_suffix(".part")
        self.size = size
        self.parts = max(1, -(-size // PART_BYTES))
        self._counts = stem.with_suffix(".parts")
        self._have = self._read()
        self._file = self._journal = -1

    @property
    def have_bytes(self) -> int:
        """Bytes that are there."""
        return sum(self._have)

    def have(self, part: int) -> int:
        """Bytes of one part that are there, from its start."""
        return self._have[part]

    def bounds(self, part: int) -> tuple[int, int]:
        """Where a part begins and ends."""
        return part * PART_BYTES, min(self.size, (part + 1) * PART_BYTES)

    def complete(self, part: int) -> bool:
        """A part is all there."""
        start, stop = self.bounds(part)
        return self._have[part] >= stop - start

    def open(self) -> None:
        """Make it ready to be written."""
        if self._file < 0:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.ftruncate(self._file, self.size)
            self._journal = os.open(self._counts, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.ftruncate(self._journal, self.parts * _COUNT.size)

    def write(self, part: int, data: bytes) -> None:
        """Append to a part. Raises `OSError` when the disk takes no more."""
        offset = part * PART_BYTES + self._have[part]
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._file, rest, offset)
            offset, rest = offset + written, rest[written:]
        self._have[part] += len(data)
        os.pwrite(self._journal, _COUNT.pack(self._have[part]), part * _COUNT.size)

    def read(self, offset: int, count: int) -> bytes:
        """Bytes that have been written."""
        return os.pread(self._file, count, offset)

    def reset(self) -> None:
        """Nothing of it is right: begin again."""
        self._have = [0] * self.parts
        os.pwrite(self._journal, bytes(self.parts * _COUNT.size), 0)

    def settle(self, place: Path) -> None:
        """It is whole and right: on disk, and in its place in one step."""
        os.fsync(self._file)
        self.path.replace(place)
        self._counts.unlink()
        self.close()

    def close(self) -> None:
        """Close the files. Safe to repeat."""
        for descriptor in (self._file, self._journal):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._journal = -1

    def _read(self) -> list[int]:
        try:
            text = self._counts.read_bytes()
            whole = self.path.stat().st_size == self.size and len(text) == self.parts * _COUNT.size
        except FileNotFoundError:
            whole = False
        if not whole:
            return [0] * self.parts
        found = [count for (count,) in _COUNT.iter_unpack(text)]
        bounds = (self.bounds(part) for part in range(self.parts))
        return [min(count, stop - start) for count, (start, stop) in zip(found, bounds, strict=True)]
