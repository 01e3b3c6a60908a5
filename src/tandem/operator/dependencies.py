"""Which role waits for which. Each role is gated by its own dependencies only, never by its place in the list."""

from collections.abc import Iterable, Mapping

from tandem.operator.types import Role


def unknown_dependencies(roles: Iterable[Role]) -> dict[str, list[str]]:
    """Role → names that it depends on and that the group does not have."""
    roles = list(roles)
    names = {role.name for role in roles}
    lost = {role.name: [name for name in role.dependencies if name not in names] for role in roles}
    return {role: missing for role, missing in lost.items() if missing}


def cycle(roles: Iterable[Role]) -> list[str]:
    """One circle of dependencies, first name repeated at the end; empty when there is none."""
    needs = {role.name: role.dependencies for role in roles}
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done or name not in needs:
            return []
        for other in needs[name]:
            if found := walk(other, [*path, name]):
                return found
        done.add(name)
        return []

    for name in needs:
        if found := walk(name, []):
            return found
    return []


def waiting_for(role: Role, ready: Mapping[str, bool]) -> list[str]:
    """The dependencies of a role that are not ready yet, in its own order."""
    return [name for name in role.dependencies if not ready.get(name, False)]
