"""Hermes' and Qwen3's calls: `<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>`.

A closing tag inside a JSON string belongs to the string, and one that is missing is not missed. Arguments that stop
being JSON are passed on as the model wrote them, up to the closing tag.
"""

from collections.abc import Callable
from typing import Final

from tandem.processor.parsers.call_object import CallObject
from tandem.processor.parsers.marked import MarkedReader
from tandem.processor.parsers.ports import CallForm, ToolFormat

OPEN: Final = "<tool_call>"
CLOSE: Final = "</tool_call>"


class HermesReader(MarkedReader):
    """See `ToolReader`."""

    def __init__(self) -> None:
        super().__init__((OPEN, CLOSE))
        self._object = CallObject()
        self._unclosed = False
        """The last call's closing tag is still to come."""

    def _marked(self, mark: str) -> Callable[[], bool]:
        if mark == OPEN:
            self._object, self._unclosed = CallObject(), False
            return self._in_object
        if not self._unclosed:
            self._found.text(mark)
        self._begin_raw()
        self._unclosed = False
        return self._prose

    def _in_object(self) -> bool:
        self._call_object(self._object)
        if self._object.state == "open":
            return False
        if not self._object.begun:
            return self._give_up()
        self._unclosed = True
        if self._object.state == "done":
            self._state = self._prose
        else:
            self.malformed += 1
            self._state = self._broken
        return True

    def _broken(self) -> bool:
        return self._arguments_until(CLOSE)

    def _end(self) -> None:
        if self._state == self._broken:
            self._rest_is_arguments()


HERMES: Final = ToolFormat(
    name="hermes",
    reader=lambda _: HermesReader(),
    special_tokens=(OPEN, CLOSE),
    form=CallForm(f'{OPEN}\n{{{{"name": "{{name}}", "arguments": ', f"}}\n{CLOSE}", "\n", trigger=OPEN),
)
