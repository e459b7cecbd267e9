"""A person before VN Trader's window: both gateways, simulated brokers, mouse and keyboard."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from PySide6 import QtCore, QtGui, QtTest, QtWidgets
from pytestqt.qtbot import QtBot
from vnpy.event import EventEngine
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.ui.widget import ConnectDialog
from vnpy.trader.utility import TEMP_DIR

import brokersim
from brokersim.client import Simulation
from tests.harness import SHORT, forget_journals
from tests.ib_harness import ACCOUNT, SHORT_IB
from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokers.trader import TraderEngine
from vnpy_brokers.window import TraderWindow
from vnpy_ibkr.gateway import IbkrGateway
from vnpy_vbrokers.gateway import VbrokersGateway

DEADLINE_MS = 20_000
LEFT = QtCore.Qt.MouseButton.LeftButton
FILES = ("connect_vbrokers.json", "connect_ibkr.json", "broker_routes.json", "vbrokers_latch.json")
CLASSES: dict[str, type[AsyncGateway]] = {"VBROKERS": VbrokersGateway, "IBKR": IbkrGateway}
TIMINGS = {"VBROKERS": SHORT, "IBKR": SHORT_IB}


def add(engine: TraderEngine, name: str, clock: Any = None) -> AsyncGateway:
    """Add the product's gateway with short intervals."""
    kind = CLASSES[name]

    def tuned(gateway: AsyncGateway, event_engine: EventEngine, gateway_name: str) -> None:
        kind.__init__(gateway, event_engine, gateway_name, clock=clock, timing=TIMINGS[name])

    made = engine.add_gateway(type("Tuned", (kind,), {"__init__": tuned}), name)
    assert isinstance(made, AsyncGateway)
    return made


