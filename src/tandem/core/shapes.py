"""Types of msgspec in words: what a value at some place of a body must be, and what one is."""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final

from msgspec import inspect
from msgspec.inspect import Type

Step = str | int | None
"""A name, a place in a list, or (None) some entry of a mapping."""
Types = tuple[Type, ...]
"""Any one of these."""

_SHOWN_CHARS: Final = 64
"""Longer values are told of by their kind and size."""
_PLURALS: Final[dict[type[Type], str]] = {
    inspect.StrType: "strings",
    inspect.IntType: "integers",
    inspect.FloatType: "numbers",
    inspect.ListType: "lists",
    inspect.DictType: "objects",
    inspect.StructType: "objects",
}


@cache
def types_of(kind: Any) -> Types:
    """What a value of `kind` may be."""
    return _flat([inspect.type_info(kind)])


def types_at(types: Types, steps: Iterable[Step]) -> Types:
    """What may stand at a place inside of these; nothing where there is no such place."""
    for step in steps:
        types = _flat(inner for one in types for inner in _inside(one, step))
    return types


def keys_of(types: Types) -> Types:
    """What names in these mappings may be."""
    return _flat(one.key_type for one in types if isinstance(one, inspect.DictType))


def shape(types: Types) -> str:
    """`an integer from 1 to 128`; empty where that cannot be said. That null is as good as nothing is left out."""
    words: list[str] = []
    choices: list[Any] = []
    for one in types:
        if isinstance(one, inspect.LiteralType):
            choices += one.values
        elif word := _shape(one):
            words.append(word)
        elif not isinstance(one, inspect.NoneType):
            return ""
    return _either(list(dict.fromkeys([*map(json.dumps, choices), *words])))


def shown(value: Any, *, private: bool = False) -> str:
    """A value that a client sent, as JSON; of what is long, or may hold a text that is private, kind and size."""
    text = "" if private and isinstance(value, str | list | dict) else json.dumps(value, ensure_ascii=False)
    if 0 < len(text) <= _SHOWN_CHARS:
        return text
    match value:
        case str():
            return f"a string of {len(value)} characters"
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "an object"
    return f"one of {len(text)} digits"


def is_choice(types: Types) -> bool:
    """Whether it is one of some words, and so no text of anybody's own."""
    return all(isinstance(one, inspect.LiteralType | inspect.NoneType) for one in types)


def fits(value: Any, types: Types) -> bool:
    """Whether a text or a number is one of these. Of other types nothing is said: False."""
    return any(_fits(value, one) for one in types)


def _flat(types: Iterable[Type]) -> Types:
    found: list[Type] = []
    for one in types:
        if isinstance(one, inspect.UnionType):
            found += _flat(one.types)
        elif isinstance(one, inspect.Metadata):
            found += _flat([one.type])
        else:
            found.append(one)
    return tuple(found)


def _inside(one: Type, step: Step) -> Iterator[Type]:
    match one, step:
        case inspect.StructType(), str():
            if step == one.tag_field:
                yield inspect.LiteralType((one.tag,))
            yield from (field.type for field in one.fields if field.encode_name == step)
        case inspect.ListType() | inspect.VarTupleType(), int():
            yield one.item_type
        case inspect.DictType(), None:
            yield one.value_type


def _shape(one: Type) -> str:
    match one:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "an integer" + _range(one)
        case inspect.FloatType():
            return "a number" + _range(one)
        case inspect.StrType(pattern=str(pattern)):
            return f"a string that matches {pattern}"
        case inspect.StrType():
            return "a string" + _size(one, "character", "characters")
        case inspect.ListType() | inspect.VarTupleType():
            kinds = list(dict.fromkeys(_PLURALS.get(type(item), "values") for item in _flat([one.item_type])))
            single = _either([kind.removesuffix("s") for kind in kinds])
            return "a list" + (_size(one, single, _either(kinds)) or f" of {_either(kinds)}")
        case inspect.DictType():
            return "an object" + _size(one, "entry", "entries")
        case inspect.StructType():
            return "an object"
    return ""


def _size(one: Any, single: str, many: str) -> str:
    least, most = one.min_length or 0, one.max_length
    if most is not None:
        return f" of {least} to {most} {many}" if least else f" of at most {most} {many}"
    return f" of at least {least} {single if least == 1 else many}" if least else ""


def _range(one: Any) -> str:
    if one.ge is not None and one.le is not None:
        return f" from {one.ge} to {one.le}"
    bounds = (("above", one.gt), ("at least", one.ge), ("below", one.lt), ("at most", one.le))
    words = " and ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)
    return words and (f" of {words}" if words.startswith("at") else f" {words}")


def _fits(value: Any, one: Any) -> bool:
    match one, value:
        case inspect.StrType(), str():
            return one.max_length is None or len(value) <= one.max_length
        case ((inspect.IntType() | inspect.FloatType()), bool()):
            return False
        case (inspect.IntType(), int()) | (inspect.FloatType(), int() | float()):
            return (one.ge is None or value >= one.ge) and (one.le is None or value <= one.le)
    return False


def _either(words: Sequence[str]) -> str:
    return " or ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)
