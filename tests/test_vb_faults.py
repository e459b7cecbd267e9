"""Faults on both channels: whatever happens, the engine ends equal to the broker, and nothing is sent twice."""

from __future__ import annotations

import socket
from dataclasses import replace
from itertools import pairwise
from time import monotonic
from typing import Any

import pytest
from vnpy.trader.constant import Direction, OrderType, Status
from vnpy.trader.event import EVENT_TICK

from brokersim.hstong import codes
from tests.harness import SHORT, Rig
from vnpy_vbrokers.errors import error_for
from vnpy_vbrokers.order_lists import ORDERS_TODAY

PLACE = "/trade/TradeEntrust"


def fault(do: str, **more: Any) -> dict[str, Any]:
    return {"broker": "vbrokers", "do": do, **more}


def ready(rig: Rig) -> Rig:
    """Connected, one symbol subscribed, quotes paused at a plain price."""
    rig.connect()
    rig.sim.pause()
    rig.subscribe("IBM.SMART")
    rig.wait_tick("IBM.SMART")
    rig.sim.quote("IBM.SMART", last=100, bid="99.99", ask="100.01", bid_size=1000, ask_size=1000)
    rig.wait(lambda: rig.tick("IBM.SMART").ask_price_1 == 100.01, "the quote")
    return rig


def trade_a_little(rig: Rig) -> list[str]:
    """A filled buy, a resting one, a filled sell: what each fault must leave whole."""
    return [
        rig.send("IBM.SMART", Direction.LONG, 30, 100.01),
        rig.send("IBM.SMART", Direction.LONG, 7, 95),
        rig.send("IBM.SMART", Direction.LONG, 5, 100.02),
    ]


PUSH_FAULTS = [
    fault("push", mode=mode, when={"message": "push"}, times=6)
    for mode in ("duplicate", "reorder", "late", "lose", "before_reply")
]


@pytest.mark.parametrize("push_fault", PUSH_FAULTS, ids=lambda f: str(f["mode"]))
def test_pushes_that_misbehave(rig: Rig, push_fault: dict[str, Any]) -> None:
    ready(rig)
    rig.sim.faults([push_fault])
    orders = trade_a_little(rig)
    rig.wait_status(orders[0], Status.ALLTRADED)
    rig.wait_status(orders[1], Status.NOTTRADED)
    rig.wait_status(orders[2], Status.ALLTRADED)
    rig.wait_equal()
    assert rig.sim.wire()["vbrokers"][PLACE] == 3


@pytest.mark.parametrize(
    "switches",
    [{"record_no": "different"}, {"push_before_reply": True}, {"record_no": "different", "push_before_reply": True}],
)
def test_what_the_reference_is_not_sure_of(rig: Rig, switches: dict[str, Any]) -> None:
    rig.sim.switches(**switches)
    ready(rig)
    orders = trade_a_little(rig)
    for order in (orders[0], orders[2]):
        rig.wait_status(order, Status.ALLTRADED)
    rig.cancel(orders[1])
    rig.wait_status(orders[1], Status.CANCELLED)
    rig.wait_equal()


