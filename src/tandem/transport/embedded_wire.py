"""What an embedded host and its clients say to each other, carried by the request plane.

Every request is one of these structs to the endpoint of the same name; the answer is one MessagePack
value, or for `Watch` and `Subscribe` a stream of them.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tandem.core.bounds import MAX_WAIT_S

TOKEN_HEADER = "hub-token"
"""Header of every call to a hub that wants a token."""

MAX_PENDING = 65536
"""Messages that a host keeps for a subscriber who does not read."""

# What a client chooses costs its host memory and timers, so a request over these bounds is refused whole.
Lasting = Annotated[float, Meta(gt=0, le=MAX_WAIT_S)]
Wait = Annotated[float, Meta(ge=0, le=MAX_WAIT_S)]


def hub_address(at: Path | str) -> str:
    """A hub's place as an address of the request plane: a socket's path, or `host:port` as it is."""
    return f"unix:{at}" if isinstance(at, Path) else at


class Request(msgspec.Struct, frozen=True, array_like=True):
    """Base of all; `endpoint()` is where it goes."""

    @classmethod
    def endpoint(cls) -> str:
        return f"hub.{cls.__name__}"


class Grant(Request, frozen=True):
    """→ int, the lease."""

    ttl_s: Lasting


class Renew(Request, frozen=True):
    """→ bool, whether the lease is known."""

    lease: int


class Revoke(Request, frozen=True):
    """→ None."""

    lease: int


class Put(Request, frozen=True):
    """→ bool, whether it was written. Fails with `LeaseLost`."""

    key: str
    value: bytes
    lease: int | None
    only_if_absent: bool


class Get(Request, frozen=True):
    """→ list[bytes]: the value, or nothing."""

    key: str


class GetPrefix(Request, frozen=True):
    """→ dict[str, bytes]."""

    prefix: str


class Delete(Request, frozen=True):
    """→ bool, whether it was there."""

    key: str


class Watch(Request, frozen=True):
    """→ stream of `Change`."""

    prefix: str


Change = tuple[Literal["put", "delete", "synced", "outage"], str, bytes]
"""Kind, key and value of a `StoreEvent`."""


class Publish(Request, frozen=True):
    """→ None. Subjects and payloads, in order."""

    messages: list[tuple[str, bytes]]


class Subscribe(Request, frozen=True):
    """→ stream of (subject, payload); the first one, with no subject, says that the subscription stands."""

    subject: str
    max_pending: Annotated[int, Meta(ge=1, le=MAX_PENDING)]


class Queued(Request, frozen=True):
    """Base of what concerns a work queue; it is made when it is not there."""

    queue: str
    ack_wait_s: Lasting


class PutJob(Queued, frozen=True):
    """→ None."""

    lane: str
    job_id: str
    payload: bytes


class Take(Queued, frozen=True):
    """→ list of `Taken`, at most one."""

    lanes: list[str]
    timeout_s: Wait


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """A delivery."""

    seq: int
    lane: str
    payload: bytes
    number: int


class InProgress(Queued, frozen=True):
    """→ None."""

    seq: int
    number: int


class Ack(Queued, frozen=True):
    """→ None."""

    seq: int


class Nak(Queued, frozen=True):
    """→ None."""

    seq: int
    number: int
    delay_s: Wait


class CancelJob(Queued, frozen=True):
    """→ bool."""

    job_id: str


class Lanes(Queued, frozen=True):
    """→ dict of lane to (waiting, claimed)."""


class DropLane(Queued, frozen=True):
    """→ None."""

    lane: str
    into: str
