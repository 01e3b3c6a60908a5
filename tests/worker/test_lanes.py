"""Which lanes a prefill worker takes from."""

from tandem.transport.ports import LaneDepth
from tandem.worker.lanes import plan_lanes

WAITING = LaneDepth(waiting=2, claimed=0)
EMPTY = LaneDepth(waiting=0, claimed=1)


def test_its_own_lane_comes_first_and_then_the_common_one() -> None:
    plan = plan_lanes("p1", {}, alive={"p1"}, alike={"p1"}, waiting_since={}, now=10.0, steal_after_s=0.5)
    assert plan.take == ["p1", "common"]
    assert plan.drop == []


def test_another_workers_lane_is_taken_from_only_when_its_jobs_have_waited() -> None:
    depths = {"p1": WAITING, "p2": WAITING, "p3": EMPTY, "common": EMPTY}
    first = plan_lanes(
        "p1", depths, alive={"p1", "p2", "p3"}, alike={"p1", "p2", "p3"}, waiting_since={}, now=10.0, steal_after_s=0.5
    )
    assert first.take == ["p1", "common"]
    later = plan_lanes(
        "p1",
        depths,
        alive={"p1", "p2", "p3"},
        alike={"p1", "p2", "p3"},
        waiting_since=first.waiting_since,
        now=10.5,
        steal_after_s=0.5,
    )
    assert later.take == ["p1", "common", "p2"]


def test_nothing_is_taken_from_a_worker_whose_peers_could_not_read_our_kv() -> None:
    depths = {"p1": EMPTY, "p2": WAITING, "p3": WAITING}
    plan = plan_lanes(
        "p1", depths, alive={"p1", "p2", "p3"}, alike={"p1", "p3"}, waiting_since={"p2": 0.0, "p3": 0.0}, now=9.0,
        steal_after_s=0.5,
    )  # fmt: skip
    assert (plan.take, plan.drop) == (["p1", "common", "p3"], [])


def test_a_lane_that_was_emptied_starts_waiting_anew() -> None:
    plan = plan_lanes(
        "p1", {"p2": EMPTY}, alive={"p2"}, alike={"p2"}, waiting_since={"p2": 1.0}, now=10.0, steal_after_s=0.5
    )
    assert plan.waiting_since == {}


def test_a_lane_whose_owner_is_gone_is_dropped() -> None:
    plan = plan_lanes(
        "p1", {"p2": WAITING, "p9": EMPTY}, alive={"p1"}, alike={"p1"}, waiting_since={}, now=10.0, steal_after_s=0.5
    )
    assert plan.drop == ["p2", "p9"]
