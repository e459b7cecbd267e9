"""VN Trader on the gateways of a server: connect dialog, typing, buying, a row closed at the broker that holds it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("PySide6.QtWidgets", reason="a Qt library is missing", exc_type=ImportError)

from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot
from vnpy.event import EventEngine
from vnpy.trader.ui.widget import ConnectDialog
from vnpy.trader.utility import TEMP_DIR

import brokersim
from tests.gui_desk import FILES, Desk, fill, press
from tests.rpc_desk import NAMES, READY, TENCENT, Server
from vnpy_brokers.rpc import RemoteGateway
from vnpy_brokers.rpc.gateway import SECRET_KEY
from vnpy_brokers.trader import TraderEngine
from vnpy_brokers.window import TraderWindow


@pytest.fixture
def remote(qtbot: QtBot) -> Iterator[tuple[Desk, Server]]:
    """A window with the gateways of a server that is connected to both brokers."""
    with brokersim.running(vbrokers=True, tws=True) as sim:
        server = Server(sim).connect()
        engine = TraderEngine(EventEngine())
        for name in NAMES:
            engine.add_gateway(RemoteGateway, name)
        window = TraderWindow(engine, demo=False)
        qtbot.addWidget(window, before_close_func=lambda _window: window.close_unasked())
        window.resize(1600, 1000)
        window.show()
        try:
            yield Desk(window, sim, qtbot), server
        finally:
            window.close_unasked()
            server.close()
            for name in FILES:
                (TEMP_DIR / name).unlink(missing_ok=True)


def test_a_person_trades_on_a_server(remote: tuple[Desk, Server]) -> None:
    it, server = remote

    def connect(dialog: ConnectDialog) -> None:
        field, _kind = dialog.widgets[SECRET_KEY]
        assert isinstance(field, QtWidgets.QLineEdit)
        assert field.echoMode() is QtWidgets.QLineEdit.EchoMode.Password
        fill(dialog, server.setting)
        press(dialog)

    for name in NAMES:
        it.dialog(name, connect)
        it.wait(lambda: any(row["接口"] == name and READY in row["信息"] for row in it.rows("日志")), name)  # noqa: B023  asked at once
    it.quote(TENCENT, 400, 0.2)
    it.type_symbol("SEHK", "700")
    it.wait(lambda: it.form()["vt_symbol"] == TENCENT and it.depth()[0] != ("", "", "", ""), "the quote of 00700")
    it.wait(lambda: it.panel.lp_label.text() == "400.0", "its price")
    it.order("多", "100", "400.2", "IBKR")
    it.wait(lambda: it.held(TENCENT) == {"vbrokers": 0, "tws": 100}, "the fill at the broker")
    it.wait(lambda: [row for row in it.rows("成交") if row["接口"] == "IBKR"], "the fill in the window")
    held = {"接口": "IBKR", "代码": "00700", "数量": "100.0"}
    it.wait(lambda: any(held.items() <= row.items() for row in it.rows("持仓")), "the position")
    it.double_click("持仓", "代码", 代码="00700", 接口="IBKR")
    assert (it.form()["gateway"], it.form()["direction"], it.form()["volume"]) == ("IBKR", "空", "100")
    it.press("委托")
    it.wait(lambda: it.held(TENCENT) == {"vbrokers": 0, "tws": 0}, "the sale at the broker that held it")
    assert server.sim.state()["vbrokers"]["orders"] == []
