"""A conversation in Anthropic's form as the chat that it means."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from tandem.core.openai_in import (
    ChatRequest,
    ContentPart,
    Effort,
    FunctionCall,
    JsonSchema,
    Message,
    ResponseFormat,
    StreamOptions,
    ToolCall,
)
from tandem.errors import RequestError
from tandem.frontend.anthropic.requests import (
    ChooseAny,
    ChooseNone,
    ChooseTool,
    Conversation,
    Document,
    Image,
    MessagesRequest,
    RedactedThinking,
    SearchResult,
    Text,
    Thinking,
    ThinkingAdaptive,
    ThinkingEnabled,
    Tool,
    ToolResult,
    ToolUse,
    Turn,
)

SIGNED: Final = "sha256:"
"""What a signature of ours begins with."""
REFUSED: Final = {"mcp_servers": "tools run where the client is", "container": "no code is run here"}
_EFFORTS: Final[dict[str, Effort]] = {"xhigh": "high", "max": "high"}
"""Anthropic's efforts that templates do not know."""


def signature(thinking: str) -> str:
    """The signature of a thought: a checksum, so that one that comes back changed is noticed."""
    return SIGNED + hashlib.sha256(thinking.encode()).hexdigest()


def chat_of(request: MessagesRequest) -> ChatRequest:
    """The chat to answer, always as a stream: its chunks become events, or are folded into a message.

    Raises:
        RequestError: something that cannot be, or is not served; `param` names the place.
    """
    chat = conversation(request)
    if isinstance(request.thinking, ThinkingEnabled) and request.thinking.budget_tokens >= request.max_tokens:
        raise RequestError(
            f"thinking.budget_tokens {request.thinking.budget_tokens} must be below max_tokens {request.max_tokens}",
            param="thinking.budget_tokens",
        )
    chat.stream = True
    # Every event of usage is cumulative, and the first one has the prompt's.
    chat.stream_options = StreamOptions(include_usage=True, continuous_usage_stats=True)
    chat.max_tokens = request.max_tokens
    chat.fit_max_tokens = True
    if isinstance(request.thinking, ThinkingEnabled):
        chat.thinking_token_budget = request.thinking.budget_tokens
    chat.stop = request.stop_sequences or None
    chat.temperature, chat.top_p, chat.top_k = request.temperature, request.top_p, request.top_k
    chat.user = request.metadata.user_id if request.metadata is not None else None
    return chat


def conversation(request: Conversation) -> ChatRequest:
    """What the model is to read. Raises as `chat_of`."""
    for field, why in REFUSED.items():
        if getattr(request, field):
            raise RequestError(f"{field} is not taken here: {why}", param=field)
    messages = [_system("system", request.system)] if request.system else []
    messages += _turns(request.messages)
    last = messages[-1]
    choice, config = request.tool_choice, request.output_config
    chat = ChatRequest(
        model=request.model,
        messages=messages,
        tools=[_tool(tool, f"tools[{i}]") for i, tool in enumerate(request.tools or ())] or None,
        tool_choice=_choice(request),
        parallel_tool_calls=choice is None or isinstance(choice, ChooseNone) or not choice.disable_parallel_tool_use,
        enable_thinking=isinstance(request.thinking, ThinkingEnabled | ThinkingAdaptive),
        chat_template_kwargs=request.chat_template_kwargs,
        cache_salt=request.cache_salt,
    )
    if config is not None and config.effort is not None:
        chat.reasoning_effort = _EFFORTS.get(config.effort, config.effort)
    if config is not None and config.format is not None:
        chat.response_format = ResponseFormat(
            type="json_schema", json_schema=JsonSchema(name="answer", schema=config.format.schema, strict=True)
        )
    if last.role == "assistant":
        if last.tool_calls:
            raise RequestError("messages: a tool_use needs its tool_result in the next message", param="messages")
        chat.add_generation_prompt, chat.continue_final_message = False, True
    return chat


def _choice(request: Conversation) -> str | dict[str, Any] | None:
    choice = request.tool_choice
    if choice is None:
        return None
    if isinstance(choice, ChooseNone):
        return "none"
    if isinstance(choice, ChooseTool):
        if choice.name not in {tool.name for tool in request.tools or ()}:
            raise RequestError(f"tool_choice names {choice.name!r}, which is not in tools", param="tool_choice.name")
        return {"type": "function", "function": {"name": choice.name}}
    if not request.tools:
        raise RequestError("tool_choice needs tools", param="tool_choice")
    return "required" if isinstance(choice, ChooseAny) else "auto"


