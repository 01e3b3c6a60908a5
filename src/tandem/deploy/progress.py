"""The table that `apply` and `status` show: each role with its pods, and what each is at. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from tandem.core.paths import at
from tandem.deploy.look import Look, is_ready, role_of
from tandem.deploy.objects import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRow:
    """One role or plane."""

    role: str
    ready: int
    wished: int
    pods: tuple[tuple[str, str], ...]
    """(pod, what it is at)."""


def role_rows(look: Look) -> list[RoleRow]:
    """Planes first, then the roles in the description's order."""
    return [*_planes(look), *_roles(look)]


def _planes(look: Look) -> Iterator[RoleRow]:
    for plane in look.planes:
        selector = at(plane, "spec", "selector", "matchLabels") or {}
        pods = [pod for pod in look.pods if selector.items() <= (pod["metadata"].get("labels") or {}).items()]
        wished = int(at(plane, "spec", "replicas") or 1)
        yield _row(plane["metadata"]["name"], wished, pods)


def _roles(look: Look) -> Iterator[RoleRow]:
    counts = {role["name"]: int(role.get("replicas", 1)) for role in at(look.group, "spec", "roles") or []}
    for role, wished in look.wished.items():
        yield _row(role, counts.get(role, wished), [pod for pod in look.pods if role_of(pod) == role])


def _row(role: str, wished: int, pods: list[Object]) -> RoleRow:
    ready = sum(is_ready(pod) for pod in pods)
    listed = sorted((pod["metadata"]["name"], pod_state(pod)) for pod in pods)
    return RoleRow(role=role, ready=ready, wished=wished, pods=tuple(listed))


def pod_state(pod: Object) -> str:
    """In a word or two, as kubectl has it, and `loading` for an engine that is not ready yet."""
    if at(pod, "metadata", "deletionTimestamp"):
        return "ending"
    for status in [
        *(at(pod, "status", "initContainerStatuses") or []),
        *(at(pod, "status", "containerStatuses") or []),
    ]:
        if status["name"] == "model-there" and at(status, "state", "running"):
            return "waiting for the model"
        waiting, ended = at(status, "state", "waiting"), at(status, "state", "terminated")
        if waiting and waiting.get("reason") not in (None, "PodInitializing"):
            return str(waiting["reason"])
        if ended and ended.get("exitCode") != 0:
            return str(ended.get("reason") or f"exit {ended.get('exitCode')}")
    if is_ready(pod):
        return "ready"
    phase = str(at(pod, "status", "phase") or "Pending")
    if phase == "Running":
        return "loading"
    placed = any(c["type"] == "PodScheduled" and c["status"] == "True" for c in at(pod, "status", "conditions") or [])
    return "starting" if placed else "waiting for a node"


def plain_line(look: Look) -> str:
    """All roles in one line, for where there is no terminal."""
    return ", ".join(f"{row.role} {row.ready}/{row.wished}" for row in role_rows(look))
