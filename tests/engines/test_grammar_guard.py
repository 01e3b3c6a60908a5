"""What a client asks for in grammars is looked at in a process with limits: bombs end that process and nothing else."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tandem.core.request import Grammar
from tandem.engines.vllm.grammar_guard import GrammarGuard
from tandem.errors import EngineFailed, RequestError
from tandem.processor.grammars import Thoughts, after_thoughts

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def guard() -> Iterator[GrammarGuard]:
    guard = GrammarGuard.start(fork=False)
    yield guard
    guard.close()


def schema(value: Any) -> Grammar:
    return Grammar(kind="json_schema", value=json.dumps(value), field="response_format.json_schema.schema")


def nested(levels: int) -> Any:
    value: Any = {"type": "string"}
    for _ in range(levels):
        value = {"type": "object", "properties": {"a": value}, "required": ["a"]}
    return value


USUAL = [
    Grammar(kind="json_object"),
    schema({"type": "object", "properties": {"name": {"type": "string", "maxLength": 100}}, "required": ["name"]}),
    schema({"$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}),
    schema({"enum": [f"value {i}" for i in range(1000)]}),
    schema(nested(20)),
    Grammar(kind="regex", value="[a-f]{3}-[0-9]{2}"),
    Grammar(kind="regex", value="((a+)+)+b"),
    Grammar(kind="choice", value=json.dumps(['a "quote"', "a\nline", "c"])),
    Grammar(kind="grammar", value='root ::= ("tick" | "tock") " " root | "."'),
    Grammar(kind="structural_tag", value=json.dumps({"type": "structural_tag", "format": {"type": "any_text"}})),
]


async def test_usual_grammars_pass(guard: GrammarGuard) -> None:
    for grammar in USUAL:
        await guard.check(grammar)
        for begun in (True, False):
            await guard.check(after_thoughts(grammar, Thoughts("<think>", "</think>", begun)))


async def test_what_cannot_be_enforced_is_told_with_its_field(guard: GrammarGuard) -> None:
    wrong = [
        (schema({"type": "nothing"}), "nothing"),
        (schema({"type": "integer", "multipleOf": 3}), "cannot enforce"),
        (Grammar(kind="regex", value="(a", field="guided_regex"), "arenthes"),
        (Grammar(kind="grammar", value="root ::= nothing", field="guided_grammar"), "nothing"),
        (
            Grammar(kind="structural_tag", value='{"type":"structural_tag","format":{"type":"no"}}', field="f"),
            "^f: Invalid",
        ),
    ]
    for grammar, word in wrong:
        with pytest.raises(RequestError, match=word) as refused:
            await guard.check(grammar)
        assert refused.value.param == grammar.field
        with pytest.raises(RequestError):
            await guard.check(after_thoughts(grammar, Thoughts("<think>", "</think>", False)))


async def test_bombs_end_their_own_process_and_the_next_grammar_passes(guard: GrammarGuard) -> None:
    began = time.monotonic()
    with pytest.raises(RequestError, match="more than 5 s to compile"):
        await guard.check(schema(nested(300)))
    first = time.monotonic() - began
    with pytest.raises(RequestError, match="too ambiguous"):
        await guard.check(Grammar(kind="grammar", value='root ::= x\nx ::= x x | "a" | ""', field="f"))
    await guard.check(Grammar(kind="regex", value="still (here|well)"))
    began = time.monotonic()
    with pytest.raises(RequestError, match="more than 5 s"):  # it is remembered, not tried again
        await guard.check(schema(nested(300)))
    assert time.monotonic() - began < 0.1 < first


async def test_a_guard_that_ended_is_an_engines_failure_not_a_hang() -> None:
    gone = GrammarGuard.start(fork=False)
    gone.close()
    gone.close()
    with pytest.raises(EngineFailed, match="cannot be checked"):
        await gone.check(Grammar(kind="json_object"))
