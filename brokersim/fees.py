"""Fees of the simulated brokers: plausible, exact to the cent, and charged so that partial fills cost what one fill
would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

from brokersim.model import ZERO, Direction, Instrument

CENT = Decimal("0.01")


@dataclass(frozen=True)
class FeeRule:
    """What one market charges for one order. Rates are fractions of turnover, per-share rates and minima are in its
    currency."""

    commission_rate: Decimal = ZERO
    commission_per_share: Decimal = ZERO
    commission_minimum: Decimal = ZERO
    levy_rate: Decimal = ZERO
    """Exchange and regulator levies, both sides."""
    stamp_rate: Decimal = ZERO
    """Stamp duty, both sides, rounded up to a whole unit of currency (Hong Kong)."""
    sell_rate: Decimal = ZERO
    """Charged on sales alone (SEC fee, mainland stamp duty)."""


VBROKERS_FEES: Mapping[str, FeeRule] = {
    "HKD": FeeRule(
        commission_rate=Decimal("0.0003"),
        commission_minimum=Decimal(3),
        levy_rate=Decimal("0.0000850"),
        stamp_rate=Decimal("0.001"),
    ),
    "USD": FeeRule(
        commission_per_share=Decimal("0.0049"), commission_minimum=Decimal("0.99"), sell_rate=Decimal("0.0000278")
    ),
    "CNY": FeeRule(
        commission_rate=Decimal("0.0003"),
        commission_minimum=Decimal(3),
        levy_rate=Decimal("0.0000541"),
        sell_rate=Decimal("0.0005"),
    ),
}

TWS_FEES: Mapping[str, FeeRule] = {
    "HKD": FeeRule(
        commission_rate=Decimal("0.0008"),
        commission_minimum=Decimal(18),
        levy_rate=Decimal("0.0000850"),
        stamp_rate=Decimal("0.001"),
    ),
    "USD": FeeRule(
        commission_per_share=Decimal("0.005"), commission_minimum=Decimal(1), sell_rate=Decimal("0.0000278")
    ),
}


@dataclass(frozen=True)
class FeeSchedule:
    """One broker's rules by currency; a currency without a rule costs nothing."""

    rules: Mapping[str, FeeRule] = field(default_factory=lambda: VBROKERS_FEES)

    def total(self, instrument: Instrument, direction: Direction, volume: int, turnover: Decimal) -> Decimal:
        """The fee of an order that has traded ``volume`` for ``turnover`` so far, in the instrument's currency, to
        the cent.

        A fill's fee is the total after it less the total before it, so the minimum is charged once an order.
        """
        rule = self.rules.get(instrument.currency)
        if rule is None or volume == 0:
            return ZERO
        commission = max(rule.commission_minimum, turnover * rule.commission_rate + volume * rule.commission_per_share)
        levies = turnover * rule.levy_rate
        stamp = ZERO
        if instrument.kind == "stock":
            stamp = (turnover * rule.stamp_rate).to_integral_value(ROUND_CEILING)
        sale = turnover * rule.sell_rate if direction == "SHORT" else ZERO
        parts = (commission, levies, stamp, sale)
        return sum((part.quantize(CENT, ROUND_HALF_UP) for part in parts), ZERO)


NO_FEES = FeeSchedule({})
