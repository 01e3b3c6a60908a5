"""A client's messages and tools in the form that chat templates read."""

import json
from typing import Any

from tandem.core.faults import object_in
from tandem.core.openai_in import ChatRequest, ContentPart, Message, ToolCall
from tandem.errors import RequestError
from tandem.processor.tool_choice import tool_choice

_TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal"})


def template_messages(
    messages: list[Message], *, parts: bool = False, arguments_as_text: bool = False
) -> list[dict[str, Any]]:
    """Plain mappings of what each message says, in the form that the template takes.

    Args:
        parts: content of several parts stays a list.
        arguments_as_text: arguments of calls are JSON text, not a mapping.
    Raises:
        RequestError: a part that is not text, or arguments that are not JSON; `param` names the place.
    """
    shown = [_message(message, f"messages[{i}]", parts) for i, message in enumerate(messages)]
    if arguments_as_text:
        for call in (call for message in shown for call in message.get("tool_calls", ())):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return shown


def template_tools(request: ChatRequest) -> list[dict[str, Any]] | None:
    """The tools to show to the model: none when it may not call any. Raises `RequestError` as `tool_choice`."""
    tool_choice(request)
    return None if request.tool_choice == "none" else request.tools or None


def _message(message: Message, place: str, parts: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"role": message.role, "content": _content(message, place, parts)}
    for field in ("name", "tool_call_id", "reasoning_content", "reasoning"):
        value = getattr(message, field)
        if value is not None:
            shown[field] = value
    if message.tool_calls:
        calls = enumerate(message.tool_calls)
        shown["tool_calls"] = [_tool_call(call, f"{place}.tool_calls[{i}]") for i, call in calls]
    return shown


def _content(message: Message, place: str, parts: bool) -> str | list[dict[str, Any]]:
    content = message.content
    if content is None:
        if message.role == "assistant":
            return ""  # the turn may be calls or thoughts alone
        raise RequestError(f"{place}.content is missing: a {message.role} message needs it", param=f"{place}.content")
    if isinstance(content, str):
        return content
    texts = [_part(part, f"{place}.content[{i}]") for i, part in enumerate(content)]
    if parts and len(texts) > 1:
        return [{"type": "text", "text": text} for text in texts]
    return "\n".join(texts)


def _part(part: ContentPart, place: str) -> str:
    if part.type not in _TEXT_PARTS:
        raise RequestError(
            f"{place}.type must be text, not {part.type[:32]!r}: models here read text", param=f"{place}.type"
        )
    if part.text is None:
        raise RequestError(f"{place}.text is missing: a text part needs it", param=f"{place}.text")
    return part.text


def _tool_call(call: ToolCall, place: str) -> dict[str, Any]:
    """Arguments become a mapping, since templates print or walk them."""
    arguments = call.function.arguments
    if isinstance(arguments, str):
        arguments = object_in(arguments or "{}", f"{place}.function.arguments")
    function = {"name": call.function.name, "arguments": arguments}
    return {"type": call.type, "function": function} | ({"id": call.id} if call.id is not None else {})
