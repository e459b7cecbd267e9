"""Bars: the whole of what the broker has, or an error; never a part (reference "vbrokers-openapi", section 6.3).

KL is asked backwards from a day: ``limit`` counts bars for days and weeks, and days for minutes and hours. No answer
may hold more than 1500 bars, and what happens to longer ones is not documented, so windows stay below. Two things the
reference leaves open are read from the answers: whether a minute is stamped with its start or its end, and how many
bars a day has (pre and post market may be among them, for the call knows no segment).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, timezone
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Exchange, Interval
from vnpy.trader.object import BarData, HistoryRequest

from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, HistoryError, ProtocolError, TimedOut
from vnpy_brokerkit.history import (
    Asked,
    Bar,
    Download,
    Key,
    Part,
    UnknownInstrument,
    bar_data,
    current,
    interval_name,
)
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.pacing import Throttle
from vnpy_brokerkit.symbols import SymbolError, canonical
from vnpy_brokerkit.trading_hours import Region, Segment, is_session, next_open, segment
from vnpy_brokerkit.waiting import within

from .contracts import SUBSCRIBE, TOPIC_QUOTE, Contracts
from .instruments import Instrument
from .settings import Settings
from .spelling import EXCHANGE2MARKET
from .stamps import Stamps
from .wire import values
from .wire.schema import KlineRow, parse_kline

BARS = "/hq/KL"
BACK = 0
AS_TRADED, FORWARD = 0, 1
MOST_BARS = 1500
RATE = 5
"""Requests a second; the broker publishes no limit (section 14)."""
DAY = timedelta(days=1)
GAP = timedelta(days=14)
"""No market is closed for longer: when that much time holds no bar, the broker has nothing earlier."""
REGION2MINUTES: Mapping[Region, int] = {Region.US: 390, Region.HK: 342, Region.CONNECT: 242}
"""Minute bars of a regular day, auctions among them (section 16)."""
ALL_DAY = 24 * 60
OPENS = time(9, 30)
"""Regular trading begins at this local time in all of the broker's markets (section 16)."""
OPEN = frozenset({Segment.REGULAR, Segment.AUCTION})
MOMENT = timedelta(microseconds=1)
MOST_DAYS_LOOKED_AT = 30
"""Among so many days there is a trading day."""


@dataclass(frozen=True)
class Cycle:
    """How bars of one interval are asked for; ``most`` is KL's largest limit: days of minutes and hours, else bars."""

    code: int
    length: timedelta
    most: int
    dated: bool = False


INTERVAL2CYCLE: Mapping[Interval, Cycle] = {
    Interval.MINUTE: Cycle(5, timedelta(minutes=1), 6),
    Interval.HOUR: Cycle(9, timedelta(hours=1), 60),
    Interval.DAILY: Cycle(2, DAY, MOST_BARS, dated=True),
    Interval.WEEKLY: Cycle(3, timedelta(days=7), MOST_BARS, dated=True),
}


@dataclass(frozen=True)
class _Query:
    """What stays the same from window to window."""

    instrument: Instrument
    cycle: Cycle
    adjusted: bool
    asked: Asked
    vnpy_zone: ZoneInfo

    @property
    def region(self) -> Region:
        return self.instrument.market.region

    @property
    def zone(self) -> ZoneInfo:
        """The exchange's."""
        return ZoneInfo(self.instrument.market.zone)

    @property
    def key(self) -> Key:
        """Adjusted prices change with the day; prices as traded do not."""
        day = self.today if self.adjusted else None
        return (self.instrument.vt_symbol, self.cycle.code, self.adjusted, day)

    @property
    def today(self) -> date:
        return self.asked.now.astimezone(self.zone).date()

    @property
    def whole_before(self) -> datetime:
        """Where the bars begin that may still be running, whatever their stamps stand for."""
        if not self.cycle.dated:
            return (self.asked.now - 2 * self.cycle.length).astimezone(self.zone)
        return self.midnight(self.first_of(self.today))

    def midnight(self, day: date) -> datetime:
        """The beginning of an exchange's day: what parts are measured in."""
        return datetime.combine(day, time(), self.zone)

    def day(self, bar: Bar) -> date:
        """The exchange's day of a bar, or its week's Monday."""
        return self.first_of(bar.stamp.astimezone(self.zone).date())

    def day_of(self, at: datetime) -> date:
        """The exchange's day of a request's time; a day's bar is stamped with its date in vn.py's zone."""
        return at.astimezone(self.vnpy_zone if self.cycle.dated else self.zone).date()

    def first_of(self, day: date) -> date:
        """The day itself, or its week's Monday."""
        return day - timedelta(days=day.weekday()) if self.cycle.length > DAY else day


