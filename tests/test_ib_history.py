"""Bars over a TWS that grants, cuts, refuses and repeats as the real one may: the whole or an error, never a part."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from time import monotonic
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

import pytest
from ib_async.contract import Contract
from ib_async.objects import BarData as IbBar
from vnpy.trader.constant import Exchange, Interval, Product
from vnpy.trader.object import BarData, HistoryRequest

from tests.history_desk import by_start, data_time, download, rows_of
from tests.ib_harness import SHORT_IB, IbRig
from vnpy_brokerkit.clock import ManualClock
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, HistoryError, TimedOut
from vnpy_brokerkit.history import Download, Parts
from vnpy_ibkr.contracts import Contracts, Instrument
from vnpy_ibkr.errors import error_for
from vnpy_ibkr.history import PACING_WAITS, History
from vnpy_ibkr.segments import Hours, parse_hours
from vnpy_ibkr.wire.tws import Wire

NEW_YORK, SHANGHAI, UTC = ZoneInfo("America/New_York"), ZoneInfo("Asia/Shanghai"), timezone.utc
NOW = datetime(2026, 4, 1, 15, 30, 20, tzinfo=NEW_YORK)
OPEN, MINUTES = time(9, 30), 390
DAY = timedelta(days=1)
T = TypeVar("T")


def naive(text: str) -> datetime:
    """A time without a zone, as scripts pass it."""
    return datetime.fromisoformat(text)


def no_data() -> BrokerError:
    return error_for(162, "HMDS query returned no data: X", about="h")


def bar(text: str, close: float = 10, volume: float = 100) -> IbBar:
    # The wire gives the date as text.
    return IbBar(date=cast(Any, text), open=10, high=11, low=9, close=close, volume=volume, average=10.5, barCount=3)


@dataclass(frozen=True)
class Asked:
    end: str
    duration: str
    size: str
    show: str
    regular_only: bool
    contract: Contract


@dataclass
class Tws:
    """A server with one US stock: its sessions are every weekday's regular hours since ``since``."""

    since: date = date(2026, 1, 5)
    now: datetime = NOW
    zone: ZoneInfo = NEW_YORK
    most_days: int = 10_000
    """A longer duration is refused, as the documented limits are."""
    end_included: bool = False
    skip: tuple[date, ...] = ()
    cut_first: bool = False
    """The first daily or weekly bar of a window holds a part of its time only."""
    head: bool = True
    faults: list[BrokerError] = field(default_factory=list)
    """Answered instead, one by one, from the request ``faults_from`` on."""
    faults_from: int = 0
    fixed: list[IbBar] | None = None
    """Answered to the first request instead of the sessions; to every one when it ``repeats``."""
    repeats: bool = False
    asked: list[Asked] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    heads: int = 0
    answer: Any = None

    def reqHistoricalData(
        self,
        req_id: int,
        contract: Contract,
        end: str,
        duration: str,
        size: str,
        show: str,
        regular_only: bool,
        format_date: int,
        updated: bool,
        options: list[str],
    ) -> None:
        assert (format_date, updated, options) == (2, False, [])
        self.asked.append(Asked(end, duration, size, show, regular_only, contract))
        count, unit = duration.split()
        days = int(count) * {"D": 1, "W": 7, "Y": 365}[unit]
        assert unit != "D" or days < 366
        if self.faults and len(self.asked) > self.faults_from:
            self.answer = self.faults.pop(0)
        elif self.fixed is not None:
            self.answer = self.fixed if self.repeats or len(self.asked) == 1 else no_data()
        elif days > self.most_days:
            self.answer = error_for(162, "Time length exceed max.", about="h")
        else:
            at = datetime.strptime(end, "%Y%m%d %H:%M:%S UTC").replace(tzinfo=UTC) if end else self.now
            self.answer = self._rows(min(at, self.now), size, int(count), unit) or no_data()

    def _rows(self, end: datetime, size: str, count: int, unit: str) -> list[IbBar]:
        starts = [start for start in self._minutes() if start <= end if self.end_included or start < end]
        if not starts:
            return []
        if unit == "D":
            # Trading days, the way TWS counts them.
            first = sorted({start.astimezone(self.zone).date() for start in starts})[-count:][0]
        else:
            first = (end - timedelta(days=count * {"W": 7, "Y": 365}[unit])).astimezone(self.zone).date()
        starts = [start for start in starts if start.astimezone(self.zone).date() >= first]
        return list(self._merged(starts, size))

    def _minutes(self) -> Iterable[datetime]:
        day, last = self.since, self.now.astimezone(self.zone).date()
        while day <= last:
            if day.weekday() < 5 and day not in self.skip:
                begin = datetime.combine(day, OPEN, self.zone).astimezone(UTC)
                # Two hours of trading make a day here: tests stay quick.
                yield from (begin + timedelta(minutes=minute) for minute in range(0, MINUTES, 5))
            day += DAY

    def _merged(self, starts: list[datetime], size: str) -> Iterable[IbBar]:
        groups: dict[Any, list[datetime]] = {}
        for start in starts:
            local = start.astimezone(self.zone)
            key: Any = {
                "1 min": start,
                "1 hour": (local.date(), local.hour),
                "1 day": local.date(),
                "1 week": local.isocalendar()[:2],
            }[size]
            groups.setdefault(key, []).append(start)
        for number, rows in enumerate(groups.values()):
            dated = size in ("1 day", "1 week")
            text = f"{rows[-1].astimezone(self.zone):%Y%m%d}" if dated else str(int(rows[0].timestamp()))
            volume = 1 if self.cut_first and dated and number == 0 else len(rows)
            yield bar(text, volume=volume)

    def cancelHistoricalData(self, req_id: int) -> None:
        self.cancelled.append(req_id)

    def reqHeadTimeStamp(
        self, req_id: int, contract: Contract, show: str, regular_only: bool, format_date: int
    ) -> None:
        assert show != "ADJUSTED_LAST"
        assert format_date == 2
        self.heads += 1
        first = next(iter(self._minutes()))
        self.answer = [str(int(first.timestamp()))] if self.head else error_for(162, "No head time stamp", about="h")


