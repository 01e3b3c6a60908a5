"""What is refused, and in which words."""

from typing import Any

import pytest
from tests.operator.builders import LWS, group, pod, role, seen, settle, spec, wish

from tandem.operator.adapters import with_adapters
from tandem.operator.admission import group_faults
from tandem.operator.children import plan_children
from tandem.operator.parse import parse_group
from tandem.operator.validation import faults_of

UPDATE = "spec.roles[0].rolloutStrategy.rollingUpdate"


def rolling(**fields: Any) -> dict[str, Any]:
    return {"rolloutStrategy": {"rollingUpdate": fields}}


@pytest.mark.parametrize(
    ("roles", "more", "fault"),
    [
        (
            [role("b", dependencies=["x"])],
            {},
            'spec.roles[0].dependencies: role "b" depends on "x", which is not in the group (b)',
        ),
        (
            [role("a", dependencies=["b"]), role("b", dependencies=["a"])],
            {},
            "spec.roles: dependencies go in a circle: a -> b -> a; take one away",
        ),
        ([role("a", dependencies=["a"])], {}, "spec.roles: dependencies go in a circle: a -> a; take one away"),
        (
            [role("A_b")],
            {},
            'spec.roles[0].name: "A_b" is not a valid DNS label: lower-case letters, digits and inner "-" only, '
            "63 at most",
        ),
        (
            [role("a", workload={"apiVersion": "batch/v1", "kind": "Job"})],
            {},
            "spec.roles[0].workload: unsupported workload type: batch/v1/Job; use one of apps/v1/StatefulSet, "
            "apps/v1/Deployment, leaderworkerset.x-k8s.io/v1/LeaderWorkerSet",
        ),
        ([{"name": "a"}], {}, "spec.roles[0].template: template or templateRef must be set"),
        (
            [role("a", templateRef={"name": "t"}, template=pod())],
            {},
            "spec.roles[0]: template and templateRef exclude each other; keep one",
        ),
        (
            [role("a", templateRef={"name": "t"})],
            {},
            "spec.roles[0].templatePatch: required when templateRef is set; {} changes nothing",
        ),
        (
            [role("a", templateRef={"name": "x"}, templatePatch={})],
            {"roleTemplates": [{"name": "t", "template": pod()}]},
            'spec.roles[0].templateRef.name: template "x" not found in spec.roleTemplates (t)',
        ),
        (
            [role("a")],
            {"roleTemplates": [{"name": "t", "template": pod()}, {"name": "t", "template": pod()}]},
            'spec.roleTemplates[1]: duplicate template name "t"',
        ),
        (
            [role("a")],
            {"roleTemplates": [{"name": "t", "template": {}}]},
            "spec.roleTemplates[0].template.spec.containers: must have at least one container",
        ),
        (
            [role("a", template={"spec": {}})],
            {},
            "spec.roles[0].template.spec.containers: must have at least one container",
        ),
        (
            [role("a", template=pod("x", "x"))],
            {},
            'spec.roles[0].template.spec.containers[1].name: duplicate container name "x"',
        ),
        (
            [role("a", **rolling(maxSurge=0, maxUnavailable=0))],
            {},
            f"{UPDATE}: maxSurge and maxUnavailable cannot both be 0: no pod could ever be replaced",
        ),
        (
            [role("a", **rolling(maxSurge="x"))],
            {},
            f'{UPDATE}.maxSurge: invalid value "x": write a count or a percentage such as 25%',
        ),
        (
            [role("a")],
            {"podGroupPolicy": {"kubeScheduling": {}, "volcanoScheduling": {}}},
            "spec.podGroupPolicy: kubeScheduling and volcanoScheduling exclude each other; keep one",
        ),
        (
            [role("a")],
            {"podGroupPolicy": {"roleMinimums": {"x": 1}}},
            'spec.podGroupPolicy.roleMinimums: there is no role "x"',
        ),
        (
            [role("a")],
            {"coordination": [{"name": "c", "roles": ["a", "x"]}]},
            'spec.coordination[0].roles: there is no role "x"',
        ),
        (
            [role("a", components=[{"name": "c"}])],
            {},
            "spec.roles[0].components: components are not supported; use one role per component, or a LeaderWorkerSet",
        ),
        (
            [role("r" * 50)],
            {},
            f'spec.roles[0].name: "pd-{"r" * 50}" has 53 characters; a StatefulSet takes 52: shorten one',
        ),
        (
            [role("a", servicePorts=[{"port": 0}])],
            {},
            "spec.roles[0].servicePorts[0].port: must be a number from 1 to 65535",
        ),
        (
            [role("a", leaderWorkerPattern={"template": pod(), "sharedServiceSelection": "LeaderOnly"})],
            {},
            "spec.roles[0].leaderWorkerPattern.sharedServiceSelection: LeaderOnly cannot be had with a "
            "LeaderWorkerSet, whose controller makes the Service: use All",
        ),
    ],
)
def test_a_fault_names_the_path_and_the_fix(roles: list[Any], more: dict[str, Any], fault: str) -> None:
    assert [str(found) for found in faults_of("pd", spec(*roles, **more))] == [fault]


