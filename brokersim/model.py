"""The nouns that the simulated brokers share: instruments, quotes, orders, fills.

Everything here is plain data. Prices and money are :class:`~decimal.Decimal` in the instrument's currency, volumes
whole shares (or contracts), times aware UTC datetimes. Names follow vn.py's, so that ``/state`` needs no translation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

Direction = Literal["LONG", "SHORT"]
OrderType = Literal["LIMIT", "MARKET", "STOP"]
Status = Literal["SUBMITTING", "NOTTRADED", "PARTTRADED", "ALLTRADED", "CANCELLED", "REJECTED"]
Segment = Literal["pre", "regular", "post", "night", "closed"]
Kind = Literal["stock", "etf", "index", "forex", "future", "option"]
Interval = Literal["1m", "1h", "1d", "1w"]

ACTIVE: frozenset[Status] = frozenset({"SUBMITTING", "NOTTRADED", "PARTTRADED"})
ZERO = Decimal(0)


@dataclass(frozen=True)
class Instrument:
    """One tradable thing. ``exchange`` is vn.py's value (SMART, SEHK, SSE, SZSE ...), ``zone`` its time zone."""

    symbol: str
    exchange: str
    name: str
    name_en: str
    kind: Kind
    currency: str
    zone: str
    lot: int = 1
    size: Decimal = Decimal(1)

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange}"


@dataclass(frozen=True)
class Level:
    """One level of the book: a price and the shares shown there."""

    price: Decimal
    volume: int


@dataclass(frozen=True)
class Quote:
    """What an instrument shows at one instant. ``volume``, ``turnover``: the day's; ``last_volume``: the last one's."""

    vt_symbol: str
    time: datetime
    last: Decimal
    last_volume: int
    last_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    prev_close: Decimal
    volume: int
    turnover: Decimal
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    segment: Segment


@dataclass(frozen=True)
class Bar:
    """One bar; ``time`` is its start, aware UTC."""

    time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
    turnover: Decimal
    segment: Segment = "regular"


@dataclass
class Order:
    """One order at one broker. ``tag`` is the wire's own data about it (type codes, flags), untouched by matching."""

    id: str
    account: str
    vt_symbol: str
    direction: Direction
    type: OrderType
    price: Decimal
    volume: int
    time: datetime
    status: Status = "SUBMITTING"
    traded: int = 0
    turnover: Decimal = ZERO
    reason: str = ""
    reference: str = ""
    extended: bool = False
    """May it trade outside the regular segment."""
    updated: datetime | None = None
    tag: dict[str, str] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return self.volume - self.traded

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


@dataclass(frozen=True)
class Fill:
    """One execution. ``cumulative`` is the order's filled volume after it."""

    id: str
    order_id: str
    account: str
    vt_symbol: str
    direction: Direction
    price: Decimal
    volume: int
    cumulative: int
    time: datetime
    fee: Decimal = ZERO


@dataclass
class Position:
    """Shares held in one account; ``price`` is the average cost, negative ``volume`` is short."""

    account: str
    vt_symbol: str
    volume: int
    price: Decimal
