"""Models on this machine: which there are, whether they are what their manifests say, and away with them."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tandem.core.model_folder import MANIFEST, PULLING, PUSHING
from tandem.errors import ModelBroken
from tandem.models.crew import Crew
from tandem.models.manifest import Manifest, read_manifest, refuse_half, through_link
from tandem.models.ports import Watcher
from tandem.models.workspace import Workspace

State = Literal["whole", "half", "changed", "unverified"]
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """One model folder."""

    name: str
    path: Path
    state: State
    """whole: all files of its manifest have their sizes; unverified: no manifest, so nobody can tell."""
    bytes: int
    files: int
    source: str


def models_root(environ: Mapping[str, str], home: Path) -> Path:
    """Where models lie that were given no folder: `TANDEM_MODELS_DIR`, else in the user's cache."""
    return Path(environ.get("TANDEM_MODELS_DIR") or home / ".cache/tandem/models")


def shelf(root: Path) -> list[Shelved]:
    """The models directly below a folder, or the folder itself if it is one."""
    if not root.is_dir():
        return []
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    return [found for folder in folders if (found := shelved(folder))]


def shelved(folder: Path) -> Shelved | None:
    """A model folder's card; None for a folder that shows no sign of a model."""
    try:
        manifest = read_manifest(folder)
    except ModelBroken:
        return _card(folder, "changed", 0, 0, "")
    if (folder / PULLING).is_dir():
        plan = Workspace(folder).plan()
        return _card(folder, "half", plan.bytes if plan else 0, plan.files if plan else 0, plan.source if plan else "")
    if manifest:
        state: State = "changed" if faults_by_size(folder, manifest) else "whole"
        state = "half" if (folder / PUSHING).exists() else state
        return _card(folder, state, manifest.bytes, len(manifest.files), manifest.source)
    if (folder / "config.json").is_file():
        files = [path.stat() for path in folder.iterdir() if path.is_file()]
        return _card(folder, "unverified", sum(stat.st_size for stat in files), len(files), "")
    return None


def faults_by_size(folder: Path, manifest: Manifest) -> list[str]:
    """Files that are missing or of another size than the manifest says."""
    found = []
    for file in manifest.files:
        try:
            size = (folder / file.path).stat().st_size
        except OSError:
            found.append(f"{file.path} is missing")
            continue
        if size != file.size:
            found.append(f"{file.path} has {size} bytes of {file.size}")
    return found


def verify(folder: Path, watcher: Watcher, *, threads: int = 2) -> tuple[Manifest, list[str]]:
    """Read every file of a model and compare it with its manifest. Returns the faults.

    Raises:
        ModelBroken: it has no manifest to compare with, or is half.
    """
    refuse_half(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise ModelBroken(f"{folder} has no {MANIFEST}: it was not pulled by `tandem models`, nothing can be compared")
    faults = faults_by_size(folder, manifest)
    wrong = {fault.split(" ", 1)[0] for fault in faults}
    crew = Crew(threads, watcher)
    watcher.begin(str(folder), manifest.bytes, 0)

    def check(path: str, size: int, expected: str) -> None:
        watcher.file(path, size, 0)
        digest = hashlib.sha256()
        try:
            with (folder / path).open("rb") as opened:
                while data := opened.read(_READ_BYTES):
                    crew.check()
                    digest.update(data)
                    watcher.moved(path, len(data))
        except OSError as error:
            faults.append(f"{path} cannot be read: {error.strerror}")
            return
        if digest.hexdigest() != expected:
            faults.append(f"{path} has another content: SHA-256 {digest.hexdigest()}, not {expected}")
        watcher.finished(path)

    for file in manifest.files:
        if file.path not in wrong:
            crew.add(lambda file=file: check(file.path, file.size, file.sha256))  # type: ignore[misc]
    crew.run()
    return manifest, sorted(faults)


def removable(folder: Path) -> list[Path]:
    """The files that removing a model would remove: those it is known to consist of.

    Raises:
        ModelBroken: nothing shows that it is a model that was pulled.
    """
    manifest = read_manifest(folder)
    if manifest is None and not (folder / PULLING).is_dir():
        raise ModelBroken(f"{folder} has no {MANIFEST}: it was not pulled by `tandem models`; remove it by hand")
    names = [file.path for file in manifest.files] if manifest else []
    found = [folder / name for name in names]
    if (folder / PULLING).is_dir():
        found += Workspace(folder).places()
        found += sorted(path for path in (folder / PULLING).iterdir() if path.is_file())
    found.append(folder / MANIFEST)
    return [path for path in found if (path.is_symlink() or path.is_file()) and not through_link(folder, path)]


def remove(folder: Path, files: Sequence[Path]) -> list[str]:
    """Remove these files and the folders that are empty then. Returns what else lies there still."""
    workspace = Workspace(folder)
    with workspace.held():  # nobody pulls into it meanwhile; and a half removed model is a half one
        for path in files:
            path.unlink(missing_ok=True)
        workspace.remove()
    for root, _, _ in os.walk(folder, topdown=False):
        if not os.listdir(root):
            os.rmdir(root)
    if not folder.exists():
        return []
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _card(folder: Path, state: State, total: int, files: int, source: str) -> Shelved:
    return Shelved(name=folder.name, path=folder, state=state, bytes=total, files=files, source=source)
