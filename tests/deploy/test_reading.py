"""A description's faults: all of them at once, each with its path and what would mend it."""

import re
from typing import Any

import pytest
import yaml
from tests.deploy.builders import described, document

from tandem.deploy.check import notices
from tandem.deploy.reading import read_description
from tandem.errors import ConfigError


def faults(**changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as told:
        read_description(yaml.safe_dump(document(**changes)), "service.yaml")
    return [line.removeprefix("service.yaml: ") for line in str(told.value).splitlines()]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"nmae": "x"}, "nmae is not known; did you mean name?"),
        (
            {"roles__decoder__tensorParallel": 2},
            "roles.decoder.tensorParallel is not known; did you mean tensor-parallel?",
        ),
        ({"roles__decoder": None}, "roles.decoder is missing"),
        (
            {"model__storage": {"kind": "os"}},
            "model.storage.kind must be one of oss, nfs, host-path, pvc, storage-class",
        ),
        ({"model__storage": {"kind": "oss", "bukcet": "b"}}, "model.storage.bukcet is not known; did you mean bucket?"),
        (
            {"model__storage": {"kind": ["nfs"]}},
            "model.storage.kind must be one of oss, nfs, host-path, pvc, storage-cl",
        ),
        ({"model__storage": {"kind": {"a": 1}}}, "model.storage.kind must be one of oss, nfs, host-path, pvc, storage"),
        ({"name": "qwen\n"}, r"name is 'qwen\n'; lower-case letters, digits and inner dashes, at most 40"),
        ({"roles__decoder__memory": "8Gi\n"}, r"roles.decoder.memory is '8Gi\n'; write a size such as 30Gi"),
        ({"roles__decoder__memory": "0Gi"}, "roles.decoder.memory is '0Gi'; write a size such as 30Gi"),
        ({"model__storage": {"kind": "nfs", "server": "s"}}, "model.storage.path is missing"),
        ({"roles__decoder__gpus": "two"}, "roles.decoder.gpus must be a whole number, is 'two'"),
        ({"roles__decoder__gpus": True}, "roles.decoder.gpus must be a whole number, is True"),
        ({"roles__decoder__replicas": -1}, "roles.decoder.replicas must be at least 0, is -1"),
        ({"roles__decoder__memory": "50 GB"}, "roles.decoder.memory is '50 GB'; write a size such as 30Gi"),
        ({"name": "Qwen"}, "name is 'Qwen'; lower-case letters, digits and inner dashes, at most 40"),
        ({"roles__decoder": []}, "roles.decoder must be a mapping, is []"),
        ({"image-pull-secrets": "x"}, "image-pull-secrets must be a list, is 'x'"),
        ({"metrics": {"autoscaler": "vpa"}}, "metrics.autoscaler must be one of hpa, keda, is 'vpa'"),
        ({"roles__decoder__cpu": []}, "roles.decoder.cpu must be text or a number, is []"),
        ({"roles__decoder__cpu": -1}, "roles.decoder.cpu is -1; write a number such as 12, or 500m"),
        ({"roles__decoder__cpu": "12 cores"}, "roles.decoder.cpu is '12 cores'; write a number such as 12, or 500m"),
        ({"roles__processor": {"cpu": 0}}, "roles.processor.cpu is 0; write a number such as 12, or 500m"),
        ({"roles__decoder__env": {"A": 1}}, "roles.decoder.env.A must be text, or {secret: …, key: …}, is 1"),
        ({"engine__settings": {5: "x"}}, 'engine.settings: the key 5 must be text; write "5"'),
        ({"roles__decoder__env": {"A": {"secret": "s"}}}, "roles.decoder.env.A.key is missing"),
        (
            {"roles__decoder__env": {"A": {"secert": "s"}}},
            "roles.decoder.env.A.secert is not known; did you mean secret",
        ),
    ],
)
def test_what_has_not_the_right_form_is_named(changes: dict[str, Any], fault: str) -> None:
    found = faults(**{key.replace("-", "_"): value for key, value in changes.items()})
    assert any(line.startswith(fault) for line in found), found


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"image": ""}, "image is empty"),
        ({"name": "3b-chat"}, "name is '3b-chat': the Service is called so, and must begin with a letter"),
        ({"model__path": "models/q"}, "model.path is 'models/q': pods need an absolute path"),
        (
            {"roles__decoder": {"gpus": 2, "tensor-parallel": 4}},
            "roles.decoder: tensor-parallel needs 4 GPUs, gpus is 2",
        ),
        (
            {"roles__decoder": {"gpus": 4, "workers": 3, "tensor-parallel": 2}},
            "roles.decoder: tensor-parallel needs 3 x 2",
        ),
        ({"roles__decoder": {"gpus": 0, "tensor-parallel": 2}}, "roles.decoder: tensor-parallel is 2 and gpus is 0"),
        (
            {"roles__prefill__scaling": {"min": 3, "max": 2, "cpu": 70}},
            "roles.prefill.scaling: max is 2, less than min 3",
        ),
        ({"roles__prefill__scaling": {"min": 2, "max": 4, "cpu": 70}}, "roles.prefill.replicas is 1; scaling keeps it"),
        ({"roles__prefill__scaling": {"max": 4}}, "roles.prefill.scaling names no signal"),
        ({"roles__prefill__scaling": {"max": 4, "queue-seconds": 1}}, "roles.prefill.scaling.queue-seconds comes from"),
        ({"roles__processor": {"scaling": {"max": 4, "kv-use": 0.5}}}, "roles.processor.scaling.kv-use is a figure of"),
        (
            {"model__storage": {"kind": "storage-class", "size": "9Gi", "source": "Qwen/Qwen3"}},
            "model.storage.source is 'Qwen/Qwen3': write modelscope://",
        ),
        (
            {
                "model__storage": {
                    "kind": "storage-class",
                    "size": "9Gi",
                    "source": "hf://a/b",
                    "access-mode": "ReadOnlyMany",
                }
            },
            "model.storage.access-mode is ReadOnlyMany, and the Job that pulls the model has to write",
        ),
        (
            {"roles__decoder": {"gpus": 1, "more-resources": {"nvidia.com/gpu": 3}}},
            "roles.decoder.more-resources.nvidia.com/gpu is what gpus says; take it out",
        ),
        ({"planes": {"etcd": {"members": 2}}}, "planes.etcd.members is 2"),
        ({"front": {"settings": {"api-key": "secretword"}}}, "front.settings.api-key would be readable by everybody"),
        ({"front": {"settings": {"api_keys": "secretword"}}}, "front.settings.api_keys would be readable by everybody"),
        ({"planes": {"etcd": {"endpoints": ["http://u:secretword@e:1"]}}}, "planes.etcd.endpoints[0] holds a password"),
        (
            {"model__storage": {"kind": "oss", "bucket": "b", "path": "/m", "endpoint": "https://u:secretword@oss"}},
            "model.storage.endpoint holds a password: model.storage.secret names the Secret with the keys",
        ),
        ({"metrics": {"prometheus": "http://u:secretword@p:9090"}}, "metrics.prometheus must be http://HOST:PORT or"),
        ({"metrics": {"prometheus": "p:9090"}}, "metrics.prometheus must be http://HOST:PORT or https://, without a"),
        ({"planes": {"nats": {"server": "nats://u:secretword@n"}}}, "planes.nats.server must be nats://"),
        ({"engine": {"settings": {"model": "x"}}}, "engine.settings.model is written by `tandem deploy` itself"),
        ({"engine": {"settings": {"served_model_name": "x"}}}, "engine.settings.served_model_name is written by"),
        ({"roles__decoder": {"settings": {"tensor_parallel_size": 8}}}, "roles.decoder.settings.tensor_parallel_size"),
        ({"front": {"settings": {"port": 9000}}}, "front.settings.port is not for a description"),
        ({"engine": {"kind": "simulated", "loader": "fastsafetensors"}}, "engine.loader is for vLLM"),
        (
            {"engine": {"settings": {"max_model_len": "lots"}}},
            "engine.settings.max_model_len is 'lots'; write a number",
        ),
        ({"engine": {"settings": {"max-model-len": 0}}}, "engine.settings.max-model-len is 0; write a number"),
        (
            {"roles__decoder": {"settings": {"gpu-memory-utilization": 7}}},
            "roles.decoder.settings.gpu-memory-utilization is 7; write a share",
        ),
        (
            {"model__storage": {"kind": "storage-class", "size": "9Gi"}, "model__cache": {}},
            "model.cache needs a model that is stored already",
        ),
    ],
)
def test_what_cannot_come_out_is_named(changes: dict[str, Any], fault: str) -> None:
    found = faults(**changes)
    assert any(line.startswith(fault) for line in found), found
    assert "secretword" not in "".join(found)


