"""A cancel at any stage frees every block of both engines within a second."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

import pytest
import pytest_asyncio
from tests.real.cluster import Nursery, RealCluster, a_real_cluster

from tandem.testing.cluster import a_request

LONG = 4000
"""Prompt tokens: some sixty steps of a prefill engine that takes 64 at a time."""

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(nursery: Nursery) -> AsyncIterator[RealCluster]:
    async with a_real_cluster(
        nursery, block_size=32, max_model_len=4096, max_num_batched_tokens=64, kv_cache_memory_bytes=64 << 20
    ) as cluster:
        await cluster.answer(
            a_request(ignore_eos=True)
        )  # the engines have met: KV moves for an answer of several tokens
        yield cluster


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_waits(cluster: RealCluster) -> AsyncIterator[None]:
    yield
    await cluster.let_all_go()


class Client:
    """Reads an answer until it is told to leave."""

    def __init__(self, cluster: RealCluster, *, prompt: int = 400, max_tokens: int = 3000) -> None:
        self.tokens: list[int] = []
        request = a_request(prompt=[10 + i * 7 % 4000 for i in range(prompt)], max_tokens=max_tokens, ignore_eos=True)
        self._reading = asyncio.create_task(self._read(cluster, request))

    async def until_tokens(self, count: int) -> None:
        while len(self.tokens) < count:
            assert not self._reading.done()
            await asyncio.sleep(0.002)

    async def leave(self) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    async def _read(self, cluster: RealCluster, request: object) -> None:
        async with aclosing(cluster.stream(request)) as outputs:  # type: ignore[arg-type]
            async for output in outputs:
                self.tokens += output.token_ids


async def test_while_its_job_waits_in_the_queue(cluster: RealCluster) -> None:
    await cluster.prefill.hold("prefill")
    first = Client(cluster, max_tokens=20)  # its 400 tokens are all that the prefill worker takes on at once
    await cluster.prefill.until_held("prefill")
    second = Client(cluster)
    await until_waiting(cluster, 1)
    await second.leave()
    await until_waiting(cluster, 0)
    assert await cluster.all_free()
    await cluster.prefill.let_go("prefill")
    await first.until_tokens(20)
    assert await cluster.all_free()


async def test_while_its_prompt_is_computed(cluster: RealCluster) -> None:
    client = Client(cluster, prompt=LONG, max_tokens=20)
    await cluster.prefill.until_computing()
    assert client.tokens == []
    await client.leave()
    assert await cluster.all_free()


async def test_while_its_kv_waits_to_be_pulled(cluster: RealCluster) -> None:
    await cluster.decode.hold("pull")
    client = Client(cluster)
    await cluster.decode.until_held("pull")
    assert not await cluster.prefill.free(), "the hand-off holds its blocks"
    await client.leave()
    assert await cluster.all_free()


async def test_while_its_kv_is_pulled(cluster: RealCluster) -> None:
    await cluster.decode.hold("pull")
    client = Client(cluster)
    await cluster.decode.until_held("pull")
    [engine] = (await cluster.prefill.figures()).engine_pids
    with cluster.prefill.stopped(engine):  # it gives no bytes away
        await cluster.decode.let_go("pull")
        await cluster.decode.until_holding()
        await client.leave()
    assert len(client.tokens) == 1, "the prefill worker's; nothing was decoded"
    assert await cluster.all_free()


async def test_while_it_is_decoded(cluster: RealCluster) -> None:
    client = Client(cluster)
    await client.until_tokens(5)
    assert not await cluster.decode.free()
    await client.leave()
    assert await cluster.all_free()


async def until_waiting(cluster: RealCluster, jobs: int) -> None:
    while await cluster.waiting_jobs() != jobs:
        await asyncio.sleep(0.002)
