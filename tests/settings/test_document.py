"""The configuration as written: common keys, overrides, shapes."""

import pytest

from tandem.errors import ConfigError
from tandem.settings.argv import as_args
from tandem.settings.document import load_deployment
from tandem.settings.overrides import take_overrides

GUIDE = """
Common:
  model: /models/Qwen3-32B/
  kv-transfer-config: '{"kv_connector":"DynamoNixlConnector"}'
  router: round-robin
  block-size: 128
  max-model-len: 2048
  max-num-batched-tokens: 2048
  disable-log-requests: true
Frontend:
  served_model_name: qwen
  endpoint: dynamo.Processor.chat/completions
  port: 8000
Processor:
  common-configs: [model, router]
VllmWorker:
  common-configs: [model, kv-transfer-config, router, block-size, max-model-len, disable-log-requests]
  remote-prefill: true
  conditional-disagg: false
  gpu-memory-utilization: 0.95
  tensor-parallel-size: 1
  ServiceArgs: {workers: 1, resources: {gpu: 1}}
PrefillWorker:
  common-configs:
    - model
    - kv-transfer-config
    - block-size
    - max-model-len
    - max-num-batched-tokens
    - gpu-memory-utilization
    - disable-log-requests
  tensor-parallel-size: 1
  gpu-memory-utilization: 0.95
  ServiceArgs: {workers: 1, resources: {gpu: 1}}
"""

MODEL = "--model /models/Qwen3-32B/"
TRANSFER = '--kv-transfer-config {"kv_connector":"DynamoNixlConnector"}'
WORKED = {
    "Frontend": "--served_model_name qwen --endpoint dynamo.Processor.chat/completions --port 8000",
    "Processor": f"{MODEL} --router round-robin",
    "Router": "",
    "VllmWorker": "--remote-prefill --conditional-disagg false --gpu-memory-utilization 0.95 "
    f"--tensor-parallel-size 1 {MODEL} {TRANSFER} --router round-robin --block-size 128 --max-model-len 2048 "
    "--disable-log-requests",
    "PrefillWorker": f"--tensor-parallel-size 1 --gpu-memory-utilization 0.95 {MODEL} {TRANSFER} "
    "--block-size 128 --max-model-len 2048 --max-num-batched-tokens 2048 --disable-log-requests",
}
"""The guide's YAML as the argument lists of its time."""


@pytest.mark.parametrize("service", WORKED)
def test_the_guides_sections_become_the_arguments_of_old(service: str) -> None:
    deployment = load_deployment(GUIDE, origin="qwen3.yaml")
    assert " ".join(as_args(deployment.section(service))) == WORKED[service]


def test_a_common_name_that_common_lacks_is_named_in_a_notice() -> None:
    notices = load_deployment(GUIDE, origin="qwen3.yaml").notices
    assert len(notices) == 1
    assert "PrefillWorker takes gpu-memory-utilization from Common, which does not have it" in notices[0]
    assert "its own value is used" in notices[0]


def test_a_sections_own_key_wins_over_the_common_one_in_either_spelling() -> None:
    text = "Common: {block-size: 16}\nVllmWorker: {common-configs: [block_size], block_size: 32}"
    assert load_deployment(text).section("VllmWorker").values["block_size"].value == 32


@pytest.mark.parametrize("spelling", [["--S.k=v"], ["--S.k", "=", "v"], ["--S.k", "v"]])
def test_an_override_has_three_spellings(spelling: list[str]) -> None:
    (override,), rest = take_overrides(["graph:S", *spelling, "-f", "c.yaml"])
    assert (override.service, override.path, override.value) == ("S", ("k",), "v")
    assert rest == ["graph:S", "-f", "c.yaml"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("2", 2), ("0.5", 0.5), ("true", True), ("[1, 2]", [1, 2]), ('{"a": 1}', {"a": 1}), ("kv", "kv"), ("-1", -1)],
)
def test_an_overrides_value_is_json_where_it_parses(text: str, value: object) -> None:
    assert take_overrides([f"--S.k={text}"])[0][0].value == value


