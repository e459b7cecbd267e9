"""A day at the window from the first click to the last: both brokers connected, every page opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import cast

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="Qt's system libraries are missing", exc_type=ImportError)

from PySide6 import QtCore, QtTest, QtWidgets
from pytestqt.qtbot import QtBot
from vnpy.event import EventEngine
from vnpy.trader.ui.widget import ConnectDialog

from tests import gui_desk
from tests.gui_desk import LEFT, Desk, desk, fill, press
from vnpy_brokers.contract_finder import ContractFinder
from vnpy_brokers.monitor.ui import LampBar, MonitorWidget
from vnpy_brokers.trader import APPS, TraderEngine

IBM = "IBM.SMART"
BROKERS = {"VBROKERS": "vbrokers", "IBKR": "tws"}
PAGES = {
    "券商监控": "MonitorWidget",
    "CTA策略": "CtaManager",
    "CTA回测": "BacktesterManager",
    "RPC服务": "RpcManager",
    "数据管理": "ManagerWidget",
}


class EngineWithApps(TraderEngine):
    """With the apps of ``run.py``, which stand in the menu."""

    def __init__(self, event_engine: EventEngine) -> None:
        super().__init__(event_engine)
        self.add_apps(APPS)


@pytest.fixture
def it(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(gui_desk, "TraderEngine", EngineWithApps)
    with desk(qtbot) as made:
        made.sim.pause()
        made.quote(IBM, 100, 0.01)
        yield made
        for page in made.window.widgets.values():
            page.close()
    # vn.py's RPC server opens its sockets when it is made, and closes them only after it ran.
    made.engine.engines["RpcService"].server._context.destroy(linger=0)  # type: ignore[attr-defined] # of the app's engine


def click_menu(it: Desk, menu: str, item: str) -> None:
    """Open a menu of the bar with the mouse and choose an item of it with Enter."""
    bar = it.window.menuBar()
    [head] = [action for action in bar.actions() if action.text() == menu]
    QtTest.QTest.mouseClick(bar, LEFT, pos=bar.actionGeometry(head).center())
    opened = head.menu()
    assert isinstance(opened, QtWidgets.QMenu)
    it.wait(opened.isVisible, f"the menu {menu}")
    [action] = [action for action in opened.actions() if action.text() == item]
    opened.setActiveAction(action)
    QtTest.QTest.keyClick(opened, QtCore.Qt.Key.Key_Return)


def in_dialog(it: Desk, open_it: Callable[[], None], act: Callable[[QtWidgets.QWidget], None]) -> None:
    """Open a modal dialog and act in it; it is closed afterwards."""
    raised: list[BaseException] = []
    acted: list[QtWidgets.QWidget] = []

    def inside() -> None:
        dialog = QtWidgets.QApplication.activeModalWidget()
        if dialog is None:  # the menu is closing
            QtCore.QTimer.singleShot(10, inside)
            return
        try:
            acted.append(dialog)
            act(dialog)
        except BaseException as error:  # noqa: BLE001 - carried out of Qt's loop, and raised below
            raised.append(error)
        finally:
            dialog.close()

    QtCore.QTimer.singleShot(0, inside)
    open_it()
    it.wait(lambda: acted, "the dialog")
    if raised:
        raise raised[0]


def connect(it: Desk, name: str) -> None:
    def fill_in(dialog: QtWidgets.QWidget) -> None:
        assert isinstance(dialog, ConnectDialog)
        fill(dialog, it.setting(name))
        press(dialog)

    in_dialog(it, lambda: click_menu(it, "系统", f"连接{name}"), fill_in)
    it.wait(lambda: it._ready(name) == 1, f"{name} ready")


def trade(it: Desk, name: str) -> None:
    """Buy, see the fill, cancel, and be refused with a reason."""
    broker = BROKERS[name]

    def rows(monitor: str) -> list[dict[str, str]]:
        return [row for row in it.rows(monitor) if row["接口"] == name]

    it.order("多", "100", "100.01", gateway=name)
    it.wait(lambda: it.held(IBM)[broker] == 100, "the purchase at the broker")
    it.wait(lambda: sum(float(row["数量"]) for row in rows("成交")) == 100, "the fill")
    it.wait(lambda: [row["数量"] for row in rows("持仓") if row["代码"] == "IBM"] == ["100.0"], "the position")

    it.order("多", "10", "99.50", gateway=name)
    it.wait(lambda: [row["状态"] for row in rows("活动")] == ["未成交"], "the order that rests")
    it.press("全撤")
    it.wait(lambda: rows("活动") == [], "the cancel")

    it.order("多", "10", "100.003", gateway=name)
    it.wait(lambda: "拒单" in {row["状态"] for row in rows("委托")}, "the refused order")
    it.wait(lambda: any("被拒绝" in row["信息"] and "100.003" in row["信息"] for row in rows("日志")), "its reason")
    assert [row["status"] for row in it.sim.state()[broker]["orders"]] == ["ALLTRADED", "CANCELLED"]


def open_pages(it: Desk) -> None:
    """Open each page from the menu, as each then shows what happened."""
    for title, kind in PAGES.items():
        click_menu(it, "功能", title)
        shown = [page for page in it.window.widgets.values() if type(page).__name__ == kind]
        assert len(shown) == 1, title
        it.wait(shown[0].isVisible, title)
    [monitor] = [page for page in it.window.widgets.values() if isinstance(page, MonitorWidget)]
    it.wait(lambda: {card.lamp_label.text() for card in monitor.cards.values()} == {"正常"}, "two green lamps")
    it.wait(lambda: len(monitor.journal.table.model.rows) == 6, "six orders")
    assert sum(any("100.003" in cell for cell in row[8:9]) for row in monitor.journal.table.model.rows) == 2
    monitor.close()
    [lamps] = cast("list[LampBar]", it.window.findChildren(LampBar))
    QtTest.QTest.mouseClick(lamps, LEFT)
    it.wait(monitor.isVisible, "the page again, by the lamps")

    click_menu(it, "帮助", "查询合约")
    [finder] = [page for page in it.window.widgets.values() if isinstance(page, ContractFinder)]
    it.wait(finder.isVisible, "the contracts")
    QtTest.QTest.keyClicks(finder.filter_line, "ibm")
    press(finder, "查询")
    assert finder.table.model().index(0, 0).data() == IBM

    def has_texts(dialog: QtWidgets.QWidget) -> None:
        labels = cast("list[QtWidgets.QLabel]", dialog.findChildren(QtWidgets.QLabel))
        assert any(label.text().strip() for label in labels)

    in_dialog(it, lambda: click_menu(it, "帮助", "关于"), has_texts)


def come_back(it: Desk, name: str) -> None:
    """The broker's program ends and returns, and what is held is sold."""
    before = sum("已恢复" in row["信息"] for row in it.rows("日志"))
    it.sim.faults([{"broker": BROKERS[name], "do": "restart", "for_s": 1}])
    it.wait(lambda: sum("已恢复" in row["信息"] for row in it.rows("日志")) > before, f"{name} back")


def test_the_whole_day_by_clicks(it: Desk) -> None:
    for name in BROKERS:
        connect(it, name)
    it.type_symbol("SMART", "ibm")
    it.wait(lambda: it.depth()[0] == ("99.99", "1000", "100.01", "1000"), "a price")
    for name in BROKERS:
        trade(it, name)
    open_pages(it)
    for name in BROKERS:
        come_back(it, name)
    it.quote(IBM, 101, 0.01)
    it.wait(lambda: it.depth()[0] == ("100.99", "1000", "101.01", "1000"), "quotes again")
    for name in BROKERS:
        it.double_click("持仓", "数量", 代码="IBM", 接口=name)
        it.press("委托")
        it.wait(lambda: it.held(IBM)[BROKERS[name]] == 0, f"the sale at {name}")  # noqa: B023  asked at once
