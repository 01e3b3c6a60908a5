"""Stop strings, thinking and tool calls: any portions of a text give the same answer."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tandem.processor.reasoning import ThinkSplitter
from tandem.processor.stop import StopStrings, held_back
from tandem.processor.tools import Call, ToolCallReader

CUTS = st.lists(st.integers(1, 80), max_size=10)


def portions(text: str, cuts: list[int]) -> list[str]:
    borders = sorted({0, len(text), *(c for c in cuts if c < len(text))})
    return [text[a:b] for a, b in itertools.pairwise(borders)]


def each(text: str) -> list[str]:
    return list(text)


# ── stop strings ─────────────────────────────────────────────────────────────────────────────────


def stopped(parts: list[str], marks: list[str], include: bool = False) -> tuple[str, str | None]:
    stops, text = StopStrings(marks, include=include), ""
    for part in parts:
        text += stops.feed(part)
    return text + stops.close(), stops.found


def by_hand(text: str, marks: list[str], include: bool) -> tuple[str, str | None]:
    """Reads single characters; the meaning of a stop string in its plainest form."""
    for end in range(1, len(text) + 1):
        ended = [mark for mark in marks if text[:end].endswith(mark)]
        if ended:
            longest = max(ended, key=len)
            return text[: end if include else end - len(longest)], longest
    return text, None


@given(
    text=st.text("ab\n", max_size=60),
    marks=st.lists(st.text("ab\n", min_size=1, max_size=5), min_size=1, max_size=4),
    cuts=CUTS,
    include=st.booleans(),
)
@example(text="aab", marks=["ab", "aab"], cuts=[1, 2], include=False)
def test_stop_strings_mean_the_same_in_any_portions(
    text: str, marks: list[str], cuts: list[int], include: bool
) -> None:
    assert stopped(portions(text, cuts), marks, include) == by_hand(text, marks, include)


def test_only_what_may_become_a_stop_string_is_held_back() -> None:
    stops = StopStrings(["\n\nUser:"])
    assert [stops.feed(t) for t in ("Hi", " there\n", "\nUs", "ual", "\n\nUser", ": no")] == [
        "Hi",
        " there",
        "",
        "\n\nUsual",
        "",
        "",
    ]
    assert (stops.found, stops.feed("more"), stops.close()) == ("\n\nUser:", "", "")


@given(st.text("ab", max_size=20), st.lists(st.text("ab", min_size=1, max_size=6), max_size=3))
def test_held_back_is_the_longest_beginning(text: str, marks: list[str]) -> None:
    want = max((n for m in marks for n in range(len(m)) if n and text.endswith(m[:n])), default=0)
    assert held_back(text, marks) == want


# ── thinking ─────────────────────────────────────────────────────────────────────────────────────


def thought(parts: list[str], thinking: bool = False) -> tuple[str, str]:
    splitter, reasoning, content = ThinkSplitter(thinking=thinking), "", ""
    for part in parts:
        split = splitter.feed(part)
        reasoning, content = reasoning + split.reasoning, content + split.content
    split = splitter.close()
    return reasoning + split.reasoning, content + split.content


@pytest.mark.parametrize(
    ("text", "opened", "reasoning", "content"),
    [
        ("<think>\nhm\n</think>\n\nYes.", False, "hm", "Yes."),
        ("<think>\n\n</think>\n\nYes.", False, "", "Yes."),
        ("\n<think>a\n\nb</think>c\n", False, "a\n\nb", "c\n"),
        ("Yes.", False, "", "Yes."),
        (" \n Yes", False, "", " \n Yes"),
        ("I say <think>no</think>", False, "", "I say <think>no</think>"),
        ("<think>cut off", False, "cut off", ""),
        ("<think>\n", False, "", ""),
        ("<think", False, "", "<think"),
        ("hm\n</think>\n\nYes.", True, "hm", "Yes."),
        ("\nhm</thin", True, "hm</thin", ""),
        ("<think>a</think>\n\n", False, "a", ""),
        ("<think>a < b </ c</think>d</think>", False, "a < b </ c", "d</think>"),
        ("", False, "", ""),
    ],
)
def test_thinking_is_told_apart(text: str, opened: bool, reasoning: str, content: str) -> None:
    assert thought([text], opened) == (reasoning, content)
    assert thought(each(text), opened) == (reasoning, content)


TAGGED = st.lists(st.sampled_from(["<think>", "</think>", "\n", "a", "<", "</", "think>", " "]), max_size=12).map(
    "".join
)


@given(text=TAGGED, cuts=CUTS, opened=st.booleans())
def test_thinking_splits_the_same_in_any_portions(text: str, cuts: list[int], opened: bool) -> None:
    assert thought(portions(text, cuts), opened) == thought([text], opened) == thought(each(text), opened)


# ── tool calls ───────────────────────────────────────────────────────────────────────────────────


def calls(parts: list[str]) -> list[str | tuple[str, str]]:
    reader, found = ToolCallReader(), list[str | Call]()
    for part in parts:
        found += reader.feed(part)
    joined: list[str | tuple[str, str]] = []
    for item in [*found, *reader.close()]:
        if isinstance(item, Call):
            joined.append((item.name, item.arguments_json))
        elif joined and isinstance(joined[-1], str):
            joined[-1] += item
        else:
            joined.append(item)
    return joined


ONE = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ONE, [("weather", '{"city": "Oslo"}')]),
        (f"Let me see.\n{ONE}\n{ONE}\n", ["Let me see.", *[("weather", '{"city": "Oslo"}')] * 2]),
        (ONE.removesuffix("</tool_call>"), [("weather", '{"city": "Oslo"}')]),
        (f"{ONE}\n\nDone. ", [("weather", '{"city": "Oslo"}'), "Done. "]),
        ('<tool_call>{"name": "now"}</tool_call>', [("now", "{}")]),
        ('<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', [("f", '{"a": 1}')]),
        ("<tool_call>no json</tool_call> x", ["<tool_call>no json</tool_call> x"]),
        ('<tool_call>{"arguments": {}}</tool_call>', ['<tool_call>{"arguments": {}}</tool_call>']),
        ("a < b <tool", ["a < b <tool"]),
        (" \n", [" \n"]),
        ("", []),
    ],
)
def test_tool_calls_are_read(text: str, found: list[str | tuple[str, str]]) -> None:
    assert calls([text]) == found
    assert calls(each(text)) == found


@given(
    text=st.lists(st.sampled_from([ONE, "<tool_call>", "</tool_call>", "\n", " ", "text", "<", "{"]), max_size=6).map(
        "".join
    ),
    cuts=st.lists(st.integers(1, 300), max_size=10),
)
def test_tool_calls_read_the_same_in_any_portions(text: str, cuts: list[int]) -> None:
    assert calls(portions(text, cuts)) == calls([text]) == calls(each(text))
