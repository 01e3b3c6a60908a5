"""From the text of a description to its value. Every fault is found before one is told, each with its path.

msgspec stops at the first fault and knows no near misses, so its picture of the classes (`msgspec.inspect`) is walked
here; the conversion itself is msgspec's.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from operator import ge, gt, le
from typing import Any

import msgspec
from msgspec import inspect

from tandem.deploy.check import rule_faults
from tandem.deploy.description import Description
from tandem.errors import ConfigError
from tandem.settings.yaml_text import read_yaml

_KINDS: tuple[tuple[type, type | tuple[type, ...], str], ...] = (
    (inspect.BoolType, bool, "true or false"),
    (inspect.IntType, int, "a whole number"),
    (inspect.FloatType, (int, float), "a number"),
    (inspect.StrType, str, "text"),
)


def read_description(text: str, origin: str) -> Description:
    """The description in `text`; `origin` is how messages call it.

    Raises:
        ConfigError: one line per fault.
    """
    document = read_yaml(text, origin)
    if not isinstance(document, dict):
        raise ConfigError(f"{origin}: a description is a mapping with name, image, model and roles")
    faults = list(_faults(document, inspect.type_info(Description), ""))
    if faults:
        raise ConfigError("\n".join(f"{origin}: {fault}" for fault in faults))
    found = msgspec.convert(document, Description)
    if faults := list(rule_faults(found)):
        raise ConfigError("\n".join(f"{origin}: {fault}" for fault in faults))
    return found


def _faults(value: Any, info: Any, path: str) -> Iterator[str]:
    match info:
        case inspect.Metadata():
            yield from _faults(value, info.type, path)
        case inspect.StructType():
            yield from _struct(value, info, path)
        case inspect.UnionType():
            yield from _union(value, info, path)
        case inspect.ListType():
            if not isinstance(value, list):
                yield f"{path} must be a list, is {_shown(value)}"
                return
            for index, item in enumerate(value):
                yield from _faults(item, info.item_type, f"{path}[{index}]")
        case inspect.DictType():
            if not isinstance(value, dict):
                yield f"{path} must be a mapping, is {_shown(value)}"
                return
            for key, item in value.items():
                if not isinstance(key, str):
                    yield f'{path}: the key {_shown(key)} must be text; write "{key}"'
                yield from _faults(item, info.value_type, f"{path}.{key}")
        case inspect.LiteralType():
            if value not in info.values:
                yield f"{path} must be one of {', '.join(map(str, info.values))}, is {_shown(value)}"
        case inspect.AnyType():
            return
        case _:
            yield from _scalar(value, info, path)


def _struct(value: Any, info: inspect.StructType, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path or 'the description'} must be a mapping, is {_shown(value)}"
        return
    prefix = f"{path}." if path else ""
    known = {field.encode_name: field for field in info.fields}
    tag = {info.tag_field} if info.tag_field else set()
    for key in value:
        if key not in known and key not in tag:
            yield f"{prefix}{key} is not known{_nearest(str(key), known)}"
    for name, field in known.items():
        if name in value:
            yield from _faults(value[name], field.type, f"{prefix}{name}")
        elif field.required:
            yield f"{prefix}{name} is missing"


def _nearest(key: str, known: Mapping[str, Any]) -> str:
    wanted = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", key).replace("_", "-").lower()
    near = difflib.get_close_matches(wanted, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"


def _union(value: Any, info: inspect.UnionType, path: str) -> Iterator[str]:
    kinds = [kind for kind in info.types if not isinstance(kind, inspect.NoneType)]
    if value is None and len(kinds) < len(info.types):
        return
    structs = [kind for kind in kinds if isinstance(kind, inspect.StructType)]
    if structs and len(structs) == len(kinds) > 1:
        by_tag = {kind.tag: kind for kind in structs}
        tag = value.get("kind") if isinstance(value, dict) else None
        if isinstance(tag, str) and tag in by_tag:
            yield from _struct(value, by_tag[tag], path)
        else:
            yield f"{path}.kind must be one of {', '.join(map(str, by_tag))}, is {_shown(tag)}"
        return
    if structs and isinstance(value, dict):
        yield from _struct(value, structs[0], path)
        return
    faults = [list(_faults(value, kind, path)) for kind in kinds]
    if structs and all(faults):
        keys = ", ".join(f"{field.encode_name}: …" for field in structs[0].fields)
        yield f"{path} must be text, or {{{keys}}}, is {_shown(value)}"
    elif all(faults):
        yield faults[0][0] if len(kinds) == 1 else f"{path} must be text or a number, is {_shown(value)}"


def _scalar(value: Any, info: Any, path: str) -> Iterator[str]:
    for kind, types, words in _KINDS:
        wrong_type = not isinstance(value, types) or (isinstance(value, bool) and types is not bool)
        if isinstance(info, kind) and wrong_type:
            yield f"{path} must be {words}, is {_shown(value)}"
            return
    if (pattern := getattr(info, "pattern", None)) and not re.fullmatch(pattern, value):
        yield f"{path} is {_shown(value)}; {_form(pattern)}"
    if (least := getattr(info, "min_length", None)) and len(value) < least:
        yield f"{path} must not be empty"
    for name, within, words in (("ge", ge, "at least"), ("gt", gt, "more than"), ("le", le, "at most")):
        limit = getattr(info, name, None)
        if limit is not None and not within(value, limit):
            yield f"{path} must be {words} {limit}, is {_shown(value)}"


def _form(pattern: str) -> str:
    if "Gi" in pattern:
        return "write a size such as 30Gi"
    return "lower-case letters, digits and inner dashes, at most 40"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
