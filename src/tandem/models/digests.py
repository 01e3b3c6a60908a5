"""Hashes of a file while it is read once: SHA-256 always, and whatever else its source lets us compare."""

import hashlib

from tandem.models.ports import RemoteFile


class Digests:
    """Fed in order, asked once at the end."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False) if _needs_git(file) else None
        self._md5 = Md5(file.md5_part_bytes) if file.md5 and not file.sha256 else None

    def update(self, data: bytes) -> None:
        """The next bytes."""
        self._sha256.update(data)
        if self._git:
            self._git.update(data)
        if self._md5:
            self._md5.update(data)

    @property
    def sha256(self) -> str:
        """Of all so far."""
        return self._sha256.hexdigest()

    def fault(self) -> str:
        """What is wrong with the file; empty if all that can be compared is equal."""
        if self._file.sha256 and self.sha256 != self._file.sha256:
            return f"its SHA-256 is {self.sha256}, not {self._file.sha256}"
        if self._git and self._git.hexdigest() != self._file.git_blob:
            return f"its git hash is {self._git.hexdigest()}, not {self._file.git_blob}"
        if self._md5 and self._md5.value() != self._file.md5:
            return f"its MD5 is {self._md5.value()}, not {self._file.md5}"
        return ""


class Md5:
    """As stores make their ETags: of the whole, or of the MD5s of parts."""

    def __init__(self, part_bytes: int = 0) -> None:
        self._part_bytes = part_bytes
        self._part = hashlib.md5(usedforsecurity=False)
        self._filled = 0
        self._parts: list[bytes] = []

    def update(self, data: bytes) -> None:
        """The next bytes."""
        rest = memoryview(data)
        while self._part_bytes and self._filled + len(rest) > self._part_bytes:
            fits = self._part_bytes - self._filled
            self._part.update(rest[:fits])
            self._parts.append(self._part.digest())
            self._part, self._filled, rest = hashlib.md5(usedforsecurity=False), 0, rest[fits:]
        self._part.update(rest)
        self._filled += len(rest)

    def value(self) -> str:
        """Hexadecimal; with `-PARTS` if it is made of parts."""
        if not self._part_bytes:
            return self._part.hexdigest()
        return joined_md5([*self._parts, self._part.digest()])


def joined_md5(parts: list[bytes]) -> str:
    """The ETag of an object that was uploaded in these parts."""
    return f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"


def _needs_git(file: RemoteFile) -> bool:
    return bool(file.git_blob) and not file.sha256
