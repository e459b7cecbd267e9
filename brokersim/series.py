"""What an instrument's market is played from: days of minutes, or of trades and quotes. Prices are points (see
``prices``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol

from brokersim.model import Segment
from brokersim.sessions import Span, segment_at

MINUTE_MS = 60_000


class Event(NamedTuple):
    """One change of the market. A price or size of 0 means: unchanged by this event."""

    at: int
    """Epoch milliseconds."""
    price: int = 0
    size: int = 0
    marks: bool = False
    """Does the trade set last, high and low (condition bit 1)? Any trade adds to the volume."""
    bid: int = 0
    bid_size: int = 0
    ask: int = 0
    ask_size: int = 0
    newer: str = ""
    """The side that changed last, ``bid`` or ``ask``, where the source knows."""


class Minute(NamedTuple):
    """One minute, stamped with its start. ``open`` is 0 when no trade set a price, ``bid`` and ``ask`` when none is
    known."""

    at: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    turnover: int
    """Points times shares."""
    bid: int = 0
    bid_size: int = 0
    ask: int = 0
    ask_size: int = 0
    auction: bool = False
    """A single print at the end of the minute: an opening auction."""


@dataclass(frozen=True)
class Day:
    """One trading day's minutes, oldest first."""

    date: date
    spans: tuple[Span, ...]
    minutes: tuple[Minute, ...]

    def regular(self) -> list[Minute]:
        """The regular session's minutes; an opening auction belongs to it."""
        return [minute for minute in self.minutes if self.segment_of(minute) == "regular"]

    def segment_of(self, minute: Minute) -> Segment:
        """The segment that a minute belongs to."""
        return "regular" if minute.auction else segment_at(self.spans, minute.at)

    def summary(self) -> Minute | None:
        """The regular session as one bar, None if nothing traded."""
        return merge(self.regular(), self.spans[0].start)


def merge(minutes: Iterable[Minute], at: int) -> Minute | None:
    """Several minutes as one bar stamped ``at``; None if nothing traded."""
    rows = [m for m in minutes if m.volume or m.open]
    priced = [m for m in rows if m.open]
    if not priced:
        return None
    return Minute(
        at,
        priced[0].open,
        max(m.high for m in priced),
        min(m.low for m in priced),
        priced[-1].close,
        sum(m.volume for m in rows),
        sum(m.turnover for m in rows),
    )


class Series(Protocol):
    """The days of one instrument, from files or generated."""

    @property
    def live(self) -> date:
        """The day that a wall replay starts with."""

    def day(self, on: date) -> Day | None:
        """That day's minutes; None if the instrument does not trade on it."""

    def events(self, on: date) -> Iterator[Event]:
        """That day as it is played, oldest first."""

    def next_date(self, on: date) -> date | None:
        """The next day that there is; None after the last."""

    def previous_close(self, on: date) -> int:
        """The close before a day, in that day's shares (splits applied)."""

    def history(self, today: date) -> list[date]:
        """Days with minutes before ``today``, oldest first."""

    def daily(self, on: date) -> Minute | None:
        """That day's regular session as one bar."""

    def daily_dates(self, today: date) -> list[date]:
        """Days with a daily bar before ``today``, oldest first."""
