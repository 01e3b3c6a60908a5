"""Settings become processes: who runs where, with which GPUs, forked or spawned. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tandem.graph.configure import Configured, ServiceConfig
from tandem.graph.engine_keys import parallel_sizes, uses_gpu, worth_preloading
from tandem.graph.gpus import GpuNeed, allocate, gpus_per_worker
from tandem.graph.grouping import Placed, group
from tandem.graph.loading import Graph
from tandem.settings import FrontendSettings, WorkerSettings
from tandem.settings.document import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessPlan:
    """One process to start."""

    name: str
    """As the log shows it: `Frontend` or `VllmWorker.0`."""
    services: tuple[str, ...]
    worker: int = 0
    """Index among the processes of the same services."""
    workers: int = 1
    """How many of the same services there are."""
    shares_door: bool = False
    """Whether it answers on a port that others of the same services answer on too."""
    gpus: tuple[str, ...] | None = None
    """What CUDA_VISIBLE_DEVICES is set to; None leaves it alone."""
    envs: Mapping[str, str]
    preload: str | None = None
    """Engine whose libraries should be there before the process is forked."""
    launch: Literal["fork", "spawn"] = "fork"
    """A process that will use CUDA is spawned: CUDA does not survive a fork."""
    entry: bool = False
    """Holds the entry of the graph: stopped first, so that no new request meets a half-stopped service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the planner may know about the host."""

    gpus: Sequence[str]
    """GPU ids that processes here may use."""
    free: Sequence[str] | None = None
    """Those of them that no other supervisor holds; None: all, as far as is known yet."""
    allocate_gpus: bool = True
    """False leaves CUDA_VISIBLE_DEVICES alone: in a pod, or when the user says so."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All processes of one `serve`, in start order, and what should be said about them."""

    processes: tuple[ProcessPlan, ...]
    notices: tuple[str, ...]


def gpu_needs(configured: Configured, deployment: Deployment) -> tuple[list[GpuNeed], list[str]]:
    """GPUs per worker process, and what to say where the configuration contradicts itself."""
    needs: list[GpuNeed] = []
    notices: list[str] = []
    for name, service in configured.services.items():
        asked = service.info.gpu if service.args.resources.gpu is None else service.args.resources.gpu
        worker = service.settings.get(WorkerSettings)
        if isinstance(worker, WorkerSettings) and not uses_gpu(worker.engine):
            continue
        count = gpus_per_worker(asked, parallel_sizes(deployment.section(name)))
        if count > asked:
            notices.append(
                f"{name}: ServiceArgs.resources.gpu is {asked}, its parallel sizes need {count}: {count} used"
            )
        needs += [GpuNeed(f"{name}.{index}", count) for index in range(service.workers)] if count else []
    return needs, notices


def plan(graph: Graph, configured: Configured, deployment: Deployment, machine: Machine) -> Plan:
    """Every process of this `serve`.

    Raises:
        ConfigError: more GPUs needed than there are.
    """
    needs, notices = gpu_needs(configured, deployment)
    wants_gpu = {need.worker.rpartition(".")[0] for need in needs}
    given: Mapping[str, tuple[str, ...]] = {}
    if needs and not machine.gpus:
        names = ", ".join(sorted(wants_gpu))
        notices.append(f"no GPU on this host: {names} on the CPU, whatever resources.gpu says")
    elif machine.allocate_gpus:
        given = allocate(needs, machine.gpus if machine.free is None else machine.free)
    placed = [_placed(service, alone=name in wants_gpu) for name, service in configured.services.items()]
    processes: list[ProcessPlan] = []
    grouped = group(placed, graph.edges)
    for services in grouped:
        worker = sum(1 for each in processes if each.services == services)
        process = _process(graph, configured, services, worker, given, machine, needs)
        processes.append(replace(process, workers=grouped.count(services)))
    return Plan(tuple(sorted(processes, key=lambda p: not p.entry)), tuple(notices))


def _placed(service: ServiceConfig, *, alone: bool) -> Placed:
    alone = alone or service.info.own_process or WorkerSettings in service.settings
    door = FrontendSettings in service.settings
    return Placed(service.info.name, service.namespace, service.workers, alone, door)


def _process(
    graph: Graph,
    configured: Configured,
    services: tuple[str, ...],
    worker: int,
    given: Mapping[str, tuple[str, ...]],
    machine: Machine,
    needs: Sequence[GpuNeed],
) -> ProcessPlan:
    first = configured.services[services[-1]]
    numbered = first.workers > 1 or (len(services) == 1 and WorkerSettings in first.settings)
    name = f"{services[-1]}.{worker}" if numbered else services[-1]
    asked = any(need.worker.rpartition(".")[0] in services for need in needs)
    gpus = given.get(f"{services[-1]}.{worker}", ()) if asked and machine.gpus and machine.allocate_gpus else None
    on_gpu = bool(machine.gpus) and asked and gpus != ()
    settings = first.settings.get(WorkerSettings)
    engine = settings.engine if isinstance(settings, WorkerSettings) else None
    envs = {key: value for s in services for key, value in configured.services[s].args.envs.items()}
    return ProcessPlan(
        name=name,
        services=services,
        worker=worker,
        shares_door=first.workers > 1 and FrontendSettings in first.settings,
        gpus=gpus,
        envs=envs,
        preload=engine if engine and worth_preloading(engine) and not on_gpu else None,
        launch="spawn" if on_gpu else "fork",
        entry=graph.entry in services,
    )
