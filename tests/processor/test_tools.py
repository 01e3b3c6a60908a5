"""Tool calls through the processor: read, streamed, required, left alone."""

from typing import Any

import msgspec
import pytest
from tests.processor.fakes import TOOLS, MakeHouse, chat, chunks, saying

from tandem.processor.model import TextModel
from tandem.processor.service import ProcessorOptions

CALLING = 'Let me see.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'


async def test_tool_calls_are_read(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(saying(text_model, f"<think>\nhm\n</think>\n\n{CALLING}\n{CALLING[12:]}"))
    choice = (await chat(one, tools=TOOLS)).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert (choice.message.content, choice.message.reasoning) == ("Let me see.", "hm")
    assert choice.message.tool_calls is not None
    assert [c.function.arguments for c in choice.message.tool_calls] == ['{"city": "Oslo"}'] * 2
    assert len({c.id for c in choice.message.tool_calls}) == 2
    found = await chunks(one, tools=TOOLS, parallel_tool_calls=False)
    calls = [c for f in found for c in (f.choices[0].delta.tool_calls or [])]
    assert [(c.index, c.function.name) for c in calls[:1]] == [(0, "weather")]
    rest = {(c.index, c.id, c.type, c.function.name) for c in calls[1:]}
    assert rest == {(0, msgspec.UNSET, msgspec.UNSET, msgspec.UNSET)}, "id and name come once"
    assert len(calls) > 3, "arguments come as they are made"
    assert "".join(c.function.arguments for c in calls) == '{"city": "Oslo"}'
    assert found[-1].choices[0].finish_reason == "tool_calls"


NAMED = {"type": "function", "function": {"name": "weather"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}


@pytest.mark.parametrize(
    ("choice", "finish"), [("required", "tool_calls"), (NAMED, "stop"), (ALLOWED, "tool_calls"), ("auto", "tool_calls")]
)
async def test_a_call_that_must_be_is_left_to_the_engine_and_read_back(
    house: MakeHouse, text_model: TextModel, choice: Any, finish: str
) -> None:
    one = await house(saying(text_model, f"<think>\nhm\n</think>\n\n{CALLING[12:]}"))
    answer = (await chat(one, tools=TOOLS, tool_choice=choice)).choices[0]
    assert answer.finish_reason == finish
    assert (answer.message.content, answer.message.reasoning) == (None, "hm")
    assert [call.function.name for call in answer.message.tool_calls or ()] == ["weather"]
    grammar = one.workers.calls[0][1].sampling.grammar
    assert (grammar is None) is (choice == "auto")
    assert grammar is None or (grammar.kind, grammar.field) == ("structural_tag", "tools")


async def test_a_model_that_knows_no_calls_is_held_to_a_list_of_them(house: MakeHouse, text_model: TextModel) -> None:
    says = '[{"name": "weather", "parameters": {"city": "Oslo"}}]'
    one = await house(saying(text_model, says), options=ProcessorOptions(tool_call_parser="none"))
    found = await chunks(one, tools=TOOLS, tool_choice="required")
    calls = [c for f in found for c in (f.choices[0].delta.tool_calls or [])]
    assert calls[0].function.name == "weather"
    assert "".join(c.function.arguments for c in calls) == '{"city": "Oslo"}'
    grammar = one.workers.calls[0][1].sampling.grammar
    assert grammar is not None
    assert '"minItems":1' in grammar.value
    assert (await chat(one, tools=TOOLS)).choices[0].message.content == says, "nobody looks for calls otherwise"


async def test_without_tools_or_with_choice_none_a_call_is_text(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(saying(text_model, CALLING))
    assert (await chat(one)).choices[0].message.content == CALLING
    assert (await chat(one, tools=TOOLS, tool_choice="none")).choices[0].message.content == CALLING
    prompts = [text_model.decode(request.prompt_token_ids) for _, request in one.workers.calls]
    assert not any("weather" in prompt for prompt in prompts)
