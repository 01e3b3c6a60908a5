"""Embeddings: OpenAI's request and answer, and what a processor and a worker say to each other."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tandem.core.bounds import Label, TokenId
from tandem.core.openai_in import Origin


class EmbeddingsRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Body of POST /v1/embeddings."""

    input: str | Annotated[list[str | TokenId | list[TokenId]], Meta(min_length=1, max_length=8192)]
    """A text, tokens, or a list of either."""
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    """Numbers, or the bytes of 32-bit floats in little-endian order."""
    dimensions: Annotated[int, Meta(ge=1, le=65536)] | None = None
    """Fewer numbers, of models that are trained for it."""
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    user: Label | None = None


class EmbeddingsCall(msgspec.Struct, frozen=True):
    """What the front door asks of a processor."""

    origin: Origin
    request: EmbeddingsRequest


class Embedding(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="embedding"):
    """One input's."""

    index: int
    embedding: list[float] | str


class EmbeddingsUsage(msgspec.Struct, frozen=True):
    """What it cost. Tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="list"):
    """Answer of /v1/embeddings, in the order of the inputs."""

    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage


class EmbedRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One input, on its way to a worker."""

    request_id: str
    token_ids: list[int]
    dimensions: int | None = None
    priority: int = 0


class EmbedOutput(msgspec.Struct, frozen=True, array_like=True):
    """Its embedding."""

    vector: bytes
    """32-bit floats, little-endian."""
