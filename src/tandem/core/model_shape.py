"""What of a model decides whether it fits: weights, KV bytes per token, context. Values only.

`tandem.core.model_config` makes them from a model's own description, `tandem.core.model_fit` reckons with
them. What cannot be told from the description is None, with the reason beside it: never a guess.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The tensors of a folder, by their files' headers."""

    files: int
    disk_bytes: int
    """Bytes of tensors in the files."""
    parameters: int | None
    """Numbers that were trained, packed ones unpacked; None if the files' format does not tell."""
    by_dtype: dict[str, int]
    """Bytes per dtype, as safetensors spells it (`BF16`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvLayers:
    """Some layers that all keep the same for each token."""

    layers: int
    heads: int
    """KV heads; 1 for a latent that all heads share (MLA), which each rank then holds in full."""
    head_bytes: int
    """Bytes that one head of one layer keeps for one token, K and V together."""
    window_tokens: int | None = None
    """Tokens that are kept at most; None keeps the whole context."""

    def bytes_per_token(self, tensor_parallel: int = 1) -> int:
        """Bytes on one rank. Fewer heads than ranks are copied, not split."""
        return self.layers * max(1, -(-self.heads // tensor_parallel)) * self.head_bytes

    def bytes_of(self, tokens: int, tensor_parallel: int = 1) -> int:
        """Bytes on one rank for one sequence of so many tokens."""
        kept = tokens if self.window_tokens is None else min(tokens, self.window_tokens)
        return kept * self.bytes_per_token(tensor_parallel)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """A model as far as memory is concerned."""

    architecture: str
    """First of `architectures` in config.json; empty if it names none."""
    model_type: str
    dtype: str
    """Of the weights as an engine loads them: bfloat16, float16, …"""
    quantization: str = ""
    """`quant_method`, or empty."""
    weights: Weights
    loaded_bytes: int
    """Bytes of the weights in an engine's memory: a float32 checkpoint is loaded at half its size."""
    kv: tuple[KvLayers, ...] = ()
    kv_unknown: str = ""
    """Why KV bytes cannot be told; empty if `kv` is right."""
    max_context_tokens: int | None = None
    attention_heads: int | None = None
    hidden_size: int = 0
    intermediate_size: int = 0
    vocab_size: int = 0

    @property
    def kv_bytes_per_token(self) -> int | None:
        """KV bytes of one more token while no window is full, over all ranks without copies; None if not known."""
        return None if self.kv_unknown else sum(part.bytes_per_token() for part in self.kv)

    def kv_bytes(self, context_tokens: int, tensor_parallel: int = 1) -> int | None:
        """KV bytes on one rank for one sequence of so many tokens; None if not known."""
        if self.kv_unknown:
            return None
        return sum(part.bytes_of(context_tokens, tensor_parallel) for part in self.kv)
