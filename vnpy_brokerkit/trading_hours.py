"""Calendars, auctions and extended hours: the label of a moment, where the broker gives none.

A broker's own word about an instrument (VBrokers ``mktTmType``, IBKR liquid hours) always wins (design, section 5).
What stands here only labels: it never refuses, and it answers for any aware datetime. Two sources are joined:

* which days trade and which end at midday, from ``exchange_calendars`` (XNYS, XHKG, XSHG);
* the hours of a day, from the tables below, in exchange time (vbrokers-openapi 16.1 and 16.2).

A calendar ends (XSHG with the year) and knows no typhoon. Where it has no data (:func:`calendar_knows`) a weekday is
taken for a trading day with the usual hours. The hours are today's hours for every year: the different ones that
Hong Kong kept before March 2012 are not modelled.

``exchange_calendars`` brings pandas and takes about a second to load. It is loaded at the first question, and
:func:`warm` does so from an executor. From then on an answer is a few set look-ups.
"""

from __future__ import annotations

import logging
import threading
import warnings
from bisect import bisect_right
from datetime import date, datetime, time, timedelta, timezone
from enum import Enum
from typing import Literal, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Exchange

logger = logging.getLogger(__name__)


class Segment(str, Enum):
    """The part of a trading day. ``.value`` is the plain text for a tick's ``extra``."""

    PRE = "pre"
    REGULAR = "regular"
    POST = "post"
    NIGHT = "night"
    AUCTION = "auction"
    BREAK = "break"
    CLOSED = "closed"


class Region(Enum):
    """A market with its own days and hours. ``CONNECT`` is Stock Connect northbound: Shanghai and Shenzhen."""

    US = "us"
    HK = "hk"
    CONNECT = "connect"


Auction: TypeAlias = Literal["open", "close"]


class _Row(NamedTuple):
    """From ``start`` (exchange time) until the next row's start, or midnight."""

    start: time
    segment: Segment
    auction: Auction | None = None


_Hours: TypeAlias = tuple[_Row, ...]

_MIDNIGHT = time(0)
# 20:00 New York begins the night session of the *next* trading day (vbrokers-openapi 16.1).
_US_NIGHT_OPENS = time(20)

# vbrokers-openapi 16.1. From 20:00 on the next day decides, see _row().
_US_HOURS: _Hours = (
    _Row(_MIDNIGHT, Segment.NIGHT),
    _Row(time(4), Segment.PRE),
    _Row(time(9, 30), Segment.REGULAR),
    _Row(time(16), Segment.POST),
)
_US_HALF_DAY: _Hours = (
    *_US_HOURS[:3],
    _Row(time(13), Segment.POST),
    _Row(time(17), Segment.CLOSED),
)

# vbrokers-openapi 16.2.
_HK_MORNING: _Hours = (
    _Row(_MIDNIGHT, Segment.CLOSED),
    _Row(time(9), Segment.AUCTION, "open"),
    _Row(time(9, 30), Segment.REGULAR),
)
_HK_HOURS: _Hours = (
    *_HK_MORNING,
    _Row(time(12), Segment.BREAK),
    _Row(time(13), Segment.REGULAR),
    _Row(time(16), Segment.AUCTION, "close"),
    _Row(time(16, 10), Segment.CLOSED),
)
_HK_HALF_DAY: _Hours = (
    *_HK_MORNING,
    _Row(time(12), Segment.AUCTION, "close"),
    _Row(time(12, 10), Segment.CLOSED),
)

# vbrokers-openapi 16.2; the pause after the opening auction and the closing auction of the last three minutes, the same
# in Shanghai and Shenzhen, are general knowledge, not the reference's. Hong Kong's half days are whole days here.
_CONNECT_HOURS: _Hours = (
    _Row(_MIDNIGHT, Segment.CLOSED),
    _Row(time(9, 15), Segment.AUCTION, "open"),
    _Row(time(9, 25), Segment.BREAK),
    _Row(time(9, 30), Segment.REGULAR),
    _Row(time(11, 30), Segment.BREAK),
    _Row(time(13), Segment.REGULAR),
    _Row(time(14, 57), Segment.AUCTION, "close"),
    _Row(time(15), Segment.CLOSED),
)
_SHUT = _Row(_MIDNIGHT, Segment.CLOSED)
_NIGHT = _Row(_US_NIGHT_OPENS, Segment.NIGHT)


