"""What the loss of a decode worker means for a request, and how a choice is told. Pure."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from tandem.core.request import GenerateRequest, Grammar
from tandem.core.routing import RouteChoice
from tandem.errors import Overloaded, RequestError, ServingError

Next = Literal["raise", "restart", "continue"]
"""Give up; send the same request elsewhere; send prompt and tokens so far elsewhere."""

_ABOUT_GRAMMARS = ("schema", "grammar", "regex", "choice", "structural tag")
_SCORES_SHOWN = 8
"""Candidates that a story names: the cheapest."""


def about_field(error: ServingError, grammar: Grammar | None) -> ServingError:
    """The same error, with the request's field where an engine refused our client's form and could not name it."""
    if not isinstance(error, RequestError) or error.param or grammar is None or not grammar.field:
        return error
    if not any(word in error.message.lower() for word in _ABOUT_GRAMMARS):
        return error
    return type(error)(f"{grammar.field}: {error.message}", param=grammar.field)


def after_loss(
    error: ServingError, *, output_tokens: int, has_grammar: bool, reroutes: int, max_reroutes: int, late: bool
) -> Next:
    """What to do about a request that ended in `error` on its decode worker.

    Args:
        output_tokens: tokens that the client may already have seen.
        has_grammar: an engine's grammar starts anew with each request, so a text cannot be continued in the
            middle of one: that answer would be wrong, and wrong is worse than an error.
        reroutes: how often this sequence has been sent elsewhere already.
        late: the request's deadline has passed.
    """
    if late or reroutes >= max_reroutes:
        return "raise"
    if isinstance(error, Overloaded):
        return "raise" if output_tokens else "restart"
    if error.retry != "other_instance":
        return "raise"
    if not output_tokens:
        return "restart"
    return "raise" if has_grammar else "continue"


def continued(request: GenerateRequest, sent: Sequence[int], engine_request_id: str) -> GenerateRequest:
    """`request` for another instance, after it has answered with the tokens `sent`.

    Those become the prompt's end; what is left to generate shrinks by as many. Prompt log probabilities have
    been reported already if anything was.
    """
    if not sent:
        return msgspec.structs.replace(request, request_id=engine_request_id)
    sampling = msgspec.structs.replace(
        request.sampling,
        max_tokens=request.sampling.max_tokens - len(sent),
        min_tokens=max(0, request.sampling.min_tokens - len(sent)),
        prompt_logprobs=None,
    )
    return msgspec.structs.replace(
        request,
        request_id=engine_request_id,
        prompt_token_ids=[*request.prompt_token_ids, *sent],
        sampling=sampling,
        replayed_tokens=len(sent),
    )


def addressed(request: GenerateRequest, choice: RouteChoice) -> GenerateRequest:
    """The request as the chosen instance gets it: with the rank and the prefill instance that the router named."""
    if (request.prefill_hint, request.dp_rank) == (choice.prefill_hint, choice.dp_rank):
        return request
    return msgspec.structs.replace(request, prefill_hint=choice.prefill_hint, dp_rank=choice.dp_rank)


def explained(choice: RouteChoice) -> dict[str, Any]:
    """What a router says of its choice beyond name and reason: the overlap, and what the cheapest would have cost."""
    told: dict[str, Any] = {}
    if choice.cached_tokens is not None:
        told["expected_cached_tokens"] = choice.cached_tokens
    if choice.scores:
        cheapest = sorted(choice.scores, key=lambda score: score.cost_s)[:_SCORES_SHOWN]
        told["scores"] = " ".join(f"{s.instance_id}={s.cost_s:.3f}s/{s.cached_tokens}" for s in cheapest)
    if choice.prefill_hint is not None:
        told["prefill_hint"] = choice.prefill_hint
    return told


def replay_note(request: GenerateRequest) -> str:
    """How a continued answer may differ from an uninterrupted one; empty for greedy ones without penalties."""
    sampling, notes = request.sampling, []
    if sampling.temperature > 0:
        notes.append("random state starts anew" if sampling.seed is None else "seed starts anew")
    if sampling.presence_penalty or sampling.frequency_penalty:
        notes.append("presence and frequency penalties count from here")
    return "; ".join(notes)
