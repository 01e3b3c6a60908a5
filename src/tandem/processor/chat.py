"""Pieces of text to a chat's answer: streamed chunks, or one message folded from the very same deltas."""

from collections.abc import Iterator, Sequence
from functools import cache

from msgspec import UNSET, UnsetType

from tandem.core.openai_in import ChatRequest
from tandem.core.openai_out import (
    AnswerChoice,
    AnswerMessage,
    CalledFunction,
    ChatChunk,
    ChatLogprobs,
    ChunkChoice,
    Delta,
    Finish,
    FunctionDelta,
    MadeToolCall,
    PromptLogprobs,
    ToolCallDelta,
)
from tandem.core.outlet import Outlet
from tandem.core.request import TokenLogprobs
from tandem.observe import metrics
from tandem.processor.envelope import Envelope
from tandem.processor.lane import TEXT, Lane, OpenLane, parts_of, unescaped
from tandem.processor.logprobs import chat_logprobs, prompt_logprobs
from tandem.processor.model import TextModel
from tandem.processor.parsers.ports import CallBegun, Item
from tandem.processor.pieces import Piece
from tandem.processor.reading import Reading


class ChatWriter:
    """One sequence's deltas."""

    def __init__(
        self,
        model: TextModel,
        *,
        reading: Reading | None = None,
        asked: ChatRequest | None = None,
    ) -> None:
        """
        Args:
            reading: what is told apart; None: all is content.
            asked: what the client wants to see beside the text; None: nothing.
        """
        self._model = model
        self._reading = reading
        self._splitter = reading.splitter() if reading is not None else None
        self._reader = reading.reader() if reading is not None else None
        self._top_logprobs = asked.top_logprobs or 0 if asked is not None else 0
        self._tokens_as_ids = asked is not None and bool(asked.return_tokens_as_token_ids)
        self._shows_thoughts = asked is None or asked.include_reasoning is not False
        self.tells_tokens = asked is not None and bool(asked.return_token_ids)
        self._calls = 0
        self.reasoning_tokens = 0

    @property
    def plain(self) -> bool:
        """Whether text is passed on as it is from here on."""
        return self._reader is None and not self.tells_tokens and (self._splitter is None or self._splitter.over)

    def may_pass(self, text: str) -> bool:
        """Whether `text`, coming next, is content and nothing else. Cheap; says no in doubt."""
        if self.tells_tokens or (self._splitter is not None and not self._splitter.over):
            return False
        return self._reader is None or self._reader.may_pass(text)

    @property
    def thinks(self) -> bool:
        """Whether text is thought that the client sees as it comes, until something else begins."""
        seen = self._shows_thoughts and not self.tells_tokens
        return seen and self._splitter is not None and self._splitter.may_think("")

    def thought(self, text: str) -> bool:
        """Count `text`, coming next, as a token of thought, where it is that and nothing else."""
        assert self._splitter is not None, "a thought was told apart by nobody"
        if not self._splitter.may_think(text):
            return False
        self.reasoning_tokens += bool(text)
        return True

    def deltas(self, piece: Piece) -> list[Delta]:
        """What this piece adds. A finished sequence's last deltas hold whatever was held back."""
        ended = piece.finish_reason is not None
        if self._splitter is None:
            return self._content(piece.text, ended)
        reasoning, content = self._splitter.feed(piece.text)
        if self._splitter.thinking:
            self.reasoning_tokens += len(piece.token_ids)
        if ended:
            last = self._splitter.close()
            reasoning, content = reasoning + last.reasoning, content + last.content
        shown = reasoning and self._shows_thoughts
        found = [Delta(reasoning_content=reasoning, reasoning=reasoning)] if shown else []
        return found + self._content(content, ended)

    def finish(self, piece: Piece) -> Finish | None:
        """The finish reason as the client reads it. For a call that it has named itself that is `stop`, as OpenAI's."""
        if piece.finish_reason != "stop" or not self._calls:
            return piece.finish_reason
        return "stop" if self._reading is not None and self._reading.choice.named else "tool_calls"

    def logprobs(self, piece: Piece) -> ChatLogprobs | None:
        """Those of this piece's tokens, if they were asked for."""
        if piece.logprobs is None:
            return None
        return chat_logprobs(
            self._model, piece.token_ids, piece.logprobs, self._top_logprobs, as_ids=self._tokens_as_ids
        )

    def prompt_logprobs(self, token_ids: Sequence[int], found: Sequence[TokenLogprobs | None]) -> PromptLogprobs:
        """Those of the prompt's tokens."""
        return prompt_logprobs(self._model, token_ids, found)

    def _content(self, text: str, ended: bool) -> list[Delta]:
        if self._reader is None:
            return [Delta(content=text)] if text else []
        found = self._reader.feed(text) if text else []
        if ended:
            found = found + self._reader.close()
            if self._reader.malformed:
                metrics.MALFORMED_TOOL_CALLS.inc(self._reader.malformed)
        return list(self._told(found))

    def _told(self, found: list[Item]) -> Iterator[Delta]:
        """Deltas of what was read. Calls after the first are left out when the client takes only one."""
        assert self._reading is not None, "calls are read only by a reading"
        for item in found:
            if isinstance(item, str):
                yield Delta(content=item)
                continue
            if isinstance(item, CallBegun):
                self._calls += 1
            if self._calls > 1 and not self._reading.parallel_calls:
                continue
            if isinstance(item, CallBegun):
                function = FunctionDelta("", item.name)
                call = ToolCallDelta(
                    index=self._calls - 1, id=self._reading.call_id(), type="function", function=function
                )
            else:
                call = ToolCallDelta(index=self._calls - 1, function=FunctionDelta(item.text))
            yield Delta(tool_calls=[call])


