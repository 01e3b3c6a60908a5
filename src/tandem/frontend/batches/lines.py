"""A batch's input, line by line: what is wrong with it, or where each request stands; and lines of its output."""

from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

import msgspec

from tandem.core.faults import field_fault
from tandem.frontend.batches.objects import BatchFault

_FAULTS_TOLD: Final = 100
_ID_CHARS: Final = 512


class Line(NamedTuple):
    """A request of a batch, and where its line stands in the file."""

    number: int
    """Counted from 1."""
    start: int
    size: int
    """Bytes."""
    custom_id: str


class Input(NamedTuple):
    """A whole input that can be run."""

    model: str
    lines: list[Line]


class _Body(msgspec.Struct):
    model: str
    stream: bool | None = None


class _LineIn(msgspec.Struct):
    custom_id: str
    method: Literal["POST"]
    url: str
    body: _Body


class _BodyOnly(msgspec.Struct):
    body: msgspec.Raw


_line_in: Final = msgspec.json.Decoder(_LineIn)
_body_only: Final = msgspec.json.Decoder(_BodyOnly)


def read_input(
    raw_lines: Iterable[bytes], *, endpoint: str, max_lines: int, max_line_bytes: int
) -> Input | list[BatchFault]:
    """All lines, or what is wrong with them. Empty lines are skipped.

    What a request's body says is looked at when it runs: a wrong one fails its line, not the batch.
    """
    lines: list[Line] = []
    faults: list[BatchFault] = []
    seen: set[str] = set()
    model: str | None = None
    start = 0
    for number, raw in enumerate(raw_lines, 1):
        size = len(raw)
        if size > max_line_bytes:
            message = f"a line may have {max_line_bytes} bytes"
            return [*faults, BatchFault(code="line_too_long", message=message, line=number)]
        if raw.strip():
            found = _read_line(raw, number, endpoint=endpoint, seen=seen, model=model)
            if isinstance(found, BatchFault):
                faults.append(found)
                if len(faults) == _FAULTS_TOLD:
                    return faults
            else:
                seen.add(found.custom_id)
                model = found.body.model
                lines.append(Line(number, start, size, found.custom_id))
                if len(lines) > max_lines:
                    message = f"a batch may have {max_lines} requests"
                    return [BatchFault(code="too_many_tasks", message=message, line=number)]
        start += size
    if faults:
        return faults
    if model is None:
        return [BatchFault(code="empty_file", message="the input file has no requests")]
    return Input(model, lines)


def _read_line(raw: bytes, number: int, *, endpoint: str, seen: set[str], model: str | None) -> _LineIn | BatchFault:
    def fault(code: str, message: str, param: str | None = None) -> BatchFault:
        return BatchFault(code=code, message=message, line=number, param=param)

    try:
        line = _line_in.decode(raw)
    except msgspec.ValidationError as error:
        found = field_fault(str(error), _LineIn)
        if not found.field:
            return fault("invalid_line", "the line must be a JSON object")
        code = "missing_required_parameter" if found.missing else f"invalid_{found.field}".replace(".", "_")
        return fault(code, f"{found.field} {found.what}", found.param)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return fault("invalid_json_line", f"the line is not JSON: {error}")
    if not line.custom_id or len(line.custom_id) > _ID_CHARS:
        return fault("invalid_custom_id", f"custom_id must have 1 to {_ID_CHARS} characters", "custom_id")
    if line.custom_id in seen:
        return fault("duplicate_custom_id", "another line has the same custom_id", "custom_id")
    if line.url != endpoint:
        return fault("invalid_url", f"url {line.url[:64]!r} is not the batch's endpoint {endpoint}", "url")
    if model is not None and line.body.model != model:
        return fault("mismatched_model", f"body.model is not that of the lines before, {model[:128]!r}", "body.model")
    if line.body.stream:
        return fault("invalid_body_stream", "an answer of a batch is no stream", "body.stream")
    return line


def body_of(raw: bytes) -> bytes:
    """The request in a line that was read before."""
    return bytes(_body_only.decode(raw).body)


class LineError(msgspec.Struct, kw_only=True, frozen=True):
    """Why a line has no response."""

    code: str
    message: str


class LineResponse(msgspec.Struct, kw_only=True, frozen=True):
    """What the request was answered with."""

    status_code: int
    request_id: str
    body: Any


class LineOut(msgspec.Struct, kw_only=True, frozen=True):
    """A line of an output or error file."""

    id: str
    custom_id: str
    response: LineResponse | None = None
    error: LineError | None = None


def line_out(batch_id: str, line: Line, response: LineResponse | None = None, error: LineError | None = None) -> bytes:
    """The line that tells how `line` was answered, with its end."""
    out = LineOut(
        id=f"batch_req_{batch_id.removeprefix('batch_')}_{line.number}",
        custom_id=line.custom_id,
        response=response,
        error=error,
    )
    return msgspec.json.encode(out) + b"\n"
