"""From what a user types to the place that is meant."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tandem.errors import ConfigError
from tandem.models.ports import Source, Store

if TYPE_CHECKING:
    from tandem.models.s3 import Bucket

Kind = Literal["hf", "modelscope", "oss", "s3", "folder"]
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")
_ON_A_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FORMS = "modelscope://ORG/NAME[@REVISION], hf://ORG/NAME[@REVISION], oss://BUCKET/PATH, s3://BUCKET/PATH or a folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a model is or shall be."""

    kind: Kind
    name: str
    """As it is written, tidied."""
    repository: str = ""
    revision: str = ""
    bucket: str = ""
    prefix: str = ""
    folder: Path = Path()

    @property
    def model_name(self) -> str:
        """What its folder is called by default."""
        last = (self.repository or self.prefix or self.bucket or self.folder.resolve().name).rstrip("/")
        return last.rsplit("/", 1)[-1]


def parse_place(text: str) -> Place:
    """Read a source or a target.

    Raises:
        ConfigError: it is none of the known forms.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        if not text.strip():
            raise ConfigError(f"a place is one of: {_FORMS}")
        return Place(kind="folder", name=str(Path(text).resolve()), folder=Path(text))
    if "?" in rest or "#" in rest:
        raise ConfigError(f"{scheme}://… takes no query: credentials come from the environment")
    match scheme:
        case "hf" | "modelscope":
            repository, _, revision = rest.strip("/").partition("@")
            if not _REPOSITORY.fullmatch(repository) or ".." in repository or (_ and not revision):
                raise ConfigError(f"{scheme}://{repository} names no repository: {scheme}://ORG/NAME[@REVISION]")
            name = f"{scheme}://{repository}" + (f"@{revision}" if revision else "")
            return Place(kind=scheme, name=name, repository=repository, revision=revision)
        case "oss" | "s3":
            bucket, _, prefix = rest.partition("/")
            if "@" in bucket or ":" in bucket:
                raise ConfigError(f"{scheme}://… takes no credentials: they come from the environment")
            prefix = prefix.strip("/")
            if not _BUCKET.fullmatch(bucket):
                raise ConfigError(f"{bucket!r} names no bucket: {scheme}://BUCKET/PATH")
            if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
                raise ConfigError(f"{prefix!r} is no path in a bucket: {scheme}://BUCKET/PATH")
            return Place(kind=scheme, name=f"{scheme}://{bucket}/{prefix}".rstrip("/"), bucket=bucket, prefix=prefix)
        case "file":
            return parse_place(rest)
    raise ConfigError(f"{scheme}:// is no place that models come from; known are {_FORMS}")


def open_source(place: Place, *, timeout_s: float, connections: int) -> Source:
    """A place to pull from. Raises `ConfigError` when its client or its credentials are missing."""
    match place.kind:
        case "hf":
            from tandem.models.huggingface import HuggingFace

            return HuggingFace(
                place.name, place.repository, place.revision, timeout_s=timeout_s, connections=connections
            )
        case "modelscope":
            from tandem.models.modelscope import ModelScope

            return ModelScope(
                place.name, place.repository, place.revision, timeout_s=timeout_s, connections=connections
            )
        case "folder":
            from tandem.models.disk import Folder

            written = str(place.folder)
            if not place.folder.exists() and _ON_A_HUB.fullmatch(written):
                raise ConfigError(
                    f"{written} is no folder here; on a hub it is modelscope://{written} or hf://{written}"
                )
            return Folder(Path(place.name))
    return _bucket(place, timeout_s, connections)


def open_store(place: Place, *, timeout_s: float, connections: int) -> Store:
    """A place to push to. Raises `ConfigError` when it is none."""
    if place.kind not in ("oss", "s3"):
        raise ConfigError(f"{place.name} is no place to push to: oss://BUCKET/PATH or s3://BUCKET/PATH")
    if not place.prefix:
        raise ConfigError(f"{place.name} names a whole bucket; a model wants a path of its own: {place.name}/NAME")
    return _bucket(place, timeout_s, connections)


def _bucket(place: Place, timeout_s: float, connections: int) -> "Bucket":
    from tandem.models.s3 import Bucket

    return Bucket(place.name, place.bucket, place.prefix, timeout_s=timeout_s, connections=connections)
