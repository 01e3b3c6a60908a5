"""Overload: less urgent requests are sent away first, and before queues grow."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from tests.frontend.conftest import OpenDoor
from tests.processor.fakes import saying

from tandem.core.load import LoadReport
from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.errors import Overloaded
from tandem.frontend.answering import DoorOptions
from tandem.frontend.guard.admission import Admission, Pressure, share
from tandem.processor.model import TextModel
from tandem.settings import LimitSettings

CHAT = "/v1/chat/completions"
HI = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


def a_report(who: str, waiting: int) -> LoadReport:
    return LoadReport(instance_id=who, running=8, waiting=waiting)


@pytest.mark.parametrize(
    ("limit", "priority", "gets"), [(100, 0, 100), (100, 3, 75), (100, -3, 125), (1, 0, 1), (1, 5, 1), (1, -5, 1)]
)
def test_the_more_urgent_get_more(limit: int, priority: int, gets: int) -> None:
    assert share(limit, priority) == gets


def test_places_end_for_the_less_urgent_first() -> None:
    admission = Admission(max_inflight=100)
    for priority, last in ((1, 74), (0, 99), (-1, 124)):
        admission.place(last, priority)
        with pytest.raises(Overloaded, match=f"{last + 1} requests are being served") as caught:
            admission.place(last + 1, priority)
        assert caught.value.retry_after_s == (5.0 if priority > 0 else 1.0)


def test_what_waits_in_the_workers_sends_requests_away() -> None:
    admission = Admission(max_waiting=10)
    admission.turn(0, 0.0)  # nobody has reported: nothing is known to wait
    admission.pressure.heard(a_report("a", 20), 0.0)
    admission.pressure.heard(a_report("b", 0), 0.0)
    with pytest.raises(Overloaded, match="10 requests wait for each worker"):
        admission.turn(0, 1.0)
    admission.turn(-1, 1.0)
    admission.pressure.heard(a_report("a", 16), 2.0)
    admission.turn(0, 2.0)
    with pytest.raises(Overloaded):
        admission.turn(1, 2.0)


def test_a_burst_between_two_reports_is_counted_where_there_is_a_queue() -> None:
    pressure = Pressure()
    pressure.heard(a_report("a", 1), 0.0)
    for _ in range(7):
        pressure.sent()
    assert pressure.waiting(0.0) == 8
    pressure.heard(a_report("a", 0), 0.1)
    pressure.sent()
    assert pressure.waiting(0.1) == 0


def test_a_worker_that_is_silent_is_forgotten() -> None:
    pressure = Pressure()
    pressure.heard(a_report("a", 100), 0.0)
    assert pressure.waiting(10.0) == 100
    assert pressure.waiting(10.1) == 0


async def test_a_full_house_takes_urgent_requests_only(door: OpenDoor, text_model: TextModel) -> None:
    go = asyncio.Event()

    async def waiting(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        await go.wait()
        async for output in saying(text_model, "x")(request):
            yield output

    one = await door(waiting, door_options=DoorOptions(limits=LimitSettings(max_inflight=4)))
    held = [asyncio.create_task(one.client.post(CHAT, json=HI)) for _ in range(4)]
    async with asyncio.timeout(5):
        while one.app.running < 4:
            await asyncio.sleep(0.001)
    reply = await one.client.post(CHAT, json=HI)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
    urgent = asyncio.create_task(one.client.post(CHAT, json=HI, headers={"x-request-priority": "-1"}))
    async with asyncio.timeout(5):
        while one.app.running < 5:
            await asyncio.sleep(0.001)
    go.set()
    assert [reply.status_code for reply in await asyncio.gather(urgent, *held)] == [200] * 5


async def test_a_queue_in_the_workers_is_told_as_429_before_it_grows(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "x"), door_options=DoorOptions(limits=LimitSettings(max_waiting=8)))
    one.app.guard.heard(a_report("w1", 8))
    reply = await one.client.post(CHAT, json=HI)
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "overloaded")
    assert (await one.client.post(CHAT, json={**HI, "priority": -1})).status_code == 200
    one.app.guard.heard(a_report("w1", 6))
    reply = await one.client.post(CHAT, json={**HI, "priority": 1})
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "5")
    assert (await one.client.post(CHAT, json=HI)).status_code == 200
