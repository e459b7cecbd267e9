"""VN Trader's main window, opened and closed as a command line program should."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from PySide6 import QtCore, QtGui, QtWidgets
from vnpy.event import Event
from vnpy.trader.constant import Exchange
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import EVENT_CONTRACT
from vnpy.trader.object import ContractData
from vnpy.trader.ui import MainWindow, create_qapp
from vnpy.trader.utility import get_digits

from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.symbols import SymbolError, canonical

from .settings import DEMO_MARK
from .stopping import StopRequest

# Python runs its signal handlers between two bytecodes, and Qt's loop runs none: a timer wakes it up.
WAKE_UP_MS = 200
# The demo has no layout of the user's to respect: its columns are fitted while the first rows come in.
FIT_COLUMNS_AFTER_MS = (2_000, 4_000, 8_000)


class TraderWindow(MainWindow):
    """vn.py's main window that can also be closed without a question, and in the demo remembers nothing.

    Its trading panel takes every spelling of a symbol, and shows the name and the decimals of a contract that is known
    only after it was typed.
    """

    _contract_came = QtCore.Signal(Event)

    def __init__(self, main_engine: MainEngine, *, demo: bool) -> None:
        self._demo = demo
        self._question = True
        self._layouts: dict[str, QtCore.QByteArray] = {}
        super().__init__(main_engine, main_engine.event_engine)
        self.trading_widget.symbol_line.returnPressed.connect(self._spell_symbol)
        self._contract_came.connect(self._on_contract)
        self.event_engine.register(EVENT_CONTRACT, self._contract_came.emit)
        if demo:
            self._mark_as_demo()

    def _spell_symbol(self) -> None:
        """Put the canonical spelling of what was typed into the panel: ticks come under that one alone."""
        panel = self.trading_widget
        typed = panel.symbol_line.text(), Exchange(panel.exchange_combo.currentText())
        try:
            symbol, exchange = canonical(*typed)
        except SymbolError:
            return  # the gateway says so too, in its log
        index = panel.exchange_combo.findText(exchange.value)
        if (symbol, exchange) != typed and index >= 0:
            panel.symbol_line.setText(symbol)
            panel.exchange_combo.setCurrentIndex(index)
            panel.set_vt_symbol()

    def _on_contract(self, event: Event) -> None:
        contract: ContractData = event.data
        panel = self.trading_widget
        if contract.vt_symbol == panel.vt_symbol:
            panel.name_line.setText(contract.name)
            panel.price_digits = get_digits(contract.pricetick)

    def _mark_as_demo(self) -> None:
        """Say in the title and, for a screen that shows no titles, in the menu bar's corner that nothing is real."""
        self.setWindowTitle(f"{DEMO_MARK}{self.window_title}")
        mark = QtWidgets.QLabel(_("{}资金与成交都不是真实的").format(DEMO_MARK), self.menuBar())
        mark.setStyleSheet("color: #f5a623; font-weight: bold; padding: 0 12px")
        self.menuBar().setCornerWidget(mark)

    def fit_columns(self) -> None:
        """Make every column as wide as what stands in it: vn.py's are too narrow for a log line or a time."""
        for monitor in self.monitors.values():
            monitor.resize_columns()

    def close_unasked(self) -> None:
        """Close as vn.py does after a Yes, but do not ask."""
        if not self._question:
            return
        self._question = False
        for widget in self.widgets.values():
            widget.close()
        if not self._demo:
            for monitor in self.monitors.values():
                monitor.save_setting()
            self.save_window_setting("custom")
        self.main_engine.close()
        self.close()

    def closeEvent(self, event: QtGui.QCloseEvent) -> None:
        """Ask, as vn.py does, unless the window is being closed by `close_unasked`."""
        if self._question:
            super().closeEvent(event)
        else:
            event.accept()

    def save_window_setting(self, name: str) -> None:
        """Remember the layout: vn.py's way, or in the demo for this process only."""
        if self._demo:
            self._layouts[name] = self.saveState()
        else:
            super().save_window_setting(name)

    def load_window_setting(self, name: str) -> None:
        """Restore a remembered layout."""
        if not self._demo:
            super().load_window_setting(name)
        elif name in self._layouts:
            self.restoreState(self._layouts[name])


def run_window(
    main_engine: MainEngine,
    *,
    demo: bool,
    stop: StopRequest,
    seconds: float | None,
    when_shown: Callable[[], None],
) -> None:
    """Show VN Trader until it is closed, `stop` is requested or `seconds` have passed; the engine is closed then.

    Must be called on the main thread, after every gateway and app was added. `when_shown` is called once the event
    loop runs.
    """
    hooks = sys.excepthook, threading.excepthook
    qapp = create_qapp()
    window = TraderWindow(main_engine, demo=demo)
    # Where no window manager runs nothing is maximised: the window then has the screen's size all the same.
    window.setGeometry(qapp.primaryScreen().availableGeometry())
    window.showMaximized()

    def look_after_stop() -> None:
        if stop.requested():
            window.close_unasked()
            # Not quit(): that asks every window again. exit() also leaves a dialog's own loop.
            qapp.exit(0)

    timer = QtCore.QTimer()
    timer.timeout.connect(look_after_stop)
    timer.start(WAKE_UP_MS)
    QtCore.QTimer.singleShot(0, when_shown)
    for delay_ms in FIT_COLUMNS_AFTER_MS if demo else ():
        QtCore.QTimer.singleShot(delay_ms, window.fit_columns)
    if seconds is not None:
        stop.request_after(seconds)
    try:
        qapp.exec()
    finally:
        timer.stop()
        # vn.py's hooks show a window, which is gone now.
        sys.excepthook, threading.excepthook = hooks
        main_engine.close()
