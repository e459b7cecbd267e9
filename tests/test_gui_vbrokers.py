"""A trader's first minute in VN Trader's real window: connect by the menu, type a symbol, buy, see the fill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="Qt's system libraries are missing", exc_type=ImportError)

from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot
from vnpy.trader.ui.widget import ConnectDialog

from tests.gui_desk import Person, bare_window
from vnpy_vbrokers import VbrokersGateway


@pytest.fixture
def trader(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    monkeypatch.chdir(tmp_path)
    with bare_window(qtbot, VbrokersGateway, demo=True) as window:
        yield Person(window, qtbot)


def test_connect_subscribe_see_a_price_buy_and_see_the_fill(trader: Person) -> None:
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

    trader.dialog("VBROKERS", look_and_connect)
    trader.wait(lambda: len(trader.rows("资金")) >= 2, "accounts")
    assert {row["账号"] for row in trader.rows("资金")} >= {"SIM-VBROKERS-USD", "SIM-VBROKERS-HKD"}

    trader.type_symbol("SMART", "IBM")
    trader.wait(lambda: float(trader.panel.ap1_label.text() or 0) > 0, "an ask price of IBM")
    trader.wait(lambda: "." in trader.panel.ap1_label.text(), "cents, once the contract is known")
    assert trader.panel.name_line.text() == "IBM"
    trader.wait(lambda: any(row["代码"] == "IBM" for row in trader.rows("行情")), "a row of quotes")

    trader.order("多", "100", f"{float(trader.panel.ap1_label.text()) * 1.01:.2f}")
    trader.wait(lambda: sum(float(row["数量"]) for row in trader.rows("成交")) == 100, "the fills")
    trader.wait(lambda: [row["状态"] for row in trader.rows("委托")] == ["全部成交"], "the order's end")
    [order] = trader.rows("委托")
    assert (order["代码"], order["已成交"], order["来源"]) == ("IBM", "100.0", "ManualTrading")
    trader.wait(lambda: any(row["数量"] == "100.0" for row in trader.rows("持仓")), "the position")


@pytest.mark.parametrize(
    ("exchange", "typed", "symbol"),
    [("SEHK", "700", "00700"), ("SMART", "aapl", "AAPL"), ("SMART", "9988.HK", "09988")],
)
def test_the_trading_panel_takes_every_spelling(trader: Person, exchange: str, typed: str, symbol: str) -> None:
    trader.type_symbol(exchange, typed)
    assert trader.panel.symbol_line.text() == symbol
    assert trader.panel.vt_symbol == f"{symbol}.{trader.panel.exchange_combo.currentText()}"


def test_the_demo_says_so_inside_the_window_too(trader: Person) -> None:
    mark = trader.window.menuBar().cornerWidget()
    assert isinstance(mark, QtWidgets.QLabel)
    assert "模拟" in mark.text()
    assert mark.isVisibleTo(trader.window)
