"""What is known of one instrument's market, and what one tick of TWS changes in it (reference "tws-api", section 15).

No wire in here: ticks come as their numbers and values, a :class:`Board` says whether anything that is shown changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from typing import NamedTuple

from vnpy.trader.constant import Product

from vnpy_brokerkit.tick_time import TickTime

from .contracts import Instrument

ZERO = Decimal(0)
DEPTH = 5
NO_PRICE = -1
LATEST = 10**10
"""Seconds since 1970 beyond which a time is none."""
MOST_ROWS = 100
"""Rows of one side that are kept, whatever positions a peer names."""

# Section 15.1: live and delayed types of the same field.
PRICE2FIELD: Mapping[int, str] = {
    1: "bid", 66: "bid", 2: "ask", 67: "ask", 4: "last", 68: "last", 6: "high", 72: "high", 7: "low", 73: "low",
    9: "prev_close", 75: "prev_close", 14: "open", 76: "open",
}  # fmt: skip
SIZE2FIELD: Mapping[int, str] = {
    0: "bid_size", 69: "bid_size", 3: "ask_size", 70: "ask_size", 5: "last_volume", 71: "last_volume",
    8: "volume", 74: "volume", 22: "open_interest", 86: "open_interest",
}  # fmt: skip
PRICE2SIZE: Mapping[str, str] = {"bid": "bid_size", "ask": "ask_size", "last": "last_volume"}
"""A price of the best bid, best ask or last trade carries its size (section 8.3)."""
LAST_TIME = frozenset({45, 88})
RT_VOLUME = 48
HALTED = frozenset({49, 90})
DELAYED = frozenset({*range(66, 77), 80, 81, 82, 83, 88, 90})
"""Types that only delayed data has."""
DELAYED_DATA_TYPES = frozenset({3, 4})
NEGATIVE = frozenset({Product.FUTURES, Product.OPTION, Product.SPREAD})
"""Products that can trade below zero; elsewhere, and at -1, a price that is not positive means: none."""
QUOTED_ONLY = frozenset({Product.FOREX, Product.SPOT})
"""Bid and ask, no trades (section 14.1): their last price is the middle."""


class Level(NamedTuple):
    """One level of the book: price in the currency, volume in shares or contracts."""

    price: Decimal
    volume: Decimal


class Side:
    """One side of the depth, by position. Real feeds name rows that are not there: tolerated (section 6.3)."""

    def __init__(self) -> None:
        self._rows: list[Level] = []

    def apply(self, position: int, operation: int, level: Level) -> None:
        """0 inserts and shifts, 1 sets or appends, 2 removes if present."""
        rows = self._rows
        if operation == 2:
            if 0 <= position < len(rows):
                del rows[position]
        elif operation == 1 and 0 <= position < len(rows):
            rows[position] = level
        elif operation in (0, 1) and position >= 0:
            rows.insert(position, level)
            del rows[MOST_ROWS:]

    def clear(self) -> None:
        self._rows.clear()

    def levels(self, *, bid: bool) -> list[Level]:
        """The rows by price, best first; SMART depth has a row for each venue, which add up."""
        volumes: dict[Decimal, Decimal] = {}
        for row in self._rows:
            if row.price > 0 and row.volume > 0:
                volumes[row.price] = volumes.get(row.price, ZERO) + row.volume
        return [Level(price, volumes[price]) for price in sorted(volumes, reverse=bid)]


@dataclass
class Board:
    """Prices in the instrument's currency, volumes in shares or contracts; zero: not known."""

    instrument: Instrument
    shown: bool = False
    """Somebody subscribed it: ticks go to the engine. Otherwise it serves orders and the profit of a position."""
    open: Decimal = ZERO
    high: Decimal = ZERO
    low: Decimal = ZERO
    last: Decimal = ZERO
    prev_close: Decimal = ZERO
    bid: Decimal = ZERO
    ask: Decimal = ZERO
    bid_size: Decimal = ZERO
    ask_size: Decimal = ZERO
    last_volume: Decimal = ZERO
    volume: Decimal = ZERO
    turnover: Decimal = ZERO
    open_interest: Decimal = ZERO
    delayed: bool = False
    halted: bool = False
    time: datetime | None = None
    """Of the newest tick that was given out; it only moves forward."""
    trade_time: datetime | None = None
    """Of the last trade, as TWS told it."""
    trade_news: datetime | None = None
    """The same in milliseconds, of a trade that was not given out yet."""
    stamps: TickTime = field(default_factory=TickTime)
    given: Decimal = ZERO
    """The volume when it was last given out."""
    middle: Decimal = ZERO
    """Of bid and ask when both were last there."""
    depth_bids: Side = field(default_factory=Side)
    depth_asks: Side = field(default_factory=Side)

    # ------------------------------------------------------------------ what is asked of it

    def price(self) -> Decimal:
        """The last price; where nothing trades the middle of the quote; where nothing traded yet the previous close."""
        if self.last:
            return self.last
        if self.instrument.product in QUOTED_ONLY:
            return self.middle or self.prev_close
        return self.prev_close or self.middle

    @property
    def bids(self) -> tuple[Level, ...]:
        """The bid side, best first, up to five levels."""
        return _side(self.bid, self.bid_size, self.depth_bids.levels(bid=True), bid=True)

    @property
    def asks(self) -> tuple[Level, ...]:
        """The ask side, best first, up to five levels."""
        return _side(self.ask, self.ask_size, self.depth_asks.levels(bid=False), bid=False)

    # ------------------------------------------------------------------ what changes it

    def take_price(self, kind: int, price: float, size: float) -> bool:
        """A price with its size; return whether anything changed."""
        name = PRICE2FIELD.get(kind)
        if name is None:
            return False
        value = self._price(price)
        if not value and name not in ("bid", "ask"):
            return False  # none yet: what is known stays
        changed = self._set(name, value)
        if name in PRICE2SIZE:
            volume = exact(size) if value else ZERO
            changed = self._set(PRICE2SIZE[name], max(volume, ZERO)) or changed
        if self.bid and self.ask:
            self.middle = (self.bid + self.ask) / 2
        return self._see_delay(kind) or changed

    def take_size(self, kind: int, size: float) -> bool:
        """A size; return whether anything changed."""
        name = SIZE2FIELD.get(kind)
        if name is None or not is_told(size) or size < 0:
            return False
        value = exact(size)
        if name == "volume":
            return self._take_volume(value) or self._see_delay(kind)
        return self._set(name, value)

    def take_text(self, kind: int, text: str) -> bool:
        """The time of the last trade, or RT volume; return whether anything that is shown changed."""
        if kind in LAST_TIME:
            is_news = self._take_time(_parse(text))
            return self._see_delay(kind) or (is_news and self.stamps.waiting is not None)
        return self._take_rt_volume(text) if kind == RT_VOLUME else False

    def take_number(self, kind: int, value: float) -> bool:
        """A trading halt, or its end (-1: not known)."""
        return kind in HALTED and self._set("halted", value > 0)

    def take_depth(self, position: int, operation: int, side: int, price: float, size: float) -> None:
        """A row of the depth: side 1 is the bid."""
        rows = self.depth_bids if side == 1 else self.depth_asks
        rows.apply(position, operation, Level(self._price(price), exact(size)))

    def clear_depth(self) -> None:
        """Forget the depth: it is reset, or nobody renews it."""
        self.depth_bids.clear()
        self.depth_asks.clear()

    def clear_quote(self) -> None:
        """Forget the whole book: its channel is gone."""
        self.bid = self.ask = self.bid_size = self.ask_size = ZERO
        self.clear_depth()

    def _set(self, name: str, value: object) -> bool:
        if getattr(self, name) == value:
            return False
        setattr(self, name, value)
        return True

    def _price(self, price: float) -> Decimal:
        value = exact(price)
        if value == NO_PRICE or (value < 0 and self.instrument.product not in NEGATIVE):
            return ZERO
        return value

    def _see_delay(self, kind: int) -> bool:
        return kind in DELAYED and self._set("delayed", True)

    def _take_volume(self, volume: Decimal) -> bool:
        """The day's volume. TWS tells no turnover: without RT volume it is added up from what traded at which price.

        A volume that falls to less than half is a new day's; a smaller fall is a bust trade.
        """
        if volume == self.volume:
            return False
        if volume * 2 < self.volume:
            self.turnover = ZERO
            self.stamps.begin()
        traded = volume if not self.turnover else max(volume - self.volume, ZERO)
        self.turnover += traded * self.price() * self.instrument.size
        self.volume = volume
        return True

    def _take_rt_volume(self, text: str) -> bool:
        """``price;size;epochMs;totalVolume;vwap;single``: the trade's time in milliseconds, and the day's average."""
        parts = text.split(";")
        if len(parts) < 5:
            return False
        if self._take_time(_parse(parts[2]) / 1000):
            self.trade_news = self.trade_time
        total, average = _parse(parts[3]), _parse(parts[4])
        if total <= 0 or average <= 0:
            return False
        return self._set("turnover", max(self.volume, total) * average * self.instrument.size)

    def _take_time(self, seconds: Decimal) -> bool:
        """The time of the last trade, in seconds since 1970; return whether it is news."""
        if not 0 < seconds < LATEST:
            return False
        told = datetime.fromtimestamp(float(seconds), timezone.utc)
        if self.trade_time and told <= self.trade_time:
            return False
        self.trade_time = told
        return True


def is_told(number: float) -> bool:
    """Whether a wire's number is one: neither NaN nor infinity nor the unset value."""
    return math.isfinite(number) and abs(number) < 1e15


def exact(number: float) -> Decimal:
    """A wire's number, exactly as it was written; zero for one that is not told."""
    if not is_told(number):
        return ZERO
    value = Decimal(str(number))
    return value.to_integral_value() if value == value.to_integral_value() else value


def _parse(text: str) -> Decimal:
    try:
        return exact(float(text or 0))
    except ValueError:
        return ZERO


def _side(best: Decimal, size: Decimal, depth: list[Level], *, bid: bool) -> tuple[Level, ...]:
    """The best level is the quote's: it is renewed first. The depth stands behind it."""
    if not best:
        return tuple(depth[:DEPTH])
    behind = [level for level in depth if (level.price < best if bid else level.price > best)]
    return (Level(best, size), *behind[: DEPTH - 1])
