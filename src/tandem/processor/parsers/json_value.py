"""Follows one JSON value through a text that comes in portions, without building it.

Strings, nesting and the value's end are watched; commas and colons are not checked. Line breaks and other
control characters inside strings, which models write although JSON has no such thing, become escapes.
"""

import re
from typing import Final, Literal

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_BETWEEN: Final = re.compile(r"[\w+\-.,:\s]*", re.ASCII)
"""What may stand outside strings and brackets."""
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f]*')
_SCALAR: Final = re.compile(r"[\w+\-.]*", re.ASCII)


def skip_space(text: str, at: int) -> int:
    """Where the white space that begins at `at` ends."""
    found = _SPACE.match(text, at)
    assert found is not None, "the pattern matches nothing at least"
    return found.end()


class JsonValue:
    """The state of one value."""

    __slots__ = ("_depth", "_escape", "_mode", "state")

    def __init__(self) -> None:
        self._mode: Literal["start", "between", "string", "scalar"] = "start"
        self._depth = 0
        self._escape = False
        self.state: Literal["open", "done", "broken"] = "open"
        """`broken`: the text at hand cannot go on this way in JSON."""

    def feed(self, text: str, at: int, found: list[str]) -> int:
        """Read on from `at`; returns where reading stopped. White space before the value is skipped.

        Args:
            found: gets the value's text.
        """
        end = len(text)
        while at < end and self.state == "open":
            match self._mode:
                case "start":
                    at = skip_space(text, at)
                    if at < end:
                        self._begin(text[at])
                case "between":
                    at = self._between(text, at, found)
                case "string":
                    at = self._string(text, at, found)
                case "scalar":
                    stop = _end(_SCALAR, text, at)
                    found.append(text[at:stop])
                    at = stop
                    if at < end:
                        self.state = "done"
        return at

    def close(self) -> None:
        """No more text: a bare number or word has ended too."""
        if self._mode == "scalar":
            self.state = "done"

    def _begin(self, first: str) -> None:
        if first in '{["':
            self._mode = "between"
        elif _SCALAR.fullmatch(first):
            self._mode = "scalar"
        else:
            self.state = "broken"

    def _between(self, text: str, at: int, found: list[str]) -> int:
        stop = _end(_BETWEEN, text, at)
        if stop == len(text):
            found.append(text[at:stop])
            return stop
        match text[stop]:
            case '"':
                self._mode = "string"
            case "{" | "[":
                self._depth += 1
            case "}" | "]":
                self._depth -= 1
                if not self._depth:
                    self.state = "done"
            case _:
                found.append(text[at:stop])
                self.state = "broken"
                return stop
        found.append(text[at : stop + 1])
        return stop + 1

    def _string(self, text: str, at: int, found: list[str]) -> int:
        if self._escape:
            self._escape = False
            found.append(_escaped(text[at], after_backslash=True))
            return at + 1
        stop = _end(_PLAIN, text, at)
        found.append(text[at:stop])
        if stop == len(text):
            return stop
        character = text[stop]
        found.append(_escaped(character))
        if character == "\\":
            self._escape = True
        elif character == '"':
            self._mode = "between"
            if not self._depth:
                self.state = "done"
        return stop + 1


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    assert found is not None, "the pattern matches nothing at least"
    return found.end()


def _escaped(character: str, *, after_backslash: bool = False) -> str:
    if character >= " ":
        return character
    code = {"\n": "n", "\r": "r", "\t": "t"}.get(character) or f"u{ord(character):04x}"
    return code if after_backslash else f"\\{code}"
