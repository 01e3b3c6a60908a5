"""What happens to a stack in the tests: processes killed, stopped and cut off from each other, by process id."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psutil
from tests.faults import cut
from tests.faults.stack import Ended, Load, Stack, prompts
from tests.servers import EtcdServer, NatsServer

Fault = Callable[[Stack], Awaitable[None]]

OUTAGE_S = 10.0


async def kill(stack: Stack, name: str) -> None:
    """`kill -9` of a worker."""
    os.kill(stack.serve.pid_of(name), signal.SIGKILL)


async def freeze(stack: Stack, name: str, seconds: float) -> None:
    """SIGSTOP of a worker with whatever it has started, as a host that hangs; then it goes on."""
    worker = psutil.Process(stack.serve.pid_of(name))
    family = [worker, *worker.children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        await asyncio.sleep(seconds)
    finally:
        for process in family:
            with suppress(psutil.NoSuchProcess):  # its watchdog, or ours
                process.resume()


async def close(stack: Stack, one: str, other: str) -> None:
    """End the connections between two processes again and again for a second: one of them carries something."""
    pids = stack.serve.pid_of(one), stack.serve.pid_of(other)
    closed = 0
    for _ in range(20):
        closed += cut.close(*pids)
        await asyncio.sleep(0.05)
    assert closed > 0


async def silence(stack: Stack, one: str, other: str) -> None:
    """Let nothing pass on the connections between two processes any more."""
    assert cut.silence(stack.serve.pid_of(one), stack.serve.pid_of(other)) > 0


CUTS = [close, silence]


async def outage(etcd: EtcdServer, nats: NatsServer) -> None:
    """Store and bus die and come back with empty data folders."""
    await asyncio.gather(etcd.kill(), nats.kill())
    await asyncio.sleep(OUTAGE_S)
    await asyncio.gather(etcd.start(), nats.start())


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
