"""The YAML's engine keys become vLLM's; what changes on the way is said once."""

import json
from pathlib import Path
from typing import Any

import pytest

from tandem.engines.ports import EngineSpec
from tandem.engines.vllm.aliases import ALIASES, IGNORED_ON_CPU, ONE_ON_CPU
from tandem.engines.vllm.args import EngineArgs, check_engine_keys, engine_args, known_engine_keys
from tandem.engines.vllm.keys import VLLM_KEYS
from tandem.errors import ConfigError


def args_of(
    *,
    cpu: bool = True,
    roles: tuple[Any, ...] = ("prefill", "decode"),
    model: str = "/models/none",
    **keys: Any,
) -> EngineArgs:
    spec = EngineSpec(model_path=model, served_model_name="qwen", roles=roles, engine_args=keys, handoff_lease_s=20)
    return engine_args(spec, cpu=cpu, engine_id="e1")


def test_the_guides_yaml_is_accepted_and_each_change_is_said() -> None:
    args = args_of(
        kv_transfer_config='{"kv_connector":"DynamoNixlConnector"}',
        block_size=128,
        max_model_len=2048,
        max_num_batched_tokens=2048,
        disable_log_requests=True,
        gpu_memory_utilization=0.95,
        tensor_parallel_size=1,
    )
    assert args.values["kv_transfer_config"]["kv_connector"] == "NixlConnector"
    assert "gpu_memory_utilization" not in args.values
    assert "disable_log_requests" not in args.values
    assert args.values["kv_cache_memory_bytes"] > 0
    assert args.values["enforce_eager"] is True
    told = "\n".join(args.notices)
    for word in ("DynamoNixlConnector", "disable-log-requests", "gpu-memory-utilization"):
        assert told.count(word) == 1
    assert len(args.notices) == 3


def test_a_gpu_keeps_its_settings() -> None:
    args = args_of(cpu=False, gpu_memory_utilization=0.95, tensor_parallel_size=2)
    assert args.values["gpu_memory_utilization"] == 0.95
    assert args.values["tensor_parallel_size"] == 2
    assert "enforce_eager" not in args.values
    assert "kv_cache_memory_bytes" not in args.values
    assert args.notices == []


def test_one_process_holds_the_model_on_a_cpu() -> None:
    args = args_of(tensor_parallel_size="2")
    assert args.values["tensor_parallel_size"] == 1
    assert "tensor-parallel-size 2 is 1 here" in args.notices[0]


@pytest.mark.parametrize(
    ("roles", "kv_role"),
    [(("prefill",), "kv_producer"), (("decode",), "kv_consumer"), (("prefill", "decode"), "kv_both")],
)
def test_an_engine_with_roles_gets_the_nixl_connector(roles: tuple[Any, ...], kv_role: str) -> None:
    config = args_of(roles=roles).values["kv_transfer_config"]
    assert config["kv_connector"] == "NixlConnector"
    assert config["kv_role"] == kv_role
    assert config["engine_id"] == "e1"
    assert config["kv_load_failure_policy"] == "fail"
    assert config["kv_connector_extra_config"]["kv_lease_duration"] == 20


def test_what_the_yaml_says_of_the_connector_is_kept() -> None:
    given = {"kv_connector": "NixlConnector", "kv_connector_extra_config": {"num_threads": 2, "kv_lease_duration": 7}}
    config = args_of(kv_transfer_config=given).values["kv_transfer_config"]
    assert config["kv_connector_extra_config"] == {"num_threads": 2, "kv_lease_duration": 7}


def test_another_connector_stands_beside_nixl() -> None:
    given = {"kv_connector": "OffloadingConnector", "kv_connector_extra_config": {"cpu_bytes_to_use": 1}}
    args = args_of(kv_transfer_config=json.dumps(given))
    config = args.values["kv_transfer_config"]
    assert config["kv_connector"] == "MultiConnector"
    assert [part["kv_connector"] for part in config["kv_connector_extra_config"]["connectors"]] == [
        "NixlConnector",
        "OffloadingConnector",
    ]
    assert "beside OffloadingConnector" in args.notices[0]


