"""Headers of safetensors files: which tensors, how many bytes, and whether the file is all there."""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem.errors import ModelBroken

_MOST_HEADER_BYTES = 100_000_000
"""What the format itself allows."""
_SCALES = ("scale", "scales", "scale_inv", "zeros", "zero_point", "g_idx", "absmax", "quant_map", "global_scale")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as its file's header describes it."""

    name: str
    dtype: str
    numbers: int
    bytes: int


def read_header(path: Path) -> list[Tensor]:
    """A file's tensors, without reading them.

    Raises:
        ModelBroken: it is no safetensors file, or shorter or longer than its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= _MOST_HEADER_BYTES:
            raise ModelBroken(f"{path} is no safetensors file: it does not begin with a header")
        text = file.read(length)
    if len(text) < length:
        raise ModelBroken(f"{path} is cut off inside its header, at {size} bytes")
    try:
        described = json.loads(text)
        tensors = [_tensor(name, each) for name, each in described.items() if name != "__metadata__"]
        end = max((each["data_offsets"][1] for name, each in described.items() if name != "__metadata__"), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ModelBroken(f"{path} is no safetensors file: its header cannot be read") from error
    whole = 8 + length + end
    if size < whole:
        raise ModelBroken(f"{path} is cut off: {size} bytes of {whole}")
    if size > whole:
        raise ModelBroken(f"{path} has {size - whole} bytes more than its header describes")
    return tensors


def parameters_of(tensors: list[Tensor], quantization: Mapping[str, Any]) -> int | None:
    """Numbers that were trained: packed ones unpacked, scales left out; None if the packing is not known."""
    total = 0
    for tensor in tensors:
        if tensor.name.rsplit(".", 1)[-1].endswith(_SCALES):
            continue
        factor = _packed(tensor, quantization)
        if factor is None:
            return None
        total += tensor.numbers * factor
    return total


def _packed(tensor: Tensor, quantization: Mapping[str, Any]) -> int | None:
    """Trained numbers in each stored one."""
    if tensor.dtype not in ("I32", "U8", "I64"):
        return 1
    method, last = quantization.get("quant_method"), tensor.name.rsplit(".", 1)[-1]
    if tensor.dtype == "I32" and last in ("qweight", "weight_packed"):
        bits = quantization.get("bits") or _group_bits(quantization)
        return 32 // bits if isinstance(bits, int) and bits and 32 % bits == 0 else None
    if tensor.dtype == "U8" and (last.endswith("_blocks") or method in ("mxfp4", "modelopt", "nvfp4")):
        return 2
    if tensor.dtype == "U8" and method == "compressed-tensors" and last == "weight_packed":
        return 2
    if last in ("weight_shape", "num_batches_tracked", "position_ids"):
        return 0
    return None if method else 1


def _group_bits(quantization: Mapping[str, Any]) -> object:
    groups = quantization.get("config_groups")
    if not isinstance(groups, Mapping):
        return None
    found = {g.get("weights", {}).get("num_bits") for g in groups.values() if isinstance(g, Mapping)}
    return found.pop() if len(found) == 1 else None


def _tensor(name: str, described: Mapping[str, Any]) -> Tensor:
    begin, end = described["data_offsets"]
    if not 0 <= begin <= end:
        raise ValueError(name)
    return Tensor(name, str(described["dtype"]), math.prod(described["shape"]), end - begin)
