"""`tandem models inspect`: what a model is, what it needs in memory, and which GPUs hold it."""

import argparse
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tandem.cli.models_watch import size
from tandem.cli.table import table
from tandem.core.model_fit import Fit, fit
from tandem.core.model_shape import ModelShape
from tandem.errors import ConfigError
from tandem.models.architectures import why_no_engine
from tandem.models.folder import read_model
from tandem.models.gpus import GPUS, Gpu
from tandem.models.shelf import models_root

_CONTEXTS = (2048, 8192, 32768, 131072)
_RANKS = (1, 2, 4, 8)


def add_inspect(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "inspect",
        allow_abbrev=False,
        help="what a model needs in memory, and which GPUs hold it",
        description="Cells of the table tell how many requests of that context fit at once.",
    )
    parser.add_argument("model", metavar="MODEL", help="a folder, or a name that `tandem models ls` shows")
    parser.add_argument("--gpu", action="append", default=[], metavar="GPU", help="a name, or GB of memory; repeatable")
    parser.add_argument("--tensor-parallel", type=int, action="append", default=[], metavar="N", help="repeatable")
    parser.add_argument("--context", type=int, action="append", default=[], metavar="TOKENS", help="repeatable")
    parser.add_argument("--concurrency", type=int, default=1, metavar="N", help="requests at once (default: 1)")
    parser.add_argument("--memory-share", type=float, default=0.9, help="gpu-memory-utilization (default: 0.9)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=inspect)


def inspect(options: argparse.Namespace) -> int:
    """Print it. Exit status 1 if one GPU, one parallelism and one context were asked for and do not fit."""
    folder = Path(options.model)
    if not folder.is_dir() and "/" not in options.model:
        folder = models_root(os.environ, Path.home()) / options.model
    if not folder.is_dir():
        raise ConfigError(f"there is no model folder {options.model}")
    shape = read_model(folder)
    gpus = [gpu_named(text) for text in options.gpu] or list(GPUS)
    ranks = _positive("--tensor-parallel", options.tensor_parallel) or list(_RANKS)
    longest = shape.max_context_tokens or _CONTEXTS[-1]
    contexts = _positive("--context", options.context) or [n for n in _CONTEXTS if n < longest] + [longest]
    _positive("--concurrency", [options.concurrency])
    if not 0 < options.memory_share <= 1:
        raise ConfigError(f"--memory-share {options.memory_share} must be above 0 and at most 1")
    cases = {
        (gpu.name, n, context): fit(
            shape,
            gpu_bytes=gpu.bytes,
            tensor_parallel=n,
            context_tokens=context,
            concurrency=options.concurrency,
            memory_share=options.memory_share,
        )
        for gpu in gpus
        for n in ranks
        for context in contexts
    }
    one = next(iter(cases.values())) if len(cases) == 1 else None
    print(json.dumps(_as_json(folder, shape, cases)) if options.json else _as_text(folder, shape, cases, contexts))
    return 1 if one and not one.fits else 0


def gpu_named(text: str) -> Gpu:
    """A GPU by its name or its memory. Raises `ConfigError` with the names there are."""
    if found := re.fullmatch(r"(\d+(?:\.\d+)?) ?GB?", text, re.IGNORECASE):
        return Gpu(f"{found[1]} GB", int(float(found[1]) * 1e9) >> 20)
    plain = _bare(text)
    if plain and (matches := [gpu for gpu in GPUS if plain in (_bare(gpu.name), *map(_bare, gpu.name.split()))]):
        return matches[0]
    if plain and (matches := [gpu for gpu in GPUS if _bare(gpu.name).startswith(plain) and not plain.isdigit()]):
        return matches[0]
    raise ConfigError(f"--gpu {text}: known are {', '.join(gpu.name for gpu in GPUS)}, or GB of memory such as 32GB")


def _bare(name: str) -> str:
    return re.sub(r"\W", "", name).lower()


def _as_text(folder: Path, shape: ModelShape, cases: dict[tuple[str, int, int], Fit], contexts: Sequence[int]) -> str:
    lines = [f"{label:<20}{value}" for label, value in _facts(folder, shape)]
    if trouble := why_no_engine(shape.architecture):
        lines.append(f"\n{trouble}")
    rows = []
    for name, ranks in dict.fromkeys((name, ranks) for name, ranks, _ in cases):
        found = [cases[name, ranks, context] for context in contexts]
        rows.append((name, str(ranks), *(_cell(each) for each in found), found[0].why if not found[0].fits else ""))
    lines += ["", table(("GPU", "TP", *(f"{context:,}" for context in contexts), ""), rows), ""]
    lines.append("Cells: requests of so many tokens that fit at once; -: not one. An engine's own needs are estimated.")
    if shape.kv_unknown:
        lines.append(f"?: the weights fit; the KV cache is not known, for {shape.kv_unknown}.")
    return "\n".join(lines)


def _facts(folder: Path, shape: ModelShape) -> list[tuple[str, str]]:
    weights = shape.weights
    kinds = ", ".join(f"{name} {size(count)}" for name, count in sorted(weights.by_dtype.items()))
    kv = f"unknown: {shape.kv_unknown}" if shape.kv_unknown else f"{shape.kv_bytes_per_token:,} bytes per token"
    windows = [f"{part.layers} layers keep {part.window_tokens:,} tokens" for part in shape.kv if part.window_tokens]
    return [
        ("model", str(folder)),
        ("architecture", shape.architecture or "not named"),
        ("parameters", f"{weights.parameters:,}" if weights.parameters else "unknown: their format does not tell"),
        ("weights", f"{size(weights.disk_bytes)} in {weights.files} files ({kinds or 'not safetensors'})"),
        ("in memory", f"{size(shape.loaded_bytes)} as {shape.dtype or 'stored'}"
         + (f", quantised: {shape.quantization}" if shape.quantization else "")),
        ("KV cache", "; ".join([kv, *windows])),
        ("context", f"{shape.max_context_tokens:,} tokens" if shape.max_context_tokens else "not named"),
    ]  # fmt: skip


def _cell(found: Fit) -> str:
    if not found.fits:
        return "-" if not found.most_contexts else f"{found.most_contexts} only"
    return "?" if found.most_contexts is None else f"{found.most_contexts:,}"


def _as_json(folder: Path, shape: ModelShape, cases: dict[tuple[str, int, int], Fit]) -> dict[str, Any]:
    return {
        "path": str(folder),
        **asdict(shape),
        "kv_bytes_per_token": shape.kv_bytes_per_token,
        "no_engine": why_no_engine(shape.architecture),
        "fit": [
            {"gpu": gpu, "tensor_parallel": ranks, "context_tokens": context, **asdict(found)}
            for (gpu, ranks, context), found in cases.items()
        ],
    }


def _positive(flag: str, values: Sequence[int]) -> list[int]:
    if bad := [value for value in values if value < 1]:
        raise ConfigError(f"{flag} {bad[0]} must be at least 1")
    return list(values)
