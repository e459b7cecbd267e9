"""Bars: the whole of what was asked for, or an error; never a part (reference "tws-api", sections 10 and 16).

What TWS gives is adjusted for splits; 前复权 asks for bars adjusted for dividends, too.

TWS answers a request for a duration that ends at an instant, and what "five days" covers depends on the instrument's
sessions. So a long download walks back in time: each window ends where the one after it began, whatever it covered.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from ib_async.contract import Contract
from ib_async.objects import BarData as IbBar
from vnpy.trader.constant import Exchange, Interval
from vnpy.trader.object import BarData, HistoryRequest

from vnpy_brokerkit.clock import Clock
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
    week_over,
)
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.pacing import Throttle
from vnpy_brokerkit.symbols import SymbolError

from .contracts import Contracts, Instrument, spelling
from .errors import is_no_data, is_pacing
from .wire.texts import parse_time
from .wire.tws import Wire

ABOUT = "reqHistoricalData"
MOST_OPEN = 5
"""Requests that may wait at once; TWS's own limit is 50, and it answers slower long before."""
RATE = 2.5
"""Requests a second (section 10: a few): fewer than six for one contract within two seconds, whatever the bars."""
ANSWER_WITHIN = 60.0
PACING_WAITS = (15.0, 30.0)
"""Seconds before a request that came too soon is sent again; the same one within 15 s would be too soon again."""
TOO_LONG_CODES = frozenset({"162", "321"})
"""What a server may say that grants no more than the documented duration."""
MOST_IDLE = 3
"""Windows in a row that may bring nothing earlier."""
GAP = timedelta(days=14)
"""No market is closed for longer: a longer hole at the beginning is looked into."""

DAY = timedelta(days=1)
FRIDAY = 4
TRADES, MIDPOINT, ADJUSTED = "TRADES", "MIDPOINT", "ADJUSTED_LAST"
SECTYPE2SHOW: Mapping[str, str] = {"CASH": MIDPOINT, "CMDTY": MIDPOINT, "CFD": MIDPOINT, "CRYPTO": "AGGTRADES"}
"""What has no trades of its own; everything else shows TRADES."""
ROUND_THE_CLOCK = frozenset({"FUT", "CONTFUT", "FOP", "CASH", "CMDTY", "CRYPTO"})
"""Whose night session belongs to the day; for the others regular hours are the rule."""
CONTINUOUS = "CONTFUT"
"""TWS serves it in requests that end now only (10339)."""


@dataclass(frozen=True)
class Scale:
    """How bars of one interval are asked for."""

    size: str
    length: timedelta
    windows: tuple[int, ...]
    """Days of one request, the most first; the smaller ones for a server that keeps to the documented limits."""
    dated: bool = False
    """TWS gives a day and no time; the first bar of a window may then be cut off, and is asked for again, whole."""


INTERVAL2SCALE: Mapping[Interval, Scale] = {
    Interval.MINUTE: Scale("1 min", timedelta(minutes=1), (7, 1)),
    Interval.HOUR: Scale("1 hour", timedelta(hours=1), (30, 7, 1)),
    Interval.DAILY: Scale("1 day", DAY, (1825, 365), dated=True),
    Interval.WEEKLY: Scale("1 week", timedelta(days=7), (1825, 365), dated=True),
}


@dataclass(frozen=True)
class _Query:
    """What stays the same from window to window."""

    instrument: Instrument
    contract: Contract
    scale: Scale
    show: str
    regular_only: bool
    asked: Asked

    @property
    def key(self) -> Key:
        """TWS adjusts for splits up to the present day: bars of another day do not fit to these."""
        day = self.asked.now.astimezone(self.instrument.zone).date()
        return (self.contract.conId, self.contract.exchange, self.scale.size, self.show, self.regular_only, day)

    @property
    def whole_before(self) -> datetime:
        """Where the bars that may still be running begin, in the terms of windows (:func:`_ceiling`)."""
        if not self.scale.dated:
            return _floor(self.asked.now, self.scale)
        today = self.asked.now.astimezone(self.instrument.zone).date()
        first = today - timedelta(days=today.weekday()) if self.scale.length > DAY else today
        return datetime.combine(first, time(), timezone.utc)


