"""Mistral's calls, after `[TOOL_CALLS]`: each with a mark of its own, or, of older models, all in one JSON list.

    [TOOL_CALLS]weather[ARGS]{"city": "Oslo"}[TOOL_CALLS]now[ARGS]{}
    [TOOL_CALLS][{"name": "weather", "arguments": {"city": "Oslo"}}]

Between name and arguments may stand `[CALL_ID]…`, or nothing. Mistral's templates take only call ids of nine letters
and digits, so that is what calls get here.
"""

import re
import secrets
import string
from collections.abc import Callable
from typing import Final

from tandem.processor.parsers.call_list import ListReader
from tandem.processor.parsers.json_value import JsonValue
from tandem.processor.parsers.ports import CallForm, ToolFormat

_CALLS: Final = "[TOOL_CALLS]"
_ARGS: Final = "[ARGS]"
_ID: Final = "[CALL_ID]"
_NAME: Final = re.compile(r"[\w.:/-]*", re.ASCII)
_ALPHABET: Final = string.ascii_letters + string.digits


class MistralReader(ListReader):
    """See `ToolReader`."""

    def __init__(self) -> None:
        super().__init__((_CALLS,))
        self._name = ""
        self._value = JsonValue()

    def _marked(self, mark: str) -> Callable[[], bool]:
        return self._after_mark

    def _after_mark(self) -> bool:
        if not self._skip_space():
            return False
        again = self._lookahead(_CALLS)
        if again:  # said twice, meant once
            self._keep(self._at + len(_CALLS))
        elif again is False:
            self._state = self._list if self._text[self._at] in "[{" else self._in_name
        return again is not None

    def _in_name(self) -> bool:
        name = self._word(_NAME)
        if not name:
            return name is not None and self._give_up()
        self._name, self._state = name, self._after_name
        return True

    def _after_name(self) -> bool:
        if not self._skip_space():
            return False
        if self._text[self._at] == "{":
            self._state = self._in_arguments
            return True
        for mark, state in ((_ARGS, self._in_arguments), (_ID, self._in_id)):
            here = self._lookahead(mark)
            if here:
                self._keep(self._at + len(mark))
                self._state = state
            if here is not False:
                return here is True
        return self._give_up()

    def _in_id(self) -> bool:
        """The model's own id of the call, which nobody has seen."""
        found = self._word(_NAME)
        if not found:
            return found is not None and self._give_up()
        self._state = self._after_name
        return True

    def _in_arguments(self) -> bool:
        if not self._skip_space():
            return False
        if self._text[self._at] != "{":
            return self._give_up()
        self._begin(self._name)
        self._value, self._state = JsonValue(), self._in_value
        return True

    def _in_value(self) -> bool:
        self._read_value(self._value)
        if self._value.state == "open":
            return False
        self.malformed += self._value.state == "broken"
        self._state = self._prose if self._value.state == "done" else self._broken
        return True

    def _broken(self) -> bool:
        return self._arguments_until(_CALLS)

    def _end(self) -> None:
        super()._end()
        if self._state == self._broken:
            self._rest_is_arguments()


def _call_id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(9))


MISTRAL: Final = ToolFormat(
    name="mistral",
    reader=lambda _: MistralReader(),
    special_tokens=(_CALLS, _ARGS, _ID),
    call_id=_call_id,
    form=CallForm(f"{_CALLS}{{name}}{_ARGS}", "", trigger=_CALLS),
)