class FakeWire:
    def __init__(self, tws: Tws) -> None:
        self.client = tws
        self.numbers = 0
        self.open = self.most_open = 0

    async def ask(self, send: Callable[[int], None], about: str, timeout: float) -> list[Any]:
        self.numbers += 1
        send(self.numbers)
        answer, self.client.answer = self.client.answer, None
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        await asyncio.sleep(0)
        self.open -= 1
        if isinstance(answer, BrokerError):
            raise answer
        return list(answer)

    def post(self, send: Callable[[], None], about: str) -> None:
        send()


class FakeContracts:
    def __init__(self, instrument: Instrument | None) -> None:
        self.instrument = instrument

    async def ensure(self, wanted: Iterable[tuple[str, Exchange]]) -> None:
        assert list(wanted)

    def get(self, symbol: str, exchange: Exchange) -> Instrument | None:
        return self.instrument


def instrument(sec_type: str = "STK", size: int = 1) -> Instrument:
    return Instrument(
        symbol="IBM",
        exchange=Exchange.SMART,
        contract=Contract(conId=8314, symbol="IBM", secType=sec_type, exchange="SMART", currency="USD"),
        name="IBM",
        product=Product.EQUITY,
        size=Decimal(size),
        tick=Decimal("0.01"),
        lot=Decimal(1),
        currency="USD",
        zone=NEW_YORK,
        liquid_hours=Hours(),
        trading_hours=Hours(),
    )


class Rig:
    def __init__(
        self,
        tws: Tws | None = None,
        known: Instrument | None = None,
        *,
        zone: ZoneInfo = SHANGHAI,
        adjusted: bool = False,
        extended: bool = False,
        found: bool = True,
        now: datetime = NOW,
        lines: list[str] | None = None,
    ) -> None:
        self.tws = tws or Tws()
        self.tws.now = now
        self.clock = ManualClock(now)
        self.wire = FakeWire(self.tws)
        contracts = self.contracts = FakeContracts((known or instrument()) if found else None)
        self.parts = Parts(self.clock)
        self.lines = [] if lines is None else lines
        self.history = History(
            wire=lambda: cast(Wire, self.wire),
            contracts=cast(Contracts, contracts),
            clock=self.clock,
            zone=zone,
            gateway_name="IBKR",
            adjusted=adjusted,
            extended=extended,
        )

    def bars(self, interval: Interval | None, start: datetime, end: datetime | None = None) -> list[BarData]:
        request = HistoryRequest(symbol="IBM", exchange=Exchange.SMART, start=start, end=end, interval=interval)
        return self.run(Download(request, self.parts, self.clock, self.lines.append).run(self.history.bars))

    def run(self, work: Awaitable[T]) -> T:
        async def main() -> T:
            task = asyncio.ensure_future(work)
            for _round in range(5000):
                if task.done():
                    break
                await self.clock.advance(0.5)
            assert task.done(), "the download never ended"
            return task.result()

        return asyncio.run(main())

    def expected(self, start: datetime, end: datetime) -> list[datetime]:
        return [at for at in self.tws._minutes() if start <= at <= min(end, self.tws.now - timedelta(minutes=1))]


