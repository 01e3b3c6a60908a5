"""Counts and sizes of what a request says, whichever API it is of, against the limits. Pure."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tandem.errors import RequestError
from tandem.settings import LimitSettings

_COUNTED: Final = {
    "messages": ("max_messages", "messages"),
    "input": ("max_messages", "items"),
    "tools": ("max_tools", "tools"),
    "stop": ("max_stop", "stop strings"),
    "stop_sequences": ("max_stop", "stop strings"),
    "prompt": ("max_prompts", "prompts"),
}
"""Lists of a body, by name: the limit of their length, and what they are made of."""
_SCHEMAS: Final = (
    ("response_format", "json_schema", "schema"),
    ("structured_outputs", "json"),
    ("guided_json",),
    ("text", "format", "schema"),
    ("output_config", "format", "schema"),
)
"""Where bodies have a schema of the answer."""


def check_bounds(body: Any, limits: LimitSettings) -> None:
    """Raises `RequestError` that names the field, what it has and what it may have."""
    if not isinstance(body, dict):
        return
    for name, (limit, what) in _COUNTED.items():
        value = body.get(name)
        if isinstance(value, list) and not (name == "prompt" and value and isinstance(value[0], int)):
            _check(name, len(value), getattr(limits, limit), what)
    for name in ("n", "best_of"):
        value = body.get(name)
        if isinstance(value, int):
            _check(name, value, limits.max_n, "answers")
    for field, schema in _schemas(body):
        _check_schema(field, schema, limits)


def _check(field: str, has: int, may: int, what: str) -> None:
    if has > may:
        raise RequestError(f"{field} has {has} {what}; a request may have {may}", param=field)


def _schemas(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for path in _SCHEMAS:
        value: Any = body
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, dict):
            yield ".".join(path), value
    tools = body.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(tool, dict):
            continue
        function = tool.get("function")
        for owner, place in ((tool, f"tools[{index}]"), (function, f"tools[{index}].function")):
            for name in ("parameters", "input_schema"):
                if isinstance(owner, dict) and isinstance(owner.get(name), dict):
                    yield f"{place}.{name}", owner[name]


def _check_schema(field: str, schema: dict[str, Any], limits: LimitSettings) -> None:
    size = len(msgspec.json.encode(schema))
    if size > limits.max_schema_bytes:
        raise RequestError(f"{field} has {size} bytes; the limit is {limits.max_schema_bytes}", param=field)
    patterns, waiting = 0, [schema]
    while waiting:
        one: Any = waiting.pop()
        if isinstance(one, dict):
            patterns += isinstance(one.get("pattern"), str)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    if patterns > limits.max_schema_patterns:
        raise RequestError(
            f"{field} has {patterns} patterns; a schema may have {limits.max_schema_patterns}", param=field
        )
