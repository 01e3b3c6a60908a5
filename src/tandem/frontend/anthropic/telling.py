"""A chat's chunks as Messages events, and events as one message: a stream and its fold cannot disagree."""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from tandem.core.openai_out import ChatChunk, ChunkChoice, ToolCallDelta, Usage
from tandem.frontend.anthropic.answers import (
    ContentBlock,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Event,
    InputJsonDelta,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    MessageUsage,
    Ping,
    SignatureDelta,
    Stop,
    StopReason,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ThinkingTokens,
    ToolUseBlock,
)
from tandem.frontend.anthropic.asking import SIGNED


class MessageTeller:
    """One answer's events: `add` every chunk of the chat, then `close`.

    message_start, then for each block content_block_start, deltas and content_block_stop (a ping after the first
    start), then message_delta and message_stop.
    """

    def __init__(self, message_id: str, *, max_tokens: int, omit_thinking: bool = False) -> None:
        """
        Args:
            max_tokens: what was asked for: an answer cut before has filled the context.
            omit_thinking: thoughts are signed blocks without text.
        """
        self._id = message_id
        self._max_tokens = max_tokens
        self._omit_thinking = omit_thinking
        self._usage = MessageUsage(input_tokens=0, output_tokens=0)
        self._begun = False
        self._index = -1
        self._open: ContentBlock | None = None
        self._thought = hashlib.sha256()
        self._finish: ChunkChoice | None = None
        self._called = False

    def add(self, chunk: ChatChunk) -> list[Event]:
        """What this chunk adds."""
        if isinstance(chunk.usage, Usage):
            self._usage = _usage(chunk.usage)
        events: list[Event] = []
        if not self._begun:
            self._begun = True
            message = Message(id=self._id, model=chunk.model, content=[], usage=self._usage)
            events.append(MessageStart(message))
        for choice in chunk.choices:
            delta = choice.delta
            if isinstance(delta.reasoning, str) and delta.reasoning:
                self._thinking(events, delta.reasoning)
            if isinstance(delta.content, str) and delta.content:
                self._text(events, delta.content)
            if not isinstance(delta.tool_calls, UnsetType):
                for call in delta.tool_calls:
                    self._call(events, call)
            if choice.finish_reason is not None:
                self._finish = choice
        return events

    def close(self) -> list[Event]:
        """The chat has ended as it should."""
        assert self._finish is not None, "a message was closed before it ended"
        events: list[Event] = []
        self._end_block(events)
        return [*events, MessageDelta(self._stop(self._finish), self._usage), MessageStop()]

    def _thinking(self, events: list[Event], text: str) -> None:
        if not isinstance(self._open, ThinkingBlock):
            self._begin(events, ThinkingBlock("", ""))
            self._thought = hashlib.sha256()
        if not self._omit_thinking:
            self._thought.update(text.encode())
            events.append(ContentBlockDelta(self._index, ThinkingDelta(text)))

    def _text(self, events: list[Event], text: str) -> None:
        if not isinstance(self._open, TextBlock):
            self._begin(events, TextBlock(""))
        events.append(ContentBlockDelta(self._index, TextDelta(text)))

    def _call(self, events: list[Event], call: ToolCallDelta) -> None:
        if not isinstance(call.id, UnsetType) and not isinstance(call.function.name, UnsetType):
            self._called = True
            self._begin(events, ToolUseBlock(call_id(call.id), call.function.name, {}))
        if call.function.arguments:
            events.append(ContentBlockDelta(self._index, InputJsonDelta(call.function.arguments)))

    def _begin(self, events: list[Event], block: ContentBlock) -> None:
        self._end_block(events)
        self._open = block
        self._index += 1
        events.append(ContentBlockStart(self._index, block))
        if self._index == 0:
            events.append(Ping())

    def _end_block(self, events: list[Event]) -> None:
        if self._open is None:
            return
        if isinstance(self._open, ThinkingBlock):
            events.append(ContentBlockDelta(self._index, SignatureDelta(SIGNED + self._thought.hexdigest())))
        events.append(ContentBlockStop(self._index))
        self._open = None

    def _stop(self, choice: ChunkChoice) -> Stop:
        if choice.finish_reason == "tool_calls" or (choice.finish_reason == "stop" and self._called):
            return Stop("tool_use")
        if choice.finish_reason == "length":
            cut: StopReason = "max_tokens"
            if self._usage.output_tokens < self._max_tokens:
                cut = "model_context_window_exceeded"
            return Stop(cut)
        if isinstance(choice.stop_reason, str):
            return Stop("stop_sequence", choice.stop_reason)
        return Stop("end_turn")


class MessageFold:
    """Events as the message that they make."""

    def __init__(self) -> None:
        self._message: Message | None = None
        self._parts: list[str] = []
        """Of the open block: text, thought or JSON."""

    def extend(self, events: Iterable[Event]) -> None:
        """Take in the next events."""
        for event in events:
            self._add(event)

    def _add(self, event: Event) -> None:
        if isinstance(event, MessageStart):
            self._message = event.message
            return
        assert self._message is not None, "a message began without message_start"
        match event:
            case ContentBlockStart(content_block=block):
                self._message.content.append(block)
                self._parts = []
            case ContentBlockDelta(delta=TextDelta(text=text)):
                self._parts.append(text)
            case ContentBlockDelta(delta=ThinkingDelta(thinking=text)):
                self._parts.append(text)
            case ContentBlockDelta(delta=InputJsonDelta(partial_json=text)):
                self._parts.append(text)
            case ContentBlockDelta(delta=SignatureDelta(signature=signed)):
                block = self._message.content[-1]
                assert isinstance(block, ThinkingBlock)
                block.signature = signed
            case ContentBlockStop():
                _fill(self._message.content[-1], "".join(self._parts))
            case MessageDelta(delta=stop, usage=usage):
                self._message.stop_reason, self._message.stop_sequence = stop.stop_reason, stop.stop_sequence
                self._message.usage = usage
            case _:
                pass  # ping, message_stop

    def message(self) -> Message:
        """The whole, after message_stop."""
        assert self._message is not None, "a message was asked for before it began"
        return self._message


def call_id(chat_id: str) -> str:
    """The id of a call as Anthropic spells ids."""
    return "toolu_" + chat_id.removeprefix("call_")


def _fill(block: ContentBlock, text: str) -> None:
    match block:
        case TextBlock():
            block.text = text
        case ThinkingBlock():
            block.thinking = text
        case ToolUseBlock():
            block.input = _input(text)


def _input(text: str) -> dict[str, Any]:
    """A call's input. One that was cut off (stop_reason max_tokens) cannot be read: it is empty."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}


def _usage(usage: Usage) -> MessageUsage:
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details is not None else 0
    details = usage.completion_tokens_details
    return MessageUsage(
        input_tokens=usage.prompt_tokens - cached,
        cache_read_input_tokens=cached,
        output_tokens=usage.completion_tokens,
        output_tokens_details=UNSET
        if isinstance(details, UnsetType) or details is None
        else ThinkingTokens(details.reasoning_tokens),
    )
