"""The queries that autoscalers follow, evaluated by Prometheus' own `promtool` (Debian's package `prometheus`)."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem.deploy.signals import KV_USE, MATCHERS, QUEUE_SECONDS, WAITING, Signal

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(
        shutil.which("promtool") is None, reason="promtool is not installed: apt-get install prometheus"
    ),
]
LABELS = 'namespace="d",app_kubernetes_io_instance="qwen"'
QUEUE = "tandem_prefill_queue_seconds"


def series(name: str, pod: str, values: str, more: str = "") -> dict[str, str]:
    return {"series": f'{name}{{{LABELS},pod="{pod}"{more}}}', "values": f"{values}x40"}


def waits(pod: str, per_bucket: dict[str, str], count: str) -> list[dict[str, str]]:
    buckets = [series(f"{QUEUE}_bucket", pod, values, f',le="{le}"') for le, values in per_bucket.items()]
    return [*buckets, series(f"{QUEUE}_count", pod, count)]


def case(signal: Signal, expected: float | None, *given: dict[str, str]) -> dict[str, Any]:
    samples = [] if expected is None else [{"labels": "{}", "value": expected}]
    query = signal.query.replace(MATCHERS, LABELS)
    test = {"expr": query, "eval_time": "9m", "exp_samples": samples}
    return {"interval": "15s", "input_series": list(given), "promql_expr_test": [test]}


def test_each_query_says_what_it_is_said_to(tmp_path: Path) -> None:
    busy = {"1.0": "0+0", "2.5": "0+0", "5.0": "0+15", "+Inf": "0+15"}
    idle = {"1.0": "7+0", "5.0": "7+0", "+Inf": "7+0"}
    cases = [
        case(QUEUE_SECONDS, 4.75, *waits("a", busy, "0+15"), *waits("b", busy, "0+15")),
        case(QUEUE_SECONDS, 0.0, *waits("a", idle, "7+0")),  # no job came: 0, not NaN
        case(QUEUE_SECONDS, None, series("other", "a", "1+0")),  # nobody is heard: nothing, and autoscalers hold
        case(WAITING, 6.0, *(series(WAITING.series, pod, f"{n}+0") for pod, n in (("a", 2), ("b", 4)))),
        case(WAITING, None, series("other", "a", "1+0")),
        case(KV_USE, 0.7, *(series(KV_USE.series, pod, f"{n}+0") for pod, n in (("a", 0.5), ("b", 0.9)))),
    ]
    path = tmp_path / "tests.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "15s", "tests": cases}, width=1000))
    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
