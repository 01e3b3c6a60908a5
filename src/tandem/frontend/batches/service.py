"""/v1/files and /v1/batches."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec

from tandem.core.faults import field_fault
from tandem.errors import Overloaded, RequestError
from tandem.frontend.answering import Answering
from tandem.frontend.batches import rules
from tandem.frontend.batches.answers import LineAnswers
from tandem.frontend.batches.desk import Floor
from tandem.frontend.batches.folder import Draft
from tandem.frontend.batches.objects import (
    Batch,
    BatchList,
    BatchQuery,
    FileDeleted,
    FileForm,
    FileList,
    FileObject,
    FileQuery,
    NewBatch,
)
from tandem.frontend.batches.runner import Runner
from tandem.frontend.batches.store import BROKEN, Store, unusable
from tandem.frontend.bodies import Decoder
from tandem.frontend.exchange import Exchange
from tandem.frontend.guard.service import Guard
from tandem.frontend.openai_responses.service import Responses
from tandem.frontend.openapi.parameters import query_parameters
from tandem.frontend.ports import Answers
from tandem.frontend.routes import Route
from tandem.frontend.statuses import HttpFault
from tandem.observe.stories import Stories

Q = TypeVar("Q")
_WINDOW_S: Final = 24 * 3600
_READ_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """Where files and batches are kept, and how much of them."""

    folder: Path
    max_file_bytes: int = 200 * 1024 * 1024
    max_bytes: int = 10 * 1024**3
    """Of all files together."""
    max_files: int = 10_000
    max_lines: int = 50_000
    max_batches: int = 100
    """Of one client, that are not over."""
    lines_at_once: int = 8
    """While no client waits for an answer."""
    line_timeout_s: float = 600.0
    lease_s: float = 20.0
    """After so long without a sign of life, another process takes a batch over."""


class Batches:
    """Files and batches of one front door."""

    def __init__(
        self,
        answering: Answering,
        processor: Answers,
        responses: Responses,
        guard: Guard,
        stories: Stories,
        options: BatchOptions,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._answering = answering
        self._options = options
        self._wall_clock = wall_clock
        self._store = Store(options.folder)
        self._decoder = Decoder(NewBatch, answering.limits)
        self.runner = Runner(
            Floor(
                store=self._store,
                answer=LineAnswers(processor, responses, guard, stories, answering.limits).answer,
                holder=uuid.uuid4().hex,
                lease_s=options.lease_s,
                line_timeout_s=options.line_timeout_s,
                max_lines=options.max_lines,
                max_line_bytes=answering.limits.max_body_bytes,
                at_once=lambda: rules.lines_at_once(options.lines_at_once, answering.running),
                served=lambda: {model.id for model in processor.models()},
                wall_clock=wall_clock,
            )
        )

    async def aclose(self, drain_s: float) -> None:
        """Let running lines end, leave the rest to others. Safe to repeat."""
        await self.runner.stop(drain_s)
        await self._store.aclose()

    def routes(self) -> list[Route]:
        """What is asked about files and batches."""
        batch, file = "/v1/batches/{batch_id}", "/v1/files/{file_id}"
        return [
            Route(
                method="POST",
                path="/v1/files",
                handler=self.post_file,
                summary="Upload a file of requests",
                request=FileForm,
                request_media="multipart/form-data",
                response=FileObject,
                faults=(403, 429, 503),
            ),
            Route(
                method="GET",
                path="/v1/files",
                handler=self.get_files,
                summary="List files",
                parameters=query_parameters(
                    FileQuery,
                    purpose="Only files of this purpose",
                    after="The id that the page before ended with",
                    limit="How many at most",
                    order="By time of creation",
                ),
                response=FileList,
                faults=(400, 404, 503),
            ),
            Route(
                method="GET",
                path=file,
                handler=self.get_file,
                summary="One file",
                response=FileObject,
                faults=(404, 503),
            ),
            Route(
                method="DELETE",
                path=file,
                handler=self.delete_file,
                summary="Delete a file",
                response=FileDeleted,
                faults=(404, 409, 503),
            ),
            Route(
                method="GET",
                path=file + "/content",
                handler=self.get_content,
                summary="What is in a file",
                response_media="application/octet-stream",
                faults=(404, 503),
            ),
            Route(
                method="POST",
                path="/v1/batches",
                handler=self.post_batch,
                summary="Run a file of requests when there is room",
                request=NewBatch,
                response=Batch,
                faults=(404, 429, 503),
            ),
            Route(
                method="GET",
                path="/v1/batches",
                handler=self.get_batches,
                summary="List batches, newest first",
                parameters=query_parameters(
                    BatchQuery, after="The id that the page before ended with", limit="How many at most"
                ),
                response=BatchList,
                faults=(400, 404, 503),
            ),
            Route(
                method="GET",
                path=batch,
                handler=self.get_batch,
                summary="One batch",
                response=Batch,
                faults=(404, 503),
            ),
            Route(
                method="POST",
                path=batch + "/cancel",
                handler=self.cancel_batch,
                summary="Let a batch end with what it has",
                response=Batch,
                faults=(404, 503),
            ),
        ]

    # ── files ────────────────────────────────────────────────────────────────────────────────────

    async def post_file(self, exchange: Exchange) -> None:
        """POST /v1/files."""
        from tandem.frontend.batches.upload import Body, read_form

        options, store = self._options, self._store
        usage = await store.ask(lambda ledger: ledger.usage())
        limit = min(options.max_file_bytes, options.max_bytes - usage.bytes)
        body = Body(exchange.receive, max(0, limit))
        file_id, now = f"file-{uuid.uuid4().hex}", int(self._wall_clock())
        try:
            async with asyncio.timeout(options.line_timeout_s):
                try:
                    if usage.files >= options.max_files or limit <= 0:
                        kept = f"{usage.files} files with {usage.bytes} bytes are kept already"
                        raise HttpFault("storage_full", f"{kept}: delete some")
                    with self._answering.place(), Draft(store.folder, file_id) as draft:
                        content_type = exchange.headers.get(b"content-type", b"").decode("latin-1")
                        form, filename = await read_form(body, content_type, draft, limit=limit)
                        await asyncio.to_thread(draft.keep)
                except (RequestError, HttpFault, Overloaded):
                    await body.discard()
                    raise
        except TimeoutError as error:
            message = f"the upload did not come within {options.line_timeout_s:g} s"
            raise HttpFault("body_timeout", message) from error
        except BROKEN as error:
            raise unusable(error) from error
        file = FileObject(
            id=file_id,
            bytes=draft.size,
            created_at=now,
            expires_at=now + form.seconds,
            filename=filename,
            purpose="batch",
        )
        await store.ask(lambda ledger: ledger.add_file(_owner(exchange), file))
        await exchange.response.json(200, file)

    async def get_files(self, exchange: Exchange) -> None:
        """GET /v1/files."""
        query = _query(exchange, FileQuery)
        found = await self._store.ask(
            lambda ledger: ledger.files(
                _owner(exchange),
                purpose=query.purpose,
                after=query.after,
                limit=query.limit + 1,
                newest_first=query.order == "desc",
            )
        )
        await exchange.response.json(200, _page(FileList, found, query.limit, query.after))

    async def get_file(self, exchange: Exchange) -> None:
        """GET /v1/files/{file_id}."""
        await exchange.response.json(200, await self._file(exchange))

    async def delete_file(self, exchange: Exchange) -> None:
        """DELETE /v1/files/{file_id}."""
        file = await self._file(exchange)
        gone = await self._store.ask(lambda ledger: ledger.remove_file(_owner(exchange), file.id))
        if gone is False:
            raise HttpFault("in_use", f"a batch that is not over reads {file.id}: cancel it first")
        try:
            await asyncio.to_thread(self._store.folder.remove, file.id)
        except OSError as error:
            raise unusable(error) from error
        await exchange.response.json(200, FileDeleted(id=file.id))

    async def get_content(self, exchange: Exchange) -> None:
        """GET /v1/files/{file_id}/content."""
        file = await self._file(exchange)
        try:
            content = await asyncio.to_thread(self._store.folder.path(file.id).open, "rb")
        except OSError as error:
            raise unusable(error) from error

        async def pieces() -> AsyncIterator[bytes]:
            left = file.bytes
            while left and (piece := await asyncio.to_thread(content.read, min(_READ_BYTES, left))):
                left -= len(piece)
                yield piece

        with content:
            await exchange.response.content(pieces(), size=file.bytes, media="application/octet-stream")

    async def _file(self, exchange: Exchange) -> FileObject:
        file_id = exchange.params["file_id"]
        found = await self._store.ask(lambda ledger: ledger.file(_owner(exchange), file_id))
        if found is None:
            raise HttpFault("not_found", f"there is no file {file_id[:64]!r}")
        return found

    # ── batches ──────────────────────────────────────────────────────────────────────────────────

    async def post_batch(self, exchange: Exchange) -> None:
        """POST /v1/batches."""
        with self._answering.place():
            new: NewBatch = await self._answering.read(exchange, self._decoder)
        owner, options, store = _owner(exchange), self._options, self._store
        file = await store.ask(lambda ledger: ledger.file(owner, new.input_file_id))
        if file is None:
            raise HttpFault("not_found", f"there is no file {new.input_file_id!r}")
        if file.purpose != "batch":
            raise RequestError("input_file_id: its purpose is not batch", param="input_file_id")
        waiting = await store.ask(lambda ledger: ledger.unfinished(owner))
        if waiting >= options.max_batches:
            raise Overloaded(f"{waiting} of your batches are not over yet", retry_after_s=60)
        now = int(self._wall_clock())
        batch = Batch(
            id=f"batch_{uuid.uuid4().hex}",
            endpoint=new.endpoint,
            input_file_id=file.id,
            created_at=now,
            expires_at=now + _WINDOW_S,
            metadata=new.metadata,
        )
        kept_s = new.output_expires_after.seconds if new.output_expires_after is not None else None
        await store.ask(lambda ledger: ledger.add_batch(owner, batch, kept_s))
        self.runner.wake()
        await exchange.response.json(200, batch)

    async def get_batches(self, exchange: Exchange) -> None:
        """GET /v1/batches."""
        query = _query(exchange, BatchQuery)
        found = await self._store.ask(
            lambda ledger: ledger.batches(_owner(exchange), after=query.after, limit=query.limit + 1)
        )
        await exchange.response.json(200, _page(BatchList, found, query.limit, query.after))

    async def get_batch(self, exchange: Exchange) -> None:
        """GET /v1/batches/{batch_id}."""
        batch_id = exchange.params["batch_id"]
        found = await self._store.ask(lambda ledger: ledger.batch(_owner(exchange), batch_id))
        await exchange.response.json(200, _there(found, batch_id))

    async def cancel_batch(self, exchange: Exchange) -> None:
        """POST /v1/batches/{batch_id}/cancel."""
        batch_id = exchange.params["batch_id"]
        found = await self._store.ask(lambda ledger: ledger.cancel(_owner(exchange), batch_id, self._wall_clock()))
        self.runner.wake()
        await exchange.response.json(200, _there(found, batch_id))


def _there(batch: Batch | None, batch_id: str) -> Batch:
    if batch is None:
        raise HttpFault("not_found", f"there is no batch {batch_id[:64]!r}")
    return batch


def _owner(exchange: Exchange) -> str:
    """Whose files and batches these are: a key's, or everybody's where no keys are asked for."""
    return exchange.key.name if exchange.key is not None else ""


def _query(exchange: Exchange, kind: type[Q]) -> Q:
    """The query's parameters. Raises `RequestError` for one that is wrong; those that we do not know are ignored."""
    said = dict(parse_qsl(exchange.scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
    try:
        return msgspec.convert(said, kind, strict=False)
    except msgspec.ValidationError as error:
        fault = field_fault(str(error), kind, said)
        raise RequestError(f"{fault.field} {fault.what}", param=fault.param) from error


def _page(kind: Any, found: list[Any] | None, limit: int, after: str | None) -> Any:
    if found is None:
        raise HttpFault("not_found", f"after {after!r}: there is no such id")
    data = found[:limit]
    return kind(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=len(found) > limit,
    )
