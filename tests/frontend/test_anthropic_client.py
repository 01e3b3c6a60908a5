"""Anthropic's official client, against a real socket."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import AsyncAnthropic
from tests.frontend.conftest import Door, OpenDoor
from tests.processor.fakes import saying

from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.errors import EngineFailed, Overloaded, ServingError
from tandem.frontend.answering import DoorOptions
from tandem.frontend.guard.keyring import Keys
from tandem.processor.model import TextModel
from tandem.settings import LimitSettings

HI: Any = [{"role": "user", "content": "Hi"}]
WEATHER: Any = {
    "name": "weather",
    "description": "Tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'


def client(door: Door, **options: Any) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=door.url, api_key="none", max_retries=0, timeout=10, **options)


def ask(door: Door, **fields: Any) -> Any:
    """One request's fields."""
    return {"model": "tiny", "max_tokens": 100, "messages": HI, **fields}


def prompt(door: Door, model: TextModel) -> str:
    """What the worker was given to read, last."""
    return model.decode(door.house.workers.calls[-1][1].prompt_token_ids)


async def raw_events(door: Door, **fields: Any) -> list[tuple[str, Any]]:
    """The events of a stream as they come over the wire: name and data."""
    found = []
    async with door.client.stream("POST", "/v1/messages", json=ask(door, stream=True, **fields)) as reply:
        assert reply.status_code == 200, await reply.aread()
        text = (await reply.aread()).decode()
    for event in text.removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    assert all(name == data["type"] for name, data in found)
    return found


async def test_a_text_comes_in_the_documented_events(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "Grüße, 世界 🙂", cached=3))
    events = await raw_events(one)
    start = events[0][1]["message"]
    assert start.pop("id").startswith("msg_")
    prompt_tokens = start["usage"]["input_tokens"] + 3
    assert start == {
        "type": "message",
        "role": "assistant",
        "model": "tiny",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": start["usage"],
    }
    assert [name for name, _ in events[:4]] == ["message_start", "content_block_start", "ping", "content_block_delta"]
    assert events[1][1] == {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    assert events[2][1] == {"type": "ping"}
    deltas = [data for name, data in events if name == "content_block_delta"]
    assert {(data["index"], data["delta"]["type"]) for data in deltas} == {(0, "text_delta")}
    assert "".join(data["delta"]["text"] for data in deltas) == "Grüße, 世界 🙂"
    assert events[-3][1] == {"type": "content_block_stop", "index": 0}
    ended = events[-2][1]
    assert ended["delta"] == {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None}
    assert ended["usage"]["cache_read_input_tokens"] == 3
    assert ended["usage"]["input_tokens"] + 3 == prompt_tokens == len(one.house.workers.calls[0][1].prompt_token_ids)
    assert events[-1] == ("message_stop", {"type": "message_stop"})


async def test_a_message_streamed_and_not_agree(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, f"<think>\nhm, so\n</think>\n\nI will look.\n{CALL}\n{CALL}"))
    fields = ask(one, tools=[WEATHER], max_tokens=2000, thinking={"type": "enabled", "budget_tokens": 1024})
    async with client(one) as anthropic_client:
        whole = await anthropic_client.messages.create(**fields)
        async with anthropic_client.messages.stream(**fields) as stream:
            folded = await stream.get_final_message()
    assert [block.type for block in whole.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert whole.stop_reason == "tool_use"
    assert whole.usage.output_tokens_details is not None
    assert whole.usage.output_tokens_details.thinking_tokens > 0

    def told(message: Any) -> Any:
        shown = message.to_dict()
        assert len({block.pop("id") for block in shown["content"] if block["type"] == "tool_use"}) == 2
        shown.pop("id")
        return shown

    assert told(folded) == told(whole)
    first = whole.content[2]
    assert first.type == "tool_use"
    assert first.id.startswith("toolu_")
    assert (first.name, first.input) == ("weather", {"city": "Oslo"})


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
async def test_a_call_that_must_be_is_left_to_the_engine(
    door: OpenDoor, text_model: TextModel, choice: dict[str, Any]
) -> None:
    one = await door(saying(text_model, CALL))
    async with client(one) as ask_it:
        told = await ask_it.messages.create(**ask(one, tools=[WEATHER], tool_choice=choice))
    assert told.stop_reason == "tool_use"
    grammar = one.house.workers.calls[-1][1].sampling.grammar
    assert grammar is not None
    assert grammar.kind == "structural_tag"


async def test_a_tools_result_goes_back_to_the_model(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, CALL))
    async with client(one) as ask_it:
        asked = await ask_it.messages.create(**ask(one, tools=[WEATHER], system="Be brief."))
        use = asked.content[0]
        assert use.type == "tool_use"
        one.house.workers.answers["w1"] = saying(text_model, "Rain in Oslo.")
        turns: Any = [
            *HI,
            {"role": "assistant", "content": asked.content},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "12 mm"}]},
                    {"type": "text", "text": "So?"},
                ],
            },
        ]
        told = await ask_it.messages.create(**ask(one, tools=[WEATHER], system="Be brief.", messages=turns))
    assert told.content[0].to_dict() == {"type": "text", "text": "Rain in Oslo."}
    read = prompt(one, text_model)
    for part in ("Be brief.", '"name": "weather"', '{"city": "Oslo"}', "<tool_response>\n12 mm", "So?"):
        assert part in read, read


