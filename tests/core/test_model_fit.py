"""What a config says about memory, and whether that fits. Configs as their makers publish them, shortened."""

from typing import Any

import pytest

from tandem.core.model_config import Incomplete, kv_layers, shape_of
from tandem.core.model_fit import fit, smallest_tensor_parallel
from tandem.core.model_shape import ModelShape, Weights

QWEN3_32B: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 5120, "num_hidden_layers": 64,
    "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 25600,
    "vocab_size": 151936, "max_position_embeddings": 40960, "torch_dtype": "bfloat16", "sliding_window": None,
    "use_sliding_window": False,
}  # fmt: skip
DEEPSEEK_V3: dict[str, Any] = {
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_size": 7168,
    "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128, "kv_lora_rank": 512,
    "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128, "moe_intermediate_size": 2048,
    "num_experts_per_tok": 8, "intermediate_size": 18432, "vocab_size": 129280, "torch_dtype": "bfloat16",
    "max_position_embeddings": 163840, "quantization_config": {"quant_method": "fp8"},
}  # fmt: skip
GPT_OSS_20B: dict[str, Any] = {
    "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "hidden_size": 2880, "num_hidden_layers": 24,
    "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "sliding_window": 128, "vocab_size": 201088,
    "layer_types": ["sliding_attention", "full_attention"] * 12, "max_position_embeddings": 131072,
    "quantization_config": {"quant_method": "mxfp4"},
}  # fmt: skip
MISTRAL_7B: dict[str, Any] = {
    "model_type": "mistral", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "sliding_window": 4096, "max_position_embeddings": 32768,
}  # fmt: skip
GB32 = 32607 << 20
"""An RTX 5090, as its driver counts."""
GB80 = 81559 << 20
"""An H100."""


def a_shape(config: dict[str, Any], gigabytes: float = 65.52, dtype: str = "BF16") -> ModelShape:
    total = int(gigabytes * 1e9)
    return shape_of(config, Weights(files=1, disk_bytes=total, parameters=total // 2, by_dtype={dtype: total}))


@pytest.mark.parametrize(
    ("config", "bytes_per_token"),
    [
        (QWEN3_32B, 2 * 64 * 8 * 128 * 2),
        (DEEPSEEK_V3, 61 * (512 + 64) * 2),
        ({**DEEPSEEK_V3, "model_type": "deepseek_v32", "index_topk": 2048, "index_head_dim": 128}, 61 * (1152 + 132)),
        (GPT_OSS_20B, 2 * 24 * 8 * 64 * 2),
        (MISTRAL_7B, 2 * 32 * 8 * 128 * 2),
        ({"text_config": QWEN3_32B, "model_type": "wrapper"}, 2 * 64 * 8 * 128 * 2),
        (
            {"model_type": "falcon", "num_hidden_layers": 32, "num_attention_heads": 71, "hidden_size": 4544,
             "multi_query": True},
            2 * 32 * 1 * 64 * 2,
        ),
        ({"model_type": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768}, 2 * 12 * 12 * 64 * 2),
    ],
)  # fmt: skip
def test_kv_bytes_per_token_follow_the_kind_of_attention(config: dict[str, Any], bytes_per_token: int) -> None:
    assert sum(part.bytes_per_token() for part in kv_layers(config)) == bytes_per_token


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"kv_lora_rank": 256, "model_type": "minicpm3"}, "kv_lora_rank"),
        ({"layer_types": ["linear_attention", "full_attention"] * 32}, "linear_attention"),
        ({"linear_num_value_heads": 32}, "linear_num_value_heads"),
        ({"hybrid_override_pattern": "M-M*"}, "hybrid_override_pattern"),
        ({"num_kv_shared_layers": 10}, "num_kv_shared_layers"),
        ({"v_head_dim": 96}, "v_head_dim"),
        ({"is_encoder_decoder": True}, "encoder"),
        ({"layer_types": ["full_attention"] * 3}, "names 3 layers of 64"),
    ],
)
def test_a_cache_of_another_kind_is_unknown_and_says_why(extra: dict[str, Any], named: str) -> None:
    shape = a_shape({**QWEN3_32B, **extra})
    assert shape.kv_bytes_per_token is None
    assert named in shape.kv_unknown
    found = fit(shape, gpu_bytes=GB80, tensor_parallel=2, context_tokens=2048)
    assert found.fits
    assert found.kv_bytes is None
    assert "the KV cache is not known" in found.why


