"""What a decoder says of a wrong field, in one sentence for whoever sent it: the field, what it must be, what it is."""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from tandem.core.shapes import Step, Types, fits, is_choice, keys_of, shape, shown, types_at, types_of
from tandem.errors import RequestError

_FAULT: Final = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?$", re.DOTALL)
_MISSING: Final = re.compile(r"^Object missing required field `(.*)`$", re.DOTALL)
_UNKNOWN: Final = re.compile(r"^Object contains unknown field `(.*)`$", re.DOTALL)
_STEP: Final = re.compile(r"\.((?:[^.\[]|\[(?!\d|\.))+)|\[(\d+)\]|\[\.\.\.\]")
_ENTRY: Final = re.compile(r"\['|\[\.\.\.")
_NAME_CHARS: Final = 64
"""How much of a name that a client made up is repeated."""


class Entry(NamedTuple):
    """Some entry of a mapping, by its name."""

    name: str


Place = Step | Entry


class FieldFault(NamedTuple):
    """A field and what is wrong with it."""

    field: str
    """As a client spells it: `messages[0].role`; empty for the whole."""
    what: str
    """What goes on after the field: `must be true or false, not "yes"`."""
    missing: bool = False

    @property
    def param(self) -> str:
        """The field, without an entry's name that the client made up."""
        return _ENTRY.split(self.field, maxsplit=1)[0]

    @property
    def top(self) -> str:
        """The field of the body that it is in."""
        return re.split(r"[.\[]", self.field, maxsplit=1)[0]


def field_fault(said: str, kind: Any, sent: Any = UNSET, *, inside: str = "", private: bool = False) -> FieldFault:
    """msgspec's words (``Expected `int`, got `str` - at `$.n` ``) told anew.

    Args:
        kind: the type that was decoded to.
        sent: what was decoded, where it is at hand.
        inside: the field that it is, when that is not the whole body.
        private: whether values are told of by their kind and size alone.
    """
    found = _FAULT.match(said)
    assert found is not None, "the pattern matches any text"
    what, steps = found["what"], list(_steps(found["path"] or ""))
    if unknown := _UNKNOWN.match(what):
        return FieldFault(_spelt(inside, [*steps, unknown[1][:_NAME_CHARS]]), "is not known")
    missing = _MISSING.match(what)
    if missing is not None:
        steps.append(missing[1])
    types = types_at(types_of(kind), steps)
    places: list[Place] = [*steps]
    value: Any = UNSET
    if missing is None:
        places, value = _found(sent, places, types)
    field = _spelt(inside, places)
    if found["key"]:
        return FieldFault(field, f"has a name that is not {shape(keys_of(types))}")
    must = shape(types)
    if missing is not None:
        return FieldFault(field, f"is missing: it must be {must}" if must else "is missing", missing=True)
    if not must:  # a type that nobody has sent yet
        return FieldFault(field, f"is wrong: {what[:1].lower()}{what[1:]}".replace("`", ""))
    is_not = "" if value is UNSET else f", not {shown(value, private=private and not is_choice(types))}"
    return FieldFault(field, f"must be {must}{is_not}")


def object_in(text: str, field: str) -> dict[str, Any]:
    """The JSON object that a client has written as a text. Raises `RequestError`, which does not repeat the text."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RequestError(f"{field} is not JSON: {error}", param=field) from error
    if not isinstance(value, dict):
        raise RequestError(f"{field} must be JSON of an object, not {shown(value, private=True)}", param=field)
    return value


def _steps(path: str) -> Iterator[Step]:
    for step in _STEP.finditer(path):
        yield step[1] if step[1] is not None else (int(step[2]) if step[2] is not None else None)


def _found(value: Any, steps: list[Place], types: Types) -> tuple[list[Place], Any]:
    """The steps, with the name of the entry that is wrong, and the value there; UNSET where that cannot be told."""
    taken: list[Place] = []
    for step in steps:
        name: Any = step
        if step is None and isinstance(value, dict):
            name = next((name for name, entry in value.items() if not fits(entry, types)), None)
            step = None if name is None else Entry(name)
        try:
            value = value[name]
        except (LookupError, TypeError):
            return steps, UNSET
        taken.append(step)
    return taken, value


def _spelt(inside: str, places: list[Place]) -> str:
    return (inside + "".join(map(_step, places))).lstrip(".")


def _step(place: Place) -> str:
    match place:
        case Entry(name):
            return f"[{name[:_NAME_CHARS]!r}]"
        case str():
            return f".{place}"
        case None:
            return "[...]"
    return f"[{place}]"
