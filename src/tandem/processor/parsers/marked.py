"""What readers of tool calls have in common: text up to a mark, and then what the mark announces."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import groupby
from typing import Final

from tandem.processor.parsers.call_object import CallObject
from tandem.processor.parsers.json_value import JsonValue, skip_space
from tandem.processor.parsers.ports import Arguments, CallBegun, Item
from tandem.processor.stop import held_back

MOST_NAME_CHARS: Final = 256


class Found:
    """What a reader has found. White space next to calls is dropped; other text goes on as it is."""

    __slots__ = ("_after_call", "_items", "_space")

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._space: list[str] = []
        """White space that is text only if text follows."""
        self._after_call = False

    @property
    def settled(self) -> bool:
        """Whether text that begins and ends with words goes on as it is."""
        return not (self._space or self._after_call)

    def text(self, text: str) -> None:
        """Text of the answer."""
        words = text.rstrip()
        if not words:
            if text:
                self._space.append(text)
            return
        space = text[len(words) :]
        if self._after_call:
            words = words.lstrip()
        elif self._space:
            words = "".join(self._space) + words
        self._items.append(words)
        self._space = [space] if space else []
        self._after_call = False

    def calls(self, items: list[Item]) -> None:
        """A call, or more of its arguments."""
        if items:
            self._space.clear()
            self._after_call = True
            self._items += items

    def close(self) -> None:
        """No text follows."""
        if self._space and not self._after_call:
            self._items.append("".join(self._space))
        self._space.clear()

    def taken(self) -> list[Item]:
        """All of it, neighbours of one kind joined."""
        items, self._items = self._items, []
        if len(items) < 2:
            return items
        joined: list[Item] = []
        for kind, group in groupby(items, type):
            if kind is str:
                joined.append("".join(item for item in group if isinstance(item, str)))
            elif kind is Arguments:
                joined.append(Arguments("".join(item.text for item in group if isinstance(item, Arguments))))
            else:
                joined += group
        return joined


class MarkedReader(ABC):
    """A state machine over text that waits in `_text` from `_at` on.

    A state is a method that reads what it can and says whether another state (or the same anew) may go on at once;
    False waits for more text. Only what is not certain yet stays in `_text`: nothing is looked at twice, beyond a
    mark's length. What may turn out to be no call is kept in `_raw` until it is one.
    """

    def __init__(self, marks: tuple[str, ...]) -> None:
        """`marks`: what ends plain text."""
        self._marks = marks
        self._pattern = re.compile("|".join(map(re.escape, marks)))
        self._firsts = "".join({mark[0] for mark in marks})
        self._text = ""
        self._at = 0
        self._raw: list[str] = []
        self._found = Found()
        self._state: Callable[[], bool] = self._prose
        self.malformed = 0

    def may_pass(self, text: str) -> bool:
        """See `ToolReader`."""
        if self._text or self._state != self._prose or not self._found.settled or not text or text[-1].isspace():
            return False
        return not any(first in text for first in self._firsts)

    def feed(self, text: str) -> list[Item]:
        """See `ToolReader`."""
        self._text += text
        self._run()
        return self._found.taken()

    def close(self) -> list[Item]:
        """See `ToolReader`."""
        self._end()
        self._found.text("".join(self._raw) + self._text)
        self._found.close()
        self._raw.clear()
        self._text = ""
        return self._found.taken()

    @abstractmethod
    def _marked(self, mark: str) -> Callable[[], bool]:
        """The state that follows after `mark`, which has been read and stands in `_raw`."""

    def _end(self) -> None:  # noqa: B027 - most readers have nothing to do here
        """The answer is over. What is still in `_raw` and `_text` afterwards is text."""

    def _run(self) -> None:
        while self._state():
            pass
        self._text, self._at = self._text[self._at :], 0

    def _prose(self) -> bool:
        mark = self._pattern.search(self._text, self._at)
        if mark is None:
            sure = len(self._text) - held_back(self._text[self._at :], self._marks)
            self._found.text(self._text[self._at : sure])
            self._at = sure
            return False
        self._found.text(self._text[self._at : mark.start()])
        self._at = mark.start()
        self._begin_raw()
        self._keep(mark.end())
        self._state = self._marked(mark[0])
        return True

    # ── what may turn out to be no call ──────────────────────────────────────────────────────────

    def _begin_raw(self) -> None:
        self._raw.clear()

    def _keep(self, end: int) -> None:
        """Read up to `end`, for now."""
        self._raw.append(self._text[self._at : end])
        self._at = end

    def _skip_space(self) -> bool:
        """Read white space, for now; False when nothing else is there yet."""
        self._keep(skip_space(self._text, self._at))
        return self._at < len(self._text)

    def _lookahead(self, mark: str) -> bool | None:
        """Whether `mark` stands here; None when more text is needed to say."""
        if self._text.startswith(mark, self._at):
            return True
        here = self._text[self._at : self._at + len(mark)]
        return None if len(here) < len(mark) and mark.startswith(here) else False

    def _word(self, pattern: re.Pattern[str]) -> str | None:
        """Read a word whose characters `pattern` matches; None while it may go on. Too long a word is empty."""
        found = pattern.match(self._text, self._at)
        word = found[0] if found is not None else ""
        if len(word) > MOST_NAME_CHARS:
            return ""
        if self._at + len(word) == len(self._text):
            return None
        self._keep(self._at + len(word))
        return word

    def _give_up(self, *, counted: bool = True) -> bool:
        """It is text after all; what is still to be read may be anything.

        Args:
            counted: whether a mark said that it is a call.
        """
        self.malformed += counted
        self._found.text("".join(self._raw))
        self._begin_raw()
        self._state = self._prose
        return True

    # ── calls ────────────────────────────────────────────────────────────────────────────────────

    def _call_object(self, call: CallObject) -> None:
        """Read more of `call`."""
        items: list[Item] = []
        at = call.feed(self._text, self._at, items)
        if call.begun:
            self._begin_raw()
            self._found.calls(items)
            self._at = at
        else:
            self._keep(at)

    def _begin(self, name: str) -> None:
        self._begin_raw()
        self._found.calls([CallBegun(name)])

    def _arguments(self, text: str) -> None:
        if text:
            self._found.calls([Arguments(text)])

    def _read_value(self, value: JsonValue) -> None:
        """Read more of the arguments that `value` follows."""
        parts: list[str] = []
        self._at = value.feed(self._text, self._at, parts)
        self._arguments("".join(parts))

    def _arguments_until(self, mark: str) -> bool:
        """Pass everything up to `mark` on as arguments, whatever it is; then plain text goes on with `mark`."""
        end = self._text.find(mark, self._at)
        sure = end if end >= 0 else len(self._text) - held_back(self._text[self._at :], (mark,))
        self._arguments(self._text[self._at : sure])
        self._at = sure
        if end < 0:
            return False
        self._state = self._prose
        return True

    def _rest_is_arguments(self) -> None:
        """The answer ends inside arguments that are passed on as they come."""
        self._arguments(self._text[self._at :])
        self._text, self._at = "", 0
