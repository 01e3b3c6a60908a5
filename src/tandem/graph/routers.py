"""Which router a processor asks, and routers as a service keeps them: by KV cache, or by a rule over loads."""

from typing import TYPE_CHECKING, Any, Literal

from tandem.graph.context import dynamo_context
from tandem.settings import RouterSettings
from tandem.settings.resolve import did_you_mean

if TYPE_CHECKING:  # asyncio takes a quarter of the time that `--dry-run` has
    from tandem.graph.tasks import Tasks

_KV_MODES = ("kv", "kv-load", "approx-kv")

RouterPlace = Literal["linked", "far", "own"]
"""The Router of this process, one in another process, or one that the processor keeps itself."""


def unknown_router(name: str | None) -> str | None:
    """What is wrong with the name of a router, naming those that there are; None when there is such a router."""
    if not name or name in _KV_MODES:
        return None
    from tandem.router.registry import BY_CACHE, is_built_in, rule_names

    if is_built_in(name):
        return None
    known = [BY_CACHE, *rule_names()]
    if name.replace("_", "-") in known:
        return None
    return f"router {name!r} is not known{did_you_mean(name, known)} ({', '.join(known)})"


def router_place(name: str, *, linked: bool, instances: int) -> RouterPlace:
    """Where a processor's router is.

    Routing by KV is the Router's, and where nobody else does it no second switch is needed; the simple modes need no
    call.

    Args:
        name: what the processor's `router` says.
        linked: whether the Router runs in the processor's process.
        instances: how many Routers run in others.
    """
    if name not in _KV_MODES:
        return "own"
    if linked:
        return "linked"
    return "far" if instances else "own"


def made_router(name: str, tasks: "Tasks", settings: RouterSettings, component: str) -> Any:
    """A router by its name in the settings, and in `tasks` what keeps it up to date with the workers of `component`."""
    runtime = dynamo_context["runtime"]
    if name in _KV_MODES:
        from tandem.router.kv import KvRouter

        by_cache = KvRouter(runtime, settings, component=component)
        tasks.add("kv", by_cache.follow())
        return by_cache
    from tandem.router.registry import rule_named
    from tandem.router.service import RuleRouter

    by_rule = RuleRouter(rule_named(name))
    tasks.add("load reports", by_rule.listen(runtime.bus, runtime.namespace, component))
    return by_rule
