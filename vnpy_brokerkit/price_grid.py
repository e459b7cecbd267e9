"""Tick sizes (最小价差) as data with effective dates, and arithmetic on the price grid.

VBrokers has no tick table endpoint; what its quotes offer (``spreadLevel``, ``priceSpread``) may be the bid-ask gap
instead, so it is believed only where a table agrees (vbrokers-openapi 16.4). IBKR's increments come from its own
market rules. All prices and ticks are Decimal, in the contract's currency; days are exchange dates.
"""

from __future__ import annotations

from datetime import date
from decimal import Context, Decimal
from typing import NamedTuple, TypeAlias

from vnpy_brokerkit.trading_hours import Region


class _Band(NamedTuple):
    """Prices above the band before and up to ``up_to``, itself included, move by ``tick``."""

    up_to: Decimal
    tick: Decimal


_Table: TypeAlias = tuple[_Band, ...]


class _Edition(NamedTuple):
    """A table that holds from ``since`` on; ``planned``: announced for about that day, not confirmed."""

    since: date
    bands: _Table
    planned: bool = False


def _bands(*rows: tuple[str, str]) -> _Table:
    return tuple(_Band(Decimal(up_to), Decimal(tick)) for up_to, tick in rows)


# The exchange's spread table says "from 0.01 to 0.25", then "over 0.25 to 0.50": an edge belongs to the band below it.
_HK_LOW = _bands(("0.25", "0.001"), ("0.50", "0.005"))
_HK_HIGH = _bands(
    ("100", "0.050"),
    ("200", "0.100"),
    ("500", "0.200"),
    ("1000", "0.500"),
    ("2000", "1.000"),
    ("5000", "2.000"),
    ("Infinity", "5.000"),
)

# Newest first. vbrokers-openapi 16.4, equities and REITs; phase 2 was announced for "mid-2026" with no day.
_HK_EQUITIES: tuple[_Edition, ...] = (
    _Edition(
        date(2026, 7, 1),
        (*_HK_LOW, *_bands(("10", "0.005"), ("20", "0.010"), ("50", "0.020")), *_HK_HIGH),
        planned=True,
    ),
    _Edition(date(2025, 8, 4), (*_HK_LOW, *_bands(("10", "0.010"), ("20", "0.010"), ("50", "0.020")), *_HK_HIGH)),
    _Edition(date.min, (*_HK_LOW, *_bands(("10", "0.010"), ("20", "0.020"), ("50", "0.050")), *_HK_HIGH)),
)
# HK funds, warrants and bonds have tables of their own, which the reference does not hold; it has these defaults.
_HK_FUND_TICK = Decimal("0.001")
_HK_BOND_TICK = Decimal("0.0001")
_HK_KNOWN_TICKS: frozenset[Decimal] = frozenset(
    {_HK_FUND_TICK, _HK_BOND_TICK, *(band.tick for edition in _HK_EQUITIES for band in edition.bands)}
)

_US_TICK = Decimal("0.01")
_US_TICK_BELOW_ONE = Decimal("0.0001")
_A_SHARE_TICK = Decimal("0.01")
_A_FUND_TICK = Decimal("0.001")

# Wide enough for a Decimal made from a float (up to 55 digits here): remainders stay exact.
_EXACT = Context(prec=100)


def tick_size(region: Region, price: Decimal, day: date, *, fund: bool = False, planned: bool = False) -> Decimal:
    """The smallest price step around ``price`` (finite) on ``day`` (vbrokers-openapi 16.4).

    ``fund``: the instrument is an ETF or, in Hong Kong, anything that is no equity or REIT. For those the Hong Kong
    answer is the finest usual tick, 0.001, which refuses no valid price. ``planned`` switches on the table that is
    announced and not confirmed (Hong Kong phase 2: 0.005 between 0.50 and 10, from mid-2026); it is off until
    the exchange has named the day.
    """
    if region is Region.US:
        return _US_TICK if price >= 1 else _US_TICK_BELOW_ONE
    if region is Region.CONNECT:
        return _A_FUND_TICK if fund else _A_SHARE_TICK
    if fund:
        return _HK_FUND_TICK
    edition = next(e for e in _HK_EQUITIES if e.since <= day and (planned or not e.planned))
    return next(band.tick for band in edition.bands if price <= band.up_to)


def plausible_tick(region: Region, candidate: Decimal, price: Decimal, day: date, *, fund: bool = False) -> bool:
    """Whether a tick size that a broker reports can be one: the sanity rule of vbrokers-openapi 16.4.

    Equities: it must be the table's value for the price band. The planned table counts too from its day on: its finer
    step cannot be mistaken for a bid-ask gap on the coarser grid. Hong Kong ``fund`` (see :func:`tick_size`) has
    tables that are not held here: any tick known in that market is believed. Otherwise, take :func:`tick_size`.
    """
    if fund and region is Region.HK:
        return candidate in _HK_KNOWN_TICKS
    return candidate in {tick_size(region, price, day, fund=fund, planned=planned) for planned in (False, True)}


def on_grid(price: Decimal, tick: Decimal) -> bool:
    """Whether ``price`` is a whole number of ticks, exactly; False for NaN and infinity.

    Raises ValueError for a tick that is not positive.
    """
    _check_tick(tick)
    return price.is_finite() and not _EXACT.remainder(price, tick)


def align(price: Decimal, tick: Decimal, *, up: bool) -> Decimal:
    """The nearest price on the grid at or above (``up``) or at or below ``price``, less than a tick away.

    A price on the grid comes back as it is. A move up never leaves the band's grid: bands end on it. Raises
    ValueError for a price that is not finite or a tick that is not positive.
    """
    _check_tick(tick)
    if not price.is_finite():
        raise ValueError(f"not a price: {price}")
    rest = _EXACT.remainder(price, tick)  # of the price's sign, also for the negative prices that futures know
    if not rest:
        return price
    toward_zero = _EXACT.subtract(price, rest)
    if up == (price > 0):
        away = tick if up else -tick
        return _EXACT.add(toward_zero, away)
    return toward_zero


def _check_tick(tick: Decimal) -> None:
    if not (tick.is_finite() and tick > 0):
        raise ValueError(f"not a tick size: {tick}")
