"""Replicas that follow the load: an HPA per role, or KEDA's ScaledObject, through the role's scaling adapter.

The windows are explained in docs/scaling.md. In short: an engine takes a minute or more to load, so growing waits for
what was already asked for, and shrinking is slow, because what is given up costs a load to get back.
"""

from typing import Final

from tandem.deploy.description import Description, Metrics, Scaling
from tandem.deploy.group import API
from tandem.deploy.objects import Object, api_version, made
from tandem.deploy.signals import MATCHERS, Signal, quantity, wanted

LABEL: Final = "app_kubernetes_io_instance"
"""How Prometheus spells the label `app.kubernetes.io/instance`."""
COMPONENT_LABEL: Final = "app_kubernetes_io_component"
_DOWN_WINDOW_S: Final = 600
_UP_WINDOW_S: Final = {"prefill": 0, "decoder": 30, "processor": 30}
_UP_EVERY_S: Final = 120
_DOWN_EVERY_S: Final = {"prefill": 180, "decoder": 300, "processor": 60}


def scalers(wish: Description, minor: int) -> list[Object]:
    """One per role that has `scaling`."""
    keda = wish.metrics is not None and wish.metrics.autoscaler == "keda"
    found = []
    for name, role in wish.every_role().items():
        if role.scaling:
            found.append(_scaled_object(wish, name, role.scaling) if keda else _hpa(wish, name, role.scaling, minor))
    return found


def behavior(role: str) -> Object:
    """How fast a role grows and shrinks."""
    up = {
        "stabilizationWindowSeconds": _UP_WINDOW_S[role],
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 2, "periodSeconds": _UP_EVERY_S},
            {"type": "Percent", "value": 50, "periodSeconds": _UP_EVERY_S},
        ],
    }
    down = {
        "stabilizationWindowSeconds": _DOWN_WINDOW_S,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": _DOWN_EVERY_S[role]}],
    }
    return {"scaleUp": up, "scaleDown": down}


def _target(wish: Description, role: str) -> Object:
    return {"apiVersion": API, "kind": "RoleBasedGroupScalingAdapter", "name": f"{wish.name}-{role}"}


def _hpa(wish: Description, name: str, rule: Scaling, minor: int) -> Object:
    metrics = [_metric(wish, signal, target) for signal, target in wanted(rule)]
    for resource, percent in (("cpu", rule.cpu), ("memory", rule.memory)):
        if percent is not None:
            target = {"type": "Utilization", "averageUtilization": percent}
            metrics.append({"type": "Resource", "resource": {"name": resource, "target": target}})
    spec = {
        "scaleTargetRef": _target(wish, name),
        "minReplicas": rule.min,
        "maxReplicas": rule.max,
        "metrics": metrics,
        "behavior": behavior(name),
    }
    api = api_version("HorizontalPodAutoscaler", minor)
    return made(api, "HorizontalPodAutoscaler", f"{wish.name}-{name}", wish, name, spec=spec)


def _metric(wish: Description, signal: Signal, target: float) -> Object:
    if signal.per_pod:
        aim = {"type": "AverageValue", "averageValue": quantity(target)}
        return {"type": "Pods", "pods": {"metric": {"name": signal.metric}, "target": aim}}
    # A time is not shared out among pods: the figure itself is compared.
    metric = {"name": signal.metric, "selector": {"matchLabels": {LABEL: wish.name}}}
    return {"type": "External", "external": {"metric": metric, "target": {"type": "Value", "value": quantity(target)}}}


def _scaled_object(wish: Description, name: str, rule: Scaling) -> Object:
    metrics = wish.metrics or Metrics()
    triggers: list[Object] = []
    for signal, target in wanted(rule):
        pods = f'namespace="{wish.namespace}",{LABEL}="{wish.name}"'
        if signal.field == "gpu":  # the exporter's own labels name the pod that holds the GPU
            pods = f'exported_namespace="{wish.namespace}",exported_pod=~"{wish.name}-{name}-.*"'
        elif signal.per_pod:
            pods += f',{COMPONENT_LABEL}="{name}"'
        about = {
            "serverAddress": metrics.prometheus or "",
            "query": signal.query.replace(MATCHERS, pods),
            "threshold": f"{target:g}",
            "ignoreNullValues": "false",  # nothing heard: hold
        }
        kind = "AverageValue" if signal.summed else "Value"
        triggers.append({"type": "prometheus", "metricType": kind, "metadata": about})
    for resource, percent in (("cpu", rule.cpu), ("memory", rule.memory)):
        if percent is not None:
            triggers.append({"type": resource, "metricType": "Utilization", "metadata": {"value": str(percent)}})
    spec = {
        "scaleTargetRef": _target(wish, name),
        "minReplicaCount": rule.min,
        "maxReplicaCount": rule.max,
        "pollingInterval": 15,
        "cooldownPeriod": _DOWN_WINDOW_S,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior(name)}},
        "triggers": triggers,
    }
    return made("keda.sh/v1alpha1", "ScaledObject", f"{wish.name}-{name}", wish, name, spec=spec)
