"""Python literals, as models write them, to JSON text. Nothing is evaluated.

Strings of either quote (adjacent ones are one, line breaks may stand in them), numbers, True, False, None and their
JSON spellings, lists, tuples, mappings.
"""

import json
import re
from typing import Final

_MOST_DEPTH: Final = 64
_SPACE: Final = re.compile(r"\s*")
_WORD: Final = re.compile(r"[A-Za-z_][\w]*", re.ASCII)
_NUMBER: Final = re.compile(r"([+-]?)(\d+)?(\.\d*)?([eE][+-]?\d{1,4})?(?![\w.])", re.ASCII)
_PLAIN: Final = re.compile(r"[^\\'\"]+")
_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-7]{1,3})|([\s\S]))")
_WORDS: Final = {"True": "true", "False": "false", "None": "null", "true": "true", "false": "false", "null": "null"}
_LETTERS: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "0": "\0", "\n": ""}


class NoLiteral(Exception):
    """The text is no literal that is read here."""


class Literals:
    """Reads literals from a text, from `at` on."""

    __slots__ = ("_depth", "at", "text")

    def __init__(self, text: str, at: int = 0) -> None:
        self.text = text
        self.at = at
        self._depth = 0

    def value(self) -> str:
        """The JSON text of the literal that stands here. Raises `NoLiteral`."""
        self.space()
        first = self.text[self.at : self.at + 1]
        match first:
            case '"' | "'":
                return json.dumps(self.string(), ensure_ascii=False)
            case "[":
                return f"[{', '.join(self._items(']'))}]"
            case "(":
                return f"[{', '.join(self._items(')'))}]"
            case "{":
                return f"{{{', '.join(self._pairs())}}}"
        if (word := self.word()) is not None:
            if word not in _WORDS:
                raise NoLiteral(word)
            return _WORDS[word]
        return self._number()

    def string(self) -> str:
        """The strings that stand here, as one."""
        parts: list[str] = []
        while self.text[self.at : self.at + 1] in ("'", '"'):
            self._one_string(parts)
            self.space()
        # Two escapes of one character that UTF-16 writes in two halves are one; a half alone is no character.
        return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def word(self) -> str | None:
        """The name that stands here, if one does."""
        found = _WORD.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found[0]

    def space(self) -> None:
        """Pass white space."""
        found = _SPACE.match(self.text, self.at)
        assert found is not None, "the pattern matches nothing at least"
        self.at = found.end()

    def take(self, mark: str) -> bool:
        """Pass white space and `mark`, if it stands here."""
        self.space()
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def _items(self, close: str) -> list[str]:
        self._enter()
        found: list[str] = []
        while not self.take(close):
            found.append(self.value())
            if not self.take(","):
                self._need(close)
                break
        self._depth -= 1
        return found

    def _pairs(self) -> list[str]:
        self._enter()
        found: list[str] = []
        while not self.take("}"):
            key = self.value()
            if key[0] in "[{":
                raise NoLiteral("a key must be plain")
            self._need(":")
            name = key if key.startswith('"') else f'"{key}"'
            found.append(f"{name}: {self.value()}")
            if not self.take(","):
                self._need("}")
                break
        self._depth -= 1
        return found

    def _enter(self) -> None:
        self.at += 1
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise NoLiteral("nested too deeply")

    def _need(self, mark: str) -> None:
        if not self.take(mark):
            raise NoLiteral(f"{mark} is missing")

    def _one_string(self, parts: list[str]) -> None:
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            quote *= 3
        self.at += len(quote)
        while not self.text.startswith(quote, self.at):
            if (plain := _PLAIN.match(self.text, self.at)) is not None:
                parts.append(plain[0])
                self.at = plain.end()
            elif (escape := _ESCAPE.match(self.text, self.at)) is not None:
                parts.append(_escaped(escape))
                self.at = escape.end()
            elif self.at < len(self.text) and self.text[self.at] != "\\":
                parts.append(self.text[self.at])
                self.at += 1
            else:
                raise NoLiteral("a string has no end")
        self.at += len(quote)

    def _number(self) -> str:
        found = _NUMBER.match(self.text, self.at)
        if found is None or not (found[2] or len(found[3] or "") > 1):
            raise NoLiteral("no value")
        self.at = found.end()
        whole, fraction = (found[2] or "0").lstrip("0") or "0", found[3] or ""
        fraction = f"{fraction}0" if fraction == "." else fraction
        return f"{'-' if found[1] == '-' else ''}{whole}{fraction}{found[4] or ''}"


def _escaped(escape: re.Match[str]) -> str:
    hexadecimal = escape[1] or escape[2] or escape[3]
    if hexadecimal:
        code = int(hexadecimal, 16)
        return chr(code) if code <= 0x10FFFF else escape[0]
    if escape[4] is not None:
        return chr(int(escape[4], 8))
    letter = escape[5]
    return _LETTERS.get(letter, letter if letter in "\\'\"" else escape[0])
