"""A real MainEngine with a gateway on one side, a simulated broker on the other, and the two compared.

Nothing here sleeps: everything waits for an event of the engine, with a deadline.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from vnpy.event import Event, EventEngine
from vnpy.trader.constant import Direction, Exchange, Offset, OrderType, Status
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import (
    EVENT_ACCOUNT,
    EVENT_CONTRACT,
    EVENT_LOG,
    EVENT_ORDER,
    EVENT_POSITION,
    EVENT_TICK,
    EVENT_TRADE,
)
from vnpy.trader.object import (
    AccountData,
    ContractData,
    LogData,
    OrderData,
    OrderRequest,
    PositionData,
    SubscribeRequest,
    TickData,
    TradeData,
)
from vnpy.trader.utility import TEMP_DIR

import brokersim
from brokersim.client import Simulation
from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.timing import Timing
from vnpy_vbrokers.gateway import VbrokersGateway

DATA = Path(os.environ.get("BROKERS_DATA", str(Path(__file__).resolve().parents[2] / "shared" / "data")))
DEADLINE = float(os.environ.get("TEST_DEADLINE", "15"))
T = TypeVar("T")
RigT = TypeVar("RigT", bound="Rig")

SHORT = Timing(
    request_timeout=1,
    answer_margin=0.5,
    connect_timeout=5,
    reconnect=0.2,
    retry_backoff=(0.05, 0.05, 0.05),
    push_wait=1,
    settle_after=1.5,
    settle_apart=0.2,
    orders_poll=1,
    orders_poll_alone=0.2,
    orders_poll_idle=3,
    funds_poll=0.5,
    funds_poll_idle=1,
    after_change=0.02,
    quotes_poll=0.2,
    quotes_check=1,
    book_wait=0.3,
    position_interval=0.05,
)


def forget_journals() -> None:
    """Begin with empty books: another test's broker is another world."""
    for file in TEMP_DIR.glob("*_orders.db*"):
        file.unlink()


class Recorder:
    """Every event of an engine, in order; any thread may wait for one."""

    def __init__(self, engine: EventEngine) -> None:
        self.events: list[tuple[str, Any]] = []
        self._news = threading.Condition()
        for kind in (EVENT_TICK, EVENT_ORDER, EVENT_TRADE, EVENT_POSITION, EVENT_ACCOUNT, EVENT_CONTRACT, EVENT_LOG):
            engine.register(kind, self._take)

    def _take(self, event: Event) -> None:
        with self._news:
            self.events.append((event.type, event.data))
            self._news.notify_all()

    def of(self, kind: str) -> list[Any]:
        with self._news:
            return [data for name, data in self.events if name == kind]

    def wait(self, found: Callable[[], T | None], what: str, deadline: float = DEADLINE) -> T:
        """Return the first true answer of ``found``, asked again at each event (and now and then without one)."""
        end = threading.Event()
        timer = threading.Timer(deadline, end.set)
        timer.daemon = True
        timer.start()
        try:
            while True:
                answer = found()
                if answer:
                    return answer
                if end.is_set():
                    raise AssertionError(
                        f"not within {deadline:g} s: {what}\nlog:\n" + "\n".join(self.log_lines()[-25:])
                    )
                with self._news:
                    self._news.wait(0.05)
        finally:
            timer.cancel()
            timer.join()

    def log_lines(self) -> list[str]:
        lines: list[LogData] = self.of(EVENT_LOG)
        return [line.msg for line in lines]


