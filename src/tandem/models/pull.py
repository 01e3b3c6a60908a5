"""Pull a model: what a source lists becomes a folder, whole and verified, or stays visibly half.

`prepare` finds out what is to be done, `carry_out` does it. Until the manifest is written, last, the folder
holds `.tandem-pull`, and engines and `inspect` refuse it.
"""

import os
import shutil
import stat
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tandem.core.model_folder import MANIFEST
from tandem.errors import ConfigError, TransferFailed
from tandem.models.crew import Crew, Stopped
from tandem.models.digests import Digests
from tandem.models.manifest import (
    Manifest,
    ManifestFile,
    encode,
    read_manifest,
    sync_folder,
    through_link,
    write_whole,
)
from tandem.models.names import check_names
from tandem.models.ports import Later, Listing, RemoteFile, Source, Watcher
from tandem.models.workspace import PartFile, Plan, Workspace

READ_BYTES = 1 << 20
_SPARE_BYTES = 64 << 20
"""Left free on the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a pull would do."""

    listing: Listing
    folder: Path
    kept: dict[str, str]
    """SHA-256 by path of files that are in their place and known to be right."""
    doubtful: tuple[RemoteFile, ...]
    """Files of the right size in their place: to be hashed before they are believed."""
    fetch: tuple[RemoteFile, ...]
    there_bytes: int
    """Bytes of `fetch` that an earlier pull has left."""

    @property
    def fetch_bytes(self) -> int:
        """Bytes still to come, if what is doubtful is right."""
        return sum(file.size for file in self.fetch) - self.there_bytes

    @property
    def whole(self) -> bool:
        """Nothing to do."""
        return not self.fetch and not self.doubtful


def prepare(listing: Listing, folder: Path) -> Prepared:
    """Compare a listing with a folder. Reads, writes nothing.

    Raises:
        TransferFailed: names that may not be.
        ConfigError: the folder holds another model, or is no folder.
    """
    check_names((file.path for file in listing.files), source=listing.source)
    if listing.left_out and not listing.files:
        raise TransferFailed(
            f"{listing.source} holds {len(listing.left_out)} files, and --include and --exclude leave none of them"
        )
    listing = listing.only(lambda path: path != MANIFEST)  # one that was uploaded along: we write our own
    if not listing.files:
        raise TransferFailed(f"{listing.source} holds no files")
    if in_the_way := next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None):
        raise ConfigError(f"{in_the_way} is no folder")
    manifest = read_manifest(folder)
    workspace = Workspace(folder)
    for owner in (manifest, workspace.plan()):
        if owner is not None and owner.source.partition("@")[0] != listing.source.partition("@")[0]:
            raise ConfigError(f"{folder} holds {owner.source}; name another folder, or `tandem models rm` it first")
    known = {} if manifest is None else {file.path: file for file in manifest.files}
    same_state = manifest is not None and bool(manifest.revision) and manifest.revision == listing.revision
    kept: dict[str, str] = {}
    doubtful, fetch, there = [], [], 0
    for file in listing.files:
        size = _size(folder, file.path)
        ours = known.get(file.path)
        if done := workspace.done(file):
            kept[file.path] = done.sha256
        elif ours and ours.size == size == file.size and (same_state or ours.sha256 == file.sha256):
            kept[file.path] = ours.sha256
        elif size == file.size and (file.sha256 or file.git_blob or file.md5):
            doubtful.append(file)
        else:
            fetch.append(file)
            there += workspace.part(file).have_bytes
    return Prepared(
        listing=listing, folder=folder, kept=kept, doubtful=tuple(doubtful), fetch=tuple(fetch), there_bytes=there
    )


def check_space(prepared: Prepared) -> None:
    """Refuse what the disk cannot hold.

    Raises:
        TransferFailed: with what is free and what is needed.
    """
    there = prepared.folder
    while not there.exists():
        there = there.parent
    free, needed = shutil.disk_usage(there).free, prepared.fetch_bytes
    if needed and needed + _SPARE_BYTES > free:
        raise TransferFailed(
            f"{needed / 1e9:.2f} GB are to come and the disk of {prepared.folder} has {free / 1e9:.2f} GB free; "
            "free some, or name a folder on another disk"
        )


