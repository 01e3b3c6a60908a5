"""A process's connection to the planes: found, called, and true over outages."""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.servers import EtcdServer, NatsServer

from tandem.core.cards import InstanceCard
from tandem.errors import ConfigError, InstanceLost, ProtocolMismatch, Unavailable
from tandem.runtime.calls import current_call
from tandem.runtime.service import ConnectedRuntime, connect
from tandem.runtime.settings import PlaneSettings
from tandem.transport.embedded import EmbeddedHub
from tandem.transport.embedded_host import HubServer
from tandem.transport.settings import EtcdSettings, NatsSettings, RequestPlaneSettings

Connect = Callable[..., Awaitable[ConnectedRuntime]]

TTL_S = 0.6
QUICK = RequestPlaneSettings(heartbeat_interval_s=0.2, connect_timeout_s=0.5)


class Ask(msgspec.Struct):
    count: int
    pause_s: float = 0.0


@pytest.fixture
async def hub() -> AsyncIterator[EmbeddedHub]:
    hub = EmbeddedHub()
    yield hub
    hub.close()


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "hub.sock"


@pytest.fixture
async def join(hub: EmbeddedHub) -> AsyncIterator[Connect]:
    """Connects runtimes that are closed at the end."""
    opened: list[ConnectedRuntime] = []

    async def join(**settings: object) -> ConnectedRuntime:
        chosen = {"hub": hub, "lease_ttl_s": TTL_S, "requests": QUICK, "drain_timeout_s": 2.0, **settings}
        opened.append(await connect(PlaneSettings(**chosen)))  # type: ignore[arg-type]
        return opened[-1]

    yield join
    for runtime in opened:
        await runtime.aclose()


def card_of(runtime: ConnectedRuntime, **fields: object) -> InstanceCard:
    described = {
        "instance_id": runtime.instance_id,
        "namespace": runtime.namespace,
        "component": "worker",
        "endpoints": ["count"],
        "address": runtime.server.address,
        **fields,
    }
    return InstanceCard(**described)  # type: ignore[arg-type]


async def count(ask: Ask) -> AsyncGenerator[int, None]:
    for number in range(ask.count):
        await asyncio.sleep(ask.pause_s)
        yield number


async def eventually(holds: Callable[[], bool], *, timeout_s: float = 8.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.01)


def crash(runtime: ConnectedRuntime) -> Awaitable[None]:
    """What is left of a process after kill -9: no listener, no connections, no keeper of its lease."""

    async def gone() -> None:
        runtime._registry._keeper.cancel()  # type: ignore[union-attr]
        runtime._registry._written.clear()
        await runtime.server.aclose()
        await runtime.client.aclose()
        await runtime.store.aclose()

    return gone()


# ── finding and calling ──────────────────────────────────────────────────────────────────────────


async def test_an_announced_instance_is_found_and_called_by_types(join: Connect) -> None:
    worker, caller = await join(), await join()
    worker.serve("count", Ask, int, count)
    view = caller.instances("worker")
    assert view.all() == ()
    registration = await worker.announce(card_of(worker))
    (card,) = await view.wait_for(1, timeout_s=2)
    assert card == registration.card
    assert view.get(worker.instance_id) == card
    assert caller.instances("worker") is view
    assert [number async for number in caller.call(card, "count", Ask(3), int)] == [0, 1, 2]
    assert [number async for number in caller.call(card.address, "count", Ask(1), int)] == [0]
    with pytest.raises(Unavailable, match="1 of 2"):
        await view.wait_for(2, timeout_s=0.05)


async def test_namespaces_do_not_see_each_other(join: Connect) -> None:
    worker, stranger = await join(namespace="a"), await join(namespace="b")
    await worker.announce(card_of(worker))
    with pytest.raises(Unavailable):
        await stranger.instances("worker").wait_for(1, timeout_s=0.05)
    assert len(await stranger.instances("worker", namespace="a").wait_for(1, timeout_s=2)) == 1