def test_all_faults_are_told_together() -> None:
    found = faults(nmae="x", image=7, roles__decoder__gpus="two", roles__prefill__replicas=-1)
    assert len(found) == 4


def test_a_file_that_is_no_description_says_so() -> None:
    for text, words in (
        ("- a", "a description is a mapping"),
        ("a: [", "is not YAML"),
        ("", "a description is a mapping"),
        ("name: a\nimage: i\nname: b", "service.yaml: name stands on line 1 and again on line 3; keep one"),
    ):
        with pytest.raises(ConfigError, match=re.escape(words)):
            read_description(text, "service.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "service.yaml is not YAML: line 2, column 1: did not find expected node content"),
        ("a: b: c", "service.yaml is not YAML: line 1, column 5: mapping values are not allowed in this context"),
        ("a: !!python/object:os.system x", "service.yaml is not YAML: line 1, column 4: could not determine a"),
        ("a: \x00", "service.yaml is not YAML: unacceptable character #x0000: control characters are not allowed"),
        ("a: 2026-13-01", "service.yaml: a value does not read (month must be in 1..12); put text in quotes"),
    ],
)
def test_what_is_no_yaml_is_one_sentence_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        read_description(text, "service.yaml")
    assert str(told.value).startswith(sentence)
    assert "\n" not in str(told.value)