ROLE = "spec.roles[0].template"


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ({"metadata": "x", **pod()}, f"{ROLE}.metadata: expected `object | null`, got `str`"),
        ({"metadata": {"labels": {"a": 1}}, **pod()}, f"{ROLE}.metadata.labels[...]: expected `str | null`, got `int`"),
        ({"spec": "x"}, f"{ROLE}.spec: expected `object | null`, got `str`"),
        ({"spec": {"containers": ["x"]}}, f"{ROLE}.spec.containers[0]: expected `object`, got `str`"),
        (pod(volumes={"v": {}}), f"{ROLE}.spec.volumes: expected `array | null`, got `object`"),
        (pod(affinity=[1]), f"{ROLE}.spec.affinity: expected `object | null`, got `array`"),
    ],
)
def test_a_template_of_another_form_is_a_fault_and_no_crash(template: Any, fault: str) -> None:
    """The definitions leave templates open, so the server does not see it."""
    assert [str(found) for found in faults_of("pd", spec(role("a", template=template)))] == [fault]
    item = {"metadata": {"name": "g", "namespace": "d", "uid": "u"}, "spec": {"roles": [role("a", template=template)]}}
    assert [str(found) for found in plan_children(parse_group(item), seen()).faults] == [fault]
    shared = {"roleTemplates": [{"name": "t", "template": template}]}
    found = faults_of("pd", spec(role("a", templateRef={"name": "t"}, templatePatch={}), **shared))
    assert str(found[0]) == fault.replace(ROLE, "spec.roleTemplates[0].template")


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("env", "A=b", "env: expected `array | null`, got `str`"),
        ("env", [{"name": "PORT", "value": 60}], "env[0].value: expected `str | null`, got `int`"),
        ("command", "sh -c x", "command: expected `array | null`, got `str`"),
        ("volumeMounts", [{"mountPath": 1}], "volumeMounts[0].mountPath: expected `str`, got `int`"),
        ("ports", [80], "ports[0]: expected `object`, got `int`"),
    ],
)
def test_so_is_a_container_of_another_form_wherever_it_comes_from(field: str, value: Any, fault: str) -> None:
    wrong = {"name": "c", "image": "x", field: value}
    found = faults_of("pd", spec(role("a", template={"spec": {"containers": [wrong]}})))
    assert [str(each) for each in found] == [f"{ROLE}.spec.containers[0].{fault}"]
    changes = [{"profileName": "p", "containers": [wrong]}]
    found = faults_of("pd", spec(role("a", engineRuntimes=changes)))
    assert [str(each) for each in found] == [f"spec.roles[0].engineRuntimes[0].containers[0].{fault}"]
    used = group(role("a", engineRuntimes=[{"profileName": "p"}]))
    [view] = plan_children(used, seen(profiles={"p": {"containers": [wrong]}})).views
    assert view.problem == f"spec.roles[0].engineRuntimes[0]: profile 'p'.{fault}"


def test_all_faults_are_told_together() -> None:
    found = faults_of("a.b", spec(role("a", dependencies=["x"]), {"name": "b"}))
    assert [fault.path for fault in found] == ["metadata.name", "spec.roles[1].template", "spec.roles[0].dependencies"]


