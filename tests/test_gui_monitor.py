"""券商监控 in VN Trader's real Qt, beside simulated brokers: lamps, figures, and the buttons a person presses."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, cast

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="Qt's system libraries are missing", exc_type=ImportError)

from PySide6 import QtCore, QtTest, QtWidgets
from vnpy.trader.constant import Direction, Status

from tests.gui_desk import slots_that_throw
from tests.harness import SHORT, Rig
from tests.ib_harness import SHORT_IB, IbRig
from vnpy_brokerkit.errors import JournalError
from vnpy_brokerkit.health import Lamp
from vnpy_brokerkit.journal_reader import JournalRow
from vnpy_brokers.monitor import BrokerMonitorApp
from vnpy_brokers.monitor.ui import LampBar, MonitorWidget
from vnpy_brokers.monitor.ui.cards import Card
from vnpy_brokers.monitor.ui.tables import JournalView

DEADLINE_S = 20.0
Answer = QtWidgets.QMessageBox.StandardButton


class Page:
    """A person before the page."""

    def __init__(self, rig: Rig, qapp: QtWidgets.QApplication, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rig = rig
        self._qapp = qapp
        self.asked: list[str] = []
        self.answer = Answer.No
        monkeypatch.setattr(QtWidgets.QMessageBox, "question", self._question)
        monkeypatch.setattr(QtWidgets.QMessageBox, "information", self._question)
        self.bar = LampBar(rig.main, rig.event_engine)
        self.widget = MonitorWidget(rig.main, rig.event_engine)
        self.widget.show()

    def _question(self, _parent: QtWidgets.QWidget, _title: str, text: str, *buttons: Answer) -> Answer:
        assert len(buttons) == 1 or buttons[1] is Answer.No  # what Enter means
        self.asked.append(text)
        return self.answer

    @property
    def card(self) -> Card:
        return self.widget.cards[self.rig.name]

    def wait(self, true: Callable[[], Any], what: str) -> None:
        """Let Qt work until it is true."""
        deadline = time.monotonic() + DEADLINE_S
        while not true():
            assert time.monotonic() < deadline, f"not in time: {what}; {self.rig.gateway.health()}"
            self._qapp.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 50)

    def wait_lamp(self, lamp: Lamp, word: str) -> None:
        self.wait(lambda: self.card.dot.lamp is lamp and word in self.card.lamp_label.text(), f"{lamp} {word}")

    def figures(self) -> dict[str, str]:
        """The figures of the card, by heading."""
        labels = [label.text() for label in cast("list[QtWidgets.QLabel]", self.card.findChildren(QtWidgets.QLabel))]
        names = ("最近心跳", "往返延迟", "行情订阅", "活动委托", "结果未知")
        found = [labels.index(name) for name in names]
        assert found == sorted(found)
        return dict(zip(names, [value.text() for value in self.card._values], strict=True))

    def click(self, button: QtWidgets.QPushButton) -> None:
        self.wait(button.isEnabled, f"{button.text()} enabled")
        QtTest.QTest.mouseClick(button, QtCore.Qt.MouseButton.LeftButton)

    def search(self, text: str) -> None:
        self.widget.journal.search_line.setText(text)  # QTest types no Chinese

    def journal(self) -> list[dict[str, str]]:
        model = self.widget.journal.table.model
        names = [model.headerData(n, QtCore.Qt.Orientation.Horizontal) for n in range(model.columnCount())]
        return [dict(zip(names, row, strict=True)) for row in model.rows]

    def resting(self, volume: float = 100, below: float = 0.96) -> str:
        """An order that stays working."""
        price = round(self.rig.wait_tick("IBM.SMART").last_price * below, 2)
        vt_orderid = self.rig.send("IBM.SMART", Direction.LONG, volume, price)
        self.rig.wait_status(vt_orderid, Status.NOTTRADED)
        return vt_orderid

    def connected(self, **changes: Any) -> Page:
        self.rig.connect(**changes)
        self.rig.subscribe("IBM.SMART")
        self.rig.wait_tick("IBM.SMART")
        self.wait_lamp(Lamp.GOOD, "正常")
        return self


@pytest.fixture
def qapp(monkeypatch: pytest.MonkeyPatch) -> Iterator[QtWidgets.QApplication]:
    with slots_that_throw(monkeypatch) as qapp:
        yield qapp


# A second between tries: long enough for the page to show the wait for the next one.
VB, IB = replace(SHORT, reconnect=1.0), replace(SHORT_IB, reconnect=1.0)


@pytest.fixture(params=["VBROKERS", "IBKR"])
def page(
    request: pytest.FixtureRequest, qapp: QtWidgets.QApplication, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """The page beside each broker in turn."""
    with Rig(timing=VB) if request.param == "VBROKERS" else IbRig(timing=IB) as rig:
        rig.main.add_app(BrokerMonitorApp)
        page = Page(rig, qapp, monkeypatch)
        yield page
        page.widget.close()
        rig.close()
        for widget in (page.widget, page.bar):
            widget.deleteLater()
        qapp.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)


def test_the_page_says_in_words_that_nothing_is_there_yet(page: Page) -> None:
    page.wait_lamp(Lamp.OFF, "未连接")
    assert "系统" in page.card.remark_label.text()
    assert page.widget.plot.currentWidget() is page.widget.plot._empty
    assert "对账" in page.widget.reports.empty.text()
    assert "连接后" in page.widget.journal.table.empty.text()
    assert not page.card.reconcile_button.isEnabled()
    assert not page.card.cancel_button.isEnabled()


def test_the_lamp_goes_green_yellow_and_green_again(page: Page) -> None:
    page.connected()
    page.wait(lambda: "毫秒" in page.figures()["往返延迟"], "a latency")
    page.wait(lambda: page.figures()["行情订阅"].startswith("1 / "), "a subscription")
    assert "秒前" in page.figures()["最近心跳"]
    page.wait(lambda: page.widget.plot.currentWidget() is page.widget.plot._plot, "the plot")
    page.wait(lambda: "正常" in page.bar.text(), "the bar's lamp")
    page.rig.sim.faults([{"broker": page.rig.broker, "do": "restart", "for_s": 4}])
    page.wait_lamp(Lamp.RECONNECTING, "秒后重试")
    page.wait(lambda: "连接中" in page.bar.text(), "the bar's lamp")
    page.wait_lamp(Lamp.GOOD, "正常")
    page.wait(lambda: page.bar.text() == f"{page.rig.name} 正常", "the bar's lamp")


def test_refused_connections_are_shown_with_the_remedy(page: Page) -> None:
    page.connected()
    page.rig.sim.faults(
        [{"broker": page.rig.broker, "do": "refuse", "for_s": 3}, {"broker": page.rig.broker, "do": "drop"}]
    )
    page.wait_lamp(Lamp.RECONNECTING, "连接中")
    page.wait(lambda: "请" in page.card.remark_label.text(), "a remedy")
    page.wait_lamp(Lamp.GOOD, "正常")


def test_the_kill_switch_refuses_in_words_shows_in_the_lamp_and_lets_cancels_through(page: Page) -> None:
    page.connected()
    working = page.resting()
    page.click(page.card.stop_button)
    assert page.asked == []  # an emergency is no time for questions
    page.wait(lambda: page.card.dot.stopped and "紧急停止" in page.card.lamp_label.text(), "the lamp")
    page.wait(lambda: "紧急停止" in page.bar.text(), "the bar's lamp")
    refused = page.rig.wait_status(page.rig.send("IBM.SMART", Direction.LONG, 100, 1.0), Status.REJECTED)
    assert "紧急停止" in (refused.extra or {})["reason"]
    page.rig.cancel(working)
    page.rig.wait_status(working, Status.CANCELLED)
    page.click(page.card.stop_button)
    assert page.rig.gateway.health().stopped
    page.answer = Answer.Yes
    page.click(page.card.stop_button)
    assert len(page.asked) == 2
    assert page.rig.name in page.asked[0]
    page.wait(lambda: not page.card.dot.stopped, "the lamp")
    page.resting()


def test_one_button_stops_every_gateway(page: Page) -> None:
    page.click(page.widget.stop_all_button)
    assert page.rig.gateway.health().stopped
    page.answer = Answer.Yes
    page.click(page.widget.stop_all_button)
    assert not page.rig.gateway.health().stopped


def test_reconcile_now_gives_a_report(page: Page) -> None:
    page.connected()
    page.wait(lambda: page.widget.reports.model.rows, "the report of the connect")
    assert page.widget.reports.model.rows[0][2] == "连接"
    page.click(page.card.reconcile_button)
    page.wait(lambda: page.widget.reports.model.rows[0][2] == "人工", "the report that was asked for")
    page.wait(lambda: page.card.reconcile_button.text() == "立即对账", "the button again")
    assert page.widget.reports.model.rows[0][3] == "一致"


def test_an_order_from_elsewhere_is_in_the_report(page: Page) -> None:
    page.connected()
    account = {"tws": "DU1000001"}.get(page.rig.broker, "VBROKERS")
    page.rig.sim.faults([{"broker": page.rig.broker, "do": "push", "mode": "lose", "times": 20}])
    page.rig.sim.order("IBM.SMART", "LONG", 5, 1, broker=page.rig.broker, account=account)
    page.click(page.card.reconcile_button)
    page.wait(lambda: any(row[3] == "接管" for row in page.widget.reports.model.rows), "the adopted order")
    [row] = [row for row in page.widget.reports.model.rows if row[3] == "接管"]
    assert (row[4], row[5]) == ("IBM.SMART", "在别处或此前下的委托，已显示")


def test_the_journal_is_searched_for_a_refused_order_and_shows_its_reason(page: Page) -> None:
    page.connected()
    working = page.resting()
    refused = page.rig.send("IBM.SMART", Direction.LONG, 0, 1.0)
    page.rig.wait_status(refused, Status.REJECTED)
    page.wait(lambda: len(page.journal()) == 2, "both orders")
    page.search("数量")
    page.wait(lambda: len(page.journal()) == 1, "the refused one")
    [row] = page.journal()
    assert f"{row['接口']}.{row['委托号']}" == refused
    assert row["状态"] == "未发出"
    assert "必须大于0" in row["原因"]
    page.search(working.split(".")[1])
    page.wait(lambda: [row["状态"] for row in page.journal()] == ["未成交"], "the working one")
    page.search("未发出")
    page.wait(lambda: [f"{row['接口']}.{row['委托号']}" for row in page.journal()] == [refused], "by its word")
    page.search("未成交")
    page.wait(lambda: [f"{row['接口']}.{row['委托号']}" for row in page.journal()] == [working], "by its word")
    page.search(page.rig.name.lower())
    page.wait(lambda: len(page.journal()) == 2, "by the gateway")
    page.search("nobody")
    page.wait(lambda: "nobody" in page.widget.journal.table.empty.text() and not page.journal(), "a word on nothing")


def test_a_journal_that_fails_or_hangs_hides_no_other(page: Page) -> None:
    """Two gateways: this one answers, the other's disk fails, or its thread hangs."""
    page.connected()
    working = page.resting()
    answer: Future[list[JournalRow]] = Future()

    class Other:
        journal = None

        def read_journal(self, *_asked: object) -> Future[list[JournalRow]]:
            return answer

    view = JournalView(lambda: cast("Any", {"OTHER": Other(), page.rig.name: page.rig.gateway}))
    view.start()
    page.wait(lambda: "OTHER" in view.count_label.text(), "who has not answered")
    assert [f"{row[1]}.{row[9]}" for row in view.table.model.rows] == [working]
    answer.set_exception(JournalError("the disk is gone"))
    page.wait(lambda: "the disk is gone" in view.count_label.text(), "the failure, beside what is there")
    assert [f"{row[1]}.{row[9]}" for row in view.table.model.rows] == [working]
    view.stop()
    view.deleteLater()