async def test_thinking_is_off_unless_it_is_asked_for(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "Hi."))
    on: Any = {"type": "enabled", "budget_tokens": 1024}
    async with client(one) as ask_it:
        for thinking, closed in (
            (None, True),
            ({"type": "disabled"}, True),
            (on, False),
            ({"type": "adaptive"}, False),
        ):
            fields = {"thinking": thinking} if thinking else {}
            await ask_it.messages.create(**ask(one, **(fields | {"max_tokens": 1500})))
            assert prompt(one, text_model).endswith("<think>\n\n</think>\n\n") is closed, thinking


async def test_vllms_own_fields_are_taken(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "Hi."))
    own = {"chat_template_kwargs": {"enable_thinking": True}, "cache_salt": "mine"}
    async with client(one) as ask_it:
        await ask_it.messages.create(**ask(one), extra_body=own)
    assert not prompt(one, text_model).endswith("</think>\n\n")
    assert one.house.workers.calls[0][1].cache_salt == "mine"


async def test_a_thought_is_signed_and_comes_back_as_it_was(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "<think>\nhm\n</think>\n\nYes."))
    on: Any = {"type": "enabled", "budget_tokens": 1024}
    async with client(one) as ask_it:
        said = await ask_it.messages.create(**ask(one, max_tokens=1500, thinking=on))
        thought = said.content[0]
        assert thought.type == "thinking"
        assert thought.thinking == "hm"
        turns: Any = [*HI, {"role": "assistant", "content": said.content}, *HI]
        await ask_it.messages.create(**ask(one, messages=turns))
        thought.thinking = "something else"
        with pytest.raises(anthropic.BadRequestError, match="its signature does not fit"):
            await ask_it.messages.create(**ask(one, messages=turns))
        omitted = await ask_it.messages.create(**ask(one, max_tokens=1500, thinking={**on, "display": "omitted"}))
        assert [block.type for block in omitted.content] == ["thinking", "text"]
        assert omitted.content[0].thinking == ""
        turns = [*HI, {"role": "assistant", "content": omitted.content}, *HI]
        await ask_it.messages.create(**ask(one, messages=turns))


async def test_why_a_message_ended(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "one two three four five six"), max_model_len=64)
    async with client(one) as ask_it:
        stopped = await ask_it.messages.create(**ask(one, stop_sequences=["three", "nine"]))
        assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "three")
        assert stopped.content[0].to_dict() == {"type": "text", "text": "one two "}
        cut = await ask_it.messages.create(**ask(one, max_tokens=2))
        assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 2)
        one.house.workers.answers["w1"] = saying(text_model, "on and on " * 50)
        full = await ask_it.messages.create(**ask(one, max_tokens=100_000))
        assert full.stop_reason == "model_context_window_exceeded"
        assert full.usage.input_tokens + full.usage.output_tokens == 64