class Person:
    """Who sits before the window."""

    def __init__(self, window: TraderWindow, bot: QtBot) -> None:
        self.window = window
        self.panel = window.trading_widget
        self.engine = window.main_engine
        self.bot = bot

    # -- waiting and looking

    def wait(self, true: Callable[[], Any], what: str, timeout: int = DEADLINE_MS) -> None:
        """Let Qt work until it is true."""

        def check() -> bool:
            return bool(true())

        try:
            self.bot.waitUntil(check, timeout=timeout)
        except Exception as error:
            lines = "\n".join(row["信息"] for row in self.rows("日志")[:25])
            raise AssertionError(f"not in time: {what}\n{lines}") from error

    def rows(self, monitor: str) -> list[dict[str, str]]:
        """What a table shows, by its headings."""
        table = self.window.monitors[monitor]
        headings = [_text(table.horizontalHeaderItem(column)) for column in range(table.columnCount())]
        return [
            {name: _text(table.item(row, column)) for column, name in enumerate(headings)}
            for row in range(table.rowCount())
            if not table.isRowHidden(row)
        ]

    def wait_log(self, *words: str) -> str:
        """Wait for a line that holds all these words; return it."""
        found: list[str] = []

        def seen() -> bool:
            found[:] = [row["信息"] for row in self.rows("日志") if all(word in row["信息"] for word in words)]
            return bool(found)

        self.wait(seen, f"a log line with {words}")
        return found[0]

    def depth(self) -> list[tuple[str, str, str, str]]:
        """The five levels that the panel shows: bid price and volume, ask price and volume."""
        return [
            (
                getattr(self.panel, f"bp{level}_label").text(),
                getattr(self.panel, f"bv{level}_label").text(),
                getattr(self.panel, f"ap{level}_label").text(),
                getattr(self.panel, f"av{level}_label").text(),
            )
            for level in range(1, 6)
        ]

    def form(self) -> dict[str, str]:
        """What stands in the order form."""
        panel = self.panel
        return {
            "vt_symbol": f"{panel.symbol_line.text()}.{panel.exchange_combo.currentText()}",
            "direction": panel.direction_combo.currentText(),
            "offset": panel.offset_combo.currentText(),
            "price": panel.price_line.text(),
            "volume": panel.volume_line.text(),
            "gateway": panel.gateway_combo.currentText(),
        }

    # -- doing

    def dialog(self, name: str, act: Callable[[ConnectDialog], None]) -> None:
        """Click 连接<name> in the 系统 menu, and act in the dialog that opens; it is closed afterwards."""
        raised: list[BaseException] = []

        def in_dialog() -> None:
            dialog = QtWidgets.QApplication.activeModalWidget()
            try:
                assert isinstance(dialog, ConnectDialog)
                act(dialog)
            except BaseException as error:  # noqa: BLE001 - carried out of Qt's loop, and raised below
                raised.append(error)
            finally:
                if dialog is not None:
                    dialog.close()

        QtCore.QTimer.singleShot(0, in_dialog)
        self.menu_item(f"连接{name}").trigger()
        if raised:
            raise raised[0]

    def menu_item(self, text: str) -> QtGui.QAction:
        actions = cast("list[QtGui.QAction]", self.window.findChildren(QtGui.QAction))
        [action] = [action for action in actions if action.text() == text]
        return action

    def type_symbol(self, exchange: str, symbol: str) -> None:
        """Choose the exchange, type the symbol and press Enter."""
        self.panel.exchange_combo.setCurrentText(exchange)
        assert self.panel.exchange_combo.currentText() == exchange
        self.panel.symbol_line.clear()
        QtTest.QTest.keyClicks(self.panel.symbol_line, symbol)
        QtTest.QTest.keyClick(self.panel.symbol_line, QtCore.Qt.Key.Key_Return)

    def press(self, text: str) -> None:
        """Click a button of the panel."""
        press(self.panel, text)

    def order(self, direction: str, volume: str, price: str, gateway: str = "") -> None:
        """Fill in the form by hand and press 委托."""
        self.panel.direction_combo.setCurrentText(direction)
        if gateway:
            self.panel.gateway_combo.setCurrentText(gateway)
        for line, text in ((self.panel.volume_line, volume), (self.panel.price_line, price)):
            line.clear()
            QtTest.QTest.keyClicks(line, text)
        self.press("委托")

    def double_click(self, monitor: str, column: str, **wanted: str) -> None:
        """Double-click a cell of the first row that shows what is wanted, with the mouse."""
        table = self.window.monitors[monitor]
        headings = [_text(table.horizontalHeaderItem(number)) for number in range(table.columnCount())]
        for row in range(table.rowCount()):
            shown = {name: _text(table.item(row, number)) for number, name in enumerate(headings)}
            if not table.isRowHidden(row) and wanted.items() <= shown.items():
                break
        else:
            raise AssertionError(f"no row {wanted} in {self.rows(monitor)}")
        item = table.item(row, headings.index(column))
        assert item is not None
        table.scrollToItem(item)
        at = table.visualItemRect(item).center()
        QtTest.QTest.mouseClick(table.viewport(), LEFT, pos=at)
        QtTest.QTest.mouseDClick(table.viewport(), LEFT, pos=at)


class Desk(Person):
    """The same beside a simulation of both brokers."""

    def __init__(self, window: TraderWindow, sim: Simulation, bot: QtBot) -> None:
        super().__init__(window, bot)
        self.sim = sim

    def setting(self, name: str, **changes: Any) -> dict[str, Any]:
        """What a person types to reach the simulator."""
        if name == "VBROKERS":
            url, push = urlsplit(self.sim.vbrokers_url or ""), (self.sim.push_address or ":0").rpartition(":")
            made: dict[str, Any] = {"环境": "测试环境", "地址": url.hostname, "端口": url.port, "推送端口": push[2]}
            made["交易密码"] = "123456"
        else:
            host, _colon, port = (self.sim.tws_address or ":0").rpartition(":")
            made = {"环境": "模拟盘", "TWS地址": host, "TWS端口": port, "交易账户": ACCOUNT}
        return {**made, **changes}

    def connect(self, name: str, **changes: Any) -> None:
        """Fill in the dialog, press 连接 and wait until the gateway is ready."""
        ready = self._ready(name)

        def fill_in(dialog: ConnectDialog) -> None:
            fill(dialog, self.setting(name, **changes))
            press(dialog)

        self.dialog(name, fill_in)
        self.wait(lambda: self._ready(name) > ready, f"{name} ready")

    def _ready(self, name: str) -> int:
        lines = [row for row in self.rows("日志") if row["接口"] == name]
        return sum("合约信息查询成功" in row["信息"] for row in lines)

    def quote(self, vt_symbol: str, last: float, step: float, size: int = 1000) -> None:
        """Set the market: a book of one tick around the last price."""
        self.sim.quote(
            vt_symbol, last=last, bid=round(last - step, 4), ask=round(last + step, 4), bid_size=size, ask_size=size
        )

    def held(self, vt_symbol: str) -> dict[str, float]:
        """What each broker holds, by its own word."""
        return {
            broker: sum(float(row["volume"]) for row in truth["positions"] if row["vt_symbol"] == vt_symbol)
            for broker, truth in self.sim.state().items()
        }