class Rig:
    """Simulator, engine and gateway, put up and taken down together."""

    name = "VBROKERS"
    broker = "vbrokers"
    gateway_class: type[AsyncGateway] = VbrokersGateway

    def __init__(
        self,
        *,
        data: Path | None = None,
        timing: Timing = SHORT,
        gateway_clock: Clock | None = None,
        start: bool = True,
        keep_journals: bool = False,
        **options: Any,
    ) -> None:
        self._stack = ExitStack()
        self._options = {"data": data, **options}
        self._timing = timing
        self._clock = gateway_clock
        self._start = start
        self._keep_journals = keep_journals
        self.sim: Simulation

    def __enter__(self: RigT) -> RigT:
        if not self._keep_journals:
            forget_journals()
        if self._start:
            self.sim = self._stack.enter_context(brokersim.running(**self._options))
        self.event_engine = EventEngine()
        self.main = MainEngine(self.event_engine)
        self.seen = Recorder(self.event_engine)
        self.gateway = self.add(self.name)
        self._stack.callback(self.close)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def close(self) -> None:
        """End the engine as VN Trader does; a second time is harmless."""
        if self.main is not None and self.event_engine._active:
            self.main.close()

    def add(self, name: str) -> Any:
        """Add the product's gateway with this test's clock and intervals."""
        timing, clock = self._timing, self._clock

        def tuned(gateway: AsyncGateway, event_engine: EventEngine, gateway_name: str) -> None:
            self.gateway_class.__init__(gateway, event_engine, gateway_name, clock=clock, timing=timing)

        kind = type("Tuned", (self.gateway_class,), {"__init__": tuned})
        return self.main.add_gateway(kind, name)

    # -- doing

    def setting(self, **changes: Any) -> dict[str, Any]:
        url, push = urlsplit(self.sim.vbrokers_url or ""), (self.sim.push_address or ":0").rpartition(":")
        return {
            "环境": "测试环境",
            "地址": url.hostname,
            "端口": url.port,
            "推送端口": int(push[2]),
            "交易密码": "123456",
            "市场": "港股+美股+A股通",
            **changes,
        }

    def connect(self: RigT, **changes: Any) -> RigT:
        """Connect and wait until the gateway says that it is ready."""
        self.main.connect(self.setting(**changes), self.name)
        self.wait_log("合约信息查询成功")
        return self

    def subscribe(self, *vt_symbols: str) -> None:
        for vt_symbol in vt_symbols:
            symbol, _dot, exchange = vt_symbol.rpartition(".")
            self.main.subscribe(SubscribeRequest(symbol, Exchange(exchange)), self.name)

    def send(
        self,
        vt_symbol: str,
        direction: Direction,
        volume: float,
        price: float = 0,
        type: OrderType = OrderType.LIMIT,
        reference: str = "",
    ) -> str:
        symbol, _dot, exchange = vt_symbol.rpartition(".")
        request = OrderRequest(symbol, Exchange(exchange), direction, type, volume, price, Offset.NONE, reference)
        return self.main.send_order(request, self.name)

    def cancel(self, vt_orderid: str) -> None:
        order = self.main.get_order(vt_orderid)
        assert order is not None
        self.main.cancel_order(order.create_cancel_request(), order.gateway_name)

    # -- looking

    def tick(self, vt_symbol: str) -> TickData:
        tick: TickData | None = self.main.get_tick(vt_symbol)
        assert tick is not None
        return tick

    def contract(self, vt_symbol: str) -> ContractData:
        contract: ContractData | None = self.main.get_contract(vt_symbol)
        assert contract is not None
        return contract

    # -- waiting

    def wait(self, found: Callable[[], T | None], what: str, deadline: float = DEADLINE) -> T:
        return self.seen.wait(found, what, deadline)

    def wait_log(self, text: str, deadline: float = DEADLINE) -> str:
        return self.wait(
            lambda: next((line for line in self.seen.log_lines() if text in line), ""), f"log line {text}", deadline
        )

    def wait_tick(self, vt_symbol: str, deadline: float = DEADLINE) -> TickData:
        return self.wait(lambda: self.main.get_tick(vt_symbol), f"tick of {vt_symbol}", deadline)

    def wait_status(self, vt_orderid: str, *statuses: Status, deadline: float = DEADLINE) -> OrderData:
        def found() -> OrderData | None:
            order: OrderData | None = self.main.get_order(vt_orderid)
            return order if order and order.status in statuses else None

        return self.wait(found, f"{vt_orderid} in {[s.name for s in statuses]}", deadline)

    def statuses(self, vt_orderid: str) -> list[Status]:
        return [order.status for order in self.seen.of(EVENT_ORDER) if order.vt_orderid == vt_orderid]

    # -- comparing

    def truth(self) -> dict[str, Any]:
        """The broker's own truth."""
        truth: dict[str, Any] = self.sim.state()[self.broker]
        return truth

    def differences(self) -> list[str]:
        """Return how the engine differs from the broker's truth; the quotes should be paused."""
        truth = self.truth()
        return [
            *_compare("order", self._engine_orders(), _orders(truth)),
            *_compare("trade", self._engine_trades(), _trades(truth)),
            *_compare("position", self._engine_positions(), _positions(truth)),
            *_compare("account", self._engine_accounts(), _accounts(truth)),
        ]

    def wait_equal(self, deadline: float = DEADLINE) -> None:
        """Wait until the engine equals the simulator's ``/state``."""
        last: list[str] = []

        def equal() -> bool:
            last[:] = self.differences()
            return not last

        try:
            self.wait(equal, "engine equal to /state", deadline)
        except AssertionError as error:
            raise AssertionError("\n".join([*last, str(error)])) from None

    def _engine_orders(self) -> Counter[tuple[str, ...]]:
        rows: Counter[tuple[str, ...]] = Counter()
        for order in self.main.get_all_orders():
            broker_id = (order.extra or {}).get("broker_id")
            if not broker_id:
                assert order.status in (Status.REJECTED, Status.SUBMITTING, Status.CANCELLED)
                continue
            rows[
                broker_id,
                order.vt_symbol,
                _side(order.direction),
                order.type.name,
                _number(order.price),
                _number(order.volume),
                _number(order.traded),
                order.status.name,
            ] += 1
        return rows

    def _engine_trades(self) -> Counter[tuple[str, ...]]:
        """From the events, not from vn.py's table: a trade told twice must show."""
        rows: Counter[tuple[str, ...]] = Counter()
        trades: list[TradeData] = self.seen.of(EVENT_TRADE)
        for trade in trades:
            broker_id = (trade.extra or {})["broker_id"]
            rows[broker_id, trade.vt_symbol, _side(trade.direction), _number(trade.price), _number(trade.volume)] += 1
        return rows

    def _engine_positions(self) -> Counter[tuple[str, ...]]:
        rows: Counter[tuple[str, ...]] = Counter()
        positions: list[PositionData] = self.main.get_all_positions()
        for position in positions:
            if position.volume:
                row = (position.vt_symbol, _number(position.volume), _cents(position.price), _cents(position.pnl))
                rows[row] += 1
        return rows

    def _engine_accounts(self) -> Counter[tuple[str, ...]]:
        accounts: list[AccountData] = self.main.get_all_accounts()
        return Counter((a.accountid, _cents(a.balance), _cents(a.frozen), _cents(a.available)) for a in accounts)


