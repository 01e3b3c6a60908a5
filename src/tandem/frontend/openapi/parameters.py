"""What a request says outside its body."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A header, or a word of the query."""

    name: str
    where: Literal["header", "query"]
    type: Any
    """Of the value, as msgspec has it: its schema is in the document."""
    summary: str
    required: bool = False