@pytest.mark.parametrize("absent", ["num_key_value_heads", "head_dim", "num_attention_heads"])
def test_what_a_config_leaves_to_the_models_class_is_not_guessed(absent: str) -> None:
    with pytest.raises(Incomplete, match=absent):
        a_shape({key: value for key, value in QWEN3_32B.items() if key != absent})
    with pytest.raises(Incomplete, match="layer_types"):
        a_shape({**QWEN3_32B, "model_type": "new", "sliding_window": 4096, "use_sliding_window": True})


def test_windows_bound_what_a_long_context_keeps() -> None:
    mistral, gpt_oss = a_shape(MISTRAL_7B, 14.5), a_shape(GPT_OSS_20B, 13.8, "U8")
    assert mistral.kv_bytes(32768) == 4096 * 131072
    assert gpt_oss.kv_bytes(131072) == 12 * 2048 * 128 + 12 * 2048 * 131072
    gemma2 = kv_layers({**MISTRAL_7B, "model_type": "gemma2", "num_hidden_layers": 42})
    assert {part.window_tokens: part.layers for part in gemma2} == {4096: 21, None: 21}


def test_heads_are_shared_out_until_there_are_fewer_than_ranks_and_a_latent_never_is() -> None:
    qwen, deepseek = a_shape(QWEN3_32B), a_shape(DEEPSEEK_V3, 688.6, "F8_E4M3")
    assert [qwen.kv_bytes(1000, ranks) for ranks in (1, 2, 8, 16)] == [262_144_000, 131_072_000, 32_768_000, 32_768_000]
    assert deepseek.kv_bytes(1000, 8) == deepseek.kv_bytes(1000, 1) == 70_272_000


def test_the_guides_contradiction_is_caught_before_a_pod_is() -> None:
    shape = a_shape(QWEN3_32B)
    one = fit(shape, gpu_bytes=GB32, tensor_parallel=1, context_tokens=2048)
    two = fit(shape, gpu_bytes=GB32, tensor_parallel=2, context_tokens=2048)
    assert one.why == "65.5 GB of weights do not fit 1 GPU of 34.2 GB (30.8 GB usable)"
    assert two.why == "65.5 GB of weights do not fit 2 GPUs of 34.2 GB (61.5 GB usable)"
    assert smallest_tensor_parallel(shape, gpu_bytes=GB32, context_tokens=2048) == 4
    assert smallest_tensor_parallel(shape, gpu_bytes=GB80, context_tokens=2048) == 1


def test_too_many_contexts_are_refused_with_the_number_that_fits() -> None:
    found = fit(a_shape(QWEN3_32B), gpu_bytes=GB80, tensor_parallel=1, context_tokens=32768, concurrency=16)
    assert not found.fits
    assert found.most_contexts == 1
    assert found.why.startswith("16 × 32768 tokens need 137.4 GB of KV cache on each GPU")
    assert found.why.endswith("room for 1")


@pytest.mark.parametrize(
    ("ranks", "context", "why"),
    [
        (3, 2048, "64 attention heads cannot be shared out over 3 GPUs"),
        (8, 65536, "the model takes 40960 tokens of context, not 65536"),
    ],
)
def test_what_no_engine_could_do_is_said_first(ranks: int, context: int, why: str) -> None:
    assert fit(a_shape(QWEN3_32B), gpu_bytes=GB80, tensor_parallel=ranks, context_tokens=context).why == why


def test_float32_weights_are_loaded_at_half_their_size_and_quantised_ones_as_they_are() -> None:
    assert a_shape({**QWEN3_32B, "torch_dtype": "float32"}, 8, "F32").loaded_bytes == 4_000_000_000
    assert a_shape(DEEPSEEK_V3, 688.6, "F8_E4M3").loaded_bytes == 688_600_000_000
