"""The choice itself. Each rule is a pure function of candidates and one `Ask`."""

from collections.abc import Sequence

from tandem.core.routing import RouteChoice
from tandem.router.ports import Ask, Candidate


def round_robin(candidates: Sequence[Candidate], ask: Ask) -> RouteChoice:
    """The next one after the last in the order of ids, so that nobody is skipped when instances come and go."""
    following = [c for c in candidates if ask.last is None or c.instance_id > ask.last]
    chosen = (following or candidates)[0]
    return RouteChoice(instance_id=chosen.instance_id, rule="round-robin", reason="turn")


def random_choice(candidates: Sequence[Candidate], ask: Ask) -> RouteChoice:
    """Any of them."""
    chosen = candidates[int(ask.draw * len(candidates))]
    return RouteChoice(instance_id=chosen.instance_id, rule="random", reason="draw")


def least_loaded(candidates: Sequence[Candidate], ask: Ask) -> RouteChoice:
    """The one with the fewest sequences, then the fewest waiting prompt tokens, then the emptiest cache.

    Equals take turns, as in `round_robin`: otherwise an idle cluster would send everything to one.
    """
    best = min(_burden(c) for c in candidates)
    equals = [c for c in candidates if _burden(c) == best]
    chosen = round_robin(equals, ask).instance_id
    return RouteChoice(instance_id=chosen, rule="least-loaded", reason="turn" if len(equals) > 1 else "least_loaded")


def _burden(candidate: Candidate) -> tuple[float, int, float]:
    # The cache's fill in tenths: a block more or less is no reason to prefer anybody.
    return candidate.active, candidate.waiting_prefill_tokens, round(candidate.kv_used, 1)
