"""What is rendered by default is fit for production where the guide's set is not."""

import os
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.builders import EXAMPLES, ROOT, described, example, objects, pod_of
from tests.deploy.variants import variants

from tandem.cli import main
from tandem.core.model_folder import MANIFEST, PULLING
from tandem.deploy.objects import Object
from tandem.deploy.render import render
from tandem.deploy.text import whole_text

VARIANTS = variants()


def pods(found: dict[tuple[str, str], Object]) -> list[tuple[str, Object]]:
    """Every pod's spec that is rendered, with whose it is."""
    listed = []
    for (kind, name), item in found.items():
        if kind in ("StatefulSet", "DaemonSet", "Deployment"):
            listed.append((name, item["spec"]["template"]["spec"]))
        if kind == "Job":
            listed.append((name.rpartition("-")[0], item["spec"]["template"]["spec"]))
        if kind == "RoleBasedGroup":
            listed += [(f"{name}-{role['name']}", role["template"]["spec"]) for role in item["spec"]["roles"]]
    return listed


@pytest.mark.parametrize("name", VARIANTS)
def test_every_pod_has_the_least_rights(name: str) -> None:
    for _, pod in pods(objects(VARIANTS[name])):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["readOnlyRootFilesystem"] is True
            assert rights["capabilities"]["drop"] == ["ALL"]
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_pod_that_is_rendered_is_named_by_a_network_policy(name: str) -> None:
    found = objects(VARIANTS[name])
    chosen = [item["spec"]["podSelector"] for (kind, _), item in found.items() if kind == "NetworkPolicy"]

    def covers(rule: Object, component: str) -> bool:
        wanted = [each["values"] for each in rule.get("matchExpressions", [])]
        exact = rule["matchLabels"].get("app.kubernetes.io/component")
        return component == exact if exact else any(component in values for values in wanted)

    for whose, _ in pods(found):
        component = whose.removeprefix(f"{VARIANTS[name].name}-")
        assert any(covers(rule, component) for rule in chosen), whose


def test_a_new_volume_is_filled_by_a_job_and_workers_wait_for_the_whole_model() -> None:
    found = objects(VARIANTS["pulled"])
    [job] = [item for (kind, _), item in found.items() if kind == "Job"]
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][2:] == ["tandem", "models", "pull", "modelscope://Qwen/Qwen3-32B", "/models/qwen"]
    assert container["envFrom"] == [{"secretRef": {"name": "hub"}}]
    for role in ("processor", "prefill", "decoder"):
        [first] = pod_of(found, role)["initContainers"]
        assert {"name": "MANIFEST", "value": MANIFEST} in first["env"]
    other = objects(described(model__storage={"kind": "storage-class", "size": "9Gi", "source": "hf://a/b"}))
    assert {name for kind, name in other if kind == "Job"}.isdisjoint({job["metadata"]["name"]})


def test_waiting_for_the_model_ends_with_its_manifest(tmp_path: Path) -> None:
    [first] = pod_of(objects(VARIANTS["pulled"]), "decoder")["initContainers"]
    env = {item["name"]: item["value"] for item in first["env"]} | {
        "MODEL_PATH": str(tmp_path),
        "PATH": os.environ["PATH"],
    }
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(first["command"], env=env, timeout=0.3)
    (tmp_path / MANIFEST).write_text("{}")
    assert subprocess.run(first["command"], env=env, timeout=5).returncode == 0


def test_workers_do_not_begin_while_a_second_pull_is_at_work(tmp_path: Path) -> None:
    [first] = pod_of(objects(VARIANTS["pulled"]), "decoder")["initContainers"]
    env = {item["name"]: item["value"] for item in first["env"]}
    env |= {"MODEL_PATH": str(tmp_path), "PATH": os.environ["PATH"]}
    (tmp_path / MANIFEST).write_text("{}")
    (tmp_path / PULLING).mkdir()
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(first["command"], env=env, timeout=0.3)


