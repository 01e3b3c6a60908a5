"""Under load something dies, stops or is cut off. Every request ends with the right text or with one error.

Texts are compared with those of the same prompts on the same service before the fault.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import pytest
from tests.faults.stack import Ended, Load, Stack, a_stack, prompts
from tests.process.serving import Host
from tests.servers import EtcdServer, NatsServer

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]

Fault = Callable[[Stack], Awaitable[None]]


async def kill(stack: Stack, name: str) -> None:
    os.kill(stack.serve.pid_of(name), signal.SIGKILL)


async def freeze(stack: Stack, name: str, seconds: float) -> None:
    pid = stack.serve.pid_of(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


async def under_load(stack: Stack, fault: Fault, *, count: int = 60) -> tuple[list[Ended], list[Ended]]:
    """The same prompts undisturbed and with the fault in their midst."""
    wanted = prompts(count)
    expected = await Load(stack, wanted, every_s=0.0).run()
    assert all(ended.error is None for ended in expected), expected
    running = asyncio.create_task(Load(stack, wanted, every_s=0.05).run())
    await asyncio.sleep(0.7)
    await fault(stack)
    return expected, await running


def right_or_one_error(expected: list[Ended], got: list[Ended]) -> int:
    """How many ended in an error; the texts of all others are right."""
    for wanted, ended in zip(expected, got, strict=True):
        assert ended.error is not None or ended.text == wanted.text
    return sum(ended.error is not None for ended in got)


async def test_a_prefill_worker_is_killed(host: Host) -> None:
    async with a_stack(host) as stack:
        expected, got = await under_load(stack, lambda s: kill(s, "PrefillWorker.0"))
        assert right_or_one_error(expected, got) == 0


async def test_every_prefill_worker_is_killed(host: Host) -> None:
    async def both(stack: Stack) -> None:
        await asyncio.gather(kill(stack, "PrefillWorker.0"), kill(stack, "PrefillWorker.1"))

    async with a_stack(host) as stack:
        expected, got = await under_load(stack, both)
        assert right_or_one_error(expected, got) == 0
        assert "tandem_recoveries_total{" in stack.serve.get("/metrics")[1]


async def test_a_prefill_worker_freezes(host: Host) -> None:
    async with a_stack(host) as stack:
        expected, got = await under_load(stack, lambda s: freeze(s, "PrefillWorker.0", 12))
        assert right_or_one_error(expected, got) == 0


async def test_a_decode_worker_is_killed_in_mid_stream(host: Host) -> None:
    async with a_stack(host) as stack:
        expected, got = await under_load(stack, lambda s: kill(s, "VllmWorker.0"))
        assert right_or_one_error(expected, got) == 0


async def test_a_decode_worker_freezes_in_mid_stream(host: Host) -> None:
    async with a_stack(host) as stack:
        expected, got = await under_load(stack, lambda s: freeze(s, "VllmWorker.0", 12))
        assert right_or_one_error(expected, got) == 0


async def test_the_only_decode_worker_is_killed(host: Host) -> None:
    async with a_stack(host, decode=1) as stack:
        expected, got = await under_load(stack, lambda s: kill(s, "VllmWorker.0"))
        right_or_one_error(expected, got)
        again = await Load(stack, prompts(5), every_s=0.0).run()
        assert [ended.text for ended in again] == [ended.text for ended in expected[:5]]


async def test_nats_and_etcd_die_and_come_back_empty(host: Host) -> None:
    etcd, nats = EtcdServer(), NatsServer()
    await etcd.start()
    await nats.start()

    async def outage(_: Stack) -> None:
        await asyncio.gather(etcd.kill(), nats.kill())
        await asyncio.sleep(10)
        await asyncio.gather(etcd.start(), nats.start())

    env = {"ETCD_ENDPOINTS": etcd.url, "NATS_SERVER": nats.url}
    try:
        async with a_stack(host, env=env) as stack:
            expected, got = await under_load(stack, outage, count=240)
            assert right_or_one_error(expected, got) == 0
            await asyncio.sleep(12)  # longer than a lease: whoever did not register again is forgotten by now
            again = await Load(stack, prompts(20), every_s=0.0).run()
            assert [ended.text for ended in again] == [ended.text for ended in expected[:20]]
            names = {process["name"]: process for process in stack.serve.status()["processes"]}
            assert all(process["restarts"] == 0 for process in names.values())
    finally:
        await etcd.aclose()
        await nats.aclose()
