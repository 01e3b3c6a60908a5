"""What a decoder does not tell of JSON: names that stand twice in one object, and how deep it goes. Pure.

Two readers may take two different values for a name that stands twice: what one of them checks, the other does not
use. Such a body is refused. It has been decoded already when it comes here, so it is JSON.
"""

import json
from typing import Any, Final

from tandem.errors import RequestError


class _Twice(Exception):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        raise _Twice(next(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]
    return found


_decoder: Final = json.JSONDecoder(object_pairs_hook=_object)


def read_once(body: bytes, *, max_depth: int) -> Any:
    """The value of `body`, which is valid JSON. Raises `RequestError` for a name that stands twice, and for depth."""
    too_deep = f"the body has more than {max_depth} objects and lists inside each other"
    try:
        value = _decoder.decode(body.decode())
    except _Twice as error:
        raise RequestError(f"the name {str(error)[:64]!r} stands twice in one object: send it once") from None
    except RecursionError as error:
        raise RequestError(too_deep) from error
    except UnicodeDecodeError as error:  # in a field that nobody reads, and so the next
        raise RequestError(f"the body is not UTF-8: byte {error.start}") from error
    except ValueError as error:  # Python's own words are advice to whoever runs it
        raise RequestError("the body is not taken: a number has too many digits") from error
    # Most bodies have fewer brackets in all than they may have levels.
    if body.count(b"{") + body.count(b"[") > max_depth and _deeper(value, max_depth):
        raise RequestError(too_deep)
    return value


def _deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            for child in (item.values() if type(item) is dict else item)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True
