"""What a reader or splitter makes of a text that comes in portions."""

import itertools
from collections.abc import Sequence

from hypothesis import strategies as st

from tandem.processor.parsers.ports import Arguments, CallBegun, Splitter, ToolFormat, ToolReader, Tools

Found = list[str | tuple[str, str]]
"""Text, and (name, arguments) of calls, in order."""

CUTS = st.lists(st.integers(1, 400), max_size=12)


def portions(text: str, cuts: Sequence[int]) -> list[str]:
    borders = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    return [text[a:b] for a, b in itertools.pairwise(borders)]


def read(form: ToolFormat, parts: Sequence[str], tools: Tools | None = None) -> Found:
    """Everything that the reader finds, neighbouring texts joined."""
    return read_with(form.reader(tools or {}), parts)


def read_with(reader: ToolReader, parts: Sequence[str]) -> Found:
    found: Found = []
    for part in parts:
        passes = reader.may_pass(part)
        items = reader.feed(part)
        assert not passes or items == [part], "what may pass is passed"
        _add(found, items)
    _add(found, reader.close())
    return found


def _add(found: Found, items: Sequence[str | CallBegun | Arguments]) -> None:
    for item in items:
        last = found[-1] if found else None
        if isinstance(item, CallBegun):
            found.append((item.name, ""))
        elif isinstance(item, Arguments):
            assert item.text, "no delta is empty"
            assert isinstance(last, tuple), "arguments follow their call"
            found[-1] = (last[0], last[1] + item.text)
        elif isinstance(last, str):
            found[-1] = last + item
        else:
            assert item, "no text is empty"
            found.append(item)


def split(splitter: Splitter, parts: Sequence[str]) -> tuple[str, str]:
    """All reasoning, all content."""
    reasoning, content = "", ""
    for part in parts:
        over = splitter.over
        found = splitter.feed(part)
        assert not over or found == ("", part), "once over, text is passed as it comes"
        reasoning, content = reasoning + found.reasoning, content + found.content
    last = splitter.close()
    return reasoning + last.reasoning, content + last.content
