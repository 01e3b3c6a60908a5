"""Which file names a model folder may have. Pure.

Names come from hubs and buckets, so they are a stranger's: none may leave the folder, hide in what is ours,
or fall together with another one on a disk that does not tell capitals apart.
"""

import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from tandem.core.model_folder import MANIFEST
from tandem.errors import TransferFailed

_OURS = ".tandem-"
_LONGEST = 255


def check_names(names: Iterable[str], *, source: str) -> None:
    """Refuse a listing that cannot become files.

    Raises:
        TransferFailed: the first name that may not be, and why.
    """
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in names:
        if why := fault_of(name):
            raise TransferFailed(f"{source} lists a file named {name!r}, which {why}; nothing was written")
        key = _folded(name)
        if other := seen.get(key):
            raise TransferFailed(f"{source} lists {other!r} and {name!r}, which are one file on many disks")
        seen[key] = name
        for parent in list(PurePosixPath(name).parents)[:-1]:
            folders.setdefault(_folded(str(parent)), name)
    if clash := next((key for key in folders if key in seen), None):
        raise TransferFailed(f"{source} lists {seen[clash]!r} as a file and as the folder of {folders[clash]!r}")


def fault_of(name: str) -> str:
    """Why a name may not be; empty if it may."""
    parts = name.split("/")
    if not name or name.startswith("/") or name.endswith("/") or "" in parts:
        return "is no relative path of a file"
    if ".." in parts or "." in parts:
        return "leaves the folder"
    if "\\" in name or any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        return "holds a character that file names should not"
    if any(len(part.encode("utf-8")) > _LONGEST for part in parts):
        return f"is longer than the {_LONGEST} bytes that disks take"
    if parts[0].casefold().startswith(_OURS) and name != MANIFEST:
        return "is a name that Tandem keeps for itself"
    return ""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
