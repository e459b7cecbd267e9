"""The demo's script, stepped by hand on an event engine without threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Event as Flag

import pytest
from vnpy.event import EVENT_TIMER, Event, EventEngine
from vnpy.trader.constant import Direction, Exchange, Interval, Product, Status
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import EVENT_LOG
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.object import (
    BarData,
    ContractData,
    HistoryRequest,
    OrderData,
    OrderRequest,
    PositionData,
    TickData,
)
from vnpy.trader.utility import TRADER_DIR
from vnpy_ctastrategy.base import APP_NAME

from tests.cta_desk import forget_strategies
from tests.door_fake import ASK, BID, SYMBOLS, FakeGateway
from vnpy_brokerkit.history import StrategyInitStopped
from vnpy_brokers.demo import (
    MAX_ORDERS,
    POSITION_WAIT,
    REPRICE_AFTER,
    DemoScript,
    Plan,
    Stage,
    Trade,
    marketable_price,
    resting_price,
)
from vnpy_brokers.demo_strategy import EXAMPLE, NAME, VT_SYMBOL, WAIT, DemoStrategy

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

    def __init__(self, plan: Mapping[str, Plan] = PLAN) -> None:
        self.events = StillEventEngine()
        self.engine = MainEngine(self.events)
        added = self.engine.add_gateway(StubbornGateway)
        assert isinstance(added, StubbornGateway)
        self.gateway = added
        self.logs: list[str] = []
        self.events.register(EVENT_LOG, lambda event: self.logs.append(event.data.msg))
        self.script = DemoScript(self.engine, plan)
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


def test_what_was_bought_is_seen_as_a_position_before_it_is_sold(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[PositionData] = []
    stand.connect()
    monkeypatch.setattr(stand.gateway, "on_position", told.append)
    stand.events.timer()
    stand.gateway.fill(stand.gateway.last_order())
    stand.events.timer(2)
    assert len(stand.gateway.orders) == 1
    BaseGateway.on_position(stand.gateway, told[-1])
    stand.events.timer()
    assert stand.gateway.last_order().direction is Direction.SHORT


def test_a_position_that_nobody_tells_is_not_waited_for_for_ever(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.connect()
    monkeypatch.setattr(stand.gateway, "on_position", lambda position: None)
    stand.events.timer()
    stand.gateway.fill(stand.gateway.last_order())
    stand.events.timer(POSITION_WAIT + 1)
    assert stand.gateway.last_order().direction is Direction.SHORT


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


# ------------------------------------------------------------------ the order that rests

RESTING = {"VBROKERS": Plan(subscribe=("AAPL.SMART",), trade=(), rest=(Trade("AAPL.SMART", 100),))}


@pytest.fixture
def resting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    monkeypatch.chdir(tmp_path)
    stand = Stand(RESTING)
    yield stand
    stand.engine.close()


def test_an_order_rests_below_the_market_until_the_demo_ends(resting: Stand) -> None:
    resting.connect()
    resting.events.timer(30)
    (order,) = resting.gateway.orders.values()
    assert (order.direction, order.price, order.volume) == (Direction.LONG, 97.0, 100)
    assert order.is_active()
    resting.script.close()
    assert resting.gateway.last_order().status is Status.CANCELLED


def test_nothing_rests_in_another_environment(resting: Stand) -> None:
    resting.connect("实盘")
    resting.events.timer(10)
    assert resting.gateway.orders == {}


def test_a_resting_price_stays_on_the_grid() -> None:
    tick = TickData("X", "S", Exchange.SMART, None, bid_price_1=370.4, ask_price_1=370.6)  # type: ignore[arg-type] # no time needed
    assert resting_price(tick, 0.2) == 359.2


# ------------------------------------------------------------------ the example strategy


class WithHistory(StubbornGateway):
    """Serves bars of the strategy's symbol."""

    bars = 20
    fails = False

    def query_history(self, req: HistoryRequest) -> list[BarData]:
        if self.fails:
            raise StrategyInitStopped
        start = datetime(2026, 3, 2, 15, tzinfo=timezone.utc)
        return [
            BarData(
                self.gateway_name,
                req.symbol,
                req.exchange,
                start + timedelta(minutes=minute),
                Interval.MINUTE,
                close_price=100 + minute,
            )
            for minute in range(self.bars)
        ]


