"""Option values by Black and Scholes: plain floats, since they are estimates and no money."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

RATE = 0.04
"""Interest a year; dividends are left out."""
YEAR_S = 365 * 86_400
HIGHEST_VOLATILITY = 10.0
STEPS = 60

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Greeks:
    """One computation; ``vega`` for a volatility point, ``theta`` for a day."""

    volatility: float
    delta: float
    price: float
    gamma: float
    vega: float
    theta: float
    underlying: float


@dataclass(frozen=True)
class OptionTerms:
    """What an option is: ``years`` to its end, ``call`` or put."""

    strike: float
    years: float
    call: bool

    def value(self, underlying: float, volatility: float) -> Greeks:
        """The option at a volatility. ``years``, prices and volatility above 0."""
        root = math.sqrt(self.years)
        d1 = (math.log(underlying / self.strike) + (RATE + volatility**2 / 2) * self.years) / (volatility * root)
        d2 = d1 - volatility * root
        discounted = self.strike * math.exp(-RATE * self.years)
        sign = 1 if self.call else -1
        price = sign * (underlying * _NORMAL.cdf(sign * d1) - discounted * _NORMAL.cdf(sign * d2))
        density = _NORMAL.pdf(d1)
        decay = -underlying * density * volatility / (2 * root) - sign * RATE * discounted * _NORMAL.cdf(sign * d2)
        return Greeks(
            volatility,
            sign * _NORMAL.cdf(sign * d1),
            price,
            density / (underlying * volatility * root),
            underlying * density * root / 100,
            decay / 365,
            underlying,
        )

    def implied(self, underlying: float, price: float) -> Greeks | None:
        """The option at the volatility that makes its price; None when none does."""
        low, high = 1e-4, HIGHEST_VOLATILITY
        if not self.value(underlying, low).price <= price <= self.value(underlying, high).price:
            return None
        for _ in range(STEPS):
            middle = (low + high) / 2
            if self.value(underlying, middle).price < price:
                low = middle
            else:
                high = middle
        return self.value(underlying, high)
