"""What vLLM's own clients ask for beside OpenAI's fields: tokens, a prompt's log probabilities, bounds of a thought."""

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
from tests.processor.fakes import Answer, House, MakeHouse, an_origin, chat, chunks, saying

from tandem.core.openai_in import CompletionCall, CompletionRequest
from tandem.core.openai_out import Completion
from tandem.core.request import GenerateOutput, GenerateRequest, TokenLogprobs
from tandem.errors import RequestError
from tandem.processor.model import TextModel
from tandem.processor.service import ProcessorOptions

THOUGHT = "<think>\nLet me see.\n</think>\n\n"
UMLAUT = "gęślą 🙂."
"""Characters of several tokens: some tokens add no text."""


def plain(reply: Any) -> Any:
    """As it goes to the client."""
    return msgspec.json.decode(msgspec.json.encode(reply))


async def complete(house: House, **fields: Any) -> list[Any]:
    request = msgspec.convert({"prompt": "One", **fields}, CompletionRequest)
    replies = [r async for r in house.processor.complete(CompletionCall(an_origin(), request))]
    assert all(isinstance(reply, Completion) for reply in replies)
    return [plain(reply) for reply in replies]


def ids_of(model: TextModel, text: str) -> list[int]:
    return [*model.encode(text, add_special_tokens=False), 2]


@pytest.mark.parametrize("step", [1, 3])
async def test_a_chat_tells_every_token_in_one_piece_and_in_a_stream(
    house: MakeHouse, text_model: TextModel, step: int
) -> None:
    said = THOUGHT + UMLAUT
    one = await house(saying(text_model, said, step=step))
    reply = plain(await chat(one, return_token_ids=True))
    assert reply["prompt_token_ids"] == one.workers.calls[0][1].prompt_token_ids
    assert reply["choices"][0]["token_ids"] == ids_of(text_model, said)
    assert reply["choices"][0]["message"]["content"] == UMLAUT
    told = [plain(chunk) for chunk in await chunks(one, return_token_ids=True)]
    assert [chunk.get("prompt_token_ids") for chunk in told] == [reply["prompt_token_ids"], *[None] * (len(told) - 1)]
    tokens = [token for chunk in told for choice in chunk["choices"] for token in choice.get("token_ids", [])]
    assert tokens == ids_of(text_model, said)
    content = [choice["delta"].get("content", "") for chunk in told for choice in chunk["choices"]]
    assert "".join(content) == UMLAUT


