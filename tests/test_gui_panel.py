"""Typing and double-clicking in VN Trader's window, each proved by what the brokers hold."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="Qt's system libraries are missing", exc_type=ImportError)

from pytestqt.qtbot import QtBot
from vnpy.trader.constant import Exchange
from vnpy.trader.object import ContractData, TickData

from brokersim.client import Simulation
from tests.gui_desk import Desk, desk
from tests.harness import DATA
from vnpy_brokerkit.clock import ShiftedClock

IBM, TENCENT = "IBM.SMART", "00700.SEHK"
SHOWN_WITHIN_S = 2.0
SHOTS = Path(os.environ["GUI_SHOTS"]) if "GUI_SHOTS" in os.environ else None


def shot(it: Desk, name: str) -> None:
    """For a person to look at, where the environment names a folder."""
    if SHOTS:
        it.window.grab().save(str(SHOTS / f"{name}.png"))


@pytest.fixture
def both(qtbot: QtBot) -> Iterator[Desk]:
    """Both gateways connected by their dialogs; the quotes stand still."""
    with desk(qtbot) as it:
        it.sim.pause()
        it.quote(IBM, 100, 0.01)
        it.quote(TENCENT, 400, 0.2)
        it.connect("VBROKERS")
        it.connect("IBKR")
        yield it


@pytest.fixture
def ibkr(qtbot: QtBot) -> Iterator[Desk]:
    with desk(qtbot, "IBKR", vbrokers=False) as it:
        it.sim.pause()
        it.connect("IBKR")
        yield it


@pytest.fixture
def vbrokers(qtbot: QtBot) -> Iterator[Desk]:
    with desk(qtbot, "VBROKERS", tws=False) as it:
        it.sim.pause()
        it.connect("VBROKERS")
        yield it


def see(it: Desk, exchange: str, typed: str, vt_symbol: str, digits: int) -> float:
    """Type it and see it whole; return the seconds that it took."""
    began = time.monotonic()
    it.type_symbol(exchange, typed)

    def whole() -> bool:
        panel = it.panel
        return bool(
            panel.vt_symbol == vt_symbol == it.form()["vt_symbol"]
            and panel.name_line.text()
            and panel.lp_label.text()
            and all(it.depth()[0])
        )

    it.wait(whole, f"{typed} on {exchange} as {vt_symbol}")
    took = time.monotonic() - began
    for text in (it.panel.lp_label.text(), it.depth()[0][0], it.depth()[0][2]):
        assert len(text.partition(".")[2]) == digits, text
    return took


SPELLINGS = [
    *(("SMART", typed, "AAPL.SMART", 2) for typed in ("aapl", "AAPL.US", "US.AAPL", "AAPL-USD-STK", " AAPL ")),
    *((exchange, "AAPL", "AAPL.SMART", 2) for exchange in ("NASDAQ", "NYSE", "ARCA", "AMEX")),
    *(("SMART", typed, "BRK-B.SMART", 2) for typed in ("BRK.B", "brk b", "BRK-B")),
    *(("SEHK", typed, TENCENT, 1) for typed in ("700", "0700", "00700")),
    *(("SMART", typed, TENCENT, 1) for typed in ("0700.HK", "00700.hk", "HK.00700", "700-HKD-STK")),
]
CONNECT = [
    ("SMART", "600519.SH", "600519.SSE", 2),
    ("SSE", "600519", "600519.SSE", 2),
    ("SMART", "000001.SZ", "000001.SZSE", 2),
    ("SZSE", "1", "000001.SZSE", 2),
]


def test_every_spelling_at_vbrokers(qtbot: QtBot) -> None:
    with desk(qtbot, "VBROKERS", tws=False) as it:
        it.sim.pause()
        it.connect("VBROKERS", 市场="港股+美股+A股通")
        took = [see(it, *spelled) for spelled in (*SPELLINGS, *CONNECT)]
        assert statistics.median(took) < SHOWN_WITHIN_S
        shown = {"AAPL", "BRK-B", "00700", "600519", "000001"}
        it.wait(lambda: {row["代码"] for row in it.rows("行情")} == shown, "a row for each, and no others")
        shot(it, "typed_vbrokers")


def test_every_spelling_at_ibkr(ibkr: Desk) -> None:
    took = [see(ibkr, *spelled) for spelled in SPELLINGS]
    assert statistics.median(took) < SHOWN_WITHIN_S
    for typed in ("EUR-USD-CASH", "EUR.USD", "eurusd"):
        see(ibkr, "IDEALPRO", typed, "EUR-USD-CASH.IDEALPRO", 5)
    shot(ibkr, "typed_ibkr")


def test_a_con_id_becomes_the_instrument_that_it_stands_for(ibkr: Desk) -> None:
    see(ibkr, "SMART", "AAPL", "AAPL.SMART", 2)
    con_id = (ibkr.engine.get_contract("AAPL.SMART").extra or {})["con_id"]  # type: ignore[union-attr] # seen above
    see(ibkr, "SMART", "IBM", IBM, 2)
    see(ibkr, "SMART", str(con_id), "AAPL.SMART", 2)
    see(ibkr, "NASDAQ", f" {con_id} ", "AAPL.SMART", 2)


def test_a_con_id_of_a_stock_whose_quotes_are_vbrokers(both: Desk) -> None:
    """IBKR alone knows the number; the quotes then come from the owner."""
    see(both, "SMART", "8314", IBM, 2)
    assert both.engine.get_tick(IBM).gateway_name == "VBROKERS"  # type: ignore[union-attr] # seen above
    assert both.form()["gateway"] == "VBROKERS"


@pytest.mark.parametrize(("exchange", "typed"), [("SMART", "NOSUCH"), ("SMART", "99999999"), ("SEHK", "99999")])
def test_what_is_not_found_is_one_line(ibkr: Desk, exchange: str, typed: str) -> None:
    ibkr.type_symbol(exchange, typed)
    ibkr.wait_log("找不到合约", typed)
    ibkr.type_symbol("SMART", "IBM")
    ibkr.wait(ibkr.panel.lp_label.text, "a price")
    about = [row["信息"] for row in ibkr.rows("日志") if row["接口"] == "IBKR" and typed in row["信息"]]
    assert len(about) == 1, about
    assert ibkr.panel.name_line.text()


def test_what_vbrokers_does_not_find_is_one_line(vbrokers: Desk) -> None:
    vbrokers.type_symbol("SMART", "NOSUCH")
    vbrokers.wait_log("找不到合约", "NOSUCH")
    assert vbrokers.depth() == [("", "", "", "")] * 5


# ------------------------------------------------------------------ rows


def test_a_position_is_closed_where_it_is_held(both: Desk) -> None:
    it = both
    see(it, "SEHK", "700", TENCENT, 1)
    assert it.form()["gateway"] == "VBROKERS"
    it.order("多", "200", "401", gateway="IBKR")
    it.wait(lambda: it.held(TENCENT) == {"vbrokers": 0, "tws": 200}, "the purchase at IBKR alone")
    it.order("多", "100", "401", gateway="VBROKERS")
    it.wait(lambda: it.held(TENCENT) == {"vbrokers": 100, "tws": 200}, "the purchase at VBROKERS")
    it.type_symbol("SMART", "IBM")
    it.wait(lambda: any(row["接口"] == "IBKR" and row["数量"] == "200.0" for row in it.rows("持仓")), "the row")
    it.double_click("持仓", "代码", 代码="00700", 接口="IBKR")
    assert it.form() == {
        "vt_symbol": TENCENT,
        "direction": "空",
        "offset": "平",
        "price": "399.8",
        "volume": "200",
        "gateway": "IBKR",
    }
    shot(it, "closing")
    it.press("委托")
    it.wait(lambda: it.held(TENCENT) == {"vbrokers": 100, "tws": 0}, "the sale at IBKR alone")
    assert [row["direction"] for row in it.sim.state()["vbrokers"]["orders"]] == ["LONG"]


def test_a_short_position_is_bought_back_at_the_ask(ibkr: Desk) -> None:
    it = ibkr
    it.quote(IBM, 100, 0.01)
    see(it, "SMART", "ibm", IBM, 2)
    it.order("空", "50", "99")
    it.wait(lambda: it.held(IBM)["tws"] == -50, "the sale")
    it.wait(lambda: any(row["数量"] == "-50.0" for row in it.rows("持仓")), "the row")
    it.panel.price_line.clear()
    it.double_click("持仓", "数量", 代码="IBM")
    form = it.form()
    assert (form["direction"], form["offset"], form["price"], form["volume"]) == ("多", "平", "100.01", "50")


def test_a_position_without_a_quote_is_priced_by_the_first_one(qtbot: QtBot) -> None:
    held = {"account": "DU1000001", "vt_symbol": IBM, "volume": 30, "price": 90}
    with desk(qtbot, "IBKR", vbrokers=False, positions=[held]) as it:
        it.sim.pause()
        it.quote(IBM, 100, 0.01)
        it.connect("IBKR")
        it.wait(lambda: any(row["数量"] == "30.0" for row in it.rows("持仓")), "the row")
        assert it.engine.get_tick(IBM) is None
        it.double_click("持仓", "盈亏", 代码="IBM")
        assert it.form()["price"] == ""
        it.wait(lambda: it.form()["price"] == "99.99", "the price to sell at")
        assert it.form()["volume"] == "30"


def test_an_order_and_a_quote_fill_the_form_with_their_own_gateway(both: Desk) -> None:
    it = both
    see(it, "SMART", "ibm", IBM, 2)
    it.order("多", "10", "95.5", gateway="IBKR")
    it.wait(lambda: [row["status"] for row in it.sim.state()["tws"]["orders"]] == ["NOTTRADED"], "the order")
    it.wait(lambda: [row["状态"] for row in it.rows("活动")] == ["未成交"], "its row")
    it.type_symbol("SEHK", "700")
    it.wait(lambda: it.panel.lp_label.text() == "400.0", "another symbol")
    it.double_click("活动", "委托号", 代码="IBM")
    form = it.form()
    assert (form["vt_symbol"], form["direction"], form["price"], form["volume"], form["gateway"]) == (
        IBM,
        "多",
        "95.50",
        "10",
        "IBKR",
    )
    it.wait(lambda: [row["status"] for row in it.sim.state()["tws"]["orders"]] == ["CANCELLED"], "vn.py's cancel")
    it.wait(lambda: any(row["代码"] == "00700" for row in it.rows("行情")), "its row")
    it.double_click("行情", "最新价", 代码="00700")
    form = it.form()
    assert (form["vt_symbol"], form["price"], form["gateway"]) == (TENCENT, "400.0", "VBROKERS")


# ------------------------------------------------------------------ 全撤


def test_cancel_all_keeps_to_our_own_orders(both: Desk) -> None:
    it = both
    it.sim.order(IBM, "LONG", 7, 90, broker="vbrokers", account="VBROKERS")  # from the phone
    see(it, "SMART", "ibm", IBM, 2)
    for gateway in ("VBROKERS", "IBKR"):
        it.order("多", "10", "95", gateway=gateway)
    it.wait(lambda: [row["状态"] for row in it.rows("活动")] == ["未成交"] * 3, "three working orders")
    it.press("全撤")
    it.wait_log("全撤不含1笔")

    def left() -> list[tuple[str, str]]:
        rows = [row for truth in it.sim.state().values() for row in truth["orders"]]
        return sorted((row["volume"], row["status"]) for row in rows)

    it.wait(lambda: left() == [("10", "CANCELLED"), ("10", "CANCELLED"), ("7", "NOTTRADED")], "ours alone")
    it.connect("VBROKERS", 外部委托="显示，全撤包含")
    it.press("全撤")
    it.wait(lambda: ("7", "CANCELLED") in left(), "the one from the phone, now that the settings say so")


# ------------------------------------------------------------------ quotes


def test_no_level_of_depth_stays_that_is_gone(vbrokers: Desk) -> None:
    """Ticks as a gateway gives them, drawn by the panel itself."""
    it = vbrokers
    see(it, "SMART", "ibm", IBM, 2)
    whole = it.engine.get_tick(IBM)
    assert whole is not None
    it.wait(lambda: all(all(level) for level in it.depth()), "five levels")
    half = TickData("VBROKERS", "IBM", Exchange.SMART, whole.datetime, last_price=100.1, pre_close=100)
    half.ask_price_1, half.ask_volume_1 = 100.2, 5
    it.engine.gateways["VBROKERS"].on_tick(half)
    it.wait(lambda: it.depth()[0] == ("", "", "100.20", "5"), "one ask")
    assert it.depth()[1:] == [("", "", "", "")] * 4
    it.type_symbol("SMART", "NOSUCH")
    assert it.depth() == [("", "", "", "")] * 5
    assert (it.panel.lp_label.text(), it.panel.return_label.text(), it.panel.name_line.text()) == ("", "", "")


def test_a_symbol_typed_again_shows_its_last_quote_at_once(vbrokers: Desk) -> None:
    see(vbrokers, "SMART", "ibm", IBM, 2)
    see(vbrokers, "SMART", "aapl", "AAPL.SMART", 2)
    vbrokers.type_symbol("SMART", "ibm")
    assert vbrokers.panel.lp_label.text()
    assert all(vbrokers.depth()[0])


def test_the_name_and_decimals_of_a_contract_that_comes_late(vbrokers: Desk) -> None:
    it = vbrokers
    see(it, "SMART", "ibm", IBM, 2)
    gateway = it.engine.gateways["VBROKERS"]
    known = it.engine.get_contract(IBM)
    assert isinstance(known, ContractData)
    later = ContractData("VBROKERS", "IBM", Exchange.SMART, "国际商业机器", known.product, 1, 0.001)
    gateway.on_contract(later)
    it.wait(lambda: it.panel.name_line.text() == "国际商业机器", "the name")
    assert len(it.panel.lp_label.text().partition(".")[2]) == 3


@pytest.mark.parametrize("name", ["VBROKERS", "IBKR"])
def test_a_closed_market_shows_its_last_close_and_says_so(qtbot: QtBot, tmp_path: Path, name: str) -> None:
    source = DATA / f"{IBM}.1m.csv"
    if not source.exists():
        pytest.skip(f"the market data folder {DATA.name} is not beside the repository")
    (tmp_path / source.name).write_bytes(source.read_bytes())

    def saturday(sim: Simulation) -> ShiftedClock:
        return ShiftedClock(sim.set_clock("2013-10-12T16:00:00+00:00"))

    vbrokers = name == "VBROKERS"
    with desk(qtbot, name, clock=saturday, data=tmp_path, sim_clock="data", vbrokers=vbrokers, tws=not vbrokers) as it:
        it.connect(name)
        for symbol in ("IBM", "AAPL"):  # with data, and without any on this day
            it.type_symbol("SMART", symbol)
            it.wait(lambda: float(it.panel.lp_label.text() or 0) > 0, f"the close of {symbol}")
            it.wait(lambda: "休市" in it.panel.state_label.text(), "the word")
            assert it.panel.name_line.text()
        shot(it, f"closed_{name}")
