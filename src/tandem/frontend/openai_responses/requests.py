"""What clients of Responses send. What only OpenAI can do is refused in asking.py, by name."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tandem.core.bounds import (
    Bias,
    Count,
    CountOrNone,
    Label,
    Metadata,
    StopText,
    TemplateOptions,
    TokenId,
)
from tandem.core.openai_in import Effort


class InputPart(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A part of an item's content."""

    type: str
    text: str | None = None
    refusal: str | None = None


class InputItem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One item of a conversation: a message, a thought, a call or its result, as a response's `output` has them too."""

    type: str = "message"
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[InputPart] | None = None
    id: str | None = None
    status: str | None = None
    call_id: str | None = None
    """Of a function_call, and of the function_call_output that answers it."""
    name: str | None = None
    arguments: str | None = None
    output: str | list[InputPart] | None = None
    summary: list[InputPart] | None = None


class ResponsesTool(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something that the model may call."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A certain function."""

    type: str
    name: str | None = None


class TextFormat(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The form of the text."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: dict[str, Any] | bool | None = None
    strict: bool | None = None
    description: str | None = None


class TextConfig(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How the text is to be."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    """Taken, and of no effect."""


class Reasoning(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How much to think."""

    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    """Taken, and of no effect: thoughts come in full."""


class ResponsesStreamOptions(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a stream has beside its events."""

    include_obfuscation: bool | None = None
    """Taken, and of no effect: events are not padded."""


class ResponsesRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Body of POST /v1/responses."""

    input: str | Annotated[list[InputItem], Meta(min_length=1)]
    model: str | None = None
    instructions: str | None = None
    stream: bool | None = False
    stream_options: ResponsesStreamOptions | None = None
    max_output_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    """Of every token of the text, also asked for by `include`."""
    include: list[Label] | None = None
    tools: list[ResponsesTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Count | None = None
    """Taken, and of no effect: it counts calls that the server makes, and this one makes none."""
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] | None = None
    """Taken, and of no effect: a conversation that is too long is refused."""
    store: bool | None = None
    """Taken, and of no effect: nothing is kept, and the response says `store: false`."""
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    prompt: Any = None
    metadata: Metadata | None = None
    user: Label | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: Label | None = None
    service_tier: Label | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    """This and what follows are not OpenAI's; they mean what they mean in a chat."""
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    logit_bias: Annotated[dict[str, Bias], Meta(max_length=1024)] | None = None
    stop: StopText | Annotated[list[StopText], Meta(max_length=64)] | None = None
    stop_token_ids: Annotated[list[TokenId], Meta(max_length=1024)] | None = None
    include_stop_str_in_output: bool = False
    min_tokens: CountOrNone | None = None
    ignore_eos: bool | None = False
    skip_special_tokens: bool = True
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    cache_salt: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: TemplateOptions | None = None
