"""The other windows: contracts, quotes in the hundreds, lamps, and the demo's first screen."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="Qt's system libraries are missing", exc_type=ImportError)

from PySide6 import QtCore, QtTest, QtWidgets
from pytestqt.qtbot import QtBot
from vnpy.trader.constant import Exchange, Product
from vnpy.trader.object import ContractData, TickData
from vnpy.trader.ui.widget import ContractManager

from tests.door_fake import FakeGateway
from tests.gui_desk import bare_window, desk, press
from vnpy_brokerkit.clock import SystemClock
from vnpy_brokers.contract_finder import ContractFinder
from vnpy_brokers.monitor.ui.lamps import LampBar
from vnpy_brokers.window import TraderWindow

SHOTS = Path(os.environ["GUI_SHOTS"]) if "GUI_SHOTS" in os.environ else None


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[TraderWindow]:
    with bare_window(qtbot, FakeGateway) as window:
        yield window


def contract(symbol: str, name: str, pricetick: float = 0.01, lot: float = 1) -> ContractData:
    made = ContractData("VBROKERS", symbol, Exchange.SEHK, name, Product.EQUITY, 1, pricetick)
    made.min_volume = lot
    return made


def shown(finder: ContractFinder) -> list[dict[str, str]]:
    model = finder.table.model()
    names = list(finder.headers)
    return [
        {name: str(model.data(model.index(row, column)) or "") for column, name in enumerate(names)}
        for row in range(model.rowCount())
    ]


def test_contracts_are_found_by_symbol_and_name(window: TraderWindow, qtbot: QtBot) -> None:
    gateway = window.main_engine.gateways["VBROKERS"]
    for one in (contract("00700", "腾讯控股", 0.2, 100), contract("00005", "汇丰控股 HSBC", 0.05, 400)):
        gateway.on_contract(one)
    qtbot.waitUntil(lambda: len(window.main_engine.get_all_contracts()) == 2)
    window.open_widget(ContractManager, "contract")
    finder = window.widgets["contract"]
    assert isinstance(finder, ContractFinder)
    press(finder, "查询")
    rows = shown(finder)
    assert [row["vt_symbol"] for row in rows] == ["00005.SEHK", "00700.SEHK"]
    assert [(row["name"], row["min_volume"], row["pricetick"]) for row in rows] == [
        ("汇丰控股 HSBC", "400", "0.05"),
        ("腾讯控股", "100", "0.2"),
    ]
    for typed, found in (("腾讯", "00700"), ("hsbc", "00005"), ("0070", "00700"), ("00005.sehk", "00005")):
        finder.filter_line.setText(typed)
        QtTest.QTest.keyClick(finder.filter_line, QtCore.Qt.Key.Key_Return)
        assert [row["symbol"] for row in shown(finder)] == [found]
    if SHOTS:
        finder.grab().save(str(SHOTS / "contracts.png"))


def test_an_empty_list_of_contracts_says_why(window: TraderWindow) -> None:
    window.open_widget(ContractManager, "contract")
    finder = window.widgets["contract"]
    press(finder, "查询")
    assert "还没有合约" in texts(finder)


def test_two_thousand_contracts_cost_no_more_than_a_screenful(window: TraderWindow, qtbot: QtBot) -> None:
    """The table asks for the rows that can be seen: many contracts take about as long as few."""
    gateway = window.main_engine.gateways["VBROKERS"]
    window.open_widget(ContractManager, "contract")
    finder = window.widgets["contract"]
    assert isinstance(finder, ContractFinder)

    def look() -> float:
        began = time.perf_counter()
        finder.show_contracts()
        QtWidgets.QApplication.processEvents()
        return time.perf_counter() - began

    for number in range(300):
        gateway.on_contract(contract(f"{number:05}", f"名称{number}"))
    qtbot.waitUntil(lambda: len(window.main_engine.get_all_contracts()) == 300)
    few = min(look() for _time in range(5))
    for number in range(300, 3000):
        gateway.on_contract(contract(f"{number:05}", f"名称{number}"))
    qtbot.waitUntil(lambda: len(window.main_engine.get_all_contracts()) == 3000)
    many = min(look() for _time in range(5))
    assert finder.table.model().rowCount() == 3000
    assert many < 5 * few + 0.05


def tick(number: int, last: float) -> TickData:
    made = TickData("VBROKERS", f"{number:05}", Exchange.SEHK, SystemClock().now(), last_price=last, volume=100.0)
    made.bid_price_1, made.bid_volume_1 = last - 0.05, 400.0
    return made


def test_rows_of_quotes_show_the_newest_with_the_tick_s_decimals(window: TraderWindow, qtbot: QtBot) -> None:
    gateway = window.main_engine.gateways["VBROKERS"]
    for number in range(200):
        gateway.on_contract(contract(f"{number:05}", f"名称{number}", 0.05))
    for last in (60, 66.35, 70):
        for number in range(200):
            gateway.on_tick(tick(number, last))
    table = window.monitors["行情"]

    def column(name: str) -> list[str]:
        at = list(table.headers).index(name)
        return [table.item(row, at).text() for row in range(table.rowCount())]  # type: ignore[union-attr] # every cell is filled

    qtbot.waitUntil(lambda: column("last_price") == ["70.00"] * 200, timeout=10_000)
    assert set(column("bid_price_1")) == {"69.95"}
    assert set(column("volume")) == {"100"}
    assert len(set(column("name"))) == 200
    assert all(name.startswith("名称") for name in column("name"))


def test_rows_of_quotes_are_sorted_by_a_click(window: TraderWindow, qtbot: QtBot) -> None:
    gateway = window.main_engine.gateways["VBROKERS"]
    for number in (2, 1, 3):
        gateway.on_tick(tick(number, 100 + number))
    table = window.monitors["行情"]
    qtbot.waitUntil(lambda: table.rowCount() == 3)
    header = table.horizontalHeader()
    at = QtCore.QPoint(header.sectionViewportPosition(0) + 5, header.height() // 2)
    QtTest.QTest.mouseClick(header.viewport(), QtCore.Qt.MouseButton.LeftButton, pos=at)

    def symbols() -> list[str]:
        return [table.item(row, 0).text() for row in range(3)]  # type: ignore[union-attr] # every cell is filled

    assert symbols() == ["00001", "00002", "00003"]
    QtTest.QTest.mouseClick(header.viewport(), QtCore.Qt.MouseButton.LeftButton, pos=at)
    assert symbols() == ["00003", "00002", "00001"]


def test_the_lamps_are_in_sight(window: TraderWindow) -> None:
    bars = cast("list[QtWidgets.QWidget]", window.statusBar().findChildren(LampBar))
    assert [bar.isVisibleTo(window) for bar in bars] == [True]


def texts(widget: QtWidgets.QWidget) -> str:
    labels = cast("list[QtWidgets.QLabel]", widget.findChildren(QtWidgets.QLabel))
    return " ".join(label.text() for label in labels)


def test_the_demo_is_marked_and_has_something_to_see(qtbot: QtBot) -> None:
    """With both gateways on the embedded simulator; the script of the demo is not asked for here."""
    with desk(qtbot, demo=True) as it:
        assert "模拟" in it.window.windowTitle()
        assert "模拟" in texts(it.window.menuBar())
        for name in ("VBROKERS", "IBKR"):
            it.engine.connect({"环境": "内置模拟"}, name)
        it.wait(lambda: it._ready("VBROKERS") and it._ready("IBKR"), "both ready")
        it.type_symbol("SMART", "IBM")
        it.type_symbol("SEHK", "700")
        it.wait(lambda: all(all(level) for level in it.depth()), "five levels")
        it.order("多", "100", f"{float(it.panel.ap1_label.text()) + 1:.1f}")
        it.wait(lambda: it.rows("成交"), "a fill")
        it.wait(lambda: all(row["账号"].startswith("SIM-") for row in it.rows("资金")) and it.rows("资金"), "the funds")
        it.wait(lambda: "模拟" in texts(it.window.statusBar()), "the lamp")
        if SHOTS:
            it.window.grab().save(str(SHOTS / "demo.png"))
