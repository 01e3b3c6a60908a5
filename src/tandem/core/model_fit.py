"""Does a model fit GPUs of some size, for so many contexts at once? Pure arithmetic, with its reason.

Weights are shared out over the ranks; KV heads are too until there are fewer than ranks. Besides both an
engine needs room for a step of a prefill and for its runtime: `reserve_bytes` estimates that.
"""

from dataclasses import dataclass
from typing import Any

from tandem.core.model_shape import ModelShape

RUNTIME_BYTES = 1 << 30
"""CUDA context, kernels, graphs and communication buffers of one rank, about."""
STEP_TOKENS = 8192
"""Tokens of the largest step: vLLM's default `max-num-batched-tokens` on large GPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One model on one kind of GPU, all figures for one rank."""

    fits: bool
    weight_bytes: int
    kv_bytes: int | None
    """Of all contexts asked for; None if the model's KV cannot be reckoned."""
    reserve_bytes: int
    usable_bytes: int
    most_contexts: int | None
    """Contexts of the length asked for that fit at once; None if KV is unknown."""
    why: str
    """The sentence why it does not fit, or what the answer leaves out; empty if it fits."""


def fit(
    shape: ModelShape,
    *,
    gpu_bytes: int,
    tensor_parallel: int = 1,
    context_tokens: int,
    concurrency: int = 1,
    memory_share: float = 0.9,
    step_tokens: int = STEP_TOKENS,
) -> Fit:
    """Reckon one case.

    Args:
        gpu_bytes: memory of one GPU.
        context_tokens: prompt and answer together, of each request.
        concurrency: requests that keep their KV at the same time.
        memory_share: `gpu-memory-utilization`.
        step_tokens: `max-num-batched-tokens`.
    """
    weights = -(-shape.loaded_bytes // tensor_parallel)
    reserve = reserve_bytes(shape, tensor_parallel, step_tokens=min(step_tokens, context_tokens * concurrency))
    usable = int(gpu_bytes * memory_share)
    each = shape.kv_bytes(context_tokens, tensor_parallel)
    left = usable - weights - reserve
    most = None if each is None else max(0, left // each) if each else concurrency
    impossible = _impossible(shape, tensor_parallel, context_tokens)
    most = 0 if impossible else most
    why = (
        impossible
        or _weights_short(shape, gpu_bytes, tensor_parallel, usable, weights, reserve)
        or _kv_short(context_tokens, concurrency, each, left, most)
    )
    fits = not why
    if fits and each is None:
        why = f"the weights fit, the KV cache is not known: {shape.kv_unknown}"
    kv = None if each is None else each * concurrency
    return Fit(
        fits=fits,
        weight_bytes=weights,
        kv_bytes=kv,
        reserve_bytes=reserve,
        usable_bytes=usable,
        most_contexts=most,
        why=why,
    )


def reserve_bytes(shape: ModelShape, tensor_parallel: int, *, step_tokens: int = STEP_TOKENS) -> int:
    """What a rank needs besides weights and KV: the runtime, and the activations of its largest step."""
    per_token = 2 * (4 * shape.hidden_size + 2 * -(-shape.intermediate_size // tensor_parallel))
    logits = 4 * 256 * -(-shape.vocab_size // tensor_parallel)  # 256 sequences, as vLLM profiles on a start
    return RUNTIME_BYTES + step_tokens * per_token + logits


def smallest_tensor_parallel(shape: ModelShape, **case: Any) -> int:
    """The fewest GPUs, a power of two up to 64, that hold it; 0 if none do. `case` is what `fit` takes besides."""
    return next((ranks for ranks in (1, 2, 4, 8, 16, 32, 64) if fit(shape, tensor_parallel=ranks, **case).fits), 0)


def _impossible(shape: ModelShape, ranks: int, context: int) -> str:
    if shape.attention_heads and shape.attention_heads % ranks:
        return f"{shape.attention_heads} attention heads cannot be shared out over {ranks} GPUs"
    heads = {part.heads for part in shape.kv if part.heads > 1}
    if odd := next((count for count in heads if count % ranks and ranks % count), 0):
        return f"{odd} KV heads cannot be shared out over {ranks} GPUs"
    if shape.max_context_tokens and context > shape.max_context_tokens:
        return f"the model takes {shape.max_context_tokens} tokens of context, not {context}"
    return ""


def _weights_short(shape: ModelShape, gpu: int, ranks: int, usable: int, weights: int, reserve: int) -> str:
    if weights + reserve <= usable:
        return ""
    gpus = f"{ranks} GPU{'s' if ranks > 1 else ''} of {gb(gpu)}"
    if weights > usable:
        return f"{gb(shape.loaded_bytes)} of weights do not fit {gpus} ({gb(usable * ranks)} usable)"
    return (
        f"{gb(shape.loaded_bytes)} of weights leave no room on {gpus} ({gb(usable * ranks)} usable) "
        f"for the {gb(reserve)} that each needs to work"
    )


def _kv_short(context: int, concurrency: int, each: int | None, left: int, most: int | None) -> str:
    if each is None or most is None or most >= concurrency:
        return ""
    return (
        f"{concurrency} × {context} tokens need {gb(each * concurrency)} of KV cache on each GPU, "
        f"{gb(left)} are left after the weights: room for {most}"
    )


def gb(count: int) -> str:
    """Bytes in GB (10⁹), with one decimal."""
    return f"{count / 1e9:.1f} GB"
