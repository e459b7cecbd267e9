"""Each row of the code table that touches an order or a subscription: what TWS says, and what becomes of it here.

Without sockets every code of the table meets an order that was not answered and one that works; over the real wire the
ones that need TWS to play its part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest
from ib_async.contract import Contract
from ib_async.order import Order, OrderState
from vnpy.trader.constant import Direction, Exchange, Interval, Offset, OrderType, Status
from vnpy.trader.event import EVENT_TICK
from vnpy.trader.object import HistoryRequest, OrderRequest, TickData

from tests.ib_fake_wire import FakeWire, answering
from tests.ib_harness import IbRig
from tests.test_ib_errors import CHANGE_FAILED, LIVE_ON, MAY_WAIT_IN_TWS, ORDERS, numbers
from tests.test_ib_gateway import fault, ready
from vnpy_brokerkit.clock import ManualClock
from vnpy_brokerkit.errors import HistoryError
from vnpy_brokerkit.findings import Findings
from vnpy_brokerkit.identity import OrderIds
from vnpy_brokerkit.lifecycle import STATE2VT, Happening
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import Fill, OrderTracker, TrackedOrder
from vnpy_ibkr.errors import CODES
from vnpy_ibkr.order_checks import OrderChecks
from vnpy_ibkr.orders import Orders
from vnpy_ibkr.settings import read_settings
from vnpy_ibkr.wire.events import OrderStatus
from vnpy_ibkr.wire.tws import Wire

START = datetime(2026, 3, 10, 15, 0, tzinfo=timezone.utc)
TEXT = "the broker's own words"
GRACE = Timing().code_grace
PERM = 1_000_001
UNKNOWN_CODES = (1, 999, 20_000, 99_999)


class PassingChecks:
    """Every order may go out as it is."""

    contract = Contract()

    async def prepare(self, order: TrackedOrder) -> tuple[PassingChecks, Order]:
        return self, Order(totalQuantity=float(order.volume), lmtPrice=float(order.price))


class Desk:
    """The orders' room on a wire to no TWS, in virtual time. It is the rooms' outlet itself."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.tracker = OrderTracker("IBKR")
        self.ids = OrderIds("IBKR", START)
        self.findings = Findings("IBKR", self.clock)
        self.wire = FakeWire(answering())
        self.lines: list[str] = []
        self.pushed: list[Status] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self.orders = Orders(
            self,
            checks=cast("OrderChecks", PassingChecks()),
            settings=read_settings({"环境": "模拟盘", "交易账户": "DU1"}),
            wire=lambda: cast("Wire", self.wire),
            account=lambda: "DU1",
            contracts=cast("Any", None),
            clock=self.clock,
            timing=Timing(),
            on_change=lambda: None,
        )

    def push_order(self, order: TrackedOrder) -> None:
        self.pushed.append(STATE2VT[order.state])

    def push_trade(self, order: TrackedOrder, fill: Fill) -> None:
        raise AssertionError("there are no fills here")

    def refuse(self, order: TrackedOrder, reason: str) -> None:
        self.tracker.happen(order, Happening.REFUSED, reason)
        self.push_order(order)

    async def intend(self, order: TrackedOrder) -> None:
        """There is no disk here."""

    def note(self, order: TrackedOrder) -> None:
        """There is no disk here."""

    def log(self, text: str) -> None:
        self.lines.append(text)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        return task

    def end(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()
            task.cancel()

    async def placed(self) -> tuple[TrackedOrder, int]:
        """An order that left, and its order id."""
        request = OrderRequest("IBM", Exchange.SMART, Direction.LONG, OrderType.LIMIT, 10, 100, Offset.NONE)
        order = self.tracker.take(self.ids.next(), request, START, self.clock.monotonic())
        await self.orders.place(order)
        [(order_id, _contract, _made)] = self.wire.of("placeOrder")
        return order, order_id

    async def working(self) -> tuple[TrackedOrder, int]:
        order, order_id = await self.placed()
        self.status(order_id, "Submitted")
        return order, order_id

    def status(self, order_id: int, status: str) -> None:
        self.orders.on_order_status(OrderStatus(order_id, status, 0, 10, 0, PERM, 0, 0, 1, ""))

    async def say(self, order_id: int, code: int) -> None:
        """A code under an order's id, and the time that a status may take to follow."""
        assert self.orders.on_code(order_id, code, TEXT, "")
        await self.clock.advance(2 * GRACE)


def on_a_desk(scene: Any) -> None:
    async def run() -> None:
        desk = Desk()
        try:
            await scene(desk)
        finally:
            desk.end()

    asyncio.run(run())


EVERY_CODE = [entry.code for entry in CODES] + list(UNKNOWN_CODES)
REFUSING = sorted(numbers(ORDERS) - LIVE_ON - CHANGE_FAILED - MAY_WAIT_IN_TWS - {202, 413})


@pytest.mark.parametrize("code", EVERY_CODE)
def test_a_code_alone_never_ends_an_order_that_works(code: int) -> None:
    async def scene(desk: Desk) -> None:
        order, order_id = await desk.working()
        await desk.say(order_id, code)
        assert order.active
        assert desk.pushed[-1] is Status.NOTTRADED
        assert any(str(code) in line and TEXT in line for line in desk.lines)
        if code in numbers(ORDERS) - LIVE_ON or code in UNKNOWN_CODES:
            assert desk.orders.wanted.is_set(), "TWS is asked what it means"

    on_a_desk(scene)


@pytest.mark.parametrize("code", REFUSING)
def test_a_refusing_code_ends_an_order_that_was_not_answered(code: int) -> None:
    async def scene(desk: Desk) -> None:
        order, order_id = await desk.placed()
        await desk.say(order_id, code)
        assert desk.pushed == [Status.REJECTED]
        assert TEXT in order.reason
        assert str(code) in order.reason

    on_a_desk(scene)


@pytest.mark.parametrize("code", sorted(set(EVERY_CODE) - set(REFUSING) - {202}))
def test_no_other_code_ends_an_order_that_was_not_answered(code: int) -> None:
    async def scene(desk: Desk) -> None:
        order, order_id = await desk.placed()
        await desk.say(order_id, code)
        assert order.active
        assert desk.pushed == []

    on_a_desk(scene)


def test_202_before_any_status_is_a_cancel() -> None:
    async def scene(desk: Desk) -> None:
        order, order_id = await desk.placed()
        await desk.say(order_id, 202)
        assert desk.pushed == [Status.CANCELLED]
        assert TEXT in order.reason

    on_a_desk(scene)


@pytest.mark.parametrize(("first", "status"), [("code", "Inactive"), ("code", "Cancelled"), ("status", "Inactive")])
@pytest.mark.parametrize("code", [201, 110, 460, 10243])
def test_a_refusing_code_beside_its_status_is_a_rejection(code: int, first: str, status: str) -> None:
    async def scene(desk: Desk) -> None:
        order, order_id = await desk.placed()
        if first == "status":
            desk.status(order_id, status)
        desk.orders.on_code(order_id, code, TEXT, '{"reason":1}')
        if first == "code":
            desk.status(order_id, status)
        await desk.clock.advance(2 * GRACE)
        assert desk.pushed[-1] is Status.REJECTED
        assert TEXT in order.reason
        assert order.extra["reject_json"] == '{"reason":1}'

    on_a_desk(scene)


def test_a_code_that_proved_wrong_does_not_turn_a_later_cancel_into_a_rejection() -> None:
    async def scene(desk: Desk) -> None:
        order, order_id = await desk.working()
        await desk.say(order_id, 201)
        desk.spawn(desk.orders.cancel(order.orderid), "cancel")
        await desk.clock.advance(0.1)
        desk.status(order_id, "Cancelled")
        assert desk.pushed[-1] is Status.CANCELLED

    on_a_desk(scene)


@pytest.mark.parametrize("code", sorted(CHANGE_FAILED))
def test_a_cancel_that_failed_is_over_and_the_order_lives(code: int) -> None:
    async def scene(desk: Desk) -> None:
        order, order_id = await desk.working()
        cancel = desk.spawn(desk.orders.cancel(order.orderid), "cancel")
        await desk.clock.advance(0.1)
        assert desk.wire.of("cancelOrder") == [(order_id,)]
        assert not cancel.done()
        await desk.say(order_id, code)
        assert cancel.done()
        desk.orders.cancels.recall()
        desk.orders.cancels.send_wanted()
        assert len(desk.wire.of("cancelOrder")) == 1
        assert order.active

    on_a_desk(scene)


def test_a_cancel_that_came_too_fast_is_sent_again_and_an_order_is_not() -> None:
    async def scene(desk: Desk) -> None:
        order, order_id = await desk.working()
        desk.spawn(desk.orders.cancel(order.orderid), "cancel")
        await desk.clock.advance(0.1)
        await desk.say(order_id, 100)
        await desk.clock.advance(1)
        assert desk.wire.of("cancelOrder") == [(order_id,)] * 2
        assert len(desk.wire.of("placeOrder")) == 1

    on_a_desk(scene)


def test_a_duplicate_order_id_asks_for_the_ids_anew() -> None:
    async def scene(desk: Desk) -> None:
        _order, order_id = await desk.placed()
        await desk.say(order_id, 103)
        assert desk.wire.of("reqIds")

    on_a_desk(scene)


def test_a_code_under_a_foreign_id_is_not_taken() -> None:
    async def scene(desk: Desk) -> None:
        _order, order_id = await desk.placed()
        assert not desk.orders.on_code(order_id + 1, 201, TEXT, "")

    on_a_desk(scene)


def open_order(order_id: int, perm_id: int, ref: str, client_id: int = 1) -> tuple[Contract, Order, OrderState]:
    order = Order(
        orderId=order_id,
        permId=perm_id,
        clientId=client_id,
        action="BUY",
        totalQuantity=10,
        orderType="LMT",
        lmtPrice=100,
        account="DU1",
        orderRef=ref,
    )
    return Contract(), order, OrderState(status="Submitted")


def test_an_order_id_that_tws_gives_again_does_not_mix_up_two_orders() -> None:
    """The first order never arrived; TWS was told to begin its ids anew, and the second got the same."""

    async def scene(desk: Desk) -> None:
        lost, order_id = await desk.placed()
        desk.orders.lose_connection()
        desk.wire.sent.clear()
        desk.wire._id = order_id - 1
        again, same_id = await desk.placed()
        assert same_id == order_id
        desk.status(order_id, "Submitted")
        assert (lost.broker_id, again.broker_id) == ("", str(PERM))
        desk.orders.on_open_order(*open_order(order_id, PERM, f"{again.orderid}|"))
        assert (lost.broker_id, again.broker_id) == ("", str(PERM))

    on_a_desk(scene)


def test_a_copy_of_our_order_that_a_person_made_is_another_order() -> None:
    async def scene(desk: Desk) -> None:
        desk.orders._contracts = cast("Any", Named())
        order, _order_id = await desk.working()
        desk.orders.on_open_order(*open_order(0, PERM + 1, f"{order.orderid}|", client_id=0))
        copy = desk.tracker.find([str(PERM + 1)])
        assert copy is not None
        assert copy is not order
        assert copy.external
        assert order.broker_id == str(PERM)

    on_a_desk(scene)


class Named:
    """Contracts that call everything IBM."""

    def canonical_of(self, contract: Contract) -> tuple[str, Exchange]:
        return "IBM", Exchange.SMART


# ---------------------------------------------------------------------- over the wire


@pytest.mark.parametrize("code", [10349, 399, 404, 10147])
def test_a_remark_during_placing_leaves_the_order_alive(code: int) -> None:
    with IbRig() as rig:
        ready(rig)
        rig.sim.faults([fault("notice", code=code, text="note", when={"message": "placeOrder", "phase": "after"})])
        order = rig.send("IBM.SMART", Direction.LONG, 10, 90)
        rig.wait_log(str(code))
        rig.wait_status(order, Status.NOTTRADED)
        rig.wait_equal()


def test_202_is_a_cancel_and_not_a_rejection() -> None:
    with IbRig() as rig:
        ready(rig)
        order = rig.send("IBM.SMART", Direction.LONG, 10, 90)
        live = rig.wait_status(order, Status.NOTTRADED)
        rig.sim.faults([fault("notice", code=202, order=(live.extra or {})["broker_id"])])
        rig.wait_status(order, Status.CANCELLED)
        rig.wait_equal()


@pytest.mark.parametrize("code", [110, 103, 200, 321, 10243])
def test_a_refusal_without_a_status_is_a_rejection_and_the_next_order_goes_out(code: int) -> None:
    with IbRig() as rig:
        ready(rig)
        rig.sim.faults([fault("error", code=code, text="no such thing", when={"message": "placeOrder"})])
        refused = rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 10, 90), Status.REJECTED)
        assert "no such thing" in (refused.extra or {})["reason"]
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 10, 90), Status.NOTTRADED)
        rig.wait_equal()
        assert rig.sim.wire()["tws"]["placeOrder"] == 2


