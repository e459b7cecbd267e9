"""The IBKR gateway in a real MainEngine against the simulated TWS, over its real wire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from vnpy.trader.constant import Direction, OrderType, Status
from vnpy.trader.event import EVENT_CONTRACT, EVENT_ORDER, EVENT_TICK, EVENT_TRADE

from tests.ib_harness import ACCOUNT, IbRig


def ready(rig: IbRig, vt_symbol: str = "IBM.SMART", last: float = 100.0, size: int = 1000) -> IbRig:
    """Connected, one symbol subscribed, quotes paused at a plain price."""
    rig.connect()
    rig.sim.pause()
    rig.subscribe(vt_symbol)
    rig.wait_tick(vt_symbol)
    step = 0.01 if vt_symbol.endswith("SMART") else 0.02
    rig.sim.quote(
        vt_symbol, last=last, bid=round(last - step, 3), ask=round(last + step, 3), bid_size=size, ask_size=size
    )
    rig.wait(lambda: abs(rig.tick(vt_symbol).ask_price_1 - (last + step)) < 1e-9, "the quote")
    return rig


def fault(do: str, **more: Any) -> dict[str, Any]:
    return {"broker": "tws", "do": do, **more}


def test_it_ends_equal_to_the_broker() -> None:
    with IbRig() as rig:
        ready(rig)
        rig.sim.quote("00700.SEHK", last=400, bid="399.8", ask="400.2", bid_size=10_000, ask_size=10_000)
        bought = rig.send("IBM.SMART", Direction.LONG, 30, 100.01, reference="CtaStrategy_测试")
        market = rig.send("IBM.SMART", Direction.LONG, 5, type=OrderType.MARKET)
        stop = rig.send("IBM.SMART", Direction.SHORT, 5, 95, OrderType.STOP)
        resting = rig.send("00700.SEHK", Direction.LONG, 100, 390)
        hong_kong = rig.send("00700.SEHK", Direction.LONG, 200, 400.2)
        short = rig.send("AAPL.SMART", Direction.SHORT, 3, type=OrderType.MARKET)
        for order in (bought, market, hong_kong, short):
            rig.wait_status(order, Status.ALLTRADED)
        for order in (stop, resting):
            rig.wait_status(order, Status.NOTTRADED)
        rig.cancel(resting)
        rig.wait_status(resting, Status.CANCELLED)
        rig.sim.quote("IBM.SMART", last="94.9", bid="94.89", ask="94.91", bid_size=1000, ask_size=1000)
        rig.wait_status(stop, Status.ALLTRADED)
        rig.wait_equal()
        references = {row["reference"] for row in rig.truth()["orders"]}
        assert any(text.startswith(bought.partition(".")[2] + "|CtaStrategy_") for text in references)


def test_partial_fills_and_the_cancel_of_the_rest() -> None:
    with IbRig() as rig:
        ready(rig, size=30)
        order = rig.send("IBM.SMART", Direction.LONG, 100, 100.01)
        assert rig.wait_status(order, Status.PARTTRADED).traded == 30
        rig.cancel(order)
        assert rig.wait_status(order, Status.CANCELLED).traded == 30
        rig.wait_equal()
        assert Status.SUBMITTING in rig.statuses(order)


def test_executions_carry_their_commission() -> None:
    with IbRig() as rig:
        ready(rig)
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 30, 100.01), Status.ALLTRADED)
        trade = rig.wait(lambda: next(iter(rig.seen.of(EVENT_TRADE)), None), "the trade")
        assert float(trade.extra["commission"]) > 0
        assert trade.extra["commission_currency"] == "USD"
        assert trade.tradeid in {row["id"].rpartition(".")[0] for row in rig.truth()["trades"]}


def test_the_original_notes_own_examples() -> None:
    with IbRig() as rig:
        ready(rig, "00177.SEHK", 10.40, size=10_000)
        limit = rig.send("00177.SEHK", Direction.LONG, 2000, 10.40)
        rig.wait_status(limit, Status.NOTTRADED)
        assert [s.name for s in dict.fromkeys(rig.statuses(limit))] == ["SUBMITTING", "NOTTRADED"]
        rig.cancel(limit)
        rig.wait_status(limit, Status.CANCELLED)
        assert rig.seen.of(EVENT_TRADE) == []
        market = rig.send("177.SEHK", Direction.LONG, 2000, type=OrderType.MARKET)
        apple = rig.send("AAPL.SMART", Direction.LONG, 10, type=OrderType.MARKET)
        rig.sim.quote("00700.SEHK", last=305, bid="304.8", ask="305.2", bid_size=1000, ask_size=1000)
        tencent = rig.send("0700.HK.SEHK", Direction.LONG, 100, 300)
        for order in (market, apple):
            rig.wait_status(order, Status.ALLTRADED)
        rig.wait_status(tencent, Status.NOTTRADED)
        rig.wait_equal()


def test_contracts_come_before_ticks() -> None:
    with IbRig() as rig:
        rig.connect()
        rig.subscribe("700.SEHK", "BRK.B.SMART", "EUR-USD-CASH.IDEALPRO", "ES-202612-USD-FUT.CME")
        for vt_symbol, size, tick in (
            ("00700.SEHK", 1, 0.2),
            ("BRK-B.SMART", 1, 0.01),
            ("EUR-USD-CASH.IDEALPRO", 1, 0.00005),
            ("ES-202612-USD-FUT.CME", 50, 0.25),
        ):
            rig.wait_tick(vt_symbol)
            contract = rig.contract(vt_symbol)
            assert (contract.size, contract.pricetick) == (size, tick), vt_symbol
            kinds = [kind for kind, data in rig.seen.events if getattr(data, "vt_symbol", "") == vt_symbol]
            assert kinds.index(EVENT_CONTRACT) < kinds.index(EVENT_TICK)
        assert rig.contract("00700.SEHK").min_volume == 100


def test_a_bad_symbol_never_costs_the_connection() -> None:
    with IbRig() as rig:
        rig.connect()
        for odd in ("NOSUCH.SMART", "名字.SMART", "A B C D.SMART", "X-Y-Z-FUT.CME", "0.SEHK"):
            rig.subscribe(odd)
        rig.wait_log("NOSUCH")
        rig.subscribe("IBM.SMART")
        rig.wait_tick("IBM.SMART")
        assert not any("断开" in line for line in rig.seen.log_lines())


def test_orders_of_other_clients_and_of_tws_itself_are_shown_on_the_own_account_only() -> None:
    with IbRig() as rig:
        rig.connect()
        rig.sim.pause()
        mine = rig.sim.order("IBM.SMART", "LONG", 10, "50", broker="tws", account=ACCOUNT)
        rig.sim.order("IBM.SMART", "LONG", 11, "50", broker="tws", account="DU1000003")
        order = rig.wait(lambda: next(iter(rig.main.get_all_active_orders()), None), "the phone's order")
        assert order.orderid == f"IB{mine}"
        rig.cancel(order.vt_orderid)
        assert "客户号" in rig.wait_log("在TWS中手动")
        rig.wait_equal()


# ---------------------------------------------------------------------- codes


@pytest.mark.parametrize("code", [10349, 399, 404, 2109, 10147, 10148, 161, 2137, 99999])
def test_a_code_that_ends_nothing_leaves_the_order_alive(code: int) -> None:
    with IbRig() as rig:
        ready(rig)
        order = rig.send("IBM.SMART", Direction.LONG, 10, 90)
        live = rig.wait_status(order, Status.NOTTRADED)
        rig.sim.faults([fault("notice", code=code, text="note", order=(live.extra or {})["broker_id"])])
        rig.wait_log(str(code))
        rig.sim.quote("IBM.SMART", last="89", bid="88.99", ask="89.01", bid_size=1000, ask_size=1000)
        rig.wait_status(order, Status.ALLTRADED)
        rig.wait_equal()


def test_201_then_inactive_is_rejected_with_the_broker_s_reason() -> None:
    with IbRig() as rig:
        ready(rig)
        rig.sim.faults(
            [fault("error", code=201, text="Order rejected - reason: margin", when={"message": "placeOrder"})]
        )
        order = rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 10, 90), Status.REJECTED)
        assert "201" in (order.extra or {})["reason"]
        assert "margin" in (order.extra or {})["reason"]
        assert rig.sim.wire()["tws"]["placeOrder"] == 1


def test_an_off_grid_price_or_odd_lot_is_refused_before_the_wire() -> None:
    with IbRig() as rig:
        ready(rig)
        for vt_symbol, volume, price in (("IBM.SMART", 10, 90.005), ("00700.SEHK", 50, 400), ("IBM.SMART", 0.5, 90)):
            rig.wait_status(rig.send(vt_symbol, Direction.LONG, volume, price), Status.REJECTED)
        assert "placeOrder" not in rig.sim.wire()["tws"]


# ---------------------------------------------------------------------- outages


def test_a_tws_that_restarts_with_orders_working_and_a_fill_in_between() -> None:
    with IbRig() as rig:
        ready(rig)
        resting = rig.send("IBM.SMART", Direction.LONG, 30, 95)
        live = rig.wait_status(resting, Status.NOTTRADED)
        rig.sim.faults([fault("restart", for_s=1), fault("fill_while_away", order=(live.extra or {})["broker_id"])])
        rig.wait_log("已恢复")
        rig.wait_status(resting, Status.ALLTRADED)
        rig.wait_equal()
        rig.sim.quote("IBM.SMART", last="96", bid="95.99", ask="96.01", bid_size=1000, ask_size=1000)
        rig.wait(lambda: rig.tick("IBM.SMART").last_price == 96, "quotes again")


def test_an_order_whose_answer_is_lost_with_the_socket_is_found_again() -> None:
    with IbRig() as rig:
        ready(rig)
        rig.sim.faults([fault("drop", when={"message": "placeOrder", "phase": "after"})])
        order = rig.send("IBM.SMART", Direction.LONG, 30, 100.01)
        rig.wait_status(order, Status.ALLTRADED)
        rig.wait_equal()
        assert rig.sim.wire()["tws"]["placeOrder"] == 1


def test_an_order_that_never_arrived_stays_unknown_and_is_not_sent_again() -> None:
    with IbRig() as rig:
        ready(rig)
        rig.sim.faults([fault("drop", when={"message": "placeOrder", "phase": "before"})])
        order = rig.send("IBM.SMART", Direction.LONG, 30, 100.01)
        rig.wait_log("结果未知")
        rig.wait_log("已恢复")
        assert rig.statuses(order) == [Status.SUBMITTING] * len(rig.statuses(order))
        assert rig.sim.wire()["tws"]["placeOrder"] == 1
        assert rig.truth()["orders"] == []


def test_a_peer_that_goes_silent_is_noticed() -> None:
    with IbRig() as rig:
        ready(rig)
        rig.sim.faults([fault("stall", for_s=4)])
        rig.wait_log("重新连接")
        rig.sim.order("IBM.SMART", "LONG", 5, 95, broker="tws")
        rig.wait_log("已恢复")
        rig.wait_equal()


@pytest.mark.parametrize("code", [1101, 1102])
def test_the_link_to_ib_is_lost_and_returns(code: int) -> None:
    with IbRig() as rig:
        ready(rig)
        rig.sim.faults([fault("notice", code=1100)])
        rig.wait_log("暂停下单")
        refused = rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1, 95), Status.REJECTED)
        assert "中断" in (refused.extra or {})["reason"]
        rig.sim.faults([fault("notice", code=code)])
        rig.wait_log("已恢复：")
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1, 95), Status.NOTTRADED)
        rig.wait_equal()


def test_an_order_held_for_transmit_has_its_line() -> None:
    with IbRig() as rig:
        ready(rig)
        rig.sim.faults([fault("hold", when={"message": "placeOrder"})])
        order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
        assert "Bypass Order Precautions" in rig.wait_log("Transmit")
        assert rig.statuses(order) == [Status.SUBMITTING] * len(rig.statuses(order))


# ---------------------------------------------------------------------- bad input


def test_a_client_id_in_use_has_its_line() -> None:
    with IbRig() as rig:
        rig.connect()
        second = rig.add("IBKR2")
        rig.main.connect(rig.setting(), "IBKR2")
        assert "326" in rig.wait_log("客户号")  # a port may have those digits, too
        second.close()


def test_several_accounts_and_none_chosen_connect_without_orders() -> None:
    with IbRig() as rig:
        rig.connect(交易账户="")
        assert ACCOUNT in rig.wait_log("未指定")
        refused = rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1, 50), Status.REJECTED)
        assert "交易账户" in (refused.extra or {})["reason"]
        assert "placeOrder" not in rig.sim.wire()["tws"]


def test_a_paper_account_in_the_live_setting_is_read_only() -> None:
    with IbRig() as rig:
        rig.connect(环境="实盘")
        rig.wait_log("只读连接")
        rig.wait(lambda: rig.gateway.health().read_only, "the mark on the lamp")
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1, 50), Status.REJECTED)
        assert "placeOrder" not in rig.sim.wire()["tws"]


def test_an_ira_does_not_sell_short() -> None:
    with IbRig() as rig:
        rig.connect(账户类型="IRA")
        order = rig.wait_status(rig.send("IBM.SMART", Direction.SHORT, 1, type=OrderType.MARKET), Status.REJECTED)
        assert "卖空" in (order.extra or {})["reason"]
        assert "placeOrder" not in rig.sim.wire()["tws"]


def test_a_program_that_is_no_tws_is_said() -> None:
    with IbRig(vbrokers=True) as rig:
        port = int((rig.sim.vbrokers_url or "").rpartition(":")[2])
        rig.main.connect({**rig.setting(), "TWS端口": port}, "IBKR")
        assert str(port) in rig.wait_log("无法连接TWS")


# ---------------------------------------------------------------------- odd numbers


@pytest.mark.parametrize("direction", [Direction.LONG, Direction.SHORT])
@pytest.mark.parametrize("volume", [float("nan"), float("inf"), float("-inf"), 0.0, -5.0, 1e30])
def test_a_volume_that_is_none_is_refused_in_good_words(sent_to: IbRig, direction: Direction, volume: float) -> None:
    for kind in (OrderType.LIMIT, OrderType.MARKET):
        order = sent_to.wait_status(sent_to.send("IBM.SMART", direction, volume, 100, kind), Status.REJECTED)
        assert "委托数量" in (order.extra or {})["reason"]
    assert "placeOrder" not in sent_to.sim.wire()["tws"]


@pytest.mark.parametrize("price", [float("nan"), float("inf"), float("-inf"), 0.0, -1.0, 1e300, 90.005])
def test_a_stop_at_a_price_that_is_none_or_off_the_grid_never_leaves(sent_to: IbRig, price: float) -> None:
    order = sent_to.wait_status(
        sent_to.send("IBM.SMART", Direction.SHORT, 1, price, OrderType.STOP), Status.REJECTED, Status.NOTTRADED
    )
    assert order.status is Status.REJECTED
    reason = (order.extra or {})["reason"]
    assert ("最小变动价位" if price == 90.005 else "触发价") in reason, reason
    assert "placeOrder" not in sent_to.sim.wire()["tws"]


@pytest.fixture(scope="module")
def sent_to() -> Iterator[IbRig]:
    """One rig for the orders that must not leave."""
    with IbRig() as rig:
        yield ready(rig)


@pytest.mark.parametrize(("last", "bid", "ask"), [("49.98", "49.96", "50"), ("20.1", "20.1", "20.12")])
def test_prices_for_local_stops_are_on_the_grid_of_their_own_band(last: str, bid: str, ask: str) -> None:
    """vn.py sends them as limit orders: off the grid they would be refused, and the stop with them."""
    with IbRig() as rig:
        rig.sim.faults([fault("error", code=10092, when={"message": "reqMktDepth"})])
        rig.connect()
        rig.sim.pause()
        rig.subscribe("00005.SEHK")
        rig.wait_tick("00005.SEHK")
        rig.sim.quote("00005.SEHK", last=last, bid=bid, ask=ask, bid_size=100_000, ask_size=100_000)
        tick = rig.wait(lambda: next((t for t in [rig.tick("00005.SEHK")] if t.last_price == float(last)), None), "it")
        for direction, price in ((Direction.LONG, tick.limit_up), (Direction.SHORT, tick.limit_down)):
            order = rig.send("00005.SEHK", direction, 400, price)
            rig.wait_status(order, Status.ALLTRADED)


# ---------------------------------------------------------------------- delayed quotes


def test_on_delayed_quotes_a_strategy_opens_nothing_and_a_person_may() -> None:
    held = {"broker": "tws", "account": ACCOUNT, "vt_symbol": "IBM.SMART", "volume": 10, "price": "90"}
    strategy, person = "CtaStrategy_double_ma", "ManualTrading"  # what vn.py's CTA engine and order window write
    with IbRig(positions=[held], switches={"tws.us_market_data": "delayed"}) as rig:
        ready(rig)
        rig.wait(lambda: rig.main.get_all_positions(), "the position")
        opening = rig.send("IBM.SMART", Direction.LONG, 5, 95, reference=strategy)
        assert "延迟行情" in (rig.wait_status(opening, Status.REJECTED).extra or {})["reason"]
        turning = rig.send("IBM.SMART", Direction.SHORT, 11, 105, reference=strategy)
        rig.wait_status(turning, Status.REJECTED)
        reducing = rig.send("IBM.SMART", Direction.SHORT, 10, 105, reference=strategy)
        by_hand = [rig.send("IBM.SMART", Direction.LONG, 5, 95, reference=text) for text in (person, "")]
        for order in (reducing, *by_hand):
            rig.wait_status(order, Status.NOTTRADED)


def test_on_delayed_quotes_a_strategy_opens_where_the_setting_says_so() -> None:
    with IbRig(switches={"tws.us_market_data": "delayed"}) as rig:
        rig.connect(延迟行情下单="允许")
        rig.subscribe("IBM.SMART")
        price = round(rig.wait_tick("IBM.SMART").last_price * 0.9, 2)
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 5, price, reference="CtaStrategy_x"), Status.NOTTRADED)


@pytest.mark.parametrize("price", [98.5, float("nan")])
def test_a_market_order_has_no_price_whatever_its_caller_wrote(price: float) -> None:
    """It would be taken for the price of fills that TWS does not list any more."""
    with IbRig() as rig:
        ready(rig)
        order = rig.send("IBM.SMART", Direction.LONG, 5, price, OrderType.MARKET)
        rig.wait_status(order, Status.ALLTRADED)
        rig.wait_equal()
        assert {told.price for told in rig.seen.of(EVENT_ORDER)} == {0.0}
