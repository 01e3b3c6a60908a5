"""What the simulated engine adds to the contract: modelled time, pressure, leases, and failures of real processes."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contracts.engine_contract import a_prompt, a_request, answer_of, generated, is_free, prefilled
from tests.engines.virtual_time import VirtualTime

from tandem.core.handoff import Handoff
from tandem.engines.ports import EngineSpec
from tandem.engines.simulated import SimulatedEngine
from tandem.errors import ConfigError, EngineFailed, KvTransferFailed, Overloaded

MODEL = str(Path(__file__).parents[2] / "models" / "tiny-qwen3")
PLAIN = {"block_size": 16, "num_kv_blocks": 256, "prefill_tokens_per_s": 1000, "decode_step_s": 0.1, "decode_seq_s": 0}


def a_spec(**engine_args: Any) -> EngineSpec:
    return EngineSpec(
        model_path=MODEL,
        served_model_name="m",
        roles=("prefill", "decode"),
        engine_args={**PLAIN, "side_channel": "memory", **engine_args},
        handoff_lease_s=20,
    )


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime()


async def loaded(time: VirtualTime, **engine_args: Any) -> SimulatedEngine:
    engine = SimulatedEngine(a_spec(**engine_args), clock=time.now, sleep=time.sleep)
    await time.run(engine.load())
    return engine


async def test_an_answer_takes_the_modelled_time(time: VirtualTime) -> None:
    engine = await loaded(time, load_s=3)
    began = time.time
    await time.run(generated(engine, a_prompt(500), max_tokens=11))
    assert time.time - began == pytest.approx(0.5 + 10 * 0.1)
    await engine.aclose()


async def test_a_prompt_beside_decodes_delays_them(time: VirtualTime) -> None:
    engine = await loaded(time)
    gaps = []

    async def watched() -> None:
        last = None
        async for _ in engine.generate(a_request(a_prompt(16), max_tokens=20)):
            if last is not None:
                gaps.append(time.time - last)
            last = time.time

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(watched())
            await time.sleep(0.5)
            group.create_task(generated(engine, a_prompt(2000), max_tokens=1))

    await time.run(both())
    assert min(gaps) == pytest.approx(0.1)
    assert max(gaps) > 2
    await engine.aclose()


async def test_a_long_prompt_is_computed_in_pieces(time: VirtualTime) -> None:
    engine = await loaded(time, max_num_batched_tokens=100)
    began = time.time
    await time.run(generated(engine, a_prompt(450), max_tokens=1))
    assert time.time - began == pytest.approx(0.45)
    await engine.aclose()


async def test_decodes_share_a_step(time: VirtualTime) -> None:
    engine = await loaded(time)
    began = time.time

    async def all_of_them() -> None:
        await asyncio.gather(*(generated(engine, a_prompt(16), max_tokens=21) for _ in range(8)))

    await time.run(all_of_them())
    assert time.time - began == pytest.approx(8 * 0.016 + 20 * 0.1, rel=0.05)
    await engine.aclose()


async def test_a_full_cache_preempts_and_still_answers_rightly(time: VirtualTime) -> None:
    roomy, tight = await loaded(time), await loaded(time, num_kv_blocks=12, max_model_len=192)
    prompts = [a_prompt(40) for _ in range(4)]

    async def answers(engine: SimulatedEngine) -> list[list[int]]:
        found = await asyncio.gather(*(generated(engine, prompt, max_tokens=60) for prompt in prompts))
        return [answer.tokens for answer in found]

    assert await time.run(answers(tight)) == await time.run(answers(roomy))
    assert await is_free(tight)
    await tight.aclose()
    await roomy.aclose()


async def test_the_urgent_go_first(time: VirtualTime) -> None:
    engine = await loaded(time, max_num_seqs=1)
    ended = []

    async def one(name: str, priority: int) -> None:
        await answer_of(engine.generate(msgspec.structs.replace(a_request(a_prompt(20)), priority=priority)))
        ended.append(name)

    async def all_of_them() -> None:
        await asyncio.gather(one("first", 0), one("late", 5), one("soon", 1))

    await time.run(all_of_them())
    assert ended == ["first", "soon", "late"]
    await engine.aclose()


async def test_a_full_queue_refuses(time: VirtualTime) -> None:
    engine = await loaded(time, max_num_seqs=1, max_num_queued_reqs=2)

    async def flood() -> list[Any]:
        return await asyncio.gather(*(generated(engine, a_prompt(20)) for _ in range(6)), return_exceptions=True)

    results = await time.run(flood())
    assert sum(isinstance(result, Overloaded) for result in results) == 4
    await engine.aclose()


async def test_an_unread_handoff_goes_with_its_lease(time: VirtualTime) -> None:
    engine = await loaded(time)
    _, handoff = await time.run(prefilled(engine, a_request(a_prompt(50)), first_token=False))
    assert handoff is not None
    await time.run(time.sleep(19))
    assert not await engine.reset_prefix_cache()
    await time.run(time.sleep(2))
    assert await engine.reset_prefix_cache()
    late = msgspec.structs.replace(handoff, expires_at=time.time + 5)
    peer = await loaded(time)
    with pytest.raises(KvTransferFailed, match="unknown, read or freed"):
        await time.run(answer_of(peer.decode(a_request(a_prompt(50)), _for_prompt(late, peer))))
    await peer.aclose()
    await engine.aclose()


def _for_prompt(handoff: Handoff, engine: SimulatedEngine) -> Handoff:
    """The hand-off as if it covered any prompt: what a broken worker might send."""
    engine._check._fault = lambda *_: None  # type: ignore[method-assign]
    return handoff


async def test_a_transfer_takes_time_and_breaks_when_the_peer_dies_meanwhile(time: VirtualTime) -> None:
    slow = {"transfer_gb_per_s": 0.001, "kv_bytes_per_token": 100_000}
    giver, taker = await loaded(time, **slow), await loaded(time, **slow)
    request = a_request(a_prompt(64))
    _, handoff = await time.run(prefilled(giver, request, first_token=False))
    assert handoff is not None

    async def killed_half_way() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(answer_of(taker.decode(request, handoff)))
            await time.sleep(3)
            giver.crash("killed")

    began = time.time
    with pytest.raises(ExceptionGroup) as caught:
        await time.run(killed_half_way())
    assert caught.group_contains(KvTransferFailed)
    assert time.time - began == pytest.approx(3)
    assert taker.transfer_totals().failures == 1
    assert await is_free(taker)
    await giver.aclose()
    await taker.aclose()


async def test_a_decode_engine_that_dies_while_reading_leaves_the_handoff_to_its_lease(time: VirtualTime) -> None:
    slow = {"transfer_gb_per_s": 0.001, "kv_bytes_per_token": 100_000}
    giver, taker = await loaded(time, **slow), await loaded(time, **slow)
    request = a_request(a_prompt(64))
    _, handoff = await time.run(prefilled(giver, request, first_token=False))
    assert handoff is not None

    async def killed_half_way() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(answer_of(taker.decode(request, handoff)))
            await time.sleep(3)
            taker.crash("killed")

    with pytest.raises(ExceptionGroup) as caught:
        await time.run(killed_half_way())
    assert caught.group_contains(EngineFailed)
    assert not await giver.reset_prefix_cache()
    await time.run(time.sleep(20))
    assert await giver.reset_prefix_cache()
    await giver.aclose()
    await taker.aclose()


async def test_the_answer_derives_from_the_blocks_that_were_handed_over(time: VirtualTime) -> None:
    giver, taker = await loaded(time), await loaded(time)
    request = a_request(a_prompt(64))
    right = await time.run(answer_of(taker.generate(request)))
    await taker.reset_prefix_cache()
    _, handoff = await time.run(prefilled(giver, request, first_token=False))
    assert handoff is not None
    giver._cache.content = [content + 1 for content in giver._cache.content]
    wrong = await time.run(answer_of(taker.decode(request, handoff)))
    assert wrong.tokens != right.tokens
    await giver.aclose()
    await taker.aclose()


async def test_a_model_may_end_by_itself(time: VirtualTime) -> None:
    engine = await loaded(time, eos_rate=0.2)
    answer = await time.run(generated(engine, a_prompt(30), max_tokens=500))
    assert answer.last.finish_reason == "stop"
    assert answer.tokens[-1] == 2
    assert len(answer.tokens) < 100
    await engine.aclose()


async def test_a_hundred_engines_answer_in_one_loop(time: VirtualTime) -> None:
    engines = [await loaded(time) for _ in range(100)]
    prompt = a_prompt(100)

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(generated(engine, prompt, max_tokens=20) for engine in engines))

    answers = await time.run(all_of_them())
    assert len({tuple(answer.tokens) for answer in answers}) == 1
    for engine in engines:
        await engine.aclose()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"block_size": 0}, "more than 0"),
        ({"speedup": "fast"}, "is a number"),
        ({"enable_prefix_caching": "perhaps"}, "true or false"),
        ({"side_channel": "smoke"}, "tcp or memory"),
        ({"max_model_len": 100_000}, "needs more than 256 blocks"),
    ],
)
def test_settings_that_cannot_work_are_refused(args: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SimulatedEngine(a_spec(**args))


def test_vllms_keys_are_taken_and_ignored() -> None:
    SimulatedEngine(a_spec(gpu_memory_utilization=0.9, kv_transfer_config="{}", disable_log_requests=True))


_OTHER_PROCESS = """
import asyncio, sys, msgspec
from tandem.engines.simulated import SimulatedEngine
from tandem.engines.ports import EngineSpec
from tandem.core.request import GenerateRequest

