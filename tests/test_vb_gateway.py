"""The gateway in a real MainEngine against the simulated Gateway, over its real wire."""

from __future__ import annotations

from dataclasses import replace
from datetime import timezone

import pytest
from vnpy.trader.constant import Direction, Exchange, OrderType, Product, Status
from vnpy.trader.event import EVENT_CONTRACT, EVENT_TICK

from tests.harness import SHORT, Rig
from vnpy_brokerkit.health import Lamp


def test_it_ends_equal_to_the_broker(data_rig: Rig) -> None:
    rig = data_rig.connect()
    rig.subscribe("IBM.SMART", "AAPL.SMART", "00700.SEHK", "09988.SEHK")
    ibm, tencent = rig.wait_tick("IBM.SMART"), rig.wait_tick("00700.SEHK")
    rig.wait(lambda: rig.tick("IBM.SMART").ask_price_1, "depth of IBM")
    ibm = rig.tick("IBM.SMART")
    bought = rig.send("IBM.SMART", Direction.LONG, 100, round(ibm.ask_price_1 + 0.5, 2), reference="a")
    market = rig.send("AAPL.SMART", Direction.LONG, 10, type=OrderType.MARKET)
    resting = rig.send("00700.SEHK", Direction.LONG, 100, tencent.last_price - 10)
    cancelled = rig.send("09988.SEHK", Direction.LONG, 200, 95)
    rig.wait_status(bought, Status.ALLTRADED)
    rig.wait_status(market, Status.ALLTRADED)
    rig.wait_status(resting, Status.NOTTRADED)
    rig.wait_status(cancelled, Status.NOTTRADED)
    rig.cancel(cancelled)
    rig.wait_status(cancelled, Status.CANCELLED)
    sold = rig.send("IBM.SMART", Direction.SHORT, 40, round(ibm.bid_price_1 - 0.5, 2))
    rig.wait_status(sold, Status.ALLTRADED)
    rig.sim.pause()
    rig.wait_equal()
    assert rig.statuses(bought)[0] is Status.SUBMITTING
    state = rig.sim.state()["vbrokers"]
    assert {row["vt_symbol"]: row["volume"] for row in state["positions"]} == {"IBM.SMART": "60", "AAPL.SMART": "10"}


def test_a_partial_fill_and_the_cancel_of_its_rest(rig: Rig) -> None:
    rig.connect()
    rig.sim.pause()
    rig.subscribe("IBM.SMART")
    rig.wait_tick("IBM.SMART")
    rig.sim.quote("IBM.SMART", last=100, bid="99.99", ask="100.01", bid_size=30, ask_size=30)
    rig.wait(lambda: rig.tick("IBM.SMART").ask_price_1 == 100.01, "the quote")
    order = rig.send("IBM.SMART", Direction.LONG, 100, 100.01)
    rig.wait_status(order, Status.PARTTRADED)
    rig.wait_equal()
    rig.sim.quote("IBM.SMART", last="100.5", bid="100.49", ask="100.51", bid_size=30, ask_size=30)
    rig.cancel(order)
    done = rig.wait_status(order, Status.CANCELLED)
    assert done.traded > 0
    rig.wait_equal()


def test_contracts_come_before_ticks_and_carry_lot_tick_and_kind(data_rig: Rig) -> None:
    rig = data_rig.connect()
    rig.subscribe("700.SEHK", "SPY.ARCA")
    rig.wait_tick("00700.SEHK")
    rig.wait_tick("SPY.SMART")
    tencent, spy = rig.contract("00700.SEHK"), rig.contract("SPY.SMART")
    assert (tencent.min_volume, tencent.pricetick, tencent.net_position, tencent.product) == (
        100,
        0.2,
        True,
        Product.EQUITY,
    )
    assert (spy.min_volume, spy.pricetick, spy.product) == (1, 0.01, Product.ETF)
    kinds = [kind for kind, data in rig.seen.events if getattr(data, "vt_symbol", "") == "00700.SEHK"]
    assert kinds.index(EVENT_CONTRACT) < kinds.index(EVENT_TICK)


