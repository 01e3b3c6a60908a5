"""What all rendered objects share: metadata and labels, the pods' confinement, and which API version a kind has."""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from tandem.deploy.description import Description
from tandem.errors import ConfigError

Object = dict[str, Any]
"""A Kubernetes object or part of one, as the API spells it."""

MANAGER: Final = "tandem-deploy"
"""Field manager, and the value of the label `managed-by`."""
INSTANCE: Final = "app.kubernetes.io/instance"
COMPONENT: Final = "app.kubernetes.io/component"
NEWEST_MINOR: Final = 37
OLDEST_MINOR: Final = 20
SYSTEM_PORT: Final = 9347
FRONT_PORT: Final = 8000
USER: Final = 10001
"""The image's user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededSecret:
    """A Secret that objects name and nobody prints. `apply` makes it when it is missing."""

    name: str
    keys: tuple[str, ...]
    environment: tuple[str, ...] = ()
    """Variables that its values are taken from, in the order of `keys`."""
    generated: bool = False
    """Without such variables: a random password."""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Objects that are applied together, and one file of `render -o`."""

    name: str
    about: str
    objects: list[Object]
    secrets: list[NeededSecret] = field(default_factory=list)
    number: int = 0
    """Its place among all steps that there may be, so that a file keeps its name when others come and go."""


def parse_version(text: str) -> int:
    """The minor of `1.22`, `v1.30.2` or `newest`.

    Raises:
        ConfigError: no version that is rendered for.
    """
    if text == "newest":
        return NEWEST_MINOR
    found = re.match(r"v?1\.([0-9]+)", text)
    if found is None or int(found[1]) < OLDEST_MINOR:
        raise ConfigError(f"--kube-version {text}: write 1.{OLDEST_MINOR} or later, such as 1.22, or newest")
    return int(found[1])


def api_version(kind: str, minor: int) -> str:
    """Where a kind that moved stands in Kubernetes 1.`minor`."""
    match kind:
        case "HorizontalPodAutoscaler":
            return "autoscaling/v2" if minor >= 23 else "autoscaling/v2beta2"
        case "PodDisruptionBudget":
            return "policy/v1" if minor >= 21 else "policy/v1beta1"
    raise AssertionError(kind)


def labels(wish: Description, component: str) -> dict[str, str]:
    """Labels of an object; pods carry them too."""
    return {
        "app.kubernetes.io/name": "tandem",
        INSTANCE: wish.name,
        COMPONENT: component,
        "app.kubernetes.io/managed-by": MANAGER,
    }


def selector(wish: Description, component: str | None = None) -> dict[str, str]:
    """What finds the pods of a component, or of the whole service."""
    return {INSTANCE: wish.name} | ({COMPONENT: component} if component else {})


def made(api: str, kind: str, name: str, wish: Description, component: str, **body: Any) -> Object:
    """An object in the description's namespace."""
    metadata: Object = {"name": name, "namespace": wish.namespace, "labels": labels(wish, component)}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **body}


def confined_pod(user: int = USER) -> Object:
    """Fields of a pod's spec: a user of its own, no token of the API server."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def confined_container(capabilities: list[str] | None = None) -> Object:
    """A container's securityContext: nothing that it does not need."""
    dropped: Object = {"drop": ["ALL"]}
    if capabilities:
        dropped["add"] = list(capabilities)
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": dropped}


def apart(wish: Description, component: str) -> Object:
    """Affinity: pods of one component prefer different nodes."""
    term = {
        "labelSelector": {"matchLabels": selector(wish, component)},
        "topologyKey": "kubernetes.io/hostname",
    }
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def port(name: str, number: int) -> Object:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def service_port(name: str, number: int) -> Object:
    return {"name": name, "port": number, "targetPort": number, "protocol": "TCP"}


def volume_claim(name: str, size: str, storage_class: str | None, wish: Description, component: str) -> Object:
    """A template of a StatefulSet's claims."""
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    return {"metadata": {"name": name, "labels": labels(wish, component)}, "spec": spec}


def get_probe(path: str, number: int | str, **more: int) -> Object:
    return {"httpGet": {"path": path, "port": number}, **more}
