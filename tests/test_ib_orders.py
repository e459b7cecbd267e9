"""What a trader must be able to rely on with TWS: restarts, silence, closed markets, other people's orders, the end."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, cast

import pytest
from ib_async.contract import Contract
from ib_async.objects import Execution
from vnpy.trader.constant import Direction, OrderType, Status
from vnpy.trader.event import EVENT_TICK, EVENT_TRADE
from vnpy.trader.utility import TEMP_DIR

from tests.harness import Rig
from tests.ib_harness import ACCOUNT, SHORT_IB, IbRig
from tests.ib_oracle import IbOracleRig
from tests.test_ib_codes import Desk, Named, on_a_desk, open_order
from tests.test_ib_gateway import fault, ready
from tests.trap_checks import Returned, check_forward, check_plain
from vnpy_brokerkit.clock import ManualClock, ShiftedClock, SystemClock
from vnpy_brokerkit.errors import TimedOut
from vnpy_brokerkit.timing import Timing
from vnpy_ibkr.connection import Connection
from vnpy_ibkr.executions import Executions
from vnpy_ibkr.wire.events import Listener
from vnpy_ibkr.wire.tws import Wire

UTC = timezone.utc
AT_ONCE_S = 0.2
"""No call of vn.py's may keep its thread longer."""


def during(rig: Rig, seconds: float) -> None:
    """Let real time pass, waiting on the engine's own events."""
    until = time.monotonic() + seconds
    rig.wait(lambda: time.monotonic() >= until, "time")


def requests(rig: Rig, name: str) -> int:
    """How often the broker was asked this."""
    count: int = rig.sim.wire()["tws"].get(name, 0)
    return count


# ---------------------------------------------------------------------- losses


def test_a_restart_of_tws_with_a_fill_in_between_is_over_within_five_seconds_and_nobody_waits() -> None:
    """With the product's own intervals."""
    with IbRig(timing=Timing()) as rig:
        ready(rig)
        resting = rig.send("IBM.SMART", Direction.LONG, 30, 95)
        live = rig.wait_status(resting, Status.NOTTRADED)
        away = 1.0
        rig.sim.faults([fault("restart", for_s=away), fault("fill_while_away", order=(live.extra or {})["broker_id"])])
        began = time.monotonic()
        rig.wait_log("正在重连")
        asked = time.monotonic()
        rig.send("IBM.SMART", Direction.LONG, 1, 95)
        rig.cancel(resting)
        rig.subscribe("AAPL.SMART")
        rig.gateway.query_account()
        rig.gateway.query_position()
        assert time.monotonic() - asked < AT_ONCE_S
        rig.wait_log("已恢复")
        assert time.monotonic() - began < away + 5
        rig.wait_status(resting, Status.ALLTRADED)
        rig.wait_equal()


def test_a_silent_peer_is_noticed_within_thirty_seconds() -> None:
    """With the product's own intervals, in virtual time."""

    class Silent:
        """A wire on which nothing ever arrives."""

        def __init__(self, clock: ManualClock) -> None:
            self.last_data = clock.monotonic()
            self.client: Any = self
            self._clock = clock

        def reqCurrentTime(self) -> None:
            """Goes into the void."""

        async def ask_plain(self, key: str, send: Callable[[], None], timeout: float) -> list[Any]:
            send()
            await self._clock.sleep(timeout)
            raise TimedOut("nothing", about=key)

    async def scene() -> None:
        clock = ManualClock(datetime(2026, 3, 10, tzinfo=UTC))
        connection = Connection(
            host="127.0.0.1",
            ports=[1],
            client_id=1,
            listener=cast("Listener", None),
            clock=clock,
            timing=Timing(),
            log=lambda line: None,
            on_up=cast("Callable[[bool], Coroutine[Any, Any, None]]", None),
            on_down=lambda: None,
        )
        beating = asyncio.ensure_future(connection._heartbeat(cast("Wire", Silent(clock))))
        await clock.advance(30)
        assert beating.done()
        with pytest.raises(TimedOut):
            beating.result()

    asyncio.run(scene())


