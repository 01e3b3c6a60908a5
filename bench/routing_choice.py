"""What a choice by KV cache costs a front end, with the events that it brings. `python -m bench.routing_choice`.

For each request a router chooses, hears what the chosen worker then stores and evicts (a prefill step's blocks
together, then one block at a time), that its first token came, and that an older request is over. Half of each
prompt is a prefix that all share, where it says so; a hundred come each second of the router's clock. CPU time, in
microseconds; the choice includes naming the blocks. On a machine that others use, the tenth percentile is nearest to
what it costs alone.
"""

import asyncio
import json
import random
import statistics
import time
from collections import deque
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import msgspec

from tandem.core.cards import EngineFacts, InstanceCard
from tandem.core.kv_updates import KvChange, KvState, KvUpdate
from tandem.core.routing import RouteRequest
from tandem.kv.blocks import block_hashes, chain_root, to_bytes
from tandem.router import kv
from tandem.router.kv import KvRouter
from tandem.settings import RouterSettings

REQUESTS = 1500
OPEN = 64
REQUESTS_PER_S = 100
KEPT = 400
"""Requests whose blocks stay in the caches."""
OUTPUT_TOKENS = 128
STEP_TOKENS = 2048


def a_card(number: int, block_size_tokens: int) -> InstanceCard:
    """A worker that tells of its blocks."""
    facts = EngineFacts(
        engine="simulated", engine_version="1", engine_id=f"{number}", model_path="m", max_model_len=1 << 17,
        block_size_tokens=block_size_tokens, kv_blocks_total=100_000, block_bytes=0, max_num_seqs=256,
        max_num_batched_tokens=8192,
    )  # fmt: skip
    return InstanceCard(
        instance_id=f"{number:016x}", namespace="n", component="c", endpoints=[], address="", engine=facts,
        extra={"kv_updates": "1"},
    )  # fmt: skip


async def _nothing_yet(*_: Any) -> AsyncGenerator[KvState, None]:
    yield KvState(seq=-1)


async def measure(workers: int, tokens: int, block_size_tokens: int, shared: float) -> dict[str, float]:
    """One load."""
    cards = [a_card(number, block_size_tokens) for number in range(workers)]
    views = {"c": SimpleNamespace(all=lambda: cards), "PrefillWorker": SimpleNamespace(all=list)}
    runtime: Any = SimpleNamespace(call=_nothing_yet, instance_id="r", instances=views.__getitem__)
    router = KvRouter(runtime, RouterSettings(), component="c")
    sync = router._syncs[0]
    sync.seen(cards)
    async with asyncio.timeout(10):
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))
    assert sync.warm
    rng, ids, root = random.Random(1), [card.instance_id for card in cards], chain_root("")
    prefix = [rng.randrange(150_000) for _ in range(int(tokens * shared))]
    common = set(block_hashes(prefix, block_size_tokens, root))
    told, kept = dict.fromkeys(ids, 0), deque[tuple[str, list[int]]]()
    decode = msgspec.msgpack.Decoder(KvUpdate).decode
    choosing, hearing, ending, now = [], 0.0, 0.0, 0.0
    kv.time = SimpleNamespace(monotonic=lambda: now, perf_counter=time.perf_counter)  # type: ignore[attr-defined]
    for number in range(REQUESTS):
        now = number / REQUESTS_PER_S
        prompt = prefix + [rng.randrange(150_000) for _ in range(tokens - len(prefix))]
        begun = time.process_time()
        choice = await router.choose(RouteRequest(request_id=str(number), candidates=ids, token_ids=prompt))
        choosing.append(time.process_time() - begun)
        names = block_hashes(prompt, block_size_tokens, root)
        changes = [(choice.instance_id, "stored", part) for part in _parts(names, STEP_TOKENS // block_size_tokens)]
        output = [rng.getrandbits(64) | 1 for _ in range(OUTPUT_TOKENS // block_size_tokens)]
        changes += [(choice.instance_id, "stored", [name]) for name in output]
        kept.append((choice.instance_id, [name for name in names if name not in common] + output))
        if len(kept) > KEPT:
            at, gone = kept.popleft()
            changes += [(at, "removed", part) for part in _parts(gone, 8)]
        messages = []
        for at, kind, part in changes:
            change = KvChange(kind, "gpu", to_bytes(part))  # type: ignore[arg-type]
            messages.append(msgspec.msgpack.encode(KvUpdate(instance_id=at, seq=told[at], changes=[change])))
            told[at] += 1
        begun = time.process_time()
        for message in messages:
            sync.told(decode(message))
        hearing += time.process_time() - begun
        begun = time.process_time()
        router.prefilled(str(number))
        router.finished(str(number - OPEN))
        ending += time.process_time() - begun
    return {
        "workers": workers,
        "prompt_tokens": tokens,
        "block_size_tokens": block_size_tokens,
        "shared": shared,
        "choice_p10_us": round(statistics.quantiles(choosing, n=10)[0] * 1e6, 1),
        "choice_p50_us": round(statistics.median(choosing) * 1e6, 1),
        "choice_mean_us": round(statistics.fmean(choosing) * 1e6, 1),
        "events_us": round(hearing / REQUESTS * 1e6, 1),
        "ends_us": round(ending / REQUESTS * 1e6, 1),
    }


def _parts(names: list[int], size: int) -> list[list[int]]:
    return [names[i : i + size] for i in range(0, len(names), size)]


if __name__ == "__main__":
    for shared in (0.0, 0.5):
        for workers in (2, 8):
            for tokens in (260, 3900):
                for size in (16, 64):
                    print(json.dumps(asyncio.run(measure(workers, tokens, size, shared))), flush=True)
