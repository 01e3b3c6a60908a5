"""Hermes' and Qwen3's calls: `<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>`.

A closing tag inside a JSON string belongs to the string, and one that is missing is not missed. Arguments that stop
being JSON are passed on as the model wrote them, up to the closing tag.
"""

from collections.abc import Callable
from typing import Final

from tandem.processor.parsers.call_object import CallObject
from tandem.processor.parsers.marked import MarkedReader
from tandem.processor.parsers.ports import Item, ToolFormat

OPEN: Final = "<tool_call>"
CLOSE: Final = "</tool_call>"


class HermesReader(MarkedReader):
    """See `ToolReader`."""

    def __init__(self) -> None:
        super().__init__((OPEN, CLOSE))
        self._call = CallObject()
        self._unclosed = False
        """The last call's closing tag is still to come."""

    def _marked(self, mark: str) -> Callable[[], bool]:
        if mark == OPEN:
            self._call, self._unclosed = CallObject(), False
            return self._object
        if not self._unclosed:
            self._found.text(mark)
        self._unclosed = False
        return self._prose

    def _object(self) -> bool:
        items: list[Item] = []
        self._at = self._call.feed(self._text, self._at, items)
        self._found.calls(items)
        if self._call.state == "open":
            return False
        if not self._call.begun:
            self._no_call()
        elif self._call.state == "done":
            self._unclosed, self._state = True, self._prose
        else:
            self.malformed += 1
            self._state = self._broken
        return True

    def _broken(self) -> bool:
        return self._arguments_until(CLOSE)

    def _no_call(self) -> None:
        """It is text after all."""
        self.malformed += 1
        self._found.text(OPEN + self._call.raw)
        self._state = self._prose

    def _end(self, rest: str) -> None:
        if self._state == self._object and not self._call.begun:
            self._no_call()
        if self._state == self._prose:
            self._found.text(rest)
        elif self._state == self._broken:
            self._found.arguments(rest)


HERMES: Final = ToolFormat(name="hermes", reader=lambda _: HermesReader(), special_tokens=(OPEN, CLOSE))