class History:
    """Downloads bars over the gateway's connection. ``extended``: intraday bars of stocks with pre and post market."""

    def __init__(
        self,
        *,
        wire: Callable[[], Wire],
        contracts: Contracts,
        clock: Clock,
        zone: ZoneInfo,
        gateway_name: str,
        adjusted: bool = False,
        extended: bool = False,
    ) -> None:
        self._wire = wire
        self._contracts = contracts
        self._clock = clock
        self._zone = zone
        self._gateway_name = gateway_name
        self._adjusted = adjusted
        self._extended = extended
        self._open = asyncio.Semaphore(MOST_OPEN)
        self._throttle = Throttle(RATE, clock)

    async def bars(self, request: HistoryRequest) -> list[BarData]:
        """Return the bars that start from ``start`` to ``end``, both included, oldest first.

        Times without a zone are in vn.py's database zone, and so are the bars'. A daily bar is stamped with midnight
        of its trading day, a weekly one with its Monday's. Only whole bars: the minute, hour, day or week that is
        running is left out. Without data the list is empty. Raises :class:`HistoryError` when the whole cannot be had;
        what was read is kept for the next call.
        """
        scale = INTERVAL2SCALE.get(request.interval) if request.interval else None
        if scale is None:
            text = _("IBKR没有周期为{}的K线；可用1m、1h、d、w").format(interval_name(request))
            raise HistoryError(text, about=request.vt_symbol)
        asked = Asked.of(request, self._clock, self._zone)
        if asked.start > asked.end:
            return []
        download = current(request, self._clock)
        try:
            instrument = await download.hold_out(partial(self._instrument, request.symbol, request.exchange))
        except BrokerError as error:
            raise download.failure(error) from None
        query = self._query(instrument, scale, asked)
        with download.part(query.key) as part:
            if query.show == ADJUSTED or instrument.contract.secType == CONTINUOUS:
                found = {bar.stamp: bar for bar in await self._at_once(query, download)}
            else:
                await self._walk(query, part, download)
                found = part.bars
            return bar_data(found, asked, request, self._gateway_name)

    async def _instrument(self, symbol: str, exchange: Exchange) -> Instrument:
        try:
            key = spelling(symbol, exchange)
        except SymbolError as error:
            raise UnknownInstrument(str(error)) from None
        await self._contracts.ensure([key])
        instrument = self._contracts.get(*key)
        if instrument is None:
            raise UnknownInstrument(_("找不到合约，请检查代码和交易所"))
        return instrument

    def _query(self, instrument: Instrument, scale: Scale, asked: Asked) -> _Query:
        contract = copy(instrument.contract)
        kind = contract.secType
        contract.includeExpired = kind == "FUT"
        show = ADJUSTED if self._adjusted and kind == "STK" else SECTYPE2SHOW.get(kind, TRADES)
        all_hours = kind in ROUND_THE_CLOCK or (self._extended and not scale.dated)
        return _Query(instrument, contract, scale, show, not all_hours, asked)

    # ------------------------------------------------------------------ windows

    async def _walk(self, query: _Query, part: Part, download: Download) -> None:
        """Read window before window until the part holds everything from ``start`` on."""
        scale, start = query.scale, query.asked.start
        windows = list(scale.windows)
        first_ever: datetime | None = None
        idle = 0
        # The bar that starts at ``end`` is asked for whole, and windows end where bars do.
        until = part.below(_ceiling(query.asked.end + scale.length, scale))
        while until > start:
            days = min(windows[0], _days(until - start, scale))
            end = until if until < query.asked.now else None
            try:
                bars = await download.hold_out(partial(self._ask, query, end, days, download))
            except BrokerError as error:
                if error.code not in TOO_LONG_CODES or len(windows) == 1 or days <= windows[1]:
                    raise
                windows.pop(0)
                continue
            if not bars:
                # Nothing here: a long pause, or before the first trade of all.
                if first_ever is None:
                    first_ever = await download.hold_out(partial(self._head, query, download))
                if until <= first_ever:
                    break
                until = part.below(until - timedelta(days=days))
                continue
            first, goes_on = bars[0], bars[0].stamp > start
            again = scale.dated and goes_on and len(bars) > 1
            earlier = first.ends if again else first.begins
            # A server that takes ``until`` as included repeats one bar; one that ignores it would repeat for ever.
            idle = idle + 1 if earlier >= until else 0
            if idle > MOST_IDLE:
                raise ProtocolError(_("TWS一再返回相同的K线，下载已停止"), about=ABOUT)
            part.add(_whole(bars[1:] if again else bars, query), earlier, min(until, query.whole_before))
            download.came(part, first.stamp)
            if not goes_on:
                break
            until = part.below(earlier if earlier < until else until - scale.length)

    async def _at_once(self, query: _Query, download: Download) -> list[Bar]:
        """Read everything in one request that ends now: TWS serves adjusted and continuous bars in no other way."""
        start = query.asked.start
        days = _days(query.asked.now - start, query.scale)
        bars = await download.hold_out(partial(self._ask, query, None, days, download))
        if bars and bars[0].stamp - start > GAP and await self._head(query, download) < bars[0].stamp - GAP:
            raise HistoryError(
                _(
                    "前复权或连续合约的K线只能一次下载到现在，TWS只返回了从{:%Y-%m-%d}起的部分；请缩短时间范围或改用不复权"
                ).format(bars[0].stamp)
            )
        return list(_whole(bars, query))

    async def _head(self, query: _Query, download: Download) -> datetime:
        """Return when the first trade of all was; the earliest time that there is where TWS does not say."""
        show = TRADES if query.show == ADJUSTED else query.show
        try:
            rows = await self._send(
                lambda wire, req_id: wire.client.reqHeadTimeStamp(req_id, query.contract, show, query.regular_only, 2),
                lambda wire, req_id: wire.client.cancelHeadTimeStamp(req_id),
                "reqHeadTimeStamp",
                download,
            )
            return datetime.fromtimestamp(int(rows[0]), timezone.utc)
        except ConnectionFailed:
            raise
        except (BrokerError, ValueError, IndexError, OverflowError, OSError):
            return datetime.min.replace(tzinfo=timezone.utc)

    # ------------------------------------------------------------------ one request

    async def _ask(self, query: _Query, until: datetime | None, days: int, download: Download) -> list[Bar]:
        """Return the bars of one window, oldest first; none where there is no data. Raises :class:`BrokerError`."""
        scale = query.scale
        for wait in (*PACING_WAITS, None):
            try:
                rows = await self._send(
                    lambda wire, req_id: wire.client.reqHistoricalData(
                        req_id,
                        query.contract,
                        f"{until.astimezone(timezone.utc):%Y%m%d %H:%M:%S} UTC" if until else "",
                        duration(days, scale),
                        scale.size,
                        query.show,
                        query.regular_only,
                        2,
                        False,
                        [],
                    ),
                    lambda wire, req_id: wire.client.cancelHistoricalData(req_id),
                    ABOUT,
                    download,
                )
            except BrokerError as error:
                if is_no_data(error):
                    return []
                if wait is None or not is_pacing(error):
                    raise
                await self._clock.sleep(wait)
            else:
                return sorted((self._read(row, query) for row in rows), key=lambda bar: bar.stamp)
        raise AssertionError("the last round returns or raises")

    async def _send(
        self,
        send: Callable[[Wire, int], None],
        cancel: Callable[[Wire, int], None],
        about: str,
        download: Download,
    ) -> Sequence[Any]:
        """Send one request when it is its turn; tell TWS when nobody waits for the answer any more."""
        left = download.left()
        download.rest()
        async with self._open:
            await self._throttle.turn()
            download.wake(left)
            wire = self._wire()
            sent: list[int] = []

            def remember(req_id: int) -> None:
                sent.append(req_id)
                send(wire, req_id)

            try:
                return await wire.ask(remember, about, min(ANSWER_WITHIN, max(download.left(), 0.1)))
            except (TimedOut, asyncio.CancelledError):
                with contextlib.suppress(ConnectionFailed):  # then TWS has forgotten it
                    for req_id in sent:
                        wire.post(partial(cancel, wire, req_id), about)
                raise

    # ------------------------------------------------------------------ one bar

    def _read(self, row: IbBar, query: _Query) -> Bar:
        text = str(row.date).strip()
        if not all(map(math.isfinite, (row.open, row.high, row.low, row.close))):
            raise ProtocolError(_("K线的价格不是数值"), about=ABOUT)
        if query.scale.dated:
            stamp, begins, ends = self._days_of(text, query.scale)
        else:
            begins = _instant(text)
            # A first hour may begin at half past, and ends at the full one all the same (section 16).
            ends = _ceiling(begins + timedelta(microseconds=1), query.scale)
            stamp = begins.astimezone(self._zone)
        # -1 stands for "none" with MIDPOINT.
        volume = max(row.volume, 0.0) if math.isfinite(row.volume) else 0.0
        average = max(row.average, 0.0) if math.isfinite(row.average) else 0.0
        turnover = volume * average * float(query.instrument.size)
        return Bar(stamp, begins, ends, row.open, row.high, row.low, row.close, float(volume), turnover)

    def _days_of(self, text: str, scale: Scale) -> tuple[datetime, datetime, datetime]:
        try:
            day = datetime.strptime(text[:8], "%Y%m%d").date()  # noqa: DTZ007  a day, not an instant
        except ValueError:
            raise ProtocolError(_("K线的日期无法识别：{}").format(text[:40]), about=ABOUT) from None
        # A week is dated at its last day (section 16).
        first = day - timedelta(days=day.weekday()) if scale.length > DAY else day
        return (
            datetime.combine(first, time(), self._zone),
            datetime.combine(first, time(), timezone.utc),
            datetime.combine(day + DAY, time(), timezone.utc),
        )


