"""A request's body: read to a limit, decoded to its type, or told what is wrong with it, by field and value."""

import asyncio
from collections.abc import Mapping, Set
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET

from tandem.core.faults import field_fault
from tandem.core.openai_in import REFUSED, hidden_hand_off, refused
from tandem.errors import BodyTooLarge, Cancelled, RequestError
from tandem.frontend.guard.bounds import check_bounds
from tandem.frontend.guard.json_text import read_once
from tandem.frontend.ports import Receive
from tandem.frontend.statuses import HttpFault
from tandem.observe import metrics
from tandem.settings import LimitSettings

Body = TypeVar("Body", bound=msgspec.Struct)

DISCARD_BYTES: Final = 256 * 1024 * 1024
"""How much of a body that is too large is read and dropped, so that its sender gets to read our answer."""
_DISCARD_S: Final = 5.0
"""For how long, when the length told at once that it is too large."""
_PRIVATE: Final = frozenset({"messages", "prompt", "tools", "system", "input", "instructions"})
"""Fields whose values are not repeated in errors: they hold the client's text."""
_HAND_OFF: Final = b"kv_transfer_params"
_OFTEN_IGNORED: Final = frozenset(
    {
        "guided_decoding_backend",
        "include_reasoning",
        "length_penalty",
        "prediction",
        "prompt_cache_retention",
        "request_id",
        "return_token_ids",
        "separate_reasoning",
        "spaces_between_special_tokens",
        "stream_interval",
        "verbosity",
    }
)
"""Fields that clients of other servers send: counted by name, so that the metric's labels are bounded."""


async def read_body(receive: Receive, *, declared: int | None, limit: int, timeout_s: float) -> bytes:
    """The whole body.

    Args:
        declared: Content-Length, if the client sent one.
    Raises:
        BodyTooLarge: over `limit` bytes; what follows is dropped, to a bound.
        HttpFault: it took longer than `timeout_s`.
        Cancelled: the client left.
    """
    parts: list[bytes] = []
    size = 0
    too_large = declared is not None and declared > limit
    try:
        async with asyncio.timeout(min(timeout_s, _DISCARD_S) if too_large else timeout_s):
            while not too_large or size <= limit + DISCARD_BYTES:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise Cancelled("the client left while sending")
                part = event.get("body", b"")
                size += len(part)
                too_large = too_large or size > limit
                if too_large:
                    parts.clear()
                else:
                    parts.append(part)
                if not event.get("more_body", False):
                    break
    except TimeoutError as error:
        if too_large:
            raise BodyTooLarge(f"the body has {max(size, declared or 0)} bytes; the limit is {limit}") from error
        raise HttpFault("body_timeout", f"the body did not come within {timeout_s:g} s") from error
    if too_large:
        raise BodyTooLarge(f"the body has {max(size, declared or 0)} bytes; the limit is {limit}")
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Decoder:
    """Decodes bodies of one type."""

    def __init__(self, body_type: type[Body], limits: LimitSettings | None = None) -> None:
        self._limits = limits or LimitSettings()
        self._kind = body_type
        self._decoder = msgspec.json.Decoder(body_type)
        self._known = frozenset(field.encode_name for field in msgspec.structs.fields(body_type))

    def decode(self, body: bytes) -> Any:
        """The request. Raises `RequestError` that names the field and, where it is not the client's text, its value."""
        try:
            request = self._decoded(body)
        except msgspec.ValidationError as error:
            raise _field_error(str(error), self._kind, body) from error
        except UnicodeDecodeError as error:
            raise RequestError(f"the body is not UTF-8: byte {error.start} of a text") from error
        except (msgspec.DecodeError, ValueError) as error:
            raise RequestError(f"the body is not JSON: {error}") from error
        except RecursionError as error:
            raise RequestError("the body is nested too deeply") from error
        sent = read_once(body, max_depth=self._limits.max_json_depth)
        if unknown := sent.keys() - self._known:
            _refuse_or_count(unknown, sent)
        check_bounds(sent, self._limits)
        if _HAND_OFF in body and (place := hidden_hand_off(sent)) is not None:
            raise RequestError(f"{place} is not taken here: {REFUSED[_HAND_OFF.decode()]}", param=place)
        return request

    def _decoded(self, body: bytes) -> Any:
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            if "got `float`" not in str(error):
                raise
        # JSON has one kind of number, and clients written in languages with another idea send 5.0 for 5.
        return msgspec.convert(_with_integers(msgspec.json.decode(body)), self._kind)


def _with_integers(value: Any) -> Any:
    """The same with integers where numbers are whole."""
    if isinstance(value, dict):
        return {name: _with_integers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refuse_or_count(unknown: Set[str], sent: Mapping[str, Any]) -> None:
    """Raises `RequestError` for a field that would change the answer; counts the others, which are ignored."""
    if (name := refused({name: sent[name] for name in unknown})) is not None:
        raise RequestError(f"{name} is not taken here: {REFUSED[name]}", param=name)
    for name in unknown - REFUSED.keys():
        metrics.IGNORED_FIELDS.labels(name if name in _OFTEN_IGNORED else "other").inc()


def _field_error(said: str, kind: Any, body: bytes) -> RequestError:
    try:
        sent = msgspec.json.decode(body)
    except (ValueError, RecursionError):  # what is wrong comes before what is no JSON
        sent = UNSET
    fault = field_fault(said, kind, sent)
    if not fault.field:
        return RequestError("the body must be a JSON object")
    if fault.top in _PRIVATE:
        fault = field_fault(said, kind, sent, private=True)
    return RequestError(f"{fault.field} {fault.what}", param=fault.param)
