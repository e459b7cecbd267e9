"""Prices and quantities as a person reads and types them."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from vnpy.trader.object import ContractData
from vnpy.trader.utility import get_digits

MOST_DIGITS = 8


def digits_of(contract: ContractData | None, price: float) -> int:
    """Decimals of a price in the contract's currency: the tick's, or the price's own where that has more or none is
    known. A price band's finer step reaches the engine with the first quote inside it.
    """
    own = -int(Decimal(str(price)).normalize().as_tuple().exponent)
    tick = get_digits(contract.pricetick) if contract and contract.pricetick > 0 else 0
    return min(max(own, tick, 0), MOST_DIGITS)


def price_text(price: float, digits: int) -> str:
    """A price with its decimals."""
    return f"{price:.{digits}f}"


def quantity_text(quantity: float) -> str:
    """A number of shares without a meaningless ``.0``; fractions as they are."""
    return format(Decimal(str(quantity)).normalize(), "f")


def snapped(price: float, contract: ContractData | None, *, up: bool) -> float:
    """The price on the contract's tick grid: at or above it for a purchase (``up``), else at or below."""
    if contract is None or contract.pricetick <= 0:
        return price
    tick = Decimal(str(contract.pricetick))
    steps = (Decimal(str(price)) / tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)
    return float(steps * tick)
