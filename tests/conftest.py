"""What no test may do: reach another machine, leave a process or a task behind."""

import asyncio
import ipaddress
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psutil
import pytest
from hypothesis import settings

_OURS = ("10.", "fd")
"""Networks that tests make themselves, in namespaces of their own."""

settings.register_profile("tandem", deadline=None)  # a busy machine is no failure
settings.load_profile("tandem")


def _only_loopback(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect" or not isinstance(arguments[1], tuple):
        return
    host = str(arguments[1][0])
    try:
        away = not ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        away = host != "localhost"
    if away and not host.startswith(_OURS):
        raise RuntimeError(f"a test tried to connect to {arguments[1]}")


sys.addaudithook(_only_loopback)


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Whatever a test starts, it ends. What a module's fixture started before is its own affair."""
    this = psutil.Process()
    before = {child.pid for child in this.children()}
    yield
    give_up = time.monotonic() + 2.0
    while left := [c for c in this.children() if c.pid not in before and c.status() != psutil.STATUS_ZOMBIE]:
        if time.monotonic() > give_up:
            pytest.fail(f"processes left behind: {left}")
        time.sleep(0.02)


@pytest.fixture(autouse=True)
async def no_task_left() -> AsyncIterator[None]:
    """Every task that a test starts is over when the test is."""
    yield
    mine = asyncio.current_task()
    give_up = time.monotonic() + 1.0
    while left := [task for task in asyncio.all_tasks() if task is not mine and not task.done()]:
        if time.monotonic() > give_up:
            pytest.fail(f"tasks left behind: {[task.get_name() for task in left]}")
        await asyncio.sleep(0.01)
