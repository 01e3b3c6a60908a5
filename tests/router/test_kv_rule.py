"""The choice by KV cache, as a table, and what it promises of every case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.routing import RouteRequest
from tandem.router.kv_rule import KvWeights, cost_s, kv_rule
from tandem.router.ports import Ask, Candidate


def ask(
    prompt_tokens: int = 8000,
    *,
    last: str | None = None,
    draw: float = 0.0,
    session: str | None = None,
    hard: bool = False,
) -> Ask:
    request = RouteRequest(request_id="r", candidates=["a"], token_ids=[0] * prompt_tokens)
    return Ask(request=request, last=last, draw=draw, now=0.0, session=session, session_is_hard=hard)


def worker(name: str, *, cached: int = 0, wait_s: float = 0.0, active: float = 0, **more: float | None) -> Candidate:
    tiers = {"gpu_tokens": cached, "host_tokens": cached, "disk_tokens": cached}
    return Candidate(instance_id=name, wait_s=wait_s, active=active, **{**tiers, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("why", "candidates", "asked", "chosen", "reason"),
    [
        ("the only one", [worker("a", wait_s=99)], ask(), "a", "only_one"),
        ("where the prompt is", [worker("a"), worker("b", cached=6000)], ask(), "b", "overlap"),
        ("unless that is too busy", [worker("a"), worker("b", cached=800, wait_s=2)], ask(), "a", "less_busy"),
        ("the shorter queue", [worker("a", wait_s=1), worker("b")], ask(), "b", "load"),
        ("the faster one", [worker("a"), worker("b", tokens_per_s=16000)], ask(), "b", "load"),
        ("fewer sequences", [worker("a", active=40), worker("b", active=2)], ask(), "b", "load"),
        ("equals take turns", [worker("a"), worker("b"), worker("c")], ask(last="b"), "c", "load"),
        ("no room for KV", [worker("a", cached=8000, kv_used=0.99), worker("b")], ask(), "b", "less_busy"),
        (
            "no room anywhere",
            [worker("a", cached=8000, kv_used=0.99), worker("b", kv_used=0.98)],
            ask(),
            "a",
            "all_busy",
        ),
        ("host memory counts", [worker("a"), worker("b", host_tokens=6000, disk_tokens=6000)], ask(), "b", "load"),
        ("disk counts less", [worker("a", cached=3000), worker("b", disk_tokens=6000)], ask(), "a", "overlap"),
        ("a session stays", [worker("a", cached=8000), worker("b")], ask(session="b"), "b", "session"),
        ("a soft one leaves a full worker", [worker("a"), worker("b", kv_used=1)], ask(session="b"), "a", "load"),
        ("a hard one does not", [worker("a"), worker("b", kv_used=1)], ask(session="b", hard=True), "b", "session"),
        ("a session's worker is gone", [worker("a"), worker("c")], ask(session="b", hard=True, last="a"), "c", "load"),
    ],
)
def test_choice(why: str, candidates: list[Candidate], asked: Ask, chosen: str, reason: str) -> None:
    choice = kv_rule(KvWeights())(candidates, asked)
    assert (choice.instance_id, choice.reason) == (chosen, reason), why
    assert [score.instance_id for score in choice.scores] == [c.instance_id for c in candidates]


def test_a_limit_on_waits_takes_out_who_is_over_it() -> None:
    rule = kv_rule(KvWeights(busy_wait_s=1.0))
    assert rule([worker("a", cached=8000, wait_s=1.5), worker("b", wait_s=0.5)], ask()).instance_id == "b"


def test_ranks_of_one_instance_are_told_apart() -> None:
    ranks = [worker("a", dp_rank=0), worker("a", dp_rank=1, cached=4000)]
    assert kv_rule(KvWeights())(ranks, ask()).dp_rank == 1


def test_temperature_spreads_over_near_equals_and_still_prefers_the_cheap() -> None:
    rule = kv_rule(KvWeights(temperature=0.5))
    candidates = [worker("a", cached=4000), worker("b")]
    drawn = [rule(candidates, ask(draw=i / 100)).instance_id for i in range(100)]
    assert set(drawn) == {"a", "b"}
    assert drawn.count("a") > 70


CANDIDATE = st.builds(
    lambda cached, wait_s, active, kv_used: worker("x", cached=cached, wait_s=wait_s, active=active, kv_used=kv_used),
    st.integers(0, 8000),
    st.floats(0, 100),
    st.integers(0, 500),
    st.floats(0, 1),
)


@given(
    st.lists(CANDIDATE, min_size=1, max_size=8),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from([0.0, 0.3]),
    st.none() | st.text("abcdefgh", min_size=1, max_size=1),
)
def test_it_takes_a_candidate_repeats_itself_and_never_a_dominated_one(
    made: list[Candidate], draw: float, temperature: float, last: str | None
) -> None:
    from msgspec.structs import replace

    candidates = [replace(c, instance_id="abcdefgh"[i]) for i, c in enumerate(made)]
    weights = KvWeights(temperature=temperature)
    choice = kv_rule(weights)(candidates, ask(draw=draw, last=last))
    assert choice == kv_rule(weights)(candidates, ask(draw=draw, last=last))
    chosen = next(c for c in candidates if c.instance_id == choice.instance_id)
    if not temperature and chosen.kv_used <= weights.busy_kv_used:
        free = [c for c in candidates if c.kv_used <= weights.busy_kv_used]
        least = min(cost_s(c, ask(), weights) for c in free)
        assert cost_s(chosen, ask(), weights) <= least + 0.011
