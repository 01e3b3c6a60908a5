"""What is rendered is what Kubernetes 1.22 and 1.37 take, and a group that our operator builds."""

import copy

import pytest
from tests.deploy.builders import example, objects
from tests.deploy.validation import schema_faults
from tests.deploy.variants import variants

from tandem.deploy.guide import render_like_the_guide
from tandem.operator.parse import parse_spec
from tandem.operator.validation import faults_of

VARIANTS = variants()


@pytest.mark.parametrize("version", ["1.22", "1.37"])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_object_is_of_the_versions_schema(name: str, version: str) -> None:
    found = objects(VARIANTS[name], minor=int(version.split(".")[1]))
    faults, checked = schema_faults(found.values(), version)
    assert faults == []
    assert checked >= 7


@pytest.mark.parametrize("version", ["1.22", "1.37"])
def test_the_guides_objects_are_too(version: str) -> None:
    faults, checked = schema_faults(objects(render_like_the_guide(example("guide"))).values(), version)
    assert (faults, checked) == ([], 9)


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
