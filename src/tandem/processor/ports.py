"""What the processor needs from others, passed to its constructor."""

from typing import Protocol

from tandem.core.cards import InstanceCard
from tandem.core.request import GenerateRequest, Step
from tandem.core.routing import RouteChoice, RouteRequest
from tandem.runtime.ports import Answers


class Router(Protocol):
    """Chooses decode workers; `tandem.router.service.RuleRouter` is one."""

    async def choose(self, request: RouteRequest) -> RouteChoice: ...

    def prefilled(self, request_id: str) -> None: ...

    def finished(self, request_id: str) -> None: ...


class Call(Protocol):
    """`Runtime.call`: open a stream to an instance. Closing it cancels.

    An instance that it finds lost is left out of the view of instances until it answers again.
    """

    def __call__(
        self,
        card_or_address: InstanceCard | str,
        endpoint: str,
        request: GenerateRequest,
        response_type: type[Step],
        *,
        request_id: str = "",
        deadline: float | None = None,
    ) -> Answers[Step]: ...