class History:
    """Downloads bars over one connection. Lives in the gateway's loop thread."""

    def __init__(
        self,
        gateway: AsyncGateway,
        settings: Settings,
        read: Callable[[str, dict[str, Any]], Awaitable[Any]],
        contracts: Contracts,
    ) -> None:
        self._clock = gateway.clock
        self._zone = gateway.zone
        self._gateway_name = gateway.gateway_name
        self._log = gateway.log
        self._adjusted = settings.forward_adjusted
        # The simulator gives regular bars alone, and its market is open at any hour.
        self._extended = settings.extended or settings.embedded
        self._read = read
        self._contracts = contracts
        self._throttle = Throttle(RATE, gateway.clock)
        self._crowded: set[tuple[Region, int]] = set()
        """Markets and cycles whose days turned out to be fuller than expected."""
        self._stamps = Stamps()

    async def bars(self, request: HistoryRequest) -> list[BarData]:
        """Return the bars that start from ``start`` to ``end``, both included, oldest first.

        Times without a zone are in vn.py's database zone, and so are the bars'. A daily bar is stamped with midnight
        of its trading day, a weekly one with its Monday's. Only whole bars: the minute, hour, day or week that is
        running is left out. Prices as traded, or forward adjusted where K线复权 says so. Without data the list is
        empty. The broker keeps minutes for some days only: what there is comes, and a line says where it begins.
        Raises :class:`HistoryError` when the whole of that cannot be had; what was read is kept for the next call.
        """
        cycle = INTERVAL2CYCLE.get(request.interval) if request.interval else None
        if cycle is None:
            text = _("VBROKERS没有周期为{}的K线；可用1m、1h、d、w").format(interval_name(request))
            raise HistoryError(text, about=request.vt_symbol)
        asked = Asked.of(request, self._clock, self._zone)
        if asked.start > asked.end:
            return []
        download = current(request, self._clock, self._log)
        try:
            instrument = await download.hold_out(partial(self._instrument, request.symbol, request.exchange))
        except BrokerError as error:
            raise download.failure(error) from None
        query = _Query(instrument, cycle, self._adjusted, asked, self._zone)
        with download.part(query.key) as part:
            reached = await self._walk(query, part, download)
        chosen = bar_data(self._finished(part.bars.values(), query), asked, request, self._gateway_name)
        if reached:
            self._say_shallow(query, request, reached, len(chosen))
        return chosen

    async def _instrument(self, symbol: str, exchange: Exchange) -> Instrument:
        try:
            key = canonical(symbol, exchange)
        except SymbolError as error:
            raise UnknownInstrument(str(error)) from None
        if key[1] in EXCHANGE2MARKET:
            await self._contracts.ensure([key])
        instrument = self._contracts.get(*key)
        if instrument is None:
            raise UnknownInstrument(_("找不到合约，请检查代码和交易所"))
        return instrument

    # ------------------------------------------------------------------ windows

    async def _walk(self, query: _Query, part: Part, download: Download) -> date | None:
        """Read window before window until the part holds everything from the first day on.

        Returns the day at which the broker's bars begin where that is later, ``date.max`` where it has none at all.
        """
        span = 7 * DAY if query.cycle.length > DAY else DAY
        first = query.midnight(query.first_of(query.day_of(query.asked.start)))
        last = query.first_of(min(query.day_of(query.asked.end), query.today))
        reached = until = part.below(query.midnight(last) + span)
        has_subscribed = False
        while until > first:
            limit = self._limit(query, (until - first) / span)
            day = min((until - DAY / 2).date(), query.today)
            rows = await self._window(query, day, limit, download)
            if rows is None:
                continue
            bars = [bar for bar in self._read_rows(rows, query) if query.day(bar) < until.date()]
            if bars:
                reached = query.midnight(min(query.day(bar) for bar in bars))
                part.add(bars, reached, min(until, query.whole_before))
                download.came(part, reached)
                reached = until = part.below(reached)
            elif not part.bars and not has_subscribed:
                # Whether bars may be pulled without a subscription is not settled (section 6).
                await self._subscribe(query.instrument)
                has_subscribed = True
            elif query.cycle.dated or reached - until >= GAP:
                break
            else:
                until -= limit * DAY
        if reached <= first:
            return None
        return reached.date() if part.bars else date.max

    def _limit(self, query: _Query, wanted: float) -> int:
        """How much to ask for at once: bars for days and weeks, days for the others (section 6.3)."""
        cycle = query.cycle
        if cycle.dated:
            return min(cycle.most, math.ceil(wanted) + 1)
        if (query.region, cycle.code) in self._crowded:
            return 1
        minutes = ALL_DAY if self._extended and query.region is Region.US else REGION2MINUTES[query.region]
        a_day = minutes / (cycle.length / timedelta(minutes=1))
        return max(1, min(cycle.most, int(MOST_BARS / (a_day + 1)), math.ceil(wanted)))

    async def _window(self, query: _Query, day: date, limit: int, download: Download) -> Sequence[KlineRow] | None:
        """Ask for one window that ends with ``day``; None where it must be asked for in smaller ones."""
        crowded = (query.region, query.cycle.code)
        try:
            rows = await download.hold_out(partial(self._ask, query, day, limit, download))
        except (ConnectionFailed, TimedOut):
            raise
        except BrokerError:
            if query.cycle.dated or limit == 1:
                raise
            # Perhaps because there would be too many: what the broker says to that is not known.
            rows = await download.hold_out(partial(self._ask, query, day, 1, download))
            self._crowded.add(crowded)
            return rows
        if not query.cycle.dated and limit > 1 and len(rows) >= MOST_BARS:
            self._crowded.add(crowded)
            return None
        return rows

    async def _ask(self, query: _Query, day: date, limit: int, download: Download) -> Sequence[KlineRow]:
        """One request. Raises :class:`BrokerError`, also where a row cannot be read: a part is no answer."""
        left = download.left()
        download.rest()
        await self._throttle.turn()
        download.wake(left)
        params = {
            "security": query.instrument.security,
            "startDate": int(f"{day:%Y%m%d}"),
            "direction": BACK,
            "exRightFlag": FORWARD if query.adjusted else AS_TRADED,
            "cycType": query.cycle.code,
            "limit": limit,
        }

        async def answer() -> Any:
            return await self._read(BARS, params)

        try:
            reply = parse_kline(await within(max(download.left(), 0.1), answer()))
        except asyncio.TimeoutError:
            raise TimedOut(_("没有应答"), about=BARS) from None
        if not reply.complete:
            problem = reply.problems[0] if reply.problems else ""
            raise ProtocolError(_("K线数据有误：{}").format(problem), about=BARS)
        return reply.rows

    async def _subscribe(self, instrument: Instrument) -> None:
        """The subscription stays: it may be shared with the quotes of this and of other programs."""
        with contextlib.suppress(BrokerError):  # then the next answer tells
            await self._read(SUBSCRIBE, {"topicId": TOPIC_QUOTE, "security": [instrument.security]})

    # ------------------------------------------------------------------ bars

    def _read_rows(self, rows: Iterable[KlineRow], query: _Query) -> list[Bar]:
        """Rows as bars under their stamp on the wire; what that stands for is decided when all are there."""
        bars = []
        for row in rows:
            if min(row.open_price, row.high_price, row.low_price, row.close_price) <= 0:
                if row.volume:
                    raise ProtocolError(_("K线的价格不是正数"), about=BARS)
                continue  # nothing was traded
            at = self._stamp_of(row, query)
            bars.append(
                Bar(
                    stamp=at,
                    begins=at,
                    ends=at,
                    open=float(row.open_price),
                    high=float(row.high_price),
                    low=float(row.low_price),
                    close=float(row.close_price),
                    volume=float(row.volume),
                    turnover=float(row.turnover),
                )
            )
        if not query.cycle.dated:
            self._stamps.learn(query.region, (bar.stamp.astimezone(query.zone) for bar in bars))
        return bars

    def _stamp_of(self, row: KlineRow, query: _Query) -> datetime:
        """The row's instant; of a day its midnight. Of the two columns the timestamp needs no zone (section 6.3)."""
        at: datetime | None
        if query.cycle.dated and (day := values.parse_date(row.date)):
            at = query.midnight(day)
        elif row.timestamp:
            at = datetime.fromtimestamp(row.timestamp / 1000, timezone.utc)
        else:
            at = values.parse_datetime(row.date, row.time, query.zone)
        if at is None:
            raise ProtocolError(_("K线的时间无法识别：{}").format(f"{row.date} {row.time}"[:40]), about=BARS)
        return at.astimezone(timezone.utc)

    def _finished(self, bars: Iterable[Bar], query: _Query) -> dict[datetime, Bar]:
        """The whole bars under vn.py's stamps: the start, or midnight of the day or of the week's Monday."""
        ordered = sorted(bars, key=lambda bar: bar.stamp)
        if query.cycle.dated:
            days = (replace(bar, stamp=datetime.combine(query.day(bar), time(), self._zone)) for bar in ordered)
            return {bar.stamp: bar for bar in days if self._is_over(bar.stamp.date(), query)}
        timed = [bar for bar in self._timed(ordered, query) if bar.ends <= query.asked.now]
        if query.region is Region.US and not self._extended:
            timed = _regular(timed, query.zone)
        return {bar.stamp: bar for bar in timed}

    def _timed(self, bars: Iterable[Bar], query: _Query) -> Iterator[Bar]:
        """Bars with the time that they cover. An hour may be cut short by a session's beginning or end."""
        length, hourly = query.cycle.length, query.cycle.length > timedelta(minutes=1)
        before = datetime.min.replace(tzinfo=timezone.utc)
        for bar in bars:
            begins, ends = (bar.stamp - length, bar.stamp) if self._stamps.are_ends else (bar.stamp, bar.stamp + length)
            opens = datetime.combine(begins.astimezone(query.zone).date(), OPENS, query.zone)
            if hourly and begins < opens < ends and not (self._extended and query.region is Region.US):
                begins = opens.astimezone(timezone.utc)
            if self._stamps.are_ends:
                begins = max(begins, before)
                before = ends
            yield replace(bar, stamp=begins.astimezone(self._zone), begins=begins, ends=ends)

    def _is_over(self, first: date, query: _Query) -> bool:
        """Whether a day, or the week from a Monday on, is over by the exchange's hours."""
        now = query.asked.now
        day = first + 4 * DAY if query.cycle.length > DAY else first
        if query.today != day:
            return query.today > day
        closed = next_open(query.region, now).astimezone(query.zone).date() > day
        return closed and is_session(query.region, day) and segment(query.region, now) not in OPEN

    def _say_shallow(self, query: _Query, request: HistoryRequest, reached: date, count: int) -> None:
        """Say what the broker does not have, where trading days are missing at the beginning."""
        first = query.day_of(query.asked.start)
        until = min(reached, query.day_of(query.asked.end) + DAY)
        missing = (first + n * DAY for n in range(min((until - first).days, MOST_DAYS_LOOKED_AT)))
        if not any(is_session(query.region, day) for day in missing):
            return
        if reached == date.max:
            text = _("VBrokers没有{}在所求时间内的K线（{}，分钟线只保留最近一段时间）；更早的请用日线或其他数据服务")
            self._log(text.format(request.vt_symbol, interval_name(request)))
        else:
            text = _("VBrokers没有{}在{:%Y-%m-%d}之前的K线（{}），已下载其后的{}根；更早的请用日线或其他数据服务")
            self._log(text.format(request.vt_symbol, reached, interval_name(request), count))


def _regular(bars: Iterable[Bar], zone: ZoneInfo) -> list[Bar]:
    """US bars of regular hours. A day without any is left as it is: the broker's hours are then not the calendar's."""
    days: dict[date, list[Bar]] = {}
    for bar in bars:
        days.setdefault(bar.begins.astimezone(zone).date(), []).append(bar)
    kept: list[Bar] = []
    for of_day in days.values():
        regular = [
            bar
            for bar in of_day
            if Segment.REGULAR in (segment(Region.US, bar.begins), segment(Region.US, bar.ends - MOMENT))
        ]
        kept += regular or of_day
    return kept
