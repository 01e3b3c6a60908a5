"""Which services share a process. Pure.

Linked services that need no GPU and run once live together and call each other directly. A front door may have
several processes, which share its port: what lives with it lives in each of them. Each worker of any other
service has a process of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placed:
    """A service as grouping sees it."""

    name: str
    namespace: str
    workers: int
    alone: bool
    """Needs a GPU, or asks for a process of its own."""
    door: bool = False
    """A front door."""


def group(services: Sequence[Placed], edges: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Processes as tuples of service names, in the order of `services`; a service with n workers occurs n times."""
    together = {s.name: s for s in services if not s.alone and (s.workers == 1 or (s.door and s.workers > 1))}
    root = {name: name for name in together}

    def find(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    for source, targets in edges.items():
        for target in targets:
            both = source in together and target in together
            if both and together[source].namespace == together[target].namespace:
                root[find(target)] = find(source)
    groups: list[tuple[str, ...]] = []
    for service in services:
        if service.name not in together:
            groups += [(service.name,)] * service.workers
            continue
        members = tuple(s.name for s in services if s.name in together and find(s.name) == find(service.name))
        if members not in groups:
            groups += [members] * max(together[name].workers for name in members)
    return groups
