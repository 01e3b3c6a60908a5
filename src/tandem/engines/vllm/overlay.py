"""Something of somebody else's with a few names replaced, for whoever is given the overlay."""

from typing import Any


class Overlay:
    """`base` with some names replaced; `base` itself stays as it is for everybody else."""

    def __init__(self, base: Any, **replaced: Any) -> None:
        self.__dict__.update(replaced)
        self._base = base

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)
