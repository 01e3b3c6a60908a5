"""A lost decode worker costs time, never tokens: the request goes on elsewhere, within its deadline."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.processor.fakes import Answer, House, a_card, a_house, an_origin, saying

from tandem.core.openai_in import ChatCall, ChatRequest, Origin
from tandem.core.openai_out import ChatChunk, ChatCompletion
from tandem.core.request import GenerateOutput, GenerateRequest, Grammar, Sampling
from tandem.core.routing import RouteChoice
from tandem.errors import EngineFailed, InstanceLost, KvTransferFailed, Overloaded, RequestError, ServingError
from tandem.graph.far import FarRouter
from tandem.observe import metrics
from tandem.processor.generate import Generator
from tandem.processor.model import TextModel
from tandem.processor.rules import about_field, addressed, after_loss, continued, replay_note
from tandem.processor.service import Processor

TEXT = "One two three four five six seven."


@pytest.fixture(autouse=True)
def _fresh() -> None:
    metrics.reset()


@pytest.fixture
async def closing() -> AsyncIterator[list[House]]:
    made: list[House] = []
    yield made
    for house in made:
        assert house.workers.open == 0
        house.following.cancel()
        await asyncio.gather(house.following, return_exceptions=True)


def losing(model: TextModel, after: int, error: ServingError | None) -> Answer:
    """A worker that is lost after some tokens of TEXT; with no error, its stream just stops."""

    async def answer(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        for token in model.encode(TEXT, add_special_tokens=False)[request.replayed_tokens :][:after]:
            yield GenerateOutput(token_ids=[token], cached_tokens=0)
        if error is not None:
            raise error

    return answer


def a_chat(origin: Origin | None = None, **fields: object) -> ChatCall:
    request = msgspec.convert({"messages": [{"role": "user", "content": "Count"}], **fields}, ChatRequest)
    return ChatCall(origin or an_origin(), request)


async def text(house: House, call: ChatCall) -> str | None:
    (reply,) = [reply async for reply in house.processor.chat(call)]
    assert isinstance(reply, ChatCompletion)
    return reply.choices[0].message.content


@pytest.mark.parametrize("after", [0, 1, 5])
@pytest.mark.parametrize("error", [InstanceLost("gone"), EngineFailed("died"), None])
async def test_the_answer_is_the_same_as_without_the_loss(
    text_model: TextModel, closing: list[House], after: int, error: ServingError | None
) -> None:
    house = await a_house(text_model, losing(text_model, after, error), saying(text_model, TEXT))
    closing.append(house)
    assert await text(house, a_chat(temperature=0, max_tokens=100)) == TEXT
    (first, asked), (second, again) = house.workers.calls
    assert (first, second) == ("w1", "w2")
    assert again.request_id == "r-1.2"
    assert again.replayed_tokens == after
    assert (
        again.prompt_token_ids[len(asked.prompt_token_ids) :]
        == text_model.encode(TEXT, add_special_tokens=False)[:after]
    )
    assert again.sampling.max_tokens == 100 - after
    told = [(s.name, s.detail.get("replayed_tokens")) for s in house.stories.get("r-1") or ()]
    assert ("rerouted", after) in told
    assert metrics.RECOVERIES.value("replayed" if after else "rerouted") == 1


async def test_a_stream_goes_on_without_a_seam(text_model: TextModel, closing: list[House]) -> None:
    house = await a_house(
        text_model, losing(text_model, 2, InstanceLost("gone")), losing(text_model, 3, None), saying(text_model, TEXT)
    )
    closing.append(house)
    replies = [reply async for reply in house.processor.chat(a_chat(stream=True))]
    found = [c.choices[0].delta for c in replies if isinstance(c, ChatChunk)]
    assert "".join(d.content for d in found if isinstance(d.content, str)) == TEXT
    assert sum(1 for d in found if d.role == "assistant") == 1
    assert [request.replayed_tokens for _, request in house.workers.calls] == [0, 2, 5]


async def test_a_full_instance_is_left_for_another_and_only_a_full_house_is_an_error(
    text_model: TextModel, closing: list[House]
) -> None:
    full = losing(text_model, 0, Overloaded("full", retry_after_s=3))
    house = await a_house(text_model, full, saying(text_model, TEXT))
    closing.append(house)
    assert await text(house, a_chat()) == TEXT
    house = await a_house(text_model, full, full, reroute_wait_s=60)
    closing.append(house)
    with pytest.raises(Overloaded, match="full"):
        await text(house, a_chat())


async def test_with_nobody_left_it_waits_for_a_new_worker(text_model: TextModel, closing: list[House]) -> None:
    house = await a_house(text_model, losing(text_model, 3, InstanceLost("gone")), reroute_wait_s=5)
    closing.append(house)
    asking = asyncio.create_task(text(house, a_chat()))
    while not house.stories.get("r-1") or "instance_lost" not in [s.name for s in house.stories.get("r-1") or ()]:
        await asyncio.sleep(0.001)
    house.workers.default = saying(text_model, TEXT)
    house.view.add(a_card("w9"))
    assert await asking == TEXT


async def test_nobody_comes_back(text_model: TextModel, closing: list[House]) -> None:
    house = await a_house(text_model, losing(text_model, 0, EngineFailed("died")), reroute_wait_s=0.01)
    closing.append(house)
    with pytest.raises(EngineFailed):
        await text(house, a_chat())
    assert [s.name for s in house.stories.get("r-1") or ()][-1] == "failed"


async def test_it_gives_up_after_max_reroutes(text_model: TextModel, closing: list[House]) -> None:
    lost = [losing(text_model, 1, InstanceLost("gone")) for _ in range(5)]
    house = await a_house(text_model, *lost, max_reroutes=2)
    closing.append(house)
    with pytest.raises(InstanceLost):
        await text(house, a_chat())
    assert len(house.workers.calls) == 3


async def test_the_deadline_rules(text_model: TextModel, closing: list[House]) -> None:
    house = await a_house(text_model, losing(text_model, 0, EngineFailed("died")), reroute_wait_s=60)
    closing.append(house)
    origin = Origin(request_id="r-1", accepted_at=time.time(), deadline=time.time() + 0.05)
    with pytest.raises(EngineFailed):
        await text(house, a_chat(origin))


async def test_a_worker_lost_after_its_last_token_leaves_a_finished_answer(
    text_model: TextModel, closing: list[House]
) -> None:
    house = await a_house(text_model, losing(text_model, 4, InstanceLost("gone")), saying(text_model, TEXT))
    closing.append(house)
    (reply,) = [reply async for reply in house.processor.chat(a_chat(max_tokens=4))]
    assert isinstance(reply, ChatCompletion)
    assert reply.choices[0].finish_reason == "length"
    assert len(house.workers.calls) == 1


async def test_closing_the_answer_cancels_the_call(text_model: TextModel, closing: list[House]) -> None:
    house = await a_house(text_model, saying(text_model, TEXT))
    closing.append(house)
    stream = house.processor.chat(a_chat(stream=True, n=2))
    await anext(stream)
    assert house.workers.open == 2
    await stream.aclose()
    assert house.workers.open == 0
    assert [s.name for s in house.stories.get("r-1") or ()][-1] == "cancelled"


@pytest.mark.parametrize("trouble", ["away", "asleep", "confused"])
async def test_a_router_in_trouble_costs_the_best_choice_only(
    text_model: TextModel, closing: list[House], trouble: str
) -> None:
    house = await a_house(text_model, saying(text_model, TEXT))
    closing.append(house)

    class Client:
        """Of a router in another process, to which a line stands."""

        def instance_ids(self) -> list[str]:
            return ["router"]

        async def direct(self, request: Any, instance_id: str, endpoint: str) -> AsyncGenerator[Any, None]:
            if endpoint != "choose":
                yield True
                if endpoint == "accompany":
                    await asyncio.Event().wait()
                return
            if trouble == "away":
                raise InstanceLost("the router is gone")
            if trouble == "asleep":
                await asyncio.Event().wait()
            yield RouteChoice(instance_id="somebody", rule="mine")

    router = FarRouter(Client(), "front", timeout_s=0.01)
    line = asyncio.create_task(router.follow())
    await asyncio.sleep(0)
    assert router._at == "router"
    generator = Generator(house.models, router, house.workers.call, house.stories)
    house.processor = Processor(house.models, generator, house.stories)
    assert await text(house, a_chat()) == TEXT
    assert sum(child.value for child in metrics.FALLBACKS.children.values()) == 1
    line.cancel()
    await asyncio.gather(line, return_exceptions=True)


@pytest.mark.parametrize(
    ("error", "tokens", "grammar", "reroutes", "late", "what"),
    [
        (InstanceLost(""), 0, False, 0, False, "restart"),
        (InstanceLost(""), 5, False, 0, False, "continue"),
        (InstanceLost(""), 0, True, 0, False, "restart"),
        (InstanceLost(""), 5, True, 0, False, "raise"),
        (KvTransferFailed(""), 5, False, 2, False, "continue"),
        (EngineFailed(""), 5, False, 3, False, "raise"),
        (InstanceLost(""), 0, False, 0, True, "raise"),
        (Overloaded(""), 0, False, 0, False, "restart"),
        (Overloaded(""), 5, False, 0, False, "raise"),
        (RequestError(""), 0, False, 0, False, "raise"),
        (ServingError(""), 0, False, 0, False, "raise"),
    ],
)
def test_what_a_loss_means(
    error: ServingError, tokens: int, grammar: bool, reroutes: int, late: bool, what: str
) -> None:
    found = after_loss(error, output_tokens=tokens, has_grammar=grammar, reroutes=reroutes, max_reroutes=3, late=late)
    assert found == what


def test_what_is_asked_of_the_next_instance() -> None:
    sampling = Sampling(max_tokens=10, min_tokens=4, prompt_logprobs=1, grammar=Grammar(kind="json_object"))
    request = GenerateRequest(request_id="r", model="m", prompt_token_ids=[1, 2], sampling=sampling, priority=3)
    again = continued(request, [7, 8, 9], "r.2")
    assert (again.prompt_token_ids, again.replayed_tokens) == ([1, 2, 7, 8, 9], 3)
    assert (again.sampling.max_tokens, again.sampling.min_tokens, again.sampling.prompt_logprobs) == (7, 1, None)
    assert again.priority == 3
    assert continued(request, [], "r.2") == msgspec.structs.replace(request, request_id="r.2")


def test_a_request_carries_what_the_latest_choice_named_and_nothing_of_an_earlier_one() -> None:
    request = GenerateRequest(request_id="r", model="m", prompt_token_ids=[1], sampling=Sampling(max_tokens=1))
    first = addressed(request, RouteChoice(instance_id="a", rule="kv", dp_rank=1, prefill_hint="p1"))
    assert (first.dp_rank, first.prefill_hint) == (1, "p1")
    assert addressed(first, RouteChoice(instance_id="b", rule="kv")) == request


@pytest.mark.parametrize(
    ("sampling", "note"),
    [
        (Sampling(max_tokens=1, temperature=0), ""),
        (Sampling(max_tokens=1), "random state starts anew"),
        (Sampling(max_tokens=1, seed=1), "seed starts anew"),
        (
            Sampling(max_tokens=1, temperature=0, presence_penalty=1),
            "presence and frequency penalties count from here",
        ),
    ],
)
def test_what_may_differ_is_noted(sampling: Sampling, note: str) -> None:
    assert replay_note(GenerateRequest(request_id="r", model="m", prompt_token_ids=[1], sampling=sampling)) == note


@pytest.mark.parametrize(
    ("error", "kind", "param"),
    [
        (RequestError("Failed to compile the JSON Schema"), "json_schema", "response_format.json_schema.schema"),
        (RequestError("no such grammar"), "json_schema", "response_format.json_schema.schema"),
        (RequestError("too many stop tokens"), "json_schema", None),
        (RequestError("the schema is wrong", param="tools"), "json_schema", "tools"),
        (RequestError("the grammar is wrong"), "json_object", None),
        (EngineFailed("the grammar broke"), "json_schema", None),
    ],
)
def test_a_schema_that_an_engine_refuses_is_named(error: ServingError, kind: Any, param: str | None) -> None:
    field = "response_format.json_schema.schema" if kind == "json_schema" else ""
    told = about_field(error, Grammar(kind=kind, value="{}", field=field))
    assert (type(told), told.param) == (type(error), param)
    assert error.message in told.message


async def test_a_schema_that_a_worker_refuses_is_named_to_the_client(text_model: TextModel) -> None:
    async def refuses(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        raise RequestError("The provided JSON schema is not valid")
        yield

    house = await a_house(text_model, refuses)
    body = {
        "messages": [{"role": "user", "content": "Hi"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}},
    }
    try:
        with pytest.raises(RequestError) as caught:
            async for _ in house.processor.chat(ChatCall(an_origin(), msgspec.convert(body, ChatRequest))):
                pass
        assert caught.value.param == "response_format.json_schema.schema"
    finally:
        house.following.cancel()
        await asyncio.gather(house.following, return_exceptions=True)
