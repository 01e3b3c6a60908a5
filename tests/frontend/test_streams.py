"""The bytes of an event stream; clients that leave, and clients that do not read."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from tests.frontend.conftest import Door, OpenDoor
from tests.processor.fakes import saying

from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.errors import EngineFailed, ServingError
from tandem.frontend.answering import DoorOptions
from tandem.observe import metrics
from tandem.processor.model import TextModel
from tandem.settings import LimitSettings

CHAT = "/v1/chat/completions"
HI = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


async def endless(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
    while True:
        await asyncio.sleep(0)
        yield GenerateOutput(token_ids=[100] * 20)


async def silent(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
    await asyncio.Event().wait()
    yield GenerateOutput(token_ids=[])


async def raw(door: Door, body: dict[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which the request has been sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
    data = json.dumps(body).encode()
    writer.write(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (CHAT.encode(), len(data)) + data)
    await writer.drain()
    return reader, writer


async def test_the_bytes_of_a_stream(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "Hi", eos=2))
    reply = await one.client.post(CHAT, json={**HI, "stream": True}, headers={"x-request-id": "mine-1"})
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (reply.headers["cache-control"], reply.headers["x-request-id"]) == ("no-cache", "mine-1")
    assert "content-length" not in reply.headers
    events = reply.content.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]
    head = {k: chunks[0][k] for k in ("id", "object", "created", "model")}
    assert head["object"] == "chat.completion.chunk"
    assert head["id"].startswith("chatcmpl-")
    assert [{k: c[k] for k in head} for c in chunks] == [head] * len(chunks)
    assert [c["choices"][0] for c in chunks] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None},
        {"index": 0, "delta": {"content": "Hi"}, "logprobs": None, "finish_reason": None},
        {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"},
    ]
    assert one.house.stories.get("mine-1") == one.house.stories.get(head["id"])
    told = [stage.name for stage in one.house.stories.get("mine-1") or ()]
    assert told == ["accepted", "tokenized", "routed", "finished"]


@pytest.mark.parametrize("client_id", ["", "a b", "x" * 129, "-x", "a\tb", 'a"b'])
async def test_a_strange_request_id_is_replaced(door: OpenDoor, text_model: TextModel, client_id: str) -> None:
    one = await door(saying(text_model, "Hi"))
    reply = await one.client.post(CHAT, json=HI, headers={"x-request-id": client_id})
    assert len(reply.headers["x-request-id"]) == 36
    assert reply.json()["id"] == "chatcmpl-" + reply.headers["x-request-id"]


async def test_a_failure_after_the_first_byte_is_one_event_and_no_done(door: OpenDoor, text_model: TextModel) -> None:
    async def dying(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        yield GenerateOutput(token_ids=text_model.encode("Half", add_special_tokens=False))
        raise ServingError("out of luck")

    one = await door(dying)
    reply = await one.client.post(CHAT, json={**HI, "stream": True})
    assert reply.status_code == 200
    events = reply.content.split(b"\n\n")
    assert b"[DONE]" not in reply.content
    assert json.loads(events[-2].removeprefix(b"data: ")) == {
        "error": {"message": "out of luck", "type": "server_error", "param": None, "code": "internal"}
    }


@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_before_the_first_byte_has_a_status(door: OpenDoor, stream: bool) -> None:
    async def dead(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        raise EngineFailed("the engine died")
        yield

    one = await door(dead, reroute_wait_s=0.01)
    reply = await one.client.post(CHAT, json={**HI, "stream": stream})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "engine_failed")


async def test_a_bug_of_ours_is_a_500_that_tells_nothing(door: OpenDoor, caplog: pytest.LogCaptureFixture) -> None:
    async def buggy(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        raise ZeroDivisionError("secret detail")
        yield

    metrics.reset()
    reply = await (await door(buggy)).client.post(CHAT, json=HI)
    assert (reply.status_code, "secret" in reply.text) == (500, False)
    assert "ZeroDivisionError" in caplog.text
    assert (metrics.BUGS.value("frontend"), metrics.REQUESTS.value("error")) == (1, 1)


@pytest.mark.parametrize("answer", [endless, silent], ids=["mid-stream", "before the first token"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_cancels_its_request(door: OpenDoor, answer: Any, stream: bool) -> None:
    metrics.reset()
    one = await door(answer, max_model_len=10**9)
    reader, writer = await raw(one, {**HI, "stream": stream})
    async with asyncio.timeout(5):
        while not one.house.workers.open:
            await asyncio.sleep(0.001)
        if stream and answer is endless:
            await reader.readuntil(b"data: ")
    writer.close()
    await one.idle()
    async with asyncio.timeout(5):
        while not metrics.REQUESTS.value("cancel"):
            await asyncio.sleep(0.001)
    (request_id,) = one.house.stories.recent()
    assert [stage.name for stage in one.house.stories.get(request_id) or ()][-1] == "cancelled"
    assert metrics.REQUESTS_RUNNING.value() == 0


@pytest.mark.parametrize("trickles", [False, True], ids=["reads nothing", "reads a byte a moment"])
async def test_a_client_that_does_not_keep_up_slows_its_own_stream_only(
    door: OpenDoor, text_model: TextModel, trickles: bool
) -> None:
    produced: dict[str, int] = {}

    async def answer(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        if request.sampling.max_tokens == 7:
            async for output in saying(text_model, "quick")(request):
                yield output
            return
        async for output in endless(request):
            produced[request.request_id] = produced.get(request.request_id, 0) + 1
            yield output

    one = await door(answer, max_model_len=10**9)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", one.server.port))
    data = json.dumps({**HI, "stream": True}).encode()
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (CHAT.encode(), len(data))
    await asyncio.get_running_loop().sock_sendall(sock, head + data)

    async def trickle() -> None:
        while trickles:
            assert await asyncio.get_running_loop().sock_recv(sock, 1)
            await asyncio.sleep(0.01)

    reading = asyncio.create_task(trickle())
    before = -1
    async with asyncio.timeout(10):
        while not produced or sum(produced.values()) != before:  # until it stands still
            before = sum(produced.values())
            await asyncio.sleep(0.2)
        for _ in range(5):
            reply = await one.client.post(CHAT, json={**HI, "max_tokens": 7})
            assert reply.json()["choices"][0]["message"]["content"] == "quick"
    assert sum(produced.values()) <= before + (100 if trickles else 0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    sock.close()
    await one.idle()


async def test_more_than_max_inflight_gets_429_and_retry_after(door: OpenDoor) -> None:
    one = await door(silent, door_options=DoorOptions(limits=LimitSettings(max_inflight=1)))
    _, writer = await raw(one, HI)
    async with asyncio.timeout(5):
        while not one.app.running:
            await asyncio.sleep(0.001)
    reply = await one.client.post(CHAT, json=HI)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
    writer.close()
    await one.idle()


async def test_a_body_that_is_still_coming_holds_a_place(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "x"), door_options=DoorOptions(limits=LimitSettings(max_inflight=1)))
    _, writer = await asyncio.open_connection("127.0.0.1", one.server.port)
    writer.write(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{" % CHAT.encode())
    async with asyncio.timeout(5):
        while (reply := await one.client.post(CHAT, json=HI)).status_code != 429:
            await asyncio.sleep(0.01)
    assert reply.headers["retry-after"] == "1"
    writer.close()
    await one.idle()
    assert (await one.client.post(CHAT, json=HI)).status_code == 200
    assert metrics.REQUESTS_RUNNING.value() == 0


async def test_a_body_that_does_not_come_gets_408(door: OpenDoor) -> None:
    one = await door(silent, door_options=DoorOptions(limits=LimitSettings(body_timeout_s=0.05)))
    reader, writer = await asyncio.open_connection("127.0.0.1", one.server.port)
    writer.write(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{" % CHAT.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()


async def test_requests_on_one_connection_follow_each_other(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "Hi"))
    for _ in range(20):
        reply = await one.client.post(CHAT, json={**HI, "stream": True})
        assert reply.content.endswith(b"data: [DONE]\n\n")
    assert metrics.REQUESTS_RUNNING.value() == 0
