"""Values that a model writes as plain text, to JSON, by the type that a function's JSON schema gives them."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tandem.processor.parsers.literals import Literals, NoLiteral

_MOST_SCHEMAS: Final = 1000
_INTEGER: Final = re.compile(r"-?(0|[1-9]\d*)", re.ASCII)
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_STRING: Final = frozenset({"string"})
_NAMES: Final = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def types_of(parameters: Mapping[str, Any], name: str) -> frozenset[str]:
    """Types that a function's parameter may have, as JSON schema names them; string where nothing is said.

    Args:
        parameters: JSON schema of all parameters.
    """
    properties = parameters.get("properties")
    waiting: list[Any] = [properties.get(name)] if isinstance(properties, Mapping) else []
    found: set[str] = set()
    for _ in range(_MOST_SCHEMAS):
        if not waiting:
            break
        schema = waiting.pop()
        if not isinstance(schema, Mapping):
            continue
        if isinstance(schema.get("$ref"), str):
            waiting.append(_referred(parameters, schema["$ref"]))
        said = schema.get("type")
        found.update(one for one in (said if isinstance(said, list) else [said]) if isinstance(one, str))
        values = schema.get("enum")
        found.update(_NAMES.get(type(value), "string") for value in (values if isinstance(values, list) else ()))
        if "const" in schema:
            found.add(_NAMES.get(type(schema["const"]), "string"))
        for group in ("anyOf", "oneOf", "allOf"):
            if isinstance(schema.get(group), list):
                waiting += schema[group]
    return frozenset(found) or _STRING


def as_json(value: str, types: frozenset[str]) -> str:
    """JSON text of the first of `types` that `value` can be; a string if it is none of them."""
    word = value.strip()
    if "null" in types and word.lower() == "null":
        return "null"
    if "integer" in types and _INTEGER.fullmatch(word):
        return word
    if "number" in types and _NUMBER.fullmatch(word):
        return word
    if "boolean" in types and word.lower() in ("true", "false"):
        return word.lower()
    if types & {"object", "array"} and word[:1] in ("{", "[") and (found := _structure(word)) is not None:
        return found
    return json.dumps(value, ensure_ascii=False)


def _structure(text: str) -> str | None:
    """A JSON object or list, which a model may have written as Python would."""
    try:
        msgspec.json.decode(text)
        return text
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    literals = Literals(text)
    try:
        found = literals.value()
    except NoLiteral:
        return None
    return found if literals.at == len(text) else None


def _referred(parameters: Mapping[str, Any], reference: str) -> Any:
    """`#/$defs/Name` in `parameters`; None for any other reference."""
    parts = reference.split("/")
    if len(parts) != 3 or parts[0] != "#" or parts[1] not in ("$defs", "definitions"):
        return None
    definitions = parameters.get(parts[1])
    return definitions.get(parts[2]) if isinstance(definitions, Mapping) else None
