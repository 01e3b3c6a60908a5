"""From the typed specs to the structural OpenAPI schema that a CRD carries.

Only what Kubernetes 1.20 and later understand is written: no `$ref`, no `anyOf`. A plain dictionary becomes an object
with `x-kubernetes-preserve-unknown-fields`, `int | str` becomes int-or-string, a list of structs with a `name` becomes
a map list, so that the server itself refuses doubles and merges server-side applies by name.
"""

from typing import Any

import msgspec
from msgspec import NODEFAULT, inspect

from tandem.operator.types import Condition, Raw, Role

_MAP_KEYS: dict[type, str] = {Condition: "type"}
_OPEN: tuple[type, ...] = (Role,)
"""Structs whose unknown fields the server keeps, so that a newer version's fields are not lost."""
_NO_MAP = ("Coordination",)


def schema_of(spec: type) -> Raw:
    """The schema of a struct class."""
    return _schema(inspect.type_info(spec))


def _schema(info: Any) -> Raw:
    match info:
        case inspect.StructType():
            return _struct(info)
        case inspect.Metadata():
            return _schema(info.type) | dict(info.extra_json_schema or {})
        case inspect.UnionType():
            return _union(info)
        case inspect.ListType():
            return _list(info)
        case inspect.DictType():
            if isinstance(info.value_type, inspect.AnyType):
                return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            return {"type": "object", "additionalProperties": _schema(info.value_type)}
        case inspect.StrType():
            found = {"minLength": info.min_length, "maxLength": info.max_length, "pattern": info.pattern}
            return {"type": "string", **_given(found)}
        case inspect.IntType():
            found = {"minimum": info.ge, "maximum": info.le}
            return {"type": "integer", "format": "int32", **_given(found)}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.LiteralType():
            return {"type": "string", "enum": sorted(info.values)}
    raise AssertionError(f"no schema for {info}")


def _struct(info: inspect.StructType) -> Raw:
    properties, required = {}, []
    for field in info.fields:
        properties[field.encode_name] = _schema(field.type)
        if field.encode_name == "observedGeneration":
            properties[field.encode_name]["format"] = "int64"
        if field.encode_name == "lastTransitionTime":
            properties[field.encode_name]["format"] = "date-time"
        if field.required:
            required.append(field.encode_name)
        elif (default := _default(field)) is not None:
            properties[field.encode_name]["default"] = default
    schema: Raw = {"type": "object", "properties": properties}
    if required:
        schema["required"] = sorted(required)
    if issubclass(info.cls, _OPEN):
        schema["x-kubernetes-preserve-unknown-fields"] = True
    return schema


def _default(field: inspect.Field) -> Any:
    """What the server fills in: scalars that say something, and structs that are there even when not written."""
    value = field.default
    if value is NODEFAULT or value is None or value == "":
        return None
    if isinstance(value, msgspec.Struct):
        return {f.encode_name: getattr(value, f.name) for f in msgspec.structs.fields(value)}
    return value if isinstance(value, (bool, int, str)) else None


def _union(info: inspect.UnionType) -> Raw:
    kinds = [kind for kind in info.types if not isinstance(kind, inspect.NoneType)]
    if len(kinds) == 1:
        return _schema(kinds[0])
    if {type(kind) for kind in kinds} == {inspect.IntType, inspect.StrType}:
        return {"x-kubernetes-int-or-string": True}
    raise AssertionError(f"no schema for the union {kinds}")


def _list(info: inspect.ListType) -> Raw:
    items = info.item_type
    schema: Raw = {"type": "array", "items": _schema(items)}
    if info.min_length is not None:
        schema["minItems"] = info.min_length
    if isinstance(items, inspect.StructType):
        names = {field.encode_name for field in items.fields if field.required}
        key = _MAP_KEYS.get(items.cls, "name" if "name" in names else None)
        if key and items.cls.__name__ not in _NO_MAP:
            schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return schema


def _given(found: Raw) -> Raw:
    return {key: value for key, value in found.items() if value is not None}