def test_cancel_all_asks_and_keeps_to_our_own_orders_of_the_market(page: Page) -> None:
    page.connected()
    ours = [page.resting(), page.resting(below=0.97)]
    account = {"tws": "DU1000001"}.get(page.rig.broker, "VBROKERS")
    other = page.rig.sim.order("IBM.SMART", "LONG", 5, 1, broker=page.rig.broker, account=account)
    american = "P" if page.rig.broker == "vbrokers" else "SMART"
    page.wait(lambda: page.card.market_combo.findData(american) >= 0, "the market")
    page.wait(lambda: "2笔" in page.card.market_combo.itemText(page.card.market_combo.findData(american)), "its orders")
    page.card.market_combo.setCurrentIndex(page.card.market_combo.findData(american))
    before = _cancels(page)

    page.click(page.card.cancel_button)
    [question] = page.asked
    market = page.card.market_combo.currentText().partition("（")[0]
    assert page.rig.name in question
    assert market in question
    assert "2笔" in question
    assert _cancels(page) == before

    page.answer = Answer.Yes
    page.click(page.card.cancel_button)
    for vt_orderid in ours:
        page.rig.wait_status(vt_orderid, Status.CANCELLED)
    assert _cancels(page) > before
    [row] = [row for row in page.rig.truth()["orders"] if row["id"] == other]
    assert row["status"] == "NOTTRADED"
    page.wait(lambda: "0笔" in page.card.market_combo.itemText(0), "no order of ours left")

    sent = _cancels(page)
    page.click(page.card.cancel_button)
    assert "没有本接口可撤的委托" in page.asked[-1]
    assert _cancels(page) == sent


