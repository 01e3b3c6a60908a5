"""Limits per key: what a bucket lets through, what a request is charged, what its client is told."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.frontend.conftest import OpenDoor
from tests.processor.fakes import saying

from tandem.core.openai_in import ChatRequest
from tandem.core.openai_out import Spent
from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.errors import EngineFailed, Overloaded, RateLimited, RequestError
from tandem.frontend.guard.keyring import Keys
from tandem.frontend.guard.keys import KeyEntry, NewKey, new_key
from tandem.frontend.guard.quotas import Bucket, Meter, Quotas, duration
from tandem.frontend.guard.service import Guard
from tandem.frontend.guard.tickets import Ticket, effective_priority, header_priority
from tandem.observe import metrics
from tandem.processor.model import TextModel
from tandem.settings import LimitSettings

CHAT = "/v1/chat/completions"
HI: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


def a_meter(**limits: Any) -> Meter:
    meter = Meter()
    meter.fit(KeyEntry(name="a", sha256="0" * 64, **limits), 0.0)
    return meter


def left(meter: Meter, unit: Any = "tokens", now: float = 0.0) -> int:
    standing = meter.standing(unit, now)
    assert standing is not None
    return standing.remaining


def test_sixty_per_minute_are_sixty_at_once_and_then_one_a_second() -> None:
    meter = a_meter(requests_per_minute=60)
    assert [meter.take("requests", 1, 0.0) for _ in range(60)] == [None] * 60
    refusal = meter.take("requests", 1, 0.0)
    assert refusal is not None
    assert (refusal.limit, refusal.period_s, refusal.retry_after_s) == (60, 60.0, 1.0)
    assert meter.take("requests", 1, 0.5) is not None
    assert meter.take("requests", 1, 1.0) is None
    assert meter.take("requests", 1, 1.0) is not None


def test_a_refused_request_takes_nothing_from_any_limit() -> None:
    meter = a_meter(requests_per_minute=10, requests_per_day=2)
    for _ in range(2):
        assert meter.take("requests", 1, 0.0) is None
    refusal = meter.take("requests", 1, 0.0)
    assert refusal is not None
    assert (refusal.period_s, refusal.retry_after_s) == (86_400.0, 43_200.0)
    assert meter.buckets["requests", 60.0].left(0.0) == 8


def test_more_than_the_whole_limit_is_let_through_when_nothing_was_used() -> None:
    meter = a_meter(tokens_per_minute=100)
    assert meter.take("tokens", 500, 0.0) is None
    refusal = meter.take("tokens", 1, 0.0)
    assert refusal is not None
    assert refusal.retry_after_s == pytest.approx(401 * 60 / 100)


@given(st.lists(st.tuples(st.integers(0, 200), st.floats(0, 100)), max_size=50))
def test_over_any_time_no_more_is_taken_than_the_limit_and_its_refill(asked: list[tuple[int, float]]) -> None:
    bucket, now, taken, largest = Bucket(100, 60.0, 100.0, 0.0), 0.0, 0, 0
    for amount, later in asked:
        now += later
        if bucket.wait_s(amount, now) == 0:
            bucket.take(amount, now)
            taken, largest = taken + amount, max(largest, amount)
    assert taken <= 100 + now * 100 / 60 + max(0, largest - 100) + 1e-3
    assert bucket.left(now) <= 100


@given(st.integers(1, 500), st.floats(0, 1000))
def test_who_waits_as_told_gets_in(amount: int, used: float) -> None:
    bucket = Bucket(100, 60.0, 100.0 - used, 0.0)
    assert bucket.wait_s(amount, bucket.wait_s(amount, 0.0)) == 0


def test_what_a_key_spends_in_one_process_is_missing_in_the_others() -> None:
    made, told = new_key("alice", {"requests-per-minute": 10, "tokens-per-minute": 1000}), []
    guards = [Guard(Keys(text=made.line), clock=lambda: 0.0) for _ in range(2)]
    key = guards[0].key_of({b"authorization": f"Bearer {made.key}".encode()})
    for number in range(6):
        guards[0].enter(str(number), key, {}, lambda *header: told.append(header))
    assert guards[0].spent() == {"alice": {"requests": 6}}
    assert guards[0].spent() == {}
    guards[1].heard_spent({"alice": {"requests": 6}, "somebody": {"requests": 1}})
    for number in range(4):
        guards[1].enter(str(number), key, {}, lambda *header: told.append(header))
    with pytest.raises(RateLimited):
        guards[1].enter("4", key, {}, lambda *header: told.append(header))
    assert guards[1].spent() == {"alice": {"requests": 4}}  # what was heard is not told again
    assert ("x-ratelimit-remaining-requests", "0") in told


def test_processes_of_one_door_share_the_requests_served_at_once() -> None:
    guard = Guard(limits=LimitSettings(max_inflight=5), processes=2)
    guard.enter("a", None, {}, print, running=2)
    with pytest.raises(Overloaded):
        guard.enter("b", None, {}, print, running=3)


def test_a_changed_limit_keeps_what_was_used() -> None:
    quotas = Quotas()
    old = KeyEntry(name="a", sha256="0" * 64, tokens_per_day=100)
    meter = quotas.meter(old, 0.0)
    assert meter is not None
    assert meter.take("tokens", 70, 0.0) is None
    more = quotas.meter(KeyEntry(name="a", sha256="0" * 64, tokens_per_day=150), 0.0)
    assert more is meter
    assert left(meter) == 80
    assert quotas.meter(KeyEntry(name="a", sha256="0" * 64), 0.0) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.02, "20ms"), (1, "1s"), (1.5, "1.5s"), (59.9, "59.9s"), (360, "6m0s"), (3630, "1h0m30s")],
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def a_ticket(meter: Meter, told: dict[str, str] | None = None) -> Ticket:
    return Ticket((told if told is not None else {}).__setitem__, KeyEntry(name="a", sha256="0" * 64), meter)


def chat(**fields: Any) -> ChatRequest:
    return msgspec.convert({**HI, **fields}, ChatRequest)


def test_tokens_are_reserved_then_put_right_then_given_back() -> None:
    meter = a_meter(tokens_per_minute=1000)
    ticket = a_ticket(meter)
    ticket.accept(chat(messages=[{"role": "user", "content": "x" * 400}], max_tokens=300), [], 0.0)
    assert left(meter) == 1000 - 100 - 300
    ticket.costs(Spent(prompt_tokens=150, output_tokens=0), 0.0)
    assert left(meter) == 1000 - 150 - 300
    ticket.replies = 3
    ticket.costs(Spent(prompt_tokens=150, output_tokens=20), 0.0)
    assert ticket.close(0.0) == 170
    assert left(meter) == 830
    ticket.close(0.0)
    assert left(meter) == 830


def test_an_answer_that_was_cut_off_costs_its_prompt_and_what_went_out() -> None:
    meter = a_meter(tokens_per_minute=1000)
    ticket = a_ticket(meter)
    ticket.accept(chat(max_tokens=300), [], 0.0)
    ticket.costs(Spent(prompt_tokens=10, output_tokens=0), 0.0)
    ticket.replies = 5
    ticket.close(0.0)
    assert left(meter) == 985


def test_a_request_that_nobody_began_costs_nothing() -> None:
    meter = a_meter(tokens_per_minute=1000)
    ticket = a_ticket(meter)
    ticket.accept(chat(max_tokens=300, n=2), [], 0.0)
    assert left(meter) == 400
    ticket.close(0.0)
    assert left(meter) == 1000


def test_used_up_tokens_are_told_with_the_time_to_wait() -> None:
    told: dict[str, str] = {}
    ticket = a_ticket(a_meter(tokens_per_minute=100), told)
    ticket.accept(chat(max_tokens=99), [], 0.0)
    with pytest.raises(RateLimited, match=r"100 tokens per minute; try again in") as caught:
        a_ticket(ticket.meter or Meter(), told).accept(chat(max_tokens=50), [], 0.0)
    assert caught.value.retry_after_s == pytest.approx(30, abs=1)
    assert (told["x-ratelimit-limit-tokens"], told["x-ratelimit-remaining-tokens"]) == ("100", "1")


@pytest.mark.parametrize(
    ("key", "header", "body", "result"),
    [
        (None, None, None, 0),
        (None, None, -5, -5),
        (None, 3, None, 3),
        (None, 3, -1, -1),
        (5, None, None, 5),
        (5, None, 7, 7),
        (-2, None, None, -2),
        (-2, -1, None, -1),
        (5, None, 0, "priority 0: this key may say 5"),
        (0, -1, None, "x-request-priority -1: this key may say 0"),
    ],
)
def test_how_urgent_a_request_is(key: int | None, header: int | None, body: int | None, result: int | str) -> None:
    entry = None if key is None else KeyEntry(name="a", sha256="0" * 64, priority=key)
    if isinstance(result, int):
        assert effective_priority(entry, header, body) == result
    else:
        with pytest.raises(RequestError, match=result):
            effective_priority(entry, header, body)


@pytest.mark.parametrize("value", [b"", b"high", b"1.5", b"99999999999", b"9" * 5000, b"0x1", b"\xff"])
def test_a_header_that_is_no_priority_is_told(value: bytes) -> None:
    with pytest.raises(RequestError, match="x-request-priority must be a whole number"):
        header_priority(value)


def bearer(made: NewKey) -> dict[str, str]:
    return {"authorization": f"Bearer {made.key}"}


async def test_clients_are_told_what_is_left_and_refused_when_nothing_is(door: OpenDoor, text_model: TextModel) -> None:
    one, other = new_key("one", {"requests-per-minute": 2, "tokens-per-day": 10_000}), new_key("other")
    opened = await door(saying(text_model, "Hello.", eos=2), keys=Keys(text=one.line + "\n" + other.line))
    reply = await opened.client.post(CHAT, json={**HI, "max_tokens": 30}, headers=bearer(one))
    assert reply.status_code == 200
    assert (reply.headers["x-ratelimit-limit-requests"], reply.headers["x-ratelimit-remaining-requests"]) == ("2", "1")
    used = reply.json()["usage"]["total_tokens"]
    reply = await opened.client.post(CHAT, json={**HI, "max_tokens": 30, "stream": True}, headers=bearer(one))
    assert b"tandem.spent" not in reply.content
    left_then = int(reply.headers["x-ratelimit-remaining-tokens"])
    assert 10_000 - used - 30 - 10 <= left_then <= 10_000 - used - 30
    reply = await opened.client.post(CHAT, json=HI, headers=bearer(one))
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(reply.headers["retry-after"]) <= 30
    assert reply.headers["x-ratelimit-remaining-requests"] == "0"
    reply = await opened.client.post(CHAT, json=HI, headers=bearer(other))
    assert reply.status_code == 200
    assert not [name for name in reply.headers if name.startswith("x-ratelimit")]


async def test_what_was_reserved_comes_back_however_a_request_ends(door: OpenDoor, text_model: TextModel) -> None:
    async def dying(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        raise EngineFailed("the engine died")
        yield

    async def silent(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        await asyncio.Event().wait()
        yield GenerateOutput(token_ids=[])

    one = new_key("one", {"tokens-per-day": 10_000})
    for answer in (dying, silent):
        metrics.reset()
        opened = await door(answer, keys=Keys(text=one.line), reroute_wait_s=0.01)
        body = {**HI, "max_tokens": 1000}
        if answer is dying:
            assert (await opened.client.post(CHAT, json=body, headers=bearer(one))).status_code == 500
        else:
            with pytest.raises(httpx.ReadTimeout):
                await opened.client.post(CHAT, json=body, headers=bearer(one), timeout=0.2)
        await opened.idle()
        async with asyncio.timeout(5):
            while not metrics.KEY_TOKENS.value("one"):
                await asyncio.sleep(0.001)
        assert 1 <= metrics.KEY_TOKENS.value("one") <= 20, "the prompt alone"
        reply = await opened.client.post(CHAT, json={**HI, "max_tokens": 3000}, headers=bearer(one))
        assert reply.status_code == 400, "more than the context"
        assert int(reply.headers["x-ratelimit-remaining-tokens"]) >= 10_000 - 20 - 3000


async def test_a_key_sees_and_uses_its_own_models_only(door: OpenDoor, text_model: TextModel) -> None:
    other, mine = new_key("other", {"models": ["large"]}), new_key("mine", {"models": ["tiny"]})
    opened = await door(saying(text_model, "Hello.", eos=2), keys=Keys(text=other.line + "\n" + mine.line))
    for body in (HI, {k: v for k, v in HI.items() if k != "model"}):
        reply = await opened.client.post(CHAT, json=body, headers=bearer(other))
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
        assert (await opened.client.post(CHAT, json=body, headers=bearer(mine))).status_code == 200
    assert (await opened.client.get("/v1/models", headers=bearer(other))).json()["data"] == []
    assert (await opened.client.get("/v1/models/tiny", headers=bearer(other))).status_code == 404
    assert (await opened.client.get("/v1/models/tiny", headers=bearer(mine))).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"prompt": "Hi"}),
        ("/detokenize", {"tokens": [1]}),
        ("/v1/messages/count_tokens", HI),
        ("/v1/responses/input_tokens", {"input": "Hi"}),
    ],
)
async def test_a_key_counts_the_tokens_of_its_own_models_only(
    path: str, body: dict[str, Any], door: OpenDoor, text_model: TextModel
) -> None:
    other, mine = new_key("other", {"models": ["large"]}), new_key("mine", {"models": ["tiny"]})
    opened = await door(saying(text_model, "Hello."), keys=Keys(text=other.line + "\n" + mine.line))
    body = {**body, "model": "tiny"}
    assert (await opened.client.post(path, json=body, headers=bearer(mine))).status_code == 200
    assert (await opened.client.post(path, json=body, headers=bearer(other))).status_code == 404


async def test_a_keys_priority_reaches_the_engine(door: OpenDoor, text_model: TextModel) -> None:
    seen: list[int] = []

    async def answer(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        seen.append(request.priority)
        async for output in saying(text_model, "x")(request):
            yield output

    low = new_key("low", {"priority": 3})
    opened = await door(answer, keys=Keys(text=low.line))
    for headers, body in (({}, {}), ({"x-request-priority": "8"}, {}), ({"x-request-priority": "8"}, {"priority": 4})):
        reply = await opened.client.post(CHAT, json={**HI, **body}, headers={**bearer(low), **headers})
        assert reply.status_code == 200
    assert seen == [3, 8, 4]
    reply = await opened.client.post(CHAT, json={**HI, "priority": 0}, headers=bearer(low))
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "priority")
    reply = await opened.client.post(CHAT, json=HI, headers={**bearer(low), "x-request-priority": "urgent"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "x-request-priority")