async def test_a_handler_can_ask_which_call_it_answers(join: Connect) -> None:
    worker, caller = await join(), await join()

    async def who(ask: Ask) -> AsyncGenerator[tuple[str, str], None]:
        await asyncio.sleep(0)
        yield current_call().request_id, current_call().headers["traceparent"]

    worker.serve("who", Ask, tuple[str, str], who)
    answers = [
        caller.call(
            worker.server.address,
            "who",
            Ask(0),
            tuple[str, str],
            request_id=f"req-{n}",
            headers={"traceparent": f"{n}"},
        )
        for n in range(3)
    ]
    assert [[item async for item in answer] for answer in answers] == [[(f"req-{n}", f"{n}")] for n in range(3)]
    with pytest.raises(LookupError):
        current_call()


async def test_messages_that_do_not_decode_are_a_protocol_mismatch(join: Connect) -> None:
    worker, caller = await join(), await join()
    worker.serve("count", Ask, int, count)
    with pytest.raises(ProtocolMismatch, match="request to count"):
        await anext(caller.call(worker.server.address, "count", {"count": "many"}, int))
    with pytest.raises(ProtocolMismatch, match="answer of count"):
        await anext(caller.call(worker.server.address, "count", Ask(1), str))


async def test_closing_an_answer_cancels_the_handler(join: Connect) -> None:
    worker, caller = await join(), await join()
    closed = asyncio.Event()

    async def endless(ask: Ask) -> AsyncGenerator[int, None]:
        try:
            while True:
                await asyncio.sleep(0.001)
                yield 1
        finally:
            closed.set()

    worker.serve("endless", Ask, int, endless)
    answer = caller.call(worker.server.address, "endless", Ask(0), int)
    assert await anext(answer) == 1
    await answer.aclose()
    async with asyncio.timeout(2):
        await closed.wait()


async def test_changes_tell_the_picture_now_and_then_the_latest(join: Connect) -> None:
    worker, caller = await join(), await join()
    changes = caller.instances("worker").changes()
    assert await anext(changes) == ()
    registration = await worker.announce(card_of(worker))
    assert [card.extra for card in await anext(changes)] == [{}]
    for number in range(20):
        await registration.update(card_of(worker, extra={"step": str(number)}))
    await eventually(lambda: caller.instances("worker").all()[0].extra == {"step": "19"})
    (latest,) = await anext(changes)
    assert latest.extra == {"step": "19"}, "a slow reader skips what is no longer so"
    assert latest.instance_id == worker.instance_id
    await registration.withdraw()
    await registration.withdraw()
    assert await anext(changes) == ()
    with pytest.raises(ValueError, match="keeps"):
        await registration.update(card_of(worker, component="other"))


async def test_cards_that_cannot_be_used_are_left_out(join: Connect, caplog: pytest.LogCaptureFixture) -> None:
    worker, caller = await join(), await join()
    await caller.store.put("/tandem/v1/default/worker/noise", b"\xff not json")
    await worker.announce(card_of(worker, instance_id="newer", protocol=99))
    await worker.announce(card_of(worker))
    (card,) = await caller.instances("worker").wait_for(1, timeout_s=2)
    assert card.instance_id == worker.instance_id
    assert "view.card_unreadable" in caplog.text
    assert "view.other_protocol" in caplog.text


async def test_cards_are_json_that_a_person_can_read(join: Connect) -> None:
    worker = await join()
    await worker.announce(card_of(worker))
    value = await worker.store.get(f"/tandem/v1/default/worker/{worker.instance_id}")
    assert value is not None
    assert msgspec.json.decode(value)["address"] == worker.server.address


# ── dying ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_that_finds_an_instance_dead_takes_it_out_at_once(join: Connect) -> None:
    worker, caller = await join(lease_ttl_s=5.0), await join()
    worker.serve("count", Ask, int, count)
    await worker.announce(card_of(worker))
    view = caller.instances("worker")
    (card,) = await view.wait_for(1, timeout_s=2)
    answer = caller.call(card, "count", Ask(100, 0.01), int)
    assert await anext(answer) == 0
    await crash(worker)
    with pytest.raises(InstanceLost):
        async for _ in answer:
            pass
    assert view.all() == ()