class _Market(NamedTuple):
    zone: ZoneInfo
    # All of them must be open. Only the first one's half days are the market's own.
    calendars: tuple[str, ...]
    hours: _Hours
    half_day: _Hours


_MARKETS: dict[Region, _Market] = {
    Region.US: _Market(ZoneInfo("America/New_York"), ("XNYS",), _US_HOURS, _US_HALF_DAY),
    Region.HK: _Market(ZoneInfo("Asia/Hong_Kong"), ("XHKG",), _HK_HOURS, _HK_HALF_DAY),
    # Mainland exchanges have no half days.
    Region.CONNECT: _Market(ZoneInfo("Asia/Shanghai"), ("XSHG", "XHKG"), _CONNECT_HOURS, _CONNECT_HOURS),
}

US_STOCK_VENUES: frozenset[Exchange] = frozenset(
    {
        Exchange.SMART,
        Exchange.NASDAQ,
        Exchange.NYSE,
        Exchange.ARCA,
        Exchange.AMEX,
        Exchange.BATS,
        Exchange.IEX,
        Exchange.ISLAND,
        Exchange.EDGEA,
        Exchange.IBKRATS,
    }
)
_REGION_OF: dict[Exchange, Region] = {
    **dict.fromkeys(US_STOCK_VENUES, Region.US),
    Exchange.SEHK: Region.HK,
    Exchange.SSE: Region.CONNECT,
    Exchange.SZSE: Region.CONNECT,
    Exchange.SHHK: Region.CONNECT,
    Exchange.SZHK: Region.CONNECT,
}


def region_of(exchange: Exchange) -> Region | None:
    """The region whose stock hours hold on ``exchange``; None for one that has no hours here (CME, IDEALPRO ...)."""
    return _REGION_OF.get(exchange)


def segment(region: Region, at: datetime, *, broker: Segment | None = None) -> Segment:
    """The segment at ``at`` (aware, any zone). What ``broker`` says is the answer whenever it says anything.

    US night runs from 20:00 to 04:00 New York before each trading day: from Sunday evening to Friday morning, not on
    the evening before a holiday, again on the holiday's own evening. Connect trades on days when Shanghai and
    Hong Kong are both open. Raises ValueError for a naive datetime.
    """
    if broker is not None:
        return broker
    return _row(region, _local(region, at)).segment


def auction(region: Region, at: datetime) -> Auction | None:
    """Which auction runs at ``at`` by the tables: ``"open"``, ``"close"`` or None. US crosses last no time: None."""
    return _row(region, _local(region, at)).auction


def is_session(region: Region, day: date) -> bool:
    """Whether ``day`` (exchange date) is a trading day; a weekday where no calendar says otherwise."""
    return day.weekday() < 5 and all(day not in _days(name).holidays for name in _MARKETS[region].calendars)


def calendar_knows(region: Region, day: date) -> bool:
    """Whether every calendar of ``region`` has data for ``day``; if not, weekdays with the usual hours are assumed.

    Where only one of Connect's two calendars has data, the day still follows that one.
    """
    known = (_days(name) for name in _MARKETS[region].calendars)
    return all(days.first <= day <= days.last for days in known)


def next_open(region: Region, at: datetime) -> datetime:
    """When regular trading next begins strictly after ``at`` (the afternoon's beginning counts), aware, in UTC.

    The search ends: beyond the calendars' last day each weekday is a session.
    """
    local = _local(region, at)
    market = _MARKETS[region]
    day = local.date()
    while True:
        day = _session_from(region, day)
        for row in _hours(region, day):
            if row.segment is Segment.REGULAR:
                opens = datetime.combine(day, row.start, tzinfo=market.zone).astimezone(timezone.utc)
                if opens > at:
                    return opens
        day += timedelta(days=1)


