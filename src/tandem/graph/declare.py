"""`@service`, `@endpoint`, `depends`, `link` and the hooks: how a class becomes part of a graph.

    @service(resources={"gpu": 1})
    class Worker:
        @before_connect                     # the engine loads before the process opens a connection
        async def load(self): ...
        @endpoint()
        async def generate(self, request: Ask):
            yield ...

    @service()
    class Front:
        worker = depends(Worker)            # at run time a client: in this process or over the request plane

    Front.link(Worker)

Decorators only write down; `plan.py` decides and `child.py` runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, overload

Hook = Literal["before_connect", "on_start", "on_shutdown", "liveness", "readiness", "status", "trace", "wait_dead"]
EngineKeys = Literal["none", "tolerated", "passed"]

C = TypeVar("C", bound=type[Any])
L = TypeVar("L")
F = TypeVar("F", bound=Callable[..., Any])

_INFO = "__tandem_service__"
_HOOK = "__tandem_hook__"
_ENDPOINT = "__tandem_endpoint__"

_links: list[tuple[str, str]] = []
_linked: dict[str, type[Any]] = {}


@dataclass(frozen=True, slots=True)
class EndpointInfo:
    """One callable name of a service."""

    name: str
    method: str
    http: bool = False
    """Also reachable as POST /{name} (`@api`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceInfo:
    """What `@service` wrote down about a class."""

    name: str
    namespace: str = "dynamo"
    workers: int = 1
    gpu: int = 0
    settings: tuple[type[Any], ...] | None = None
    """Dataclasses whose fields are the keys of its section; None: any key, for user services that read their own."""
    engine_keys: EngineKeys = "none"
    """Whether the section may hold keys of the engine: not at all, ignored with a notice, or passed on."""
    own_process: bool = False
    """Never share a process with linked services."""
    hooks: Mapping[Hook, tuple[str, ...]] = field(default_factory=dict)
    """Method names, in order of definition."""
    endpoints: tuple[EndpointInfo, ...] = ()
    depends: Mapping[str, type[Any]] = field(default_factory=dict)
    """Attribute → service class."""


class Linkable:
    """What `@service` adds to a class; a base for services whose type checker should know of it."""

    @classmethod
    def link(cls, other: type[L]) -> type[L]:
        """Join this service to `other`, and return `other`, so that chains read from left to right."""
        edge = (info_of(cls).name, info_of(other).name)
        if edge not in _links:
            _links.append(edge)
            _linked.update({info_of(cls).name: cls, info_of(other).name: other})
        return other

    @classmethod
    def dynamo_address(cls) -> tuple[str, str]:
        """(namespace, component) under which it registers."""
        info = info_of(cls)
        return info.namespace, info.name


class Dependency:
    """What `depends()` leaves in the class; the instance gets a client under the same name."""

    def __init__(self, target: type[Any]) -> None:
        self.target = target


def depends(target: type[Any]) -> Any:
    """This service calls `target`. At run time the attribute is a client with the target's endpoints as methods."""
    return Dependency(target)


@overload
def service(cls: C) -> C: ...
@overload
def service(
    cls: None = None,
    *,
    dynamo: Mapping[str, Any] | None = None,
    resources: Mapping[str, Any] | None = None,
    workers: int = 1,
    name: str | None = None,
    settings: tuple[type[Any], ...] | None = None,
    engine_keys: EngineKeys = "none",
    own_process: bool = False,
    **accepted: Any,
) -> Callable[[C], C]: ...
def service(
    cls: type[Any] | None = None,
    *,
    dynamo: Mapping[str, Any] | None = None,
    resources: Mapping[str, Any] | None = None,
    workers: int = 1,
    name: str | None = None,
    settings: tuple[type[Any], ...] | None = None,
    engine_keys: EngineKeys = "none",
    own_process: bool = False,
    **accepted: Any,
) -> Any:
    """Make a class a service. Its name is the class's.

    Args:
        dynamo: `namespace` where it registers; other keys are accepted as of old.
        resources: `gpu` per worker; `cpu` and `memory` serve deployment manifests.
        workers: processes, unless `ServiceArgs` says otherwise.
        settings: dataclasses whose fields are the keys of its YAML section.
        accepted: `image`, `app` and the like of old: taken and not used.
    """

    def decorate(target: C) -> C:
        inherited: ServiceInfo | None = getattr(target, _INFO, None)
        info = ServiceInfo(
            name=name or target.__name__,
            namespace=str((dynamo or {}).get("namespace", inherited.namespace if inherited else "dynamo")),
            workers=workers,
            gpu=int((resources or {}).get("gpu", inherited.gpu if inherited else 0)),
            settings=settings if settings is not None or inherited is None else inherited.settings,
            engine_keys=engine_keys if engine_keys != "none" or inherited is None else inherited.engine_keys,
            own_process=own_process,
            hooks=_hooks(target),
            endpoints=_endpoints(target),
            depends=_depends(target),
        )
        setattr(target, _INFO, info)
        for method in ("link", "dynamo_address"):
            if not hasattr(target, method):
                setattr(target, method, vars(Linkable)[method])
        return target

    return decorate if cls is None else decorate(cls)


def is_service(thing: object) -> bool:
    """Whether `@service` was here."""
    return isinstance(thing, type) and _INFO in vars(thing)


def info_of(cls: type[Any]) -> ServiceInfo:
    """What `@service` wrote down. The class must be a service."""
    info: ServiceInfo = vars(cls)[_INFO]
    return info


def links() -> list[tuple[str, str]]:
    """All `A.link(B)` calls so far in this process, by service name."""
    return list(_links)


def forget_links() -> None:
    """Start with an empty set of links: for tests that load several graphs."""
    _links.clear()


def endpoint(name: str | None = None, *, http: bool = False, **accepted: Any) -> Callable[[F], F]:
    """Make an async generator (or coroutine) callable by other services. Its first argument is the request."""

    def decorate(method: F) -> F:
        setattr(method, _ENDPOINT, EndpointInfo(name or method.__name__, method.__name__, http=http))
        return method

    return decorate


dynamo_endpoint = endpoint
"""The name of the guide's time for `endpoint`."""


@overload
def api(method: F) -> F: ...
@overload
def api(method: None = None, *, name: str | None = None) -> Callable[[F], F]: ...
def api(method: F | None = None, *, name: str | None = None) -> F | Callable[[F], F]:
    """An endpoint that is also reachable by HTTP as POST /{name}, on `port` and `host` of the service's section."""
    decorate: Callable[[F], F] = endpoint(name, http=True)
    return decorate if method is None else decorate(method)


def before_connect(method: F) -> F:
    """Run before the process opens any connection: where an engine loads. The service is built without a runtime."""
    return _hook("before_connect", method)


def async_on_start(method: F) -> F:
    """Run when connected, before the endpoints are announced."""
    return _hook("on_start", method)


def async_on_shutdown(method: F) -> F:
    """Run after the endpoints are withdrawn and drained."""
    return _hook("on_shutdown", method)


def liveness(method: F) -> F:
    """A check: False means that this process should be restarted."""
    return _hook("liveness", method)


def readiness(method: F) -> F:
    """A check: False, or a text that says why, means that this process cannot take requests now."""
    return _hook("readiness", method)


def status(method: F) -> F:
    """Returns a mapping for `tandem status`. Keys `degraded` (text), `door` (URL) and `models` mean something to
    `serve`."""
    return _hook("status", method)


def trace(method: F) -> F:
    """Takes a request id; returns its story as JSON text, or None."""
    return _hook("trace", method)


def wait_dead(method: F) -> F:
    """A coroutine that returns a reason when this process is of no more use and should be replaced."""
    return _hook("wait_dead", method)


def _hook(kind: Hook, method: F) -> F:
    setattr(method, _HOOK, kind)
    return method


def linked_class(name: str) -> type[Any] | None:
    """The class of a service that occurs in a link."""
    return _linked.get(name)


def _members(cls: type[Any]) -> dict[str, Any]:
    """Attributes of the class, bases first, in order of definition."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base))
    return found


def _hooks(cls: type[Any]) -> dict[Hook, tuple[str, ...]]:
    found: dict[Hook, tuple[str, ...]] = {}
    for name, member in _members(cls).items():
        kind: Hook | None = getattr(member, _HOOK, None)
        if kind is not None:
            found[kind] = (*found.get(kind, ()), name)
    return found


def _endpoints(cls: type[Any]) -> tuple[EndpointInfo, ...]:
    members = _members(cls).values()
    return tuple(info for member in members if (info := getattr(member, _ENDPOINT, None)) is not None)


def _depends(cls: type[Any]) -> dict[str, type[Any]]:
    return {name: member.target for name, member in _members(cls).items() if isinstance(member, Dependency)}
