"""The built-in services: rooms wired to settings, a few lines each.

    Frontend ─► Processor ─► Router          one process, direct calls
                    └► VllmWorker ─► PrefillWorker

Importing this module is cheap: each class imports its room when it starts.
"""

from tandem.graph.declare import depends, service
from tandem.graph.engine_services import EngineService
from tandem.graph.frontend_service import FrontendService
from tandem.graph.processor_service import ProcessorService
from tandem.graph.router_service import RouterService
from tandem.settings import (
    BatchSettings,
    DisaggSettings,
    FrontendSettings,
    GuardSettings,
    LimitSettings,
    ProcessorSettings,
    RouterSettings,
    WorkerSettings,
)


@service(resources={"gpu": 1}, settings=(WorkerSettings, DisaggSettings), engine_keys="passed")
class PrefillWorker(EngineService):
    """An engine that takes prefill jobs off the queue."""

    role = "prefill"


@service(resources={"gpu": 1}, settings=(WorkerSettings, DisaggSettings), engine_keys="passed")
class VllmWorker(EngineService):
    """An engine that owns requests: it decodes, and prefills here or elsewhere."""

    prefill_worker = depends(PrefillWorker)


@service(settings=(RouterSettings,), engine_keys="tolerated")
class Router(RouterService):
    """Chooses a decode worker by where the prompt's KV is."""

    worker = depends(VllmWorker)


@service(settings=(ProcessorSettings,), engine_keys="tolerated")
class Processor(ProcessorService):
    """Text to tokens and back."""

    worker = depends(VllmWorker)
    router = depends(Router)


@service(settings=(FrontendSettings, GuardSettings, LimitSettings, BatchSettings))
class Frontend(FrontendService):
    """HTTP in, SSE out."""

    processor = depends(Processor)


BUILT_IN = (Frontend, Processor, Router, VllmWorker, PrefillWorker)
