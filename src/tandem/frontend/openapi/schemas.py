"""msgspec's types as JSON Schema: with the prose of their fields, and with the truth about fields that nobody named.

What we answer has its fields and no others. What we take may have more, which are ignored and counted, except those
that would change the answer: they may be there with a value that asks for nothing.
"""

import ast
import inspect
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, get_args

import msgspec

from tandem.frontend.openapi.rules import CHECKED_AS, RULES

REF: Final = "#/components/schemas/{name}"
Schema = dict[str, Any]


class Schemas:
    """The schemas of some types: those that clients send, and those that they get."""

    def __init__(self, taken: Sequence[Any], given: Sequence[Any], refused: Mapping[Any, Mapping[str, Schema]]) -> None:
        """`refused`: for types of bodies, fields that must not ask for anything, and what may stand there."""
        taken = [*taken, *(kind for fields in CHECKED_AS.values() for kind in fields.values())]
        read = {struct for kind in taken for struct in _structs(kind)}
        written = {struct for kind in given for struct in _structs(kind)}
        kinds = list(dict.fromkeys([*taken, *given, *sorted(read | written, key=lambda struct: struct.__name__)]))
        schemas, self.components = msgspec.json.schema_components(kinds, ref_template=REF)
        self._of: dict[Any, Schema] = dict(zip(kinds, schemas, strict=True))
        for struct in read | written:
            component = self.components[_name(self._of[struct])]
            _describe(struct, component)
            if struct not in read:
                component.setdefault("additionalProperties", False)
            for field, kind in CHECKED_AS.get(struct, {}).items():
                component["properties"][field] |= self._of[kind]
            _add_rules(component, RULES.get(struct, {}))
        self.components["TokenId"] = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
        for kind, fields in refused.items():
            for field, may_be in fields.items():
                self.components[_name(self._of[kind])]["properties"][field] = may_be

    def of(self, kind: Any) -> Schema:
        """The schema of one of the types: a reference where it is a struct."""
        return self._of[kind]


def _add_rules(component: Schema, rules: Schema) -> None:
    for name, schema in rules.get("properties", {}).items():
        kept = {key: value for key, value in component["properties"][name].items() if key in ("description", "default")}
        component["properties"][name] = {**schema, **kept}
    component |= {key: value for key, value in rules.items() if key != "properties"}


def _name(schema: Schema) -> str:
    return str(schema["$ref"]).rsplit("/", 1)[1]


def _structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """Every struct that `kind` is made of."""
    seen: set[Any] = set()
    waiting = [kind]
    while waiting:
        one = waiting.pop()
        try:
            if one in seen:
                continue
            seen.add(one)
        except TypeError:  # an annotation's argument, such as a list of names
            continue
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            yield one
            waiting += [field.type for field in msgspec.structs.fields(one)]
        else:
            waiting += get_args(one)


def _describe(struct: type[msgspec.Struct], component: Schema) -> None:
    """Add the prose under each field."""
    prose: dict[str, str] = {}
    for cls in reversed(struct.__mro__):
        if cls.__module__ != "builtins" and issubclass(cls, msgspec.Struct) and cls is not msgspec.Struct:
            prose |= _field_prose(cls.__module__).get(cls.__qualname__, {})
    for field in msgspec.structs.fields(struct):
        if (text := prose.get(field.name)) and field.encode_name in component.get("properties", {}):
            component["properties"][field.encode_name].setdefault("description", text)


@cache
def _field_prose(module: str) -> dict[str, dict[str, str]]:
    """Of every class in a module: its fields' docstrings."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {node.name: dict(_docstrings(node.body)) for node in classes}


def _docstrings(body: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    for statement, following in itertools.pairwise(body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            yield statement.target.id, " ".join(following.value.value.split())
