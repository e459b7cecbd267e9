"""VN Trader's main window, opened and closed as a command line program should."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import cast

from PySide6 import QtCore, QtGui, QtWidgets
from vnpy.trader.engine import MainEngine
from vnpy.trader.ui import MainWindow, create_qapp
from vnpy.trader.ui.mainwindow import WidgetType
from vnpy.trader.ui.widget import ContractManager, LogMonitor, OrderMonitor, TickMonitor, TradingWidget

from vnpy_brokerkit.i18n import IN_CHINESE, _

from . import rows
from .connect_dialog import PrivateConnectDialog
from .contract_finder import ContractFinder
from .monitor import APP_NAME as MONITOR_APP
from .monitor.ui.lamps import LampBar
from .settings import DEMO_MARK
from .stopping import StopRequest
from .typing_panel import TypingPanel

# Python runs its signal handlers between two bytecodes, and Qt's loop runs none: a timer wakes it up.
WAKE_UP_MS = 200
# The demo has no layout of the user's to respect: its columns are fitted while the first rows come in.
FIT_COLUMNS_AFTER_MS = (2_000, 4_000, 8_000)
SET_ASIDE_AFTER_MS = (5_000, 30_000, 120_000)


OURS: Mapping[type[QtWidgets.QWidget], type[QtWidgets.QWidget]] = {
    TradingWidget: TypingPanel,
    TickMonitor: rows.TickMonitor,
    LogMonitor: rows.LogMonitor,
    ContractManager: ContractFinder,
}
"""What stands in the place of vn.py's own widgets."""


class TraderWindow(MainWindow):
    """vn.py's main window with our panel, quotes, dialogs and lamps.

    It can also be closed without a question, and in the demo remembers nothing.
    """

    trading_widget: TypingPanel

    def __init__(self, main_engine: MainEngine, *, demo: bool) -> None:
        self._demo = demo
        self._question = True
        self._layouts: dict[str, QtCore.QByteArray] = {}
        _speak_chinese()
        super().__init__(main_engine, main_engine.event_engine)
        self._put_lamps()
        if demo:
            self._mark_as_demo()
            self.trading_widget.takes_first = True

    def init_dock(self) -> None:
        """Let a double-click on an order fill the panel too: it cancels the order, as vn.py's does."""
        super().init_dock()
        for monitor in self.monitors.values():
            if isinstance(monitor, OrderMonitor):
                monitor.itemDoubleClicked.connect(self.trading_widget.update_with_cell)

    def create_dock(
        self, widget_class: type[WidgetType], name: str, area: QtCore.Qt.DockWidgetArea
    ) -> tuple[WidgetType, QtWidgets.QDockWidget]:
        """Make a dock, with our widget where there is one."""
        ours = cast("type[WidgetType]", OURS.get(widget_class, widget_class))
        return super().create_dock(ours, name, area)

    def open_widget(self, widget_class: type[QtWidgets.QWidget], name: str) -> None:
        """Open a window of an app or of the menu, ours where there is one."""
        super().open_widget(OURS.get(widget_class, widget_class), name)

    def connect_gateway(self, gateway_name: str) -> None:
        """Open the connect dialog of a gateway."""
        PrivateConnectDialog(self.main_engine, gateway_name).exec()

    def _put_lamps(self) -> None:
        """The health of the gateways, in sight of every page; a click opens the page that tells more."""
        bar = LampBar(self.main_engine, self.event_engine, demo=self._demo)
        bar.clicked.connect(self._open_monitor)
        self.statusBar().addPermanentWidget(bar)

    def _open_monitor(self) -> None:
        for app in self.main_engine.get_all_apps():
            if app.app_name == MONITOR_APP:
                ui = import_module(f"{app.app_module}.ui")
                self.open_widget(getattr(ui, app.widget_name), app.app_name)

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


@contextmanager
def short_pauses() -> Iterator[None]:
    """Keep Python's own pauses out of the window; to be entered in its thread when everything is imported and made.

    The garbage collector looks through all that lives, again and again, and every thread waits: 100 ms for the objects
    of vn.py, its apps and their libraries, which live as long as the process. What is there now, it leaves alone; soon
    after also what connecting brought (calendars, contracts), without a search for garbage, which would stop the window
    itself. Only a few times: what is set aside is never collected.
    """
    gc.collect()
    gc.freeze()
    timers = []
    for delay_ms in SET_ASIDE_AFTER_MS:
        timer = QtCore.QTimer()
        timer.setSingleShot(True)
        timer.timeout.connect(gc.freeze)
        timer.start(delay_ms)
        timers.append(timer)
    try:
        yield
    finally:
        for timer in timers:
            timer.stop()
        gc.unfreeze()


def _speak_chinese() -> None:
    """Where the words are Chinese, Qt's own, on the buttons of its questions, are too; vn.py leaves them English."""
    qapp = QtWidgets.QApplication.instance()
    if IN_CHINESE and qapp is not None and not qapp.findChildren(QtCore.QTranslator):
        translator = QtCore.QTranslator(qapp)
        if translator.load("qtbase_zh_CN", QtCore.QLibraryInfo.path(QtCore.QLibraryInfo.LibraryPath.TranslationsPath)):
            qapp.installTranslator(translator)


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
        with short_pauses():
            qapp.exec()
    finally:
        timer.stop()
        # vn.py's hooks show a window, which is gone now.
        sys.excepthook, threading.excepthook = hooks
        main_engine.close()