def carry_out(prepared: Prepared, source: Source, watcher: Watcher, *, connections: int) -> Manifest:
    """Make the folder whole. Killed at any moment, it goes on from there next time.

    Raises:
        TransferFailed: what did not work; all that has arrived is kept.
    """
    workspace = Workspace(prepared.folder)
    listing = prepared.listing
    old = read_manifest(prepared.folder)
    if prepared.whole and old and not workspace.path.exists() and _says(old, listing):
        return old
    try:
        prepared.folder.mkdir(parents=True, exist_ok=True)
        with workspace.held():
            workspace.write_plan(
                Plan(source=listing.source, revision=listing.revision, files=len(listing.files), bytes=listing.bytes)
            )
            workspace.drop_others(listing.files)
            pulling = _Pulling(prepared, source, watcher, workspace, connections)
            hashes = pulling.run()
            _remove_left_over(prepared, old)
            manifest = Manifest(
                source=listing.source,
                revision=listing.revision,
                made_at=datetime.now(UTC).isoformat(timespec="seconds"),
                files=tuple(ManifestFile(file.path, file.size, hashes[file.path]) for file in listing.files),
            )
            write_whole(prepared.folder / MANIFEST, encode(manifest))
            workspace.remove()
    except OSError as error:
        raise TransferFailed(
            f"{error.filename or prepared.folder} cannot be written: {error.strerror}; what has arrived is kept, "
            "the same command goes on from here"
        ) from error
    return manifest


class _Pulling:
    """The files of one pull, worked off by a crew."""

    def __init__(
        self, prepared: Prepared, source: Source, watcher: Watcher, workspace: Workspace, connections: int
    ) -> None:
        self._prepared = prepared
        self._source = source
        self._watcher = watcher
        self._workspace = workspace
        self._crew = Crew(connections, watcher)
        self._hashes = dict(prepared.kept)
        self._folders: set[Path] = {prepared.folder}
        self._jobs: list[_Job] = []

    def run(self) -> dict[str, str]:
        """Fetch and verify everything. Returns SHA-256 by path."""
        total = sum(file.size for file in (*self._prepared.fetch, *self._prepared.doubtful))
        self._watcher.begin(self._prepared.listing.source, total, self._prepared.there_bytes)
        for file in self._prepared.doubtful:
            self._crew.add(lambda file=file: self._believe(file))  # type: ignore[misc]
        for file in self._prepared.fetch:
            self._enqueue(file)
        try:
            self._crew.run()
        finally:
            for job in self._jobs:
                job.end()
        for folder in sorted(self._folders):
            sync_folder(folder)
        return self._hashes

    def _enqueue(self, file: RemoteFile) -> None:
        job = _Job(file, self._workspace.part(file))
        self._jobs.append(job)
        left = [part for part in range(job.parts.parts) if not job.parts.complete(part)] or [0]
        job.waiting = len(left)
        for part in left:
            self._crew.add(lambda part=part: self._fetch(job, part))  # type: ignore[misc]

    def _believe(self, file: RemoteFile) -> None:
        """Hash a file that lies in its place; fetch it if it is not the right one."""
        self._watcher.file(file.path, file.size, 0)
        digests = Digests(file)
        with (self._prepared.folder / file.path).open("rb") as there:
            while data := there.read(READ_BYTES):
                self._crew.check()
                digests.update(data)
                self._watcher.moved(file.path, len(data))
        if digests.fault():
            self._watcher.moved(file.path, -file.size)
            self._enqueue(file)
            return
        self._workspace.mark_done(file, digests.sha256)
        self._hashes[file.path] = digests.sha256
        self._watcher.finished(file.path)

    def _fetch(self, job: "_Job", part: int) -> None:
        with job.lock:
            if not job.begun:
                job.begun = True
                job.parts.open()
                self._watcher.file(job.file.path, job.file.size, job.parts.have_bytes)
                if job.parts.parts > 1:  # hashed while it arrives
                    job.follower = threading.Thread(target=self._follow, args=(job,), name="models-hash", daemon=True)
                    job.follower.start()
        if not job.parts.complete(part):
            self._crew.patiently(job.file.path, lambda: self._read_part(job, part), lambda: job.parts.have(part))
        with job.changed:
            job.waiting -= 1
            job.changed.notify_all()
            last = not job.waiting
        if last:
            self._finish(job)

    def _read_part(self, job: "_Job", part: int) -> None:
        start, stop = job.parts.bounds(part)
        at = start + job.parts.have(part)
        with self._source.read(job.file, at, stop) as pieces:
            for piece in pieces:
                self._crew.check()
                if len(piece) > stop - at:
                    raise Later("the server sent more than it was asked for")
                job.parts.write(part, piece)
                at += len(piece)
                self._watcher.moved(job.file.path, len(piece))
        if at < stop:
            raise Later(f"the connection ended {stop - at} bytes early")
        with job.changed:
            job.changed.notify_all()

    def _follow(self, job: "_Job") -> None:
        """Hash the file in order, as far as it has arrived."""
        try:
            for part in range(job.parts.parts):
                with job.changed:
                    while not job.parts.complete(part):
                        job.changed.wait(1.0)
                        self._crew.check()
                job.hash(part, self._crew)
        except Stopped:
            pass
        except BaseException as error:
            self._crew.fail(error)

    def _finish(self, job: "_Job") -> None:
        if job.follower is not None:
            job.follower.join()
        else:
            job.hash(0, self._crew)
        self._crew.check()
        if fault := job.digests.fault():
            self._watcher.moved(job.file.path, -job.file.size)
            job.parts.reset()
            job.parts.close()
            if job.file.path in self._hashes:
                raise TransferFailed(f"{job.file.path} arrived wrong twice: {fault}; ask who keeps {self._source.name}")
            self._hashes[job.file.path] = ""
            self._watcher.note(f"{job.file.path}: {fault}; once more")
            self._enqueue(job.file)
            return
        place = self._place(job.file.path)
        job.parts.settle(place)
        self._workspace.mark_done(job.file, job.digests.sha256)
        self._hashes[job.file.path] = job.digests.sha256
        self._watcher.finished(job.file.path)

    def _place(self, path: str) -> Path:
        """Where a file goes; no folder on the way may be a link that leads out."""
        at = self._prepared.folder
        for name in path.split("/")[:-1]:
            at = at / name
            if at.is_symlink():
                raise TransferFailed(f"{at} is a link: {path} would be written outside {self._prepared.folder}")
            at.mkdir(exist_ok=True)
        self._folders.add(at)
        return at / path.rsplit("/", 1)[-1]


