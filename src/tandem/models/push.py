"""Push a model folder to a store: parts side by side, whatever is there already left alone, the manifest last.

Nothing is remembered on this machine between two runs. What arrived is asked of the store: objects, and the
parts of uploads that a kill left open, compared with what lies in the folder. A mark lies there from the first
byte until the manifest is written, so that nobody takes half of it for a model; it tells which objects are done.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tandem.core.model_folder import MANIFEST, PUSHING
from tandem.errors import ModelBroken, TransferFailed
from tandem.models.crew import Crew, Stopped
from tandem.models.digests import Md5
from tandem.models.disk import folder_files
from tandem.models.manifest import Manifest, ManifestFile, decode, encode, read_manifest
from tandem.models.names import check_names
from tandem.models.ports import Store, Stored, Watcher

PART_BYTES = 8 << 20
"""Two of them, sent side by side, are a part of a pull."""
_MOST_PARTS = 10_000
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A file as it was when the push began."""

    path: str
    place: Path
    size: int
    mtime_ns: int

    @property
    def part_bytes(self) -> int:
        """Size of its parts: the same each time, so that an upload can be gone on with."""
        return max(PART_BYTES, -(-self.size // _MOST_PARTS // (1 << 20)) * (1 << 20))

    @property
    def parts(self) -> int:
        """Number of its parts."""
        return max(1, -(-self.size // self.part_bytes))

    def bounds(self, number: int) -> tuple[int, int]:
        """Where a part, counted from 1, begins and ends."""
        return (number - 1) * self.part_bytes, min(self.size, number * self.part_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a push would do."""

    folder: Path
    target: str
    files: tuple[LocalFile, ...]
    same_size: Mapping[str, Stored]
    """Objects of a file's name and size: compared before they are believed."""
    uploads: Mapping[str, str]
    """Open uploads that may hold parts already."""
    known: Mapping[str, ManifestFile]
    """What an earlier push has said of its objects."""
    manifest: Manifest | None
    """The store's, if all it names may be there."""

    @property
    def bytes(self) -> int:
        """All files together."""
        return sum(file.size for file in self.files)


def prepare(folder: Path, store: Store) -> Prepared:
    """Compare a folder with a store. Reads, writes nothing.

    Raises:
        ModelBroken: the folder is half pulled, or lacks what its manifest names.
        TransferFailed: the store cannot be read.
    """
    found = folder_files(folder)
    if not found:
        raise ModelBroken(f"{folder} holds no files")
    check_names(found, source=str(folder))
    own = read_manifest(folder)
    if own and (missing := [file.path for file in own.files if file.path not in found]):
        raise ModelBroken(f"{folder} lacks {missing[0]}, which its manifest names; pull it again")
    files = tuple(
        LocalFile(path=path, place=folder / path, size=stat.st_size, mtime_ns=stat.st_mtime_ns)
        for path, stat in found.items()
    )
    objects = store.objects()
    manifest = _stored(store, MANIFEST, objects)
    mark = _stored(store, PUSHING, objects)
    known = {file.path: file for said in (manifest, mark) if said for file in said.files}
    return Prepared(
        folder=folder,
        target=store.name,
        files=files,
        same_size={
            file.path: objects[file.path]
            for file in files
            if file.path in objects and objects[file.path].size == file.size
        },
        uploads=store.uploads(),
        known=known,
        manifest=None if mark else manifest,
    )


def carry_out(prepared: Prepared, store: Store, watcher: Watcher, *, connections: int) -> Manifest:
    """Make the store hold the model.

    Raises:
        TransferFailed: what did not work; whole parts that arrived are not sent again.
    """
    return _Pushing(prepared, store, watcher, connections).run()


class _Sending:
    """One file on its way, in parts."""

    def __init__(self, file: LocalFile, upload: str, etags: dict[int, str]) -> None:
        self.file = file
        self.upload = upload
        self.etags = etags
        self.lock = threading.Lock()


class _Pushing:
    """The files of one push, worked off by a crew."""

    def __init__(self, prepared: Prepared, store: Store, watcher: Watcher, connections: int) -> None:
        self._prepared = prepared
        self._store = store
        self._watcher = watcher
        self._crew = Crew(connections, watcher)
        self._turns = threading.Semaphore(max(min(2, connections), connections // 4))
        """A store keeps nothing of a part that a kill cuts off, so few are sent at once; more wait for its answer."""
        self._hashes = {file.path: _Hash(file) for file in prepared.files}
        self._etags: dict[str, str] = {}
        """Of the objects that are there and right."""
        self._marking = threading.Lock()

    def run(self) -> Manifest:
        """Send everything, then say that it is whole."""
        prepared, patiently = self._prepared, self._crew.patiently
        self._watcher.begin(prepared.target, prepared.bytes, 0)
        for file in prepared.files:
            if file.path in prepared.same_size:
                self._crew.add(lambda file=file: self._compare(file))  # type: ignore[misc]
        self._crew.run()
        old = prepared.manifest
        if old and {file.path for file in old.files} == set(self._etags) == {file.path for file in prepared.files}:
            return old
        patiently("the mark", lambda: self._store.put(PUSHING, encode(self._said())))
        for file in prepared.files:
            if file.path not in self._etags:
                self._crew.add(lambda file=file: self._start(file))  # type: ignore[misc]
        hasher = threading.Thread(target=self._hash_all, daemon=True)
        hasher.start()
        try:
            self._crew.run()
        except BaseException:
            self._crew.stop()
            raise
        finally:
            hasher.join()
        self._check()
        manifest = self._said()
        patiently("the manifest", lambda: self._store.put(MANIFEST, encode(manifest)))
        patiently("the mark", lambda: self._store.delete(PUSHING))
        return manifest

    def _compare(self, file: LocalFile) -> None:
        """Is the object of this name and size the same?"""
        self._watcher.file(file.path, file.size, 0)
        there, known = self._prepared.same_size[file.path], self._prepared.known.get(file.path)
        if known and known.etag == there.etag:
            same = known.sha256 == self._hashes[file.path].value(self._crew)
        else:
            same = _md5(file, there.etag, self._crew) == there.etag
        if not same:
            return
        self._etags[file.path] = there.etag
        if upload := self._prepared.uploads.get(file.path):
            self._crew.patiently(file.path, lambda: self._store.abort(file.path, upload))
        self._watcher.moved(file.path, file.size)
        self._watcher.finished(file.path)

    def _start(self, file: LocalFile) -> None:
        self._watcher.file(file.path, file.size, 0)
        patiently = self._crew.patiently
        if file.parts == 1:
            body = _read(file, 0, file.size)
            self._arrived(file, patiently(file.path, lambda: self._put(file, body)))
            self._watcher.moved(file.path, file.size)
            self._watcher.finished(file.path)
            return
        upload = self._prepared.uploads.get(file.path, "")
        there = dict(patiently(file.path, lambda: self._store.parts(file.path, upload))) if upload else {}
        sending = _Sending(file, upload or patiently(file.path, lambda: self._store.begin(file.path)), {})
        for number in range(1, file.parts + 1):
            self._crew.add(lambda number=number: self._send(sending, number, there.get(number)))  # type: ignore[misc]

    def _send(self, sending: _Sending, number: int, there: Stored | None) -> None:
        """One part, unless it has arrived before."""
        file = sending.file
        start, stop = file.bounds(number)
        body = _read(file, start, stop)
        if there and there.size == len(body) and there.etag == hashlib.md5(body, usedforsecurity=False).hexdigest():
            etag = there.etag
        else:
            etag = self._crew.patiently(file.path, lambda: self._put_part(sending, number, body))
        self._watcher.moved(file.path, len(body))
        with sending.lock:
            sending.etags[number] = etag
            last = len(sending.etags) == file.parts
        if last:
            self._arrived(
                file,
                self._crew.patiently(file.path, lambda: self._store.complete(file.path, sending.upload, sending.etags)),
            )
            self._watcher.finished(file.path)

    def _put(self, file: LocalFile, body: bytes) -> str:
        with self._turn():
            return self._store.put(file.path, body)

    def _put_part(self, sending: _Sending, number: int, body: bytes) -> str:
        """The next one may go when the last byte of this has: the store's answer is waited for beside it."""
        with self._turn() as over:
            return self._store.put_part(sending.file.path, sending.upload, number, body, over)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[Callable[[], None]]:
        """Wait until something may be sent. It is over when that is said, or at the end."""
        while not self._turns.acquire(timeout=0.5):
            self._crew.check()
        with contextlib.ExitStack() as turn:
            turn.callback(self._turns.release)
            yield turn.close

    def _arrived(self, file: LocalFile, etag: str) -> None:
        """Tell the mark, so that the next run knows of it whatever this store's ETags are made of."""
        self._hashes[file.path].value(self._crew)
        with self._marking:
            self._etags[file.path] = etag
            if file.parts > 1:
                self._crew.patiently("the mark", lambda: self._store.put(PUSHING, encode(self._said())))

    def _said(self) -> Manifest:
        """A manifest of what is there and right."""
        own = read_manifest(self._prepared.folder)
        return Manifest(
            source=own.source if own else self._prepared.target,
            revision=own.revision if own else "",
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            files=tuple(
                ManifestFile(file.path, file.size, self._hashes[file.path].value(self._crew), self._etags[file.path])
                for file in self._prepared.files
                if file.path in self._etags
            ),
        )

    def _hash_all(self) -> None:
        """Hash beside the sending; what is sent has just been read, or soon will be."""
        try:
            for file in self._prepared.files:
                self._hashes[file.path].value(self._crew)
        except Stopped:
            pass
        except BaseException as error:
            self._crew.fail(error)

    def _check(self) -> None:
        """The last look before it is called whole."""
        objects = self._crew.patiently("its list", self._store.objects)
        for file in self._prepared.files:
            stat = file.place.stat()
            if (stat.st_size, stat.st_mtime_ns) != (file.size, file.mtime_ns):
                raise TransferFailed(f"{file.place} changed while it was sent; run the same command again")
            there = objects.get(file.path)
            if there is None or (there.size, there.etag) != (file.size, self._etags[file.path]):
                raise TransferFailed(
                    f"{self._prepared.target}: {file.path} was changed by somebody else meanwhile; "
                    "run the same command again"
                )


class _Hash:
    """A file's SHA-256, reckoned once by whoever asks first."""

    def __init__(self, file: LocalFile) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._value = ""

    def value(self, crew: Crew) -> str:
        """The hash; a second caller waits."""
        with self._lock:
            if not self._value:
                digest = hashlib.sha256()
                _feed(self._file, digest.update, crew)
                self._value = digest.hexdigest()
            return self._value


def _md5(file: LocalFile, like: str, crew: Crew) -> str:
    """The ETag that the file would have, were it sent by us; empty if that cannot be compared with this one."""
    whole = "-" not in like
    if not whole and not like.endswith(f"-{file.parts}"):
        return ""
    digest = Md5(0 if whole else file.part_bytes)
    _feed(file, digest.update, crew)
    return digest.value()


def _feed(file: LocalFile, update: Callable[[bytes], None], crew: Crew) -> None:
    with _readable(file), file.place.open("rb") as opened:
        while data := opened.read(_READ_BYTES):
            crew.check()
            update(data)


def _read(file: LocalFile, start: int, stop: int) -> bytes:
    with _readable(file), file.place.open("rb") as opened:
        data = os.pread(opened.fileno(), stop - start, start)
    if len(data) != stop - start:
        raise TransferFailed(f"{file.place} became shorter while it was sent; run the same command again")
    return data


@contextlib.contextmanager
def _readable(file: LocalFile) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TransferFailed(f"{file.place} cannot be read: {error.strerror}") from error


def _stored(store: Store, path: str, objects: Mapping[str, Stored]) -> Manifest | None:
    text = store.get(path) if path in objects else None
    return decode(text, where=f"{store.name}/{path}") if text else None
