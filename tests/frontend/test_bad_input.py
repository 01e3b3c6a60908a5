"""Whatever comes in, the answer is an error in OpenAI's form that names the field and its value."""

import asyncio
import http.client
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from tests.frontend.conftest import OpenDoor
from tests.processor.fakes import saying

from tandem.core.openai_in import REFUSED, hidden_hand_off
from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.frontend.answering import DoorOptions
from tandem.observe import metrics
from tandem.processor.model import TextModel
from tandem.settings import LimitSettings

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
TOKENIZE, DETOKENIZE = "/tokenize", "/detokenize"
HI: Any = [{"role": "user", "content": "Hi"}]


async def never(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
    raise AssertionError("a bad request reached a worker")
    yield


FORM: Any = {"type": "json_object"}


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


def m(**fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": HI, **fields}


BAD_FIELDS: list[tuple[str, dict[str, Any], str | None, str]] = [
    (CHAT, {"model": "tiny"}, "messages", "messages is missing"),
    (CHAT, m(messages=[]), "messages", "messages must be a list of at least 1 object, not a list of 0"),
    (CHAT, m(messages="Hi"), "messages", "messages must be a list of at least 1 object, not a string of 2 characters"),
    (CHAT, m(messages=[{"content": "x"}]), "messages[0].role", "messages[0].role is missing"),
    (
        CHAT,
        m(messages=[{"role": "wizard", "content": "x"}]),
        "messages[0].role",
        'messages[0].role must be "assistant", "developer", "system", "tool" or "user", not "wizard"',
    ),
    (
        CHAT,
        m(messages=[{"role": "user", "content": 7}]),
        "messages[0].content",
        "messages[0].content must be a string or a list of objects, not 7",
    ),
    (
        CHAT,
        m(messages=[*HI, {"role": "user"}]),
        "messages[1].content",
        "messages[1].content is missing: a user message needs it",
    ),
    (CHAT, m(model=7), "model", "model must be a string, not 7"),
    (CHAT, m(stream="yes"), "stream", 'stream must be true or false, not "yes"'),
    (CHAT, m(n=0), "n", "n must be an integer from 1 to 128, not 0"),
    (CHAT, m(n=1000), "n", "n must be an integer from 1 to 128, not 1000"),
    (CHAT, m(n=1.5), "n", "n must be an integer from 1 to 128, not 1.5"),
    (CHAT, m(temperature=-0.1), "temperature", "temperature must be a number from 0 to 2, not -0.1"),
    (CHAT, m(temperature=2.1), "temperature", "temperature must be a number from 0 to 2, not 2.1"),
    (CHAT, m(temperature="hot"), "temperature", 'temperature must be a number from 0 to 2, not "hot"'),
    (CHAT, m(top_p=0), "top_p", "top_p must be a number above 0 and at most 1, not 0"),
    (CHAT, m(top_k=-2), "top_k", "top_k must be an integer from -1 to 2147483647, not -2"),
    (CHAT, m(min_p=1.1), "min_p", "min_p must be a number from 0 to 1, not 1.1"),
    (CHAT, m(presence_penalty=3), "presence_penalty", "presence_penalty must be a number from -2 to 2, not 3"),
    (CHAT, m(frequency_penalty=-3), "frequency_penalty", "frequency_penalty must be a number from -2 to 2, not -3"),
    (
        CHAT,
        m(repetition_penalty=0),
        "repetition_penalty",
        "repetition_penalty must be a number above 0 and at most 10, not 0",
    ),
    (CHAT, m(max_tokens=0), "max_tokens", "max_tokens must be an integer from 1 to 2147483647, not 0"),
    (CHAT, m(max_tokens=-5), "max_tokens", "max_tokens must be an integer from 1 to 2147483647, not -5"),
    (
        CHAT,
        m(max_tokens=10**30),
        "max_tokens",
        "max_tokens must be an integer from 1 to 2147483647, not 1000000000000000000000000000000",
    ),
    (CHAT, m(max_tokens=True), "max_tokens", "max_tokens must be an integer from 1 to 2147483647, not true"),
    (CHAT, m(max_tokens=100_000), "max_tokens", "asks for 100000 more; the model takes 2048 together"),
    (
        CHAT,
        m(max_completion_tokens=0),
        "max_completion_tokens",
        "max_completion_tokens must be an integer from 1 to 2147483647, not 0",
    ),
    (
        CHAT,
        m(seed=2**63),
        "seed",
        "seed must be an integer from -9223372036854775808 to 9223372036854775807, not 9223372036854775808",
    ),
    (CHAT, m(stop=[""]), "stop[0]", 'stop[0] must be a string of 1 to 1024 characters, not ""'),
    (
        CHAT,
        m(stop=["a"] * 65),
        "stop",
        "stop must be a string of 1 to 1024 characters or a list of at most 64 strings, not a list of 65",
    ),
    (CHAT, m(stop=5), "stop", "stop must be a string of 1 to 1024 characters or a list of at most 64 strings, not 5"),
    (CHAT, m(logit_bias={"5": 101}), "logit_bias", "logit_bias['5'] must be a number from -100 to 100, not 101"),
    (CHAT, m(logit_bias=[5]), "logit_bias", "logit_bias must be an object of at most 1024 entries, not [5]"),
    (CHAT, m(logit_bias={"five": 1}), "logit_bias", "logit_bias key 'five' is no token id"),
    (CHAT, m(logprobs=5), "logprobs", "logprobs must be true or false, not 5"),
    (CHAT, m(logprobs=True, top_logprobs=21), "top_logprobs", "top_logprobs must be an integer from 0 to 20, not 21"),
    (CHAT, m(top_logprobs=2), "top_logprobs", "needs logprobs"),
    (CHAT, m(prompt_logprobs=21), "prompt_logprobs", "prompt_logprobs must be an integer from 0 to 20, not 21"),
    (CHAT, m(prompt_logprobs=1, stream=True), "prompt_logprobs", "are not in a stream"),
    (CHAT, m(return_token_ids=1), "return_token_ids", "return_token_ids must be true or false, not 1"),
    (CHAT, m(include_reasoning="no"), "include_reasoning", 'include_reasoning must be true or false, not "no"'),
    (
        CHAT,
        m(thinking_token_budget=-2),
        "thinking_token_budget",
        "thinking_token_budget must be an integer from -1 to 2147483647, not -2",
    ),
    (CHAT, m(thinking_budget=-1), "thinking_budget", "thinking_budget must be an integer from 0 to 2147483647, not -1"),
    (TEXT, {"prompt": "x", "thinking_token_budget": 5}, "thinking_token_budget", "the thoughts of a chat"),
    (CHAT, m(echo=True), "echo", "plain completions"),
    (CHAT, m(add_special_tokens=True), "add_special_tokens", "chat template writes them"),
    (
        CHAT,
        m(response_format={"type": "xml"}),
        "response_format.type",
        'response_format.type must be "json_object", "json_schema", "structural_tag" or "text", not "xml"',
    ),
    (CHAT, m(response_format={"type": "json_schema"}), "response_format.json_schema.schema", "json_schema needs it"),
    (CHAT, m(tools=[{"type": "function"}]), "tools[0].function", "is missing"),
    (CHAT, m(tools=[{"type": "function", "function": {}}]), "tools[0].function.name", "is missing"),
    (
        CHAT,
        m(tools=[{"type": "function", "function": {"name": "x y"}}]),
        "tools[0].function.name",
        "tools[0].function.name must be a string that matches ^[a-zA-Z0-9_.:/-]{1,128}$",
    ),
    (CHAT, m(tool_choice="required"), "tool_choice", "needs tools"),
    (CHAT, m(stream=False, stream_options={}), "stream_options", "needs stream: true"),
    (
        CHAT,
        m(stream_options={"include_usage": 1}),
        "stream_options.include_usage",
        "stream_options.include_usage must be true or false, not 1",
    ),
    (TOKENIZE, {}, "prompt", "either prompt or messages"),
    (TOKENIZE, {"prompt": "x", "messages": HI}, "prompt", "either prompt or messages"),
    (TOKENIZE, {"prompt": 5}, "prompt", "prompt must be a string, not 5"),
    (TOKENIZE, m(add_special_tokens=True), "add_special_tokens", "the chat template writes"),
    (TOKENIZE, m(tools=[{"type": "function"}]), "tools[0].function", "is missing"),
    (TOKENIZE, m(chat_template="{{ 1 }}"), "chat_template", "own template"),
    (DETOKENIZE, {}, "tokens", "is missing"),
    (DETOKENIZE, {"tokens": [-1]}, "tokens[0]", "tokens[0] must be an integer from 0 to 2147483647, not -1"),
    (DETOKENIZE, {"tokens": [99_999]}, "tokens", "outside the vocabulary"),
    (CHAT, m(kv_transfer_params={"do_remote_decode": True}), "kv_transfer_params", "never taken from a client"),
    (CHAT, m(functions=[{"name": "f"}]), "functions", "replaced by tools"),
    (CHAT, m(audio={"voice": "x"}), "audio", "in text"),
    (CHAT, m(modalities=["text", "audio"]), "modalities", "in text"),
    (CHAT, m(guided_regex=""), "guided_regex", 'guided_regex must be a string of 1 to 4096 characters, not ""'),
    (
        CHAT,
        m(guided_regex="a" * 5000),
        "guided_regex",
        "guided_regex must be a string of 1 to 4096 characters, not a string of 5000 characters",
    ),
    (CHAT, m(guided_json="{"), "guided_json", "guided_json is not JSON"),
    (CHAT, m(guided_choice=[]), "guided_choice", "guided_choice must be a list of 1 to 1000 strings, not []"),
    (
        CHAT,
        m(guided_choice=["a", ""]),
        "guided_choice[1]",
        'guided_choice[1] must be a string of 1 to 4096 characters, not ""',
    ),
    (CHAT, m(guided_grammar=7), "guided_grammar", "guided_grammar must be a string of 1 to 65536 characters, not 7"),
    (CHAT, m(guided_whitespace_pattern=" "), "guided_whitespace_pattern", "white space"),
    (CHAT, m(guided_regex="a", guided_choice=["a"]), "guided_choice", "guided_regex constrains the answer already"),
    (CHAT, m(response_format=FORM, structured_outputs={"regex": "a"}), "structured_outputs.regex", "send one of them"),
    (CHAT, m(structured_outputs={"json": {"a": "x" * 70_000}}), "structured_outputs.json", "the limit is 65536"),
    (CHAT, m(structured_outputs={"json": nested(65)}), "structured_outputs.json", "more than 64 levels"),
    (CHAT, m(response_format={"type": "structural_tag"}), "response_format.format", "format or structures"),
    (
        TEXT,
        {"prompt": "x", "structured_outputs": {"regex": 5}},
        "structured_outputs.regex",
        "structured_outputs.regex must be a string of 1 to 4096 characters, not 5",
    ),
    (CHAT, m(bad_words=["x"]), "bad_words", "logit_bias"),
    (CHAT, m(chat_template="{{ 1 }}"), "chat_template", "own template"),
    (
        CHAT,
        m(reasoning_effort="huge"),
        "reasoning_effort",
        'reasoning_effort must be "high", "low", "max", "medium", "minimal", "none" or "xhigh", not "huge"',
    ),
    (CHAT, m(metadata={"a": 1}), "metadata", "metadata['a'] must be a string of at most 512 characters, not 1"),
    (CHAT, m(extra_args={"a": 1}), "extra_args", "unread"),
    (CHAT, m(vllm_xargs={"a": 1}), "vllm_xargs", "unread"),
    (CHAT, m(nvext={"a": 1}), "nvext", "no extension"),
    (CHAT, m(function_call="auto"), "function_call", "replaced by tool_choice"),
    (
        CHAT,
        m(stream_options={"x": [{"kv_transfer_params": {}}]}),
        "stream_options.x[0].kv_transfer_params",
        "never taken from a client",
    ),
    (
        CHAT,
        m(chat_template_kwargs={"tools": []}),
        "chat_template_kwargs.tools",
        "'tools'; this model takes",
    ),
    (CHAT, m(messages=[{"role": "user", "content": "long " * 3000}]), "messages", "tokens; the model takes 2048"),
    (TEXT, {"model": "tiny"}, "prompt", "prompt is missing"),
    (TEXT, {"prompt": 7}, "prompt", "prompt must be a string or a list of strings, integers or lists, not 7"),
    (TEXT, {"prompt": ["a", 1]}, "prompt", "prompt must be"),
    (
        TEXT,
        {"prompt": [-1]},
        "prompt[0]",
        "prompt[0] must be a string, an integer from 0 to 2147483647 or a list of integers, not -1",
    ),
    (TEXT, {"prompt": "x", "max_tokens": 0}, "max_tokens", "only with echo"),
    (TEXT, {"prompt": "x", "logprobs": 21}, "logprobs", "logprobs must be an integer from 0 to 20, not 21"),
    (TEXT, {"prompt": "x", "suffix": "y"}, "suffix", "left only"),
    (TEXT, {"prompt": "x", "best_of": 4}, "best_of", "best_of 4 must be n, which is 1"),
    (TEXT, {"prompt": "x", "kv_transfer_params": {"a": 1}}, "kv_transfer_params", "never taken"),
]


def of_openai_form(body: Any) -> dict[str, Any]:
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize("stream", [False, True])
async def test_bad_fields_are_named_with_their_values(door: OpenDoor, stream: bool) -> None:
    one = await door(never)
    for path, body, param, words in BAD_FIELDS:
        reply = await one.client.post(path, json={"stream": stream, **body})
        error = of_openai_form(reply.json())
        assert (reply.status_code, error["type"]) == (400, "invalid_request_error"), (body, error)
        assert (error["param"], words in error["message"]) == (param, True), (body, error)


async def test_fields_that_ask_for_nothing_are_taken(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "x"))
    schema = {"type": "object", "properties": {"kv_transfer_params": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "x", "parameters": schema}}]
    for fields in (dict.fromkeys(REFUSED), {"modalities": ["text"], "unknown": 1}, {"tools": tools}):
        reply = await one.client.post(CHAT, json=m(**fields))
        assert reply.status_code == 200, (fields, reply.text)