# ---------------------------------------------------------------------- the whole, whatever a window covers


@pytest.mark.parametrize("end_included", [False, True])
@pytest.mark.parametrize("most_days", [10_000, 3])
def test_minutes_of_six_weeks_are_complete_and_unique(most_days: int, end_included: bool) -> None:
    rig = Rig(Tws(most_days=most_days, end_included=end_included))
    start, end = datetime(2026, 2, 10, 12, tzinfo=NEW_YORK), datetime(2026, 3, 27, 11, tzinfo=NEW_YORK)
    bars = rig.bars(Interval.MINUTE, start, end)
    assert [one.datetime.astimezone(UTC) for one in bars] == rig.expected(start, end)
    assert {one.datetime.tzinfo for one in bars} == {SHANGHAI}
    assert {one.interval for one in bars} == {Interval.MINUTE}


def test_a_long_closure_and_the_first_day_of_all_end_nothing_early() -> None:
    closed = tuple(date(2026, 2, 2) + n * DAY for n in range(19))
    rig = Rig(Tws(skip=closed))
    start, end = datetime(2020, 1, 1, tzinfo=UTC), NOW
    bars = rig.bars(Interval.MINUTE, start, end)
    assert [one.datetime.astimezone(UTC) for one in bars] == rig.expected(start, end)
    assert len(rig.tws.asked) < 40
    assert rig.tws.heads == 1


def test_a_server_that_hides_its_first_day_costs_only_time() -> None:
    rig = Rig(Tws(head=False, since=date(2026, 3, 2)))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    bars = rig.bars(Interval.MINUTE, start)
    assert [one.datetime.astimezone(UTC) for one in bars] == rig.expected(start, NOW)


def test_hours_begin_with_the_session_and_the_running_one_is_left_out() -> None:
    rig = Rig()
    bars = rig.bars(Interval.HOUR, datetime(2026, 3, 31, tzinfo=NEW_YORK))
    texts = [f"{one.datetime.astimezone(NEW_YORK):%d %H:%M}" for one in bars]
    assert texts[:3] == ["31 09:30", "31 10:00", "31 11:00"]
    assert texts[-1] == "01 14:00"
    assert bars[0].volume == 6


def test_an_end_in_the_middle_asks_for_its_hour_whole() -> None:
    rig = Rig()
    bars = rig.bars(
        Interval.HOUR, datetime(2026, 3, 30, tzinfo=NEW_YORK), datetime(2026, 3, 31, 10, 20, tzinfo=NEW_YORK)
    )
    assert f"{bars[-1].datetime.astimezone(NEW_YORK):%d %H:%M}" == "31 10:00"
    assert bars[-1].volume == 12


@pytest.mark.parametrize("zone", [SHANGHAI, NEW_YORK, ZoneInfo("UTC")])
def test_days_are_stamped_with_their_own_midnight_and_are_whole(zone: ZoneInfo) -> None:
    rig = Rig(Tws(since=date(2023, 6, 1), cut_first=True), zone=zone)
    bars = rig.bars(Interval.DAILY, naive("2023-07-03"), naive("2026-03-31"))
    assert [one.datetime for one in bars] == sorted({one.datetime for one in bars})
    assert (bars[0].datetime, bars[-1].datetime) == (
        datetime(2023, 7, 3, tzinfo=zone),
        datetime(2026, 3, 31, tzinfo=zone),
    )
    assert {one.volume for one in bars} == {78}
    assert len(bars) == sum(1 for n in range((date(2026, 3, 31) - date(2023, 7, 3)).days + 1) if _open(2023, 7, 3, n))


def _open(year: int, month: int, day: int, number: int) -> bool:
    return (date(year, month, day) + number * DAY).weekday() < 5


def test_weeks_are_stamped_with_their_monday_and_are_whole() -> None:
    good_friday = date(2025, 4, 18)
    rig = Rig(Tws(since=date(2023, 1, 2), cut_first=True, skip=(good_friday,)))
    bars = rig.bars(Interval.WEEKLY, naive("2023-03-06"), naive("2026-03-23"))
    assert {one.datetime.weekday() for one in bars} == {0}
    assert len(bars) == (date(2026, 3, 23) - date(2023, 3, 6)).days // 7 + 1
    volumes = {f"{one.datetime:%Y-%m-%d}": one.volume for one in bars}
    assert volumes.pop("2025-04-14") == 4 * 78
    assert set(volumes.values()) == {5 * 78}


