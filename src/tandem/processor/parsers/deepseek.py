"""DeepSeek's calls, between tokens of their own. V3 and R1 fence the arguments, V3.1 writes them plainly:

<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather
```json
{"city": "Oslo"}
```<｜tool▁call▁end｜><｜tool▁calls▁end｜>

<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{"city": "Oslo"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tandem.processor.parsers.json_value import JsonValue
from tandem.processor.parsers.marked import MarkedReader
from tandem.processor.parsers.ports import CallForm, ToolFormat

_CALLS_BEGIN: Final = "<｜tool▁calls▁begin｜>"
_CALLS_END: Final = "<｜tool▁calls▁end｜>"
_CALL_BEGIN: Final = "<｜tool▁call▁begin｜>"
_CALL_END: Final = "<｜tool▁call▁end｜>"
_SEPARATOR: Final = "<｜tool▁sep｜>"
_FENCE: Final = "```"
_WORD: Final = re.compile(r"[\w.:/-]*", re.ASCII)


class DeepSeekReader(MarkedReader):
    """See `ToolReader`."""

    def __init__(self) -> None:
        super().__init__((_CALLS_BEGIN, _CALLS_END, _CALL_BEGIN, _CALL_END))
        self._name = ""
        self._value = JsonValue()
        self._to_close: set[str] = set()
        """Closing marks that are still to come."""

    def _marked(self, mark: str) -> Callable[[], bool]:
        match mark:
            case "<｜tool▁calls▁begin｜>":
                return self._in_calls
            case "<｜tool▁call▁begin｜>":
                return self._in_name
        if mark not in self._to_close:
            self._found.text(mark)
        self._to_close.discard(mark)
        self._begin_raw()
        return self._prose

    def _in_calls(self) -> bool:
        """At least one call begins here."""
        if not self._skip_space():
            return False
        here = self._lookahead(_CALL_BEGIN)
        if here:
            self._keep(self._at + len(_CALL_BEGIN))
            self._state = self._in_name
        return here is True or (here is False and self._give_up())

    def _in_name(self) -> bool:
        """The function's name, or the word `function` and then the name."""
        name = self._word(_WORD)
        if not name:
            return name is not None and self._give_up()
        self._name, self._state = name, self._separator
        return True

    def _separator(self) -> bool:
        here = self._lookahead(_SEPARATOR)
        if here:
            self._keep(self._at + len(_SEPARATOR))
            self._state = self._before_arguments
        return here is True or (here is False and self._give_up())

    def _before_arguments(self) -> bool:
        """After the separator: arguments, or the name and a fence."""
        if not self._skip_space():
            return False
        if self._text[self._at] == "{":
            self._begin(self._name)
            self._to_close |= {_CALL_END, _CALLS_END}
            self._value, self._state = JsonValue(), self._in_value
            return True
        name = self._word(_WORD)
        if not name:
            return name is not None and self._give_up()
        self._name, self._state = name, self._opening_fence
        return True

    def _opening_fence(self) -> bool:
        if not self._skip_space():
            return False
        here = self._lookahead(f"{_FENCE}json")
        if here:
            self._keep(self._at + len(_FENCE) + 4)
            self._state = self._fenced
        return here is True or (here is False and self._give_up())

    def _fenced(self) -> bool:
        if not self._skip_space():
            return False
        if self._text[self._at] != "{":
            return self._give_up()
        self._state = self._before_arguments
        return True

    def _in_value(self) -> bool:
        self._read_value(self._value)
        if self._value.state == "open":
            return False
        self.malformed += self._value.state == "broken"
        self._state = self._closing_fence if self._value.state == "done" else self._broken
        return True

    def _closing_fence(self) -> bool:
        if not self._skip_space():
            return False
        here = self._lookahead(_FENCE)
        if here:
            self._at += len(_FENCE)
            self._begin_raw()
        elif here is False:
            self._found.text("".join(self._raw))
            self._begin_raw()
        if here is not None:
            self._state = self._prose
        return here is not None

    def _broken(self) -> bool:
        return self._arguments_until(_CALL_END)

    def _end(self) -> None:
        if self._state == self._broken:
            self._rest_is_arguments()
        elif self._state == self._closing_fence:
            self._text = ""  # at most a piece of the fence


DEEPSEEK_V3: Final = ToolFormat(
    name="deepseek_v3",
    reader=lambda _: DeepSeekReader(),
    special_tokens=(_CALLS_BEGIN, _CALLS_END, _CALL_BEGIN, _CALL_END, _SEPARATOR),
    form=CallForm(
        f"{_CALL_BEGIN}function{_SEPARATOR}{{name}}\n{_FENCE}json\n",
        f"\n{_FENCE}{_CALL_END}",
        "\n",
        trigger=_CALLS_BEGIN,
        before=_CALLS_BEGIN,
        after=_CALLS_END,
    ),
)
"""V3 and R1. Which of the two forms a call has, each call tells."""
DEEPSEEK_V31: Final = replace(
    DEEPSEEK_V3,
    name="deepseek_v31",
    form=CallForm(
        f"{_CALL_BEGIN}{{name}}{_SEPARATOR}",
        _CALL_END,
        trigger=_CALLS_BEGIN,
        before=_CALLS_BEGIN,
        after=_CALLS_END,
    ),
)
