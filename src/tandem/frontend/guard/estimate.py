"""What a request may cost, before anybody has tokenized it: for reserving tokens, put right within milliseconds."""

from typing import Final

from tandem.core.openai_in import ChatRequest, CompletionRequest

_CHARACTERS_PER_TOKEN: Final = 4
_UNASKED_OUTPUT: Final = 256
"""Output that is reserved for a request that names no limit. Tokens."""


def estimate(request: ChatRequest | CompletionRequest) -> tuple[int, int]:
    """Tokens of the prompt, and of the output that it asks for."""
    if isinstance(request, ChatRequest):
        prompt = sum(_text(message.content) for message in request.messages)
        output = request.max_completion_tokens or request.max_tokens or _UNASKED_OUTPUT
        return prompt, output * (request.n or 1)
    prompts = request.prompt if isinstance(request.prompt, list) else [request.prompt]
    if prompts and isinstance(prompts[0], int):
        prompt, several = len(prompts), 1
    else:
        prompt = sum(len(one) // _CHARACTERS_PER_TOKEN if isinstance(one, str) else _length(one) for one in prompts)
        several = len(prompts)
    output = _UNASKED_OUTPUT if request.max_tokens is None else request.max_tokens
    return prompt, output * (request.n or 1) * several


def _text(content: object) -> int:
    parts = content if isinstance(content, list) else [content]
    texts = (part if isinstance(part, str) else getattr(part, "text", None) or "" for part in parts)
    return sum(map(len, texts)) // _CHARACTERS_PER_TOKEN


def _length(one: object) -> int:
    return len(one) if isinstance(one, list) else 1
