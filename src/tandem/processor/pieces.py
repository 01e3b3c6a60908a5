"""A worker's outputs to pieces of text: detokenizing and stop strings of one sequence."""

from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from tandem.core.request import FinishReason, GenerateOutput, TokenLogprobs
from tandem.processor.detokenize import ByteDetokenizer, Detokenizer
from tandem.processor.lane import escaped, unescaped
from tandem.processor.stop import StopStrings


class Piece(msgspec.Struct, gc=False):
    """What one output adds to a sequence's answer. Exactly the last one has a `finish_reason`."""

    index: int
    """Which sequence, counted as OpenAI's `choices[].index`."""
    text: str
    token_ids: list[int] = []
    logprobs: list[TokenLogprobs] | None = None
    prompt_logprobs: list[TokenLogprobs | None] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    """The stop string or stop token of the request that ended it."""


class SequenceText:
    """The text of one sequence so far."""

    __slots__ = (
        "_detokenizer",
        "_include_stop",
        "_min_tokens",
        "_stop_token_ids",
        "_stops",
        "_tells_all",
        "cached_tokens",
        "index",
        "output_tokens",
    )

    def __init__(
        self,
        index: int,
        detokenizer: Detokenizer,
        *,
        stop: Sequence[str] = (),
        stop_token_ids: Sequence[int] = (),
        include_stop: bool = False,
        min_tokens: int = 0,
        tells_all: bool = False,
    ) -> None:
        """`tells_all`: an output that adds no text yet is a piece too, for somebody wants its tokens."""
        self.index = index
        self.output_tokens = 0
        self.cached_tokens: int | None = None
        self._detokenizer = detokenizer
        self._stops = StopStrings(stop, include=include_stop) if stop else None
        self._stop_token_ids = stop_token_ids
        self._include_stop = include_stop
        self._min_tokens = min_tokens
        self._tells_all = tells_all

    def stepper(self, passes: Callable[[str], bool] | None = None) -> Callable[[list[int]], list[bytes]]:
        """A function that takes in single tokens and gives the text of each, escaped as in JSON; empty: none yet.

        It stops before a token that `feed` must see, and gives that many texts: stop strings might begin there, or
        `passes` says that its text must be looked into.
        """
        detokenizer, stops = self._detokenizer, self._stops
        bytewise = detokenizer if isinstance(detokenizer, ByteDetokenizer) else None

        def watched(token_ids: list[int]) -> list[bytes]:
            texts: list[bytes] = []
            for token_id in token_ids:
                text = None if bytewise is None or bytewise.waiting else bytewise.texts[token_id]
                if text is None or (stops is not None and not stops.passes(text)):
                    break
                if passes is not None and not passes(unescaped([text])):
                    break
                texts.append(text)
            self.output_tokens += len(texts)
            return texts

        def free(token_ids: list[int]) -> list[bytes]:
            self.output_tokens += len(token_ids)
            if bytewise is not None and not bytewise.waiting:
                texts = [bytewise.texts[token_id] for token_id in token_ids]
                if None not in texts:
                    return cast(list[bytes], texts)
            return [escaped(detokenizer.feed((token_id,))) for token_id in token_ids]

        return free if stops is None and passes is None else watched

    def feed(self, output: GenerateOutput) -> Piece | None:
        """What the client gets for this output; None when there is nothing yet (half a character)."""
        ids = output.token_ids
        finish: FinishReason | None = output.finish_reason
        self.output_tokens += len(ids)
        if self.cached_tokens is None:
            self.cached_tokens = output.cached_tokens
        stop_reason: int | str | None = None
        visible = ids
        if output.stop_token_id is not None:
            if output.stop_token_id in self._stop_token_ids:
                stop_reason = output.stop_token_id
            if not self._include_stop and ids and ids[-1] == output.stop_token_id:
                visible = ids[:-1]
        text = self._detokenizer.feed(visible)
        if finish is not None:
            text += self._detokenizer.close()
        if self._stops is not None:
            if self.output_tokens > self._min_tokens:
                text = self._stops.feed(text)
            if self._stops.found is not None:
                finish, stop_reason = "stop", self._stops.found
            elif finish is not None:
                text += self._stops.close()
        silent = not text and finish is None and not (self._tells_all and ids)
        if silent and output.logprobs is None and output.prompt_logprobs is None:
            return None
        return Piece(self.index, text, ids, output.logprobs, output.prompt_logprobs, finish, stop_reason)
