"""Whatever engines tell and the bus does: dropped, counted, and the index stays right."""

import pytest
from tests.router.event_fuzz import OUTCOMES, Fuzz

from tandem.router import kv_sync


@pytest.mark.parametrize("events", [20_000, pytest.param(1_000_000, marks=[pytest.mark.acceptance])])
@pytest.mark.timeout(900)
async def test_no_event_leaves_the_index_wrong(events: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_sync, "_RETRY_S", 0.0)
    fuzz = Fuzz(seed=events)
    await fuzz.run(events)
    assert all(fuzz.counted(outcome) for outcome in OUTCOMES), "each kind of mischief must have happened"