SWITCHES: list[dict[str, Any]] = [
    {"login_reply": "data"},
    {"hq_needs_login": True},
    {"holds_without_market": "all"},
    {"list_without_paging": "default"},
    {"trade_time": "yyyy-MM-dd HH:mm:ss"},
    {"trade_time_zone": "Asia/Hong_Kong"},
    {"order_date": "yyyy/MM/dd"},
    {"order_date": "yyyyMMdd"},
    {"us_quote_without_segment": "live"},
    {"err_style": "code"},
    {"err_style": "text"},
    {"omit_zeros": False},
    {"us_suffix": True},
    {"pull_needs_subscription": True},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_every_switch_of_the_reference(rig: Rig, switches: dict[str, Any]) -> None:
    rig.sim.switches(**switches)
    ready(rig)
    order = rig.send("IBM.SMART", Direction.LONG, 30, 100.01)
    rig.wait_status(order, Status.ALLTRADED)
    rig.wait_equal()


# ---------------------------------------------------------------------- unknown outcomes

LOST_AFTER = [
    fault("lose_reply", when={"message": PLACE}),
    fault("drop", when={"message": PLACE, "phase": "after"}),
    fault("garbage", when={"message": PLACE, "phase": "after"}),
    fault("http_status", code=500, when={"message": PLACE, "phase": "after"}),
]


@pytest.mark.parametrize("lost", LOST_AFTER, ids=lambda f: str(f["do"]))
def test_an_accepted_order_whose_reply_is_lost_is_found_with_its_fills(rig: Rig, lost: dict[str, Any]) -> None:
    ready(rig)
    rig.sim.faults([lost])
    order = rig.send("IBM.SMART", Direction.LONG, 30, 100.01)
    rig.wait_log("结果未知")
    found = rig.wait_status(order, Status.ALLTRADED)
    assert set(rig.statuses(order)) <= {Status.SUBMITTING, Status.NOTTRADED, Status.PARTTRADED, Status.ALLTRADED}
    assert not (found.extra or {})["external"]
    rig.wait_equal()
    assert rig.sim.wire()["vbrokers"][PLACE] == 1


NEVER_ARRIVED = [
    fault("drop", when={"message": PLACE, "phase": "before"}),
    fault("error", code="1011", text="系统繁忙", when={"message": PLACE, "phase": "before"}),
    fault("error", code="1018", text="重连中", when={"message": PLACE, "phase": "before"}),
]


@pytest.mark.parametrize("never", NEVER_ARRIVED, ids=lambda f: str(f["do"]) + str(f.get("code", "")))
def test_an_order_that_never_arrived_is_settled_as_rejected_and_not_earlier(rig: Rig, never: dict[str, Any]) -> None:
    ready(rig)
    rig.sim.faults([never])
    sent = rig.gateway.clock.monotonic()
    order = rig.send("IBM.SMART", Direction.LONG, 30, 100.01)
    rig.wait_status(order, Status.REJECTED)
    assert rig.gateway.clock.monotonic() - sent >= rig.gateway.timing.settle_after
    assert rig.sim.wire()["vbrokers"][PLACE] == 1
    assert rig.sim.state()["vbrokers"]["orders"] == []


def test_a_market_whose_list_is_refused_hides_no_order_of_another(rig: Rig) -> None:
    """Hong Kong is read first; what is unknown in New York is settled all the same."""
    ready(rig)
    rig.wait_log("对账（连接）")
    wire = rig.gateway.session._rooms.connection._wire
    read = wire.read

    async def refusing(route: str, params: dict[str, Any]) -> Any:
        if route == ORDERS_TODAY and params["exchangeType"] == "K":
            raise error_for("1008 港股暂不可查", about=route, mutation=False)
        return await read(route, params)

    wire.read = refusing
    rig.sim.faults([fault("push", mode="lose", times=100)])
    phone = rig.sim.order("IBM.SMART", "LONG", 10, "95", broker="vbrokers")
    rig.wait_status(f"VBROKERS.VB{phone}", Status.NOTTRADED)
    rig.sim.faults([fault("drop", when={"message": PLACE, "phase": "after"})])
    found = rig.send("IBM.SMART", Direction.LONG, 11, 95)
    rig.wait_log("结果未知")
    wire.read = read
    rig.wait_log("已恢复")
    wire.read = refusing
    rig.wait_status(found, Status.NOTTRADED)
    wire.read = read
    rig.wait_equal()


def test_of_two_identical_unknowns_and_one_row_the_oldest_matches(rig: Rig) -> None:
    ready(rig)
    rig.sim.faults(
        [
            fault("lose_reply", when={"message": PLACE}),
            fault("drop", when={"message": PLACE, "nth": 2, "phase": "before"}),
        ]
    )
    first = rig.send("IBM.SMART", Direction.LONG, 30, 95)
    rig.wait(lambda: rig.sim.wire()["vbrokers"].get(PLACE) == 1, "the first request")
    second = rig.send("IBM.SMART", Direction.LONG, 30, 95)
    rig.wait_status(second, Status.REJECTED)
    rig.wait_status(first, Status.NOTTRADED)
    rig.wait_equal()


def test_more_rows_than_unknowns_stay_unknown_and_are_reported(rig: Rig) -> None:
    ready(rig)
    rig.sim.faults([fault("lose_reply", when={"message": PLACE})])
    order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
    rig.wait(lambda: rig.sim.wire()["vbrokers"].get(PLACE) == 1, "the request")
    rig.sim.order("IBM.SMART", "LONG", 30, 95)
    rig.wait_log("无法核实")
    rig.wait(lambda: len(rig.main.get_all_active_orders()) == 3, "both rows and the unknown")
    assert rig.statuses(order) == [Status.SUBMITTING] * len(rig.statuses(order))


def test_a_clear_refusal_is_rejected_with_the_broker_s_reason(rig: Rig) -> None:
    ready(rig)
    refused = rig.wait_status(
        rig.send("IBM.SMART", Direction.LONG, 9990, 100.01), Status.REJECTED, Status.ALLTRADED, Status.PARTTRADED
    )
    assert refused.status is not Status.REJECTED
    short = rig.wait_status(rig.send("AAPL.SMART", Direction.SHORT, 1, type=OrderType.MARKET), Status.REJECTED)
    assert (short.extra or {})["reason"]
    assert len(rig.statuses(short.vt_orderid)) == 2


# ---------------------------------------------------------------------- channels


def test_a_gateway_that_restarts_with_orders_working_and_a_fill_in_between(rig: Rig) -> None:
    ready(rig)
    resting = rig.send("IBM.SMART", Direction.LONG, 30, 95)
    rig.wait_status(resting, Status.NOTTRADED)
    rig.sim.faults([fault("restart", for_s=1)])
    rig.sim.quote("IBM.SMART", last="94.9", bid="94.89", ask="94.91", bid_size=1000, ask_size=1000)
    rig.wait_log("已恢复")
    rig.wait_status(resting, Status.ALLTRADED)
    rig.wait_equal()
    rig.sim.quote("IBM.SMART", last="96", bid="95.99", ask="96.01", bid_size=1000, ask_size=1000)
    rig.wait(lambda: rig.tick("IBM.SMART").last_price == 96, "quotes again")


def test_without_push_quotes_and_orders_go_on_by_polling(rig: Rig) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        rig.connect(推送端口=taken.getsockname()[1])
        assert str(taken.getsockname()[1]) in rig.wait_log("改用轮询")
        rig.sim.pause()
        rig.subscribe("IBM.SMART")
        rig.wait_tick("IBM.SMART")
        rig.sim.quote("IBM.SMART", last="101", bid="100.99", ask="101.01", bid_size=1000, ask_size=1000)
        rig.wait(lambda: rig.tick("IBM.SMART").last_price == 101, "the polled quote")
        orders = trade_a_little(rig)
        rig.wait_status(orders[1], Status.NOTTRADED)
        rig.wait_equal()


def test_a_push_channel_that_was_cut_comes_back(rig: Rig) -> None:
    ready(rig)
    rig.sim.faults([fault("drop", when={"message": "push"})])
    rig.sim.quote("IBM.SMART", last="101", bid="100.99", ask="101.01", bid_size=1000, ask_size=1000)
    rig.wait_log("推送已恢复")
    rig.sim.quote("IBM.SMART", last="102", bid="101.99", ask="102.01", bid_size=1000, ask_size=1000)
    rig.wait(lambda: rig.tick("IBM.SMART").bid_price_1 == 101.99, "pushed depth again")


def test_quotes_are_polled_in_batches_never_one_by_one(rig: Rig) -> None:
    names = ["IBM", "AAPL", "TSLA", "SPY", "QQQ", "BRK-B"]
    rig.connect(推送端口=1)
    rig.subscribe(*(f"{name}.SMART" for name in names))
    for name in names:
        rig.wait_tick(f"{name}.SMART")
    clock = rig.gateway.clock
    before, started = rig.sim.wire()["vbrokers"]["/hq/BasicQot"], clock.monotonic()
    ticks = len(rig.seen.of(EVENT_TICK))
    rig.wait(lambda: len(rig.seen.of(EVENT_TICK)) >= ticks + 5 * len(names), "thirty more ticks")
    asked = rig.sim.wire()["vbrokers"]["/hq/BasicQot"] - before
    rounds = (clock.monotonic() - started) / rig.gateway.timing.quotes_poll
    # Stocks and ETFs are two kinds, so two requests a round, not six.
    assert asked <= 2 * (rounds + 1)


@pytest.mark.parametrize("cut", ["split", "join"])
def test_frames_cut_anywhere(rig: Rig, cut: str) -> None:
    rig.sim.faults([fault(cut, when={"message": "push"}, times=200)])
    ready(rig)
    orders = trade_a_little(rig)
    rig.wait_status(orders[0], Status.ALLTRADED)
    rig.wait_equal()


@pytest.mark.parametrize("damage", ["garbage", "oversize"])
def test_a_push_stream_gone_bad_is_dropped_and_made_anew(rig: Rig, damage: str) -> None:
    ready(rig)
    rig.sim.faults([fault(damage, when={"message": "push"})])
    orders = trade_a_little(rig)
    rig.wait_status(orders[0], Status.ALLTRADED)
    rig.wait_status(orders[2], Status.ALLTRADED)
    rig.wait_equal()


@pytest.mark.parametrize(
    "damage",
    [
        fault("garbage", when={"message": "TradeQueryRealEntrustList"}, times=2),
        fault("oversize", when={"message": "TradeQueryRealEntrustList"}),
        fault("http_status", code=500, when={"message": "TradeQueryHoldsList"}, times=2),
        fault("delay", ms=300, when={"message": "TradeQueryHoldsList"}, times=5),
        fault("drop", when={"message": "TradeQueryMarginFundInfo"}, times=2),
        fault("error", code="1017", text="长连接失败", when={"message": "TradeQueryRealEntrustList"}, times=4),
        fault("stuck_cursor", when={"message": "TradeQueryRealEntrustList"}),
        fault("shift_pages", when={"message": "TradeQueryRealDeliverList"}),
    ],
    ids=lambda f: f"{f['do']}",
)
def test_reads_that_fail_a_few_times(rig: Rig, damage: dict[str, Any]) -> None:
    ready(rig)
    rig.sim.faults([damage])
    orders = trade_a_little(rig)
    rig.wait_status(orders[0], Status.ALLTRADED)
    rig.wait_status(orders[2], Status.ALLTRADED)
    rig.wait_equal()


def test_half_open_sockets_are_found_and_everything_is_back(rig: Rig) -> None:
    ready(rig)
    rig.sim.faults([fault("stall", for_s=3)])
    rig.sim.order("IBM.SMART", "LONG", 5, 95)
    rig.wait(lambda: rig.main.get_all_active_orders(), "the order from the phone")
    rig.wait_equal()


def test_logged_out_sessions_are_renewed_once_for_all(rig: Rig) -> None:
    ready(rig)
    logins = rig.sim.wire()["vbrokers"]["/trade/TradeLogin"]
    rig.sim.faults([fault("expire")])
    rig.wait_log("重新登录")
    rig.wait_log("已恢复")
    orders = trade_a_little(rig)
    rig.wait_status(orders[0], Status.ALLTRADED)
    rig.wait_equal()
    assert rig.sim.wire()["vbrokers"]["/trade/TradeLogin"] == logins + 1


def test_a_displaced_login_is_taken_back_once_and_then_left_alone(rig: Rig) -> None:
    ready(rig)
    logins = rig.sim.wire()["vbrokers"]["/trade/TradeLogin"]
    rig.sim.faults([fault("displace")])
    rig.wait_log("已恢复")
    assert rig.sim.wire()["vbrokers"]["/trade/TradeLogin"] == logins + 1
    rig.sim.faults([fault("displace")])
    rig.wait_log("不再抢登")
    order = rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1, 95), Status.REJECTED)
    assert "未发送" in (order.extra or {})["reason"]
    assert rig.sim.wire()["vbrokers"]["/trade/TradeLogin"] == logins + 1
    # A person who connects again gets in.
    rig.main.connect(rig.setting(), "VBROKERS")
    rig.wait(lambda: rig.sim.wire()["vbrokers"]["/trade/TradeLogin"] == logins + 2, "the person's login")


