"""What `tandem deploy` shows of a running service: a live table on a terminal, plain lines elsewhere."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TextIO

from tandem.cli.table import table
from tandem.deploy.diagnosis import Finding, diagnose
from tandem.deploy.look import Look, all_ready
from tandem.deploy.progress import plain_line, role_rows

_HEAD = ("ROLE", "READY", "POD", "STATE")


def rows_of(look: Look) -> list[tuple[str, str, str, str]]:
    """One line per pod; a role is named on its first."""
    found = []
    for row in role_rows(look):
        first = (row.role, f"{row.ready}/{row.wished}")
        for pod, state in row.pods or (("-", "not made yet" if row.wished else "none wished"),):
            found.append((*first, pod, state))
            first = ("", "")
    return found


def status_text(look: Look, findings: Sequence[Finding]) -> str:
    """The table, then what is wrong, then the verdict."""
    rows = rows_of(look)
    lines = [table(_HEAD, rows), ""] if rows else []
    lines += [str(finding) for finding in findings]
    if all_ready(look):
        lines.append("ready")
    elif not findings:
        lines.append("not ready yet; nothing is wrong")
    return "\n".join(lines)


def status_json(look: Look, findings: Sequence[Finding]) -> dict[str, Any]:
    """The same for programs."""
    roles = [
        {"role": row.role, "ready": row.ready, "wished": row.wished, "pods": dict(row.pods)} for row in role_rows(look)
    ]
    faults = [{"about": each.about, "what": each.what, "mend": each.mend} for each in findings]
    return {"ready": all_ready(look), "roles": roles, "findings": faults}


class Progress:
    """Shows look after look until it is left. A context manager."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live: Any = None
        self._said: list[str] = []

    def __enter__(self) -> Self:
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self._stream), refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, look: Look) -> None:
        """On a terminal, the table in place; elsewhere, only what changed."""
        findings = [str(finding) for finding in diagnose(look)]
        if self._live is not None:
            self._live.update(_drawn(look, findings))
            return
        lines = [plain_line(look), *findings]
        if lines != self._said:
            for line in lines:
                if line not in self._said:
                    print(line, file=self._stream, flush=True)
            self._said = lines


def _drawn(look: Look, findings: Sequence[str]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*_HEAD, box=None, pad_edge=False)
    for row in rows_of(look):
        drawn.add_row(*(Text(cell) for cell in row))
    return Group(drawn, *(Text(line, style="yellow") for line in findings))