@pytest.mark.parametrize(("vt_symbol", "close_before"), [("09988.SEHK", 99), ("IBM.SMART", 184.1)])
def test_ticks_carry_five_levels_and_what_charts_need(data_rig: Rig, vt_symbol: str, close_before: float) -> None:
    rig = data_rig.connect()
    rig.subscribe(vt_symbol)
    tick = rig.wait(
        lambda: next((t for t in rig.seen.of(EVENT_TICK) if t.bid_price_5 and t.ask_price_5), None), "five levels"
    )
    asks = [getattr(tick, f"ask_price_{n}") for n in range(1, 6)]
    bids = [getattr(tick, f"bid_price_{n}") for n in range(1, 6)]
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    assert tick.pre_close == close_before
    assert tick.volume > 0
    assert tick.extra == {"segment": "regular", "delayed": False}
    times = [t.datetime for t in rig.seen.of(EVENT_TICK) if t.vt_symbol == vt_symbol]
    assert times == sorted(times)
    assert all(t.tzinfo is not None for t in times)


def test_with_fewer_levels_a_tick_carries_prices_that_local_stops_can_use(data_rig: Rig) -> None:
    rig = data_rig
    denied = {"broker": "vbrokers", "do": "error", "code": "1006", "text": "无权限"}
    rig.sim.faults([{**denied, "when": {"message": "Subscribe", "nth": nth}} for nth in (3, 4)])
    rig.connect()
    rig.subscribe("IBM.SMART")
    rig.wait(lambda: any(t.ask_price_1 for t in rig.seen.of(EVENT_TICK)), "a best price")
    tick = rig.seen.of(EVENT_TICK)[-1]
    assert tick.ask_price_5 == 0
    assert tick.extra["synthetic_limit"] is True
    assert tick.last_price * 1.0299 < tick.limit_up <= tick.last_price * 1.03
    assert tick.last_price * 0.9701 > tick.limit_down >= tick.last_price * 0.97


def test_an_unknown_symbol_is_one_line_that_names_it(rig: Rig) -> None:
    rig.connect()
    rig.subscribe("NOSUCH.SMART")
    assert "NOSUCH.SMART" in rig.wait_log("找不到合约")


def test_what_is_preloaded_and_can_not_be_is_named(rig: Rig) -> None:
    rig.connect(预加载合约="ABC.XYZ，ES-202612-USD-FUT.CME,NOSUCH.SMART,brk.b,700.HK,600519.SH", 市场="港股+美股")
    assert {c.vt_symbol for c in rig.main.get_all_contracts()} >= {"BRK-B.SMART", "00700.SEHK"}
    for written in ("ABC.XYZ", "ES-202612-USD-FUT.CME", "NOSUCH.SMART", "600519.SH"):
        assert sum(written in line for line in rig.seen.log_lines()) == 1, written


@pytest.mark.parametrize(
    ("vt_symbol", "volume", "price", "type", "words"),
    [
        ("00700.SEHK", 150, 400, OrderType.LIMIT, "整数倍"),
        ("00700.SEHK", 100, 400.1, OrderType.LIMIT, "最小变动价位"),
        ("00700.SEHK", 100, 0, OrderType.MARKET, "不支持市价"),
        ("600519.SSE", 100, 0, OrderType.MARKET, "不支持市价"),
        ("IBM.SMART", 0, 100, OrderType.LIMIT, "数量"),
        ("IBM.SMART", 100, 0, OrderType.LIMIT, "价格必须大于0"),
        ("IBM.SMART", 100, -1, OrderType.LIMIT, "价格必须大于0"),
        ("IBM.SMART", 0.5, 100, OrderType.LIMIT, "整数倍"),
        ("IBM.SMART", 100, 100, OrderType.STOP, "不支持"),
        ("IBM.SMART", 100, 99999, OrderType.LIMIT, "越过市价"),
        ("NOSUCH.SMART", 100, 100, OrderType.LIMIT, "找不到合约"),
        (" .SMART", 100, 100, OrderType.LIMIT, "是空的"),
        ("I\0BM.SMART", 100, 100, OrderType.LIMIT, "控制字符"),
        ("EUR-USD-CASH.IDEALPRO", 100, 1, OrderType.LIMIT, "市场"),
    ],
)
def test_bad_orders_are_refused_in_words_and_never_sent(
    rig: Rig, vt_symbol: str, volume: float, price: float, type: OrderType, words: str
) -> None:
    rig.connect()
    order = rig.wait_status(rig.send(vt_symbol, Direction.LONG, volume, price, type), Status.REJECTED)
    assert words in (order.extra or {})["reason"]
    assert words in rig.wait_log(order.orderid)
    assert "/trade/TradeEntrust" not in rig.sim.wire()["vbrokers"]


