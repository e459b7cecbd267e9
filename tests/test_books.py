"""A gateway's books in a real engine: orders keep their ids over a restart, and a bad journal stops orders alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from vnpy.event import EventEngine
from vnpy.trader.constant import Direction, Exchange, OrderType, Status
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import EVENT_ORDER, EVENT_TRADE
from vnpy.trader.object import OrderRequest
from vnpy.trader.utility import TEMP_DIR

from tests.harness import Recorder, Rig
from tests.ib_harness import IbRig
from vnpy_brokerkit.findings import Occasion
from vnpy_brokerkit.guard import Limits

RIGS: dict[str, type[Rig]] = {"VBROKERS": Rig, "IBKR": IbRig}
JOURNALS = {"VBROKERS": "vbrokers_test_orders.db", "IBKR": "ibkr_paper_orders.db"}
IBM = "IBM.SMART"


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with RIGS[request.param]() as made:
        made.sim.pause()
        made.sim.quote(IBM, last=100, bid="99.99", ask="100.01", bid_size=500, ask_size=500)
        yield made


def journal(rig: Rig) -> Path:
    return TEMP_DIR / JOURNALS[rig.name]


def restart(rig: Rig) -> None:
    rig.close()
    rig.event_engine = EventEngine()
    rig.main = MainEngine(rig.event_engine)
    rig.seen = Recorder(rig.event_engine)
    rig.gateway = rig.add(rig.name)
    rig.connect()


def test_orders_come_back_under_their_own_ids(rig: Rig) -> None:
    rig.connect()
    resting = rig.send(IBM, Direction.LONG, 20, 90, reference="策略|a.b")
    filled = rig.send(IBM, Direction.LONG, 10, 100.5, reference="s2")
    rig.wait_status(resting, Status.NOTTRADED)
    rig.wait_status(filled, Status.ALLTRADED)
    rig.wait_equal()
    for _time in range(2):
        restart(rig)
        rig.wait_equal()
        assert {order.vt_orderid for order in rig.main.get_all_orders()} == {resting, filled}
        order = rig.wait_status(resting, Status.NOTTRADED)
        assert (order.reference, (order.extra or {})["external"]) == ("策略|a.b", False)
        assert [trade.vt_orderid for trade in rig.seen.of(EVENT_TRADE)] == [filled]
    rig.cancel(resting)
    rig.wait_status(resting, Status.CANCELLED)
    rig.wait_equal()


def test_a_fill_while_away_comes_once_under_the_orders_own_id(rig: Rig) -> None:
    rig.connect()
    resting = rig.send(IBM, Direction.LONG, 20, 99)
    rig.wait_status(resting, Status.NOTTRADED)
    rig.close()
    rig.sim.quote(IBM, last="98.5", bid="98.49", ask="98.51", bid_size=500, ask_size=500)
    rig.wait(lambda: rig.truth()["trades"], "the fill at the broker")
    restart(rig)
    rig.wait_status(resting, Status.ALLTRADED)
    rig.wait_equal()
    assert [trade.vt_orderid for trade in rig.seen.of(EVENT_TRADE)] == [resting]
    restart(rig)
    rig.wait_equal()
    assert [trade.vt_orderid for trade in rig.seen.of(EVENT_TRADE)] == [resting]


def test_a_restart_does_not_lift_the_limit_of_a_day(rig: Rig) -> None:
    rig.connect()
    for _order in range(3):
        rig.wait_status(rig.send(IBM, Direction.LONG, 1, 90), Status.NOTTRADED)
    refused = rig.send(IBM, Direction.LONG, 0, 90)
    rig.wait_status(refused, Status.REJECTED)
    restart(rig)
    rig.gateway.guard.limits = Limits(orders_per_day=4)
    rig.wait_status(rig.send(IBM, Direction.LONG, 1, 90), Status.NOTTRADED)
    last = rig.wait_status(rig.send(IBM, Direction.LONG, 1, 90), Status.REJECTED)
    assert "orders_per_day" in (last.extra or {})["reason"]


@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_corrupt_journal_stops_orders_and_nothing_else(rig: Rig, content: bytes) -> None:
    rig.connect()
    resting = rig.send(IBM, Direction.LONG, 20, 90)
    rig.wait_status(resting, Status.NOTTRADED)
    rig.close()
    for side_file in TEMP_DIR.glob(f"{journal(rig).name}-*"):
        side_file.unlink()
    journal(rig).write_bytes(content)
    rig.event_engine = EventEngine()
    rig.main = MainEngine(rig.event_engine)
    rig.seen = Recorder(rig.event_engine)
    rig.gateway = rig.add(rig.name)
    rig.connect()
    line = rig.wait_log("移走该文件")
    assert str(journal(rig)) in line
    rig.subscribe(IBM)
    rig.wait_tick(IBM)
    rig.wait_equal()
    refused = rig.wait_status(rig.send(IBM, Direction.LONG, 10, 99), Status.REJECTED)
    assert "移走该文件" in (refused.extra or {})["reason"]
    [working] = [order for order in rig.main.get_all_orders() if order.status is Status.NOTTRADED]
    rig.cancel(working.vt_orderid)
    rig.wait_status(working.vt_orderid, Status.CANCELLED)
    rig.wait_equal()
    assert journal(rig).read_bytes() == content
    # The remedy works without another program start.
    journal(rig).unlink()
    rig.main.connect(rig.setting(), rig.name)
    rig.wait(lambda: rig.seen.log_lines().count("合约信息查询成功") == 2, "connected again")
    rig.wait_status(rig.send(IBM, Direction.LONG, 10, 101), Status.ALLTRADED)
    rig.wait_equal()


def test_a_full_disk_stops_orders_until_there_is_room(rig: Rig) -> None:
    rig.connect()
    rig.subscribe(IBM)
    rig.wait_tick(IBM)
    resting = rig.send(IBM, Direction.LONG, 20, 90)
    rig.wait_status(resting, Status.NOTTRADED)
    book = rig.gateway.journal
    assert book is not None
    book._pool.submit(lambda: book._connection.execute("PRAGMA max_page_count = 1")).result()
    refused = []
    for number in range(40):  # the file has some room in its last page
        vt_orderid = rig.send(IBM, Direction.LONG, 1, 80, reference=f"{number}" * 400)
        order = rig.wait_status(vt_orderid, Status.REJECTED, Status.NOTTRADED)
        refused += [order] if order.status is Status.REJECTED else []
    assert len(refused) > 20
    assert all("磁盘空间" in (order.extra or {})["reason"] for order in refused)
    rig.cancel(resting)
    rig.wait_status(resting, Status.CANCELLED)
    rig.sim.quote(IBM, last=101, bid="100.99", ask="101.01", bid_size=500, ask_size=500)
    rig.wait(lambda: rig.tick(IBM).last_price == 101, "a tick")
    assert len([line for line in rig.seen.log_lines() if "无法写入" in line and "停止新委托" in line]) >= 1
    book._pool.submit(lambda: book._connection.execute("PRAGMA max_page_count = 1000000")).result()
    rig.wait_status(rig.send(IBM, Direction.LONG, 1, 102), Status.ALLTRADED)
    rig.wait_log("委托日志恢复写入")
    rig.wait_equal()
    restart(rig)
    rig.wait_equal()
    sent = rig.truth()["orders"]
    assert len([order for order in rig.main.get_all_orders() if (order.extra or {}).get("broker_id")]) == len(sent)


def test_a_journal_that_another_program_holds_refuses_orders(rig: Rig) -> None:
    rig.connect()
    event_engine = EventEngine()
    other = MainEngine(event_engine)
    seen = Recorder(event_engine)
    try:
        other.add_gateway(type(rig.gateway), rig.name)
        changes = {"客户号": 9} if rig.name == "IBKR" else {}
        other.connect(rig.setting(**changes), rig.name)
        seen.wait(lambda: any("另一个进程" in line for line in seen.log_lines()), "the line")
        seen.wait(lambda: "合约信息查询成功" in seen.log_lines(), "connected")
        before = rig.sim.wire()[rig.broker]
        vt_orderid = other.send_order(
            OrderRequest("IBM", Exchange.SMART, Direction.LONG, OrderType.LIMIT, 1, 99), rig.name
        )
        refused = seen.wait(
            lambda: next((o for o in seen.of(EVENT_ORDER) if o.vt_orderid == vt_orderid and not o.is_active()), None),
            "refused",
        )
        assert refused.status is Status.REJECTED
        place = "/trade/TradeEntrust" if rig.name == "VBROKERS" else "placeOrder"
        assert rig.sim.wire()[rig.broker].get(place, 0) == before.get(place, 0)
    finally:
        other.close()
    rig.wait_status(rig.send(IBM, Direction.LONG, 1, 102), Status.ALLTRADED)
    rig.wait_equal()


def test_a_reconciliation_on_demand_ends_in_a_report(rig: Rig) -> None:
    rig.connect()
    rig.wait(lambda: rig.gateway.findings.last, "the report of the connect")
    phone = rig.sim.order(IBM, "LONG", 10, 90, broker=rig.broker, account=getattr(rig, "account", "VBROKERS"))
    rig.gateway.reconcile()

    def told() -> bool:
        return any(report.occasion is Occasion.DEMAND for report in rig.gateway.findings.reports)

    rig.wait(told, "the report")
    rig.wait_log("对账（人工）")
    rig.wait_equal()
    assert any((order.extra or {}).get("broker_id") == phone for order in rig.main.get_all_orders())
