"""An engine's figures under the names that dashboards, autoscalers and gateways know already: vLLM's.

vLLM counts by itself, in prometheus_client's own registry; those families are shown as they are. For an engine that
counts nothing there, the few that drive autoscalers are made from our own gauges.
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from tandem.observe.instruments import Gauge

PREFIX: Final = "vllm:"


class Familiar(Collector):
    """For a worker's page; empty in a process without an engine."""

    def __init__(
        self, *, running: Gauge, waiting: Gauge, used: Gauge, capacity: Gauge, counted: CollectorRegistry = REGISTRY
    ) -> None:
        """`counted`: where an engine in this process counts by itself."""
        self._counted = counted
        self._running, self._waiting, self._used, self._capacity = running, waiting, used, capacity
        self.model = ""
        """The served model's name, once there is an engine."""

    def collect(self) -> Iterator[Family]:
        own = [family for family in self._counted.collect() if family.name.startswith(PREFIX)]
        yield from own or self._derived()

    def _derived(self) -> Iterator[Family]:
        if not self.model:
            return
        capacity = self._capacity.value()
        share = self._used.value() / capacity if capacity else 0.0
        for name, meaning, value in (
            ("num_requests_running", "Requests that the engine is working on.", self._running.value()),
            ("num_requests_waiting", "Requests that wait inside the engine.", self._waiting.value()),
            ("kv_cache_usage_perc", "Share of the KV cache in use, 0 to 1.", share),
        ):
            family = GaugeMetricFamily(PREFIX + name, meaning, labels=["model_name", "engine"])
            family.add_metric([self.model, "0"], value)
            yield family