def test_an_order_from_the_phone_is_shown_and_can_be_cancelled(rig: Rig) -> None:
    rig.connect()
    rig.sim.pause()
    broker_id = rig.sim.order("IBM.SMART", "LONG", 10, "50")
    order = rig.wait(lambda: next(iter(rig.main.get_all_active_orders()), None), "the phone's order")
    assert order.orderid == f"VB{broker_id}"
    assert (order.extra or {})["external"] is True
    rig.cancel(order.vt_orderid)
    rig.wait_status(order.vt_orderid, Status.CANCELLED)
    rig.wait_equal()


def test_positions_are_marked_without_anybody_subscribing(rig: Rig) -> None:
    rig.sim.order("IBM.SMART", "LONG", 10, "100000", type="MARKET")
    rig.connect()
    rig.wait(lambda: any(p.volume == 10 for p in rig.main.get_all_positions()), "the position")
    rig.sim.pause()
    rig.sim.quote("IBM.SMART", last=321, bid="320.99", ask="321.01", bid_size=100, ask_size=100)
    rig.wait_equal()


def test_flat_is_told_once_as_zero(rig: Rig) -> None:
    rig.sim.order("IBM.SMART", "LONG", 10, "0", type="MARKET")
    rig.connect()
    rig.wait(lambda: any(p.volume == 10 for p in rig.main.get_all_positions()), "the position")
    sold = rig.send("IBM.SMART", Direction.SHORT, 10, type=OrderType.MARKET)
    rig.wait_status(sold, Status.ALLTRADED)
    rig.wait(lambda: all(p.volume == 0 for p in rig.main.get_all_positions()), "flat")
    (position,) = rig.main.get_all_positions()
    assert (position.volume, position.pnl, position.frozen) == (0, 0, 0)


def test_times_on_the_engine_are_in_one_zone(data_rig: Rig) -> None:
    rig = data_rig.connect()
    rig.subscribe("IBM.SMART")
    tick = rig.wait_tick("IBM.SMART")
    order = rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1, type=OrderType.MARKET), Status.ALLTRADED)
    trade = rig.wait(lambda: next(iter(rig.main.get_all_trades()), None), "the trade")
    assert order.datetime
    assert trade.datetime
    zones = {str(moment.tzinfo) for moment in (tick.datetime, order.datetime, trade.datetime)}
    assert zones == {"Asia/Shanghai"}
    assert abs((trade.datetime - rig.sim.clock().astimezone(timezone.utc)).total_seconds()) < 30


def test_a_second_connect_is_safe(rig: Rig) -> None:
    rig.connect()
    before = len(rig.seen.log_lines())
    rig.main.connect(rig.setting(), "VBROKERS")
    rig.wait(lambda: sum("合约信息查询成功" in line for line in rig.seen.log_lines()[before:]), "connected again")
    order = rig.send("IBM.SMART", Direction.LONG, 1, type=OrderType.MARKET)
    rig.wait_status(order, Status.ALLTRADED)
    rig.sim.pause()
    rig.wait_equal()


