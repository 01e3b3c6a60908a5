"""Rows of docs/rbg-behaviours.md that stand nowhere else: adapters of others, gangs without a kind, limits."""

from typing import Any

import pytest
import yaml
from tests.operator.builders import (
    DEPLOYMENT,
    LWS,
    group,
    names,
    observed,
    pod,
    role,
    seen,
    settle,
    someone_elses,
    wish,
)

from tandem.operator import discovery, labels
from tandem.operator.adapters import KIND as ADAPTER
from tandem.operator.adapters import adapter_status, with_adapters
from tandem.operator.children import plan_children
from tandem.operator.rollout import unavailable_limits
from tandem.operator.seen import Seen
from tandem.operator.types import Raw

SCALED = role("a", scalingAdapter={"enable": True})


def test_an_adapter_that_is_not_the_groups_is_left_alone() -> None:
    by = group(SCALED)
    foreign = someone_elses(ADAPTER, "pd-a", spec={"replicas": 7})
    assert with_adapters(by, seen(foreign)) == (by, [])
    assert (ADAPTER, "pd-a") not in names(plan_children(by, seen(foreign)))


def test_an_autoscaler_of_a_leader_worker_set_counts_leaders() -> None:
    by = group(role("w", replicas=2, workload=LWS, leaderWorkerSet={"size": 3}, scalingAdapter={"enable": True}))
    made = settle(by)
    workload = next(item for item in made if item["kind"] == "LeaderWorkerSet")
    found = next(item for item in made if item["kind"] == ADAPTER)
    status = adapter_status(by, by.spec.roles[0], found, workload, "now")
    assert "leaderworkerset.sigs.k8s.io/worker-index=0" in status["selector"]
    assert status["replicas"] == 2


@pytest.mark.parametrize(
    ("pattern", "policy"),
    [
        ({"restartPolicyConfig": {"type": "None"}, "restartPolicy": "RecreateRoleInstanceOnPodRestart"}, "None"),
        ({"restartPolicyConfig": {"type": "RecreateRoleInstanceOnPodRestart"}}, "RecreateGroupOnPodRestart"),
        ({"restartPolicy": "None"}, "None"),
    ],
)
def test_the_restart_policys_config_wins(pattern: Raw, policy: str) -> None:
    plan = plan_children(group(role("w", leaderWorkerPattern={"size": 2, "template": pod(), **pattern})), seen())
    assert wish(plan, "LeaderWorkerSet", "pd-w")["spec"]["leaderWorkerTemplate"]["restartPolicy"] == policy


def test_without_the_pod_groups_kind_roles_wait_and_say_for_what() -> None:
    plan = plan_children(group(role("a"), podGroupPolicy={"kubeScheduling": {}}), Seen())
    assert [view.problem for view in plan.views] == [
        "PodGroup.scheduling.x-k8s.io is not installed in this cluster: install its CRD and controller"
    ]
    assert ("StatefulSet", "pd-a") not in names(plan)


def test_a_gang_does_not_wait_for_a_role_that_waits_for_the_gang() -> None:
    """No pod of a gang is placed before all that it counts are there: so it counts those that are asked for."""
    by = group(role("a", replicas=2), role("b", replicas=3, dependencies=["a"]), podGroupPolicy={"kubeScheduling": {}})
    first = plan_children(by, seen())
    assert wish(first, "PodGroup", "pd")["spec"]["minMember"] == 2
    made = [observed(item) for item in first.apply]
    assert wish(plan_children(by, seen(*made)), "PodGroup", "pd")["spec"]["minMember"] == 5
    lost = [observed(item, ready=0) if item["kind"] == "StatefulSet" else item for item in settle(by)]
    assert wish(plan_children(by, seen(*lost)), "PodGroup", "pd")["spec"]["minMember"] == 5
    step = [{"name": "r", "roles": ["a", "b"], "strategy": {"scaling": {"maxSkew": "25%"}}}]
    slow = group(role("a", replicas=4), role("b", replicas=4), podGroupPolicy={"kubeScheduling": {}}, coordination=step)
    assert wish(plan_children(slow, seen()), "PodGroup", "pd")["spec"]["minMember"] == 2


