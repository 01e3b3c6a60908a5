"""The front door as an ASGI application: routes, and the one place where errors are answered.

Each request that is accepted ends once, and is counted once: finish, error, cancel (the client left), or
rejected (never accepted).
"""

import hmac
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

from tandem.core.openai_in import Origin
from tandem.core.openai_out import ModelList
from tandem.errors import Cancelled, ModelNotFound, ServingError
from tandem.frontend.answering import Answering, DoorOptions, Exchange
from tandem.frontend.ports import Processor, Receive, Scope, Send
from tandem.frontend.responses import Response
from tandem.frontend.statuses import REJECTED, HttpFault, error_body, error_headers, status_of
from tandem.observe import metrics
from tandem.observe.stories import Stories

_log = logging.getLogger(__name__)
_SANE_ID: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:@+=-]{0,127}$")
_MODEL_ROUTE: Final = "/v1/models/"
Handler = Callable[[Exchange], Awaitable[None]]


class FrontDoor:
    """The application. Any ASGI server can carry it; `server.py` does."""

    def __init__(
        self,
        processor: Processor,
        stories: Stories,
        options: DoorOptions | None = None,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._processor = processor
        self._options = options or DoorOptions()
        self._wall_clock = wall_clock
        self._answering = Answering(processor, stories, self._options)
        self._routes: dict[str, tuple[str, Handler]] = {
            "/v1/chat/completions": ("POST", self._answering.post_chat),
            "/v1/completions": ("POST", self._answering.post_completion),
            "/v1/models": ("GET", self._get_models),
            "/ready": ("GET", self._get_ready),
            "/health": ("GET", self._get_ready),
            "/live": ("GET", self._get_live),
        }

    @property
    def running(self) -> int:
        """Requests accepted and not over."""
        return self._answering.running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection event, as ASGI has it. Only HTTP is served."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        client_id = _sane(headers.get(b"x-request-id"))
        now = self._wall_clock()
        request_id = str(uuid.uuid4())
        origin = Origin(
            request_id=request_id,
            accepted_at=now,
            deadline=now + self._options.request_timeout_s,
            session_id=_sane(headers.get(b"x-session-id")),
        )
        response = Response(send, {"x-request-id": client_id or request_id})
        exchange = Exchange(scope, receive, response, headers, scope["path"], origin, client_id)
        route = self._route_name(exchange.path)
        code = None
        try:
            await self._handler(exchange)(exchange)
        except (ServingError, HttpFault) as error:
            code = error.code
            await self._fail(exchange, error)
        except Exception:
            code = ServingError.code
            metrics.BUGS.labels("frontend").inc()
            _log.exception("frontend.bug request_id=%s route=%s", origin.request_id, route)
            await self._fail(exchange, ServingError("internal error; the log of this request id says more"))
        if code is not None:
            metrics.REQUEST_ERRORS.labels(code).inc()
        if exchange.path in ("/v1/chat/completions", "/v1/completions"):
            metrics.REQUESTS.labels(_outcome(code)).inc()
        metrics.HTTP_RESPONSES.labels(route, str(response.status or status_of(code or "cancelled").http)).inc()
        if self._options.access_log:
            _log.info(
                "frontend.served request_id=%s route=%s status=%s code=%s seconds=%.3f",
                origin.request_id,
                route,
                response.status,
                code,
                self._wall_clock() - now,
            )

    def _route_name(self, path: str) -> str:
        """A name of bounded variety, for labels."""
        if path in self._routes:
            return path
        return _MODEL_ROUTE + "{id}" if path.startswith(_MODEL_ROUTE) else "other"

    def _handler(self, exchange: Exchange) -> Handler:
        """Who answers. Raises `HttpFault` when nobody does, or this client may not ask."""
        path, method = exchange.path, exchange.scope["method"]
        if path in self._routes:
            allowed, handler = self._routes[path]
        elif path.startswith(_MODEL_ROUTE) and len(path) > len(_MODEL_ROUTE):
            allowed, handler = "GET", self._get_model
        else:
            raise HttpFault("not_found", f"there is nothing at {path[:128]}")
        if method != allowed and not (method == "HEAD" and allowed == "GET"):
            raise HttpFault("method_not_allowed", f"{path[:128]} answers to {allowed}", {"allow": allowed})
        if self._options.api_key is not None and path.startswith("/v1/"):
            self._check_key(exchange.headers.get(b"authorization", b""))
        return handler

    def _check_key(self, authorization: bytes) -> None:
        wanted = f"Bearer {self._options.api_key}".encode()
        if not hmac.compare_digest(authorization, wanted):
            raise HttpFault("unauthorized", "the API key is missing or wrong", {"www-authenticate": "Bearer"})

    async def _fail(self, exchange: Exchange, error: ServingError | HttpFault) -> None:
        """The one place where an error becomes a status, or the last event of a stream."""
        response, status = exchange.response, status_of(error.code)
        if status.http >= 500:
            _log.warning(
                "frontend.failed request_id=%s route=%s code=%s message=%s",
                exchange.origin.request_id,
                self._route_name(exchange.path),
                error.code,
                error.message,
            )
        if error.code == Cancelled.code or response.complete:
            return  # nobody reads it
        if response.status is None:
            await response.json(status.http, error_body(error), error_headers(error))
        else:
            await response.break_stream(error_body(error))

    # ── what is served, and how it is ────────────────────────────────────────────────────────────

    async def _get_models(self, exchange: Exchange) -> None:
        await exchange.response.json(200, ModelList(data=self._processor.models()))

    async def _get_model(self, exchange: Exchange) -> None:
        name = exchange.path.removeprefix(_MODEL_ROUTE)
        for model in self._processor.models():
            if model.id == name:
                return await exchange.response.json(200, model)
        raise ModelNotFound(f"the model {name[:128]!r} does not exist", param="model")

    async def _get_ready(self, exchange: Exchange) -> None:
        if reason := self._processor.not_ready():
            return await exchange.response.json(503, {"status": "not ready", "reason": reason})
        models = [model.id for model in self._processor.models()]
        await exchange.response.json(200, {"status": "ready", "models": models})

    async def _get_live(self, exchange: Exchange) -> None:
        await exchange.response.json(200, {"status": "live"})


def _sane(value: bytes | None) -> str | None:
    """A client's own request id, if it can stand in a header and a log line."""
    text = (value or b"").decode("latin-1")
    return text if _SANE_ID.match(text) else None


def _outcome(code: str | None) -> str:
    if code is None:
        return "finish"
    if code == Cancelled.code:
        return "cancel"
    return "rejected" if code in REJECTED else "error"
