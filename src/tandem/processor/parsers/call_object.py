"""Reads one call written as a JSON object, and passes its arguments on as they come.

    {"name": "weather", "arguments": {"city": "Oslo"}}

`parameters` means the same as `arguments`; either may come before the name, and then waits for it. Other fields
are skipped. The call begins when its name is known and its arguments begin. An object that turns out to be
something else before that has given nothing away.
"""

from collections.abc import Container
from typing import Final, Literal

import msgspec

from tandem.processor.parsers.json_value import JsonValue, skip_space
from tandem.processor.parsers.ports import Arguments, CallBegun, Item

_ARGUMENTS: Final = frozenset({"arguments", "parameters"})
_FIELDS: Final = _ARGUMENTS | {"name", "type", "id"}


class CallObject:
    """One object's state."""

    __slots__ = (
        "_arguments",
        "_bare",
        "_field",
        "_held",
        "_known",
        "_mode",
        "_name",
        "_value",
        "begun",
        "state",
    )

    def __init__(self, *, known: Container[str] | None = None, bare: bool = False) -> None:
        """
        Args:
            known: names that make it a call; None takes any.
            bare: no mark says that this is a call: it has arguments, and no field that calls do not have.
        """
        self._known = known
        self._bare = bare
        self._mode: Literal["start", "next", "field", "colon", "value"] = "start"
        self._field = ""
        self._name: str | None = None
        self._arguments: str | None = None
        """They, if they came before the name."""
        self._value = JsonValue()
        self._held: list[str] = []
        """Text of the value at hand that is not passed on yet."""
        self.begun = False
        """Whether it has been passed on as a call."""
        self.state: Literal["open", "done", "broken"] = "open"

    def feed(self, text: str, at: int, found: list[Item]) -> int:
        """Read on from `at`; returns where reading stopped."""
        while at < len(text) and self.state == "open":
            at = self._read(text, at, found) if self._mode in ("field", "value") else self._between(text, at, found)
        return at

    def _between(self, text: str, at: int, found: list[Item]) -> int:
        at = skip_space(text, at)
        if at == len(text):
            return at
        match self._mode, text[at]:
            case "start", "{":
                self._mode = "next"
            case "next", ",":
                pass
            case "next", '"':
                self._expect("field")
                return at
            case "next", "}":
                self._end(found)
            case "colon", ":":
                self._expect("value")
            case _:
                self.state = "done" if self._complete else "broken"
                return at
        return at + 1

    @property
    def _complete(self) -> bool:
        """Whether nothing is missing but brackets."""
        return self.begun and self._arguments is not None

    def _expect(self, mode: Literal["field", "value"]) -> None:
        self._mode, self._value = mode, JsonValue()
        self._held.clear()

    def _read(self, text: str, at: int, found: list[Item]) -> int:
        at = self._value.feed(text, at, self._held)
        over = self._value.state == "done"
        if self._mode == "field" and over:
            self._field, self._mode = _decoded("".join(self._held)) or "", "colon"
            if self._bare and self._field not in _FIELDS:
                self.state = "broken"
        elif self._mode == "value":
            self._take(found, over)
            if over:
                self._mode = "next"
        if self._value.state == "broken":
            self.state = "broken"
        return at

    def _take(self, found: list[Item], over: bool) -> None:
        """More of a value, or (`over`) all of it."""
        if self._field in _ARGUMENTS and self._arguments is None:
            if self._name is not None:
                self._pass_on(found, over)
            elif over:
                self._arguments = "".join(self._held)
        elif self._field == "name" and self._name is None:
            if over and (name := _decoded("".join(self._held))) and (self._known is None or name in self._known):
                self._name = name
                if self._arguments is not None:
                    self._begin(found, _as_json(self._arguments))
            elif over:
                self.state = "broken"
        else:
            self._held.clear()

    def _pass_on(self, found: list[Item], over: bool) -> None:
        if not self._held:
            return
        if self.begun or self._held[0][:1] in ("{", "["):
            self._begin(found, "".join(self._held))
            self._held.clear()
        elif over:
            self._begin(found, _as_json("".join(self._held)))
        if over:
            self._arguments = ""  # a second field of that name is skipped

    def _begin(self, found: list[Item], text: str) -> None:
        if not self.begun:
            assert self._name is not None, "a call began without a name"
            found.append(CallBegun(self._name))
            self.begun = True
        if text:
            found.append(Arguments(text))

    def _end(self, found: list[Item]) -> None:
        self.state = "done"
        if not self.begun:
            if self._name is None or self._bare:
                self.state = "broken"
            else:
                self._begin(found, "{}")


def _decoded(text: str) -> str | None:
    """A JSON string's value; None for anything else."""
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.DecodeError, UnicodeError):
        return None


def _as_json(text: str) -> str:
    """Arguments in other clothes: JSON text inside a string, or null for none."""
    if text == "null":
        return "{}"
    if text.startswith('"'):
        return _decoded(text) or text
    return text