def test_names_that_no_label_or_workload_holds_are_refused() -> None:
    """The server would refuse each child by itself; pods of too long a LeaderWorkerSet would never be made."""
    deployment = {"workload": {"apiVersion": "apps/v1", "kind": "Deployment"}}
    assert [fault.path for fault in faults_of("g" * 64, spec(role("a", **deployment)))] == ["metadata.name"]
    [fault] = faults_of("g", spec(role("r" * 64, **deployment)))
    assert str(fault).endswith('lower-case letters, digits and inner "-" only, 63 at most')
    assert faults_of("g", spec(role("r" * 63, **deployment))) == []
    ranks = {"workload": LWS, "leaderWorkerSet": {"size": 2}}
    assert faults_of("g", spec(role("r" * 48, **ranks))) == []
    [fault] = faults_of("g", spec(role("r" * 49, **ranks)))
    assert str(fault).endswith("has 51 characters; a LeaderWorkerSet takes 50: shorten one")


def test_names_that_become_one_when_cut_are_refused() -> None:
    deployment = {"workload": {"apiVersion": "apps/v1", "kind": "Deployment"}}
    long = "r" * 60
    found = faults_of("pd", spec(role(long + "1", **deployment), role(long + "2", **deployment)))
    assert [fault.path for fault in found] == ["spec.roles[1].name"]


@pytest.mark.parametrize(
    "roles",
    [
        [role("a", replicas=0, **rolling(maxSurge=0, maxUnavailable=0))],
        [role("a"), role("b", dependencies=["a"]), role("c", dependencies=["a", "b"])],
        [role("a", **rolling(maxSurge="50%", maxUnavailable=0))],
        [role("a", standalonePattern={"template": pod()})],
        [role("a", leaderWorkerPattern={"size": 4, "template": pod()})],
        [role("a", workload={"apiVersion": "workloads.x-k8s.io/v1alpha1", "kind": "InstanceSet"})],
    ],
)
def test_good_groups_have_no_fault(roles: list[Any]) -> None:
    assert faults_of("pd", spec(*roles)) == []


def test_a_partition_of_all_pods_is_refused_at_admission_and_holds_them_all_where_it_is_there_already() -> None:
    held = role("a", replicas=2, **rolling(partition=2))
    found = group_faults({"metadata": {"name": "pd"}, "spec": {"roles": [held]}})
    assert [str(fault) for fault in found] == [f"{UPDATE}.partition: 2 must be less than replicas 2"]
    plan = plan_children(group(held), seen())
    assert plan.faults == []
    assert wish(plan, "StatefulSet", "pd-a")["spec"]["updateStrategy"]["rollingUpdate"]["partition"] == 2


@pytest.mark.parametrize("other", ["template", "standalonePattern"])
def test_a_role_that_is_written_in_two_ways_is_refused_at_admission(other: str) -> None:
    value = pod() if other == "template" else {"template": pod()}
    twice = role("a", **{"leaderWorkerPattern": {"template": pod()}, other: value})
    found = group_faults({"metadata": {"name": "pd"}, "spec": {"roles": [twice]}})
    assert [str(fault) for fault in found] == [
        f"spec.roles[0]: {other} and leaderWorkerPattern exclude each other; keep one"
    ]
    assert faults_of("pd", spec(twice)) == [], "where it is there already, the pattern holds"


def test_an_autoscaler_that_takes_pods_away_makes_no_group_invalid() -> None:
    scaled = role("a", replicas=3, scalingAdapter={"enable": True}, **rolling(partition=2))
    by = group(scaled)
    made = settle(by)
    adapter = next(item for item in made if item["kind"] == "RoleBasedGroupScalingAdapter")
    adapter["spec"]["replicas"] = 2
    smaller, overridden = with_adapters(by, seen(*made))
    assert [item.after for item in overridden] == [2]
    plan = plan_children(smaller, seen(*made))
    assert plan.faults == []
    assert wish(plan, "StatefulSet", "pd-a")["spec"]["replicas"] == 2
    assert group_faults({"metadata": {"name": "pd"}, "spec": {"roles": [{**scaled, "replicas": 2}]}}) == []
