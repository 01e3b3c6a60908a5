"""Which instances may be called, event by event."""

from hypothesis import given
from hypothesis import strategies as st

from tandem.core.cards import InstanceCard
from tandem.runtime.rules import Probe, ViewState

TTL_S = 10.0


def a_card(instance_id: str, *, address: str = "", roles: list[str] | None = None) -> InstanceCard:
    return InstanceCard(
        instance_id=instance_id,
        namespace="ns",
        component="worker",
        endpoints=["generate"],
        address=address or f"host:{instance_id}",
        extra={"roles": ",".join(roles or [])},
    )


def a_view(*cards: InstanceCard) -> ViewState:
    view = ViewState(TTL_S)
    for card in cards:
        view.on_put(card)
    assert view.on_synced(0) == []
    return view


def ids(view: ViewState) -> list[str]:
    return [card.instance_id for card in view.routable()]


ONE, TWO = a_card("1"), a_card("2")


def test_instances_come_and_go_with_the_store_in_order_of_their_ids() -> None:
    view = a_view(TWO, ONE)
    assert ids(view) == ["1", "2"]
    view.on_delete("1")
    view.on_delete("unknown")
    assert ids(view) == ["2"]
    changed = a_card("2", roles=["prefill"])
    view.on_put(changed)
    assert view.get("2") == changed


def test_an_outage_changes_nothing() -> None:
    view = a_view(ONE, TWO)
    view.on_outage()
    view.on_outage()
    assert ids(view) == ["1", "2"]


def test_one_that_was_forgotten_but_answers_stays_for_one_time_to_live() -> None:
    view = a_view(ONE, TWO)
    view.on_outage()
    view.on_put(TWO)
    (probe,) = view.on_synced(now=100)
    assert probe == Probe("1", ONE.address, 0.0)
    (again,) = view.on_probe(probe, answers=True, now=100.1)
    assert ids(view) == ["1", "2"]
    assert 0 < again.after_s <= TTL_S
    assert view.on_probe(again, answers=True, now=109) != []
    assert ids(view) == ["1", "2"]
    (last,) = view._probe(view._entries["1"], 1.0) or [Probe("1", ONE.address, 1.0)]
    assert view.on_probe(last, answers=True, now=110) == []
    assert ids(view) == ["2"]


def test_one_that_was_forgotten_and_does_not_answer_is_gone() -> None:
    view = a_view(ONE)
    view.on_outage()
    (probe,) = view.on_synced(now=100)
    assert view.on_probe(probe, answers=False, now=103) == []
    assert ids(view) == []


def test_one_that_was_forgotten_is_live_again_once_it_registers() -> None:
    view = a_view(ONE)
    view.on_outage()
    (probe,) = view.on_synced(now=100)
    view.on_put(ONE)
    assert view.on_probe(probe, answers=False, now=103) == [], "a probe of before says nothing of it"
    assert ids(view) == ["1"]


def test_a_second_outage_does_not_prolong_what_was_forgotten() -> None:
    view = a_view(ONE)
    view.on_outage()
    (probe,) = view.on_synced(now=100)
    view.on_outage()
    assert view.on_synced(now=105) == []
    assert view.on_probe(probe, answers=True, now=111) == []
    assert ids(view) == []


def test_one_reported_lost_is_left_out_until_its_address_answers() -> None:
    view = a_view(ONE, TWO)
    (probe,) = view.report_lost("1")
    assert view.report_lost("1") == [], "it is being probed already"
    assert view.report_lost("unknown") == []
    assert ids(view) == ["2"]
    assert view.get("1") is None
    (later,) = view.on_probe(probe, answers=False, now=1)
    assert later.after_s > probe.after_s
    assert view.on_probe(later, answers=True, now=2) == []
    assert ids(view) == ["1", "2"]


def test_probes_of_a_lost_one_grow_rarer_but_never_stop() -> None:
    view = a_view(ONE)
    probes = view.report_lost("1")
    waits = []
    for now in range(20):
        (probe,) = probes
        waits.append(probe.after_s)
        probes = view.on_probe(probe, answers=False, now=now)
    assert waits == sorted(waits)
    assert waits[-1] == waits[-2] == 5.0


def test_one_reported_lost_comes_back_by_registering_anew_but_not_by_a_replay() -> None:
    view = a_view(ONE)
    view.report_lost("1")
    view.on_outage()
    view.on_put(ONE)
    assert view.on_synced(now=1) == []
    assert ids(view) == [], "its key was only still there"
    view.on_put(ONE)
    assert ids(view) == ["1"]


def test_one_that_registers_at_another_address_is_another_one() -> None:
    view = a_view(ONE)
    (probe,) = view.report_lost("1")
    view.on_put(a_card("1", address="host:new"))
    assert ids(view) == ["1"]
    assert view.on_probe(probe, answers=False, now=1) == []
    assert ids(view) == ["1"]


def test_one_that_was_lost_and_then_forgotten_is_gone() -> None:
    view = a_view(ONE)
    (probe,) = view.report_lost("1")
    view.on_outage()
    assert view.on_synced(now=1) == []
    assert view.on_probe(probe, answers=True, now=2) == []
    assert ids(view) == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "delete", "outage", "synced", "lost", "probe"]), st.sampled_from("123"), st.booleans()
    ),
    max_size=40,
)


@given(STEPS)
def test_after_a_full_replay_everything_that_answers_is_there(steps: list[tuple[str, str, bool]]) -> None:
    view = ViewState(TTL_S)
    pending: list[Probe] = []
    now = 0.0
    for what, which, yes in steps:
        now += 1
        match what:
            case "put":
                view.on_put(a_card(which))
            case "delete":
                view.on_delete(which)
            case "outage":
                view.on_outage()
            case "synced":
                pending += view.on_synced(now)
            case "lost":
                pending += view.report_lost(which)
            case "probe" if pending:
                pending += view.on_probe(pending.pop(0), answers=yes, now=now)
    view.on_outage()
    for which in "12":
        view.on_put(a_card(which))
    pending += view.on_synced(now)
    for _ in range(100):
        if not pending:
            break
        now += 1
        pending += view.on_probe(pending.pop(0), answers=True, now=now)
    assert ids(view) == ["1", "2"], "3 was forgotten, and its time is over"
