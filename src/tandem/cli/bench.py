"""`tandem bench replay`: play a trace on simulated engines under several routing policies, and compare them."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tandem.cli.bench_plot import first_tokens_svg
from tandem.cli.bench_policies import POLICIES, policy_named
from tandem.cli.table import table
from tandem.errors import ConfigError
from tandem.router.kv_rule import KvWeights
from tandem.simulate.engine import EngineModel
from tandem.simulate.replay import Progress, Stage, play
from tandem.simulate.report import Report, pooled_hit_rate
from tandem.simulate.trace import TraceRequest, compressed, read_trace

HEAD = ("POLICY", "TTFT MEAN", "P50", "P99", "ITL MEAN", "P99", "HIT RATE", "OF POOLED", "UTILISATION", "SPREAD")
_BAR = 40


def run(arguments: Sequence[str], *, program: str) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog=program, allow_abbrev=False, description="Measure without a GPU.")
    kinds = parser.add_subparsers(required=True, metavar="replay")
    _replay_arguments(kinds.add_parser("replay", description=__doc__, allow_abbrev=False))
    options = parser.parse_args(list(arguments))
    return replay(options)


def replay(options: argparse.Namespace) -> int:
    """Play the trace under each policy, print a table and a plot."""
    model = EngineModel(
        cache_tokens=options.cache_tokens,
        prefill_tokens_per_s=options.prefill_tokens_per_s,
        block_size_tokens=options.block_size,
    )
    names = [name for name in options.policy.split(",") if name]
    weights = KvWeights(overlap_weight=options.overlap_weight, temperature=options.temperature)
    for name in names:  # before anything long begins
        policy_named(name, model=model, workers=1, seed=0, weights=weights)
    requests = compressed(read_trace(options.trace, limit=options.limit), options.speedup)
    pooled = pooled_hit_rate(requests, options.workers * model.cache_tokens // model.block_size_tokens)
    reports: dict[str, Report] = {}
    for name in names:
        policy = policy_named(name, model=model, workers=options.workers, seed=options.seed, weights=weights)
        with progress(name, requests, quiet=options.json) as arrived:
            reports[name] = play(requests, policy, Stage(workers=options.workers, model=model), progress=arrived)
    if options.plot is not None:
        title = f"{options.trace.name}: {len(requests)} requests, {options.workers} workers"
        options.plot.write_text(first_tokens_svg({name: report.ttft_s for name, report in reports.items()}, title))
    if options.json:
        found = {name: msgspec.structs.replace(report, ttft_s=[]) for name, report in reports.items()}
        print(json.dumps({"pooled_hit_rate": pooled, "policies": msgspec.to_builtins(found)}))
        return 0
    print(f"{len(requests)} requests, {options.workers} workers; pooled cache: hit rate {pooled:.3f}\n")
    print(table(HEAD, [row(name, report, pooled) for name, report in reports.items()]))
    print("\n" + plot(reports))
    return 0


def row(name: str, report: Report, pooled: float) -> tuple[str, ...]:
    """A policy's line in the table."""
    return (
        name,
        *(f"{value:.2f} s" for value in (report.ttft_mean_s, report.ttft_p50_s, report.ttft_p99_s)),
        *(f"{value * 1000:.0f} ms" for value in (report.itl_mean_s, report.itl_p99_s)),
        f"{report.hit_rate:.3f}",
        f"{report.hit_rate / pooled:.2f}" if pooled else "",
        f"{report.utilisation:.2f}",
        f"{report.spread:.2f}",
    )


def plot(reports: dict[str, Report]) -> str:
    """Mean time to first token as bars, and the share of requests answered within some times."""
    longest = max(report.ttft_mean_s for report in reports.values())
    width = max(len(name) for name in reports)
    lines = ["mean TTFT"]
    for name, report in reports.items():
        bar = "█" * max(1, round(_BAR * report.ttft_mean_s / longest))
        lines.append(f"{name:<{width}}  {bar} {report.ttft_mean_s:.2f} s")
    within = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    lines += [
        "",
        "share of requests whose first token came within",
        f"{'':<{width}}" + _cells(f"{s:g} s" for s in within),
    ]
    for name, report in reports.items():
        shares = (sum(t <= s for t in report.ttft_s) / len(report.ttft_s) for s in within)
        lines.append(f"{name:<{width}}" + _cells(f"{share:.0%}" for share in shares))
    return "\n".join(lines)


@contextmanager
def progress(name: str, requests: Sequence[TraceRequest], *, quiet: bool = False) -> Iterator[Progress]:
    """A progress bar on standard error, if somebody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, quiet=quiet or not sys.stderr.isatty())
    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(name, total=len(requests))
        yield lambda arrived: bars.update(task, completed=arrived) if arrived % 64 == 0 else None


def _cells(texts: Iterator[str]) -> str:
    return "".join(f"{text:>8}" for text in texts)


def _replay_arguments(parser: argparse.ArgumentParser) -> None:
    model = EngineModel()
    add = parser.add_argument
    add("--trace", type=Path, required=True, help="a trace in Mooncake's format: one JSON object a line")
    add("--policy", default=",".join(POLICIES), help="policies, comma-separated (default: %(default)s)")
    add("--workers", type=_positive, default=8, help="simulated engines (default: %(default)s)")
    add("--speedup", type=float, default=1.0, help="play the trace so many times faster (default: %(default)s)")
    add("--limit", type=_positive, default=None, help="only the first requests of the trace")
    add("--seed", type=int, default=0, help="of what is random in policies (default: %(default)s)")
    add("--cache-tokens", type=_positive, default=model.cache_tokens, help="KV cache of each engine")
    add("--prefill-tokens-per-s", type=float, default=model.prefill_tokens_per_s, help="speed of each engine")
    add("--block-size", type=_positive, default=model.block_size_tokens, help="tokens per block id of the trace")
    add("--overlap-weight", type=float, default=KvWeights().overlap_weight, help="of the kv policy")
    add("--temperature", type=float, default=KvWeights().temperature, help="of the kv policy")
    add("--plot", type=Path, metavar="FILE.svg", help="draw how soon first tokens came under each policy")
    add("--json", action="store_true", help="print JSON")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ConfigError(f"{text} must be at least 1")
    return value
