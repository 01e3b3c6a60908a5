"""A request in the Responses' form as the chat that it means."""

from typing import Any, Final

from tandem.core.faults import object_in
from tandem.core.openai_in import (
    ChatRequest,
    FunctionCall,
    JsonSchema,
    Message,
    ResponseFormat,
    StreamOptions,
    ToolCall,
)
from tandem.errors import RequestError
from tandem.frontend.openai_responses.requests import (
    InputItem,
    InputPart,
    ResponsesRequest,
    ResponsesTool,
    TextFormat,
    ToolChoice,
)

LOGPROBS: Final = "message.output_text.logprobs"
"""The entry of `include` that asks for log probabilities."""
_STATELESS: Final = "no response is kept here; send the whole conversation as input"
REFUSED: Final = {
    "previous_response_id": _STATELESS,
    "conversation": _STATELESS,
    "background": "a response is made while its client waits",
    "prompt": "no prompt templates are kept here",
}
_TEXTS: Final = frozenset({"input_text", "output_text", "text", "reasoning_text", "summary_text"})
_FIELDS: Final = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
}
"""Fields of a chat by their names in Responses."""
_FORMAT: Final = "response_format.json_schema"


def chat_of(request: ResponsesRequest) -> ChatRequest:
    """The chat to answer, always as a stream: the response is put together from its events.

    Raises:
        RequestError: something that cannot be, or is not served; `param` names the place.
    """
    for field, why in REFUSED.items():
        if getattr(request, field):
            raise RequestError(f"{field} is not taken here: {why}", param=field)
    messages = [] if request.instructions is None else [Message(role="system", content=request.instructions)]
    if isinstance(request.input, str):
        messages.append(Message(role="user", content=request.input))
    else:
        messages += _messages(request.input)
    wanted = request.top_logprobs is not None or LOGPROBS in (request.include or ())
    return ChatRequest(
        model=request.model,
        messages=messages,
        stream=True,
        stream_options=StreamOptions(include_usage=True),
        max_completion_tokens=request.max_output_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        min_p=request.min_p,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        repetition_penalty=request.repetition_penalty,
        logit_bias=request.logit_bias,
        stop=request.stop,
        stop_token_ids=request.stop_token_ids,
        include_stop_str_in_output=request.include_stop_str_in_output,
        min_tokens=request.min_tokens,
        ignore_eos=request.ignore_eos,
        skip_special_tokens=request.skip_special_tokens,
        seed=request.seed,
        logprobs=wanted,
        top_logprobs=request.top_logprobs,
        tools=[_tool(tool, f"tools[{i}]") for i, tool in enumerate(request.tools or ())] or None,
        tool_choice=_choice(request.tool_choice),
        parallel_tool_calls=request.parallel_tool_calls is not False,
        response_format=_format(request.text.format if request.text is not None else None),
        reasoning_effort=request.reasoning.effort if request.reasoning is not None else None,
        enable_thinking=request.enable_thinking,
        chat_template_kwargs=request.chat_template_kwargs,
        priority=request.priority,
        cache_salt=request.cache_salt,
        prompt_cache_key=request.prompt_cache_key,
        user=request.user,
    )


def in_their_words(error: RequestError) -> RequestError:
    """An error about the chat, with the field that the client wrote."""
    if error.param is None:
        return error
    head, dot, rest = error.param.partition(".")
    if error.param.startswith("messages["):
        field = "input"  # items and messages are not numbered alike
    elif error.param.startswith(_FORMAT):
        field = "text.format" + error.param.removeprefix(_FORMAT)
    elif head.startswith("tools["):
        field = head + dot + rest.removeprefix("function.")
    else:
        field = _FIELDS.get(head, head) + dot + rest
    return error if field == error.param else type(error)(error.message.replace(error.param, field), param=field)


