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
from tandem.router.rules import round_robin

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


def uncached_tokens(candidate: Candidate, prompt_tokens: int, weights: KvWeights) -> float:
    """Prompt tokens to compute at a candidate, with credit for slower tiers."""
    cached = (
        candidate.gpu_tokens
        + weights.host_credit * (candidate.host_tokens - candidate.gpu_tokens)
        + weights.disk_credit * (candidate.disk_tokens - candidate.host_tokens)
    )
    return max(0.0, prompt_tokens - cached)


def cost_s(candidate: Candidate, ask: Ask, weights: KvWeights) -> float:
    """What the prompt would cost there, to it and to those after it. Seconds."""
    tokens = uncached_tokens(candidate, len(ask.request.token_ids), weights)
    copied = min(tokens, max(0, ask.shared_tokens - candidate.gpu_tokens))
    crowd = 1 + max(0.0, ask.sharers - weights.sharers_per_copy)
    computing = (tokens - copied + copied / crowd) / candidate.tokens_per_s
    return candidate.wait_s + weights.overlap_weight * computing + weights.decode_weight_s * candidate.active


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
    costs = {c.target: cost_s(c, ask, weights) for c in candidates}
    chosen, reason = _chosen(candidates, costs, ask, weights)
    return RouteChoice(
        instance_id=chosen.instance_id,
        dp_rank=chosen.dp_rank,
        rule=RULE,
        reason=reason,
        cached_tokens=chosen.gpu_tokens,
        scores=[
            CandidateScore(c.instance_id, c.dp_rank, round(costs[c.target], 4), c.gpu_tokens, round(c.wait_s, 4))
            for c in candidates
        ],
    )


def _chosen(
    candidates: Sequence[Candidate], costs: dict[tuple[str, int | None], float], ask: Ask, weights: KvWeights
) -> tuple[Candidate, str]:
    if len(candidates) == 1:
        return candidates[0], "only_one"
    free = [c for c in candidates if not busy(c, weights)]
    if ask.session is not None:
        there = [c for c in (candidates if ask.session_is_hard else free) if c.instance_id == ask.session]
        if there:
            return min(there, key=lambda c: costs[c.target]), "session"
    offered = free or candidates
    if weights.temperature > 0:
        chosen = _drawn(offered, costs, ask.draw, weights.temperature)
    else:
        limit = min(costs[c.target] for c in offered)
        limit += _EQUAL * len(ask.request.token_ids) / max(c.tokens_per_s for c in offered)
        equals = [c for c in offered if costs[c.target] <= limit]
        most = max(c.gpu_tokens for c in equals)
        turn = round_robin([c for c in equals if c.gpu_tokens == most], ask)
        chosen = next(c for c in equals if c.instance_id == turn.instance_id and c.gpu_tokens == most)
    if not free:
        return chosen, "all_busy"
    best = max(c.gpu_tokens for c in candidates)
    if not best:
        return chosen, "load"
    return chosen, "overlap" if chosen.gpu_tokens == best else "less_busy"


def _drawn(
    offered: Sequence[Candidate], costs: dict[tuple[str, int | None], float], draw: float, temperature: float
) -> Candidate:
    """One of them by chance, the cheaper the likelier: by softmax over costs in units of their spread."""
    least, most = min(costs[c.target] for c in offered), max(costs[c.target] for c in offered)
    spread = (most - least) or 1.0
    shares = [math.exp(-(costs[c.target] - least) / spread / temperature) for c in offered]
    point = draw * sum(shares)
    for candidate, share in zip(offered, shares, strict=True):
        point -= share
        if point < 0:
            return candidate
    return offered[-1]
