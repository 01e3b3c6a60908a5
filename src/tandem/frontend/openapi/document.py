"""The document: every route of the table, with what it takes, what it answers and how it fails."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Annotated, Any, Final

from msgspec import Meta, ValidationError, convert, structs

from tandem.core.openai_in import REFUSED
from tandem.frontend.openapi.parameters import Parameter
from tandem.frontend.openapi.schemas import Schema, Schemas
from tandem.frontend.routes import JSON, Route

PRIORITY: Final = Parameter(
    name="x-request-priority",
    where="header",
    type=Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)],
    summary="How urgent the request is, unless its body says so. Smaller is more urgent; a key sets the bound.",
)
_KEYED: Final[tuple[Schema, ...]] = ({"bearer": []}, {"x-api-key": []}, {"api-key": []})
_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
}
_ALWAYS: Final = (431, 500)
_WITH_KEY: Final = (401,)
_WITH_BODY: Final = (400, 408, 413)
_WITH_ANSWER: Final = (400, 404, 408, 413, 429, 502, 503, 504)
_WORDS: Final = {
    200: "The answer",
    400: "The request is wrong: `param` names the field",
    401: "A key is needed, or this one is not valid",
    403: "Not here, or not for this key",
    404: "There is no such thing, or this key may not use it",
    408: "The request did not come in time",
    409: "It is in use",
    413: "The body is too large",
    429: "Overloaded, or a limit of the key is used up: try again after `Retry-After` seconds",
    431: "The headers are too large",
    499: "The client left",
    500: "Something failed that should not",
    502: "An instance speaks another version",
    503: "Nobody can answer now",
    504: "It took longer than a request may",
}
_NOTHING: Final[tuple[Any, ...]] = (None, False, 0, [], {}, "")
"""Values that ask for nothing."""
_MAY_BE: Final[Mapping[str, Schema]] = {
    "kv_transfer_params": {"type": "null"},
    "modalities": {"enum": [*_NOTHING, ["text"]]},
}


def document(routes: Sequence[Route], *, keys: bool) -> dict[str, Any]:
    """OpenAPI 3.1 of `routes`; `keys`: whether clients must show one."""
    parameters = [each for route in routes for each in _parameters(route)]
    taken = [route.request for route in routes if route.request is not None] + [each.type for each in parameters]
    given = [kind for route in routes for kind in _given(route)]
    refused = {route.request: _refused(route) for route in routes if route.request is not None}
    schemas = Schemas(taken, given, refused)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route, schemas, keys)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tandem",
            "version": version("tandem-pd"),
            "summary": "Large language models, served with prefill and decode apart",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": _SCHEMES if keys else {}},
    }


def _given(route: Route) -> Iterable[Any]:
    yield from (kind for kind in (route.response, route.event) if kind is not None)
    yield route.errors.type
    yield from route.also.values()


def _refused(route: Route) -> dict[str, Schema]:
    """Fields that must not ask for anything, and what may stand there."""
    own = {field.encode_name: field.type for field in structs.fields(route.request)}
    everywhere = {name: why for name, why in REFUSED.items() if name not in own and route.request_media == JSON}
    return {
        name: {**_may_be(name, own.get(name, Any)), "description": f"Not taken: {why}."}
        for name, why in (everywhere | dict(route.refused)).items()
    }


def _may_be(name: str, kind: Any) -> Schema:
    """What may stand in a refused field that is decoded as `kind`."""
    if name in _MAY_BE:
        return _MAY_BE[name]
    return {"enum": [value for value in _NOTHING if _fits(value, kind)]}


def _fits(value: Any, kind: Any) -> bool:
    try:
        convert(value, kind)
    except ValidationError:
        return False
    return True


def _parameters(route: Route) -> list[Parameter]:
    return [*route.parameters, *([PRIORITY] if route.counts else [])]


def _operation(route: Route, schemas: Schemas, keys: bool) -> Schema:
    name = route.template.strip("/").replace("/", "_").replace("{", "").replace("}", "").replace(".", "_")
    operation: Schema = {
        "operationId": f"{route.method.lower()}_{name}",
        "summary": route.summary,
        "tags": [route.template.removeprefix("/v1/").strip("/").split("/")[0]],
        "security": list(_KEYED) if keys and route.needs_key else [],
        "responses": _responses(route, schemas, keys),
    }
    parameters = [
        {"name": each, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for each in route.placeholders
    ] + [
        {
            "name": each.name,
            "in": each.where,
            "required": each.required,
            "description": each.summary,
            "schema": schemas.of(each.type),
        }
        for each in _parameters(route)
    ]
    if parameters:
        operation["parameters"] = parameters
    if route.request is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {route.request_media: {"schema": schemas.of(route.request)}},
        }
    return operation


def _responses(route: Route, schemas: Schemas, keys: bool) -> Schema:
    told = {"x-request-id": {"description": "The request's name, for `tandem trace`", "schema": {"type": "string"}}}
    responses: Schema = {}
    if route.response is not None or route.response_media != JSON:
        whole = schemas.of(route.response) if route.response is not None else {}
        content: Schema = {route.response_media: {"schema": whole}}
        if route.event is not None:
            content["text/event-stream"] = {"schema": _event(schemas.of(route.event), schemas.of(route.errors.type))}
        responses[str(route.status)] = {"description": _WORDS[200], "headers": told, "content": content}
    for status, kind in route.also.items():
        content = {JSON: {"schema": schemas.of(kind)}}
        responses[str(status)] = {"description": _WORDS[status], "headers": told, "content": content}
    error = {JSON: {"schema": schemas.of(route.errors.type)}}
    for status in sorted(faults_of(route, keys)):
        headers = told if status != 431 else {}
        if status == 429:
            headers = {**told, "retry-after": {"description": "Seconds", "schema": {"type": "integer", "minimum": 1}}}
        responses.setdefault(str(status), {"description": _WORDS[status], "headers": headers, "content": error})
    return responses


def _event(answer: Schema, error: Schema) -> Schema:
    """One event of a stream, as OpenAPI 3.1 has it."""
    body = {"contentMediaType": JSON, "contentSchema": {"anyOf": [answer, error]}}
    return {
        "type": "object",
        "properties": {
            "event": {"type": "string", "description": "The event's name, where this API names them"},
            "data": {"type": "string", "anyOf": [{"const": "[DONE]"}, body]},
        },
        "required": ["data"],
    }


def faults_of(route: Route, keys: bool) -> set[int]:
    """Statuses of the errors that a route can end with."""
    found = {*_ALWAYS, *route.faults}
    if keys and route.needs_key:
        found.update(_WITH_KEY)
    if route.request is not None:
        found.update(_WITH_BODY)
    if route.counts:
        found.update(_WITH_ANSWER)
    if route.parameters:
        found.add(400)
    return found
