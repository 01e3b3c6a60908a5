"""What `depends()` becomes at run time: a client, to a service in this process or over the request plane.

A caller cannot tell them apart: `async for x in self.worker.generate(request)` either way, with the same
types in and out where the endpoint is annotated with msgspec structs or pydantic models.
"""

import inspect
import json
import random
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

import msgspec

from tandem.core.cards import InstanceCard
from tandem.errors import InstanceLost, RequestError, Unavailable
from tandem.runtime.ports import InstanceView, Runtime

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Signature:
    """Types of an endpoint, from its annotations."""

    request: Any = Any
    answer: Any = Any

    @property
    def wire_request(self) -> Any:
        """What MessagePack decodes a request to: structs at once, anything else by `typed`."""
        return _on_the_wire(self.request)

    @property
    def wire_answer(self) -> Any:
        """The same for an answer."""
        return _on_the_wire(self.answer)

    @classmethod
    def of(cls, method: Callable[..., Any]) -> "Signature":
        """Read a method's annotations; what is not annotated is `Any`."""
        try:
            hints = typing.get_type_hints(method)
        except (NameError, TypeError):  # a name that exists for type checkers only
            hints = {}
        names = [name for name in inspect.signature(method).parameters if name != "self"]
        answer = hints.get("return", Any)
        if typing.get_origin(answer) in (AsyncGenerator, AsyncIterator):
            answer = typing.get_args(answer)[0]
        return cls(hints.get(names[0], Any) if names else Any, answer)


def _on_the_wire(kind: Any) -> Any:
    members = typing.get_args(kind) or (kind,)
    return kind if all(isinstance(each, type) and issubclass(each, msgspec.Struct) for each in members) else Any


def typed(value: Any, target: Any) -> Any:
    """`value` as `target`: a struct, a pydantic model, or plain data. JSON text is read where text is not meant.

    Raises:
        RequestError: it does not fit.
    """
    if target is Any or isinstance(value, msgspec.Struct) or (isinstance(target, type) and isinstance(value, target)):
        return value
    try:
        if isinstance(value, str) and target is not str:
            value = json.loads(value)
        if hasattr(target, "model_validate"):
            return target.model_validate(value)
        return msgspec.convert(value, target, from_attributes=True)
    except (ValueError, TypeError) as error:
        raise RequestError(f"request does not fit {getattr(target, '__name__', target)}: {error}") from error


def plain(value: Any) -> Any:
    """A value that MessagePack can carry: pydantic models become mappings."""
    return value.model_dump() if hasattr(value, "model_dump") else value


async def answers(method: Callable[..., Any], request: Any) -> AsyncGenerator[Any, None]:
    """Run an endpoint, generator or coroutine, as a stream. Closing it closes the endpoint."""
    made = method(request) if inspect.signature(method).parameters else method()
    if not hasattr(made, "__aiter__"):
        yield await made
        return
    try:
        async for answer in made:
            yield answer
    finally:
        await made.aclose()


class LocalClient:
    """Calls a service of this process directly."""

    def __init__(
        self, name: str, instance: Any, methods: Mapping[str, Callable[..., Any]], enter: Callable[[], None]
    ) -> None:
        self.here = instance
        """The service itself, for callers that can use what lies behind its endpoints."""
        self._name = name
        self._methods = methods
        self._signatures = {key: Signature.of(method) for key, method in methods.items()}
        self._enter = enter

    def __getattr__(self, key: str) -> Callable[..., AsyncGenerator[Any, None]]:
        if key.startswith("_") or key not in self._methods:
            raise AttributeError(f"{self._name} has no endpoint {key!r}")

        def call(request: Any = None, *_: Any) -> AsyncGenerator[Any, None]:
            value = typed(request, self._signatures[key].request)
            return copy_context().run(self._start, key, value)

        return call

    def _start(self, key: str, value: Any) -> AsyncGenerator[Any, None]:
        self._enter()
        return answers(self._methods[key], value)

    def instance_ids(self) -> list[str]:
        """As for a remote client: one, this one."""
        return ["local"]

    async def wait_for_instances(self, count: int = 1) -> None:
        """It is there."""


class RemoteClient:
    """Calls instances of a component over the request plane; one that is lost before it answered is replaced."""

    def __init__(
        self, runtime: Runtime, namespace: str, component: str, endpoints: Mapping[str, tuple[str, Signature]]
    ):
        self._runtime = runtime
        self._view: InstanceView = runtime.instances(component, namespace=namespace)
        self._component = component
        self._endpoints = endpoints
        """Method or endpoint name → (endpoint name, types)."""
        self._turn = 0

    def __getattr__(self, key: str) -> Callable[..., AsyncGenerator[Any, None]]:
        if key.startswith("_") or key not in self._endpoints:
            raise AttributeError(f"{self._component} has no endpoint {key!r}")
        return lambda request=None, *_: self._call(key, request, self._next)

    def instance_ids(self) -> list[str]:
        """Who is there."""
        return [card.instance_id for card in self._view.all()]

    async def wait_for_instances(self, count: int = 1) -> None:
        """Return when `count` are there."""
        await self._view.wait_for(count)

    def round_robin(self, request: Any, endpoint: str = "generate") -> AsyncGenerator[Any, None]:
        """Call the next instance."""
        return self._call(endpoint, request, self._next)

    def random(self, request: Any, endpoint: str = "generate") -> AsyncGenerator[Any, None]:
        """Call any instance."""
        return self._call(endpoint, request, random.choice)

    def direct(self, request: Any, instance_id: str, endpoint: str = "generate") -> AsyncGenerator[Any, None]:
        """Call this instance and no other."""

        def that(cards: Sequence[InstanceCard]) -> InstanceCard:
            for card in cards:
                if card.instance_id == instance_id:
                    return card
            raise Unavailable(f"no instance {instance_id} of {self._component}")

        return self._call(endpoint, request, that)

    async def _call(
        self, key: str, request: Any, choose: Callable[[Sequence[InstanceCard]], InstanceCard]
    ) -> AsyncGenerator[Any, None]:
        name, signature = self._endpoints[key]
        for attempt in range(1, _ATTEMPTS + 1):
            cards = self._view.all()
            if not cards:
                raise Unavailable(f"no instance of {self._component}")
            card, answered = choose(cards), False
            stream = self._runtime.call(card, f"{self._component}/{name}", plain(request), signature.wire_answer)
            try:
                async for answer in stream:
                    answered = True
                    yield typed(answer, signature.answer)
                return
            except InstanceLost:
                if answered or attempt == _ATTEMPTS:
                    raise
            finally:
                await stream.aclose()

    def _next(self, cards: Sequence[InstanceCard]) -> InstanceCard:
        self._turn += 1
        return cards[self._turn % len(cards)]
