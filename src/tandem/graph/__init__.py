"""The user's way to compose: services joined by `link()`, and the process that serves them.

    declare.py    @service, @endpoint, depends, link, hooks
    context.py    what a running service can ask about itself
    loading.py    `module:Attr` → the graph          pruning.py   which services it starts
    configure.py  graph + configuration → settings   grouping.py  which of them share a process
    plan.py       settings → processes               gpus.py      which GPU goes to which worker
    zygote.py     forks and reaps the processes      child.py     one process: services, connected, served
    supervisor.py `tandem serve`                     restarts.py  when a crashed process comes back
    services.py   Frontend, Processor, Router, VllmWorker, PrefillWorker

Rules (pruning, grouping, GPUs, restarts) are pure. The supervisor imports no torch and forks no engine.
Here and in `cli` is the only place where rooms meet: each gets values, none gets the configuration.
"""

from tandem.graph.context import dynamo_context
from tandem.graph.declare import (
    api,
    async_on_shutdown,
    async_on_start,
    before_connect,
    depends,
    dynamo_endpoint,
    endpoint,
    liveness,
    readiness,
    service,
)

__all__ = [
    "api",
    "async_on_shutdown",
    "async_on_start",
    "before_connect",
    "depends",
    "dynamo_context",
    "dynamo_endpoint",
    "endpoint",
    "liveness",
    "readiness",
    "service",
]