def test_a_fill_while_away_comes_out_once(rig: Rig) -> None:
    ready(rig)
    resting = rig.send("IBM.SMART", Direction.LONG, 30, 95)
    order = rig.wait_status(resting, Status.NOTTRADED)
    broker_id = (order.extra or {})["broker_id"]
    rig.sim.faults([fault("restart", for_s=1), fault("fill_while_away", order=broker_id)])
    rig.wait_status(resting, Status.ALLTRADED)
    rig.wait_equal()


def test_a_hundred_orders_in_both_directions_end_equal(rig: Rig) -> None:
    ready(rig)
    rig.sim.faults([fault("push", mode="lose", when={"message": "push", "nth": n}) for n in range(3, 60, 7)])
    orders = [rig.send("IBM.SMART", Direction.LONG, 1 + n % 5, 100.01 if n % 3 else 95) for n in range(100)]
    for order in orders:
        rig.wait_status(order, Status.ALLTRADED, Status.NOTTRADED)
    rig.wait_equal()
    assert rig.sim.wire()["vbrokers"][PLACE] == 100


def test_ticks_of_a_symbol_never_go_back_in_time_or_volume(rig: Rig) -> None:
    ready(rig)
    rig.sim.faults(
        [fault("push", mode=mode, when={"message": "push"}, times=20) for mode in ("reorder", "late", "duplicate")]
    )
    rig.sim.resume()
    rig.wait(lambda: len(rig.seen.of(EVENT_TICK)) > 40, "forty ticks")
    ticks = [t for t in rig.seen.of(EVENT_TICK) if t.vt_symbol == "IBM.SMART"]
    assert all(a.datetime <= b.datetime and a.volume <= b.volume for a, b in pairwise(ticks))


