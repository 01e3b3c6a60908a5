"""Tokens to text, a step at a time.

A token may end in the middle of a character: its bytes wait until the rest has come. U+FFFD appears only
where the bytes are no UTF-8 at all, or where the answer ends inside a character. Feeding the same tokens in
other portions gives the same text.
"""

from codecs import utf_8_decode
from collections.abc import Callable, Sequence
from typing import Protocol

from tandem.processor.lane import TokenTexts


class Detokenizer(Protocol):
    """The text of one sequence."""

    def feed(self, token_ids: Sequence[int]) -> str:
        """The text that these tokens complete; empty while a character is unfinished."""

    def close(self) -> str:
        """What is left: at most U+FFFD for an unfinished character."""


class ByteDetokenizer:
    """For tokenizers whose tokens are bytes: a table look-up and one UTF-8 decode per step."""

    __slots__ = ("_table", "texts", "waiting")

    def __init__(self, texts: TokenTexts) -> None:
        self._table = texts.table
        self.texts = texts
        self.waiting = b""
        """Bytes of a character that is not complete."""

    def feed(self, token_ids: Sequence[int]) -> str:
        """See `Detokenizer`. Ids outside the table (a padded vocabulary) have no text."""
        table = self._table
        try:
            data = table[token_ids[0]] if len(token_ids) == 1 else b"".join([table[t] for t in token_ids])
        except IndexError:
            data = b"".join([table[t] for t in token_ids if t < len(table)])
        if self.waiting:
            data = self.waiting + data
        text, used = utf_8_decode(data, "replace", False)
        self.waiting = data[used:] if used != len(data) else b""
        return text

    def close(self) -> str:
        """See `Detokenizer`."""
        rest, self.waiting = self.waiting, b""
        return rest.decode("utf-8", "replace")


class WindowDetokenizer:
    """For every other tokenizer (WordPiece, …): decode a short window with and without the new tokens.

    The window matters where a token's text depends on the one before it (a space, a joined suffix).
    """

    __slots__ = ("_decode", "_ids", "_shown")

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._shown = 0
        """How many of `_ids` have been shown as text."""

    def feed(self, token_ids: Sequence[int]) -> str:
        """See `Detokenizer`."""
        found = []
        for token_id in token_ids:  # one at a time, so that portions do not matter
            self._ids.append(token_id)
            before = self._decode(self._ids[: self._shown])
            after = self._decode(self._ids)
            if len(after) > len(before) and not after.endswith("\ufffd"):
                found.append(after[len(before) :])
                # The tokens just shown are the context of the next ones; what was before them is not needed.
                self._ids = self._ids[self._shown :]
                self._shown = len(self._ids)
        return "".join(found)

    def close(self) -> str:
        """See `Detokenizer`."""
        before = self._decode(self._ids[: self._shown])
        after = self._decode(self._ids)
        self._shown = len(self._ids)
        return after[len(before) :]
