"""Bars of every size that TWS knows, out of the market's minutes, days and tape (tws-api 16).

The market keeps trades alone, so MIDPOINT, BID, ASK and BID_ASK bars are the trades' bars, a tick lower or higher where
a side is asked for.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import groupby
from zoneinfo import ZoneInfo

from brokersim.market import Market
from brokersim.model import ZERO, Bar, Instrument, Interval
from brokersim.sessions import DAY, TradingDays, day_spans, from_ms, regular_spans, to_ms
from brokersim.tws.live_bars import WHAT_QUOTES

BAR_SECONDS: dict[str, int] = {
    **{f"{count} secs": count for count in (1, 5, 10, 15, 30)},
    "1 min": 60,
    **{f"{count} mins": 60 * count for count in (2, 3, 5, 10, 15, 20, 30)},
    "1 hour": 3600,
    **{f"{count} hours": 3600 * count for count in (2, 3, 4, 8)},
    "1 day": 86_400,
    "1 week": 7 * 86_400,
    "1 month": 30 * 86_400,
}
"""Bar size text -> seconds, nominal from a day on."""
SPELLINGS: dict[str, str] = {
    "1 sec": "1 secs",
    "1 mins": "1 min",
    "1 hours": "1 hour",
    "1 days": "1 day",
    "1D": "1 day",
    "1W": "1 week",
    "1M": "1 month",
}
SECONDS_BARS = 30
"""Bars of up to so many seconds come from the tape, and have pacing rules."""
DAY_S = 86_400
HOUR_S = 3600
MOST_SECONDS = 86_400
MOST_DAYS = 365
MOST_PRINTS = 1000
DAYS_AT_ONCE = 10
"""How many days of minutes are read before others get their turn."""
LOOK_BACK_DAYS = 14
"""How far back the last trading minutes are looked for, beyond what was asked for."""

_DURATION = re.compile(r"(\d{1,6}) +([SDWMY])", re.IGNORECASE)


class BadRequest(ValueError):
    """A duration or bar size that TWS does not take."""


@dataclass(frozen=True)
class Duration:
    """How far back: ``count`` of ``unit`` (S D W M Y)."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Duration:
        match = _DURATION.fullmatch(text.strip())
        if match is None or int(match[1]) == 0:
            raise BadRequest("Historical data request duration format is invalid.")
        count, unit = int(match[1]), match[2].upper()
        if unit == "S" and count > MOST_SECONDS:
            raise BadRequest("Historical data requests for durations longer than 86400 seconds must be made in days.")
        if unit == "D" and count > MOST_DAYS:
            raise BadRequest("Historical data requests for durations longer than 365 days must be made in years.")
        if count * _NOMINAL_DAYS.get(unit, 0) > 50_000:
            raise BadRequest("Historical data request duration is too long.")
        return cls(count, unit)


_NOMINAL_DAYS = {"D": 1, "W": 7, "M": 31, "Y": 366}


def bar_size(text: str) -> str:
    """The bar size in its usual spelling; :class:`BadRequest` when there is none."""
    usual = SPELLINGS.get(text.strip(), text.strip())
    if usual not in BAR_SECONDS:
        raise BadRequest(f"Historical data bar size setting is invalid. Legal ones are: {', '.join(BAR_SECONDS)}.")
    return usual


