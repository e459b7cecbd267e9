"""Segments to the second, by tables that are written out here from the exchanges' published hours."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import threading
import warnings
from datetime import date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vnpy.trader.constant import Exchange

from vnpy_brokerkit import trading_hours as hours
from vnpy_brokerkit.trading_hours import Region, Segment

NEW_YORK = ZoneInfo("America/New_York")
HONG_KONG = ZoneInfo("Asia/Hong_Kong")
SHANGHAI = ZoneInfo("Asia/Shanghai")
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module", autouse=True)
def _calendars() -> None:
    hours.warm()


def utc(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc)


def at(zone: ZoneInfo, text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=zone)


def check_boundary(region: Region, moment: datetime, before: Segment, after: Segment) -> None:
    moment = moment.astimezone(timezone.utc)
    labels = [hours.segment(region, moment + step) for step in (-SECOND, timedelta(0), SECOND)]
    assert labels == [before, after, after], moment


# Written in UTC, so that the switch of the clocks is this table's own arithmetic: New York is UTC-5 in winter, UTC-4 in
# summer. 2026: summer time begins on Sunday, March 8, and ends on Sunday, November 1.
US_BOUNDARIES = [
    # Thursday and Friday before the March switch, winter time
    ("2026-03-06 01:00", Segment.POST, Segment.NIGHT),
    ("2026-03-06 09:00", Segment.NIGHT, Segment.PRE),
    ("2026-03-06 14:30", Segment.PRE, Segment.REGULAR),
    ("2026-03-06 21:00", Segment.REGULAR, Segment.POST),
    ("2026-03-07 01:00", Segment.POST, Segment.CLOSED),
    # the night session of Sunday evening already counts in summer time
    ("2026-03-09 00:00", Segment.CLOSED, Segment.NIGHT),
    ("2026-03-09 08:00", Segment.NIGHT, Segment.PRE),
    ("2026-03-09 13:30", Segment.PRE, Segment.REGULAR),
    ("2026-03-09 20:00", Segment.REGULAR, Segment.POST),
    ("2026-03-10 00:00", Segment.POST, Segment.NIGHT),
    # Friday before the November switch, summer time
    ("2026-10-30 08:00", Segment.NIGHT, Segment.PRE),
    ("2026-10-30 13:30", Segment.PRE, Segment.REGULAR),
    ("2026-10-30 20:00", Segment.REGULAR, Segment.POST),
    ("2026-10-31 00:00", Segment.POST, Segment.CLOSED),
    # and winter time from Sunday evening on
    ("2026-11-02 01:00", Segment.CLOSED, Segment.NIGHT),
    ("2026-11-02 09:00", Segment.NIGHT, Segment.PRE),
    ("2026-11-02 14:30", Segment.PRE, Segment.REGULAR),
    ("2026-11-02 21:00", Segment.REGULAR, Segment.POST),
    # half day after Thanksgiving: 13:00 and 17:00 New York
    ("2026-11-27 09:00", Segment.NIGHT, Segment.PRE),
    ("2026-11-27 14:30", Segment.PRE, Segment.REGULAR),
    ("2026-11-27 18:00", Segment.REGULAR, Segment.POST),
    ("2026-11-27 22:00", Segment.POST, Segment.CLOSED),
    # no night before Thanksgiving (Thursday the 26th), but on its own evening
    ("2026-11-26 01:00", Segment.POST, Segment.CLOSED),
    ("2026-11-27 01:00", Segment.CLOSED, Segment.NIGHT),
    # replayed data: 2013 and 2014
    ("2013-10-07 13:30", Segment.PRE, Segment.REGULAR),
    ("2014-06-09 20:00", Segment.REGULAR, Segment.POST),
]


@pytest.mark.parametrize(("moment", "before", "after"), US_BOUNDARIES)
def test_us_boundaries_to_the_second(moment: str, before: Segment, after: Segment) -> None:
    check_boundary(Region.US, utc(moment), before, after)


@pytest.mark.parametrize("night", ["2026-03-08", "2026-11-01"])
def test_the_sundays_of_the_clock_change_stay_closed_until_evening(night: str) -> None:
    moment = at(NEW_YORK, f"{night} 00:00").astimezone(timezone.utc)
    end = at(NEW_YORK, f"{night} 20:00").astimezone(timezone.utc)
    while moment < end:
        assert hours.segment(Region.US, moment) is Segment.CLOSED
        moment += timedelta(minutes=30)
    assert hours.segment(Region.US, end) is Segment.NIGHT


def test_a_us_holiday_is_closed_all_day() -> None:
    labels = {hours.segment(Region.US, at(NEW_YORK, f"2026-11-26 {hour:02}:30")) for hour in range(20)}
    assert labels == {Segment.CLOSED}


HK_BOUNDARIES = [
    ("2026-11-20 09:00", Segment.CLOSED, Segment.AUCTION),
    ("2026-11-20 09:30", Segment.AUCTION, Segment.REGULAR),
    ("2026-11-20 12:00", Segment.REGULAR, Segment.BREAK),
    ("2026-11-20 13:00", Segment.BREAK, Segment.REGULAR),
    ("2026-11-20 16:00", Segment.REGULAR, Segment.AUCTION),
    ("2026-11-20 16:10", Segment.AUCTION, Segment.CLOSED),
    # the eves: Lunar New Year, Christmas, New Year
    ("2026-02-16 12:00", Segment.REGULAR, Segment.AUCTION),
    ("2026-12-24 09:30", Segment.AUCTION, Segment.REGULAR),
    ("2026-12-24 12:00", Segment.REGULAR, Segment.AUCTION),
    ("2026-12-24 12:10", Segment.AUCTION, Segment.CLOSED),
    ("2026-12-31 12:10", Segment.AUCTION, Segment.CLOSED),
    ("2022-04-11 09:30", Segment.AUCTION, Segment.REGULAR),
]


@pytest.mark.parametrize(("moment", "before", "after"), HK_BOUNDARIES)
def test_hong_kong_boundaries_to_the_second(moment: str, before: Segment, after: Segment) -> None:
    check_boundary(Region.HK, at(HONG_KONG, moment), before, after)


def test_the_afternoon_of_a_hong_kong_half_day_is_closed() -> None:
    assert hours.segment(Region.HK, at(HONG_KONG, "2026-12-24 14:00")) is Segment.CLOSED
    assert hours.segment(Region.HK, at(HONG_KONG, "2026-12-25 10:00")) is Segment.CLOSED


CONNECT_BOUNDARIES = [
    ("2026-11-20 09:15", Segment.CLOSED, Segment.AUCTION),
    ("2026-11-20 09:25", Segment.AUCTION, Segment.BREAK),
    ("2026-11-20 09:30", Segment.BREAK, Segment.REGULAR),
    ("2026-11-20 11:30", Segment.REGULAR, Segment.BREAK),
    ("2026-11-20 13:00", Segment.BREAK, Segment.REGULAR),
    ("2026-11-20 14:57", Segment.REGULAR, Segment.AUCTION),
    ("2026-11-20 15:00", Segment.AUCTION, Segment.CLOSED),
    # Hong Kong's half day is a whole one in Shanghai
    ("2026-12-24 15:00", Segment.AUCTION, Segment.CLOSED),
]


@pytest.mark.parametrize(("moment", "before", "after"), CONNECT_BOUNDARIES)
def test_stock_connect_boundaries_to_the_second(moment: str, before: Segment, after: Segment) -> None:
    check_boundary(Region.CONNECT, at(SHANGHAI, moment), before, after)


@pytest.mark.parametrize(
    ("day", "hong_kong"),
    [("2026-07-01", False), ("2026-04-07", False), ("2026-12-25", False), ("2026-10-05", True), ("2026-02-20", True)],
)
def test_stock_connect_needs_both_markets(day: str, hong_kong: bool) -> None:
    moment = at(SHANGHAI, f"{day} 10:00")
    assert hours.is_session(Region.HK, moment.date()) is hong_kong
    assert not hours.is_session(Region.CONNECT, moment.date())
    assert hours.segment(Region.CONNECT, moment) is Segment.CLOSED


@pytest.mark.parametrize(
    ("region", "moment", "which"),
    [
        (Region.HK, at(HONG_KONG, "2026-11-20 08:59"), None),
        (Region.HK, at(HONG_KONG, "2026-11-20 09:00"), "open"),
        (Region.HK, at(HONG_KONG, "2026-11-20 10:00"), None),
        (Region.HK, at(HONG_KONG, "2026-11-20 16:05"), "close"),
        (Region.HK, at(HONG_KONG, "2026-12-24 12:05"), "close"),
        (Region.HK, at(HONG_KONG, "2026-12-25 09:10"), None),
        (Region.CONNECT, at(SHANGHAI, "2026-11-20 09:20"), "open"),
        (Region.CONNECT, at(SHANGHAI, "2026-11-20 14:58"), "close"),
        (Region.US, at(NEW_YORK, "2026-11-20 09:30"), None),
    ],
)
def test_which_auction_runs(region: Region, moment: datetime, which: str | None) -> None:
    assert hours.auction(region, moment) == which


@pytest.mark.parametrize("said", list(Segment))
def test_what_the_broker_says_is_the_answer(said: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_calendar(name: str) -> None:
        raise AssertionError("the calendar was asked")

    monkeypatch.setattr(hours, "_days", no_calendar)
    assert hours.segment(Region.HK, at(HONG_KONG, "2023-09-01 11:00"), broker=said) is said


def test_a_typhoon_day_is_labelled_by_the_calendar_that_does_not_know_it() -> None:
    assert hours.segment(Region.HK, at(HONG_KONG, "2023-09-01 11:00")) is Segment.REGULAR


def first_monday_after(day: date) -> date:
    day += timedelta(days=1)
    while day.weekday() != 0:
        day += timedelta(days=1)
    return day


@pytest.mark.parametrize(("region", "name"), [(Region.CONNECT, "XSHG"), (Region.HK, "XHKG")])
def test_beyond_the_calendars_end_weekdays_have_the_usual_hours(region: Region, name: str) -> None:
    import exchange_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # exchange_calendars on a newer pandas
        latest = type(exchange_calendars.get_calendar(name)).bound_max()
    assert latest is not None
    end = latest.date()
    monday = first_monday_after(end)
    assert not hours.calendar_knows(region, monday)
    assert hours.calendar_knows(region, end - timedelta(days=30))
    assert hours.segment(region, datetime.combine(monday, time(10), SHANGHAI)) is Segment.REGULAR
    assert hours.segment(region, datetime.combine(monday, time(20), SHANGHAI)) is Segment.CLOSED
    sunday = monday - timedelta(days=1)
    assert hours.segment(region, datetime.combine(sunday, time(10), SHANGHAI)) is Segment.CLOSED


def test_before_the_calendars_begin_weekdays_count() -> None:
    monday = date(1990, 1, 1)  # a holiday that no loaded calendar covers
    for region in Region:
        assert not hours.calendar_knows(region, monday)
        assert hours.is_session(region, monday)
        assert not hours.is_session(region, monday - timedelta(days=1))


def test_calendars_cover_the_replayed_data() -> None:
    for day in (date(2013, 10, 7), date(2014, 6, 9), date(2022, 4, 11), date(2026, 11, 20)):
        assert all(hours.calendar_knows(region, day) for region in Region)
        assert hours.is_session(Region.US, day)
        assert hours.is_session(Region.HK, day)
    assert not hours.is_session(Region.CONNECT, date(2013, 10, 7))  # the Golden Week


@pytest.mark.parametrize(
    ("region", "moment", "opens"),
    [
        (Region.US, at(NEW_YORK, "2026-11-20 03:00"), at(NEW_YORK, "2026-11-20 09:30")),
        (Region.US, at(NEW_YORK, "2026-11-20 09:30"), at(NEW_YORK, "2026-11-23 09:30")),  # strictly after
        (Region.US, at(NEW_YORK, "2026-03-06 17:00"), utc("2026-03-09 13:30")),
        (Region.US, at(NEW_YORK, "2026-11-25 17:00"), at(NEW_YORK, "2026-11-27 09:30")),
        (Region.HK, at(HONG_KONG, "2026-11-20 12:30"), at(HONG_KONG, "2026-11-20 13:00")),
        (Region.HK, at(HONG_KONG, "2026-12-24 11:00"), at(HONG_KONG, "2026-12-28 09:30")),
        # the Spring Festival: the longest pause of all
        (Region.CONNECT, at(SHANGHAI, "2026-02-13 15:00"), at(SHANGHAI, "2026-02-24 09:30")),
    ],
)
def test_next_open(region: Region, moment: datetime, opens: datetime) -> None:
    answer = hours.next_open(region, moment)
    assert answer == opens
    assert answer.tzinfo is timezone.utc


@pytest.mark.parametrize(
    ("region", "moment", "day"),
    [
        (Region.US, at(NEW_YORK, "2026-11-19 19:59"), date(2026, 11, 19)),
        (Region.US, at(NEW_YORK, "2026-11-19 20:00"), date(2026, 11, 20)),
        (Region.US, at(NEW_YORK, "2026-11-20 03:00"), date(2026, 11, 20)),
        (Region.US, at(NEW_YORK, "2026-11-20 20:00"), date(2026, 11, 23)),
        (Region.US, at(NEW_YORK, "2026-11-22 21:00"), date(2026, 11, 23)),
        (Region.US, at(NEW_YORK, "2026-11-25 21:00"), date(2026, 11, 27)),
        (Region.US, at(HONG_KONG, "2026-11-20 10:00"), date(2026, 11, 20)),
        (Region.HK, at(HONG_KONG, "2026-11-20 22:00"), date(2026, 11, 20)),
        (Region.HK, at(HONG_KONG, "2026-11-21 10:00"), date(2026, 11, 23)),
        (Region.CONNECT, at(SHANGHAI, "2026-10-05 10:00"), date(2026, 10, 8)),
    ],
)
def test_trading_day(region: Region, moment: datetime, day: date) -> None:
    assert hours.trading_day(region, moment) == day


@pytest.mark.parametrize(
    ("exchange", "region"),
    [
        (Exchange.SMART, Region.US),
        (Exchange.NASDAQ, Region.US),
        (Exchange.SEHK, Region.HK),
        (Exchange.SSE, Region.CONNECT),
        (Exchange.SZHK, Region.CONNECT),
        (Exchange.CME, None),
    ],
)
def test_region_of_an_exchange(exchange: Exchange, region: Region | None) -> None:
    assert hours.region_of(exchange) is region


def test_a_naive_datetime_is_a_mistake() -> None:
    naive = datetime(2026, 11, 20, 10)  # noqa: DTZ001 - that it is naive is the point
    for ask in (hours.segment, hours.auction, hours.next_open, hours.trading_day):
        with pytest.raises(ValueError, match="naive"):
            ask(Region.US, naive)


moments = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001 - hypothesis takes naive bounds and adds the zone
    max_value=datetime(2100, 12, 31),  # noqa: DTZ001 - as above
    timezones=st.just(timezone.utc),
)
offsets = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(region=st.sampled_from(Region), moment=moments, zone=offsets)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_moment_has_an_answer_whatever_its_zone(region: Region, moment: datetime, zone: timezone) -> None:
    def answers(when: datetime) -> tuple[Any, ...]:
        return (
            hours.segment(region, when),
            hours.auction(region, when),
            hours.next_open(region, when),
            hours.trading_day(region, when),
        )

    label, which, opens, day = answers(moment)
    assert answers(moment.astimezone(zone)) == (label, which, opens, day)
    assert (which is None) or (label is Segment.AUCTION)
    assert timedelta(0) < opens - moment < timedelta(days=16)
    assert hours.segment(region, opens) is Segment.REGULAR
    assert hours.segment(region, opens - SECOND) is not Segment.REGULAR
    assert hours.is_session(region, day)
    assert isinstance(hours.calendar_knows(region, moment.date()), bool)


def test_a_calendar_that_cannot_be_loaded_leaves_weekdays(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str) -> None:
        raise ImportError("no pandas")

    monkeypatch.setattr(hours, "_loaded", {})
    monkeypatch.setattr(hours, "_read", broken)
    with caplog.at_level(logging.WARNING):
        assert hours.segment(Region.US, at(NEW_YORK, "2026-11-26 10:00")) is Segment.REGULAR
        assert not hours.calendar_knows(Region.US, date(2026, 11, 26))
    assert [record.getMessage().split()[1] for record in caplog.records] == ["XNYS"]  # once, not at each question


def test_many_first_callers_load_each_calendar_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    two_at_once = threading.Barrier(2)
    monkeypatch.setattr(hours, "_loaded", {})

    def read(name: str) -> hours._Days:
        loads.append(name)
        with contextlib.suppress(threading.BrokenBarrierError):  # as it must be: nobody else came in meanwhile
            two_at_once.wait(0.2)
        return hours._UNKNOWN

    monkeypatch.setattr(hours, "_read", read)
    threads = [threading.Thread(target=hours.warm) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert sorted(loads) == ["XHKG", "XNYS", "XSHG"]


def test_importing_does_not_load_pandas() -> None:
    code = """
import sys
sys.modules["pandas"] = None  # an import of it would fail here
import vnpy_brokerkit.trading_hours as hours
assert "exchange_calendars" not in sys.modules
assert hours.segment(hours.Region.US, None, broker=hours.Segment.POST) is hours.Segment.POST
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_once_warm_nothing_is_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def reload(name: str) -> None:
        raise AssertionError(f"{name} was loaded again")

    monkeypatch.setattr(hours, "_load", reload)
    for region in Region:
        for year in (1995, 2026, 2060):
            moment = datetime(year, 6, 1, 3, tzinfo=timezone.utc)
            assert isinstance(hours.segment(region, moment), Segment)
            assert hours.next_open(region, moment) > moment
