"""Log probabilities of tokens, in the two forms that OpenAI's APIs have."""

from collections.abc import Sequence

from tandem.core.openai_out import ChatLogprobs, CompletionLogprobs, TokenLogprob, TopLogprob
from tandem.core.request import TokenLogprobs
from tandem.processor.model import TextModel

_LEAST = -9999.0
"""JSON has no infinity; OpenAI and vLLM write this."""


def chat_logprobs(
    model: TextModel, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs], top: int
) -> ChatLogprobs:
    """For chats: one entry per token, with `top` alternatives."""
    return ChatLogprobs(
        [_chat_entry(model, token_id, found, top) for token_id, found in zip(token_ids, logprobs, strict=True)]
    )


def _chat_entry(model: TextModel, token_id: int, found: TokenLogprobs, top: int) -> TokenLogprob:
    data = model.token_bytes(token_id)
    alternatives = []
    for other, logprob in found.top[:top]:
        spelt = model.token_bytes(other)
        alternatives.append(TopLogprob(_text(spelt), _finite(logprob), list(spelt)))
    return TokenLogprob(_text(data), _finite(found.logprob), list(data), alternatives)


class CompletionLogprobsWriter:
    """For plain completions: four lists, with offsets into the choice's whole text."""

    def __init__(self, model: TextModel, top: int) -> None:
        self._model = model
        self._top = top
        self._offset = 0

    def write(self, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs | None]) -> CompletionLogprobs:
        """The lists for these tokens; None stands for a prompt's first token, which has no probability."""
        made = CompletionLogprobs([], [], [], [])
        for token_id, found in zip(token_ids, logprobs, strict=True):
            text = _text(self._model.token_bytes(token_id))
            made.tokens.append(text)
            made.text_offset.append(self._offset)
            self._offset += len(text)
            if found is None:
                made.token_logprobs.append(None)
                made.top_logprobs.append(None)
                continue
            made.token_logprobs.append(_finite(found.logprob))
            best: dict[str, float] = {}
            for other, value in found.top[: self._top]:  # likeliest first; pieces of characters are spelled alike
                best.setdefault(_text(self._model.token_bytes(other)), _finite(value))
            best.setdefault(text, _finite(found.logprob))  # the chosen token is always there, as at OpenAI
            made.top_logprobs.append(best if self._top else None)
        return made


def joined(parts: Sequence[CompletionLogprobs]) -> CompletionLogprobs:
    """Several pieces' lists as one."""
    return CompletionLogprobs(
        [x for part in parts for x in part.tokens],
        [x for part in parts for x in part.token_logprobs],
        [x for part in parts for x in part.top_logprobs],
        [x for part in parts for x in part.text_offset],
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _finite(value: float) -> float:
    return max(value, _LEAST)
