"""Splits `<think>…</think>` off the answer, while it streams.

Thinking is what stands between the tags at the beginning of the answer, or from its very beginning when the
prompt has already opened the tag. Newlines next to the tags belong to neither side: chat templates put them
back (`\\n` + thought + `\\n`). Portions do not matter.
"""

from typing import Literal, NamedTuple

from tandem.processor.stop import held_back

OPEN, CLOSE = "<think>", "</think>"


class Split(NamedTuple):
    """New text of both sides."""

    reasoning: str
    content: str


class ThinkSplitter:
    """One sequence's text, told apart."""

    __slots__ = ("_begun", "_state", "_waiting")

    def __init__(self, *, thinking: bool = False) -> None:
        """`thinking`: the prompt ends inside an open `<think>`."""
        self._state: Literal["start", "thinking", "between", "content"] = "start"
        self._waiting = ""
        self._begun = False
        """The thought has had a character that is no newline."""
        if thinking:
            self._enter_thinking("")

    @property
    def thinking(self) -> bool:
        """Whether the text so far ends inside the thought."""
        return self._state == "thinking"

    @property
    def over(self) -> bool:
        """Whether all further text is content, as it comes."""
        return self._state == "content"

    def feed(self, text: str) -> Split:
        """What `text` adds to each side; what could still be a tag or a newline next to one is held back."""
        if self._state == "content":
            return Split("", text)
        self._waiting += text
        reasoning = ""
        if self._state == "start":
            begun = self._waiting.lstrip()
            if begun.startswith(OPEN):
                self._enter_thinking(begun[len(OPEN) :])
            elif OPEN.startswith(begun):
                return Split("", "")
            else:
                return self._all_content()
        if self._state == "thinking":
            reasoning = self._thought()
        if self._state == "between":
            rest = self._waiting.lstrip("\r\n")
            if not rest:
                return Split(reasoning, "")
            self._waiting = rest
            return Split(reasoning, self._all_content().content)
        return Split(reasoning, "")

    def close(self) -> Split:
        """The answer is over."""
        rest, self._waiting = self._waiting, ""
        match self._state:
            case "thinking":
                return Split((rest if self._begun else rest.lstrip("\r\n")).rstrip("\r\n"), "")
            case "between":
                return Split("", "")
            case _:
                return Split("", rest)

    def _enter_thinking(self, rest: str) -> None:
        self._state = "thinking"
        self._waiting = rest

    def _thought(self) -> str:
        """Text of the thought that is certain, leaving the rest in `_waiting`."""
        text = self._waiting if self._begun else self._waiting.lstrip("\r\n")
        self._begun = bool(text)
        end = text.find(CLOSE)
        if end >= 0:
            self._state = "between"
            self._waiting = text[end + len(CLOSE) :]
            return text[:end].rstrip("\r\n")
        sure = text[: len(text) - held_back(text, (CLOSE,))].rstrip("\r\n")
        self._waiting = text[len(sure) :]
        return sure

    def _all_content(self) -> Split:
        rest, self._waiting, self._state = self._waiting, "", "content"
        return Split("", rest)