def test_days_from_before_the_listing_keep_the_first_day() -> None:
    rig = Rig(Tws(since=date(2026, 3, 16), cut_first=False))
    bars = rig.bars(Interval.DAILY, naive("2015-01-01"))
    assert bars[0].datetime == datetime(2026, 3, 16, tzinfo=SHANGHAI)
    assert bars[-1].datetime == datetime(2026, 3, 31, tzinfo=SHANGHAI)
    assert len(bars) == 12


@pytest.mark.parametrize(
    ("now", "closes", "last_day", "last_week"),
    [
        ("2026-04-01 15:59:30", "1600", 31, 23),
        ("2026-04-01 16:00:00", "1600", 1, 23),
        ("2026-04-02 12:59:00", "1300", 1, 23),
        ("2026-04-02 13:00:00", "1300", 2, 23),
        ("2026-04-03 16:00:00", "1600", 3, 30),
        ("2026-04-03 23:59:00", "", 2, 23),
        ("2026-04-04 00:00:00", "", 3, 30),
    ],
)
def test_the_running_day_and_week_are_left_out(now: str, closes: str, last_day: int, last_week: int) -> None:
    at = naive(now).replace(tzinfo=NEW_YORK)
    hours = parse_hours(f"{at:%Y%m%d}:0930-{at:%Y%m%d}:{closes}", NEW_YORK) if closes else Hours()
    rig = Rig(known=replace(instrument(), liquid_hours=hours), now=at)
    assert rig.bars(Interval.DAILY, naive("2026-03-02"))[-1].datetime.day == last_day
    assert rig.bars(Interval.WEEKLY, naive("2026-03-02"))[-1].datetime.day == last_week


# ---------------------------------------------------------------------- times


def test_times_without_a_zone_are_the_databases() -> None:
    rig = Rig()
    bars = rig.bars(Interval.MINUTE, naive("2026-03-31 22:00"), naive("2026-03-31 22:30"))
    assert (bars[0].datetime, bars[-1].datetime) == (
        datetime(2026, 3, 31, 22, 0, tzinfo=SHANGHAI),
        datetime(2026, 3, 31, 22, 30, tzinfo=SHANGHAI),
    )
    assert len(bars) == 7


def test_an_open_end_is_now_and_the_running_minute_is_left_out() -> None:
    rig = Rig()
    bars = rig.bars(Interval.MINUTE, datetime(2026, 4, 1, 15, 0, tzinfo=NEW_YORK))
    assert bars[-1].datetime == datetime(2026, 4, 1, 15, 25, tzinfo=NEW_YORK)
    assert rig.tws.asked[0].end == ""
    assert rig.bars(Interval.MINUTE, NOW + DAY) == []


@pytest.mark.parametrize("text", ["1775050200", "20260401 09:30:00 US/Eastern", "20260401  13:30:00 UTC"])
def test_a_server_may_write_the_time_as_it_likes(text: str) -> None:
    rig = Rig(Tws(fixed=[bar(text)]))
    bars = rig.bars(Interval.MINUTE, datetime(2026, 4, 1, 9, 30, tzinfo=NEW_YORK))
    assert [one.datetime for one in bars] == [datetime(2026, 4, 1, 9, 30, tzinfo=NEW_YORK)]


@pytest.mark.parametrize(("interval", "text"), [(Interval.MINUTE, "noon"), (Interval.DAILY, "1 April")])
def test_a_time_that_nobody_can_read_is_an_error(interval: Interval, text: str) -> None:
    rig = Rig(Tws(fixed=[bar(text)]))
    with pytest.raises(HistoryError, match=text):
        rig.bars(interval, NOW - DAY)


# ---------------------------------------------------------------------- what is shown


def test_what_is_asked_for_follows_the_product() -> None:
    def asked(sec_type: str, interval: Interval = Interval.MINUTE, *, extended: bool = False) -> Asked:
        rig = Rig(known=instrument(sec_type), extended=extended)
        rig.bars(interval, NOW - DAY)
        return rig.tws.asked[0]

    stock = asked("STK")
    assert (stock.show, stock.regular_only, stock.size) == ("TRADES", True, "1 min")
    assert not asked("STK", extended=True).regular_only
    assert asked("STK", Interval.DAILY, extended=True).regular_only
    future = asked("FUT")
    assert (future.show, future.regular_only, future.contract.includeExpired) == ("TRADES", False, True)
    assert not stock.contract.includeExpired
    assert asked("OPT").regular_only
    assert asked("CRYPTO").show == "AGGTRADES"