@dataclass(frozen=True)
class BarSource:
    """The bars of one instrument."""

    market: Market
    instrument: Instrument

    async def bars(self, size: str, duration: Duration, end: datetime, what: str, *, regular_only: bool) -> list[Bar]:
        """Whole bars of ``size`` that end by ``end``, oldest first. Daily and longer ones are stamped with the
        midnight of their (last) day, the others with their start.

        ``n S`` is the last n seconds that traded, ``n D`` the last n days that did. A long range is read in parts
        between which others get their turn.
        """
        if BAR_SECONDS[size] >= DAY_S:
            bars = self._days(size, self.begin(duration, end), end)
            return [self._shown(bar, what) for bar in bars]
        bars = await self._intraday(size, self.begin(duration, end), end, regular_only=regular_only)
        if self._is_short(bars, size, duration):
            start = self.begin(duration, end) - LOOK_BACK_DAYS * DAY
            bars = await self._intraday(size, start, end, regular_only=regular_only)
        if duration.unit == "S":
            bars = bars[-max(1, duration.count // BAR_SECONDS[size]) :]
        elif duration.unit == "D":
            dates = set(self._dates(bars)[-self._days_shown(bars, duration) :])
            bars = [bar for bar in bars if self._date(bar) in dates]
        return [self._shown(bar, what) for bar in bars]

    def first(self) -> datetime | None:
        """The start of the earliest daily bar."""
        now = self.market.clock.now()
        days = self.market.bars(self.instrument.vt_symbol, "1d", now - timedelta(days=366 * 40), now)
        if not days:
            return None
        on = days[0].time.astimezone(self._zone).date()
        return from_ms(day_spans(self.instrument, on)[0].start)

    # -- the bar that is running -------------------------------------------------------------------

    def slot(self, size: str, at: datetime) -> datetime:
        """The start of the bar that an instant belongs to; the first one of a session begins with it."""
        seconds = BAR_SECONDS[size]
        local = at.astimezone(self._zone)
        midnight = datetime(local.year, local.month, local.day, tzinfo=self._zone)
        if size == "1 month":
            return midnight.replace(day=1)
        if size == "1 week":
            return midnight - local.weekday() * DAY
        if size == "1 day":
            return midnight
        of_day = local.hour * HOUR_S + local.minute * 60 + local.second
        start = (local - timedelta(seconds=of_day % seconds)).replace(microsecond=0).astimezone(timezone.utc)
        if self.market.clock.mode == "wall":
            return start
        now = to_ms(at)
        opens = [from_ms(span.start) for span in day_spans(self.instrument, local.date()) if span.start <= now]
        return max([start, *opens])

    def begun(self, size: str, slot: datetime, what: str, *, regular_only: bool) -> Bar | None:
        """What the bar that begins at ``slot`` is so far; None before its first trade."""
        vt_symbol = self.instrument.vt_symbol
        quote = self.market.quote(vt_symbol)
        now = self.market.clock.now()
        if BAR_SECONDS[size] >= DAY_S:
            today = self.slot("1 day", now)
            parts = [bar for bar in self._days("1 day", slot, now) if bar.time < today]
            if quote.open:
                prices = (quote.open, quote.high, quote.low, quote.last)
                parts.append(Bar(today, *prices, quote.volume, quote.turnover))
        else:
            minute = max(slot, now.replace(second=0, microsecond=0))
            parts = self.market.bars(vt_symbol, "1m", slot, minute, extended=not regular_only) if slot < minute else []
            parts += [replace(bar, time=minute) for bar in self._from_tape(1, minute, now + timedelta(seconds=1))]
        rows = list(_merged(parts, lambda bar: True, stamp_last=BAR_SECONDS[size] >= DAY_S))
        return self._shown(rows[0], what) if rows else None

    # -- sizes -------------------------------------------------------------------------------------

    def _is_short(self, bars: list[Bar], size: str, duration: Duration) -> bool:
        """Are there fewer bars than a number of trading seconds or days should have."""
        if duration.unit == "S":
            return len(bars) < duration.count // BAR_SECONDS[size]
        return duration.unit == "D" and len(self._dates(bars)) < self._days_shown(bars, duration)

    def _days_shown(self, bars: Iterable[Bar], duration: Duration) -> int:
        """A wall clock's present day began with the program, so it counts as a day only when it is as long as one:
        who asks for a day's minutes gets at least a session."""
        if self.market.clock.mode == "data":
            return duration.count
        today = self._date_of(self.market.clock.now())
        spans = regular_spans(day_spans(self.instrument, today))
        session_s = sum(span.end - span.start for span in spans) / 1000
        begun = [bar.time for bar in bars if self._date(bar) == today]
        is_young = bool(begun) and (self.market.clock.now() - begun[0]).total_seconds() < session_s
        return duration.count + is_young

    def _date(self, bar: Bar) -> date:
        return self._date_of(bar.time)

    def _date_of(self, at: datetime) -> date:
        return at.astimezone(self._zone).date()

    def _dates(self, bars: Iterable[Bar]) -> list[date]:
        return sorted({self._date(bar) for bar in bars})

    async def _intraday(self, size: str, start: datetime, end: datetime, *, regular_only: bool) -> list[Bar]:
        seconds = BAR_SECONDS[size]
        if seconds <= SECONDS_BARS:
            return self._from_tape(seconds, start, end)
        interval: Interval = "1h" if seconds == HOUR_S else "1m"
        rows: list[Bar] = []
        while start < end:
            until = min(end, start + DAYS_AT_ONCE * DAY)
            vt_symbol = self.instrument.vt_symbol
            rows += self.market.bars(vt_symbol, interval, start, until, adjust="forward", extended=not regular_only)
            start = until
            await asyncio.sleep(0)
        if seconds in (60, HOUR_S):
            return rows

        def slot(bar: Bar) -> tuple[date, int, str]:
            local = bar.time.astimezone(self._zone)
            return local.date(), (local.hour * HOUR_S + local.minute * 60) // seconds, bar.segment

        return list(_merged(rows, slot))

    def _from_tape(self, seconds: int, start: datetime, end: datetime) -> list[Bar]:
        """Bars out of the last trades of the present day."""
        rows = []
        size = self.instrument.size
        for one in self.market.prints(self.instrument.vt_symbol, MOST_PRINTS):
            if start <= one.time < end:
                at = from_ms(int(one.time.timestamp()) // seconds * seconds * 1000)
                turnover = one.price * one.volume * size
                rows.append(Bar(at, one.price, one.price, one.price, one.price, one.volume, turnover))
        return list(_merged(rows, lambda bar: bar.time))

    def _days(self, size: str, start: datetime, end: datetime) -> list[Bar]:
        days = self.market.bars(self.instrument.vt_symbol, "1d", start, end, adjust="forward")
        if size == "1 day":
            return days

        def week(bar: Bar) -> tuple[int, int]:
            year, number, _ = bar.time.astimezone(self._zone).date().isocalendar()
            return year, number

        def month(bar: Bar) -> tuple[int, int]:
            on = bar.time.astimezone(self._zone).date()
            return on.year, on.month

        return list(_merged(days, week if size == "1 week" else month, stamp_last=True))

    # -- how far back ------------------------------------------------------------------------------

    def begin(self, duration: Duration, end: datetime) -> datetime:
        """The midnight at which the first day of the duration begins."""
        last = (end - timedelta(microseconds=1)).astimezone(self._zone).date()
        days = TradingDays.of(self.instrument.exchange)
        count, unit = duration.count, duration.unit
        if unit == "S":
            count, unit = 1, "D"
        if unit == "D":
            traded = last if days.is_open(last) or self.market.clock.mode == "wall" else days.before(last)
            first = days.last(count - 1, traded)[0] if count > 1 else traded
        elif unit == "W":
            first = last - timedelta(days=7 * count - 1)
        else:
            months = last.year * 12 + last.month - 1 - count * (12 if unit == "Y" else 1)
            first = date(max(1, months // 12), months % 12 + 1, min(last.day, 28)) + DAY
        return datetime(first.year, first.month, first.day, tzinfo=self._zone)

    @property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.instrument.zone)

    def _shown(self, bar: Bar, what: str) -> Bar:
        """A trades' bar as ``what`` (the module's text)."""
        if what not in WHAT_QUOTES:
            return bar
        tick = self.market.tick_size(self.instrument.vt_symbol, bar.close)
        if what == "BID":
            return _moved(bar, -tick)
        if what == "ASK":
            return _moved(bar, tick)
        if what == "BID_ASK":
            return replace(bar, high=bar.high + tick, low=bar.low - tick)
        return bar


def _moved(bar: Bar, by: Decimal) -> Bar:
    return replace(bar, open=bar.open + by, high=bar.high + by, low=bar.low + by, close=bar.close + by)


def _merged(bars: Iterable[Bar], slot: Callable[[Bar], object], *, stamp_last: bool = False) -> Iterator[Bar]:
    """Neighbouring bars of one slot as one, stamped with the first (or last) one's time."""
    for _, group in groupby(bars, slot):
        rows = list(group)
        yield Bar(
            rows[-1].time if stamp_last else rows[0].time,
            rows[0].open,
            max(bar.high for bar in rows),
            min(bar.low for bar in rows),
            rows[-1].close,
            sum(bar.volume for bar in rows),
            sum((bar.turnover for bar in rows), ZERO),
            rows[0].segment,
        )
