"""Where ticks stand in time: in the minute of the trade whose price they show, each volume counted once."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from vnpy.trader.constant import Exchange
from vnpy.trader.object import BarData, TickData

from tests.ticks_desk import bars_of
from vnpy_brokerkit.tick_time import TickTime

START = datetime(2026, 11, 20, 15, 0, tzinfo=timezone.utc)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def moment(seconds: float) -> datetime:
    return (START + timedelta(seconds=seconds)).astimezone(SHANGHAI)


def place(it: TickTime, seconds: float, price: float, volume: float, trade: float | None = None) -> list[TickData]:
    tick = TickData("X", "IBM", Exchange.SMART, moment(seconds), last_price=price, volume=volume)
    tick.turnover = volume * 10
    return it.place(tick, None if trade is None else moment(trade))


def at(ticks: list[TickData]) -> list[float]:
    return [round((tick.datetime - START).total_seconds(), 3) for tick in ticks]


def bar(ticks: list[TickData]) -> list[tuple[str, float, float, float]]:
    bars: list[BarData] = bars_of(ticks)
    return [(f"{one.datetime:%H:%M}", one.open_price, one.close_price, one.volume) for one in bars]


def test_a_change_of_the_book_stays_in_the_minute_of_the_trade() -> None:
    it = TickTime()
    ticks = [
        *place(it, 30, 100, 1000, 30),
        *place(it, 40, 100, 1000, 30),
        *place(it, 61, 100, 1000, 30),
        *place(it, 300, 100, 1000, 30),
        *place(it, 302, 101, 1100, 302),
        *place(it, 361, 102, 1100, 361),
    ]
    assert at(ticks) == [30, 40, 60, 60, 302, 361]  # 59.999999
    assert bar(ticks) == [("23:00", 100, 100, 0), ("23:05", 101, 101, 100)]


def test_without_times_of_trades_more_volume_is_a_trade() -> None:
    it = TickTime()
    ticks = [
        tick
        for news in ((30, 100, 1000), (61, 100, 1000), (62, 100, 1200), (121, 101, 1300))
        for tick in place(it, *news)
    ]
    assert at(ticks) == [30, 60, 62, 121]
    assert bar(ticks) == [("23:00", 100, 100, 0), ("23:01", 100, 100, 200)]


def test_a_trade_that_sets_no_price_is_counted_with_the_next_that_does() -> None:
    it = TickTime()
    ticks = [
        *place(it, 30, 100, 1000, 30),
        *place(it, 40, 100, 1050, 30),
        *place(it, 61, 100, 1150, 30),
        *place(it, 62, 101, 1250, 62),
        *place(it, 121, 102, 1300, 121),
    ]
    assert [tick.volume for tick in ticks] == [1000, 1050, 1050, 1250, 1300]
    assert [tick.turnover for tick in ticks] == [10000, 10500, 10500, 12500, 13000]
    assert bar(ticks) == [("23:00", 100, 100, 50), ("23:01", 101, 101, 200)]


def test_volume_waits_for_a_price_no_longer_than_a_minute() -> None:
    it = TickTime()
    ticks = [
        *place(it, 30, 100, 1000, 30),
        *place(it, 70, 100, 1050, 30),
        *place(it, 120, 100, 1060, 30),
        *place(it, 131, 100, 1070, 30),
    ]
    assert at(ticks) == [30, 60, 60, 131]
    assert [tick.volume for tick in ticks] == [1000, 1000, 1000, 1070]


def test_a_trade_that_arrives_late_is_its_own_minutes() -> None:
    it = TickTime()
    ticks = [*place(it, 30, 100, 1000, 30), *place(it, 60.3, 101, 1100, 59), *place(it, 60.9, 102, 1200, 60)]
    assert at(ticks) == [30, 60, 60.9]
    assert bar(ticks) == [("23:00", 100, 101, 100)]


def test_a_time_that_can_not_be_the_trades_is_not_believed() -> None:
    it = TickTime()
    ticks = [
        *place(it, 30, 100, 1000, -7200),
        *place(it, 61, 101, 1100, -7200),
        *place(it, 121, 101, 1200, -7200),
        *place(it, 181, 102, 1200, -7190),
    ]
    assert at(ticks) == [30, 61, 121, 181]


def test_before_the_first_price_of_the_day_volume_makes_no_bar() -> None:
    it = TickTime()
    ticks = place(it, 30, 100, 500, -40000)
    it.begin()
    ticks += place(it, 61, 100, 70, -40000)
    ticks += place(it, 62, 103, 100, 62)
    ticks += place(it, 121, 104, 500, 121)
    assert bar(ticks) == [("23:00", 100, 100, 0), ("23:01", 103, 103, 100)]


def test_a_price_may_come_before_the_time_of_its_trade() -> None:
    it = TickTime()
    ticks = [*place(it, 50, 100, 1000, 50), *place(it, 61, 101, 1000, 50), *place(it, 61.1, 101, 1100, 61)]
    assert at(ticks) == [50, 61, 61.1]


def test_a_new_count_begins_with_a_tick_without_volume() -> None:
    it = TickTime()
    ticks = place(it, 30, 100, 1000, 30)
    it.begin()
    ticks += place(it, 90, 100, 300, 90)
    ticks += place(it, 150, 101, 500, 150)
    assert [tick.volume for tick in ticks] == [1000, 0, 300, 500]
    assert bar(ticks) == [("23:00", 100, 100, 0), ("23:01", 100, 100, 300)]


def test_a_new_count_waits_for_the_trade_that_sets_a_price() -> None:
    it = TickTime()
    ticks = place(it, 30, 100, 1000, 30)
    it.begin()
    ticks += place(it, 90, 100, 0, 30)
    ticks += place(it, 91, 100, 70, 30)
    ticks += place(it, 92, 101, 100, 92)
    ticks += place(it, 150, 101, 500, 150)
    assert bar(ticks) == [("23:00", 100, 100, 0), ("23:01", 101, 101, 100)]


def test_a_bust_trade_is_no_new_count() -> None:
    it = TickTime()
    ticks = [*place(it, 30, 100, 1000, 30), *place(it, 32, 101, 900, 32), *place(it, 62, 101, 950, 62)]
    assert [tick.volume for tick in ticks] == [1000, 900, 950]


STEPS = st.lists(
    st.tuples(
        st.floats(-5, 90), st.sampled_from([100.0, 100.5, 101.0]), st.integers(-50, 300), st.booleans(), st.booleans()
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_whatever_comes_time_moves_forward_and_the_end_is_whole(
    steps: list[tuple[float, float, int, bool, bool]],
) -> None:
    it, now, volume, trade = TickTime(), 0.0, 0, 0.0
    ticks: list[TickData] = []
    for passed, price, more, told, begins in steps:
        now += passed
        if begins:
            it.begin()
            volume = 0
        volume = max(0, volume + more)
        trade = now if told else trade
        ticks += place(it, now, price, volume, trade)
    assert all(earlier.datetime <= later.datetime for earlier, later in pairwise(ticks))
    ticks += place(it, now + 200, 99.0, volume, now + 200)
    assert ticks[-1].volume == volume
