"""The official client against a running service on real engines: several answers of one prompt, and seeds."""

from typing import Any

import pytest
from openai import AsyncOpenAI
from tests.faults.stack import VLLM, a_stack
from tests.process.serving import Host

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

ASKED: Any = {
    "model": "demo",
    "messages": [{"role": "user", "content": "Tell me a story about an engine."}],
    "temperature": 1.5,
    "max_tokens": 40,
}


async def answers(client: AsyncOpenAI, *, stream: bool, **fields: Any) -> dict[int, str]:
    """Texts by index, thoughts included."""
    made: Any = await client.chat.completions.create(**ASKED, stream=stream, **fields)
    texts: dict[int, str] = {}
    if not stream:
        for choice in made.choices:
            message: Any = choice.message
            texts[choice.index] = (message.reasoning_content or "") + (message.content or "")
        return texts
    async for chunk in made:
        for choice in chunk.choices:
            delta: Any = choice.delta
            words = (getattr(delta, "reasoning_content", None) or "") + (delta.content or "")
            texts[choice.index] = texts.get(choice.index, "") + words
    return texts


async def test_a_seed_repeats_every_one_of_several_answers_and_another_seed_none(host: Host) -> None:
    async with (
        a_stack(host, prefill=1, decode=1, worker=VLLM) as stack,
        AsyncOpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0) as client,
    ):
        first = await answers(client, stream=False, n=2, seed=7)
        assert sorted(first) == [0, 1]
        assert all(first.values())
        assert first[0] != first[1], "each of several answers has a seed of its own"
        assert await answers(client, stream=False, n=2, seed=7) == first
        assert await answers(client, stream=True, n=2, seed=7) == first
        other = await answers(client, stream=False, n=2, seed=8)
        assert not set(other.values()) & set(first.values())
        alone = await client.completions.create(model="demo", prompt=["One", "Two"], n=2, seed=3, max_tokens=5)
        assert [choice.index for choice in alone.choices] == [0, 1, 2, 3]
        assert alone.usage is not None
        assert alone.usage.completion_tokens == 20
        assert stack.count("tandem_prefill_decisions_total", site="local") == 0
