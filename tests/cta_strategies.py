"""Strategies that tests trade with."""

from __future__ import annotations

from typing import Any

from vnpy.trader.constant import Direction
from vnpy.trader.object import OrderData, TickData, TradeData
from vnpy_ctastrategy import CtaTemplate, StopOrder


class Teller(CtaTemplate):
    """Does what the test tells it, and saves what it was told."""

    told: list[str] = []  # noqa: RUF012  replaced, never changed
    """The trades of on_trade, in order."""
    cash: float = 0.0
    variables = ["told", "cash"]  # noqa: RUF012  vn.py reads it from the class

    def __init__(self, cta_engine: Any, strategy_name: str, vt_symbol: str, setting: dict[str, Any]) -> None:
        super().__init__(cta_engine, strategy_name, vt_symbol, setting)
        self.orders: list[OrderData] = []
        self.stops: list[StopOrder] = []
        self.ticks = 0

    def on_init(self) -> None:
        """Nothing to read."""

    def on_tick(self, tick: TickData) -> None:
        self.ticks += 1

    def on_order(self, order: OrderData) -> None:
        self.orders.append(order)

    def on_stop_order(self, stop_order: StopOrder) -> None:
        self.stops.append(stop_order)

    def on_trade(self, trade: TradeData) -> None:
        self.told = [*self.told, f"{trade.vt_orderid} {trade.tradeid}"]
        paid = trade.price * trade.volume
        self.cash += -paid if trade.direction == Direction.LONG else paid
        self.sync_data()


class Hasty(Teller):
    """Trades in on_start, for which it sets ``trading`` itself, and in on_stop."""

    price: float = 100.0
    parameters = ["price"]  # noqa: RUF012  vn.py reads it from the class

    def on_start(self) -> None:
        self.trading = True
        self.buy(self.price + 1, 1)

    def on_stop(self) -> None:
        self.sell(self.price - 1, 1)


STRATEGIES: tuple[type[CtaTemplate], ...] = (Teller, Hasty)
