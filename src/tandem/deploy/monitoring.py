"""Figures out of the pods: the PodMonitor, and the values that teach a metrics adapter our names."""

from typing import Any

from tandem.deploy.description import Description, Metrics
from tandem.deploy.objects import COMPONENT, INSTANCE, Object, made, selector
from tandem.deploy.signals import MATCHERS, QUEUE_SECONDS, SIGNALS, Signal


def monitors(wish: Description) -> list[Object]:
    """The PodMonitor, if it is wanted. Annotations are what Alibaba's managed Prometheus looks for."""
    metrics = wish.metrics
    if metrics is None or not metrics.monitor:
        return []
    endpoint = {"port": "metrics", "path": "/metrics", "interval": f"{metrics.interval_s}s"}
    expression = {"key": COMPONENT, "operator": "In", "values": list(wish.every_role())}
    spec = {
        "selector": {"matchLabels": selector(wish), "matchExpressions": [expression]},
        "namespaceSelector": {"matchNames": [wish.namespace]},
        "podTargetLabels": [INSTANCE, COMPONENT],
        "podMetricsEndpoints": [endpoint],
    }
    found = made("monitoring.coreos.com/v1", "PodMonitor", wish.name, wish, "metrics", spec=spec)
    found["metadata"]["annotations"] = {
        "arms.prometheus.io/discovery": "true",
        "arms.prometheus.io/resource": "arms",
    }
    found["metadata"]["labels"] |= metrics.labels
    return [found]


def adapter_values(wish: Description) -> dict[str, Any]:
    """Helm values of the metrics adapter. An adapter belongs to the whole cluster, so nobody applies them unasked.

    `prometheus` is prometheus-adapter of the Prometheus community; `alibaba` is ack-alibaba-cloud-metrics-adapter,
    which speaks the same grammar of rules.
    """
    metrics = wish.metrics or Metrics()
    custom = [_custom(signal) for signal in SIGNALS if signal.per_pod]
    external = [_external(QUEUE_SECONDS)]
    if metrics.adapter == "alibaba":
        prometheus: dict[str, Any] = {
            "enabled": True,
            "url": metrics.prometheus or "",
            "adapter": {"rules": {"custom": custom, "external": external}},
        }
        return {"AlibabaCloudMetricsAdapter": {"prometheus": prometheus}}
    values: dict[str, Any] = {"rules": {"default": False, "custom": custom, "external": external}}
    if metrics.prometheus:
        address, _, number = metrics.prometheus.rstrip("/").rpartition(":")
        if number.isdigit():
            values["prometheus"] = {"url": address, "port": int(number)}
        else:
            values["prometheus"] = {"url": metrics.prometheus}
    return values


def _custom(signal: Signal) -> Object:
    """A figure of each pod. DCGM's exporter names the pod that holds the GPU in labels of its own."""
    prefix, fold = "exported_" if signal.field == "gpu" else "", "sum" if signal.summed else "avg"
    overrides = {f"{prefix}namespace": {"resource": "namespace"}, f"{prefix}pod": {"resource": "pod"}}
    return {
        "seriesQuery": f'{signal.series}{{{prefix}namespace!="",{prefix}pod!=""}}',
        "resources": {"overrides": overrides},
        "name": {"as": signal.metric},
        "metricsQuery": f"{fold}(avg_over_time(<<.Series>>{{<<.LabelMatchers>>}}[1m])) by (<<.GroupBy>>)",
    }


def _external(signal: Signal) -> Object:
    return {
        "seriesQuery": f'{signal.series}{{namespace!=""}}',
        "resources": {"overrides": {"namespace": {"resource": "namespace"}}},
        "name": {"as": signal.metric},
        "metricsQuery": signal.query.replace(MATCHERS, "<<.LabelMatchers>>"),
    }