def test_cancel_all_cancels_ours_of_one_market_and_names_them(rig: Rig) -> None:
    rig.connect()
    rig.sim.pause()
    phone = rig.sim.order("AAPL.SMART", "LONG", 1, "1")
    ours = [rig.send("IBM.SMART", Direction.LONG, n, 50) for n in (1, 2)]
    other = rig.send("00700.SEHK", Direction.LONG, 100, 100)
    for order in (*ours, other):
        rig.wait_status(order, Status.NOTTRADED)
    rig.wait(lambda: len(rig.main.get_all_active_orders()) == 4, "four working orders")
    rig.gateway.cancel_all("美股")
    for order in ours:
        rig.wait_status(order, Status.CANCELLED)
    left = {order.orderid for order in rig.main.get_all_active_orders()}
    assert left == {f"VB{phone}", other.partition(".")[2]}
    rig.gateway.cancel_all("A股通")
    rig.wait_log("深股通没有可撤的委托")
    assert rig.sim.wire()["vbrokers"]["/trade/TradeBatchCancelEntrust"] == 1


def test_no_right_to_a_market_turns_it_off_with_one_line(rig: Rig) -> None:
    rig.sim.faults(
        [
            {
                "broker": "vbrokers",
                "do": "error",
                "code": "1006",
                "text": "无权限",
                "when": {"message": name},
                "times": 1,
            }
            for name in ("TradeQueryRealEntrustList",)
        ]
    )
    rig.connect(市场="港股+美股")
    lines = [line for line in rig.seen.log_lines() if "停用" in line]
    assert len(lines) == 1
    assert "港股" in lines[0]
    rig.wait(lambda: rig.gateway.health().lamp is Lamp.DEGRADED, "a lamp that does not call all well")
    words = rig.gateway.health().words
    assert "港股" in words
    assert "美股" not in words
    order = rig.wait_status(rig.send("00700.SEHK", Direction.LONG, 100, 100), Status.REJECTED)
    assert "市场" in (order.extra or {})["reason"]
    assert rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1, type=OrderType.MARKET), Status.ALLTRADED)


def test_read_only_refuses_every_order(rig: Rig) -> None:
    rig.connect(只读="是")
    order = rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1, 50), Status.REJECTED)
    assert "只读" in (order.extra or {})["reason"]


def test_odd_rests_sell_as_odd_lot_where_the_setting_says_so(rig: Rig) -> None:
    rig.connect(碎股卖出="碎股单")
    order = rig.send("00700.SEHK", Direction.SHORT, 30, rig_price(rig, "00700.SEHK"))
    rejected = rig.wait_status(order, Status.REJECTED)
    # Nothing is held: the broker itself refuses, so the odd lot reached it.
    assert rig.sim.wire()["vbrokers"]["/trade/TradeEntrust"] == 1
    assert (rejected.extra or {})["reason"]


def test_an_odd_rest_of_a_shares_sells_as_a_plain_limit_where_the_setting_says_so() -> None:
    held = {"broker": "vbrokers", "account": "VBROKERS", "vt_symbol": "600519.SSE", "volume": 130, "price": "1500"}
    with Rig(positions=[held]) as rig:
        rig.connect(碎股卖出="碎股单")
        rig.wait(lambda: any(p.volume == 130 for p in rig.main.get_all_positions()), "the position")
        price = rig_price(rig, "600519.SSE")
        rig.sim.pause()
        rig.wait_status(rig.send("600519.SSE", Direction.SHORT, 30, round(price * 1.01, 2)), Status.NOTTRADED)
        bought = rig.wait_status(rig.send("600519.SSE", Direction.LONG, 30, round(price * 0.99, 2)), Status.REJECTED)
        assert "整数倍" in (bought.extra or {})["reason"]


def at_price(rig: Rig, vt_symbol: str, last: str, ask: str) -> None:
    """Quotes stand still, this one at a bid of ``last``."""
    rig.subscribe(vt_symbol)
    rig.wait_tick(vt_symbol)
    rig.sim.pause()
    rig.sim.quote(vt_symbol, last=last, bid=last, ask=ask, bid_size=100_000, ask_size=100_000)
    rig.wait(lambda: rig.tick(vt_symbol).ask_price_1 == float(ask), "the quote")


