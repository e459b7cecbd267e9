"""The CTA engine on a rig: strategies that trade at a simulated broker, killed and begun again beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

from vnpy.event import EventEngine
from vnpy.trader.constant import Status
from vnpy.trader.object import LogData
from vnpy.trader.utility import TEMP_DIR
from vnpy_ctastrategy import CtaTemplate
from vnpy_ctastrategy.base import EVENT_CTA_LOG
from vnpy_ctastrategy.engine import CtaEngine

from examples.strategies.crossing_averages import CrossingAverages
from tests.cta_strategies import STRATEGIES, Teller
from tests.harness import SHORT, Recorder, Rig
from tests.ib_harness import SHORT_IB, IbRig
from vnpy_brokerkit.clock import Clock
from vnpy_brokers.adopt import AdoptingCtaEngine, CtaStrategyApp
from vnpy_brokers.strategy_books import FILLS_FILE
from vnpy_brokers.trader import TraderEngine

IBM = "IBM.SMART"
NAME = "海龟_1"
RIGS: dict[str, type[Rig]] = {"VBROKERS": Rig, "IBKR": IbRig}
PATIENT: Mapping[str, Any] = {
    "request_timeout": 20,
    "connect_timeout": 20,
    "order_max_age": 20,
    "heartbeat": 20,
    "heartbeat_answer": 20,
}
"""No time-out is what these tests are about, and a day in seconds keeps a small machine busy."""
TIMINGS = {"VBROKERS": replace(SHORT, **PATIENT), "IBKR": replace(SHORT_IB, **PATIENT)}
FILES = ("cta_strategy_data.json", "cta_strategy_setting.json", "broker_routes.json")
CONNECT, INIT, START = "连接", "初始化", "启动"
ORDERS: Sequence[tuple[str, ...]] = ((CONNECT, INIT, START), (INIT, CONNECT, START), (INIT, START, CONNECT))
"""All orders in which a person can do it: vn.py refuses 启动 before 初始化."""
TESTED: tuple[type[CtaTemplate], ...] = (*STRATEGIES, CrossingAverages)
T = TypeVar("T", bound=CtaTemplate)


def forget_strategies() -> None:
    """No strategies, no saved data, no counted fills."""
    for name in (*FILES, FILLS_FILE, f"{FILLS_FILE}-wal", f"{FILLS_FILE}-shm"):
        (TEMP_DIR / name).unlink(missing_ok=True)


def saved(name: str = NAME) -> dict[str, Any]:
    """A strategy's entry as it is on disk; {} in the moment in which vn.py's own engine writes it."""
    try:
        entry: dict[str, Any] = json.loads((TEMP_DIR / "cta_strategy_data.json").read_text("utf-8"))[name]
    except (json.JSONDecodeError, KeyError):
        return {}
    return entry


class TestedEngine(AdoptingCtaEngine):
    """The product's engine with the tests' strategies."""

    __test__ = False

    def load_strategy_class(self) -> None:
        self.classes.update({kind.__name__: kind for kind in TESTED})


class PlainEngine(CtaEngine):
    """vn.py's own engine with the tests' strategies."""

    def load_strategy_class(self) -> None:
        self.classes.update({kind.__name__: kind for kind in STRATEGIES})


def app_of(engine: type[CtaEngine], clock: Clock | None = None) -> type[CtaStrategyApp]:
    """An app with this engine, which reads the gateways' clock."""
    kind = engine if clock is None else type("Clocked", (engine,), {"clock": clock})
    return type("App", (CtaStrategyApp,), {"engine_class": kind})


