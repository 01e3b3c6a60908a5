"""The route table: everything that the front door answers, declared once.

Matching, the key check, metrics' labels and `/openapi.json` all read a `Route`; so a new route is one entry where
its handler lives, and nothing is open or undescribed by oversight: a route needs a key unless it says otherwise.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

from tandem.errors import ServingError
from tandem.frontend.exchange import Exchange
from tandem.frontend.openapi.parameters import Parameter
from tandem.frontend.statuses import ErrorBody, HttpFault, error_body

Handler = Callable[[Exchange], Awaitable[None]]

JSON: Final = "application/json"
_PLACEHOLDER: Final = re.compile(r"\{(\w+)(:path)?\}")


class ErrorForm(NamedTuple):
    """How errors look to the clients of a route."""

    body: Callable[[ServingError | HttpFault], Any]
    type: Any
    """What `body` returns, for `/openapi.json`."""
    event: str | None = None
    """Name of the event that ends a stream which failed."""
    id_header: str | None = None
    """Another name that the request's id goes by, beside x-request-id."""


OPENAI_ERRORS: Final = ErrorForm(error_body, ErrorBody)


@dataclass(frozen=True, kw_only=True)
class Route:
    """A method at a path, and what is true of it."""

    method: str
    path: str
    """With placeholders: `{name}` is one segment, `{name:path}` the rest of the path (names of models have slashes)."""
    handler: Handler
    summary: str
    """One line, for `/openapi.json`."""
    request: Any = None
    """The type that decodes the body; None: no body is read."""
    request_media: str = JSON
    response: Any = None
    """What the answer encodes; None with `response_media` other than JSON: bytes."""
    response_media: str = JSON
    status: int = 200
    """Of an answer that is no error."""
    also: Mapping[int, Any] = field(default_factory=dict)
    """Other answers that are no errors: status to what is encoded."""
    event: Any = None
    """What each event of a stream encodes, where the body can ask for one; None: never a stream."""
    parameters: Sequence[Parameter] = ()
    """Headers, and words of the query, that the handler reads."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Fields of the body that must not ask for anything, and why."""
    faults: Sequence[int] = ()
    """Statuses of errors that the handler itself answers, beside what reading a body and keys can give."""
    errors: ErrorForm = OPENAI_ERRORS
    needs_key: bool = True
    """Whether a client must show a key, where keys are configured."""
    counts: bool = False
    """Whether it is a request for an answer: counted in `requests_total`, and subject to quotas."""

    @cached_property
    def template(self) -> str:
        """The path as OpenAPI and metrics' labels spell it."""
        return _PLACEHOLDER.sub(r"{\1}", self.path)

    @property
    def placeholders(self) -> list[str]:
        """Names in the path."""
        return [found[1] for found in _PLACEHOLDER.finditer(self.path)]


class Match(NamedTuple):
    """A route, and what its placeholders stand for."""

    route: Route
    params: dict[str, str]


_NOTHING: Final[dict[str, str]] = {}


class RouteTable:
    """Finds the route of a request. Raises `AssertionError` for two of one method and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._plain: dict[str, dict[str, Match]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for route in self.routes:
            if route.placeholders:
                _, methods = self._patterns.setdefault(route.path, (_pattern(route.path), {}))
                assert methods.setdefault(route.method, route) is route, route
            else:
                matches = self._plain.setdefault(route.path, {})
                assert route.method not in matches, route
                matches[route.method] = Match(route, _NOTHING)

    def methods(self, path: str) -> list[str]:
        """What may be asked of `path`; empty where nothing is."""
        if (here := self._plain.get(path)) is not None:
            return list(here)
        return next((list(methods) for pattern, methods in self._patterns.values() if pattern.fullmatch(path)), [])

    def find(self, method: str, path: str) -> Match:
        """Who answers `method` at `path` (decoded). GET also answers HEAD.

        Raises:
            HttpFault: nobody does: not_found, or method_not_allowed with `allow`.
        """
        asked = "GET" if method == "HEAD" else method
        here = self._plain.get(path)
        if here is not None:
            if (match := here.get(asked)) is not None:
                return match
            raise _not_allowed(path, here)
        for pattern, methods in self._patterns.values():
            if (found := pattern.fullmatch(path)) is not None:
                if (route := methods.get(asked)) is not None:
                    return Match(route, found.groupdict())
                raise _not_allowed(path, methods)
        raise HttpFault("not_found", f"there is nothing at {path[:128]}")


def _pattern(path: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(path)  # text, name, ":path" or None, text, …
    regex = re.escape(parts[0])
    for name, rest, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        regex += f"(?P<{name}>{'.+' if rest else '[^/]+'})" + re.escape(text)
    return re.compile(regex, re.DOTALL)


def _not_allowed(path: str, methods: Iterable[str]) -> HttpFault:
    allow = ", ".join(sorted(methods))
    return HttpFault("method_not_allowed", f"{path[:128]} answers to {allow}", {"allow": allow})
