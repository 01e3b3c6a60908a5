"""Thoughts between tags."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processor.parsers.folding import CUTS, portions, split

from tandem.processor.parsers.ports import ReasoningFormat
from tandem.processor.parsers.thinking import DEEPSEEK_R1, MISTRAL, QWEN3

OPENED = "<|im_start|>assistant\n<think>\n"
CLOSED = "<|im_start|>assistant\n<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("text", "prompt", "reasoning", "content"),
    [
        ("<think>\nhm\n</think>\n\nYes.", "", "hm", "Yes."),
        ("<think>\n\n</think>\n\nYes.", "", "", "Yes."),
        ("\n<think>a\n\nb</think>c\n", "", "a\n\nb", "c\n"),
        ("Yes.", "", "", "Yes."),
        (" \n Yes", "", "", " \n Yes"),
        ("I say <think>no</think>", "", "", "I say <think>no</think>"),
        ("<think>cut off", "", "cut off", ""),
        ("<think>\n", "", "", ""),
        ("<think", "", "", "<think"),
        ("hm\n</think>\n\nYes.", OPENED, "hm", "Yes."),
        ("<think>\nhm\n</think>\n\nYes.", OPENED, "hm", "Yes."),
        ("\nhm</thin", OPENED, "hm</thin", ""),
        (" \n", OPENED, " ", ""),
        ("Yes.", CLOSED, "", "Yes."),
        ("<think>a</think>\n\n", "", "a", ""),
        ("<think>a < b </ c</think>d</think>", "", "a < b </ c", "d</think>"),
        ("", "", "", ""),
    ],
)
def test_thoughts_are_told_apart(text: str, prompt: str, reasoning: str, content: str) -> None:
    assert split(QWEN3.splitter(prompt), [text]) == (reasoning, content)
    assert split(QWEN3.splitter(prompt), list(text)) == (reasoning, content)


@pytest.mark.parametrize(
    ("form", "prompt", "text", "reasoning", "content"),
    [
        (DEEPSEEK_R1, "", "hm</think>Yes.", "hm", "Yes."),
        (DEEPSEEK_R1, "", "<think>hm</think>Yes.", "hm", "Yes."),
        (DEEPSEEK_R1, "", "cut off", "cut off", ""),
        (DEEPSEEK_R1, CLOSED, "Yes.", "", "Yes."),
        (MISTRAL, "", "[THINK]hm[/THINK]Yes.", "hm", "Yes."),
        (MISTRAL, "[/INST][THINK]", "hm[/THINK]Yes.", "hm", "Yes."),
        (MISTRAL, "", "<think>hm</think>Yes.", "", "<think>hm</think>Yes."),
    ],
)
def test_formats_differ_in_tags_and_in_who_opens_the_thought(
    form: ReasoningFormat, prompt: str, text: str, reasoning: str, content: str
) -> None:
    assert split(form.splitter(prompt), [text]) == (reasoning, content)


def test_the_thought_is_over_when_its_tag_has_come() -> None:
    splitter = QWEN3.splitter(OPENED)
    assert (splitter.thinking, splitter.over) == (True, False)
    splitter.feed("hm</think>\n")
    assert (splitter.thinking, splitter.over) == (False, False)
    splitter.feed("\nYes")
    assert (splitter.thinking, splitter.over) == (False, True)


TAGGED = st.lists(st.sampled_from(["<think>", "</think>", "\n", "a", "<", "</", "think>", " "]), max_size=12).map(
    "".join
)


@given(text=TAGGED, cuts=CUTS, prompt=st.sampled_from(["", OPENED, CLOSED]))
def test_portions_do_not_matter(text: str, cuts: list[int], prompt: str) -> None:
    for form in (QWEN3, DEEPSEEK_R1, MISTRAL):
        if form is MISTRAL:
            text, prompt = (each.replace("think>", "THINK]").replace("<", "[") for each in (text, prompt))
        whole = split(form.splitter(prompt), [text])
        assert split(form.splitter(prompt), portions(text, cuts)) == split(form.splitter(prompt), list(text)) == whole
