"""What the clients' own helpers do with our answers, live: typed results, folded streams, agents of several turns."""

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from anthropic import Anthropic
from openai import OpenAI, pydantic_function_tool
from pydantic import BaseModel
from tests.process.serving import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

LITELLM = ROOT / ".run" / "clients" / "bin" / "python"
MODEL = "tiny-qwen3"
QUESTION: Any = [{"role": "user", "content": "What is prefill?"}]
CITY: Any = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Name of the city"}},
    "required": ["city"],
}
FUNCTION: Any = {"name": "get_weather", "description": "Get the weather of a city", "parameters": CITY}
TOOLS: Any = [{"type": "function", "function": FUNCTION}]
ANTHROPIC_TOOLS: Any = [
    {"name": "get_weather", "description": "Get the weather of a city", "input_schema": CITY},
]


class Verdict(BaseModel):
    """How something is judged."""

    good: bool
    points: int


class GetWeather(BaseModel):
    """Get the weather of a city"""

    city: str


# ── openai ───────────────────────────────────────────────────────────────────────────────────────


def test_a_chat_is_parsed_into_a_type(openai_client: OpenAI) -> None:
    parsed = openai_client.chat.completions.parse(
        model=MODEL, messages=QUESTION, response_format=Verdict, temperature=0
    )
    assert isinstance(parsed.choices[0].message.parsed, Verdict)
    called = openai_client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "What is the weather in Oslo?"}],
        tools=[pydantic_function_tool(GetWeather)],
        response_format=Verdict,
        temperature=0,
    )
    message = called.choices[0].message
    assert message.tool_calls, "a form of the answer does not keep the model from its tools"
    assert message.tool_calls[0].function.parsed_arguments == GetWeather(city="Oslo")


def test_a_response_is_parsed_into_a_type(openai_client: OpenAI) -> None:
    parsed = openai_client.responses.parse(
        model=MODEL, input="How good is prefill?", text_format=Verdict, temperature=0
    )
    assert isinstance(parsed.output_parsed, Verdict)
    with openai_client.responses.stream(
        model=MODEL, input="How good is prefill?", text_format=Verdict, temperature=0
    ) as stream:
        for _ in stream:
            pass
        assert isinstance(stream.get_final_response().output_parsed, Verdict)


def test_a_chat_streams_into_a_type_and_into_arguments(openai_client: OpenAI) -> None:
    with openai_client.chat.completions.stream(
        model=MODEL, messages=QUESTION, response_format=Verdict, temperature=0, stream_options={"include_usage": True}
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert isinstance(final.choices[0].message.parsed, Verdict)
    assert final.usage is not None
    with openai_client.chat.completions.stream(
        model=MODEL,
        messages=[{"role": "user", "content": "What is the weather in Oslo?"}],
        tools=[pydantic_function_tool(GetWeather)],
        temperature=0,
    ) as calling:
        done = [event for event in calling if event.type == "tool_calls.function.arguments.done"]
    assert [event.parsed_arguments for event in done] == [GetWeather(city="Oslo")]


def answered(client: OpenAI, turns: list[Any], tool: Callable[[str], str]) -> list[str]:
    """Goes on until the model calls nothing more; the names of cities that it asked about."""
    asked = []
    for _ in range(4):
        message = client.chat.completions.create(model=MODEL, messages=turns, tools=TOOLS, temperature=0).choices[0]
        turns.append(message.message)
        if message.finish_reason != "tool_calls":
            break
        for call in message.message.tool_calls or ():
            assert call.type == "function"
            city = json.loads(call.function.arguments)["city"]
            asked.append(city)
            turns.append({"role": "tool", "tool_call_id": call.id, "content": tool(city)})
    return asked


def test_an_agent_goes_through_several_turns_of_calls(openai_client: OpenAI) -> None:
    turns: list[Any] = []
    for city in ("Oslo", "Rome"):
        turns.append({"role": "user", "content": f"What is the weather in {city}?"})
        asked = answered(openai_client, turns, lambda city: json.dumps({"city": city, "sky": "snow", "celsius": -3}))
        assert city in asked
        assert turns[-1].content


def test_vllms_own_fields(openai_client: OpenAI) -> None:
    own: Any = {
        "top_k": 20,
        "min_p": 0.0,
        "repetition_penalty": 1.05,
        "min_tokens": 2,
        "include_stop_str_in_output": True,
        "return_token_ids": True,
        "prompt_logprobs": 1,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    reply = openai_client.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, stop=["."], extra_body=own
    )
    told = reply.model_dump()
    assert (reply.choices[0].message.content or "").endswith(".")
    assert reply.usage is not None
    assert len(told["prompt_token_ids"]) == len(told["prompt_logprobs"]) == reply.usage.prompt_tokens
    assert len(told["choices"][0]["token_ids"]) == reply.usage.completion_tokens
    chosen = openai_client.chat.completions.create(
        model=MODEL, messages=QUESTION, extra_body={"structured_outputs": {"choice": ["yes", "no"]}}
    )
    assert chosen.choices[0].message.content in ("yes", "no")
    short = openai_client.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, extra_body={"thinking_token_budget": 4}
    )
    assert short.usage is not None
    assert short.usage.completion_tokens_details is not None
    assert short.usage.completion_tokens_details.reasoning_tokens in range(7)
    assert short.choices[0].message.content


