"""Calls as a JSON list: `[{"name": "weather", "arguments": {"city": "Oslo"}}, …]`; an object alone is one call.

Older Mistral models write them after a mark. Where an engine holds a model to a JSON schema, the whole answer is one.
"""

from collections.abc import Callable
from typing import Final

from tandem.processor.parsers.call_object import CallObject
from tandem.processor.parsers.marked import MarkedReader
from tandem.processor.parsers.ports import ToolFormat


class ListReader(MarkedReader):
    """What reads such a list, from the state `_list` on."""

    def __init__(self, marks: tuple[str, ...]) -> None:
        super().__init__(marks)
        self._object = CallObject()
        self._alone = False
        self._calls = 0
        """Of this list."""

    def _list(self) -> bool:
        """The list's beginning, or an object alone."""
        self._calls = 0
        if not self._skip_space():
            return False
        match self._text[self._at]:
            case "[":
                self._alone = False
                self._keep(self._at + 1)
                self._state = self._item
            case "{":
                self._alone = True
                self._state = self._item
            case _:
                return self._give_up()
        return True

    def _item(self) -> bool:
        """An object, or the list's end."""
        if not self._skip_space():
            return False
        match self._text[self._at]:
            case "{":
                self._object = CallObject()
                self._state = self._in_item
            case "]" if self._calls:
                self._close_list()
            case _:
                return self._give_up()
        return True

    def _in_item(self) -> bool:
        self._call_object(self._object)
        if self._object.state == "open":
            return False
        if not self._object.begun:
            return self._give_up()
        self._calls += 1
        if self._object.state == "broken":
            self.malformed += 1
            self._state = self._broken
        else:
            self._state = self._prose if self._alone else self._after_item
        return True

    def _after_item(self) -> bool:
        """A comma and more, or the list's end, which a model may forget."""
        if not self._skip_space():
            return False
        match self._text[self._at]:
            case ",":
                self._keep(self._at + 1)
                self._state = self._item
            case "]":
                self._close_list()
            case _:
                self._found.text("".join(self._raw))
                self._begin_raw()
                self._state = self._prose
        return True

    def _close_list(self) -> None:
        self._at += 1
        self._begin_raw()
        self._state = self._prose

    def _broken(self) -> bool:
        """Arguments that are no JSON go on to the end."""
        self._rest_is_arguments()
        return False

    def _end(self) -> None:
        if self._calls and self._state in (self._item, self._after_item):
            self._begin_raw()  # a comma, and no call after it


class JsonListReader(ListReader):
    """See `ToolReader`: the answer is such a list."""

    def __init__(self) -> None:
        super().__init__(("\0",))
        self._state = self._list

    def _marked(self, mark: str) -> Callable[[], bool]:
        self._found.text(mark)
        self._begin_raw()
        return self._prose


JSON_LIST: Final = ToolFormat(name="json_list", reader=lambda _: JsonListReader())
