"""Ready is true for the generation that it names, and every role that is not ready says why."""

from typing import Any

import msgspec
import pytest
from tests.operator.builders import group, observed, pod, role, seen, settle

from tandem.operator import labels
from tandem.operator.children import plan_children
from tandem.operator.events import transitions
from tandem.operator.faults import Fault
from tandem.operator.restarts import to_delete, trigger
from tandem.operator.status import group_status, invalid_status, refreshed
from tandem.operator.types import Condition, Group, GroupStatus, Raw

NOW = "2026-01-01T00:00:00Z"
LATER = "2026-01-01T01:00:00Z"


def status_of(by: Group, objects: list[Raw], now: str = NOW) -> GroupStatus:
    return group_status(by, plan_children(by, seen(*objects)).views, restart=None, now=now)


def condition(status: GroupStatus, kind: str) -> Condition:
    return next(item for item in status.conditions if item.type == kind)


def test_all_ready() -> None:
    by = group(role("a"), role("b", replicas=0))
    status = status_of(by, settle(by))
    assert (condition(status, labels.READY).status, condition(status, labels.READY).reason) == ("True", "AllRolesReady")
    assert condition(status, labels.PROGRESSING).reason == "Complete"
    assert msgspec.to_builtins(status.role_statuses)[0] == {
        "name": "a",
        "replicas": 1,
        "readyReplicas": 1,
        "updatedReplicas": 1,
    }


@pytest.mark.parametrize(
    ("changes", "why", "going"),
    [
        ({"ready": 1}, "role a: 1/2 ready", "PodsStarting"),
        ({"observedGeneration": 0}, "role a: StatefulSet not observed yet", "PodsStarting"),
        ({"updated": 1, "updateRevision": "r2"}, "role a: 1/2 updated", "RollingUpdate"),
        ({"replicas": 3}, "role a: 3 pods, 2 wished", "PodsStarting"),
    ],
)
def test_each_role_says_what_it_waits_for(changes: dict[str, Any], why: str, going: str) -> None:
    by = group(role("a", replicas=2))
    objects = [observed(i, **changes) if i["kind"] == "StatefulSet" else i for i in settle(by)]
    status = status_of(by, objects)
    assert (condition(status, labels.READY).reason, condition(status, labels.READY).message) == ("RoleNotReady", why)
    assert condition(status, labels.PROGRESSING).reason == going


def test_a_template_edit_is_not_ready_from_the_first_moment() -> None:
    objects = settle(group(role("a")))
    status = status_of(group(role("a", template=pod("new")), generation=2), objects)
    assert condition(status, labels.ROLLING).status == "True"
    assert condition(status, labels.READY).observed_generation == 2


def test_a_rollout_that_begins_between_decision_and_status_is_seen() -> None:
    """The counts and the word on the rollout must be of one moment, or old counts look like the end of it."""
    by = group(role("a", replicas=2))
    objects = settle(by)
    [view] = plan_children(by, seen(*objects)).views
    begun = observed(next(i for i in objects if i["kind"] == "StatefulSet"), updated=0, updateRevision="r2")
    status = group_status(by, [refreshed(view, begun)], restart=None, now=NOW)
    assert condition(status, labels.READY).message == "role a: 0/2 updated"


def test_pods_that_a_partition_holds_back_do_not_count_as_missing() -> None:
    held = {"rolloutStrategy": {"rollingUpdate": {"partition": 1}}}
    by = group(role("a", replicas=2, **held))
    objects = [observed(i, updated=1, updateRevision="r2") if i["kind"] == "StatefulSet" else i for i in settle(by)]
    assert condition(status_of(by, objects), labels.READY).status == "True"


