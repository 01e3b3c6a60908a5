"""What happens to a stack in the tests: processes killed, stopped and cut off from each other, by process id."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import psutil
from tests.faults import cut
from tests.faults.stack import Ended, Load, Stack
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
    pids = stack.serve.pid_of(one), stack.serve.pid_of(other)
    async with asyncio.timeout(5):
        while not cut.silence(*pids):  # they have not met yet
            await asyncio.sleep(0.02)


Cut = Callable[[Stack, str, str], Awaitable[None]]
CUTS: list[Cut] = [close, silence]


def between(one: str, other: str, cut: Cut) -> Fault:
    """That cut between these two."""

    async def fault(stack: Stack) -> None:
        await cut(stack, one, other)

    return fault


async def outage(etcd: EtcdServer, nats: NatsServer) -> None:
    """Store and bus die and come back with empty data folders."""
    await asyncio.gather(etcd.kill(), nats.kill())
    await asyncio.sleep(OUTAGE_S)
    await asyncio.gather(etcd.start(), nats.start())


@dataclass(frozen=True, slots=True)
class Compared:
    """The same requests with a fault in their midst and without."""

    got: list[Ended]
    expected: list[Ended]

    @property
    def errors(self) -> int:
        """How many ended in an error."""
        return sum(ended.error is not None for ended in self.got)

    def right(self, *, margin: float = 0.0) -> int:
        """How many have the right text; fails when one has another.

        Left out are those whose text hangs on rounding: a token was not above its rival by `margin`.
        """
        pairs = [pair for pair in zip(self.expected, self.got, strict=True) if pair[0].margin >= margin]
        answered = [(wanted, ended) for wanted, ended in pairs if ended.error is None]
        for wanted, ended in answered:
            assert ended.text == wanted.text
        return len(answered)


async def under_load(stack: Stack, fault: Fault, load: Load, *, after_s: float = 0.7) -> Compared:
    """The fault comes first, while no engine has any of the prompts in its cache."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(load.run(stack))
        await asyncio.sleep(after_s)
        await fault(stack)
    got = running.result()
    await asyncio.to_thread(stack.serve.wait_ready, 120)
    expected = await replace(load, every_s=0.0).run(stack)
    assert all(ended.error is None for ended in expected), expected
    return Compared(got, expected)
