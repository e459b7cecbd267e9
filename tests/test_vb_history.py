"""VBrokers' bars: windows and caps, stamps, adjustment, what the broker does not have; the whole or an error."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from vnpy.trader.constant import Exchange, Interval
from vnpy.trader.object import BarData, HistoryRequest

from tests.harness import SHORT, Rig
from tests.history_desk import by_start, data_time, download, rows_of
from vnpy_brokerkit.clock import ManualClock
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, HistoryError, InvalidRequest, PermissionDenied
from vnpy_brokerkit.history import Download, Parts, UnknownInstrument
from vnpy_brokerkit.trading_hours import Region, Segment, is_session, segment
from vnpy_vbrokers.contracts import Contracts
from vnpy_vbrokers.gateway import VbrokersGateway
from vnpy_vbrokers.history import GAP, INTERVAL2CYCLE, MOST_BARS, History
from vnpy_vbrokers.instruments import Instrument
from vnpy_vbrokers.settings import default_setting, read_settings
from vnpy_vbrokers.stamps import Stamps

NEW_YORK, SHANGHAI, UTC = ZoneInfo("America/New_York"), ZoneInfo("Asia/Shanghai"), timezone.utc
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
NOW = datetime(2026, 4, 1, 15, 30, 20, tzinfo=NEW_YORK)
ZONES = {Exchange.SMART: NEW_YORK, Exchange.SEHK: ZoneInfo("Asia/Hong_Kong"), Exchange.SSE: SHANGHAI}
REGIONS = {Exchange.SMART: Region.US, Exchange.SEHK: Region.HK, Exchange.SSE: Region.CONNECT}
STEP = 5
"""Minutes between two bars of the fake: tests stay quick, and the edges of sessions have theirs."""


@cache
def _minutes(exchange: Exchange, day: date, extended: bool) -> list[datetime]:
    """Every fifth minute of a day's sessions, and the last ones."""
    wanted = {Segment.REGULAR} | ({Segment.PRE, Segment.POST} if extended else set())
    begin = datetime.combine(day, time(4), ZONES[exchange])
    every = (begin + n * MINUTE for n in range(20 * 60) if n % STEP == 0 or n % 60 in (29, 59))
    return [at for at in every if segment(REGIONS[exchange], at) in wanted]


def naive(text: str) -> datetime:
    return datetime.fromisoformat(text)


