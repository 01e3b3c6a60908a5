"""Conversations and answers in both forms, without a server."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from tandem.core.openai_in import ChatRequest
from tandem.core.openai_out import (
    CachedDetails,
    ChatChunk,
    ChunkChoice,
    Delta,
    Finish,
    FunctionDelta,
    ToolCallDelta,
    Usage,
)
from tandem.errors import RequestError
from tandem.frontend.anthropic.answers import Event, Message
from tandem.frontend.anthropic.asking import chat_of, signature
from tandem.frontend.anthropic.requests import MessagesRequest
from tandem.frontend.anthropic.telling import MessageFold, MessageTeller


def asked(*turns: Any, **fields: Any) -> ChatRequest:
    body = {"model": "m", "max_tokens": 2000, "messages": list(turns), **fields}
    return chat_of(msgspec.convert(body, MessagesRequest))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(call_id: str, name: str = "f", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def result(call_id: str, content: Any = "done", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **fields}


def shown(chat: ChatRequest) -> list[Any]:
    return [msgspec.to_builtins(message) for message in chat.messages]


def test_a_long_conversation() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": signature("hm")}
    chat = asked(
        user("one"),
        user([text("two"), text("three")]),
        assistant(thought, text("Well, "), text("I look."), use("t1", x=1), use("t2")),
        user([result("t2", [text("a"), text("b")]), result("t1", "oh", is_error=True), text("And?")]),
        {"role": "system", "content": "Be brief."},
        assistant(text("So")),
        {"role": "assistant", "content": " far"},
        system=[{"type": "text", "text": "You are kind.", "cache_control": {"type": "ephemeral"}}],
    )
    parts = [{"type": "text", "text": word} for word in ("one", "two", "three")]
    assert shown(chat) == [
        {"role": "system", "content": "You are kind."},
        {"role": "user", "content": parts},
        {
            "role": "assistant",
            "content": "Well, I look.",
            "reasoning_content": "hm",
            "tool_calls": [
                {"id": "t1", "function": {"name": "f", "arguments": {"x": 1}}},
                {"id": "t2", "function": {"name": "f", "arguments": {}}},
            ],
        },
        {"role": "tool", "tool_call_id": "t2", "content": "a\nb"},
        {"role": "tool", "tool_call_id": "t1", "content": "Error: oh"},
        {"role": "user", "content": "And?"},
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": "So far"},
    ]
    assert (chat.continue_final_message, chat.add_generation_prompt) == (True, False)


@pytest.mark.parametrize(
    ("choice", "means", "parallel"),
    [
        (None, None, True),
        ({"type": "auto"}, "auto", True),
        ({"type": "any"}, "required", True),
        ({"type": "any", "disable_parallel_tool_use": True}, "required", False),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto", False),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}, True),
        ({"type": "none"}, "none", True),
    ],
)
def test_how_a_tool_is_chosen(choice: Any, means: Any, parallel: bool) -> None:
    tool = {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True}
    chat = asked(user("x"), tools=[tool], tool_choice=choice)
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    assert chat.tools == [{"type": "function", "function": function}]
    assert (chat.tool_choice, chat.parallel_tool_calls) == (means, parallel)


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ([user("x"), assistant(use("t")), user([result("t"), result("t")])], "answers no tool_use"),
        ([user("x"), assistant(use("t")), user("y"), user([result("t")])], None),
        ([user("x"), assistant(use("t")), assistant(text("y")), user([result("t")])], None),
        ([user("x"), assistant(result("t"))], "tool_result blocks do not belong into an assistant message"),
        ([user("x"), {"role": "system", "content": [use("t")]}], "do not belong into a system message"),
        ([user([result("t")])], "answers no tool_use"),
    ],
)
def test_results_belong_to_calls(turns: list[Any], words: str | None) -> None:
    if words is None:
        asked(*turns)
        return
    with pytest.raises(RequestError, match=words):
        asked(*turns)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


def chunk(delta: Delta | None, *, finish: Finish | None = None, output_tokens: int = 1, stop: Any = UNSET) -> ChatChunk:
    choices = [ChunkChoice(index=0, delta=delta, finish_reason=finish, stop_reason=stop)] if delta else []
    usage = Usage(
        prompt_tokens=10,
        completion_tokens=output_tokens,
        total_tokens=10 + output_tokens,
        prompt_tokens_details=CachedDetails(4),
    )
    return ChatChunk(id="c", created=0, model="m", choices=choices, usage=usage)


def told(*chunks: ChatChunk, max_tokens: int = 100) -> tuple[list[Event], Message]:
    teller, fold = MessageTeller("msg_1", max_tokens=max_tokens), MessageFold()
    events = [event for each in chunks for event in teller.add(each)] + teller.close()
    fold.extend(events)
    return events, fold.message()


def begun(index: int, name: str) -> Delta:
    return Delta(tool_calls=[ToolCallDelta(index=index, id=f"call_{index}", function=FunctionDelta("", name))])


def more(index: int, arguments: str) -> Delta:
    return Delta(tool_calls=[ToolCallDelta(index=index, function=FunctionDelta(arguments))])


PIECES = st.lists(
    st.one_of(
        st.tuples(st.just("thinking"), st.text(min_size=1, max_size=5)),
        st.tuples(st.just("text"), st.text(min_size=1, max_size=5)),
        st.tuples(st.just("call"), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)),
    ),
    max_size=8,
)


@given(PIECES)
def test_events_are_well_formed_and_lose_nothing(pieces: list[tuple[str, Any]]) -> None:
    chunks, calls = [chunk(Delta(role="assistant", content=""))], 0
    for kind, value in pieces:
        if kind == "thinking":
            chunks.append(chunk(Delta(reasoning=value, reasoning_content=value)))
        elif kind == "text":
            chunks.append(chunk(Delta(content=value)))
        else:
            written = msgspec.json.encode(value).decode()
            chunks += [chunk(begun(calls, f"f{calls}")), *(chunk(more(calls, each)) for each in written)]
            calls += 1
    events, message = told(*chunks, chunk(Delta(), finish="stop"), chunk(None, output_tokens=7))
    names = [str(event.__struct_config__.tag) for event in events]
    assert (names[0], names[-2:]) == ("message_start", ["message_delta", "message_stop"])
    opened = None
    for event in msgspec.to_builtins(events[1:-2]):
        match event["type"]:
            case "content_block_start":
                assert opened is None
                opened = event["index"]
            case "content_block_stop":
                assert opened == event["index"]
                opened = None
            case "content_block_delta":
                assert opened == event["index"]
    assert opened is None
    assert [block["index"] for block in msgspec.to_builtins(events) if block["type"] == "content_block_start"] == list(
        range(len(message.content))
    )
    content = msgspec.to_builtins(message.content)
    for kind, field in (("thinking", "thinking"), ("text", "text")):
        whole = "".join(value for each, value in pieces if each == kind)
        assert "".join(block[field] for block in content if block["type"] == kind) == whole
    assert [block["input"] for block in content if block["type"] == "tool_use"] == [
        value for kind, value in pieces if kind == "call"
    ]
    assert all(block["signature"] == signature(block["thinking"]) for block in content if block["type"] == "thinking")
    assert message.usage.output_tokens == 7


@pytest.mark.parametrize(
    ("finish", "stop", "output_tokens", "reason", "sequence"),
    [
        ("stop", UNSET, 5, "end_turn", None),
        ("stop", "END", 5, "stop_sequence", "END"),
        ("stop", 151645, 5, "end_turn", None),
        ("length", UNSET, 100, "max_tokens", None),
        ("length", UNSET, 99, "model_context_window_exceeded", None),
        ("tool_calls", UNSET, 5, "tool_use", None),
    ],
)
def test_why_it_ended(finish: Finish, stop: Any, output_tokens: int, reason: str, sequence: str | None) -> None:
    last = chunk(Delta(content="x"), finish=finish, stop=stop, output_tokens=output_tokens)
    _, message = told(last)
    assert (message.stop_reason, message.stop_sequence) == (reason, sequence)
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (6, 4)


def test_a_call_that_was_cut_off_has_no_input() -> None:
    _, message = told(chunk(begun(0, "f")), chunk(more(0, '{"city": "Os')), chunk(Delta(), finish="length"))
    [block] = msgspec.to_builtins(message.content)
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "f", {})
