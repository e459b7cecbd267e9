"""Both gateways through the conformance suite, and the suite itself: it must see what is wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from vnpy.event import EVENT_TIMER, Event
from vnpy.trader.constant import Direction, Exchange, OrderType, Status
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.object import (
    AccountData,
    CancelRequest,
    OrderData,
    OrderRequest,
    SubscribeRequest,
    TickData,
    TradeData,
)

from tests.conformance_venues import TunedIbkr, TunedVbrokers, TwsVenue, VbrokersVenue
from vnpy_brokerkit import conformance
from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.conformance import CHECKS, FEATURES, Check, Outcome, Patience, Result, Truth, run, run_check, table
from vnpy_brokerkit.conformance.connecting import no_threads
from vnpy_brokerkit.conformance.in_step import in_step
from vnpy_brokerkit.conformance.plain import odd_values, unpicklable
from vnpy_brokerkit.conformance.stage import Stage
from vnpy_brokerkit.conformance.venue import BrokerTrade, Ground, Venue
from vnpy_brokerkit.conformance.verdict import Failed

GATEWAYS: dict[str, tuple[type[AsyncGateway], Callable[[], Venue]]] = {
    "VBROKERS": (TunedVbrokers, VbrokersVenue),
    "IBKR": (TunedIbkr, TwsVenue),
}
NOW = datetime(2026, 3, 10, 14, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("name", GATEWAYS)
def test_conformance(name: str, check: Check) -> None:
    gateway_class, venue = GATEWAYS[name]
    result = run_check(check, gateway_class, venue())
    if result.outcome is Outcome.NOT_APPLICABLE:
        pytest.skip(result.reason)
    assert result.outcome is Outcome.PASSED, "\n".join([check.holds, result.reason, "log:", *result.log])


# -- a broker that is not there, and gateways with one fault each ----------------------------------------------


class NoVenue:
    """No broker at all: what a gateway does by itself can be seen."""

    ready = "ready"
    grounds: Sequence[Ground] = (Ground("A.SMART", 1, 2, 0.5), Ground("B.SMART", 1, 2, 0.5))
    lacks: Mapping[str, str] = dict.fromkeys(FEATURES, "nothing is there")
    patience = Patience(close=1, deadline=1)

    def __init__(self) -> None:
        self.known = Truth()
        self.ended = threading.Event()

    def start(self) -> None:
        RELEASED.clear()

    def end(self) -> None:
        RELEASED.set()
        self.ended.set()

    def settings(self, seat: int = 0) -> dict[str, Any]:
        return {}

    def wrong_settings(self) -> list[dict[str, Any]]:
        return [{}]

    def quote(self, vt_symbol: str, bid: float, ask: float, size: float | None = None) -> None: ...

    def flow(self) -> None: ...

    def order_elsewhere(self, vt_symbol: str, direction: Direction, volume: float, price: float) -> None: ...

    def refuse_next(self) -> str:
        return ""

    def cut(self) -> None: ...

    def silence(self) -> None: ...

    def heal(self) -> None: ...

    def truth(self) -> Truth:
        return self.known

    def order_requests(self) -> int:
        return 0


RELEASED = threading.Event()
"""Set when a venue ends: what a faulty gateway blocks on."""


class Sound(BaseGateway):
    """A gateway that connects to nothing, and does that well."""

    default_name = "SOUND"
    default_setting: dict[str, Any] = {}  # noqa: RUF012  as vn.py has it
    exchanges: list[Exchange] = []  # noqa: RUF012  as vn.py has it

    def connect(self, setting: dict[str, Any]) -> None:
        self.on_account(AccountData(gateway_name=self.gateway_name, accountid="A"))
        self.write_log("ready")

    def close(self) -> None: ...

    def subscribe(self, req: SubscribeRequest) -> None: ...

    def send_order(self, req: OrderRequest) -> str:
        return ""

    def cancel_order(self, req: CancelRequest) -> None: ...

    def query_account(self) -> None: ...

    def query_position(self) -> None: ...


class BlocksConnect(Sound):
    def connect(self, setting: dict[str, Any]) -> None:
        RELEASED.wait()


class RaisesInConnect(Sound):
    def connect(self, setting: dict[str, Any]) -> None:
        raise KeyError("TWS地址")


class NeverReady(Sound):
    def connect(self, setting: dict[str, Any]) -> None:
        self.write_log("no")


class LeavesAThread(Sound):
    def connect(self, setting: dict[str, Any]) -> None:
        threading.Thread(target=RELEASED.wait, name="left-behind", daemon=True).start()


class BlocksTheEngine(Sound):
    def connect(self, setting: dict[str, Any]) -> None:
        self.event_engine.register(EVENT_TIMER, self.on_timer)
        super().connect(setting)

    def on_timer(self, event: Event) -> None:
        RELEASED.wait()


class KillsTheEngine(BlocksTheEngine):
    def on_timer(self, event: Event) -> None:
        raise RuntimeError("in a handler")


def outcome_of(name: str, gateway_class: type[BaseGateway]) -> Result:
    [result] = run(gateway_class, NoVenue, [name])
    return result


def test_a_gateway_that_does_well_passes() -> None:
    for name in ("connects", "close_before_connect"):
        assert outcome_of(name, Sound).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("gateway_class", "reason"),
    [
        (BlocksConnect, "connect() blocked its caller for more than 0.5 s"),
        (RaisesInConnect, "connect() raised KeyError('TWS地址')"),
        (NeverReady, "not within 1 s: “ready” in the log"),
    ],
)
def test_a_fault_is_found_and_named(gateway_class: type[BaseGateway], reason: str) -> None:
    result = outcome_of("connects", gateway_class)
    assert result.outcome is Outcome.FAILED
    assert reason in result.reason


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("gateway_class", "reason"),
    [
        (BlocksTheEngine, "the event engine handles no timer events any more"),
        (KillsTheEngine, "the event engine handles no timer events any more"),
    ],
)
def test_a_handler_that_spoils_the_engine_is_found(gateway_class: type[BaseGateway], reason: str) -> None:
    def check(stage: Stage) -> None:
        stage.connect()
        stage.timers(3)

    result = run_check(Check("engine", "", frozenset(), check), gateway_class, NoVenue())
    assert reason in result.reason


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_died_fails_whatever_was_checked() -> None:
    def check(stage: Stage) -> None:
        stage.connect()
        stage.engine._thread.join(5)

    result = run_check(Check("engine", "", frozenset(), check), KillsTheEngine, NoVenue())
    assert result.reason == "the event engine's thread is dead"


def test_a_thread_that_is_left_behind_is_found() -> None:
    def check(stage: Stage) -> None:
        stage.main.connect({}, stage.name)
        no_threads(stage)

    result = run_check(Check("left", "", frozenset(), check), LeavesAThread, NoVenue())
    assert "left-behind" in result.reason


def test_what_a_venue_lacks_is_not_applicable() -> None:
    venue = NoVenue()
    [check] = [check for check in CHECKS if check.name == "fills_during_an_outage_come_once"]
    result = run_check(check, Sound, venue)
    assert result.outcome is Outcome.NOT_APPLICABLE
    assert "nothing is there" in result.reason
    assert not venue.ended.is_set()


def test_a_name_that_no_check_has_is_an_error() -> None:
    with pytest.raises(KeyError):
        run(Sound, NoVenue, ["no such check"])


def test_names_of_checks_are_unique_and_each_says_what_must_hold() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.holds and check.needs <= set(FEATURES) for check in CHECKS)


def test_the_exported_names_are_there() -> None:
    assert all(getattr(conformance, name) is not None for name in conformance.__all__)
    with pytest.raises(AttributeError):
        conformance.nothing  # noqa: B018  the access is what is tested


def test_the_table_tells_name_reason_and_numbers() -> None:
    text = table(
        [
            Result("one", "it holds", Outcome.PASSED, seconds=1.25),
            Result("two", "it does not", Outcome.FAILED, "because"),
            Result("three", "who knows", Outcome.NOT_APPLICABLE, "nothing\nis there"),
        ]
    )
    assert text.splitlines() == [
        "pass    1.2 s  one    it holds",
        "FAIL    0.0 s  two    it does not",
        "               because",
        "n/a     0.0 s  three  who knows",
        "               nothing is there",
        "1 passed, 1 failed, 1 not applicable",
    ]


# -- what it looks at ------------------------------------------------------------------------------------------


def tick(**fields: Any) -> TickData:
    made = TickData(gateway_name="X", symbol="A", exchange=Exchange.SMART, datetime=NOW)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("fields", "odd"),
    [
        ({}, ""),
        ({"extra": {"segment": "pre", "levels": [1, 2.5, None]}}, ""),
        ({"last_price": float("nan")}, "last_price is nan"),
        ({"ask_price_1": -1}, "ask_price_1 is -1"),
        ({"low_price": -1.0}, "low_price is -1.0"),
        ({"volume": Decimal(1)}, "volume is a Decimal"),
        ({"last_price": None}, "last_price is None"),
        ({"datetime": NOW.replace(tzinfo=None)}, "knows no time zone"),
        ({"extra": {"order": object()}}, "extra['order'] holds a object"),
        ({"extra": {1: 1}}, "a key of extra is 1"),
        ({"extra": {"status": Status.REJECTED}}, "extra['status'] holds a Status"),
    ],
)
def test_odd_values_are_seen(fields: dict[str, Any], odd: str) -> None:
    seen = odd_values(tick(**fields))
    assert bool(seen) is bool(odd)
    assert odd in "; ".join(seen)


def test_what_does_not_pickle_is_seen() -> None:
    assert unpicklable(tick()) == ""
    assert "does not pickle" in unpicklable(tick(extra={"lock": threading.Lock()}))
    assert "not the same after pickling" in unpicklable(tick(last_price=float("nan")))


ORDER = OrderData("SOUND", "A", Exchange.SMART, "1", direction=Direction.LONG, price=2, volume=3, traded=3)
ORDER.status = Status.ALLTRADED
TRADE = TradeData("SOUND", "A", Exchange.SMART, "1", "t1", direction=Direction.LONG, price=2, volume=3)


@pytest.mark.parametrize(
    ("orders", "trades", "known", "difference"),
    [
        (0, 0, 0, "trade missing in the engine: A.SMART LONG 2 3"),
        (1, 2, 1, "trade told too often: A.SMART LONG 2 3"),
        (1, 0, 0, "order only in the engine: A.SMART LONG LIMIT 2 3 3"),
    ],
)
def test_differences_from_the_broker_are_told(orders: int, trades: int, known: int, difference: str) -> None:
    venue = NoVenue()
    row = conformance.BrokerOrder("A.SMART", Direction.LONG, OrderType.LIMIT, 2.0, 3.0, 3.0, Status.ALLTRADED)
    told = BrokerTrade("A.SMART", Direction.LONG, 2.0, 3.0)
    venue.known = Truth([row] * known, [told] * (known or not orders))
    stage = Stage(Sound, venue)
    try:
        for _number in range(orders):
            stage.gateway.on_order(ORDER)
        for _number in range(trades):
            stage.gateway.on_trade(TRADE)
        with pytest.raises(Failed) as failed:
            in_step(stage)
    finally:
        stage.close()
    assert difference in str(failed.value)
