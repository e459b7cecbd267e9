"""An example strategy: holds shares while a fast moving average of one-minute closes is above a slow one.

Copy it into the folder ``strategies`` beside vn.py's ``.vntrader``, open CTA策略, and add ``CrossingAverages`` on a
symbol of either gateway, ``AAPL.SMART`` or ``00700.SEHK``. The same file runs on both, and over a restart: what it has
saved are its variables, and ``vnpy_brokers`` gives it its working orders and the fills that it missed.

Three habits are worth copying. It decides by ``pos``, which only fills change, never by what it has sent. It sends
nothing while an order of its own still works, so that a fill that crosses a cancel cannot double the position. And it
asks for a price through the market by a small part, not for a market order, so that a bad quote costs little.
"""

from __future__ import annotations

from typing import Any

from vnpy.trader.constant import Direction
from vnpy.trader.object import BarData, OrderData, TickData, TradeData
from vnpy.trader.utility import ArrayManager, BarGenerator
from vnpy_ctastrategy import CtaTemplate


class CrossingAverages(CtaTemplate):
    """Long or flat; never short, since not every account may be."""

    author = "vnpy_brokers"

    fast_window: int = 5
    """Bars of the fast average."""
    slow_window: int = 20
    """Bars of the slow average."""
    volume: float = 100
    """Shares to hold; a multiple of the board lot."""
    through_percent: float = 0.5
    """How far through the market a price may be, in percent."""
    history_days: int = 1
    """Days of bars to begin with; 0: the averages wait for live bars."""
    parameters = ["fast_window", "slow_window", "volume", "through_percent", "history_days"]  # noqa: RUF012  vn.py reads the class

    fast: float = 0.0
    slow: float = 0.0
    cash: float = 0.0
    """Received less paid, without fees; with ``pos`` at the last price it is the profit."""
    fills: int = 0
    variables = ["fast", "slow", "cash", "fills"]  # noqa: RUF012  the same

    def __init__(self, cta_engine: Any, strategy_name: str, vt_symbol: str, setting: dict[str, Any]) -> None:
        super().__init__(cta_engine, strategy_name, vt_symbol, setting)
        self.bars = BarGenerator(self.on_bar)
        self.closes = ArrayManager(self.slow_window + 1)
        self.working: set[str] = set()

    def on_init(self) -> None:
        """Read the averages' past."""
        if self.history_days:
            self.load_bar(self.history_days)

    def on_start(self) -> None:
        """Show the present values."""
        self.put_event()

    def on_stop(self) -> None:
        """Show the last values; vn.py cancels what works."""
        self.put_event()

    def on_tick(self, tick: TickData) -> None:
        """Make bars of ticks."""
        self.bars.update_tick(tick)

    def on_bar(self, bar: BarData) -> None:
        """Follow the averages, and hold what they say."""
        self.closes.update_bar(bar)
        if not self.closes.inited:
            return
        self.fast = float(self.closes.close[-self.fast_window :].mean())
        self.slow = float(self.closes.close[-self.slow_window :].mean())
        if self.working:
            self.cancel_all()
        else:
            self.trade(bar.close_price)
        self.put_event()

    def trade(self, price: float) -> None:
        """Send what is missing to the wanted position."""
        wanted = self.volume if self.fast > self.slow else 0
        through = self.through_percent / 100
        if self.pos < wanted:
            self.buy(price * (1 + through), wanted - self.pos)
        elif self.pos > wanted:
            self.sell(price * (1 - through), self.pos - wanted)

    def on_order(self, order: OrderData) -> None:
        """Know what works; after a restart this tells of the orders of before."""
        if order.is_active():
            self.working.add(order.vt_orderid)
        else:
            self.working.discard(order.vt_orderid)

    def on_trade(self, trade: TradeData) -> None:
        """Keep the books; vn.py has changed ``pos`` already, and saves the variables afterwards."""
        paid = trade.price * trade.volume
        self.cash += -paid if trade.direction == Direction.LONG else paid
        self.fills += 1
        self.put_event()
