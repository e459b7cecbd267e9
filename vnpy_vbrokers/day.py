"""What has been read of one market on one day of the broker's, and which lists hold an order of which day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from vnpy_brokerkit.tracker import TrackedOrder

from .deals import DealsReading
from .order_pages import OrderPages
from .spelling import MARKETS
from .wire.schema import OrderRow

BROKER_ZONE = ZoneInfo("Asia/Hong_Kong")
"""Whose midnight moves orders and fills from today's lists to the history lists: in the middle of New York's day."""
CLOCK_DOUBT = timedelta(minutes=10)
"""By how much our clock and the broker's may differ: so near to a midnight an order may be in either list."""

LOOK_BACK = timedelta(days=3)
"""How old an order may be that works without anybody here knowing it: placed before a weekend for the day after."""


def mark_of(row: OrderRow) -> int:
    """Return a hash of what a row says that can change: of each order of a long day one is kept."""
    return hash((row.status, row.business_amount, row.entrust_price, row.entrust_amount))


@dataclass
class Day:
    """One market on one day of the broker's."""

    market: str
    today: date
    orders: OrderPages
    session: OrderPages | None = None
    """The part of the exchange's present day that the broker's midnight has moved to the history list."""
    session_start: date | None = None
    session_read: bool = False
    """Whether that list was looked at since the midnight."""
    older: OrderPages | None = None
    """The days before, for orders that still work: read last, and once."""
    fills: DealsReading | None = None
    """The fills of a long day, being read."""
    fills_begun: bool = False
    applied: dict[str, int] = field(default_factory=dict)
    """The mark of each row when it was last applied: the same again is no news."""

    @property
    def lists(self) -> list[OrderPages]:
        return [self.orders, self.session] if self.session else [self.orders]

    @property
    def orders_behind(self) -> bool:
        """Whether there are orders to be read on."""
        return any(pages.behind for pages in self.lists)

    @property
    def behind(self) -> bool:
        """Whether there is more to be read."""
        return self.fills is not None or self.orders_behind or self.older is not None

    @property
    def whole(self) -> bool:
        """Whether every order of the exchange's present day is known, and every fill of it was looked for."""
        return self.fills is None and all(pages.whole for pages in self.lists)

    def __contains__(self, number: object) -> bool:
        return number in self.orders


def zones(market: str) -> tuple[ZoneInfo, ZoneInfo]:
    """The zones whose dates the broker may mean."""
    return ZoneInfo(MARKETS[market].zone), BROKER_ZONE


def first_day(market: str, orders: Iterable[TrackedOrder]) -> date:
    """Return the day of the oldest of some orders, whatever the zone of the broker's dates."""
    oldest = min(order.time for order in orders) - CLOCK_DOUBT
    return min(oldest.astimezone(zone).date() for zone in zones(market))


def crossed_midnight(market: str, order: TrackedOrder, now: datetime) -> bool:
    """Tell whether a midnight may have moved an order to the history lists since it was placed."""
    return any(
        (order.time - CLOCK_DOUBT).astimezone(zone).date() < (now + CLOCK_DOUBT).astimezone(zone).date()
        for zone in zones(market)
    )
