"""``python -m tests.gui_language_child``: VN Trader in the environment's language; all of its texts go to stdout.

A scripted session beside simulated brokers: every dialog and page opened, symbols looked for, orders filled, refused
and cancelled, the brokers restarted, the kill switch pulled. Nothing here may depend on a language.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, cast
from urllib.parse import urlsplit

from PySide6 import QtCore, QtGui, QtWidgets
from vnpy.event import EventEngine
from vnpy.trader.constant import Direction, Exchange, Offset, OrderType, Status
from vnpy.trader.event import EVENT_LOG, EVENT_ORDER
from vnpy.trader.object import OrderRequest, SubscribeRequest
from vnpy.trader.ui import create_qapp
from vnpy.trader.ui.widget import AboutDialog, ContractManager
from vnpy.trader.utility import TEMP_DIR

import brokersim
from brokersim.client import Simulation
from tests.gui_desk import add
from tests.ib_harness import ACCOUNT
from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.findings import Occasion
from vnpy_brokerkit.health import Lamp
from vnpy_brokers.monitor import APP_NAME as MONITOR_APP
from vnpy_brokers.monitor.ui import LampBar, MonitorWidget
from vnpy_brokers.trader import APPS, TraderEngine
from vnpy_brokers.window import TraderWindow

DEADLINE_S = 60.0
IBM, UNKNOWN = "IBM", "NOSUCH"
BROKER = {"VBROKERS": "vbrokers", "IBKR": "tws"}
PLACE = {"VBROKERS": {"message": "/trade/TradeEntrust"}, "IBKR": {"message": "placeOrder"}}
Answer = QtWidgets.QMessageBox.StandardButton


class Reader:
    """Collects what stands on the screen, with where it stands and whose the widget is."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str, str, str], None] = {}

    def read(self, where: str, top: QtWidgets.QWidget) -> None:
        """Read a window with everything in it."""
        self._keep(where, top, "title", top.windowTitle())
        for widget in [top, *cast("list[QtWidgets.QWidget]", top.findChildren(QtWidgets.QWidget))]:
            for kind, text in _texts(widget):
                self._keep(where, widget, kind, text)
        for action in cast("list[QtGui.QAction]", top.findChildren(QtGui.QAction)):
            for kind, text in (("action", action.text()), ("tooltip", action.toolTip())):
                self._keep(where, top, kind, text)

    def _keep(self, where: str, widget: QtWidgets.QWidget, kind: str, text: str) -> None:
        if text.strip():
            self.seen[where, _owner(widget), kind, text] = None


def _owner(widget: QtWidgets.QWidget) -> str:
    """The module of the nearest widget around that Qt itself does not bring."""
    around: QtCore.QObject | None = widget
    while around is not None:
        module = type(around).__module__
        if not module.startswith(("PySide6", "pyqtgraph")):
            return module
        around = around.parent()
    return ""


def _texts(widget: QtWidgets.QWidget) -> Iterator[tuple[str, str]]:
    yield "tooltip", widget.toolTip()
    yield "status", widget.statusTip()
    if isinstance(widget, QtWidgets.QLabel):
        yield "label", widget.text()
    elif isinstance(widget, QtWidgets.QAbstractButton):
        yield "button", widget.text()
    elif isinstance(widget, QtWidgets.QLineEdit):
        yield "placeholder", widget.placeholderText()
        yield "line", widget.text()
    elif isinstance(widget, QtWidgets.QComboBox):
        for index in range(widget.count()):
            yield "choice", widget.itemText(index)
    elif isinstance(widget, QtWidgets.QGroupBox):
        yield "label", widget.title()
    elif isinstance(widget, QtWidgets.QDockWidget):
        yield "title", widget.windowTitle()
    elif isinstance(widget, QtWidgets.QMenu):
        yield "action", widget.title()
    elif isinstance(widget, QtWidgets.QTabBar):
        for index in range(widget.count()):
            yield "tab", widget.tabText(index)
    elif isinstance(widget, QtWidgets.QTextEdit | QtWidgets.QPlainTextEdit):
        yield "label", widget.toPlainText()
    elif isinstance(widget, QtWidgets.QTableView):
        yield from _table(widget.model())


