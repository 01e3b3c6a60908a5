"""What clients of Messages get: a message in one piece, or the events that it is put together from."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"]


class ThinkingTokens(msgspec.Struct, frozen=True):
    """`usage.output_tokens_details`."""

    thinking_tokens: int


class MessageUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a message cost so far. Tokens; a prompt's are the sum of the first three."""

    input_tokens: int
    """Computed anew."""
    cache_creation_input_tokens: int = 0
    """Always 0: whatever is computed is cached, and nothing is charged for it."""
    cache_read_input_tokens: int = 0
    output_tokens: int
    output_tokens_details: ThinkingTokens | UnsetType = UNSET
    service_tier: Literal["standard"] = "standard"


class TextBlock(msgspec.Struct, tag_field="type", tag="text"):
    """A text."""

    text: str


class ThinkingBlock(msgspec.Struct, tag_field="type", tag="thinking"):
    """A thought."""

    thinking: str
    signature: str
    """A checksum of the thought as it was sent. It shows that nothing was changed; it proves no origin."""


class ToolUseBlock(msgspec.Struct, tag_field="type", tag="tool_use"):
    """A call for the client to make."""

    id: str
    name: str
    input: dict[str, Any]


ContentBlock = TextBlock | ThinkingBlock | ToolUseBlock


class Message(msgspec.Struct, kw_only=True, tag_field="type", tag="message"):
    """The answer."""

    id: str
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[ContentBlock]
    stop_reason: StopReason | None = None
    """None only at the start of a stream."""
    stop_sequence: str | None = None
    """Which of the request's `stop_sequences` ended it, if one did."""
    stop_details: None = None
    usage: MessageUsage


class MessageStart(msgspec.Struct, tag_field="type", tag="message_start"):
    """The first event."""

    message: Message


class Ping(msgspec.Struct, tag_field="type", tag="ping"):
    """Nothing."""


class ContentBlockStart(msgspec.Struct, tag_field="type", tag="content_block_start"):
    """A block begins, empty."""

    index: int
    content_block: ContentBlock


class TextDelta(msgspec.Struct, tag_field="type", tag="text_delta", gc=False):
    """More of a text."""

    text: str


class InputJsonDelta(msgspec.Struct, tag_field="type", tag="input_json_delta", gc=False):
    """More of a call's input. The pieces of a block make one JSON object."""

    partial_json: str


class ThinkingDelta(msgspec.Struct, tag_field="type", tag="thinking_delta", gc=False):
    """More of a thought."""

    thinking: str


class SignatureDelta(msgspec.Struct, tag_field="type", tag="signature_delta"):
    """A thought is over."""

    signature: str


class ContentBlockDelta(msgspec.Struct, tag_field="type", tag="content_block_delta", gc=False):
    """More of a block."""

    index: int
    delta: TextDelta | InputJsonDelta | ThinkingDelta | SignatureDelta


class ContentBlockStop(msgspec.Struct, tag_field="type", tag="content_block_stop"):
    """A block is over."""

    index: int


class Stop(msgspec.Struct, frozen=True):
    """Why the message ended."""

    stop_reason: StopReason
    stop_sequence: str | None = None
    stop_details: None = None


class MessageDelta(msgspec.Struct, tag_field="type", tag="message_delta"):
    """The message ended, and cost so much in all."""

    delta: Stop
    usage: MessageUsage


class MessageStop(msgspec.Struct, tag_field="type", tag="message_stop"):
    """The last event."""


Event = MessageStart | Ping | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop


class TokenCount(msgspec.Struct, frozen=True):
    """Answer of /v1/messages/count_tokens."""

    input_tokens: int
    """Of the whole prompt, the chat template's own included."""