def test_two_that_ask_the_same_both_hear_that_there_is_no_answer() -> None:
    """Else the second looks as if it had been cancelled, and whatever keeps the connection ends without a word."""

    class Deaf:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *args: None

    async def scene() -> None:
        wire = Wire(cast("Listener", Deaf()), SystemClock(), patience=0.02)
        answers = await asyncio.gather(
            wire.ask_plain("completedOrders", lambda: None),
            wire.ask_plain("completedOrders", lambda: None),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [TimedOut, TimedOut]

    asyncio.run(scene())


@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_cancel_that_was_lost_with_the_socket_is_sent_again(phase: str) -> None:
    with IbRig() as rig:
        ready(rig)
        order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
        rig.wait_status(order, Status.NOTTRADED)
        rig.sim.faults([fault("drop", when={"message": "cancelOrder", "phase": phase})])
        rig.cancel(order)
        rig.wait_status(order, Status.CANCELLED)
        rig.wait_equal()


def test_a_cancel_of_an_unknown_order_is_sent_by_the_next_engine_when_tws_names_it() -> None:
    with IbOracleRig() as rig:
        ready(rig)
        after = {"message": "placeOrder", "phase": "after"}
        rig.sim.faults([fault("refuse", when=after), fault("drop", when=after)])
        order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
        rig.wait_log("结果未知")
        rig.cancel(order)
        rig.wait_log("恢复连接后自动发出")
        rig.close()
        rig.sim.clear_faults()
        rig.restart_engine()
        rig.wait_status(order, Status.CANCELLED)
        rig.wait_equal()
        assert requests(rig, "cancelOrder") == 1


def test_a_cancel_before_tws_has_named_our_order_again_is_sent_when_it_has() -> None:
    """A second connect() while TWS is away: the order is known, how TWS calls it is not."""
    with IbOracleRig() as rig:
        ready(rig)
        order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
        rig.wait_status(order, Status.NOTTRADED)
        rig.sim.faults([fault("refuse"), fault("drop")])
        rig.wait_log("正在重连")
        before = rig.gateway.session
        rig.main.connect(rig.setting(), rig.name)
        rig.wait(lambda: rig.gateway.session not in (None, before) and rig.gateway.session.orders, "another session")
        rig.cancel(order)
        rig.wait_log("报出后自动撤单")
        rig.sim.clear_faults()
        rig.wait_status(order, Status.CANCELLED)
        rig.wait_equal()


def test_who_asked_for_a_reconciliation_gets_the_report_though_a_reading_failed() -> None:
    with IbRig() as rig:
        ready(rig)
        rig.sim.faults([fault("lose_reply", when={"message": "reqAllOpenOrders"}, times=2)])
        rig.gateway.reconcile()
        rig.wait_log("对账（人工）")


def test_a_refusal_in_characters_of_two_halves_stops_no_later_order() -> None:
    with IbRig() as rig:
        ready(rig)
        text = r"no \ud83d\ude80 today, \ud83d and \u4e0d\u884c"
        rig.sim.faults([fault("error", code=201, text=text, when={"message": "placeOrder"})])
        refused = rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 30, 95), Status.REJECTED)
        assert "no \U0001f680 today, \ufffd and 不行" in (refused.extra or {})["reason"]
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 31, 95), Status.NOTTRADED)


def test_a_cancel_during_the_nightly_reset_is_carried_out_after_it() -> None:
    with IbRig() as rig:
        ready(rig)
        order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
        rig.wait_status(order, Status.NOTTRADED)
        rig.sim.faults([fault("daily_reset", for_s=1)])
        rig.wait_log("（1100）")
        rig.cancel(order)
        rig.wait_status(order, Status.CANCELLED)
        rig.wait_equal()
        assert not any("正在重连" in line for line in rig.seen.log_lines())


