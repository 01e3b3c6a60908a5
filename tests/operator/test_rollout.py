"""Partitions, surge, and roles that keep step: tables."""

from typing import Any

import msgspec
import pytest
from tests.operator.builders import role

from tandem.operator.rollout import Pace, Progress, pace, progress, scaling_targets, skew_partitions
from tandem.operator.types import Coordination, Role


def a_role(replicas: int = 4, **update: Any) -> Role:
    fields = {"rolloutStrategy": {"rollingUpdate": update}} if update else {}
    return msgspec.convert(role("a", replicas=replicas, **fields), Role)


def stateful_set(*, replicas: int = 4, updated: int = 4, rolling: bool = False, behind: bool = False) -> dict[str, Any]:
    status: dict[str, Any] = {"updatedReplicas": updated, "observedGeneration": 1 if behind else 2}
    status |= {"currentRevision": "old", "updateRevision": "new" if rolling else "old"}
    return {"kind": "StatefulSet", "metadata": {"generation": 2}, "spec": {"replicas": replicas}, "status": status}


ROLLING = Progress(wished=4, updated=0, rolling=True)
STILL = Progress(wished=4, updated=4)


@pytest.mark.parametrize(
    ("wish", "found", "now", "expected"),
    [
        (a_role(), None, STILL, Pace(replicas=4)),
        (a_role(partition=1), None, STILL, Pace(replicas=4, partition=1, max_unavailable=1, max_surge=0)),
        (a_role(partition="30%"), None, STILL, Pace(replicas=4, partition=2, max_unavailable=1, max_surge=0)),
        (a_role(paused=True), None, STILL, Pace(replicas=4, partition=4, max_unavailable=1, max_surge=0)),
        (a_role(maxSurge=2), None, STILL, Pace(replicas=4, max_unavailable=1, max_surge=2)),
        (a_role(maxSurge=2), stateful_set(), STILL, Pace(replicas=4, max_unavailable=1, max_surge=2)),
        (a_role(maxSurge=2), stateful_set(), ROLLING, Pace(replicas=4, surge=2, max_unavailable=1, max_surge=2)),
        (a_role(maxSurge=9), stateful_set(), ROLLING, Pace(replicas=4, surge=4, max_unavailable=1, max_surge=9)),
        # the surge stays until the controller has seen the last write ...
        (
            a_role(maxSurge=2),
            stateful_set(replicas=6, behind=True),
            STILL,
            Pace(replicas=4, surge=2, max_unavailable=1, max_surge=2),
        ),
        # ... and goes when the rollout is over
        (a_role(maxSurge=2), stateful_set(replicas=6), STILL, Pace(replicas=4, max_unavailable=1, max_surge=2)),
    ],
)
def test_pace(wish: Role, found: Any, now: Progress, expected: Pace) -> None:
    assert pace(wish, found, now, replicas=wish.replicas) == expected


@pytest.mark.parametrize(
    ("found", "changes", "share"),
    [
        (None, False, 1.0),
        (stateful_set(), False, 1.0),
        (stateful_set(), True, 0.0),
        (stateful_set(updated=1, rolling=True), False, 0.25),
        (stateful_set(behind=True), False, 0.0),  # its word is old: nobody may run ahead on it
    ],
)
def test_progress(found: Any, changes: bool, share: float) -> None:
    assert progress(a_role(), found, changes_now=changes).share == share


def rule(roles: list[str] | None = None, *, scaling: Any = None, **rolling: Any) -> Coordination:
    strategy = {"rollingUpdate": rolling} if rolling else {}
    if scaling is not None:
        strategy["scaling"] = scaling
    return msgspec.convert({"name": "r", "roles": roles or ["a", "b"], "strategy": strategy}, Coordination)


def at_work(a: int, b: int, of: int = 10) -> dict[str, Progress]:
    return {"a": Progress(wished=of, updated=a, rolling=True), "b": Progress(wished=of, updated=b, rolling=True)}


@pytest.mark.parametrize(
    ("rules", "now", "held"),
    [
        ([rule(maxSkew="10%")], at_work(0, 0), {"a": 9, "b": 9}),
        ([rule(maxSkew="10%")], at_work(1, 0), {"a": 9, "b": 9}),
        ([rule(maxSkew="10%")], at_work(1, 1), {"a": 8, "b": 8}),
        ([rule(maxSkew="50%")], at_work(3, 2), {"a": 3, "b": 3}),
        ([rule(maxSkew="0%")], at_work(0, 0), {"a": 9, "b": 9}),  # one pod may always move
        ([rule(maxSkew="10%")], at_work(0, 0, of=1), {"a": 0, "b": 0}),  # a role of one pod does not stall
        ([rule(partition="40%")], at_work(0, 0), {"a": 4, "b": 4}),
        ([rule(maxSkew="10%"), rule(partition="95%")], at_work(0, 0), {"a": 10, "b": 10}),
        ([rule(["a"], maxSkew="10%")], at_work(0, 0), {}),
        (
            [rule(maxSkew="10%")],
            {"a": Progress(wished=10, updated=2, rolling=True), "b": Progress(wished=10, updated=10)},
            {"a": 7, "b": 0},
        ),
    ],
)
def test_skew(rules: list[Coordination], now: dict[str, Progress], held: dict[str, int]) -> None:
    assert skew_partitions(rules, now) == held


def test_a_coordinated_rollout_keeps_the_skew_and_ends() -> None:
    sizes, updated = {"a": 10, "b": 4}, {"a": 0, "b": 0}
    for _ in range(40):
        now = {n: Progress(wished=sizes[n], updated=updated[n], rolling=updated[n] < sizes[n]) for n in sizes}
        held = skew_partitions([rule(maxSkew="25%")], now)
        for name in sizes:
            if updated[name] < sizes[name] - held[name]:
                updated[name] += 1
            one_pod = max(1 / size for size in sizes.values())
            assert abs(updated["a"] / 10 - updated["b"] / 4) <= max(0.25, one_pod) + 1e-9
    assert updated == sizes


@pytest.mark.parametrize(
    ("scaling", "current", "done", "targets"),
    [
        ({"maxSkew": "20%"}, {"a": 0, "b": 0}, {"a": 0, "b": 0}, {"a": 2, "b": 2}),
        ({"maxSkew": "20%"}, {"a": 2, "b": 2}, {"a": 2, "b": 1}, {"a": 3, "b": 3}),
        ({"maxSkew": "20%"}, {"a": 2, "b": 2}, {"a": 2, "b": 2}, {"a": 4, "b": 4}),
        ({}, {"a": 0, "b": 0}, {"a": 0, "b": 0}, {"a": 10, "b": 10}),
        ({"maxSkew": "0%"}, {"a": 0, "b": 0}, {"a": 0, "b": 0}, {"a": 1, "b": 1}),
        ({"maxSkew": "20%"}, {"a": 15, "b": 15}, {"a": 15, "b": 15}, {"a": 10, "b": 10}),
    ],
)
def test_scaling_in_step(scaling: Any, current: Any, done: Any, targets: Any) -> None:
    wished = {"a": 10, "b": 10}
    assert scaling_targets([rule(scaling=scaling)], wished, current, done, {}) == targets


def test_order_ready_waits_for_ready_pods() -> None:
    rules = [rule(scaling={"maxSkew": "20%", "progression": "OrderReady"})]
    found = scaling_targets(rules, {"a": 10, "b": 10}, {"a": 2, "b": 2}, {"a": 2, "b": 2}, {"a": 0, "b": 0})
    assert found == {"a": 2, "b": 2}
