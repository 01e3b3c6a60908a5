"""The CRDs: made from the types, small, and in the files that are applied."""

from pathlib import Path

import pytest

from tandem.operator.crds import as_yaml, crds, main

FOLDER = Path(__file__).parents[2] / "deploy" / "crds"
CLIENT_SIDE_APPLY_LIMIT_BYTES = 262_144


def test_the_files_are_what_the_types_say() -> None:
    assert main([str(FOLDER), "--check"]) == 0


def test_a_file_that_drifted_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    (tmp_path / "workloads.x-k8s.io_rolebasedgroups.yaml").write_text("old")
    assert main([str(tmp_path), "--check"]) == 1
    assert "rolebasedgroups.yaml is out of date" in capsys.readouterr().err


@pytest.mark.parametrize("plural", sorted(crds()))
def test_each_is_small_enough_for_plain_kubectl_apply(plural: str) -> None:
    assert len(as_yaml(crds()[plural])) < CLIENT_SIDE_APPLY_LIMIT_BYTES


def test_both_versions_are_served_with_one_schema_and_no_webhook_between() -> None:
    spec = crds()["rolebasedgroups"]["spec"]
    assert spec["conversion"] == {"strategy": "None"}
    assert [(v["name"], v["served"], v["storage"]) for v in spec["versions"]] == [
        ("v1alpha1", True, True),
        ("v1alpha2", True, False),
    ]
    assert spec["versions"][0]["schema"] == spec["versions"][1]["schema"]


def _role_schema() -> dict[str, object]:
    version = crds()["rolebasedgroups"]["spec"]["versions"][0]
    found: dict[str, object] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["roles"]
    return found


def test_the_server_refuses_doubled_roles_and_empty_groups() -> None:
    roles = _role_schema()
    assert roles["minItems"] == 1
    assert (roles["x-kubernetes-list-type"], roles["x-kubernetes-list-map-keys"]) == ("map", ["name"])


def test_defaults_are_upstreams() -> None:
    properties = _role_schema()["items"]["properties"]  # type: ignore[index]
    assert properties["replicas"]["default"] == 1
    assert properties["replicas"]["minimum"] == 0
    assert properties["workload"]["default"] == {"apiVersion": "apps/v1", "kind": "StatefulSet"}
    assert properties["leaderWorkerSet"]["properties"]["size"]["default"] == 1
    update = properties["rolloutStrategy"]["properties"]["rollingUpdate"]["properties"]
    assert update["maxUnavailable"] == {"x-kubernetes-int-or-string": True, "default": 1}
    assert properties["scalingAdapter"]["properties"]["enable"]["default"] is False


def test_templates_are_left_open() -> None:
    properties = _role_schema()["items"]["properties"]  # type: ignore[index]
    assert properties["template"] == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@pytest.mark.parametrize("plural", ["rolebasedgroupsets", "rolebasedgroupscalingadapters"])
def test_autoscalers_find_replicas_and_selector(plural: str) -> None:
    scale = crds()[plural]["spec"]["versions"][0]["subresources"]["scale"]
    assert scale == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
