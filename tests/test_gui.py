"""VN Trader's real window on an offscreen Qt.

Without pytest-qt: that plugin ends the whole run where one of Qt's system libraries is missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="Qt's system libraries are missing", exc_type=ImportError)

from PySide6 import QtCore, QtGui, QtWidgets
from vnpy.event import EventEngine
from vnpy.trader.ui.widget import ConnectDialog

from tests.door_fake import FakeGateway
from tests.gui_desk import slots_that_throw
from vnpy_brokers.trader import APPS, TraderEngine
from vnpy_brokers.window import TraderWindow

DEADLINE_S = 5.0


@pytest.fixture
def qapp(monkeypatch: pytest.MonkeyPatch) -> Iterator[QtWidgets.QApplication]:
    with slots_that_throw(monkeypatch) as qapp:
        yield qapp


def wait_until(true: Callable[[], bool], qapp: QtWidgets.QApplication) -> None:
    """Let Qt work until it is true."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "not in time"
        qapp.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 50)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TraderEngine]:
    monkeypatch.chdir(tmp_path)
    engine = TraderEngine(EventEngine())
    yield engine
    engine.close()
    # vn.py's RPC server opens its sockets when it is made, and closes them only after it ran.
    engine.engines["RpcService"].server._context.destroy(linger=0)  # type: ignore[attr-defined] # of the app's engine


@pytest.fixture
def window(engine: TraderEngine, qapp: QtWidgets.QApplication) -> Iterator[TraderWindow]:
    engine.add_gateway(FakeGateway)
    engine.add_apps(APPS)
    window = TraderWindow(engine, demo=True)
    window.show()
    yield window
    window.close_unasked()
    window.deleteLater()


def test_the_demo_says_so_in_its_title(window: TraderWindow) -> None:
    assert "模拟" in window.windowTitle()


def test_every_app_and_gateway_is_in_the_menus(window: TraderWindow) -> None:
    actions = cast("list[QtGui.QAction]", window.findChildren(QtGui.QAction))
    texts = {action.text() for action in actions}
    assert any("VBROKERS" in text for text in texts)
    assert {app.display_name for app in window.main_engine.get_all_apps()} <= texts
    assert len(window.main_engine.get_all_apps()) == len(APPS)


def test_the_connect_dialog_offers_the_settings(window: TraderWindow) -> None:
    dialog = ConnectDialog(window.main_engine, "VBROKERS")
    combo, kind = dialog.widgets["环境"]
    assert kind is list
    assert isinstance(combo, QtWidgets.QComboBox)
    assert combo.currentText() == "内置模拟"


def test_a_quote_reaches_the_monitor(window: TraderWindow, engine: TraderEngine, qapp: QtWidgets.QApplication) -> None:
    engine.connect_all({"VBROKERS": {"环境": "内置模拟"}})
    gateway = engine.gateways["VBROKERS"]
    assert isinstance(gateway, FakeGateway)
    gateway.push_tick("IBM")
    exactly = QtCore.Qt.MatchFlag.MatchExactly
    wait_until(lambda: any(monitor.findItems("名称IBM", exactly) for monitor in window.monitors.values()), qapp)


def test_closing_unasked_closes_the_engine_and_asks_nothing(
    window: TraderWindow, engine: TraderEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QtWidgets.QMessageBox, "question", lambda *a: pytest.fail("a question"))
    gateway = engine.gateways["VBROKERS"]
    window.close_unasked()
    window.close_unasked()
    assert isinstance(gateway, FakeGateway)
    assert gateway.closed == 1
    assert not window.isVisible()


def test_closing_by_hand_still_asks(window: TraderWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def question(*arguments: object) -> QtWidgets.QMessageBox.StandardButton:
        asked.append("asked")
        return QtWidgets.QMessageBox.StandardButton.No

    monkeypatch.setattr(QtWidgets.QMessageBox, "question", question)
    window.close()
    assert asked == ["asked"]
    assert window.isVisible()
