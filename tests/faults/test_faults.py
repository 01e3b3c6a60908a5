"""Under load something dies, stops or is cut off. Every request ends with the right text or with one error.

Texts are compared with those of the same prompts on the same service after the fault.
"""

import asyncio
from dataclasses import replace

import pytest
from tests.faults.breaks import Cut, between, close, freeze, kill, outage, silence, under_load
from tests.faults.stack import Load, Stack, a_stack, prompts
from tests.process.serving import Host
from tests.servers import EtcdServer, NatsServer

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]

LOST_JOBS = ("owner_lost", "unreachable")
LOAD = Load(prompts=prompts(60))
BY_LENGTH = [close, pytest.param(silence, marks=pytest.mark.acceptance)]
"""A silent connection is noticed after many seconds: `make acceptance` has the time."""


async def test_a_prefill_worker_is_killed(host: Host) -> None:
    async with a_stack(host) as stack:
        compared = await under_load(stack, lambda s: kill(s, "PrefillWorker.0"), LOAD)
        assert (compared.errors, compared.right()) == (0, 60)


async def test_every_prefill_worker_is_killed(host: Host) -> None:
    async def both(stack: Stack) -> None:
        await asyncio.gather(kill(stack, "PrefillWorker.0"), kill(stack, "PrefillWorker.1"))

    async with a_stack(host) as stack:
        compared = await under_load(stack, both, LOAD)
        assert (compared.errors, compared.right()) == (0, 60)
        assert stack.count("tandem_recoveries_total") > 0


async def test_a_prefill_worker_freezes(host: Host) -> None:
    async with a_stack(host) as stack:
        compared = await under_load(stack, lambda s: freeze(s, "PrefillWorker.0", 12), LOAD)
        assert (compared.errors, compared.right()) == (0, 60)


async def test_a_decode_worker_is_killed_in_mid_stream(host: Host) -> None:
    async with a_stack(host) as stack:
        compared = await under_load(stack, lambda s: kill(s, "VllmWorker.0"), LOAD)
        assert (compared.errors, compared.right()) == (0, 60)


async def test_a_decode_worker_freezes_in_mid_stream(host: Host) -> None:
    async with a_stack(host) as stack:
        compared = await under_load(stack, lambda s: freeze(s, "VllmWorker.0", 12), LOAD)
        assert (compared.errors, compared.right()) == (0, 60)


async def test_the_only_decode_worker_is_killed(host: Host) -> None:
    async with a_stack(host, decode=1) as stack:
        compared = await under_load(stack, lambda s: kill(s, "VllmWorker.0"), LOAD)
        assert compared.errors + compared.right() == 60


@pytest.mark.parametrize("cut", BY_LENGTH)
async def test_the_processor_is_cut_off_from_a_decode_worker_in_mid_stream(host: Host, cut: Cut) -> None:
    async with a_stack(host) as stack:
        compared = await under_load(stack, between("Frontend", "VllmWorker.0", cut), LOAD)
        assert (compared.errors, compared.right()) == (0, 60)
        assert stack.count("tandem_recoveries_total", kind="replayed") > 0
        await stack.until_idle()


@pytest.mark.parametrize("cut", BY_LENGTH)
async def test_a_decode_worker_is_cut_off_from_a_prefill_worker_with_a_job(host: Host, cut: Cut) -> None:
    async with a_stack(host) as stack:
        compared = await under_load(stack, between("VllmWorker.0", "PrefillWorker.0", cut), LOAD)
        assert (compared.errors, compared.right()) == (0, 60)
        assert sum(stack.count("tandem_prefill_jobs_total", outcome=lost) for lost in LOST_JOBS) > 0
        await stack.until_idle()


async def test_nats_and_etcd_die_and_come_back_empty(host: Host) -> None:
    etcd, nats = EtcdServer(), NatsServer()
    await etcd.start()
    await nats.start()

    env = {"ETCD_ENDPOINTS": etcd.url, "NATS_SERVER": nats.url}
    try:
        async with a_stack(host, env=env) as stack:
            compared = await under_load(stack, lambda _: outage(etcd, nats), replace(LOAD, prompts=prompts(240)))
            assert (compared.errors, compared.right()) == (0, 240)
            await asyncio.sleep(12)  # longer than a lease: whoever did not register again is forgotten by now
            again = await Load(prompts=prompts(20, seed=2), every_s=0.0).run(stack)
            assert all(ended.error is None for ended in again)
            names = {process["name"]: process for process in stack.serve.status()["processes"]}
            assert all(process["restarts"] == 0 for process in names.values())
    finally:
        await etcd.aclose()
        await nats.aclose()
