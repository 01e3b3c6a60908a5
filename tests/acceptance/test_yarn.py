"""YaRN: `hf-overrides` reaches both engines, and prompts longer than the model's own limit are handed over."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.real.cluster import Answer, Nursery, RealCluster, a_real_cluster

from tandem.testing.cluster import a_request

OWN_LIMIT = 8192
YARN = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": OWN_LIMIT}
ENGINE: dict[str, Any] = {"block_size": 32, "kv_cache_memory_bytes": 96 << 20}

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stretched(nursery: Nursery) -> AsyncIterator[RealCluster]:
    async with a_real_cluster(
        nursery, max_model_len=2 * OWN_LIMIT, hf_overrides={"rope_scaling": YARN}, **ENGINE
    ) as cluster:
        yield cluster


async def the_answer(cluster: RealCluster, length: int) -> Answer:
    """The remote answer, which is the local one too."""
    request = a_request(prompt=[300 + i * 31 % 4000 for i in range(length)], max_tokens=8, logprobs=3, ignore_eos=True)
    remote = await cluster.answer(request)
    assert remote.site == "remote"
    assert await cluster.all_free()
    local = await cluster.local(request)
    assert remote.said() == local.said()
    assert remote.logprobs == local.logprobs
    return remote


async def test_a_prompt_beyond_the_models_own_limit_is_handed_over(stretched: RealCluster) -> None:
    assert stretched.decode.facts.max_model_len == 2 * OWN_LIMIT
    answer = await the_answer(stretched, OWN_LIMIT + 1000)
    assert answer.stage("kv_pull").detail["tokens"] == OWN_LIMIT + 1001
    assert len(answer.tokens) == 8


async def test_positions_are_scaled_for_short_prompts_too(stretched: RealCluster, nursery: Nursery) -> None:
    """So the override has reached the model, on both engines."""
    scaled = await the_answer(stretched, 500)
    async with a_real_cluster(nursery, max_model_len=OWN_LIMIT, **ENGINE) as plain:
        unscaled = await the_answer(plain, 500)
    assert scaled.logprobs != unscaled.logprobs


async def test_without_it_the_engine_refuses_in_its_own_words(nursery: Nursery) -> None:
    with pytest.raises(AssertionError, match=f"max_model_len.*{2 * OWN_LIMIT}"):
        async with a_real_cluster(nursery, max_model_len=2 * OWN_LIMIT, **ENGINE):
            pass
