"""The official client, against a real socket."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from tests.frontend.conftest import Door, OpenDoor
from tests.processor.fakes import saying

from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.errors import EngineFailed, Overloaded
from tandem.processor.model import TextModel

HI: Any = [{"role": "user", "content": "Hi"}]
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


def client(door: Door) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0, timeout=10)


async def test_chat_streamed_and_not_agree(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "<think>\nhm\n</think>\n\nGrüße, 世界 🙂", cached=2))
    async with client(one) as ask:
        whole = await ask.chat.completions.create(model="tiny", messages=HI)
        assert whole.object == "chat.completion"
        assert whole.choices[0].message.content == "Grüße, 世界 🙂"
        assert whole.choices[0].message.reasoning_content == "hm"  # type: ignore[attr-defined]
        assert whole.usage is not None
        assert whole.usage.prompt_tokens_details is not None
        assert whole.usage.prompt_tokens_details.cached_tokens == 2
        text, last = "", None
        options: Any = {"include_usage": True}
        async for chunk in await ask.chat.completions.create(
            model="tiny", messages=HI, stream=True, stream_options=options
        ):
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            last = chunk
        assert text == "Grüße, 世界 🙂"
        assert last is not None
        assert last.usage is not None
        assert last.usage.total_tokens == whole.usage.total_tokens


async def test_completions_streamed_and_not_agree(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, " two three four"))
    async with client(one) as ask:
        whole = await ask.completions.create(model="tiny", prompt="One", max_tokens=20, echo=True)
        assert (whole.object, whole.choices[0].text) == ("text_completion", "One two three four")
        stream = await ask.completions.create(model="tiny", prompt="One", max_tokens=20, stream=True)
        assert "".join([c.choices[0].text async for c in stream]) == " two three four"


async def test_tools_and_their_results(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(
        saying(text_model, '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>')
    )
    async with client(one) as ask:
        whole = await ask.chat.completions.create(model="tiny", messages=HI, tools=TOOLS)
        assert whole.choices[0].finish_reason == "tool_calls"
        calls = whole.choices[0].message.tool_calls
        assert calls is not None
        assert calls[0].type == "function"
        assert json.loads(calls[0].function.arguments) == {"city": "Oslo"}
        result: Any = {"role": "tool", "tool_call_id": calls[0].id, "content": "rain"}
        talk: Any = [*HI, whole.choices[0].message.model_dump(exclude_none=True), result]
        await ask.chat.completions.create(model="tiny", messages=talk, tools=TOOLS)
    prompt = text_model.decode(one.house.workers.calls[-1][1].prompt_token_ids)
    assert '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>' in prompt
    assert "<tool_response>\nrain\n</tool_response>" in prompt


async def test_tool_calls_come_as_deltas_that_the_client_puts_together(door: OpenDoor, text_model: TextModel) -> None:
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo", "days": [1, 2]}}\n</tool_call>'
    one = await door(saying(text_model, f"Hm.\n{call}\n{call}"))
    async with client(one) as ask, ask.chat.completions.stream(model="tiny", messages=HI, tools=TOOLS) as stream:
        events = [event async for event in stream]
        whole = (await stream.get_final_completion()).choices[0]
    deltas = [event for event in events if event.type == "tool_calls.function.arguments.delta"]
    assert len(deltas) > 6, "arguments come as they are made"
    assert whole.finish_reason == "tool_calls"
    assert whole.message.content == "Hm."
    assert whole.message.tool_calls is not None
    made = [(made.function.name, made.function.arguments) for made in whole.message.tool_calls]
    assert made == [("weather", '{"city": "Oslo", "days": [1, 2]}')] * 2


async def test_every_knob_reaches_the_worker(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "x"))
    more = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "min_tokens": 1, "ignore_eos": True, "priority": 4}
    async with client(one) as ask:
        await ask.chat.completions.create(
            model="tiny",
            messages=HI,
            max_completion_tokens=9,
            temperature=0.5,
            top_p=0.9,
            seed=42,
            presence_penalty=0.5,
            frequency_penalty=-0.5,
            logit_bias={"5": -100},
            reasoning_effort="none",
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
            extra_body={**more, "stop_token_ids": [9], "cache_salt": "mine", "unknown_field": 1},
        )
    request = one.house.workers.calls[0][1]
    sampling = request.sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.seed) == (9, 0.5, 0.9, 42)
    assert (sampling.presence_penalty, sampling.frequency_penalty, sampling.logit_bias) == (0.5, -0.5, {5: -100.0})
    assert (sampling.top_k, sampling.min_p, sampling.repetition_penalty, sampling.min_tokens) == (5, 0.1, 1.1, 1)
    assert (sampling.ignore_eos, sampling.stop_token_ids) == (True, (9,))
    assert sampling.grammar is not None
    assert (sampling.grammar.kind, sampling.grammar.value) == ("json_schema", '{"type":"object"}')
    assert (request.priority, request.cache_salt, request.model) == (4, "mine", "tiny")
    assert request.deadline is not None


async def test_models_are_listed_and_found(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "x"), served_model_name="org/qwen")
    async with client(one) as ask:
        assert [model.id async for model in ask.models.list()] == ["org/qwen"]
        assert (await ask.models.retrieve("org/qwen")).id == "org/qwen"
        with pytest.raises(openai.NotFoundError, match="does not exist; GET /v1/models lists those that do"):
            await ask.models.retrieve("other")


async def test_errors_are_the_clients_own_classes(door: OpenDoor, text_model: TextModel) -> None:
    async def full(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        raise Overloaded("full", retry_after_s=7)
        yield

    one = await door(full)
    async with client(one) as ask:
        with pytest.raises(openai.RateLimitError) as limited:
            await ask.chat.completions.create(model="tiny", messages=HI)
        assert limited.value.response.headers["retry-after"] == "7"
        with pytest.raises(openai.NotFoundError) as missing:
            await ask.chat.completions.create(model="other", messages=HI)
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as bad:
            await ask.chat.completions.create(model="tiny", messages=HI, max_tokens=10**6)
        assert (bad.value.code, bad.value.param) == ("context_length_exceeded", "max_tokens")


async def test_a_failure_in_the_middle_of_a_stream_is_raised(door: OpenDoor, text_model: TextModel) -> None:
    async def dying(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        yield GenerateOutput(token_ids=text_model.encode("Half an", add_special_tokens=False))
        raise EngineFailed("the engine died")

    one = await door(dying, reroute_wait_s=0.01)
    text = ""

    async def read(ask: AsyncOpenAI) -> None:
        nonlocal text
        async for chunk in await ask.chat.completions.create(model="tiny", messages=HI, stream=True):
            text += chunk.choices[0].delta.content or ""

    async with client(one) as ask:
        with pytest.raises(openai.APIError, match="the engine died"):
            await read(ask)
    assert text == "Half an"