def test_a_variable_from_a_secret_is_named_never_rendered() -> None:
    env = {"HF_TOKEN": {"secret": "hub", "key": "token"}, "PLAIN": "x"}
    wish = described(roles__decoder={"env": env})
    found = {item["name"]: item for item in pod_of(objects(wish), "decoder")["containers"][0]["env"]}
    assert found["HF_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "hub", "key": "token"}}
    assert found["PLAIN"]["value"] == "x"
    [needed] = [each for step in render(wish, minor=37) for each in step.secrets if each.name == "hub"]
    assert needed.keys == ("token",), "apply says when it is missing"


def test_etcd_has_three_members_with_volumes_and_every_client_knows_all_of_them() -> None:
    found = objects(described())
    etcd = found["StatefulSet", "qwen-etcd"]["spec"]
    assert etcd["replicas"] == 3
    assert [claim["metadata"]["name"] for claim in etcd["volumeClaimTemplates"]] == ["data"]
    env = {item["name"]: item.get("value") for item in pod_of(found, "decoder")["containers"][0]["env"]}
    assert str(env["ETCD_ENDPOINTS"]).count("http://qwen-etcd-") == 3
    assert found["PodDisruptionBudget", "qwen-etcd"]["spec"]["maxUnavailable"] == 1


def test_nats_keeps_its_streams_on_a_volume_asks_for_a_password_and_traces_nothing() -> None:
    found = objects(described())
    nats = found["StatefulSet", "qwen-nats"]["spec"]
    [container] = nats["template"]["spec"]["containers"]
    assert nats["volumeClaimTemplates"]
    assert "--trace" not in str(container)
    secrets = {item["name"]: item["valueFrom"]["secretKeyRef"] for item in container["env"][1:]}
    assert secrets["NATS_PASSWORD"] == {"name": "qwen-nats", "key": "password"}
    worker = {item["name"]: item for item in pod_of(found, "prefill")["containers"][0]["env"]}
    assert worker["NATS_AUTH_PASSWORD"]["valueFrom"]["secretKeyRef"] == {"name": "qwen-nats", "key": "password"}


@pytest.mark.parametrize("role", ["processor", "prefill", "decoder"])
def test_readiness_asks_the_system_port(role: str) -> None:
    [container] = pod_of(objects(described()), role)["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 9347}
    assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": 9347}


@pytest.mark.parametrize("name", VARIANTS)
def test_no_secret_is_rendered_and_the_bytes_are_the_same_each_time(name: str) -> None:
    code = f"import sys; from tests.deploy.test_render import *; print(text_of({name!r}), end='')"
    first = text_of(name)
    assert "kind: Secret\n" not in first
    env = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    if name == "everything":  # in another process, with other hashes
        again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
        assert again.stdout == first
    assert text_of(name) == first


def text_of(name: str) -> str:
    return whole_text(render(VARIANTS[name], minor=37))


def test_a_changed_setting_makes_other_pods() -> None:
    def annotation(wish: Any) -> str:
        group = objects(wish)["RoleBasedGroup", "qwen"]
        found: str = group["spec"]["roles"][0]["template"]["metadata"]["annotations"]["tandem.dev/config-hash"]
        return found

    assert annotation(described()) == annotation(described(roles__decoder={"cpu": 9}))
    assert annotation(described()) != annotation(described(router={"mode": "kv"}))


@pytest.mark.parametrize("name", ["everything", "cpu"])
@pytest.mark.timeout(60)
def test_tandem_serve_understands_each_roles_command_and_configuration(name: str, tmp_path: Path) -> None:
    subprocess.run(["sh", ROOT / "deploy" / "layout.sh", tmp_path], check=True)
    found = objects(VARIANTS[name])
    config = tmp_path / "service.yaml"
    config.write_text(found["ConfigMap", f"{VARIANTS[name].name}-config"]["data"]["service.yaml"])
    for role in VARIANTS[name].every_role():
        [container] = pod_of(found, role)["containers"]
        command = [part.replace("/etc/tandem/service/service.yaml", str(config)) for part in container["command"][2:]]
        words = [sys.executable, "-m", "tandem.cli.main", *command[1:], "--dry-run"]
        folder = tmp_path / "examples" / "llm"
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, (shlex.join(words), done.stderr)
        assert "not known" not in done.stderr


def test_it_writes_one_file_per_step_and_leaves_others_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text("a: 1\n")
    assert main.main(["deploy", "render", "-f", str(EXAMPLES / "service.yaml"), "-o", str(tmp_path)]) == 0
    names = sorted(path.name for path in tmp_path.glob("*.yaml"))
    assert names[0] == "01-model.yaml"
    assert (tmp_path / "mine.yaml").read_text() == "a: 1\n"
    assert "left: mine.yaml" in capsys.readouterr().err
    text = "---\n".join((tmp_path / name).read_text() for name in names if name != "mine.yaml")
    assert text == whole_text(render(example("service"), minor=37))
    values = yaml.safe_load((tmp_path / "helm" / "metrics-adapter-values.yaml").read_text())
    assert values["rules"]["external"][0]["name"] == {"as": "tandem_prefill_queue_seconds_p90"}


def test_a_fault_is_exit_status_2_and_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "service.yaml"
    path.write_text((EXAMPLES / "service.yaml").read_text().replace("gpu-memory: 80Gi", "gpu-memory: 32Gi"))
    assert main.main(["deploy", "render", "-f", str(path)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "65.5 GB of weights do not fit 2 GPUs of 34.4 GB" in told.err
    assert main.main(["deploy", "render", "-f", str(tmp_path / "none.yaml")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert main.main(["deploy", "render", "-f", str(path), "--kube-version", "1.19"]) == 2


@pytest.mark.parametrize(
    ("minor", "hpa", "budget"),
    [
        ("1.20", "autoscaling/v2beta2", "policy/v1beta1"),
        ("v1.22.3", "autoscaling/v2beta2", "policy/v1"),
        ("1.23", "autoscaling/v2", "policy/v1"),
        ("newest", "autoscaling/v2", "policy/v1"),
    ],
)
def test_the_version_decides_the_apis(minor: str, hpa: str, budget: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["deploy", "render", "-f", str(EXAMPLES / "service.yaml"), "--kube-version", minor]) == 0
    found = {item["kind"]: item["apiVersion"] for item in yaml.safe_load_all(capsys.readouterr().out)}
    assert (found["HorizontalPodAutoscaler"], found["PodDisruptionBudget"]) == (hpa, budget)


@pytest.mark.process
def test_it_takes_less_than_a_second_of_processor_time() -> None:
    words = [sys.executable, "-m", "tandem.cli.main", "deploy", "render", "-f", str(EXAMPLES / "service.yaml")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_files_keep_their_names_when_other_steps_come_and_go() -> None:
    names = {step.name: step.number for step in render(example("service"), minor=37)}
    fewer = {step.name: step.number for step in render(described(), minor=37)}
    assert fewer.items() <= names.items()
    assert list(names.values()) == sorted(names.values())


def test_several_front_doors_serve_no_batches_unless_they_share_a_folder() -> None:
    def folder(**changes: Any) -> Any:
        text = objects(described(**changes))["ConfigMap", "qwen-config"]["data"]["service.yaml"]
        return yaml.safe_load(text)["Frontend"].get("batch-folder")

    assert folder() is None
    assert folder(roles__processor={"replicas": 2}) == "off"
    assert folder(roles__processor={"scaling": {"max": 2, "cpu": 70}}) == "off"
    assert folder(roles__processor={"replicas": 2}, front={"settings": {"batch-folder": "/shared"}}) == "/shared"
