"""Which other sites' pages may ask from a browser (CORS). Pure. Off unless origins are named."""

from collections.abc import Iterable, Mapping
from typing import Final

_EXPOSED: Final = ", ".join(
    [
        "x-request-id",
        "request-id",
        "retry-after",
        *(f"x-ratelimit-{what}-{unit}" for what in ("limit", "remaining", "reset") for unit in ("requests", "tokens")),
    ]
)
_ALLOWED: Final = "authorization, content-type, x-api-key, api-key, anthropic-version, x-request-id, x-request-priority"
_AGE_S: Final = 600


class Cors:
    """The origins that may ask; `*` is every one. Cookies are never asked for, so none is allowed."""

    def __init__(self, origins: Iterable[str] = ()) -> None:
        self._origins = frozenset(origins)

    def answer(self, headers: Mapping[bytes, bytes]) -> dict[str, str]:
        """What every answer to such a page says. Empty for all others."""
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not self._origins or not origin:
            return {}
        if "*" in self._origins:
            return {"access-control-allow-origin": "*", "access-control-expose-headers": _EXPOSED}
        told = {"vary": "origin"}  # caches must not give one site's answer to another
        if origin in self._origins:
            told |= {"access-control-allow-origin": origin, "access-control-expose-headers": _EXPOSED}
        return told

    def preflight(self, headers: Mapping[bytes, bytes], methods: Iterable[str]) -> dict[str, str] | None:
        """The answer to a browser's question before the request, at a path with `methods`; None if it is none."""
        told = self.answer(headers)
        if "access-control-allow-origin" not in told or b"access-control-request-method" not in headers:
            return None
        told.pop("access-control-expose-headers")
        wanted = headers.get(b"access-control-request-headers", b"").decode("latin-1")
        return told | {
            "access-control-allow-methods": ", ".join(sorted(methods)),
            "access-control-allow-headers": _ALLOWED + _libraries(wanted),
            "access-control-max-age": str(_AGE_S),
        }


def _libraries(wanted: str) -> str:
    """Headers with which the OpenAI and Anthropic clients describe themselves: harmless, and too many to list."""
    names = (name.strip().lower() for name in wanted.split(","))
    return "".join(f", {name}" for name in names if name.startswith(("x-stainless-", "openai-", "anthropic-")))
