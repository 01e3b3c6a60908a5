"""The vLLM adapter passes the engine contract with two real engines on a CPU, forked from this process."""

import asyncio
import contextlib
import gc
import importlib.util
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from tests.contracts.engine_contract import (
    EngineContract,
    EventLog,
    a_prompt,
    a_request,
    answer_of,
    collected,
    is_free,
    prefilled,
)

from tandem.core.handoff import Handoff
from tandem.engines.ports import Engine, EngineSpec
from tandem.engines.vllm.engine import VllmEngine
from tandem.engines.vllm.process import preload

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
    pytest.mark.timeout(120),
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


@pytest.fixture(scope="module")
def imported() -> Iterator[None]:
    """vLLM imported as a zygote does it, so that each engine starts in a second."""
    preload()
    yield
    gc.unfreeze()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prefiller(imported: None) -> AsyncIterator[Engine]:
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

    async def test_giving_up_on_a_peer_that_greets_and_then_hangs_frees_the_blocks(
        self, prefiller: Engine, decoder: Engine, silenced: Callable[[Handoff, int], Handoff]
    ) -> None:
        import zmq

        with zmq.Context() as context, context.socket(zmq.ROUTER) as hanging:
            port = hanging.bind_to_random_port("tcp://127.0.0.1")
            request = a_request(a_prompt(100), ignore_eos=True)
            _, handoff = await prefilled(prefiller, request, first_token=False)
            assert handoff is not None
            task = asyncio.create_task(answer_of(decoder.decode(request, silenced(handoff, port))))
            await asyncio.sleep(0.3)
            assert not await decoder.reset_prefix_cache()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await is_free(decoder, within_s=6), "vLLM gives up on the hand-shake itself after 5 s, not before"
        await prefiller.release(handoff)
        assert await is_free(prefiller)