class StrategyStand:
    """The demo's strategy beside a gateway that knows its symbol."""

    def __init__(self, example: Path = EXAMPLE) -> None:
        self.events = StillEventEngine()
        self.engine = MainEngine(self.events)
        added = self.engine.add_gateway(WithHistory)
        assert isinstance(added, WithHistory)
        self.gateway = added
        self.logs: list[str] = []
        self.events.register(EVENT_LOG, lambda event: self.logs.append(event.data.msg))
        self.after = Flag()
        self.demo = DemoStrategy(self.engine, "DEMO", after=self.after, example=example)
        self.demo.start()

    def connect(self, environment: str = "内置模拟") -> None:
        self.gateway.connect({"环境": environment})
        symbol = VT_SYMBOL.partition(".")[0]
        contract = ContractData("VBROKERS", symbol, Exchange.SMART, symbol, Product.ETF, 1, 0.01, history_data=True)
        self.gateway.on_contract(contract)
        self.events.drain()

    def begin(self) -> None:
        """The script has ended; let the strategy come up."""
        self.after.set()
        self.events.timer()
        self.demo._initialising.exception(30)
        self.events.timer()

    def lines(self) -> list[str]:
        return [line for line in self.logs if "演示" in line]


@pytest.fixture
def strategy_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StrategyStand]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SYMBOLS, VT_SYMBOL.partition(".")[0], (Exchange.SMART, 0.01, 1))
    forget_strategies()
    stand = StrategyStand()
    yield stand
    stand.engine.close()
    forget_strategies()
    (TRADER_DIR / "strategies" / EXAMPLE.name).unlink()


def test_the_example_strategy_is_initialised_and_started(strategy_stand: StrategyStand) -> None:
    strategy_stand.connect()
    strategy_stand.begin()
    strategy = strategy_stand.demo._cta.strategies[NAME]
    assert strategy.trading
    assert strategy.closes.inited
    (line,) = strategy_stand.lines()
    assert VT_SYMBOL in line
    assert VT_SYMBOL in strategy_stand.gateway.subscribed


def test_it_waits_for_the_script_and_not_for_ever(strategy_stand: StrategyStand) -> None:
    strategy_stand.connect()
    strategy_stand.events.timer(WAIT)
    assert not hasattr(strategy_stand.demo, "_initialising")
    strategy_stand.events.timer()
    strategy_stand.demo._initialising.exception(30)


def test_without_bars_it_starts_and_says_so(strategy_stand: StrategyStand) -> None:
    strategy_stand.gateway.bars = 0
    strategy_stand.connect()
    strategy_stand.begin()
    assert strategy_stand.demo._cta.strategies[NAME].trading
    assert "历史K线" in strategy_stand.lines()[0]


def test_a_failed_download_is_a_line_and_no_start(strategy_stand: StrategyStand) -> None:
    strategy_stand.gateway.fails = True
    strategy_stand.connect()
    strategy_stand.begin()
    assert not strategy_stand.demo._cta.strategies[NAME].trading
    (line,) = strategy_stand.lines()
    assert "初始化失败" in line


def test_the_strategy_stays_out_of_another_environment(strategy_stand: StrategyStand) -> None:
    strategy_stand.connect("实盘")
    strategy_stand.after.set()
    strategy_stand.events.timer(3)
    assert not strategy_stand.demo._cta.strategies[NAME].inited
    (line,) = strategy_stand.lines()
    assert "内置模拟" in line


def test_the_page_shows_a_strategy_that_was_there_before_it(strategy_stand: StrategyStand) -> None:
    """vn.py's page begins the CTA engine when it is opened: that is not done twice."""
    shown: list[str] = []
    strategy_stand.events.register("eCtaStrategy", lambda event: shown.append(event.data["strategy_name"]))
    strategy_stand.events.drain()
    shown.clear()
    strategy_stand.demo._cta.init_engine()
    strategy_stand.events.drain()
    assert shown == [NAME]
    assert len(strategy_stand.demo._cta.strategies) == 1


def test_a_missing_example_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stand = StrategyStand(example=tmp_path / "gone.py")
    stand.events.drain()
    assert "gone.py" in stand.lines()[0]
    assert APP_NAME not in stand.engine.apps
    stand.engine.close()
