"""A form with a file in it, as it comes in: the file goes to disk in pieces, never through memory as a whole."""

import asyncio
from typing import Any, Final

import msgspec
from aiohttp import BodyPartReader, MultipartReader, StreamReader
from aiohttp.http import HttpProcessingError

from tandem.core.faults import field_fault
from tandem.errors import BodyTooLarge, Cancelled, RequestError
from tandem.frontend.batches.folder import Draft
from tandem.frontend.batches.objects import FileForm
from tandem.frontend.bodies import DISCARD_BYTES
from tandem.frontend.ports import Receive

_PIECE_BYTES: Final = 1024 * 1024
_FIELD_BYTES: Final = 4096
_FIELDS: Final = 32
_NAME_CHARS: Final = 255


class Body(StreamReader):
    """A request's body, drawn as the form's reader asks for it: what is not read is not taken off the socket."""

    def __init__(self, receive: Receive, file_limit: int) -> None:
        """For a form with a file of up to `file_limit` bytes.

        Raises, while it is read, `BodyTooLarge` for more than such a form can have, and `Cancelled` when the client
        leaves.
        """
        self._receive = receive
        self._limit = file_limit + _FIELDS * _FIELD_BYTES
        self._taken = 0
        self._data = b""
        self._over = False

    async def read(self, n: int = -1) -> bytes:
        """Up to `n` bytes; none at the end."""
        while not self._data and not self._over:
            await self._more()
        found, self._data = self._data[:n], self._data[n:]
        return found

    async def readline(self, *, max_line_length: int | None = None) -> bytes:
        """A line with its end; what is left at the end of the body."""
        most = max_line_length or _FIELD_BYTES
        while (end := self._data.find(b"\n")) < 0 and not self._over and len(self._data) <= most:
            await self._more()
        if end >= most or (end < 0 and len(self._data) > most):
            raise ValueError("a line of the form is too long")
        return await self.read(end + 1 if end >= 0 else len(self._data) or 1)

    def at_eof(self) -> bool:
        """Whether everything was read."""
        return self._over and not self._data

    def unread_data(self, data: bytes) -> None:
        """Put back what was read too much."""
        self._data = data + self._data

    async def discard(self) -> None:
        """Drop the rest, to a bound: a client that is still sending would not read why it was refused."""
        self._data, bound = b"", self._taken + DISCARD_BYTES
        while not self._over and self._taken < bound:
            await self._next()

    async def _more(self) -> None:
        part = await self._next()
        if self._taken > self._limit:
            raise BodyTooLarge(f"the upload has more than the {self._limit} bytes that it may have", param="file")
        self._data += part

    async def _next(self) -> bytes:
        event = await self._receive()
        if event["type"] == "http.disconnect":
            raise Cancelled("the client left while sending")
        part: bytes = event.get("body", b"")
        self._taken += len(part)
        self._over = not event.get("more_body", False)
        return part


async def read_form(body: Body, content_type: str, draft: Draft, *, limit: int) -> tuple[FileForm, str]:
    """The form's fields and the file's name; the file itself goes to `draft`.

    Args:
        limit: most bytes of the file.
    Raises:
        RequestError: no such form, or a field is missing or wrong.
        BodyTooLarge: the file has more than `limit` bytes.
        Cancelled: the client left.
    """
    if not content_type.lower().startswith("multipart/form-data"):
        raise RequestError("an upload is a form: content-type must be multipart/form-data", param="file")
    fields: dict[str, Any] = {}
    filename: str | None = None
    try:
        reader = MultipartReader({"Content-Type": content_type}, body)
        for _ in range(_FIELDS):
            part = await reader.next()
            if part is None:
                break
            if not isinstance(part, BodyPartReader):
                raise RequestError("a part of the form is a form itself")
            if part.name == "file":
                filename = _as_text(part.filename or "upload")[:_NAME_CHARS]
                await _to_disk(part, draft, limit)
            elif part.name is not None:
                name = _as_text(part.name)
                fields[name] = await _text(part, name)
        else:
            raise RequestError(f"the form has more than {_FIELDS} fields")
    except HttpProcessingError as error:
        raise RequestError("the form cannot be read: the headers of a part are not valid") from error
    except (ValueError, AssertionError, RuntimeError, KeyError, LookupError) as error:
        raise RequestError(f"the form cannot be read: {str(error)[:200] or 'it breaks off'}") from error
    if filename is None:
        raise RequestError("file is missing", param="file")
    try:
        return msgspec.convert({**fields, "file": filename}, FileForm, strict=False), filename
    except msgspec.ValidationError as error:
        fault = field_fault(str(error), FileForm, fields)
        raise RequestError(f"{fault.field} {fault.what}", param=fault.param) from error


def _as_text(name: str) -> str:
    """A name whose bytes were no UTF-8 comes with surrogates, which neither JSON nor the ledger can hold."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


async def _to_disk(part: BodyPartReader, draft: Draft, limit: int) -> None:
    pieces: list[bytes] = []
    size = 0
    while piece := await part.read_chunk(65536):
        pieces.append(piece)
        size += len(piece)
        if draft.size + size > limit:
            raise BodyTooLarge(f"the file has more than the {limit} bytes that it may have", param="file")
        if size >= _PIECE_BYTES:
            await asyncio.to_thread(draft.write, b"".join(pieces))
            pieces, size = [], 0
    await asyncio.to_thread(draft.write, b"".join(pieces))


async def _text(part: BodyPartReader, name: str) -> str:
    data = b""
    while piece := await part.read_chunk(_FIELD_BYTES):
        data += piece
        if len(data) > _FIELD_BYTES:
            raise RequestError(f"{name}: a field has at most {_FIELD_BYTES} bytes", param=name)
    return data.decode("utf-8", "replace")
