"""Numbers that may be percentages: how Kubernetes rounds them."""

import re

from tandem.operator.types import IntOrString


def is_amount(value: IntOrString) -> bool:
    """A count of zero or more, or a percentage."""
    return value >= 0 if isinstance(value, int) else re.fullmatch(r"\d{1,3}%", value) is not None


def resolve(value: IntOrString, total: int, *, up: bool) -> int:
    """The count that a count or percentage of `total` stands for; `up` rounds half pods to whole ones.

    Raises:
        ValueError: neither a count nor a percentage.
    """
    if isinstance(value, int):
        return value
    if not is_amount(value):
        raise ValueError(f"{value!r} is neither a count nor a percentage")
    product = int(value[:-1]) * total
    return -(-product // 100) if up else product // 100