def test_a_filled_order_whose_executions_were_lost_has_its_trades() -> None:
    with IbRig() as rig:
        ready(rig)
        rig.sim.faults([fault("push", mode="lose", when={"message": "execDetails"})])
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 30, 100.01), Status.ALLTRADED)
        rig.wait(lambda: rig.seen.of(EVENT_TRADE), "the trade", 3)
        rig.wait_equal()


def test_a_message_that_cannot_be_read_is_made_up_for() -> None:
    with IbRig(timing=replace(SHORT_IB, orders_poll=600, orders_poll_idle=600)) as rig:
        ready(rig)
        rig.sim.faults([fault("garbage", when={"message": "execDetails"})])
        rig.send("IBM.SMART", Direction.LONG, 30, 100.01)
        rig.wait_log("无法解析")
        rig.wait_equal()


def test_a_reading_that_failed_is_made_up_for_however_idle_the_account_is() -> None:
    with IbRig(timing=replace(SHORT_IB, orders_poll_idle=600)) as rig:
        ready(rig)
        rig.sim.faults(
            [
                fault("push", mode="lose", when={"message": "execDetails"}),
                fault("error", code=323, when={"message": "reqExecutions"}, times=3),
            ]
        )
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 30, 100.01), Status.ALLTRADED)
        rig.wait(lambda: rig.seen.of(EVENT_TRADE), "the trade")
        rig.wait_equal()


def test_ids_that_tws_gives_anew_never_change_an_order_that_lives() -> None:
    """A new engine after Reset API order ID sequence: an order under the id of a live one would be its change."""
    with IbOracleRig() as rig:
        ready(rig)
        first = rig.send("IBM.SMART", Direction.LONG, 30, 95)
        rig.wait_status(first, Status.NOTTRADED)
        rig.sim.faults([fault("restart", for_s=0)])
        rig.restart_engine()
        rig.wait_log("合约信息查询成功")
        for number in range(12):
            rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1 + number, 94), Status.NOTTRADED)
        assert len(rig.truth()["orders"]) == 13
        rig.wait_equal()


# ---------------------------------------------------------------------- whose orders


def test_a_restarted_engine_knows_its_orders_by_their_own_ids() -> None:
    with IbOracleRig() as rig:
        ready(rig, size=10)
        done = rig.send("IBM.SMART", Direction.LONG, 5, 100.01, reference="CtaStrategy_甲")
        rig.wait_status(done, Status.ALLTRADED)
        part = rig.send("IBM.SMART", Direction.LONG, 30, 100.01, reference="CtaStrategy_甲")
        rig.wait_status(part, Status.PARTTRADED)
        rig.restart_engine()
        rig.wait_log("合约信息查询成功")
        rig.wait_equal()
        for vt_orderid in (done, part):
            order = rig.main.get_order(vt_orderid)
            assert order is not None
            assert order.reference == "CtaStrategy_甲"
            assert (order.extra or {})["external"] is False
        assert not any("警告" in line for line in rig.seen.log_lines())
        rig.cancel(part)
        rig.wait_status(part, Status.CANCELLED)
        rig.wait_equal()


def test_another_client_id_cannot_cancel_and_says_so_once() -> None:
    with IbOracleRig() as rig:
        ready(rig)
        orders = [rig.send("IBM.SMART", Direction.LONG, volume, 95) for volume in (3, 4)]
        for order in orders:
            rig.wait_status(order, Status.NOTTRADED)
        rig.main.connect(rig.setting(客户号=5), rig.name)
        assert "客户号1" in rig.wait_log("警告")
        rig.cancel(orders[0])
        assert "客户号1" in rig.wait_log("TWS只允许该客户号撤单")
        rig.wait_equal()
        assert sum("警告" in line for line in rig.seen.log_lines()) == 1