class ChatStream:
    """A request's chunks."""

    def __init__(self, envelope: Envelope, writers: Sequence[ChatWriter]) -> None:
        self._envelope = envelope
        self._writers = writers
        self._begun: set[int] = set()

    def chunks(self, piece: Piece) -> list[ChatChunk]:
        """What this piece adds. A sequence's first chunk says who speaks, its last one why it ended."""
        writer, index = self._writers[piece.index], piece.index
        if (
            piece.finish_reason is None
            and piece.logprobs is None
            and index in self._begun
            and (writer.plain or writer.may_pass(piece.text))
        ):
            # Nearly every chunk of nearly every answer: text that nobody looks into.
            choice = ChunkChoice(index=index, delta=Delta(content=piece.text))
            return [self._envelope.chunk([choice], self._envelope.usage_on_chunks)]
        deltas, finish, logprobs = writer.deltas(piece), writer.finish(piece), writer.logprobs(piece)
        if not deltas and (finish is not None or logprobs is not None or writer.tells_tokens):
            deltas = [Delta()]
        choices = [ChunkChoice(index=index, delta=delta) for delta in deltas]
        if choices:
            choices[-1].finish_reason, choices[-1].logprobs = finish, logprobs
            if piece.stop_reason is not None:
                choices[-1].stop_reason = piece.stop_reason
            if writer.tells_tokens:
                choices[-1].token_ids = piece.token_ids
        first = not self._begun
        if index not in self._begun:
            self._begun.add(index)
            choices.insert(0, ChunkChoice(index=index, delta=Delta(role="assistant", content="")))
        envelope, usage = self._envelope, self._envelope.usage_on_chunks
        chunks = [envelope.chunk([choice], usage) for choice in choices]
        if first and writer.tells_tokens:
            chunks[0].prompt_token_ids = envelope.prompt_token_ids
        return chunks

    def lane(self, outlet: Outlet) -> OpenLane:
        """Where plain text of the only sequence, or plain thought, may go while nothing looks into it."""
        writer, envelope = self._writers[0], self._envelope

        @cache
        def lane_of(thought: bool) -> Lane:
            delta = Delta(reasoning_content=TEXT, reasoning=TEXT) if thought else Delta(content=TEXT)
            chunk = envelope.chunk([ChunkChoice(index=0, delta=delta)], envelope.usage_on_chunks)
            passes = writer.thought if thought else None if writer.plain else writer.may_pass
            return Lane(outlet.ready, outlet.events(parts_of(chunk)), passes)

        def open_lane() -> Lane | None:
            if 0 not in self._begun or envelope.usage_differs:
                return None
            if writer.plain or writer.may_pass("x"):
                return lane_of(thought=False)
            return lane_of(thought=True) if writer.thinks else None

        return open_lane


