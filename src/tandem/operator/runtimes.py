"""Containers that an engine runtime profile adds to a role's pods."""

import copy
from collections.abc import Mapping

from tandem.operator.faults import Fault, InvalidGroup
from tandem.operator.kinds import ProfileSpec
from tandem.operator.shapes import Container, shape_fault
from tandem.operator.types import EngineRuntime, Raw, Role


def inject_runtimes(template: Raw, role: Role, path: str, profiles: Mapping[str, ProfileSpec]) -> None:
    """Add each profile's containers and volumes (in place), where the template has none of that name.

    Raises:
        InvalidGroup: a profile, or a container that the role changes, does not exist.
    """
    for index, runtime in enumerate(role.engine_runtimes):
        where = f"{path}.engineRuntimes[{index}]"
        profile = profiles.get(runtime.profile_name)
        if profile is None:
            message = f"ClusterEngineRuntimeProfile {runtime.profile_name!r} does not exist; create it first"
            raise InvalidGroup([Fault(f"{where}.profileName", message)])
        _inject(template["spec"], runtime, profile, where)


def _inject(pod: Raw, runtime: EngineRuntime, profile: ProfileSpec, path: str) -> None:
    for container in [*profile.init_containers, *profile.containers]:
        if fault := shape_fault(f"{path}: profile {runtime.profile_name!r}", container, Container):
            raise InvalidGroup([fault])
    offered = {str(container.get("name")): container for container in profile.containers}
    for name in [*runtime.inject_containers, *(str(container.get("name")) for container in runtime.containers)]:
        if name not in offered:
            known = ", ".join(offered) or "none"
            message = f"profile {runtime.profile_name!r} has no container {name!r}; it has {known}"
            raise InvalidGroup([Fault(path, message)])
    changes = {str(container.get("name")): container for container in runtime.containers}
    wanted = runtime.inject_containers or list(offered)
    containers = [_changed(offered[name], changes.get(name, {})) for name in wanted]
    for key, items in (
        ("initContainers", profile.init_containers),
        ("containers", containers),
        ("volumes", profile.volumes),
    ):
        present = {item.get("name") for item in pod.get(key) or []}
        new = [copy.deepcopy(item) for item in items if item.get("name") not in present]
        if new:
            pod[key] = [*(pod.get(key) or []), *new]


def _changed(container: Raw, change: Raw) -> Raw:
    """Env and args are appended, nothing else is taken; env of a name that is there already replaces it."""
    merged = dict(container)
    if env := change.get("env"):
        names = {item.get("name") for item in env}
        merged["env"] = [item for item in container.get("env") or [] if item.get("name") not in names] + env
    if args := change.get("args"):
        merged["args"] = [*(container.get("args") or []), *args]
    return merged
