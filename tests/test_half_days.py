"""Days that end early, over both wires: the simulated exchanges keep them, and the bars of both gateways do."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from vnpy.trader.constant import Exchange, Interval
from vnpy.trader.object import BarData, HistoryRequest

from tests.cta_desk import RIGS, TIMINGS
from tests.harness import Rig
from tests.night_rig import utc
from vnpy_brokerkit.clock import ShiftedClock

NEW_YORK, HONG_KONG = ZoneInfo("America/New_York"), ZoneInfo("Asia/Hong_Kong")


def day(rig: Rig, vt_symbol: str, begin: datetime, interval: Interval) -> list[BarData]:
    symbol, _dot, exchange = vt_symbol.partition(".")
    end = begin + timedelta(days=1) - timedelta(minutes=1)
    return rig.main.query_history(HistoryRequest(symbol, Exchange(exchange), begin, end, interval), rig.name)


@pytest.mark.parametrize("name", RIGS)
def test_the_bars_of_a_half_day(name: str) -> None:
    clock = ShiftedClock(utc("2025-12-30 15:00"), frozen=True)
    with RIGS[name](gateway_clock=clock, clock="data", timing=TIMINGS[name]) as rig:
        rig.sim.set_clock(clock.now())
        rig.connect()
        for vt_symbol, begin, count, hours in (
            ("IBM.SMART", datetime(2025, 11, 28, tzinfo=NEW_YORK), 210, [time(9, 30), time(10), time(11), time(12)]),
            ("IBM.SMART", datetime(2025, 11, 26, tzinfo=NEW_YORK), 390, [time(9, 30), *map(time, range(10, 16))]),
            ("00700.SEHK", datetime(2025, 12, 24, tzinfo=HONG_KONG), 150, [time(9, 30), time(10), time(11)]),
        ):
            minutes = day(rig, vt_symbol, begin, Interval.MINUTE)
            first = begin + timedelta(hours=9, minutes=30)
            assert [bar.datetime for bar in minutes] == [first + timedelta(minutes=n) for n in range(count)]
            hourly = day(rig, vt_symbol, begin, Interval.HOUR)
            assert [bar.datetime.astimezone(begin.tzinfo).time() for bar in hourly] == hours
            assert sum(bar.volume for bar in hourly) == sum(bar.volume for bar in minutes)


@pytest.mark.parametrize("name", RIGS)
@pytest.mark.parametrize(("moment", "segment"), [("2025-11-28 17:30", "regular"), ("2025-11-28 18:30", "post")])
def test_the_segment_of_a_half_day(name: str, moment: str, segment: str) -> None:
    clock = ShiftedClock(utc(moment), frozen=True)
    with RIGS[name](gateway_clock=clock, clock="data", timing=TIMINGS[name]) as rig:
        rig.sim.set_clock(clock.now())
        rig.connect()
        rig.subscribe("IBM.SMART")
        tick = rig.wait_tick("IBM.SMART")
        assert (tick.extra or {})["segment"] == segment
