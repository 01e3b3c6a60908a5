"""`kill -9` of a prefill worker that has a job: every answer is the one that nothing disturbed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.real.cluster import Answer, Nursery, RealCluster, a_real_cluster

from tandem.core.request import GenerateRequest
from tandem.settings import DisaggSettings
from tandem.testing.cluster import a_request

ENGINE: dict[str, Any] = {
    "block_size": 32,
    "max_model_len": 4096,
    "max_num_batched_tokens": 64,
    "kv_cache_memory_bytes": 64 << 20,
}
"""64 tokens at a time: a prompt of 4000 takes some sixty steps."""

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(nursery: Nursery) -> AsyncIterator[RealCluster]:
    async with a_real_cluster(nursery, **ENGINE) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def a_living_prefill_worker(cluster: RealCluster) -> AsyncIterator[None]:
    """Each test kills one, and the decode engine must come out of it with nothing held."""
    yield
    await cluster.let_all_go()
    assert await cluster.all_free()
    for node in [node for node in cluster.nodes if node.role == "prefill" and not node.alive()]:
        await cluster.leave(node)
    if not any(node.role == "prefill" for node in cluster.nodes):
        await cluster.join("prefill", DisaggSettings(), **ENGINE)


async def undisturbed(cluster: RealCluster, request: GenerateRequest) -> Answer:
    """What one engine answers; and the engines forget the prompt."""
    answer = await cluster.local(request)
    assert await cluster.all_free()
    return answer


def a_long_request() -> GenerateRequest:
    return a_request(prompt=[10 + i * 7 % 4000 for i in range(4000)], max_tokens=20, ignore_eos=True)


async def test_with_a_job_and_nobody_else_the_prompt_is_prefilled_here(cluster: RealCluster) -> None:
    request = a_long_request()
    expected = await undisturbed(cluster, request)
    answering = asyncio.create_task(cluster.answer(request))
    await cluster.prefill.until_computing()
    await cluster.prefill.kill()
    answer = await answering
    assert answer.said() == expected.said()
    assert answer.stage("recovered").detail["kind"] == "prefilled_here"
    assert not answer.first_token_from_prefill


async def test_with_a_job_and_another_at_hand_it_is_queued_once_more(cluster: RealCluster) -> None:
    request = a_long_request()
    expected = await undisturbed(cluster, request)
    await cluster.join("prefill", DisaggSettings(), **ENGINE)
    one, other = (node for node in cluster.nodes if node.role == "prefill")
    answering = asyncio.create_task(cluster.answer(request))
    for computing in asyncio.as_completed([one.until_computing(), other.until_computing()]):
        await computing
        break
    dying, living = (one, other) if (await one.figures()).blocks_used else (other, one)
    await dying.kill()
    answer = await answering
    assert answer.said() == expected.said()
    assert answer.stage("prefill").instance == living.card.instance_id
    assert [stage.detail["attempt"] for stage in answer.story if stage.name == "prefill_queued"] == [1, 2]


async def test_a_worker_that_died_before_is_not_waited_for(cluster: RealCluster) -> None:
    """Its registration outlives it by one lease; whoever saw it die knows better."""
    request = a_long_request()
    expected = await undisturbed(cluster, request)
    for _ in range(2):
        answering = asyncio.create_task(cluster.answer(request))
        await cluster.prefill.until_computing()
        await cluster.prefill.kill()
        answer = await answering
        assert answer.said() == expected.said()
        assert [stage.detail["attempt"] for stage in answer.story if stage.name == "prefill_queued"] == [1]
        await cluster.join("prefill", DisaggSettings(), **ENGINE)


@pytest.mark.parametrize("met", [True, False], ids=["engines that have met", "engines that have not"])
async def test_between_the_hand_off_and_the_pull(cluster: RealCluster, met: bool) -> None:
    request = a_request(max_tokens=20, ignore_eos=True)
    expected = await undisturbed(cluster, request)
    if met:
        await cluster.answer(a_request(prompt=range(7, 90), ignore_eos=True))
    await cluster.decode.hold("pull")
    answering = asyncio.create_task(cluster.answer(request))
    await cluster.decode.until_held("pull")
    await cluster.prefill.kill()
    await cluster.decode.let_go("pull")
    answer = await answering
    assert answer.said() == expected.said()
    assert answer.first_token_from_prefill, "it had left before and is kept"


async def test_during_the_pull(cluster: RealCluster) -> None:
    request = a_request(max_tokens=20, ignore_eos=True)
    expected = await undisturbed(cluster, request)
    await cluster.answer(a_request(prompt=range(7, 90), ignore_eos=True))  # the engines have met
    failures = (await cluster.decode.figures()).failures
    await cluster.decode.hold("pull")
    answering = asyncio.create_task(cluster.answer(request))
    await cluster.decode.until_held("pull")
    [engine] = (await cluster.prefill.figures()).engine_pids
    with cluster.prefill.stopped(engine):  # it gives no bytes away
        await cluster.decode.let_go("pull")
        await cluster.decode.until_holding()
        await cluster.prefill.kill()
    answer = await answering
    assert answer.said() == expected.said()
    assert answer.first_token_from_prefill, "it had left before and is kept"
    assert answer.stage("prefill_lost").detail["reason"] == "kv_transfer_failed"
    assert (await cluster.decode.figures()).failures > failures