def test_an_order_that_turns_up_after_it_was_given_up_enters_as_external_with_an_alarm(rig: Rig) -> None:
    ready(rig)
    rig.sim.faults([fault("delay", ms=5000, when={"message": PLACE, "phase": "before"})])
    order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
    rig.wait_status(order, Status.REJECTED)
    late = rig.wait(lambda: next(iter(rig.main.get_all_active_orders()), None), "the late order")
    assert (late.extra or {})["external"] is True
    assert order.partition(".")[2] in rig.wait_log("警告")
    rig.wait_equal()
    assert rig.sim.wire()["vbrokers"][PLACE] == 1


def test_a_cancel_in_an_outage_goes_out_once_the_connection_is_back(rig: Rig) -> None:
    ready(rig)
    order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
    rig.wait_status(order, Status.NOTTRADED)
    rig.sim.faults([fault("refuse", for_s=1), fault("drop")])
    rig.cancel(order)
    rig.wait_log("恢复连接后自动发出")
    rig.wait_status(order, Status.CANCELLED)
    rig.wait_equal()
    assert rig.sim.wire()["vbrokers"]["/trade/TradeCancelEntrust"] == 1


def test_a_cancel_whose_reply_is_lost_is_not_sent_twice(rig: Rig) -> None:
    ready(rig)
    order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
    rig.wait_status(order, Status.NOTTRADED)
    rig.sim.faults([fault("lose_reply", when={"message": "TradeCancelEntrust"})])
    rig.cancel(order)
    rig.wait_status(order, Status.CANCELLED)
    rig.wait_equal()
    assert rig.sim.wire()["vbrokers"]["/trade/TradeCancelEntrust"] == 1


