"""Embeddings by the official client: every input where a worker is, in order, and refusals that say what is wrong."""

from collections.abc import AsyncGenerator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from tests.frontend.conftest import Door, OpenDoor
from tests.processor.fakes import saying

from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.processor.model import TextModel

URL = "/v1/embeddings"


async def never(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
    raise AssertionError("an embedding is no text")
    yield


def client(one: Door) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{one.url}/v1", api_key="none", max_retries=0)


async def test_every_input_has_its_embedding_in_order(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(never, never, endpoints=["embed"])
    texts = [f"text number {i}" + " more" * i for i in range(100)]
    tokens = [text_model.encode(text, add_special_tokens=True) for text in texts]
    async with client(one) as ask:
        for given in (texts, tokens):
            reply = await ask.embeddings.create(model="tiny", input=given, dimensions=7)
            assert [(e.index, e.embedding) for e in reply.data] == [
                (i, [float(ids[0]), float(len(ids)), 7.0]) for i, ids in enumerate(tokens)
            ]
            assert reply.usage.prompt_tokens == reply.usage.total_tokens == sum(map(len, tokens))
        alone = await ask.embeddings.create(model="tiny", input=texts[0], encoding_format="float")
    assert len(alone.data) == 1
    assert {worker for worker, _ in one.house.workers.embedded} == {"w1", "w2"}


async def test_a_lost_worker_does_not_lose_an_input(door: OpenDoor) -> None:
    one = await door(never, never, endpoints=["embed"])
    one.house.workers.lost.add("w1")
    async with client(one) as ask:
        reply = await ask.embeddings.create(model="tiny", input=["a", "b", "c"])
    assert len(reply.data) == 3
    one.house.workers.lost.add("w2")
    async with client(one) as ask:
        with pytest.raises(openai.InternalServerError, match="no worker embeds"):
            await ask.embeddings.create(model="tiny", input=["a", "b", "c"])


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, "input", "is missing"),
    ({"input": []}, "input", "not a list of 0"),
    ({"input": ["a", 1]}, "input", "a text or a list of tokens"),
    ({"input": [""]}, "input", "none empty"),
    ({"input": [99_999]}, "input", "outside the vocabulary"),
    ({"input": "long " * 3000}, "input", "the model takes 2048"),
    ({"input": "a", "dimensions": 0}, "dimensions", "dimensions must be an integer from 1 to 65536, not 0"),
    ({"input": "a", "encoding_format": "hex"}, "encoding_format", 'must be "base64" or "float", not "hex"'),
    ({"input": "a", "truncate_prompt_tokens": 5}, "truncate_prompt_tokens", "no prompt is cut"),
]


async def test_what_cannot_be_is_named(door: OpenDoor) -> None:
    one = await door(never, endpoints=["embed"])
    for body, param, words in BAD:
        reply = await one.client.post(URL, json=body)
        error = reply.json()["error"]
        assert (reply.status_code, error["param"], words in error["message"]) == (400, param, True), (body, error)


async def test_a_model_does_one_or_the_other(door: OpenDoor, text_model: TextModel) -> None:
    writes = await door(saying(text_model, "x"))
    reply = await writes.client.post(URL, json={"input": "a"})
    assert (reply.status_code, "does not embed" in reply.text, reply.json()["error"]["param"]) == (400, True, "model")
    embeds = await door(never, endpoints=["embed"])
    for path, body in (
        ("/v1/completions", {"prompt": "a"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}),
    ):
        reply = await embeds.client.post(path, json=body)
        assert (reply.status_code, "writes no text" in reply.text) == (400, True)
