"""A request to prompts in tokens, and to the sequences that are to be generated for them."""

import asyncio
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any

import msgspec

from tandem.core.openai_in import ChatRequest, CompletionRequest, Origin
from tandem.core.request import GenerateRequest, Grammar, Sampling
from tandem.errors import RequestError
from tandem.processor.generate import Prompt, Sequence
from tandem.processor.grammars import Thoughts
from tandem.processor.messages import template_messages, template_tools
from tandem.processor.model import TextModel
from tandem.processor.pieces import SequenceText
from tandem.processor.sampling import sampling_for, stop_strings
from tandem.processor.serving import ServedModel
from tandem.processor.template import ChatTemplate

_THREAD_FROM_CHARS = 20_000
"""Texts of this length take about 5 ms to tokenize: others should not wait for them."""
_MOST_SEQUENCES = 1024
"""Of one request, over all prompts and n."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """A prompt in both forms."""

    text: str
    token_ids: list[int]


async def chat_prompt(model: TextModel, request: ChatRequest) -> PromptText:
    """The messages, through the model's chat template. Raises `RequestError` as the template and messages do."""
    if model.template is None:
        raise RequestError("this model has no chat template: use /v1/completions", param="model")
    if request.continue_final_message and request.add_generation_prompt:
        raise RequestError("continue_final_message needs add_generation_prompt: false", param="continue_final_message")
    text = model.template.render(
        template_messages(
            request.messages,
            parts=model.template.takes_parts,
            arguments_as_text=model.template.takes_arguments_as_text,
        ),
        tools=template_tools(request),
        add_generation_prompt=request.add_generation_prompt,
        continue_final_message=request.continue_final_message,
        options=_template_options(model.template, request),
    )
    # The template has written the special tokens already.
    return PromptText(text, await encode(model, text, add_special_tokens=False))


async def completion_prompts(model: TextModel, request: CompletionRequest) -> list[PromptText]:
    """The prompts of a plain completion: one text, one list of tokens, or several of either."""
    found = []
    for item in _several(request.prompt, "prompt"):
        if isinstance(item, str):
            ids = await encode(model, item, add_special_tokens=request.add_special_tokens)
            found.append(PromptText(item, ids))
        else:
            model.check_token_ids(item, "prompt")
            found.append(PromptText(model.decode(item) if request.echo else "", list(item)))
    if not all(prompt.token_ids for prompt in found):
        raise RequestError("prompt must have at least one token", param="prompt")
    return found


async def inputs_in_tokens(model: TextModel, given: str | Many[Any]) -> list[list[int]]:
    """The inputs of an embedding, likewise. The tokenizer's own special tokens belong to a text."""
    found = []
    for item in _several(given, "input"):
        if isinstance(item, str):
            found.append(await encode(model, item, add_special_tokens=True))
        else:
            model.check_token_ids(item, "input")
            found.append(list(item))
    if not all(found):
        raise RequestError("input must have at least one token", param="input")
    return found


def _several(given: str | Many[Any], field: str) -> Many[Any]:
    """Texts and lists of tokens. Raises `RequestError` for a mixture, and for nothing."""
    if isinstance(given, str):
        many: Many[Any] = [given]
    elif given and all(isinstance(item, int) for item in given):
        many = [given]
    else:
        many = given
    if not many or any(isinstance(item, int) or not len(item) for item in many):
        message = f"{field} must be a text or a list of tokens, or a list of either, none empty"
        raise RequestError(message, param=field)
    return many


