"""The simulated engine passes the engine contract, in real time, over its TCP side channel."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from tests.contracts.engine_contract import EngineContract, EventLog, collected

from tandem.core.handoff import Handoff
from tandem.engines.ports import Engine, EngineSpec
from tandem.engines.simulated import SimulatedEngine

MODEL = str(Path(__file__).parents[2] / "models" / "tiny-qwen3")
LEASE_S = 20.0


async def loaded(**engine_args: Any) -> SimulatedEngine:
    args = {"block_size": 16, "num_kv_blocks": 512, "max_model_len": 2048, "speedup": 20, **engine_args}
    engine = SimulatedEngine(
        EngineSpec(
            model_path=MODEL,
            served_model_name="model",
            roles=("prefill", "decode"),
            engine_args=args,
            handoff_lease_s=LEASE_S,
        )
    )
    await engine.load()
    return engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prefiller() -> AsyncIterator[Engine]:
    engine = await loaded()
    yield engine
    await engine.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoder() -> AsyncIterator[Engine]:
    engine = await loaded()
    yield engine
    await engine.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def events(decoder: Engine) -> AsyncIterator[EventLog]:
    async for log in collected(decoder):
        yield log


@pytest.fixture
def new_engine() -> Callable[[], Awaitable[Engine]]:
    return loaded


@pytest.fixture
def kill() -> Callable[[SimulatedEngine], None]:
    return lambda engine: engine.crash("killed by the test")


@pytest.fixture
def silenced() -> Callable[[Handoff, int], Handoff]:
    """The hand-off as if its maker sat on that port and said nothing."""
    return lambda handoff, port: msgspec.structs.replace(
        handoff, opaque={**handoff.opaque, "id": "silenced", "address": f"127.0.0.1:{port}"}
    )


@pytest.fixture
def eos() -> int:
    return 2


@pytest.fixture
def lease_s() -> float:
    return LEASE_S


class TestSimulatedEngine(EngineContract):
    """See engine_contract.py."""
