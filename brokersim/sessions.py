"""Trading hours and trading days of the simulated exchanges.

Hours by vbrokers-openapi 16.1 and 16.2 (auctions count as ``pre`` and ``post``); days from ``exchange_calendars``,
loaded on first use, and plain weekdays where it knows no calendar.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import cache, lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from brokersim.model import Instrument, Segment

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MILLISECOND = timedelta(milliseconds=1)
DAY = timedelta(days=1)


class Span(NamedTuple):
    """A part of a trading day: epoch milliseconds, end excluded."""

    start: int
    end: int
    segment: Segment


Hours = tuple[tuple[str, str, Segment], ...]

_US: Hours = (("04:00", "09:30", "pre"), ("09:30", "16:00", "regular"), ("16:00", "20:00", "post"))
_A_SHARES: Hours = (("09:15", "09:25", "pre"), ("09:30", "11:30", "regular"), ("13:00", "15:00", "regular"))
HOURS: dict[str, Hours] = {
    "SMART": _US,
    "SEHK": (
        ("09:00", "09:30", "pre"),
        ("09:30", "12:00", "regular"),
        ("13:00", "16:00", "regular"),
        ("16:00", "16:10", "post"),
    ),
    "SSE": _A_SHARES,
    "SZSE": _A_SHARES,
    "IDEALPRO": (("00:00", "17:00", "regular"), ("17:15", "24:00", "regular")),
    "CME": (("00:00", "16:00", "regular"), ("17:00", "24:00", "regular")),
    "HKFE": (("09:15", "12:00", "regular"), ("13:00", "16:30", "regular")),
}
"""Exchange -> parts of a trading day in its own zone, in order."""

OPTION_HOURS: Hours = (("09:30", "16:00", "regular"),)

HALF_DAYS: dict[str, Hours] = {
    "SMART": (("04:00", "09:30", "pre"), ("09:30", "13:00", "regular"), ("13:00", "17:00", "post")),
    "SEHK": (("09:00", "09:30", "pre"), ("09:30", "12:00", "regular"), ("12:00", "12:10", "post")),
    "HKFE": (("09:15", "12:00", "regular"),),
}
"""The same on days that end early: at 13:00 in New York (vbrokers-openapi 16.1), at noon in Hong Kong."""
OPTION_HALF_DAY: Hours = (("09:30", "13:00", "regular"),)

CALENDARS: dict[str, str] = {
    "SMART": "XNYS",
    "SEHK": "XHKG",
    "HKFE": "XHKG",
    "SSE": "XSHG",
    "SZSE": "XSHG",
}
"""Exchange -> name in exchange_calendars; any other trades on weekdays."""


def to_ms(at: datetime) -> int:
    """Aware datetime -> epoch milliseconds, exact."""
    return (at - EPOCH) // MILLISECOND


def from_ms(ms: int) -> datetime:
    """Epoch milliseconds -> aware UTC datetime."""
    return EPOCH + ms * MILLISECOND


@lru_cache(maxsize=4096)
def midnight_ms(on: date, zone: str) -> int:
    """The start of a date in a zone, epoch milliseconds."""
    return to_ms(datetime(on.year, on.month, on.day, tzinfo=ZoneInfo(zone)))


def local_date(ms: int, zone: str) -> date:
    """The date in a zone at an instant."""
    return from_ms(ms).astimezone(ZoneInfo(zone)).date()


@lru_cache(maxsize=4096)
def spans_of(hours: Hours, zone: str, on: date) -> tuple[Span, ...]:
    """The parts of one trading day, in order."""
    return tuple(Span(_clock_ms(start, on, zone), _clock_ms(end, on, zone), segment) for start, end, segment in hours)


def day_spans(instrument: Instrument, on: date) -> tuple[Span, ...]:
    """The parts of one trading day of an instrument, in order."""
    exchange, is_option = instrument.exchange, instrument.kind == "option"
    if exchange in HALF_DAYS and on in TradingDays.of(exchange).half_days:
        hours = OPTION_HALF_DAY if is_option else HALF_DAYS[exchange]
    else:
        hours = OPTION_HOURS if is_option else HOURS[exchange]
    return spans_of(hours, instrument.zone, on)


def regular_spans(spans: Sequence[Span]) -> tuple[Span, ...]:
    return tuple(span for span in spans if span.segment == "regular")


def segment_at(spans: Sequence[Span], ms: int) -> Segment:
    """The segment of an instant; ``closed`` outside every part."""
    for start, end, segment in spans:
        if start <= ms < end:
            return segment
    return "closed"


def _clock_ms(clock: str, on: date, zone: str) -> int:
    hour, minute = (int(part) for part in clock.split(":"))
    if hour == 24:
        return midnight_ms(on + DAY, zone)
    return to_ms(datetime(on.year, on.month, on.day, hour, minute, tzinfo=ZoneInfo(zone)))


@dataclass(frozen=True)
class TradingDays:
    """The trading days of one exchange: a calendar's, and weekdays outside the calendar's range."""

    sessions: tuple[date, ...]
    half_days: frozenset[date] = frozenset()

    @staticmethod
    def of(exchange: str) -> TradingDays:
        return _trading_days(CALENDARS.get(exchange, ""))

    def is_open(self, on: date) -> bool:
        if self._covers(on):
            return self.sessions[bisect_left(self.sessions, on)] == on
        return on.weekday() < 5

    def after(self, on: date) -> date:
        """The next trading day."""
        if self._covers(on) and on < self.sessions[-1]:
            return self.sessions[bisect_right(self.sessions, on)]
        return self._step(on, DAY)

    def before(self, on: date) -> date:
        """The previous trading day."""
        if self._covers(on) and on > self.sessions[0]:
            return self.sessions[bisect_left(self.sessions, on) - 1]
        return self._step(on, -DAY)

    def between(self, start: date, end: date) -> list[date]:
        """Trading days from ``start`` to ``end``, both included."""
        days = []
        on = start if self.is_open(start) else self.after(start)
        while on <= end:
            days.append(on)
            on = self.after(on)
        return days

    def last(self, count: int, before: date) -> list[date]:
        """The last ``count`` trading days before a date, oldest first."""
        days: list[date] = []
        while len(days) < count:
            before = self.before(before)
            days.append(before)
        return days[::-1]

    def _covers(self, on: date) -> bool:
        return bool(self.sessions) and self.sessions[0] <= on <= self.sessions[-1]

    def _step(self, on: date, step: timedelta) -> date:
        on += step
        while not self.is_open(on):
            on += step
        return on


@cache
def _trading_days(calendar: str) -> TradingDays:
    if not calendar:
        return TradingDays(())
    # Half a second of imports: only what asks for trading days pays for it.
    import exchange_calendars

    with warnings.catch_warnings():
        # exchange_calendars reads Series.values of zoned times, which pandas 3.1 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        known = exchange_calendars.get_calendar(calendar)
        sessions, half_days = known.sessions, known.early_closes
    return TradingDays(tuple(day.date() for day in sessions), frozenset(day.date() for day in half_days))
