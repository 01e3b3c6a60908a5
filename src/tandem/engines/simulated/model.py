"""What a simulated engine costs and what it says: geometry, a model of time, and a model of tokens.

Tokens come from a running value over every token before them. A KV block carries that value as its
content, so text made from a wrong, stale or lost block differs from the right text at once.
"""

import math
from dataclasses import dataclass
from random import Random

from tandem.core.request import Sampling, TokenLogprobs
from tandem.engines.model_files import ModelFiles

_PRIME = (1 << 61) - 1
_BASE = 1_000_003_000_217
_MASK = (1 << 64) - 1
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
        words = self.files.vocabulary
        if (
            sampling.logprobs is None
            and sampling.logit_bias is None
            and generated >= sampling.min_tokens
            and (sampling.ignore_eos or not self.eos_rate)
            and len(words) >= _CANDIDATES
        ):  # nothing moves a rank: no need to write all of them down
            return words[(mix(value) + self._place(value, sampling, _CANDIDATES)) % len(words)], None
        ranked = self._ranked(value, sampling, generated=generated)
        place = self._place(value, sampling, len(ranked))
        token, logprob = ranked[place]
        if sampling.logprobs is None:
            return token, None
        return token, TokenLogprobs(logprob, place + 1, ranked[: sampling.logprobs])

    def _place(self, value: int, sampling: Sampling, candidates: int) -> int:
        """Which rank is drawn."""
        if sampling.temperature <= 0:
            return 0
        bits = self.random.getrandbits(64) if sampling.seed is None else mix(value ^ mix(sampling.seed))
        bits |= 1 << (min(_CANDIDATES, candidates) - 1)
        return (bits & -bits).bit_length() - 1  # trailing zeros: place r with probability 2^-(r+1)

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
