"""An engine that starts again beside the standing broker: its orders come back under their own ids, and what the one
before it left unknown is settled with the broker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal
from queue import SimpleQueue
from typing import Any

import pytest
from vnpy.trader.constant import Direction, Exchange, Offset, OrderType, Status
from vnpy.trader.event import EVENT_TRADE

from tests.harness import SHORT, Rig
from tests.oracle_run import OracleRig, Standing
from tests.oracle_script import ORDERS, PLACE, fault
from vnpy_brokerkit.clock import ShiftedClock
from vnpy_brokerkit.lifecycle import Happening
from vnpy_brokerkit.reconcile import settle
from vnpy_brokerkit.tracker import OrderReport, TrackedOrder

TIMING = replace(SHORT, request_timeout=0.6, answer_margin=0.2, order_max_age=1)
UNSETTLED = replace(TIMING, settle_after=600)
"""Of the first engine: it ends before it may judge."""
IBM, TENCENT = "IBM.SMART", "00700.SEHK"


@pytest.fixture
def rig() -> Iterator[Standing]:
    with Standing(timing=UNSETTLED) as made:
        made._timing = TIMING  # of the engines that follow
        made.sim.pause()
        made.connect()
        trade_at(made)
        yield made


def trade_at(rig: Standing, vt_symbol: str = IBM, last: float = 100, step: float = 0.01) -> None:
    """The quote stands still, with plenty on both sides."""
    rig.subscribe(vt_symbol)
    rig.wait_tick(vt_symbol)
    bid, ask = round(last - step, 2), round(last + step, 2)
    rig.sim.quote(vt_symbol, last=last, bid=bid, ask=ask, bid_size=10_000, ask_size=10_000)
    rig.wait(lambda: rig.tick(vt_symbol).ask_price_1 == ask, "the quote")


def lose(rig: Standing, *faults: dict[str, Any]) -> None:
    """The next orders are lost in this way, and no push tells of them."""
    pushes = fault("push", mode="lose", when={"message": "TradeStockDeliverNotify"}, times=1000)
    rig.sim.faults([*faults, pushes])


ACCEPTED = fault("lose_reply", when={"message": PLACE})
NEVER = fault("drop", when={"message": PLACE, "phase": "before"})


def nth(kind: dict[str, Any], number: int) -> dict[str, Any]:
    return {**kind, "when": {**kind["when"], "nth": number}}


def left_unknown(rig: Standing, *orders: Callable[[], str]) -> list[str]:
    """Send orders whose outcome nobody knows, and end the engine; the faults are over then."""
    sent = []
    for number, order in enumerate(orders, 1):
        sent.append(order())
        rig.wait(lambda: len(unknown_lines(rig)) == number, "the outcome unknown")  # noqa: B023  asked at once
    for vt_orderid in sent:
        assert rig.statuses(vt_orderid)[-1] is Status.SUBMITTING
    rig.close()
    rig.sim.clear_faults()
    return sent


def unknown_lines(rig: Standing) -> list[str]:
    return [line for line in rig.seen.log_lines() if "不会重发" in line and "上次" not in line]


def buy(rig: Standing, volume: float, price: float, vt_symbol: str = IBM) -> Callable[[], str]:
    return lambda: rig.send(vt_symbol, Direction.LONG, volume, price)


def test_orders_and_trades_are_the_same_in_each_engine(rig: Standing) -> None:
    rig.sim.quote(IBM, ask_size=10)
    rig.wait(lambda: rig.tick(IBM).ask_volume_1 == 10, "the size")
    partly = rig.send(IBM, Direction.LONG, 30, 100.01)
    rig.wait_status(partly, Status.PARTTRADED)
    rig.sim.quote(IBM, ask_size=10_000)
    filled = rig.send(IBM, Direction.LONG, 8, 100.01)
    resting = rig.send(IBM, Direction.LONG, 7, 95)
    cancelled = rig.send(IBM, Direction.LONG, 6, 95)
    rig.wait_status(cancelled, Status.NOTTRADED)
    rig.cancel(cancelled)
    for order, status in (
        (partly, Status.ALLTRADED),
        (filled, Status.ALLTRADED),
        (resting, Status.NOTTRADED),
        (cancelled, Status.CANCELLED),
    ):
        rig.wait_status(order, status)
    rig.wait_equal()
    before = {trade.vt_tradeid for trade in rig.seen.of(EVENT_TRADE)}
    for _restart in range(2):
        rig.restart_engine()
        rig.wait_equal()
        assert {order.vt_orderid for order in rig.main.get_all_orders()} == {partly, filled, resting, cancelled}
        told = Counter(trade.vt_tradeid for trade in rig.seen.of(EVENT_TRADE))
        assert told == dict.fromkeys(before, 1)
    assert rig.sim.wire()["vbrokers"][PLACE] == 4


def test_fills_while_no_engine_ran_are_told_once_and_reported(rig: Standing) -> None:
    resting = rig.send(IBM, Direction.LONG, 7, 95)
    rig.wait_status(resting, Status.NOTTRADED)
    rig.close()
    rig.sim.quote(IBM, last="94.9", bid="94.89", ask="94.91", bid_size=1000, ask_size=1000)
    rig.restart_engine()
    rig.wait_status(resting, Status.ALLTRADED)
    rig.wait_equal()
    line = rig.wait_log("对账（连接）")
    assert f"补成交1笔（{resting.partition('.')[2]}）" in line


def test_an_accepted_order_whose_reply_was_lost_is_found_with_its_fills(rig: Standing) -> None:
    lose(rig, ACCEPTED)
    [order] = left_unknown(rig, buy(rig, 30, 100.01))
    rig.restart_engine()
    found = rig.wait_status(order, Status.ALLTRADED)
    assert not (found.extra or {})["external"]
    rig.wait_equal()
    assert [order.vt_orderid for order in rig.main.get_all_orders()] == [order]
    assert rig.sim.wire()["vbrokers"][PLACE] == 1


def test_an_order_that_never_arrived_is_settled_as_rejected_and_not_earlier(rig: Standing) -> None:
    clock = rig.gateway.clock
    sent = clock.monotonic()
    lose(rig, NEVER)
    [order] = left_unknown(rig, buy(rig, 30, 95))
    rig.restart_engine()
    rig.wait_status(order, Status.SUBMITTING)
    rejected = rig.wait_status(order, Status.REJECTED)
    # It may have been sent as late as an order may be sent after it was given.
    assert clock.monotonic() - sent >= TIMING.settle_after + TIMING.order_max_age
    assert "未到达" in (rejected.extra or {})["reason"]
    rig.wait_equal()
    assert (rig.sim.wire()["vbrokers"][PLACE], rig.truth()["orders"]) == (1, [])


def test_an_order_that_turns_up_after_it_was_given_up_alarms_in_a_later_engine_too(rig: Standing) -> None:
    lose(rig, NEVER)
    [order] = left_unknown(rig, buy(rig, 30, 95))
    rig.restart_engine()
    rig.wait_status(order, Status.REJECTED)
    rig.restart_engine()
    phone = rig.sim.order(IBM, "LONG", 30, 95)
    line = rig.wait_log("推断为未到达")
    assert order.partition(".")[2] in line
    assert phone in line
    rig.wait_equal()


@pytest.mark.parametrize(("accepted", "asked"), [(1, 2), (2, 3), (2, 2), (0, 2)])
def test_of_identical_unknowns_the_oldest_have_the_rows(rig: Standing, accepted: int, asked: int) -> None:
    lose(rig, *[nth(ACCEPTED if number <= accepted else NEVER, number) for number in range(1, asked + 1)])
    orders = left_unknown(rig, *[buy(rig, 30, 95)] * asked)
    rig.restart_engine()
    for order in orders[:accepted]:
        rig.wait_status(order, Status.NOTTRADED)
    for order in orders[accepted:]:
        rig.wait_status(order, Status.REJECTED)
    rig.wait_equal()


def test_more_rows_than_unknowns_stay_unknown_over_restarts_and_are_reported(rig: Standing) -> None:
    lose(rig, ACCEPTED)
    [order] = left_unknown(rig, buy(rig, 30, 95))
    rig.sim.order(IBM, "LONG", 30, 95)
    for _restart in range(2):
        rig.restart_engine()
        rig.wait_log("无法核实")
        rig.wait(lambda: len(rig.main.get_all_active_orders()) == 3, "both rows and the unknown")
        assert set(rig.statuses(order)) == {Status.SUBMITTING}
    # Nor is it decided by another connect of the same engine, for which both rows are somebody's.
    before = len(rig.seen.log_lines())
    rig.main.connect(rig.setting(), rig.name)
    rig.wait(lambda: any("对账（连接）" in line for line in rig.seen.log_lines()[before:]), "the second connect")
    polls = rig.sim.wire()["vbrokers"][ORDERS]
    rig.wait(lambda: rig.sim.wire()["vbrokers"][ORDERS] > polls + 12, "three more rounds")
    assert set(rig.statuses(order)) == {Status.SUBMITTING}
    rig.gateway.reconcile()
    assert f"未知1笔（{order.partition('.')[2]}）" in rig.wait_log("对账（人工）")


def test_orders_of_others_that_were_known_before_are_not_taken_for_ours(rig: Standing) -> None:
    rig.sim.order(IBM, "LONG", 30, 95)
    rig.wait(rig.main.get_all_active_orders, "the order from the phone")
    lose(rig, NEVER)
    [order] = left_unknown(rig, buy(rig, 30, 95))
    rig.restart_engine()
    rig.wait_status(order, Status.REJECTED)
    rig.wait_equal()
    [phone] = rig.main.get_all_active_orders()
    assert (phone.extra or {})["external"]


def test_an_order_met_while_another_process_had_the_journal_is_not_shown_twice(rig: Standing) -> None:
    order = rig.send(IBM, Direction.LONG, 30, 95)
    rig.wait_status(order, Status.NOTTRADED)
    later = Rig(start=False, keep_journals=True)
    later.sim = rig.sim
    with later:
        later.main.connect(later.setting(), later.name)
        later.wait_log("另一个进程")
        later.wait_log("对账（连接）：接管1笔")
        rig.close()
        later.main.connect(later.setting(), later.name)
        later.wait_log("对账（连接）：引擎与券商一致")
        later.wait_equal()
        answers: SimpleQueue[bool | None] = SimpleQueue()
        later.gateway.knows_order(order.partition(".")[2], answers.put)
        assert answers.get(timeout=10), "it is at the broker: nobody may take it for one that never arrived"
        [shown] = later.main.get_all_active_orders()
        later.cancel(shown.vt_orderid)
        later.wait_status(shown.vt_orderid, Status.CANCELLED)
        later.wait_equal()


def test_a_cancel_of_an_unknown_order_is_sent_by_the_next_engine_when_it_is_found(rig: Standing) -> None:
    lose(rig, ACCEPTED)
    order = rig.send(IBM, Direction.LONG, 30, 95)
    rig.wait_log("结果未知")
    rig.cancel(order)
    rig.wait_log("核实后立即撤单")
    rig.close()
    rig.sim.clear_faults()
    rig.restart_engine()
    rig.wait_status(order, Status.CANCELLED)
    rig.wait_equal()
    assert rig.sim.wire()["vbrokers"]["/trade/TradeCancelEntrust"] == 1


# ---------------------------------------------------------------------- over the days

FRIDAY, MONDAY = "2026-03-06 03:00", "2026-03-09 03:00"
"""UTC: eleven in the morning in Hong Kong."""


def utc(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc)


@contextmanager
def friday(clock: ShiftedClock) -> Iterator[OracleRig]:
    rig = OracleRig(gateway_clock=clock, clock="data")
    rig._timing = UNSETTLED
    with rig:
        rig._timing = TIMING  # of the engines that follow
        rig.sim.set_clock(utc(FRIDAY))
        rig.sim.pause()
        rig.connect()
        trade_at(rig, TENCENT, 400, 0.2)
        yield rig


def go(rig: Standing, clock: ShiftedClock, text: str) -> None:
    clock.set(utc(text))
    rig.sim.set_clock(utc(text))


@pytest.mark.parametrize("price", [400.2, 380.0], ids=["filled", "not filled"])
def test_an_order_left_unknown_on_friday_is_found_on_monday_in_the_history(price: float) -> None:
    clock = ShiftedClock(utc(FRIDAY), frozen=True)
    with friday(clock) as rig:
        lose(rig, ACCEPTED)
        [order] = left_unknown(rig, buy(rig, 200, price, TENCENT))
        go(rig, clock, MONDAY)
        rig.restart_engine()
        rig.wait_log("已核实")
        [row] = rig.truth()["orders"]
        found = rig.wait_status(order, Status[row["status"]])
        assert (found.extra or {})["broker_id"] == row["id"]
        rig.wait(lambda: len(rig.seen.of(EVENT_TRADE)) == len(rig.truth()["trades"]), "its fills")
        assert Status.REJECTED not in rig.statuses(order)


def test_an_order_that_never_arrived_on_friday_is_settled_on_monday() -> None:
    clock = ShiftedClock(utc(FRIDAY), frozen=True)
    with friday(clock) as rig:
        rig.sim.order(TENCENT, "LONG", 200, 380)  # its twin from the phone, of whom the first engine knows
        rig.wait(rig.main.get_all_active_orders, "the order from the phone")
        lose(rig, NEVER)
        [order] = left_unknown(rig, buy(rig, 200, 380, TENCENT))
        go(rig, clock, MONDAY)
        rig.restart_engine()
        rig.wait_status(order, Status.REJECTED)
        # The twin works on, and is somebody else's still.
        twin = rig.wait(lambda: next(iter(rig.main.get_all_active_orders()), None), "the twin")
        assert (twin.extra or {})["external"]


def test_an_acknowledged_order_of_friday_is_looked_up_and_never_closed_by_absence() -> None:
    clock = ShiftedClock(utc(FRIDAY), frozen=True)
    with friday(clock) as rig:
        order = rig.send(TENCENT, Direction.LONG, 200, 380)
        rig.wait_status(order, Status.NOTTRADED)
        rig.close()
        go(rig, clock, MONDAY)
        history = "/trade/TradeQueryHistoryEntrustList"
        rig.sim.faults([fault("http_status", code=500, when={"message": history}, times=6)])
        rig.restart_engine()
        [row] = rig.truth()["orders"]
        rig.wait_status(order, Status[row["status"]])
        assert set(rig.statuses(order)) <= {Status.NOTTRADED, Status.CANCELLED}
        rig.wait(lambda: rig.sim.wire()["vbrokers"].get(history, 0) > 6, "the history to be read")


# ---------------------------------------------------------------------- the rule, without a broker


def unknown(number: int, sent: float) -> TrackedOrder:
    return TrackedOrder(
        orderid=f"VB{number}",
        symbol="IBM",
        exchange=Exchange.SMART,
        direction=Direction.LONG,
        offset=Offset.NONE,
        type=OrderType.LIMIT,
        price=Decimal(95),
        volume=Decimal(30),
        reference="",
        time=utc(FRIDAY),
        sent=sent,
    )


def row(number: int) -> OrderReport:
    return OrderReport(
        str(number),
        "IBM",
        Exchange.SMART,
        Direction.LONG,
        OrderType.LIMIT,
        Decimal(95),
        Decimal(30),
        Happening.ACCEPTED,
    )


@pytest.mark.parametrize(
    ("sent", "seen", "found", "absent", "undecidable"),
    [
        # rows were at the broker at these seconds; an order that was sent later is none of them
        ([10], [5], [], [0], []),
        ([1], [5], [(0, 0)], [], []),
        ([1, 10], [5], [(0, 0)], [1], []),
        ([1, 10], [5, 20], [(0, 0), (1, 1)], [], []),
        ([1, 10], [20, 5], [(0, 1), (1, 0)], [], []),
        ([1, 10], [5, 5], [], [1], [0]),
        ([1, 10], [5, 20, 20], [], [], [0, 1]),
        ([10, 11], [5, 5, 20], [(0, 2)], [1], []),
    ],
)
def test_a_row_that_was_there_before_an_order_was_sent_is_not_it(
    sent: list[float], seen: list[float], found: list[tuple[int, int]], absent: list[int], undecidable: list[int]
) -> None:
    orders = [unknown(number, at) for number, at in enumerate(sent)]
    rows = [row(number) for number in range(len(seen))]
    decision = settle(orders, rows, lambda order, row: order.sent <= seen[int(row.broker_id)])
    assert sorted((o.orderid, r.broker_id) for o, r in decision.found) == [(f"VB{o}", str(r)) for o, r in found]
    assert [o.orderid for o in decision.absent] == [f"VB{o}" for o in absent]
    assert sorted(o.orderid for o in decision.undecidable) == [f"VB{o}" for o in undecidable]


def test_what_works_on_is_named_once_the_gateway_has_closed(capfd: pytest.CaptureFixture[str]) -> None:
    with Rig() as rig:
        rig.connect()
        rig.sim.pause()
        ended = rig.send("IBM.SMART", Direction.LONG, 1, 18)
        rig.wait_status(ended, Status.NOTTRADED)
        rig.cancel(ended)
        rig.wait_status(ended, Status.CANCELLED)
        working = rig.send("IBM.SMART", Direction.LONG, 10, 18.5)
        rig.wait_status(working, Status.NOTTRADED)
        rig.gateway.close()
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "退出后委托" in line]
    assert f"{working.partition('.')[2]} IBM.SMART 多 10@18.5，已成交0" in line