def test_client_id_0_binds_manual_orders_and_cancels_them() -> None:
    with IbRig() as rig:
        rig.sim.pause()
        earlier = rig.sim.order("IBM.SMART", "LONG", 10, "50", broker="tws", account=ACCOUNT)
        rig.connect(客户号=0)
        later = rig.sim.order("IBM.SMART", "LONG", 11, "50", broker="tws", account=ACCOUNT)
        for manual in (earlier, later):
            order = rig.wait_status(f"IBKR.IB{manual}", Status.NOTTRADED)
            assert (order.extra or {})["external"] is True
            rig.cancel(order.vt_orderid)
            rig.wait_status(order.vt_orderid, Status.CANCELLED)
        rig.wait_equal()


@pytest.mark.parametrize("setting", [{}, {"外部委托": "不显示"}])
def test_orders_that_are_not_shown_are_not_asked_for_again_and_again(setting: dict[str, str]) -> None:
    with IbRig() as rig:
        rig.sim.pause()
        rig.sim.order("IBM.SMART", "LONG", 10, "50", broker="tws", account="DU1000003")
        if setting:
            rig.sim.order("IBM.SMART", "LONG", 10, "50", broker="tws", account=ACCOUNT)
        rig.connect(**setting)
        before = requests(rig, "reqCompletedOrders")
        during(rig, 1.5)
        assert rig.main.get_all_orders() == []
        assert requests(rig, "reqCompletedOrders") - before <= 1


def test_a_fill_that_nobody_introduced_does_not_make_a_finished_order_of_an_unfinished_one() -> None:
    async def scene(desk: Desk) -> None:
        desk.orders._contracts = cast("Any", Named())
        told: list[Any] = []
        desk.push_trade = lambda order, fill: told.append(fill)  # type: ignore[method-assign]  # fills are wanted here
        executions = Executions(
            desk.orders,
            desk,
            contracts=cast("Any", Named()),
            clock=desk.clock,
            timing=Timing(commission_wait=0),
            on_change=lambda: None,
        )
        execution = Execution(
            execId="0001.02.01",
            time=desk.clock.now(),
            acctNumber="DU1",
            side="BOT",
            shares=4,
            price=100,
            permId=77,
            cumQty=4,
        )
        executions.on_execution(Contract(), execution, False)
        assert desk.orders.wanted.is_set(), "the lists are asked first"
        assert list(desk.tracker) == []
        contract, order, state = open_order(0, 77, "", client_id=0)
        desk.orders.on_open_order(contract, order, state)
        executions.on_execution(Contract(), execution, False)
        [known] = desk.tracker
        assert known.active
        assert [float(known.volume), float(known.traded)] == [10, 4]

    on_a_desk(scene)


def test_an_order_that_no_list_names_is_known_by_its_fills() -> None:
    async def scene(desk: Desk) -> None:
        executions = Executions(
            desk.orders,
            desk,
            contracts=cast("Any", Named()),
            clock=desk.clock,
            timing=Timing(commission_wait=600),
            on_change=lambda: None,
        )
        for _reading in range(2):
            desk.orders.readings += 1
            for number, cumulative in ((1, 4), (2, 10)):
                executions.on_execution(
                    Contract(),
                    Execution(
                        execId=f"0001.0{number}.01",
                        time=desk.clock.now(),
                        acctNumber="DU1",
                        side="SLD",
                        shares=cumulative - 4 * (number - 1),
                        price=100,
                        permId=77,
                        cumQty=cumulative,
                    ),
                    False,
                )
        [known] = desk.tracker
        assert [float(known.volume), float(known.traded), len(known.fills)] == [10, 10, 2]
        assert known.direction is Direction.SHORT

    on_a_desk(scene)


def test_an_order_held_for_transmit_works_once_a_person_pressed_it() -> None:
    assert Timing().held_line == 10
    with IbRig() as rig:
        ready(rig)
        rig.sim.faults([fault("hold", when={"message": "placeOrder"})])
        order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
        rig.wait_log("Transmit")
        rig.gateway.reconcile()
        assert rig.wait_log("对账（人工）") == f"对账（人工）：未知1笔（{order.partition('.')[2]}）"
        rig.sim.clear_faults()
        rig.wait_status(order, Status.NOTTRADED)
        rig.wait_equal()


