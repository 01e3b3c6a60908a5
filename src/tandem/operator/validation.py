"""Every mistake that can be seen in a group alone, each with its path and what would mend it.

Admission refuses a group with any of them; where admission was down, the group gets a condition and nothing is built.
"""

import re
from collections.abc import Iterator, Sequence

from tandem.core.paths import at
from tandem.operator.amounts import is_amount
from tandem.operator.dependencies import cycle, unknown_dependencies
from tandem.operator.faults import Fault, InvalidGroup
from tandem.operator.naming import workload_name
from tandem.operator.ports import port_faults
from tandem.operator.roles import RolePlan, plan_role
from tandem.operator.shapes import Container, PodTemplate, shape_fault
from tandem.operator.types import GroupSpec, Raw, Role

_DNS_LABEL = re.compile(r"(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NO_DNS_LABEL = '"{}" is not a valid DNS label: lower-case letters, digits and inner "-" only, 63 at most'
STATEFUL_SET_LIMIT = 52
"""Pods of a StatefulSet carry `<name>-<10 digits>` as a label, which holds 63 characters."""


def faults_of(name: str, spec: GroupSpec) -> list[Fault]:
    """All faults of a group; empty when it can be built."""
    found: list[Fault] = []
    if not _DNS_LABEL.fullmatch(name):
        found.append(Fault("metadata.name", _NO_DNS_LABEL.format(name)))
    found += _templates(spec)
    plans: dict[int, RolePlan] = {}
    for index in range(len(spec.roles)):
        try:
            plans[index] = plan_role(spec, index)
        except InvalidGroup as error:
            found += error.faults
    for index, role in enumerate(spec.roles):
        found += _role(name, index, role, plans.get(index))
    found += port_faults(plans)
    found += _names(name, spec.roles)
    found += _dependencies(spec.roles)
    found += _policies(spec)
    return found


def slips(spec: GroupSpec) -> Iterator[Fault]:
    """What can be built and is hardly meant. Refused at admission; where it is there already it holds as it stands.

    A partition of all pods is how groups were held still before admission was; and an autoscaler that takes pods away
    must not make its group invalid.
    """
    for index, role in enumerate(spec.roles):
        sources = {
            "template": role.template or role.template_ref,
            "standalonePattern": role.standalone_pattern,
            "leaderWorkerPattern": role.leader_worker_pattern,
        }
        if len(given := [word for word, value in sources.items() if value is not None]) > 1:
            yield Fault(f"spec.roles[{index}]", f"{' and '.join(given)} exclude each other; keep one")
        update = role.rollout_strategy.rolling_update if role.rollout_strategy else None
        scaled = role.scaling_adapter is not None and role.scaling_adapter.enable
        if update is None or scaled or not isinstance(update.partition, int) or not role.replicas > 0:
            continue
        if update.partition >= role.replicas:
            path = f"spec.roles[{index}].rolloutStrategy.rollingUpdate.partition"
            yield Fault(path, f"{update.partition} must be less than replicas {role.replicas}")


def _templates(spec: GroupSpec) -> Iterator[Fault]:
    names: set[str] = set()
    for index, template in enumerate(spec.role_templates):
        path = f"spec.roleTemplates[{index}]"
        if template.name in names:
            yield Fault(path, f'duplicate template name "{template.name}"')
        names.add(template.name)
        if fault := shape_fault(f"{path}.template", template.template, PodTemplate):
            yield fault
        elif not (template.template.get("spec") or {}).get("containers"):
            yield Fault(f"{path}.template.spec.containers", "must have at least one container")


def _role(group: str, index: int, role: Role, plan: RolePlan | None) -> Iterator[Fault]:
    path = f"spec.roles[{index}]"
    if not _DNS_LABEL.fullmatch(role.name):
        yield Fault(f"{path}.name", _NO_DNS_LABEL.format(role.name))
    if plan is None:
        return
    size = len(f"{group}-{role.name}")
    # A LeaderWorkerSet is a StatefulSet of leaders, and one of workers for each of them: `<name>-0` and so on.
    limit = STATEFUL_SET_LIMIT - (len("-0") if plan.size > 1 else 0)
    if plan.kind != "Deployment" and size > limit:
        message = f'"{group}-{role.name}" has {size} characters; a {plan.kind} takes {limit}: shorten one'
        yield Fault(f"{path}.name", message)
    yield from _containers(f"{path}.template", plan.template)
    worker = f"{path}.template (worker)"
    if plan.worker_template is not None and plan.size > 1:
        yield from _containers(worker, plan.worker_template)
    elif plan.worker_template is not None and (fault := shape_fault(worker, plan.worker_template, PodTemplate)):
        yield fault
    for number, runtime in enumerate(role.engine_runtimes):
        for place, container in enumerate(runtime.containers):
            if fault := shape_fault(f"{path}.engineRuntimes[{number}].containers[{place}]", container, Container):
                yield fault
    yield from _rolling(path, role)
    pattern = role.leader_worker_pattern
    if pattern and pattern.shared_service_selection == "LeaderOnly":
        message = "LeaderOnly cannot be had with a LeaderWorkerSet, whose controller makes the Service: use All"
        yield Fault(f"{path}.leaderWorkerPattern.sharedServiceSelection", message)
    for number, port in enumerate(role.service_ports):
        if not isinstance(port.get("port"), int) or not 0 < port["port"] < 65536:
            yield Fault(f"{path}.servicePorts[{number}].port", "must be a number from 1 to 65535")
        elif len(role.service_ports) > 1 and not port.get("name"):
            yield Fault(f"{path}.servicePorts[{number}].name", "required when there are several ports")


def _containers(path: str, template: Raw) -> Iterator[Fault]:
    if fault := shape_fault(path, template, PodTemplate):
        yield fault
        return
    containers = at(template, "spec", "containers", default=[])
    if not containers:
        yield Fault(f"{path}.spec.containers", "must have at least one container")
        return
    names: set[str] = set()
    for index, container in enumerate(containers):
        name = container.get("name")
        where = f"{path}.spec.containers[{index}]"
        if not isinstance(name, str) or not _DNS_LABEL.fullmatch(name):
            yield Fault(f"{where}.name", f"{name!r} is not a valid container name")
        elif name in names:
            yield Fault(f"{where}.name", f'duplicate container name "{name}"')
        else:
            names.add(name)


def _rolling(path: str, role: Role) -> Iterator[Fault]:
    update = role.rollout_strategy.rolling_update if role.rollout_strategy else None
    if update is None:
        return
    path = f"{path}.rolloutStrategy.rollingUpdate"
    amounts = {"maxSurge": update.max_surge, "maxUnavailable": update.max_unavailable, "partition": update.partition}
    bad = {key: value for key, value in amounts.items() if value is not None and not is_amount(value)}
    for key, value in bad.items():
        yield Fault(f"{path}.{key}", f'invalid value "{value}": write a count or a percentage such as 25%')
    if bad or role.replicas == 0:
        return
    if update.max_surge in (0, "0%") and update.max_unavailable in (0, "0%"):
        yield Fault(path, "maxSurge and maxUnavailable cannot both be 0: no pod could ever be replaced")


def _names(group: str, roles: Sequence[Role]) -> Iterator[Fault]:
    taken: dict[str, str] = {}
    for index, role in enumerate(roles):
        name = workload_name(group, role.name)
        if name in taken:
            message = (
                f'"{group}-{role.name}" is cut to {name}, which is what role "{taken[name]}" is called: shorten it'
            )
            yield Fault(f"spec.roles[{index}].name", message)
        taken.setdefault(name, role.name)


def _dependencies(roles: Sequence[Role]) -> Iterator[Fault]:
    names = ", ".join(role.name for role in roles)
    unknown = unknown_dependencies(roles)
    for index, role in enumerate(roles):
        for missing in unknown.get(role.name, []):
            path = f"spec.roles[{index}].dependencies"
            yield Fault(path, f'role "{role.name}" depends on "{missing}", which is not in the group ({names})')
    if circle := cycle(roles):
        yield Fault("spec.roles", f"dependencies go in a circle: {' -> '.join(circle)}; take one away")


def _policies(spec: GroupSpec) -> Iterator[Fault]:
    policy = spec.pod_group_policy
    if policy and policy.kube_scheduling and policy.volcano_scheduling:
        yield Fault("spec.podGroupPolicy", "kubeScheduling and volcanoScheduling exclude each other; keep one")
    known = {role.name for role in spec.roles}
    for name, least in (policy.role_minimums if policy else {}).items():
        if name not in known:
            yield Fault("spec.podGroupPolicy.roleMinimums", f'there is no role "{name}"')
        elif least < 0:
            yield Fault(f"spec.podGroupPolicy.roleMinimums.{name}", "must not be negative")
    for index, rule in enumerate(spec.coordination):
        for name in rule.roles:
            if name not in known:
                yield Fault(f"spec.coordination[{index}].roles", f'there is no role "{name}"')
