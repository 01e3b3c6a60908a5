"""A set of groups: numbered, paced, and counted."""

from typing import Any

import pytest
from tests.operator.builders import pod, role

from tandem.operator import labels
from tandem.operator.admission import group_faults, set_faults
from tandem.operator.compare import must_apply
from tandem.operator.sets import parse_set, plan_set, set_status
from tandem.operator.types import Raw

NOW = "2026-01-01T00:00:00Z"


def a_set(replicas: int = 3, *, image: str = "one", annotations: Any = None, **spec: Any) -> Raw:
    template = {"roles": [role("a", template={"spec": {"containers": [{"name": "c", "image": image}]}})]}
    body = {"replicas": replicas, "template": template, **spec}
    metadata = {"name": "s", "namespace": "default", "uid": "u", "generation": 1, "annotations": annotations or {}}
    return {"metadata": metadata, "spec": body}


def made(item: Raw, *, ready: bool = True) -> list[Raw]:
    """The groups of a set, as the server has them."""
    found = []
    for wish in plan_set(item, parse_set(item), []).apply:
        condition = {"type": labels.READY, "status": str(ready)}
        metadata = {**wish["metadata"], "generation": 1}
        found.append({**wish, "metadata": metadata, "status": {"observedGeneration": 1, "conditions": [condition]}})
    return found


def names(items: list[Raw]) -> list[str]:
    return sorted(item["metadata"]["name"] for item in items)


def test_numbered_groups_with_labels_of_both_families() -> None:
    item = a_set(2)
    plan = plan_set(item, parse_set(item), [])
    assert names(plan.apply) == ["s-0", "s-1"]
    found = plan.apply[0]["metadata"]["labels"]
    assert found[labels.SET_INDEX] == found[labels.NEW_SET_INDEX] == "1"
    assert plan.apply[0]["metadata"]["ownerReferences"][0]["controller"] is True


def test_scaling_down_takes_the_highest_numbers() -> None:
    item = a_set(1)
    plan = plan_set(item, parse_set(item), made(a_set(3)))
    assert names(plan.delete) == ["s-1", "s-2"]


@pytest.mark.parametrize(
    ("spec", "ready", "changed"),
    [
        ({}, True, ["s-2"]),
        ({"rolloutStrategy": {"maxUnavailable": 2}}, True, ["s-1", "s-2"]),
        ({"rolloutStrategy": {"maxUnavailable": "100%"}}, True, ["s-0", "s-1", "s-2"]),
        ({}, False, ["s-0", "s-1", "s-2"]),  # what does not work anyway is mended at once
    ],
)
def test_a_changed_template_goes_round_at_its_pace(spec: Any, ready: bool, changed: list[str]) -> None:
    item = a_set(image="two", **spec)
    assert names(plan_set(item, parse_set(item), made(a_set(), ready=ready)).apply) == changed


def test_one_that_is_not_ready_stops_the_round() -> None:
    children = made(a_set())
    children[0]["status"]["conditions"][0]["status"] = "False"
    children[0]["metadata"]["annotations"] = {labels.TEMPLATE_HASH: "new"}
    item = a_set(image="two")
    assert "s-0" not in names(plan_set(item, parse_set(item), children).apply)
    assert "s-1" not in names(plan_set(item, parse_set(item), children).apply)


def test_an_autoscaled_role_keeps_its_number() -> None:
    scaled = {"roles": [role("a", replicas=1, scalingAdapter={"enable": True})]}
    item = {**a_set(1), "spec": {"replicas": 1, "template": scaled}}
    [child] = made(item)
    child["spec"] = {"roles": [{**scaled["roles"][0], "replicas": 7}]}
    [wish] = plan_set(item, parse_set(item), [child]).apply
    assert wish["spec"]["roles"][0]["replicas"] == 7


def test_exclusive_topology_is_handed_down_and_other_annotations_are_not() -> None:
    item = a_set(1, annotations={labels.EXCLUSIVE_TOPOLOGY[0]: "rack", "mine": "1"})
    found = plan_set(item, parse_set(item), []).apply[0]["metadata"]["annotations"]
    assert found[labels.EXCLUSIVE_TOPOLOGY[0]] == "rack"
    assert "mine" not in found


def test_v1alpha2s_template_brings_labels() -> None:
    template = {"labels": {"l": "1"}, "annotations": {"n": "2"}, "spec": {"roles": [role("a")]}}
    item = {**a_set(1), "spec": {"replicas": 1, "groupTemplate": template}}
    metadata = plan_set(item, parse_set(item), []).apply[0]["metadata"]
    assert (metadata["labels"]["l"], metadata["annotations"]["n"]) == ("1", "2")


def test_status_in_upstreams_words() -> None:
    item = a_set(2)
    spec = parse_set(item)
    done = set_status(item, spec, made(item), [], NOW)
    assert (done.conditions[0].status, done.conditions[0].reason) == ("True", "AllReplicasReady")
    assert (done.replicas, done.ready_replicas, done.updated_replicas, done.selector) == (
        2,
        2,
        2,
        f"{labels.SET_NAME}=s",
    )
    waiting = set_status(item, spec, made(item, ready=False), [], NOW).conditions[0]
    assert (waiting.reason, waiting.message) == ("ReplicasNotReady", "Waiting for replicas to be ready (0/2)")
    old = set_status(a_set(2, image="two"), spec, made(item), [], NOW).conditions[0]
    assert old.message == "Waiting for replicas to be ready (2/2), 0/2 updated"


def test_admission_checks_a_sets_groups() -> None:
    item = a_set(2)
    item["spec"]["template"]["roles"][0]["dependencies"] = ["x"]
    assert [fault.path for fault in set_faults(item)] == ["spec.template.roles[0].dependencies"]
    assert set_faults(a_set(2)) == []
    assert [fault.path for fault in set_faults({"metadata": {"name": "s"}, "spec": {}})] == ["spec.template"]
    wrong = {"metadata": {"name": "s"}, "spec": {"template": {"roles": [{"name": "a", "replicas": "two"}]}}}
    assert [str(fault) for fault in set_faults(wrong)] == ["spec.template.roles[0].replicas: expected `int`, got `str`"]


def test_admission_names_the_path_of_a_wrong_type() -> None:
    item = {"metadata": {"name": "g"}, "spec": {"roles": [role("a", replicas="two")]}}
    assert [str(fault) for fault in group_faults(item)] == ["spec.roles[0].replicas: expected `int`, got `str`"]
    assert group_faults({"metadata": {"name": "g"}, "spec": {"roles": [role("a", template=pod())]}}) == []


def test_what_others_put_on_a_sets_group_stays_and_its_role_templates_arrive() -> None:
    """Server-side apply takes away only what its manager once wrote, and the set writes no more than it wishes."""
    shared = [{"name": "t", "template": pod()}]
    template = {"roles": [{"name": "a", "templateRef": {"name": "t"}, "templatePatch": {}}], "roleTemplates": shared}
    item = a_set(1, template=template)
    [child] = made(item)
    assert child["spec"]["roleTemplates"] == shared
    child["metadata"]["labels"]["mine"] = child["metadata"]["annotations"]["mine"] = "1"
    [wish] = plan_set(item, parse_set(item), [child]).apply
    assert "mine" not in str(wish)
    assert not must_apply(wish, child, None)
