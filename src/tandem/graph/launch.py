"""Everything that `serve` needs, decided before anything starts: graph, settings, processes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tandem.errors import ConfigError
from tandem.graph.configure import Configured, configure
from tandem.graph.gpus import GpuClaims, visible_gpus
from tandem.graph.loading import Graph, graph_of, load_entry
from tandem.graph.plan import Machine, Plan, gpu_needs, plan
from tandem.graph.services import BUILT_IN
from tandem.settings.document import ENVIRONMENT, FLAG, Deployment, Section, Sourced


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A checked request to serve. Making it has started nothing."""

    target: str
    """`module:Service`, as typed."""
    working_dir: Path
    only: str | None
    graph: Graph
    deployment: Deployment
    configured: Configured
    plan: Plan
    machine: Machine
    depends: Mapping[str, str]
    """Service name → namespace/component where it runs instead (`--depends`)."""
    environ: Mapping[str, str]
    verbosity: int = 0

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should read before it starts."""
        return (*self.configured.notices, *self.plan.notices)


def prepare(
    target: str,
    deployment: Deployment,
    *,
    environ: Mapping[str, str],
    working_dir: Path,
    only: str | None = None,
    door: Mapping[str, Any] | None = None,
    depends: Mapping[str, str] | None = None,
    workers: int | None = None,
    verbosity: int = 0,
) -> Launch:
    """Load the graph, check every setting, plan the processes.

    Args:
        door: `port` and `host` of the entry service, from `--port` and `--host` or their environment.
        workers: processes of the entry service, from `--workers`.
    Raises:
        ConfigError: every fault at once.
    """
    graph = graph_of(load_entry(target, working_dir), only, depends or {})
    deployment = with_door(deployment, graph.entry, door or {}, environ)
    if workers is not None:
        deployment = with_workers(deployment, graph.entry, workers)
    configured = configure(deployment, graph, environ, known=BUILT_IN)
    machine = Machine(
        gpus=visible_gpus(environ),
        allocate_gpus=configured.supervisor.auto_gpu_allocation
        and environ.get("DYN_DISABLE_AUTO_GPU_ALLOCATION", "0") in ("", "0")
        and not environ.get("DYN_DEPLOYMENT_ENV"),
    )
    return Launch(
        target=target,
        working_dir=Path(os.path.abspath(working_dir)),
        only=only,
        graph=graph,
        deployment=deployment,
        configured=configured,
        plan=plan(graph, configured, deployment, machine),
        machine=machine,
        depends=depends or {},
        environ=environ,
        verbosity=verbosity,
    )


def with_gpus(launch: Launch, claims: GpuClaims) -> Launch:
    """The same with GPUs that no other supervisor of this user holds.

    Raises:
        ConfigError: too few are free.
    """
    if not launch.machine.gpus or not launch.machine.allocate_gpus:
        return launch
    needs, _ = gpu_needs(launch.configured, launch.deployment)
    free = claims.claim(launch.machine.gpus, sum(need.gpus for need in needs))
    machine = replace(launch.machine, free=free)
    return replace(launch, machine=machine, plan=plan(launch.graph, launch.configured, launch.deployment, machine))


def with_door(deployment: Deployment, entry: str, door: Mapping[str, Any], environ: Mapping[str, str]) -> Deployment:
    """`--port` and `--host` as settings of the entry service: from a flag, or from the environment."""
    section = deployment.section(entry)
    values = dict(section.values)
    for key, value in door.items():
        if value is None:
            continue
        variable = f"DYNAMO_{key.upper()}"
        from_environment = environ.get(variable) == value
        if from_environment and key in values and values[key].rank == FLAG:
            continue
        values[key] = (
            Sourced(value, variable, f"environment {variable}", ENVIRONMENT)
            if from_environment
            else Sourced(value, key, f"flag --{key}", FLAG)
        )
    sections = {**deployment.sections, entry: Section(entry, values, section.service_args)}
    return Deployment(sections, deployment.document, deployment.notices, deployment.common)


def with_workers(deployment: Deployment, entry: str, workers: int) -> Deployment:
    """`--workers` as what it is short for: the entry service's `ServiceArgs.workers`. Raises `ConfigError`."""
    if workers < 1:
        raise ConfigError(f"--workers {workers}: a service needs at least 1 process", param="workers")
    section = deployment.section(entry)
    section = replace(section, service_args={**section.service_args, "workers": workers})
    return replace(deployment, sections={**deployment.sections, entry: section})
