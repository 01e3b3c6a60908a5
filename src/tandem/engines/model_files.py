"""What a model folder says about itself, read without any model library."""

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem.core.model_config import kv_layers

_SOME_KV_BYTES_PER_TOKEN = 64 << 10
"""Of a model that does not tell: 16 layers of 8 heads of 128, K and V of 2 bytes."""
_WORD = re.compile("Ġ?[A-Za-z]+")
_THOUGHT_TAGS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What the model folder says about itself; any file may be missing."""

    vocabulary: tuple[int, ...]
    """Tokens worth saying: plain words where the tokenizer can be read, so that answers look like text."""
    eos_token_ids: tuple[int, ...]
    max_position_embeddings: int
    kv_bytes_per_token: int
    thought_tags: tuple[str, str] | None = None
    """What thoughts stand between, where both are tokens of their own."""


@functools.lru_cache(maxsize=8)
def read_model_files(model_path: str) -> ModelFiles:
    """Read config, generation config and tokenizer, once for all engines of a process."""
    config = read_config(model_path)
    eos = _json(model_path, "generation_config.json").get("eos_token_id", config.get("eos_token_id", 2))
    eos_ids = tuple(eos) if isinstance(eos, list) else (int(eos),)
    tokenizer = _json(model_path, "tokenizer.json")
    words = tokenizer.get("model", {}).get("vocab", {})
    names = words.items() if isinstance(words, dict) else ()
    added_texts = {added.get("content") for added in tokenizer.get("added_tokens", [])}
    special = {int(added["id"]) for added in tokenizer.get("added_tokens", [])} | set(eos_ids)
    vocabulary = tuple(sorted(id_ for name, id_ in names if id_ not in special and _WORD.fullmatch(name)))
    return ModelFiles(
        vocabulary=vocabulary or tuple(i for i in range(3, int(config.get("vocab_size", 4096))) if i not in special),
        eos_token_ids=eos_ids,
        max_position_embeddings=int(config.get("max_position_embeddings", 32_768)),
        kv_bytes_per_token=sum(part.bytes_per_token() for part in kv_layers(config)) or _SOME_KV_BYTES_PER_TOKEN,
        thought_tags=next((tags for tags in _THOUGHT_TAGS if added_texts.issuperset(tags)), None),
    )


def read_config(model_path: str) -> dict[str, Any]:
    """The model's config.json; empty where there is none here."""
    return _json(model_path, "config.json")


def _json(folder: str, name: str) -> dict[str, Any]:
    path = Path(folder, name)
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}