@pytest.mark.parametrize("all_of_them", [False, True])
def test_a_cancel_that_never_arrived_is_told_and_not_sent_again(rig: Rig, all_of_them: bool) -> None:
    """Whoever wanted the order gone must not believe that it is."""
    route = "/trade/TradeBatchCancelEntrust" if all_of_them else "/trade/TradeCancelEntrust"
    ready(rig)
    order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
    rig.wait_status(order, Status.NOTTRADED)
    rig.sim.faults([fault("drop", when={"message": route})])
    if all_of_them:
        rig.gateway.cancel_all("P")
    else:
        rig.cancel(order)
    rig.wait_log("结果未知")
    rig.wait_log("没有生效")
    rig.wait_equal()
    assert rig.sim.wire()["vbrokers"][route] == 1
    rig.cancel(order)
    rig.wait_status(order, Status.CANCELLED)
    rig.wait_equal()
    assert sum("没有生效" in line for line in rig.seen.log_lines()) == 1


def test_a_cancel_that_waits_at_the_market_is_not_said_to_have_had_no_effect(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over Hong Kong's lunch the broker has it and the market does not answer: another one would change nothing."""
    ready(rig)
    order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
    rig.wait_status(order, Status.NOTTRADED)
    rig.sim.faults([fault("drop", when={"message": "/trade/TradeCancelEntrust"})])
    with monkeypatch.context() as patched:
        patched.setitem(codes._STATUS, "NOTTRADED", "3")
        rig.cancel(order)
        rig.wait_log("结果未知")
        begun = monotonic()
        rig.wait(lambda: monotonic() - begun > 2 * SHORT.settle_after, "the time after which it counts")
        rounds = rig.sim.wire()["vbrokers"][ORDERS_TODAY] + 2
        rig.wait(lambda: rig.sim.wire()["vbrokers"][ORDERS_TODAY] >= rounds, "two more lists")
        assert not any("没有生效" in line for line in rig.seen.log_lines())
    rig.wait_log("没有生效")


def test_a_cancel_before_the_number_is_known_is_sent_when_it_is(rig: Rig) -> None:
    ready(rig)
    rig.sim.faults([fault("delay", ms=500, when={"message": PLACE, "phase": "before"})])
    order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
    rig.wait(lambda: rig.sim.wire()["vbrokers"].get(PLACE) == 1, "the request")
    rig.cancel(order)
    rig.wait_status(order, Status.CANCELLED)
    rig.wait_equal()


def test_a_push_channel_that_is_silent_while_prices_move_is_made_anew(rig: Rig) -> None:
    ready(rig)
    rig.sim.faults([fault("push", mode="lose", when={"message": "push"}, times=10_000)])
    price = 100.0
    for _ in range(3):
        price += 1
        rig.sim.quote("IBM.SMART", last=price, bid=price - 0.01, ask=price + 0.01, bid_size=1000, ask_size=1000)
        rig.wait(lambda: rig.tick("IBM.SMART").last_price == price, "the price by polling")  # noqa: B023  asked at once
    rig.wait_log("重新连接推送")
    rig.sim.clear_faults()
    rig.wait_log("推送已恢复")


def test_lists_that_several_markets_refuse_are_not_asked_for_ever_more_often() -> None:
    with Rig(timing=replace(SHORT, orders_poll=0.3, orders_poll_idle=60)) as rig:
        rig.connect(市场="港股+美股+A股通")
        rig.sim.faults([refused(ORDERS_TODAY, "1001")])
        begun, before = monotonic(), rig.sim.wire()["vbrokers"][ORDERS_TODAY]
        rig.gateway.reconcile()
        rig.wait(lambda: rig.sim.wire()["vbrokers"][ORDERS_TODAY] - before >= 60, "fifteen rounds of four markets")
        assert monotonic() - begun > 2.5


# ---------------------------------------------------------------------- a Gateway that refuses quotes


def refused(route: str, code: str, times: int = 10_000, nth: int = 1) -> dict[str, Any]:
    return fault("error", code=code, text="不行", when={"message": route, "nth": nth}, times=times)


@pytest.mark.parametrize("code", ["1006", "1016", "1001"])
def test_refused_subscriptions_keep_nothing_else_from_working(rig: Rig, code: str) -> None:
    """No right to push, or other programs have used up the subscriptions that all share: quotes are polled."""
    rig.sim.faults([refused("/hq/Subscribe", code)])
    rig.connect(预加载合约="SPY.SMART,00700.SEHK")
    rig.subscribe("IBM.SMART")
    first = rig.wait_tick("IBM.SMART")
    rig.wait(lambda: rig.tick("IBM.SMART").volume > first.volume, "quotes by polling")
    rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 3, type=OrderType.MARKET), Status.ALLTRADED)
    assert sum("行情订阅被拒绝" in line and "美股" in line for line in rig.seen.log_lines()) == 1


