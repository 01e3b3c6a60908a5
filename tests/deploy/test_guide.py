"""`render --like-the-guide` is the guide: compared with its files, and with a table of every field that it names."""

from typing import Any

import pytest
import yaml
from tests.deploy.builders import ROOT, example, objects, pod_of

from tandem.deploy.guide import render_like_the_guide
from tandem.operator import labels

GUIDE = ROOT / "deploy" / "guide"


def rendered() -> dict[tuple[str, str], Any]:
    return objects(render_like_the_guide(example("guide")))


def written() -> dict[tuple[str, str], Any]:
    """The guide's files, the blank filled in."""
    text = "\n---\n".join(path.read_text() for path in sorted(GUIDE.glob("*.yaml")))
    listed = list(yaml.safe_load_all(text.replace('image: ""', "image: IMAGE")))
    return {(item["kind"], item["metadata"]["name"]): item for item in listed}


def opened(item: Any) -> Any:
    """An object with the YAML inside its ConfigMap read, since only its meaning counts."""
    if item["kind"] != "ConfigMap":
        return item
    data = item["data"]
    return {**item, "data": {**data, "qwen3.yaml": yaml.safe_load(data["qwen3.yaml"])}}


def test_it_renders_the_guides_objects_and_no_others() -> None:
    assert list(rendered()) == list(written())


@pytest.mark.parametrize("key", written(), ids=lambda key: "-".join(key))
def test_each_object_is_the_guides_field_for_field(key: tuple[str, str]) -> None:
    assert opened(rendered()[key]) == opened(written()[key])


def test_every_field_that_the_guide_names_has_its_value() -> None:
    """Not the files that we wrote after the guide, but the guide's own sentences."""
    found = rendered()
    volume = found["PersistentVolume", "llm-model"]
    claim = found["PersistentVolumeClaim", "llm-model"]["spec"]
    etcd = found["StatefulSet", "etcd"]["spec"]
    nats = found["Deployment", "nats"]["spec"]
    config = yaml.safe_load(found["ConfigMap", "dynamo-configs"]["data"]["qwen3.yaml"])
    assert set(found["Secret", "oss-secret"]["stringData"]) == {"akId", "akSecret"}
    assert volume["metadata"]["labels"] == {"alicloud-pvname": "llm-model"}
    assert volume["spec"]["capacity"] == {"storage": "30Gi"}
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["spec"]["csi"]["driver"] == "ossplugin.csi.alibabacloud.com"
    assert volume["spec"]["csi"]["nodePublishSecretRef"] == {"name": "oss-secret", "namespace": "default"}
    assert volume["spec"]["csi"]["volumeAttributes"].keys() == {"bucket", "url", "path", "otherOpts"}
    assert (
        volume["spec"]["csi"]["volumeAttributes"]["otherOpts"] == "-o umask=022 -o max_stat_cache_size=0 -o allow_other"
    )
    assert claim["accessModes"] == ["ReadOnlyMany"]
    assert claim["selector"] == {"matchLabels": {"alicloud-pvname": "llm-model"}}
    assert found["Service", "etcd"]["spec"]["clusterIP"] == "None"
    assert (etcd["replicas"], etcd["serviceName"]) == (1, "etcd")
    assert etcd["template"]["spec"]["volumes"] == [{"name": "data", "emptyDir": {}}]
    assert nats["template"]["spec"]["containers"][0]["args"] == ["-js", "--trace", "-m", "8222"]
    assert config["Common"]["block-size"] == 128
    assert "gpu-memory-utilization" in config["PrefillWorker"]["common-configs"]
    assert "gpu-memory-utilization" not in config["Common"]
    assert config["VllmWorker"]["remote-prefill"] is True
    assert config["VllmWorker"]["conditional-disagg"] is False
    for role, cpu, memory in (("processor", "8", "12Gi"), ("prefill", "12", "50Gi"), ("decoder", "12", "50Gi")):
        [container] = pod_of(found, role)["containers"]
        asked = container["resources"]["requests"]
        assert (asked["cpu"], asked["memory"]) == (cpu, memory)
        assert asked.get("nvidia.com/gpu") == (None if role == "processor" else "2")
        assert container["command"][:2] == ["sh", "-c"]
        assert "args" not in container
        assert {"name": "DYNAMO_RP_TIMEOUT", "value": "60"} in container["env"]
    probe = pod_of(found, "processor")["containers"][0]["readinessProbe"]
    assert probe == {"tcpSocket": {"port": 8000}, "initialDelaySeconds": 30, "periodSeconds": 30}
    assert found["Service", "dynamo-service"]["spec"]["selector"] == {
        labels.NAME: "dynamo-pd",
        labels.ROLE: "processor",
    }
