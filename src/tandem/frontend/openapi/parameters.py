"""What a request says outside its body."""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A header, or a word of the query."""

    name: str
    where: Literal["header", "query"]
    type: Any
    """Of the value, as msgspec has it: its schema is in the document."""
    summary: str
    required: bool = False


def query_parameters(kind: type[msgspec.Struct], **summaries: str) -> tuple[Parameter, ...]:
    """The fields of `kind` as words of the query; `summaries` says what each is, by name."""
    return tuple(
        Parameter(name=field.name, where="query", type=field.type, summary=summaries[field.name])
        for field in msgspec.structs.fields(kind)
    )