def test_a_market_without_the_right_to_push_leaves_the_others_theirs_and_is_asked_for_again(rig: Rig) -> None:
    # The first request asks for both markets, the second for Hong Kong's alone; a later one is granted.
    rig.sim.faults([refused("/hq/Subscribe", "1006", times=2)])
    rig.connect(预加载合约="SPY.SMART,00700.SEHK")
    rig.wait(lambda: rig.gateway.health().subscriptions == 2, "both subscriptions")
    (line,) = [line for line in rig.seen.log_lines() if "行情订阅被拒绝" in line]
    assert "港股" in line


def test_a_subscription_refused_once_is_made_later() -> None:
    with Rig(timing=replace(SHORT, repeat_line=0.5)) as rig:
        ready(rig)
        rig.sim.faults([refused("/hq/Subscribe", "1001", times=1)])
        rig.subscribe("AAPL.SMART")
        rig.wait_tick("AAPL.SMART")
        rig.wait(lambda: rig.gateway.health().subscriptions == 2, "the second subscription")
        rig.wait(lambda: rig.tick("AAPL.SMART").ask_price_1, "the book")


@pytest.mark.parametrize("code", ["1001", "1008"])
def test_a_quote_refused_once_is_asked_for_again(rig: Rig, code: str) -> None:
    ready(rig)
    rig.sim.faults([refused("/hq/BasicQot", code, times=1)])
    rig.subscribe("AAPL.SMART")
    assert "自动重试" in rig.wait_log("订阅失败")
    rig.wait_tick("AAPL.SMART")


