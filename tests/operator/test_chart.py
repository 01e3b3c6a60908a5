"""The Helm chart: what it renders to, that it is hardened, and that deploy/operator.yaml is the same.

The templates use a small part of Go's language, which `tandem.operator.chart` renders and holds them to.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.tools import tool

from tandem.operator.chart import expand, main, render
from tandem.operator.types import Raw

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "operator"


def one(kind: str, values: Raw | None = None) -> Raw:
    [found] = [item for item in render(CHART, values or {}) if item["kind"] == kind]
    return found


def test_the_flat_manifest_is_the_chart_with_its_defaults() -> None:
    assert main([str(DEPLOY), "--check"]) == 0


def test_it_renders_with_every_option() -> None:
    values: Raw = {
        "webhook": {"enabled": True, "certSecret": "tls", "caBundle": "QUJD"},
        "namespace": "models",
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "imagePullSecrets": [{"name": "registry"}],
    }
    pod = one("Deployment", values)["spec"]["template"]
    assert pod["metadata"]["annotations"] == {"a": "b"}
    assert "--namespace=models" in pod["spec"]["containers"][0]["args"]
    assert pod["spec"]["tolerations"] == [{"operator": "Exists"}]
    hooks = one("ValidatingWebhookConfiguration", values)["webhooks"]
    assert {hook["failurePolicy"] for hook in hooks} == {"Ignore"}
    assert [hook["clientConfig"]["service"]["path"] for hook in hooks] == ["/rolebasedgroups", "/rolebasedgroupsets"]
    assert [rule["apiVersions"] for hook in hooks for rule in hook["rules"]] == [["v1alpha1"], ["v1alpha1"]]
    assert {hook["matchPolicy"] for hook in hooks} == {"Equivalent"}  # so that v1alpha2's come too


def test_what_can_be_turned_off_is_off() -> None:
    found = render(CHART, {"podDisruptionBudget": {"enabled": False}, "aggregatedRoles": False})
    assert {item["kind"] for item in found} == {
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "Deployment",
    }


def test_the_pod_is_hardened() -> None:
    spec = one("Deployment")["spec"]["template"]["spec"]
    [container] = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} == container["resources"]["requests"].keys()
    assert container["livenessProbe"]["httpGet"]["path"] == "/live"


def test_it_may_do_no_more_than_it_does() -> None:
    own = ("tandem-operator", "tandem-operator-cluster")
    roles = [i for i in render(CHART, {}) if i["kind"] == "ClusterRole" and i["metadata"]["name"] in own]
    verbs = {
        (group, name): rule["verbs"]
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for name in rule["resources"]
    }
    assert not any("*" in (group, name) or "*" in allowed for (group, name), allowed in verbs.items())
    assert verbs["", "pods"] == ["get", "list", "watch"]
    assert verbs["", "secrets"] == ["create"], "it makes tokens of groups, and reads no Secret"


def test_with_one_namespace_it_may_write_in_no_other() -> None:
    found = render(CHART, {"namespace": "models"})
    writing = [
        item["metadata"]["name"]
        for item in found
        if item["kind"] == "ClusterRole" and {"create", "patch"} & {v for rule in item["rules"] for v in rule["verbs"]}
    ]
    bound = {item["roleRef"]["name"] for item in found if item["kind"] == "ClusterRoleBinding"}
    assert bound == {"tandem-operator-cluster"}
    assert not bound & set(writing)
    [binding] = [i for i in found if i["kind"] == "RoleBinding" and i["roleRef"]["kind"] == "ClusterRole"]
    assert (binding["metadata"]["namespace"], binding["roleRef"]["name"]) == ("models", "tandem-operator")


@pytest.mark.timeout(60)
@pytest.mark.skipif(tool("helm") is None, reason="no helm for this machine: tandem.operator.chart alone renders")
@pytest.mark.parametrize("release", ["1.22.0", "1.37.0"])
@pytest.mark.parametrize("webhook", [False, True])
def test_helm_renders_the_same(release: str, webhook: bool, tmp_path: Path) -> None:
    values: Raw = {
        "webhook": {"enabled": webhook, "certSecret": "tls", "caBundle": "QUJD"},
        "podAnnotations": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
        "image": {"repository": "registry/tandem"},
        "namespace": "models" if webhook else "",
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    helm = str(tool("helm"))
    command = [helm, "template", "tandem-operator", str(CHART), "--namespace", "tandem-system"]
    command += ["--values", str(tmp_path / "values.yaml"), "--kube-version", release]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "HOME": str(tmp_path)}
    )
    theirs = [item for item in yaml.safe_load_all(done.stdout) if item]

    def key(item: Raw) -> tuple[str, str]:
        return item["kind"], item["metadata"]["name"]

    assert sorted(theirs, key=key) == sorted(render(CHART, values), key=key)
    subprocess.run(
        [helm, "lint", "--strict", CHART], check=True, capture_output=True, env={**os.environ, "HOME": str(tmp_path)}
    )


def test_the_schema_of_the_values_knows_each_of_them() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert schema["properties"].keys() - {"global"} == values.keys()
    closed = {name: item["properties"] for name, item in schema["properties"].items() if "properties" in item}
    assert {name: set(found) for name, found in closed.items()} == {
        name: set(values[name]) for name in ("image", "webhook", "podDisruptionBudget")
    }


@pytest.mark.timeout(60)
@pytest.mark.skipif(tool("helm") is None, reason="no helm for this machine: only it reads the schema of the values")
@pytest.mark.parametrize(
    ("flag", "where"),
    [
        ("webhook.enabled=true", "/webhook/certSecret"),  # or the Deployment would mount a Secret without a name
        ("replicaCount=3", "replicaCount"),  # the name in upstream's chart
        ("webhook.port=0", "/webhook/port"),
        ("podAnnotations.a=1", "/podAnnotations/a"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(flag: str, where: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(tool("helm")), "template", "tandem-operator", str(CHART), "--set", flag],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode != 0
    assert "values don't meet the specifications" in done.stderr
    assert where in done.stderr, done.stderr


TAGS = ['{{ include "x" . }}', "{{ .Values.x | upper }}", "{{ .Values.absent }}", "{{ $x }}"]


@pytest.mark.parametrize("text", TAGS)
def test_a_tag_that_is_not_understood_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"not understood|has no value"):
        expand(text, {"Values": {"x": "y"}})
