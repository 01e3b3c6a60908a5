"""Thoughts between two tags at the beginning of the answer: `<think>…</think>`, `[THINK]…[/THINK]`.

The prompt may have opened the thought already; then the answer begins inside it. Newlines next to the tags belong
to neither side: chat templates put them back (`\\n` + thought + `\\n`).
"""

from typing import Final, Literal

from tandem.processor.parsers.ports import ReasoningFormat, Split
from tandem.processor.stop import held_back

THINK: Final = ("<think>", "</think>")
_MISTRAL: Final = ("[THINK]", "[/THINK]")
_NEWLINES: Final = "\r\n"


class ThoughtSplitter:
    """See `Splitter`."""

    __slots__ = ("_begun", "_close", "_implied", "_open", "_space", "_state", "_waiting")

    def __init__(self, tags: tuple[str, str] = THINK, *, thinking: bool = False) -> None:
        """`thinking`: the answer begins inside the thought, though it may repeat the opening tag."""
        self._open, self._close = tags
        self._implied = thinking
        self._state: Literal["start", "thinking", "between", "content"] = "start"
        self._waiting = ""
        """The beginning of a tag, perhaps."""
        self._space: list[str] = []
        """White space that belongs to the text only if text follows."""
        self._begun = False
        """The thought has had a character that is no newline."""

    @property
    def thinking(self) -> bool:
        """See `Splitter`."""
        return self._state == "thinking" or (self._implied and self._state == "start")

    @property
    def over(self) -> bool:
        """See `Splitter`."""
        return self._state == "content"

    def may_think(self, text: str) -> bool:
        """See `Splitter`: inside the thought, with nothing held back, and neither a tag nor a border begins."""
        return (
            self._state == "thinking"
            and self._begun
            and not self._waiting
            and not self._space
            and self._close[0] not in text
            and not text.endswith(("\n", "\r"))
        )

    def feed(self, text: str) -> Split:
        """See `Splitter`."""
        if self._state == "content":
            return Split("", text)
        text, self._waiting = self._waiting + text, ""
        reasoning = ""
        if self._state == "start":
            text = self._opening(text)
        if self._state == "thinking":
            reasoning, text = self._thought(text)
        if self._state == "between" and (text := text.lstrip(_NEWLINES)):
            self._state = "content"
        return Split(reasoning, text if self._state == "content" else "")

    def close(self) -> Split:
        """See `Splitter`."""
        rest = "".join(self._space) + self._waiting
        self._waiting = ""
        self._space.clear()
        return Split(self._certain(rest), "") if self.thinking else Split("", rest if self._state == "start" else "")

    def _opening(self, text: str) -> str:
        """Text after the opening tag, or all of it if there is none; empty while that is not certain."""
        begun = text.lstrip()
        if space := text[: len(text) - len(begun)]:
            self._space.append(space)
        if begun.startswith(self._open):
            self._state = "thinking"
            self._space.clear()
            return begun[len(self._open) :]
        if self._open.startswith(begun):
            self._waiting = begun
            return ""
        self._state = "thinking" if self._implied else "content"
        text = "".join(self._space) + begun
        self._space.clear()
        return text

    def _thought(self, text: str) -> tuple[str, str]:
        """What is certain of the thought, and what follows it."""
        end = text.find(self._close)
        if end < 0:
            sure = len(text) - held_back(text, (self._close,))
            self._waiting = text[sure:]
            return self._certain(text[:sure]), ""
        thought = self._certain(text[:end])
        self._state = "between"
        self._space.clear()
        return thought, text[end + len(self._close) :]

    def _certain(self, text: str) -> str:
        """`text` without the newlines at the thought's borders."""
        if not self._begun:
            text = text.lstrip(_NEWLINES)
            self._begun = bool(text)
        words = text.rstrip(_NEWLINES)
        newlines = text[len(words) :]
        if words and self._space:
            words = "".join(self._space) + words
            self._space.clear()
        if newlines:
            self._space.append(newlines)
        return words


def _by_prompt(prompt: str) -> ThoughtSplitter:
    return ThoughtSplitter(thinking=prompt.rstrip().endswith(THINK[0]))


def _implied(prompt: str) -> ThoughtSplitter:
    return ThoughtSplitter(thinking=not prompt.rstrip().endswith(THINK[1]))


def _mistral(prompt: str) -> ThoughtSplitter:
    return ThoughtSplitter(_MISTRAL, thinking=prompt.rstrip().endswith(_MISTRAL[0]))


QWEN3: Final = ReasoningFormat(name="qwen3", splitter=_by_prompt, tags=THINK, special_tokens=THINK)
"""The model or the prompt opens the thought."""
DEEPSEEK_R1: Final = ReasoningFormat(name="deepseek_r1", splitter=_implied, tags=THINK, special_tokens=THINK)
"""Every answer begins inside a thought, unless the prompt has closed it."""
MISTRAL: Final = ReasoningFormat(name="mistral", splitter=_mistral, tags=_MISTRAL, special_tokens=_MISTRAL)