async def test_the_last_turn_of_the_assistant_is_gone_on_with(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, " two"))
    async with client(one) as ask_it:
        said = await ask_it.messages.create(**ask(one, messages=[*HI, {"role": "assistant", "content": "One,"}]))
    assert said.content[0].to_dict() == {"type": "text", "text": " two"}
    assert prompt(one, text_model).endswith("One,")


async def test_knobs_reach_the_engine(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "{}"))
    body = ask(one, temperature=0.5, top_p=0.9, top_k=7, metadata={"user_id": "u"}, service_tier="auto")
    body["output_config"] = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert (await one.client.post("/v1/messages", json=body)).status_code == 200
    sampling = one.house.workers.calls[-1][1].sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.max_tokens) == (0.5, 0.9, 7, 100)
    assert sampling.grammar is not None
    assert (sampling.grammar.kind, sampling.grammar.value) == ("json_schema", '{"type":"object"}')


BAD: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": None}, "max_tokens must be an integer from 1 to 2147483647, not null"),
    ({"max_tokens": 0}, "max_tokens must be an integer from 1 to 2147483647, not 0"),
    ({"messages": []}, "messages must be a list of 1 to 100000 objects, not a list of 0"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, 'role must be "assistant", "system" or "user", not "wizard"'),
    ({"system": [{"text": "x"}]}, "system[0].type is missing"),
    ({"system": [{"type": "image"}]}, "system[0]: models here read text, not image blocks"),
    ({"output_config": {"format": {"schema": {}}}}, "output_config.format.type is missing"),
    ({"temperature": 3}, "temperature must be a number from 0 to 2, not 3"),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 5}},
        "budget_tokens must be an integer from 1024 to 2147483647, not 5",
    ),
    ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "budget_tokens 1024 must be below max_tokens 100"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "it runs at Anthropic"),
    ({"tools": [{"name": "x"}]}, "tools[0].input_schema is missing"),
    ({"tools": [{"name": "x y", "input_schema": {}}]}, "tools[0].name"),
    ({"tool_choice": {"type": "any"}}, "tool_choice needs tools"),
    ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "nope"}}, "'nope', which is not in tools"),
    ({"tools": [WEATHER], "tool_choice": {"type": "maybe"}}, 'must be "auto", "any", "tool" or "none", not "maybe"'),
    ({"mcp_servers": [{}]}, "mcp_servers is not taken here: tools run where the client is"),
    ({"kv_transfer_params": {"a": 1}}, "never taken from a client"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
        "models here read text, not image",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "models here read text, not document"),
    ({"messages": [{"role": "user", "content": [{"type": "alien"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]}, "answers no tool_use"),
    (
        {
            "messages": [
                *HI,
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "x", "input": {}}]},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "x"}, {"type": "tool_result", "tool_use_id": "t"}],
                },
            ]
        },
        "results of calls come before texts",
    ),
    (
        {
            "messages": [
                *HI,
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "x", "input": {}}]},
            ]
        },
        "a tool_use needs its tool_result",
    ),
    (
        {"messages": [*HI, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}]},
        "can be read only by whoever made it",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "thinking", "thinking": "x"}]}]}, "do not belong into a user"),
]


