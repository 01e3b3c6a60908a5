"""The description of the API: complete, and true of the running server."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema_rs import Draft202012Validator
from tests.frontend.api_check import Coverage, declared_fields, run_checks
from tests.frontend.conftest import OpenDoor

from tandem.core.openai_in import REFUSED, ChatRequest
from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.engines.ports import EngineSpec
from tandem.engines.simulated import SimulatedEngine
from tandem.frontend.batches.service import BatchOptions
from tandem.frontend.guard.keyring import Keys
from tandem.frontend.guard.keys import new_key
from tandem.processor.service import ProcessorOptions
from tandem.testing.cluster import QUICK

MODEL = Path(__file__).parents[2] / "models" / "tiny-qwen3"
Check = Callable[..., Awaitable[Coverage]]


@pytest.fixture
async def checked(door: OpenDoor, tmp_path: Path) -> Any:
    """Runs schemathesis against a live server over the simulated engine."""
    about = EngineSpec(
        model_path=str(MODEL), served_model_name="tiny", roles=(), engine_args={**QUICK, "speedup": 10_000.0}
    )
    engine = SimulatedEngine(about)
    await engine.load()

    async def answer(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        async for output in engine.generate(request):
            yield output

    async def check(embeds: bool = False, **options: Any) -> Coverage:
        key = new_key("checker", {"priority": -(2**31)})
        one = await door(
            answer,
            keys=Keys(text=key.line),
            options=ProcessorOptions(default_max_tokens=4),
            batches=BatchOptions(folder=tmp_path),
            endpoints=["embed"] if embeds else ["generate"],
        )
        return await asyncio.to_thread(run_checks, one.url, key=key.key, **options)

    yield check
    await engine.aclose()


async def the_document(door: OpenDoor) -> tuple[Any, Any]:
    one = await door(keys=Keys(api_key="s3cret"), batches=BatchOptions(folder=Path("unused")))
    reply = await one.client.get("/openapi.json")
    assert reply.status_code == 200
    return one, reply.json()


async def test_the_table_and_the_document_have_the_same_paths(door: OpenDoor) -> None:
    one, document = await the_document(door)
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert told == {(route.method, route.template) for route in one.app.routes.routes}


async def test_what_is_answered_has_no_other_fields_than_those_told(door: OpenDoor) -> None:
    _, document = await the_document(door)
    components = document["components"]["schemas"]
    for name in ("ChatCompletion", "ChatChunk", "Delta", "Usage", "ErrorBody", "ErrorObject", "ModelList"):
        assert components[name]["additionalProperties"] is False, name


async def test_every_field_that_is_refused_is_told_with_the_reason(door: OpenDoor) -> None:
    _, document = await the_document(door)
    chat = document["components"]["schemas"]["ChatRequest"]
    for name in REFUSED.keys() - {field.name for field in msgspec.structs.fields(ChatRequest)}:
        why = REFUSED[name]
        assert why in chat["properties"][name]["description"]
    valid = Draft202012Validator({**document, "$ref": "#/components/schemas/ChatRequest"})
    hi: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
    assert valid.is_valid({**hi, "unknown": 1, "modalities": ["text"], "bad_words": []})
    assert not valid.is_valid({**hi, "bad_words": ["x"]})
    assert not valid.is_valid({**hi, "kv_transfer_params": {}})


async def test_arguments_of_a_call_are_told_to_be_an_object(door: OpenDoor) -> None:
    _, document = await the_document(door)
    listed, tool = {"type": "array"}, {"type": "function", "name": "f"}
    for name, form in (
        ("ChatRequest", lambda schema: {"messages": [], "tools": [{"function": {"name": "f", "parameters": schema}}]}),
        ("ResponsesRequest", lambda schema: {"input": "x", "tools": [{**tool, "parameters": schema}]}),
        ("CountTokensRequest", lambda schema: {"model": "x", "tools": [{"name": "f", "input_schema": schema}]}),
    ):
        valid = Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"})
        wrong = [any("tools" in each.instance_path for each in valid.iter_errors(form(kind))) for kind in ({}, listed)]
        assert wrong == [False, True], name


async def test_keys_are_told_of_where_they_are_asked_for(door: OpenDoor) -> None:
    _, document = await the_document(door)
    paths = document["paths"]
    assert [list(each) for each in paths["/v1/models"]["get"]["security"]] == [["bearer"], ["x-api-key"], ["api-key"]]
    assert "401" in paths["/v1/models"]["get"]["responses"]
    assert paths["/live"]["get"]["security"] == []
    open_door = (await (await door()).client.get("/openapi.json")).json()
    assert open_door["paths"]["/v1/models"]["get"]["security"] == []


async def test_fields_have_prose_and_bounds(door: OpenDoor) -> None:
    _, document = await the_document(door)
    fields = document["components"]["schemas"]["ChatRequest"]["properties"]
    assert fields["max_completion_tokens"]["description"] == "The newer name of max_tokens; it wins."
    assert {"type": "integer", "minimum": 1, "maximum": 128} in fields["n"]["anyOf"]
    names = dict(declared_fields(document))["POST /v1/chat/completions"]
    assert {"messages[].content[].text", "tools[].function.name", "stop"} <= names


@pytest.mark.timeout(90)
async def test_schemathesis_finds_nothing_at_a_glance(checked: Check, capsys: pytest.CaptureFixture[str]) -> None:
    covered = await checked(max_examples=None, seconds_each=4, only="^(GET|DELETE)|/v1/completions$|/cancel$")
    with capsys.disabled():
        print("\n" + "\n".join(covered.lines()))
    assert not covered.failures, "\n".join(covered.failures[:20])
    assert len(covered.operations) == len(covered.all_operations)


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
async def test_schemathesis_finds_nothing_at_length(checked: Check, capsys: pytest.CaptureFixture[str]) -> None:
    covered = await checked(max_examples=100, seconds_each=120, only="^(?!.*/v1/embeddings)")
    embedded = await checked(max_examples=100, seconds_each=120, only="/v1/embeddings", embeds=True)
    with capsys.disabled():
        print("\n" + "\n".join([*covered.lines(), *embedded.lines()]))
    assert not covered.failures + embedded.failures, "\n".join([*covered.failures[:20], *embedded.failures[:20]])
    assert len(covered.sent & covered.declared) >= 0.95 * len(covered.declared)
