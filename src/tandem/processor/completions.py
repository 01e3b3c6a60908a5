"""Pieces of text to a plain completion's answer: streamed choices, or whole ones folded from them."""

from msgspec import UNSET, UnsetType

from tandem.core.openai_in import CompletionRequest
from tandem.core.openai_out import CompletionLogprobs, Finish, TextChoice
from tandem.processor.lane import Lane, unescaped
from tandem.processor.logprobs import CompletionLogprobsWriter, joined
from tandem.processor.model import TextModel
from tandem.processor.pieces import Piece
from tandem.processor.prepare import PromptText


class CompletionWriter:
    """One sequence's choices: what each piece adds."""

    def __init__(self, model: TextModel, request: CompletionRequest, index: int, prompt: PromptText) -> None:
        self._index = index
        self._logprobs = None if request.logprobs is None else CompletionLogprobsWriter(model, request.logprobs)
        self._echo = prompt.text if request.echo else None
        """The prompt's text, to come before the answer."""
        self._prompt_token_ids = prompt.token_ids
        self._prompt_only = request.max_tokens == 0
        """The one token that an engine must generate is not shown."""

    @property
    def plain(self) -> bool:
        """Whether text is passed on as it is from here on."""
        return self._echo is None and self._logprobs is None and not self._prompt_only

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
        if not text and not found and piece.finish_reason is None:
            return None
        finish: Finish | None = piece.finish_reason
        return TextChoice(
            index=self._index,
            text=text,
            logprobs=joined(found) if found else None,
            finish_reason="length" if self._prompt_only and finish else finish,
            stop_reason=UNSET if piece.stop_reason is None else piece.stop_reason,
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

    def lane(self) -> Lane:
        """Where plain text may go."""
        return Lane(lambda: True, self._escaped.append)

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

    def choice(self) -> TextChoice:
        """The whole choice, once it has ended."""
        assert self._finish is not None, "a sequence was folded before it ended"
        return TextChoice(
            index=self._index,
            text="".join(self._text),
            logprobs=joined(self._logprobs) if self._logprobs else None,
            finish_reason=self._finish,
            stop_reason=self._stop_reason,
        )
