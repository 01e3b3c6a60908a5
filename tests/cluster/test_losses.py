"""What is lost, and how a request goes on. Every answer is compared with one that nothing disturbed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from tandem.errors import InstanceLost, ServingError
from tandem.settings import DisaggSettings
from tandem.testing.cluster import Answer, Cluster, a_cluster, a_request, eventually

SLOW_PREFILL: dict[str, Any] = {"prefill_tokens_per_s": 1000.0, "speedup": 1.0, "decode_step_s": 0.005}
"""400 prompt tokens take 0.4 s: time to be killed in."""
RULES = DisaggSettings(remote_prefill=True, ack_wait_s=1.0, steal_after_s=0.1, prefill_timeout_s=10.0)


@pytest.fixture
async def slow() -> AsyncIterator[Cluster]:
    async with a_cluster(prefill=2, decode=1, disagg=RULES, **SLOW_PREFILL) as cluster:
        yield cluster


async def undisturbed(**sampling: object) -> Answer:
    async with a_cluster(prefill=0, decode=1) as cluster:
        return await cluster.answer(a_request(**sampling))  # type: ignore[arg-type]


async def claimed_by(cluster: Cluster) -> int:
    """Index of the prefill worker whose engine is working on a job, which it has therefore claimed."""

    def busy() -> list[int]:
        return [i for i, node in enumerate(cluster.prefill) if node.worker.status()["running"]]

    async def somebody() -> bool:
        return bool(busy())

    await eventually(somebody, True)
    return busy()[0]


async def test_a_prefill_worker_that_dies_with_a_job_is_replaced_by_the_other(slow: Cluster) -> None:
    expected = await undisturbed(max_tokens=12)
    answering = asyncio.create_task(slow.answer(a_request(max_tokens=12)))
    dying = slow.prefill[await claimed_by(slow)]
    await dying.die()
    answer = await answering
    assert answer.tokens == expected.tokens
    assert answer.stage("prefill").instance != dying.runtime.instance_id
    assert [stage.detail["attempt"] for stage in answer.story if stage.name == "prefill_queued"] == [1, 2]


async def test_when_the_only_prefill_worker_dies_the_prompt_is_prefilled_here() -> None:
    expected = await undisturbed(max_tokens=12)
    async with a_cluster(prefill=1, decode=1, disagg=RULES, **SLOW_PREFILL) as cluster:
        answering = asyncio.create_task(cluster.answer(a_request(max_tokens=12)))
        await claimed_by(cluster)
        await cluster.prefill[0].die()
        answer = await answering
    assert answer.tokens == expected.tokens
    assert answer.stage("recovered").detail["kind"] == "prefilled_here"


async def test_kv_that_dies_with_its_prefill_worker_is_computed_again(slow: Cluster) -> None:
    expected = await undisturbed(max_tokens=12)
    async with a_cluster(prefill=2, decode=1, disagg=RULES, **{**SLOW_PREFILL, "transfer_latency_s": 0.5}) as cluster:
        tokens: list[int] = []
        async with aclosing(cluster.stream(a_request(max_tokens=12))) as outputs:
            async for output in outputs:
                tokens += output.token_ids
                if len(tokens) == 1:  # the first token came from the prefill worker; its KV is being read
                    await asyncio.sleep(0.2)
                    [holder] = [node for node in cluster.prefill if node.worker.status()["prefill_jobs"]]
                    await holder.die()
        assert tokens == expected.tokens


async def test_a_decode_worker_that_dies_ends_its_streams_with_one_error(slow: Cluster) -> None:
    answering = asyncio.create_task(slow.answer(a_request(max_tokens=1000)))
    await claimed_by(slow)
    await slow.decode[0].die()
    with pytest.raises(InstanceLost):
        await answering


async def test_a_prefill_worker_frees_what_a_dead_decode_worker_will_never_read(slow: Cluster) -> None:
    waiting = asyncio.create_task(slow.answer(a_request()))
    await claimed_by(slow)
    await slow.decode[0].die()
    with pytest.raises(ServingError):
        await waiting
    dead = slow.decode.pop()
    assert await slow.settled()
    await slow.leave(dead)


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.2, 0.42, 0.6, 0.8])
async def test_a_cancel_at_any_stage_frees_every_block(slow: Cluster, after_s: float) -> None:
    async def read() -> None:
        async with aclosing(slow.stream(a_request(max_tokens=4000))) as outputs:
            async for _ in outputs:
                pass

    reading = asyncio.create_task(read())
    await asyncio.sleep(after_s)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await slow.settled()


async def test_a_cancelled_request_that_still_waits_leaves_the_queue() -> None:
    async with a_cluster(prefill=1, decode=1, disagg=RULES, max_num_batched_tokens=64, **SLOW_PREFILL) as cluster:
        busy = asyncio.create_task(cluster.answer(a_request()))
        await claimed_by(cluster)
        queue = await cluster.client.bus.work_queue("test_simulated_prefill_queue", ack_wait_s=1.0)

        async def waiting_jobs() -> int:
            return sum(lane.waiting for lane in (await queue.lanes()).values())

        second = asyncio.create_task(cluster.answer(a_request(prompt=range(900, 1300))))
        await eventually(waiting_jobs, 1)
        second.cancel()
        await eventually(waiting_jobs, 0)
        assert (await busy).finish_reason == "length"


async def test_workers_join_and_leave_while_requests_run() -> None:
    expected = await undisturbed(max_tokens=6)
    async with a_cluster(prefill=1, decode=1, disagg=RULES) as cluster:
        answers: list[Answer] = []

        async def keep_asking() -> None:
            for _ in range(40):
                answers.append(await cluster.answer(a_request(max_tokens=6)))

        asking = asyncio.create_task(keep_asking())
        newcomer = await cluster.join("prefill")
        await cluster.leave(cluster.prefill[0])
        await cluster.join("prefill")
        await cluster.leave(newcomer)
        await asking
    assert [answer.tokens for answer in answers] == [expected.tokens] * 40


async def test_a_role_changes_without_touching_the_engine() -> None:
    async with a_cluster(prefill=0, decode=1, disagg=RULES) as cluster:
        node = await cluster.join("prefill", "decode")
        engine_id = node.engine.facts.engine_id
        assert (await cluster.answer(a_request())).stage("prefill").instance == node.runtime.instance_id
        await node.worker.set_roles(["decode"])
        assert await eventually(lambda: _count(cluster), 0)
        assert (await cluster.answer(a_request(), at=node)).finish_reason == "length"
        assert node.engine.facts.engine_id == engine_id


async def _count(cluster: Cluster) -> int:
    return len(cluster.cards("prefill"))


async def test_an_engine_that_takes_no_such_request_says_so_from_either_side(slow: Cluster) -> None:
    too_long = a_request(prompt=[1] * 17000)
    with pytest.raises(ServingError) as refused:
        await slow.answer(too_long)
    assert refused.value.code == "context_too_long"
    assert await slow.settled()
