"""Files come up in forms, are kept, and are refused."""

import asyncio
import http.client
import sqlite3
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.frontend.batches.asking import CHAT, chat, client, jsonl
from tests.frontend.conftest import OpenDoor
from tests.processor.fakes import saying

from tandem.frontend.answering import DoorOptions
from tandem.frontend.batches.ledger import Ledger
from tandem.frontend.batches.service import BatchOptions
from tandem.processor.model import TextModel
from tandem.settings import LimitSettings


async def test_files_come_go_and_are_listed(door: OpenDoor, text_model: TextModel, tmp_path: Path) -> None:
    one = await door(saying(text_model, "x"), batches=BatchOptions(folder=tmp_path / "new" / "state"))
    content = "".join(f'{{"line": {i}, "text": "Grüße 🙂\\r\\n--"}}\n' for i in range(30_000)).encode()
    async with client(one) as ask:
        before = int(time.time())
        file = await ask.files.create(file=("größe.jsonl", content), purpose="batch")
        assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(content), "größe.jsonl", "batch")
        assert before <= file.created_at <= time.time()
        assert file.expires_at == file.created_at + 30 * 24 * 3600
        assert (await ask.files.content(file.id)).content == content
        short = await ask.files.create(
            file=b"{}", purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
        )
        assert short.expires_at == short.created_at + 3600
        assert await ask.files.retrieve(file.id) == file
        assert [each.id async for each in ask.files.list()] == [short.id, file.id]
        assert [each.id async for each in ask.files.list(order="asc", limit=1)] == [file.id, short.id]
        assert [each.id async for each in ask.files.list(purpose="batch_output")] == []
        gone = await ask.files.delete(file.id)
        assert (gone.id, gone.deleted, gone.object) == (file.id, True, "file")
        for ask_again in (ask.files.retrieve, ask.files.content, ask.files.delete):
            with pytest.raises(openai.NotFoundError):
                await ask_again(file.id)
    assert [path.name for path in (tmp_path / "new" / "state" / "files").iterdir()] == [short.id]
    assert (tmp_path / "new" / "state" / "files").stat().st_mode & 0o077 == 0


async def test_uploads_have_limits(door: OpenDoor, text_model: TextModel, tmp_path: Path) -> None:
    options = BatchOptions(folder=tmp_path, max_file_bytes=100_000, max_bytes=150_000, max_files=3)
    one = await door(
        saying(text_model, "x"), batches=options, door_options=DoorOptions(limits=LimitSettings(max_body_bytes=1000))
    )
    async with client(one) as ask:
        for _ in range(2):
            with pytest.raises(openai.APIStatusError) as large:
                await ask.files.create(file=b"x" * 100_001, purpose="batch")
            assert large.value.status_code == 413
        assert not list((tmp_path / "files").iterdir())
        await ask.files.create(file=b"x" * 100_000, purpose="batch")
        with pytest.raises(openai.APIStatusError, match="more than the 50000 bytes"):
            await ask.files.create(file=b"x" * 60_000, purpose="batch")
        await ask.files.create(file=b"x" * 50_000, purpose="batch")
        with pytest.raises(openai.PermissionDeniedError, match="2 files with 150000 bytes are kept already"):
            await ask.files.create(file=b"x", purpose="batch")


FORM = {"content-type": "multipart/form-data; boundary=a"}
FORMS: list[tuple[dict[str, Any], int, str]] = [
    ({"files": {"file": b"x"}}, 400, "purpose is missing"),
    ({"files": {"file": b"x"}, "data": {"purpose": "fine-tune"}}, 400, 'purpose must be "batch", not "fine-tune"'),
    ({"files": {"other": b"x"}, "data": {"purpose": "batch"}}, 400, "file is missing"),
    ({"json": {"purpose": "batch"}}, 400, "content-type must be multipart/form-data"),
    ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "the form cannot be read"),
    (
        {"content": b"xyz", "headers": {"content-type": "multipart/form-data; boundary=a"}},
        400,
        "the form cannot be read",
    ),
    ({"content": b"", "headers": {"content-type": "multipart/form-data; boundary=a"}}, 400, "the form cannot be read"),
    (
        {
            "content": b'--a\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\nhalf of it',
            "headers": FORM,
        },
        400,
        "the form cannot be read",
    ),
    (
        {"files": {"file": b"x"}, "data": {"purpose": "batch", "expires_after[seconds]": "5"}},
        400,
        "expires_after[seconds] must be an integer from 3600 to",
    ),
    ({"files": {"file": b"x"}, "data": {"purpose": "x" * 5000}}, 400, "a field has at most 4096 bytes"),
    (
        {
            "content": b'--a\r\ncontent-disposition: form-data; name="\xff"\r\n\r\n' + b"x" * 5000 + b"\r\n--a--\r\n",
            "headers": FORM,
        },
        400,
        "\ufffd: a field has at most 4096 bytes",
    ),
    ({"files": {f"f{i}": b"x" for i in range(40)}}, 400, "more than 32 fields"),
    *(
        ({"content": b"--a\r\n" + head + b"\r\n\r\nx\r\n--a--\r\n", "headers": FORM}, 400, "the form cannot be read")
        for head in (b'content-disposition: form-data; name="\0"', b"a" * 20_000 + b": b", b"no header", b"\xff\xfe: x")
    ),
]


