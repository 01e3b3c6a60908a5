"""An engine worker as a service: builds the engine before anything is connected, then registers its roles."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tandem.core.cards import Role
from tandem.errors import ConfigError
from tandem.graph.context import dynamo_context
from tandem.graph.declare import Linkable, async_on_shutdown, async_on_start, before_connect, status, wait_dead
from tandem.graph.planes import store_host
from tandem.settings import DisaggSettings, PlaneSettings, WorkerSettings
from tandem.settings.document import Deployment

if TYPE_CHECKING:
    from tandem.graph.tasks import Tasks

_LOOK_INTERVAL_S = 1.0


def model_location(model: str) -> str:
    """A folder as its absolute path, so that two workers that spell it differently agree; a hub name as it is."""
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def served_name(settings: WorkerSettings, deployment: Deployment) -> str:
    """The name clients ask for: the worker's own, else the Frontend's, else the model folder's."""
    if settings.served_model_name:
        return settings.served_model_name
    front = deployment.section("Frontend").values.get("served_model_name")
    return str(front.value) if front and front.value else Path(settings.model.rstrip("/")).name


def adapters(modules: Sequence[str], served_model_name: str) -> dict[str, str]:
    """LoRA adapters' folders by name.

    Raises:
        ConfigError: a name that is taken.
    """
    found: dict[str, str] = {}
    for module in modules:
        name, _, folder = module.partition("=")
        if name in found or name == served_model_name:
            raise ConfigError(f"lora-modules: the name {name!r} is taken, choose another", param="lora-modules")
        found[name] = model_location(folder)
    return found


class EngineService(Linkable):
    """What VllmWorker and PrefillWorker share. Not a service by itself."""

    role: Role = "decode"

    def __init__(self) -> None:
        context = dynamo_context
        settings: WorkerSettings = context["settings"][WorkerSettings]
        self._settings = replace(settings, model=model_location(settings.model))
        self._disagg: DisaggSettings = context["settings"][DisaggSettings]
        self._served_model_name = served_name(settings, context["deployment"])
        self._name: str = context["service_name"]
        self._engine_args: dict[str, Any] = dict(context["engine_args"])
        self._planes: PlaneSettings = context["planes"]
        self._worker: Any = None
        self._prefill_workers: Any = None
        self._tasks: Tasks | None = None
        self._queued: int | None = None

    @before_connect
    async def load(self) -> None:
        """The engine, before any connection."""
        from tandem.engines.ports import EngineSpec
        from tandem.engines.registry import engine_for
        from tandem.worker.service import EngineWorker

        engine = engine_for(self._settings.engine)(
            EngineSpec(
                model_path=self._settings.model,
                served_model_name=self._served_model_name,
                roles=self._possible_roles(),
                side_channel_host=self._settings.side_channel_host or await own_address(self._planes),
                engine_args=self._engine_args,
                handoff_lease_s=self._settings.handoff_lease_s,
                seed=self._settings.seed,
                adapters=adapters(self._settings.lora_modules, self._served_model_name),
            )
        )
        self._worker = EngineWorker(
            engine,
            settings=self._settings,
            disagg=self._disagg,
            components=self._components(),
            roles=(self.role,),
            served_model_name=self._served_model_name,
        )
        await self._worker.load()

    @async_on_start
    async def start(self) -> None:
        """Open the endpoints and announce the role."""
        from tandem.graph.tasks import Tasks

        runtime = dynamo_context["runtime"]
        if self.role == "decode" and self._disagg.remote_prefill:
            self._prefill_workers = runtime.instances(self._disagg.prefill_component)
        await self._worker.start(runtime)
        self._tasks = Tasks()
        if self._possible_roles():
            self._tasks.add("queue depth", self._watch_queue())

    async def _watch_queue(self) -> None:
        """How many prefill jobs wait, for whoever asks."""
        import asyncio

        while True:
            self._queued = sum(depth.waiting for depth in (await self._worker.queue.depth()).values())
            await asyncio.sleep(_LOOK_INTERVAL_S)

    @async_on_shutdown
    async def stop(self) -> None:
        """Withdraw, drain, free the engine."""
        if self._tasks is not None:
            await self._tasks.cancel()
        if self._worker is not None:
            await self._worker.stop(dynamo_context["drain_timeout_s"])

    @wait_dead
    async def dead(self) -> str:
        """The engine died: so must we."""
        reason: str = await self._worker.wait_dead()
        return reason

    @status
    def report(self) -> dict[str, Any]:
        """For `tandem status`, and whether we are degraded."""
        report: dict[str, Any] = {**self._worker.status(), "model": self._served_model_name}
        if self._queued is not None:
            report["prefill_queue"] = self._queued
        if self._prefill_workers is not None:
            if not self._worker.queue.connected:
                report["degraded"] = "the prefill queue cannot be reached: prompts are prefilled here"
            elif not self._prefill_workers.all():
                report["degraded"] = "no prefill worker is alive: prompts are prefilled here"
        return report

    def _possible_roles(self) -> tuple[Role, ...]:
        """Both where KV is handed over, so that roles can change without reloading; none where it never is."""
        return ("decode", "prefill") if self.role == "prefill" or self._disagg.remote_prefill else ()

    def _components(self) -> dict[Role, str]:
        if self.role == "prefill":
            return {"decode": "VllmWorker", "prefill": self._name}
        return {"decode": self._name, "prefill": self._disagg.prefill_component}


async def own_address(planes: PlaneSettings) -> str:
    """Under which address peers reach this host: on the route to the store; loopback with one on this machine."""
    from tandem.transport.address import is_loopback, source_address

    if planes.advertise_host:
        return planes.advertise_host
    store = store_host(planes)
    return "127.0.0.1" if store is None or is_loopback(store) else await source_address(store)
