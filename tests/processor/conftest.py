"""The demo model's text side, loaded once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.processor.fakes import Answer, House, MakeHouse, a_house

from tandem.processor.model import TextModel

MODEL = Path(__file__).parents[2] / "models" / "tiny-qwen3"


@pytest.fixture(scope="session")
def model_path() -> Path:
    return MODEL


@pytest.fixture(scope="session")
def text_model() -> TextModel:
    return TextModel.load(MODEL)


@pytest.fixture
async def house(text_model: TextModel) -> AsyncIterator[MakeHouse]:
    made: list[House] = []

    async def make(*answers: Answer, **options: Any) -> House:
        made.append(await a_house(text_model, *answers, **options))
        return made[-1]

    yield make
    for one in made:
        assert one.workers.open == 0, "a call to a worker was left open"
        one.following.cancel()
        await asyncio.gather(one.following, return_exceptions=True)