@pytest.mark.parametrize("code", [354, 10089, 10168, 0])
def test_without_the_right_to_live_data_delayed_data_is_shown_and_flagged(code: int) -> None:
    """0: TWS gives delayed data at once (10167), since that was asked for."""
    with IbRig(switches={"tws.us_market_data": "delayed"}) as rig:
        rig.connect()
        if code:
            rig.sim.faults([fault("error", code=code, text="not subscribed", when={"message": "reqMktData"})])
        rig.subscribe("IBM.SMART")
        tick: TickData = rig.wait(
            lambda: next((t for t in rig.seen.of(EVENT_TICK) if t.vt_symbol == "IBM.SMART"), None), "a tick"
        )
        assert (tick.extra or {})["delayed"] is True
        assert "延迟行情" in rig.wait_log("IBM.SMART没有实时行情权限")


def test_162_is_no_bars_in_words() -> None:
    with IbRig() as rig:
        ready(rig)
        end = datetime.now(timezone.utc)
        request = HistoryRequest("IBM", Exchange.SMART, end - timedelta(days=3), end, Interval.DAILY)
        text = "Historical Market Data Service error message:No market data permissions for ISLAND STK"
        rig.sim.faults([fault("error", code=162, text=text, when={"message": "reqHistoricalData"}, times=5)])
        with pytest.raises(HistoryError):
            rig.main.query_history(request, "IBKR")
        assert "No market data permissions" in rig.wait_log("历史数据失败")
        rig.sim.clear_faults()
        assert rig.main.query_history(request, "IBKR")


def test_322_on_the_funds_is_told_and_read_again() -> None:
    with IbRig() as rig:
        ready(rig)
        rig.sim.faults([fault("error", code=322, text="two summaries", when={"message": "reqAccountSummary"}, times=2)])
        assert "two summaries" in rig.wait_log("查询失败，将自动重试")
        rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 10, 100.01), Status.ALLTRADED)
        rig.wait_equal()


def test_326_is_waited_for_and_the_gateway_connects_when_the_id_is_free() -> None:
    with IbRig() as rig:
        rig.connect()
        second = rig.add("IBKR2")
        rig.main.connect(rig.setting(), "IBKR2")
        assert "326" in rig.wait_log("客户号")  # a port may have those digits, too
        rig.gateway.close()
        rig.wait(lambda: sum("合约信息查询成功" in line for line in rig.seen.log_lines()) == 2, "the second gateway")
        second.close()
