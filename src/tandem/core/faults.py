"""What a decoder says of a wrong field, in words for whoever sent it."""

import re
from typing import Final, NamedTuple

_FAULT: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_MISSING: Final = re.compile(r"^Object missing required field `(\w+)`$")


class FieldFault(NamedTuple):
    """A field and what is wrong with it."""

    field: str
    """As a client spells it: `messages[0].role`; empty for the whole. `[...]` is some entry of a mapping."""
    what: str


def field_fault(said: str, *, inside: str = "") -> FieldFault:
    """msgspec's words (``Expected `int`, got `str` - at `$.n` ``) taken apart.

    Args:
        inside: the field that was decoded, when it was not the whole body.
    """
    found = _FAULT.match(said)
    assert found is not None, "the pattern matches any text"
    what, path = found["what"], inside + (found["path"] or "")
    if missing := _MISSING.match(what):
        return FieldFault(f"{path}.{missing[1]}".lstrip("."), "is missing")
    return FieldFault(path.lstrip("."), (what[:1].lower() + what[1:]).replace("`", ""))
