"""A trader's first minute in VN Trader's real window: connect by the menu, type a symbol, buy, see the fill."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="Qt's system libraries are missing", exc_type=ImportError)

from PySide6 import QtCore, QtGui, QtTest, QtWidgets
from vnpy.event import EventEngine
from vnpy.trader.ui.widget import ConnectDialog

from vnpy_brokers.trader import TraderEngine
from vnpy_brokers.window import TraderWindow
from vnpy_vbrokers import VbrokersGateway

DEADLINE_S = 20.0


class Trader:
    """A person before the window."""

    def __init__(self, window: TraderWindow, qapp: QtWidgets.QApplication) -> None:
        self.window = window
        self.panel = window.trading_widget
        self._qapp = qapp

    def wait(self, true: Callable[[], Any], what: str) -> None:
        """Let Qt work until it is true."""
        deadline = time.monotonic() + DEADLINE_S
        while not true():
            assert time.monotonic() < deadline, f"not in time: {what}"
            self._qapp.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 50)

    def choose(self, menu_text: str, in_dialog: Callable[[ConnectDialog], None]) -> None:
        """Click a menu's item, and act in the modal dialog that it opens."""
        raised: list[BaseException] = []

        def act() -> None:
            dialog = QtWidgets.QApplication.activeModalWidget()
            try:
                assert isinstance(dialog, ConnectDialog)
                in_dialog(dialog)
            except BaseException as error:  # noqa: BLE001 - carried out of Qt's loop, and raised below
                raised.append(error)
            finally:
                if dialog is not None:
                    dialog.close()

        actions = cast("list[QtGui.QAction]", self.window.findChildren(QtGui.QAction))
        [action] = [action for action in actions if action.text() == menu_text]
        QtCore.QTimer.singleShot(0, act)
        action.trigger()
        assert raised == []

    def type_symbol(self, exchange: str, symbol: str) -> None:
        """Choose the exchange, type the symbol and press Enter."""
        self.panel.exchange_combo.setCurrentText(exchange)
        self.panel.symbol_line.clear()
        QtTest.QTest.keyClicks(self.panel.symbol_line, symbol)
        QtTest.QTest.keyClick(self.panel.symbol_line, QtCore.Qt.Key.Key_Return)

    def buy(self, volume: str, price: str) -> None:
        """Fill in the order form and press 委托."""
        self.panel.direction_combo.setCurrentText("多")
        self.panel.volume_line.setText(volume)
        self.panel.price_line.setText(price)
        buttons = cast("list[QtWidgets.QPushButton]", self.panel.findChildren(QtWidgets.QPushButton))
        [button] = [button for button in buttons if button.text() == "委托"]
        QtTest.QTest.mouseClick(button, QtCore.Qt.MouseButton.LeftButton)

    def rows(self, monitor: str) -> list[dict[str, str]]:
        """What a monitor shows, by its headings."""
        table = self.window.monitors[monitor]
        headings = [_text(table.horizontalHeaderItem(column)) for column in range(table.columnCount())]
        return [
            {name: _text(table.item(row, column)) for column, name in enumerate(headings)}
            for row in range(table.rowCount())
        ]


def _text(item: QtWidgets.QTableWidgetItem | None) -> str:
    return "" if item is None else item.text()


@pytest.fixture
def trader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trader]:
    raised: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: raised.append(error))
    monkeypatch.chdir(tmp_path)
    qapp = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    assert isinstance(qapp, QtWidgets.QApplication)
    engine = TraderEngine(EventEngine())
    engine.add_gateway(VbrokersGateway)
    window = TraderWindow(engine, demo=True)
    window.show()
    yield Trader(window, qapp)
    window.close_unasked()
    window.deleteLater()
    qapp.processEvents()
    assert raised == []


def test_connect_subscribe_see_a_price_buy_and_see_the_fill(trader: Trader) -> None:
    defaults = VbrokersGateway.default_setting

    def look_and_connect(dialog: ConnectDialog) -> None:
        assert set(dialog.widgets) == set(defaults)
        for name, value in defaults.items():
            widget, kind = dialog.widgets[name]
            if kind is list:
                assert isinstance(widget, QtWidgets.QComboBox)
                assert [widget.itemText(index) for index in range(widget.count())] == value
                assert widget.currentText() == value[0]
            else:
                assert isinstance(widget, QtWidgets.QLineEdit)
                masked = widget.echoMode() is QtWidgets.QLineEdit.EchoMode.Password
                assert masked is (name == "交易密码")
        [button] = cast("list[QtWidgets.QPushButton]", dialog.findChildren(QtWidgets.QPushButton))
        button.click()

    trader.choose("连接VBROKERS", look_and_connect)
    trader.wait(lambda: len(trader.rows("资金")) >= 2, "accounts")
    assert {row["账号"] for row in trader.rows("资金")} >= {"SIM-VBROKERS-USD", "SIM-VBROKERS-HKD"}

    trader.type_symbol("SMART", "IBM")
    trader.wait(lambda: float(trader.panel.ap1_label.text() or 0) > 0, "an ask price of IBM")
    trader.wait(lambda: "." in trader.panel.ap1_label.text(), "cents, once the contract is known")
    assert trader.panel.name_line.text() == "IBM"
    trader.wait(lambda: any(row["代码"] == "IBM" for row in trader.rows("行情")), "a row of quotes")

    trader.buy("100", f"{float(trader.panel.ap1_label.text()) * 1.01:.2f}")
    trader.wait(lambda: sum(float(row["数量"]) for row in trader.rows("成交")) == 100, "the fills")
    trader.wait(lambda: [row["状态"] for row in trader.rows("委托")] == ["全部成交"], "the order's end")
    [order] = trader.rows("委托")
    assert (order["代码"], order["已成交"], order["来源"]) == ("IBM", "100.0", "ManualTrading")
    trader.wait(lambda: any(row["数量"] == "100.0" for row in trader.rows("持仓")), "the position")


@pytest.mark.parametrize(
    ("exchange", "typed", "symbol"),
    [("SEHK", "700", "00700"), ("SMART", "aapl", "AAPL"), ("SMART", "9988.HK", "09988")],
)
def test_the_trading_panel_takes_every_spelling(trader: Trader, exchange: str, typed: str, symbol: str) -> None:
    trader.type_symbol(exchange, typed)
    assert trader.panel.symbol_line.text() == symbol
    assert trader.panel.vt_symbol == f"{symbol}.{trader.panel.exchange_combo.currentText()}"


def test_the_demo_says_so_inside_the_window_too(trader: Trader) -> None:
    mark = trader.window.menuBar().cornerWidget()
    assert isinstance(mark, QtWidgets.QLabel)
    assert "模拟" in mark.text()
    assert mark.isVisibleTo(trader.window)
