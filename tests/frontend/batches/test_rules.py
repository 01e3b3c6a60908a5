"""How many lines run, and what becomes of one that fails."""

import pytest

from tandem.errors import (
    ContextTooLong,
    DeadlineExceeded,
    EngineFailed,
    InstanceLost,
    ModelNotFound,
    Overloaded,
    RequestError,
    ServingError,
    Unavailable,
)
from tandem.frontend.batches.rules import after_failure, lines_at_once, may_work_on, share, wait_s


@pytest.mark.parametrize(("live", "lines"), [(0, 8), (1, 7), (7, 1), (8, 1), (1000, 1)])
def test_every_live_request_takes_a_lines_place_and_one_stays(live: int, lines: int) -> None:
    assert lines_at_once(8, live) == lines


@pytest.mark.parametrize(
    ("slots", "batches", "lines"), [(8, 1, 8), (8, 3, 2), (2, 4, 1), (0, 1, 0), (-3, 2, 0), (5, 0, 5)]
)
def test_batches_share_the_free_places(slots: int, batches: int, lines: int) -> None:
    assert share(slots, batches) == lines


@pytest.mark.parametrize(
    ("error", "tries", "becomes"),
    [
        (Overloaded("full"), 99, "later"),
        (Unavailable("nobody is there"), 99, "later"),
        (InstanceLost("gone"), 1, "again"),
        (InstanceLost("gone"), 3, "again"),
        (InstanceLost("gone"), 4, "answered"),
        (EngineFailed("died"), 1, "again"),
        (RequestError("wrong"), 1, "answered"),
        (ContextTooLong("long"), 1, "answered"),
        (ModelNotFound("none"), 1, "answered"),
        (DeadlineExceeded("late"), 1, "answered"),
        (ServingError("a bug"), 1, "answered"),
    ],
)
def test_what_becomes_of_a_line_that_failed(error: ServingError, tries: int, becomes: str) -> None:
    assert after_failure(error, tries) == becomes


def test_waits_grow_to_a_bound_and_obey_retry_after() -> None:
    assert [wait_s(Unavailable("x"), times) for times in (0, 1, 2, 3, 10, 1000)] == [1.0, 1.0, 2.0, 4.0, 30.0, 30.0]
    assert wait_s(Overloaded("x", retry_after_s=12), 0) == 12
    assert wait_s(Overloaded("x", retry_after_s=3600), 0) == 30


def test_lines_wait_for_a_process_that_serves_their_model() -> None:
    assert may_work_on("in_progress", "a", {"a", "b"})
    assert not may_work_on("in_progress", "a", {"b"})
    for status in ("validating", "cancelling", "finalizing"):
        assert may_work_on(status, None, {"b"})
