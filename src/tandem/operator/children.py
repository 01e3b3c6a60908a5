"""The heart: a group and what is there → the objects that should be there, and those that should not.

Pure. A role is started when its own dependencies are ready; what exists is kept up to date whatever they do. Namesakes
that belong to somebody else are left alone and named in the role's problem.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from tandem.core.paths import at
from tandem.operator import labels
from tandem.operator.adapters import KIND as ADAPTER
from tandem.operator.adapters import adapter, enabled
from tandem.operator.compare import stamped
from tandem.operator.dependencies import waiting_for
from tandem.operator.discovery import discovery_text
from tandem.operator.faults import Fault, InvalidGroup
from tandem.operator.gang import POD_GROUP_API, gang_of, pod_group
from tandem.operator.hub_token import token_env, token_secret
from tandem.operator.naming import group_key, service_name
from tandem.operator.pods import pod_template, role_labels, selector_labels
from tandem.operator.ports import assign, read, written
from tandem.operator.restarts import to_delete
from tandem.operator.revisions import next_revision, surplus
from tandem.operator.roles import RolePlan, plan_role
from tandem.operator.rollout import (
    Pace,
    Progress,
    held_back,
    pace,
    progress,
    scaling_targets,
    skew_partitions,
    unavailable_limits,
)
from tandem.operator.seen import Key, Seen, ownership
from tandem.operator.services import config_map, service
from tandem.operator.status import RoleView
from tandem.operator.types import Group, Raw
from tandem.operator.validation import faults_of
from tandem.operator.workloads import is_ready, name_of, role_hash, selector_of, service_selector, workload

WORKLOADS = ("StatefulSet", "Deployment", "LeaderWorkerSet")
_NOT_INSTALLED = "{} is not installed in this cluster: install its CRD and controller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a reconciliation does. `apply` is in order: what pods need stands before what starts them."""

    faults: list[Fault] = field(default_factory=list)
    apply: list[Raw] = field(default_factory=list)
    delete: list[Raw] = field(default_factory=list)
    secret: Raw | None = None
    """Metadata of the Secret with the group's token, which is made before workloads and never written again."""
    views: list[RoleView] = field(default_factory=list)


def plan_children(group: Group, seen: Seen) -> Plan:
    """Decide everything about a group's children."""
    if faults := faults_of(group.name, group.spec):
        return Plan(faults=faults)
    try:
        planner = _Planner(group, seen)
    except InvalidGroup as error:  # no port is free
        return Plan(faults=error.faults)
    return planner.plan()


