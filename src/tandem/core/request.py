"""The life of a request, in tokens.

    accepted ─► routed ─► (queued ─► prefilled ─► handed off) ─► decoding ─► finish │ error │ cancel

The processor turns text into a `GenerateRequest`, a decode worker answers with a stream of
`GenerateOutput`, and the stream ends in exactly one of three ways: an output with a `finish_reason`
(finish), a `ServingError` (error), or the caller closing it (cancel). A stream that just stops is a
broken peer, never a finished answer.
"""

from collections.abc import Iterable
from typing import Final, Literal, cast

import msgspec

from tandem.core.story import Stage

FinishReason = Literal["stop", "length"]
GrammarKind = Literal["json_object", "json_schema", "regex", "choice", "grammar", "structural_tag"]


class Grammar(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A form that the output must have, enforced by the engine while it samples."""

    kind: GrammarKind
    value: str = ""
    """JSON schema text, pattern, JSON list of choices, EBNF, or JSON of a structural tag, by `kind`.

    Empty for json_object.
    """
    field: str = ""
    """Where the client wrote it, for the error of an engine that cannot take it."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the next tokens are drawn. One sequence: n > 1 is n requests, made by the processor."""

    max_tokens: int
    """Most tokens to generate, at least 1. The processor has already limited it to the model's context."""
    min_tokens: int = 0
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps every token."""
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logit_bias: dict[int, float] | None = None
    logprobs: int | None = None
    """Alternatives reported per generated token; 0: the chosen token's own; None: nothing."""
    prompt_logprobs: int | None = None
    """The same for prompt tokens. Such a request is always prefilled where it decodes."""
    grammar: Grammar | None = None
    max_thinking_tokens: int | None = None
    """Most tokens of a thought, those of it in the prompt included: then the engine writes its end."""


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sequence to generate: what the processor sends to a decode worker."""

    request_id: str
    model: str
    prompt_token_ids: list[int]
    sampling: Sampling
    deadline: float | None = None
    """Unix time in seconds after which nobody wants the answer."""
    priority: int = 0
    """Lower is sooner, as in vLLM."""
    cache_salt: str | None = None
    """Requests with different salts never share KV blocks."""
    lora_name: str | None = None
    """LoRA adapter to apply, one of those on the worker's card; None: the model as it is."""
    prefill_hint: str | None = None
    """Instance id of the prefill worker whose cache fits best, if a router has found one."""
    dp_rank: int | None = None
    """Data-parallel rank of the decode worker's engine that the router chose; None: the engine balances by itself."""
    replayed_tokens: int = 0
    """How many tokens at the prompt's end are output already sent, by a decode worker that was lost."""

    @property
    def prompt_tokens(self) -> int:
        return len(self.prompt_token_ids)


class TokenLogprobs(msgspec.Struct, frozen=True, array_like=True):
    """A chosen token's log probability and the most likely alternatives at its position."""

    logprob: float
    rank: int
    """1 is the most likely token."""
    top: list[tuple[int, float]]
    """(token id, log probability), most likely first; may hold the chosen token too."""


class GenerateOutput(msgspec.Struct, frozen=True, array_like=True):
    """A step's new tokens. The last output of a finished stream, and only it, has a `finish_reason`."""

    token_ids: list[int]
    finish_reason: FinishReason | None = None
    stop_token_id: int | None = None
    """The token that ended the sequence (end-of-sequence or one of `stop_token_ids`), if one did."""
    logprobs: list[TokenLogprobs] | None = None
    """One per token in `token_ids`, if asked for."""
    prompt_logprobs: list[TokenLogprobs | None] | None = None
    """On the first output only: one per prompt token, None for the first token."""
    cached_tokens: int | None = None
    """On the first output: how many prompt tokens were not computed anew for this request."""
    story: list[Stage] | None = None
    """On the last output: what the worker did, for `tandem trace`."""


Step = int | GenerateOutput
"""An output as it travels: nearly every one is a single token and nothing else, so that goes as its number."""
STEP: Final = cast("type[Step]", Step)
"""The same, for those who decode it."""


def compact(output: GenerateOutput) -> Step:
    """The output as it travels."""
    if (
        len(output.token_ids) != 1
        or output.finish_reason is not None
        or output.stop_token_id is not None
        or output.logprobs is not None
        or output.prompt_logprobs is not None
        or output.cached_tokens is not None
        or output.story is not None
    ):
        return output
    return output.token_ids[0]


def expanded(step: Step) -> GenerateOutput:
    """The output that travelled as `step`."""
    return GenerateOutput([step]) if isinstance(step, int) else step


def lone_tokens(steps: Iterable[Step]) -> list[int]:
    """The single tokens that `steps` begin with."""
    tokens: list[int] = []
    for step in steps:
        if not isinstance(step, int):
            break
        tokens.append(step)
    return tokens
