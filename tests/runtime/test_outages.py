"""What a connection keeps true while a store is late, away or empty, and how it stops."""

import asyncio
import time
from pathlib import Path

import pytest
from tests.runtime.joined import Ask, Connect, card_of, count, crash, eventually
from tests.servers import EtcdServer, NatsServer

from tandem.errors import ConfigError, Unavailable
from tandem.runtime.service import connect
from tandem.runtime.settings import PlaneSettings
from tandem.transport.embedded import EmbeddedHub
from tandem.transport.embedded_host import HubServer
from tandem.transport.ports import Lease
from tandem.transport.settings import EtcdSettings, NatsSettings

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


async def test_a_store_that_is_away_is_said_once(
    join: Connect, hub: EmbeddedHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    worker = await join(hub=hub)
    grant, tries = worker.store.grant, 0

    async def late(ttl_s: float) -> Lease:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise Unavailable("nobody is there")
        return await grant(ttl_s)

    monkeypatch.setattr(worker.store, "grant", late)
    await worker.announce(card_of(worker))
    told = [record.getMessage().split(" ")[0] for record in caplog.records if record.name.endswith("registry")]
    assert (tries, told) == (4, ["registry.store_away", "registry.store_back", "instance.announced"])
    await worker.aclose()


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
    lease = worker._announced._registries[0]._lease
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
