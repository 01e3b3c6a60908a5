"""A simulated engine's time: right over many steps, on timers that are right to a millisecond."""

import math

import pytest

from tandem.engines.simulated.pace import Pace


class RoundingLoop:
    """Time that passes in sleeps alone, each rounded to whole milliseconds, as an event loop does it."""

    def __init__(self, *, late_s: float = 0.0) -> None:
        self.time = 1000.0
        self.late_s = late_s

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += round(seconds, 3)
        if seconds:
            self.time += self.late_s


@pytest.mark.parametrize("step_s", [0.0001, 0.0004, 0.0006, 0.00149, 0.0203])
@pytest.mark.parametrize("late_s", [0.0, 0.0003])
async def test_many_steps_take_what_they_are_modelled_to_take(step_s: float, late_s: float) -> None:
    loop = RoundingLoop(late_s=late_s)
    pace = Pace(loop.now, loop.sleep)
    pace.begin()
    began = loop.time
    for _ in range(1000):
        await pace.spend(step_s)
    assert math.isclose(loop.time - began, 1000 * step_s, abs_tol=0.002)


async def test_a_process_that_was_held_up_does_not_rush() -> None:
    loop = RoundingLoop()
    pace = Pace(loop.now, loop.sleep)
    pace.begin()
    await pace.spend(0.020)
    loop.time += 5
    began = loop.time
    for _ in range(10):
        await pace.spend(0.020)
    assert math.isclose(loop.time - began, 0.200, abs_tol=0.0015)


@pytest.mark.parametrize("jump_s", [-3600, 3600])
async def test_a_clock_that_is_set_neither_stops_nor_hurries_it(jump_s: float) -> None:
    loop = RoundingLoop()
    pace = Pace(loop.now, loop.sleep)
    pace.begin()
    await pace.spend(0.020)
    loop.time += jump_s
    began = loop.time
    await pace.spend(0.020)
    assert math.isclose(loop.time - began, 0.020, abs_tol=0.0015)


async def test_a_rest_is_no_credit() -> None:
    loop = RoundingLoop()
    pace = Pace(loop.now, loop.sleep)
    pace.begin()
    await pace.spend(0.020)
    loop.time += 60
    pace.begin()
    began = loop.time
    await pace.spend(0.020)
    assert math.isclose(loop.time - began, 0.020, abs_tol=1e-9)
