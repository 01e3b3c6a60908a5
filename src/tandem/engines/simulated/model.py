"""What a simulated engine costs and what it says: geometry, a model of time, and a model of tokens.

Tokens come from a running value over every token before them. A KV block carries that value as its
content, so text made from a wrong, stale or lost block differs from the right text at once.
"""

import functools
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tandem.core.request import Sampling, TokenLogprobs

_PRIME = (1 << 61) - 1
_BASE = 1_000_003_000_217
_MASK = (1 << 64) - 1
_WORD = re.compile("Ġ?[A-Za-z]+")
_CANDIDATES = 8
"""How many next tokens have a probability worth the name; the r-th has 2^-r."""

EMPTY = 1
"""The running value before the first token."""


def fold(value: int, token_id: int) -> int:
    """The running value after one more token."""
    return (value * _BASE + token_id + 1) % _PRIME


def mix(value: int) -> int:
    """Spread a value over 64 bits (splitmix64)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """Seconds of one engine step: a fixed part, and a part per unit of work in it."""

    decode_step_s: float
    decode_seq_s: float
    prefill_tokens_per_s: float
    speedup: float

    def seconds(self, *, prefill_tokens: int, decode_seqs: int) -> float:
        """Prefill in a step delays every decode in it: that is why the two are worth keeping apart."""
        cost = prefill_tokens / self.prefill_tokens_per_s
        if decode_seqs:
            cost += self.decode_step_s + self.decode_seq_s * decode_seqs
        return cost / self.speedup


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What the model folder says about itself; any file may be missing."""

    vocabulary: tuple[int, ...]
    """Tokens worth saying: plain words where the tokenizer can be read, so that answers look like text."""
    eos_token_ids: tuple[int, ...]
    max_position_embeddings: int
    kv_bytes_per_token: int


@functools.lru_cache(maxsize=8)
def read_model_files(model_path: str) -> ModelFiles:
    """Read config, generation config and tokenizer, once for all engines of a process."""
    config = _json(model_path, "config.json")
    eos = _json(model_path, "generation_config.json").get("eos_token_id", config.get("eos_token_id", 2))
    eos_ids = tuple(eos) if isinstance(eos, list) else (int(eos),)
    tokenizer = _json(model_path, "tokenizer.json")
    words = tokenizer.get("model", {}).get("vocab", {})
    names = words.items() if isinstance(words, dict) else ()
    special = {int(added["id"]) for added in tokenizer.get("added_tokens", [])} | set(eos_ids)
    vocabulary = tuple(sorted(id_ for name, id_ in names if id_ not in special and _WORD.fullmatch(name)))
    heads = int(config.get("num_attention_heads", 8))
    head_dim = int(config.get("head_dim") or config.get("hidden_size", 1024) // heads)
    return ModelFiles(
        vocabulary=vocabulary or tuple(i for i in range(3, int(config.get("vocab_size", 4096))) if i not in special),
        eos_token_ids=eos_ids,
        max_position_embeddings=int(config.get("max_position_embeddings", 32_768)),
        kv_bytes_per_token=2
        * 2
        * int(config.get("num_hidden_layers", 16))
        * int(config.get("num_key_value_heads", heads))
        * head_dim,
    )


def _json(folder: str, name: str) -> dict[str, Any]:
    path = Path(folder, name)
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


@dataclass(slots=True)
class TokenModel:
    """Draws the next token from the running value."""

    files: ModelFiles
    eos_rate: float
    """Share of positions at which the model would end by itself."""
    random: Random
    """For requests that are sampled without a seed."""

    def draw(self, value: int, sampling: Sampling, *, generated: int) -> tuple[int, TokenLogprobs | None]:
        """The next token after `value`, and its log probabilities if asked for.

        Args:
            value: running value over all tokens so far.
            generated: tokens already generated for this request.
        """
        ranked = self._ranked(value, sampling, generated=generated)
        place = 0
        if sampling.temperature > 0:
            bits = self.random.getrandbits(64) if sampling.seed is None else mix(value ^ mix(sampling.seed))
            bits |= 1 << (min(_CANDIDATES, len(ranked)) - 1)
            place = (bits & -bits).bit_length() - 1  # trailing zeros: place r with probability 2^-(r+1)
        token, logprob = ranked[place]
        if sampling.logprobs is None:
            return token, None
        return token, TokenLogprobs(logprob, place + 1, ranked[: sampling.logprobs])

    def prompt_logprobs(self, values: list[int], prompt: list[int], count: int) -> list[TokenLogprobs | None]:
        """One entry per prompt token; the first has nothing before it."""
        out: list[TokenLogprobs | None] = [None]
        for value, token in zip(values, prompt[1:], strict=False):
            ranked = self._ranked(value, Sampling(max_tokens=1), generated=0)
            place = next((i for i, (id_, _) in enumerate(ranked) if id_ == token), len(ranked))
            out.append(TokenLogprobs(-math.log(2) * (place + 1), place + 1, ranked[:count]))
        return out

    def _ranked(self, value: int, sampling: Sampling, *, generated: int) -> list[tuple[int, float]]:
        words = self.files.vocabulary
        start = mix(value)
        count = max(_CANDIDATES, sampling.logprobs or 0)
        found = {words[(start + rank) % len(words)]: -math.log(2) * (rank + 1) for rank in range(count)}
        endings: set[int] = set()
        if generated < sampling.min_tokens:
            endings = {*self.files.eos_token_ids, *sampling.stop_token_ids}
        elif not sampling.ignore_eos and mix(start) < self.eos_rate * 2**64:
            found = {self.files.eos_token_ids[0]: -0.01} | {id_: logprob - 5 for id_, logprob in found.items()}
        for id_, bias in (sampling.logit_bias or {}).items():
            found[id_] = found.get(id_, -20.0) + bias
        ranked = sorted(
            ((id_, min(p, 0.0)) for id_, p in found.items() if id_ not in endings), key=lambda pair: -found[pair[0]]
        )
        return ranked or [(words[start % len(words)], 0.0)]
