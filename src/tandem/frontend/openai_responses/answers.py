"""What clients of Responses get: a response, the items in it, and the events that they are put together from."""

from typing import Literal

import msgspec

from tandem.core.bounds import Metadata
from tandem.core.openai_out import TokenLogprob
from tandem.frontend.openai_responses.requests import Reasoning, ResponsesTool, TextConfig, TextFormat, ToolChoice

Status = Literal["in_progress", "completed", "incomplete"]


class OutputText(msgspec.Struct, kw_only=True, tag_field="type", tag="output_text"):
    """A text."""

    text: str = ""
    annotations: list[None] = []
    logprobs: list[TokenLogprob] = []


class ReasoningText(msgspec.Struct, kw_only=True, tag_field="type", tag="reasoning_text"):
    """A thought."""

    text: str = ""


class MessageItem(msgspec.Struct, kw_only=True, tag_field="type", tag="message"):
    """What the model says."""

    id: str
    role: Literal["assistant"] = "assistant"
    content: list[OutputText] = []
    status: Status = "in_progress"


class ReasoningItem(msgspec.Struct, kw_only=True, tag_field="type", tag="reasoning"):
    """What the model thought, in full."""

    id: str
    summary: list[None] = []
    content: list[ReasoningText] = []
    encrypted_content: None = None
    status: Status = "in_progress"


class FunctionCallItem(msgspec.Struct, kw_only=True, tag_field="type", tag="function_call"):
    """A call for the client to make."""

    id: str
    call_id: str
    name: str
    arguments: str = ""
    """JSON text."""
    status: Status = "in_progress"


OutputItem = MessageItem | ReasoningItem | FunctionCallItem


class InputDetails(msgspec.Struct, frozen=True):
    """`usage.input_tokens_details`."""

    cached_tokens: int
    cache_write_tokens: int = 0


class ReasoningDetails(msgspec.Struct, frozen=True):
    """`usage.output_tokens_details`."""

    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a response cost. Tokens."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: ReasoningDetails
    total_tokens: int


class ResponseFault(msgspec.Struct, frozen=True):
    """Why a response failed."""

    code: str
    message: str


class IncompleteDetails(msgspec.Struct, frozen=True):
    """Why a response is not whole."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class InputTokens(msgspec.Struct, frozen=True, tag_field="object", tag="response.input_tokens"):
    """How long a prompt would be."""

    input_tokens: int


class ResponseObject(msgspec.Struct, kw_only=True, tag_field="object", tag="response"):
    """A response, at its beginning or its end."""

    id: str
    created_at: float
    completed_at: float | None = None
    status: Literal["in_progress", "completed", "incomplete", "failed"] = "in_progress"
    background: bool = False
    error: ResponseFault | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: Metadata = {}
    model: str
    output: list[OutputItem] = []
    parallel_tool_calls: bool = True
    previous_response_id: None = None
    prompt_cache_key: str | None = None
    reasoning: Reasoning
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool = False
    temperature: float | None = None
    text: TextConfig
    tool_choice: str | ToolChoice = "auto"
    tools: list[ResponsesTool] = []
    top_logprobs: int | None = None
    top_p: float | None = None
    truncation: Literal["disabled"] = "disabled"
    usage: ResponseUsage | None = None
    user: str | None = None


class _Lifecycle(msgspec.Struct, kw_only=True, tag_field="type"):
    response: ResponseObject
    sequence_number: int


class Created(_Lifecycle, tag="response.created"):
    """The first event."""


class InProgress(_Lifecycle, tag="response.in_progress"):
    """The second."""


class Completed(_Lifecycle, tag="response.completed"):
    """The last one of a whole response."""


class Incomplete(_Lifecycle, tag="response.incomplete"):
    """The last one of a response that met its limit."""


class Failed(_Lifecycle, tag="response.failed"):
    """The last one of a response that could not be finished."""


class _OfItem(msgspec.Struct, kw_only=True, tag_field="type"):
    item: OutputItem
    output_index: int
    sequence_number: int


class ItemAdded(_OfItem, tag="response.output_item.added"):
    """An item begins, empty."""


class ItemDone(_OfItem, tag="response.output_item.done"):
    """An item is over."""


class _OfPart(msgspec.Struct, kw_only=True, tag_field="type"):
    item_id: str
    output_index: int
    content_index: int = 0
    part: OutputText | ReasoningText
    sequence_number: int


class PartAdded(_OfPart, tag="response.content_part.added"):
    """A text or thought begins, empty."""


class PartDone(_OfPart, tag="response.content_part.done"):
    """A text or thought is over."""


class TextDelta(msgspec.Struct, kw_only=True, tag_field="type", tag="response.output_text.delta", gc=False):
    """More of a text."""

    item_id: str
    output_index: int
    content_index: int = 0
    delta: str
    logprobs: list[TokenLogprob] = []
    sequence_number: int


class TextDone(msgspec.Struct, kw_only=True, tag_field="type", tag="response.output_text.done"):
    """The whole text."""

    item_id: str
    output_index: int
    content_index: int = 0
    text: str
    logprobs: list[TokenLogprob] = []
    sequence_number: int


class ReasoningDelta(msgspec.Struct, kw_only=True, tag_field="type", tag="response.reasoning_text.delta", gc=False):
    """More of a thought."""

    item_id: str
    output_index: int
    content_index: int = 0
    delta: str
    sequence_number: int


class ReasoningDone(msgspec.Struct, kw_only=True, tag_field="type", tag="response.reasoning_text.done"):
    """The whole thought."""

    item_id: str
    output_index: int
    content_index: int = 0
    text: str
    sequence_number: int


class ArgumentsDelta(
    msgspec.Struct, kw_only=True, tag_field="type", tag="response.function_call_arguments.delta", gc=False
):
    """More of a call's arguments."""

    item_id: str
    output_index: int
    delta: str
    sequence_number: int


class ArgumentsDone(msgspec.Struct, kw_only=True, tag_field="type", tag="response.function_call_arguments.done"):
    """A call's whole arguments."""

    item_id: str
    output_index: int
    name: str
    arguments: str
    sequence_number: int


Event = (
    Created
    | InProgress
    | ItemAdded
    | PartAdded
    | TextDelta
    | TextDone
    | ReasoningDelta
    | ReasoningDone
    | ArgumentsDelta
    | ArgumentsDone
    | PartDone
    | ItemDone
    | Completed
    | Incomplete
    | Failed
)

FREE_TEXT = TextFormat(type="text")