def _cancels(page: Page) -> int:
    wire = page.rig.sim.wire()[page.rig.broker]
    return sum(count for name, count in wire.items() if "cancel" in name.lower())


def test_a_hidden_page_reads_nothing_and_shows_all_when_it_is_back(page: Page) -> None:
    page.connected()
    page.widget.hide()
    assert not page.widget._timer.isActive()
    page.rig.wait_status(page.rig.send("IBM.SMART", Direction.LONG, 0, 1.0), Status.REJECTED)
    assert page.journal() == []
    page.widget.show()
    page.wait(lambda: len(page.journal()) == 1, "the order of meanwhile")


def test_the_page_and_the_bar_outlive_the_engine(page: Page) -> None:
    page.connected()
    page.rig.close()
    page.wait_lamp(Lamp.OFF, "未连接")
    page.widget.journal.renew()
    page.wait(lambda: "未连接" in page.bar.text(), "the bar's lamp")


def test_the_bar_says_plainly_that_nothing_is_real(page: Page) -> None:
    assert "模拟" not in page.bar.text()
    demo = LampBar(page.rig.main, page.rig.event_engine, demo=True)
    assert demo.text() == f"【模拟】 {page.rig.name} 未连接"
    clicks: list[int] = []
    demo.clicked.connect(lambda: clicks.append(1))
    QtTest.QTest.mouseClick(demo, QtCore.Qt.MouseButton.LeftButton)
    assert clicks == [1]
    demo.deleteLater()


def test_an_embedded_simulator_is_marked_in_card_and_bar(
    qapp: QtWidgets.QApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Rig(start=False) as rig:
        rig.main.add_app(BrokerMonitorApp)
        page = Page(rig, qapp, monkeypatch)
        rig.main.connect({"环境": "内置模拟"}, "VBROKERS")
        page.wait(lambda: "模拟" in page.card.marks_label.text() and "【模拟】" in page.bar.text(), "the marks")
        page.wait_lamp(Lamp.GOOD, "正常")
        page.widget.close()
        page.widget.deleteLater()
        page.bar.deleteLater()
        qapp.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
