"""Sizes, counts and depths of what a request says; names that stand twice."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.frontend.conftest import OpenDoor

from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.errors import RequestError
from tandem.frontend.answering import DoorOptions
from tandem.frontend.guard.bounds import check_bounds
from tandem.frontend.guard.json_text import read_once
from tandem.settings import LimitSettings

CHAT, TEXT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
SMALL = LimitSettings(
    max_messages=3, max_tools=2, max_prompts=2, max_n=2, max_stop=2, max_schema_bytes=200, max_schema_patterns=1
)


async def never(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
    raise AssertionError("a bad request reached a worker")
    yield


def a_tool(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


LARGE: dict[str, Any] = {"type": "object", "description": "x" * 200}
PATTERNS: dict[str, Any] = {"anyOf": [{"type": "string", "pattern": "a"}, {"type": "string", "pattern": "b"}]}
TOO_MUCH: list[tuple[str, dict[str, Any], str, str]] = [
    (CHAT, {"messages": HI["messages"] * 4}, "messages", "messages has 4 messages; a request may have 3"),
    (CHAT, {**HI, "tools": [a_tool({})] * 3}, "tools", "tools has 3 tools; a request may have 2"),
    (CHAT, {**HI, "stop": ["a", "b", "c"]}, "stop", "stop has 3 stop strings; a request may have 2"),
    (CHAT, {**HI, "n": 3}, "n", "n has 3 answers; a request may have 2"),
    (TEXT, {"prompt": ["a", "b", "c"]}, "prompt", "prompt has 3 prompts; a request may have 2"),
    (TEXT, {"prompt": "a", "best_of": 3, "n": 3}, "n", "n has 3 answers"),
    (CHAT, {**HI, "tools": [a_tool(LARGE)]}, "tools[0].function.parameters", "bytes; the limit is 200"),
    (CHAT, {**HI, "guided_json": PATTERNS}, "guided_json", "has 2 patterns; a schema may have 1"),
    (
        CHAT,
        {**HI, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": PATTERNS}}},
        "response_format.json_schema.schema",
        "has 2 patterns",
    ),
    (RESPONSES, {"input": [{"role": "user", "content": "Hi"}] * 4}, "input", "input has 4 items"),
    (
        RESPONSES,
        {"input": "Hi", "text": {"format": {"type": "json_schema", "name": "x", "schema": PATTERNS}}},
        "text.format.schema",
        "has 2 patterns",
    ),
    (
        MESSAGES,
        {**HI, "model": "tiny", "max_tokens": 5, "tools": [{"name": "f", "input_schema": LARGE}]},
        "tools[0].input_schema",
        "the limit is 200",
    ),
]


async def test_each_limit_is_told_with_its_field_and_numbers(door: OpenDoor) -> None:
    one = await door(never, door_options=DoorOptions(limits=SMALL))
    for path, body, param, words in TOO_MUCH:
        reply = await one.client.post(path, json=body)
        error = reply.json()["error"]
        assert (reply.status_code, words in error["message"]) == (400, True), (body, error)
        assert error.get("param", param) == param


def test_what_is_at_the_limits_passes() -> None:
    check_bounds(
        {
            "messages": [{}] * 3,
            "tools": [a_tool({"pattern": "a"})] * 2,
            "stop": ["a", "b"],
            "n": 2,
            "prompt": list(range(1000)),
        },
        SMALL,
    )
    check_bounds({"prompt": "text", "stop": "one", "tools": None, "n": None, "response_format": "odd"}, SMALL)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_nothing_decoded_breaks_the_check(body: Any) -> None:
    for request in (body, dict.fromkeys(("messages", "tools", "text", "response_format", "n"), body)):
        with contextlib.suppress(RequestError):
            check_bounds(request, SMALL)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"n": 1, "n": 2}', "n"),
        (b'{"a": {"x": 1, "x": 1}}', "x"),
        (b'{"a": [[{"b": 1}, {"\\u0062": 1, "b": 2}]]}', "b"),
        (b'{"": 1, "": 2}', ""),
    ],
)
def test_a_name_that_stands_twice_is_named(body: bytes, name: str) -> None:
    with pytest.raises(RequestError, match="stands twice in one object") as caught:
        read_once(body, max_depth=9)
    assert repr(name) in str(caught.value)


async def test_a_body_that_says_two_things_is_refused_by_every_api(door: OpenDoor) -> None:
    one = await door(never)
    twice = b'"messages": [{"role": "user", "content": "harmless", "content": "other"}]'
    for path, body in (
        (CHAT, b'{"model": "tiny", "model": "large", "messages": [{"role": "user", "content": "Hi"}]}'),
        (CHAT, b"{" + twice + b"}"),
        (MESSAGES, b'{"model": "tiny", "max_tokens": 5, ' + twice + b"}"),
        (RESPONSES, b'{"input": "Hi", "unknown": {"a": 1, "a": 2}}'),
    ):
        reply = await one.client.post(path, content=body)
        assert (reply.status_code, "stands twice" in reply.text) == (400, True), body


def nested(levels: int) -> bytes:
    return b'{"a": ' * (levels - 1) + b"{}" + b"}" * (levels - 1)


def test_depth_has_a_limit() -> None:
    assert read_once(nested(9), max_depth=9)
    assert read_once(b"[" + b",".join([nested(8)] * 50) + b"]", max_depth=9), "wide is not deep"
    for body in (nested(10), b"[" * 10 + b"]" * 10, nested(100_000)):
        with pytest.raises(RequestError, match="more than 9 objects and lists inside each other"):
            read_once(body, max_depth=9)


def test_limits_that_cannot_be_are_told() -> None:
    assert LimitSettings().check() == []
    faults = LimitSettings(max_n=0, body_timeout_s=0, max_header_bytes=100).check()
    assert faults == [
        "max-n must be at least 1",
        "body-timeout-s must be above 0",
        "max-header-bytes must be at least 1024",
    ]
