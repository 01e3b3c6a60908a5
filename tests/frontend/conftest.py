"""A front door over a processor over a scripted worker, in this process and on a real socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.processor.fakes import Answer, House, a_house

from tandem.frontend.answering import DoorOptions
from tandem.frontend.app import FrontDoor
from tandem.frontend.guard.keyring import Keys
from tandem.frontend.guard.service import Guard
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
        *answers: Answer, door_options: DoorOptions | None = None, keys: Keys | None = None, **options: Any
    ) -> Door:
        house = await a_house(text_model, *answers, **options)
        app = FrontDoor(house.processor, house.stories, door_options, guard=Guard(keys))
        server = DoorServer(app, host="127.0.0.1", port=0, drain_timeout_s=1)
        await server.open()
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=10, verify=False)
        made.append(Door(app, house, server, client))
        return made[-1]

    yield make
    for one in made:
        await one.client.aclose()
        await one.server.aclose()
        await one.idle()
        one.house.following.cancel()
        await asyncio.gather(one.house.following, return_exceptions=True)
