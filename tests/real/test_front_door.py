"""The official client against real engines, every prompt prefilled remotely: forms are kept, not only asked for."""

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Literal

import msgspec
import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from tests.real.cluster import MODEL, Nursery, RealCluster, a_real_cluster

from tandem.frontend.app import FrontDoor
from tandem.frontend.server import DoorServer
from tandem.observe.stories import Stories
from tandem.processor.generate import Generator
from tandem.processor.model import TextModel
from tandem.processor.service import Processor
from tandem.processor.serving import ServedModels
from tandem.router.registry import rule_named
from tandem.router.service import RuleRouter
from tandem.testing.cluster import COMPONENTS

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

HI: Any = [{"role": "user", "content": "Who are you?"}]
SCHEMA: Any = {
    "type": "object",
    "properties": {
        "ok": {"type": "boolean"},
        "tone": {"enum": ["flat", "sharp"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 99},
    },
    "required": ["ok", "tone", "count"],
    "additionalProperties": False,
}


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What `SCHEMA` allows."""

    ok: bool
    tone: Literal["flat", "sharp"]
    count: int


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(nursery: Nursery) -> AsyncIterator[RealCluster]:
    async with a_real_cluster(nursery, block_size=32, max_model_len=1024, kv_cache_memory_bytes=32 << 20) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ask(cluster: RealCluster) -> AsyncIterator[AsyncOpenAI]:
    """A client of a front door over the cluster."""
    stories = Stories()
    component = COMPONENTS["decode"]
    models = ServedModels(cluster.client.instances(component), component=component, served_model_name="tiny")
    await models.refresh([cluster.decode.card])
    generator = Generator(models, RuleRouter(rule_named("round-robin")), cluster.client.call, stories)
    server = DoorServer(FrontDoor(Processor(models, generator, stories), stories), host="127.0.0.1", port=0)
    await server.open()
    client = AsyncOpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0, timeout=60)
    async with aclosing(server), client:
        yield client


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def everything_went_remote(cluster: RealCluster) -> AsyncIterator[None]:
    before = await cluster.decode.figures()
    yield
    after = await cluster.decode.figures()
    assert (after.fallbacks, after.failures) == (before.fallbacks, before.failures)
    assert await cluster.all_free()


async def test_a_schema_is_kept_by_every_choice(ask: AsyncOpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    model = TextModel.load(MODEL)
    space = [token for token in range(model.vocab_size) if model.token_bytes(token).isspace()]
    reply = await ask.chat.completions.create(
        model="tiny",
        messages=HI,
        response_format=form,
        n=3,
        temperature=1,
        max_tokens=300,
        reasoning_effort="none",
        logit_bias={str(token): -100 for token in space},  # so small a model would write blanks for ever
    )
    assert [choice.finish_reason for choice in reply.choices] == ["stop"] * 3
    for choice in reply.choices:
        msgspec.json.decode(choice.message.content or "", type=Asked)


FORMS: list[tuple[dict[str, Any], str]] = [
    ({"structured_outputs": {"regex": "[a-f]{3}-[0-9]{2}"}}, "[a-f]{3}-[0-9]{2}"),
    ({"guided_regex": "[a-f]{3}-[0-9]{2}"}, "[a-f]{3}-[0-9]{2}"),
    ({"guided_choice": ["left", "right", "straight on"]}, "left|right|straight on"),
    ({"guided_grammar": 'root ::= ("tick" | "tock") " " ("tick" | "tock")'}, "(tick|tock) (tick|tock)"),
    ({"guided_json": {"enum": ["one", 2]}}, '"one"|2'),
    (
        {"response_format": {"type": "structural_tag", "format": {"type": "const_string", "value": "so it is"}}},
        "so it is",
    ),
]


@pytest.mark.parametrize(("form", "pattern"), FORMS)
async def test_every_other_form_is_kept_by_each_of_several_answers(
    ask: AsyncOpenAI, form: dict[str, Any], pattern: str
) -> None:
    reply = await ask.chat.completions.create(
        model="tiny", messages=HI, max_tokens=60, temperature=1, n=2, extra_body=form
    )
    assert [choice.finish_reason for choice in reply.choices] == ["stop", "stop"]
    for choice in reply.choices:
        assert re.fullmatch(pattern, choice.message.content or "")


async def test_a_form_begins_after_the_thought(ask: AsyncOpenAI) -> None:
    question: Any = [{"role": "user", "content": "What is 2 + 3? /think"}]
    for choice in ("five", "a lot"):
        reply = await ask.chat.completions.create(
            model="tiny",
            messages=question,
            temperature=0,
            max_tokens=300,
            extra_body={"guided_choice": [choice], "enable_thinking": True},
        )
        message = reply.choices[0].message
        assert message.content == choice
        assert message.model_dump()["reasoning"]
        reply = await ask.chat.completions.create(
            model="tiny", messages=question, reasoning_effort="none", extra_body={"guided_choice": [choice]}
        )
        assert (reply.choices[0].message.content, "reasoning" in reply.choices[0].message.model_dump()) == (
            choice,
            False,
        )


async def test_a_form_that_does_not_compile_names_its_field_and_leaves_the_engine_well(ask: AsyncOpenAI) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"guided_regex": "(a"}, "guided_regex"),
        ({"guided_grammar": "root ::= nothing"}, "guided_grammar"),
        ({"guided_json": {"type": "nothing"}}, "guided_json"),
        ({"structured_outputs": {"json": {"type": "number", "multipleOf": 7}}}, "structured_outputs.json"),
        ({"response_format": {"type": "structural_tag", "format": {"type": "nothing"}}}, "response_format"),
    ]
    for form, field in wrong:
        with pytest.raises(openai.BadRequestError) as refused:
            await ask.chat.completions.create(model="tiny", messages=HI, max_tokens=20, extra_body=form)
        assert refused.value.param == field, refused.value.message
    reply = await ask.chat.completions.create(model="tiny", messages=HI, max_tokens=4)
    assert reply.choices[0].finish_reason == "length"


async def test_a_prompt_is_echoed_with_its_log_probabilities(ask: AsyncOpenAI) -> None:
    prompt = "What is 你好 prefill?"
    reply = await ask.completions.create(
        model="tiny", prompt=prompt, echo=True, logprobs=2, max_tokens=4, temperature=0
    )
    choice = reply.choices[0]
    found = choice.logprobs
    assert found is not None
    assert found.tokens is not None
    assert found.token_logprobs is not None
    assert found.top_logprobs is not None
    assert found.text_offset is not None
    assert choice.text.startswith(prompt)
    count = reply.usage.prompt_tokens + 4 if reply.usage else 0
    assert [len(column) for column in (found.tokens, found.token_logprobs, found.top_logprobs, found.text_offset)] == [
        count
    ] * 4
    assert found.token_logprobs[0] is None
    assert all(value is not None and value <= 0 for value in found.token_logprobs[1:])
    for token, logprob, top in list(zip(found.tokens, found.token_logprobs, found.top_logprobs, strict=True))[-4:]:
        assert (max(top, key=lambda word: top[word]), top[token]) == (token, logprob)
    alone = await ask.completions.create(model="tiny", prompt=prompt, echo=True, logprobs=2, max_tokens=0)
    assert alone.choices[0].text == prompt
    only = alone.choices[0].logprobs
    assert only is not None
    assert only.tokens == found.tokens[: count - 4]


async def test_a_prompts_log_probabilities_are_those_of_its_tokens(ask: AsyncOpenAI) -> None:
    prompt: Any = {"model": "tiny", "prompt": "What is prefill?", "max_tokens": 1, "temperature": 0}
    asked: Any = {"prompt_logprobs": 2, "return_token_ids": True}
    choice = (await ask.completions.create(**prompt, extra_body=asked)).choices[0].model_dump()
    about, tokens = choice["prompt_logprobs"], choice["prompt_token_ids"]
    assert [position is None for position in about] == [True] + [False] * (len(tokens) - 1)
    echoed = await ask.completions.create(**prompt, echo=True, logprobs=2)
    found = echoed.choices[0].logprobs
    assert found is not None
    assert found.token_logprobs is not None
    assert [position[str(token)]["logprob"] for token, position in zip(tokens[1:], about[1:], strict=True)] == (
        pytest.approx(found.token_logprobs[1 : len(tokens)], abs=0.1)
    )
    assert all({entry["rank"] for entry in position.values()} >= {1, 2} for position in about[1:])


async def test_a_thought_ends_where_its_budget_does(ask: AsyncOpenAI) -> None:
    question: Any = {"model": "tiny", "messages": HI, "temperature": 0, "max_tokens": 400}
    free = await ask.chat.completions.create(**question)
    assert free.usage is not None
    assert free.usage.completion_tokens_details is not None
    usual = free.usage.completion_tokens_details.reasoning_tokens
    assert usual is not None
    assert usual > 12
    for budget in (8, 0):
        cut = await ask.chat.completions.create(**question, extra_body={"thinking_token_budget": budget})
        thought = str(cut.choices[0].message.model_dump().get("reasoning") or "")
        assert str(free.choices[0].message.model_dump()["reasoning"]).startswith(thought.strip())
        assert cut.usage is not None
        used = cut.usage.completion_tokens_details
        assert (used.reasoning_tokens or 0 if used else 0) <= budget + 2, "with its two marks"
        assert cut.choices[0].message.content, "the answer follows"
        assert cut.choices[0].finish_reason == "stop"


async def test_a_response_streams_what_it_would_say_in_one_piece(ask: AsyncOpenAI) -> None:
    whole = await ask.responses.create(model="tiny", input="Who are you?", temperature=0, max_output_tokens=200)
    async with ask.responses.stream(model="tiny", input="Who are you?", temperature=0, max_output_tokens=200) as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert whole.status == final.status == "completed"
    assert "".join(deltas) == final.output_text == whole.output_text
    assert whole.output_text
    assert [item.type for item in whole.output] == [item.type for item in final.output]


async def test_stop_strings_end_the_text_wherever_tokens_begin(ask: AsyncOpenAI) -> None:
    question: Any = {"model": "tiny", "messages": HI, "temperature": 0, "reasoning_effort": "none", "max_tokens": 100}
    text = (await ask.chat.completions.create(**question)).choices[0].message.content or ""
    assert len(text) > 12
    for start, length in ((3, 2), (4, 5), (len(text) // 2, 7)):
        stop = text[start : start + length]
        reply = (await ask.chat.completions.create(**question, stop=[stop])).choices[0]
        end = text.index(stop)
        assert (reply.message.content, reply.finish_reason) == (text[:end], "stop")
        kept = await ask.chat.completions.create(**question, stop=stop, extra_body={"include_stop_str_in_output": True})
        assert kept.choices[0].message.content == text[: end + len(stop)]


# ── tools ────────────────────────────────────────────────────────────────────────────────────────

TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {field: {"type": "string", "maxLength": 12}},
                "required": [field],
                "additionalProperties": False,
            },
        },
    }
    for name, description, field in (
        ("get_weather", "Weather of a city", "city"),
        ("get_time", "Time in a city", "city"),
    )
]
WEATHER: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]


async def test_a_model_calls_a_tool_that_fits_and_its_call_streams(ask: AsyncOpenAI) -> None:
    settings: Any = {"model": "tiny", "messages": WEATHER, "tools": TOOLS, "temperature": 0, "max_tokens": 200}
    whole = (await ask.chat.completions.create(**settings)).choices[0]
    assert whole.finish_reason == "tool_calls"
    assert whole.message.tool_calls is not None
    assert [call.function.name for call in whole.message.tool_calls] == ["get_weather"]
    assert msgspec.json.decode(whole.message.tool_calls[0].function.arguments) == {"city": "Oslo"}
    async with ask.chat.completions.stream(**settings) as stream:
        events = [event async for event in stream]
        streamed = (await stream.get_final_completion()).choices[0]
    assert streamed.message.tool_calls is not None
    assert [call.function.arguments for call in streamed.message.tool_calls] == [
        call.function.arguments for call in whole.message.tool_calls
    ]
    assert not streamed.message.content
    assert not whole.message.content
    assert sum(event.type == "tool_calls.function.arguments.delta" for event in events) > 1


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize(("choice", "finish"), [("required", "tool_calls"), ("get_time", "stop")])
async def test_a_call_that_must_be_is_made(ask: AsyncOpenAI, choice: str, finish: str, thinking: bool) -> None:
    named: Any = {"type": "function", "function": {"name": choice}}
    async with ask.chat.completions.stream(
        model="tiny",
        messages=HI,  # nothing that calls for a tool
        tools=TOOLS,
        tool_choice="required" if choice == "required" else named,
        parallel_tool_calls=False,
        temperature=0,
        max_tokens=400,
        extra_body={"chat_template_kwargs": {"enable_thinking": thinking}},
    ) as stream:
        async for _ in stream:
            pass
        made = (await stream.get_final_completion()).choices[0]
    assert made.finish_reason == finish
    assert not made.message.content
    assert made.message.tool_calls is not None
    (call,) = made.message.tool_calls
    assert call.function.name in ({"get_weather", "get_time"} if choice == "required" else {choice})
    assert set(msgspec.json.decode(call.function.arguments, type=dict[str, str])) == {"city"}


async def test_with_a_form_of_the_answer_a_tool_is_called_first_and_its_result_put_in_form(ask: AsyncOpenAI) -> None:
    form: Any = {
        "type": "json_schema",
        "json_schema": {
            "name": "sky",
            "schema": {
                "type": "object",
                "properties": {"sky": {"enum": ["snow", "sun"]}},
                "required": ["sky"],
                "additionalProperties": False,
            },
        },
    }
    settings: Any = {"model": "tiny", "tools": TOOLS, "response_format": form, "temperature": 0, "max_tokens": 300}
    asked = (await ask.chat.completions.create(messages=WEATHER, **settings)).choices[0]
    assert asked.finish_reason == "tool_calls"
    assert asked.message.tool_calls is not None
    (call,) = asked.message.tool_calls
    assert msgspec.json.decode(call.function.arguments) == {"city": "Oslo"}
    told = await ask.chat.completions.create(messages=HI, **settings)
    message = told.choices[0].message
    if message.tool_calls is None:  # the small model may call, whatever it is asked
        assert msgspec.json.decode(message.content or "")["sky"] in ("snow", "sun")


async def test_a_tools_schema_that_does_not_compile_is_refused_as_such(ask: AsyncOpenAI) -> None:
    wrong: Any = [
        {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "nothing"}}}}}
    ]
    with pytest.raises(openai.BadRequestError) as refused:
        await ask.chat.completions.create(model="tiny", messages=HI, tools=wrong, tool_choice="required")
    assert refused.value.param == "tools"
