"""A folder on this machine as a source: another disk, a mounted share, a hub's cache."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from tandem.core.model_folder import MANIFEST
from tandem.errors import ConfigError, ModelBroken, TransferFailed
from tandem.models.manifest import read_manifest, refuse_half
from tandem.models.ports import Listing, RemoteFile

PIECE_BYTES = 1 << 20
_NOT_THE_MODEL = {".git", ".cache", "._____temp", "__pycache__"}
"""Folders that clients leave beside a model."""


class Folder:
    """The files below one folder. Links to files are followed, as hubs' caches use them; others refused."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder

    def list(self) -> Listing:
        """What the folder's manifest names, with hashes; all files where there is none."""
        files = folder_files(self._folder)
        manifest = read_manifest(self._folder)
        known = {file.path: file for file in manifest.files} if manifest else {}
        found = []
        for path, stat in files.items():
            ours = known.get(path)
            if manifest and not ours:
                continue
            if ours and ours.size != stat.st_size:
                raise TransferFailed(f"{self._folder / path} has {stat.st_size} bytes, {ours.size} in its manifest")
            version = f"{stat.st_mtime_ns}"
            found.append(RemoteFile(path=path, size=stat.st_size, sha256=ours.sha256 if ours else "", version=version))
        if missing := sorted(set(known) - set(files)):
            raise TransferFailed(f"{self._folder} lacks {missing[0]}, which its manifest names")
        state = "\n".join(f"{file.path} {file.size} {file.identity}" for file in found)
        revision = hashlib.sha256(state.encode()).hexdigest()[:40]
        return Listing(source=self.name, revision=revision, files=tuple(found))

    @contextlib.contextmanager
    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[Iterator[bytes]]:
        """A range of one file."""
        try:
            opened = (self._folder / file.path).open("rb")
        except FileNotFoundError as error:
            raise TransferFailed(f"{self._folder / file.path} is gone") from error
        except OSError as error:
            raise TransferFailed(f"{self._folder / file.path} cannot be read: {error.strerror}") from error
        with opened:
            yield self._pieces(opened.fileno(), file, start, stop)

    def close(self) -> None:
        """Nothing is kept."""

    def _pieces(self, descriptor: int, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        while start < stop:
            try:
                data = os.pread(descriptor, min(PIECE_BYTES, stop - start), start)
            except OSError as error:
                raise TransferFailed(f"{self._folder / file.path} cannot be read: {error.strerror}") from error
            if not data:
                raise TransferFailed(f"{self._folder / file.path} became shorter while it was read")
            start += len(data)
            yield data


def folder_files(folder: Path) -> dict[str, os.stat_result]:
    """The files of a model folder by path, sorted; ours, and what clients leave, not among them.

    Raises:
        ConfigError: it is no folder.
        ModelBroken: it is half pulled, or holds what could only be left out: the rest would pass for the whole.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder")
    refuse_half(folder)
    found: dict[str, os.stat_result] = {}
    for root, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if name not in _NOT_THE_MODEL)
        if link := next((Path(root, name) for name in folders if Path(root, name).is_symlink()), None):
            raise ModelBroken(f"{link} is a link to a folder, which is not followed; copy what is in it, or remove it")
        for name in names:
            path = Path(root, name)
            if path.is_symlink() and not path.exists():
                raise ModelBroken(f"{path} is a link that leads nowhere; mend or remove it")
            relative = path.relative_to(folder).as_posix()
            if relative != MANIFEST and path.is_file():
                found[relative] = path.stat()
    return dict(sorted(found.items()))


def _unreadable(error: OSError) -> None:
    raise ModelBroken(f"{error.filename} cannot be read: {error.strerror}") from error
