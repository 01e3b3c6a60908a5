"""The vLLM adapter passes the engine contract with two real engines on a CPU, forked from this process."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from tests.contracts.engine_contract import EngineContract, EventLog, collected

from tandem.core.handoff import Handoff
from tandem.engines.ports import Engine, EngineSpec
from tandem.engines.vllm.engine import VllmEngine

pytest.importorskip("vllm")
pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # vLLM's own
]

MODEL = os.environ.get("TANDEM_TEST_MODEL", str(Path(__file__).parents[2] / "models" / "tiny-qwen3"))
LEASE_S = 20.0


async def loaded(**engine_args: Any) -> VllmEngine:
    args = {"block_size": 32, "max_model_len": 1024, "kv_cache_memory_bytes": 32 << 20, **engine_args}
    engine = VllmEngine(
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
async def decoder(prefiller: Engine) -> AsyncIterator[Engine]:
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
def kill() -> Callable[[VllmEngine], None]:
    """As the kernel would, when memory runs out."""

    def now(engine: VllmEngine) -> None:
        for pid in engine.process_ids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    return now


@pytest.fixture
def silenced() -> Callable[[Handoff, int], Handoff]:
    """The hand-off as if another engine had made it, one that sits on that port and says nothing."""

    def changed(handoff: Handoff, port: int) -> Handoff:
        kv = {**handoff.opaque["kv"], "remote_engine_id": "silent", "remote_host": "127.0.0.1", "remote_port": port}
        return msgspec.structs.replace(handoff, engine_id="silent", opaque={**handoff.opaque, "kv": kv})

    return changed


@pytest.fixture
def eos() -> int:
    return 2


@pytest.fixture
def lease_s() -> float:
    return LEASE_S


class TestVllmEngine(EngineContract):
    """See engine_contract.py."""
