"""API keys: what a list of them says, and whose key it is that a client shows.

Only SHA-256 hashes are kept. That is enough because keys are made by `new_key`, with 256 random bits: nobody can
try them out against a stolen hash. (Slow hashes such as scrypt protect secrets that people choose; a key of fewer
than 24 characters is refused for that reason.)
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import yaml
from msgspec import Meta

from tandem.core.faults import field_fault
from tandem.errors import ConfigError

PREFIX: Final = "tdm-"
SHORTEST: Final = 24
"""Characters of a key that somebody brings along."""
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
Limit = Annotated[int, Meta(ge=1, le=2**53)]


class KeyEntry(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True
):
    """A key as the file lists it, and what it allows."""

    name: Annotated[str, Meta(pattern=_NAME)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    """Of the key's UTF-8 text, in hexadecimal digits."""
    requests_per_minute: Limit | None = None
    requests_per_day: Limit | None = None
    tokens_per_minute: Limit | None = None
    """Of prompt and output together."""
    tokens_per_day: Limit | None = None
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] = 0
    """Of its requests, unless they say otherwise; and the most urgent that they may say. Smaller is more urgent."""
    may_choose_instance: bool = False
    """Whether its requests may name the decode worker that answers them, by `x-tandem-instance`: for administrators."""
    models: tuple[str, ...] = ()
    """Models that it may ask for; empty: every one."""


class KeyRing:
    """The keys that are valid. Finding one takes as long for a wrong key as for a right one.

    The table is looked up by the hash of what the client shows: which hash that is, nobody can steer towards a
    stored one, so its timing tells nothing; the comparison that decides takes constant time.
    """

    def __init__(self, entries: Iterable[KeyEntry]) -> None:
        self._by_hash = {bytes.fromhex(entry.sha256): entry for entry in entries}

    def __len__(self) -> int:
        return len(self._by_hash)

    @property
    def entries(self) -> list[KeyEntry]:
        """All of them."""
        return list(self._by_hash.values())

    def find(self, shown: bytes) -> KeyEntry | None:
        """Whose key this is."""
        digest = hashlib.sha256(shown).digest()
        entry = self._by_hash.get(digest)
        stored = bytes.fromhex(entry.sha256) if entry else bytes(32)
        return entry if hmac.compare_digest(stored, digest) else None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only time that its text is known."""

    key: str
    entry: KeyEntry

    @property
    def line(self) -> str:
        """What to add to the file."""
        said = msgspec.to_builtins(self.entry)
        return "- " + yaml.safe_dump(said, default_flow_style=True, sort_keys=False, width=2**20).strip()


def hash_of(key: str) -> str:
    """What the file holds of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_key(name: str, allows: Mapping[str, object] | None = None, key: str | None = None) -> NewKey:
    """A key for `name` that allows what the other fields of an entry say; `key` if somebody brings one along.

    Raises `ConfigError` for what cannot be a key or a name."""
    if key is not None and len(key) < SHORTEST:
        raise ConfigError(f"a key of {len(key)} characters can be guessed; it needs {SHORTEST} or more", param="key")
    text = key if key is not None else PREFIX + secrets.token_urlsafe(32)
    said = {"name": name, "sha256": hash_of(text), **{k: v for k, v in (allows or {}).items() if v is not None}}
    return NewKey(text, _converted([said], "the key")[0])


def read_keys(text: str, where: str) -> list[KeyEntry]:
    """What a file of keys lists. Raises `ConfigError` that names `where`, the entry and what is wrong with it."""
    try:
        listed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""  # the error itself may quote the file
        raise ConfigError(f"{where}{line} is not YAML", param="api-keys-file") from None
    entries = _converted([] if listed is None else listed, where)
    for what in ("name", "sha256"):
        seen: set[str] = set()
        for number, entry in enumerate(entries, 1):
            value = getattr(entry, what)
            if value in seen:
                raise ConfigError(
                    f"{where}: key {number} ({entry.name}) has the {what} of another", param="api-keys-file"
                )
            seen.add(value)
    return entries


def _converted(listed: object, where: str) -> list[KeyEntry]:
    try:
        return msgspec.convert(listed, list[KeyEntry])
    except msgspec.ValidationError as error:
        fault = field_fault(str(error), list[KeyEntry])  # without the values: one might be a key
        if found := re.match(r"\[(\d+)\]\.?(.*)", fault.field):
            name = _name_of(listed, int(found[1]))
            raise ConfigError(
                f"{where}: key {int(found[1]) + 1}{name}: {found[2]} {fault.what}".replace("  ", " "),
                param="api-keys-file",
            ) from None
        raise ConfigError(f"{where} must be a list of keys", param="api-keys-file") from None


def _name_of(listed: object, index: int) -> str:
    entry = listed[index] if isinstance(listed, list) else None
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return f" ({name})" if isinstance(name, str) and re.match(_NAME, name) else ""


def shown_key(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The key that a request shows: as OpenAI's clients send it, Anthropic's or Azure's."""
    if (bearer := headers.get(b"authorization")) is not None:
        scheme, _, key = bearer.partition(b" ")
        return key.strip() if scheme.lower() == b"bearer" else None
    return headers.get(b"x-api-key") or headers.get(b"api-key")
