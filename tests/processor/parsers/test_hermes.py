"""Hermes' and Qwen3's calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processor.parsers.folding import CUTS, Found, portions, read

from tandem.processor.parsers.hermes import HERMES
from tandem.processor.parsers.ports import Arguments, CallBegun

ONE = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
OSLO = ("weather", '{"city": "Oslo"}')


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ONE, [OSLO]),
        (f"Let me see.\n{ONE}\n{ONE}\n", ["Let me see.", OSLO, OSLO]),
        (ONE.removesuffix("</tool_call>"), [OSLO]),
        (ONE.removesuffix("</tool_call>") + ONE, [OSLO, OSLO]),
        (f"{ONE}\n\nDone. ", [OSLO, "Done. "]),
        ('<tool_call>{"name": "now"}</tool_call>', [("now", "{}")]),
        ('<tool_call>{"name": "now", "arguments": null}</tool_call>', [("now", "{}")]),
        ('<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', [("f", '{"a": 1}')]),
        ('<tool_call>{"arguments": {"a": [1, {}]}, "name": "f"}</tool_call>', [("f", '{"a": [1, {}]}')]),
        ('<tool_call>{"id": 7, "name": "f", "parameters": {}, "more": {"name": "g"}}</tool_call>', [("f", "{}")]),
        ('<tool_call>{"name": "f", "arguments": {"a": "</tool_call>"}}</tool_call>', [("f", '{"a": "</tool_call>"}')]),
        ('<tool_call>{"name": "f", "arguments": {"a": "\\\\\\""}}</tool_call>', [("f", '{"a": "\\\\\\""}')]),
        ('<tool_call>{"name": "f", "arguments": {"a": "x\ny\t"}}</tool_call>', [("f", '{"a": "x\\ny\\t"}')]),
        ('<tool_call>{"name": "f", "arguments": {"a": 1}</tool_call> x', [("f", '{"a": 1}'), "x"]),
        ('<tool_call>{"name": "f", "arguments": {"a": 1}}}</tool_call>', [("f", '{"a": 1}'), "}"]),
        ('<tool_call>{"name": "f", "arguments": {"a": 1, "b": "cu', [("f", '{"a": 1, "b": "cu')]),
        ("<tool_call>{'name': 'f'}</tool_call> x", ["<tool_call>{'name': 'f'}</tool_call> x"]),
        (
            """<tool_call>{"name": "f", "arguments": {'a': 1}}</tool_call>x""",
            [("f", "{'a': 1}}"), "x"],
        ),
        ("<tool_call>no json</tool_call> x", ["<tool_call>no json</tool_call> x"]),
        ('<tool_call>{"arguments": {}}</tool_call>', ['<tool_call>{"arguments": {}}</tool_call>']),
        (
            '<tool_call>{"name": "", "arguments": {}}</tool_call>',
            ['<tool_call>{"name": "", "arguments": {}}</tool_call>'],
        ),
        ('<tool_call>{"name": "f', ['<tool_call>{"name": "f']),
        (f"<tool_call>{ONE}", ["<tool_call>", OSLO]),
        ("a </tool_call> b", ["a </tool_call> b"]),
        ("a < b <tool", ["a < b <tool"]),
        (" \n", [" \n"]),
        ("", []),
    ],
)
def test_calls_are_read(text: str, found: Found) -> None:
    assert read(HERMES, [text]) == found
    assert read(HERMES, list(text)) == found


def test_a_call_is_told_as_soon_as_it_is_known_and_its_arguments_as_they_come() -> None:
    reader = HERMES.reader({})
    told = [
        reader.feed(part) for part in ("Hm. <tool", '_call>\n{"name": "wea', 'ther", "arg', 'uments": {"ci', 'ty": "')
    ]
    assert told == [["Hm."], [], [], [CallBegun("weather"), Arguments('{"ci')], [Arguments('ty": "')]]
    assert reader.feed('Oslo"}}\n</tool_call>') == [Arguments('Oslo"}')]
    assert reader.close() == []


def test_calls_that_are_no_json_are_counted() -> None:
    reader = HERMES.reader({})
    reader.feed(f"{ONE}<tool_call>[]</tool_call>" + """<tool_call>{"name": "f", "arguments": {'a'}}</tool_call>""")
    reader.close()
    assert reader.malformed == 2


def test_text_without_a_mark_may_pass() -> None:
    reader = HERMES.reader({})
    assert reader.may_pass("Hello, world.")
    assert not reader.may_pass("a < b")
    assert not reader.may_pass("space may belong to a call ")
    reader.feed("x <too")
    assert not reader.may_pass("l")


PARTS = [
    ONE,
    "<tool_call>",
    "</tool_call>",
    '{"name": "f", "arguments": ',
    '"name"',
    ":",
    "{",
    "}",
    '"',
    "\\",
    "\n",
    " ",
]


@given(st.lists(st.sampled_from([*PARTS, "text", "é🙂", "[1, 2]"]), max_size=10).map("".join), CUTS)
def test_portions_do_not_matter(text: str, cuts: list[int]) -> None:
    assert read(HERMES, portions(text, cuts)) == read(HERMES, [text]) == read(HERMES, list(text))
