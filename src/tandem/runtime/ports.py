"""Instances: live registrations of a component, and how they are found and called.

namespace / component / endpoint / instance: deployment / kind of worker / callable name / one live registration.
`runtime.service.connect()` builds a `Runtime` over whatever planes the settings name.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Protocol, Self, TypeVar

from tandem.core.cards import InstanceCard
from tandem.transport.ports import Bus, RequestClient, RequestServer, Store

Req = TypeVar("Req")
Resp = TypeVar("Resp")
Answer = TypeVar("Answer", covariant=True)


class Registration(Protocol):
    """Our own place in the store. Kept over outages and lapsed leases: it registers again by itself."""

    @property
    def card(self) -> InstanceCard: ...

    async def update(self, card: InstanceCard) -> None:
        """Replace the card (a role changed). The instance id stays."""

    async def withdraw(self) -> None:
        """Be chosen no more; calls in flight go on. Safe to repeat."""


class InstanceView(Protocol):
    """A live picture of a component's instances. Over an outage it is the last one known.

    After a reconnect, an instance that the store has forgotten but whose address still answers stays
    for one lease time-to-live, so that a store that came back empty takes nobody out.
    """

    def all(self) -> Sequence[InstanceCard]:
        """Instances that may be called, in a stable order (by id)."""

    def get(self, instance_id: str) -> InstanceCard | None: ...

    async def wait_for(self, count: int, *, timeout_s: float | None = None) -> Sequence[InstanceCard]:
        """Return when at least `count` are there. Raises `Unavailable` after `timeout_s`."""

    def changes(self) -> AsyncIterator[Sequence[InstanceCard]]:
        """The picture now, then each new one. A slow reader sees the latest, not every step."""

    def report_lost(self, instance_id: str) -> None:
        """A call found it dead: leave it out until it registers anew, or its address answers again."""


class Answers(Protocol[Answer]):
    """The answers of one call, in order. Closing them cancels the call; whoever makes a call closes them."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Answer: ...

    async def relay(self, take: Callable[[Sequence[Answer]], int]) -> None:
        """Give answers to `take` as they arrive, all at once that have come, without waking the reader.

        `take` says how many it took. Returns when it refuses one (that is the next answer) or when no more will come.
        `take` runs where bytes arrive and must not block; what it raises is raised here. Raises as reading does.
        """

    async def aclose(self) -> None: ...


class Runtime(Protocol):
    """A process's connection to the planes."""

    @property
    def namespace(self) -> str: ...

    @property
    def instance_id(self) -> str:
        """This process's own: hexadecimal, new at every start."""

    @property
    def store(self) -> Store: ...

    @property
    def bus(self) -> Bus: ...

    @property
    def server(self) -> RequestServer: ...

    @property
    def client(self) -> RequestClient: ...

    async def announce(self, card: InstanceCard) -> Registration:
        """Register under our lease. Nobody can route here before this returns. Waits out a store that is not up yet."""

    def instances(self, component: str, *, namespace: str | None = None) -> InstanceView:
        """The shared view of a component; watching begins with the first call for it."""

    def serve(
        self,
        endpoint: str,
        request_type: type[Req],
        response_type: type[Resp],
        handler: Callable[[Req], AsyncGenerator[Resp, None]],
        *,
        to_the_end: bool = False,
    ) -> None:
        """Answer calls of `endpoint` on this process's server; `to_the_end`: also while running calls are waited for.

        A request that does not decode is refused with `ProtocolMismatch`. Headers, deadline and caller of the
        call that a handler runs for: `runtime.calls.current_call()`.
        """

    def call(
        self,
        card_or_address: InstanceCard | str,
        endpoint: str,
        request: Req,
        response_type: type[Resp],
        *,
        request_id: str = "",
        deadline: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answers[Resp]:
        """Call an instance; the request and every answer are MessagePack of the given types. Closing cancels.

        Raises: what the peer raised; `InstanceLost`; `DeadlineExceeded`; `ProtocolMismatch` when an answer does
        not decode.
        """

    async def aclose(self) -> None:
        """Withdraw what is announced, revoke the lease, close the planes."""
