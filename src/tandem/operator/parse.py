"""From the API's dictionaries to the typed group; what does not fit becomes faults, never a crash."""

import msgspec

from tandem.core.paths import at
from tandem.operator.faults import InvalidGroup
from tandem.operator.labels import GROUP
from tandem.operator.shapes import fault_of
from tandem.operator.types import Group, GroupSpec, GroupStatus, Raw


def parse_spec(spec: object, path: str = "spec") -> GroupSpec:
    """A group's spec.

    Raises:
        InvalidGroup: it is not of the schema's shape.
    """
    try:
        return msgspec.convert(spec, GroupSpec)
    except msgspec.ValidationError as error:
        raise InvalidGroup([fault_of(error, path)]) from error


def parse_group(item: Raw) -> Group:
    """A RoleBasedGroup as it came.

    Raises:
        InvalidGroup: its spec is not of the schema's shape. What else the group says can still be had by `shell_of`.
    """
    return msgspec.structs.replace(shell_of(item), spec=parse_spec(item.get("spec")))


def shell_of(item: Raw) -> Group:
    """The group with an empty spec: enough to give it a status."""
    metadata = item["metadata"]
    try:
        status = msgspec.convert(item.get("status") or {}, GroupStatus)
    except msgspec.ValidationError:
        status = GroupStatus()  # another operator's status; ours replaces it
    return Group(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        annotations=metadata.get("annotations") or {},
        labels=metadata.get("labels") or {},
        spec=GroupSpec(roles=[]),
        status=status,
    )


def status_object(kind: str, name: str, namespace: str, status: msgspec.Struct) -> Raw:
    """What is applied to the status subresource."""
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "status": msgspec.to_builtins(status),
    }


def being_deleted(item: Raw) -> bool:
    return at(item, "metadata", "deletionTimestamp") is not None
