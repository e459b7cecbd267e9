"""vn.py's CTA engine with its saved data in one piece: position, variables and the fills that they include."""

from __future__ import annotations

import threading
from typing import Any

from vnpy.event import EventEngine
from vnpy.trader.engine import MainEngine
from vnpy.trader.utility import get_file_path, save_json
from vnpy_ctastrategy.engine import CtaEngine
from vnpy_ctastrategy.template import CtaTemplate

from vnpy_brokerkit.clock import Clock, SystemClock

from .strategy_books import StrategyBooks
from .strategy_records import Record


class SavingCtaEngine(CtaEngine):
    """Saves what :mod:`vnpy_brokers.adopt` needs, in vn.py's own file and at vn.py's own moments."""

    clock: Clock = SystemClock()
    """Must tell the gateways' time: orders are older or younger than a strategy by it."""

    def __init__(self, main_engine: MainEngine, event_engine: EventEngine) -> None:
        super().__init__(main_engine, event_engine)
        # One lock: vn.py calls from the event thread, the GUI's and the one of 初始化, and a position must not be
        # saved between a fill's arrival in it and the end of on_trade. Nothing is sent or asked while it is held but
        # by strategies themselves, within their own on_order and on_trade.
        self._lock = threading.RLock()
        self._books: StrategyBooks | None = None
        """None before the files were read."""
        self._delivering = ""
        """The strategy whose on_trade runs."""

    def close(self) -> None:
        """Stop all strategies, and let go of the files."""
        super().close()
        with self._lock:
            if self._books:
                self._books.close()

    def load_strategy_data(self) -> None:
        """Read vn.py's entries with the records in them."""
        super().load_strategy_data()
        with self._lock:
            path = get_file_path(self.data_filename)
            self._books = StrategyBooks(self.strategy_data, path, self.clock, self.write_log)
            self._books.open()
            for name in self.strategies:
                self._books.begin(name)

    def add_strategy(self, class_name: str, strategy_name: str, vt_symbol: str, setting: dict[str, Any]) -> None:
        super().add_strategy(class_name, strategy_name, vt_symbol, setting)
        with self._lock:
            if self._books and strategy_name in self.strategies:
                self._books.begin(strategy_name)

    def remove_strategy_setting(self, strategy_name: str) -> None:
        if self._books is None:
            super().remove_strategy_setting(strategy_name)
        elif self.strategy_setting.pop(strategy_name, None) is not None:
            save_json(self.setting_filename, self.strategy_setting)
            with self._lock:
                self._books.forget(strategy_name)

    def sync_strategy_data(self, strategy: CtaTemplate) -> None:
        """Save a strategy's variables with the number of the last fill in them; while its on_trade runs, at its end."""
        if self._books is None:
            super().sync_strategy_data(strategy)
            return
        with self._lock:
            if self._delivering != strategy.strategy_name:
                self._books.save(strategy.strategy_name, variables_of(strategy))

    def _record(self, name: str) -> Record | None:
        return self._books.records.get(name) if self._books else None


def variables_of(strategy: CtaTemplate) -> dict[str, Any]:
    """What vn.py saves of a strategy."""
    variables: dict[str, Any] = strategy.get_variables()
    return {name: value for name, value in variables.items() if name not in ("inited", "trading")}
