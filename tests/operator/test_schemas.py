"""Every object that we write or deploy, against the schemas of the oldest Kubernetes that we claim and the newest."""

from collections.abc import Iterable

import pytest
import yaml
from tests.kubernetes_schemas import RELEASES, faults, knows
from tests.operator.builders import DEPLOYMENT, LWS, group, pod, role, seen, settle
from tests.operator.test_chart import CHART, DEPLOY

from tandem.operator.chart import render
from tandem.operator.children import plan_children
from tandem.operator.crds import crds
from tandem.operator.events import Note, event
from tandem.operator.labels import GROUP
from tandem.operator.types import Raw


def checked(release: str, items: Iterable[Raw]) -> list[str]:
    return [fault for item in items if knows(release, item) for fault in faults(release, item)]


def a_rich_group() -> list[Raw]:
    """Children of every kind, with everything that we add to pods."""
    template = pod("main", initContainers=[{"name": "i", "image": "x"}])
    template["spec"]["containers"][0] |= {"command": ["tandem", "serve", "x"], "ports": [{"containerPort": 80}]}
    topology = {"rolebasedgroup.workloads.x-k8s.io/exclusive-topology": "zone"}
    update = {"rollingUpdate": {"maxUnavailable": 2, "maxSurge": 1, "partition": 1}}
    roles = (
        role("a", replicas=3, template=template, minReadySeconds=5, rolloutStrategy=update),
        role(
            "web", workload=DEPLOYMENT, servicePorts=[{"name": "http", "port": 80}], rolloutStrategy=update, replicas=3
        ),
        role("ranks", workload=LWS, leaderWorkerSet={"size": 2}, template=template),
    )
    return settle(group(*roles, annotations=topology, podGroupPolicy={"kubeScheduling": {}}))


@pytest.mark.parametrize("release", RELEASES)
class TestObjects:
    def test_the_guides_files_fit(self, release: str) -> None:
        found = [d for path in sorted((DEPLOY / "guide").glob("*.yaml")) for d in yaml.safe_load_all(path.read_text())]
        assert checked(release, found) == []
        [own] = [item for item in found if item["apiVersion"].startswith(GROUP)]
        for number, each in enumerate(own["spec"]["roles"]):
            fault = faults(release, each["template"], "io.k8s.api.core.v1.PodTemplateSpec")
            assert fault == [], f"role {number}"

    def test_what_the_operator_makes_fits(self, release: str) -> None:
        made = [{key: value for key, value in item.items() if key != "status"} for item in a_rich_group()]
        kinds = {item["kind"] for item in made}
        assert {"StatefulSet", "Deployment", "Service", "ConfigMap", "ControllerRevision", "LeaderWorkerSet"} <= kinds
        if release == "1.22":  # the server is asked for its version, and what it does not know is left out
            plan = plan_children(
                group(role("a", rolloutStrategy={"rollingUpdate": {"maxUnavailable": 2}})), seen(minor=22)
            )
            made = [item for item in made if item["kind"] != "StatefulSet"] + plan.apply
        assert checked(release, made) == []
        for item in made:
            templates = item.get("spec", {}).get("leaderWorkerTemplate", {})
            for key in ("leaderTemplate", "workerTemplate"):
                if key in templates:
                    assert faults(release, templates[key], "io.k8s.api.core.v1.PodTemplateSpec") == []

    @pytest.mark.parametrize("webhook", [False, True])
    def test_the_chart_fits(self, release: str, webhook: bool) -> None:
        values = {"webhook": {"enabled": webhook, "certSecret": "tls", "caBundle": "QUJD"}}
        found = render(CHART, values)
        assert len(found) >= 8
        assert checked(release, found) == []
        assert all(knows(release, item) for item in found)

    def test_the_flat_manifest_and_the_definitions_fit(self, release: str) -> None:
        found = [*yaml.safe_load_all((DEPLOY / "operator.yaml").read_text()), *crds().values()]
        assert checked(release, found) == []

    def test_events_fit(self, release: str) -> None:
        about = {"kind": "RoleBasedGroup", "metadata": {"name": "g", "namespace": "n", "uid": "u"}}
        made = event(about, Note("Normal", "Succeed", "fine"), now="2026-01-01T00:00:00Z", suffix="1")
        assert checked(release, [made]) == []

    def test_an_unknown_field_would_be_found(self, release: str) -> None:
        item: Raw = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"selectr": {}}}
        assert "selectr" in str(checked(release, [item]))


def test_an_autoscaler_of_today_takes_a_scaling_adapter() -> None:
    target = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "RoleBasedGroupScalingAdapter", "name": "dynamo-pd-prefill"}
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
    }
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 4, "metrics": [metric]}
    item: Raw = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "x"},
        "spec": spec,
    }
    assert faults("1.37", item) == []
