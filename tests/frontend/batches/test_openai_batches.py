"""OpenAI's official client uploads files and runs batches, against a real socket and a real disk."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from tests.frontend.conftest import Door, OpenDoor
from tests.processor.fakes import saying

from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.errors import EngineFailed, Overloaded
from tandem.frontend.answering import DoorOptions
from tandem.frontend.batches.rules import PRIORITY
from tandem.frontend.batches.service import BatchOptions
from tandem.frontend.guard.keyring import Keys
from tandem.processor.model import TextModel

CHAT = "/v1/chat/completions"


def client(door: Door, api_key: str = "none") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{door.url}/v1", api_key=api_key, max_retries=0, timeout=10)


def chat(custom_id: str, text: str = "Hi", **fields: Any) -> dict[str, Any]:
    body = {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 20, **fields}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}


def jsonl(*lines: Any) -> bytes:
    return b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)


async def started(ask: AsyncOpenAI, *lines: Any, endpoint: Any = CHAT, **fields: Any) -> Any:
    file = await ask.files.create(file=("in.jsonl", jsonl(*lines)), purpose="batch")
    return await ask.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **fields)


async def ended(ask: AsyncOpenAI, batch: Any) -> Any:
    async with asyncio.timeout(10):
        while batch.status not in ("completed", "failed", "expired", "cancelled"):
            await asyncio.sleep(0.02)
            batch = await ask.batches.retrieve(batch.id)
    return batch


async def lines_of(ask: AsyncOpenAI, file_id: str | None) -> dict[str, Any]:
    assert file_id is not None
    text = (await ask.files.content(file_id)).text
    found = [json.loads(line) for line in text.splitlines()]
    assert len({line["custom_id"] for line in found}) == len(found)
    return {line["custom_id"]: line for line in found}


async def until(happened: Any) -> None:
    async with asyncio.timeout(5):
        while not happened():
            await asyncio.sleep(0.01)


class Gate:
    """A worker that holds answers back until it is opened."""

    def __init__(self, model: TextModel) -> None:
        self.model = model
        self.asked = 0
        self.running = 0
        self.most = 0
        self.open = asyncio.Event()

    async def __call__(self, request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        self.asked += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.open.wait()
        finally:
            self.running -= 1
        async for output in saying(self.model, "At last.")(request):
            yield output


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


async def test_a_batch_is_run_and_answers_as_live_requests_do(
    door: OpenDoor, text_model: TextModel, tmp_path: Path
) -> None:
    one = await door(saying(text_model, "Said."), batches=BatchOptions(folder=tmp_path))
    too_long = chat("long", max_tokens=10_000)
    wrong = chat("wrong", temperature=9)
    async with client(one) as ask:
        batch = await started(
            ask, *(chat(f"c{i}", f"No. {i}") for i in range(20)), too_long, wrong, metadata={"a": "b"}
        )
        assert (batch.object, batch.status, batch.metadata) == ("batch", "validating", {"a": "b"})
        assert batch.expires_at == batch.created_at + 24 * 3600
        batch = await ended(ask, batch)
        assert (batch.status, batch.model, batch.errors) == ("completed", "tiny", None)
        counts = batch.request_counts
        assert (counts.total, counts.completed, counts.failed) == (22, 20, 2)
        said = await lines_of(ask, batch.output_file_id)
        assert list(said) == [f"c{i}" for i in range(20)]
        response = said["c7"]["response"]
        assert (response["status_code"], said["c7"]["error"]) == (200, None)
        assert response["body"]["object"] == "chat.completion"
        assert response["body"]["choices"][0]["message"]["content"] == "Said."
        assert one.house.stories.json(response["request_id"]) is not None
        failed = await lines_of(ask, batch.error_file_id)
        assert {name: line["response"]["status_code"] for name, line in failed.items()} == {"long": 400, "wrong": 400}
        assert failed["wrong"]["response"]["body"]["error"]["param"] == "temperature"
        assert [each.id async for each in ask.batches.list(limit=1)] == [batch.id]
        output = await ask.files.retrieve(batch.output_file_id)
        assert output.purpose == "batch_output"
    assert {call.priority for _, call in one.house.workers.calls} == {PRIORITY}
    prompts = [text_model.decode(call.prompt_token_ids) for _, call in one.house.workers.calls]
    assert all(sum(f"No. {i}<" in prompt for prompt in prompts) == 1 for i in range(20))


async def test_plain_completions_too(door: OpenDoor, text_model: TextModel, tmp_path: Path) -> None:
    one = await door(saying(text_model, " two"), batches=BatchOptions(folder=tmp_path))
    line = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"model": "tiny", "prompt": "One,"}}
    async with client(one) as ask:
        batch = await ended(ask, await started(ask, line, endpoint="/v1/completions"))
        said = await lines_of(ask, batch.output_file_id)
    assert said["a"]["response"]["body"]["choices"][0]["text"] == " two"


async def test_a_wrong_input_fails_its_batch_and_says_where(
    door: OpenDoor, text_model: TextModel, tmp_path: Path
) -> None:
    one = await door(saying(text_model, "x"), batches=BatchOptions(folder=tmp_path, max_lines=3))
    async with client(one) as ask:
        for lines, code, number in (
            ([chat("a"), b"nonsense\n"], "invalid_json_line", 2),
            ([chat("a"), chat("a")], "duplicate_custom_id", 2),
            ([chat("a", model="nope")], "model_not_found", 1),
            ([chat(str(i)) for i in range(4)], "too_many_tasks", 4),
            ([], "empty_file", None),
        ):
            batch = await ended(ask, await started(ask, *lines))
            assert batch.status == "failed"
            assert [(fault.code, fault.line) for fault in batch.errors.data] == [(code, number)]
            assert batch.failed_at is not None
    assert not one.house.workers.calls


async def test_a_batch_gives_way_to_live_requests(door: OpenDoor, text_model: TextModel, tmp_path: Path) -> None:
    gate = Gate(text_model)
    one = await door(gate, batches=BatchOptions(folder=tmp_path, lines_at_once=4))
    async with client(one) as ask, asyncio.TaskGroup() as group:
        hi: Any = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
        live = [group.create_task(ask.chat.completions.create(**hi)) for _ in range(2)]
        await until(lambda: gate.running == 2)
        batch = await started(ask, *(chat(str(i)) for i in range(6)))
        await until(lambda: gate.running == 4)
        await asyncio.sleep(0.05)
        assert gate.running == 4  # two live, and four less two of the batch
        gate.open.set()
        batch = await ended(ask, batch)
    assert batch.request_counts.completed == 6
    assert all(each.result().choices for each in live)
    assert gate.most <= 6


async def test_a_cancelled_batch_ends_at_once_with_what_it_has(
    door: OpenDoor, text_model: TextModel, tmp_path: Path
) -> None:
    gate = Gate(text_model)
    one = await door(gate, batches=BatchOptions(folder=tmp_path, lines_at_once=2))
    async with client(one) as ask:
        batch = await started(ask, *(chat(str(i)) for i in range(5)))
        await until(lambda: gate.running == 2)
        with pytest.raises(openai.ConflictError):
            await ask.files.delete(batch.input_file_id)
        batch = await ask.batches.cancel(batch.id)
        assert (batch.status, batch.cancelling_at is not None) == ("cancelling", True)
        batch = await ended(ask, batch)
        assert (batch.status, gate.running, gate.asked) == ("cancelled", 0, 2)
        left = await lines_of(ask, batch.error_file_id)
        assert {line["error"]["code"] for line in left.values()} == {"batch_cancelled"}
        assert (len(left), batch.output_file_id) == (5, None)
        assert (await ask.batches.cancel(batch.id)).status == "cancelled"
        await ask.files.delete(batch.input_file_id)


async def test_a_batch_whose_time_is_over_expires(door: OpenDoor, text_model: TextModel, tmp_path: Path) -> None:
    ahead = 0.0
    gate = Gate(text_model)
    one = await door(
        gate, batches=BatchOptions(folder=tmp_path, lines_at_once=1), wall_clock=lambda: time.time() + ahead
    )
    async with client(one) as ask:
        batch = await started(ask, *(chat(str(i)) for i in range(3)))
        await until(lambda: gate.running == 1)
        ahead = 24 * 3600 + 1.0
        batch = await ended(ask, batch)
        assert (batch.status, batch.request_counts.failed) == ("expired", 3)
        left = await lines_of(ask, batch.error_file_id)
    assert {line["error"]["code"] for line in left.values()} == {"batch_expired"}


async def test_a_process_that_dies_is_replaced_by_another_and_no_line_is_lost_or_doubled(
    door: OpenDoor, text_model: TextModel, tmp_path: Path
) -> None:
    options = BatchOptions(folder=tmp_path, lines_at_once=3, lease_s=0.3)
    stuck = Gate(text_model)

    async def first_then_stuck(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        answer = stuck if len(dying.house.workers.calls) > 4 else saying(text_model, "First.")
        async for output in answer(request):
            yield output

    dying = await door(first_then_stuck, batches=options)
    async with client(dying) as ask:
        batch = await started(ask, *(chat(f"c{i}", f"No. {i}") for i in range(10)))
        await until(lambda: stuck.running == 3)
    assert dying.app.batches is not None
    assert dying.running_batches is not None
    # As a kill would have it: nothing is given back. (Its store stays open; the file's locks are not held.)
    for task in asyncio.all_tasks():
        if task.get_name().startswith("batch-"):
            task.cancel()
    dying.running_batches.cancel()
    other = await door(saying(text_model, "Second."), batches=options)
    async with client(other) as ask:
        batch = await ended(ask, batch)
        assert (batch.status, batch.request_counts.completed) == ("completed", 10)
        said = await lines_of(ask, batch.output_file_id)
    texts = [line["response"]["body"]["choices"][0]["message"]["content"] for line in said.values()]
    assert sorted(texts) == ["First."] * 4 + ["Second."] * 6
    assert len(dying.house.workers.calls) + len(other.house.workers.calls) == 13


async def test_two_processes_with_one_folder_share_the_work_and_no_line_runs_twice(
    door: OpenDoor, text_model: TextModel, tmp_path: Path
) -> None:
    options = BatchOptions(folder=tmp_path, lines_at_once=2)
    first = await door(saying(text_model, "Said."), batches=options)
    second = await door(saying(text_model, "Said."), batches=options)
    async with client(first) as ask, client(second) as ask_other:
        batches = [await started(who, *(chat(str(i)) for i in range(8))) for who in (ask, ask_other) * 3]
        for batch in batches:
            over = await ended(ask_other, batch)
            assert over.request_counts.completed == 8
    assert len(first.house.workers.calls) + len(second.house.workers.calls) == 48
    assert second.house.workers.calls


async def test_overload_and_losses_are_waited_out(
    door: OpenDoor, text_model: TextModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tandem.frontend.batches.rules.wait_s", lambda error, times: 0.01)
    troubles: list[Exception] = [Overloaded("full"), EngineFailed("died"), Overloaded("full"), EngineFailed("died")]

    async def troubled(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        if troubles:
            raise troubles.pop()
        async for output in saying(text_model, "Said.")(request):
            yield output

    one = await door(troubled, batches=BatchOptions(folder=tmp_path))
    async with client(one) as ask:
        batch = await ended(ask, await started(ask, chat("a")))
    assert (batch.status, batch.request_counts.completed) == ("completed", 1)
    assert not troubles


async def test_each_key_has_files_and_batches_of_its_own(door: OpenDoor, text_model: TextModel, tmp_path: Path) -> None:
    from tandem.frontend.guard.keys import new_key

    mine, yours = new_key("mine"), new_key("yours", {"models": ["another"]})
    keys = Keys(text=f"{mine.line}\n{yours.line}\n")
    one = await door(saying(text_model, "Said."), batches=BatchOptions(folder=tmp_path), keys=keys)
    async with client(one, mine.key) as me, client(one, yours.key) as you:
        batch = await ended(me, await started(me, chat("a")))
        assert batch.request_counts.completed == 1
        for asked in (
            you.batches.retrieve(batch.id),
            you.batches.cancel(batch.id),
            you.files.retrieve(batch.output_file_id),
            you.files.content(batch.output_file_id),
            you.files.delete(batch.output_file_id),
            you.batches.create(input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h"),
        ):
            with pytest.raises(openai.NotFoundError):
                await asked
        assert [each async for each in you.batches.list()] == []
        assert [each async for each in you.files.list()] == []
        theirs = await ended(you, await started(you, chat("a")))
        failed = await lines_of(you, theirs.error_file_id)
        assert failed["a"]["response"]["status_code"] == 404


async def test_uploads_have_limits(door: OpenDoor, text_model: TextModel, tmp_path: Path) -> None:
    options = BatchOptions(folder=tmp_path, max_file_bytes=100_000, max_bytes=150_000, max_files=3)
    one = await door(saying(text_model, "x"), batches=options, door_options=DoorOptions(max_body_bytes=1000))
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
        with pytest.raises(openai.PermissionDeniedError, match="150000 bytes are kept already"):
            await ask.files.create(file=b"x", purpose="batch")


FORM = {"content-type": "multipart/form-data; boundary=a"}
FORMS: list[tuple[dict[str, Any], int, str]] = [
    ({"files": {"file": b"x"}}, 400, "purpose is missing"),
    ({"files": {"file": b"x"}, "data": {"purpose": "fine-tune"}}, 400, "purpose 'fine-tune': invalid enum value"),
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
        "expires_after[seconds] '5': expected int >= 3600",
    ),
    ({"files": {"file": b"x"}, "data": {"purpose": "x" * 5000}}, 400, "a field has at most 4096 bytes"),
    ({"files": {f"f{i}": b"x" for i in range(40)}}, 400, "more than 32 fields"),
]


@pytest.mark.parametrize(("form", "status", "words"), FORMS, ids=range(len(FORMS)))
async def test_wrong_forms_are_refused(
    door: OpenDoor, text_model: TextModel, tmp_path: Path, form: dict[str, Any], status: int, words: str
) -> None:
    one = await door(saying(text_model, "x"), batches=BatchOptions(folder=tmp_path))
    reply = await one.client.post("/v1/files", **form)
    assert (reply.status_code, words in reply.json()["error"]["message"]) == (status, True), reply.text
    assert not list((tmp_path / "files").iterdir())


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
            ("/v1/files?limit=0", "limit '0': expected int >= 1"),
            ("/v1/files?order=up", "order 'up': invalid enum value"),
            ("/v1/files?after=x", "after 'x': there is no such id"),
            ("/v1/batches?limit=101", "limit '101': expected int <= 100"),
        ):
            reply = await one.client.get(path)
            assert (reply.status_code, words in reply.json()["error"]["message"]) == (400, True), reply.text
        assert (await one.client.get("/v1/batches/nope")).status_code == 404
        assert (await one.client.get("/v1/files/..%2fledger.sqlite/content")).status_code == 404


async def test_a_disk_that_fails_is_told_of(door: OpenDoor, text_model: TextModel, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    one = await door(saying(text_model, "x"), batches=BatchOptions(folder=tmp_path / "state"))
    reply = await one.client.get("/v1/files")
    assert (reply.status_code, "the folder of files and batches" in reply.text) == (503, True)
    assert (await one.client.post("/v1/completions", json={"model": "tiny", "prompt": "x"})).status_code == 200
