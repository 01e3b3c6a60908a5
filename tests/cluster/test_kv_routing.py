"""Routing by KV cache over a live cluster: events, gaps, late routers, deaths, lanes. Simulated engines."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from tandem.core.kv_updates import KvChange, KvUpdate, kv_subject
from tandem.core.routing import RouteChoice, RouteRequest
from tandem.observe import metrics
from tandem.router.kv import KvRouter
from tandem.settings import DisaggSettings, RouterSettings
from tandem.testing.cluster import COMPONENTS, Cluster, a_cluster, a_request, eventually

LOCAL = DisaggSettings(remote_prefill=False)
PROMPT = range(100, 500)
BLOCKS = 400 // 32


@asynccontextmanager
async def a_router(cluster: Cluster, settings: RouterSettings | None = None) -> AsyncIterator[KvRouter]:
    router = KvRouter(cluster.client, settings or RouterSettings(), component=COMPONENTS["decode"], draw=lambda: 0.0)
    following = asyncio.create_task(router.follow())
    await asyncio.sleep(0)
    try:
        await eventually(lambda: _of(bool(known(router)) and router.warm), True)
        yield router
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _of(value: object) -> object:
    return value


def known(router: KvRouter) -> list[str]:
    pool = router._decode.pool
    return [] if pool is None else [target[0] for target in pool.targets]


async def choose(
    router: KvRouter, cluster: Cluster, prompt: range = PROMPT, *, request_id: str = "probe", **more: str
) -> RouteChoice:
    candidates = [node.runtime.instance_id for node in cluster.decode]
    choice = await router.choose(
        RouteRequest(request_id=request_id, candidates=candidates, token_ids=list(prompt), **more)  # type: ignore[arg-type]
    )
    router.finished(request_id)
    return choice


async def told(router: KvRouter, cluster: Cluster, blocks: int) -> None:
    """Wait until the index holds so many blocks by the workers' own word."""

    async def look() -> int:
        pool = router._decode.pool
        assert pool is not None
        return sum(pool.index.held_by(pool.number(target) or 0, "gpu").size for target in pool.targets)

    await eventually(look, blocks)


async def test_a_prompt_goes_where_its_kv_is_as_the_worker_itself_said() -> None:
    async with a_cluster(prefill=0, decode=3, disagg=LOCAL) as cluster, a_router(cluster) as router:
        answer = await cluster.answer(a_request(max_tokens=1), at=cluster.decode[1])
        assert answer.finish_reason == "length"
        await told(router, cluster, BLOCKS)
        choice = await choose(router, cluster)
        assert (choice.instance_id, choice.reason) == (cluster.decode[1].runtime.instance_id, "overlap")
        assert choice.cached_tokens == BLOCKS * 32 == await cluster.decode[1].engine.cached_tokens(a_request())
        assert len(choice.scores) == 3
        other = await choose(router, cluster, cache_salt="another tenant")
        assert (other.cached_tokens, other.reason) == (0, "load")
        await cluster.decode[1].engine.reset_prefix_cache()
        await told(router, cluster, 0)


async def test_an_adapters_blocks_are_its_own_here_and_on_a_prefill_worker() -> None:
    adapters = {"sql": "/adapters/sql"}
    async with a_cluster(prefill=1, decode=1, adapters=adapters) as cluster, a_router(cluster) as router:
        request = msgspec.structs.replace(a_request(max_tokens=8), lora_name="sql")
        answer = await cluster.answer(request)
        assert answer.stage("prefill_decision").detail["site"] == "remote"
        await told(router, cluster, BLOCKS)
        assert (await choose(router, cluster, lora_name="sql")).cached_tokens == BLOCKS * 32
        assert (await choose(router, cluster)).cached_tokens == 0
        assert (await choose(router, cluster, lora_name="sql", cache_salt="tenant")).cached_tokens == 0


