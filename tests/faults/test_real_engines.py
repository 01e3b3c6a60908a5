"""The faults of test_faults.py on real vLLM engines with real NIXL: two prefill and two decode workers, under load.

Greedy texts are compared where the model was sure of every token: the order of a sum, and with it the last bits of
a logit, differ from batch to batch.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.faults.breaks import CUTS, Cut, Fault, between, freeze, kill, outage, under_load
from tests.faults.stack import VLLM, Load, Stack, a_stack, questions
from tests.process.serving import Host
from tests.servers import EtcdServer, NatsServer

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

SURE = 1.0
"""Nats between the best token and the next. Rounding has moved log probabilities by up to 0.24 (docs/acceptance.md)."""
LOST_JOBS = ("owner_lost", "unreachable")


def a_load(seed: int, *, count: int = 30, every_s: float = 0.15) -> Load:
    fields = {"max_tokens": 60, "logprobs": 2}
    return Load(prompts=questions(count, seed=seed), every_s=every_s, fields=fields, patience_s=180)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    """One service for all: what a test kills is there again for the next."""
    host = Host()
    try:
        async with a_stack(host, worker=VLLM) as stack:
            yield stack
    finally:
        host.close()


async def goes_on(stack: Stack, fault: Fault, load: Load) -> None:
    """Every request ends, all with the right text; and it leaves nothing behind. Prints what became of them."""
    compared = await under_load(stack, fault, load, after_s=2.0)
    right, took = compared.right(margin=SURE), sorted(ended.took_s for ended in compared.got)
    print(f"\n{len(took)} requests, {right} sure and right, {compared.errors} errors, slowest {took[-1]:.1f} s")
    assert compared.errors == 0
    assert right >= len(took) / 3
    await stack.until_idle(30)


def lost_jobs(stack: Stack) -> float:
    """Jobs that prefill workers gave up because the decode worker was gone, or seemed so."""
    return sum(stack.count("tandem_prefill_jobs_total", outcome=lost) for lost in LOST_JOBS)


def moved(stack: Stack) -> float:
    """Requests that went on with another decode worker, before their first token or after it."""
    return sum(stack.count("tandem_recoveries_total", kind=kind) for kind in ("rerouted", "replayed"))


@pytest.mark.parametrize("cut", CUTS)
async def test_connections_between_the_processor_and_a_decode_worker_are_cut(stack: Stack, cut: Cut) -> None:
    before = moved(stack)
    await goes_on(stack, between("Frontend", "VllmWorker.0", cut), a_load(1 + CUTS.index(cut)))
    assert moved(stack) > before


@pytest.mark.parametrize("cut", CUTS)
async def test_connections_between_a_decode_worker_and_a_prefill_worker_are_cut(stack: Stack, cut: Cut) -> None:
    before = lost_jobs(stack)
    await goes_on(stack, between("VllmWorker.0", "PrefillWorker.0", cut), a_load(3 + CUTS.index(cut)))
    assert lost_jobs(stack) > before


async def test_a_prefill_worker_with_jobs_freezes(stack: Stack) -> None:
    await goes_on(stack, lambda s: freeze(s, "PrefillWorker.0", 12), a_load(5))


async def test_a_decode_worker_freezes_in_mid_stream(stack: Stack) -> None:
    before = stack.count("tandem_recoveries_total", kind="replayed")
    await goes_on(stack, lambda s: freeze(s, "VllmWorker.0", 12), a_load(6))
    assert stack.count("tandem_recoveries_total", kind="replayed") > before


async def test_a_prefill_worker_with_jobs_is_killed(stack: Stack) -> None:
    await goes_on(stack, lambda s: kill(s, "PrefillWorker.0"), a_load(7))


async def test_a_decode_worker_is_killed_in_mid_stream(stack: Stack) -> None:
    before = stack.count("tandem_recoveries_total", kind="replayed")
    await goes_on(stack, lambda s: kill(s, "VllmWorker.0"), a_load(8))
    assert stack.count("tandem_recoveries_total", kind="replayed") > before


async def test_nats_and_etcd_die_and_come_back_empty(host: Host) -> None:
    etcd, nats = EtcdServer(), NatsServer()
    await etcd.start()
    await nats.start()
    try:
        async with a_stack(host, worker=VLLM, env={"ETCD_ENDPOINTS": etcd.url, "NATS_SERVER": nats.url}) as stack:
            await goes_on(stack, lambda _: outage(etcd, nats), a_load(9, count=80, every_s=0.2))
            await asyncio.sleep(12)  # longer than a lease: whoever did not register again is forgotten by now
            again = await a_load(10, count=10).run(stack)
            assert all(ended.error is None for ended in again)
            assert all(process["restarts"] == 0 for process in stack.serve.status()["processes"])
    finally:
        await etcd.aclose()
        await nats.aclose()
