"""The supervisor's end of a zygote, when whoever waited for a fork does so no more."""

import asyncio
import os
from contextlib import suppress

import psutil
import pytest

from tandem.errors import Unavailable
from tandem.graph.processes import ZygoteClient


async def forking(client: ZygoteClient) -> int:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    pid, _ = await client.fork(env=env, working_dir="/", title="test", anew=False, fds=[])
    return pid


@pytest.fixture
async def client() -> ZygoteClient:
    client = ZygoteClient()
    client.start(dict(os.environ))
    return client


async def test_closing_it_while_a_fork_that_nobody_waits_for_is_under_way_is_no_fault(client: ZygoteClient) -> None:
    waiting = asyncio.create_task(forking(client))
    given_up = asyncio.create_task(forking(client))
    await asyncio.sleep(0)
    given_up.cancel()
    with suppress(asyncio.CancelledError):
        await given_up
    client.close()
    with pytest.raises(Unavailable, match="zygote died"):
        await waiting
    assert not client.alive


async def test_a_fork_that_nobody_waits_for_does_not_disturb_the_next(client: ZygoteClient) -> None:
    given_up = asyncio.create_task(forking(client))
    await asyncio.sleep(0)
    given_up.cancel()
    with suppress(asyncio.CancelledError):
        await given_up
    pid = await forking(client)
    client.close()
    with suppress(psutil.NoSuchProcess):
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "what it forked ends with it"
