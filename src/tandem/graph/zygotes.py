"""The zygotes of a supervisor: one per engine that its processes need imported, and one for those that need none."""

from collections.abc import Callable, Mapping, Sequence

from tandem.graph.console import Console
from tandem.graph.processes import ZygoteClient
from tandem.graph.zygote import Preloaded


class Zygotes:
    """Zygotes by the engine that they have imported; a dead one is replaced when it is asked for."""

    def __init__(self, environ: Mapping[str, str], console: Console, *, sweep: Callable[[], Sequence[str]]) -> None:
        """`sweep`: files that a new one removes should we die without doing so."""
        self._environ = environ
        self._console = console
        self._sweep = sweep
        self._by_engine: dict[str | None, ZygoteClient] = {}

    def get(self, engine: str | None) -> ZygoteClient:
        """One that lives."""
        zygote = self._by_engine.get(engine)
        return zygote if zygote is not None and zygote.alive else self._new(engine)

    def close(self) -> None:
        """End them all, and with them whatever still runs. Safe to repeat."""
        for zygote in self._by_engine.values():
            zygote.close()

    def _new(self, engine: str | None) -> ZygoteClient:
        zygote = self._by_engine[engine] = ZygoteClient(self._preloaded)
        zygote.start(self._environ)
        zygote.sweep(self._sweep())
        if engine is not None:
            self._console.notice(f"importing engine {engine}")
            zygote.preload(engine)
        return zygote

    def _preloaded(self, done: Preloaded) -> None:
        if done.error:
            self._console.notice(f"engine {done.engine} does not import: {done.error}", loud=True)
        elif done.seconds > 0.5:
            self._console.notice(f"engine {done.engine} imported in {done.seconds:.1f} s")