def to_generate(
    origin: Origin,
    model: ServedModel,
    request: ChatRequest | CompletionRequest,
    prompts: Many[PromptText],
    *,
    default_max_tokens: int | None = None,
    keep: Many[str] = (),
    grammar: Grammar | None = None,
    thoughts: Thoughts | None = None,
    max_thinking_tokens: int | None = None,
) -> list[Prompt]:
    """The sequences to generate: n per prompt, numbered as OpenAI numbers choices.

    Args:
        keep: special tokens that are written out even where others are skipped.
        grammar: a form of the answer that takes the place of the request's own.
        thoughts: what may stand before a form that is asked for.
        max_thinking_tokens: the longest thought.
    Raises:
        RequestError: a knob that cannot be, or a prompt that is too long.
    """
    if request.stream_options is not None and not request.stream:
        raise RequestError("stream_options needs stream: true", param="stream_options")
    if request.prompt_logprobs is not None and request.stream:
        raise RequestError("prompt_logprobs are not in a stream: send stream: false", param="prompt_logprobs")
    n = request.n or 1
    total = n * len(prompts)
    if total > _MOST_SEQUENCES:
        raise RequestError(f"{total} sequences are asked for; one request may have {_MOST_SEQUENCES}", param="n")
    made = []
    for number, prompt in enumerate(prompts):
        sampling = sampling_for(
            request,
            prompt_tokens=len(prompt.token_ids),
            max_model_len=model.max_model_len,
            vocab_size=model.text.vocab_size,
            defaults=model.text.defaults,
            default_max_tokens=default_max_tokens,
            grammar=grammar,
            thoughts=thoughts,
            max_thinking_tokens=max_thinking_tokens,
        )
        route_id = origin.request_id if len(prompts) == 1 else f"{origin.request_id}-p{number}"
        sequences = []
        for i in range(n):
            index = number * n + i
            engine_id = origin.request_id if total == 1 else f"{origin.request_id}-{index}"
            sequences.append(
                _sequence(origin, model, request, prompt.token_ids, _seeded(sampling, i), index, engine_id, keep)
            )
        made.append(Prompt(route_id, prompt.token_ids, sequences, request.cache_salt, model.lora_name))
    return made


def _sequence(
    origin: Origin,
    model: ServedModel,
    request: ChatRequest | CompletionRequest,
    token_ids: list[int],
    sampling: Sampling,
    index: int,
    engine_id: str,
    keep: Many[str],
) -> Sequence:
    return Sequence(
        GenerateRequest(
            request_id=engine_id,
            model=model.name,
            prompt_token_ids=token_ids,
            sampling=sampling,
            deadline=origin.deadline,
            priority=request.priority or 0,
            cache_salt=request.cache_salt,
            lora_name=model.lora_name,
        ),
        SequenceText(
            index,
            model.text.detokenizer(skip_special_tokens=request.skip_special_tokens, keep=keep),
            stop=stop_strings(request),
            stop_token_ids=sampling.stop_token_ids,
            include_stop=request.include_stop_str_in_output,
            min_tokens=sampling.min_tokens,
            tells_all=bool(request.return_token_ids),
        ),
    )


def _seeded(sampling: Sampling, i: int) -> Sampling:
    if sampling.seed is None or i == 0:
        return sampling
    return msgspec.structs.replace(sampling, seed=sampling.seed + i)


def _template_options(template: ChatTemplate, request: ChatRequest) -> dict[str, Any]:
    """What the template is told beside the messages. What is said nearer to it wins."""
    options: dict[str, Any] = {}
    if (effort := request.reasoning_effort) is not None:
        options["enable_thinking"] = effort not in ("none", "minimal")
        if "reasoning_effort" in template.options:
            options["reasoning_effort"] = effort
    if request.enable_thinking is not None:
        options["enable_thinking"] = request.enable_thinking
    return options | (request.chat_template_kwargs or {})


async def encode(model: TextModel, text: str, *, add_special_tokens: bool) -> list[int]:
    """Tokens of a text; of a long one, without keeping others waiting."""
    if len(text) < _THREAD_FROM_CHARS:
        return model.encode(text, add_special_tokens=add_special_tokens)
    return await asyncio.to_thread(model.encode, text, add_special_tokens=add_special_tokens)
