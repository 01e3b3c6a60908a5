"""What `tandem serve` says of its processes."""

import signal

import pytest

from tandem.graph.control import State
from tandem.graph.notices import log_levels, phase_text, status_text


@pytest.mark.parametrize(
    ("levels", "verbosity", "found"),
    [
        ("info", 0, "info"),
        ("info", 1, "debug"),
        ("info", -1, "warning"),
        ("warning,tandem.router=debug", 1, "info,tandem.router=debug"),
        ("debug", 5, "debug"),
        ("tandem.router=debug", 1, "tandem.router=debug"),
    ],
)
def test_v_and_q_move_the_default_level_and_no_other(levels: str, verbosity: int, found: str) -> None:
    assert log_levels(levels, verbosity) == found


def test_an_exit_is_told_by_its_signal_where_there_was_one() -> None:
    assert [status_text(status) for status in (3, -signal.SIGKILL, -200)] == ["status 3", "SIGKILL", "signal 200"]


def test_ready_is_news_the_first_time_and_after_a_degradation() -> None:
    ready, degraded = State("ready"), State("ready", note="no prefill worker", degraded=True)
    assert phase_text(ready, 2.04, was_ready=False, was_degraded=False) == "ready after 2.0 s"
    assert phase_text(ready, 9.0, was_ready=True, was_degraded=False) is None
    assert phase_text(degraded, 9.0, was_ready=True, was_degraded=False) == "degraded: no prefill worker"
    assert phase_text(ready, 9.0, was_ready=True, was_degraded=True) == "ready after 9.0 s"
    assert phase_text(State("waiting", note="no workers"), 1.0, was_ready=True, was_degraded=False) == (
        "waiting: no workers"
    )
    assert phase_text(State("draining"), 1.0, was_ready=True, was_degraded=False) is None
