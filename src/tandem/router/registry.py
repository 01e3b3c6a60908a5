"""Rules by the name that `router:` gives. Own ones come from the entry point group `tandem.routers`."""

from importlib.metadata import entry_points
from typing import Final, cast

from tandem.errors import ConfigError
from tandem.router.ports import Rule
from tandem.router.rules import least_loaded, random_choice, round_robin

GROUP: Final = "tandem.routers"
BY_CACHE: Final = "kv"
"""No rule over loads, so none of these; a mode that people choose in the same place."""
_BUILT_IN: Final[dict[str, Rule]] = {
    "round-robin": round_robin,
    "random": random_choice,
    "least-loaded": least_loaded,
}


def is_built_in(name: str) -> bool:
    """Whether it needs no look at what is installed."""
    return name.replace("_", "-") in _BUILT_IN


def rule_named(name: str) -> Rule:
    """The rule of that name; `_` and `-` are the same.

    Raises:
        ConfigError: nobody registered it, or what was registered does not load; the message lists what there is.
    """
    wanted = name.replace("_", "-")
    if wanted in _BUILT_IN:
        return _BUILT_IN[wanted]
    found = {entry.name.replace("_", "-"): entry for entry in entry_points(group=GROUP)}
    if wanted not in found:
        names = ", ".join(sorted({BY_CACHE, *rule_names()}))
        raise ConfigError(f"router {name!r} is not there; choose from {names}", param="router")
    try:
        return cast(Rule, found[wanted].load())
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"router {name!r} ({found[wanted].value}) does not load: {error}", param="router") from error


def rule_names() -> list[str]:
    """Every name that `rule_named` knows, sorted."""
    return sorted({*_BUILT_IN, *(entry.name.replace("_", "-") for entry in entry_points(group=GROUP))})
