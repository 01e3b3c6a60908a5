"""What a running service can ask about itself: the `dynamo_context` of old.

Several services can share a process, so the mapping shows whichever service is running the code that asks:
it follows the task, as context variables do.

    service_name, component, namespace, endpoints, worker_id    who it is; worker_id is 0, 1, … within the service
    config         its YAML section as written                   settings    its resolved dataclasses, by class
    runtime        the connection to the planes                  drain_timeout_s  while it shuts down
    engine_args, deployment, planes, stories, others             for the built-in services
"""

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

_current: ContextVar[Mapping[str, Any]] = ContextVar("tandem_service_context")


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
