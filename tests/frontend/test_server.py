"""The port: taken at start, closed until ready, drained at the end. And the health routes."""

import asyncio
import errno
import socket
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from tests.frontend.conftest import OpenDoor
from tests.processor.fakes import a_card, saying
from tests.servers import free_port

from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.errors import ConfigError, ServingError, error_from_wire
from tandem.frontend.port import take
from tandem.frontend.server import DoorServer
from tandem.frontend.statuses import STATUSES, error_body, status_of
from tandem.processor.model import TextModel


async def nothing(scope: object, receive: object, send: object) -> None:
    raise AssertionError("nobody should connect")


async def test_the_port_refuses_until_it_is_opened() -> None:
    server = DoorServer(nothing, host="127.0.0.1", port=0)
    server.reserve()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)
    await server.open()
    await server.open()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.close()
    port = server.port
    await server.aclose()
    await server.aclose()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_small_writes_do_not_wait_for_acknowledgements() -> None:
    server = DoorServer(nothing, host="127.0.0.1", port=0)
    await server.open()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    assert server._server is not None
    async with asyncio.timeout(5):
        while not (connections := server._server.server_state.connections):
            await asyncio.sleep(0.001)
    (connection,) = connections
    accepted = connection.transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    writer.close()
    await server.aclose()


async def test_two_servers_on_one_socket_share_a_burst_and_one_leaves_without_refusing_anybody() -> None:
    shared = take("127.0.0.1", 0)
    port = shared.getsockname()[1]
    servers = [DoorServer(nothing, drain_timeout_s=1, shared=shared.dup()) for _ in range(2)]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    for server in servers:
        server.reserve()
        await server.open()
    opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(20)))

    def taken() -> list[int]:
        return [len(server._server.server_state.connections) for server in servers if server._server is not None]

    async with asyncio.timeout(5):
        while sum(taken()) < 20:
            await asyncio.sleep(0.001)
    assert min(taken()) >= 5
    assert servers[0]._server is not None
    for connection in servers[0]._server.server_state.connections:
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    serving = servers[0]._serving
    await servers[0].aclose()
    assert serving is not None
    assert serving.exception() is None
    for _ in range(5):
        opened.append(await asyncio.open_connection("127.0.0.1", port))
    async with asyncio.timeout(5):
        while len(servers[1]._server.server_state.connections) < 5:  # type: ignore[union-attr]
            await asyncio.sleep(0.001)
    for _, writer in opened:
        writer.close()
    await servers[1].aclose()
    shared.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def empty(scope: object, receive: object, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def test_a_connection_that_came_before_the_stop_gets_its_first_request_answered() -> None:
    server = DoorServer(empty, host="127.0.0.1", port=0)
    server.reserve()
    await server.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    assert server._server is not None
    async with asyncio.timeout(5):
        while not server._server.server_state.connections:
            await asyncio.sleep(0.001)
        stopping = asyncio.create_task(server.aclose())
        await asyncio.sleep(0.05)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.read()
        await stopping
    assert answer.startswith(b"HTTP/1.1 204 ")
    writer.close()


async def test_a_process_without_room_for_another_connection_looks_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Full(socket.socket):
        tried = 0

        def accept(self) -> tuple[socket.socket, object]:
            self.tried += 1
            if self.tried == 1:
                raise OSError(errno.EMFILE, "too many open files")
            return super().accept()

    monkeypatch.setattr("tandem.frontend.shared_port._AGAIN_S", 0.01)
    taken = take("127.0.0.1", 0)
    full = Full(fileno=taken.detach())
    server = DoorServer(nothing, drain_timeout_s=1, shared=full)
    await server.open()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    assert server._server is not None
    async with asyncio.timeout(5):
        while not server._server.server_state.connections:
            await asyncio.sleep(0.001)
    assert full.tried == 2
    writer.close()
    await server.aclose()


async def test_a_busy_port_is_a_config_error_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(
            ConfigError,
            match=f"port {port} on 127.0.0.1 is in use by another program: stop it, or choose another with --port",
        ):
            DoorServer(nothing, host="127.0.0.1", port=port).reserve()


async def test_two_that_start_at_once_do_not_share_a_port() -> None:
    first = DoorServer(nothing, host="127.0.0.1", port=free_port())
    first.reserve()
    for host in ("127.0.0.1", "0.0.0.0"):
        with pytest.raises(ConfigError, match="in use"):
            DoorServer(nothing, host=host, port=first.port).reserve()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", first.port)
    await first.open()
    _, writer = await asyncio.open_connection("127.0.0.1", first.port)
    writer.close()
    await first.aclose()


async def test_the_next_run_gets_the_port_while_the_kernel_remembers_connections_of_the_last() -> None:
    port = free_port()
    for _ in range(2):
        server = DoorServer(nothing, host="127.0.0.1", port=port)
        await server.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await server.aclose()  # we close first: the address stays in TIME_WAIT
        assert await reader.read() == b""
        writer.close()


async def test_running_requests_are_drained(door: OpenDoor, text_model: TextModel) -> None:
    go = asyncio.Event()

    async def waiting(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        await go.wait()
        async for output in saying(text_model, "late")(request):
            yield output

    one = await door(waiting)
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    asking = asyncio.create_task(one.client.post("/v1/chat/completions", json=body))
    async with asyncio.timeout(5):
        while not one.app.running:
            await asyncio.sleep(0.001)
    url = one.url
    closing = asyncio.create_task(one.server.aclose())
    async with asyncio.timeout(5):
        while True:
            try:
                async with httpx.AsyncClient() as other:
                    await other.get(f"{url}/live")
            except httpx.ConnectError:
                break
            await asyncio.sleep(0.01)
    go.set()
    assert (await asking).json()["choices"][0]["message"]["content"] == "late"
    await closing


async def test_ready_says_why_not(door: OpenDoor, text_model: TextModel) -> None:
    one = await door()
    for path in ("/ready", "/health"):
        reply = await one.client.get(path)
        assert (reply.status_code, reply.json()["status"]) == (503, "not ready")
        assert "0 of 1 decode workers" in reply.json()["reason"]
    assert (await one.client.get("/live")).json() == {"status": "live"}
    assert (await one.client.head("/live")).status_code == 200
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    assert (await one.client.post("/v1/chat/completions", json=body)).status_code == 503
    one.house.view.add(a_card("w1"))
    await one.house.models.wait_ready()
    assert (await one.client.get("/ready")).json() == {"status": "ready", "models": ["tiny"]}


def test_every_code_of_the_error_tree_has_a_status() -> None:
    def codes(cls: type[ServingError]) -> set[str]:
        return {cls.code}.union(*(codes(child) for child in cls.__subclasses__()))

    assert codes(ServingError) <= set(STATUSES)
    assert status_of("from_a_newer_peer").http == 500
    assert error_body(error_from_wire("from_a_newer_peer", "x")).error.type == "server_error"
