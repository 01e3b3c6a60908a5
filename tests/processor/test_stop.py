"""Stop strings: any portions of a text give the same answer."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tandem.core.request import GenerateOutput
from tandem.processor.model import TextModel
from tandem.processor.pieces import SequenceText
from tandem.processor.stop import StopStrings, held_back

CUTS = st.lists(st.integers(1, 80), max_size=10)


def portions(text: str, cuts: list[int]) -> list[str]:
    borders = sorted({0, len(text), *(c for c in cuts if c < len(text))})
    return [text[a:b] for a, b in itertools.pairwise(borders)]


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


@pytest.mark.parametrize("stop", ["🙂好", "好", "说 🙂", "天气🙂"])
@pytest.mark.parametrize("step", [1, 2, 3, 50])
def test_a_stop_string_is_found_where_tokens_end_inside_its_characters(
    text_model: TextModel, stop: str, step: int
) -> None:
    text = "听说 🙂好天气🙂 indeed"
    ids = text_model.encode(text, add_special_tokens=False)
    assert any(b"\xf0" in text_model.token_bytes(i) and len(text_model.token_bytes(i)) < 4 for i in ids)
    sequence = SequenceText(0, text_model.detokenizer(), stop=[stop])
    pieces = [sequence.feed(GenerateOutput(token_ids=ids[at : at + step])) for at in range(0, len(ids), step)]
    told = [piece for piece in pieces if piece is not None]
    ended = next(piece for piece in told if piece.finish_reason is not None)
    assert (ended.finish_reason, ended.stop_reason) == ("stop", stop)
    assert "".join(piece.text for piece in told[: told.index(ended) + 1]) == text[: text.index(stop)]