def test_a_clients_own_schemas_and_calls_may_have_any_name() -> None:
    own = {"kv_transfer_params": {"type": "string"}}
    call = {"type": "tool_use", "id": "a", "name": "f", "input": own}
    for body in (
        {"tools": [{"name": "f", "input_schema": {"properties": own}}]},
        {"messages": [{"role": "assistant", "content": [call]}]},
        {"guided_json": {"properties": own}, "structured_outputs": {"json": {"properties": own}}},
    ):
        assert hidden_hand_off(body) is None
    assert hidden_hand_off({"input": [own]}) == "input[0].kv_transfer_params"  # a conversation


async def test_a_whole_number_may_be_written_with_a_point(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "x"))
    bias = {"5": 1.0}
    whole = await one.client.post(CHAT, json=m(n=1.0, max_tokens=7.0, top_k=-1.0, temperature=1.0, logit_bias=bias))
    assert whole.status_code == 200, whole.text
    sampling = one.house.workers.calls[-1][1].sampling
    assert (sampling.max_tokens, type(sampling.max_tokens), sampling.logit_bias) == (7, int, {5: 1.0})
    for fields, words in (
        ({"max_tokens": 7.0, "n": 1.5}, "n must be an integer from 1 to 128, not 1.5"),
        ({"n": 1.0, "stop": 5}, "or a list of at most 64 strings, not 5"),
        ({"seed": 1e30}, "not 1e+30"),
    ):
        reply = await one.client.post(CHAT, json=m(**fields))
        assert (reply.status_code, words in reply.text) == (400, True), reply.text
    cut = b'{"messages": [{"role": "user", "content": "x"}], "n": 1.0, "tools": ' + b"[" * 5000
    assert (await one.client.post(CHAT, content=cut)).status_code == 400


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b"[]", "must be a JSON object"),
    (b"null", "must be a JSON object"),
    (b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}', "not UTF-8"),
    (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "not JSON"),
    (b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}', "not JSON"),
    (
        b'{"messages": [{"role": "user", "content": "x"}], "temperature": 1e999}',
        "temperature must be a number from 0 to",
    ),
    (b'{"messages": [{"role": "user", "content": "x"}], "seed": ' + b"9" * 5000 + b"}", ""),
    (b'{"messages": [{"role": "user", "content": "x"}], "unknown": ' + b"9" * 5000 + b"}", "has too many digits"),
    (b'{"messages": [{"role": "user", "content": "x"}], "unknown": "\xff"}', "the body is not UTF-8: byte 61"),
    (b'{"messages": [{"role": "user", "content": "x"}], "\xff": 1}', "the body is not UTF-8: byte 50"),
    (b'{"a":' * 50_000, ""),
    (b'{"messages": [{"role": "user", "content": "x"}], "tools": [' + b'{"a":' * 50_000, ""),
    (b"\x00\x01\x02", "not JSON"),
    (b'{"messages": [{"role": "user", "content": "x"}]} trailing', "not JSON"),
]


