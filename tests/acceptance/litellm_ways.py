"""What LiteLLM's users do, by each of its routes to us. Run by its own environment; prints a line for each thing."""

import json
import sys
from typing import Any

import litellm  # type: ignore[import-not-found] # it is in an environment of its own
from pydantic import BaseModel

URL = sys.argv[1]
OPENAI = {"model": "openai/tiny-qwen3", "api_base": f"{URL}/v1", "api_key": "none"}
VLLM = {"model": "hosted_vllm/tiny-qwen3", "api_base": f"{URL}/v1", "api_key": "none"}
ANTHROPIC = {"model": "anthropic/tiny-qwen3", "api_base": URL, "api_key": "none", "max_tokens": 1500}
QUESTION = [{"role": "user", "content": "What is prefill?"}]
WEATHER = [{"role": "user", "content": "What is the weather in Oslo?"}]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Name of the city"}},
    "required": ["city"],
}
ABOUT = {"name": "get_weather", "description": "Get the weather of a city", "parameters": CITY}
TOOLS = [{"type": "function", "function": ABOUT}]


class Verdict(BaseModel):
    """How something is judged."""

    good: bool
    points: int


def tool_and_back(name: str, route: dict[str, Any]) -> None:
    """A call, streamed and folded; then its result."""
    chunks = list(litellm.completion(messages=WEATHER, tools=TOOLS, temperature=0, stream=True, **route))
    made: Any = litellm.stream_chunk_builder(chunks, messages=WEATHER)
    (call,) = made.choices[0].message.tool_calls
    print(f"{name} call:", call.function.name, json.loads(call.function.arguments), made.choices[0].finish_reason)
    turns = [
        *WEATHER,
        made.choices[0].message.model_dump(),
        {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "snow"}'},
    ]
    told: Any = litellm.completion(messages=turns, tools=TOOLS, temperature=0, **route)
    print(f"{name} told:", bool(told.choices[0].message.content))


def thought(name: str, route: dict[str, Any], **asked: Any) -> None:
    """The thought apart from the answer."""
    message: Any = litellm.completion(messages=QUESTION, temperature=0, **route, **asked).choices[0].message
    print(f"{name} thought:", bool(message.reasoning_content), "prompt" in message.content)


for name, route in (("openai", OPENAI), ("hosted_vllm", VLLM), ("anthropic", ANTHROPIC)):
    tool_and_back(name, route)
thought("openai", OPENAI)
thought("hosted_vllm", VLLM)
# LiteLLM knows by name which models think; this one it must be told.
thought(
    "anthropic",
    ANTHROPIC,
    thinking={"type": "enabled", "budget_tokens": 1024},
    allowed_openai_params=["thinking"],
)
for name, route in (("openai", OPENAI), ("hosted_vllm", VLLM)):
    formed: Any = litellm.completion(messages=QUESTION, response_format=Verdict, temperature=0, **route)
    print(f"{name} form:", repr(Verdict.model_validate_json(formed.choices[0].message.content))[:8])
response: Any = litellm.responses(input="What is prefill?", temperature=0, **OPENAI)
print("responses:", "prompt" in response.output[-1].content[0].text)
try:
    litellm.completion(messages=QUESTION, **{**OPENAI, "model": "openai/nope"})
except litellm.NotFoundError:
    print("error: NotFoundError")
