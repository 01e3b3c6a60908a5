"""The discovery file that every container finds at /etc/rbg/config.yaml, and the addresses in it.

Every address resolves: pods of a StatefulSet through the role's headless Service, leaders of a LeaderWorkerSet through
the Service that its controller makes, a Deployment through a Service of its own where it names ports. Sizes are the
wished ones, so the file changes when a role is scaled, and pods do not restart for it.
"""

from collections.abc import Mapping, Sequence

import yaml

from tandem.operator.naming import workload_name
from tandem.operator.ports import Ports
from tandem.operator.roles import RolePlan
from tandem.operator.types import Raw

_DUMPER: type = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's, where PyYAML has it: the other one took more than half the time of a decision about a group."""


def discovery_text(group: str, plans: Sequence[RolePlan], services: Mapping[str, str], ports: Ports) -> str:
    """The YAML text, keys in alphabetical order; the same for every role of the group.

    Args:
        services: role → its Service, for the roles that have one.
        ports: those that roles have been given; they stand beside the ones that roles name.
    """
    document = {
        "group": {"name": group, "roles": [plan.role.name for plan in plans], "size": len(plans)},
        "roles": {
            plan.role.name: _role(group, plan, services.get(plan.role.name, ""), ports.get(plan.role.name, {}))
            for plan in plans
        },
    }
    return str(yaml.dump(document, Dumper=_DUMPER, sort_keys=True, default_flow_style=False, width=4096))


def port_key(port: Raw) -> str:
    """How the file calls a port: its name with `-` as `_`, or `port<number>` for one without a name."""
    name = str(port.get("name") or "")
    return name.lower().replace("-", "_") if name else f"port{port.get('port')}"


def _role(group: str, plan: RolePlan, service: str, given: Mapping[str, int]) -> Raw:
    return {"instances": _instances(group, plan, service, given), "size": plan.role.replicas}


def _instances(group: str, plan: RolePlan, service: str, given: Mapping[str, int]) -> list[Raw]:
    name = workload_name(group, plan.role.name)
    ports: Raw = {port_key(port): port.get("port") for port in plan.role.service_ports}
    ports |= {port_key({"name": key}): number for key, number in given.items()}
    more: Raw = {"ports": ports} if ports else {}
    if plan.kind == "Deployment":
        return [{"address": service, **more}] if plan.role.service_ports else []
    if plan.kind == "StatefulSet":
        return [{"address": f"{name}-{i}.{service}", **more} for i in range(plan.role.replicas)]
    instances: list[Raw] = []
    for i in range(plan.role.replicas):
        workers = [f"{name}-{i}-{j}.{name}" for j in range(1, plan.size)]
        instances.append({"address": f"{name}-{i}.{name}", **more, **({"workers": workers} if workers else {})})
    return instances