def _messages(items: list[InputItem]) -> list[Message]:
    """A thought, a text and calls in a row are one turn of the assistant."""
    made: list[Message] = []
    for i, item in enumerate(items):
        place = f"input[{i}]"
        match item.type:
            case "message":
                _add_message(made, item, place)
            case "reasoning":
                thought = _text(item.content or item.summary or "", f"{place}.content")
                _turn(made, open_only=False).reasoning_content = thought
            case "function_call":
                if item.name is None or item.call_id is None:
                    raise RequestError(f"{place}: a function_call needs name and call_id", param=place)
                arguments = object_in(item.arguments or "{}", f"{place}.arguments")
                call = ToolCall(id=item.call_id, function=FunctionCall(name=item.name, arguments=arguments))
                turn = _turn(made)
                turn.tool_calls = [*(turn.tool_calls or ()), call]
            case "function_call_output":
                if item.call_id is None or item.output is None:
                    raise RequestError(f"{place}: a function_call_output needs call_id and output", param=place)
                text = _text(item.output, f"{place}.output")
                made.append(Message(role="tool", tool_call_id=item.call_id, content=text))
            case "item_reference":
                raise RequestError(f"{place}: {_STATELESS}", param=f"{place}.type")
            case other:
                raise RequestError(f"{place}: items of type {other[:64]!r} are not served", param=f"{place}.type")
    return made


def _add_message(made: list[Message], item: InputItem, place: str) -> None:
    if item.role is None:
        raise RequestError(f"{place}.role is missing", param=f"{place}.role")
    if item.content is None:
        raise RequestError(f"{place}.content is missing", param=f"{place}.content")
    text = _text(item.content, f"{place}.content")
    if item.role == "assistant":
        turn = _turn(made)
        turn.content = text if turn.content is None else f"{turn.content}\n{text}"
    else:
        made.append(Message(role=item.role, content=text))


def _turn(made: list[Message], *, open_only: bool = True) -> Message:
    """The assistant's turn that goes on, or a new one. A thought begins a new one unless it is the first thing said."""
    if not made or made[-1].role != "assistant" or not open_only:
        made.append(Message(role="assistant"))
    return made[-1]


def _text(content: str | list[InputPart], place: str) -> str:
    if isinstance(content, str):
        return content
    found = []
    for i, part in enumerate(content):
        if part.type == "refusal":
            found.append(part.refusal or "")
            continue
        if part.type not in _TEXTS:
            message = f"{place}[{i}].type must be input_text, not {part.type[:64]!r}: models here read text"
            raise RequestError(message, param=f"{place}[{i}].type")
        if part.text is None:
            raise RequestError(f"{place}[{i}].text is missing", param=f"{place}[{i}].text")
        found.append(part.text)
    return "\n".join(found)


def _tool(tool: ResponsesTool, place: str) -> dict[str, Any]:
    if tool.type != "function":
        message = f"{place}.type {tool.type[:64]!r}: it runs at OpenAI; only tools of your own (function) are taken"
        raise RequestError(message, param=f"{place}.type")
    if tool.name is None:
        raise RequestError(f"{place}.name is missing", param=f"{place}.name")
    function: dict[str, Any] = {"name": tool.name}
    for field in ("description", "parameters", "strict"):
        if (value := getattr(tool, field)) is not None:
            function[field] = value
    return {"type": "function", "function": function}


def _choice(choice: str | ToolChoice | None) -> str | dict[str, Any] | None:
    if not isinstance(choice, ToolChoice):
        return choice
    if choice.type != "function" or choice.name is None:
        raise RequestError("tool_choice must be none, auto, required or a function with its name", param="tool_choice")
    return {"type": "function", "function": {"name": choice.name}}


def _format(form: TextFormat | None) -> ResponseFormat | None:
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return ResponseFormat(type="json_object")
    if form.schema is None:
        raise RequestError("text.format.schema is missing", param="text.format.schema")
    schema = JsonSchema(name=form.name or "", schema=form.schema, strict=form.strict)
    return ResponseFormat(type="json_schema", json_schema=schema)