def _compare(what: str, engine: Counter[tuple[str, ...]], broker: Counter[tuple[str, ...]]) -> list[str]:
    missing = [f"{what} missing in the engine: {row} x{n}" for row, n in (broker - engine).items()]
    extra = [f"{what} only in the engine: {row} x{n}" for row, n in (engine - broker).items()]
    return missing + extra


def _orders(truth: Mapping[str, Any]) -> Counter[tuple[str, ...]]:
    return Counter(
        (
            row["id"],
            row["vt_symbol"],
            row["direction"],
            row["type"],
            _number(row["price"]),
            _number(row["volume"]),
            _number(row["traded"]),
            row["status"],
        )
        for row in truth["orders"]
    )


def _trades(truth: Mapping[str, Any]) -> Counter[tuple[str, ...]]:
    return Counter(
        (row["order_id"], row["vt_symbol"], row["direction"], _number(row["price"]), _number(row["volume"]))
        for row in truth["trades"]
    )


def _positions(truth: Mapping[str, Any]) -> Counter[tuple[str, ...]]:
    return Counter(
        (row["vt_symbol"], _number(row["volume"]), _cents(row["price"]), _cents(row["pnl"]))
        for row in truth["positions"]
    )


def _accounts(truth: Mapping[str, Any]) -> Counter[tuple[str, ...]]:
    return Counter(
        (f"{row['account']}-{row['currency']}", _cents(row["balance"]), _cents(row["frozen"]), _cents(row["available"]))
        for row in truth["accounts"]
    )


def _side(direction: Direction | None) -> str:
    assert direction is not None
    return direction.name


def _number(value: float | str) -> str:
    """One text for one number, however it is written."""
    number = Decimal(str(value)).normalize()
    return format(number, "f")


def _cents(value: float | str) -> str:
    """To the cent; a half cent of binary noise is none."""
    cents = (Decimal(str(value)) + Decimal("1e-9")).quantize(Decimal("0.01"))
    return str(cents if cents else Decimal("0.00"))
