"""Routing by KV cache on a trace: `make bench-routing TRACE=FILE`. No GPU: simulated engines, simulated time.

Prints a table per utilisation, one for loads made to hurt, and as its last line the figures as JSON.
Utilisation is round-robin's: prefill work over prefill capacity while requests arrive.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.peer import peer_venv
from bench.routing_peer import compared
from bench.serving import ROOT
from tandem.cli.bench import HEAD, progress, row
from tandem.cli.bench_plot import first_tokens_svg
from tandem.cli.bench_policies import policy_named
from tandem.cli.table import table
from tandem.router.kv_rule import KvWeights
from tandem.simulate.engine import EngineModel
from tandem.simulate.replay import Stage, play
from tandem.simulate.report import Report, pooled_hit_rate
from tandem.simulate.trace import TraceRequest, all_distinct, compressed, hot_prefix, read_trace

WORKERS = 8
UTILISATIONS = (0.5, 0.7, 0.9)
POLICIES = (
    "kv",
    "greedy",
    "round-robin",
    "least-loaded",
    "least-tokens",
    "prefix-hash",
    "power-of-two",
    "kv-predicted",
)
MODEL = EngineModel()
POOLED_BLOCKS = WORKERS * MODEL.cache_tokens // MODEL.block_size_tokens


def main(arguments: Sequence[str]) -> int:
    """Everything; the figures last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path, help="a trace in Mooncake's format")
    parser.add_argument("--dynamo", default=os.environ.get("DYNAMO"), help="a virtual environment with the peer")
    parser.add_argument("--alone", action="store_true", help="without the comparison with the peer")
    parser.add_argument("--repeats", type=int, default=3, help="turns of the comparison with the peer")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the middle utilisation's first tokens")
    options = parser.parse_args(arguments)
    trace = read_trace(options.trace)
    pooled = pooled_hit_rate(trace, POOLED_BLOCKS)
    natural = run("round-robin", trace, Stage(workers=WORKERS)).utilisation
    by_load: dict[float, dict[str, Report]] = {}
    for utilisation in UTILISATIONS:
        requests = compressed(trace, utilisation / natural)
        reports = {name: run(name, requests, Stage(workers=WORKERS)) for name in POLICIES}
        by_load[utilisation] = reports
        print(f"\nround-robin utilisation {utilisation}")
        print(table(HEAD, [row(name, report, pooled) for name, report in reports.items()]))
    print("\nloads made to hurt: mean TTFT over round-robin's")
    hurt = dict(adversaries(trace, natural))
    print(table(("LOAD", "KV / ROUND-ROBIN"), [(name, f"{ratio:.2f}") for name, ratio in hurt.items()]))
    at = by_load[0.7]
    if options.plot is not None:
        drawn = {name: report.ttft_s for name, report in at.items()}
        options.plot.write_text(first_tokens_svg(drawn, f"{options.trace.name}, {WORKERS} workers, utilisation 0.7"))
    beside: dict[str, float] = {}
    if not options.alone:
        print("\nten minutes beside Dynamo 1.6.1, in real time on a compressed clock")
        minutes = [request for request in trace if 1200 <= request.at_s < 1800]
        beside = compared(minutes, 1200, peer_venv(options.dynamo, ROOT / ".run"), repeats=options.repeats)
    print(
        json.dumps(
            {
                "ttft_over_least_loaded": ratio_of(at, "least-loaded"),
                "ttft_over_least_tokens": ratio_of(at, "least-tokens"),
                "ttft_over_round_robin": ratio_of(at, "round-robin"),
                "hit_rate_over_pooled": round(min(r["kv"].hit_rate for r in by_load.values()) / pooled, 3),
                "ttft_over_least_loaded_worst": max(ratio_of(r, "least-loaded") for r in by_load.values()),
                "ttft_over_least_tokens_worst": max(ratio_of(r, "least-tokens") for r in by_load.values()),
                "adversarial_worst": round(max(hurt.values()), 3),
                **beside,
            }
        )
    )
    return 0


def ratio_of(reports: dict[str, Report], other: str) -> float:
    """Mean TTFT of `kv` over another policy's."""
    return round(reports["kv"].ttft_mean_s / reports[other].ttft_mean_s, 3)


def adversaries(trace: Sequence[TraceRequest], natural: float) -> list[tuple[str, float]]:
    """Loads in which routing by cache could lose."""
    hot = hot_prefix(6000, rate_per_s=12.0, seed=1)
    distinct = all_distinct(6000, rate_per_s=4.0, seed=2)
    busy = compressed(trace, 0.7 / natural)
    loads = [
        ("one hot prefix", hot, Stage(workers=WORKERS)),
        ("all-distinct prompts", distinct, Stage(workers=WORKERS)),
        ("the worker with the hot prefix dies", hot, Stage(workers=WORKERS, deaths=((100.0, -1),))),
        ("workers of unequal speed", busy, Stage(workers=WORKERS, speeds=(1.6, 1.6, 1.2, 1.2, 0.8, 0.8, 0.4, 0.4))),
    ]
    found = []
    for name, requests, stage in loads:
        kv, turns = (run(policy, requests, stage) for policy in ("kv", "round-robin"))
        found.append((name, round(kv.ttft_mean_s / turns.ttft_mean_s, 3)))
    return found


def run(name: str, requests: Sequence[TraceRequest], stage: Stage) -> Report:
    """One policy over one load."""
    policy = policy_named(name, model=MODEL, workers=stage.workers, seed=0, weights=KvWeights())
    with progress(name, requests) as arrived:
        return play(requests, policy, stage, progress=arrived)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