def fill(dialog: ConnectDialog, setting: dict[str, Any]) -> None:
    """Type and choose in a connect dialog."""
    for key, value in setting.items():
        field, _kind = dialog.widgets[key]
        if isinstance(field, QtWidgets.QComboBox):
            field.setCurrentText(value)
            assert field.currentText() == value
        else:
            assert isinstance(field, QtWidgets.QLineEdit)
            field.clear()
            if str(value).isascii():
                QtTest.QTest.keyClicks(field, str(value))
            else:
                field.insert(str(value))  # no key has it


def press(widget: QtWidgets.QWidget, text: str = "连接") -> None:
    """Click the button with this text."""
    buttons = cast("list[QtWidgets.QPushButton]", widget.findChildren(QtWidgets.QPushButton))
    [button] = [button for button in buttons if button.text() == text]
    QtTest.QTest.mouseClick(button, LEFT)


def _text(item: QtWidgets.QTableWidgetItem | None) -> str:
    return "" if item is None else item.text()


@contextmanager
def slots_that_throw(monkeypatch: pytest.MonkeyPatch) -> Iterator[QtWidgets.QApplication]:
    """The process's one application. An exception in a slot fails the test."""
    raised: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: raised.append(error))
    qapp = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    assert isinstance(qapp, QtWidgets.QApplication)
    yield qapp
    qapp.processEvents()
    assert raised == []


@contextmanager
def bare_window(bot: QtBot, *classes: type[BaseGateway], demo: bool = False) -> Iterator[TraderWindow]:
    """The window with these gateways as they are."""
    engine = TraderEngine(EventEngine())
    for gateway_class in classes:
        engine.add_gateway(gateway_class)
    window = TraderWindow(engine, demo=demo)
    bot.addWidget(window, before_close_func=lambda _window: window.close_unasked())
    window.show()
    yield window
    window.close_unasked()


@contextmanager
def desk(
    bot: QtBot,
    *names: str,
    routes: dict[str, Any] | None = None,
    demo: bool = False,
    clock: Callable[[Simulation], Any] | None = None,
    sim_clock: str = "wall",
    **options: Any,
) -> Iterator[Desk]:
    """The window with these gateways (both, VBROKERS first, where none is named) beside a simulation."""
    forget_journals()
    for name in FILES:
        (TEMP_DIR / name).unlink(missing_ok=True)
    if routes:
        (TEMP_DIR / "broker_routes.json").write_text(json.dumps(routes), "utf-8")
    with brokersim.running(**{"vbrokers": True, "tws": True, "clock": sim_clock, **options}) as sim:
        engine = TraderEngine(EventEngine())
        gateway_clock = clock(sim) if clock else None
        for name in names or ("VBROKERS", "IBKR"):
            add(engine, name, gateway_clock)
        window = TraderWindow(engine, demo=demo)
        bot.addWidget(window, before_close_func=lambda _window: window.close_unasked())
        window.resize(1600, 1000)
        window.show()
        try:
            yield Desk(window, sim, bot)
        finally:
            window.close_unasked()
            for name in FILES:
                (TEMP_DIR / name).unlink(missing_ok=True)