def test_an_order_beyond_the_funds_is_rejected_in_the_broker_s_words() -> None:
    """TWS calls it Inactive first, and gives the reason after it."""
    with IbRig() as rig:
        ready(rig, size=20_000)
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 9_900, 100.01), Status.ALLTRADED)
        order = rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 9_900, 100.01), Status.REJECTED)
        assert "funds" in (order.extra or {})["reason"]
        rig.wait_equal()


# ---------------------------------------------------------------------- the market


@contextmanager
def at(moment: datetime, **options: Any) -> Iterator[IbRig]:
    """A rig whose broker and gateway live at a moment of the data's time."""
    clock = ShiftedClock(moment)
    with IbRig(clock="data", gateway_clock=clock, **options) as rig:
        rig.sim.set_clock(moment)
        yield rig


NIGHT = datetime(2026, 3, 10, 7, 0, tzinfo=UTC)
"""New York is closed, Hong Kong trades."""
BEFORE_OPEN = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def test_a_closed_market_shows_its_close_within_two_seconds() -> None:
    with at(NIGHT) as rig:
        rig.connect()
        asked = time.monotonic()
        rig.subscribe("IBM.SMART")
        tick = rig.wait_tick("IBM.SMART")
        assert time.monotonic() - asked < 2
        assert tick.last_price > 0
        assert (tick.extra or {})["segment"] == "closed"


@pytest.mark.parametrize("moment", [NIGHT, BEFORE_OPEN])
def test_a_market_order_outside_the_regular_session_is_refused_in_words(moment: datetime) -> None:
    with at(moment) as rig:
        rig.connect()
        refused = rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1, type=OrderType.MARKET), Status.REJECTED)
        assert "常规交易时段" in (refused.extra or {})["reason"]
        assert requests(rig, "placeOrder") == 0


@pytest.mark.parametrize("added", ["before the connect", "after it"])
def test_no_line_is_taken_from_what_is_held_ordered_or_used_by_a_strategy(added: str) -> None:
    settings = TEMP_DIR / "cta_strategy_setting.json"
    strategy = '{"a": {"class_name": "X", "vt_symbol": "TSLA.SMART", "setting": {}}}'
    settings.write_text(strategy if added == "before the connect" else "{}", encoding="utf-8")
    held = [{"broker": "tws", "account": ACCOUNT, "vt_symbol": "AAPL.SMART", "volume": 10, "price": "200"}]
    try:
        with IbRig(switches={"tws.market_data_lines": 5}, positions=held, speed=20) as rig:
            rig.connect()
            settings.write_text(strategy, encoding="utf-8")
            rig.subscribe("TSLA.SMART", "IBM.SMART")
            rig.wait_tick("TSLA.SMART")
            price = round(rig.wait_tick("IBM.SMART").last_price * 0.8, 2)
            rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1, price), Status.NOTTRADED)
            for vt_symbol in ("MSFT.SMART", "NVDA.SMART", "SPY.SMART", "QQQ.SMART"):
                rig.subscribe(vt_symbol)
                rig.wait_tick(vt_symbol)
            assert "上限" in rig.wait_log("行情订阅已达")
            marks = [data for kind, data in rig.seen.events if kind == "ePosition."]
            for vt_symbol in ("TSLA.SMART", "IBM.SMART"):
                before = sum(t.vt_symbol == vt_symbol for t in rig.seen.of(EVENT_TICK))
                rig.wait(
                    lambda: sum(t.vt_symbol == vt_symbol for t in rig.seen.of(EVENT_TICK)) > before,  # noqa: B023  asked at once
                    f"{vt_symbol} ticks on",
                )
            rig.wait(
                lambda: sum(kind == "ePosition." for kind, _data in rig.seen.events) > len(marks), "AAPL is marked on"
            )
    finally:
        settings.unlink()


