"""Local stop orders that outlive the process: vn.py keeps them in memory alone.

They wait in their strategy's record and work again from 启动 on. One whose price was reached is marked in the record
before its order is sent, so that a kill leaves either a stop that waits or one that is reported, never one that is sent
twice.
"""

from __future__ import annotations

from typing import Any

from vnpy.trader.constant import Direction
from vnpy.trader.object import TickData
from vnpy_ctastrategy.base import StopOrder
from vnpy_ctastrategy.template import CtaTemplate

from vnpy_brokerkit.i18n import _

from .saved_strategies import SavingCtaEngine
from .strategy_records import KeptStop


class StopKeepingCtaEngine(SavingCtaEngine):
    """Keeps local stops over a restart."""

    def __init__(self, *engines: Any) -> None:
        super().__init__(*engines)
        self._kept: dict[str, list[KeptStop]] = {}
        """By strategy: stops of an earlier process that wait for 启动."""
        self._firing: set[str] = set()
        """Stops whose orders are about to be sent."""

    def load_strategy_data(self) -> None:
        super().load_strategy_data()
        records = self._books.records if self._books else {}
        self._kept = {name: list(record.stops) for name, record in records.items() if record.stops}
        ids = [stop.stop_orderid for stops in self._kept.values() for stop in stops]
        # A new stop must not get the id of one that waits.
        numbers = [int(number) for number in (name.rpartition(".")[2] for name in ids) if number.isdecimal()]
        self.stop_order_count = max([self.stop_order_count, *numbers])

    def send_local_stop_order(self, strategy: CtaTemplate, *args: Any, **kwargs: Any) -> list[str]:
        vt_orderids: list[str] = super().send_local_stop_order(strategy, *args, **kwargs)
        self._save_stops(strategy.strategy_name)
        return vt_orderids

    def cancel_local_stop_order(self, strategy: CtaTemplate, stop_orderid: str) -> None:
        known = stop_orderid in self.stop_orders
        super().cancel_local_stop_order(strategy, stop_orderid)
        if known:
            self._save_stops(strategy.strategy_name)

    def check_stop_order(self, tick: TickData) -> None:
        fired = [stop for stop in list(self.stop_orders.values()) if _reached(stop, tick)]
        if not fired:
            return
        self._firing = {stop.stop_orderid for stop in fired}
        names = {stop.strategy_name for stop in fired}
        for name in names:
            self._save_stops(name)
        super().check_stop_order(tick)
        self._firing = set()
        for name in names:
            self._save_stops(name)

    def start_strategy(self, strategy_name: str) -> None:
        strategy = self.strategies[strategy_name]
        if strategy.inited and not strategy.trading:
            self._restore_stops(strategy)
        super().start_strategy(strategy_name)

    def remove_strategy(self, strategy_name: str) -> bool:
        removed: bool = super().remove_strategy(strategy_name)
        if removed:
            self._kept.pop(strategy_name, None)
            # vn.py leaves the stops of a strategy that an exception has stopped: the next tick would end its thread.
            for stop in list(self.stop_orders.values()):
                if stop.strategy_name == strategy_name:
                    self.stop_orders.pop(stop.stop_orderid, None)
        return removed

    def _restore_stops(self, strategy: CtaTemplate) -> None:
        """The stops that waited when the earlier process ended wait again; one that fired then is reported."""
        name = strategy.strategy_name
        with self._lock:
            kept = self._kept.pop(name, [])
        for stop in kept:
            if stop.triggered:
                text = _("本地停止单{}（{} {:g}@{:g}）触发时程序退出，不知其委托是否发出：不会重发，请核对委托和持仓")
                direction = Direction[stop.direction].value
                self.write_log(text.format(stop.stop_orderid, direction, stop.volume, stop.price), strategy)
                continue
            order = stop.stop(name, strategy.vt_symbol)
            self.stop_orders[order.stop_orderid] = order
            self.strategy_orderid_map[name].add(order.stop_orderid)
            text = _("恢复本地停止单{}（{} {:g}@{:g}）")
            self.write_log(text.format(order.stop_orderid, order.direction.value, order.volume, order.price), strategy)
            self.call_strategy_func(strategy, strategy.on_stop_order, order)
            self.put_stop_order_event(order)
        if kept:
            self._save_stops(name)

    def sync_strategy_data(self, strategy: CtaTemplate) -> None:
        with self._lock:
            self._note_stops(strategy.strategy_name)
            super().sync_strategy_data(strategy)

    def _save_stops(self, name: str) -> None:
        with self._lock:
            self._note_stops(name)
            # Within on_trade they are saved with its fill: else a kill would leave the one without the other.
            if self._books and self._delivering != name:
                self._books.save(name)

    def _note_stops(self, name: str) -> None:
        """Bring a record up to the stops that wait; those of the earlier process stay until they are restored."""
        record = self._record(name)
        if record is not None:
            waiting = [stop for stop in list(self.stop_orders.values()) if stop.strategy_name == name]
            live = [KeptStop.of(stop, stop.stop_orderid in self._firing) for stop in waiting]
            record.stops = [*self._kept.get(name, []), *live]


def _reached(stop: StopOrder, tick: TickData) -> bool:
    """vn.py's own condition."""
    if stop.vt_symbol != tick.vt_symbol:
        return False
    if stop.direction == Direction.LONG:
        return bool(tick.last_price >= stop.price)
    return bool(tick.last_price <= stop.price)
