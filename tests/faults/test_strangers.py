"""Whoever connects to any port of a running service and speaks another language is cut off; nobody else notices.

The ports are not listed here: they are whatever the service's processes listen on.
"""

import asyncio
import pickle
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest
from tests.faults.stack import Stack, a_stack, prompts
from tests.process.serving import Host

from tandem.transport.frames import Hello, encode_frames

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

HELLO = bytes(encode_frames([Hello("tandem", 1)]))
NOISE = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    "Redis": b"*1\r\n$4\r\nPING\r\n\r\n",
    "ZeroMQ": b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL" + bytes(44),
    "a pickle": pickle.dumps({"run": print}) * 10 + b"\r\n\r\n",
    "an endless frame": b"\xff" * 2000 + b"\r\n\r\n",
    "an empty frame": bytes(4) + b"\r\n\r\n",
    "MessagePack that is none of ours": struct.pack(">I", 8) + msgspec.msgpack.encode(["tande", 1]) + b"\r\n\r\n",
    "our greeting, then noise": HELLO + b"\xff" * 100 + b"\r\n\r\n",
    "our greeting, then no frame": HELLO + struct.pack(">I", 5) + b"\xc1\xc1\xc1\xc1\xc1\r\n\r\n",
}


def doors(stack: Stack) -> dict[str, Connect]:
    """Every TCP port and Unix socket that a process of the service listens on."""
    found: dict[str, Connect] = {}
    for process in stack.serve.family():
        for listening in process.net_connections("tcp"):
            if listening.status == psutil.CONN_LISTEN:
                port = listening.laddr.port
                found[f"port {port} of {process.pid}"] = partial(asyncio.open_connection, "127.0.0.1", port)
    for path in Path(stack.folder).rglob("*.sock"):
        found[str(path)] = partial(asyncio.open_unix_connection, path)
    return found


async def closed_after(connect: Connect, noise: bytes) -> float:
    """Seconds until the other side ended the connection on which we said `noise`."""
    begun = time.monotonic()
    reader, writer = await connect()
    with suppress(ConnectionError):
        writer.write(noise)
        while await reader.read(65536):
            pass
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return time.monotonic() - begun


async def test_what_is_not_ours_is_cut_off_on_every_port_and_harms_nobody(host: Host) -> None:
    async with a_stack(host, prefill=1, decode=1) as stack:
        expected = await stack.ask(prompts(1)[0], max_tokens=400, ignore_eos=True)
        there = doors(stack)
        assert len([name for name in there if name.startswith("port")]) >= 6, "front, system, 3 of calls, side channels"
        assert any(name.endswith("dynamo.sock") for name in there)
        answering = asyncio.create_task(stack.ask(prompts(1)[0], max_tokens=400, ignore_eos=True))
        await asyncio.sleep(0.3)
        async with asyncio.timeout(15):
            await asyncio.gather(
                *(closed_after(connect, noise) for connect in there.values() for noise in NOISE.values())
            )
        ended = await answering
        assert (ended.error, ended.text) == (None, expected.text)
        assert [process["restarts"] for process in stack.serve.status()["processes"]] == [0, 0, 0]
        assert "Traceback" not in stack.serve.log
        assert (await stack.ask(prompts(2)[1])).error is None
