"""Llama 3's calls in JSON: `{"name": "weather", "parameters": {"city": "Oslo"}}`.

They stand at the beginning of the answer, or after `<|python_tag|>`; several are parted by `;`, a comma or white space.
Since an answer may be JSON without being a call, only the name of a function that was offered makes it one.
"""

from collections.abc import Callable
from typing import Final

from tandem.processor.parsers.call_object import CallObject
from tandem.processor.parsers.json_value import skip_space
from tandem.processor.parsers.marked import MarkedReader
from tandem.processor.parsers.ports import CallForm, ToolFormat, Tools

_TAG: Final = "<|python_tag|>"


class Llama3Reader(MarkedReader):
    """See `ToolReader`."""

    def __init__(self, tools: Tools) -> None:
        super().__init__((_TAG,))
        self._tools = tools
        self._object = CallObject()
        self._marked_call = False
        self._state = self._start

    def _marked(self, mark: str) -> Callable[[], bool]:
        self._object, self._marked_call = CallObject(bare=True), True
        return self._in_object

    def _start(self) -> bool:
        """Where a call may begin without a mark."""
        at = skip_space(self._text, self._at)
        self._found.text(self._text[self._at : at])
        self._at = at
        if at == len(self._text):
            return False
        if self._text[at] == "{":
            self._begin_raw()
            self._object, self._marked_call = CallObject(known=self._tools, bare=True), False
            self._state = self._in_object
        else:
            self._state = self._prose
        return True

    def _in_object(self) -> bool:
        self._call_object(self._object)
        if self._object.state == "open":
            return False
        if not self._object.begun:
            return self._give_up(counted=self._marked_call)
        if self._object.state == "done":
            self._state = self._between
        else:
            self.malformed += 1
            self._state = self._broken
        return True

    def _between(self) -> bool:
        """After a call: perhaps something that parts it from the next."""
        if not self._skip_space():
            return False
        if self._text[self._at] in ";," and not "".join(self._raw).strip():
            self._keep(self._at + 1)
            return True
        if self._text[self._at] != "{":
            self._found.text("".join(self._raw))
        self._begin_raw()
        self._state = self._start
        return True

    def _broken(self) -> bool:
        self._rest_is_arguments()
        return False


LLAMA3_JSON: Final = ToolFormat(
    name="llama3_json",
    reader=Llama3Reader,
    special_tokens=(_TAG,),
    form=CallForm('{{"name": "{name}", "parameters": ', "}", "; "),
)