def test_a_role_that_is_gone_leaves_no_status() -> None:
    by = group(
        role("a"), status={"roleStatuses": [{"name": "x", "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}]}
    )
    assert [item.name for item in status_of(by, []).role_statuses] == ["a"]


def test_the_time_changes_only_when_the_status_flips() -> None:
    by = group(role("a"))
    first = status_of(by, [])
    again = msgspec.structs.replace(by, status=first)
    assert condition(status_of(again, [], LATER), labels.READY).last_transition_time == NOW
    assert condition(status_of(again, settle(by), LATER), labels.READY).last_transition_time == LATER


def test_an_invalid_group_says_so_and_keeps_its_counts() -> None:
    by = group(
        role("a"), status={"roleStatuses": [{"name": "a", "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}]}
    )
    status = invalid_status(by, [Fault("spec.x", "is wrong")], NOW)
    assert (condition(status, labels.READY).reason, condition(status, labels.READY).message) == (
        "InvalidSpec",
        "spec.x: is wrong",
    )
    assert len(status.role_statuses) == 1


def test_events_tell_transitions_once() -> None:
    by = group(role("a"), role("b", dependencies=["a"]))
    waiting = status_of(by, [])
    done = status_of(by, settle(by))
    assert [note.reason for note in transitions(GroupStatus(), waiting)] == ["DependencyNotMet"]
    assert transitions(waiting, waiting) == []
    assert [note.reason for note in transitions(waiting, done)] == ["Succeed"]
    assert transitions(done, done) == []


class TestRestart:
    """RecreateRBGOnPodRestart: the condition is the memory."""

    by = group(role("a", restartPolicy="RecreateRBGOnPodRestart"), role("b", dependencies=["a"]))

    def a_pod(self, restarts: int = 0, phase: str = "Running", of: str = "a") -> Raw:
        found = {"name": "c", "restartCount": restarts}
        return {
            "metadata": {"name": "pd-a-0", "labels": {labels.ROLE: of}},
            "status": {"phase": phase, "containerStatuses": [found]},
        }

    def once_ready(self, by: Group | None = None) -> Group:
        by = by or self.by
        return msgspec.structs.replace(by, status=status_of(by, settle(by)))

    def restarting(self) -> Group:
        ready = self.once_ready()
        views = plan_children(ready, seen(*settle(ready))).views
        return msgspec.structs.replace(ready, status=group_status(ready, views, restart="why", now=LATER))

    def test_a_restarted_container_or_a_failed_pod_starts_it(self) -> None:
        ready = self.once_ready()
        assert trigger(ready, [self.a_pod(1)]) == "container c of pod pd-a-0 restarted"
        assert trigger(ready, [self.a_pod(phase="Failed")]) == "pod pd-a-0 failed"
        assert trigger(ready, [self.a_pod()]) is None

    @pytest.mark.parametrize(
        ("began", "why"), [(NOW, None), ("2026-01-01T00:00:05Z", "container c of pod pd-a-0 restarted")]
    )
    def test_a_container_that_failed_on_the_way_to_ready_does_not_restart_the_group(
        self, began: str, why: str | None
    ) -> None:
        """Or a group whose pods fail once before what they need is there would start anew for ever."""
        again = self.a_pod(1)
        [container] = again["status"]["containerStatuses"]
        for past in (
            {"state": {"running": {"startedAt": began}}},
            {"lastState": {"terminated": {"finishedAt": began}}},
        ):
            again["status"]["containerStatuses"] = [{**container, **past}]
            assert trigger(self.once_ready(), [again]) == why

    def test_other_roles_and_groups_that_were_never_ready_do_not(self) -> None:
        assert trigger(self.once_ready(), [self.a_pod(1, of="b")]) is None
        assert trigger(self.by, [self.a_pod(1)]) is None
        assert trigger(self.restarting(), [self.a_pod(1)]) is None

    def test_workloads_from_before_are_deleted_and_come_back_in_order(self) -> None:
        again, objects = self.restarting(), settle(self.by)
        plan = plan_children(again, seen(*objects))
        assert sorted(item["metadata"]["name"] for item in plan.delete) == ["pd-a", "pd-b"]
        gone = [item for item in objects if item["kind"] != "StatefulSet"]
        names = [i["metadata"]["name"] for i in plan_children(again, seen(*gone)).apply if i["kind"] == "StatefulSet"]
        assert names == ["pd-a"]

    def test_it_is_over_when_new_workloads_are_ready(self) -> None:
        again, fresh = self.restarting(), settle(self.by)
        for item in fresh:
            item["metadata"]["creationTimestamp"] = "2026-01-01T02:00:00Z"
        assert to_delete(again, fresh) == []
        assert condition(status_of(again, fresh), labels.RESTARTING).reason == "RBGRestartCompleted"

    def test_it_is_not_over_while_the_old_ones_are_still_there(self) -> None:
        assert condition(status_of(self.restarting(), settle(self.by)), labels.RESTARTING).status == "True"
