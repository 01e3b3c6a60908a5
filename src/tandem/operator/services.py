"""A role's Service and its discovery ConfigMap."""

from collections.abc import Mapping

from tandem.operator.labels import CONFIG_KEY
from tandem.operator.roles import RolePlan
from tandem.operator.types import Raw


def service(plan: RolePlan, metadata: Raw, selector: Mapping[str, str]) -> Raw | None:
    """The Service that a role's addresses go through; None where it needs none.

    A StatefulSet has a headless one without ports, which also resolves pods that are not ready. A Deployment that names
    ports has a usual one. A LeaderWorkerSet's controller makes its own.
    """
    head = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    if plan.kind == "StatefulSet":
        spec: Raw = {"type": "ClusterIP", "clusterIP": "None", "publishNotReadyAddresses": True}
        return {**head, "spec": {**spec, "selector": dict(selector)}}
    if plan.kind == "Deployment" and plan.role.service_ports:
        ports = [{"protocol": "TCP", **port} for port in plan.role.service_ports]
        return {**head, "spec": {"type": "ClusterIP", "selector": dict(selector), "ports": ports}}
    return None


def config_map(metadata: Raw, text: str) -> Raw:
    """The discovery file as an object."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {CONFIG_KEY: text}}
