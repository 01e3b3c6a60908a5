"""A chat's chunks as Responses events. The last event holds the whole response: in one piece it is that event alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UnsetType

from tandem.core.openai_out import ChatChunk, TokenLogprob, ToolCallDelta, Usage
from tandem.errors import ServingError
from tandem.frontend.openai_responses.answers import (
    FREE_TEXT,
    ArgumentsDelta,
    ArgumentsDone,
    Completed,
    Created,
    Event,
    Failed,
    FunctionCallItem,
    Incomplete,
    IncompleteDetails,
    InProgress,
    InputDetails,
    ItemAdded,
    ItemDone,
    MessageItem,
    OutputItem,
    OutputText,
    PartAdded,
    PartDone,
    ReasoningDelta,
    ReasoningDetails,
    ReasoningDone,
    ReasoningItem,
    ReasoningText,
    ResponseFault,
    ResponseObject,
    ResponseUsage,
    Status,
    TextDelta,
    TextDone,
)
from tandem.frontend.openai_responses.requests import Reasoning, ResponsesRequest, TextConfig


class ResponseTeller:
    """One response's events: `begin`, `add` every chunk of the chat, then `close` or `fail`.

    created, in_progress, then for each item its added, deltas and done, then completed, incomplete or failed.
    """

    def __init__(self, response: ResponseObject, clock: Callable[[], float]) -> None:
        self._response = response
        self._clock = clock
        self._number = 0
        self._open: _Open | None = None
        self._unsaid: list[TokenLogprob] = []
        """Of tokens whose text is still to come."""
        self._cut = False
        """The model met a limit."""

    def begin(self) -> list[Event]:
        """The first events."""
        return [
            Created(response=self._snapshot(), sequence_number=self._next()),
            InProgress(response=self._snapshot(), sequence_number=self._next()),
        ]

    def add(self, chunk: ChatChunk) -> list[Event]:
        """What this chunk adds."""
        if isinstance(chunk.usage, Usage):
            self._response.usage = _usage(chunk.usage)
        events: list[Event] = []
        for choice in chunk.choices:
            delta = choice.delta
            thinks = self._open is not None and isinstance(self._open.item, ReasoningItem)
            if choice.logprobs is not None and (delta.content or not thinks):
                self._unsaid += choice.logprobs.content
            if isinstance(delta.reasoning, str) and delta.reasoning:
                self._thought(events, delta.reasoning)
            if isinstance(delta.content, str) and delta.content:
                self._text(events, delta.content)
            if not isinstance(delta.tool_calls, UnsetType):
                for call in delta.tool_calls:
                    self._call(events, call)
            self._cut = self._cut or choice.finish_reason == "length"
        return events

    def close(self) -> list[Event]:
        """The chat has ended as it should."""
        events: list[Event] = []
        self._end_item(events, "incomplete" if self._cut else "completed")
        response = self._response
        if self._cut:
            response.status, response.incomplete_details = "incomplete", IncompleteDetails()
            return [*events, Incomplete(response=response, sequence_number=self._next())]
        response.status, response.completed_at = "completed", self._clock()
        return [*events, Completed(response=response, sequence_number=self._next())]

    def fail(self, error: ServingError) -> list[Event]:
        """The chat broke off: what there is of the open item stays, unfinished."""
        events: list[Event] = []
        self._end_item(events, "incomplete")
        self._response.status = "failed"
        self._response.error = ResponseFault("server_error", f"{error.code}: {error.message}")
        return [*events, Failed(response=self._response, sequence_number=self._next())]

    @property
    def response(self) -> ResponseObject:
        """The response so far; whole after `close`."""
        return self._response

    def _thought(self, events: list[Event], text: str) -> None:
        self._unsaid.clear()
        if self._open is None or not isinstance(self._open.item, ReasoningItem):
            part = ReasoningText()
            self._begin(events, ReasoningItem(id=self._id("rs")), part)
        assert self._open is not None
        self._open.parts.append(text)
        where = self._where(self._open)
        events.append(ReasoningDelta(**where, delta=text, sequence_number=self._next()))

    def _text(self, events: list[Event], text: str) -> None:
        if self._open is None or not isinstance(self._open.item, MessageItem):
            self._begin(events, MessageItem(id=self._id("msg")), OutputText())
        assert self._open is not None
        logprobs, self._unsaid = self._unsaid, []
        self._open.parts.append(text)
        self._open.logprobs.extend(logprobs)
        where = self._where(self._open)
        events.append(TextDelta(**where, delta=text, logprobs=logprobs, sequence_number=self._next()))

    def _call(self, events: list[Event], call: ToolCallDelta) -> None:
        self._unsaid.clear()
        if isinstance(call.id, str):
            assert isinstance(call.function.name, str), "a call began without a name"
            item = FunctionCallItem(id=self._id("fc"), call_id=call.id, name=call.function.name)
            self._begin(events, item, None)
        assert self._open is not None, "a call went on that had not begun"
        if call.function.arguments:
            self._open.parts.append(call.function.arguments)
            index, item_id = self._open.index, self._open.item.id
            delta = call.function.arguments
            events.append(
                ArgumentsDelta(item_id=item_id, output_index=index, delta=delta, sequence_number=self._next())
            )

    def _begin(self, events: list[Event], item: OutputItem, part: OutputText | ReasoningText | None) -> None:
        self._end_item(events, "completed")
        self._open = found = _Open(item, len(self._response.output))
        events.append(ItemAdded(item=_copy(item), output_index=found.index, sequence_number=self._next()))
        if part is not None:
            events.append(PartAdded(**self._where(found), part=part, sequence_number=self._next()))

    def _end_item(self, events: list[Event], status: Status) -> None:
        if self._open is None:
            return
        found, self._open = self._open, None
        item, text, where = found.item, "".join(found.parts), self._where(found)
        item.status = status
        part: OutputText | ReasoningText
        match item:
            case FunctionCallItem():
                item.arguments = text
                events.append(
                    ArgumentsDone(
                        item_id=item.id,
                        output_index=found.index,
                        name=item.name,
                        arguments=text,
                        sequence_number=self._next(),
                    )
                )
            case MessageItem():
                part = OutputText(text=text, logprobs=found.logprobs)
                item.content = [part]
                events.append(TextDone(**where, text=text, logprobs=found.logprobs, sequence_number=self._next()))
                events.append(PartDone(**where, part=part, sequence_number=self._next()))
            case ReasoningItem():
                part = ReasoningText(text=text)
                item.content = [part]
                events.append(ReasoningDone(**where, text=text, sequence_number=self._next()))
                events.append(PartDone(**where, part=part, sequence_number=self._next()))
        self._response.output.append(item)
        events.append(ItemDone(item=item, output_index=found.index, sequence_number=self._next()))

    def _where(self, found: "_Open") -> dict[str, Any]:
        return {"item_id": found.item.id, "output_index": found.index}

    def _id(self, kind: str) -> str:
        return (
            f"{kind}_{self._response.id.removeprefix('resp_')}_{len(self._response.output) + (self._open is not None)}"
        )

    def _next(self) -> int:
        number, self._number = self._number, self._number + 1
        return number

    def _snapshot(self) -> ResponseObject:
        return msgspec.structs.replace(self._response, output=list(self._response.output))


@dataclass(slots=True)
class _Open:
    """The item that is being written."""

    item: OutputItem
    index: int
    parts: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)


def blank_response(request: ResponsesRequest, *, response_id: str, model: str, created_at: float) -> ResponseObject:
    """A response with nothing in it yet: what was asked, as it is understood."""
    return ResponseObject(
        id=response_id,
        created_at=created_at,
        model=model,
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        max_tool_calls=request.max_tool_calls,
        metadata=request.metadata or {},
        output=[],
        parallel_tool_calls=request.parallel_tool_calls is not False,
        prompt_cache_key=request.prompt_cache_key,
        reasoning=request.reasoning or Reasoning(),
        safety_identifier=request.safety_identifier,
        service_tier=request.service_tier,
        temperature=request.temperature,
        text=_text_config(request.text),
        tool_choice=request.tool_choice or "auto",
        tools=request.tools or [],
        top_logprobs=request.top_logprobs,
        top_p=request.top_p,
        user=request.user,
    )


def _text_config(asked: TextConfig | None) -> TextConfig:
    """As it is understood: text without a form, where none is asked for."""
    if asked is None:
        return TextConfig(format=FREE_TEXT)
    return asked if asked.format is not None else msgspec.structs.replace(asked, format=FREE_TEXT)


def _copy(item: OutputItem) -> OutputItem:
    """The item as it is now: it is filled in later, and an event may be encoded after that."""
    return msgspec.structs.replace(item)


def _usage(usage: Usage) -> ResponseUsage:
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details is not None else 0
    details = usage.completion_tokens_details
    thought = 0 if isinstance(details, UnsetType) or details is None else details.reasoning_tokens
    return ResponseUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputDetails(cached),
        output_tokens=usage.completion_tokens,
        output_tokens_details=ReasoningDetails(thought),
        total_tokens=usage.total_tokens,
    )
