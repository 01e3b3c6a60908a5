"""One HTTP request and its response, on its way through the door."""

from dataclasses import dataclass, field

from tandem.core.openai_in import Origin
from tandem.frontend.guard.keys import KeyEntry
from tandem.frontend.ports import Receive, Scope
from tandem.frontend.responses import Response
from tandem.frontend.wire import Wire


@dataclass(slots=True)
class Exchange:
    """What a handler gets: where the request comes from, how to read it, how to answer it."""

    scope: Scope
    receive: Receive
    response: Response
    headers: dict[bytes, bytes]
    path: str
    origin: Origin
    client_request_id: str | None
    wire: Wire | None = None
    """A shorter way to the connection than `receive`, where the server has one."""
    key: KeyEntry | None = None
    """Whose request it is; None where no keys are asked for. What is kept for a client is kept under its name."""
    params: dict[str, str] = field(default_factory=dict)
    """What stands at the placeholders of the route's path."""