def test_a_secret_in_the_environment_is_noticed_and_one_from_a_secret_is_not() -> None:
    found = notices(described(roles__decoder={"env": {"HF_TOKEN": "x", "TOKENIZERS_PARALLELISM": "false"}}))
    assert found == [
        "roles.decoder.env.HF_TOKEN looks like a secret, and everybody who may see pods would read it: "
        "write HF_TOKEN: {secret: NAME, key: KEY}"
    ]
    assert notices(described(roles__decoder={"env": {"HF_TOKEN": {"secret": "hub", "key": "token"}}})) == []


def test_a_secret_in_the_settings_is_noticed_and_the_number_of_tokens_is_not() -> None:
    settings = {"hf-token": "secretword", "max-num-batched-tokens": 8192, "enable-prompt-tokens-details": True}
    for found in (notices(described(engine={"settings": settings})), notices(described(router={"settings": settings}))):
        assert len(found) == 1
        assert "settings.hf-token looks like a secret, and everybody who may see ConfigMaps would read it" in found[0]
        assert "secretword" not in found[0]
    assert "roles.decoder.settings.hf-token" in notices(described(roles__decoder={"settings": settings}))[0]
    assert notices(described(engine={"settings": {"hf-token": True}})) == []


def test_gpus_that_idle_are_noticed() -> None:
    assert notices(described(roles__decoder={"gpus": 2, "tensor-parallel": 1})) == [
        "roles.decoder: 1 of 2 GPUs of each pod are used; the others idle"
    ]


def test_tensor_parallel_is_all_of_a_pods_gpus_unless_said_otherwise() -> None:
    assert notices(described(roles__decoder={"gpus": 8}, roles__prefill={"gpus": 8, "workers": 4})) == []