def test_values_below_envs_stay_text() -> None:
    (override,), _ = take_overrides(["--S.ServiceArgs.envs.N=1"])
    assert override.value == "1"


@pytest.mark.parametrize("words", [["--S.k=-x"], ["--S.k", "--other"], ["--S.k"]])
def test_a_value_that_looks_like_a_flag_is_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="value"):
        take_overrides(words)


def test_overrides_merge_over_the_file_key_by_key() -> None:
    overrides, _ = take_overrides(
        ["--VllmWorker.ServiceArgs.resources.gpu=2", "--VllmWorker.tensor_parallel_size=2", "--New.key=1"]
    )
    deployment = load_deployment(GUIDE, origin="qwen3.yaml", overrides=overrides)
    worker = deployment.section("VllmWorker")
    assert worker.service_args == {"workers": 1, "resources": {"gpu": 2}}
    assert worker.values["tensor_parallel_size"].origin == "flag --VllmWorker.tensor_parallel_size"
    assert worker.values["tensor_parallel_size"].key == "tensor-parallel-size"
    assert deployment.section("New").values["key"].value == 1


def test_the_deployment_variable_replaces_file_and_flags() -> None:
    overrides, _ = take_overrides(["--Frontend.port=1"])
    deployment = load_deployment(GUIDE, overrides=overrides, replaced_by='{"Frontend": {"port": 9}}')
    assert deployment.document == {"Frontend": {"port": 9}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not YAML"),
        ("- a", "one mapping per service"),
        ("Frontend: 8000", "section Frontend must be a mapping"),
        ("Frontend: {common-configs: model}", "must be a list of names"),
        ("Frontend: {ServiceArgs: 3}", "must be a mapping"),
        (
            "Frontend:\n  port: 1\n  host: h\n  port: 2",
            "c.yaml: Frontend.port stands on line 2 and again on line 4; keep",
        ),
        ("A: 1\nA: 1", "c.yaml: A stands on line 1 and again on line 2; keep one"),
        ("A: {list: [{b: 1, b: 1}]}", r"A.list\[0\].b stands on line 1 and again"),
        ("A: &a {b: {c: *a}}", "c.yaml: A.b.c on line 1 leads back into itself; write out what is meant"),
        ("A: &a [*a]", r"c.yaml: A\[0\] on line 1 leads back into itself"),
        ("[\n" * 200_000, "c.yaml: line 101: more than 100 mappings and lists, one in another"),
    ],
)
def test_a_document_of_another_shape_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_deployment(text, origin="c.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("F:\n  port: [8000\nP: 1",
         "line 3, column 2: did not find expected ',' or ']', while parsing a flow sequence that begins on line 2; "
         "a list ends with ]"),
        ("F:\n\tport: 1",
         "line 2, column 1: found character that cannot start any token; indent with spaces, not tabs, and put such "
         "text in quotes"),
        ("F: a: b",
         "line 1, column 5: mapping values are not allowed in this context; put text with a colon in quotes"),
        ("a: 1\n---\nb: 2",
         "line 2, column 1: expected a single document in the stream, but found another document; one file holds one "
         "document"),
        ("a: *b", "line 1, column 4: found undefined alias"),
        ("a: \x01", "unacceptable character #x0001: control characters are not allowed"),
    ],
)  # fmt: skip
def test_what_is_not_yaml_is_told_in_one_sentence_with_its_place_and_the_remedy(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_deployment(text, origin="c.yaml")
    assert str(refused.value) == f"c.yaml is not YAML: {said}"


def test_a_date_that_is_none_is_refused_in_words() -> None:
    said = r"c.yaml: a value does not read \(month must be in 1..12\); put text in quotes"
    with pytest.raises(ConfigError, match=said):
        load_deployment("F: {served-model-name: 2001-13-45}", origin="c.yaml")


def test_a_key_may_replace_a_merged_one() -> None:
    text = "Base: &base {a: 1, b: 1}\nMiddle: &middle {<<: *base, a: 2}\nTop: {<<: [*middle], b: 3}"
    document = load_deployment(text).document
    assert document["Middle"] == {"a": 2, "b": 1}
    assert document["Top"] == {"a": 2, "b": 3}