class _Planner:
    """One decision. Holds what several steps need; `plan` is called once."""

    def __init__(self, group: Group, seen: Seen) -> None:
        self.group, self.seen = group, seen
        self.plans = [plan_role(group.spec, index) for index in range(len(group.spec.roles))]
        self.gang = gang_of(group)
        self.found = {plan.role.name: self._mine(plan.kind, name_of(group, plan.role)) for plan in self.plans}
        self.services = {plan.role.name: self._service_name(plan) for plan in self.plans if _served(plan)}
        self.ports = self._ports()
        self.secret = self._token_secret()
        self.restarting = to_delete(group, [item for item in self.found.values() if item])
        self.apply: list[Raw] = []

    def plan(self) -> Plan:
        problems = self._gang_problem()
        text = discovery_text(self.group.name, self.plans, self.services, self.ports)
        in_the_way: dict[str, str | None] = {}
        for name, role in self._config_maps():
            metadata = self._metadata("ConfigMap", name, role)
            if given := written(self.ports.get(role or "", {})):
                metadata["annotations"] = given
            in_the_way[role or ""] = self._want(config_map(metadata, text))
        if self.gang is not None and not problems:
            metadata = self._metadata("PodGroup", self.group.name, None)
            problems = self._want(pod_group(self.group, self.gang, self.plans, metadata, self._asked()))
        views = list(self._roles(problems, in_the_way))
        for plan in self.plans:
            if enabled(plan.role):
                name = name_of(self.group, plan.role)
                metadata = self._metadata(ADAPTER, name, plan.role.name)
                self._want(adapter(self.group, plan.role, metadata))
        past = [item for item in self.seen.of("ControllerRevision") if ownership(item, self.group) == "ours"]
        revision = next_revision(self.group, past, self._metadata("ControllerRevision", "", None))
        if revision is not None:
            self.apply.append(stamped(revision))
        keep = 5 if revision is None else 4
        surplus_ = [*self._surplus(), *surplus(past, keep), *self.restarting]
        secret = self._metadata("Secret", self.secret, None) if self.secret else None
        return Plan(apply=self.apply, delete=surplus_, secret=secret, views=views)

    def _roles(self, group_problem: str | None, in_the_way: Mapping[str, str | None]) -> Iterator[RoleView]:
        """One by one. `in_the_way`: role → why it cannot have its discovery file."""
        ready = {plan.role.name: self._ready(plan) for plan in self.plans}
        targets = self._targets()
        templates: dict[str, tuple[Raw | None, Raw | None, str]] = {}
        problems: dict[str, str] = {}
        for index, plan in enumerate(self.plans):
            try:
                templates[plan.role.name] = self._templates(index, plan)
            except InvalidGroup as error:
                problems[plan.role.name] = str(error)
        now = {
            plan.role.name: self._progress(plan, templates[plan.role.name][2])
            for plan in self.plans
            if plan.role.name in templates
        }
        rules = self.group.spec.coordination
        held = skew_partitions(rules, now)
        away = unavailable_limits(rules, {plan.role.name: plan.role.replicas for plan in self.plans})
        for plan in self.plans:
            name, found = plan.role.name, self.found[plan.role.name]
            waiting = waiting_for(plan.role, ready) if found is None else []
            restarting = "starts anew with its group" if any(found is item for item in self.restarting) else None
            problem = (
                problems.get(name)
                or restarting
                or self._kind_problem(plan)
                or in_the_way.get(name)
                or (group_problem if found is None else None)
            )
            view = RoleView(plan=plan, workload=found, waiting_for=waiting, problem=problem)
            if problem or waiting:
                yield view
                continue
            update = pace(
                plan.role,
                found,
                now[name],
                replicas=targets[name],
                skew_partition=held.get(name, 0),
                max_unavailable=away.get(name),
            )
            made = self._workload(plan, *templates[name], update)
            problem = self._service(plan, made) or self._want(made)
            yield RoleView(
                plan=plan,
                workload=found,
                problem=problem,
                rolling=now[name].rolling,
                held_back=held_back(plan.role, plan.role.replicas),
            )

    def _templates(self, index: int, plan: RolePlan) -> tuple[Raw | None, Raw | None, str]:
        """Pod templates and their hash. No templates: the workload's own are kept, because they stand for this role."""
        found = self.found[plan.role.name]
        asked = role_hash(plan.role, plan.template, plan.worker_template)
        if found is not None and self._keeps_template(found, asked):
            return None, None, asked
        made = self._made(index, plan)
        past = at(found, "metadata", "annotations", labels.TEMPLATE_HASH)
        if past not in (None, made[2]):
            # An operator that was upgraded rolls nothing: what an earlier one made of the same role stays.
            older = self._made(index, plan, probes=False)
            if older[2] == past:
                return older
        return made

    def _made(self, index: int, plan: RolePlan, *, probes: bool = True) -> tuple[Raw, Raw | None, str]:
        found = self.found[plan.role.name]
        selector = selector_of(found, selector_labels(self.group, plan.role.name))
        made: list[Raw | None] = []
        for source in (plan.template, plan.worker_template):
            if source is None:
                made.append(None)
                continue
            template = pod_template(
                self.group,
                plan.role if source is plan.template else msgspec.structs.replace(plan.role, engine_runtimes=[]),
                f"spec.roles[{index}]",
                source,
                kind=plan.kind,
                config_map=name_of(self.group, plan.role),
                profiles=self.seen.profiles,
                gang=self.gang,
                selector=selector,
                ports=self.ports,
                more_env=[token_env(self.secret)] if self.secret else [],
                probes=probes,
            )
            made.append(template)
        leader = made[0] or {}
        return leader, made[1], role_hash(plan.role, leader, made[1])

    def _keeps_template(self, found: Raw, asked: str) -> bool:
        """A workload that another operator made keeps its pods until somebody changes the role."""
        annotations = at(found, "metadata", "annotations", default={})
        if labels.APPLIED_HASH not in annotations:
            return True
        return bool(annotations.get(labels.ADOPTED_FOR) == asked)

    def _progress(self, plan: RolePlan, template_hash: str) -> Progress:
        found = self.found[plan.role.name]
        past = at(found, "metadata", "annotations", labels.TEMPLATE_HASH)
        return progress(plan.role, found, changes_now=past is not None and past != template_hash)

    def _ready(self, plan: RolePlan) -> bool:
        found = self.found[plan.role.name]
        if at(found, "metadata", "deletionTimestamp") or any(found is item for item in self.restarting):
            return False
        return is_ready(found, plan.role.replicas)

    def _workload(self, plan: RolePlan, template: Raw | None, worker: Raw | None, hash_: str, update: Pace) -> Raw:
        role, name, found = plan.role, name_of(self.group, plan.role), self.found[plan.role.name]
        metadata = self._metadata(plan.kind, name, role.name)
        own = {labels.ROLE_REVISION_HASH + role.name: role_hash(role, plan.template, plan.worker_template)}
        metadata["labels"] = {**role.labels, **metadata["labels"], **(own if len(role.name) <= 44 else {})}
        mark = {labels.TEMPLATE_HASH: hash_} if template is not None else {labels.ADOPTED_FOR: hash_}
        metadata["annotations"] = {**role.annotations, labels.ROLE_SIZE: str(role.replicas), **mark}
        return workload(
            plan,
            update,
            metadata=metadata,
            service=self.services.get(role.name, ""),
            template=template,
            worker_template=worker,
            selector=selector_of(found, selector_labels(self.group, role.name)),
            facts=self.seen.facts,
        )

    def _service(self, plan: RolePlan, made: Raw) -> str | None:
        """Ask for the role's Service, if it has one; says what is in the way."""
        if plan.role.name not in self.services:
            return None
        selector = at(made, "spec", "selector", "matchLabels", default={})
        metadata = self._metadata("Service", self.services[plan.role.name], plan.role.name)
        metadata["annotations"] = {labels.ROLE_SIZE: str(plan.role.replicas)}
        wish = service(plan, metadata, service_selector(selector))
        return self._want(wish) if wish is not None else None

    def _config_maps(self) -> Iterator[tuple[str, str | None]]:
        """One per role, and the group's own where pods of an adopted workload mount that."""
        for plan in self.plans:
            yield name_of(self.group, plan.role), plan.role.name
        names = {name_of(self.group, plan.role) for plan in self.plans}
        for found in self.found.values():
            for volume in at(found, "spec", "template", "spec", "volumes", default=[]):
                if at(volume, "configMap", "name") == self.group.name and self.group.name not in names:
                    yield self.group.name, None
                    return

    def _ports(self) -> dict[str, dict[str, int]]:
        """Those of before, as the roles' ConfigMaps remember them, and numbers for new wishes."""
        known = {
            plan.role.name: read(found)
            for plan in self.plans
            if (found := self._mine("ConfigMap", name_of(self.group, plan.role))) is not None
        }
        return assign(f"{self.group.namespace}/{self.group.name}", self.plans, known, self.seen.ports_taken)

    def _token_secret(self) -> str | None:
        templates = [each for plan in self.plans for each in (plan.template, plan.worker_template) if each is not None]
        return token_secret(self.group, templates, [item for item in self.found.values() if item is not None])

    def _targets(self) -> dict[str, int]:
        """Replicas to run now; coordination of scaling may ask for fewer than wished."""
        wished = {plan.role.name: plan.role.replicas for plan in self.plans}
        if not any(rule.strategy and rule.strategy.scaling for rule in self.group.spec.coordination):
            return wished
        current = {name: at(found, "spec", "replicas", default=0) for name, found in self.found.items()}
        ready = {name: at(found, "status", "readyReplicas", default=0) for name, found in self.found.items()}
        placed = dict.fromkeys(wished, 0)
        for pod in self.seen.pods:
            name = at(pod, "metadata", "labels", labels.ROLE)
            if name in placed and at(pod, "spec", "nodeName"):
                placed[name] += 1
        scheduled = {plan.role.name: placed[plan.role.name] // plan.size for plan in self.plans}
        return scaling_targets(self.group.spec.coordination, wished, current, scheduled, ready)

    def _asked(self) -> dict[str, int]:
        """Replicas that are asked for now: none of a role that waits for others, fewer of one that grows in step."""
        ready = {plan.role.name: self._ready(plan) for plan in self.plans}
        waits = {r.name for r in (p.role for p in self.plans) if self.found[r.name] is None and waiting_for(r, ready)}
        return {name: 0 if name in waits else target for name, target in self._targets().items()}

    def _gang_problem(self) -> str | None:
        if self.gang is None:
            return None
        kind = f"PodGroup.{POD_GROUP_API[self.gang.scheduler].split('/')[0]}"
        return None if kind in self.seen.facts.kinds else _NOT_INSTALLED.format(kind)

    def _kind_problem(self, plan: RolePlan) -> str | None:
        if plan.kind == "LeaderWorkerSet" and "LeaderWorkerSet.leaderworkerset.x-k8s.io" not in self.seen.facts.kinds:
            return _NOT_INSTALLED.format("LeaderWorkerSet.leaderworkerset.x-k8s.io")
        return None

    def _mine(self, kind: str, name: str) -> Raw | None:
        found = self.seen.get(kind, name)
        return found if found is not None and ownership(found, self.group) in ("ours", "adoptable") else None

    def _want(self, wish: Raw) -> str | None:
        """Put an object on the list, unless a namesake is somebody else's; then say so."""
        kind, name = wish["kind"], wish["metadata"]["name"]
        found = self.seen.get(kind, name)
        whose = ownership(found, self.group) if found is not None else "ours"
        if whose == "former":
            return f"{kind} {name} belongs to a deleted group of this name; waiting until it is gone"
        if whose == "foreign":
            return f"{kind} {name} exists and is not this group's: delete or rename it"
        if found is not None and at(found, "metadata", "deletionTimestamp"):
            return f"{kind} {name} is being deleted"
        self.apply.append(stamped(wish))
        return None

    def _surplus(self) -> Iterator[Raw]:
        """Children that carry this group's name, are controlled by it, and that nobody wants any more."""
        wanted: set[Key] = {(item["kind"], item["metadata"]["name"]) for item in self.apply}
        wanted |= {(plan.kind, name_of(self.group, plan.role)) for plan in self.plans}
        wanted |= {("Service", name) for name in self.services.values()}
        scheduler = POD_GROUP_API[self.gang.scheduler] if self.gang else None
        for key, item in self.seen.objects.items():
            kinds = (*WORKLOADS, "Service", "ConfigMap", "PodGroup", ADAPTER)
            of_another_scheduler = key[0] == "PodGroup" and item.get("apiVersion") != scheduler
            wished = key in wanted and not of_another_scheduler
            if wished or key[0] not in kinds or at(item, "metadata", "deletionTimestamp"):
                continue
            if ownership(item, self.group) == "ours":
                yield item

    def _service_name(self, plan: RolePlan) -> str:
        """A StatefulSet keeps the Service that it was made with: older versions called it otherwise."""
        default = service_name(self.group.name, plan.role.name)
        return str(at(self.found[plan.role.name], "spec", "serviceName", default=default))

    def _metadata(self, kind: str, name: str, role: str | None) -> Raw:
        """Name, namespace, labels of both families, and the owner that takes the object along when it goes."""
        group = self.group
        key = group_key(group.namespace, group.name)
        common = {
            labels.NAME: group.name,
            labels.GROUP_KEY: key,
            labels.NEW_NAME: group.name,
            labels.NEW_GROUP_KEY: key,
        }
        return {
            "name": name,
            "namespace": group.namespace,
            "labels": role_labels(group, role) if role else common,
            "ownerReferences": [owner(group, controller=kind != ADAPTER)],
        }


def owner(group: Group, *, controller: bool = True) -> Raw:
    """The reference by which garbage collection deletes a child with its group."""
    return {
        "apiVersion": f"{labels.GROUP}/v1alpha1",
        "kind": "RoleBasedGroup",
        "name": group.name,
        "uid": group.uid,
        "controller": controller,
        "blockOwnerDeletion": True,
    }


def _served(plan: RolePlan) -> bool:
    return plan.kind == "StatefulSet" or (plan.kind == "Deployment" and bool(plan.role.service_ports))