@pytest.mark.parametrize(("form", "status", "words"), FORMS, ids=range(len(FORMS)))
async def test_wrong_forms_are_refused(
    door: OpenDoor, text_model: TextModel, tmp_path: Path, form: dict[str, Any], status: int, words: str
) -> None:
    one = await door(saying(text_model, "x"), batches=BatchOptions(folder=tmp_path))
    reply = await one.client.post("/v1/files", **form)
    assert (reply.status_code, words in reply.json()["error"]["message"]) == (status, True), reply.text
    assert not list((tmp_path / "files").iterdir())


async def test_a_files_name_may_hold_bytes_that_are_no_text(
    door: OpenDoor, text_model: TextModel, tmp_path: Path
) -> None:
    one = await door(saying(text_model, "x"), batches=BatchOptions(folder=tmp_path))
    form = (
        b'--a\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--a\r\ncontent-disposition: form-data; name="file"; filename="j\xff.jsonl"\r\n\r\n{}\r\n--a--\r\n'
    )
    made = await one.client.post("/v1/files", content=form, headers=FORM)
    assert (made.status_code, made.json()["filename"]) == (200, "j\ufffd.jsonl"), made.text
    assert (await one.client.get(f"/v1/files/{made.json()['id']}")).json() == made.json()


async def test_wrong_batches_and_queries_are_refused(door: OpenDoor, text_model: TextModel, tmp_path: Path) -> None:
    one = await door(saying(text_model, "x"), batches=BatchOptions(folder=tmp_path, max_batches=1))
    async with client(one) as ask:
        file = await ask.files.create(file=jsonl(chat("a")), purpose="batch")
        good: dict[str, Any] = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
        for fields, status, words in (
            ({"input_file_id": "nope"}, 404, "there is no file 'nope'"),
            ({"input_file_id": "../ledger.sqlite"}, 404, "there is no file"),
            ({"endpoint": "/v1/images"}, 400, "endpoint"),
            ({"completion_window": "5m"}, 400, "completion_window"),
            ({"metadata": {"a": "x" * 513}}, 400, "metadata"),
        ):
            reply = await one.client.post("/v1/batches", json={**good, **fields})
            assert (reply.status_code, words in reply.json()["error"]["message"]) == (status, True), reply.text
        for path, words in (
            ("/v1/files?limit=0", "limit must be an integer from 1 to 10000, not"),
            ("/v1/files?order=up", 'order must be "asc" or "desc", not "up"'),
            ("/v1/files?after=", "after must be a string of 1 to"),
            ("/v1/batches?limit=101", "limit must be an integer from 1 to 100, not"),
        ):
            reply = await one.client.get(path)
            assert (reply.status_code, words in reply.json()["error"]["message"]) == (400, True), reply.text
        for path in ("/v1/batches/nope", "/v1/batches?after=nope", "/v1/files?after=nope"):
            assert (await one.client.get(path)).status_code == 404, path
        assert (await one.client.get("/v1/files/..%2fledger.sqlite/content")).status_code == 404


async def test_a_disk_that_fails_is_told_of(door: OpenDoor, text_model: TextModel, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    one = await door(saying(text_model, "x"), batches=BatchOptions(folder=tmp_path / "state"))
    reply = await one.client.get("/v1/files")
    assert (reply.status_code, "the folder of files and batches" in reply.text) == (503, True)
    assert (await one.client.post("/v1/completions", json={"model": "tiny", "prompt": "x"})).status_code == 200


async def test_a_folder_of_another_version_is_told_of(door: OpenDoor, text_model: TextModel, tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.sqlite").close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("ALTER TABLE lines DROP COLUMN runner")
    db.close()
    one = await door(saying(text_model, "x"), batches=BatchOptions(folder=tmp_path))
    upload = one.client.post("/v1/files", files={"file": b"x"}, data={"purpose": "batch"})
    for reply in (await one.client.get("/v1/batches"), await upload):
        said = reply.json()["error"]["message"]
        assert (reply.status_code, "'lines' has no column 'runner'; move the folder away" in said) == (503, True), said


async def test_a_client_that_sends_too_much_reads_why_it_was_refused(
    door: OpenDoor, text_model: TextModel, tmp_path: Path
) -> None:
    one = await door(saying(text_model, "x"), batches=BatchOptions(folder=tmp_path, max_file_bytes=1000, max_files=1))

    def ask() -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", one.server.port, timeout=15)
        try:
            head = b'--a\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\n'
            connection.request("POST", "/v1/files", body=head + bytes(50_000_000), headers=FORM)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    status, said = await asyncio.to_thread(ask)
    assert (status, b"more than the 1000 bytes" in said) == (413, True)
    good = await one.client.post("/v1/files", files={"file": b"x"}, data={"purpose": "batch"})
    assert good.status_code == 200
    status, said = await asyncio.to_thread(ask)
    assert (status, b"1 files with 1 bytes are kept already" in said) == (403, True)
