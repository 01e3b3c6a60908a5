"""What a caller may say about where its requests go: its session, and, for administrators, the worker."""

import pytest
from tests.frontend.conftest import OpenDoor
from tests.processor.fakes import saying

from tandem.core.routing import RouteChoice, RouteRequest
from tandem.frontend.guard.keyring import Keys
from tandem.frontend.guard.keys import new_key
from tandem.processor.model import TextModel
from tandem.router.service import RuleRouter


async def test_the_session_header_reaches_the_router(
    door: OpenDoor, text_model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RouteRequest] = []
    choose = RuleRouter.choose

    async def spy(self: RuleRouter, request: RouteRequest) -> RouteChoice:
        seen.append(request)
        return await choose(self, request)

    monkeypatch.setattr(RuleRouter, "choose", spy)
    opened = await door(saying(text_model, "Hello."), saying(text_model, "Hello."), saying(text_model, "Hello."))
    model = (await opened.client.get("/v1/models")).json()["data"][0]["id"]
    body = {"model": model, "prompt": "hi", "max_tokens": 4}
    for sent in ("agent-7", "not\tsane", None):
        headers = {} if sent is None else {"x-session-id": sent}
        answer = await opened.client.post("/v1/completions", json=body, headers=headers)
        assert answer.status_code == 200
    assert [request.session_id for request in seen] == ["agent-7", None, None]


async def test_an_administrator_names_the_worker_and_nobody_else_may(door: OpenDoor, text_model: TextModel) -> None:
    admin, user = new_key("admin", {"may-choose-instance": True}), new_key("user")
    opened = await door(
        saying(text_model, "One."), saying(text_model, "Two."), keys=Keys(text=f"{admin.line}\n{user.line}")
    )

    async def ask(key: str, instance: str) -> tuple[int, str]:
        headers = {"authorization": f"Bearer {key}", "x-tandem-instance": instance}
        body = {"prompt": "hi", "max_tokens": 8}
        answer = await opened.client.post("/v1/completions", json=body, headers=headers)
        said = answer.json()
        return answer.status_code, said["choices"][0]["text"] if "choices" in said else said["error"]["code"]

    assert [await ask(admin.key, "w2") for _ in range(3)] == [(200, "Two.")] * 3
    assert await ask(admin.key, "w9") == (503, "unavailable")
    assert await ask(user.key, "w2") == (403, "forbidden")
