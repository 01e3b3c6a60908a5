"""Responses, read by the official client: in one piece and as events, with thoughts, tools, forms and failures."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response
from pydantic import BaseModel
from tests.frontend.conftest import Door, OpenDoor
from tests.processor.fakes import saying

from tandem.core.request import GenerateOutput, GenerateRequest, TokenLogprobs
from tandem.errors import EngineFailed
from tandem.observe import metrics
from tandem.processor.model import TextModel

TOOL: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather somewhere",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
CALLING = (
    '<think>\nA tool.\n</think>\n\nLook:\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
)


def client(one: Door) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{one.url}/v1", api_key="none", max_retries=0)


def prompt_of(one: Door, text_model: TextModel, call: int = -1) -> str:
    return text_model.decode(one.house.workers.calls[call][1].prompt_token_ids)


async def test_a_response_in_one_piece(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "<think>\nHm.\n</think>\n\nHello there.", cached=2))
    async with client(one) as ask:
        reply = await ask.responses.create(
            model="tiny", input="Hi", instructions="Be brief.", metadata={"a": "b"}, temperature=0.5, store=True
        )
    assert (reply.object, reply.status, reply.model) == ("response", "completed", "tiny")
    assert reply.id.startswith("resp_")
    assert (reply.output_text, reply.model_dump()["store"], reply.previous_response_id) == ("Hello there.", False, None)
    assert [item.type for item in reply.output] == ["reasoning", "message"]
    thought = reply.output[0]
    assert thought.type == "reasoning"
    assert [part.text for part in thought.content or []] == ["Hm."]
    assert (reply.instructions, reply.metadata, reply.temperature) == ("Be brief.", {"a": "b"}, 0.5)
    assert reply.usage is not None
    assert reply.usage.input_tokens_details.cached_tokens == 2
    assert reply.usage.output_tokens_details.reasoning_tokens > 0
    assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens
    assert "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>" in prompt_of(one, text_model)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, {"format": {"type": "text"}}),
        ({"format": {"type": "text"}}, {"format": {"type": "text"}}),
        ({"verbosity": "low"}, {"format": {"type": "text"}, "verbosity": "low"}),
        ({"format": {"type": "json_object"}}, {"format": {"type": "json_object"}}),
    ],
)
async def test_a_response_says_the_form_of_its_text(
    door: OpenDoor, text_model: TextModel, text: Any, told: Any
) -> None:
    one = await door(saying(text_model, "{}"))
    reply = await one.client.post("/v1/responses", json={"input": "Hi", "text": text})
    assert reply.json()["text"] == told
    Response.model_validate(reply.json())  # the client itself builds one without looking


async def test_events_come_in_order_and_are_numbered(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, CALLING))
    async with client(one) as ask:
        stream = await ask.responses.create(model="tiny", input="Hi", tools=[TOOL], stream=True)
        events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds: list[str] = []
    for event in events:
        kind = event.type.removeprefix("response.")
        if not (kinds and kind.endswith("delta") and kinds[-1] == kind):
            kinds.append(kind)
    part = ["output_item.added", "content_part.added"]
    assert kinds == [
        "created",
        "in_progress",
        *part,
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        *part,
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert events[0].type == "response.created"
    assert (events[0].response.status, events[0].response.output) == ("in_progress", [])
    last = events[-1]
    assert last.type == "response.completed"
    assert [item.type for item in last.response.output] == ["reasoning", "message", "function_call"]
    assert [event.item for event in events if event.type == "response.output_item.done"] == last.response.output
    deltas = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta")
    call = last.response.output[2]
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments), deltas) == ("weather", {"city": "Oslo"}, call.arguments)


async def test_the_clients_own_stream_helper_puts_it_together(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, CALLING))
    async with client(one) as ask:
        strict: Any = {**TOOL, "strict": True}
        async with ask.responses.stream(model="tiny", input="Hi", tools=[strict]) as stream:
            async for event in stream:
                if event.type == "response.output_text.delta":
                    assert "Look:".startswith(event.snapshot)
            final = await stream.get_final_response()
        whole = await ask.responses.create(model="tiny", input="Hi", tools=[TOOL])
    assert final.output_text == whole.output_text == "Look:"
    assert [item.type for item in final.output] == [item.type for item in whole.output]


async def test_a_streams_events_are_named_and_end_without_done(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "Hi"))
    reply = await one.client.post("/v1/responses", json={"input": "Hi", "stream": True})
    lines = [block.split(b"\n") for block in reply.content.split(b"\n\n") if block]
    for name, data in lines:
        assert name == b"event: " + json.loads(data.removeprefix(b"data: "))["type"].encode()
    assert lines[-1][0] == b"event: response.completed"


async def test_a_conversation_goes_on_with_its_own_items(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, CALLING))
    async with client(one) as ask:
        first = await ask.responses.create(model="tiny", input="Rain?", tools=[TOOL])
        call = first.output[-1]
        assert call.type == "function_call"
        talk: Any = [
            {"role": "user", "content": [{"type": "input_text", "text": "Rain?"}]},
            *[item.model_dump(exclude_none=True) for item in first.output],
            {"type": "function_call_output", "call_id": call.call_id, "output": "wet"},
        ]
        await ask.responses.create(model="tiny", input=talk, tools=[TOOL])
    assert (
        "<|im_start|>user\nRain?<|im_end|>\n<|im_start|>assistant\n<think>\nA tool.\n</think>\n\nLook:\n"
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\nwet\n</tool_response>"
    ) in prompt_of(one, text_model)


async def test_knobs_and_forms_reach_the_worker(door: OpenDoor, text_model: TextModel) -> None:
    class Answer(BaseModel):
        ok: bool

    one = await door(saying(text_model, '{"ok": true}'))
    async with client(one) as ask:
        parsed = await ask.responses.parse(
            model="tiny",
            input="Hi",
            text_format=Answer,
            max_output_tokens=50,
            top_p=0.5,
            reasoning={"effort": "none"},
            prompt_cache_key="k",
            extra_body={"seed": 7, "priority": 3},
        )
    assert parsed.output_parsed == Answer(ok=True)
    request = one.house.workers.calls[0][1]
    assert (request.sampling.max_tokens, request.sampling.top_p, request.sampling.seed) == (50, 0.5, 7)
    assert request.priority == 3
    assert request.sampling.grammar is not None
    assert json.loads(request.sampling.grammar.value)["properties"] == {"ok": {"title": "Ok", "type": "boolean"}}
    assert prompt_of(one, text_model).endswith("<think>\n\n</think>\n\n")


async def test_vllms_own_knobs_reach_the_worker(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "one two three four"))
    own = {
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "repetition_penalty": 1.5,
        "min_p": 0.1,
        "top_k": 5,
        "logit_bias": {"7": -1},
        "stop_token_ids": [9],
        "min_tokens": 2,
        "ignore_eos": True,
        "stop": "three",
        "include_stop_str_in_output": True,
    }
    async with client(one) as ask:
        reply = await ask.responses.create(model="tiny", input="Hi", max_output_tokens=50, extra_body=own)
    sampling = one.house.workers.calls[0][1].sampling
    assert (sampling.presence_penalty, sampling.frequency_penalty, sampling.repetition_penalty) == (0.5, -0.5, 1.5)
    assert (sampling.min_p, sampling.top_k, sampling.logit_bias) == (0.1, 5, {7: -1.0})
    assert (sampling.stop_token_ids, sampling.min_tokens, sampling.ignore_eos) == ((9,), 2, True)
    assert reply.output_text == "one two three"


async def test_a_response_that_meets_its_limit_is_incomplete(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "one two three four five six seven"))
    async with client(one) as ask:
        reply = await ask.responses.create(model="tiny", input="Hi", max_output_tokens=3)
        stream = await ask.responses.create(model="tiny", input="Hi", max_output_tokens=3, stream=True)
        events = [event async for event in stream]
    assert (reply.status, reply.incomplete_details and reply.incomplete_details.reason) == (
        "incomplete",
        "max_output_tokens",
    )
    assert reply.output[-1].type == "message"
    assert reply.output[-1].status == "incomplete"
    assert events[-1].type == "response.incomplete"


async def test_a_failure_in_the_middle_is_an_event_and_counted_once(door: OpenDoor, text_model: TextModel) -> None:
    async def dying(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        yield GenerateOutput(token_ids=text_model.encode("Half an answer", add_special_tokens=False))
        raise EngineFailed("the engine died")

    metrics.reset()
    one = await door(dying, reroute_wait_s=0.01)
    async with client(one) as ask:
        stream = await ask.responses.create(model="tiny", input="Hi", stream=True)
        events = [event async for event in stream]
        with pytest.raises(openai.InternalServerError):
            await ask.responses.create(model="tiny", input="Hi")
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert "engine_failed" in last.response.error.message
    assert metrics.REQUESTS.value("error") == 2


async def test_log_probabilities_stand_at_the_text(door: OpenDoor, text_model: TextModel) -> None:
    ids = text_model.encode("ab", add_special_tokens=False)

    async def answer(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        for token in ids:
            logprobs = [TokenLogprobs(-0.5, 1, [(token, -0.5)])]
            last = token is ids[-1]
            yield GenerateOutput(token_ids=[token], logprobs=logprobs, finish_reason="length" if last else None)

    one = await door(answer)
    async with client(one) as ask:
        reply = await ask.responses.create(model="tiny", input="Hi", top_logprobs=1)
    message = reply.output[0]
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    assert [entry.logprob for entry in part.logprobs or []] == [-0.5] * len(ids)


async def test_tokens_whose_text_comes_later_keep_their_log_probabilities(
    door: OpenDoor, text_model: TextModel
) -> None:
    ids = text_model.encode("\U0001f600 ab", add_special_tokens=False)
    assert text_model.token_bytes(ids[0]) != "\U0001f600".encode(), "the test needs a character of several tokens"

    async def answer(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        for place, token in enumerate(ids):
            last = place == len(ids) - 1
            logprobs = [TokenLogprobs(-0.5 * place, 1, [])]
            yield GenerateOutput(token_ids=[token], logprobs=logprobs, finish_reason="stop" if last else None)

    one = await door(answer)
    asked: Any = {"model": "tiny", "input": "Hi", "include": ["message.output_text.logprobs"]}
    async with client(one) as ask:
        whole = await ask.responses.create(**asked)
        events = [event async for event in await ask.responses.create(**asked, stream=True)]
    assert whole.output[0].type == "message"
    part = whole.output[0].content[0]
    assert part.type == "output_text"
    wanted = [-0.5 * place for place in range(len(ids))]
    assert [entry.logprob for entry in part.logprobs or []] == wanted
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert [entry.logprob for event in deltas for entry in event.logprobs] == wanted
    assert "".join(event.delta for event in deltas) == "\U0001f600 ab"


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "input"),
    ({"input": []}, "input"),
    ({"input": "Hi", "previous_response_id": "resp_1"}, "previous_response_id"),
    ({"input": "Hi", "conversation": "c"}, "conversation"),
    ({"input": "Hi", "background": True}, "background"),
    ({"input": "Hi", "prompt": {"id": "p"}}, "prompt"),
    ({"input": "Hi", "tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"input": "Hi", "tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
    ({"input": "Hi", "tool_choice": {"type": "file_search"}}, "tool_choice"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
    ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
    ({"input": [{"content": "x"}]}, "input[0].role"),
    ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
    ({"input": [{"type": "function_call", "name": "f"}]}, "input[0]"),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0]"),
    ({"input": [{"type": "function_call", "name": "f", "call_id": "c", "arguments": "["}]}, "input[0].arguments"),
    ({"input": "Hi", "text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
    ({"input": "Hi", "text": {"format": {}}}, "text.format.type"),
    ({"input": "Hi", "max_output_tokens": 0}, "max_output_tokens"),
    ({"input": "Hi", "max_output_tokens": 100_000}, "max_output_tokens"),
    ({"input": "long " * 3000}, "input"),
    ({"input": "Hi", "response_format": {"type": "json_object"}}, "response_format"),
    ({"input": "Hi", "guided_regex": "a"}, "guided_regex"),
    ({"input": "Hi", "reasoning": {"effort": "huge"}}, "reasoning.effort"),
    ({"input": "Hi", "chat_template_kwargs": {"tokenize": True}}, "chat_template_kwargs.tokenize"),
]


async def test_what_cannot_be_is_named_in_the_clients_words(door: OpenDoor) -> None:
    async def never(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        raise AssertionError("a bad request reached a worker")
        yield

    one = await door(never)
    for body, param in BAD:
        reply = await one.client.post("/v1/responses", json=body)
        error = reply.json()["error"]
        assert (reply.status_code, error["param"]) == (400, param), (body, error)
        assert "messages" not in error["message"]


async def test_input_is_counted_before_it_is_sent(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "Hello there."))
    async with client(one) as ask:
        asked: Any = {"model": "tiny", "input": "Hi", "instructions": "Be brief.", "tools": [TOOL]}
        counted = await ask.responses.input_tokens.count(**asked)
        assert (counted.object, one.house.workers.calls) == ("response.input_tokens", [])
        reply = await ask.responses.create(**asked)
        assert reply.usage is not None
        assert counted.input_tokens == reply.usage.input_tokens
        with pytest.raises(openai.BadRequestError) as refused:
            await ask.responses.input_tokens.count(model="tiny", input="Hi", previous_response_id="resp_1")
        assert refused.value.param == "previous_response_id"


async def test_no_response_is_ever_kept(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "Hi"))
    async with client(one) as ask:
        made = await ask.responses.create(model="tiny", input="Hi")
        with pytest.raises(openai.NotFoundError, match="none is kept"):
            await ask.responses.retrieve(made.id)
        with pytest.raises(openai.NotFoundError):
            await ask.responses.delete(made.id)
