"""The fast lane: tokens of plain text go to the client where they arrive, while the request's task sleeps.

A lane is open between two pieces that went the long way (the first one; one that stop strings, parsers or a slow
client must see; the last). What goes through it is byte for byte what the long way would have made.
"""

from codecs import utf_8_decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(str).decode

TEXT: Final = "\ue000TEXT\ue001"
"""Stands for a text in an event that is made once. Of a private area: nobody's name holds it."""


def escaped(text: str) -> bytes:
    """As it stands between the quotes of a JSON string."""
    return _encode(text)[1:-1]


@dataclass(frozen=True, slots=True)
class Lane:
    """Where plain text may go at once."""

    ready: Callable[[], bool]
    """Whether `put` would take texts now."""
    put: Callable[[list[bytes]], None]
    """Takes texts that are not empty, escaped as in JSON: one of each token."""
    passes: Callable[[str], bool] | None = None
    """Whether a text needs no looking into; None: none does."""


OpenLane = Callable[[], Lane | None]
"""Asked where plain text may go from now on; None: nowhere, somebody must look into it."""


def parts_of(event: msgspec.Struct) -> list[bytes]:
    """The JSON of an event, cut wherever it holds `TEXT`. Ids and names before it are ours or a model's."""
    return _encode(event).split(TEXT.encode())


def unescaped(texts: list[bytes]) -> str:
    """The text that was escaped in pieces."""
    return _decode(b'"%b"' % b"".join(texts))


class TokenTexts(dict[int, bytes | None]):
    """Token → its text, escaped, where its bytes are whole characters; else None. Filled as tokens come.

    Args:
        table: the bytes of each token.
    """

    def __init__(self, table: list[bytes]) -> None:
        super().__init__()
        self.table = table

    def __missing__(self, token_id: int) -> bytes | None:
        data = self.table[token_id] if token_id < len(self.table) else b""
        try:
            found: bytes | None = escaped(utf_8_decode(data, "strict", True)[0])
        except UnicodeDecodeError:
            found = None
        self[token_id] = found
        return found
