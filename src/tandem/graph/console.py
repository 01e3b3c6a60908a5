"""What `serve` shows: the processes' log lines with their names in front, and its own notices. On stderr."""

import sys
from collections.abc import Callable
from typing import TextIO

_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)


class Console:
    """Lines with prefixes, coloured on a terminal."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._colour = self._stream.isatty()
        self._quiet = quiet
        self._width = len("serve")
        self._known: dict[str, int] = {}

    def expect(self, names: list[str]) -> None:
        """Align to the longest of these names."""
        self._width = max([self._width, *map(len, names)])

    def notice(self, text: str, *, loud: bool = False) -> None:
        """A line of `serve` itself. Quiet ones are left out with -q."""
        if loud or not self._quiet:
            self._write("serve", text, 1)

    def result(self, text: str) -> None:
        """What a person waits for: on standard output."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def relay(self, name: str) -> Callable[[str], None]:
        """A function that writes lines of one process."""
        colour = self._known.setdefault(name, _COLOURS[len(self._known) % len(_COLOURS)])
        return lambda line: self._write(name, line, colour)

    def _write(self, name: str, text: str, colour: int) -> None:
        prefix = f"{name:<{self._width}} | "
        if self._colour:
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        try:
            self._stream.write(f"{prefix}{text}\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            pass  # whoever read our log went away; serving goes on