@pytest.mark.parametrize(("body", "words"), BAD_BODIES, ids=range(len(BAD_BODIES)))
async def test_bad_bodies_get_400(door: OpenDoor, body: bytes, words: str) -> None:
    one = await door(never)
    reply = await one.client.post(CHAT, content=body)
    error = of_openai_form(reply.json())
    assert reply.status_code == 400
    assert words in error["message"]


async def test_the_clients_text_is_not_repeated_in_errors(door: OpenDoor) -> None:
    one = await door(never)
    reply = await one.client.post(CHAT, json=m(messages=[{"role": "user", "content": ["my secret"]}]))
    assert reply.status_code == 400
    assert "secret" not in reply.text


async def test_a_body_over_the_limit_gets_413_with_and_without_its_length(door: OpenDoor) -> None:
    one = await door(never, door_options=DoorOptions(limits=LimitSettings(max_body_bytes=1000)))

    async def parts() -> AsyncGenerator[bytes, None]:
        for _ in range(40):
            yield b"x" * 100

    for content in (b"x" * 4000, parts()):
        reply = await one.client.post(CHAT, content=content)
        assert reply.status_code == 413
        assert "the limit is 1000" in of_openai_form(reply.json())["message"]
    assert (await one.client.post(CHAT, content=b"x" * 1000)).status_code == 400


