"""Calls that must be: the form that an engine holds the answer to, so that what it says is read back as calls.

The form is the model's own, written as a structural tag (XGrammar's JSON, which vLLM and SGLang take): calls of these
functions, with arguments by their schemas. `grammars.after_thoughts` gives it room for a thought.
"""

from collections.abc import Sequence
from typing import Any

from tandem.processor.parsers.ports import CallForm, ToolFormat, Tools

_ANY_OBJECT = {"type": "object"}


def required_calls(form: CallForm, tools: Tools, *, single: bool) -> dict[str, Any]:
    """The structural tag of an answer that is calls and nothing else.

    Args:
        tools: functions that may be called.
        single: one call and no more.
    """
    calls = _calls(form, [_tag(form, name, schema) for name, schema in tools.items()], single=single)
    parts = [_const(form.before), calls, _const(form.after)] if form.before else [calls]
    return _tagged(parts[0] if len(parts) == 1 else {"type": "sequence", "elements": parts})


def calls_or(form: CallForm, tools: Tools, answer: dict[str, Any], *, single: bool) -> dict[str, Any]:
    """The structural tag of an answer that is calls, as `required_calls` has them, or else has the form `answer`."""
    calls = required_calls(form, tools, single=single)["format"]
    return _tagged({"type": "or", "elements": [calls, answer]})


def strict_calls(format_: ToolFormat, tools: Tools, strict: Sequence[str], *, single: bool) -> dict[str, Any] | None:
    """The structural tag of free text in which calls, should there be any, have arguments by their schemas.

    Args:
        strict: functions whose schema rules; others take any object.
    Returns:
        None where nothing tells a call from text before it is over.
    """
    form = format_.form
    if form is None or not form.trigger:
        return None
    tags = [_tag(form, name, schema if name in strict else {}) for name, schema in tools.items()]
    if form.before:
        content = _calls(form, tags, single=single)
        tags = [{"type": "tag", "begin": form.before, "content": content, "end": form.after}]
    return _tagged({"type": "triggered_tags", "triggers": [form.trigger], "tags": tags, "stop_after_first": single})


def list_of_calls(tools: Tools, *, single: bool) -> dict[str, Any]:
    """The JSON schema of an answer that is a list of calls, for models whose own form cannot be held.

    Raises:
        ValueError: two schemas define different things under one name.
    """
    definitions: dict[str, Any] = {}
    items = []
    for name, schema in tools.items():
        plain = {key: value for key, value in schema.items() if key != "$defs"} or _ANY_OBJECT
        for key, value in (schema.get("$defs") or {}).items():
            if definitions.setdefault(key, value) != value:
                raise ValueError(f"$defs.{key} means different things in different tools")
        properties = {"name": {"type": "string", "enum": [name]}, "parameters": plain}
        items.append({"type": "object", "properties": properties, "required": ["name", "parameters"]})
    found: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"anyOf": items}}
    if single:
        found["maxItems"] = 1
    if definitions:
        found["$defs"] = definitions
    return found


def _tag(form: CallForm, name: str, schema: Any) -> dict[str, Any]:
    content = {"type": "json_schema", "json_schema": schema or _ANY_OBJECT, "style": form.style}
    return {"type": "tag", "begin": form.begin.format(name=name), "content": content, "end": form.end}


def _calls(form: CallForm, tags: list[dict[str, Any]], *, single: bool) -> dict[str, Any]:
    return {
        "type": "tags_with_separator",
        "tags": tags,
        "separator": form.separator,
        "at_least_one": True,
        "stop_after_first": single,
    }


def _const(text: str) -> dict[str, Any]:
    return {"type": "const_string", "value": text}


def _tagged(form: dict[str, Any]) -> dict[str, Any]:
    return {"type": "structural_tag", "format": form}
