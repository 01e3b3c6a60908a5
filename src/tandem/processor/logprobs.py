"""Log probabilities of tokens, in the two forms that OpenAI's APIs have."""

from collections.abc import Sequence

from tandem.core.openai_out import (
    ChatLogprobs,
    CompletionLogprobs,
    PromptLogprob,
    PromptLogprobs,
    TokenLogprob,
    TopLogprob,
)
from tandem.core.request import TokenLogprobs
from tandem.processor.model import TextModel

_LEAST = -9999.0
"""JSON has no infinity; OpenAI and vLLM write this."""


def chat_logprobs(
    model: TextModel, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs], top: int, *, as_ids: bool = False
) -> ChatLogprobs:
    """For chats: one entry per token, with `top` alternatives.

    Args:
        as_ids: tokens are named by their numbers, not by their text.
    """
    pairs = zip(token_ids, logprobs, strict=True)
    return ChatLogprobs([_chat_entry(model, token_id, found, top, as_ids) for token_id, found in pairs])


def _chat_entry(model: TextModel, token_id: int, found: TokenLogprobs, top: int, as_ids: bool) -> TokenLogprob:
    alternatives = []
    for other, logprob in found.top[:top]:
        spelt = list(model.token_bytes(other))
        alternatives.append(TopLogprob(_named(model, other, as_ids), _finite(logprob), spelt))
    spelt = list(model.token_bytes(token_id))
    return TokenLogprob(_named(model, token_id, as_ids), _finite(found.logprob), spelt, alternatives)


def prompt_logprobs(
    model: TextModel, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs | None]
) -> PromptLogprobs:
    """Of a prompt, as vLLM has them: per token the one that is there, then the likeliest."""
    told: PromptLogprobs = []
    for token_id, found in zip(token_ids, logprobs, strict=True):
        if found is None:
            told.append(None)
            continue
        ranked = [(token_id, found.logprob, found.rank)]
        ranked += [(other, value, rank) for rank, (other, value) in enumerate(found.top, 1) if other != token_id]
        told.append(
            {one: PromptLogprob(_finite(value), rank, _text(model.token_bytes(one))) for one, value, rank in ranked}
        )
    return told


class CompletionLogprobsWriter:
    """For plain completions: four lists, with offsets into the choice's whole text."""

    def __init__(self, model: TextModel, top: int, *, as_ids: bool = False) -> None:
        """`as_ids`: as `chat_logprobs` has it."""
        self._model = model
        self._top = top
        self._as_ids = as_ids
        self._offset = 0

    def write(self, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs | None]) -> CompletionLogprobs:
        """The lists for these tokens; None stands for a prompt's first token, which has no probability."""
        made = CompletionLogprobs([], [], [], [])
        for token_id, found in zip(token_ids, logprobs, strict=True):
            text = self._named(token_id)
            made.tokens.append(text)
            made.text_offset.append(self._offset)
            self._offset += len(_text(self._model.token_bytes(token_id)))
            if found is None:
                made.token_logprobs.append(None)
                made.top_logprobs.append(None)
                continue
            made.token_logprobs.append(_finite(found.logprob))
            best: dict[str, float] = {}
            for other, value in found.top[: self._top]:  # likeliest first; pieces of characters are spelled alike
                best.setdefault(self._named(other), _finite(value))
            best.setdefault(text, _finite(found.logprob))  # the chosen token is always there, as at OpenAI
            made.top_logprobs.append(best if self._top else None)
        return made

    def _named(self, token_id: int) -> str:
        return _named(self._model, token_id, self._as_ids)


def joined(parts: Sequence[CompletionLogprobs]) -> CompletionLogprobs:
    """Several pieces' lists as one."""
    return CompletionLogprobs(
        [x for part in parts for x in part.tokens],
        [x for part in parts for x in part.token_logprobs],
        [x for part in parts for x in part.top_logprobs],
        [x for part in parts for x in part.text_offset],
    )


def _named(model: TextModel, token_id: int, as_ids: bool) -> str:
    return f"token_id:{token_id}" if as_ids else _text(model.token_bytes(token_id))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _finite(value: float) -> float:
    return max(value, _LEAST)