async def test_a_router_that_starts_late_fills_itself_from_the_workers_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "tandem.router.kv_sync")
    async with a_cluster(prefill=0, decode=2, disagg=LOCAL) as cluster:
        await cluster.answer(a_request(max_tokens=1), at=cluster.decode[0])
        await cluster.answer(a_request(prompt=range(1000, 1200), max_tokens=1), at=cluster.decode[1])
        async with a_router(cluster) as router:
            assert router.warm
            assert f"router.warm component={COMPONENTS['decode']} workers=2" in caplog.text
            await told(router, cluster, BLOCKS + 200 // 32)
            assert (await choose(router, cluster)).instance_id == cluster.decode[0].runtime.instance_id


async def test_lost_garbled_and_foreign_updates_leave_the_index_right() -> None:
    async with a_cluster(prefill=0, decode=1, disagg=LOCAL) as cluster, a_router(cluster) as router:
        node, subject = cluster.decode[0], kv_subject("test", COMPONENTS["decode"])
        await cluster.answer(a_request(max_tokens=1))
        await told(router, cluster, BLOCKS)

        async def say(instance_id: str, seq: int, names: bytes) -> None:
            update = KvUpdate(instance_id=instance_id, seq=seq, changes=[KvChange("stored", "gpu", names)])
            await cluster.client.bus.publish(subject, msgspec.msgpack.encode(update))

        await say("dead", 0, bytes(range(1, 9)))
        await say(node.runtime.instance_id, 0, bytes(range(1, 9)))  # long since told
        await cluster.client.bus.publish(subject, b"\xc1 not MessagePack")
        await say(node.runtime.instance_id, 1000, bytes(range(1, 9)))  # a jump, and a lie at that: the worker is asked
        await eventually(lambda: _of(metrics.ROUTER_KV_REPAIRS.labels("again").value >= 1), True)
        for outcome in ("dead", "repeated", "garbage", "gap"):
            assert metrics.ROUTER_KV_UPDATES.labels(outcome).value >= 1, outcome


async def test_an_update_that_nothing_follows_is_missed_at_the_next_beat() -> None:
    async with a_cluster(prefill=0, decode=1, disagg=LOCAL) as cluster, a_router(cluster) as router:
        await cluster.answer(a_request(max_tokens=1))
        await told(router, cluster, BLOCKS)
        instance = cluster.decode[0].runtime.instance_id
        sync = router._syncs[0]
        pool = router._decode.pool
        assert pool is not None
        pool.forget((instance, None))  # as if these had never come
        sync._feeds[instance, None].next_seq = 0
        await told(router, cluster, BLOCKS)


async def test_a_dead_worker_is_forgotten_with_all_it_held() -> None:
    async with a_cluster(prefill=0, decode=2, disagg=LOCAL) as cluster, a_router(cluster) as router:
        await cluster.answer(a_request(max_tokens=1), at=cluster.decode[0])
        await told(router, cluster, BLOCKS)
        gone = cluster.decode[0]
        await cluster.leave(gone)
        await eventually(lambda: _of(gone.runtime.instance_id in known(router)), False)
        await told(router, cluster, 0)
        assert (await choose(router, cluster)).reason == "only_one"


async def test_the_prefill_lane_is_hinted_by_the_prefill_workers_caches() -> None:
    async with a_cluster(prefill=2, decode=1) as cluster, a_router(cluster) as router:
        answer = await cluster.answer(a_request(max_tokens=8))
        holder = answer.stage("prefill").instance

        async def hinted() -> object:
            return (await choose(router, cluster)).prefill_hint

        await eventually(hinted, holder)
        request = a_request(max_tokens=8)
        again = await cluster.answer(msgspec.structs.replace(request, prefill_hint=holder))
        assert again.stage("prefill_queued").detail == {"lane": holder, "attempt": 1}
        assert again.stage("prefill").instance == holder


async def test_a_session_stays_and_a_pin_rules() -> None:
    settings = RouterSettings(session_affinity="soft")
    async with a_cluster(prefill=0, decode=3, disagg=LOCAL) as cluster, a_router(cluster, settings) as router:
        first = (await choose(router, cluster, session_id="s")).instance_id
        for start in range(1000, 5000, 1000):
            choice = await choose(router, cluster, range(start, start + 300), session_id="s")
            assert (choice.instance_id, choice.reason) == (first, "session")


async def test_routers_tell_each_other_what_they_have_sent() -> None:
    async with a_cluster(prefill=0, decode=2, disagg=LOCAL) as cluster, a_router(cluster) as one:
        peer = await cluster.join("decode")
        candidates = [node.runtime.instance_id for node in cluster.decode[:2]]
        other = KvRouter(peer.runtime, RouterSettings(), component=COMPONENTS["decode"])
        following = asyncio.create_task(other.follow())
        try:
            await eventually(lambda: _of(len(known(other))), 3)
            asked = RouteRequest(request_id="r", candidates=candidates, token_ids=list(range(9000)))
            first = (await one.choose(asked)).instance_id
            await eventually(lambda: _of(bool(other._decode.pool and other._decode.pool._elsewhere)), True)
            assert (await other.choose(asked)).instance_id != first
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