class CtaDesk:
    """A rig's engine with strategies; ``clock`` is the gateway's where that is moved."""

    def __init__(self, rig: Rig, *, clock: Clock | None = None, plain: bool = False) -> None:
        self.rig = rig
        self._clock = clock
        self.open(plain=plain)

    def open(self, *, plain: bool = False) -> None:
        """Put the CTA engine on the rig's engine."""
        self.cta_log: list[LogData] = []
        self.rig.event_engine.register(EVENT_CTA_LOG, lambda event: self.cta_log.append(event.data))
        engine = self.rig.main.add_app(app_of(PlainEngine if plain else TestedEngine, self._clock))
        assert isinstance(engine, CtaEngine)
        self.cta = engine
        self.cta.init_engine()

    def add(self, kind: type[T], name: str = NAME, vt_symbol: str = IBM, **setting: Any) -> T:
        """A strategy of this kind, not ready yet."""
        self.cta.add_strategy(kind.__name__, name, vt_symbol, setting)
        strategy: T = self.cta.strategies[name]
        return strategy

    def ready(self, name: str = NAME) -> None:
        """初始化, done."""
        self.cta.init_strategy(name).result(60)

    def begin(self, kind: type[T], name: str = NAME, vt_symbol: str = IBM, **setting: Any) -> T:
        """A strategy that trades."""
        strategy = self.add(kind, name, vt_symbol, **setting)
        self.ready(name)
        self.rig.wait(lambda: self.rig.main.get_contract(vt_symbol), "its contract")
        self.cta.start_strategy(name)
        return strategy

    def teller(self, name: str = NAME) -> Teller:
        strategy = self.cta.strategies[name]
        assert isinstance(strategy, Teller)
        return strategy

    def drop(self) -> None:
        """The process is gone, as far as the broker and the disk can tell: nothing is stopped, cancelled or saved."""
        self.rig.event_engine.stop()
        for gateway in self.rig.main.gateways.values():
            gateway.close()
        if isinstance(self.cta, AdoptingCtaEngine) and self.cta._books:
            self.cta._books.close()

    def leave_working(self, strategy: Teller) -> str:
        """Let a strategy hold 10 with an order of 30 at work, end the process, and let 12 be filled meanwhile."""
        strategy.buy(101, 10)
        self.wait_equal(strategy, 10)
        working: str
        (working,) = strategy.buy(95, 30)
        self.rig.wait_status(working, Status.NOTTRADED)
        self.drop()
        self.rig.sim.quote(IBM, last=95, bid=94.99, ask=95, bid_size=10, ask_size=12)
        return working

    def renew(self, *, plain: bool = False, apps: bool = True) -> None:
        """Another process begins: its engine, not connected."""
        rig = self.rig
        rig.event_engine = EventEngine()
        rig.main = TraderEngine(rig.event_engine)
        rig.seen = Recorder(rig.event_engine)
        rig.gateway = rig.add(rig.name)
        if apps:
            self.open(plain=plain)

    def go_through(self, steps: Sequence[str], name: str = NAME) -> None:
        """连接, 初始化 and 启动 in this order."""
        acts: dict[str, Callable[[], object]] = {
            CONNECT: self.rig.connect,
            INIT: lambda: self.ready(name),
            START: lambda: self.cta.start_strategy(name),
        }
        for step in steps:
            acts[step]()

    def quote(self, last: float, size: int = 1000, vt_symbol: str = IBM, step: float = 0.01) -> None:
        self.rig.sim.quote(
            vt_symbol, last=last, bid=round(last - step, 2), ask=round(last + step, 2), bid_size=size, ask_size=size
        )

    def fall(self, last: float) -> None:
        """The book falls first, and then the last price: a stop is priced by the book of the tick that fires it."""
        self.rig.wait_tick(IBM)
        self.rig.sim.quote(IBM, bid=round(last - 0.01, 2), ask=round(last + 0.01, 2))
        self.rig.wait(lambda: self.rig.tick(IBM).bid_price_5 < last, "the lower book")
        self.rig.sim.quote(IBM, last=last)

    def held(self, vt_symbol: str = IBM) -> float:
        """The broker's own word on the position."""
        return sum(float(row["volume"]) for row in self.rig.truth()["positions"] if row["vt_symbol"] == vt_symbol)

    def _tradeid(self, row: dict[str, Any]) -> str:
        """The engine's id of a fill in the broker's truth: at TWS the stem of execId."""
        tradeid = str(row["id"])
        return tradeid.rpartition(".")[0] if self.rig.broker == "tws" else tradeid

    def wait_equal(self, strategy: Teller, pos: float) -> None:
        """Wait until it holds so much, position and cash are the broker's, and each of its fills was told once."""

        def wrong() -> list[str]:
            trades = self.rig.truth()["trades"]
            paid = sum(
                Decimal(row["price"]) * Decimal(row["volume"]) * (-1 if row["direction"] == "LONG" else 1)
                for row in trades
            )
            ids = sorted(line.split()[1] for line in strategy.told)
            return [
                *(
                    []
                    if strategy.pos == pos == self.held()
                    else [f"position {strategy.pos}, not {pos}; at the broker {self.held()}"]
                ),
                *([] if ids == sorted(map(self._tradeid, trades)) else [f"told {strategy.told}, not {trades}"]),
                *([] if abs(strategy.cash - float(paid)) < 0.005 else [f"cash {strategy.cash}, not {paid}"]),
            ]

        try:
            self.rig.wait(lambda: not wrong(), "the strategy equal to the broker's ledger")
        except AssertionError as error:
            raise AssertionError("\n".join([*wrong(), str(error)])) from None