def test_quotes_that_are_refused_keep_no_order_from_working(rig: Rig) -> None:
    ready(rig)
    phone = rig.sim.order("IBM.SMART", "LONG", 1, "50")
    rig.sim.faults([refused("/hq/BasicQot", "1001", times=12)])
    rig.main.connect(rig.setting(预加载合约="SPY.SMART"), "VBROKERS")
    rig.wait(lambda: sum("合约信息查询成功" in line for line in rig.seen.log_lines()) == 2, "connected again")
    order = rig.wait(lambda: rig.main.get_order(f"VBROKERS.VB{phone}"), "the phone's order")
    rig.cancel(order.vt_orderid)
    rig.wait_status(order.vt_orderid, Status.CANCELLED)
    rig.wait(lambda: rig.main.get_contract("SPY.SMART"), "what is preloaded, when quotes are answered again")


def test_quotes_that_stay_refused_are_not_asked_for_more_often_after_each_login() -> None:
    with Rig(timing=replace(SHORT, quotes_check=0.3)) as rig:
        rig.connect(市场="美股")
        rig.sim.faults([refused("/hq/BasicQot", "1001")])
        rig.main.connect(rig.setting(市场="美股", 预加载合约="SPY.SMART"), "VBROKERS")
        rig.wait(lambda: sum("合约信息查询成功" in line for line in rig.seen.log_lines()) == 2, "connected again")
        rig.subscribe("AAPL.SMART")
        rig.wait_log("订阅失败")
        for login in range(1, 5):
            rig.sim.faults([fault("expire")])
            rig.wait(lambda: sum("已恢复" in line for line in rig.seen.log_lines()) == login, "the login")  # noqa: B023  asked at once
        begun, before = monotonic(), rig.sim.wire()["vbrokers"]["/hq/BasicQot"]
        rig.wait(lambda: rig.sim.wire()["vbrokers"]["/hq/BasicQot"] - before >= 20, "ten rounds of two instruments")
        assert monotonic() - begun > 1.5


def test_a_refusal_in_words_alone_does_not_say_that_an_instrument_is_none(rig: Rig) -> None:
    """What the Gateway has no number for may be about itself: the subscription must not be given up."""
    ready(rig)
    in_words = fault("error", code="", text="行情服务维护中", when={"message": "/hq/BasicQot"}, times=10_000)
    rig.sim.faults([in_words])
    rig.subscribe("AAPL.SMART")
    assert "行情服务维护中" in rig.wait_log("订阅失败")
    rig.sim.clear_faults()
    rig.wait_tick("AAPL.SMART")
    assert not any("找不到合约" in line for line in rig.seen.log_lines())


@pytest.mark.parametrize("code", ["", "1016"])
def test_quotes_of_known_instruments_that_are_refused_are_a_line(code: str) -> None:
    with Rig(timing=replace(SHORT, push_patience=0.1)) as rig:
        ready(rig)
        rig.sim.faults(
            [fault("error", code=code, text="行情服务维护中", when={"message": "/hq/BasicQot"}, times=10_000)]
        )
        assert "行情服务维护中" in rig.wait_log("查询失败")


def test_one_code_that_the_broker_refuses_costs_the_others_nothing(rig: Rig) -> None:
    """The simulator leaves out what it does not know; whether the Gateway refuses the whole request is not known."""
    rig.sim.faults([refused("/hq/BasicQot", "1016", times=1)])
    names = ("AAPL.SMART", "IBM.SMART", "SPY.SMART", "TSLA.SMART", "BRK-B.SMART")
    rig.connect(市场="美股", 预加载合约=",".join(names))
    for vt_symbol in names:
        assert rig.main.get_contract(vt_symbol), vt_symbol


def test_a_right_to_quotes_that_is_lost_is_one_line(rig: Rig) -> None:
    ready(rig)
    rig.sim.faults([refused("/hq/BasicQot", "1006", times=1)])
    assert "IBM" in rig.wait_log("没有行情权限")
    asked = rig.sim.wire()["vbrokers"]["/hq/BasicQot"]
    rig.wait(lambda: rig.sim.wire()["vbrokers"]["/trade/TradeQueryMarginFundInfo"] > 12, "some rounds")
    assert rig.sim.wire()["vbrokers"]["/hq/BasicQot"] == asked
    assert sum("没有行情权限" in line for line in rig.seen.log_lines()) == 1
