"""Noise on a real engine's side channel harms no hand-off that comes after it."""

import asyncio
from contextlib import suppress

import msgspec
import pytest
import zmq
import zmq.asyncio
from tests.real.cluster import Nursery, a_real_cluster

from tandem.testing.cluster import a_request

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]

RAW = [
    b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 64,
    b"\xff" * 999,
]
MESSAGES = [
    [b"hello"],
    [b"", b"\xc1 nothing that decodes"],
    [b"", msgspec.msgpack.encode((b"get_meta_msg", 7, 7))],
    [b"", msgspec.msgpack.encode("word")],
    [b""] * 9,
]


async def say(host: str, port: int, noise: bytes) -> None:
    """As bytes on a connection, until the other side closes it or has had enough time to."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(noise)
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(0.5):
            while await reader.read(1000):
                pass
    writer.close()


async def test_noise_on_its_side_channel_keeps_no_decode_engine_from_reading(nursery: Nursery) -> None:
    async with a_real_cluster(nursery, block_size=32, max_model_len=2048, kv_cache_memory_bytes=32 << 20) as cluster:
        host, _, port = cluster.prefill.facts.side_channel.rpartition(":")
        await asyncio.gather(*(say(host, int(port), noise) for noise in RAW))
        with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as stranger:
            stranger.linger = 1000
            stranger.connect(f"tcp://{host}:{port}")
            for message in MESSAGES:
                await stranger.send_multipart(message)
            await asyncio.sleep(0.5)
        answer = await cluster.answer(a_request(prompt=range(100, 300), max_tokens=8, ignore_eos=True))
        assert answer.stage("prefill_decision").detail["site"] == "remote"
        assert "kv_pull" in answer.stages()
        assert "recovered" not in answer.stages()
