"""Ports for pods on their hosts' networks: unique in the cluster, and the same over every restart.

A pod template asks by upstream's annotation: `allocations` names ports and the variables that tell them, `references`
wants another role's. A number is kept as an annotation of the role's ConfigMap, so it outlives pods and operators; the
search for a new one begins where its names say, so that even without that memory it is mostly the same.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from tandem.core.paths import at
from tandem.operator.faults import Fault, InvalidGroup
from tandem.operator.labels import PORT_ALLOCATOR, PORTS
from tandem.operator.roles import RolePlan, template_parts
from tandem.operator.types import GroupSpec, Raw, Spec

FIRST: Final = 30000
COUNT: Final = 5000

Ports = Mapping[str, Mapping[str, int]]
"""role → port's name → number"""


class Allocation(Spec, frozen=True):
    name: str
    env: str
    annotation_key: str | None = None
    scope: str = "RoleScoped"


class Reference(Spec, frozen=True, rename={"source": "from"}):
    env: str
    source: str
    """`role.port`, or upstream's `role.component.port`."""


class Wish(Spec, frozen=True):
    """What one pod template asks for."""

    allocations: list[Allocation] = []
    references: list[Reference] = []


def wish_of(template: Raw) -> Wish:
    """The annotation of a pod template.

    Raises:
        ValueError: it is not of the form.
    """
    text = at(template, "metadata", "annotations", PORT_ALLOCATOR)
    return Wish() if text is None else msgspec.json.decode(text, type=Wish)


def asks_for_ports(spec: GroupSpec) -> bool:
    """Whether any pod of the group may want a port."""
    return any(at(part, "metadata", "annotations", PORT_ALLOCATOR) for part in template_parts(spec))


def port_faults(plans: Mapping[int, RolePlan]) -> Iterable[Fault]:
    """What cannot be given, by role's place in the group."""
    wishes: dict[int, Wish] = {}
    for index, plan in plans.items():
        path = f"spec.roles[{index}].template.metadata.annotations[{PORT_ALLOCATOR}]"
        try:
            wishes[index] = wish_of(plan.template)
        except (ValueError, TypeError) as error:
            yield Fault(path, f"is not of the form: {error}")
            continue
        for allocation in wishes[index].allocations:
            if allocation.scope != "RoleScoped":
                hint = "pods of one role share a template; use RoleScoped, and keep them on different hosts"
                yield Fault(path, f'port "{allocation.name}" cannot have scope {allocation.scope}: {hint}')
    known = {(plans[index].role.name, one.name) for index, wish in wishes.items() for one in wish.allocations}
    for index, wish in wishes.items():
        for reference in wish.references:
            if target_of(reference) not in known:
                path = f"spec.roles[{index}].template.metadata.annotations[{PORT_ALLOCATOR}]"
                yield Fault(path, f'"{reference.source}" is no allocated port of this group')


def target_of(reference: Reference) -> tuple[str, str]:
    """(role, port's name)"""
    role, _, rest = reference.source.partition(".")
    return role, rest.rpartition(".")[2]


def assign(group: str, plans: Sequence[RolePlan], known: Ports, taken: Iterable[int]) -> dict[str, dict[str, int]]:
    """A number for each port that a group asks for.

    Args:
        group: `namespace/name`.
        known: what the group has been given before; kept.
        taken: what others have.
    Raises:
        InvalidGroup: no number is free.
    """
    used = set(taken)
    wanted = [(plan.role.name, one.name) for plan in plans for one in wish_of(plan.template).allocations]
    found: dict[str, dict[str, int]] = {}
    for role, name in wanted:
        if (old := known.get(role, {}).get(name)) is not None and old not in used:
            found.setdefault(role, {})[name] = old
            used.add(old)
    for role, name in wanted:
        if name in found.get(role, {}):
            continue
        start = int(hashlib.sha256(f"{group}/{role}/{name}".encode()).hexdigest()[:8], 16) % COUNT
        free = (FIRST + (start + step) % COUNT for step in range(COUNT))
        number = next((port for port in free if port not in used), None)
        if number is None:
            raise InvalidGroup([Fault("spec.roles", f"all ports from {FIRST} to {FIRST + COUNT - 1} are allocated")])
        found.setdefault(role, {})[name] = number
        used.add(number)
    return found


def written(ports: Mapping[str, int]) -> dict[str, str]:
    """A role's ports as the annotation of its ConfigMap; none for a role without."""
    return {PORTS: json.dumps(ports, sort_keys=True)} if ports else {}


def read(item: Raw) -> dict[str, int]:
    """The ports that a ConfigMap remembers."""
    try:
        return msgspec.json.decode(at(item, "metadata", "annotations", PORTS, default="{}"), type=dict[str, int])
    except ValueError:
        return {}  # somebody wrote into it; it is put right by the next write


def port_env(template: Raw, role: str, ports: Ports) -> list[Raw]:
    """The variables that tell a pod its ports and those of others."""
    wish = wish_of(template)
    told = [(one.env, ports.get(role, {}).get(one.name)) for one in wish.allocations]
    for reference in wish.references:
        other, name = target_of(reference)
        told.append((reference.env, ports.get(other, {}).get(name)))
    return [{"name": env, "value": str(number)} for env, number in told if number is not None]


def port_annotations(template: Raw, role: str, ports: Ports) -> dict[str, str]:
    """The same for those who read annotations of pods."""
    given = ports.get(role, {})
    return {
        one.annotation_key: str(given[one.name])
        for one in wish_of(template).allocations
        if one.annotation_key and one.name in given
    }