def _table(model: QtCore.QAbstractItemModel | None) -> Iterator[tuple[str, str]]:
    if model is None:
        return
    for column in range(model.columnCount()):
        yield "heading", str(model.headerData(column, QtCore.Qt.Orientation.Horizontal) or "")
        for row in range(model.rowCount()):
            cell = model.index(row, column)
            for role in (QtCore.Qt.ItemDataRole.DisplayRole, QtCore.Qt.ItemDataRole.ToolTipRole):
                yield "cell", str(model.data(cell, role) or "")


class Session:
    """A person who reads no language."""

    def __init__(self, qapp: QtWidgets.QApplication, sim: Simulation) -> None:
        self.qapp = qapp
        self.sim = sim
        self.reader = Reader()
        self.logs: list[tuple[str, str]] = []
        self.reasons: list[str] = []
        self.engine = TraderEngine(EventEngine())
        self.engine.event_engine.register(EVENT_LOG, self._on_log)
        self.engine.event_engine.register(EVENT_ORDER, self._on_order)
        self.gateways: dict[str, AsyncGateway] = {name: add(self.engine, name) for name in BROKER}
        self.engine.add_apps(APPS)
        self.window = TraderWindow(self.engine, demo=False)
        self.window.show()

    def _on_log(self, event: Any) -> None:
        self.logs.append((event.data.gateway_name, event.data.msg))

    def _on_order(self, event: Any) -> None:
        reason = (event.data.extra or {}).get("reason")
        if reason:
            self.reasons.append(str(reason))

    # ------------------------------------------------------------------ waiting

    def wait(self, true: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not true():
            if time.monotonic() > deadline:
                raise AssertionError("\n".join([f"not in time: {what}", *self.state()]))
            self.qapp.processEvents(QtCore.QEventLoop.ProcessEventsFlag.WaitForMoreEvents, 50)

    def state(self) -> list[str]:
        """What a failure is explained by."""
        healths = [gateway.health() for gateway in self.gateways.values()]
        return [str(one) for one in (*healths, *self.engine.get_all_active_orders(), *self.logs[-30:])]

    def wait_lamp(self, name: str, *lamps: Lamp) -> None:
        gateway = self.gateways[name]
        self.wait(lambda: gateway.health().lamp in lamps, f"{name} {lamps}")

    def wait_status(self, vt_orderid: str, *statuses: Status) -> None:
        def there() -> bool:
            order = self.engine.get_order(vt_orderid)
            return order is not None and order.status in statuses

        self.wait(there, f"{vt_orderid} {statuses}")

    def wait_line(self, name: str, part: str) -> None:
        self.wait(lambda: any(who == name and part in line for who, line in self.logs), f"{name}: {part}")

    # ------------------------------------------------------------------ doing

    def setting(self, name: str, **changes: Any) -> dict[str, Any]:
        if name == "VBROKERS":
            url, push = urlsplit(self.sim.vbrokers_url or ""), (self.sim.push_address or ":0").rpartition(":")
            made: dict[str, Any] = {"环境": "测试环境", "地址": url.hostname, "端口": url.port}
            made |= {"推送端口": int(push[2]), "交易密码": "123456"}
        else:
            host, _colon, port = (self.sim.tws_address or ":0").rpartition(":")
            made = {"环境": "模拟盘", "TWS地址": host, "TWS端口": int(port), "交易账户": ACCOUNT}
        return {**made, **changes}

    def send(
        self, name: str, volume: float, price: float, symbol: str = IBM, exchange: Exchange = Exchange.SMART
    ) -> str:
        request = OrderRequest(symbol, exchange, Direction.LONG, OrderType.LIMIT, volume, price, Offset.NONE, "words")
        return self.engine.send_order(request, name)

    def refused(self, name: str, volume: float, price: float, *what: Any) -> None:
        self.wait_status(self.send(name, volume, price, *what), Status.REJECTED)

    def dialog(self, where: str, open_it: Callable[[], object], button: Answer | None = None) -> None:
        """Open a modal dialog, read it, and answer or close it."""
        raised: list[BaseException] = []

        def in_dialog() -> None:
            dialog = QtWidgets.QApplication.activeModalWidget()
            try:
                assert dialog is not None
                self.reader.read(where, dialog)
                if button is not None:
                    assert isinstance(dialog, QtWidgets.QMessageBox)
                    answer = dialog.button(button)
                    assert answer is not None, (dialog.text(), *self.state())
                    answer.click()
            except BaseException as error:  # noqa: BLE001 - carried out of Qt's loop, and raised below
                raised.append(error)
            finally:
                if dialog is not None:
                    dialog.close()

        QtCore.QTimer.singleShot(0, in_dialog)
        open_it()
        if raised:
            raise raised[0]

    def read_pages(self) -> None:
        """Open each page of the menus and read it, and the window."""
        for app in self.engine.get_all_apps():
            kind = getattr(import_module(f"{app.app_module}.ui"), app.widget_name)
            self.window.open_widget(kind, app.app_name)
            self.reader.read(app.app_name, self.window.widgets[app.app_name])
        self.window.open_widget(ContractManager, "contract")
        finder = self.window.widgets["contract"]
        cast(Any, finder).show_contracts()
        self.reader.read("contract", finder)
        self.reader.read("window", self.window)

    def cancellable(self, name: str) -> int:
        return sum(market.orders for market in self.gateways[name].health().markets)

    @property
    def page(self) -> MonitorWidget:
        return cast(MonitorWidget, self.window.widgets[MONITOR_APP])

    # ------------------------------------------------------------------ the day

    def run(self) -> None:
        (TEMP_DIR / "connect_ibkr.json").write_text("{", "utf-8")  # a dialog that says so
        for name in BROKER:
            self.dialog(f"connect {name}", lambda: self.window.connect_gateway(name))  # noqa: B023  opened at once
        (TEMP_DIR / "connect_ibkr.json").unlink()
        self.dialog("about", lambda: self.window.open_widget(AboutDialog, "about"))
        self.dialog("settings", self.window.edit_global_setting)
        demo = LampBar(self.engine, self.engine.event_engine, demo=True)
        self.reader.read("lamps of the demo", demo)
        demo.deleteLater()
        self.read_pages()
        for name in BROKER:
            self.misconfigure(name)
        self.sim.pause()
        for symbol, last, step in (("IBM.SMART", 100, 0.01), ("00700.SEHK", 400, 0.2)):
            book = {"bid": round(last - step, 2), "ask": round(last + step, 2), "bid_size": 500, "ask_size": 500}
            self.sim.quote(symbol, last=last, **book)
        for name in BROKER:
            self.engine.connect(self.setting(name), name)
            self.wait(lambda: not self.gateways[name].health().read_only, f"{name} renewed")  # noqa: B023  asked at once
            self.wait_lamp(name, Lamp.GOOD)
        for name in BROKER:
            self.trade(name)
        self.read_pages()
        for name in BROKER:
            self.lose(name)
        for name in BROKER:
            self.brake(name)
        self.window.trading_widget.cancel_all()  # what is left was placed elsewhere
        for name in BROKER:
            self.engine.connect({"环境": "内置模拟"}, name)
            self.wait(lambda: self.gateways[name].health().embedded, f"{name} embedded")  # noqa: B023  asked at once
            self.wait_lamp(name, Lamp.GOOD)
        self.page.refresh()
        self.read_pages()

    def misconfigure(self, name: str) -> None:
        """Settings that cannot be used, each a line."""
        wrong: list[dict[str, Any]] = [{"环境": ""}, {"只读": "?"}, {"端口" if name == "VBROKERS" else "TWS端口": "x"}]
        if name == "VBROKERS":
            wrong += [{"AES密钥": "short"}, {"交易密码": "wrong"}]
        else:
            wrong += [{"交易账户": "DU7"}]
        for changes in wrong:
            before = len(self.logs)
            self.engine.connect(self.setting(name, unknown_key="x", **changes), name)
            self.wait(lambda: any(who == name for who, _line in self.logs[before:]), f"{changes}")  # noqa: B023  asked at once
            self.wait_lamp(name, *(lamp for lamp in Lamp if lamp is not Lamp.RECONNECTING))
            self.page.refresh()
            self.reader.read("misconfigured", self.page)
        self.engine.connect(self.setting(name, 只读="是"), name)
        self.wait(lambda: self.gateways[name].health().read_only, "read-only")
        self.wait_lamp(name, Lamp.GOOD)
        self.refused(name, 10, 99.0)
        self.page.refresh()
        self.reader.read("read-only", self.page)

    def trade(self, name: str) -> None:
        """Look for symbols, be refused by the guard and by the broker, buy, cancel."""
        for symbol in (IBM, UNKNOWN, "a b c"):
            self.engine.subscribe(SubscribeRequest(symbol, Exchange.SMART), name)
        self.engine.subscribe(SubscribeRequest("00700", Exchange.SEHK), name)
        self.wait_line(name, UNKNOWN)
        self.wait(lambda: self.engine.get_tick("IBM.SMART") and self.engine.get_tick("00700.SEHK"), "quotes")
        for volume, price in ((10, 100.003), (0, 100), (10, 0), (10, 150), (50_000, 100), (1.5, 100)):
            self.refused(name, volume, price)
        self.refused(name, 150, 400.0, "00700", Exchange.SEHK)
        self.refused(name, 10, 100.0, UNKNOWN)
        code = "3002" if name == "VBROKERS" else 201
        fault = {"broker": BROKER[name], "do": "error", "code": code, "text": "no such luck", "when": PLACE[name]}
        self.sim.faults([fault])
        self.refused(name, 10, 99.0)
        self.wait_status(self.send(name, 100, 100.01), Status.ALLTRADED)
        resting = self.send(name, 10, 99.5)
        self.wait_status(resting, Status.NOTTRADED)
        order = self.engine.get_order(resting)
        assert order is not None
        self.engine.cancel_order(order.create_cancel_request(), name)
        self.wait_status(resting, Status.CANCELLED)
        self.engine.cancel_order(order.create_cancel_request(), name)  # there is nothing left of it

    def lose(self, name: str) -> None:
        """An answer that does not come, an order from the phone, the broker's program restarted."""
        account = ACCOUNT if name == "IBKR" else "VBROKERS"
        self.sim.faults([{"broker": BROKER[name], "do": "push", "mode": "lose", "times": 20}])
        self.sim.order("IBM.SMART", "LONG", 5, 90, broker=BROKER[name], account=account)
        self.sim.faults([{"broker": BROKER[name], "do": "lose_reply", "when": PLACE[name]}])
        unsure = self.send(name, 10, 99.1)
        gateway = self.gateways[name]
        gateway.reconcile()
        self.wait(lambda: (report := gateway.health().report) and report.occasion is Occasion.DEMAND, "the report")
        self.wait_status(unsure, Status.NOTTRADED)
        self.reader.read("reconciled", self.page)
        self.sim.clear_faults()
        self.sim.faults([{"broker": BROKER[name], "do": "restart", "for_s": 2}])
        self.wait_lamp(name, Lamp.RECONNECTING, Lamp.DEGRADED, Lamp.FAILED)
        self.page.refresh()
        self.reader.read("broker away", self.page)
        self.reader.read("broker away", self.window)
        self.wait_lamp(name, Lamp.GOOD)

    def brake(self, name: str) -> None:
        """The kill switch, and cancel all with its questions."""
        card = self.page.cards[name]
        self.wait(
            lambda: card.cancel_button.isEnabled() and self.cancellable(name),
            "orders to cancel",
        )
        card.stop_button.click()
        self.refused(name, 10, 99.0)
        self.reader.read("stopped", self.page)
        self.reader.read("stopped", self.window)
        self.dialog("question", card.stop_button.click, Answer.Yes)
        self.page.refresh()
        self.dialog("question", card.cancel_button.click, Answer.Yes)
        self.wait(lambda: not self.cancellable(name), "no orders left")
        self.page.refresh()
        self.dialog("question", card.cancel_button.click, Answer.Ok)
        self.page.stop_all_button.click()
        self.page.refresh()
        self.dialog("question", self.page.stop_all_button.click, Answer.Yes)


def main() -> None:
    """Run the session and print what was read as one line of JSON."""
    qapp = create_qapp()
    with brokersim.running(vbrokers=True, tws=True) as sim:
        session = Session(qapp, sim)
        try:
            session.run()
        finally:
            names = sorted({contract.name for contract in session.engine.get_all_contracts()})
            session.dialog("leaving", session.window.close, Answer.No)
            session.window.close_unasked()
    found = {"texts": list(session.reader.seen), "logs": session.logs, "reasons": session.reasons, "names": names}
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