async def test_a_live_instance_that_tells_of_a_lost_one_is_not_taken_out(join: Connect) -> None:
    worker, caller = await join(), await join()

    async def relays(ask: Ask) -> AsyncGenerator[int, None]:
        raise InstanceLost("the prefill instance is gone")
        yield 0

    worker.serve("relays", Ask, int, relays)
    await worker.announce(card_of(worker))
    view = caller.instances("worker")
    (card,) = await view.wait_for(1, timeout_s=2)
    with pytest.raises(InstanceLost, match="prefill instance"):
        await anext(caller.call(card, "relays", Ask(0), int))
    assert view.all() == (card,)


async def test_a_dead_instance_is_gone_after_a_time_to_live(join: Connect) -> None:
    worker, caller = await join(), await join()
    await worker.announce(card_of(worker))
    view = caller.instances("worker")
    await view.wait_for(1, timeout_s=2)
    await crash(worker)
    before = time.monotonic()
    await eventually(lambda: view.all() == ())
    assert time.monotonic() - before < 2 * TTL_S


async def test_an_instance_reported_lost_comes_back_when_it_answers(join: Connect) -> None:
    worker, caller = await join(), await join()
    await worker.announce(card_of(worker))
    view = caller.instances("worker")
    await view.wait_for(1, timeout_s=2)
    view.report_lost(worker.instance_id)
    assert view.all() == ()
    assert len(await view.wait_for(1, timeout_s=2)) == 1


async def test_another_instance_on_a_reused_port_is_not_taken_for_the_lost_one(join: Connect) -> None:
    worker, caller = await join(), await join()
    await worker.announce(card_of(worker, instance_id="the-dead-one"))
    view = caller.instances("worker")
    await view.wait_for(1, timeout_s=2)
    view.report_lost("the-dead-one")
    await asyncio.sleep(0.8)
    assert view.all() == ()


async def test_a_worker_whose_lease_lapsed_registers_again(join: Connect, hub: EmbeddedHub) -> None:
    worker, caller = await join(), await join()
    await worker.announce(card_of(worker))
    view = caller.instances("worker")
    await view.wait_for(1, timeout_s=2)
    lease = worker._registry._lease
    assert lease is not None
    hub.apply(hub.state.store.revoke(lease.id))
    await eventually(lambda: view.all() == ())
    assert len(await view.wait_for(1, timeout_s=2 * TTL_S)) == 1


# ── a store that is late, away, or empty ─────────────────────────────────────────────────────────


async def _host(path: Path) -> HubServer:
    server = HubServer(EmbeddedHub(), path)
    await server.start()
    return server


async def test_announcing_waits_for_a_store_that_is_late(join: Connect, path: Path) -> None:
    worker, caller = await join(hub=path), await join(hub=path)
    view = caller.instances("worker")
    announcing = asyncio.create_task(worker.announce(card_of(worker)))
    await asyncio.sleep(0.3)
    assert not announcing.done()
    host = await _host(path)
    await announcing
    assert len(await view.wait_for(1, timeout_s=5)) == 1
    await caller.aclose()
    await worker.aclose()
    await host.aclose()


async def test_a_store_that_comes_back_empty_takes_nobody_out(join: Connect, path: Path) -> None:
    host = await _host(path)
    worker, caller = await join(hub=path, lease_ttl_s=2.0), await join(hub=path, lease_ttl_s=2.0)
    worker.serve("count", Ask, int, count)
    dead = await join(hub=path, lease_ttl_s=2.0)
    await worker.announce(card_of(worker))
    await dead.announce(card_of(dead))
    view = caller.instances("worker")
    await view.wait_for(2, timeout_s=2)
    answer = caller.call(view.get(worker.instance_id) or "", "count", Ask(200, 0.01), int)
    assert await anext(answer) == 0
    await host.aclose()
    await crash(dead)
    await asyncio.sleep(0.3)
    assert len(view.all()) == 2, "over the outage the last picture holds"
    host = await _host(path)

    async def there_all_the_time() -> int:
        seen = 0
        while await caller.store.get(f"/tandem/v1/default/worker/{worker.instance_id}") is None or dead_is_listed():
            assert view.get(worker.instance_id) is not None, "forgotten by the store, but it answers"
            seen += 1
            await asyncio.sleep(0.01)
        return seen

    def dead_is_listed() -> bool:
        return view.get(dead.instance_id) is not None

    async with asyncio.timeout(10):
        assert await there_all_the_time() > 0
    assert [card.instance_id for card in view.all()] == [worker.instance_id]
    assert [number async for number in answer] == list(range(1, 200)), "calls never noticed"
    for runtime in (caller, worker):
        await runtime.aclose()
    await host.aclose()