class ChatFold:
    """One sequence's deltas as one message."""

    def __init__(self, index: int, writer: ChatWriter) -> None:
        self._index = index
        self._writer = writer
        self._content: list[str] = []
        self._escaped: list[bytes] = []
        """What came by the lane since the last piece."""
        self._reasoning: list[str] = []
        self._calls: list[tuple[str, str, list[str]]] = []
        """Id, name and arguments so far of each call."""
        self._logprobs: ChatLogprobs | None = None
        self._finish: Finish | None = None
        self._stop_reason: int | str | UnsetType = UNSET
        self._token_ids: list[int] = []
        self._about_prompt: list[TokenLogprobs | None] | None = None

    def lane(self) -> OpenLane:
        """Where plain text may go while nothing looks into it."""
        whole = Lane(lambda: True, self._escaped.extend)
        return lambda: whole if self._writer.plain else None

    def add(self, piece: Piece) -> None:
        """Take in the next piece."""
        self._read_lane()
        for delta in self._writer.deltas(piece):
            if not isinstance(delta.content, UnsetType):
                self._content.append(delta.content)
            if not isinstance(delta.reasoning, UnsetType):
                self._reasoning.append(delta.reasoning)
            if not isinstance(delta.tool_calls, UnsetType):
                for call in delta.tool_calls:
                    self._call(call)
        if (found := self._writer.logprobs(piece)) is not None:
            if self._logprobs is None:
                self._logprobs = found
            else:
                self._logprobs.content.extend(found.content)
        if piece.finish_reason is not None:
            self._finish = self._writer.finish(piece)
            self._stop_reason = UNSET if piece.stop_reason is None else piece.stop_reason
        if self._writer.tells_tokens:
            self._token_ids += piece.token_ids
        if piece.prompt_logprobs is not None:
            self._about_prompt = piece.prompt_logprobs

    def prompt_logprobs(self, token_ids: Sequence[int]) -> PromptLogprobs | UnsetType:
        """Those of the prompt, which is `token_ids`, if they were asked for."""
        return UNSET if self._about_prompt is None else self._writer.prompt_logprobs(token_ids, self._about_prompt)

    def _read_lane(self) -> None:
        if self._escaped:
            self._content.append(unescaped(self._escaped))
            self._escaped.clear()

    def choice(self) -> AnswerChoice:
        """The whole answer, once it has ended."""
        assert self._finish is not None, "a sequence was folded before it ended"
        content, reasoning = "".join(self._content), "".join(self._reasoning)
        return AnswerChoice(
            index=self._index,
            message=AnswerMessage(
                content=None if self._calls and not content else content,
                reasoning_content=reasoning or UNSET,
                reasoning=reasoning or UNSET,
                tool_calls=[
                    MadeToolCall(id=call_id, function=CalledFunction(name, "".join(arguments)))
                    for call_id, name, arguments in self._calls
                ]
                or None,
            ),
            logprobs=self._logprobs,
            finish_reason=self._finish,
            stop_reason=self._stop_reason,
            token_ids=self._token_ids if self._writer.tells_tokens else UNSET,
        )

    def _call(self, call: ToolCallDelta) -> None:
        if not isinstance(call.id, UnsetType) and not isinstance(call.function.name, UnsetType):
            self._calls.append((call.id, call.function.name, []))
        self._calls[call.index][2].append(call.function.arguments)
