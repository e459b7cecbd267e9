"""A rate is never exceeded in any window, and what comes late costs nothing that can be made up for."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vnpy_brokerkit.clock import ManualClock
from vnpy_brokerkit.pacing import Throttle

SLACK = 1e-6
TURNS = st.lists(st.floats(0, 2), min_size=1, max_size=30)


def begun(rate: float, at_once: int, arrivals: list[float], lost: frozenset[int] = frozenset()) -> dict[int, float]:
    """When each caller's turn began; ``arrivals`` are the seconds between them, the ``lost`` give up while waiting."""
    clock = ManualClock(datetime(2026, 3, 10, tzinfo=timezone.utc))
    starts: dict[int, float] = {}

    async def go() -> None:
        throttle = Throttle(rate, clock, at_once=at_once)

        async def ask(number: int) -> None:
            await throttle.turn()
            starts[number] = clock.monotonic()

        asking = []
        for number, pause in enumerate(arrivals):
            await clock.advance(pause)
            asking.append(asyncio.ensure_future(ask(number)))
            await asyncio.sleep(0)
            if number in lost:
                asking[-1].cancel()
        await clock.advance(sum(arrivals) + len(arrivals) / rate + at_once / rate)
        await asyncio.gather(*asking, return_exceptions=True)

    asyncio.run(go())
    return starts


@given(st.floats(0.5, 20), st.integers(1, 6), TURNS)
def test_no_window_holds_more_than_the_rate_and_the_order_is_kept(
    rate: float, at_once: int, arrivals: list[float]
) -> None:
    starts = begun(rate, at_once, arrivals)
    times = [starts[number] for number in range(len(arrivals))]
    assert times == sorted(times)
    for early, late in zip(times, times[at_once:], strict=False):
        assert late - early >= at_once / rate - SLACK


@given(st.floats(0.5, 20), TURNS)
def test_one_at_a_time_comes_evenly(rate: float, arrivals: list[float]) -> None:
    times = sorted(begun(rate, 1, arrivals).values())
    assert all(late - early >= 1 / rate - SLACK for early, late in pairwise(times))


@given(st.integers(1, 20), st.sets(st.integers(0, 19)))
def test_who_gives_up_while_waiting_takes_no_turn(waiting: int, lost: set[int]) -> None:
    at_once = 5
    gone = frozenset(at_once + number for number in lost)
    kept = [number for number in range(at_once + waiting) if number not in gone]
    starts = begun(5.0, at_once, [0.0] * (at_once + waiting), gone)
    alone = begun(5.0, at_once, [0.0] * len(kept))
    assert [starts[number] for number in kept] == list(alone.values())


def test_a_turn_that_comes_late_is_made_up_for() -> None:
    """Ten turns at five a second, one of which is asked for half a second late: they still take the time of ten."""
    arrivals = [0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert max(begun(5.0, 5, arrivals).values()) == 1.5
    assert max(begun(5.0, 1, arrivals).values()) == pytest.approx(1.9)
