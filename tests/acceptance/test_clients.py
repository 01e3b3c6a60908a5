"""Clients of the world against `tandem demo`: the pages that tell of them, and each client's own ways.

The blocks of docs/clients.md and docs/batches.md run as they stand; LiteLLM's in an environment of its own
(`scripts/clients.sh`). The model is small: asserted is that answers are there and have their form, and its words only
where it has learned them.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from openai import OpenAI
from pydantic import BaseModel, SecretStr
from tests.process.serving import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

LITELLM = ROOT / ".run" / "clients" / "bin" / "python"
MODEL = "tiny-qwen3"
ASK_WEATHER = "What is the weather in Oslo?"
CITY: Any = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Name of the city"}},
    "required": ["city"],
}


def blocks(page: str, language: str, heading: str | None = None) -> list[str]:
    """Code of a page, or of what stands under one of its headings."""
    text = (ROOT / "docs" / page).read_text()
    if heading is not None:
        text = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def said_by(code: str, url: str, python: Path | str = sys.executable) -> str:
    """What a block prints when it is run by itself, against our server."""
    assert "http://127.0.0.1:8000" in code
    ran = subprocess.run(
        [python, "-c", code.replace("http://127.0.0.1:8000", url)], capture_output=True, text=True, timeout=200
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    ("heading", "found"),
    [
        (
            "OpenAI",
            [r"thought: .", r"answer: .*prompt", r'call: get_weather \{"city": "Oslo"\}', r"told: .", r"response: ."],
        ),
        (
            "Anthropic",
            [
                r"answer: .*prompt",
                r"blocks: \['thinking', 'text'\]",
                r"call: get_weather \{'city': 'Oslo'\}",
                r"told: .",
            ],
        ),
        (
            "LangChain",
            [r"answer: .*prompt", r"streamed: .", r"call: get_weather \{'city': 'Oslo'\}", r"verdict: Verdict\("],
        ),
    ],
)
def test_the_page_on_clients_is_true(url: str, heading: str, found: list[str]) -> None:
    [code] = blocks("clients.md", "python", heading)
    said = said_by(code, url)
    for pattern in found:
        assert re.search(pattern, said), f"{pattern} is not in:\n{said}"


def test_litellm_by_both_apis(url: str) -> None:
    assert LITELLM.exists(), "scripts/clients.sh makes it; make acceptance calls that"
    [code] = blocks("clients.md", "python", "LiteLLM")
    said = said_by(code, url, LITELLM)
    for pattern in (r"answer: .*prompt", r"streamed: .*prompt", r"by Anthropic's API: .*prompt"):
        assert re.search(pattern, said), f"{pattern} is not in:\n{said}"


def test_curl(url: str) -> None:
    [code] = blocks("clients.md", "sh", "curl")
    said = subprocess.run(["sh", "-c", code.replace("http://127.0.0.1:8000", url)], capture_output=True, check=True)
    assert json.loads(said.stdout)["content"][0]["type"] == "text"


def test_the_page_on_batches_is_true(url: str) -> None:
    [code] = blocks("batches.md", "python")
    said = said_by(code, url)
    assert [line.split()[0] for line in said.splitlines() if line.startswith("question-")] == [
        "question-0",
        "question-1",
        "question-2",
    ]


# ── what the pages do not show ───────────────────────────────────────────────────────────────────


def test_openai_streams_a_tools_arguments(openai_client: OpenAI) -> None:
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": CITY}}]
    named: Any = {"type": "function", "function": {"name": "get_weather"}}
    choices: tuple[tuple[Any, str], ...] = (("required", "tool_calls"), (named, "stop"))
    for choice, ends in choices:
        name, arguments, finish = "", "", None
        for chunk in openai_client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": ASK_WEATHER}],
            tools=tools,
            tool_choice=choice,
            stream=True,
            temperature=0,
        ):
            for call in chunk.choices[0].delta.tool_calls or ():
                assert call.function is not None
                name += call.function.name or ""
                arguments += call.function.arguments or ""
            finish = chunk.choices[0].finish_reason or finish
        assert (name, finish) == ("get_weather", ends)
        assert isinstance(json.loads(arguments)["city"], str)


def test_openai_responses_stream_as_their_client_folds_them(openai_client: OpenAI) -> None:
    with openai_client.responses.stream(model=MODEL, input="What is prefill?", store=False) as stream:
        types = [event.type for event in stream]
        final = stream.get_final_response()
    assert (types[0], types[-1]) == ("response.created", "response.completed")
    assert "prompt" in final.output_text
    assert final.usage is not None
    assert final.usage.output_tokens > 0


def test_anthropic_stream_and_whole_agree(anthropic_client: Anthropic) -> None:
    fields: Any = {
        "model": MODEL,
        "max_tokens": 1500,
        "messages": [{"role": "user", "content": "What is prefill?"}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "extra_body": {"temperature": 0},
    }
    whole = anthropic_client.messages.create(**fields)
    with anthropic_client.messages.stream(**fields) as stream:
        streamed = stream.get_final_message()
    assert [block.to_dict() for block in streamed.content] == [block.to_dict() for block in whole.content]
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert (streamed.stop_reason, whole.stop_reason) == ("end_turn", "end_turn")
    assert streamed.usage.output_tokens == whole.usage.output_tokens


def test_anthropic_tells_what_was_cached(anthropic_client: Anthropic) -> None:
    question: Any = [{"role": "user", "content": "What is prefill? " * 40}]
    usages = [
        anthropic_client.messages.create(model=MODEL, max_tokens=5, messages=question).usage
        for _ in range(3)  # of two prefill workers, one gets it twice
    ]
    assert len({usage.input_tokens + (usage.cache_read_input_tokens or 0) for usage in usages}) == 1
    assert any(usage.cache_read_input_tokens for usage in usages[1:])


def test_anthropic_knobs_and_errors(anthropic_client: Anthropic) -> None:
    question: Any = [{"role": "user", "content": "What is prefill?"}]
    cut = anthropic_client.messages.create(model=MODEL, max_tokens=3, messages=question)
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 3)
    whole = anthropic_client.messages.create(
        model=MODEL, max_tokens=10**6, messages=question, extra_body={"temperature": 0}
    )
    text = whole.content[0].to_dict()["text"]
    word = str(text).split()[2]
    stopped = anthropic_client.messages.create(
        model=MODEL, max_tokens=100, messages=question, stop_sequences=[word], extra_body={"temperature": 0}
    )
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", word)
    tool: Any = {"name": "get_weather", "input_schema": CITY}
    forced = anthropic_client.messages.create(
        model=MODEL, max_tokens=200, messages=question, tools=[tool], tool_choice={"type": "any"}
    )
    assert (forced.stop_reason, forced.content[-1].type) == ("tool_use", "tool_use")
    with pytest.raises(anthropic.NotFoundError):
        anthropic_client.messages.create(model="nope", max_tokens=5, messages=question)
    image: Any = {"type": "image", "source": {"type": "url", "url": "http://x/y.png"}}
    with pytest.raises(anthropic.BadRequestError, match="models here read text, not image"):
        anthropic_client.messages.create(model=MODEL, max_tokens=5, messages=[{"role": "user", "content": [image]}])


def test_langchain_goes_through_a_tool_and_back(url: str) -> None:
    class GetWeather(BaseModel):
        """Get the weather of a city"""

        city: str

    model = ChatOpenAI(base_url=f"{url}/v1", api_key=SecretStr("none"), model=MODEL, temperature=0)
    bound = model.bind_tools([GetWeather])
    turns: list[Any] = [HumanMessage(ASK_WEATHER)]
    folded: AIMessageChunk | None = None
    for chunk in bound.stream(turns):
        assert isinstance(chunk, AIMessageChunk)
        folded = chunk if folded is None else folded + chunk
    assert folded is not None
    [call] = folded.tool_calls
    assert (call["name"], call["args"]) == ("GetWeather", {"city": "Oslo"})
    turns += [AIMessage("", tool_calls=folded.tool_calls), ToolMessage('{"sky": "snow"}', tool_call_id=call["id"])]
    assert bound.invoke(turns).content
    forced = model.bind_tools([GetWeather], tool_choice="any").invoke("What is prefill?")
    assert isinstance(forced, AIMessage)
    assert [each["name"] for each in forced.tool_calls] == ["GetWeather"]