async def test_a_client_that_sends_100_mb_reads_its_413(door: OpenDoor) -> None:
    one = await door(never)

    def ask() -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", one.server.port, timeout=15)
        try:
            connection.request("POST", CHAT, body=bytes(100_000_000))
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    status, text = await asyncio.to_thread(ask)
    assert (status, b"the limit is" in text) == (413, True)


async def test_unknown_paths_methods_and_models(door: OpenDoor) -> None:
    one = await door(never)
    for method, path, status, code in [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/models/nope", 404, "model_not_found"),
        ("GET", "/v1/models/", 404, "not_found"),
    ]:
        reply = await one.client.request(method, path)
        assert (reply.status_code, of_openai_form(reply.json())["code"]) == (status, code), path
    assert (await one.client.get(CHAT)).headers["allow"] == "POST"
    reply = await one.client.post(CHAT, json=m(model="nope"))
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


async def test_ignored_fields_are_counted_by_name(door: OpenDoor, text_model: TextModel) -> None:
    metrics.reset()
    one = await door(saying(text_model, "x"))
    fields = {"verbosity": "low", "my_field": 1, "bad_words": [], "prompt_cache_key": "a", "store": True}
    assert (await one.client.post(CHAT, json=m(**fields))).status_code == 200
    assert (metrics.IGNORED_FIELDS.value("verbosity"), metrics.IGNORED_FIELDS.value("other")) == (1, 1)


async def test_rejections_are_counted_as_such(door: OpenDoor) -> None:
    metrics.reset()
    one = await door(never)
    await one.client.post(CHAT, content=b"{")
    await one.client.post(CHAT, json=m(model="nope"))
    assert metrics.REQUESTS.value("rejected") == 2
    assert metrics.REQUEST_ERRORS.value("model_not_found") == 1
    assert metrics.HTTP_RESPONSES.value(CHAT, "400") == 1
