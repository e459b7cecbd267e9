"""Tick sizes by the published tables, and arithmetic on the grid that never drifts."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnpy_brokerkit.price_grid import align, on_grid, plausible_tick, tick_size
from vnpy_brokerkit.trading_hours import Region

BEFORE = date(2025, 8, 3)
PHASE_1 = date(2025, 8, 4)
PHASE_2 = date(2026, 7, 1)


@pytest.mark.parametrize(
    ("price", "before", "since"),
    [
        ("0.01", "0.001", "0.001"),
        ("0.25", "0.001", "0.001"),
        ("0.251", "0.005", "0.005"),
        ("0.50", "0.005", "0.005"),
        ("0.505", "0.01", "0.01"),
        ("10", "0.01", "0.01"),
        ("10.01", "0.02", "0.01"),
        ("10.40", "0.02", "0.01"),
        ("20", "0.02", "0.01"),
        ("20.01", "0.05", "0.02"),
        ("50", "0.05", "0.02"),
        ("50.01", "0.05", "0.05"),
        ("100", "0.05", "0.05"),
        ("100.01", "0.1", "0.1"),
        ("200", "0.1", "0.1"),
        ("200.01", "0.2", "0.2"),
        ("500", "0.2", "0.2"),
        ("500.01", "0.5", "0.5"),
        ("1000", "0.5", "0.5"),
        ("1000.01", "1", "1"),
        ("2000.01", "2", "2"),
        ("5000.01", "5", "5"),
        ("9995", "5", "5"),
        ("20000", "5", "5"),
    ],
)
def test_hong_kong_table_before_and_since_phase_1(price: str, before: str, since: str) -> None:
    assert tick_size(Region.HK, Decimal(price), BEFORE) == Decimal(before)
    assert tick_size(Region.HK, Decimal(price), PHASE_1) == Decimal(since)
    assert tick_size(Region.HK, Decimal(price), PHASE_2) == Decimal(since)  # phase 2 is off


@pytest.mark.parametrize(
    ("price", "day", "tick"),
    [
        ("0.50", PHASE_2, "0.005"),
        ("0.505", PHASE_2, "0.005"),
        ("10", PHASE_2, "0.005"),
        ("10.01", PHASE_2, "0.01"),
        ("5", PHASE_1, "0.01"),
        ("15", BEFORE, "0.02"),
    ],
)
def test_the_planned_table_is_switched_on_by_its_flag(price: str, day: date, tick: str) -> None:
    assert tick_size(Region.HK, Decimal(price), day, planned=True) == Decimal(tick)


@pytest.mark.parametrize(
    ("region", "price", "fund", "tick"),
    [
        (Region.US, "1", False, "0.01"),
        (Region.US, "230.05", True, "0.01"),
        (Region.US, "0.9999", False, "0.0001"),
        (Region.CONNECT, "1500", False, "0.01"),
        (Region.CONNECT, "0.9", False, "0.01"),
        (Region.CONNECT, "1.234", True, "0.001"),
        (Region.HK, "25", True, "0.001"),
    ],
)
def test_other_markets_and_funds(region: Region, price: str, fund: bool, tick: str) -> None:
    assert tick_size(region, Decimal(price), PHASE_1, fund=fund) == Decimal(tick)


@pytest.mark.parametrize(
    ("region", "candidate", "price", "day", "fund", "plausible"),
    [
        (Region.HK, "0.2", "400", PHASE_1, False, True),
        (Region.HK, "0.200", "400", PHASE_1, False, True),
        (Region.HK, "0.4", "400", PHASE_1, False, False),  # a gap of two ticks
        (Region.HK, "0.01", "10.40", PHASE_1, False, True),
        (Region.HK, "0.02", "10.40", PHASE_1, False, False),  # the old table's
        (Region.HK, "0.02", "10.40", BEFORE, False, True),
        (Region.HK, "0.005", "5", PHASE_1, False, False),
        (Region.HK, "0.005", "5", PHASE_2, False, True),
        (Region.HK, "0.01", "5", PHASE_2, False, True),
        (Region.HK, "0", "5", PHASE_1, False, False),
        (Region.HK, "0.02", "25", PHASE_1, True, True),
        (Region.HK, "0.0001", "99", PHASE_1, True, True),
        (Region.HK, "0.03", "25", PHASE_1, True, False),
        (Region.US, "0.01", "230", PHASE_1, False, True),
        (Region.US, "0.05", "230", PHASE_1, False, False),
        (Region.US, "0.0001", "0.5", PHASE_1, False, True),
        (Region.CONNECT, "0.001", "1.2", PHASE_1, True, True),
        (Region.CONNECT, "0.001", "1.2", PHASE_1, False, False),
    ],
)
def test_a_brokers_tick_is_believed_only_where_a_table_agrees(
    region: Region, candidate: str, price: str, day: date, fund: bool, plausible: bool
) -> None:
    assert plausible_tick(region, Decimal(candidate), Decimal(price), day, fund=fund) is plausible


ticks = st.sampled_from([Decimal(t) for t in ("0.0001", "0.001", "0.005", "0.01", "0.02", "0.05", "0.2", "0.25", "5")])
prices = st.decimals(min_value=-20000, max_value=20000, places=6)


@given(price=prices, tick=ticks, up=st.booleans())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_align_moves_to_the_grid_by_less_than_a_tick(price: Decimal, tick: Decimal, up: bool) -> None:
    aligned = align(price, tick, up=up)
    assert on_grid(aligned, tick)
    assert aligned / tick == (aligned / tick).to_integral_value()
    assert 0 <= (aligned - price if up else price - aligned) < tick
    assert (aligned == price) is on_grid(price, tick)
    assert align(aligned, tick, up=not up) == aligned


@given(steps=st.integers(-(10**6), 10**6), tick=ticks)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_whole_number_of_ticks_is_on_the_grid(steps: int, tick: Decimal) -> None:
    assert on_grid(steps * tick, tick)
    assert not on_grid(steps * tick + tick / 2, tick)


@given(
    price=st.decimals(min_value="0.01", max_value=12000, places=4),
    day=st.sampled_from([BEFORE, PHASE_1, PHASE_2]),
    planned=st.booleans(),
    up=st.booleans(),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_an_aligned_hong_kong_price_is_on_its_own_bands_grid(
    price: Decimal, day: date, planned: bool, up: bool
) -> None:
    aligned = align(price, tick_size(Region.HK, price, day, planned=planned), up=up)
    assert aligned > 0
    assert on_grid(aligned, tick_size(Region.HK, aligned, day, planned=planned))


def test_a_float_made_decimal_is_seen_as_it_is() -> None:
    price = Decimal.from_float(10.4)  # 10.4000000000000003552713678800500929355621337890625
    assert not on_grid(price, Decimal("0.01"))
    assert align(price, Decimal("0.01"), up=False) == Decimal("10.40")
    assert align(price, Decimal("0.01"), up=True) == Decimal("10.41")


@pytest.mark.parametrize("tick", ["0", "-0.01", "NaN", "Infinity"])
def test_a_tick_that_is_none_is_refused(tick: str) -> None:
    with pytest.raises(ValueError, match="tick"):
        on_grid(Decimal(1), Decimal(tick))
    with pytest.raises(ValueError, match="tick"):
        align(Decimal(1), Decimal(tick), up=True)


@pytest.mark.parametrize("price", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_price_is_on_no_grid(price: str) -> None:
    assert not on_grid(Decimal(price), Decimal("0.01"))
    with pytest.raises(ValueError, match="price"):
        align(Decimal(price), Decimal("0.01"), up=True)
