"""The manifest of a model folder: what belongs to it, with size and SHA-256. Written last, in one step.

A folder with a manifest and without a mark of work under way is whole. The same file lies in a bucket that
`tandem models push` has filled, so a mounted bucket is a model folder too.
"""

import os
from pathlib import Path

import msgspec

from tandem.core.model_folder import MANIFEST, PULLING, PUSHING
from tandem.errors import ModelBroken
from tandem.models.names import fault_of

_FORMAT = 1


class ManifestFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file."""

    path: str
    """Relative to the folder, with `/`."""
    size: int
    sha256: str
    etag: str = ""
    """Of the object, in a store's manifest: while it is the same, so is the SHA-256."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a folder whole."""

    format: int = _FORMAT
    source: str
    """Where it came from, as `tandem models pull` was told; never with credentials."""
    revision: str = ""
    """What the hub calls this state of the repository: a commit, or empty."""
    made_at: str
    """UTC, ISO 8601."""
    files: tuple[ManifestFile, ...]

    @property
    def bytes(self) -> int:
        """All files together."""
        return sum(file.size for file in self.files)


def encode(manifest: Manifest) -> bytes:
    """As it lies in a folder or a bucket."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode(text: bytes, *, where: str) -> Manifest:
    """Read one.

    Raises:
        ModelBroken: it is no manifest, a newer one, or names a file outside its folder.
    """
    try:
        found = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise ModelBroken(f"{where} is no manifest that can be read: {error}") from error
    if found.format > _FORMAT:
        raise ModelBroken(f"{where} is of format {found.format}, made by a newer Tandem; this one reads {_FORMAT}")
    for file in found.files:
        if (why := fault_of(file.path)) or file.path == MANIFEST:
            raise ModelBroken(f"{where} names a file {file.path!r}, which {why or 'is the manifest itself'}")
    return found


def read_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest; None where there is none."""
    try:
        text = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ModelBroken(f"{folder / MANIFEST} cannot be read: {error.strerror}") from error
    return decode(text, where=str(folder / MANIFEST))


def write_whole(path: Path, text: bytes) -> None:
    """Put a file in place in one step, on disk before it is seen."""
    beside = path.with_name(f"{path.name}.new")
    with beside.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put a folder's names on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def through_link(folder: Path, path: Path) -> bool:
    """Whether a folder on the way from `folder` to `path` is a link: then what lies there is not the model's."""
    return any(at.is_symlink() for at in path.parents if at != folder and at.is_relative_to(folder))


def refuse_half(folder: Path) -> None:
    """Raise `ModelBroken` for a folder that a pull or a push has begun and not finished."""
    if (folder / PULLING).is_dir():
        raise ModelBroken(
            f"{folder} is half a model: its pull was not finished; run the same `tandem models pull` again"
        )
    if (folder / PUSHING).is_file():
        raise ModelBroken(
            f"{folder} is half a model: its push was not finished; run the same `tandem models push` again"
        )
