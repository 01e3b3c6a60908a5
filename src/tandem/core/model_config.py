"""A model's config.json, read for what it says about memory. Pure: dictionaries in, values out.

Only forms that are known to be right are reckoned. Whatever hints at another one (a recurrent state,
layers of different width, a latent of an unknown kind) makes the KV cache unknown, and names the key.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tandem.core.model_shape import KvLayers, ModelShape, Weights

Config = Mapping[str, Any]

_TEXT = ("text_config", "llm_config", "language_config", "thinker_config")
_OF_THE_WHOLE = ("architectures", "dtype", "torch_dtype", "quantization_config")
_KV_HEADS = ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num", "num_attention_groups")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")
_CONTEXT = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "max_seq_len", "n_ctx")

_LATENT = {
    "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "glm_moe_dsa", "kimi_k2", "pangu_ultra_moe",
}  # fmt: skip
"""Model types whose KV engines keep as one latent per token (MLA)."""
_INDEXED = {"deepseek_v32", "glm_moe_dsa"}
"""Those of them that keep a key of 8-bit numbers beside it, to choose tokens by."""
_RECURRENT = (
    "layers_block_type", "hybrid_override_pattern", "attn_layer_period", "linear_num_value_heads", "linear_attn_config",
    "full_attention_interval", "mamba_d_state", "mamba_n_heads", "mamba_d_conv", "ssm_state_size", "ssm_cfg",
    "state_size", "conv_L_cache", "lru_width", "time_mix_extra_dim", "decay_low_rank_dim", "qk_dim_factor",
)  # fmt: skip
_UNEVEN = (
    "block_configs", "compress_ratios", "num_kv_shared_layers", "global_head_dim", "num_global_key_value_heads",
    "swa_num_key_value_heads", "swa_head_dim", "hybrid_layer_pattern", "attention_other_setting",
    "num_key_value_heads_per_layer", "cla_share_factor", "use_cla",
)  # fmt: skip
_KINDS = {"full_attention", "sliding_attention", "chunked_attention"}
_ALTERNATING = {"gemma2": 2, "gemma3_text": 6, "cohere2": 4}
"""Model types that say `sliding_window` and leave to the code that each n-th layer keeps everything."""
_ALL_SLIDE = {"mistral", "mixtral", "phi3", "phimoe", "starcoder2"}
"""Model types whose every layer slides when `sliding_window` is set."""


_SPLIT = {"llama", "mistral", "mixtral", "qwen2", "qwen2_moe"}
"""Model types whose heads share the hidden size out where no `head_dim` is given."""


class Incomplete(Exception):
    """A key that the model's own class would fill in is missing; the message names it."""


def text_config(config: Config) -> dict[str, Any]:
    """The part about the language model, with what only the whole says."""
    for key in _TEXT:
        inner = config.get(key)
        if isinstance(inner, Mapping):
            return text_config({**{key: config[key] for key in _OF_THE_WHOLE if key in config}, **inner})
    return dict(config)


def shape_of(config: Config, weights: Weights, *, complete: bool = False) -> ModelShape:
    """What a config and weights say together.

    Args:
        complete: the model's class has filled in its defaults, so that what is absent is not there.
    Raises:
        Incomplete: config.json leaves to the model's class what is needed here; not if `complete`.
    """
    text = text_config(config)
    named = config.get("architectures") or text.get("architectures") or [""]
    stored = str(_first(text, ("dtype", "torch_dtype")) or _first(config, ("dtype", "torch_dtype")) or "")
    quantization = config.get("quantization_config") or text.get("quantization_config") or {}
    loaded, dtype = _as_loaded(weights, stored, bool(quantization))
    kv, unknown = _kv(text, 2, complete)
    experts = _number(text, ("moe_intermediate_size",)) * _number(text, ("num_experts_per_tok",))
    return ModelShape(
        architecture=str(named[0]),
        model_type=str(config.get("model_type", "")),
        dtype=dtype,
        quantization=str(quantization.get("quant_method", "")) if isinstance(quantization, Mapping) else "",
        weights=weights,
        loaded_bytes=loaded,
        kv=kv,
        kv_unknown=unknown,
        max_context_tokens=_context(text),
        attention_heads=_number(text, _HEADS) or None,
        hidden_size=_number(text, _HIDDEN),
        intermediate_size=max(_number(text, ("intermediate_size", "n_inner", "ffn_hidden_size")), experts),
        vocab_size=_number(text, ("vocab_size",)),
    )


def kv_layers(config: Config, *, dtype_bytes: int = 2) -> tuple[KvLayers, ...]:
    """What each token leaves in the KV cache, as far as config.json tells; empty if it does not."""
    return _kv(text_config(config), dtype_bytes, complete=True)[0]


def _kv(text: dict[str, Any], dtype_bytes: int, complete: bool) -> tuple[tuple[KvLayers, ...], str]:
    try:
        if reason := _unknown(text):
            return (), reason
        return _parts(text, dtype_bytes, complete), ""
    except Incomplete as missing:
        if complete:
            return (), f"config.json does not say {missing}"
        raise