def test_forex_has_mid_prices_without_volume() -> None:
    mid = bar(str(int(NOW.timestamp()) - 120), close=10.5, volume=-1)
    mid.average = -1
    rig = Rig(Tws(fixed=[mid]), instrument("CASH"))
    (only,) = rig.bars(Interval.MINUTE, NOW - timedelta(minutes=10))
    assert rig.tws.asked[0].show == "MIDPOINT"
    assert (only.volume, only.turnover, only.open_interest) == (0, 0, 0)
    assert (only.open_price, only.high_price, only.low_price, only.close_price) == (10, 11, 9, 10.5)


def test_turnover_is_volume_at_the_average_price_times_the_multiplier() -> None:
    rig = Rig(Tws(fixed=[bar(str(int(NOW.timestamp()) - 120), volume=4)]), known=instrument("FUT", size=50))
    (only,) = rig.bars(Interval.MINUTE, NOW - timedelta(minutes=10))
    assert (only.volume, only.turnover) == (4, 4 * 10.5 * 50)
    assert (only.vt_symbol, only.gateway_name) == ("IBM.SMART", "IBKR")


def test_adjusted_bars_come_in_one_request_that_ends_now() -> None:
    rig = Rig(Tws(since=date(2020, 1, 1)), adjusted=True)
    bars = rig.bars(Interval.DAILY, naive("2022-01-03"), naive("2022-02-01"))
    (asked,) = rig.tws.asked
    assert (asked.show, asked.end, asked.duration) == ("ADJUSTED_LAST", "", "5 Y")
    assert bars[0].datetime == datetime(2022, 1, 3, tzinfo=SHANGHAI)
    assert bars[-1].datetime == datetime(2022, 2, 1, tzinfo=SHANGHAI)


def test_adjusted_bars_that_the_server_cut_short_are_an_error() -> None:
    rig = Rig(Tws(since=date(2020, 1, 1), fixed=[bar("20260301"), bar("20260302")]), adjusted=True)
    with pytest.raises(HistoryError, match="2026-03-01"):
        rig.bars(Interval.DAILY, naive("2022-01-03"))


def test_adjusted_bars_of_a_young_stock_are_whole() -> None:
    rig = Rig(Tws(since=date(2026, 3, 2)), adjusted=True)
    assert len(rig.bars(Interval.DAILY, naive("2022-01-03"))) == 22


# ---------------------------------------------------------------------- refusals


def test_too_soon_waits_and_asks_again() -> None:
    pacing = error_for(162, "API historical data query pacing violation", about="h")
    rig = Rig(Tws(faults=[pacing, pacing]))
    assert len(rig.bars(Interval.MINUTE, datetime(2026, 4, 1, tzinfo=NEW_YORK))) == 72
    assert rig.clock.monotonic() >= PACING_WAITS[0] + PACING_WAITS[1]
    rig = Rig(Tws(faults=[pacing] * 9))
    with pytest.raises(HistoryError, match="pacing"):
        rig.bars(Interval.MINUTE, datetime(2026, 4, 1, tzinfo=NEW_YORK))


def test_no_data_at_all_is_an_empty_list() -> None:
    rig = Rig(Tws(since=date(2026, 3, 30)))
    assert rig.bars(Interval.MINUTE, naive("2026-01-01"), naive("2026-02-01")) == []


@pytest.mark.parametrize(
    "fault",
    [
        error_for(162, "No market data permissions for ISLAND STK", about="h"),
        error_for(200, "No security definition has been found", about="h"),
        error_for(321, "Error validating request", about="h"),
        ConnectionFailed("gone", about="h"),
        TimedOut("no answer", about="h"),
    ],
    ids=lambda fault: f"{type(fault).__name__}{fault.code}",
)
def test_a_window_that_fails_fails_the_whole(fault: BrokerError) -> None:
    rig = Rig(Tws(faults=[fault] * 99, faults_from=1))
    with pytest.raises(HistoryError, match=r"IBM\.SMART") as caught:
        rig.bars(Interval.MINUTE, naive("2026-02-01"))
    assert fault.text in caught.value.text
    assert bool(rig.tws.cancelled) == isinstance(fault, TimedOut)
    # A connection that is away is waited for, but not for ever.
    waited = isinstance(fault, ConnectionFailed | TimedOut)
    assert 55 < rig.clock.monotonic() < 65 if waited else rig.clock.monotonic() < 5


