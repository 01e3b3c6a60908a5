"""Names and keys of what a group owns."""

import hashlib

NAME_LIMIT = 63


def workload_name(group: str, role: str) -> str:
    """`<group>-<role>`, cut to what a DNS label holds. Also the name of the role's ConfigMap and scaling adapter."""
    return _cut(f"{group}-{role}")


def service_name(group: str, role: str) -> str:
    """`s-<group>-<role>`: apart from the workload's name, which users like to give their own Service."""
    return _cut(f"s-{group}-{role}")


def group_key(namespace: str, group: str) -> str:
    """40 hexadecimal digits that tell groups of one name in two namespaces apart."""
    return hashlib.sha1(f"{namespace}/{group}".encode(), usedforsecurity=False).hexdigest()


def hub_token_name(group: str, uid: str) -> str:
    """Of this group and not of an earlier one of its name, whose Secret may still be about to go."""
    return f"{group[:NAME_LIMIT]}-hub-{uid[:8]}"


def revision_name(group: str, digest: str, revision: int) -> str:
    """Name of a ControllerRevision; the number keeps a return to old content apart from that content's first time."""
    tail = f"-{digest}-{revision}"
    return group[: 253 - len(tail)] + tail


def _cut(name: str) -> str:
    return name[:NAME_LIMIT].rstrip("-")