def test_an_aggregated_engine_has_no_nixl_connector() -> None:
    args = args_of(roles=(), kv_transfer_config='{"kv_connector":"NixlConnector"}')
    assert "kv_transfer_config" not in args.values
    assert "hands nothing over" in args.notices[0]
    assert args_of(roles=()).notices == []


def test_a_connector_that_is_no_json_is_refused() -> None:
    with pytest.raises(ConfigError, match="kv-transfer-config is not JSON"):
        args_of(kv_transfer_config="{nixl")
    with pytest.raises(ConfigError, match="is a JSON object"):
        args_of(kv_transfer_config="[1]")
    with pytest.raises(ConfigError, match="hf-overrides is a JSON object"):
        args_of(hf_overrides="[1]", rope_theta=5e5)


def test_rope_settings_go_to_the_models_configuration() -> None:
    args = args_of(rope_scaling='{"rope_type":"yarn","factor":4.0}', hf_overrides={"x": 1})
    assert args.values["hf_overrides"] == {"x": 1, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}
    model = str(Path(__file__).parents[2] / "models" / "tiny-qwen3")
    args = args_of(model=model, rope_scaling='{"rope_type":"yarn","factor":4.0}', hf_overrides='{"x": 1}')
    assert args.values["hf_overrides"] == {
        "x": 1,
        "max_position_embeddings": 4 * 8192,
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 8192,
            "rope_theta": 1e6,
        },
    }


def test_request_logging_can_still_be_asked_for() -> None:
    assert args_of(disable_log_requests=False).values["enable_log_requests"] is True


def test_unknown_keys_are_all_named_with_their_nearest_neighbours() -> None:
    with pytest.raises(ConfigError) as caught:
        check_engine_keys(["blocksize", "max_model_length", "block_size"])
    assert "blocksize (did you mean block-size?)" in caught.value.message
    assert "max-model-length (did you mean max-model-len?)" in caught.value.message
    assert caught.value.param == "blocksize"


def test_the_tables_speak_of_keys_that_exist() -> None:
    assert set(IGNORED_ON_CPU) | set(ONE_ON_CPU) <= VLLM_KEYS
    assert {alias.now for alias in ALIASES.values() if alias.now} <= VLLM_KEYS
    assert not set(ALIASES) & VLLM_KEYS, "an alias that vLLM knows again is never used"
    assert known_engine_keys() >= VLLM_KEYS


def test_an_unset_key_is_left_to_vllm() -> None:
    assert "max_num_seqs" not in args_of(max_num_seqs=None).values


def test_an_engine_knows_what_thoughts_stand_between_unless_the_yaml_says_so_itself() -> None:
    demo = str(Path(__file__).parents[2] / "models" / "tiny-qwen3")
    known = {"reasoning_start_str": "<think>", "reasoning_end_str": "</think>"}
    assert args_of(model=demo).values["reasoning_config"] == known
    assert "reasoning_config" not in args_of().values, "a model whose vocabulary has no such tokens"
    own = args_of(model=demo, reasoning_config='{"reasoning_start_str": "<a>", "reasoning_end_str": "</a>"}')
    assert "<a>" in own.values["reasoning_config"]
    assert "reasoning_config" not in args_of(model=demo, reasoning_parser="qwen3").values


def test_priorities_are_heeded_and_one_backend_enforces_every_grammar_unless_the_yaml_says_otherwise() -> None:
    values = args_of().values
    assert (values["scheduling_policy"], values["structured_outputs_config"]) == ("priority", {"backend": "xgrammar"})
    values = args_of(scheduling_policy="fcfs", structured_outputs_config='{"backend": "guidance"}').values
    assert (values["scheduling_policy"], values["structured_outputs_config"]) == ("fcfs", {"backend": "guidance"})
    with pytest.raises(ConfigError, match="JSON object"):
        args_of(structured_outputs_config="[]")
