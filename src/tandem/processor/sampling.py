"""OpenAI's knobs to core's `Sampling`, within what the model takes.

What the client leaves open comes from the model's generation_config.json, then from OpenAI's defaults;
vLLM does the same.
"""

from typing import Any, Final

from tandem.core.openai_in import ChatRequest, CompletionRequest, RequestFields
from tandem.core.request import Grammar, Sampling
from tandem.errors import ContextTooLong, RequestError
from tandem.processor.grammars import Thoughts, after_thoughts, grammar_for
from tandem.processor.model import GenerationDefaults

_ID_DIGITS: Final = 10
"""Of a token id, at most."""


def sampling_for(
    request: ChatRequest | CompletionRequest,
    *,
    prompt_tokens: int,
    max_model_len: int,
    vocab_size: int,
    defaults: GenerationDefaults,
    default_max_tokens: int | None = None,
    grammar: Grammar | None = None,
    thoughts: Thoughts | None = None,
    max_thinking_tokens: int | None = None,
) -> Sampling:
    """How to draw the answer to a prompt of `prompt_tokens` tokens.

    Args:
        grammar: a form of the answer that takes the place of the request's own.
        thoughts: what may stand before a form.
        max_thinking_tokens: the longest thought.
    Raises:
        ContextTooLong: prompt, or prompt plus the output asked for, is over `max_model_len`.
        RequestError: an impossible combination; `param` names the field.
    """
    max_tokens = _max_tokens(request, prompt_tokens, max_model_len, defaults.max_new_tokens, default_max_tokens)
    min_tokens = request.min_tokens or 0
    if min_tokens > max_tokens:
        raise RequestError(f"min_tokens {min_tokens} is more than the {max_tokens} tokens allowed", param="min_tokens")
    top_k = _first(request.top_k, defaults.top_k, 0)
    echo = isinstance(request, CompletionRequest) and bool(request.echo)
    logprobs, grammar = _logprobs(request), grammar or grammar_for(request)
    return Sampling(
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        temperature=_first(request.temperature, defaults.temperature, 1.0),
        top_p=_first(request.top_p, defaults.top_p, 1.0),
        top_k=max(0, top_k),
        min_p=_first(request.min_p, defaults.min_p, 0.0),
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        repetition_penalty=_first(request.repetition_penalty, defaults.repetition_penalty, 1.0),
        seed=None if request.seed == -1 else request.seed,  # vLLM draws anew for -1
        stop_token_ids=tuple(request.stop_token_ids or ()),
        ignore_eos=bool(request.ignore_eos),
        logit_bias=_logit_bias(request.logit_bias, vocab_size),
        logprobs=logprobs,
        prompt_logprobs=_prompt_logprobs(request, logprobs if echo else None),
        grammar=after_thoughts(grammar, thoughts) if grammar is not None and thoughts is not None else grammar,
        max_thinking_tokens=max_thinking_tokens,
    )


def stop_strings(request: RequestFields) -> list[str]:
    """`stop` as a list."""
    if isinstance(request.stop, str):
        return [request.stop]
    return list(request.stop or ())


def _max_tokens(
    request: ChatRequest | CompletionRequest,
    prompt_tokens: int,
    max_model_len: int,
    model_default: int | None,
    our_default: int | None,
) -> int:
    room = max_model_len - prompt_tokens
    if room < 1:
        raise ContextTooLong(
            f"the prompt has {prompt_tokens} tokens; the model takes {max_model_len}, prompt and output together",
            param=_prompt_field(request),
        )
    field, asked = "max_tokens", request.max_tokens
    if isinstance(request, ChatRequest) and request.max_completion_tokens is not None:
        field, asked = "max_completion_tokens", request.max_completion_tokens
    if asked is None:
        return min([room, *(limit for limit in (our_default, model_default) if limit is not None)])
    if asked == 0:  # plain completions only
        assert isinstance(request, CompletionRequest)
        if not request.echo:
            raise RequestError("max_tokens 0 makes sense only with echo", param="max_tokens")
        return 1  # an engine generates at least one token; completions.py drops it
    if asked > room and isinstance(request, ChatRequest) and request.fit_max_tokens:
        return room
    if asked > room:
        raise ContextTooLong(
            f"the prompt has {prompt_tokens} tokens and {field} asks for {asked} more; "
            f"the model takes {max_model_len} together",
            param=field,
        )
    return asked


def _prompt_field(request: RequestFields) -> str:
    return "messages" if isinstance(request, ChatRequest) else "prompt"


def _logprobs(request: ChatRequest | CompletionRequest) -> int | None:
    if isinstance(request, CompletionRequest):
        return request.logprobs
    if request.logprobs:
        return request.top_logprobs or 0
    if request.top_logprobs is not None:
        raise RequestError("top_logprobs needs logprobs: true", param="top_logprobs")
    return None


def _prompt_logprobs(request: RequestFields, echoed: int | None) -> int | None:
    """As many as anybody wants: `echo` with `logprobs`, and `prompt_logprobs`."""
    wanted = [count for count in (request.prompt_logprobs, echoed) if count is not None]
    return max(wanted, default=None)


def _logit_bias(bias: dict[str, float] | None, vocab_size: int) -> dict[int, float] | None:
    if not bias:
        return None
    found = {}
    for key, value in bias.items():
        # Its length first: Python reads no number of thousands of digits. One token has one spelling.
        known = len(key) <= _ID_DIGITS and key.isascii() and key.isdigit() and key == str(int(key))
        if not known or int(key) >= vocab_size:
            raise RequestError(f"logit_bias key {key[:32]!r} is no token id below {vocab_size}", param="logit_bias")
        found[int(key)] = value
    return found


def _first(*values: Any) -> Any:
    for value in values:
        if value is not None:
            return value
    raise AssertionError("the last value is never None")
