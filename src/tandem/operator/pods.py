"""From a role's template to the pod template that runs: labels of both families, env, the discovery file, the extras.

The user's own words survive as they stand. What we add goes before the user's env, so that `$(ROLE_INDEX)` in it works.
"""

import copy
import re
from collections.abc import Mapping, Sequence

from tandem.operator import labels
from tandem.operator.gang import Gang, mark
from tandem.operator.kinds import ProfileSpec
from tandem.operator.naming import group_key
from tandem.operator.ports import Ports, port_annotations, port_env
from tandem.operator.roles import Kind
from tandem.operator.runtimes import inject_runtimes
from tandem.operator.topology import exclusive_topology, place
from tandem.operator.types import Group, Raw, Role


def role_labels(group: Group, role: str) -> dict[str, str]:
    """Labels of both families, for pods and for everything of one role; its set's too, for a set's autoscaler."""
    key = group_key(group.namespace, group.name)
    old = {labels.NAME: group.name, labels.ROLE: role, labels.GROUP_KEY: key}
    sets = {key: group.labels[key] for key in (labels.SET_NAME, labels.NEW_SET_NAME) if key in group.labels}
    return old | {labels.NEW_NAME: group.name, labels.NEW_ROLE: role, labels.NEW_GROUP_KEY: key} | sets


def selector_labels(group: Group, role: str) -> dict[str, str]:
    """What a new workload selects its pods by: the old family, as every version that the guide knows."""
    found = role_labels(group, role)
    return {key: found[key] for key in (labels.NAME, labels.ROLE, labels.GROUP_KEY)}


def pod_template(
    group: Group,
    role: Role,
    path: str,
    template: Raw,
    *,
    kind: Kind,
    config_map: str,
    profiles: Mapping[str, ProfileSpec],
    gang: Gang | None,
    selector: Mapping[str, str],
    ports: Ports,
    more_env: Sequence[Raw] = (),
    probes: bool = True,
) -> Raw:
    """The pod template of a workload.

    Args:
        path: where the role stands in the group, for faults.
        selector: what the workload selects by; pods must carry it, also when an older version chose it.
        ports: what the group has been given.
        more_env: variables for every container.
        probes: whether containers that serve get a readiness probe; the first operators gave none.
    Raises:
        InvalidGroup: an engine runtime profile does not fit.
    """
    made = copy.deepcopy(template)
    given = made.get("metadata") or {}
    metadata = {key: given[key] for key in ("labels", "annotations") if given.get(key) is not None}
    metadata["labels"] = {**metadata.get("labels", {}), **role_labels(group, role.name), **selector}
    made["metadata"] = metadata
    if found := port_annotations(template, role.name, ports):
        metadata["annotations"] = {**metadata.get("annotations", {}), **found}
    pod = made.setdefault("spec", {})
    inject_runtimes(made, role, path, profiles)
    for container in pod.get("containers") or []:
        env = [*_env(group.name, role.name, indexed=kind != "Deployment"), *port_env(template, role.name, ports)]
        _prepare(container, [*env, *more_env])
        _mount(container)
    if probes and metadata.get("annotations", {}).get(labels.READINESS_PROBE) != "off":
        for container in pod.get("containers") or []:
            _probe(container)
    for container in pod.get("initContainers") or []:
        _prepare(container, [])
    items = [{"key": labels.CONFIG_KEY, "path": labels.CONFIG_KEY}]
    volume = {"name": labels.CONFIG_VOLUME, "configMap": {"name": config_map, "items": items}}
    others = [item for item in pod.get("volumes") or [] if item.get("name") != labels.CONFIG_VOLUME]
    pod["volumes"] = [*others, volume]
    if topology_key := exclusive_topology(group):
        place(made, topology_key, group_key(group.namespace, group.name))
    if gang is not None:
        mark(made, gang, group.name, role.name)
    return made


def _env(group: str, role: str, *, indexed: bool) -> list[Raw]:
    env: list[Raw] = []
    for prefix in ("", "RBG_"):
        env += [{"name": f"{prefix}GROUP_NAME", "value": group}, {"name": f"{prefix}ROLE_NAME", "value": role}]
        if indexed:
            source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{labels.POD_INDEX}']"}}
            env.append({"name": f"{prefix}ROLE_INDEX", "valueFrom": source})
    return env


def _prepare(container: Raw, injected: list[Raw]) -> None:
    """Env with ours first and each name once (server-side apply refuses doubles), ports with their protocol."""
    taken = {item["name"] for item in injected}
    last = {item.get("name"): item for item in container.get("env") or []}
    env = [*injected, *(item for name, item in last.items() if name not in taken)]
    if env:
        container["env"] = env
    if ports := container.get("ports"):
        container["ports"] = [{"protocol": "TCP", **port} for port in ports]


def serves(container: Raw) -> bool:
    """Whether a container runs `dynamo serve` or `tandem serve`, by its command line."""
    return bool(_SERVES.search(" ".join(_words(container))))


def _probe(container: Raw) -> None:
    """A container that serves is ready when it could answer, not when it started: or a rollout would not wait for it.

    The guide's workers bring no probe.
    """
    if "readinessProbe" not in container and serves(container):
        command = {"command": _question(_words(container)[0])}
        container["readinessProbe"] = {"exec": command, "timeoutSeconds": 10, "periodSeconds": 10}


def _question(program: str) -> list[str]:
    """What the probe runs. A container that starts `tandem` itself is asked by the same, and needs no shell.

    In others an image may have no `tandem`, such as upstream's own with its `dynamo`: it is ready at once, as without a
    probe. That takes a shell to say; the one that the container starts with, where it does.
    """
    name = program.rpartition("/")[2]
    if name == "tandem":
        return [program, "ready"]
    shell = program if name in _SHELLS else "sh"
    return [shell, "-c", "command -v tandem >/dev/null || exit 0; exec tandem ready"]


def _words(container: Raw) -> list[str]:
    return [str(word) for key in ("command", "args") for word in container.get(key) or []]


_SERVES = re.compile(r"\b(dynamo|tandem)\s+serve\b")
_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh")


def _mount(container: Raw) -> None:
    mounts = container.get("volumeMounts") or []
    if any(mount.get("mountPath", "").rstrip("/") == labels.CONFIG_MOUNT for mount in mounts):
        return
    ours = {"name": labels.CONFIG_VOLUME, "mountPath": labels.CONFIG_MOUNT, "readOnly": True}
    container["volumeMounts"] = [*mounts, ours]
