"""Secrets that objects name: found, made, or asked for. Nobody prints what is in them. Pure but for the random source.

A Secret that is there is never changed, so a password once generated stays, and one that a person or a vault put there
is used as it is. `render` names Secrets and knows none: its bytes are the same for everybody.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tandem.deploy.description import Description
from tandem.deploy.objects import INSTANCE, MANAGER, NeededSecret, Object, made


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of one needed Secret."""

    name: str
    make: Object | None = None
    about: str = ""
    fault: str = ""


def decide(
    need: NeededSecret,
    live: Object | None,
    wish: Description,
    environ: Mapping[str, str],
    random_hex: Callable[[int], str],
) -> Decision:
    """Use it, make it, or say what is missing.

    Args:
        live: the Secret as it is in the cluster, None when it is not there.
        random_hex: so many random bytes as hexadecimal digits.
    """
    if live is not None:
        missing = [key for key in need.keys if key not in (live.get("data") or {})]
        if missing:
            found = (
                f"the Secret {need.name} ({need.why}) has no key {', '.join(missing)}; it needs {', '.join(need.keys)}"
            )
            return Decision(name=need.name, fault=found)
        return Decision(name=need.name, about="there")
    if need.environment:
        values = [environ.get(name, "") for name in need.environment]
        if all(values):
            where = " and ".join(need.environment)
            return _made(need, dict(zip(need.keys, values, strict=True)), wish, f"made from {where}")
        names = " and ".join(name for name, value in zip(need.environment, values, strict=True) if not value)
        return Decision(name=need.name, fault=f"there is no Secret {need.name} ({need.why}): make it, or set {names}")
    if need.generated:
        # The first character is a letter: NATS would read a value that begins with a digit as a number.
        values_by_key = {"username": "tandem", "password": f"p{random_hex(24)}"}
        return _made(need, values_by_key, wish, "made with a random password")
    keys = f" with {', '.join(need.keys)}" if need.keys else ""
    return Decision(name=need.name, fault=f"there is no Secret {need.name} ({need.why}): make it{keys}")


def is_ours(secret: Object, wish: Description) -> bool:
    """Whether `apply` made it for this service."""
    found = secret["metadata"].get("labels") or {}
    return found.get("app.kubernetes.io/managed-by") == MANAGER and found.get(INSTANCE) == wish.name


def _made(need: NeededSecret, values: Mapping[str, str], wish: Description, about: str) -> Decision:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    secret = made("v1", "Secret", need.name, wish, "secret", type="Opaque", data=data)
    return Decision(name=need.name, make=secret, about=about)
