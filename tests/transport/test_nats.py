"""The NATS adapter passes the contracts of bus and work queue on a real nats-server."""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.contracts.bus_contract import BusContract, next_message, until_connected
from tests.contracts.work_queue_contract import WorkQueueContract
from tests.servers import NatsServer

from tandem.errors import ConfigError, Unavailable
from tandem.transport.nats import NatsBus
from tandem.transport.nats.login import login_of
from tandem.transport.ports import LaneDepth
from tandem.transport.settings import NatsSettings


@pytest.fixture
def ack_wait_s() -> float:
    return 0.6


@pytest.fixture
async def server() -> AsyncIterator[NatsServer]:
    server = NatsServer()
    await server.start()
    yield server
    await server.aclose()


@pytest.fixture(scope="module")
def shared_server() -> Iterator[NatsServer]:
    """For the contracts, which leave it as it is."""
    server = NatsServer()
    asyncio.run(server.start())
    yield server
    asyncio.run(server.aclose())


async def _bus(server: NatsServer) -> AsyncIterator[NatsBus]:
    bus = NatsBus(NatsSettings(servers=(server.url,)))
    await until_connected(bus)
    yield bus
    await bus.aclose()


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[NatsBus]:
    async for bus in _bus(server):
        yield bus


@pytest.fixture
async def other(server: NatsServer) -> AsyncIterator[NatsBus]:
    async for bus in _bus(server):
        yield bus


class SharedServer:
    @pytest.fixture
    def server(self, shared_server: NatsServer) -> NatsServer:
        return shared_server


class TestNatsBus(SharedServer, BusContract):
    pass


class TestNatsWorkQueue(SharedServer, WorkQueueContract):
    pass


# ── troubles ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def late() -> AsyncIterator[NatsServer]:
    """A server that is not started."""
    server = NatsServer()
    yield server
    await server.aclose()


async def test_a_server_that_arrives_late_is_waited_for(late: NatsServer) -> None:
    bus = NatsBus(NatsSettings(servers=(late.url,), request_timeout_s=0.5))
    try:
        queue = await bus.work_queue("prefill", ack_wait_s=5)
        with pytest.raises(Unavailable, match="cannot be reached"):
            await queue.put("common", "early", b"0")
        assert await queue.take(["common"], timeout_s=0.1) == []
        assert not await queue.cancel("early")
        await bus.publish("a", b"lost")
        async with bus.subscribe("a") as messages:
            taking = asyncio.create_task(queue.take(["common"], timeout_s=10))
            await late.start()
            await until_connected(bus)
            await bus.publish("a", b"found")
            assert (await next_message(messages)).payload == b"found"
            await queue.put("common", "job", b"1")
            (delivery,) = await taking
            assert delivery.payload == b"1"
            await delivery.ack()
    finally:
        await bus.aclose()


async def test_a_server_that_comes_back_empty_is_set_up_again(server: NatsServer, bus: NatsBus) -> None:
    queue = await bus.work_queue("prefill", ack_wait_s=5)
    await queue.put("common", "vanishes", b"0")
    await queue.put("mine", "held", b"1")
    (held,) = await queue.take(["mine"], timeout_s=2)
    async with bus.subscribe("a.>") as messages:
        taking = asyncio.create_task(queue.take(["idle", "mine"], timeout_s=15))
        await asyncio.sleep(0.1)
        await server.kill()
        await asyncio.sleep(1.0)
        assert not bus.connected
        await bus.publish("a.b", b"dropped")
        await server.start()
        await until_connected(bus)
        await bus.publish("a.b", b"heard")
        assert (await next_message(messages)).payload == b"heard"
        await held.ack()
        await queue.put("mine", "new", b"2")
        (delivery,) = await taking
        assert (delivery.payload, delivery.number) == (b"2", 1)
        await delivery.ack()
        assert await queue.take(["common"], timeout_s=0.2) == [], "embedded or not, an empty server has no jobs"
        assert not await queue.cancel("vanishes")


async def test_a_server_that_stopped_without_a_word_is_noticed(server: NatsServer) -> None:
    bus = NatsBus(NatsSettings(servers=(server.url,), ping_interval_s=0.5, request_timeout_s=1))
    try:
        await until_connected(bus)
        queue = await bus.work_queue("prefill", ack_wait_s=5)
        server.pause()
        with pytest.raises(Unavailable):
            await queue.put("common", "job", b"1")
        async with asyncio.timeout(5):
            while bus.connected:
                await asyncio.sleep(0.02)
        server.resume()
        await until_connected(bus)
        await queue.put("common", "job", b"1")
        (delivery,) = await queue.take(["common"], timeout_s=5)
        assert delivery.payload == b"1"
    finally:
        server.resume()
        await bus.aclose()


async def test_a_server_without_jetstream_is_told_of_in_one_sentence() -> None:
    server = NatsServer(jetstream=False)
    await server.start()
    bus = NatsBus(NatsSettings(servers=(server.url,), request_timeout_s=0.5))
    try:
        await until_connected(bus)
        with pytest.raises(Unavailable, match="start nats-server with -js"):
            await bus.work_queue("prefill", ack_wait_s=5)
        async with bus.subscribe("a") as messages:
            await bus.publish("a", b"core works")
            assert (await next_message(messages)).payload == b"core works"
    finally:
        await bus.aclose()
        await server.aclose()


