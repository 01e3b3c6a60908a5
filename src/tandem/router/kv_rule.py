"""The choice by KV cache: what a prompt would cost at each worker, in seconds, and the cheapest.

    cost = wait + overlap_weight · (uncached + copied / sharers) / speed + decode_weight_s · active

`wait` is the prefill queue's length in time, `uncached` the prompt's tokens that the worker would compute,
less credit for what it holds on slower tiers. Work delays everybody who comes after, not only its own
prompt: that is why a computed token weighs more than a token waited for. `copied` are tokens that another
worker holds already; to compute them again is cheap when many share them, who then need not queue there
(docs/decisions/0011-routing-cost.md).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tandem.core.routing import CandidateScore, RouteChoice
from tandem.router.ports import Ask, Candidate, Rule

RULE = "kv"
_EQUAL = 0.01
"""Costs closer than this share of the prompt's own cost are equal: such workers take turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvWeights:
    """What the rule weighs. See `tandem.settings.RouterSettings` for how each is set."""

    overlap_weight: float = 3.0
    decode_weight_s: float = 0.005
    """Seconds that each sequence on a worker is worth: it slows the new one's tokens, and is slowed by its prefill."""
    host_credit: float = 0.75
    disk_credit: float = 0.25
    sharers_per_copy: float = 4.0
    """Open requests that share a prefix on one worker before a second copy of it becomes cheaper."""
    temperature: float = 0.0
    busy_wait_s: float | None = None
    """A worker with a longer prefill queue is left out while another has a shorter one."""
    busy_kv_used: float = 0.97
    """So is one whose KV cache is in use beyond this share: a new sequence would wait for blocks."""


def cost_s(candidate: Candidate, ask: Ask, weights: KvWeights) -> float:
    """What the prompt would cost there, to it and to those after it. Seconds."""
    gpu = candidate.gpu_tokens
    tokens = float(len(ask.request.token_ids) - gpu)
    if candidate.disk_tokens != gpu:  # slower tiers count in part
        host = candidate.host_tokens
        tokens -= weights.host_credit * (host - gpu) + weights.disk_credit * (candidate.disk_tokens - host)
    if ask.shared_tokens > gpu and ask.sharers > weights.sharers_per_copy:
        copied = min(tokens, ask.shared_tokens - gpu)
        tokens += copied / (1 + ask.sharers - weights.sharers_per_copy) - copied
    computing_s = tokens / candidate.tokens_per_s
    return candidate.wait_s + weights.overlap_weight * computing_s + weights.decode_weight_s * candidate.active


def busy(candidate: Candidate, weights: KvWeights) -> bool:
    """Whether it should get nothing more while others can."""
    late = weights.busy_wait_s is not None and candidate.wait_s > weights.busy_wait_s
    return late or candidate.kv_used > weights.busy_kv_used


def kv_rule(weights: KvWeights) -> Rule:
    """The rule with these weights."""

    def choose(candidates: Sequence[Candidate], ask: Ask) -> RouteChoice:
        return _choice(candidates, ask, weights)

    return choose


def _choice(candidates: Sequence[Candidate], ask: Ask, weights: KvWeights) -> RouteChoice:
    costs = [cost_s(c, ask, weights) for c in candidates]
    at, reason = _chosen(candidates, costs, ask, weights)
    chosen = candidates[at]
    return RouteChoice(
        instance_id=chosen.instance_id,
        dp_rank=chosen.dp_rank,
        rule=RULE,
        reason=reason,
        cached_tokens=chosen.gpu_tokens,
        scores=[
            CandidateScore(c.instance_id, c.dp_rank, cost, c.gpu_tokens, c.wait_s)
            for c, cost in zip(candidates, costs, strict=True)
        ],
    )


def _chosen(candidates: Sequence[Candidate], costs: list[float], ask: Ask, weights: KvWeights) -> tuple[int, str]:
    """Whose turn it is, by its place among the candidates, and why."""
    if len(candidates) == 1:
        return 0, "only_one"
    everybody = range(len(candidates))
    free = [i for i in everybody if not busy(candidates[i], weights)]
    if ask.session is not None:
        there = [i for i in (everybody if ask.session_is_hard else free) if candidates[i].instance_id == ask.session]
        if there:
            return min(there, key=costs.__getitem__), "session"
    offered = free or everybody
    if weights.temperature > 0:
        chosen = _drawn(offered, costs, ask.draw, weights.temperature)
    else:
        limit = min([costs[i] for i in offered])
        limit += _EQUAL * len(ask.request.token_ids) / max([candidates[i].tokens_per_s for i in offered])
        equals = [i for i in offered if costs[i] <= limit]
        most = max([candidates[i].gpu_tokens for i in equals])
        chosen = _turn([i for i in equals if candidates[i].gpu_tokens == most], candidates, ask.last)
    if not free:
        return chosen, "all_busy"
    best = max([c.gpu_tokens for c in candidates])
    if not best:
        return chosen, "load"
    return chosen, "overlap" if candidates[chosen].gpu_tokens == best else "less_busy"


def _turn(equals: Sequence[int], candidates: Sequence[Candidate], last: str | None) -> int:
    """The next one after the last in the order of ids."""
    following = (i for i in equals if last is None or candidates[i].instance_id > last)
    return next(following, equals[0])


def _drawn(offered: Sequence[int], costs: list[float], draw: float, temperature: float) -> int:
    """One of them by chance, the cheaper the likelier: by softmax over costs in units of their spread."""
    least, most = min(costs[i] for i in offered), max(costs[i] for i in offered)
    spread = (most - least) or 1.0
    shares = [math.exp(-(costs[i] - least) / spread / temperature) for i in offered]
    point = draw * sum(shares)
    for i, share in zip(offered, shares, strict=True):
        point -= share
        if point < 0:
            return i
    return offered[-1]
