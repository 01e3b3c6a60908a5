"""Bodies of POST /v1/messages and /v1/messages/count_tokens, as Anthropic has them.

Types and plain ranges are checked while decoding, what hangs together in `asking.py`. Fields that we do not know are
ignored, as in OpenAI's requests.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tandem.core.bounds import TemplateOptions

ToolName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_.:/-]{1,128}$")]
CallId = Annotated[str, Meta(min_length=1, max_length=256)]


class Text(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="text"):
    """A text."""

    text: str
    cache_control: dict[str, Any] | None = None
    """Taken and not needed: whatever prompts begin alike with is cached."""


class Thinking(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="thinking"):
    """What the model thought earlier."""

    thinking: str
    signature: str = ""
    """As it came. One of ours must fit its text; another's is not looked into."""


class RedactedThinking(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="redacted_thinking"):
    """Refused: a thought that only its maker can read."""

    data: str = ""


class ToolUse(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="tool_use"):
    """A call that the model made earlier."""

    id: CallId
    name: ToolName
    input: dict[str, Any]
    cache_control: dict[str, Any] | None = None


class Image(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="image"):
    """Refused: models here read text."""

    source: Any = None


class Document(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="document"):
    """Refused: models here read text."""

    source: Any = None


class SearchResult(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="search_result"):
    """Refused: models here cite nothing."""

    source: Any = None


class ToolResult(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="tool_result"):
    """What came of a call."""

    tool_use_id: CallId
    content: str | list[Text | Image | Document | SearchResult] | None = None
    is_error: bool | None = None
    cache_control: dict[str, Any] | None = None


Block = Text | Thinking | RedactedThinking | ToolUse | ToolResult | Image | Document | SearchResult


class Turn(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One of `messages`."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class Tool(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something that the model may call, and that the client runs."""

    name: ToolName
    type: str | None = None
    """`custom` or nothing; the names of Anthropic's own tools are refused."""
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    """JSON schema of the call's input. Needed."""
    strict: bool | None = None
    cache_control: dict[str, Any] | None = None


class ChooseAuto(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="auto"):
    """The model decides whether it calls."""

    disable_parallel_tool_use: bool = False
    """At most one call."""


class ChooseAny(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="any"):
    """The model must call a tool."""

    disable_parallel_tool_use: bool = False


class ChooseTool(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="tool"):
    """The model must call this tool."""

    name: ToolName
    disable_parallel_tool_use: bool = False


class ChooseNone(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="none"):
    """The model calls nothing."""


Display = Literal["summarized", "omitted"]


class ThinkingEnabled(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="enabled"):
    """Think first."""

    budget_tokens: Annotated[int, Meta(ge=1024, le=2**31 - 1)]
    """Tokens, below max_tokens: then the engine ends the thought, where its marks are tokens of their own."""
    display: Display | None = None
    """`omitted` leaves the thought's text out. `summarized` is the whole thought: nobody sums it up."""


class ThinkingAdaptive(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="adaptive"):
    """Think first, as long as it takes."""

    display: Display | None = None


class ThinkingDisabled(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="disabled"):
    """Answer at once."""


class JsonFormat(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The answer is JSON of this schema, enforced by the engine."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The answer's form."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    """For models whose template reads an effort."""
    format: JsonFormat | None = None


class Metadata(msgspec.Struct, kw_only=True, omit_defaults=True):
    """About the request."""

    user_id: Annotated[str, Meta(max_length=256)] | None = None
    """Whom the client asks for."""


class Conversation(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a request for an answer and one for its length have in common."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[list[Turn], Meta(min_length=1, max_length=100_000)]
    """Turns of one role in a row are one turn. One of the assistant at the end is gone on with."""
    system: str | list[Block] | None = None
    """A text, or blocks of text."""
    tools: Annotated[list[Tool], Meta(max_length=1024)] | None = None
    tool_choice: ChooseAuto | ChooseAny | ChooseTool | ChooseNone | None = None
    thinking: ThinkingEnabled | ThinkingAdaptive | ThinkingDisabled | None = None
    """None is disabled."""
    output_config: OutputConfig | None = None
    cache_control: dict[str, Any] | None = None
    chat_template_kwargs: TemplateOptions | None = None
    """Not Anthropic's, but vLLM's: switches of the model's chat template."""
    cache_salt: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """Likewise: requests with different salts share no KV cache."""
    mcp_servers: Any = None
    """Refused: tools run where the client is."""
    container: Any = None
    """Refused: no code is run here."""


class MessagesRequest(Conversation, kw_only=True, omit_defaults=True):
    """Body of POST /v1/messages."""

    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    """Most tokens of the answer, thoughts included. The context may end sooner."""
    stream: bool | None = False
    stop_sequences: Annotated[list[Annotated[str, Meta(min_length=1, max_length=1024)]], Meta(max_length=64)] | None = (
        None
    )
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    """0 keeps every token."""
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None


class CountTokensRequest(Conversation, kw_only=True, omit_defaults=True):
    """Body of POST /v1/messages/count_tokens."""
