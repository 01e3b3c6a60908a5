"""The front door as an ASGI application: routes, and the one place where errors are answered.

Each request that is accepted ends once, and is counted once: finish, error, cancel (the client left), or
rejected (never accepted).
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from tandem.core.openai_in import Origin
from tandem.core.openai_out import Model, ModelList
from tandem.errors import Cancelled, ModelNotFound, ServingError
from tandem.frontend.answering import Answering, DoorOptions
from tandem.frontend.anthropic.service import Messages
from tandem.frontend.batches.service import Batches, BatchOptions
from tandem.frontend.embeddings import Embeddings
from tandem.frontend.exchange import Exchange
from tandem.frontend.guard.cors import Cors
from tandem.frontend.guard.service import Guard
from tandem.frontend.openai_responses.service import Responses
from tandem.frontend.openapi.document import document
from tandem.frontend.ports import Processor, Receive, Scope, Send
from tandem.frontend.responses import Response
from tandem.frontend.routes import OPENAI_ERRORS, Match, Route, RouteTable
from tandem.frontend.statuses import REJECTED, HttpFault, error_headers, status_of
from tandem.frontend.tokens import Tokens
from tandem.frontend.wire import EXTENSION
from tandem.observe import metrics
from tandem.observe.stories import Stories

_log = logging.getLogger(__name__)
_SANE_ID: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:@+=-]{0,127}$")


class HasRoutes(Protocol):
    """A part of the door."""

    def routes(self) -> list[Route]: ...


class Readiness(msgspec.Struct, frozen=True):
    """Body of `/ready` and `/health`."""

    status: Literal["ready", "not ready"]
    models: list[str] | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Liveness(msgspec.Struct, frozen=True):
    """Body of `/live`."""

    status: Literal["live"] = "live"


class FrontDoor:
    """The application. Any ASGI server can carry it; `server.py` does."""

    def __init__(
        self,
        processor: Processor,
        stories: Stories,
        options: DoorOptions | None = None,
        *,
        guard: Guard | None = None,
        cors: Cors | None = None,
        batches: BatchOptions | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._processor = processor
        self._options = options or DoorOptions()
        self.guard = guard or Guard(limits=self._options.limits)
        self._cors = cors or Cors()
        self._wall_clock = wall_clock
        self._openapi: dict[str, Any] | None = None
        answers = self.guard.before(processor)
        self._answering = Answering(answers, stories, self._options)
        messages = Messages(self._answering, answers)
        responses = Responses(self._answering, answers, wall_clock=wall_clock)
        tokens = Tokens(self._answering, answers)
        embeddings = Embeddings(self._answering, answers)
        rooms: list[HasRoutes] = [self._answering, responses, messages, embeddings, tokens]
        self.batches: Batches | None = None
        if batches is not None:
            self.batches = Batches(
                self._answering, answers, responses, self.guard, stories, batches, wall_clock=wall_clock
            )
            rooms.append(self.batches)
        self.routes = RouteTable([*(route for room in rooms for route in room.routes()), *self._own_routes()])

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
        wire = scope.get("extensions", {}).get(EXTENSION)
        response = Response(send, {"x-request-id": client_id or request_id}, wire)
        exchange = Exchange(scope, receive, response, headers, scope["path"], origin, client_id, wire)
        match: Match | None = None
        code = None
        try:
            for name, value in self._cors.answer(headers).items():
                response.add_header(name, value)
            if scope["method"] == "OPTIONS" and (told := self._preflight(exchange)) is not None:
                return await response.empty(204, told)
            match = self.routes.find(scope["method"], exchange.path)
            exchange.params = match.params
            if (id_header := match.route.errors.id_header) is not None:
                response.add_header(id_header, client_id or request_id)
            if match.route.needs_key:
                exchange.key = self.guard.key_of(headers)
            if match.route.counts:
                if (named := self.guard.instance_of(headers, exchange.key)) is not None:
                    exchange.origin = origin = msgspec.structs.replace(origin, instance_id=named)
                ticket = self.guard.enter(request_id, exchange.key, headers, response.add_header, self.running)
                if ticket.metered:
                    exchange.origin = msgspec.structs.replace(origin, metered=True)
            await match.route.handler(exchange)
        except (ServingError, HttpFault) as error:
            code = error.code
            await self._fail(exchange, error, match)
        except Exception:
            code = ServingError.code
            metrics.BUGS.labels("frontend").inc()
            _log.exception("frontend.bug request_id=%s route=%s", request_id, _label(match))
            await self._fail(exchange, ServingError("internal error; the log of this request id says more"), match)
        finally:
            self.guard.leave(request_id)
        if code is not None:
            metrics.REQUEST_ERRORS.labels(code).inc()
        if match is not None and match.route.counts:
            metrics.REQUESTS.labels(_outcome(code)).inc()
            if exchange.key is not None:
                metrics.KEY_REQUESTS.labels(exchange.key.name, _outcome(code)).inc()
        route = _label(match)
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

    def _preflight(self, exchange: Exchange) -> dict[str, str] | None:
        """The answer to a browser that asks whether it may ask; None where it may not, and for other requests."""
        methods = self.routes.methods(exchange.path)
        return self._cors.preflight(exchange.headers, methods) if methods else None

    async def _fail(self, exchange: Exchange, error: ServingError | HttpFault, match: Match | None) -> None:
        """The one place where an error becomes a status, or the last event of a stream."""
        response, status = exchange.response, status_of(error.code)
        if status.http >= 500:
            _log.warning(
                "frontend.failed request_id=%s route=%s code=%s message=%s",
                exchange.origin.request_id,
                _label(match),
                error.code,
                error.message,
            )
        if error.code == Cancelled.code or response.complete:
            return  # nobody reads it
        form = match.route.errors if match else OPENAI_ERRORS
        if response.status is None:
            await response.json(status.http, form.body(error), error_headers(error))
        else:
            await response.break_stream(form.body(error), form.event)

    # ── what is served, and how it is ────────────────────────────────────────────────────────────

    def _own_routes(self) -> list[Route]:
        return [
            Route(
                method="GET",
                path="/openapi.json",
                handler=self._get_openapi,
                summary="This description",
                response=dict[str, Any],
                needs_key=False,
            ),
            Route(
                method="GET",
                path="/v1/models",
                handler=self._get_models,
                summary="List the models that are served",
                response=ModelList,
            ),
            Route(
                method="GET",
                path="/v1/models/{model:path}",
                handler=self._get_model,
                summary="One model",
                response=Model,
                faults=(404,),
            ),
            *(
                Route(
                    method="GET",
                    path=path,
                    handler=self._get_ready,
                    summary="Whether requests can be answered now",
                    response=Readiness,
                    also={503: Readiness},
                    needs_key=False,
                )
                for path in ("/ready", "/health")
            ),
            Route(
                method="GET",
                path="/live",
                handler=self._get_live,
                summary="Whether this process runs",
                response=Liveness,
                needs_key=False,
            ),
        ]

    async def _get_openapi(self, exchange: Exchange) -> None:
        if self._openapi is None:
            # Reading the prose of every type takes long enough for streams to notice.
            self._openapi = await asyncio.to_thread(document, self.routes.routes, keys=self.guard.keys_required)
        await exchange.response.json(200, self._openapi)

    async def _get_models(self, exchange: Exchange) -> None:
        await exchange.response.json(200, ModelList(data=self._models(exchange)))

    async def _get_model(self, exchange: Exchange) -> None:
        name = exchange.params["model"]
        for model in self._models(exchange):
            if model.id == name:
                return await exchange.response.json(200, model)
        raise ModelNotFound.named(name)

    def _models(self, exchange: Exchange) -> list[Model]:
        """Those that the client may ask for."""
        allowed = exchange.key.models if exchange.key else ()
        return [model for model in self._processor.models() if not allowed or model.id in allowed]

    async def _get_ready(self, exchange: Exchange) -> None:
        if reason := self._processor.not_ready():
            return await exchange.response.json(503, Readiness("not ready", reason=reason))
        models = [model.id for model in self._processor.models()]
        await exchange.response.json(200, Readiness("ready", models=models))

    async def _get_live(self, exchange: Exchange) -> None:
        await exchange.response.json(200, Liveness())


def _label(match: Match | None) -> str:
    """A name of bounded variety, for metrics."""
    return match.route.template if match else "other"


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
