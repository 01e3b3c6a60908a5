"""Does the model fit the GPUs that a description gives it? Asked before a pod is made; `core.model_fit` answers."""

from collections.abc import Iterator, Mapping
from typing import Any

from tandem.core.model_fit import fit, smallest_tensor_parallel
from tandem.core.model_shape import ModelShape, Weights
from tandem.deploy.check import tensor_parallel
from tandem.deploy.description import Description, StorageClass, Worker
from tandem.deploy.quantities import gigabytes, size_bytes
from tandem.settings.fields import normalise

_SHARE, _CONTEXT, _STEP = 0.9, 4096, 8192
"""What engines take where nothing is said: vLLM's own defaults, and a modest context."""


def told_shape(wish: Description) -> ModelShape | None:
    """The model as far as the description itself tells: the size of its weights."""
    if wish.model.weights is None:
        return None
    count = size_bytes(wish.model.weights)
    return ModelShape(
        architecture="",
        model_type="",
        dtype="",
        quantization="",
        weights=Weights(files=0, disk_bytes=count, parameters=None, by_dtype={}),
        loaded_bytes=count,
        kv=(),
        kv_unknown="only the size of the weights is known",
        max_context_tokens=None,
        attention_heads=None,
        hidden_size=0,
        intermediate_size=0,
        vocab_size=0,
    )


def fit_faults(wish: Description, shape: ModelShape) -> Iterator[str]:
    """Why a new volume or a role cannot hold the model, and what would."""
    storage, stored = wish.model.storage, shape.weights.disk_bytes
    if isinstance(storage, StorageClass) and size_bytes(storage.size) < stored:
        yield f"model.storage.size is {storage.size}, and the weights alone take {gigabytes(stored)}"
    for name, worker in wish.workers().items():
        if not worker.gpus or worker.gpu_memory is None:
            continue
        memory, ranks = size_bytes(worker.gpu_memory), tensor_parallel(worker)
        context = int(_setting(wish, worker, "max-model-len") or min(_CONTEXT, shape.max_context_tokens or _CONTEXT))
        case: dict[str, Any] = {
            "gpu_bytes": memory,
            "context_tokens": context,
            "memory_share": float(_setting(wish, worker, "gpu-memory-utilization") or _SHARE),
            "step_tokens": int(_setting(wish, worker, "max-num-batched-tokens") or _STEP),
        }
        found = fit(shape, tensor_parallel=ranks, **case)
        if not found.fits:
            yield f"roles.{name}: {found.why}{_hint(shape, ranks, case)}"


def _hint(shape: ModelShape, ranks: int, case: Mapping[str, Any]) -> str:
    least = smallest_tensor_parallel(shape, **case)
    if least > ranks:
        return f"; tensor-parallel: {least} would hold it, with gpus: {least}"
    too_long = shape.max_context_tokens and case["context_tokens"] > shape.max_context_tokens
    return "" if least or too_long else "; no number of such GPUs up to 64 holds it"


def _setting(wish: Description, worker: Worker, key: str) -> float | None:
    """A number that is written, in either spelling; `auto` and `32k` are the engine's to read."""
    written = {normalise(each): value for each, value in (wish.engine.settings | worker.settings).items()}
    value = written.get(normalise(key))
    return value if isinstance(value, int | float) and value > 0 else None
