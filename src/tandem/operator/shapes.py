"""The parts of a pod template that rules read, as types: whoever wrote something else there is told where.

The definitions leave templates open, so the server's schema does not look at them, and a rule would stumble.
"""

from typing import Any

import msgspec

from tandem.operator.faults import Fault
from tandem.operator.types import Raw, Spec


class _Variable(Spec, frozen=True):
    name: str
    value: str | None = None


class _Mount(Spec, frozen=True):
    mount_path: str = ""


class Container(Spec, frozen=True):
    """A container, but for its name, which has words of its own where it is wrong."""

    command: list[str] | None = None
    args: list[str] | None = None
    env: list[_Variable] | None = None
    ports: list[Raw] | None = None
    volume_mounts: list[_Mount] | None = None


class _Placement(Spec, frozen=True):
    terms: list[Raw] | None = msgspec.field(name="requiredDuringSchedulingIgnoredDuringExecution", default=None)


class _Affinity(Spec, frozen=True):
    pod_affinity: _Placement | None = None
    pod_anti_affinity: _Placement | None = None


class _Pod(Spec, frozen=True):
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    volumes: list[Raw] | None = None
    affinity: _Affinity | None = None


class _Metadata(Spec, frozen=True):
    labels: dict[str, str | None] | None = None
    annotations: dict[str, str | None] | None = None


class PodTemplate(Spec, frozen=True):
    """A pod template."""

    metadata: _Metadata | None = None
    spec: _Pod | None = None


def shape_fault(path: str, value: Any, kind: type) -> Fault | None:
    """What is not of a type's form in a value, if anything."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return fault_of(error, path)
    return None


def fault_of(error: msgspec.ValidationError, path: str) -> Fault:
    """The error in our words: where it is from the group's root on, and what is wrong."""
    message, _, where = str(error).partition(" - at `$")
    return Fault(path + where.rstrip("`"), message[:1].lower() + message[1:])