async def test_bad_fields_are_named_in_anthropics_form(door: OpenDoor) -> None:
    async def never(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        raise AssertionError("a bad request reached a worker")
        yield

    one = await door(never)
    for fields, words in BAD:
        for stream in (False, True):
            reply = await one.client.post("/v1/messages", json=ask(one, stream=stream, **fields))
            error = reply.json()
            assert (reply.status_code, error["type"]) == (400, "error"), (fields, error)
            assert error["error"]["type"] == "invalid_request_error", (fields, error)
            assert words in error["error"]["message"], (fields, error)
            assert reply.headers["request-id"] == reply.headers["x-request-id"]


async def test_errors_raise_what_the_client_calls_them(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "x"), door_options=DoorOptions(limits=LimitSettings(max_body_bytes=10_000)))

    def failing(error: ServingError) -> Any:
        async def fails(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
            raise error
            yield

        return fails

    async with client(one) as ask_it:
        with pytest.raises(anthropic.NotFoundError) as missing:
            await ask_it.messages.create(**ask(one, model="nope"))
        assert missing.value.type == "not_found_error"
        assert missing.value.request_id
        with pytest.raises(anthropic.BadRequestError, match="anthropic-version '1999-01-01' is not served"):
            await ask_it.messages.create(**ask(one), extra_headers={"anthropic-version": "1999-01-01"})
        with pytest.raises(anthropic.APIStatusError) as large:
            await ask_it.messages.create(**ask(one, system="x" * 20_000))
        assert (large.value.status_code, large.value.type) == (413, "request_too_large")
        one.house.workers.answers["w1"] = failing(Overloaded("full", retry_after_s=7))
        with pytest.raises(anthropic.RateLimitError) as full:
            await ask_it.messages.create(**ask(one))
        assert full.value.response.headers["retry-after"] == "7"
        one.house.workers.answers["w1"] = failing(EngineFailed("it died"))
        with pytest.raises(anthropic.InternalServerError) as died:
            await ask_it.messages.create(**ask(one))
        assert died.value.type == "api_error"


async def test_a_stream_that_fails_ends_with_an_error_event(door: OpenDoor, text_model: TextModel) -> None:
    async def breaks(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        for _ in range(3):
            yield GenerateOutput(token_ids=text_model.encode("word", add_special_tokens=False))
        raise EngineFailed("it died")

    one = await door(breaks)
    events = await raw_events(one)
    assert events[0][0] == "message_start"
    assert events[-1] == ("error", {"type": "error", "error": {"type": "api_error", "message": "it died"}})
    async with client(one) as ask_it:
        with pytest.raises(anthropic.APIStatusError, match="it died"):
            async for _ in await ask_it.messages.create(**ask(one, stream=True)):
                pass


async def test_a_client_that_leaves_ends_the_work(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "on and on " * 500))
    with pytest.raises(httpx.ReadTimeout):  # noqa: PT012 # leaving is what is tested
        async with one.client.stream("POST", "/v1/messages", json=ask(one, stream=True, max_tokens=1900)) as reply:
            async for _ in reply.aiter_bytes():
                raise httpx.ReadTimeout("enough")
    await one.idle()


async def test_keys_are_asked_for_in_anthropics_words(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "Hi."), keys=Keys(api_key="the right key"))
    async with client(one) as ask_it:
        with pytest.raises(anthropic.AuthenticationError) as wrong:
            await ask_it.messages.create(**ask(one))
        assert wrong.value.type == "authentication_error"
        said = await ask_it.with_options(api_key="the right key").messages.create(**ask(one))
    assert said.stop_reason == "end_turn"


async def test_counted_are_the_tokens_that_a_message_would_read(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "Hi."))
    asked: dict[str, Any] = {
        "model": "tiny",
        "messages": [*HI, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And?"}],
        "system": [{"type": "text", "text": "Be brief."}],
        "tools": [WEATHER],
    }
    thinking: Any = {"type": "adaptive"}
    async with client(one) as ask_it:
        for fields in (asked, {**asked, "thinking": thinking}):
            counted = await ask_it.messages.count_tokens(**fields)
            said = await ask_it.messages.create(**fields, max_tokens=50)
            assert counted.input_tokens == said.usage.input_tokens
            assert counted.input_tokens == len(one.house.workers.calls[-1][1].prompt_token_ids)
        with pytest.raises(anthropic.NotFoundError):
            await ask_it.messages.count_tokens(model="nope", messages=HI)
        with pytest.raises(anthropic.BadRequestError, match="messages must be a list of 1 to 100000 objects, not null"):
            await ask_it.messages.count_tokens(model="tiny", messages=None)  # type: ignore[arg-type]
