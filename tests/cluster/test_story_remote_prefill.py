"""The whole path of a request whose prompt is prefilled elsewhere. Change it and watch it fail."""

import asyncio
import time

import pytest
from msgspec.structs import replace

from tandem.core.handoff import Fence, PrefillClaim, Verdict
from tandem.core.request import GenerateRequest
from tandem.disagg.queue import PrefillQueue
from tandem.observe import metrics
from tandem.settings import DisaggSettings
from tandem.testing.cluster import a_cluster, a_request, eventually
from tandem.transport.embedded import EmbeddedBus


async def test_a_prompt_is_prefilled_elsewhere_and_decoded_here() -> None:
    async with a_cluster(prefill=1, decode=1) as cluster:
        request = a_request(max_tokens=8)
        answer = await cluster.answer(request)

        assert len(answer.tokens) == 8
        assert answer.finish_reason == "length"
        assert answer.stages() == [
            "prefill_decision",
            "prefill_queued",
            "first_token",
            "prefill_claimed",
            "prefill",
            "kv_pull",
            "decode",
        ]
        assert answer.stage("prefill_decision").detail == {"site": "remote", "reason": "always"}
        blocks = -(-(request.prompt_tokens + 1) // 32)
        assert answer.stage("kv_pull").detail["kv_bytes"] == blocks * cluster.decode[0].engine.facts.block_bytes
        assert answer.stage("prefill").instance == cluster.prefill[0].runtime.instance_id
        assert await cluster.settled()


async def test_the_answer_is_the_same_wherever_the_prompt_is_prefilled() -> None:
    async with a_cluster(prefill=1, decode=1) as cluster:
        local = await cluster.join("decode", disagg=DisaggSettings(remote_prefill=False))
        for length in (1, 2, 31, 32, 33, 63, 64, 65, 400):
            request = a_request(prompt=range(7, 7 + length), max_tokens=40)
            remote = await cluster.answer(request)
            here = await cluster.answer(request, at=local)
            assert remote.stage("prefill_decision").detail["site"] == "remote"
            assert here.stage("prefill_decision").detail["site"] == "local"
            assert remote.tokens == here.tokens, f"{length} prompt tokens"


async def test_an_answer_of_one_token_moves_no_kv() -> None:
    async with a_cluster() as cluster:
        answer = await cluster.answer(a_request(max_tokens=1))
        assert (len(answer.tokens), answer.finish_reason) == (1, "length")
        assert "kv_pull" not in answer.stages()
        assert await cluster.settled()


async def test_a_stop_at_the_first_token_moves_no_kv() -> None:
    async with a_cluster() as cluster:
        first = (await cluster.answer(a_request(max_tokens=1))).tokens[0]
        answer = await cluster.answer(a_request(max_tokens=8, stop_token_ids=(first,)))
        assert (answer.tokens, answer.finish_reason) == ([first], "stop")
        assert await cluster.settled()


async def test_state_that_counts_output_tokens_keeps_the_first_token_with_the_decode_engine() -> None:
    async with a_cluster() as cluster:
        plain = await cluster.answer(a_request(max_tokens=8))
        seeded = await cluster.answer(a_request(max_tokens=8, presence_penalty=0.1))
        assert "first_token" in plain.stages()
        assert "first_token" not in seeded.stages()
        assert seeded.stage("kv_pull").detail["tokens"] == 400


async def test_prompt_logprobs_are_computed_where_they_are_asked_for() -> None:
    async with a_cluster() as cluster:
        answer = await cluster.answer(a_request(prompt_logprobs=0))
        assert answer.stage("prefill_decision").detail == {"site": "local", "reason": "prompt_logprobs"}


async def test_conditional_disaggregation_keeps_short_prompts_here() -> None:
    rules = DisaggSettings(remote_prefill=True, conditional_disagg=True, max_local_prefill_length=100)
    async with a_cluster(disagg=rules) as cluster:
        short = await cluster.answer(a_request(prompt=range(100)))
        long = await cluster.answer(a_request(prompt=range(1000, 1101)))
        assert short.stage("prefill_decision").detail == {"site": "local", "reason": "short_prompt"}
        assert long.stage("prefill_decision").detail == {"site": "remote", "reason": "long_prompt"}


async def test_what_is_cached_for_others_does_not_make_a_prompt_short() -> None:
    rules = DisaggSettings(remote_prefill=True, conditional_disagg=True, max_local_prefill_length=100)
    async with a_cluster(disagg=rules, adapters={"sql": "/adapters/sql"}) as cluster:

        async def reason(request: GenerateRequest) -> object:
            return (await cluster.answer(request)).stage("prefill_decision").detail["reason"]

        request = a_request(prompt=range(300))
        adapted, salted = replace(request, lora_name="sql"), replace(request, cache_salt="a tenant")
        assert await reason(request) == "long_prompt"
        assert await reason(request) == "short_prompt", "by now its decode worker holds it"
        assert [await reason(adapted), await reason(salted)] == ["long_prompt", "long_prompt"]
        assert await reason(adapted) == "short_prompt"


async def test_max_local_prefill_length_changes_while_requests_run() -> None:
    rules = DisaggSettings(remote_prefill=True, conditional_disagg=True, max_local_prefill_length=1000)
    key = "public/components/disagg_router/models/chat/model"
    async with a_cluster(disagg=rules) as cluster:
        store = cluster.client.store

        async def site() -> object:
            return (await cluster.answer(a_request())).stage("prefill_decision").detail["site"]

        assert await site() == "local"
        await store.put(key, b'{"max_local_prefill_length": 10}')
        assert await eventually(site, "remote")
        await store.put(key, b'{"max_local_prefill_length": "many"}')
        assert await site() == "remote"
        await store.delete(key)
        assert await eventually(site, "local")


async def test_without_a_prefill_worker_the_prompt_stays_and_that_is_counted() -> None:
    before = metrics.FALLBACKS.labels("no_prefill_worker").value
    async with a_cluster(prefill=0) as cluster:
        answer = await cluster.answer(a_request())
        assert answer.stage("prefill_decision").detail == {"site": "local", "reason": "no_prefill_worker"}
    assert metrics.FALLBACKS.labels("no_prefill_worker").value == before + 1


async def test_a_prefill_worker_with_other_blocks_is_never_paired() -> None:
    async with a_cluster(prefill=0, decode=1) as cluster:
        await cluster.join("prefill", block_size=64)
        answer = await cluster.answer(a_request())
        assert answer.stage("prefill_decision").detail["reason"] == "incompatible_prefill_workers"
        assert answer.finish_reason == "length"


async def test_a_prefill_worker_with_other_blocks_gets_no_job_beside_one_that_fits() -> None:
    async with a_cluster(prefill=1, decode=1) as cluster:
        misfit = await cluster.join("prefill", block_size=64)
        fits = cluster.prefill[0].runtime.instance_id
        answers = await asyncio.gather(
            *(cluster.answer(a_request(prompt=range(n, n + 320))) for n in range(0, 9600, 320))
        )
        assert {answer.stage("prefill").instance for answer in answers} == {fits}
        assert {answer.stage("prefill_queued").detail["attempt"] for answer in answers} == {1}
        assert misfit.engine.load_report().running == misfit.worker.status()["prefill_jobs"] == 0


async def test_a_claim_of_a_prefill_worker_with_other_blocks_is_refused_and_another_is_asked() -> None:
    async with a_cluster(prefill=1, decode=1) as cluster:
        misfit = await cluster.join("prefill", block_size=64)
        [fit, _] = cluster.prefill
        fit.worker._stop_taking()
        answering = asyncio.create_task(cluster.answer(a_request()))
        queue = PrefillQueue(misfit.runtime.bus, "test_simulated_prefill_queue", ack_wait_s=1.0, clock=time.monotonic)
        [taken] = await queue.take([fit.runtime.instance_id, "common"], timeout_s=5.0)
        assert taken.job is not None
        claim = PrefillClaim(
            job_id=taken.job.job_id,
            fence=Fence(taken.job.attempt, taken.delivery.number),
            prefill_instance=misfit.runtime.instance_id,
            engine_id=misfit.engine.facts.engine_id,
        )
        address = cluster.decode[0].runtime.server.address
        verdicts = [v.kind async for v in misfit.runtime.call(address, "claim", claim, Verdict)]
        assert verdicts == ["dead"]
        await taken.delivery.ack()
        fit.worker._spawn("take-jobs", fit.worker._prefill.run())
        answer = await answering
        assert [stage.detail["attempt"] for stage in answer.story if stage.name == "prefill_queued"] == [1, 2]
        assert answer.stage("prefill").instance == fit.runtime.instance_id


async def test_a_bus_that_comes_a_moment_late_costs_the_first_prompt_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    comes_at = time.monotonic() + 0.4
    monkeypatch.setattr(EmbeddedBus, "connected", property(lambda _: time.monotonic() >= comes_at))
    async with a_cluster() as cluster:
        answer = await cluster.answer(a_request())
        assert answer.stage("prefill_decision").detail == {"site": "remote", "reason": "always"}


async def test_workers_serve_without_a_bus_that_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddedBus, "connected", False)
    monkeypatch.setattr("tandem.worker.service.QUEUE_WAIT_S", 0.2)
    async with a_cluster() as cluster:
        answer = await cluster.answer(a_request())
        assert answer.stage("prefill_decision").detail == {"site": "local", "reason": "bus_outage"}
        assert answer.finish_reason == "length"


async def test_kv_bytes_add_up_also_when_pulls_overlap() -> None:
    async with a_cluster(transfer_latency_s=0.5) as cluster:
        before = metrics.KV_TRANSFER_BYTES.labels().value
        prompts = [range(2000 * i, 2000 * i + 320) for i in range(8)]
        answers = await asyncio.gather(*(cluster.answer(a_request(prompt=prompt)) for prompt in prompts))
        counted = cluster.decode[0].engine.transfer_totals().kv_bytes
        told = [answer.stage("kv_pull").detail for answer in answers]
        assert any(detail.get("estimated") for detail in told)
        assert sum(int(detail["kv_bytes"] or 0) for detail in told) == counted

        async def exported() -> float:
            return metrics.KV_TRANSFER_BYTES.labels().value - before

        assert await eventually(exported, counted)
