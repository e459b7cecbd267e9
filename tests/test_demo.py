"""The demo's script, stepped by hand on an event engine without threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from vnpy.event import EVENT_TIMER, Event, EventEngine
from vnpy.trader.constant import Direction, Exchange, Status
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import EVENT_LOG
from vnpy.trader.object import OrderData, OrderRequest, TickData

from tests.door_fake import ASK, BID, FakeGateway
from vnpy_brokers.demo import MAX_ORDERS, REPRICE_AFTER, DemoScript, Plan, Stage, Trade, marketable_price

PLAN = {"VBROKERS": Plan(subscribe=("IBM.SMART",), trade=(Trade("IBM.SMART", 100),))}


class StillEventEngine(EventEngine):
    """Processes its queue only when it is told to, on the caller's thread."""

    def start(self) -> None:
        """No threads."""

    def stop(self) -> None:
        """No threads."""

    def drain(self) -> None:
        while not self._queue.empty():
            self._process(self._queue.get())

    def timer(self, count: int = 1) -> None:
        """Let so many seconds of vn.py's timer pass."""
        for _ in range(count):
            self.put(Event(EVENT_TIMER))
            self.drain()


class StubbornGateway(FakeGateway):
    """Keeps every order open until a test decides about it."""

    def on_timer(self, event: Event) -> None:
        """Neither quotes nor fills."""

    def last_order(self) -> OrderData:
        return list(self.orders.values())[-1]

    def cancel_order(self, req: object) -> None:
        order = self.last_order()
        self.push_order(order, Status.CANCELLED, order.traded)


class Stand:
    """A script beside its gateway."""

    def __init__(self) -> None:
        self.events = StillEventEngine()
        self.engine = MainEngine(self.events)
        added = self.engine.add_gateway(StubbornGateway)
        assert isinstance(added, StubbornGateway)
        self.gateway = added
        self.logs: list[str] = []
        self.events.register(EVENT_LOG, lambda event: self.logs.append(event.data.msg))
        self.script = DemoScript(self.engine, PLAN)
        self.script.start()

    def connect(self, environment: str = "内置模拟") -> None:
        self.gateway.connect({"环境": environment})
        self.events.drain()

    @property
    def stage(self) -> Stage:
        (leg,) = self.script.legs
        return leg.stage


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    monkeypatch.chdir(tmp_path)  # vn.py changes the directory; this brings it back
    stand = Stand()
    yield stand
    stand.engine.close()


def test_it_buys_at_the_ask_and_sells_at_the_bid(stand: Stand) -> None:
    stand.connect()
    stand.events.timer()
    buy = stand.gateway.last_order()
    assert (buy.direction, buy.price, buy.volume, buy.status) == (Direction.LONG, ASK, 100, Status.SUBMITTING)

    stand.gateway.fill(buy)
    stand.events.timer()
    sell = stand.gateway.last_order()
    assert (sell.direction, sell.price, sell.volume) == (Direction.SHORT, BID, 100)

    stand.gateway.fill(sell)
    stand.events.timer()
    assert stand.stage is Stage.DONE
    assert stand.script.finished.is_set()
    assert len(stand.gateway.orders) == 2


def test_it_waits_for_the_gateway_before_it_subscribes(stand: Stand) -> None:
    stand.events.timer(20)
    assert stand.gateway.subscribed == []
    stand.connect()
    assert stand.gateway.subscribed == ["IBM.SMART"]


def test_it_subscribes_again_while_there_is_no_quote(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand.gateway, "push_tick", lambda symbol: None)
    stand.connect()
    stand.events.timer(31)
    assert len(stand.gateway.subscribed) == 7
    assert len([line for line in stand.logs if "IBM.SMART" in line and "30" in line]) == 1
    assert stand.gateway.orders == {}


def test_an_order_that_does_not_fill_is_cancelled_and_priced_further(stand: Stand) -> None:
    stand.connect()
    stand.events.timer(1 + REPRICE_AFTER)
    first = stand.gateway.last_order()
    assert first.status is Status.CANCELLED
    stand.events.timer()
    second = stand.gateway.last_order()
    assert second.orderid != first.orderid
    assert second.price == pytest.approx(ASK + 0.01)


def test_a_part_that_filled_is_not_bought_twice(stand: Stand) -> None:
    stand.connect()
    stand.events.timer()
    stand.gateway.push_order(stand.gateway.last_order(), Status.PARTTRADED, 30)
    stand.events.timer(REPRICE_AFTER + 1)
    second = stand.gateway.last_order()
    assert second.volume == 70
    stand.gateway.fill(second)
    stand.events.timer()
    assert stand.gateway.last_order().volume == 100
    assert stand.gateway.last_order().direction is Direction.SHORT


def test_no_second_order_while_the_first_is_undecided(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand.gateway, "cancel_order", lambda req: None)
    stand.connect()
    stand.events.timer(60)
    assert len(stand.gateway.orders) == 1


def test_refusals_are_bounded(stand: Stand) -> None:
    stand.connect()
    for _ in range(MAX_ORDERS + 3):
        stand.events.timer()
        stand.gateway.push_order(stand.gateway.last_order(), Status.REJECTED)
        stand.events.drain()
    assert len(stand.gateway.orders) == MAX_ORDERS
    assert stand.stage is Stage.STOPPED
    assert stand.script.finished.is_set()


def test_it_sends_nothing_to_another_environment(stand: Stand) -> None:
    stand.connect("实盘")
    stand.events.timer(10)
    assert stand.gateway.orders == {}
    assert stand.stage is Stage.STOPPED


def test_an_exception_does_not_reach_the_event_thread(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(req: OrderRequest) -> str:
        raise RuntimeError("broken")

    monkeypatch.setattr(stand.gateway, "send_order", broken)
    stand.connect()
    stand.events.timer(3)
    assert stand.stage is Stage.BUYING


def test_a_marketable_price_stays_on_the_grid() -> None:
    tick = TickData("X", "S", Exchange.SMART, None, bid_price_1=0.3, ask_price_1=1.1)  # type: ignore[arg-type] # no time needed
    assert marketable_price(Direction.LONG, tick, 0.1, through=2) == 1.3
    assert marketable_price(Direction.SHORT, tick, 0.1, through=2) == 0.1
