"""An operator that is upgraded rolls no pod: what an earlier one made of a role stays until the role changes."""

from pathlib import Path

import yaml
from tests.operator.builders import observed, role, seen, wish

from tandem.operator import labels
from tandem.operator.children import Plan, plan_children
from tandem.operator.parse import parse_group
from tandem.operator.types import Group, Raw

GUIDE = Path(__file__).parents[2] / "deploy" / "guide" / "05-dynamo.yaml"
WITHOUT_PROBES = {
    "dynamo-pd-processor": "fbfcff013a",
    "dynamo-pd-prefill": "76b0ba0110",
    "dynamo-pd-decoder": "7aa94fab21",
}
"""Hashes that the first operators wrote for the guide's group: they gave no readiness probe and no token."""
OF_TODAY = {
    "dynamo-pd-processor": "a82bda9a27",
    "dynamo-pd-prefill": "d314d360a8",
    "dynamo-pd-decoder": "8cf86c707b",
}
"""What stands in the clusters of today. When this changes, every group rolls with the next upgrade: keep what gave
these pods as an older way beside the new one (`children._templates`), and add a table like the one above."""


def the_guides(*more: Raw, image: str = "tandem") -> Group:
    document = yaml.safe_load(GUIDE.read_text())
    for each in document["spec"]["roles"]:
        each["template"]["spec"]["containers"][0]["image"] = image
    document["spec"]["roles"] += more
    document["metadata"] |= {"uid": "uid-1", "generation": 1}
    return parse_group(document)


def hashes(plan: Plan) -> dict[str, str]:
    made = [item for item in plan.apply if item["kind"] == "StatefulSet"]
    return {item["metadata"]["name"]: item["metadata"]["annotations"][labels.TEMPLATE_HASH] for item in made}


def made_by_the_first_operators() -> list[Raw]:
    found = plan_children(the_guides(), seen())
    items = [observed(item) for item in found.apply if item["kind"] in ("StatefulSet", "Service")]
    for item in items:
        if item["kind"] == "StatefulSet":
            item["metadata"]["annotations"][labels.TEMPLATE_HASH] = WITHOUT_PROBES[item["metadata"]["name"]]
            for container in containers(item):
                container["env"] = [each for each in container["env"] if each["name"] != "TANDEM_GROUP_TOKEN"]
                if "exec" in container.get("readinessProbe", {}):
                    del container["readinessProbe"]
    return items


def containers(item: Raw) -> list[Raw]:
    found: list[Raw] = item["spec"]["template"]["spec"]["containers"]
    return found


def probed(plan: Plan) -> dict[str, bool]:
    made = [item for item in plan.apply if item["kind"] == "StatefulSet"]
    return {item["metadata"]["name"]: "readinessProbe" in containers(item)[0] for item in made}


def test_new_groups_are_made_as_those_of_today() -> None:
    assert hashes(plan_children(the_guides(), seen())) == OF_TODAY


def test_groups_of_the_first_operators_keep_their_pods() -> None:
    old = made_by_the_first_operators()
    plan = plan_children(the_guides(), seen(*old))
    assert hashes(plan) == WITHOUT_PROBES
    for item in old:
        if item["kind"] == "StatefulSet":
            now = wish(plan, "StatefulSet", item["metadata"]["name"])
            assert now["spec"]["template"] == item["spec"]["template"]
    assert not any(view.rolling for view in plan.views)


def test_a_role_that_is_changed_gets_what_new_ones_get_and_the_others_stay() -> None:
    by = the_guides(role("more"))
    edited = by.spec.roles[1].template
    assert edited is not None
    edited["spec"]["containers"][0]["image"] = "newer"
    plan = plan_children(by, seen(*made_by_the_first_operators()))
    now = hashes(plan)
    assert now["dynamo-pd-prefill"] not in (*WITHOUT_PROBES.values(), *OF_TODAY.values())
    assert now["dynamo-pd-decoder"] == WITHOUT_PROBES["dynamo-pd-decoder"]
    assert probed(plan) == {
        "dynamo-pd-processor": True,
        "dynamo-pd-prefill": True,
        "dynamo-pd-decoder": False,
        "dynamo-pd-more": False,
    }
    assert plan.secret is None, "their pods hold no token, so it wants none"
    made = wish(plan, "StatefulSet", "dynamo-pd-prefill")
    assert "TANDEM_GROUP_TOKEN" not in str(made["spec"])