def test_a_connection_that_returns_in_time_costs_nothing() -> None:
    rig = Rig(Tws(faults=[ConnectionFailed("gone", about="h")] * 40, faults_from=3))
    start = datetime(2026, 2, 10, tzinfo=NEW_YORK)
    bars = rig.bars(Interval.MINUTE, start)
    assert [one.datetime.astimezone(UTC) for one in bars] == rig.expected(start, NOW)
    assert len({asked.end for asked in rig.tws.asked}) == len(rig.tws.asked) - 40


def test_what_was_read_is_kept_and_the_next_call_goes_on_from_there() -> None:
    rig = Rig(Tws(faults=[error_for(200, "No security definition", about="h")], faults_from=3))
    start = datetime(2026, 2, 10, tzinfo=NEW_YORK)
    with pytest.raises(HistoryError, match="已保留"):
        rig.bars(Interval.MINUTE, start)
    ends = [asked.end for asked in rig.tws.asked]
    assert len(ends) == 4
    asyncio.run(rig.clock.advance(600))
    later = rig.tws.now = rig.clock.now()
    bars = rig.bars(Interval.MINUTE, start)
    assert [one.datetime.astimezone(UTC) for one in bars] == rig.expected(start, later)
    # The minutes that passed, then on from where it ended.
    again = [asked.end for asked in rig.tws.asked[4:]]
    assert again[:2] == ["", ends[-1]]
    whole = Rig()
    whole.bars(Interval.MINUTE, start)
    assert len(again) == len(whole.tws.asked) - 2
    # Who succeeds leaves nothing.
    del rig.tws.asked[:]
    rig.bars(Interval.MINUTE, start)
    assert len(rig.tws.asked) == len(whole.tws.asked)


def test_parts_of_another_day_or_instrument_are_not_taken() -> None:
    for hours, known in ((24, instrument()), (0, replace(instrument(), contract=Contract(conId=1, secType="STK")))):
        rig = Rig(Tws(faults=[error_for(200, "No security definition", about="h")], faults_from=3))
        start = datetime(2026, 2, 10, tzinfo=NEW_YORK)
        with pytest.raises(HistoryError):
            rig.bars(Interval.MINUTE, start)
        asyncio.run(rig.clock.advance(3600 * hours))
        rig.contracts.instrument = known
        count = len(rig.tws.asked)
        rig.tws.now = rig.clock.now()
        rig.bars(Interval.MINUTE, start)
        whole = Rig(now=rig.clock.now())
        whole.bars(Interval.MINUTE, start)
        assert len(rig.tws.asked) == count + len(whole.tws.asked)


def test_a_long_download_says_how_far_it_is() -> None:
    lines: list[str] = []
    rig = Rig(Tws(most_days=1, since=date(2025, 10, 1)), lines=lines)
    rig.bars(Interval.MINUTE, datetime(2025, 10, 1, tzinfo=NEW_YORK))
    assert rig.clock.monotonic() > 20
    assert len(lines) == int(rig.clock.monotonic() / 10)
    assert "正在下载IBM.SMART的历史数据：已读到" in lines[0]


def test_a_server_that_repeats_itself_for_ever_is_left() -> None:
    rig = Rig(Tws(fixed=[bar("1775050200")], repeats=True))
    with pytest.raises(HistoryError):
        rig.bars(Interval.MINUTE, naive("2026-01-01"))
    assert len(rig.tws.asked) < 10


@pytest.mark.parametrize("price", [float("nan"), float("inf")])
def test_a_price_that_is_no_number_is_an_error(price: float) -> None:
    rig = Rig(Tws(fixed=[bar("1775050200", close=price)]))
    with pytest.raises(HistoryError):
        rig.bars(Interval.MINUTE, NOW - DAY)


@pytest.mark.parametrize("interval", [None, Interval.TICK])
def test_intervals_that_tws_has_not_are_refused_in_words(interval: Interval | None) -> None:
    rig = Rig()
    with pytest.raises(HistoryError, match="1m"):
        rig.bars(interval, NOW - DAY)
    assert not rig.tws.asked


def test_an_unknown_contract_is_an_error_in_words() -> None:
    with pytest.raises(HistoryError, match="找不到合约"):
        Rig(found=False).bars(Interval.MINUTE, NOW - DAY)


def test_a_text_that_is_no_symbol_is_an_error_in_words() -> None:
    rig = Rig()
    request = HistoryRequest(
        symbol="IBM\x00", exchange=Exchange.SMART, start=NOW - DAY, end=None, interval=Interval.MINUTE
    )
    with pytest.raises(HistoryError, match="控制字符"):
        rig.run(rig.history.bars(request))


# ---------------------------------------------------------------------- manners