# ---------------------------------------------------------------------- settings and programs


def test_an_account_that_tws_does_not_have_is_said_and_nothing_is_sent() -> None:
    with IbRig() as rig:
        rig.connect(交易账户="DU7777777")
        assert "DU7777777" in rig.wait_log("不在TWS的账户列表")
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1, 50), Status.REJECTED)
        assert requests(rig, "placeOrder") == 0


@pytest.mark.parametrize("what", [{"do": "error", "code": 323}, {"do": "lose_reply"}])
def test_a_subscription_that_tws_could_not_answer_once_comes_by_itself(what: dict[str, Any]) -> None:
    with IbRig() as rig:
        rig.connect()
        rig.sim.faults([{"broker": "tws", **what, "when": {"message": "reqContractDetails"}, "times": 1}])
        rig.subscribe("AAPL.SMART")
        rig.wait_log("将自动重试")
        rig.wait_tick("AAPL.SMART")
        assert not any("断开" in line for line in rig.seen.log_lines())


def test_a_connection_that_is_given_up_again_and_again_is_not_told_each_time() -> None:
    with IbRig() as rig:
        when = {"message": "reqPositions"}
        rig.sim.faults([fault("lose_reply", when={**when, "nth": nth}, times=1) for nth in (1, 2, 3)])
        rig.connect()
        for text in ("TWS连接成功", "已放弃", "正在重连"):
            assert sum(text in line for line in rig.seen.log_lines()) == 1, text


READ_ONLY = "Error validating request.-'bG' : cause - The API interface is currently in Read-Only mode."


def test_a_read_only_api_that_refuses_the_lists_without_ending_them_is_connected_all_the_same() -> None:
    refused = [
        fault("error", code=321, text=READ_ONLY, when={"message": message, "nth": nth})
        for message in ("reqAllOpenOrders", "reqCompletedOrders", "placeOrder")
        for nth in range(1, 30)
    ]
    with IbRig() as rig:
        rig.sim.faults(refused)
        ready(rig)
        order = rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1, 95), Status.REJECTED)
        assert "只读API" in (order.extra or {})["reason"]
        assert len([line for line in rig.seen.log_lines() if "321" in line and "委托" not in line]) == 1
        assert not any("放弃" in line or "正在重连" in line for line in rig.seen.log_lines())


def test_a_read_only_api_says_so_once_and_nothing_loops() -> None:
    timing = replace(SHORT_IB, repeat_line=0.2)
    with IbRig(switches={"tws.read_only": True}, timing=timing) as rig:
        ready(rig)
        refused = rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 1, 95), Status.REJECTED)
        assert "只读API" in (refused.extra or {})["reason"]
        before = requests(rig, "reqAllOpenOrders")
        during(rig, 2)
        assert requests(rig, "reqAllOpenOrders") - before <= 3
        lines = [line for line in rig.seen.log_lines() if "321" in line and "委托" not in line]
        assert len(lines) == 1, lines
        assert "Read-Only" in lines[0]
        assert "只读API" in lines[0]
        assert not any("正在重连" in line for line in rig.seen.log_lines())


FUTURE = "ES-202612-USD-FUT.CME"


@pytest.mark.parametrize("what", [{"do": "error", "code": 323}, {"do": "error", "code": 504}, {"do": "lose_reply"}])
def test_an_instrument_that_tws_cannot_tell_costs_neither_the_connection_nor_what_is_held(what: dict[str, Any]) -> None:
    held = {"broker": "tws", "account": ACCOUNT, "vt_symbol": FUTURE, "volume": 2, "price": "5000"}
    with IbRig(positions=[held]) as rig:
        when = {"message": "reqContractDetails", "nth": 1}
        rig.sim.faults([{"broker": "tws", **what, "when": {**when, "nth": nth}, "times": 1} for nth in (1, 2, 3)])
        rig.connect(预加载合约="AAPL.SMART,NOSUCH.SMART")
        assert not any("放弃" in line for line in rig.seen.log_lines())
        assert any("查询" in line and "失败，将自动重试" in line for line in rig.seen.log_lines())
        rig.wait_log("找不到合约NOSUCH.SMART")
        rig.wait(lambda: rig.main.get_contract("AAPL.SMART"), "the contract that was preloaded")
        rig.sim.pause()
        rig.wait_equal()
        rig.wait_status(rig.send("AAPL.SMART", Direction.LONG, 1, 1), Status.NOTTRADED)