async def test_tokens_are_told_only_to_who_asks(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(saying(text_model, "Yes."))
    reply = plain(await chat(one))
    assert not {"prompt_token_ids", "prompt_logprobs"} & reply.keys()
    assert "token_ids" not in reply["choices"][0]
    (answer,) = await complete(one)
    assert not {"prompt_token_ids", "prompt_logprobs", "token_ids"} & answer["choices"][0].keys()


async def test_a_completion_tells_tokens_per_choice(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(saying(text_model, UMLAUT))
    (answer,) = await complete(one, prompt=["One", "Two"], return_token_ids=True)
    prompts = [request.prompt_token_ids for _, request in one.workers.calls]
    assert [choice["prompt_token_ids"] for choice in answer["choices"]] == prompts
    assert [choice["token_ids"] for choice in answer["choices"]] == [ids_of(text_model, UMLAUT)] * 2
    events = await complete(one, return_token_ids=True, stream=True)
    choices = [choice for event in events for choice in event["choices"]]
    assert [token for choice in choices for token in choice["token_ids"]] == ids_of(text_model, UMLAUT)
    assert ["prompt_token_ids" in choice for choice in choices] == [True] + [False] * (len(choices) - 1)


def with_logprobs(model: TextModel) -> Answer:
    """A worker that is as sure of everything, and says so where it is asked."""

    async def answer(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        (yes,) = model.encode("a", add_special_tokens=False)
        wanted = request.sampling.prompt_logprobs
        rest = [TokenLogprobs(-2.0, 9, [(yes, -0.5)][:wanted]) for _ in request.prompt_token_ids[1:]]
        yield GenerateOutput(
            token_ids=[yes],
            finish_reason="length",
            logprobs=None if request.sampling.logprobs is None else [TokenLogprobs(-0.5, 1, [(yes, -0.5)])],
            prompt_logprobs=None if wanted is None else [None, *rest],
        )

    return answer


async def test_a_prompts_log_probabilities_are_told_as_vllm_tells_them(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(with_logprobs(text_model))
    (yes,) = text_model.encode("a", add_special_tokens=False)
    about = plain(await chat(one, prompt_logprobs=1))["prompt_logprobs"]
    prompt = one.workers.calls[0][1].prompt_token_ids
    assert len(about) == len(prompt)
    assert about[0] is None
    assert about[1][str(yes)] == {"logprob": -0.5, "rank": 1, "decoded_token": "a"}
    assert about[1][str(prompt[1])]["rank"] == 9
    (answer,) = await complete(one, prompt_logprobs=0)
    per_choice = answer["choices"][0]["prompt_logprobs"]
    assert [len(position) for position in per_choice[1:]] == [1] * (len(per_choice) - 1)
    for ask in (chat(one, prompt_logprobs=1, stream=True), complete(one, prompt_logprobs=1, stream=True)):
        with pytest.raises(RequestError) as refused:
            await ask
        assert refused.value.param == "prompt_logprobs"


async def test_log_probabilities_name_tokens_by_number_where_asked(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(with_logprobs(text_model))
    (yes,) = text_model.encode("a", add_special_tokens=False)
    reply = plain(await chat(one, logprobs=True, top_logprobs=1, return_tokens_as_token_ids=True))
    (entry,) = reply["choices"][0]["logprobs"]["content"]
    assert (entry["token"], entry["top_logprobs"][0]["token"], entry["bytes"]) == (*[f"token_id:{yes}"] * 2, [97])
    (answer,) = await complete(one, logprobs=1, return_tokens_as_token_ids=True)
    assert answer["choices"][0]["logprobs"]["tokens"] == [f"token_id:{yes}"]
    assert answer["choices"][0]["logprobs"]["top_logprobs"] == [{f"token_id:{yes}": -0.5}]


async def test_a_thought_may_be_left_out_and_is_counted_all_the_same(house: MakeHouse, text_model: TextModel) -> None:
    one = await house(saying(text_model, f"{THOUGHT}Yes."))
    reply = plain(await chat(one, include_reasoning=False))
    message = reply["choices"][0]["message"]
    assert (message["content"], message.keys() & {"reasoning", "reasoning_content"}) == ("Yes.", set())
    assert reply["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0
    told = [plain(chunk)["choices"][0]["delta"] for chunk in await chunks(one, include_reasoning=False)]
    assert not [delta for delta in told if delta.keys() & {"reasoning", "reasoning_content"}]
    assert "".join(delta.get("content", "") for delta in told) == "Yes."


# ── how long a thought may be ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"thinking_token_budget": 50}, 50),
        ({"thinking_token_budget": 0}, 0),
        ({"thinking_token_budget": -1}, None),
        ({"thinking_budget": 70}, 70),
        ({"thinking_token_budget": 50, "thinking_budget": 70}, 50),
    ],
)
async def test_the_engine_is_told_the_longest_thought(
    house: MakeHouse, text_model: TextModel, fields: dict[str, Any], limit: int | None
) -> None:
    one = await house(saying(text_model, "Yes."))
    await chat(one, **fields)
    assert one.workers.calls[0][1].sampling.max_thinking_tokens == limit


async def test_thoughts_that_end_with_no_token_of_their_own_cannot_be_limited(
    house: MakeHouse, text_model: TextModel
) -> None:
    harmony = ProcessorOptions(reasoning_parser="harmony")
    one = await house(saying(text_model, "Yes."), options=harmony)
    with pytest.raises(RequestError) as refused:
        await chat(one, thinking_token_budget=50)
    assert refused.value.param == "thinking_token_budget"
    await chat(one, thinking_token_budget=50, fit_max_tokens=True)
    assert one.workers.calls[0][1].sampling.max_thinking_tokens is None
    thoughtless = await house(saying(text_model, "Yes."), options=ProcessorOptions(reasoning_parser="none"))
    await chat(thoughtless, thinking_token_budget=50)
    assert thoughtless.workers.calls[0][1].sampling.max_thinking_tokens is None
