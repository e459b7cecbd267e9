"""What an order may use: cash and shares of its accounts, what it holds of them while it works, and what it costs.

An order is for one account, or (an advisor's) for several: ``allot`` tells which of its next shares are whose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from brokersim.fees import FeeSchedule
from brokersim.ledger import Hold, Ledger
from brokersim.model import ZERO, Fill, Instrument, Order

MARKET_ORDER_MARGIN = Decimal("1.05")
"""A market buy holds the best ask plus 5 %, since it may walk up the book."""

Allot = Callable[[Order, int], Sequence[tuple[str, int]]]
"""Whose the next so many shares of an order are: accounts and their parts, in the order in which they are filled."""


def own_account(order: Order, volume: int) -> Sequence[tuple[str, int]]:
    """All of it is for the order's account."""
    return [(order.account, volume)]


@dataclass(frozen=True)
class Shortage:
    """Why an account can not bear an order: no cash (``funds``) or too few shares (``short``); the text is a line."""

    is_short: bool
    text: str


class Means:
    """Buying power and short sales of one broker. ``may_short`` tells whether an account may sell what it has not."""

    def __init__(self, ledger: Ledger, fees: FeeSchedule, may_short: Callable[[str], bool], allot: Allot) -> None:
        self.allot = allot
        self._ledger = ledger
        self._fees = fees
        self._may_short = may_short
        self._charged: dict[str, Decimal] = {}

    def restore(self, fills: Iterable[Fill]) -> None:
        """Know again what was charged for these fills of an earlier run."""
        for fill in fills:
            self.charge(fill)

    def charge(self, fill: Fill) -> None:
        """A fill has been paid."""
        self._charged[fill.order_id] = self._charged.get(fill.order_id, ZERO) + fill.fee

    def shortage(self, order: Order, instrument: Instrument) -> Shortage | None:
        """What the order's rest lacks; None when it can be borne."""
        parts = self.allot(order, order.left)
        if order.direction == "SHORT":
            for account, part in parts:
                sellable = self._ledger.sellable(account, order.vt_symbol, besides=order.id)
                if part > sellable and not self._may_short(account):
                    return Shortage(True, f"可卖数量不足：可卖{sellable}，委托{part}，不支持卖空")
            return None
        for account, part in parts:
            needed = self._cash_needed(order, instrument, part)
            spendable = self._ledger.spendable(account, instrument.currency, besides=order.id)
            if needed > spendable:
                text = f"可用资金不足：需要{needed:.2f}，可用{spendable:.2f} {instrument.currency}"
                return Shortage(False, text)
        return None

    def hold(self, order: Order, instrument: Instrument) -> None:
        """Keep what the order's rest may need from being used twice."""
        is_buy, currency = order.direction == "LONG", instrument.currency
        self._ledger.hold(
            order.id,
            *(
                Hold(account, order.vt_symbol, currency, cash=self._cash_needed(order, instrument, part))
                if is_buy
                else Hold(account, order.vt_symbol, currency, shares=part)
                for account, part in self.allot(order, order.left)
            ),
        )

    def _cash_needed(self, order: Order, instrument: Instrument, part: int) -> Decimal:
        """What ``part`` of a buy's rest may cost at most, fees included, in the instrument's currency."""
        if order.type == "LIMIT":
            price = order.price
        else:
            quote = self._ledger.market.quote(order.vt_symbol)
            best = quote.asks[0].price if quote.asks else quote.last
            price = max(best, order.price) * MARKET_ORDER_MARGIN
        rest = price * order.left * instrument.size
        total_fee = self._fees.total(instrument, "LONG", order.volume, order.turnover + rest)
        needed = rest + total_fee - self._charged.get(order.id, ZERO)
        return needed if part == order.left else needed * part / order.left

    def affordable(self, order: Order, instrument: Instrument, price: Decimal, volume: int) -> int:
        """How much of ``volume`` its accounts can pay: only a market or stop buy in a running market ever meets this
        bound."""
        if order.direction == "SHORT" or order.type == "LIMIT" or volume <= 0:
            return volume
        paid = 0
        for account, part in self.allot(order, volume):
            affordable = self._affordable_by(account, order, instrument, price, part)
            paid += affordable
            if affordable < part:
                break
        return paid

    def _affordable_by(self, account: str, order: Order, instrument: Instrument, price: Decimal, volume: int) -> int:
        spendable = self._ledger.spendable(account, instrument.currency, besides=order.id)
        while volume > 0:
            cost = price * volume * instrument.size
            missing = cost + self.fee(order, instrument, volume, cost) - spendable
            if missing <= 0:
                return volume
            volume -= int(missing / (price * instrument.size)) + 1
        return 0

    def fee(self, order: Order, instrument: Instrument, volume: int, turnover: Decimal) -> Decimal:
        """What the order's next fill costs: the whole order's fee less what was charged already."""
        total = self._fees.total(instrument, order.direction, order.traded + volume, order.turnover + turnover)
        return total - self._charged.get(order.id, ZERO)