def test_downloads_together_stay_slow_and_few() -> None:
    rig = Rig()
    request = HistoryRequest(
        symbol="IBM", exchange=Exchange.SMART, start=naive("2026-03-20"), end=None, interval=Interval.MINUTE
    )

    async def together() -> list[BarData]:
        lists = await asyncio.gather(*(rig.history.bars(request) for _ in range(12)))
        return list(itertools.chain.from_iterable(lists))

    rig.run(together())
    assert rig.wire.most_open <= 5
    assert rig.clock.monotonic() >= (len(rig.tws.asked) - 1) / 4


def test_a_download_that_is_given_up_is_cancelled_at_tws() -> None:
    rig = Rig()

    async def never(send: Callable[[int], None], about: str, timeout: float) -> list[Any]:
        send(7)
        await asyncio.Event().wait()
        raise AssertionError

    rig.wire.ask = never  # type: ignore[method-assign]
    request = HistoryRequest(
        symbol="IBM", exchange=Exchange.SMART, start=naive("2026-03-20"), end=None, interval=Interval.MINUTE
    )

    async def main() -> None:
        task = asyncio.ensure_future(rig.history.bars(request))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert rig.tws.cancelled == [7]


# ---------------------------------------------------------------------- over the wire of the simulated TWS


def test_bars_equal_the_recorded_minutes() -> None:
    with data_time(IbRig, datetime(2013, 10, 9, 21, tzinfo=UTC)) as rig:
        day = datetime(2013, 10, 8, tzinfo=UTC)
        bars = download(rig, "IBM.SMART", Interval.MINUTE, day, day + DAY)
        assert by_start(bars) == rows_of("IBM.SMART", "2013-10-08", "13:30", "20:00")
        assert {one.gateway_name for one in bars} == {"IBKR"}


def test_bars_with_pre_and_post_market_where_the_setting_says_so() -> None:
    with data_time(IbRig, datetime(2013, 10, 9, 21, tzinfo=UTC), 盘前盘后="是") as rig:
        day = datetime(2013, 10, 8, tzinfo=UTC)
        bars = download(rig, "IBM.SMART", Interval.MINUTE, day, day + DAY)
        assert by_start(bars) == rows_of("IBM.SMART", "2013-10-08", "08:00", "24:00")


def test_tws_adjusts_for_splits_by_itself() -> None:
    with data_time(IbRig, datetime(2014, 6, 9, 21, tzinfo=UTC)) as rig:
        day = datetime(2014, 6, 6, tzinfo=UTC)
        bars = by_start(download(rig, "AAPL.SMART", Interval.MINUTE, day, day + DAY))
        traded = rows_of("AAPL.SMART", "2014-06-06", "13:30", "20:00")
        assert list(bars) == list(traded)
        assert all(bars[at][3] == pytest.approx(traded[at][3] / 7, abs=0.01) for at in bars)


def test_minutes_hours_days_and_weeks_tell_one_story() -> None:
    with IbRig() as rig:
        rig.connect()
        now = datetime.now(SHANGHAI)
        start = now.replace(hour=0, minute=0, second=0, microsecond=0) - 45 * DAY
        minutes = download(rig, "MSFT.SMART", Interval.MINUTE, start)
        assert [one.datetime for one in minutes] == sorted({one.datetime for one in minutes})

        def sums(bars: Iterable[BarData], key: Callable[[datetime], Any]) -> dict[Any, float]:
            found: dict[Any, float] = {}
            for one in bars:
                at = key(one.datetime.astimezone(NEW_YORK))
                found[at] = found.get(at, 0) + one.volume
            return found

        hours = download(rig, "MSFT.SMART", Interval.HOUR, start)
        days = {one.datetime.date(): one.volume for one in download(rig, "MSFT.SMART", Interval.DAILY, start)}
        weeks = {one.datetime.date(): one.volume for one in download(rig, "MSFT.SMART", Interval.WEEKLY, start)}
        # New York's day of the start and the present one are there in part.
        whole = set(sorted(sums(minutes, datetime.date))[1:]) - {now.astimezone(NEW_YORK).date()}
        assert len(whole) > 25

        def clock_hour(at: datetime) -> datetime:
            return at.replace(minute=0)

        by_hour = sums(minutes, clock_hour)
        assert all(by_hour[at] == volume for at, volume in sums(hours, clock_hour).items() if at.date() in whole)
        by_day = sums(minutes, datetime.date)
        assert all(days[day] == by_day[day] for day in whole)
        full_weeks = [monday for monday in weeks if {monday + n * DAY for n in range(5)} <= whole]
        assert len(full_weeks) > 2
        assert all(weeks[monday] == sum(by_day[monday + n * DAY] for n in range(5)) for monday in full_weeks)


