"""Errors in Anthropic's form."""

from typing import Final, Literal

import msgspec

from tandem.errors import ServingError
from tandem.frontend.routes import ErrorForm
from tandem.frontend.statuses import HttpFault, status_of

_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}
"""Anthropic's `error.type` by status; other 4xx are `invalid_request_error`, other 5xx `api_error`."""


class MessagesError(msgspec.Struct, frozen=True):
    """What went wrong."""

    type: str
    message: str


class MessagesErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """Body of an error response, and the last event of a stream that failed."""

    type: Literal["error"] = "error"
    error: MessagesError


def messages_error(error: ServingError | HttpFault) -> MessagesErrorBody:
    """What the client reads."""
    status = status_of(error.code).http
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return MessagesErrorBody(error=MessagesError(kind, error.message))


ANTHROPIC_ERRORS: Final = ErrorForm(messages_error, MessagesErrorBody, event="error", id_header="request-id")
