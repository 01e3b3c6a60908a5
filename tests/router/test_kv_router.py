"""The router by KV cache without a cluster: sessions over time, engines that tell nothing, ranks, tiers."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.cards import EngineFacts, InstanceCard
from tandem.core.kv_updates import KvChange
from tandem.core.routing import RouteChoice, RouteRequest
from tandem.kv.blocks import to_bytes
from tandem.kv.holders import TIERS
from tandem.observe import metrics
from tandem.router.kv import KvRouter
from tandem.router.kv_rule import KvWeights, kv_rule
from tandem.router.pool import PredictionTimes, WorkerPool
from tandem.router.predictions import marks_of
from tandem.settings import RouterSettings

BLOCK = 16


def silent(instance_id: str, **facts: Any) -> InstanceCard:
    """A worker whose engine tells nothing of its blocks."""
    engine = EngineFacts(
        engine="simulated", engine_version="1", engine_id=instance_id, model_path="m", max_model_len=4096,
        block_size_tokens=BLOCK, kv_blocks_total=1000, block_bytes=0, max_num_seqs=8, max_num_batched_tokens=512,
        side_channel="h:1", **facts,
    )  # fmt: skip
    return InstanceCard(instance_id=instance_id, namespace="n", component="c", endpoints=[], address="", engine=engine)


def a_router(*cards: InstanceCard, prefill_cards: Sequence[InstanceCard] = (), **settings: Any) -> KvRouter:
    views = {
        name: SimpleNamespace(all=lambda here=tuple(here): here)
        for name, here in (("c", cards), ("PrefillWorker", prefill_cards))
    }
    runtime: Any = SimpleNamespace(instance_id="r", instances=views.__getitem__)
    router = KvRouter(runtime, RouterSettings(**settings), component="c", draw=lambda: 0.0)
    router._syncs[0].seen(cards)
    router._syncs[1].seen(prefill_cards)
    return router


async def choose(router: KvRouter, begin: int, *, tokens: int = 320, **more: Any) -> RouteChoice:
    request = RouteRequest(request_id="r", candidates=["a", "b"], token_ids=list(range(begin, begin + tokens)), **more)
    choice = await router.choose(request)
    router.prefilled("r")
    router.finished("r")
    return choice


async def test_engines_that_tell_nothing_are_routed_by_what_was_sent_and_that_is_counted() -> None:
    before = metrics.ROUTER_OVERLAP_BLOCKS.value("c", "predicted"), metrics.ROUTER_OVERLAP_BLOCKS.value("c", "told")
    router = a_router(silent("a"), silent("b"))
    assert router.warm, "there is nothing to wait for"
    first = await choose(router, 0)
    again = await choose(router, 0)
    assert (again.instance_id, again.reason, again.cached_tokens) == (first.instance_id, "overlap", 319)
    assert metrics.ROUTER_WORKERS.labels("c", "predicted").value == 2
    after = metrics.ROUTER_OVERLAP_BLOCKS.value("c", "predicted"), metrics.ROUTER_OVERLAP_BLOCKS.value("c", "told")
    assert (after[0] - before[0], after[1] - before[1]) == (20, 0)


async def test_a_session_is_forgotten_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    router = a_router(silent("a"), silent("b"), session_affinity="hard", session_ttl_s=100.0)
    now = 1000.0
    monkeypatch.setattr("tandem.router.kv.time.perf_counter", lambda: now)
    first = (await choose(router, 0, session_id="s")).instance_id
    now += 99
    assert (await choose(router, 5000, session_id="s")).reason == "session", "whatever it holds"
    now += 99
    assert (await choose(router, 9000, session_id="s")).instance_id == first, "each request renews it"
    now += 101
    assert (await choose(router, 20000, session_id="s")).reason != "session"


async def test_both_sides_choose_by_the_same_names_and_a_prefill_pool_forgets_what_it_never_counted() -> None:
    cards = [silent("p"), silent("q")]
    router = a_router(silent("a"), silent("b"), prefill_cards=cards)
    hint = (await choose(router, 0)).prefill_hint
    assert (await choose(router, 0)).prefill_hint == hint in ("p", "q")
    pool = router._prefill.pool
    assert pool is not None
    assert [pool.loads.glance(name, 0.0)[0] for name in "pq"] == [0, 0]


async def test_the_prefill_worker_named_is_one_that_the_decode_worker_can_read_from() -> None:
    decode = [silent("a", dtype="bfloat16"), silent("b", dtype="float16")]
    prefill = [silent("p", dtype="bfloat16"), silent("q", dtype="float16"), silent("r", dtype="float8")]
    router = a_router(*decode, prefill_cards=prefill)
    reads_from = {"a": "p", "b": "q"}
    for turn in range(6):
        choice = await choose(router, 1000 * turn)
        assert choice.prefill_hint == reads_from[choice.instance_id]


async def test_a_decode_worker_that_can_read_from_nobody_computes_its_prompts() -> None:
    decode = [silent("a", dtype="bfloat16"), silent("b", dtype="float16")]
    router = a_router(*decode, prefill_cards=[silent("q", dtype="float16")])
    hints: dict[str, str | None] = {}
    queued: dict[str, int] = {}
    for request_id, prompt in (("1", 0), ("2", 1000)):
        tokens = list(range(prompt, prompt + 320))
        choice = await router.choose(RouteRequest(request_id=request_id, candidates=["a", "b"], token_ids=tokens))
        hints[choice.instance_id] = choice.prefill_hint
    for side in (router._decode, router._prefill):
        assert side.pool is not None
        queued |= {target[0]: worker.queue.tokens for target, worker in side.pool._workers.items()}
    assert hints == {"a": None, "b": "q"}
    assert queued == {"a": 320, "b": 0, "q": 320}


def test_ranks_are_targets_of_their_own() -> None:
    pool = WorkerPool(kv_rule(KvWeights()), BLOCK)
    for target in (("a", 0), ("a", 1), ("b", 0), ("b", 1)):
        pool.join(target, tells=True)
    names = list(range(1, 21))
    pool.told(("b", 1), KvChange("stored", names=to_bytes(names)))
    request = RouteRequest(request_id="r", candidates=["a", "b"], token_ids=[0] * 320)
    choice = pool.choose(request, names, now=0.0, draw=0.0).choice
    assert (choice.instance_id, choice.dp_rank, choice.cached_tokens) == ("b", 1, 319)


NAMES = list(range(1, 13))
SENT = st.tuples(st.integers(1, 12), st.sampled_from([0.0, 5.0, 10.0]))
TOLD = st.tuples(st.sampled_from(TIERS), st.sets(st.sampled_from(NAMES)))


@given(sent=st.lists(SENT, max_size=4), told=st.lists(TOLD, max_size=4), age_s=st.sampled_from([0.0, 4.0, 9.0]))
def test_what_is_told_and_what_is_expected_add_up(
    sent: list[tuple[int, float]], told: list[tuple[str, set[int]]], age_s: float
) -> None:
    """Blocks held in any tier or expected, in any order of the two: each depth is that of a plain walk."""
    pool = WorkerPool(kv_rule(KvWeights()), BLOCK, times=PredictionTimes(eventless_s=8.0))
    pool.join(("a", None), tells=False)
    expected: dict[int, float] = {}
    for number, (count, at) in enumerate(sorted(sent, key=lambda each: each[1])):
        request = RouteRequest(request_id=str(number), candidates=["a"], token_ids=[0] * (count * BLOCK))
        pool.choose(request, NAMES[:count], now=at, draw=0.0)
        expected.update(dict.fromkeys(NAMES[:count], at + 8.0))
    held: dict[str, set[int]] = {tier: set() for tier in TIERS}
    for tier, names in told:
        pool.told(("a", None), KvChange("stored", tier, to_bytes(sorted(names))))  # type: ignore[arg-type]
        held[tier] |= names
    now = 10.0 + age_s
    due = {name for name, until in expected.items() if until > now}

    def depth(*sets: set[int]) -> int:
        return next((i for i, name in enumerate(NAMES) if not any(name in each for each in sets)), len(NAMES))

    worker = pool._workers["a", None]
    found = pool._held(worker, NAMES, marks_of(NAMES), pool.index.matches(NAMES).of(worker.number), now)
    gpu, host, disk = (held[tier] for tier in TIERS)
    assert found == (depth(gpu), depth(gpu, due), depth(gpu, due, host), depth(gpu, due, host, disk))