def _parts(text: dict[str, Any], dtype_bytes: int, complete: bool) -> tuple[KvLayers, ...]:
    layers = _needed(text, _LAYERS)
    if text.get("kv_lora_rank"):
        latent = (int(text["kv_lora_rank"]) + _needed(text, ("qk_rope_head_dim",))) * dtype_bytes
        if text.get("model_type") in _INDEXED:
            index = _needed(text, ("index_head_dim",))
            latent += index + 4 * (index // 128)  # and a scale for each 128 of them
        return (KvLayers(layers=layers, heads=1, head_bytes=latent),)
    heads = _needed(text, _HEADS)
    head_dim = _number(text, ("head_dim", "hidden_size_per_head", "kv_channels"))
    if not head_dim and not complete and text.get("model_type") not in _SPLIT:
        raise Incomplete("head_dim")
    head_bytes = 2 * (head_dim or _needed(text, _HIDDEN) // heads) * dtype_bytes
    kv_heads = _kv_heads(text, heads, complete)
    return tuple(
        KvLayers(layers=count, heads=kv_heads, head_bytes=head_bytes, window_tokens=window)
        for window, count in sorted(_windows(text, layers).items(), key=lambda kind: kind[0] or 0)
        if count
    )


def _unknown(text: dict[str, Any]) -> str:
    for key in _RECURRENT:
        if text.get(key):
            return f"it keeps a recurrent state besides the KV cache ({key})"
    for key in _UNEVEN:
        if text.get(key):
            return f"its layers do not all keep the same ({key})"
    kinds = text.get("layer_types")
    if isinstance(kinds, list) and kinds:
        indexed = {"indexed_attention"} if text.get("model_type") in _INDEXED else set()
        if strange := sorted({str(kind) for kind in kinds} - _KINDS - indexed):
            return f"its layers are of kinds not known here (layer_types: {', '.join(strange)})"
        if len(kinds) != _number(text, _LAYERS):
            return f"layer_types names {len(kinds)} layers of {_number(text, _LAYERS)}"
    if text.get("is_encoder_decoder"):
        return "it is an encoder and a decoder, which keeps the encoder's states too"
    if text.get("kv_lora_rank") and text.get("model_type") not in _LATENT:
        return f"it keeps a latent of a kind not known here (kv_lora_rank, model_type {text.get('model_type')!r})"
    if text.get("index_topk") and text.get("model_type") not in _INDEXED:
        return "it keeps an index of a kind not known here (index_topk)"
    if not text.get("kv_lora_rank") and text.get("v_head_dim") not in (None, text.get("head_dim")):
        return "its K and V are not of one width (v_head_dim)"
    return ""


def _windows(text: dict[str, Any], layers: int) -> Mapping[int | None, int]:
    """How many layers keep how many tokens."""
    window, chunk = text.get("sliding_window"), text.get("attention_chunk_size")
    kinds = text.get("layer_types")
    if isinstance(kinds, list) and kinds:
        sizes = {"full_attention": None, "sliding_attention": window, "chunked_attention": chunk}
        return Counter(int(size) if (size := sizes[kind]) else None for kind in kinds)
    if chunk:
        raise Incomplete("which layers keep everything (layer_types)")
    if not window or text.get("use_sliding_window") is False:
        return {None: layers}
    model_type = str(text.get("model_type"))
    if every := text.get("sliding_window_pattern") or _ALTERNATING.get(model_type):
        whole = layers // int(every)
        return {None: whole, int(window): layers - whole}
    if model_type in _ALL_SLIDE:
        return {int(window): layers}
    raise Incomplete("which layers keep everything (layer_types)")


def _kv_heads(text: dict[str, Any], heads: int, complete: bool) -> int:
    if text.get("multi_query") and not text.get("new_decoder_architecture"):
        return 1
    attention = text.get("attn_config")
    if isinstance(attention, Mapping) and attention.get("kv_n_heads"):
        return int(attention["kv_n_heads"])
    found = _number(text, _KV_HEADS)
    if not found and not complete:
        raise Incomplete("num_key_value_heads")
    return found or heads


def _context(text: dict[str, Any]) -> int | None:
    found = _number(text, _CONTEXT)
    scaling = text.get("rope_parameters") or text.get("rope_scaling")
    if found and isinstance(scaling, Mapping) and "gemma3" not in str(text.get("model_type")):
        kind = scaling.get("rope_type", scaling.get("type"))
        if kind in ("linear", "dynamic"):  # others say their full length in max_position_embeddings
            return int(found * float(scaling.get("factor") or 1))
    return found or None


def _as_loaded(weights: Weights, stored: str, quantized: bool) -> tuple[int, str]:
    """Bytes and dtype in an engine: it loads float32 as 16 bits, and leaves the rest as it is."""
    wide = weights.by_dtype.get("F32", 0)
    name = stored.removeprefix("torch.")
    if not name and weights.by_dtype:
        most = max(weights.by_dtype, key=lambda dtype: weights.by_dtype[dtype])
        name = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}.get(most, most.lower())
    if name == "float32" and not quantized:
        return weights.disk_bytes - wide // 2, "bfloat16"
    return weights.disk_bytes, name


def _needed(text: dict[str, Any], names: tuple[str, ...]) -> int:
    if not (found := _number(text, names)):
        raise Incomplete(names[0])
    return found


def _number(text: Config, names: tuple[str, ...]) -> int:
    found = _first(text, names)
    return int(found) if isinstance(found, int | float) else 0


def _first(text: Config, names: tuple[str, ...]) -> Any:
    return next((text[name] for name in names if text.get(name) is not None), None)
