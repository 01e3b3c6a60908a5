"""What every answer has around its choices: id, time, model, usage."""

import time
from collections.abc import Sequence as Many
from typing import Literal

from msgspec import UNSET, UnsetType

from tandem.core.openai_in import Origin, RequestFields
from tandem.core.openai_out import (
    AnswerChoice,
    CachedDetails,
    ChatChunk,
    ChatCompletion,
    ChunkChoice,
    Completion,
    OutputDetails,
    PromptLogprobs,
    Spent,
    TextChoice,
    Usage,
)
from tandem.processor.generate import Prompt

ResponseForm = Literal["openai", "guide"]
"""`openai`: today's form. `guide`: the deployment guide's (bare UUID id, raw <think>, usage null)."""


class Envelope:
    """Of one request's answer."""

    def __init__(
        self,
        origin: Origin,
        request: RequestFields,
        prompts: Many[Prompt],
        *,
        prefix: str,
        form: ResponseForm,
        model: str,
    ) -> None:
        self.id = origin.request_id if form == "guide" else prefix + origin.request_id
        self.created = int(time.time())
        self.model = model
        self._prompts = prompts
        self._form = form
        self._tells_tokens = bool(request.return_token_ids)
        options = request.stream_options
        self._include = options is not None and options.include_usage
        self._no_usage: UnsetType | None = None if self._include else UNSET
        self._continuous = self._include and options is not None and options.continuous_usage_stats

    @property
    def prompt_token_ids(self) -> list[int]:
        """Of a chat: its only prompt."""
        return self._prompts[0].token_ids

    @property
    def usage_on_chunks(self) -> Usage | UnsetType | None:
        """What each chunk says of usage. OpenAI: null on all but the last, when usage was asked for at all."""
        return self.usage() if self._continuous else self._no_usage

    @property
    def usage_differs(self) -> bool:
        """Whether what chunks say of usage differs from one to the next."""
        return self._continuous

    @property
    def usage_at_end(self) -> bool:
        """Whether a stream ends with a chunk of usage."""
        return self._include

    @property
    def usage_in_answer(self) -> bool:
        """Whether an answer in one piece has usage."""
        return self._form != "guide"

    def usage(self, reasoning_tokens: int | None = None) -> Usage:
        """Tokens so far. A prompt counts once, however many sequences it has."""
        prompt_tokens = sum(len(prompt.token_ids) for prompt in self._prompts)
        output_tokens = sum(s.text.output_tokens for prompt in self._prompts for s in prompt.sequences)
        return Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=output_tokens,
            total_tokens=prompt_tokens + output_tokens,
            prompt_tokens_details=CachedDetails(self.cached_tokens),
            completion_tokens_details=UNSET if reasoning_tokens is None else OutputDetails(reasoning_tokens),
        )

    def spent(self) -> Spent:
        """What it cost so far, for whoever meters it."""
        usage = self.usage()
        return Spent(prompt_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens)

    def chunk(self, choices: list[ChunkChoice], usage: Usage | UnsetType | None) -> ChatChunk:
        """An event of a chat's stream."""
        return ChatChunk(id=self.id, created=self.created, model=self.model, choices=choices, usage=usage)

    def answer(
        self, choices: list[AnswerChoice], usage: Usage | None, about_prompt: PromptLogprobs | UnsetType = UNSET
    ) -> ChatCompletion:
        """A chat's answer in one piece. `about_prompt`: log probabilities of the prompt, if they were asked for."""
        return ChatCompletion(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=choices,
            usage=usage,
            prompt_logprobs=about_prompt,
            prompt_token_ids=self.prompt_token_ids if self._tells_tokens else UNSET,
        )

    def completion(self, choices: list[TextChoice], usage: Usage | UnsetType | None) -> Completion:
        """A plain completion, or an event of one."""
        return Completion(id=self.id, created=self.created, model=self.model, choices=choices, usage=usage)

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that were not computed anew; of a prompt's sequences, the first one's count."""
        return sum(prompt.sequences[0].text.cached_tokens or 0 for prompt in self._prompts)
