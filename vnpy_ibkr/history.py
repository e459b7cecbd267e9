"""Bars: the whole of what was asked for, or an error; never a part (reference "tws-api", sections 10 and 16).

TWS answers a request for a duration that ends at an instant, and what "five days" covers depends on the instrument's
sessions. So a long download walks back in time: each window ends where the one after it began, whatever it covered.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
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
RATE = 4
"""Requests a second (section 10: a few)."""
ANSWER_WITHIN = 60
PACING_WAITS = (15.0, 30.0, 60.0)
"""Seconds before a request that came too soon is sent again; the same one within 15 s would be too soon again."""
TOO_LONG_CODES = frozenset({"162", "321"})
"""What a server may say that grants no more than the documented duration."""
MOST_IDLE = 3
"""Windows in a row that may bring nothing new."""
GAP = timedelta(days=14)
"""No market is closed for longer: a longer hole at the beginning is looked into."""

DAY = timedelta(days=1)
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
class _Bar:
    """One bar on its way: ``stamp`` is its start for vn.py, ``begins`` and ``ends`` what a request can end at."""

    stamp: datetime
    begins: datetime
    ends: datetime
    values: IbBar


@dataclass(frozen=True)
class _Query:
    """What stays the same from window to window."""

    contract: Contract
    scale: Scale
    show: str
    regular_only: bool


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
        of its trading day, a weekly one with its Monday's. A minute or hour that is not over yet is left out. Without
        data the list is empty. Raises :class:`HistoryError` when the whole cannot be had.
        """
        scale = INTERVAL2SCALE.get(request.interval) if request.interval else None
        if scale is None:
            name = request.interval.value if request.interval else "None"
            raise HistoryError(_("IBKR没有周期为{}的K线；可用1m、1h、d、w").format(name), about=request.vt_symbol)
        now = self._clock.now()
        start = self._aware(request.start)
        end = min(self._aware(request.end), now) if request.end else now
        if start > end:
            return []
        try:
            instrument = await self._instrument(request.symbol, request.exchange)
            query = self._query(instrument, scale)
            if query.show == ADJUSTED or instrument.contract.secType == CONTINUOUS:
                found = await self._at_once(query, start, now)
            else:
                found = await self._walk(query, start, end, now)
        except HistoryError as error:
            raise HistoryError(error.text, about=request.vt_symbol, code=error.code) from None
        except BrokerError as error:
            raise HistoryError(
                _("历史数据下载失败，没有返回不完整的数据：{}").format(error.text),
                about=request.vt_symbol,
                code=error.code,
            ) from None
        chosen = [found[stamp] for stamp in sorted(found) if start <= stamp <= end]
        return [self._bar_data(bar, request, instrument) for bar in chosen if scale.dated or bar.ends <= now]

    async def _instrument(self, symbol: str, exchange: Exchange) -> Instrument:
        try:
            key = spelling(symbol, exchange)
        except SymbolError as error:
            raise HistoryError(str(error)) from None
        await self._contracts.ensure([key])
        instrument = self._contracts.get(*key)
        if instrument is None:
            raise HistoryError(_("找不到合约，请检查代码和交易所"))
        return instrument

    def _query(self, instrument: Instrument, scale: Scale) -> _Query:
        contract = copy(instrument.contract)
        kind = contract.secType
        contract.includeExpired = kind == "FUT"
        show = ADJUSTED if self._adjusted and kind == "STK" else SECTYPE2SHOW.get(kind, TRADES)
        all_hours = kind in ROUND_THE_CLOCK or (self._extended and not scale.dated)
        return _Query(contract, scale, show, not all_hours)

    def _aware(self, at: datetime) -> datetime:
        return at if at.tzinfo else at.replace(tzinfo=self._zone)

    # ------------------------------------------------------------------ windows

    async def _walk(self, query: _Query, start: datetime, end: datetime, now: datetime) -> dict[datetime, _Bar]:
        """Read window before window until ``start`` is covered."""
        scale = query.scale
        windows = list(scale.windows)
        found: dict[datetime, _Bar] = {}
        first_ever: datetime | None = None
        idle = 0
        # The bar that starts at ``end`` is asked for whole, and windows end where bars do.
        until = _ceiling(end + scale.length, scale)
        while until > start:
            days = min(windows[0], _days(until - start, scale))
            try:
                bars = await self._ask(query, until if until < now else None, days)
            except BrokerError as error:
                if error.code not in TOO_LONG_CODES or len(windows) == 1 or days <= windows[1]:
                    raise
                windows.pop(0)
                continue
            if not bars:
                # Nothing here: a long pause, or before the first trade of all.
                first_ever = first_ever or await self._head(query)
                if first_ever >= until:
                    break
                until -= timedelta(days=days)
                continue
            # A server that takes ``until`` as included repeats one bar; one that ignores it would repeat for ever.
            idle = idle + 1 if all(bar.stamp in found for bar in bars) else 0
            if idle > MOST_IDLE:
                raise ProtocolError(_("TWS一再返回相同的K线，下载已停止"), about=ABOUT)
            first, goes_on = bars[0], bars[0].stamp > start
            again = scale.dated and goes_on and len(bars) > 1
            for bar in bars[1:] if again else bars:
                found.setdefault(bar.stamp, bar)
            if not goes_on:
                break
            earlier = first.ends if again else first.begins
            until = earlier if earlier < until else until - scale.length
        return found

    async def _at_once(self, query: _Query, start: datetime, now: datetime) -> dict[datetime, _Bar]:
        """Read everything in one request that ends now: TWS serves adjusted and continuous bars in no other way."""
        bars = await self._ask(query, None, _days(now - start, query.scale))
        if bars and bars[0].stamp - start > GAP and await self._head(query) < bars[0].stamp - GAP:
            raise HistoryError(
                _(
                    "前复权或连续合约的K线只能一次下载到现在，TWS只返回了从{:%Y-%m-%d}起的部分；请缩短时间范围或改用不复权"
                ).format(bars[0].stamp)
            )
        return {bar.stamp: bar for bar in bars}

    async def _head(self, query: _Query) -> datetime:
        """Return when the first trade of all was; the earliest time that there is where TWS does not say."""
        show = TRADES if query.show == ADJUSTED else query.show
        try:
            rows = await self._send(
                lambda wire, req_id: wire.client.reqHeadTimeStamp(req_id, query.contract, show, query.regular_only, 2),
                lambda wire, req_id: wire.client.cancelHeadTimeStamp(req_id),
                "reqHeadTimeStamp",
            )
            return datetime.fromtimestamp(int(rows[0]), timezone.utc)
        except ConnectionFailed:
            raise
        except (BrokerError, ValueError, IndexError, OverflowError, OSError):
            return datetime.min.replace(tzinfo=timezone.utc)

    # ------------------------------------------------------------------ one request

    async def _ask(self, query: _Query, until: datetime | None, days: int) -> list[_Bar]:
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
                )
            except BrokerError as error:
                if is_no_data(error):
                    return []
                if wait is None or not is_pacing(error):
                    raise
                await self._clock.sleep(wait)
            else:
                return sorted((self._read(row, scale) for row in rows), key=lambda bar: bar.stamp)
        raise AssertionError("the last round returns or raises")

    async def _send(
        self, send: Callable[[Wire, int], None], cancel: Callable[[Wire, int], None], about: str
    ) -> Sequence[Any]:
        """Send one request when it is its turn; tell TWS when nobody waits for the answer any more."""
        async with self._open:
            await self._throttle.turn()
            wire = self._wire()
            sent: list[int] = []

            def remember(req_id: int) -> None:
                sent.append(req_id)
                send(wire, req_id)

            try:
                return await wire.ask(remember, about, ANSWER_WITHIN)
            except (TimedOut, asyncio.CancelledError):
                with contextlib.suppress(ConnectionFailed):  # then TWS has forgotten it
                    for req_id in sent:
                        wire.post(partial(cancel, wire, req_id), about)
                raise

    # ------------------------------------------------------------------ one bar

    def _read(self, row: IbBar, scale: Scale) -> _Bar:
        text = str(row.date).strip()
        if not all(map(math.isfinite, (row.open, row.high, row.low, row.close))):
            raise ProtocolError(_("K线的价格不是数值"), about=ABOUT)
        if scale.dated:
            return self._dated(text, row, scale)
        begins = _instant(text)
        # A first hour may begin at half past, and ends at the full one all the same (section 16).
        ends = _ceiling(begins + timedelta(microseconds=1), scale)
        return _Bar(begins.astimezone(self._zone), begins, ends, row)

    def _dated(self, text: str, row: IbBar, scale: Scale) -> _Bar:
        try:
            day = datetime.strptime(text[:8], "%Y%m%d").date()  # noqa: DTZ007  a day, not an instant
        except ValueError:
            raise ProtocolError(_("K线的日期无法识别：{}").format(text[:40]), about=ABOUT) from None
        # A week is dated at its last day (section 16).
        first = day - timedelta(days=day.weekday()) if scale.length > DAY else day
        return _Bar(
            stamp=datetime.combine(first, time(), self._zone),
            begins=datetime.combine(first, time(), timezone.utc),
            ends=datetime.combine(day + DAY, time(), timezone.utc),
            values=row,
        )

    def _bar_data(self, bar: _Bar, request: HistoryRequest, instrument: Instrument) -> BarData:
        values = bar.values
        # -1 stands for "none" with MIDPOINT.
        volume = max(values.volume, 0.0) if math.isfinite(values.volume) else 0.0
        average = max(values.average, 0.0) if math.isfinite(values.average) else 0.0
        return BarData(
            gateway_name=self._gateway_name,
            symbol=request.symbol,
            exchange=request.exchange,
            datetime=bar.stamp,
            interval=request.interval,
            volume=volume,
            turnover=volume * average * float(instrument.size),
            open_price=values.open,
            high_price=values.high,
            low_price=values.low,
            close_price=values.close,
        )


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