@dataclass
class Gateway:
    """A Gateway with one stock, its sessions by the calendar; ``depth``: it keeps minutes for so many days."""

    now: datetime = NOW
    since: date = date(2025, 6, 2)
    exchange: Exchange = Exchange.SMART
    at_end: bool = True
    extended: bool = False
    depth: int | None = None
    ignores_anchor: bool = False
    calendar_days: bool = False
    """Its limit counts days of the calendar."""
    over_limit: str = "truncate"
    without_timestamp: bool = False
    needs_subscription: bool = False
    faults: list[BrokerError] = field(default_factory=list)
    faults_from: int = 0
    damage: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    subscribed: int = 0

    @property
    def zone(self) -> ZoneInfo:
        return ZONES[self.exchange]

    def starts(self, day: date) -> list[datetime]:
        """The minutes of a day that traded."""
        return [at for at in _minutes(self.exchange, day, self.extended) if at < self.now]

    def days(self) -> list[date]:
        last = self.now.astimezone(self.zone).date()
        span = (self.since + n * DAY for n in range((last - self.since).days + 1))
        return [day for day in span if is_session(REGIONS[self.exchange], day)]

    async def read(self, route: str, params: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        if route == "/hq/Subscribe":
            self.subscribed += 1
            return {"success": True}
        assert route == "/hq/KL"
        self.asked.append(params)
        if self.faults and len(self.asked) > self.faults_from:
            raise self.faults.pop(0)
        if self.needs_subscription and not self.subscribed:
            return {"kline": []}
        anchor = datetime.strptime(str(params["startDate"]), "%Y%m%d").date()  # noqa: DTZ007  a day
        days = [day for day in self.days() if day <= anchor or self.ignores_anchor]
        if params["cycType"] in (2, 3):
            rows = self._dated(days, params["cycType"] == 3)[-params["limit"] :]
        else:
            rows = self._timed(days, anchor, params)
            if len(rows) > MOST_BARS:
                if self.over_limit == "error":
                    raise InvalidRequest("1016 limit", about=route, code="1016")
                rows = rows[-MOST_BARS:]
        if self.damage and rows:
            rows[0].update(self.damage)
        return {"kline": rows}

    def _timed(self, days: list[date], anchor: date, params: dict[str, Any]) -> list[dict[str, Any]]:
        if self.depth:
            days = [day for day in days if day in self.days()[-self.depth :]]
        if self.calendar_days:
            days = [day for day in days if day > anchor - params["limit"] * DAY]
        else:
            days = days[-params["limit"] :]
        length = timedelta(minutes=1 if params["cycType"] == 5 else 60)
        rows = []
        for day in days:
            slots: dict[datetime, list[datetime]] = {}
            for start in self.starts(day):
                slot = start if length == MINUTE else start.replace(minute=0)
                slots.setdefault(slot, []).append(start)
            for slot, starts in slots.items():
                stamp = slot + length if self.at_end else slot
                rows.append(self._row(stamp, len(starts)))
        return rows

    def _dated(self, days: list[date], weekly: bool) -> list[dict[str, Any]]:
        groups: dict[Any, list[date]] = {}
        for day in days:
            groups.setdefault(day.isocalendar()[:2] if weekly else day, []).append(day)
        return [self._row(datetime.combine(group[0], time(), self.zone), len(group)) for group in groups.values()]

    def _row(self, at: datetime, volume: int) -> dict[str, Any]:
        row = {
            "date": f"{at:%Y-%m-%d}",
            "time": f"{at:%H:%M}",
            "timestamp": int(at.timestamp() * 1000),
            "openPrice": 10,
            "highPrice": 11,
            "lowPrice": 9,
            "closePrice": 10.5,
            "volume": volume,
            "turnover": volume * 10,
        }
        if self.without_timestamp:
            del row["timestamp"]
        return row


class FakeContracts:
    def __init__(self, exchange: Exchange, *, found: bool) -> None:
        symbol = {Exchange.SMART: "IBM", Exchange.SEHK: "00700", Exchange.SSE: "600519"}[exchange]
        data_type = {Exchange.SMART: 20000, Exchange.SEHK: 10000, Exchange.SSE: 30000}[exchange]
        self.known = Instrument(symbol, exchange, data_type, Decimal(1), Decimal("0.01")) if found else None

    async def ensure(self, wanted: Iterable[tuple[str, Exchange]]) -> None:
        assert list(wanted)

    def get(self, symbol: str, exchange: Exchange) -> Instrument | None:
        return self.known


class Bench:
    """A History over the fake, on virtual time."""

    def __init__(
        self, gateway: Gateway | None = None, *, zone: ZoneInfo = SHANGHAI, found: bool = True, **setting: str
    ) -> None:
        self.gateway = gateway or Gateway()
        self.clock = ManualClock(self.gateway.now)
        self.lines: list[str] = []
        self.parts = Parts(self.clock)
        self.contracts = FakeContracts(self.gateway.exchange, found=found)
        outlet = SimpleNamespace(clock=self.clock, zone=zone, gateway_name="VBROKERS", log=self.lines.append)
        settings = read_settings({**default_setting(), "环境": "测试环境", **setting}, {})
        self.history = History(
            cast(VbrokersGateway, outlet), settings, self.gateway.read, cast(Contracts, self.contracts)
        )

    def bars(self, interval: Interval | None, start: datetime, end: datetime | None = None) -> list[BarData]:
        known = self.contracts.known
        symbol = known.symbol if known else "NOSUCH"
        self.gateway.now = self.clock.now()
        request = HistoryRequest(symbol, self.gateway.exchange, start, end, interval)
        download = Download(request, self.parts, self.clock, self.lines.append)

        async def main() -> list[BarData]:
            task = asyncio.ensure_future(download.run(self.history.bars))
            for _round in range(2000):
                if task.done():
                    break
                await self.clock.advance(0.5)
            assert task.done(), "the download never ended"
            return task.result()

        return asyncio.run(main())

    def starts(self, first: datetime, last: datetime) -> list[datetime]:
        """The whole minutes from ``first`` to ``last``."""
        days = (day for day in self.gateway.days() if (first - DAY).date() <= day <= (last + DAY).date())
        every = (at for day in days for at in self.gateway.starts(day))
        return [at for at in every if first <= at <= last and at + MINUTE <= self.gateway.now]


def moments(bars: Iterable[BarData], zone: ZoneInfo = NEW_YORK) -> list[str]:
    return [f"{bar.datetime.astimezone(zone):%m-%d %H:%M}" for bar in bars]


# ---------------------------------------------------------------------- the whole, whatever a window covers


@pytest.mark.parametrize("exchange", list(ZONES))
@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("calendar_days", [True, False])
def test_minutes_are_complete_unique_and_stamped_with_their_start(
    exchange: Exchange, at_end: bool, calendar_days: bool
) -> None:
    bench = Bench(Gateway(exchange=exchange, at_end=at_end, calendar_days=calendar_days))
    zone = ZONES[exchange]
    first, last = datetime(2026, 2, 10, 11, tzinfo=zone), datetime(2026, 3, 26, 11, tzinfo=zone)
    bars = bench.bars(Interval.MINUTE, first, last)
    assert [bar.datetime for bar in bars] == bench.starts(first, last)
    assert {bar.datetime.tzinfo for bar in bars} == {SHANGHAI}
    assert {(bar.interval, bar.gateway_name) for bar in bars} == {(Interval.MINUTE, "VBROKERS")}
    caps = {Exchange.SMART: 3, Exchange.SEHK: 4, Exchange.SSE: 6}
    assert max(asked["limit"] for asked in bench.gateway.asked) == caps[exchange]
    assert not bench.lines


def test_an_open_end_is_now_and_the_running_minute_is_left_out() -> None:
    for at_end in (True, False):
        bench = Bench(Gateway(now=NOW.replace(minute=31, second=10), at_end=at_end))
        bars = bench.bars(Interval.MINUTE, datetime(2026, 3, 31, tzinfo=NEW_YORK))
        assert moments(bars)[-1] == "04-01 15:30"
        assert bench.bars(Interval.MINUTE, NOW + DAY) == []


def test_times_without_a_zone_are_the_databases() -> None:
    bars = Bench().bars(Interval.MINUTE, naive("2026-03-31 22:00"), naive("2026-03-31 22:30"))
    assert (bars[0].datetime, bars[-1].datetime) == (
        datetime(2026, 3, 31, 22, 0, tzinfo=SHANGHAI),
        datetime(2026, 3, 31, 22, 30, tzinfo=SHANGHAI),
    )
    assert len(bars) == 8


def test_half_days_are_whole() -> None:
    # The day after Thanksgiving ends at 13:00.
    bench = Bench()
    for extended in (False, True):
        bench.gateway.extended = extended
        bars = bench.bars(
            Interval.MINUTE, datetime(2025, 11, 26, tzinfo=NEW_YORK), datetime(2025, 11, 29, tzinfo=NEW_YORK)
        )
        texts = moments(bars)
        assert texts[0] == "11-26 09:30"
        assert "11-26 15:59" in texts
        assert texts[-1] == "11-28 12:59"


def test_hours_begin_with_the_session() -> None:
    for at_end in (True, False):
        bench = Bench(Gateway(at_end=at_end))
        bars = bench.bars(Interval.HOUR, datetime(2026, 3, 30, tzinfo=NEW_YORK))
        texts = moments(bars)
        assert texts[:3] == ["03-30 09:30", "03-30 10:00", "03-30 11:00"]
        assert texts[-1] == "04-01 14:00"
        assert len(texts) == 7 + 7 + 6
    hong_kong = Bench(Gateway(exchange=Exchange.SEHK))
    bars = hong_kong.bars(Interval.HOUR, datetime(2026, 3, 31, tzinfo=SHANGHAI), datetime(2026, 4, 1, tzinfo=SHANGHAI))
    assert [text[6:] for text in moments(bars, SHANGHAI)] == ["09:30", "10:00", "11:00", "13:00", "14:00", "15:00"]


def test_a_year_of_hours_comes_in_windows() -> None:
    bench = Bench()
    start = datetime(2025, 6, 16, tzinfo=NEW_YORK)
    bars = bench.bars(Interval.HOUR, start)
    days = [day for day in bench.gateway.days() if day >= start.date()]
    half_days = {date(2025, 7, 3), date(2025, 11, 28), date(2025, 12, 24)}
    assert len(bars) == 7 * len(days) - 3 * len(half_days) - 1
    assert len(bench.gateway.asked) == 4


@pytest.mark.parametrize("zone", [SHANGHAI, NEW_YORK, ZoneInfo("UTC")])
def test_days_and_weeks_have_the_exchanges_date_in_the_databases_zone(zone: ZoneInfo) -> None:
    bench = Bench(zone=zone)
    bars = bench.bars(Interval.DAILY, naive("2025-07-01"), naive("2026-03-31"))
    assert [bar.datetime for bar in bars] == [
        datetime.combine(day, time(), zone)
        for day in bench.gateway.days()
        if date(2025, 7, 1) <= day <= date(2026, 3, 31)
    ]
    weeks = bench.bars(Interval.WEEKLY, naive("2025-07-01"), naive("2026-03-11"))
    assert weeks[0].datetime == datetime(2025, 7, 7, tzinfo=zone)
    assert weeks[-1].datetime == datetime(2026, 3, 9, tzinfo=zone)
    assert len(weeks) == 36
    # Good Friday's week is shorter; a week that ends after the end is whole all the same.
    assert [bar.volume for bar in weeks[-2:]] == [5, 5]


@pytest.mark.parametrize(
    ("now", "last_day", "last_week"),
    [
        ("2026-04-01 15:59:30", 31, 23),
        ("2026-04-01 16:00:30", 1, 23),
        ("2026-04-02 08:00:00", 1, 23),
        ("2026-04-03 23:00:00", 2, 23),
        ("2026-04-04 00:00:01", 2, 30),
        ("2026-04-10 15:00:00", 9, 30),
        ("2026-04-10 16:01:00", 10, 6),
    ],
)
def test_the_running_day_and_week_are_left_out(now: str, last_day: int, last_week: int) -> None:
    bench = Bench(Gateway(now=naive(now).replace(tzinfo=NEW_YORK)))
    assert bench.bars(Interval.DAILY, naive("2026-03-02"))[-1].datetime.day == last_day
    assert bench.bars(Interval.WEEKLY, naive("2026-03-02"))[-1].datetime.day == last_week


def test_more_days_than_one_answer_holds() -> None:
    bench = Bench(Gateway(since=date(2018, 1, 2)))
    bars = bench.bars(Interval.DAILY, naive("2018-01-01"), naive("2026-03-31"))
    assert [bar.datetime.date() for bar in bars] == [day for day in bench.gateway.days() if day < NOW.date()]
    assert max(asked["limit"] for asked in bench.gateway.asked) == MOST_BARS
    assert len(bench.gateway.asked) < 5


# ---------------------------------------------------------------------- pre and post market


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("over_limit", ["truncate", "error"])
def test_pre_and_post_market_by_setting(at_end: bool, over_limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every fifth minute is a fifth of the bars, so the limit is a fifth, too.
    monkeypatch.setattr("vnpy_vbrokers.history.MOST_BARS", 250)
    monkeypatch.setattr("tests.test_vb_history.MOST_BARS", 250)
    monkeypatch.setattr("vnpy_vbrokers.history.REGION2MINUTES", dict.fromkeys(Region, 78))
    monkeypatch.setattr("vnpy_vbrokers.history.ALL_DAY", 200)
    first, last = datetime(2026, 3, 16, tzinfo=NEW_YORK), datetime(2026, 3, 28, tzinfo=NEW_YORK)
    for setting in ("否", "是"):
        bench = Bench(Gateway(extended=True, at_end=at_end, over_limit=over_limit), 盘前盘后=setting)
        bars = bench.bars(Interval.MINUTE, first, last)
        expected = bench.starts(first, last)
        if setting == "否":
            expected = [at for at in expected if segment(Region.US, at) is Segment.REGULAR]
        assert [bar.datetime for bar in bars] == expected
        assert bench.gateway.asked[-1]["limit"] == 1


# ---------------------------------------------------------------------- what the broker does not have


@pytest.mark.parametrize("ignores_anchor", [False, True])
def test_shallow_minutes_are_said_in_words(ignores_anchor: bool) -> None:
    bench = Bench(Gateway(depth=6, ignores_anchor=ignores_anchor))
    first = datetime(2026, 3, 2, tzinfo=NEW_YORK)
    bars = bench.bars(Interval.MINUTE, first)
    begin = datetime(2026, 3, 30 if ignores_anchor else 25, tzinfo=NEW_YORK)
    assert [bar.datetime for bar in bars] == bench.starts(begin, NOW)
    (line,) = bench.lines
    assert f"没有IBM.SMART在{begin:%Y-%m-%d}之前的K线（1m）" in line
    assert len(bench.gateway.asked) <= 3 + GAP / DAY


def test_what_lies_before_the_depth_is_nothing_and_a_line() -> None:
    bench = Bench(Gateway(depth=6))
    first = datetime(2026, 1, 5, tzinfo=NEW_YORK)
    assert bench.bars(Interval.MINUTE, first, first + 5 * DAY) == []
    assert "没有IBM.SMART在所求时间内的K线（1m" in bench.lines[0]
    # Nobody traded on a weekend: nothing is missing.
    saturday = datetime(2026, 3, 28, tzinfo=NEW_YORK)
    assert bench.bars(Interval.MINUTE, saturday, saturday + DAY) == []
    assert len(bench.lines) == 1


def test_days_before_the_listing_are_said() -> None:
    bench = Bench()
    bars = bench.bars(Interval.DAILY, naive("2024-01-01"))
    assert bars[0].datetime.date() == date(2025, 6, 2)
    assert "2025-06-02之前的K线（d）" in bench.lines[0]


def test_a_pull_that_needs_a_subscription_gets_one() -> None:
    bench = Bench(Gateway(needs_subscription=True))
    assert bench.bars(Interval.DAILY, naive("2026-03-02"))
    assert bench.gateway.subscribed == 1


# ---------------------------------------------------------------------- stamps


def test_stamps_without_evidence_are_ends_and_one_instrument_tells_for_all() -> None:
    stamps = Stamps()
    assert stamps.are_ends
    quiet = [datetime(2026, 3, 10, 11, 7, tzinfo=NEW_YORK)]
    stamps.learn(Region.US, quiet)
    assert stamps.are_ends
    stamps.learn(Region.US, [datetime(2026, 3, 10, 9, 30, tzinfo=NEW_YORK), *quiet])
    assert not stamps.are_ends
    # Both edges: an odd print proves nothing.
    for hour, minute in ((9, 30), (16, 0)):
        quiet.append(datetime(2026, 3, 10, hour, minute, tzinfo=NEW_YORK))
    stamps.learn(Region.US, quiet)
    assert not stamps.are_ends


def test_a_row_without_timestamp_is_read_in_the_exchanges_time() -> None:
    bench = Bench(Gateway(without_timestamp=True))
    first, last = datetime(2026, 3, 30, tzinfo=NEW_YORK), datetime(2026, 3, 31, tzinfo=NEW_YORK)
    assert [bar.datetime for bar in bench.bars(Interval.MINUTE, first, last)] == bench.starts(first, last)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize("damage", [{"openPrice": "x"}, {"lowPrice": -1}, {"timestamp": 0, "date": "", "time": ""}])
@pytest.mark.parametrize("interval", [Interval.MINUTE, Interval.DAILY])
def test_a_damaged_row_fails_the_whole(damage: dict[str, Any], interval: Interval) -> None:
    with pytest.raises(HistoryError, match=r"IBM\.SMART"):
        Bench(Gateway(damage=damage)).bars(interval, naive("2026-03-02"))


def test_a_minute_without_a_trade_is_left_out() -> None:
    nothing = {"openPrice": 0, "highPrice": 0, "lowPrice": 0, "closePrice": 0, "volume": 0}
    first = datetime(2026, 3, 31, tzinfo=NEW_YORK)
    bars = Bench(Gateway(damage=nothing)).bars(Interval.MINUTE, first, first + DAY)
    assert len(bars) == len(Bench().bars(Interval.MINUTE, first, first + DAY)) - 1


@pytest.mark.parametrize("fault", [PermissionDenied("1006 no right", about="h"), ConnectionFailed("gone", about="h")])
def test_a_window_that_fails_fails_the_whole_and_its_parts_are_kept(fault: BrokerError) -> None:
    bench = Bench(Gateway(faults=[fault] * 70, faults_from=4))
    first = datetime(2026, 2, 2, tzinfo=NEW_YORK)
    with pytest.raises(HistoryError, match="已保留") as caught:
        bench.bars(Interval.MINUTE, first)
    assert fault.text in caught.value.text
    assert "IBM.SMART" in str(caught.value)
    waited = isinstance(fault, ConnectionFailed)
    assert 50 < bench.clock.monotonic() < 65 if waited else bench.clock.monotonic() < 5
    bench.gateway.faults.clear()
    count = len(bench.gateway.asked)
    assert [bar.datetime for bar in bench.bars(Interval.MINUTE, first)] == bench.starts(first, bench.clock.now())
    whole = Bench()
    whole.bars(Interval.MINUTE, first)
    # Today's window, and on from where it ended.
    assert len(bench.gateway.asked) - count == len(whole.gateway.asked) - 4 + 1


def test_prices_as_traded_and_adjusted_ones_are_never_mixed() -> None:
    bench = Bench(Gateway(faults=[PermissionDenied("no", about="h")] * 2, faults_from=2))
    with pytest.raises(HistoryError):
        bench.bars(Interval.MINUTE, naive("2026-03-02"))
    adjusted = Bench(bench.gateway, K线复权="前复权")
    adjusted.parts = bench.parts
    count = len(bench.gateway.asked)
    adjusted.bars(Interval.MINUTE, naive("2026-03-02"))
    whole = Bench()
    whole.bars(Interval.MINUTE, naive("2026-03-02"))
    assert len(bench.gateway.asked) - count == len(whole.gateway.asked)
    assert {asked["exRightFlag"] for asked in bench.gateway.asked[count:]} == {1}
    assert {asked["exRightFlag"] for asked in whole.gateway.asked} == {0}


@pytest.mark.parametrize("interval", [None, Interval.TICK])
def test_other_intervals_are_refused_in_words(interval: Interval | None) -> None:
    with pytest.raises(HistoryError, match="1m"):
        Bench().bars(interval, NOW - DAY)


def test_an_unknown_instrument_is_an_error_in_words() -> None:
    with pytest.raises(UnknownInstrument, match="找不到合约"):
        Bench(found=False).bars(Interval.MINUTE, NOW - DAY)


def test_windows_stay_below_the_documented_caps() -> None:
    assert {interval: cycle.most for interval, cycle in INTERVAL2CYCLE.items()} == {
        Interval.MINUTE: 6,
        Interval.HOUR: 60,
        Interval.DAILY: 1500,
        Interval.WEEKLY: 1500,
    }


# ---------------------------------------------------------------------- over the wire of the simulated Gateway


@pytest.mark.parametrize("stamp", ["end", "start"])
def test_bars_equal_the_recorded_minutes(stamp: str) -> None:
    with data_time(Rig, datetime(2013, 10, 9, 21, tzinfo=UTC)) as rig:
        rig.sim.switches(kl_minute_stamp=stamp)
        day = datetime(2013, 10, 8, tzinfo=UTC)
        bars = download(rig, "IBM.SMART", Interval.MINUTE, day, day + DAY)
        assert by_start(bars) == rows_of("IBM.SMART", "2013-10-08", "13:30", "20:00")
        assert {one.gateway_name for one in bars} == {"VBROKERS"}
        assert rig.contract("IBM.SMART").history_data


@pytest.mark.parametrize(("setting", "first", "last"), [("是", "00:00", "24:00"), ("否", "13:30", "20:00")])
def test_minutes_outside_the_regular_session_by_setting(setting: str, first: str, last: str) -> None:
    """Where the Gateway gives them: the protocol has no way to ask for them."""
    with data_time(Rig, datetime(2013, 10, 9, 21, tzinfo=UTC), 盘前盘后=setting) as rig:
        rig.sim.switches(kl_extended_hours=True)
        begin = datetime(2013, 10, 8, 4, tzinfo=UTC)  # midnight in New York
        bars = by_start(download(rig, "AIG.SMART", Interval.MINUTE, begin, begin + DAY))
        recorded = rows_of("AIG.SMART", "2013-10-08", "04:00", "24:00") | rows_of(
            "AIG.SMART", "2013-10-09", "00:00", "04:00"
        )
        assert bars == {at: row for at, row in recorded.items() if first <= f"{at:%H:%M}" < last}
        assert (len(bars) > 390) is (setting == "是")


def test_the_split_of_apple() -> None:
    """7 for 1 on 2014-06-09; the data file has prices as traded."""
    evening = datetime(2014, 6, 9, 21, tzinfo=UTC)
    start = datetime(2014, 6, 5, tzinfo=UTC)
    traded = {day: rows_of("AAPL.SMART", day, "13:30", "20:00") for day in ("2014-06-05", "2014-06-06", "2014-06-09")}
    every = traded["2014-06-05"] | traded["2014-06-06"] | traded["2014-06-09"]
    with data_time(Rig, evening, K线复权="不复权") as rig:
        assert by_start(download(rig, "AAPL.SMART", Interval.MINUTE, start)) == every
        days = {bar.datetime.date(): bar for bar in download(rig, "AAPL.SMART", Interval.DAILY, start)}
        before, after = days[date(2014, 6, 6)], days[date(2014, 6, 9)]
        assert before.close_price > 600
        assert after.close_price < 100
    with data_time(Rig, evening, K线复权="前复权") as rig:
        adjusted = by_start(download(rig, "AAPL.SMART", Interval.MINUTE, start))
        assert list(adjusted) == sorted(every)
        for at, values in adjusted.items():
            by = 1 if at.date() == date(2014, 6, 9) else 7
            assert values[3] == pytest.approx(every[at][3] / by, abs=0.01)
            assert values[4] == pytest.approx(every[at][4] * by)
        days = {bar.datetime.date(): bar for bar in download(rig, "AAPL.SMART", Interval.DAILY, start)}
        assert days[date(2014, 6, 6)].close_price == pytest.approx(before.close_price / 7, abs=0.01)
        assert days[date(2014, 6, 9)].close_price == after.close_price


def test_hong_kong_minutes_days_and_hours_tell_one_story() -> None:
    hong_kong = ZoneInfo("Asia/Hong_Kong")
    with data_time(Rig, datetime(2022, 4, 13, 9, tzinfo=UTC)) as rig:
        start = datetime(2022, 4, 11, tzinfo=hong_kong)
        minutes = download(rig, "9988.SEHK", Interval.MINUTE, start)
        hours = download(rig, "09988.SEHK", Interval.HOUR, start)
        days = download(rig, "09988.HK.SEHK", Interval.DAILY, start)
        assert [bar.datetime.date().day for bar in days] == [11, 12, 13]
        assert len({bar.datetime for bar in minutes}) == len(minutes) == 993
        for day in days:
            of_day = [bar for bar in minutes if bar.datetime.date() == day.datetime.date()]
            assert sum(bar.volume for bar in of_day) == day.volume
            assert max(bar.high_price for bar in of_day) == day.high_price
            assert sum(bar.volume for bar in hours if bar.datetime.date() == day.datetime.date()) == day.volume
            assert of_day[-1].close_price == day.close_price
        assert {f"{bar.datetime.astimezone(hong_kong):%H:%M}" for bar in hours} >= {"09:30", "10:00", "13:00", "15:00"}


def test_a_download_over_faults_is_whole_or_raises() -> None:
    with Rig(timing=replace(SHORT, history_most=10)) as rig:
        rig.connect()
        start = datetime.now(UTC) - 30 * DAY
        whole = by_start(download(rig, "00700.SEHK", Interval.MINUTE, start))
        assert len(whole) > 3000

        def fault(do: str, nth: int, **more: object) -> None:
            rig.sim.clear_faults()
            rig.sim.faults([{"broker": "vbrokers", "do": do, "when": {"message": "/hq/KL", "nth": nth}, **more}])

        def asked() -> int:
            return rig.sim.wire()["vbrokers"].get("/hq/KL", 0)

        one = asked()
        for do, more in (("drop", {}), ("http_status", {"code": 500}), ("garbage", {}), ("lose_reply", {})):
            fault(do, 3, **more)
            assert by_start(download(rig, "00700.SEHK", Interval.MINUTE, start)).items() >= whole.items(), do
        fault("error", 4, code="1006", text="no right", times=99)
        with pytest.raises(HistoryError, match="no right"):
            download(rig, "00700.SEHK", Interval.MINUTE, start)
        assert "已保留" in rig.wait_log("下载00700.SEHK的历史数据失败")
        rig.sim.clear_faults()
        before = asked()
        assert by_start(download(rig, "00700.SEHK", Interval.MINUTE, start)).items() >= whole.items()
        assert asked() - before <= one - 2


def test_a_gateway_that_stays_away_is_given_up_and_what_came_is_kept() -> None:
    with Rig(timing=replace(SHORT, history_most=1.5)) as rig:
        rig.connect()
        start = datetime.now(UTC) - 30 * DAY
        rig.sim.faults(
            [
                {"broker": "vbrokers", "do": "refuse", "for_s": 60, "when": {"message": "/hq/KL", "nth": 4}},
                {"broker": "vbrokers", "do": "drop", "when": {"message": "/hq/KL", "nth": 4}, "times": 99},
            ]
        )
        with pytest.raises(HistoryError, match="已保留"):
            download(rig, "00700.SEHK", Interval.MINUTE, start)


def test_unconnected_is_an_error_and_a_line() -> None:
    with Rig() as rig:
        with pytest.raises(HistoryError, match="请先连接VBROKERS"):
            download(rig, "IBM.SMART", Interval.MINUTE, datetime.now(UTC) - DAY)
        rig.wait_log("下载IBM.SMART的历史数据失败")
