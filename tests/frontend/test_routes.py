"""The route table: who answers what, and that nothing is open by oversight."""

import pytest
from tests.frontend.conftest import OpenDoor

from tandem.frontend.exchange import Exchange
from tandem.frontend.guard.keyring import Keys
from tandem.frontend.routes import Route, RouteTable
from tandem.frontend.statuses import HttpFault

OPEN = {"/live", "/ready", "/health", "/openapi.json"}
"""What answers without a key: probes have none, and what can be asked for is no secret."""


async def nobody(exchange: Exchange) -> None:
    raise AssertionError("only looked up")


def a_route(method: str, path: str) -> Route:
    return Route(method=method, path=path, handler=nobody, summary="x")


TABLE = RouteTable(
    [
        a_route("GET", "/v1/files"),
        a_route("POST", "/v1/files"),
        a_route("GET", "/v1/files/{id}"),
        a_route("DELETE", "/v1/files/{id}"),
        a_route("GET", "/v1/files/{id}/content"),
        a_route("GET", "/v1/models/{name:path}"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "found", "params"),
    [
        ("GET", "/v1/files", "/v1/files", {}),
        ("HEAD", "/v1/files", "/v1/files", {}),
        ("POST", "/v1/files", "/v1/files", {}),
        ("DELETE", "/v1/files/a", "/v1/files/{id}", {"id": "a"}),
        ("GET", "/v1/files/a/content", "/v1/files/{id}/content", {"id": "a"}),
        ("GET", "/v1/models/Qwen/Qwen3-8B", "/v1/models/{name}", {"name": "Qwen/Qwen3-8B"}),
    ],
)
def test_a_path_finds_its_route(method: str, path: str, found: str, params: dict[str, str]) -> None:
    match = TABLE.find(method, path)
    assert (match.route.template, match.params) == (found, params)


@pytest.mark.parametrize(
    ("method", "path", "code", "allow"),
    [
        ("PUT", "/v1/files", "method_not_allowed", "GET, POST"),
        ("POST", "/v1/files/a", "method_not_allowed", "DELETE, GET"),
        ("GET", "/v1/files/", "not_found", None),
        ("GET", "/v1/files/a/b", "not_found", None),
        ("GET", "/v1/files/a/content/", "not_found", None),
        ("GET", "/v1/models/", "not_found", None),
        ("GET", "//v1/files", "not_found", None),
        ("GET", "/v1/files\n", "not_found", None),
        ("GET", "/V1/files", "not_found", None),
        ("GET", "", "not_found", None),
    ],
)
def test_what_is_not_there_is_not_found(method: str, path: str, code: str, allow: str | None) -> None:
    with pytest.raises(HttpFault) as caught:
        TABLE.find(method, path)
    assert (caught.value.code, caught.value.headers.get("allow")) == (code, allow)


def test_two_routes_of_one_method_and_path_are_a_bug() -> None:
    for path in ("/v1/x", "/v1/{x}"):
        with pytest.raises(AssertionError):
            RouteTable([a_route("GET", path), a_route("GET", path)])


async def test_every_route_but_the_probes_and_the_description_needs_a_key(door: OpenDoor) -> None:
    one = await door(keys=Keys(api_key="s3cret"))
    assert {route.template for route in one.app.routes.routes if not route.needs_key} == OPEN
    for route in one.app.routes.routes:
        path = route.path
        for name in route.placeholders:
            path = path.replace(f"{{{name}}}", "x").replace(f"{{{name}:path}}", "x")
        status = (await one.client.request(route.method, path)).status_code
        assert (status == 401) == route.needs_key, path