def test_a_port_at_which_nobody_listens_is_named_with_the_remedy() -> None:
    with IbRig() as rig, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        rig.main.connect(rig.setting(TWS端口=port), "IBKR")
        assert "TWS端口" in rig.wait_log(f"无法连接TWS 127.0.0.1:{port}")


# ---------------------------------------------------------------------- the end


def test_close_takes_five_seconds_at_most_whatever_tws_does_and_leaves_nothing() -> None:
    before = set(threading.enumerate())
    with IbRig() as rig:
        ready(rig)
        order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
        rig.wait_status(order, Status.NOTTRADED)
        rig.sim.faults([fault("stall")])
        rig.cancel(order)
        rig.send("IBM.SMART", Direction.LONG, 31, 95)
        began = time.monotonic()
        rig.gateway.close()
        assert time.monotonic() - began < 5
        rig.gateway.close()
        assert not [thread.name for thread in set(threading.enumerate()) - before if "IBKR" in thread.name]
        rig.sim.clear_faults()


def test_queued_cancels_go_out_before_the_end() -> None:
    """More of them than TWS takes in a second."""
    with IbRig() as rig:
        ready(rig)
        orders = [rig.send("IBM.SMART", Direction.LONG, 1 + number, 95) for number in range(50)]
        for order in orders:
            rig.wait_status(order, Status.NOTTRADED)
        rig.gateway.cancel_all()
        rig.close()
        assert {row["status"] for row in rig.truth()["orders"]} == {"CANCELLED"}


def test_connecting_again_with_other_settings_loses_nothing() -> None:
    with IbRig() as rig:
        ready(rig)
        order = rig.send("IBM.SMART", Direction.LONG, 30, 95)
        rig.wait_status(order, Status.NOTTRADED)
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 5, 100.01), Status.ALLTRADED)
        for _again in range(3):
            rig.main.connect(rig.setting(盘前盘后="是"), "IBKR")
        rig.wait(lambda: sum("合约信息查询成功" in line for line in rig.seen.log_lines()) >= 2, "connected again")
        rig.wait_equal()
        rig.cancel(order)
        rig.wait_status(order, Status.CANCELLED)
        rig.sim.quote("IBM.SMART", last=99, bid="98.99", ask="99.01", bid_size=1000, ask_size=1000)
        rig.wait(lambda: rig.tick("IBM.SMART").last_price == 99, "quotes go on")
        rig.wait_equal()


# ---------------------------------------------------------------------- the traps of vn.py's engine, by number


def test_trap_1_no_handler_of_ours_runs_on_the_event_thread() -> None:
    with IbRig() as rig:
        before = {kind: list(handlers) for kind, handlers in rig.event_engine._handlers.items()}
        rig.connect()
        assert rig.event_engine._general_handlers == []
        assert {kind: list(handlers) for kind, handlers in rig.event_engine._handlers.items()} == before


def test_traps_2_3_and_10_times_are_aware_extras_pickle_and_numbers_are_plain() -> None:
    with IbRig() as rig:
        ready(rig)
        rig.subscribe("00700.SEHK", "EUR-USD-CASH.IDEALPRO")
        rig.wait_tick("00700.SEHK")
        rig.wait_tick("EUR-USD-CASH.IDEALPRO")
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 5, 100.01), Status.ALLTRADED)
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 5, float("nan")), Status.REJECTED)
        rig.wait_equal()
        check_plain(data for _kind, data in rig.seen.events)


