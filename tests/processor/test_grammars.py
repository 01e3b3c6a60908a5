"""However a client spells the form of its answer, the engine is asked for one grammar, and errors name its field."""

from typing import Any

import msgspec
import pytest

from tandem.core.openai_in import ChatRequest
from tandem.core.request import Grammar
from tandem.errors import RequestError
from tandem.processor.grammars import grammar_for

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
        ({"guided_json": "[" * 100 + "]" * 100}, "guided_json"),
        ({"guided_json": "[" * 9000 + "]" * 9000}, "guided_json"),
        ({"response_format": {"type": "structural_tag", "format": {}, "structures": []}}, "response_format.format"),
    ],
)
def test_what_cannot_be_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as raised:
        asked(**fields)
    assert raised.value.param == param
