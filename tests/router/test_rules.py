"""The rules, as a table, and what they see of the load."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tandem.core.load import LoadReport
from tandem.core.routing import RouteChoice, RouteRequest
from tandem.router.loads import LoadView
from tandem.router.ports import Ask, Candidate, Rule
from tandem.router.rules import least_loaded, random_choice, round_robin


def ask(*, last: str | None = None, draw: float = 0.0) -> Ask:
    return Ask(request=RouteRequest(request_id="r", candidates=["a"]), last=last, draw=draw, now=0.0)


def some(*ids: str, **active: float) -> list[Candidate]:
    return [Candidate(instance_id=i, active=active.get(i, 0)) for i in ids]


@pytest.mark.parametrize(
    ("ids", "last", "chosen"),
    [
        ("abc", None, "a"),
        ("abc", "a", "b"),
        ("abc", "c", "a"),
        ("ac", "b", "c"),  # the one in turn is gone
        ("bc", "a", "b"),
        ("abcd", "c", "d"),  # a new one takes its turn
        ("a", "a", "a"),
    ],
)
def test_round_robin_goes_on_after_the_last(ids: str, last: str | None, chosen: str) -> None:
    assert round_robin(some(*ids), ask(last=last)) == RouteChoice(instance_id=chosen, rule="round-robin", reason="turn")


def test_random_covers_all_and_nothing_else() -> None:
    assert [random_choice(some("a", "b", "c", "d"), ask(draw=d)).instance_id for d in (0.0, 0.25, 0.5, 0.999)] == list(
        "abcd"
    )


def test_least_loaded_takes_the_fewest_then_breaks_ties() -> None:
    assert least_loaded(some("a", "b", "c", a=2, b=1, c=3), ask()).instance_id == "b"
    assert least_loaded(some("a", "b", "c", a=2, b=1, c=1), ask(last="b")).instance_id == "c"
    two = [
        Candidate(instance_id="a", waiting_prefill_tokens=500),
        Candidate(instance_id="b", waiting_prefill_tokens=20),
    ]
    assert least_loaded(two, ask()).instance_id == "b"
    full = [Candidate(instance_id="a", kv_used=0.9), Candidate(instance_id="b", kv_used=0.3)]
    assert least_loaded(full, ask()).instance_id == "b"
    assert least_loaded([replace(full[0], kv_used=0.31), full[1]], ask()).instance_id == "a"


@given(
    ids=st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=6, unique=True),
    last=st.none() | st.text("abcdef", min_size=1, max_size=3),
    draw=st.floats(0, 1, exclude_max=True),
    rule=st.sampled_from([round_robin, random_choice, least_loaded]),
)
def test_every_rule_chooses_a_candidate_and_repeats_itself(
    ids: list[str], last: str | None, draw: float, rule: Rule
) -> None:
    candidates = some(*sorted(ids))
    choice = rule(candidates, ask(last=last, draw=draw))
    assert choice.instance_id in ids
    assert rule(candidates, ask(last=last, draw=draw)) == choice


def test_round_robin_is_even_over_a_stable_set() -> None:
    last, counts = None, dict.fromkeys("abc", 0)
    for _turn in range(30):
        last = round_robin(some("a", "b", "c"), ask(last=last)).instance_id
        counts[last] += 1
    assert set(counts.values()) == {10}


class TestLoadView:
    def test_without_a_report_it_counts_what_we_sent(self) -> None:
        view = LoadView()
        view.sent("a", 2)
        assert view.candidate("a", 0.0).active == 2
        view.over("a", 2)
        assert view.candidate("a", 0.0).active == 0
        assert view.candidate("new", 0.0) == Candidate(instance_id="new")

    def test_a_report_counts_others_and_our_later_sends_are_added(self) -> None:
        view = LoadView()
        view.sent("a", 1)
        view.heard(LoadReport(instance_id="a", running=5, waiting=2, kv_blocks_used=25, kv_blocks_total=100), 10.0)
        assert view.candidate("a", 10.5) == Candidate(instance_id="a", active=7, kv_used=0.25)
        view.sent("a", 3)
        assert view.candidate("a", 10.5).active == 10
        view.over("a", 1)
        assert view.candidate("a", 10.5).active == 9

    def test_an_old_report_is_not_believed(self) -> None:
        view = LoadView(stale_after_s=10.0)
        view.heard(LoadReport(instance_id="a", running=50, waiting=0), 0.0)
        assert view.candidate("a", 9.0).active == 50
        assert view.candidate("a", 10.1).active == 0

    def test_a_report_from_before_our_send_does_not_hide_it(self) -> None:
        view = LoadView()
        view.sent("a", 4)
        view.heard(LoadReport(instance_id="a", running=0, waiting=0), 1.0)
        assert view.candidate("a", 1.0).active == 4

    def test_gone_instances_are_forgotten_unless_they_hold_something(self) -> None:
        view = LoadView()
        view.sent("a", 1)
        view.heard(LoadReport(instance_id="b", running=3, waiting=0), 0.0)
        view.keep_only({"c"})
        assert view.candidate("b", 0.0).active == 0
        assert view.candidate("a", 0.0).active == 1
