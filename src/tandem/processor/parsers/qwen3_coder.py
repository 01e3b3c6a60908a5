"""Qwen3-Coder's calls, whose arguments are plain text between tags:

    <tool_call>
    <function=weather>
    <parameter=city>
    Oslo
    </parameter>
    </function>
    </tool_call>

What is a number or a list and what a string, only the function's schema says. Strings stream; other values wait for
their end. One newline next to each tag belongs to the tag.
"""

import json
import re
from collections.abc import Callable
from typing import Final

from tandem.processor.parsers.marked import MarkedReader
from tandem.processor.parsers.ports import CallForm, ToolFormat, Tools
from tandem.processor.parsers.schema_types import as_json, types_of
from tandem.processor.stop import held_back

_OPEN: Final = "<tool_call>"
_CLOSE: Final = "</tool_call>"
_FUNCTION: Final = "<function="
_FUNCTION_END: Final = "</function>"
_PARAMETER: Final = "<parameter="
_PARAMETER_END: Final = "</parameter>"
_VALUE_ENDS: Final = (_PARAMETER_END, _PARAMETER, _FUNCTION_END)
_VALUE_END: Final = re.compile("|".join(map(re.escape, _VALUE_ENDS)))
_NAME: Final = re.compile(r"[^<>\n]*")
_STRING: Final = frozenset({"string"})


class Qwen3CoderReader(MarkedReader):
    """See `ToolReader`."""

    def __init__(self, tools: Tools) -> None:
        super().__init__((_OPEN, _CLOSE, _FUNCTION))
        self._tools = tools
        self._unclosed = False
        """The last call's closing tag is still to come."""
        self._wrapped = False
        """The call stands inside `<tool_call>`."""
        self._name = ""
        self._parameters = 0
        """Of the call at hand, so far."""
        self._types = _STRING
        self._value: list[str] = []
        """Text of the value at hand that is not passed on yet."""
        self._begun = False
        """The value has had its first character, or the newline before it."""

    def _marked(self, mark: str) -> Callable[[], bool]:
        if mark == _OPEN:
            self._wrapped, self._unclosed = True, False
            return self._in_wrapping
        if mark == _FUNCTION:
            self._wrapped = self._unclosed
            return self._in_name
        if not self._unclosed:
            self._found.text(mark)
        self._begin_raw()
        self._unclosed = False
        return self._prose

    def _in_wrapping(self) -> bool:
        if not self._skip_space():
            return False
        here = self._lookahead(_FUNCTION)
        if here:
            self._keep(self._at + len(_FUNCTION))
            self._state = self._in_name
        return here is True or (here is False and self._give_up())

    def _in_name(self) -> bool:
        word = self._word(_NAME)
        if word is None:
            return False
        name = word.strip().strip("\"'")
        if not name or self._text[self._at] != ">" or not (self._wrapped or name in self._tools):
            return self._give_up(counted=self._wrapped)
        self._at += 1
        self._begin(name)
        self._name, self._parameters, self._unclosed = name, 0, self._wrapped
        self._state = self._in_function
        return True

    def _in_function(self) -> bool:
        """Another parameter, or the function's end, whose tag a model may forget."""
        if not self._skip_space():
            return False
        self._begin_raw()
        parameter, end = self._lookahead(_PARAMETER), self._lookahead(_FUNCTION_END)
        if parameter:
            self._keep(self._at + len(_PARAMETER))
            self._state = self._in_key
        elif end or (parameter is False and end is False):
            self._at += len(_FUNCTION_END) if end else 0
            self._end_call()
        return parameter is not None and end is not None

    def _in_key(self) -> bool:
        key = self._word(_NAME)
        if key is None:
            return False
        if self._text[self._at] != ">":
            self._end_call()
            return self._give_up()
        self._at += 1
        self._begin_raw()
        key = key.strip()
        self._types = types_of(self._tools.get(self._name, {}), key)
        self._arguments(f"{', ' if self._parameters else '{'}{json.dumps(key, ensure_ascii=False)}: ")
        self._parameters += 1
        self._value.clear()
        self._begun = False
        if self._types == _STRING:
            self._arguments('"')
        self._state = self._in_value
        return True

    def _in_value(self) -> bool:
        if not self._begun and self._at < len(self._text):
            self._begun = True
            self._at += self._text[self._at] == "\n"
        end = _VALUE_END.search(self._text, self._at)
        if end is None:
            sure = len(self._text) - held_back(self._text[self._at :], _VALUE_ENDS)
            if sure > self._at and self._text[sure - 1] == "\n":
                sure -= 1
            self._take(self._text[self._at : sure])
            self._at = sure
            return False
        self._take(self._text[self._at : end.start()].removesuffix("\n"))
        self._at = end.end() if end[0] == _PARAMETER_END else end.start()
        self._end_value()
        self._state = self._in_function
        return True

    def _take(self, text: str) -> None:
        if self._types == _STRING:
            self._arguments(json.dumps(text, ensure_ascii=False)[1:-1])
        else:
            self._value.append(text)

    def _end_value(self) -> None:
        self._arguments('"' if self._types == _STRING else as_json("".join(self._value), self._types))

    def _end_call(self) -> None:
        self._arguments("}" if self._parameters else "{}")
        self._state = self._prose

    def _end(self) -> None:
        if self._state == self._in_value:
            self._take(self._text[self._at :])
            if self._types != _STRING:
                self._arguments("".join(self._value))  # cut off: as the model wrote it
            self._text, self._at = "", 0
        elif self._state in (self._in_function, self._in_key):
            if self._state == self._in_function:
                self._end_call()
            self._begin_raw()  # at most a piece of a tag
            self._text = ""


QWEN3_CODER: Final = ToolFormat(
    name="qwen3_coder",
    reader=Qwen3CoderReader,
    special_tokens=(_OPEN, _CLOSE),
    form=CallForm(
        f"{_OPEN}\n{_FUNCTION}{{name}}>\n",
        f"\n{_FUNCTION_END}\n{_CLOSE}",
        "\n",
        trigger=_OPEN,
        style="qwen_xml",
    ),
)
