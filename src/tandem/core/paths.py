"""Reading values out of plain objects, such as those of Kubernetes."""

from typing import Any


def at(item: Any, *path: str, default: Any = None) -> Any:
    """The value at a path of keys, or `default` where the path ends early or holds null."""
    value = item
    for key in path:
        if not isinstance(value, dict):
            return default
        value = value.get(key)
    return default if value is None else value
