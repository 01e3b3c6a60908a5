"""What the operator counts about groups, reconciliations and the API server; served at /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class OperatorMetrics:
    """One set per process. Names end in their unit."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        into = self.registry
        self.groups = Gauge("tandem_operator_groups", "Groups by their Ready condition.", ["ready"], registry=into)
        self.rolling = Gauge(
            "tandem_operator_groups_rolling", "Groups with a rolling update in progress.", registry=into
        )
        self.reconciled = Counter(
            "tandem_operator_reconciliations_total",
            "Reconciliations by kind and outcome.",
            ["kind", "outcome"],
            registry=into,
        )
        self.seconds = Histogram(
            "tandem_operator_reconcile_seconds",
            "Time of one reconciliation.",
            ["kind"],
            buckets=_BUCKETS,
            registry=into,
        )
        self.writes = Counter(
            "tandem_operator_writes_total", "Objects applied or deleted, by kind.", ["kind"], registry=into
        )
        self.calls = Counter(
            "tandem_operator_api_calls_total",
            "Calls to the API server by verb and HTTP status.",
            ["verb", "status"],
            registry=into,
        )
        self.waiting = Gauge("tandem_operator_queue_keys", "Objects that wait for a reconciliation.", registry=into)
        self.leader = Gauge(
            "tandem_operator_leader", "1 in the replica that works, 0 in those that stand by.", registry=into
        )

    def count_call(self, verb: str, status: int) -> None:
        self.calls.labels(verb, str(status)).inc()

    def page(self) -> bytes:
        return generate_latest(self.registry)
