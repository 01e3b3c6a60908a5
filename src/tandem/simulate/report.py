"""What a run tells: figures of one policy, and the best that any could do."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import msgspec

from tandem.simulate.trace import TraceRequest


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One policy's run."""

    ttft_mean_s: float
    ttft_p50_s: float
    ttft_p99_s: float
    itl_mean_s: float
    itl_p99_s: float
    hit_rate: float
    """Prompt blocks found in the chosen worker's cache, of all prompt blocks."""
    utilisation: float
    """Prefill work over prefill capacity while requests arrived."""
    spread: float
    """Most prompt tokens computed by one worker, over the mean: 1 is even."""
    requests: list[int]
    """Per worker."""
    ttft_s: list[float] = []
    """Per request, in the order of the trace."""


def report_of(
    *,
    ttft_s: list[float],
    gaps: Sequence[Mapping[float, int]],
    computed_tokens: Sequence[int],
    requests: list[int],
    hit_blocks: int,
    blocks: int,
    arrivals_s: float,
    prefill_tokens_per_s: float,
) -> Report:
    """Sum up."""
    ordered = sorted(ttft_s)
    itl: dict[float, int] = {}
    for worker in gaps:
        for gap, tokens in worker.items():
            itl[gap] = itl.get(gap, 0) + tokens
    tokens = sum(itl.values())
    work = sum(computed_tokens)
    return Report(
        ttft_mean_s=sum(ordered) / len(ordered),
        ttft_p50_s=_quantile(ordered, 0.5),
        ttft_p99_s=_quantile(ordered, 0.99),
        itl_mean_s=sum(gap * n for gap, n in itl.items()) / tokens if tokens else 0.0,
        itl_p99_s=_weighted_quantile(itl, 0.99),
        hit_rate=hit_blocks / blocks,
        utilisation=work / (prefill_tokens_per_s * arrivals_s) if arrivals_s else 0.0,
        spread=max(computed_tokens) * len(computed_tokens) / work if work else 1.0,
        requests=requests,
        ttft_s=ttft_s,
    )


def pooled_hit_rate(requests: Sequence[TraceRequest], capacity_blocks: int) -> float:
    """Hit rate of one least-recently-used cache as large as all workers' together: what no policy can pass by much."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits = blocks = 0
    for request in requests:
        names = request.names.tolist()
        found = 0
        while found < len(names) and names[found] in cache:
            found += 1
        hits += found
        blocks += len(names)
        for name in reversed(names):
            cache[name] = None
            cache.move_to_end(name)
        while len(cache) > capacity_blocks:
            cache.popitem(last=False)
    return hits / blocks


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _weighted_quantile(counts: Mapping[float, int], share: float) -> float:
    left = share * sum(counts.values())
    value = 0.0
    for value in sorted(counts):
        left -= counts[value]
        if left < 0:
            break
    return value