def test_an_answer_names_its_request(openai_client: OpenAI, anthropic_client: Anthropic) -> None:
    reply = openai_client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=2)
    assert reply.id == f"chatcmpl-{reply._request_id}"
    message = anthropic_client.messages.create(model=MODEL, messages=QUESTION, max_tokens=2)
    assert message.id == f"msg_{message._request_id}"


def test_a_responses_input_is_counted(openai_client: OpenAI) -> None:
    counted = openai_client.responses.input_tokens.count(model=MODEL, input="What is prefill?")
    response = openai_client.responses.create(model=MODEL, input="What is prefill?", max_output_tokens=16)
    assert response.usage is not None
    assert counted.input_tokens == response.usage.input_tokens


# ── anthropic ────────────────────────────────────────────────────────────────────────────────────


def test_anthropic_streams_a_thought_and_a_call_and_takes_both_back(anthropic_client: Anthropic) -> None:
    turns: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
    fields: Any = {
        "model": MODEL,
        "max_tokens": 1500,
        "tools": ANTHROPIC_TOOLS,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "extra_body": {"temperature": 0},
    }
    with anthropic_client.messages.stream(messages=turns, **fields) as stream:
        kinds = [event.type for event in stream]
        asked = stream.get_final_message()
    assert asked.stop_reason == "tool_use"
    assert {"input_json", "content_block_stop", "message_stop"} <= set(kinds)
    use = asked.content[-1]
    assert use.type == "tool_use"
    assert use.input == {"city": "Oslo"}
    turns += [
        {"role": "assistant", "content": asked.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": '{"sky": "snow"}'}]},
    ]
    with anthropic_client.messages.stream(messages=turns, **fields) as stream:
        told = stream.get_final_message()
    assert told.content[-1].type in ("text", "tool_use")


def test_anthropic_parses_into_a_type(anthropic_client: Anthropic) -> None:
    parsed = anthropic_client.messages.parse(model=MODEL, max_tokens=300, messages=QUESTION, output_format=Verdict)
    assert isinstance(parsed.parsed_output, Verdict)


# ── litellm ──────────────────────────────────────────────────────────────────────────────────────


def test_litellm_by_each_of_its_routes(url: str) -> None:
    assert LITELLM.exists(), "scripts/clients.sh makes it; make acceptance calls that"
    script = ROOT / "tests" / "acceptance" / "litellm_ways.py"
    offline = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    ran = subprocess.run([LITELLM, script, url], capture_output=True, text=True, timeout=200, env=offline)
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout.splitlines()
    for name in ("openai", "hosted_vllm", "anthropic"):
        assert f"{name} call: get_weather {{'city': 'Oslo'}} tool_calls" in said, ran.stdout
        assert f"{name} told: True" in said, ran.stdout
        assert f"{name} thought: True True" in said, ran.stdout
    for name in ("openai", "hosted_vllm"):
        assert f"{name} form: Verdict(" in said, ran.stdout
    assert {"responses: True", "error: NotFoundError"} <= set(said), ran.stdout