class _Job:
    """One file that is being fetched."""

    def __init__(self, file: RemoteFile, parts: PartFile) -> None:
        self.file = file
        self.parts = parts
        self.digests = Digests(file)
        self.lock = threading.Lock()
        self.changed = threading.Condition()
        self.waiting = 0
        """Tasks that have not ended."""
        self.begun = False
        self.follower: threading.Thread | None = None

    def end(self) -> None:
        """Close the files, once nobody reads them: all work has ended, or been told to."""
        if self.follower is not None:
            with self.changed:
                self.changed.notify_all()
            self.follower.join()
        self.parts.close()

    def hash(self, part: int, crew: Crew) -> None:
        """Read a part back and hash it."""
        at, stop = self.parts.bounds(part)
        while at < stop:
            crew.check()
            data = self.parts.read(at, min(READ_BYTES, stop - at))
            self.digests.update(data)
            at += len(data)


def _says(manifest: Manifest, listing: Listing) -> bool:
    """A manifest is of exactly this state of the source."""
    there = {file.path for file in manifest.files}
    return manifest.revision == listing.revision and there == {file.path for file in listing.files}


def _remove_left_over(prepared: Prepared, old: Manifest | None) -> None:
    """Files that an older state of this model had and this one has not."""
    for file in old.files if old else ():
        place = prepared.folder / file.path
        if file.path not in prepared.listing.names and not through_link(prepared.folder, place):
            place.unlink(missing_ok=True)


def _size(folder: Path, path: str) -> int | None:
    """A file's size; None if there is no regular file of that name, or only by way of a link."""
    place = folder / path
    links = place.is_symlink() or through_link(folder, place)
    try:
        found = os.stat(place)
    except OSError:
        return None
    return None if links or not stat.S_ISREG(found.st_mode) else found.st_size
