"""Ports for pods on their hosts' networks."""

import json
from typing import Any

import pytest
import yaml
from tests.operator.builders import group, pod, role, seen, settle, wish

from tandem.operator import labels, ports
from tandem.operator.children import plan_children
from tandem.operator.ports import COUNT, FIRST, asks_for_ports, read
from tandem.operator.types import Raw
from tandem.operator.validation import faults_of


def asking(**annotation: Any) -> Raw:
    template = pod(hostNetwork=True)
    template["metadata"] = {"annotations": {labels.PORT_ALLOCATOR: json.dumps(annotation)}}
    return template


SIDE = {"name": "side-channel", "env": "SIDE_PORT", "annotationKey": "side-port"}
PREFILL = role("prefill", template=asking(allocations=[SIDE]))
DECODE = role("decode", template=asking(references=[{"env": "PEER_PORT", "from": "prefill.main.side-channel"}]))


def port_of(plan: Any, name: str = "pd-prefill") -> int:
    return read(wish(plan, "ConfigMap", name))["side-channel"]


def env_of(plan: Any, name: str) -> dict[str, str]:
    container = wish(plan, "StatefulSet", name)["spec"]["template"]["spec"]["containers"][0]
    return {item["name"]: item.get("value", "") for item in container["env"]}


def test_a_port_is_told_to_its_role_to_those_who_refer_to_it_and_in_the_discovery_file() -> None:
    plan = plan_children(group(PREFILL, DECODE), seen())
    port = port_of(plan)
    assert FIRST <= port < FIRST + COUNT
    assert env_of(plan, "pd-prefill")["SIDE_PORT"] == env_of(plan, "pd-decode")["PEER_PORT"] == str(port)
    metadata = wish(plan, "StatefulSet", "pd-prefill")["spec"]["template"]["metadata"]
    assert metadata["annotations"]["side-port"] == str(port)
    found = yaml.safe_load(wish(plan, "ConfigMap", "pd-decode")["data"]["config.yaml"])["roles"]["prefill"]
    assert found["instances"][0]["ports"] == {"side_channel": port}


def test_it_stays_whatever_others_take_later_and_over_lost_memory() -> None:
    by = group(PREFILL, DECODE)
    before = port_of(plan_children(by, seen()))
    made = settle(by)
    kept = next(item for item in made if item["metadata"]["name"] == "pd-prefill" and item["kind"] == "ConfigMap")
    kept["metadata"]["annotations"][labels.PORTS] = json.dumps({"side-channel": before + 1})
    assert port_of(plan_children(by, seen(*made))) == before + 1, "what is remembered counts"
    assert port_of(plan_children(by, seen())) == before, "and without it the names decide"


def test_two_groups_never_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "COUNT", 3)
    by = group(PREFILL)
    taken: set[int] = set()
    for _ in range(3):
        plan = plan_children(by, _with(taken))
        assert port_of(plan) not in taken
        taken.add(port_of(plan))
    assert "are allocated" in str(plan_children(by, _with(taken)).faults[0])


def _with(taken: set[int]) -> Any:
    found = seen()
    return type(found)(facts=found.facts, ports_taken=frozenset(taken))


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ("no json", "is not of the form"),
        ('{"allocations": [{"name": "x"}]}', "is not of the form"),
        ('{"allocations": [{"name": "x", "env": "X", "scope": "PodScoped"}]}', "use RoleScoped"),
        ('{"references": [{"env": "X", "from": "other.port"}]}', '"other.port" is no allocated port of this group'),
    ],
)
def test_what_cannot_be_given_is_refused_with_its_path(annotation: str, message: str) -> None:
    template = pod()
    template["metadata"] = {"annotations": {labels.PORT_ALLOCATOR: annotation}}
    [fault] = faults_of("pd", group(role("a", template=template)).spec)
    assert fault.path.startswith("spec.roles[0].template.metadata.annotations[")
    assert message in fault.message
    assert plan_children(group(role("a", template=template)), seen()).faults == [fault]


BARE: Raw = {"templateRef": {"name": "t"}, "templatePatch": {}}
ASKING = asking(allocations=[SIDE])
SHARED = [{"name": "t", "template": ASKING}]


@pytest.mark.parametrize(
    ("one", "rest", "asks"),
    [
        (role("a", template=ASKING), {}, True),
        (role("a", **BARE), {"roleTemplates": SHARED}, True),
        (role("a", templateRef={"name": "t"}, templatePatch=ASKING), {}, True),
        (role("a", leaderWorkerSet={"patchWorkerTemplate": ASKING}), {}, True),
        (role("a", standalonePattern={"templateRef": {"name": "t", "patch": ASKING}}), {}, True),
        (role("a", leaderWorkerPattern={"template": pod(), "leaderTemplatePatch": ASKING}), {}, True),
        (role("a", annotations={labels.PORT_ALLOCATOR: "of the workload, not of its pods"}), {}, False),
        (role("a", template=pod(labels.PORT_ALLOCATOR)), {}, False),
    ],
)
def test_a_group_asks_for_ports_by_the_annotation_of_any_of_its_templates(one: Raw, rest: Raw, asks: bool) -> None:
    assert asks_for_ports(group(one, **rest).spec) is asks
