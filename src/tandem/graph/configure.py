"""Graph and configuration become checked settings per service: every fault in one message.

Sections of services that this process does not start are checked too when we know them: a typo in the
decoder's section should not wait for the decoder's pod to be noticed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tandem.errors import ConfigError
from tandem.graph.declare import ServiceInfo, info_of
from tandem.graph.engine_keys import engine_args, known_keys, unknown_engine
from tandem.graph.loading import Graph
from tandem.graph.routers import unknown_router
from tandem.settings import (
    FrontendSettings,
    PlaneSettings,
    ProcessorSettings,
    RouterSettings,
    ServiceArgs,
    SupervisorSettings,
    WorkerSettings,
)
from tandem.settings.document import Deployment, Section, Sourced
from tandem.settings.fields import fields_of
from tandem.settings.resolve import Origin, Resolver, did_you_mean, place_of

S = TypeVar("S")

OWN_SECTIONS: dict[str, type[Any]] = {"Supervisor": SupervisorSettings, "Planes": PlaneSettings}
"""Sections that belong to no service."""
RESERVED = ("Planner",)
"""Sections that a later service reads; accepted with a notice."""


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """One service's settings, resolved."""

    info: ServiceInfo
    args: ServiceArgs
    settings: Mapping[type[Any], Any]
    engine_args: Mapping[str, Any]
    """Keys for the engine, normalised."""
    own_keys: Mapping[str, Any]
    """All keys of the section as written, for services that read their own."""

    @property
    def workers(self) -> int:
        """Processes of this service."""
        return self.info.workers if self.args.workers is None else self.args.workers

    @property
    def namespace(self) -> str:
        """Where it registers: YAML before decorator."""
        return self.args.namespace or self.info.namespace


@dataclass(frozen=True, slots=True)
class Configured:
    """A whole deployment, resolved."""

    services: Mapping[str, ServiceConfig]
    supervisor: SupervisorSettings
    planes: PlaneSettings
    origins: tuple[Origin, ...]
    notices: tuple[str, ...]
    written: Mapping[type[Any], Any]
    """Settings of every section that is there, by class: for a service that needs another's."""

    def of(self, cls: type[S]) -> S:
        """The settings `cls` of whichever service has them; the defaults when no section was written."""
        found = self.written.get(cls)
        return found if isinstance(found, cls) else cls()


def configure(
    deployment: Deployment, graph: Graph, environ: Mapping[str, str], *, known: Iterable[type[Any]] = ()
) -> Configured:
    """Resolve every section.

    Args:
        deployment: file and flags.
        graph: the services to start.
        environ: the environment at start.
        known: service classes that sections may name although this graph does not start them.
    Raises:
        ConfigError: all faults, a line each.
    """
    resolver = Resolver(environ)
    notices = list(deployment.notices)
    classes = {info_of(cls).name: cls for cls in known} | graph.services
    own = {name: resolver.settings(cls, deployment.section(name)) for name, cls in OWN_SECTIONS.items()}
    for name, cls in OWN_SECTIONS.items():
        resolver.unknown(deployment.section(name), [cls])
    services: dict[str, ServiceConfig] = {}
    written: dict[type[Any], Any] = {}
    for name, cls in classes.items():
        if name in graph.services or name in deployment.sections:
            configured = _service(
                resolver, info_of(cls), deployment.section(name), notices, started=name in graph.services
            )
            written.update(configured.settings)
            if name in graph.services:
                services[name] = configured
    services = {name: services[name] for name in graph.services}
    notices += _strangers(deployment, classes, resolver)
    if fault := _one_port_twice(services, own["Supervisor"]):
        resolver.faults.append(fault)
    resolver.raise_faults()
    planes = _with_namespace(own["Planes"], services, deployment)
    origins = tuple(resolver.origins)
    return Configured(services, own["Supervisor"], planes, origins, tuple(dict.fromkeys(notices)), written)


