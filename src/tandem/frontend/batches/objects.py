"""Files and batches as OpenAI's clients send and read them."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

Endpoint = Literal["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"]
State = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
UNFINISHED: Final = ("validating", "in_progress", "finalizing", "cancelling")
Purpose = Literal["batch", "batch_output"]
ObjectId = Annotated[str, Meta(min_length=1, max_length=64)]


class FileObject(msgspec.Struct, kw_only=True, tag_field="object", tag="file"):
    """A file."""

    id: str
    bytes: int
    created_at: int
    """Unix time in seconds, here and below."""
    expires_at: int | None = None
    filename: str
    purpose: Purpose
    status: Literal["processed"] = "processed"


class FileList(msgspec.Struct, kw_only=True, tag_field="object", tag="list"):
    """Some of a client's files."""

    data: list[FileObject]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False


class FileDeleted(msgspec.Struct, kw_only=True, tag_field="object", tag="file"):
    """A file that is no more."""

    id: str
    deleted: Literal[True] = True


class FileForm(msgspec.Struct, kw_only=True):
    """Fields of an upload, as `multipart/form-data`."""

    file: Annotated[str, Meta(extra_json_schema={"format": "binary"})]
    purpose: Literal["batch"]
    anchor: Literal["created_at"] = msgspec.field(default="created_at", name="expires_after[anchor]")
    seconds: Annotated[int, Meta(ge=3600, le=2592000)] = msgspec.field(default=2592000, name="expires_after[seconds]")
    """How long the file is kept."""


class FileQuery(msgspec.Struct, kw_only=True):
    """Which files to list."""

    purpose: Purpose | None = None
    after: ObjectId | None = None
    """The id that the page before ended with."""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 10_000
    order: Literal["asc", "desc"] = "desc"
    """By time of creation."""


class BatchQuery(msgspec.Struct, kw_only=True):
    """Which batches to list, newest first."""

    after: ObjectId | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class ExpiresAfter(msgspec.Struct, kw_only=True):
    """How long output files are kept."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=3600, le=2592000)]


MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]


class NewBatch(msgspec.Struct, kw_only=True):
    """Body of POST /v1/batches."""

    input_file_id: ObjectId
    endpoint: Endpoint
    completion_window: Literal["24h"]
    metadata: Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)] | None = None
    output_expires_after: ExpiresAfter | None = None


class BatchFault(msgspec.Struct, kw_only=True, frozen=True):
    """Why a batch did not start."""

    code: str
    message: str
    line: int | None = None
    """Counted from 1."""
    param: str | None = None


class BatchFaults(msgspec.Struct, kw_only=True, tag_field="object", tag="list"):
    """What is wrong with a batch's input."""

    data: list[BatchFault]


class RequestCounts(msgspec.Struct, kw_only=True):
    """A batch's lines."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class Batch(msgspec.Struct, kw_only=True, tag_field="object", tag="batch"):
    """A batch."""

    id: str
    endpoint: Endpoint
    model: str | None = None
    """Which model all of its lines ask for; known once they were read."""
    errors: BatchFaults | None = None
    input_file_id: str
    completion_window: Literal["24h"] = "24h"
    status: State = "validating"
    output_file_id: str | None = None
    """Lines that were answered."""
    error_file_id: str | None = None
    """Lines that were not, and why."""
    created_at: int
    in_progress_at: int | None = None
    expires_at: int
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts = msgspec.field(default_factory=RequestCounts)
    metadata: dict[str, str] | None = None


class BatchList(msgspec.Struct, kw_only=True, tag_field="object", tag="list"):
    """Some of a client's batches."""

    data: list[Batch]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False
