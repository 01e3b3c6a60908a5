"""One role, whichever version's words it was written in, as one value: which workload, how many, which template."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from tandem.operator.faults import Fault, InvalidGroup
from tandem.operator.labels import WORKLOAD_TYPE
from tandem.operator.merge import strategic_merge
from tandem.operator.types import GroupSpec, Raw, Role, TemplateRef

Kind = Literal["StatefulSet", "Deployment", "LeaderWorkerSet"]

API_VERSIONS: Final[dict[Kind, str]] = {
    "StatefulSet": "apps/v1",
    "Deployment": "apps/v1",
    "LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1",
}
_AS_STATEFUL_SET: Final = ("workloads.x-k8s.io/v1alpha1/InstanceSet", "workloads.x-k8s.io/v1alpha2/RoleInstanceSet")
"""Upstream's own workload kinds. One pod per replica is what a StatefulSet does; there is no in-place update here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePlan:
    """What `Role` says, resolved: templates merged, kind decided. `template` is the leader's in a LeaderWorkerSet."""

    role: Role
    kind: Kind
    template: Raw
    worker_template: Raw | None = None
    size: int = 1
    """Pods per replica."""

    @property
    def pods(self) -> int:
        return self.role.replicas * self.size


def kind_of(role: Role) -> Kind | None:
    """The workload kind that runs the role; None when we have none for what it asks."""
    asked = role.annotations.get(WORKLOAD_TYPE)
    if asked is None:
        if role.leader_worker_pattern is not None:
            return "LeaderWorkerSet"
        asked = f"{role.workload.api_version}/{role.workload.kind}"
    if asked in _AS_STATEFUL_SET:
        return "LeaderWorkerSet" if role.leader_worker_pattern else "StatefulSet"
    return next((kind for kind, version in API_VERSIONS.items() if f"{version}/{kind}" == asked), None)


def plan_role(spec: GroupSpec, index: int) -> RolePlan:
    """Resolve one role.

    Raises:
        InvalidGroup: the kind is unknown, or no pod template comes out.
    """
    role, path = spec.roles[index], f"spec.roles[{index}]"
    kind = kind_of(role)
    if kind is None:
        asked = role.annotations.get(WORKLOAD_TYPE) or f"{role.workload.api_version}/{role.workload.kind}"
        known = ", ".join(f"{version}/{name}" for name, version in API_VERSIONS.items())
        raise InvalidGroup([Fault(f"{path}.workload", f"unsupported workload type: {asked}; use one of {known}")])
    if role.components or role.custom_components_pattern is not None:
        where = "components" if role.components else "customComponentsPattern"
        hint = "use one role per component, or a LeaderWorkerSet"
        raise InvalidGroup([Fault(f"{path}.{where}", f"components are not supported; {hint}")])
    if pattern := role.leader_worker_pattern:
        base = _template(spec, f"{path}.leaderWorkerPattern", pattern.template, pattern.template_ref, None)
        leader, worker = pattern.leader_template_patch, pattern.worker_template_patch
        return _leader_worker(role, base, leader, worker, pattern.size)
    if role.standalone_pattern is not None:
        alone = role.standalone_pattern
        base = _template(spec, f"{path}.standalonePattern", alone.template, alone.template_ref, None)
    else:
        base = _template(spec, path, role.template, role.template_ref, role.template_patch)
    if kind == "LeaderWorkerSet":
        lws = role.leader_worker_set
        if lws is None:
            return _leader_worker(role, base, None, None, 1)
        return _leader_worker(role, base, lws.patch_leader_template, lws.patch_worker_template, lws.size)
    return RolePlan(role=role, kind=kind, template=base)


def template_parts(spec: GroupSpec) -> Iterator[Raw]:
    """Every template and patch that pods of the group are made from, as they were written."""
    parts: list[Raw | None] = [shared.template for shared in spec.role_templates]
    for role in spec.roles:
        parts += [role.template, role.template_patch]
        if lws := role.leader_worker_set:
            parts += [lws.patch_leader_template, lws.patch_worker_template]
        if alone := role.standalone_pattern:
            parts += [alone.template, alone.template_ref.patch if alone.template_ref else None]
        if pattern := role.leader_worker_pattern:
            parts += [pattern.template, pattern.template_ref.patch if pattern.template_ref else None]
            parts += [pattern.leader_template_patch, pattern.worker_template_patch]
    return (part for part in parts if part is not None)


def _leader_worker(role: Role, base: Raw, leader: Raw | None, worker: Raw | None, size: int) -> RolePlan:
    return RolePlan(
        role=role,
        kind="LeaderWorkerSet",
        template=strategic_merge(base, leader or {}),
        worker_template=strategic_merge(base, worker or {}),
        size=size,
    )


def _template(spec: GroupSpec, path: str, own: Raw | None, ref: TemplateRef | None, patch: Raw | None) -> Raw:
    if ref is None:
        if own is None:
            raise InvalidGroup([Fault(f"{path}.template", "template or templateRef must be set")])
        return own
    if own is not None:
        raise InvalidGroup([Fault(path, "template and templateRef exclude each other; keep one")])
    if patch is None and ref.patch is None and "Pattern" not in path:
        raise InvalidGroup([Fault(f"{path}.templatePatch", "required when templateRef is set; {} changes nothing")])
    for candidate in spec.role_templates:
        if candidate.name == ref.name:
            return strategic_merge(candidate.template, patch or ref.patch or {})
    known = ", ".join(t.name for t in spec.role_templates) or "there are none"
    message = f'template "{ref.name}" not found in spec.roleTemplates ({known})'
    raise InvalidGroup([Fault(f"{path}.templateRef.name", message)])
