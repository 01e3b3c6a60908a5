"""A connection that is lost between its greeting and the call that asked for it."""

import asyncio

import pytest
from tests.contracts.request_contract import collect

from tandem.errors import InstanceLost
from tandem.transport.frames import PROTOCOL, Hello, encode_frames
from tandem.transport.tcp import TcpRequestClient


async def test_a_listener_that_is_gone_as_soon_as_it_has_greeted_is_a_lost_instance() -> None:
    async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode_frames([Hello("tandem", PROTOCOL, "one")]))
        writer.close()

    listener = await asyncio.start_server(gone, "127.0.0.1", 0)
    address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    client = TcpRequestClient()
    try:
        async with asyncio.timeout(10):
            for _ in range(50):
                with pytest.raises(InstanceLost):
                    await collect(client, address, "echo")
    finally:
        await client.aclose()
        listener.close()
        await listener.wait_closed()
