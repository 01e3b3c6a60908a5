"""The object that runs a role's pods: a StatefulSet, a Deployment or a LeaderWorkerSet."""

from collections.abc import Mapping

from tandem.core.paths import at
from tandem.operator import labels
from tandem.operator.compare import digest
from tandem.operator.naming import workload_name
from tandem.operator.roles import API_VERSIONS, RolePlan
from tandem.operator.rollout import Pace, rolling_update
from tandem.operator.seen import ServerFacts
from tandem.operator.types import Group, Raw, Role

MINOR_WITH_MIN_READY_SECONDS = 22
MINOR_WITH_MAX_UNAVAILABLE = 24


def role_hash(role: Role, template: Raw, worker_template: Raw | None) -> str:
    """Stands for everything of a role that its pods are made from; replicas are left out."""
    return digest([template, worker_template, role.min_ready_seconds])


def workload(
    plan: RolePlan,
    pace: Pace,
    *,
    metadata: Raw,
    service: str,
    template: Raw | None,
    worker_template: Raw | None,
    selector: Mapping[str, str],
    facts: ServerFacts,
) -> Raw:
    """The workload of a role. Without `template` the one that is there stays as it is (adoption)."""
    spec: Raw
    match plan.kind:
        case "StatefulSet":
            spec = _stateful_set(plan.role, pace, service, facts)
        case "Deployment":
            spec = _deployment(plan.role, pace)
        case "LeaderWorkerSet":
            spec = _leader_worker_set(plan, pace, template, worker_template)
    if plan.kind != "LeaderWorkerSet":
        spec["selector"] = {"matchLabels": dict(selector)}
        if template is not None:
            spec["template"] = template
        if plan.role.min_ready_seconds and facts.minor >= MINOR_WITH_MIN_READY_SECONDS:
            spec["minReadySeconds"] = plan.role.min_ready_seconds
    return {"apiVersion": API_VERSIONS[plan.kind], "kind": plan.kind, "metadata": metadata, "spec": spec}


def _stateful_set(role: Role, pace: Pace, service: str, facts: ServerFacts) -> Raw:
    update: Raw = {"partition": pace.partition}
    if pace.max_unavailable not in (None, 1, 0, "0%") and facts.minor >= MINOR_WITH_MAX_UNAVAILABLE:
        update["maxUnavailable"] = pace.max_unavailable
    return {
        "replicas": pace.replicas + pace.surge,
        "serviceName": service,
        "podManagementPolicy": role.pod_management_policy or "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": update},
    }


def _deployment(role: Role, pace: Pace) -> Raw:
    spec: Raw = {"replicas": pace.replicas}
    amounts = {"maxUnavailable": pace.max_unavailable, "maxSurge": pace.max_surge}
    if update := {key: value for key, value in amounts.items() if value is not None}:
        spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": update}
        if pace.partition >= role.replicas > 0:
            spec["paused"] = True
    return spec


def _leader_worker_set(plan: RolePlan, pace: Pace, template: Raw | None, worker_template: Raw | None) -> Raw:
    role = plan.role
    pattern = role.leader_worker_pattern
    config = (pattern.restart_policy_config or {}).get("type") if pattern else None
    policy = config or (pattern.restart_policy if pattern else None) or role.restart_policy
    leader_worker: Raw = {
        "size": plan.size,
        "restartPolicy": "None" if policy == "None" else "RecreateGroupOnPodRestart",
    }
    if template is not None:
        leader_worker |= {"leaderTemplate": template, "workerTemplate": worker_template}
    spec: Raw = {"replicas": pace.replicas, "leaderWorkerTemplate": leader_worker}
    amounts = {"maxUnavailable": pace.max_unavailable, "maxSurge": pace.max_surge}
    limits = {key: value for key, value in amounts.items() if value is not None}
    if limits or rolling_update(role) is not None or pace.partition:
        update: Raw = {"partition": pace.partition, **limits}
        spec["rolloutStrategy"] = {"type": "RollingUpdate", "rollingUpdateConfiguration": update}
    return spec


def selector_of(found: Raw | None, wish: Mapping[str, str]) -> dict[str, str]:
    """Selectors cannot be changed: an object keeps the one that it was made with."""
    return dict(at(found, "spec", "selector", "matchLabels", default=wish)) if found else dict(wish)


def service_selector(selector: Mapping[str, str]) -> dict[str, str]:
    """Group and role, in the family of labels that the workload's pods are known to carry."""
    new = (labels.NEW_NAME, labels.NEW_ROLE)
    keys = (labels.NAME, labels.ROLE) if labels.NAME in selector or not selector else new
    return {key: selector[key] for key in keys if key in selector}


def is_ready(found: Raw | None, wished: int) -> bool:
    """Whether a role's workload runs what is wished. A status that is older than the spec does not count."""
    if found is None:
        return False
    observed = at(found, "status", "observedGeneration")
    if observed is None and found.get("kind") == "LeaderWorkerSet":  # old ones do not say; their condition does
        conditions = at(found, "status", "conditions", default=[])
        if wished and not any(item.get("type") == "Available" and item.get("status") == "True" for item in conditions):
            return False
    elif (observed or 0) < at(found, "metadata", "generation", default=0):
        return False
    return bool(at(found, "status", "readyReplicas", default=0) >= wished)


def name_of(group: Group, role: Role) -> str:
    """The workload's name."""
    return workload_name(group.name, role.name)
