"""Every format: what its answers say, in one piece, in any portions, and whatever garbage a model writes."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processor.parsers.corpus import CORPUS, TOOLS, Case
from tests.processor.parsers.folding import CUTS, Found, portions, read, split
from tests.processor.parsers.harmony_corpus import HARMONY as HARMONY_CORPUS
from tests.processor.parsers.harmony_corpus import Whole

from tandem.processor.parsers.harmony import HARMONY, HARMONY_THOUGHTS
from tandem.processor.parsers.registry import reasoning_format, tool_format

CASES = [pytest.param(name, case, id=f"{name}: {case.name}") for name, cases in CORPUS.items() for case in cases]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_calls_are_read(name: str, case: Case) -> None:
    form = tool_format(name)
    assert form is not None
    assert read(form, [case.text], TOOLS) == case.found
    assert read(form, list(case.text), TOOLS) == case.found


def whole(parts: list[str]) -> tuple[str, Found]:
    """Thoughts and the rest of a harmony answer, as both parsers together find them."""
    splitter, contents, reasoning = HARMONY_THOUGHTS.splitter(""), list[str](), ""
    for part in parts:
        found = splitter.feed(part)
        reasoning += found.reasoning
        contents.append(found.content)
    last = splitter.close()
    return reasoning + last.reasoning, read(HARMONY, [*filter(None, contents), last.content], TOOLS)


@pytest.mark.parametrize("case", HARMONY_CORPUS, ids=lambda case: case.name)
def test_harmony_is_read(case: Whole) -> None:
    assert whole([case.text]) == (case.reasoning, case.found)
    assert whole(list(case.text)) == (case.reasoning, case.found)


PIECES = {
    "hermes": ["<tool_call>", "</tool_call>", '{"name": "now"', ', "arguments": {', "}}"],
    "qwen3_coder": [
        *("<tool_call>", "</tool_call>", "<function=now>", "<function=later>", "</function>", "</parameter>"),
        *("<parameter=city>", "<parameter=days>", "3", "<parameter=x"),
    ],
    "llama3_json": ["<|python_tag|>", '{"name": "now"', ', "parameters": {', "}}", ";", ", "],
    "pythonic": ["<|python_start|>", "<|python_end|>", "[now(", "now(", "a=", "'", "'''", ")", ",", "]", "1", "None"],
    "mistral": ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "now", "[", "]", '{"name": "now"', ', "arguments": {', "}}"],
    "deepseek_v3": [
        *("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"),
        *("<｜tool▁sep｜>", "function", "now", "\n```json\n", "```", '{"a": ', "}"),
    ],
}
COMMON = ["\n", " ", "x", "é🙂", '"', "\\", "{", "}", "[", "]", "<", ":", ",", "\0"]


@pytest.mark.parametrize("name", PIECES)
def test_portions_do_not_matter_and_nothing_breaks(name: str) -> None:
    form = tool_format(name)
    assert form is not None
    texts = [case.text for case in CORPUS[name]]

    @given(st.lists(st.sampled_from([*PIECES[name] * 3, *COMMON, *texts]), max_size=14).map("".join), CUTS)
    def check(text: str, cuts: list[int]) -> None:
        found = read(form, [text], TOOLS)
        assert read(form, portions(text, cuts), TOOLS) == read(form, list(text), TOOLS) == found
        if not any(isinstance(item, tuple) for item in found):
            assert "".join(item for item in found if isinstance(item, str)) == text, "without calls all is text"

    check()


HARMONY_PIECES = [
    "<|start|>",
    "<|channel|>",
    "<|message|>",
    "<|end|>",
    "<|call|>",
    "<|constrain|>",
    "analysis",
    "final",
]


@given(
    st.lists(
        st.sampled_from(
            [*HARMONY_PIECES, "assistant", " to=functions.now", *COMMON, *(c.text for c in HARMONY_CORPUS)]
        ),
        max_size=12,
    ).map("".join),
    CUTS,
)
def test_portions_of_harmony_do_not_matter(text: str, cuts: list[int]) -> None:
    assert whole(portions(text, cuts)) == whole(list(text)) == whole([text])
    assert read(HARMONY, portions(text, cuts), TOOLS) == read(HARMONY, [text], TOOLS)


FLOODS = [" ", "[", '{"a":', "'", "\\", "a", "a=", "<tool_call", "<|"]


@pytest.mark.parametrize("name", [*PIECES, "harmony"])
def test_time_is_linear_in_what_a_model_writes(name: str) -> None:
    """Each text has 200,000 characters in 400 portions; a reader that sees all of it each time takes minutes."""
    form = tool_format(name)
    assert form is not None
    openings = ["", HARMONY_PIECES[0], *(case.text[:-20] for case in CORPUS.get(name, [])[:1])]
    for opening in openings:
        for flood in FLOODS:
            began = time.process_time()
            read(form, [opening, *[flood * (500 // len(flood))] * 400], TOOLS)
            assert time.process_time() - began < 2, (opening, flood)


@pytest.mark.parametrize("name", ["qwen3", "mistral", "harmony"])
def test_time_of_splitters_is_linear(name: str) -> None:
    form = reasoning_format(name)
    assert form is not None
    for opening in ("", "<think>", "[THINK]", "<|channel|>analysis<|message|>"):
        for flood in FLOODS:
            began = time.process_time()
            split(form.splitter(""), [opening, *[flood * (500 // len(flood))] * 400])
            assert time.process_time() - began < 2, (opening, flood)