def _service(
    resolver: Resolver, info: ServiceInfo, section: Section, notices: list[str], *, started: bool
) -> ServiceConfig:
    settings = {cls: resolver.settings(cls, section, whole=started) for cls in info.settings or ()}
    worker = settings.get(WorkerSettings)
    if started and isinstance(worker, WorkerSettings) and (fault := unknown_engine(worker.engine)):
        resolver.faults.append(f"{place_of(section, 'engine')}: {fault}")
    for cls, key in ((ProcessorSettings, "router"), (RouterSettings, "custom_router")):
        if started and cls in settings and (fault := unknown_router(getattr(settings[cls], key))):
            resolver.faults.append(f"{place_of(section, key)}: {key.replace('_', '-')}: {fault}")
    ours = {name for cls in settings for field in fields_of(cls) for name in (field.name, *field.aliases)}
    if info.settings is not None:
        keys = _allowed(info, settings)
        if keys is not None:
            resolver.unknown(section, list(settings), keys)
        if info.engine_keys == "tolerated":
            ignored = [section.values[k].key for k in section.values if k not in ours and k in (keys or ())]
            if ignored:
                notices.append(f"{section.name}: {', '.join(ignored)} not used here; the workers' registration says it")
    return ServiceConfig(
        info=info,
        args=resolver.service_args(section),
        settings=settings,
        engine_args=engine_args(section, ours) if info.engine_keys == "passed" else {},
        own_keys={sourced.key: sourced.value for sourced in section.values.values()},
    )


def _allowed(info: ServiceInfo, settings: Mapping[type[Any], Any]) -> Iterable[str] | None:
    """Keys beside the service's own that its section may hold; None when anything goes."""
    if info.engine_keys == "none":
        return ()
    worker = settings.get(WorkerSettings)
    return known_keys(worker.engine if isinstance(worker, WorkerSettings) else "vllm")


def _one_port_twice(services: Mapping[str, ServiceConfig], supervisor: SupervisorSettings) -> str | None:
    """The system port is taken first: then the front door would find its port in use, by us."""
    everywhere = ("", "0.0.0.0", "::")
    for name, service in services.items():
        front = service.settings.get(FrontendSettings)
        if not isinstance(front, FrontendSettings) or front.port != supervisor.system_port or not front.port:
            continue
        if front.host == supervisor.system_host or {front.host, supervisor.system_host} & set(everywhere):
            return (
                f"{name}.port and Supervisor.system-port are both {front.port}: give one of them another, by --port or "
                "--system-port"
            )
    return None


def _strangers(deployment: Deployment, classes: Mapping[str, Any], resolver: Resolver) -> list[str]:
    """Sections of services that we do not know: a near miss is a fault, another graph's section a notice."""
    notices = []
    names = [*classes, *OWN_SECTIONS, *RESERVED, "Common"]
    for name in deployment.sections:
        if name in RESERVED:
            notices.append(f"section {name} is not used by this version")
        elif name not in names:
            near = did_you_mean(name, names, cutoff=0.8)
            if near:
                resolver.faults.append(f"unknown section {name!r}{near}")
            else:
                notices.append(f"section {name} belongs to no service that is started here")
    return notices


def _with_namespace(
    planes: PlaneSettings, services: Mapping[str, ServiceConfig], deployment: Deployment
) -> PlaneSettings:
    """The services' namespace rules; all services of one command share it."""
    found = sorted({service.namespace for service in services.values()})
    if len(found) > 1:
        raise ConfigError(f"services of one command share one namespace; found {', '.join(found)}")
    namespace = found[0] if found else planes.namespace
    if "namespace" in deployment.section("Planes").values and planes.namespace != namespace:
        raise ConfigError(
            f"Planes.namespace is {planes.namespace!r} and the services' is {namespace!r}: write each service's as "
            f"ServiceArgs: {{dynamo: {{namespace: {planes.namespace}}}}}"
        )
    if not re.fullmatch(r"[A-Za-z0-9_-]+", namespace):
        raise ConfigError(f"namespace {namespace!r} may hold letters, digits, '-' and '_' only")
    values = {field.name: getattr(planes, field.name) for field in fields_of(PlaneSettings)}
    return PlaneSettings(**{**values, "namespace": namespace})


def section_of(name: str, config: Mapping[str, Any]) -> Section:
    """A section made of plain values, for tests and for services built by hand."""
    return Section(name, {key.replace("-", "_"): Sourced(value, key, "given", 1) for key, value in config.items()})
