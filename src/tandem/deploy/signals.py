"""The figures that replicas follow: one table of names and queries, for the HPA, for KEDA and for the adapters' rules.

Names without a colon are what a metrics adapter makes of them. A query gives nothing, rather than 0, when the series
are gone: an autoscaler that hears nothing holds, one that hears 0 takes pods away.
"""

from dataclasses import dataclass
from typing import Final

from tandem.deploy.description import Scaling

MATCHERS: Final = "MATCHERS"
"""Where a query takes its label matchers."""
_QUEUE: Final = "tandem_prefill_queue_seconds"


@dataclass(frozen=True, slots=True)
class Signal:
    """One figure from Prometheus."""

    field: str
    """The key of `scaling` that sets its target."""
    metric: str
    """Its name in the metrics API."""
    series: str
    query: str
    """Of a whole role."""
    per_pod: bool
    """Whether every pod has one; then the autoscaler takes the mean itself. Else it is of the whole service."""
    summed: bool = False
    """Whether `query` is a sum over pods, to be divided by their number."""
    percent: bool = False


QUEUE_SECONDS: Final = Signal(
    field="queue_seconds",
    metric="tandem_prefill_queue_seconds_p90",
    series=f"{_QUEUE}_bucket",
    query=f"(histogram_quantile(0.9, sum by (le) (rate({_QUEUE}_bucket{{{MATCHERS}}}[2m]))) >= 0)"
    f" or (0 * sum(rate({_QUEUE}_count{{{MATCHERS}}}[2m])))",
    per_pod=False,
)
KV_USE: Final = Signal(
    field="kv_use",
    metric="kv_cache_usage_perc",
    series="vllm:kv_cache_usage_perc",
    query=f"avg(avg_over_time(vllm:kv_cache_usage_perc{{{MATCHERS}}}[1m]))",
    per_pod=True,
)
WAITING: Final = Signal(
    field="waiting",
    metric="num_requests_waiting",
    series="vllm:num_requests_waiting",
    query=f"sum(avg_over_time(vllm:num_requests_waiting{{{MATCHERS}}}[1m]))",
    per_pod=True,
    summed=True,
)
GPU: Final = Signal(
    field="gpu",
    metric="gpu_utilization",
    series="DCGM_FI_DEV_GPU_UTIL",
    query=f"avg(avg_over_time(DCGM_FI_DEV_GPU_UTIL{{{MATCHERS}}}[1m]))",
    per_pod=True,
)
SIGNALS: Final = (QUEUE_SECONDS, KV_USE, WAITING, GPU)


def wanted(rule: Scaling) -> list[tuple[Signal, float]]:
    """The signals that a role follows, each with its target."""
    pairs = [(signal, getattr(rule, signal.field)) for signal in SIGNALS]
    return [(signal, float(target)) for signal, target in pairs if target is not None]


def quantity(value: float) -> str:
    """As Kubernetes writes it: 0.8 is 800m."""
    return str(int(value)) if value == int(value) else f"{round(value * 1000)}m"