def test_a_gang_that_is_scaled_to_nothing_asks_for_one_pod() -> None:
    by = group(role("a", replicas=0), podGroupPolicy={"kubeScheduling": {}})
    assert wish(plan_children(by, seen()), "PodGroup", "pd")["spec"]["minMember"] == 1


def test_own_terms_for_the_same_topology_are_left() -> None:
    term = [{"topologyKey": "rack", "labelSelector": {}}]
    block = {"requiredDuringSchedulingIgnoredDuringExecution": term}
    template = pod(affinity={"podAffinity": block, "podAntiAffinity": block})
    plan = plan_children(
        group(role("a", template=template), annotations={labels.EXCLUSIVE_TOPOLOGY[0]: "rack"}), seen()
    )
    made = wish(plan, "StatefulSet", "pd-a")["spec"]["template"]["spec"]
    assert made["affinity"] == template["spec"]["affinity"]


def test_a_role_templates_edit_rolls_the_roles_that_use_it_and_no_other() -> None:
    def by(image: str) -> Any:
        shared = [{"name": "t", "template": {"spec": {"containers": [{"name": "c", "image": image}]}}}]
        use = {"templateRef": {"name": "t"}, "templatePatch": {}}
        return group(role("a", **use), role("b", **use), role("own"), roleTemplates=shared)

    made = settle(by("one"))
    old = {item["metadata"]["name"]: item["metadata"]["annotations"][labels.APPLIED_HASH] for item in made}
    plan = plan_children(by("two"), seen(*made))
    rolled = {
        item["metadata"]["name"]
        for item in plan.apply
        if item["kind"] == "StatefulSet"
        and item["metadata"]["annotations"][labels.APPLIED_HASH] != old[item["metadata"]["name"]]
    }
    assert rolled == {"pd-a", "pd-b"}
    assert [item["revision"] for item in plan.apply if item["kind"] == "ControllerRevision"] == [2]


def test_coordination_limits_how_many_pods_are_away() -> None:
    rules = [
        {"name": "r", "roles": ["a", "web"], "strategy": {"rollingUpdate": {"maxUnavailable": "50%"}}},
        {"name": "s", "roles": ["a", "web"], "strategy": {"rollingUpdate": {"maxUnavailable": "1%"}}},
        {"name": "alone", "roles": ["own"], "strategy": {"rollingUpdate": {"maxUnavailable": "1%"}}},
    ]
    own = {"rollingUpdate": {"maxUnavailable": 3}}
    roles = (
        role("a", replicas=4, rolloutStrategy=own),
        role("web", replicas=10, workload=DEPLOYMENT),
        role("own", replicas=4, workload=DEPLOYMENT, rolloutStrategy=own),
    )
    by = group(*roles, coordination=rules)
    assert unavailable_limits(by.spec.coordination[:1], {"a": 4, "web": 10, "own": 4}) == {"a": 2, "web": 5}
    plan = plan_children(by, seen())
    assert "maxUnavailable" not in wish(plan, "StatefulSet", "pd-a")["spec"]["updateStrategy"]["rollingUpdate"]
    update = [wish(plan, "Deployment", f"pd-{name}")["spec"]["strategy"]["rollingUpdate"] for name in ("web", "own")]
    assert update == [{"maxUnavailable": 1}, {"maxUnavailable": 3, "maxSurge": 0}]


def test_the_discovery_file_is_the_same_with_and_without_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    roles = (role("a", servicePorts=[{"port": 80}]), role("w", replicas=12, workload=LWS, leaderWorkerSet={"size": 3}))
    text = wish(plan_children(group(*roles), seen()), "ConfigMap", "pd-a")["data"]
    monkeypatch.setattr(discovery, "_DUMPER", yaml.SafeDumper)
    assert wish(plan_children(group(*roles), seen()), "ConfigMap", "pd-a")["data"] == text


