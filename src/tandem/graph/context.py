"""What a running service can ask about itself: the `dynamo_context` of old.

Several services can share a process, so the mapping shows whichever service is running the code that asks:
it follows the task, as context variables do.
"""

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

_current: ContextVar[Mapping[str, Any]] = ContextVar("tandem_service_context")

NAMES = (
    "config",
    "service_name",
    "namespace",
    "component",
    "endpoints",
    "worker_id",
    "runtime",
    "lease",
    "settings",
    "drain_timeout_s",
)
"""config: the section's own keys; settings: its resolved dataclasses by type; worker_id: 0, 1, … within the service.
"""


class DynamoContext(Mapping[str, Any]):
    """The mapping of the service whose code is running. Empty outside of a service."""

    def __getitem__(self, key: str) -> Any:
        return _current.get({})[key]

    def __iter__(self) -> Iterator[str]:
        return iter(_current.get({}))

    def __len__(self) -> int:
        return len(_current.get({}))


dynamo_context = DynamoContext()


def enter_context(values: Mapping[str, Any]) -> None:
    """From here on, in this task and those it starts, `dynamo_context` shows `values`."""
    _current.set(values)