async def _meets(server: NatsServer, settings: NatsSettings) -> bool:
    await server.start()
    bus = NatsBus(settings)
    try:
        async with asyncio.timeout(1.5):
            await until_connected(bus)
        await bus.work_queue("prefill", ack_wait_s=5)
        return True
    except TimeoutError:
        return False
    finally:
        await bus.aclose()
        await server.aclose()


async def test_user_and_password_log_in_and_are_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    server = NatsServer("--user", "tandem", "--pass", "s3cret")
    wrong = NatsSettings(servers=(server.url,), user="tandem", password="wr0ng")
    assert not await _meets(server, wrong)
    server = NatsServer("--user", "tandem", "--pass", "s3cret")
    assert await _meets(server, NatsSettings(servers=(server.url,), user="tandem", password="s3cret"))
    server = NatsServer("--user", "tandem", "--pass", "s3cret")
    assert await _meets(server, NatsSettings(servers=(f"nats://tandem:s3cret@127.0.0.1:{server.port}",)))
    assert "Authorization Violation" in caplog.text
    assert "s3cret" not in caplog.text
    assert "wr0ng" not in caplog.text
    assert "s3cret" not in repr(login_of(NatsSettings(servers=("nats://tandem:s3cret@nats",))))


def test_a_password_in_an_address_is_never_told() -> None:
    for password in ("s3cret", "s3/cret", "s3@cret"):
        settings = NatsSettings(servers=(f"nats://tandem:{password}@nats:4222",))
        login = login_of(settings)
        assert login.servers == ("nats://nats:4222",)
        assert login.options == {"user": "tandem", "password": password}
        assert "cret" not in repr(login) + repr(settings)


async def test_a_token_logs_in() -> None:
    server = NatsServer("--auth", "t0ken")
    assert await _meets(server, NatsSettings(servers=(server.url,), token="t0ken"))
    server = NatsServer("--auth", "t0ken")
    assert await _meets(server, NatsSettings(servers=(f"nats://t0ken@127.0.0.1:{server.port}",)))


def _seed_text(seed: bytes) -> str:
    body = bytes([(18 << 3) | (20 << 3) >> 5, ((20 << 3) & 31) << 3]) + seed
    return base64.b32encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "little")).decode().rstrip("=")


async def test_an_nkey_logs_in(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    file = tmp_path / "user.nk"
    file.write_text(_seed_text(bytes(range(32))) + "\n")
    public = login_of(NatsSettings(servers=("nats",), nkey_file=str(file))).public_nkey
    server = NatsServer(config=f"authorization {{ users: [ {{ nkey: {public} }} ] }}")
    assert await _meets(server, NatsSettings(servers=(server.url,), nkey_file=str(file)))


def test_a_creds_file_gives_a_jwt_and_signs_the_nonce(tmp_path: Path) -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    seed = bytes(range(32))
    text = _seed_text(seed)
    file = tmp_path / "user.creds"
    file.write_text(
        "-----BEGIN NATS USER JWT-----\nhead.body.sig\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n"
        f"-----BEGIN USER NKEY SEED-----\n{text}\n------END USER NKEY SEED------\n"
    )
    login = login_of(NatsSettings(servers=("nats://a:4222", "b"), creds_file=str(file)))
    assert login.servers == ("nats://a:4222", "nats://b")
    assert login.options["user_jwt_cb"]() == b"head.body.sig"
    signature = base64.b64decode(login.options["signature_cb"]("nonce"))
    ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().verify(signature, b"nonce")
    assert text not in repr(login)


@pytest.mark.parametrize("text", ["", "SUAAAA", "not base32 1", "UAAA", "-----BEGIN NATS USER JWT-----\nx"])
def test_a_secret_file_that_cannot_work_is_a_config_error_without_its_content(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    for settings in (
        NatsSettings(servers=("nats",), nkey_file=str(file)),
        NatsSettings(servers=("nats",), creds_file=str(file)),
        NatsSettings(servers=("nats",), creds_file=str(tmp_path / "missing")),
        NatsSettings(servers=("nats",), ca_file=str(tmp_path / "missing")),
        NatsSettings(servers=()),
    ):
        with pytest.raises(ConfigError) as caught:
            login_of(settings)
        assert not text or text not in str(caught.value)


async def test_a_lane_with_a_held_job_is_dropped_once_it_is_free(bus: NatsBus, ack_wait_s: float) -> None:
    queue = await bus.work_queue("prefill", ack_wait_s=5)
    await queue.put("gone", "a", b"a")
    await queue.put("gone", "b", b"b")
    (held,) = await queue.take(["gone"], timeout_s=2)
    await queue.drop_lane("gone", into="common")
    assert await queue.lanes() == {"common": LaneDepth(1, 0), "gone": LaneDepth(0, 1)}
    await held.ack()
    await queue.drop_lane("gone", into="common")
    assert await queue.lanes() == {"common": LaneDepth(1, 0)}
