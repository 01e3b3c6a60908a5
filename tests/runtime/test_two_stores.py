"""A store that is late, and the group's own hub beside it: instances are found by either, and each may go and come."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.runtime.joined import Connect, card_of, crash, eventually
from tests.servers import EtcdServer, free_port

from tandem.core.cards import InstanceCard
from tandem.errors import Unavailable
from tandem.runtime.rules import ViewState, joined
from tandem.runtime.service import ConnectedRuntime
from tandem.transport.embedded import EmbeddedHub
from tandem.transport.embedded_host import HubServer
from tandem.transport.settings import EtcdSettings, NatsSettings


def card(name: str, address: str = "h:1") -> InstanceCard:
    return InstanceCard(instance_id=name, namespace="n", component="c", endpoints=[], address=address)


def state(*cards: InstanceCard, current: bool = True) -> ViewState:
    made = ViewState(10.0)
    for one in cards:
        made.on_put(one)
    made.on_synced(0.0)
    if not current:
        made.on_outage()
    return made


@pytest.mark.parametrize(
    ("first", "other", "ids"),
    [
        (state(card("a"), card("b")), state(card("b"), card("c")), "abc"),
        (state(), state(card("c")), "c"),
        (ViewState(10.0), state(card("c")), "c"),
        (state(card("a")), state(card("z"), current=False), "a"),
        (state(card("a"), current=False), state(card("c")), "ac"),
        (state(card("a"), current=False), state(card("c"), current=False), "ac"),
    ],
    ids=["both there", "first empty", "first late", "other away", "first away", "both away"],
)
def test_the_first_store_rules_and_the_other_fills_in(first: ViewState, other: ViewState, ids: str) -> None:
    assert "".join(found.instance_id for found in joined([first, other])) == ids


def test_over_an_outage_of_the_first_the_others_cards_are_the_newer_ones() -> None:
    old, new = card("a", "old:1"), card("a", "new:1")
    assert joined([state(old, current=False), state(new)]) == (new,)
    assert joined([state(old), state(new)]) == (old,)


@pytest.fixture
async def hub_at() -> AsyncIterator[tuple[str, HubServer]]:
    address = f"127.0.0.1:{free_port()}"
    server = HubServer(EmbeddedHub(), address)
    await server.start()
    yield address, server
    await server.aclose()


async def test_instances_meet_before_etcd_is_up_and_after_it_is_gone(
    join: Connect, hub_at: tuple[str, HubServer]
) -> None:
    address, host = hub_at
    etcd = EtcdServer()
    planes = {
        "hub": address,
        "etcd": EtcdSettings(endpoints=(etcd.url,), request_timeout_s=0.5, probe_interval_s=0.3),
        "nats": NatsSettings(servers=(f"nats://127.0.0.1:{free_port()}",)),
        "lease_ttl_s": 2.0,
    }
    worker, caller = await join(**planes), await join(**planes)
    registration = await worker.announce(card_of(worker))
    view = caller.instances("worker")
    assert [found.instance_id for found in await view.wait_for(1, timeout_s=5)] == [worker.instance_id]

    await etcd.start()
    key = f"/tandem/v1/default/worker/{worker.instance_id}"
    async with asyncio.timeout(15):
        while not await _in_etcd(caller, key):
            assert view.get(worker.instance_id) is not None, "an etcd that is still empty takes nobody out"
            await asyncio.sleep(0.05)

    await host.aclose()  # the pod that hosts the hub is replaced: etcd has everybody
    second = await join(**planes)
    await second.announce(card_of(second))
    assert len(await view.wait_for(2, timeout_s=8)) == 2
    await registration.withdraw()
    await eventually(lambda: view.get(worker.instance_id) is None)
    assert view.get(second.instance_id) is not None

    again = HubServer(EmbeddedHub(), address)
    await again.start()
    hubs_word = caller._views["default", "worker"]._states[1]
    await eventually(lambda: hubs_word.current and hubs_word.get(second.instance_id) is not None)
    assert view.get(worker.instance_id) is None, "it was withdrawn while the hub was away"
    await etcd.aclose()
    third = await join(**planes)
    await third.announce(card_of(third))
    await eventually(lambda: view.get(third.instance_id) is not None)
    await crash(second)
    view.report_lost(second.instance_id)
    assert [found.instance_id for found in view.all()] == [third.instance_id]
    for runtime in (worker, second, third, caller):
        await runtime.aclose()
    await again.aclose()


async def _in_etcd(runtime: ConnectedRuntime, key: str) -> bool:
    try:
        return await runtime.store.get(key) is not None
    except Unavailable:
        return False