def test_groups_of_pods_are_scheduled_when_all_of_their_pods_are() -> None:
    """Roles that grow in step count leader-worker groups, not pods."""
    strategy = {"scaling": {"maxSkew": "25%"}}
    rules = [{"name": "r", "roles": ["w", "a"], "strategy": strategy}]
    ranks = role("w", replicas=4, workload=LWS, leaderWorkerSet={"size": 4})
    by = group(ranks, role("a", replicas=4), coordination=rules)
    made = settle(by)
    for item in made:
        if item["metadata"]["name"] in ("pd-w", "pd-a") and "replicas" in item.get("spec", {}):
            item["spec"]["replicas"] = 1
    scheduled = tuple(
        {"metadata": {"name": f"{name}-{n}", "labels": {labels.ROLE: name}}, "spec": {"nodeName": "n"}}
        for name, count in (("w", 4), ("a", 1))
        for n in range(count)
    )
    plan = plan_children(by, seen(*made, pods=scheduled))
    assert wish(plan, "LeaderWorkerSet", "pd-w")["spec"]["replicas"] == 2
    assert wish(plan, "StatefulSet", "pd-a")["spec"]["replicas"] == 2


def test_another_scheduler_leaves_no_pod_group_of_the_first() -> None:
    made = settle(group(role("a"), podGroupPolicy={"kubeScheduling": {}}))
    plan = plan_children(group(role("a"), podGroupPolicy={"volcanoScheduling": {}}, generation=2), seen(*made))
    assert wish(plan, "PodGroup", "pd")["apiVersion"] == "scheduling.volcano.sh/v1beta1"
    assert [(item["kind"], item["apiVersion"]) for item in plan.delete] == [
        ("PodGroup", "scheduling.x-k8s.io/v1alpha1")
    ]


def test_a_dependency_and_a_skew_do_not_wait_for_each_other() -> None:
    """The first role must be whole before the second starts, and may not run ahead of it: it grows one by one."""
    rules = [{"name": "r", "roles": ["a", "b"], "strategy": {"scaling": {"maxSkew": "10%"}}}]
    by = group(role("a", replicas=4), role("b", replicas=4, dependencies=["a"]), coordination=rules)
    made: dict[tuple[str, str], Raw] = {}
    sizes = list[tuple[int, int]]()
    for _ in range(12):
        pods = [
            {"metadata": {"name": f"{name}-{n}", "labels": {labels.ROLE: name[-1]}}, "spec": {"nodeName": "n"}}
            for name in ("pd-a", "pd-b")
            for n in range(made.get(("StatefulSet", name), {}).get("spec", {}).get("replicas", 0))
        ]
        for item in plan_children(by, seen(*made.values(), pods=tuple(pods))).apply:
            made[item["kind"], item["metadata"]["name"]] = observed(item)
        a, b = (made.get(("StatefulSet", name), {}).get("spec", {}).get("replicas", 0) for name in ("pd-a", "pd-b"))
        sizes.append((a, b))
    assert sizes[:4] == [(1, 0), (2, 0), (3, 0), (4, 0)]
    assert sizes[-1] == (4, 4)


def test_the_history_of_the_old_family_goes_on() -> None:
    """Revisions of upstream's v0.3 to v0.6 carry only its old labels."""
    by = group(role("a"))
    first = next(item for item in settle(by) if item["kind"] == "ControllerRevision")
    old = {labels.NAME: "pd", labels.CONTROLLER_REVISION_HASH: "theirs"}
    upstreams = {**first, "metadata": {**first["metadata"], "name": "pd-theirs-7", "labels": old}, "revision": 7}
    same = plan_children(by, seen(upstreams))
    assert not [item for item in same.apply if item["kind"] == "ControllerRevision"]
    edited = plan_children(group(role("a", template=pod("new")), generation=2), seen(upstreams))
    assert [item["revision"] for item in edited.apply if item["kind"] == "ControllerRevision"] == [8]
