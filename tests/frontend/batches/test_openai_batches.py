"""OpenAI's official client uploads files and runs batches, against a real socket and a real disk."""

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from tests.frontend.batches.asking import CHAT, chat, client, ended, lines_of, started, until
from tests.frontend.conftest import OpenDoor
from tests.processor.fakes import saying

from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.errors import EngineFailed, Overloaded
from tandem.frontend.answering import DoorOptions
from tandem.frontend.batches.rules import PRIORITY
from tandem.frontend.batches.service import BatchOptions
from tandem.frontend.guard.keyring import Keys
from tandem.processor.model import TextModel
from tandem.settings import LimitSettings


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


async def test_the_other_endpoints_too(door: OpenDoor, text_model: TextModel, tmp_path: Path) -> None:
    one = await door(saying(text_model, " two"), batches=BatchOptions(folder=tmp_path))

    async def answer(ask: AsyncOpenAI, url: Any, body: dict[str, Any]) -> Any:
        line = {"custom_id": "a", "method": "POST", "url": url, "body": {"model": "tiny", **body}}
        batch = await ended(ask, await started(ask, line, endpoint=url))
        return (await lines_of(ask, batch.output_file_id))["a"]["response"]["body"]

    async with client(one) as ask:
        said = await answer(ask, "/v1/completions", {"prompt": "One,"})
        assert said["choices"][0]["text"] == " two"
        said = await answer(ask, "/v1/responses", {"input": "One,"})
        assert (said["object"], said["status"]) == ("response", "completed")
        assert said["output"][0]["content"][0]["text"] == " two"
    assert {call.priority for _, call in one.house.workers.calls} == {PRIORITY}


async def test_embeddings_too(door: OpenDoor, text_model: TextModel, tmp_path: Path) -> None:
    one = await door(saying(text_model, "x"), batches=BatchOptions(folder=tmp_path), endpoints=["embed"])
    body = {"model": "tiny", "input": ["one", "two"]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": body}
    async with client(one) as ask:
        batch = await ended(ask, await started(ask, line, endpoint="/v1/embeddings"))
        said = (await lines_of(ask, batch.output_file_id))["a"]["response"]["body"]
    assert [each["index"] for each in said["data"]] == [0, 1]


async def test_a_wrong_input_fails_its_batch_and_says_where(
    door: OpenDoor, text_model: TextModel, tmp_path: Path
) -> None:
    limits = DoorOptions(limits=LimitSettings(max_body_bytes=50_000))
    one = await door(saying(text_model, "x"), batches=BatchOptions(folder=tmp_path, max_lines=3), door_options=limits)
    async with client(one) as ask:
        for lines, code, number in (
            ([chat("a"), b"nonsense\n"], "invalid_json_line", 2),
            ([chat("a"), chat("a")], "duplicate_custom_id", 2),
            ([chat("a", model="nope")], "model_not_found", 1),
            ([chat(str(i)) for i in range(4)], "too_many_tasks", 4),
            ([], "empty_file", None),
            ([chat("a", "x" * 60_000)], "line_too_long", 1),
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