def _tool(tool: Tool, place: str) -> dict[str, Any]:
    if tool.type not in (None, "custom"):
        raise RequestError(
            f"{place}.type {tool.type[:64]!r}: it runs at Anthropic; only tools of your own (custom) are taken",
            param=f"{place}.type",
        )
    if tool.input_schema is None:
        raise RequestError(f"{place}.input_schema is missing", param=f"{place}.input_schema")
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.input_schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _turns(turns: Sequence[Turn]) -> list[Message]:
    """Turns of one role in a row are one; results of calls are messages of their own."""
    messages: list[Message] = []
    open_calls: set[str] = set()
    for i, turn in enumerate(turns):
        place = f"messages[{i}].content"
        if turn.role == "system":
            messages.append(_system(place, turn.content))
        elif turn.role == "assistant":
            message = _assistant(turn.content, place)
            if messages and messages[-1].role == "assistant":
                message = _joined(messages.pop(), message)
            messages.append(message)
            open_calls = {call.id for call in message.tool_calls or () if call.id is not None}
        else:
            for message in _user(turn.content, place, open_calls):
                if message.role == "user" and messages and messages[-1].role == "user":
                    message = _joined(messages.pop(), message)
                messages.append(message)
    return messages


def _system(place: str, content: Any) -> Message:
    if isinstance(content, str):
        return Message(role="system", content=content)
    for i, block in enumerate(content):
        if not isinstance(block, Text):
            raise _refusal(block, f"{place}[{i}]", "a system message")
    return Message(role="system", content=_texts(content))


def _assistant(content: Any, place: str) -> Message:
    if isinstance(content, str):
        return Message(role="assistant", content=content)
    thoughts: list[str] = []
    texts: list[str] = []
    calls: list[ToolCall] = []
    for i, block in enumerate(content):
        if isinstance(block, Text):
            texts.append(block.text)
        elif isinstance(block, Thinking):
            _check_signature(block, f"{place}[{i}]")
            thoughts.append(block.thinking)
        elif isinstance(block, ToolUse):
            calls.append(ToolCall(id=block.id, function=FunctionCall(name=block.name, arguments=block.input)))
        else:
            raise _refusal(block, f"{place}[{i}]", "an assistant message")
    return Message(
        role="assistant",
        content="".join(texts),
        reasoning_content="".join(thoughts) or None,
        tool_calls=calls or None,
    )


def _user(content: Any, place: str, open_calls: set[str]) -> Iterable[Message]:
    if isinstance(content, str):
        yield Message(role="user", content=content)
        return
    texts: list[Text] = []
    for i, block in enumerate(content):
        if isinstance(block, Text):
            texts.append(block)
        elif isinstance(block, ToolResult):
            if texts:
                raise RequestError(f"{place}[{i}]: results of calls come before texts", param=f"{place}[{i}]")
            yield _result(block, f"{place}[{i}]", open_calls)
        else:
            raise _refusal(block, f"{place}[{i}]", "a user message")
    if texts or not content:
        yield Message(role="user", content=_texts(texts))


def _result(block: ToolResult, place: str, open_calls: set[str]) -> Message:
    if block.tool_use_id not in open_calls:
        raise RequestError(
            f"{place}.tool_use_id {block.tool_use_id[:64]!r} answers no tool_use of the message before",
            param=f"{place}.tool_use_id",
        )
    open_calls.discard(block.tool_use_id)
    content = block.content or ""
    if not isinstance(content, str):
        for i, part in enumerate(content):
            if not isinstance(part, Text):
                raise _refusal(part, f"{place}.content[{i}]", "a tool's result")
        content = "\n".join(part.text for part in content if isinstance(part, Text))
    if block.is_error:  # templates know no failed results
        content = f"Error: {content}" if content else "Error"
    return Message(role="tool", tool_call_id=block.tool_use_id, content=content)


def _joined(first: Message, second: Message) -> Message:
    """Two messages of one role as one."""
    if first.role == "assistant":
        return Message(
            role="assistant",
            content=f"{first.content or ''}{second.content or ''}",
            reasoning_content=f"{first.reasoning_content or ''}{second.reasoning_content or ''}" or None,
            tool_calls=[*(first.tool_calls or ()), *(second.tool_calls or ())] or None,
        )
    return Message(role=first.role, content=[*_parts(first.content), *_parts(second.content)])


def _parts(content: str | list[ContentPart] | None) -> list[ContentPart]:
    return [ContentPart(type="text", text=content)] if isinstance(content, str) else list(content or ())


def _texts(blocks: Sequence[Text]) -> str | list[ContentPart]:
    if len(blocks) == 1:
        return blocks[0].text
    return [ContentPart(type="text", text=block.text) for block in blocks] or ""


def _check_signature(block: Thinking, place: str) -> None:
    if block.signature.startswith(SIGNED) and block.signature != signature(block.thinking):
        raise RequestError(
            f"{place} was changed since it was sent: its signature does not fit", param=f"{place}.signature"
        )


def _refusal(block: msgspec.Struct, place: str, where: str) -> RequestError:
    kind = block.__struct_config__.tag
    match block:
        case Image() | Document() | SearchResult():
            why = f"models here read text, not {kind} blocks"
        case RedactedThinking():
            why = "redacted_thinking can be read only by whoever made it"
        case _:
            why = f"{kind} blocks do not belong into {where}"
    return RequestError(f"{place}: {why}", param=f"{place}.type")
