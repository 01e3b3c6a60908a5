"""Sections and environment become settings: precedence, faults, names."""

import pytest

from tandem.errors import ConfigError
from tandem.settings import DisaggSettings, FrontendSettings, PlaneSettings, RouterSettings, WorkerSettings
from tandem.settings.document import load_deployment
from tandem.settings.overrides import take_overrides
from tandem.settings.resolve import Resolver, did_you_mean


def resolved(cls: type, text: str = "", *flags: str, section: str = "S", **environ: str) -> tuple[object, Resolver]:
    overrides, _ = take_overrides(flags)
    deployment = load_deployment(text, origin="c.yaml", overrides=overrides)
    resolver = Resolver(environ)
    return resolver.settings(cls, deployment.section(section)), resolver


@pytest.mark.parametrize(
    ("text", "flags", "environ", "value", "origin"),
    [
        ("", (), {}, 60.0, "default"),
        ("S: {prefill-timeout-s: 5}", (), {}, 5.0, "c.yaml: S"),
        ("S: {prefill_timeout_s: 5}", (), {"DYNAMO_RP_TIMEOUT": "60"}, 60.0, "environment DYNAMO_RP_TIMEOUT"),
        ("S: {prefill-timeout-s: 5}", ("--S.prefill-timeout-s=7",), {"DYNAMO_RP_TIMEOUT": "60"}, 7.0,
         "flag --S.prefill-timeout-s"),
    ],
)  # fmt: skip
def test_flag_beats_environment_beats_file_beats_default(
    text: str, flags: tuple[str, ...], environ: dict[str, str], value: float, origin: str
) -> None:
    settings, resolver = resolved(DisaggSettings, text, *flags, **environ)
    assert isinstance(settings, DisaggSettings)
    assert settings.prefill_timeout_s == value
    assert [o.origin for o in resolver.origins if o.key == "prefill-timeout-s"] == [origin]


@pytest.mark.parametrize(("written", "value"), [("false", False), ("'off'", False), ("true", True), ("'True'", True)])
def test_conditional_disagg_false_is_off(written: str, value: bool) -> None:
    settings, resolver = resolved(DisaggSettings, f"S: {{conditional-disagg: {written}}}")
    assert isinstance(settings, DisaggSettings)
    assert settings.conditional_disagg is value
    assert not resolver.faults


def test_a_transfer_config_is_not_encoded_twice() -> None:
    deployment = load_deployment("""S: {kv-transfer-config: '{"kv_connector": "X"}'}""")
    assert deployment.section("S").values["kv_transfer_config"].value == '{"kv_connector": "X"}'


def test_all_faults_are_reported_together() -> None:
    deployment = load_deployment(
        "Frontend: {port: x, prot: 1}\nWorker: {model: m, remote-prefil: true}", origin="c.yaml"
    )
    resolver = Resolver({"DYNAMO_RP_TIMEOUT": "soon"})
    resolver.settings(FrontendSettings, deployment.section("Frontend"))
    resolver.unknown(deployment.section("Frontend"), [FrontendSettings])
    resolver.settings(DisaggSettings, deployment.section("Worker"))
    resolver.unknown(deployment.section("Worker"), [WorkerSettings, DisaggSettings])
    with pytest.raises(ConfigError) as raised:
        resolver.raise_faults()
    lines = str(raised.value).splitlines()
    assert lines == [
        "c.yaml, line 1: Frontend: port = 'x' must be a whole number",
        "c.yaml, line 1: Frontend: unknown key 'prot'; did you mean 'port'?",
        "environment DYNAMO_RP_TIMEOUT: DYNAMO_RP_TIMEOUT = 'soon' must be a number",
        "c.yaml, line 2: Worker: unknown key 'remote-prefil'; did you mean 'remote-prefill'?",
    ]


def test_a_model_path_that_is_not_set_is_a_fault() -> None:
    _, resolver = resolved(WorkerSettings, "S: {}")
    assert resolver.faults == ["S: model is not set"]


def test_secrets_are_not_shown() -> None:
    _, resolver = resolved(PlaneSettings, NATS_AUTH_PASSWORD="hush", NATS_SERVER="nats://n:4222")
    assert "hush" not in str(resolver.origins)


