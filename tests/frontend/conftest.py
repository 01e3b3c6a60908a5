"""A front door over a processor over a scripted worker, in this process and on a real socket."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.processor.fakes import Answer, House, a_house

from tandem.frontend.answering import DoorOptions
from tandem.frontend.app import FrontDoor
from tandem.frontend.batches.service import BatchOptions
from tandem.frontend.guard.cors import Cors
from tandem.frontend.guard.keyring import Keys
from tandem.frontend.guard.service import Guard
from tandem.frontend.protocol import HeadLimits
from tandem.frontend.server import DoorServer
from tandem.processor.model import TextModel

MODEL = Path(__file__).parents[2] / "models" / "tiny-qwen3"


@pytest.fixture(scope="session")
def text_model() -> TextModel:
    return TextModel.load(MODEL)


@dataclass
class Door:
    """All of it, for a test to look into."""

    app: FrontDoor
    house: House
    server: DoorServer
    client: httpx.AsyncClient
    running_batches: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def idle(self) -> None:
        """Wait until nothing runs any more."""
        async with asyncio.timeout(5):
            while self.app.running or self.house.workers.open:
                await asyncio.sleep(0.002)


OpenDoor = Callable[..., Awaitable[Door]]


@pytest.fixture
async def door(text_model: TextModel) -> AsyncIterator[OpenDoor]:
    made: list[Door] = []

    async def make(
        *answers: Answer,
        door_options: DoorOptions | None = None,
        keys: Keys | None = None,
        cors: Cors | None = None,
        batches: BatchOptions | None = None,
        wall_clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> Door:
        house = await a_house(text_model, *answers, **options)
        app = FrontDoor(
            house.processor,
            house.stories,
            door_options,
            guard=Guard(keys, limits=(door_options or DoorOptions()).limits),
            cors=cors,
            batches=batches,
            wall_clock=wall_clock,
        )
        limits = (door_options or DoorOptions()).limits
        head_limits = HeadLimits(
            max_bytes=limits.max_header_bytes, max_headers=limits.max_headers, timeout_s=limits.header_timeout_s
        )
        server = DoorServer(app, host="127.0.0.1", port=0, drain_timeout_s=1, head_limits=head_limits)
        await server.open()
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=10, verify=False)
        made.append(Door(app, house, server, client))
        if app.batches is not None:
            made[-1].running_batches = asyncio.create_task(app.batches.runner.run())
        return made[-1]

    yield make
    for one in made:
        await one.client.aclose()
        if one.app.batches is not None:
            await one.app.batches.aclose(drain_s=1)
        if one.running_batches is not None:
            one.running_batches.cancel()
        await one.server.aclose()
        await one.idle()
        one.house.following.cancel()
        await asyncio.gather(one.house.following, return_exceptions=True)
