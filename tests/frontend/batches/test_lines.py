"""A batch's input: every line is right, or the batch is told which is not."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.frontend.batches.lines import Input, Line, LineResponse, body_of, line_out, read_input
from tandem.frontend.batches.objects import BatchFault

CHAT = "/v1/chat/completions"


def a_line(custom_id: Any = "a", **fields: Any) -> dict[str, Any]:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body, **fields}


def read(*lines: Any, max_lines: int = 10) -> Input | list[BatchFault]:
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines]
    return read_input(raw, endpoint=CHAT, max_lines=max_lines, max_line_bytes=150_000)


BAD: list[tuple[Any, str, str | None, str]] = [
    (b"{\n", "invalid_json_line", None, "is not JSON"),
    (b"\xff\xfe\n", "invalid_json_line", None, "is not JSON"),
    (b"[" * 100_000, "invalid_line", None, "the line must be a JSON object"),
    (a_line(custom_id=7), "invalid_custom_id", "custom_id", "custom_id must be a string"),
    (a_line(custom_id=""), "invalid_custom_id", "custom_id", "1 to 512 characters"),
    (a_line(custom_id="x" * 513), "invalid_custom_id", "custom_id", "1 to 512 characters"),
    (a_line(method="GET"), "invalid_method", "method", 'method must be "POST"'),
    (a_line(url="/v1/completions"), "invalid_url", "url", "is not the batch's endpoint"),
    (a_line(body={"messages": []}), "missing_required_parameter", "body.model", "body.model is missing: it must be"),
    (a_line(body={"model": "tiny", "stream": True}), "invalid_body_stream", "body.stream", "no stream"),
    ({"custom_id": "a", "method": "POST", "url": CHAT}, "missing_required_parameter", "body", "is missing"),
]


@pytest.mark.parametrize(("line", "code", "param", "words"), BAD)
def test_a_wrong_line_is_named(line: Any, code: str, param: str | None, words: str) -> None:
    found = read(a_line("fine"), b"\n", line)
    assert isinstance(found, list)
    assert [(fault.code, fault.line, fault.param) for fault in found] == [(code, 3, param)]
    assert words in found[0].message


def test_what_only_all_lines_together_show() -> None:
    def codes(*lines: Any, **options: Any) -> Any:
        found = read(*lines, **options)
        assert isinstance(found, list)
        return [(fault.code, fault.line) for fault in found]

    other = a_line("b", body={"model": "another"})
    assert codes(a_line("a"), a_line("a"), other) == [("duplicate_custom_id", 2), ("mismatched_model", 3)]
    assert codes() == codes(b"\n", b" \r\n") == [("empty_file", None)]
    assert codes(*(a_line(str(i)) for i in range(3)), max_lines=2) == [("too_many_tasks", 3)]
    assert codes(a_line("a"), b"{", b"x" * 150_001, b"{") == [("invalid_json_line", 2), ("line_too_long", 3)]
    assert len(codes(*[b"{"] * 1000, max_lines=2000)) == 100


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=20), st.text(max_size=50), st.booleans()), unique_by=lambda x: x[0])
)
def test_every_request_is_found_again_where_it_was_said_to_be(rows: list[tuple[str, str, bool]]) -> None:
    raw = []
    for custom_id, content, empty_line in rows:
        body = {"model": "tiny", "messages": [{"role": "user", "content": content}]}
        raw.append(json.dumps(a_line(custom_id, body=body)).encode() + b"\r\n")
        raw += [b"\n"] * empty_line
    found = read_input(raw, endpoint=CHAT, max_lines=1000, max_line_bytes=10_000)
    if not rows:
        assert isinstance(found, list)
        return
    assert isinstance(found, Input)
    whole = b"".join(raw)
    for (custom_id, content, _), line in zip(rows, found.lines, strict=True):
        assert line.custom_id == custom_id
        body = json.loads(body_of(whole[line.start : line.start + line.size]))
        assert body["messages"][0]["content"] == content


def test_a_line_of_the_output() -> None:
    line = Line(7, 0, 10, "mine")
    text = line_out("batch_ab", line, LineResponse(status_code=200, request_id="r", body=msgspec.Raw(b'{"x":1}')))
    assert text.endswith(b"}\n")
    assert json.loads(text) == {
        "id": "batch_req_ab_7",
        "custom_id": "mine",
        "response": {"status_code": 200, "request_id": "r", "body": {"x": 1}},
        "error": None,
    }