async def test_real_servers_that_come_back_empty_take_nobody_out(join: Connect) -> None:
    etcd, nats = EtcdServer(), NatsServer()
    await etcd.start()
    await nats.start()
    settings = {
        "hub": None,
        "etcd": EtcdSettings(endpoints=(etcd.url,)),
        "nats": NatsSettings(servers=(nats.url,)),
        "lease_ttl_s": 2.0,
    }
    try:
        worker, caller = await join(**settings), await join(**settings)
        worker.serve("count", Ask, int, count)
        await worker.announce(card_of(worker))
        assert worker.server.address.startswith("127.0.0.1:"), "the store is on loopback, so is everybody"
        view = caller.instances("worker")
        (card,) = await view.wait_for(1, timeout_s=5)
        await etcd.kill()
        await nats.kill()
        assert [number async for number in caller.call(card, "count", Ask(2), int)] == [0, 1]
        await etcd.start()
        await nats.start()
        key = f"/tandem/v1/default/worker/{worker.instance_id}"
        async with asyncio.timeout(10):
            while not await caller.store.get_prefix(key):
                assert view.all() == (card,)
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        assert view.all() == (card,)
        await eventually(lambda: worker.bus.connected)
        await caller.aclose()
        await worker.aclose()
    finally:
        await etcd.aclose()
        await nats.aclose()


# ── connecting and stopping ──────────────────────────────────────────────────────────────────────


async def test_a_plane_without_server_and_hub_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="etcd is not set"):
        await connect(PlaneSettings(nats=NatsSettings(servers=("nats://127.0.0.1:1",))))
    with pytest.raises(ConfigError, match="nats is not set"):
        await connect(PlaneSettings(etcd=EtcdSettings(endpoints=("http://127.0.0.1:1",))))


async def test_the_advertised_host_can_be_given(join: Connect) -> None:
    runtime = await join(advertise_host="10.9.8.7", listen_host="127.0.0.1")
    assert runtime.server.address.startswith("10.9.8.7:")


async def test_a_stop_withdraws_then_drains_then_closes_then_revokes(join: Connect, hub: EmbeddedHub) -> None:
    worker, caller = await join(), await join()
    worker.serve("count", Ask, int, count)
    await worker.announce(card_of(worker))
    view = caller.instances("worker")
    (card,) = await view.wait_for(1, timeout_s=2)
    lease = worker._registry._lease
    assert lease is not None
    story: list[str] = []

    async def running() -> None:
        numbers = [number async for number in caller.call(card, "count", Ask(20, 0.01), int)]
        assert numbers == list(range(20))
        story.append("the running call ends")

    async def refused() -> None:
        await eventually(lambda: view.all() == ())
        story.append("nobody chooses it")
        with pytest.raises(Unavailable, match="stopping"):
            await anext(caller.call(card, "count", Ask(1), int))
        story.append("a new call is refused")
        assert hub.state.store.renew(lease.id, hub.now()), "its lease still lives"

    call = asyncio.create_task(running())
    await asyncio.sleep(0.05)
    watcher = asyncio.create_task(refused())
    await asyncio.gather(worker.aclose(), worker.aclose())
    story.append("closed")
    await asyncio.gather(call, watcher)
    assert story == ["nobody chooses it", "a new call is refused", "the running call ends", "closed"]
    assert not hub.state.store.renew(lease.id, hub.now())


async def test_a_stop_goes_on_when_nobody_waits_for_it(join: Connect) -> None:
    worker = await join()
    await worker.announce(card_of(worker))
    stopping = asyncio.create_task(worker.aclose())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await worker.aclose()
    assert await worker.client.probe(worker.server.address, timeout_s=0.2) is None


async def test_a_stop_without_the_store_is_bounded(join: Connect, path: Path) -> None:
    host = await _host(path)
    worker = await join(hub=path)
    await worker.announce(card_of(worker))
    worker.instances("worker")
    await host.aclose()
    before = time.monotonic()
    await worker.aclose()
    assert time.monotonic() - before < 5