def trading_day(region: Region, at: datetime) -> date:
    """The exchange date that ``at`` belongs to.

    On a trading day it is that day, to midnight in Asia and to 20:00 New York in the US, where the night session of
    the next trading day begins. Weekends and holidays belong to the next trading day.
    """
    local = _local(region, at)
    day = local.date()
    if region is Region.US and local.time() >= _US_NIGHT_OPENS:
        day += timedelta(days=1)
    return _session_from(region, day)


def warm() -> None:
    """Load all calendars now (about a second the first time): for an executor, so that no loop waits for pandas."""
    for market in _MARKETS.values():
        for name in market.calendars:
            _days(name)


def _local(region: Region, at: datetime) -> datetime:
    if at.utcoffset() is None:
        raise ValueError(f"a naive datetime has no place in trading hours: {at!r}")
    return at.astimezone(_MARKETS[region].zone)


def _row(region: Region, local: datetime) -> _Row:
    day, clock = local.date(), local.time()
    if region is Region.US and clock >= _US_NIGHT_OPENS:
        return _NIGHT if is_session(region, day + timedelta(days=1)) else _SHUT
    if not is_session(region, day):
        return _SHUT
    hours = _hours(region, day)
    return hours[bisect_right(hours, clock, key=lambda row: row.start) - 1]


def _hours(region: Region, day: date) -> _Hours:
    market = _MARKETS[region]
    return market.half_day if day in _days(market.calendars[0]).half_days else market.hours


def _session_from(region: Region, day: date) -> date:
    """The first session on or after ``day``. It ends, since there are finitely many holidays."""
    while not is_session(region, day):
        day += timedelta(days=1)
    return day


# --- the calendars' days, as plain sets -----------------------------------------------------------------------------


class _Days(NamedTuple):
    """What one calendar says about weekdays, between its first and last session."""

    first: date
    last: date
    holidays: frozenset[date]
    half_days: frozenset[date]


# Replayed data reaches back to 2013. XNYS knows rules, not dates, and has no end of its own.
_FIRST_DAY = date(2000, 1, 1)
_LAST_DAY = date(2049, 12, 31)
# A calendar that could not be loaded knows nothing: its range is empty.
_UNKNOWN = _Days(date.max, date.min, frozenset(), frozenset())

_loaded: dict[str, _Days] = {}
# Shared by every gateway of the process, like the routes registry; taken only until a calendar is loaded. Without it,
# two first callers would build at once and disturb each other's warning filters.
_loading = threading.Lock()


def _days(name: str) -> _Days:
    days = _loaded.get(name)
    if days is None:
        with _loading:
            days = _loaded.get(name)
            if days is None:
                days = _loaded[name] = _load(name)
    return days


def _load(name: str) -> _Days:
    try:
        with warnings.catch_warnings():
            # exchange_calendars calls what newer pandas deprecates: nothing that a user of this package could mend.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            return _read(name)
    except Exception:  # whatever it is, a calendar only labels: quotes and orders go on, with weekdays' hours
        logger.warning("calendar %s cannot be loaded, weekdays are taken for trading days", name, exc_info=True)
        return _UNKNOWN


def _read(name: str) -> _Days:
    import exchange_calendars  # here and not above: it brings pandas, a second that importers should not wait for

    calendar_class = type(exchange_calendars.get_calendar(name))
    earliest, latest = calendar_class.bound_min(), calendar_class.bound_max()
    calendar = exchange_calendars.get_calendar(
        name,
        start=max(_FIRST_DAY, earliest.date()) if earliest is not None else _FIRST_DAY,
        end=min(_LAST_DAY, latest.date()) if latest is not None else _LAST_DAY,
    )
    sessions = {session.date() for session in calendar.sessions}
    first, last = min(sessions), max(sessions)
    span = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return _Days(
        first,
        last,
        holidays=frozenset(day for day in span if day.weekday() < 5 and day not in sessions),
        half_days=frozenset(session.date() for session in calendar.early_closes),
    )