def test_trap_4_nothing_but_submitting_is_pushed_before_send_order_returns() -> None:
    with IbRig() as rig:
        ready(rig, size=10_000)
        returned = Returned(rig)
        for number in range(40):
            order = returned.note(rig.send("IBM.SMART", Direction.LONG, 1, 100.01 if number % 2 else -1.0))
            if number % 10 == 9:
                rig.wait_status(order, Status.ALLTRADED)
        assert returned.early == []


def test_trap_5_ids_hold_no_dot_and_are_unique() -> None:
    with IbRig() as rig:
        rig.connect()
        ids = [rig.send("IBM.SMART", Direction.LONG, 0, 1) for _ in range(300)]
        assert len(set(ids)) == 300
        assert all(vt_orderid.count(".") == 1 for vt_orderid in ids)
        assert all(vt_orderid.partition(".")[2].startswith("IB") for vt_orderid in ids)


def test_traps_6_and_7_contracts_come_at_connect_and_are_kept_by_the_names_of_enums() -> None:
    with IbRig() as rig:
        rig.connect(预加载合约="700.HK, AAPL.SMART，BRK.B.SMART")
        lines = [getattr(data, "msg", "") for _kind, data in rig.seen.events]
        at_line = lines.index("合约信息查询成功")
        before = {data.vt_symbol for kind, data in rig.seen.events[:at_line] if kind == "eContract."}
        assert before >= {"00700.SEHK", "AAPL.SMART", "BRK-B.SMART"}
    text = (TEMP_DIR / "ibkr_contracts.json").read_text(encoding="utf-8")
    assert "EQUITY" in text
    assert "股票" not in text
    with IbRig() as rig:
        rig.connect()
        assert rig.main.get_contract("BRK-B.SMART") is not None


def test_trap_8_every_call_returns_at_once_while_tws_hangs() -> None:
    with IbRig() as rig:
        ready(rig)
        order = rig.send("IBM.SMART", Direction.LONG, 1, 95)
        rig.wait_status(order, Status.NOTTRADED)
        rig.sim.faults([fault("stall", for_s=3)])
        began = time.monotonic()
        rig.subscribe("TSLA.SMART")
        rig.send("IBM.SMART", Direction.LONG, 1, 50)
        rig.cancel(order)
        rig.gateway.query_account()
        rig.gateway.query_position()
        rig.gateway.cancel_all()
        rig.main.connect(rig.setting(), "IBKR")
        assert time.monotonic() - began < AT_ONCE_S


def test_trap_9_no_bool_in_the_settings() -> None:
    with IbRig(start=False) as rig:
        defaults = rig.gateway.get_default_setting()
        assert not any(isinstance(value, bool) for value in defaults.values())
        assert next(iter(defaults)) == "环境"
        assert defaults["环境"][0] == "内置模拟"


def test_trap_11_ticks_never_go_back() -> None:
    with IbRig(speed=20) as rig:
        rig.sim.faults([fault("push", mode="reorder", when={"message": "push"}, times=200)])
        rig.connect()
        rig.subscribe("IBM.SMART", "AAPL.SMART")
        rig.wait(lambda: len(rig.seen.of(EVENT_TICK)) > 30, "thirty ticks")
        for vt_symbol in ("IBM.SMART", "AAPL.SMART"):
            check_forward(t for t in rig.seen.of(EVENT_TICK) if t.vt_symbol == vt_symbol)


def test_trap_12_a_trade_is_told_once_also_after_a_reconnect() -> None:
    with IbRig() as rig:
        ready(rig)
        rig.sim.faults([fault("push", mode="duplicate", when={"message": "execDetails"}, times=2)])
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 5, 100.01), Status.ALLTRADED)
        rig.main.connect(rig.setting(), "IBKR")
        rig.wait(lambda: sum("合约信息查询成功" in line for line in rig.seen.log_lines()) == 2, "connected again")
        rig.wait_equal()
        assert len(rig.seen.of(EVENT_TRADE)) == 1
