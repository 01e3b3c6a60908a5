"""Does an object have to be written? Only when it says something else than what we want it to say.

The server fills in defaults and spells some values its own way, so equality is no test. A child carries the hash of
what we applied last: another hash means that the wish changed. The same hash and a wish that is still part of the
object mean that nothing has to be done. What is left is drift (somebody edited it), or a value that the server spells
differently: that is applied once, and then remembered (`Memo`) until the object changes again.
"""

import hashlib
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import orjson

from tandem.core.paths import at
from tandem.operator.labels import APPLIED_HASH
from tandem.operator.managers import written_parts
from tandem.operator.types import Raw


def digest(value: Any) -> str:
    """Ten hexadecimal digits that stand for a JSON value."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:10]


def stamped(wish: Raw) -> Raw:
    """The wish with its own hash among its annotations."""
    metadata = wish["metadata"]
    annotations = {**(metadata.get("annotations") or {}), APPLIED_HASH: digest(wish)}
    return {**wish, "metadata": {**metadata, "annotations": annotations}}


@dataclass(frozen=True, slots=True)
class Memo:
    """What the server answered when we applied a wish."""

    hash: str
    version: str


def version_of(item: Raw) -> str:
    """Changes when the wished part of an object may have changed: the generation where there is one."""
    generation = at(item, "metadata", "generation")
    return f"g{generation}" if generation else f"r{at(item, 'metadata', 'resourceVersion')}"


def must_apply(wish: Raw, found: Raw | None, memo: Memo | None) -> bool:
    """Whether to send a stamped wish."""
    if found is None:
        return True
    wanted, have = wish["metadata"], found["metadata"]
    if at(have, "annotations", APPLIED_HASH) != wanted["annotations"][APPLIED_HASH]:
        return True
    if not is_part_of({k: v for k, v in wanted.items() if k != "name"}, have):
        return True
    if memo is not None and memo == Memo(wanted["annotations"][APPLIED_HASH], version_of(found)):
        return False
    body = {key: value for key, value in wish.items() if key not in ("metadata", "apiVersion", "kind")}
    return not is_part_of(body, found) or not written_parts(wish).isdisjoint(found.get("partsOfOthers", ()))


def is_part_of(wish: Any, found: Any) -> bool:
    """Whether everything wished stands in what was found; lists of things with a name are compared by it."""
    if isinstance(wish, dict):
        if not isinstance(found, dict):
            return not wish and found is None
        return all(is_part_of(value, found.get(key)) for key, value in wish.items())
    if isinstance(wish, list):
        if not isinstance(found, list):
            return not wish and found is None
        if any(isinstance(item, dict) and "uid" in item for item in wish):  # owners: others may have joined
            return all(any(is_part_of(item, other) for other in found) for item in wish)
        return len(wish) == len(found) and all(map(is_part_of, wish, found))
    return bool(wish == found) or _same_quantity(wish, found)


def _same_quantity(wish: Any, found: Any) -> bool:
    """The server spells quantities its own way: 1000m becomes 1, and 1024Mi becomes 1Gi."""
    if isinstance(wish, bool) or not isinstance(found, str) or not isinstance(wish, (str, int, float)):
        return False
    amounts = [_QUANTITY.fullmatch(str(value)) for value in (wish, found)]
    if amounts[0] is None or amounts[1] is None:
        return False
    first, second = (Fraction(m["number"]) * _SCALES[m["suffix"] or ""] for m in amounts if m is not None)
    return first == second


_SCALES = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1)}
_SCALES |= {suffix: Fraction(1000 ** (power + 1)) for power, suffix in enumerate("kMGTPE")}
_SCALES |= {f"{suffix}i": Fraction(1024 ** (power + 1)) for power, suffix in enumerate("KMGTPE")}
_QUANTITY = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?)(?P<suffix>n|u|m|k|[KMGTPE]i|[MGTPE])?")
