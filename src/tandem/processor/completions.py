"""Pieces of text to a plain completion's answer: streamed choices, or whole ones folded from them."""

from msgspec import UNSET, UnsetType

from tandem.core.openai_in import CompletionRequest
from tandem.core.openai_out import CompletionLogprobs, Finish, PromptLogprobs, TextChoice
from tandem.processor.lane import Lane, unescaped
from tandem.processor.logprobs import CompletionLogprobsWriter, joined, prompt_logprobs
from tandem.processor.model import TextModel
from tandem.processor.pieces import Piece
from tandem.processor.prepare import PromptText


class CompletionWriter:
    """One sequence's choices: what each piece adds."""

    def __init__(self, model: TextModel, request: CompletionRequest, index: int, prompt: PromptText) -> None:
        self._index = index
        self._model = model
        as_ids = bool(request.return_tokens_as_token_ids)
        self._logprobs = (
            None if request.logprobs is None else CompletionLogprobsWriter(model, request.logprobs, as_ids=as_ids)
        )
        self._echo = prompt.text if request.echo else None
        """The prompt's text, to come before the answer."""
        self._prompt_token_ids = prompt.token_ids
        self._prompt_only = request.max_tokens == 0
        """The one token that an engine must generate is not shown."""
        self._tokens = bool(request.return_token_ids)
        self._prompt_tokens = self._tokens
        """The prompt's tokens are still to be told."""
        self._wants_prompt_logprobs = request.prompt_logprobs is not None

    @property
    def plain(self) -> bool:
        """Whether text is passed on as it is from here on."""
        return self._echo is None and self._logprobs is None and not (self._prompt_only or self._tokens)

    def choice(self, piece: Piece) -> TextChoice | None:
        """What the client gets for this piece; None when that is nothing."""
        text = "" if self._prompt_only else piece.text
        found: list[CompletionLogprobs] = []
        if self._echo is not None:
            text, self._echo = self._echo + text, None
            if self._logprobs is not None and piece.prompt_logprobs is not None:
                found.append(self._logprobs.write(self._prompt_token_ids, piece.prompt_logprobs))
        if self._logprobs is not None and piece.logprobs is not None and not self._prompt_only:
            found.append(self._logprobs.write(piece.token_ids, piece.logprobs))
        about_prompt: PromptLogprobs | UnsetType = UNSET
        if self._wants_prompt_logprobs and piece.prompt_logprobs is not None:
            about_prompt = prompt_logprobs(self._model, self._prompt_token_ids, piece.prompt_logprobs)
        silent = not text and not found and piece.finish_reason is None
        if silent and about_prompt is UNSET and not self._tokens:
            return None
        finish: Finish | None = piece.finish_reason
        prompt_token_ids: list[int] | UnsetType = UNSET
        if self._prompt_tokens:
            prompt_token_ids, self._prompt_tokens = self._prompt_token_ids, False
        return TextChoice(
            index=self._index,
            text=text,
            logprobs=joined(found) if found else None,
            finish_reason="length" if self._prompt_only and finish else finish,
            stop_reason=UNSET if piece.stop_reason is None else piece.stop_reason,
            prompt_logprobs=about_prompt,
            token_ids=([] if self._prompt_only else piece.token_ids) if self._tokens else UNSET,
            prompt_token_ids=prompt_token_ids,
        )


class CompletionFold:
    """One sequence's choices as one."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._text: list[str] = []
        self._escaped: list[bytes] = []
        """What came by the lane since the last part."""
        self._logprobs: list[CompletionLogprobs] = []
        self._finish: Finish | None = None
        self._stop_reason: int | str | UnsetType = UNSET
        self._prompt_logprobs: PromptLogprobs | UnsetType = UNSET
        self._token_ids: list[int] | UnsetType = UNSET
        self._prompt_token_ids: list[int] | UnsetType = UNSET

    def lane(self) -> Lane:
        """Where plain text may go."""
        return Lane(lambda: True, self._escaped.extend)

    def add(self, part: TextChoice) -> None:
        """Take in what the next piece added."""
        if self._escaped:
            self._text.append(unescaped(self._escaped))
            self._escaped.clear()
        self._text.append(part.text)
        if part.logprobs is not None:
            self._logprobs.append(part.logprobs)
        if part.finish_reason is not None:
            self._finish, self._stop_reason = part.finish_reason, part.stop_reason
        if part.prompt_logprobs is not UNSET:
            self._prompt_logprobs = part.prompt_logprobs
        if not isinstance(part.token_ids, UnsetType):
            if isinstance(self._token_ids, UnsetType):
                self._token_ids = []
            self._token_ids += part.token_ids
        if part.prompt_token_ids is not UNSET:
            self._prompt_token_ids = part.prompt_token_ids

    def choice(self) -> TextChoice:
        """The whole choice, once it has ended."""
        assert self._finish is not None, "a sequence was folded before it ended"
        return TextChoice(
            index=self._index,
            text="".join(self._text),
            logprobs=joined(self._logprobs) if self._logprobs else None,
            finish_reason=self._finish,
            stop_reason=self._stop_reason,
            prompt_logprobs=self._prompt_logprobs,
            token_ids=self._token_ids,
            prompt_token_ids=self._prompt_token_ids,
        )
