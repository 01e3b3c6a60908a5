"""Which functions a request offers, and whether the model may, must or must not call them."""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from tandem.core.faults import field_fault
from tandem.core.openai_in import ChatRequest, Tool
from tandem.core.shapes import shown
from tandem.errors import RequestError
from tandem.processor.parsers.ports import Tools

_MODES = ("none", "auto", "required")


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """A request's tools, checked."""

    mode: Literal["none", "auto", "required"]
    tools: Tools
    """Functions that may be called."""
    strict: tuple[str, ...]
    """Those whose arguments the client wants by the schema, always."""
    named: bool
    """The client has named the one function to call."""


def tool_choice(request: ChatRequest) -> ToolChoice:
    """What `tools` and `tool_choice` say.

    Raises:
        RequestError: tools without a name, with the same name, or with parameters that are no object; a choice
            without tools, or one that names a tool that is not there. `param` names the field.
    """
    functions = _functions(request.tools) if request.tools else {}
    mode, names = _choice(request.tool_choice, bool(functions))
    for name in names or ():
        if name not in functions:
            raise RequestError(f"tool_choice names {name!r}, which is not in tools", param="tool_choice")
    offered = {name: functions[name] for name in names} if names is not None else functions
    return ToolChoice(
        mode,
        {name: tool.function.parameters or {} for name, tool in offered.items()},
        tuple(name for name, tool in offered.items() if tool.function.strict),
        names is not None and _type(request.tool_choice) == "function",
    )


def _functions(tools: list[dict[str, Any]]) -> dict[str, Tool]:
    try:
        checked = msgspec.convert(tools, list[Tool])
    except msgspec.ValidationError as error:
        fault = field_fault(str(error), list[Tool], inside="tools")
        raise RequestError(f"{fault.field} {fault.what}", param=fault.param) from error
    found: dict[str, Tool] = {}
    for i, tool in enumerate(checked):
        name, place = tool.function.name, f"tools[{i}].function"
        if name in found:
            raise RequestError(f"{place}.name: there is another tool {name!r}", param=f"{place}.name")
        if (tool.function.parameters or {}).get("type", "object") != "object":
            raise RequestError(f'{place}.parameters.type must be "object"', param=f"{place}.parameters.type")
        found[name] = tool
    return found


def _type(choice: str | dict[str, Any] | None) -> Any:
    return choice.get("type") if isinstance(choice, dict) else None


def _choice(
    choice: str | dict[str, Any] | None, has_tools: bool
) -> tuple[Literal["none", "auto", "required"], list[str] | None]:
    """The mode, and names if the choice has some."""
    if choice is None or choice in ("none", "auto"):
        return ("none" if choice == "none" or not has_tools else "auto"), None
    if not has_tools:
        raise RequestError("tool_choice needs tools", param="tool_choice")
    if choice == "required":
        return "required", None
    if isinstance(choice, dict):
        match choice:
            case {"type": "function", "function": {"name": str(name)}}:
                return "required", [name]
            case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": [*tools]}}:
                return mode, [_allowed(tool) for tool in tools]
    may_be = "none, auto, required, a function with its name, or allowed_tools"
    raise RequestError(f"tool_choice must be {may_be}, not {shown(choice)}", param="tool_choice")


def _allowed(tool: Any) -> str:
    match tool:
        case {"type": "function", "function": {"name": str(name)}} | {"type": "function", "name": str(name)}:
            return name
    raise RequestError("tool_choice.allowed_tools.tools must be functions with their names", param="tool_choice")