def _whole(bars: Iterable[Bar], query: _Query) -> Iterable[Bar]:
    """The bars that are over. A day is over with its liquid hours, where TWS tells them, a week with its Friday."""
    now = query.asked.now
    if not query.scale.dated:
        return (bar for bar in bars if bar.ends <= now)

    def over(bar: Bar) -> bool:
        day = (bar.ends - DAY).date()
        midnight = datetime.combine(day, time(), query.instrument.zone)
        if query.scale.length > DAY and day.weekday() != FRIDAY:
            return week_over(midnight) <= now
        moment = timedelta(microseconds=1)
        closes = [end for _begin, end in query.instrument.liquid_hours.spans if (end - moment).date() == day]
        return max(closes, default=midnight + DAY) <= now

    # Only the last ones can be running: the others need no look.
    return (bar for bar in bars if bar.begins < query.whole_before or over(bar))


def duration(days: int, scale: Scale) -> str:
    """Return TWS's text for a number of days: more than a year must be in years, weekly bars need weeks."""
    if days >= 365:
        return f"{math.ceil(days / 365)} Y"
    return f"{math.ceil(days / 7)} W" if scale.length > DAY else f"{days} D"


def _days(span: timedelta, scale: Scale) -> int:
    """Days that cover a span; with dated bars one bar more, since the first of a window may be cut off."""
    if scale.dated:
        span += scale.length
    return max(1, math.ceil(span / DAY))


def _ceiling(at: datetime, scale: Scale) -> datetime:
    """The next instant at which a bar may end: full minutes and hours, and midnight for days (UTC)."""
    whole = min(scale.length, DAY)
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    return epoch + math.ceil((at - epoch) / whole) * whole


def _floor(at: datetime, scale: Scale) -> datetime:
    """Where the bar begins that is running at ``at``."""
    return _ceiling(at + timedelta(microseconds=1), scale) - min(scale.length, DAY)


def _instant(text: str) -> datetime:
    """The start of an intraday bar: epoch seconds, or text where a server ignores the wish for them."""
    unreadable = datetime.min.replace(tzinfo=timezone.utc)
    try:
        at = datetime.fromtimestamp(int(text), timezone.utc) if text.isdigit() and len(text) > 8 else None
    except (ValueError, OverflowError, OSError):
        at = unreadable
    at = at or parse_time(text, unreadable)
    if at == unreadable:
        raise ProtocolError(_("K线的时间无法识别：{}").format(text[:40]), about=ABOUT)
    return at.astimezone(timezone.utc)
