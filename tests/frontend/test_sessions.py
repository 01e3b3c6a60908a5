"""A caller's session reaches the router."""

import pytest
from tests.frontend.conftest import OpenDoor
from tests.processor.fakes import saying

from tandem.core.routing import RouteChoice, RouteRequest
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
