"""The official client against a running service on real engines: several answers of one prompt, and seeds."""

from typing import Any

import pytest
from openai import AsyncOpenAI
from tests.faults.stack import VLLM, a_stack, prompts
from tests.process.serving import Host

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

ASKED: Any = {"model": "demo", "prompt": prompts(1)[0], "temperature": 1.0, "max_tokens": 20}
"""Tokens without sense: the model is sure of nothing that follows."""


async def answers(client: AsyncOpenAI, **fields: Any) -> dict[int, str]:
    """Texts by index."""
    made: Any = await client.completions.create(**ASKED, **fields)
    if not fields.get("stream"):
        return {choice.index: choice.text for choice in made.choices}
    texts: dict[int, str] = {}
    async for chunk in made:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    return texts


async def test_a_seed_repeats_every_one_of_several_answers_and_another_seed_none(host: Host) -> None:
    async with (
        a_stack(host, prefill=1, decode=1, worker=VLLM) as stack,
        AsyncOpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0) as client,
    ):
        first = await answers(client, n=2, seed=7)
        assert sorted(first) == [0, 1]
        assert first[0] != first[1], "each of several answers has a seed of its own"
        assert await answers(client, n=2, seed=7) == first
        assert await answers(client, n=2, seed=7, stream=True) == first
        other = await answers(client, n=2, seed=8)
        assert other[0] != first[0]
        assert other[1] != first[1]
        chat = await client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": "Hello"}], n=2, seed=3, max_tokens=5
        )
        assert [choice.index for choice in chat.choices] == [0, 1]
        assert chat.usage is not None
        assert chat.usage.completion_tokens == 10
        assert stack.count("tandem_prefill_decisions_total", site="local") == 0
