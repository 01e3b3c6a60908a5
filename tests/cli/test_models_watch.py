"""How a transfer is shown: bars on a terminal, lines elsewhere."""

import io
from collections.abc import Callable

import pytest

from tandem.cli.models_watch import Shown, watcher

STRANGE = "a[/bold] [red]b.safetensors"
"""A hub's own name, and no markup."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[[io.StringIO], str]:
    def show(stream: io.StringIO) -> str:
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setenv("COLUMNS", "120")
        with watcher() as found:
            half(found)
        return stream.getvalue()

    return show


def half(watching: Shown) -> None:
    watching.begin("hf://org/name", 4_000_000, 1_000_000)
    for path in (STRANGE, "second.safetensors"):
        watching.file(path, 2_000_000, 0)
    watching.moved(STRANGE, 1_000_000)
    watching.note(f"{STRANGE}: nothing came for a while; again in 0.5 s")


def test_a_terminal_has_a_bar_for_all_and_one_for_each_file(shown: Callable[[io.StringIO], str]) -> None:
    text = shown(Terminal())
    for name, done in (("all", "2.0/4.0 MB"), (STRANGE, "1.0/2.0 MB"), ("second.safetensors", "0.0/2.0 MB")):
        assert any(name in line and done in line for line in text.replace("\r", "\n").splitlines()), name
    assert f"{STRANGE}: nothing came for a while" in text


def test_elsewhere_it_is_lines_without_control_characters(shown: Callable[[io.StringIO], str]) -> None:
    first, last = shown(io.StringIO()).splitlines()
    assert first == f"{STRANGE}: nothing came for a while; again in 0.5 s"
    assert last.startswith("50% of 4.0 MB")
