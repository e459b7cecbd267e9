"""Prices as integers inside the market, and the tick grids that they stand on.

Inside, a price is a whole number of *points*, 1/100000 of the currency, so that playing a day needs no decimal
arithmetic; at the edge it is a Decimal.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache

from brokersim.model import Instrument

POINTS = 100_000
Bands = tuple[tuple[Decimal, Decimal], ...]

_LARGEST = Decimal(10**9)

# vbrokers-openapi 16.4: (highest price of the band, tick). The second phase (0.005 from 0.50 to 10) was planned
# without a date, and is added with one when it takes effect.
_HK_BEFORE: Bands = (
    (Decimal("0.25"), Decimal("0.001")),
    (Decimal("0.5"), Decimal("0.005")),
    (Decimal(10), Decimal("0.01")),
    (Decimal(20), Decimal("0.02")),
    (Decimal(100), Decimal("0.05")),
    (Decimal(200), Decimal("0.1")),
    (Decimal(500), Decimal("0.2")),
    (Decimal(1000), Decimal("0.5")),
    (Decimal(2000), Decimal(1)),
    (Decimal(5000), Decimal(2)),
    (_LARGEST, Decimal(5)),
)
_HK_PHASE_1: Bands = (
    *_HK_BEFORE[:2],
    (Decimal(20), Decimal("0.01")),
    (Decimal(50), Decimal("0.02")),
    *_HK_BEFORE[4:],
)
HK_STOCK_TICKS: tuple[tuple[date, Bands], ...] = ((date(2025, 8, 4), _HK_PHASE_1), (date.min, _HK_BEFORE))
"""(effective from, bands), newest first."""

US_TICKS: Bands = ((Decimal("0.9999"), Decimal("0.0001")), (_LARGEST, Decimal("0.01")))

FIXED_TICKS: dict[tuple[str, str], Decimal] = {
    ("SEHK", "etf"): Decimal("0.001"),
    ("SSE", "etf"): Decimal("0.001"),
    ("SZSE", "etf"): Decimal("0.001"),
    ("SSE", "stock"): Decimal("0.01"),
    ("SZSE", "stock"): Decimal("0.01"),
    ("IDEALPRO", "forex"): Decimal("0.00005"),
    ("CME", "future"): Decimal("0.25"),
    ("HKFE", "future"): Decimal(1),
    ("SMART", "option"): Decimal("0.01"),
}
"""(exchange, kind) -> tick at any price (vbrokers-openapi 16.4; exchange rules for the others)."""


def bands_of(instrument: Instrument, on: date) -> Bands:
    """The tick bands that hold for an instrument on a date."""
    fixed = FIXED_TICKS.get((instrument.exchange, instrument.kind))
    if fixed is not None:
        return ((_LARGEST, fixed),)
    if instrument.exchange == "SEHK":
        return next(bands for since, bands in HK_STOCK_TICKS if on >= since)
    return US_TICKS


@dataclass(frozen=True)
class Grid:
    """The tick grid of one instrument, in points. A band's upper bound belongs to it: the tick below 10.00 is that of
    9.99."""

    bounds: tuple[int, ...]
    ticks: tuple[int, ...]

    @classmethod
    def of(cls, bands: Bands) -> Grid:
        return cls(tuple(to_points(bound) for bound, _ in bands), tuple(to_points(tick) for _, tick in bands))

    def tick(self, points: int) -> int:
        """The tick size at a price."""
        return self.ticks[min(bisect_left(self.bounds, points), len(self.ticks) - 1)]

    def up(self, points: int) -> int:
        """The next price on the grid above."""
        tick = self.tick(points + 1)
        return points - points % tick + tick

    def down(self, points: int) -> int:
        """The next price on the grid below; 0 when there is none."""
        tick = self.tick(points)
        return max(0, points - (points % tick or tick))

    def snap(self, points: int) -> int:
        """The nearest price on the grid (the upper one when halfway), at least one tick."""
        tick = self.tick(points)
        return max(tick, (points + tick // 2) // tick * tick)


def to_points(price: Decimal) -> int:
    """Decimal -> points, rounded half even."""
    return int((price * POINTS).to_integral_value())


def read_points(text: str) -> int:
    """A data file's cell -> points; 0 for an empty cell. Raises ValueError for what is no number."""
    return round(float(text) * POINTS) if text else 0


@lru_cache(maxsize=200_000)
def to_price(points: int) -> Decimal:
    """Points -> Decimal with as few decimal places as it needs, but at least two (182.10, 1.08515)."""
    places = 5
    while places > 2 and points % 10 == 0:
        points //= 10
        places -= 1
    return Decimal(points).scaleb(-places)


def to_money(points: int, size: Decimal) -> Decimal:
    """Points times shares -> money, with the contract's multiplier."""
    return Decimal(points).scaleb(-5) * size


Snap = Callable[[int], int]
