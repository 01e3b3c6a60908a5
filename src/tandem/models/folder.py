"""A model folder becomes a `ModelShape`: config.json, and the headers of its weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tandem.core.model_config import Config, Incomplete, shape_of
from tandem.core.model_shape import ModelShape, Weights
from tandem.errors import ModelBroken
from tandem.models.headers import Tensor, parameters_of, read_header
from tandem.models.manifest import refuse_half

INDEX = "model.safetensors.index.json"


def read_model(folder: Path) -> ModelShape:
    """What a folder says about the memory its model needs. Opens headers only: fast for any size.

    Raises:
        ModelBroken: no model, half of one, or a shard that is missing or cut off.
    """
    refuse_half(folder)
    config = _json(folder / "config.json")
    try:
        weights = read_weights(folder, config)
        try:
            return shape_of(config, weights)
        except Incomplete:
            return shape_of(_completed(config), weights, complete=True)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelBroken(f"{folder / 'config.json'} has a value that cannot be: {error}") from error


def read_weights(folder: Path, config: Config) -> Weights:
    """The tensors of the files that an engine would load."""
    shards = _shards(folder)
    if not shards:
        return _other_weights(folder)
    tensors: list[Tensor] = []
    for path in shards:
        tensors += read_header(path)
    by_dtype: dict[str, int] = {}
    for tensor in tensors:
        by_dtype[tensor.dtype] = by_dtype.get(tensor.dtype, 0) + tensor.bytes
    quantization = config.get("quantization_config") or {}
    return Weights(
        files=len(shards),
        disk_bytes=sum(by_dtype.values()),
        parameters=parameters_of(tensors, quantization if isinstance(quantization, Mapping) else {}),
        by_dtype=by_dtype,
    )


def _shards(folder: Path) -> list[Path]:
    """The safetensors files that belong to the model: those of the index, if there is one."""
    if (folder / INDEX).is_file():
        named = _json(folder / INDEX).get("weight_map")
        names = sorted({str(name) for name in named.values()}) if isinstance(named, dict) else []
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise ModelBroken(
                f"{folder} lacks {len(missing)} of the {len(names)} shards that {INDEX} names, {missing[0]} first"
            )
        if names:
            return [folder / name for name in names]
    found = sorted(folder.glob("*.safetensors"))
    own = [path for path in found if not path.name.startswith("consolidated")]
    return own or found


def _other_weights(folder: Path) -> Weights:
    for pattern in ("*.bin", "*.pt", "*.gguf"):
        if found := [path for path in folder.glob(pattern) if path.stat().st_size > 1 << 16]:
            total = sum(path.stat().st_size for path in found)
            return Weights(files=len(found), disk_bytes=total, parameters=None, by_dtype={})
    raise ModelBroken(f"{folder} holds no weights: no *.safetensors, *.bin, *.pt or *.gguf")


def _completed(config: Config) -> Config:
    """The config with what its class in transformers fills in; itself where transformers does not know it."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    model_type = config.get("model_type")
    if model_type not in CONFIG_MAPPING:
        return config
    try:
        found: dict[str, Any] = CONFIG_MAPPING[model_type].from_dict(dict(config)).to_dict()
    except Exception as error:  # a class may raise whatever its checks raise
        why = " ".join(str(error).split())
        raise ModelBroken(f"transformers cannot read config.json as {model_type!r}: {why}") from error
    return {**found, "architectures": config.get("architectures")}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelBroken(f"{path.parent} is no model folder: it has no {path.name}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelBroken(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ModelBroken(f"{path} holds no JSON object")
    return found
