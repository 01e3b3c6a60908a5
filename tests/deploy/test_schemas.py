"""What is rendered is what Kubernetes 1.22 and 1.37 take, and a group that our operator builds."""

import copy
from collections.abc import Iterable

import pytest
from tests.deploy.builders import example, objects
from tests.deploy.variants import variants
from tests.kubernetes_schemas import RELEASES, faults, knows

from tandem.deploy.guide import render_like_the_guide
from tandem.deploy.objects import Object
from tandem.operator.parse import parse_spec
from tandem.operator.validation import faults_of

VARIANTS = variants()


def schema_faults(found: Iterable[Object], version: str) -> tuple[list[str], int]:
    """(faults, how many objects were checked): kinds of CRDs have no schema here; the real server has theirs."""
    own = [item for item in found if _of_kubernetes(item["apiVersion"])]
    missing = [
        f"Kubernetes {version} has no {item['apiVersion']} {item['kind']}" for item in own if not knows(version, item)
    ]
    known = [item for item in own if knows(version, item)]
    return missing + [fault for item in known for fault in faults(version, item)], len(known)


def _of_kubernetes(api_version: str) -> bool:
    group = api_version.rpartition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and not group.startswith("gateway."))


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_object_is_of_the_versions_schema(name: str, version: str) -> None:
    found = objects(VARIANTS[name], minor=int(version.split(".")[1]))
    wrong, checked = schema_faults(found.values(), version)
    assert wrong == []
    assert checked >= 7


@pytest.mark.parametrize("version", RELEASES)
def test_the_guides_objects_are_too(version: str) -> None:
    assert schema_faults(objects(render_like_the_guide(example("guide"))).values(), version) == ([], 9)


def test_the_schemas_are_strict_and_know_their_version() -> None:
    found = objects(VARIANTS["hpa"], minor=37)
    wrong = copy.deepcopy(found["StatefulSet", "qwen-etcd"])
    wrong["spec"]["replikas"] = 3
    [fault] = schema_faults([wrong], "1.37")[0]
    assert "replikas" in fault
    newer = [item for (kind, _), item in found.items() if kind == "HorizontalPodAutoscaler"]
    assert len(schema_faults(newer, "1.22")[0]) == 3


@pytest.mark.parametrize("name", VARIANTS)
def test_the_operator_builds_the_group(name: str) -> None:
    group = objects(VARIANTS[name])["RoleBasedGroup", VARIANTS[name].name]
    assert faults_of(VARIANTS[name].name, parse_spec(group["spec"])) == []
