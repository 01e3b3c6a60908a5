"""Every metric that Tandem exports, in one table: name, labels, buckets, meaning. And the page of them.

A metric that is not here does not exist. Units are part of the names (`_seconds`, `_bytes`, `_tokens`).
They belong to the process: what counts imports them (`from tandem.observe import metrics`).
docs/reference/metrics.md is made from this file.
"""

from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from tandem.observe.familiar import Familiar
from tandem.observe.instruments import Counter, Gauge, Histogram, Metric

_FINE: Final = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
"""Gaps between tokens: dense where service levels are set (10 to 100 ms)."""
_WAIT: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)
"""Waits for a first token, a queue, a prefill."""
_LONG: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Whole requests."""
_COPY: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0, 2.5, 5.0)
"""Copies of KV blocks, and tokenizing."""

# ── the front: HTTP, processor, router ───────────────────────────────────────────────────────────
REQUESTS = Counter(
    "tandem_requests_total",
    "Requests by how they ended: finish, error, cancel (the client left), or rejected (bad input, never accepted).",
    "outcome",
    place="front",
)
REQUEST_ERRORS = Counter(
    "tandem_request_errors_total", "Requests rejected or ended in an error, by the error's code.", "code", place="front"
)
IGNORED_FIELDS = Counter(
    "tandem_ignored_fields_total",
    "Fields of requests that were not known and ignored, by name; `other` for names that are rarely seen.",
    "field",
    place="front",
)
HTTP_RESPONSES = Counter(
    "tandem_http_responses_total", "HTTP responses by route and status.", "route", "status", place="front"
)
BATCH_LINES = Counter(
    "tandem_batch_lines_total",
    "Requests of batches that are over: completed, failed, expired.",
    "outcome",
    place="front",
)
REQUESTS_RUNNING = Gauge("tandem_requests_running", "Requests accepted and not yet over.", place="front")
TTFT_SECONDS = Histogram(
    "tandem_time_to_first_token_seconds",
    "Request accepted to first token received from the decode worker, queueing included.",
    buckets=_WAIT,
    place="front",
)
ITL_SECONDS = Histogram(
    "tandem_inter_token_latency_seconds",
    "Gap between consecutive outputs of one sequence; an output holds the tokens of one engine step.",
    buckets=_FINE,
    place="front",
)
TPOT_SECONDS = Histogram(
    "tandem_time_per_output_token_seconds",
    "(Whole request - time to first token) / (output tokens - 1), one sample per sequence.",
    buckets=_FINE,
    place="front",
)
E2E_SECONDS = Histogram("tandem_request_seconds", "Request accepted to last token.", buckets=_LONG, place="front")
REQUEST_QUEUE_SECONDS = Histogram(
    "tandem_request_queue_seconds",
    "Request accepted to its call of a decode worker: parsing, template, tokenizing, routing.",
    buckets=_WAIT,
    place="front",
)
TOKENIZE_SECONDS = Histogram(
    "tandem_tokenize_seconds", "Chat template and tokenizing of one request.", buckets=_COPY, place="front"
)
PROMPT_TOKENS = Counter("tandem_prompt_tokens_total", "Prompt tokens of accepted requests.", place="front")
CACHED_TOKENS = Counter(
    "tandem_cached_prompt_tokens_total", "Prompt tokens that were not computed anew.", place="front"
)
OUTPUT_TOKENS = Counter("tandem_output_tokens_total", "Tokens generated for clients.", place="front")
ROUTER_CHOICES = Counter(
    "tandem_router_choices_total",
    "Instances chosen, by rule and by why the rule took it.",
    "rule",
    "reason",
    place="front",
)

ROUTER_DECISION_SECONDS = Histogram(
    "tandem_router_decision_seconds",
    "One choice by KV cache: naming the prompt's blocks, matching, weighing.",
    buckets=(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05),
    place="front",
)
ROUTER_PROMPT_BLOCKS = Counter(
    "tandem_router_prompt_blocks_total",
    "Full blocks of prompts that were routed by KV cache.",
    "component",
    place="front",
)
ROUTER_OVERLAP_BLOCKS = Counter(
    "tandem_router_overlap_blocks_total",
    "Blocks of them that the chosen worker had: told (by the worker) or predicted (only expected by us). "
    "Over prompt blocks: the hit rate, and the share of it that is prediction.",
    "component",
    "source",
    place="front",
)
ROUTER_KV_UPDATES = Counter(
    "tandem_router_kv_updates_total",
    "KV updates of workers by what became of them: applied, beat, waiting, repeated, gap, overflow, dead, garbage.",
    "outcome",
    place="front",
)
ROUTER_KV_REPAIRS = Counter(
    "tandem_router_kv_repairs_total",
    "States fetched from workers, by outcome: whole, again, failed.",
    "outcome",
    place="front",
)
ROUTER_KV_LAG_SECONDS = Histogram(
    "tandem_router_kv_lag_seconds",
    "A worker's update sent to applied, by both clocks.",
    buckets=_COPY,
    place="front",
)
ROUTER_WORKERS = Gauge(
    "tandem_router_workers",
    "Workers by how well their blocks are known: warm, filling, or predicted (their engine tells nothing).",
    "component",
    "state",
    place="front",
)
ROUTER_INDEX_BLOCKS = Gauge("tandem_router_index_blocks", "Blocks in the index.", "component", place="front")
ROUTER_INDEX_BYTES = Gauge("tandem_router_index_bytes", "Bytes of its table.", "component", place="front")

# ── workers: prefill site, queue, hand-off, transfer ─────────────────────────────────────────────
PREFILL_DECISIONS = Counter(
    "tandem_prefill_decisions_total",
    "Where decode workers decided to prefill: site is local or remote.",
    "site",
    "reason",
    place="worker",
)
FALLBACKS = Counter(
    "tandem_fallback_total",
    "Optimisations that were wanted and did not happen, by reason. The answer came later, never different.",
    "reason",
)
MALFORMED_TOOL_CALLS = Counter(
    "tandem_malformed_tool_calls_total",
    "Tool calls that a model wrote wrongly: they are content, or arguments that are no JSON.",
)
RECOVERIES = Counter(
    "tandem_recoveries_total",
    "Requests that went on after a loss, by kind: prefill_requeued, prefilled_here, rerouted, replayed, and others.",
    "kind",
)
PREFILL_QUEUE_SECONDS = Histogram(
    "tandem_prefill_queue_seconds",
    "Prefill job put on the queue to taken by a prefill worker.",
    buckets=_WAIT,
    place="worker",
)
PREFILL_QUEUE_DEPTH = Gauge(
    "tandem_prefill_queue_depth", "Prefill jobs by state (waiting, claimed) as this process last saw them.", "state"
)
PREFILL_SECONDS = Histogram(
    "tandem_prefill_seconds", "Prefill job taken to its KV offered to the decode worker.", buckets=_WAIT, place="worker"
)
PREFILL_JOBS = Counter(
    "tandem_prefill_jobs_total", "Prefill jobs by how they ended on the prefill worker.", "outcome", place="worker"
)
PREFILL_JOBS_RUNNING = Gauge("tandem_prefill_jobs_running", "Prefill jobs taken and not yet acked.", place="worker")
LATE_RESULTS = Counter(
    "tandem_late_results_total", "Results dropped because a newer try had already spoken.", "kind", place="worker"
)
KV_TRANSFER_BYTES = Counter("tandem_kv_transfer_bytes_total", "KV bytes pulled from prefill workers.", place="worker")
KV_PULL_SECONDS = Histogram(
    "tandem_kv_transfer_seconds",
    "One hand-off's KV: pull asked for to the decode engine's first output.",
    buckets=_COPY,
    place="worker",
)
KV_TRANSFERS = Counter("tandem_kv_transfers_total", "KV pulls by outcome: pulled or failed.", "outcome", place="worker")
HANDOFFS_PINNED = Gauge(
    "tandem_handoffs_pinned", "Hand-offs whose blocks a prefill worker keeps for a reader.", place="worker"
)

# ── engines ──────────────────────────────────────────────────────────────────────────────────────
ENGINE_RUNNING = Gauge("tandem_engine_running", "Sequences that the engine is working on.", place="worker")
ENGINE_WAITING = Gauge("tandem_engine_waiting", "Sequences that wait inside the engine.", place="worker")
KV_BLOCKS_USED = Gauge("tandem_kv_blocks_used", "KV blocks in use by running sequences.", place="worker")
KV_BLOCKS_CAPACITY = Gauge("tandem_kv_blocks_capacity", "KV blocks that the engine has.", place="worker")
ENGINE_LOAD_SECONDS = Gauge("tandem_engine_load_seconds", "Time that the engine took to load.", place="worker")
ENGINE_RESTARTS = Counter("tandem_engine_restarts_total", "Engines replaced after they died.")

SLOW_READERS = Counter("tandem_slow_readers_total", "Connections cut because the client read nothing.")

# ── keys ─────────────────────────────────────────────────────────────────────────────────────────
KEY_REQUESTS = Counter("tandem_key_requests_total", "Requests for answers, by key and outcome.", "key", "outcome")
KEY_TOKENS = Counter("tandem_key_tokens_total", "Tokens, prompt and output, of keys with a limit of tokens.", "key")
KEYS_RELOADS = Counter("tandem_keys_reloads_total", "Changes of the keys file, by outcome: read or failed.", "outcome")

# ── planes ───────────────────────────────────────────────────────────────────────────────────────
PLANE_CONNECTED = Gauge("tandem_plane_connected", "1 while the plane (store or bus) is reachable, else 0.", "plane")
PLANE_OUTAGES = Counter("tandem_plane_outages_total", "Times that a plane was lost.", "plane")
LEASES_LOST = Counter("tandem_leases_lost_total", "Leases that lapsed while their owner was alive.")
INSTANCES = Gauge(
    "tandem_instances", "Instances that may be called, by component, as this process sees them.", "component"
)
BUS_DROPPED = Counter("tandem_bus_dropped_total", "Messages dropped for a slow subscriber or an outage.", "subject")
BUGS = Counter("tandem_bugs_total", "Broken invariants of our own: each is a bug to report.", "where")

TABLE: Final[tuple[Metric[Any], ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))


class _Table(Collector):
    def collect(self) -> Iterator[Family]:
        return (metric.family() for metric in TABLE)


FAMILIAR: Final = Familiar(
    running=ENGINE_RUNNING, waiting=ENGINE_WAITING, used=KV_BLOCKS_USED, capacity=KV_BLOCKS_CAPACITY
)
"""The engine's figures by vLLM's names."""
_REGISTRY: Final = CollectorRegistry(auto_describe=False)
_REGISTRY.register(_Table())
_REGISTRY.register(FAMILIAR)
_PROCESS: Final = (ProcessCollector(registry=_REGISTRY), PlatformCollector(registry=_REGISTRY))


def render(accept: str = "") -> tuple[bytes, str]:
    """The page for Prometheus and its content type, in the newest form that `accept` allows."""
    encoder, content_type = choose_encoder(accept)
    return encoder(_REGISTRY), content_type


def reset() -> None:
    """Forget every count. For tests, and for a process forked from another."""
    for metric in TABLE:
        metric.reset()
    FAMILIAR.model = ""
