"""A model's tokenizer over HTTP: the tokens that a request would have, and the way back."""

from typing import Any

import pytest
from tests.frontend.conftest import OpenDoor
from tests.processor.fakes import saying

from tandem.processor.model import TextModel

HI: Any = [{"role": "user", "content": "Hi, 你好"}]


async def test_a_text_in_tokens_and_back(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "x"), max_model_len=2048)
    asked = {"prompt": "Hi, 你好 🙂", "return_token_strs": True}
    reply = (await one.client.post("/tokenize", json=asked)).json()
    assert reply["tokens"] == text_model.encode("Hi, 你好 🙂", add_special_tokens=True)
    assert (reply["count"], reply["max_model_len"]) == (len(reply["tokens"]), 2048)
    assert len(reply["token_strs"]) == reply["count"]
    assert "".join(reply["token_strs"]).startswith("Hi")
    back = await one.client.post("/detokenize", json={"model": "tiny", "tokens": reply["tokens"]})
    assert back.json() == {"prompt": "Hi, 你好 🙂"}
    assert "token_strs" not in (await one.client.post("/tokenize", json={"prompt": ""})).json()


async def test_a_conversation_in_the_tokens_that_a_chat_would_have(door: OpenDoor, text_model: TextModel) -> None:
    one = await door(saying(text_model, "x"))
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    for fields in (
        {},
        {"tools": tools},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"messages": [*HI, {"role": "assistant", "content": "Hal"}], "add_generation_prompt": False}
        | {"continue_final_message": True},
    ):
        body = {"messages": HI, **fields}
        reply = (await one.client.post("/tokenize", json=body)).json()
        await one.client.post("/v1/chat/completions", json=body)
        assert reply["tokens"] == one.house.workers.calls[-1][1].prompt_token_ids


async def test_requests_of_one_cache_key_are_a_session_unless_a_header_names_one(
    door: OpenDoor, text_model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await door(saying(text_model, "x"))
    seen: list[str | None] = []
    choose = one.house.router.choose

    async def noting(ask: Any) -> Any:
        seen.append(ask.session_id)
        return await choose(ask)

    monkeypatch.setattr(one.house.router, "choose", noting)
    url, body = "/v1/chat/completions", {"messages": HI, "prompt_cache_key": "mine"}
    await one.client.post(url, json=body)
    await one.client.post(url, json=body, headers={"x-session-id": "s"})
    await one.client.post("/v1/completions", json={"prompt": "x", "prompt_cache_key": "mine"})
    await one.client.post(url, json={"messages": HI})
    assert seen == ["mine", "s", "mine", None]