def test_hong_kong_and_forex_over_the_wire() -> None:
    with IbRig() as rig:
        rig.connect()
        start = datetime.now(UTC) - 6 * DAY
        hong_kong = download(rig, "700.SEHK", Interval.MINUTE, start)
        assert hong_kong
        assert {one.symbol for one in hong_kong} <= {"700", "00700"}
        forex = download(rig, "EUR-USD-CASH.IDEALPRO", Interval.HOUR, start)
        assert forex
        assert {one.volume for one in forex} == {0}
        assert download(rig, "00700.SEHK", Interval.DAILY, start)[-1].turnover > 0


def test_a_download_over_faults_is_whole_or_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vnpy_ibkr.history.PACING_WAITS", (0.05, 0.05))
    with IbRig() as rig:
        rig.connect()
        start = datetime.now(UTC) - 30 * DAY
        whole = by_start(download(rig, "IBM.SMART", Interval.MINUTE, start))

        def fault(do: str, nth: int, **more: object) -> None:
            rig.sim.clear_faults()
            when = {"message": "reqHistoricalData", "nth": nth}
            rig.sim.faults([{"broker": "tws", "do": do, "when": when, **more}])

        fault("error", 2, code=162, text="Historical Market Data Service error message:pacing violation")
        assert by_start(download(rig, "IBM.SMART", Interval.MINUTE, start)).items() >= whole.items()
        fault("error", 2, code=162, text="No market data permissions for ISLAND STK", times=9)
        with pytest.raises(HistoryError, match="ISLAND"):
            download(rig, "IBM.SMART", Interval.DAILY, start - 4000 * DAY)
        assert "ISLAND" in rig.wait_log("下载IBM.SMART的历史数据失败")
        fault("drop", 3)
        assert by_start(download(rig, "IBM.SMART", Interval.MINUTE, start)).items() >= whole.items()
        rig.wait_log("已恢复")


def test_a_year_of_minutes_comes_within_the_pacing_rules_over_a_disconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules of section 10, the ones for short bars too: none in ten minutes beyond 60, none twice for nothing."""
    with IbRig() as rig:
        rig.connect()
        start = datetime.now(UTC) - 365 * DAY
        monkeypatch.setattr("vnpy_brokerkit.history.SAY_EVERY", 2.0)
        rig.sim.faults([{"broker": "tws", "do": "drop", "when": {"message": "reqHistoricalData", "nth": 9}}])
        began = monotonic()
        bars = download(rig, "MSFT.SMART", Interval.MINUTE, start)
        seconds = monotonic() - began
        asked = rig.sim.wire()["tws"]
        times = [one.datetime for one in bars]
        assert times == sorted(set(times))
        days = Counter(one.astimezone(NEW_YORK).date() for one in times)
        # The first, the present and the half days hold fewer.
        assert sum(count == 390 for count in days.values()) > 240
        assert bars[0].datetime - start < 5 * DAY
        requests = asked["reqHistoricalData"]
        assert requests < 60
        assert requests / seconds < 3
        assert not asked.get("historicalPacingViolations")
        assert rig.seen.log_lines().count("已恢复：委托、成交、持仓、资金与行情订阅均已核对") == 1
        rig.wait_log("正在下载MSFT.SMART的历史数据：已读到")


def test_what_a_lost_connection_left_is_not_read_again() -> None:
    with IbRig(timing=replace(SHORT_IB, history_most=4)) as rig:
        rig.connect()
        start = datetime.now(UTC) - 120 * DAY
        whole = by_start(download(rig, "MSFT.SMART", Interval.MINUTE, start))
        one = rig.sim.wire()["tws"]["reqHistoricalData"]
        when = {"message": "reqHistoricalData", "nth": 8}
        rig.sim.faults([{"broker": "tws", "do": "refuse", "for_s": 8, "when": when}])
        rig.sim.faults([{"broker": "tws", "do": "drop", "when": when}])
        before = rig.sim.wire()["tws"]["reqHistoricalData"]
        with pytest.raises(HistoryError, match="已保留"):
            download(rig, "MSFT.SMART", Interval.MINUTE, start)
        rig.wait_log("已恢复")
        assert by_start(download(rig, "MSFT.SMART", Interval.MINUTE, start)).items() >= whole.items()
        # Once for the window that was lost, once for the minutes since.
        assert rig.sim.wire()["tws"]["reqHistoricalData"] - before <= one + 2