@pytest.mark.parametrize("password", ["s3cret", "s3/cret", "s3@cret:"])
def test_passwords_in_addresses_are_not_shown(password: str) -> None:
    who = f"root:{password}@"
    right = {"ETCD_ENDPOINTS": f"http://a:1,http://{who}b:2", "NATS_SERVER": f"nats://{who}n:4222"}
    wrong = {"ETCD_ENDPOINTS": f"http://http://{who}b:2", "NATS_SERVER": f"{who}n:4222"}
    for environ in (right, wrong):
        _, resolver = resolved(PlaneSettings, **environ)
        assert "cret" not in str(resolver.origins) + str(resolver.faults)
    assert len(resolver.faults) == 2


def test_etcd_endpoints_are_a_list() -> None:
    settings, _ = resolved(PlaneSettings, ETCD_ENDPOINTS="http://a:2379, http://b:2379")
    assert isinstance(settings, PlaneSettings)
    assert settings.etcd_endpoints == ("http://a:2379", "http://b:2379")


def test_dynamo_namespace_moves_no_endpoint() -> None:
    settings, _ = resolved(PlaneSettings, DYNAMO_NAMESPACE="default", DYNAMO_NAME="dynamo")
    assert isinstance(settings, PlaneSettings)
    assert (settings.namespace, settings.deployment_namespace, settings.name) == ("dynamo", "default", "dynamo")


def test_service_args_are_checked_like_the_rest() -> None:
    deployment = load_deployment(
        "S: {ServiceArgs: {workers: 2, resources: {gpu: 1, cpu: 10, gpus: 2}, envs: {A: 1, B: true}, worker: 1,"
        " dynamo: {namespace: n}}}"
    )
    resolver = Resolver({})
    args = resolver.service_args(deployment.section("S"))
    assert (args.workers, args.resources.gpu, args.resources.cpu, args.namespace) == (2, 1, "10", "n")
    assert args.envs == {"A": "1", "B": "true"}
    assert resolver.faults == [
        "S.ServiceArgs: unknown key 'worker'; did you mean 'workers'?",
        "S.ServiceArgs.resources: unknown key 'gpus'; did you mean 'gpu'?",
    ]


def test_service_args_of_another_kind_are_told_field_by_field() -> None:
    text = "S:\n  ServiceArgs:\n    workers: many\n    envs: 3\n    resources: {gpu: two}\n"
    text += "T: {ServiceArgs: {resources: 4}}"
    resolver = Resolver({})
    deployment = load_deployment(text, origin="c.yaml")
    for name in "ST":
        resolver.service_args(deployment.section(name))
    assert resolver.faults == [
        "c.yaml, line 2: S.ServiceArgs.envs = 3 must be a mapping",
        "c.yaml, line 2: S.ServiceArgs.resources.gpu = 'two' must be a whole number",
        "c.yaml, line 2: S.ServiceArgs.workers = 'many' must be a whole number",
        "c.yaml, line 6: T.ServiceArgs.resources = 4 must be a mapping",
    ]


@pytest.mark.parametrize(
    ("cls", "written", "fault"),
    [
        (DisaggSettings, "remote-prefill: maybe", "remote-prefill = 'maybe' must be true or false"),
        (WorkerSettings, "model: m, lora-modules: {a: 1}",
         "lora-modules = {'a': 1} must be a list, or text with commas between"),
        (RouterSettings, "session-affinity: strong", "session-affinity = 'strong' must be 'off', 'soft' or 'hard'"),
        (PlaneSettings, "nats-token: [hush]", "nats-token = (hidden) must be text"),
        (DisaggSettings, "max-local-prefill-length: -4", "max-local-prefill-length must not be negative"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_told_with_its_line_and_what_is_wanted(cls: type, written: str, fault: str) -> None:
    _, resolver = resolved(cls, f"# first\nS: {{{written}}}")
    assert resolver.faults == [f"c.yaml, line 2: S: {fault}"]


@pytest.mark.parametrize(("name", "near"), [("Prot", "'port'"), ("max_model_length", "'max-model-len'")])
def test_the_nearest_name_is_offered(name: str, near: str) -> None:
    assert near in did_you_mean(name, ["port", "host", "max_model_len"])
