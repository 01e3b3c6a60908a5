"""Calls as Python writes them, in a list: `[weather(city="Oslo"), now()]`. Llama 3.2 and 4, ToolACE and others.

The list stands at the beginning of the answer or after `<|python_start|>`. Since an answer may well begin with a
bracket, only the name of a function that was offered makes it a call. Each call is told when it is complete: its
arguments are JSON then, which they could not be piece by piece without guessing.
"""

import re
from collections.abc import Callable
from typing import Final

from tandem.processor.parsers.json_value import skip_space
from tandem.processor.parsers.literals import Literals, NoLiteral
from tandem.processor.parsers.marked import MarkedReader
from tandem.processor.parsers.ports import ToolFormat, Tools

_START: Final = "<|python_start|>"
_END: Final = "<|python_end|>"
_NAME: Final = re.compile(r"[\w.:/-]*", re.ASCII)
_INSIDE: Final = {quote: re.compile(rf"[^{quote}\\]*") for quote in "'\""}
_OUTSIDE: Final = re.compile(r"[^\"'()\[\]{}]*")


class PythonicReader(MarkedReader):
    """See `ToolReader`."""

    def __init__(self, tools: Tools) -> None:
        super().__init__((_START, _END))
        self._tools = tools
        self._marked_list = False
        self._name = ""
        self._body_from = 0
        """Where in `_raw` the arguments begin."""
        self._depth = 0
        self._quote = ""
        """The quote that ends the string at hand; empty outside strings."""
        self._state = self._start

    def _marked(self, mark: str) -> Callable[[], bool]:
        if mark == _START:
            self._marked_list = True
            return self._list
        if not self._marked_list:
            self._found.text(mark)
        self._begin_raw()
        self._marked_list = False
        return self._prose

    def _start(self) -> bool:
        """Where a list may begin without a mark."""
        at = skip_space(self._text, self._at)
        self._found.text(self._text[self._at : at])
        self._at = at
        if at == len(self._text):
            return False
        self._begin_raw()
        self._state = self._list if self._text[at] == "[" else self._prose
        return True

    def _list(self) -> bool:
        if not self._skip_space():
            return False
        if self._text[self._at] != "[":
            return self._no_call()
        self._keep(self._at + 1)
        self._state = self._before_name
        return True

    def _before_name(self) -> bool:
        self._state = self._in_name if self._skip_space() else self._state
        return self._state == self._in_name

    def _in_name(self) -> bool:
        name = self._word(_NAME)
        if name is None:
            return False
        if not name or not (self._marked_list or name in self._tools):
            return self._no_call()
        self._name, self._state = name, self._opening
        return True

    def _opening(self) -> bool:
        if not self._skip_space():
            return False
        if self._text[self._at] != "(":
            return self._no_call()
        self._keep(self._at + 1)
        self._body_from, self._depth, self._quote = len(self._raw), 1, ""
        self._state = self._in_call
        return True

    def _in_call(self) -> bool:
        """Up to the parenthesis that closes the call."""
        while self._at < len(self._text):
            if not (self._in_string() if self._quote else self._outside()):
                break
            if not self._depth:
                return self._complete()
        return False

    def _outside(self) -> bool:
        found = _OUTSIDE.match(self._text, self._at)
        assert found is not None, "the pattern matches nothing at least"
        self._keep(found.end())
        character = self._text[self._at : self._at + 1]
        if character in ("'", '"'):
            return self._opening_quote(character)
        self._depth += (character in tuple("([{")) - (character in tuple(")]}"))
        self._keep(self._at + len(character))
        return True

    def _opening_quote(self, quote: str) -> bool:
        """One or three quotes open a string, two are an empty one: what it is, later characters may have to say."""
        run = len(self._text) - self._at
        if not self._text.startswith(quote * 2, self._at):
            if run == 1:
                return False
            self._quote = quote
        elif run == 2:
            return False
        elif self._text.startswith(quote * 3, self._at):
            self._quote = quote * 3
        else:
            self._keep(self._at + 2)
            return True
        self._keep(self._at + len(self._quote))
        return True

    def _in_string(self) -> bool:
        found = _INSIDE[self._quote[0]].match(self._text, self._at)
        assert found is not None, "the pattern matches nothing at least"
        self._keep(found.end())
        here = self._lookahead(self._quote)
        if here:
            self._keep(self._at + len(self._quote))
            self._quote = ""
        elif here is None:
            return False
        else:  # a backslash and what follows it, or a quote that is not the closing one
            size = 2 if self._text[self._at] == "\\" else 1
            if len(self._text) - self._at < size:
                return False
            self._keep(self._at + size)
        return True

    def _complete(self) -> bool:
        try:
            arguments = _arguments("".join(self._raw[self._body_from : -1]))
        except NoLiteral:
            return self._no_call()
        self._begin(self._name)
        self._arguments(arguments)
        self._state = self._after_call
        return True

    def _after_call(self) -> bool:
        """A comma and more, or the list's end."""
        if not self._skip_space():
            return False
        match self._text[self._at]:
            case ",":
                self._keep(self._at + 1)
                self._state = self._after_comma
            case "]":
                self._at += 1
                self._begin_raw()
                self._state = self._prose
            case _:
                return self._no_call()
        return True

    def _after_comma(self) -> bool:
        if not self._skip_space():
            return False
        self._state = self._after_call if self._text[self._at] == "]" else self._in_name
        return True

    def _no_call(self) -> bool:
        marked, self._marked_list = self._marked_list, False
        return self._give_up(counted=marked)


def _arguments(text: str) -> str:
    """`city="Oslo", days=2` as JSON. Raises `NoLiteral`."""
    literals, found = Literals(text), list[str]()
    literals.space()
    while literals.at < len(text):
        name = literals.word()
        if name is None or not literals.take("="):
            raise NoLiteral("an argument has no name")
        found.append(f'"{name}": {literals.value()}')
        if not literals.take(",") and literals.at < len(text):
            raise NoLiteral("a comma is missing")
        literals.space()
    return f"{{{', '.join(found)}}}"


PYTHONIC: Final = ToolFormat(name="pythonic", reader=PythonicReader, special_tokens=(_START, _END))