@pytest.mark.parametrize(
    ("last", "ask", "price", "is_on_grid"),
    [
        ("50.1", "50.15", 49.98, True),  # 0.02 up to 50, 0.05 above it
        ("50.1", "50.15", 49.97, False),
        ("49.98", "50", 50.05, True),
        ("49.98", "50", 50.02, False),
    ],
)
def test_a_price_beyond_a_band_of_the_tick_table_is_held_to_its_own_band(
    rig: Rig, last: str, ask: str, price: float, is_on_grid: bool
) -> None:
    rig.connect()
    at_price(rig, "00005.SEHK", last, ask)
    order = rig.wait_status(
        rig.send("00005.SEHK", Direction.SHORT if price > float(last) else Direction.LONG, 400, price, OrderType.LIMIT),
        Status.NOTTRADED,
        Status.REJECTED,
    )
    # Nothing is held, so the broker itself refuses a sale that reaches it.
    assert rig.sim.wire()["vbrokers"].get("/trade/TradeEntrust", 0) == int(is_on_grid)
    assert ("最小变动价位" in (order.extra or {}).get("reason", "")) is not is_on_grid


def test_pushed_prices_that_enter_another_band_bring_its_tick() -> None:
    with Rig(timing=replace(SHORT, quotes_check=3600)) as rig:
        rig.connect()
        at_price(rig, "00005.SEHK", "49.98", "50")
        assert rig.contract("00005.SEHK").pricetick == 0.02
        rig.sim.quote("00005.SEHK", last="50.1", bid="50.1", ask="50.15")
        rig.wait(lambda: rig.contract("00005.SEHK").pricetick == 0.05, "the other band's tick")


def test_prices_for_local_stops_are_on_the_grid_of_their_own_band(rig: Rig) -> None:
    denied = {"broker": "vbrokers", "do": "error", "code": "1006", "text": "无权限"}
    rig.sim.faults([{**denied, "when": {"message": "Subscribe", "nth": nth}} for nth in (3, 4)])
    rig.connect()
    at_price(rig, "IBM.SMART", "1.02", "1.03")
    assert rig.tick("IBM.SMART").limit_down == 0.9894
    rig.sim.quote("IBM.SMART", last="0.9801", bid="0.9801", ask="0.9802")
    rig.wait(lambda: rig.tick("IBM.SMART").ask_price_1 == 0.9802, "the quote")
    assert rig.tick("IBM.SMART").limit_up == 1.0


def test_the_noise_of_a_sum_is_no_price_off_the_grid(rig: Rig) -> None:
    rig.connect()
    at_price(rig, "IBM.SMART", "184.3", "184.31")
    price = 184.31 + 0.01 + 0.01
    assert price != 184.33
    order = rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 10 * 1.1 * 10, price), Status.ALLTRADED)
    assert (order.price, order.volume) == (184.33, 110)


def rig_price(rig: Rig, vt_symbol: str) -> float:
    rig.subscribe(vt_symbol)
    return float(rig.wait_tick(vt_symbol).last_price)


@pytest.mark.parametrize(
    ("symbol", "exchange", "canonical"),
    [
        ("700", Exchange.SEHK, "00700.SEHK"),
        ("0700.HK", Exchange.SMART, "00700.SEHK"),
        ("ibm", Exchange.NYSE, "IBM.SMART"),
        ("US.AAPL", Exchange.SMART, "AAPL.SMART"),
        ("BRK.B", Exchange.SMART, "BRK-B.SMART"),
        ("600519.SH", Exchange.SMART, "600519.SSE"),
    ],
)
def test_every_spelling_is_one_instrument(rig: Rig, symbol: str, exchange: Exchange, canonical: str) -> None:
    rig.connect()
    rig.subscribe(f"{symbol}.{exchange.value}")
    assert rig.wait_tick(canonical).vt_symbol == canonical
    assert rig.main.get_contract(canonical) is not None


def test_a_name_that_an_order_brought_is_on_the_next_tick(rig: Rig) -> None:
    rig.connect()
    rig.subscribe("00700.SEHK")
    price = rig.wait_tick("00700.SEHK").last_price
    rig.wait_status(rig.send("00700.SEHK", Direction.LONG, 100, price - 10), Status.NOTTRADED)
    rig.wait(lambda: rig.tick("00700.SEHK").name == "腾讯控股", "the name on a tick")
    assert rig.contract("00700.SEHK").name == "腾讯控股"
