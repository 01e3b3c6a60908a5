"""What an error is in HTTP and in OpenAI's words: one table, by the code of `errors.py`."""

import math
from typing import Final, NamedTuple

import msgspec

from tandem.errors import Overloaded, ServingError

_LONGEST_RETRY_S: Final = 60.0


class Status(NamedTuple):
    """How a kind of error is answered."""

    http: int
    type: str
    """OpenAI's `error.type`."""
    code: str
    """OpenAI's `error.code`, where it has one; else ours."""


STATUSES: Final[dict[str, Status]] = {
    "invalid_request": Status(400, "invalid_request_error", "invalid_request"),
    "context_too_long": Status(400, "invalid_request_error", "context_length_exceeded"),
    "model_not_found": Status(404, "invalid_request_error", "model_not_found"),
    "body_too_large": Status(413, "invalid_request_error", "body_too_large"),
    "overloaded": Status(429, "rate_limit_error", "overloaded"),
    "rate_limited": Status(429, "rate_limit_error", "rate_limit_exceeded"),
    "unavailable": Status(503, "service_unavailable_error", "unavailable"),
    "instance_lost": Status(503, "service_unavailable_error", "instance_lost"),
    "lease_lost": Status(503, "service_unavailable_error", "lease_lost"),
    "kv_transfer_failed": Status(503, "service_unavailable_error", "kv_transfer_failed"),
    "deadline_exceeded": Status(504, "timeout_error", "deadline_exceeded"),
    "cancelled": Status(499, "cancelled", "cancelled"),
    "protocol_mismatch": Status(502, "server_error", "protocol_mismatch"),
    "engine_failed": Status(500, "server_error", "engine_failed"),
    "transfer_failed": Status(500, "server_error", "transfer_failed"),
    "model_broken": Status(500, "server_error", "model_broken"),
    "config": Status(500, "server_error", "config"),
    "internal": Status(500, "server_error", "internal"),
    # What only HTTP knows:
    "unauthorized": Status(401, "authentication_error", "invalid_api_key"),
    "forbidden": Status(403, "permission_error", "forbidden"),
    "not_found": Status(404, "invalid_request_error", "not_found"),
    "method_not_allowed": Status(405, "invalid_request_error", "method_not_allowed"),
    "head_timeout": Status(408, "timeout_error", "head_timeout"),
    "bad_header": Status(400, "invalid_request_error", "bad_header"),
    "in_use": Status(409, "invalid_request_error", "in_use"),
    "storage_full": Status(403, "invalid_request_error", "storage_full"),
    "body_timeout": Status(408, "timeout_error", "body_timeout"),
    "headers_too_large": Status(431, "invalid_request_error", "headers_too_large"),
}

REJECTED: Final = frozenset(code for code, status in STATUSES.items() if 400 <= status.http < 500) - {"cancelled"}
"""Codes that say: the request was never accepted."""


class ErrorObject(msgspec.Struct, frozen=True):
    """OpenAI's error."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(msgspec.Struct, frozen=True):
    """Body of an error response, and the last event of a stream that failed."""

    error: ErrorObject


class HttpFault(Exception):
    """A request that is wrong as HTTP. `code` is a row of the table."""

    def __init__(self, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = headers or {}


def status_of(code: str) -> Status:
    """The row of a code; a code that we do not know (a newer peer's) is our own failure."""
    return STATUSES.get(code, STATUSES["internal"])


def error_body(error: ServingError | HttpFault) -> ErrorBody:
    """What the client reads."""
    status = status_of(error.code)
    param = error.param if isinstance(error, ServingError) else None
    return ErrorBody(ErrorObject(error.message, status.type, param, status.code))


def error_headers(error: ServingError | HttpFault) -> dict[str, str]:
    """Headers that belong to the error."""
    if isinstance(error, HttpFault):
        # What is left of a body that did not come in time would be taken for the next request.
        return {**error.headers, "connection": "close"} if error.code == "body_timeout" else error.headers
    if isinstance(error, Overloaded):
        headers = {"retry-after": str(max(1, math.ceil(error.retry_after_s)))}
        if error.retry_after_s > _LONGEST_RETRY_S:
            headers["x-should-retry"] = "false"  # OpenAI's clients would try again much sooner
        return headers
    # The client's library reads the rest of a body that we did not: better a new connection.
    return {"connection": "close"} if error.code == "body_too_large" else {}
