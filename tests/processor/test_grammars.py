"""However a client spells the form of its answer, the engine is asked for one grammar, and errors name its field."""

from typing import Any

import msgspec
import pytest

from tandem.core.openai_in import ChatRequest
from tandem.core.request import Grammar
from tandem.errors import RequestError
from tandem.processor.grammars import Thoughts, after_thoughts, grammar_for, thoughts_before
from tandem.processor.parsers.thinking import DEEPSEEK_R1, QWEN3

SCHEMA = {"type": "object"}
TAG = {"type": "structural_tag", "format": {"type": "any_text"}}
OLD_TAG = {"structures": [{"begin": "<a>", "schema": SCHEMA, "end": "</a>"}], "triggers": ["<a>"]}


def asked(**fields: Any) -> Grammar | None:
    return grammar_for(msgspec.convert({"messages": [{"role": "user", "content": "Hi"}], **fields}, ChatRequest))


@pytest.mark.parametrize(
    ("fields", "kind", "value", "field"),
    [
        ({"response_format": {"type": "json_object"}}, "json_object", "", "response_format"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
            "json_schema",
            '{"type":"object"}',
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": True}}},
            "json_schema",
            "true",
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": TAG},
            "structural_tag",
            '{"type":"structural_tag","format":{"type":"any_text"}}',
            "response_format",
        ),
        ({"structured_outputs": {"json": SCHEMA}}, "json_schema", '{"type":"object"}', "structured_outputs.json"),
        ({"structured_outputs": {"regex": "a+"}}, "regex", "a+", "structured_outputs.regex"),
        ({"structured_outputs": {"choice": ["a", "b"]}}, "choice", '["a","b"]', "structured_outputs.choice"),
        ({"structured_outputs": {"grammar": "root ::= x"}}, "grammar", "root ::= x", "structured_outputs.grammar"),
        ({"structured_outputs": {"json_object": True}}, "json_object", "", "structured_outputs.json_object"),
        (
            {"structured_outputs": {"structural_tag": msgspec.json.encode(TAG).decode()}},
            "structural_tag",
            '{"type":"structural_tag","format":{"type":"any_text"}}',
            "structured_outputs.structural_tag",
        ),
        ({"guided_json": SCHEMA}, "json_schema", '{"type":"object"}', "guided_json"),
        ({"guided_json": ' {"type": "object"} '}, "json_schema", '{"type":"object"}', "guided_json"),
        ({"guided_regex": "[0-9]"}, "regex", "[0-9]", "guided_regex"),
        ({"guided_choice": ["yes"]}, "choice", '["yes"]', "guided_choice"),
        ({"guided_grammar": "root ::= y"}, "grammar", "root ::= y", "guided_grammar"),
    ],
)
def test_every_spelling_is_one_grammar(fields: dict[str, Any], kind: Any, value: str, field: str) -> None:
    assert asked(**fields) == Grammar(kind=kind, value=value, field=field)


def test_a_structural_tag_of_the_older_form_keeps_its_triggers() -> None:
    found = asked(response_format={"type": "structural_tag", **OLD_TAG})
    assert found is not None
    assert msgspec.json.decode(found.value) == {"type": "structural_tag", **OLD_TAG}


@pytest.mark.parametrize(
    "fields",
    [{}, {"response_format": {"type": "text"}}, {"structured_outputs": {}}, {"structured_outputs": {"regex": None}}],
)
def test_nothing_asked_is_no_grammar(fields: dict[str, Any]) -> None:
    assert asked(**fields) is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "guided_regex"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs.choice"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": "0"}, "guided_json"),
        ({"structured_outputs": {"json": "[]"}}, "structured_outputs.json"),
        ({"structured_outputs": {"structural_tag": "0"}}, "structured_outputs.structural_tag"),
        ({"structured_outputs": {"structural_tag": "true"}}, "structured_outputs.structural_tag"),
        ({"guided_json": "[" * 100 + "]" * 100}, "guided_json"),
        ({"guided_json": "[" * 9000 + "]" * 9000}, "guided_json"),
        ({"response_format": {"type": "structural_tag", "format": {}, "structures": []}}, "response_format.format"),
    ],
)
def test_what_cannot_be_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as raised:
        asked(**fields)
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("form", "prompt", "goes_on", "found"),
    [
        (None, "<|im_start|>assistant\n", False, None),
        (QWEN3, "<|im_start|>assistant\n", False, Thoughts("<think>", "</think>", False)),
        (QWEN3, "<|im_start|>assistant\n<think>\n", False, Thoughts("<think>", "</think>", True)),
        (QWEN3, "<|im_start|>assistant\n<think>\n\n</think>\n\n", False, None),
        (QWEN3, "<|im_start|>assistant\nHalf an ans", True, None),
        (DEEPSEEK_R1, "<Assistant>", False, Thoughts("<think>", "</think>", True)),
    ],
)
def test_a_thought_may_come_first_unless_the_prompt_has_closed_it(
    form: Any, prompt: str, goes_on: bool, found: Thoughts | None
) -> None:
    assert thoughts_before(form, prompt, goes_on=goes_on) == found


def test_a_form_waits_for_the_thought() -> None:
    for kind, value, inner in [
        ("json_object", "", {"type": "json_schema", "json_schema": {"type": "object"}}),
        ("json_schema", "true", {"type": "json_schema", "json_schema": True}),
        ("regex", "a", {"type": "regex", "pattern": "a"}),
        ("choice", '["a"]', {"type": "or", "elements": [{"type": "const_string", "value": "a"}]}),
        ("grammar", "root ::= x", {"type": "grammar", "grammar": "root ::= x"}),
        ("structural_tag", msgspec.json.encode(TAG).decode(), {"type": "any_text"}),
    ]:
        grammar = Grammar(kind=kind, value=value, field="f")  # type: ignore[arg-type]
        begun = after_thoughts(grammar, Thoughts("<t>", "</t>", True))
        assert (begun.kind, begun.field) == ("structural_tag", "f")
        thought = {"type": "tag", "begin": "", "content": {"type": "any_text"}, "end": "</t>"}
        assert msgspec.json.decode(begun.value)["format"]["elements"][0] == thought
        free = msgspec.json.decode(after_thoughts(grammar, Thoughts("<t>", "</t>", False)).value)["format"]["elements"]
        nothing = {"type": "const_string", "value": ""}
        assert free[0] == {"type": "or", "elements": [{**thought, "begin": "<t>"}, nothing]}
        assert free[2] == inner
    old = Grammar(kind="structural_tag", value=msgspec.json.encode(OLD_TAG).decode())
    assert after_thoughts(old, Thoughts("<t>", "</t>", True)) == old
