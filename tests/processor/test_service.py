"""The processor over scripted workers: answers in both forms, fan-out, stop strings, thinking, calls."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
from tests.processor.fakes import TOOLS, House, MakeHouse, an_origin, chat, chunks, saying

from tandem.core.openai_in import CompletionCall, CompletionRequest
from tandem.core.openai_out import ChatChunk, Completion
from tandem.core.request import GenerateOutput, GenerateRequest, TokenLogprobs
from tandem.errors import ConfigError, ContextTooLong, ModelNotFound, RequestError, Unavailable
from tandem.processor.model import TextModel
from tandem.processor.service import ProcessorOptions


async def complete(house: House, **fields: Any) -> list[Completion]:
    request = msgspec.convert({"prompt": "One", **fields}, CompletionRequest)
    replies = [r async for r in house.processor.complete(CompletionCall(an_origin(), request))]
    assert all(isinstance(reply, Completion) for reply in replies)
    return [reply for reply in replies if isinstance(reply, Completion)]


def text_of(found: list[ChatChunk], index: int = 0, field: str = "content") -> str:
    deltas = [choice.delta for chunk in found for choice in chunk.choices if choice.index == index]
    return "".join(value for delta in deltas if isinstance(value := getattr(delta, field), str))


async def test_a_chat_in_one_piece(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(saying(text_model, "Hello there.", cached=3))
    reply = await chat(one)
    assert reply.id == "chatcmpl-r-1"
    assert reply.choices[0].message.content == "Hello there."
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == len(one.workers.calls[0][1].prompt_token_ids)
    assert reply.usage.prompt_tokens_details is not None
    assert reply.usage.prompt_tokens_details.cached_tokens == 3
    assert reply.usage.completion_tokens == len(text_model.encode("Hello there.", add_special_tokens=False)) + 1


@pytest.mark.parametrize("step", [1, 2, 7])
async def test_a_stream_says_role_text_and_reason_once(house: MakeHouse, text_model: TextModel, step: int) -> None:
    found = await chunks(await house(saying(text_model, "Zażółć 🙂 gęślą", step=step)))
    assert found[0].choices[0].delta.role == "assistant"
    assert text_of(found) == "Zażółć 🙂 gęślą"
    assert [c.choices[0].finish_reason for c in found if c.choices[0].finish_reason] == ["stop"]
    assert {c.id for c in found} == {"chatcmpl-r-1"}
    assert all(c.usage is msgspec.UNSET for c in found)


async def test_usage_comes_last_when_it_is_asked_for(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(saying(text_model, "Hello"))
    found = await chunks(one, stream_options={"include_usage": True})
    assert [c.usage for c in found[:-1]] == [None] * (len(found) - 1)
    assert (found[-1].choices, found[-1].usage is None) == ([], False)
    found = await chunks(one, stream_options={"include_usage": True, "continuous_usage_stats": True})
    counted = [c.usage.completion_tokens for c in found if isinstance(c.usage, msgspec.Struct)]
    assert len(counted) == len(found)
    assert counted == sorted(counted)


async def test_thinking_is_split_off(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(saying(text_model, "<think>\nLet me see.\n</think>\n\nYes."))
    message = (await chat(one)).choices[0].message
    assert (message.reasoning_content, message.reasoning, message.content) == ("Let me see.", "Let me see.", "Yes.")
    found = await chunks(one)
    assert text_of(found, field="reasoning_content") == text_of(found, field="reasoning") == "Let me see."
    assert text_of(found) == "Yes."
    reply = await chat(one)
    assert reply.usage is not None
    assert not isinstance(reply.usage.completion_tokens_details, msgspec.UnsetType)
    assert 0 < reply.usage.completion_tokens_details.reasoning_tokens < reply.usage.completion_tokens


async def test_the_guides_form_keeps_thinking_bares_the_id_and_has_no_usage(
    house: MakeHouse, text_model: TextModel
) -> None:
    one = await house(
        saying(text_model, "<think>\nOkay, the user sent"), options=ProcessorOptions(response_form="guide")
    )
    reply = msgspec.json.decode(msgspec.json.encode(await chat(one, max_tokens=5)))
    assert reply["choices"][0]["message"]["content"].startswith("<think>\nOkay")
    want = {"role", "content", "refusal", "tool_calls", "function_call", "audio"}
    assert set(reply["choices"][0]["message"]) == want
    assert {k: reply[k] for k in ("id", "usage", "service_tier", "system_fingerprint", "object")} == {
        "id": "r-1",
        "usage": None,
        "service_tier": None,
        "system_fingerprint": None,
        "object": "chat.completion",
    }
    assert reply["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(("include", "text"), [(False, "One"), (True, "One two")])
async def test_a_stop_string_ends_the_answer_and_the_workers_call(
    house: MakeHouse, text_model: TextModel, include: bool, text: str
) -> None:
    one = await house(saying(text_model, "One two three four five"))
    choice = (await chat(one, stop=[" two"], include_stop_str_in_output=include)).choices[0]
    assert (choice.message.content, choice.finish_reason, choice.stop_reason) == (text, "stop", " two")
    assert one.workers.open == 0
    assert [s.name for s in one.stories.get("r-1") or ()] == ["tokenized", "routed", "stopped", "finished"]


async def test_min_tokens_comes_before_stop_strings(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(saying(text_model, "a. b. c. d."))
    ids = text_model.encode("a. b.", add_special_tokens=False)
    assert (await chat(one, stop=".", min_tokens=len(ids))).choices[0].message.content == "a. b. c"


async def test_a_stop_token_is_named_and_not_shown(house: MakeHouse, text_model: TextModel) -> None:
    async def answer(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        yield GenerateOutput(token_ids=[*text_model.encode("hey", add_special_tokens=False)])
        yield GenerateOutput(token_ids=[3], finish_reason="stop", stop_token_id=3)

    one = await house(answer)
    choice = (await chat(one, stop_token_ids=[3], skip_special_tokens=False)).choices[0]
    assert (choice.message.content, choice.stop_reason) == ("hey", 3)


async def test_n_sequences_go_to_one_instance_with_seeds_of_their_own(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(saying(text_model, "same"), saying(text_model, "same"))
    reply = await chat(one, n=3, seed=7)
    assert [(c.index, c.message.content) for c in reply.choices] == [(i, "same") for i in range(3)]
    assert len({worker for worker, _ in one.workers.calls}) == 1
    assert sorted((r.request_id, r.sampling.seed) for _, r in one.workers.calls) == [
        ("r-1-0", 7),
        ("r-1-1", 8),
        ("r-1-2", 9),
    ]
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == len(one.workers.calls[0][1].prompt_token_ids)
    found = await chunks(one, n=2)
    assert [text_of(found, i) for i in (0, 1)] == ["same", "same"]
    assert sum(1 for c in found if c.choices[0].finish_reason) == 2


async def test_one_failing_sequence_fails_the_request_and_closes_the_others(
    house: MakeHouse, text_model: TextModel
) -> None:
    async def answer(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        yield GenerateOutput(token_ids=[100])
        if request.request_id.endswith("-1"):
            raise RequestError("this engine cannot")
        await asyncio.Event().wait()

    with pytest.raises(RequestError, match="this engine cannot"):
        await chat(await house(answer), n=3)


async def test_logprobs_have_tokens_bytes_and_alternatives(house: MakeHouse, text_model: TextModel) -> None:
    ids = text_model.encode("é!", add_special_tokens=False)

    async def answer(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        for i, token in enumerate(ids):
            found = TokenLogprobs(-0.5, 1, [(token, -0.5), (100, float("-inf"))])
            yield GenerateOutput([token], "length" if i == len(ids) - 1 else None, logprobs=[found])

    one = await house(answer)
    logprobs = (await chat(one, logprobs=True, top_logprobs=2)).choices[0].logprobs
    assert logprobs is not None
    assert b"".join(bytes(entry.bytes) for entry in logprobs.content).decode() == "é!"
    assert [alternative.logprob for alternative in logprobs.content[0].top_logprobs] == [-0.5, -9999.0]
    streamed = [c.choices[0].logprobs for c in await chunks(one, logprobs=True) if c.choices[0].logprobs]
    assert sum(len(part.content) for part in streamed) == len(ids)


class TestCompletions:
    async def test_a_text_in_one_piece_and_streamed(self, house: MakeHouse, text_model: TextModel) -> None:
        one = await house(saying(text_model, " two three"))
        (reply,) = await complete(one, max_tokens=50)
        assert (reply.id, reply.choices[0].text, reply.choices[0].finish_reason) == ("cmpl-r-1", " two three", "stop")
        parts = await complete(one, max_tokens=50, stream=True, stream_options={"include_usage": True})
        assert "".join(c.choices[0].text for c in parts[:-1]) == " two three"
        assert parts[-1].choices == []

    async def test_prompts_and_n_are_numbered_as_openai_does(self, house: MakeHouse, text_model: TextModel) -> None:
        one = await house(saying(text_model, "!"))
        (reply,) = await complete(one, prompt=["a", [100, 101]], n=2, max_tokens=5)
        assert [c.index for c in reply.choices] == [0, 1, 2, 3]
        assert [r.prompt_token_ids for _, r in one.workers.calls][2:] == [[100, 101]] * 2

    async def test_echo_comes_first_with_the_prompts_logprobs(self, house: MakeHouse, text_model: TextModel) -> None:
        async def answer(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
            assert (request.sampling.prompt_logprobs, request.sampling.max_tokens) == (1, 1)
            known: list[TokenLogprobs | None] = [TokenLogprobs(-1.0, 1, []) for _ in request.prompt_token_ids]
            yield GenerateOutput(
                [100], "length", logprobs=[TokenLogprobs(-2.0, 1, [])], prompt_logprobs=[None, *known[1:]]
            )

        one = await house(answer)
        (reply,) = await complete(one, prompt="One two", echo=True, logprobs=1, max_tokens=0)
        ids = one.workers.calls[0][1].prompt_token_ids
        choice = reply.choices[0]
        assert (choice.text, choice.finish_reason) == ("One two", "length")
        assert choice.logprobs is not None
        assert choice.logprobs.token_logprobs == [None, *[-1.0] * (len(ids) - 1)]
        assert choice.logprobs.text_offset[0] == 0
        (reply,) = await complete(one, prompt="One two", echo=True, logprobs=1, max_tokens=1)
        assert reply.choices[0].logprobs is not None
        assert len(reply.choices[0].logprobs.tokens) == len(ids) + 1

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"prompt": []}, "prompt"),
            ({"prompt": ""}, "prompt"),
            ({"prompt": [1, "a"]}, "prompt"),
            ({"prompt": [[1], []]}, "prompt"),
            ({"prompt": [99999999]}, "prompt"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"best_of": 3}, "best_of"),
            ({"prompt": ["a"] * 20, "n": 100}, "n"),
        ],
    )
    async def test_what_cannot_be_is_refused(self, house: MakeHouse, fields: dict[str, Any], param: str) -> None:
        with pytest.raises(RequestError) as raised:
            await complete(await house(a_worker_that_is_not_called), **fields)
        assert raised.value.param == param


async def a_worker_that_is_not_called(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
    raise AssertionError("it was called")
    yield


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "["}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": TOOLS * 2}, "tools[1].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
            "tools[0].function.parameters.type",
        ),
        ({"tools": TOOLS, "tool_choice": "always"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "custom", "custom": {"name": "weather"}}}, "tool_choice"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [1]}}},
            "tool_choice",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"chat_template_kwargs": {"tokenize": True}}, "chat_template_kwargs.tokenize"),
        ({"chat_template_kwargs": {"chat_template": "{{ 1 }}"}}, "chat_template_kwargs.chat_template"),
        ({"chat_template_kwargs": {"raise_exception": 1}}, "chat_template_kwargs.raise_exception"),
        ({"chat_template_kwargs": {"enable_thinking": "no"}}, "chat_template_kwargs.enable_thinking"),
        ({"continue_final_message": True}, "continue_final_message"),
    ],
)
async def test_impossible_chats_are_refused_with_the_field(
    house: MakeHouse, fields: dict[str, Any], param: str
) -> None:
    one = await house(a_worker_that_is_not_called)
    with pytest.raises(RequestError) as raised:
        await chat(one, **fields)
    assert raised.value.param == param


async def test_too_long_a_prompt_is_refused_with_the_numbers(house: MakeHouse) -> None:
    one = await house(a_worker_that_is_not_called, max_model_len=8)
    with pytest.raises(ContextTooLong, match=r"the prompt has \d+ tokens; the model takes 8"):
        await chat(one)
    one = await house(a_worker_that_is_not_called, max_model_len=64)
    with pytest.raises(ContextTooLong, match=r"max_completion_tokens asks for 60 more; the model takes 64 together"):
        await chat(one, max_completion_tokens=60)


async def test_without_a_limit_the_answer_may_fill_the_context(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(saying(text_model, "x"), max_model_len=100)
    await chat(one)
    request = one.workers.calls[0][1]
    assert request.sampling.max_tokens == 100 - request.prompt_tokens
    one = await house(saying(text_model, "x"), options=ProcessorOptions(default_max_tokens=5))
    await chat(one)
    assert one.workers.calls[0][1].sampling.max_tokens == 5


async def test_the_template_hears_about_thinking(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(saying(text_model, "x"))
    for fields in ({"reasoning_effort": "none"}, {"chat_template_kwargs": {"enable_thinking": False}}):
        await chat(one, **fields)
    prompts = [text_model.decode(request.prompt_token_ids) for _, request in one.workers.calls]
    assert all(prompt.endswith("<think>\n\n</think>\n\n") for prompt in prompts)


def test_a_parser_that_is_not_there_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"reasoning_parser 'r1' is not there; choose from auto, .*qwen3, none"):
        ProcessorOptions(reasoning_parser="r1")


class TestModels:
    async def test_names_come_from_the_cards_or_from_the_setting(self, house: MakeHouse, text_model: TextModel) -> None:
        one = await house(saying(text_model, "x"))
        assert [(m.id, m.max_model_len) for m in one.processor.models()] == [("tiny", 2048)]
        assert (await chat(one, model="tiny")).model == "tiny"
        with pytest.raises(ModelNotFound, match="'other' does not exist; GET /v1/models lists those that do"):
            await chat(one, model="other")
        named = await house(saying(text_model, "x"), served_model_name="qwen")
        assert (await chat(named, model="qwen")).model == "qwen"
        with pytest.raises(ModelNotFound):
            await chat(named, model="tiny")

    async def test_before_any_worker_came_it_is_unavailable_and_says_why(self, house: MakeHouse) -> None:
        one = await house()
        with pytest.raises(Unavailable, match=r"0 of 1 decode workers \(VllmWorker\) are there"):
            await chat(one)
        assert one.processor.not_ready() == "0 of 1 decode workers (VllmWorker) are there"

    async def test_a_model_whose_workers_are_gone_is_unavailable_not_unknown(
        self, house: MakeHouse, text_model: TextModel
    ) -> None:
        one = await house(saying(text_model, "x"))
        one.view.remove("w1")
        with pytest.raises(Unavailable, match="no decode worker serves tiny"):
            await chat(one, model="tiny")