async def main():
    engine = SimulatedEngine(msgspec.json.decode(sys.argv[1], type=EngineSpec))
    await engine.load()
    request = msgspec.json.decode(sys.argv[2], type=GenerateRequest)
    async for item in engine.prefill(request, first_token=False):
        print(msgspec.json.encode(item).decode(), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_killing_the_prefill_process_fails_the_transfer() -> None:
    slow = {"side_channel": "tcp", "transfer_gb_per_s": 0.001, "kv_bytes_per_token": 100_000, "speedup": 5}
    spec, request = a_spec(**slow), a_request(a_prompt(64))
    encoded = [msgspec.json.encode(value).decode() for value in (spec, request)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _OTHER_PROCESS, *encoded, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    handoff = msgspec.json.decode(await process.stdout.readline(), type=Handoff)
    taker = SimulatedEngine(spec)
    await taker.load()
    running = asyncio.create_task(answer_of(taker.decode(request, handoff)))
    await asyncio.sleep(0.2)
    assert not running.done()
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(KvTransferFailed, match="broke off"):
        await asyncio.wait_for(running, 2)
    with pytest.raises(KvTransferFailed, match="already read"):
        await answer_of(taker.decode(request, handoff))
    await process.wait()
    assert await is_free(taker)
    await taker.aclose()
