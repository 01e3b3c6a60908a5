"""Reads Hermes' and Qwen3's tool calls off the answer, while it streams.

    <tool_call>
    {"name": "weather", "arguments": {"city": "Oslo"}}
    </tool_call>

A call is passed on when it is complete. What looks like one and is not (no JSON, no name) stays text.
White space next to calls is dropped. Portions do not matter.
"""

import msgspec

from tandem.processor.stop import held_back

OPEN, CLOSE = "<tool_call>", "</tool_call>"


class Call(msgspec.Struct, frozen=True):
    """A tool call that the model made."""

    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")

    @property
    def arguments_json(self) -> str:
        """The arguments as the client wants them: JSON text, as the model wrote it."""
        text = bytes(self.arguments).decode()
        return str(msgspec.json.decode(text)) if text.startswith('"') else text


class ToolCallReader:
    """One sequence's content: text, and calls in between."""

    __slots__ = ("_after_call", "_inside", "_space", "_waiting")

    def __init__(self) -> None:
        self._waiting = ""
        self._space = ""
        """White space that is text only if text follows."""
        self._inside = False
        self._after_call = False

    def feed(self, text: str) -> list[str | Call]:
        """Text and calls that are certain now, in order; no empty texts."""
        self._waiting += text
        found: list[str | Call] = []
        while True:
            if self._inside:
                end = self._waiting.find(CLOSE)
                if end < 0:
                    return found
                body, self._waiting = self._waiting[:end], self._waiting[end + len(CLOSE) :]
                self._inside = False
                self._add(found, _parsed(body) or f"{OPEN}{body}{CLOSE}")
            start = self._waiting.find(OPEN)
            if start < 0:
                sure = len(self._waiting) - held_back(self._waiting, (OPEN,))
                self._add(found, self._waiting[:sure])
                self._waiting = self._waiting[sure:]
                return found
            self._add(found, self._waiting[:start])
            self._waiting = self._waiting[start + len(OPEN) :]
            self._inside = True

    def close(self) -> list[str | Call]:
        """The answer is over: a call that lacks only its closing tag counts, anything else is text."""
        found: list[str | Call] = []
        rest, self._waiting = self._waiting, ""
        if self._inside:
            self._add(found, _parsed(rest) or OPEN + rest)
        else:
            self._add(found, rest)
        if self._space and not self._after_call:
            found.append(self._space)
        return found

    def _add(self, found: list[str | Call], item: str | Call) -> None:
        if isinstance(item, Call):
            self._space, self._after_call = "", True
            found.append(item)
            return
        text = self._space + item
        if self._after_call:
            text = text.lstrip()
        words = text.rstrip()
        self._space = text[len(words) :]
        if words:
            self._after_call = False
            found.append(words)


def _parsed(body: str) -> Call | None:
    try:
        return msgspec.json.decode(body.strip(), type=Call)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
