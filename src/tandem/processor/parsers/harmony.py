"""gpt-oss's harmony: the answer is a row of messages, each on a channel and perhaps for a recipient.

    <|channel|>analysis<|message|>The weather, then.<|end|>
    <|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city": "Oslo"}<|call|>

Channel `analysis`, and whatever is for a recipient that is no function, is thought; `final`, and `commentary` for
nobody, is content. The splitter takes thoughts out and the dress off content; messages for functions it hands on in
one form, recipient first, which the reader takes apart. Several thoughts are joined by a newline, as contents are.
"""

import re
from collections.abc import Callable
from typing import Final, Literal

from tandem.processor.parsers.marked import MarkedReader
from tandem.processor.parsers.ports import ReasoningFormat, Split, ToolFormat
from tandem.processor.stop import held_back

_START: Final = "<|start|>"
_CHANNEL: Final = "<|channel|>"
_MESSAGE: Final = "<|message|>"
_CONSTRAIN: Final = "<|constrain|>"
_CALL: Final = "<|call|>"
_ENDS: Final = ("<|end|>", _CALL, "<|return|>", _START)
_END: Final = re.compile("|".join(map(re.escape, _ENDS)))
_TOKENS: Final = (_START, _CHANNEL, _MESSAGE, _CONSTRAIN, *_ENDS[:3])
_RECIPIENT: Final = re.compile(r"to=([^\s<]{1,256})")
_CHANNEL_NAME: Final = re.compile(r"<\|channel\|>\s*(\w{1,64})", re.ASCII)
_OPENINGS: Final = (_START, _CHANNEL, _MESSAGE, "to=", "assistant")
"""How a header may begin: the prompt has opened the first one."""
_FUNCTIONS: Final = "functions."
_MOST_HEADER_CHARS: Final = 1024

_Kind = Literal["thought", "content", "call"]


def _recipient(header: str) -> str | None:
    """Whom a message is for."""
    found = _RECIPIENT.search(header)
    return found[1] if found is not None else None


def _kind(header: str) -> _Kind:
    recipient = _recipient(header)
    if recipient is not None:
        return "call" if recipient.startswith(_FUNCTIONS) else "thought"
    channel = _CHANNEL_NAME.search(header)
    return "thought" if channel is not None and channel[1] == "analysis" else "content"


def _too_long(header: str, end: int) -> bool:
    """Whether it cannot be a header; one without its end may hold a part of the mark that ends it."""
    return len(header) > _MOST_HEADER_CHARS + (len(_MESSAGE) - 1 if end < 0 else 0)


def _may_be_header(text: str) -> bool:
    begun = text.lstrip()
    return any(begun.startswith(opening) or opening.startswith(begun) for opening in _OPENINGS)


class HarmonySplitter:
    """See `Splitter`."""

    __slots__ = ("_fresh", "_kind", "_said", "_state", "_text")

    def __init__(self) -> None:
        self._state: Literal["header", "body"] = "header"
        self._kind: _Kind = "content"
        self._text = ""
        """A header so far, or the beginning of a mark."""
        self._fresh = False
        """The message at hand has no text yet."""
        self._said: set[_Kind] = set()

    @property
    def thinking(self) -> bool:
        """See `Splitter`."""
        return self._state == "body" and self._kind == "thought"

    @property
    def over(self) -> bool:
        """See `Splitter`: there may always be another message."""
        return False

    def may_think(self, text: str) -> bool:
        """See `Splitter`."""
        return False

    def feed(self, text: str) -> Split:
        """See `Splitter`."""
        self._text += text
        sides: dict[_Kind, list[str]] = {"thought": [], "content": []}
        at: int | None = 0
        while at is not None:
            at = self._header(at, sides) if self._state == "header" else self._body(at, sides)
        return Split("".join(sides["thought"]), "".join(sides["content"]))

    def close(self) -> Split:
        """See `Splitter`."""
        rest, self._text = self._text, ""
        if self._state == "body":
            return Split(rest, "") if self._kind == "thought" else Split("", rest)
        return Split("", "" if rest.lstrip().startswith("<|") else rest)  # a header without a message says nothing

    def _header(self, at: int, sides: dict[_Kind, list[str]]) -> int | None:
        end = self._text.find(_MESSAGE, at)
        header = self._text[at:end] if end >= 0 else self._text[at:]
        if _too_long(header, end) or not _may_be_header(header):
            self._state, self._kind, self._fresh = "body", "content", True
            return at
        if end < 0:
            self._text = header
            return None
        self._state, self._kind, self._fresh = "body", _kind(header), True
        if self._kind == "call":
            sides["content"].append(f"{_START}assistant to={_recipient(header)}{_MESSAGE}")
        return end + len(_MESSAGE)

    def _body(self, at: int, sides: dict[_Kind, list[str]]) -> int | None:
        end = _END.search(self._text, at)
        stop = end.start() if end is not None else len(self._text) - held_back(self._text[at:], _ENDS)
        if text := self._text[at:stop]:
            into = sides["thought" if self._kind == "thought" else "content"]
            if self._fresh and self._kind in self._said:
                into.append("\n")
            into.append(text)
            self._fresh = False
            if self._kind != "call":
                self._said.add(self._kind)
        if end is None:
            self._text = self._text[stop:]
            return None
        if self._kind == "call":
            sides["content"].append(_CALL)
        self._state = "header"
        return end.start() if end[0] == _START else end.end()


class HarmonyReader(MarkedReader):
    """See `ToolReader`."""

    def __init__(self) -> None:
        super().__init__((_START, _CHANNEL))
        self._empty = True
        """The call at hand has no arguments yet."""

    def _marked(self, mark: str) -> Callable[[], bool]:
        return self._in_header

    def _in_header(self) -> bool:
        end = self._text.find(_MESSAGE, self._at)
        header = self._text[self._at : end] if end >= 0 else self._text[self._at :]
        if _too_long(header, end):
            return self._give_up(counted=False)
        if end < 0:
            return False
        recipient = _recipient(header) or ""
        self._keep(end + len(_MESSAGE))
        if not recipient.startswith(_FUNCTIONS) or recipient == _FUNCTIONS:
            return self._give_up(counted=False)
        self._begin(recipient.removeprefix(_FUNCTIONS))
        self._empty, self._state = True, self._in_body
        return True

    def _in_body(self) -> bool:
        end = _END.search(self._text, self._at)
        stop = end.start() if end is not None else len(self._text) - held_back(self._text[self._at :], _ENDS)
        self._pass_on(stop)
        if end is None:
            return False
        self._at = end.start() if end[0] == _START else end.end()
        if self._empty:
            self._arguments("{}")
        self._state = self._prose
        return True

    def _pass_on(self, stop: int) -> None:
        text = self._text[self._at : stop]
        self._empty = self._empty and not text
        self._arguments(text)
        self._at = stop

    def _end(self) -> None:
        if self._state == self._in_body:
            self._pass_on(len(self._text))
            self._text, self._at = "", 0
            if self._empty:
                self._arguments("{}")


HARMONY: Final = ToolFormat(name="harmony", reader=lambda _: HarmonyReader(), special_tokens=_TOKENS)
HARMONY_THOUGHTS: Final = ReasoningFormat(name="harmony", splitter=lambda _: HarmonySplitter(), special_tokens=_TOKENS)
