"""Bounds of what a client may send, in one table: the shapes in `openai_in` and their kin are made of these."""

from typing import Annotated, Any

from msgspec import Meta

MAX_GRAMMAR_BYTES = 64 * 1024
"""A JSON schema (as we write it), a structural tag or an EBNF grammar."""
MAX_SCHEMA_NESTING = 64
"""Objects and arrays in each other, in a schema; engines convert deeper ones in exponential time."""

MAX_WAIT_S = 3600.0
"""A lease, a wait or a time-out that one process asks of another. Seconds."""

Bias = Annotated[float, Meta(ge=-100, le=100)]
StopText = Annotated[str, Meta(min_length=1, max_length=1024)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
CountOrNone = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""A count that may be 0."""
Pattern = Annotated[str, Meta(min_length=1, max_length=4096)]
Choices = Annotated[list[Annotated[str, Meta(min_length=1, max_length=4096)]], Meta(min_length=1, max_length=1000)]
GrammarText = Annotated[str, Meta(min_length=1, max_length=MAX_GRAMMAR_BYTES)]
Label = Annotated[str, Meta(max_length=512)]
"""A name that a client gives to something of its own: a user, a session, a tier."""
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]
TemplateOptions = Annotated[dict[Annotated[str, Meta(max_length=64)], Any], Meta(max_length=32)]
