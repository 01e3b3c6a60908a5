"""Faster starts: Fluid's cache, loaders and pre-pull; and where clients come in."""

import yaml
from tests.deploy.builders import described, objects, pod_of
from tests.deploy.variants import NFS, OSS, variants

VARIANTS = variants()


def test_fluid_mounts_the_bucket_itself_with_keys_from_the_secret_on_the_gpu_nodes() -> None:
    found = objects(VARIANTS["jindo"])
    spec = found["Dataset", "qwen-cache"]["spec"]
    [mount] = spec["mounts"]
    assert mount["mountPoint"] == "oss://b/m"
    assert {option["valueFrom"]["secretKeyRef"]["key"] for option in mount["encryptOptions"]} == {"akId", "akSecret"}
    [term] = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "gpu", "operator": "In", "values": ["yes"]}]
    assert found["DataLoad", "qwen-cache-load"]["spec"]["dataset"]["name"] == "qwen-cache"
    assert ("PersistentVolume", "default-qwen-model") not in found


def test_pods_mount_fluids_claim_near_the_cache_and_read_ahead() -> None:
    found = objects(VARIANTS["jindo"])
    claims = [each["persistentVolumeClaim"]["claimName"] for each in pod_of(found, "decoder")["volumes"][:1]]
    assert claims == ["qwen-cache"]
    roles = {role["name"]: role["template"]["metadata"] for role in found["RoleBasedGroup", "qwen"]["spec"]["roles"]}
    assert roles["decoder"]["labels"]["fluid.io/dataset.qwen-cache.sched"] == "required"
    assert roles["decoder"]["annotations"]["file-prefetcher.fluid.io/file-list"] == "pvc://qwen-cache/*.safetensors"
    assert "file-prefetcher.fluid.io/inject" not in roles["processor"]["annotations"]


def test_alluxio_stands_before_a_claim_of_ours() -> None:
    found = objects(VARIANTS["alluxio"])
    assert found["Dataset", "qwen-cache"]["spec"]["mounts"][0]["mountPoint"] == "pvc://qwen-model"
    assert ("AlluxioRuntime", "qwen-cache") in found
    assert ("DataLoad", "qwen-cache-load") not in found


def test_a_loader_is_a_key_of_the_engine() -> None:
    text = objects(described(engine={"loader": "runai-streamer"}))["ConfigMap", "qwen-config"]["data"]["service.yaml"]
    sections = yaml.safe_load(text)
    assert sections["Common"]["load-format"] == "runai_streamer"
    assert all("load-format" in sections[name]["common-configs"] for name in ("VllmWorker", "PrefillWorker"))


def test_pre_pull_has_the_workers_image_on_the_nodes_of_the_workers() -> None:
    rule = {"node-selector": {"gpu": "yes"}, "weights": True}
    found = objects(described(model__storage=NFS, pre_pull=rule))
    pod = found["DaemonSet", "qwen-pre-pull"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"gpu": "yes"}
    assert {container["image"] for container in [*pod["containers"], *pod["initContainers"]]} == {"tandem:test"}
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "qwen-model"


def test_an_ingress_and_a_route_lead_to_the_front_door() -> None:
    ingress = objects(VARIANTS["ingress"])["Ingress", "qwen"]
    [path] = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "qwen", "port": {"number": 8000}}
    assert ingress["spec"]["tls"] == [{"hosts": ["h.example.com"], "secretName": "tls"}]
    route = objects(VARIANTS["gateway"])["HTTPRoute", "qwen"]["spec"]
    assert route["parentRefs"] == [{"name": "g", "namespace": "infra"}]
    assert route["rules"][0]["backendRefs"] == [{"name": "qwen", "port": 8000}]
    service = objects(described())["Service", "qwen"]["spec"]
    labels = {"app.kubernetes.io/instance": "qwen", "app.kubernetes.io/component": "processor"}
    assert service["selector"] == labels


def test_the_front_door_is_as_open_as_it_is_said() -> None:
    def front(**changes: object) -> object:
        return objects(described(**changes))["NetworkPolicy", "qwen-front"]["spec"]["ingress"][0].get("from")

    assert front() == [{"namespaceSelector": {}}]
    assert front(front={"open-to": "namespace"}) == [{"podSelector": {}}]
    assert front(ingress={"kind": "ingress", "host": "h"}) is None, "its clients have addresses of no namespace"


def test_a_bucket_is_mounted_by_the_clouds_driver_and_reserved_for_our_claim() -> None:
    found = objects(described(model__storage=OSS))
    volume = found["PersistentVolume", "default-qwen-model"]["spec"]
    assert volume["csi"]["nodePublishSecretRef"] == {"name": "oss-secret", "namespace": "default"}
    assert volume["claimRef"]["name"] == "qwen-model"
    assert volume["persistentVolumeReclaimPolicy"] == "Retain"
    assert found["PersistentVolumeClaim", "qwen-model"]["spec"]["volumeName"] == "default-qwen-model"
