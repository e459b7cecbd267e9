"""Runs a script of :mod:`tests.oracle_script` on a real engine against the simulated broker, and judges the end.

What must hold, whatever happened: the engine equals the broker's ``/state`` in orders, trades, positions and funds;
nothing was sent twice; nothing went backwards on the way; every order of ours has an end or works at the broker.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from vnpy.event import EventEngine
from vnpy.trader.constant import Direction, Exchange, OrderType, Status
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import EVENT_ORDER, EVENT_TRADE
from vnpy.trader.object import OrderData, TradeData

from tests.harness import SHORT, Recorder, Rig
from tests.oracle_script import (
    ORDERS,
    PLACE,
    STOCKS,
    Await,
    Cancel,
    CancelAll,
    Faults,
    Flood,
    Phone,
    Quote,
    Reconnect,
    Restart,
    Script,
    Send,
    Settle,
    Step,
    Stock,
)

TIMING = replace(
    SHORT,
    request_timeout=0.6,
    answer_margin=0.2,
    reconnect=0.1,
    push_wait=0.5,
    settle_after=1.0,
    settle_apart=0.1,
    orders_poll=0.5,
    orders_poll_idle=1,
    funds_poll=0.3,
    funds_poll_idle=0.5,
    quotes_check=0.5,
    backoff_first=60,
)
DEADLINE = 40.0
TRADE_TIME_S = 2
"""Lists tell the time of a fill to the second."""

RANK = {
    Status.SUBMITTING: 0,
    Status.NOTTRADED: 1,
    Status.PARTTRADED: 2,
    Status.CANCELLED: 3,
    Status.REJECTED: 4,
    Status.ALLTRADED: 4,
}
"""How far along an order is; a cancelled one may turn out to have been filled to the end."""

NEVER_SAID = re.compile("(?<!TWS)内部错误|冲突|无法核实|不在券商的当日和历史列表中")
"""Lines that none of the scripts gives a reason for."""


class Standing(Rig):
    """A rig whose engine can be put up anew beside the standing broker."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.earlier: list[Recorder] = []

    def restart_engine(self) -> None:
        """End the engine and put up another, which connects."""
        self.close()
        self.earlier.append(self.seen)
        self.event_engine = EventEngine()
        self.main = MainEngine(self.event_engine)
        self.seen = Recorder(self.event_engine)
        self.gateway = self.add(self.name)
        self.main.connect(self.setting(), self.name)


class OracleRig(Standing):
    """The same with VBrokers' intervals made short."""

    def __init__(self, **options: Any) -> None:
        super().__init__(timing=TIMING, **options)


def run(script: Script) -> None:
    """Run a script; AssertionError that names what does not hold at its end."""
    positions = [
        {
            "broker": "vbrokers",
            "account": "VBROKERS",
            "vt_symbol": stock.vt_symbol,
            "volume": stock.held,
            "price": str(stock.cost),
        }
        for stock in STOCKS.values()
    ]
    rig = OracleRig(positions=positions, switches=script.switches)
    with rig:
        Runner(rig).run(script)


class Runner:
    """One script on its way."""

    place, lists = PLACE, ORDERS
    """The requests that send an order and that read the orders."""
    readings = 8
    """Requests of the lists that are surely one whole reading."""

    def __init__(self, rig: Standing) -> None:
        self._rig = rig
        self._last = {vt_symbol: stock.last for vt_symbol, stock in STOCKS.items()}
        self._sent: list[str] = []
        """vt_orderids of the present engine."""
        self._sent_in_all = 0
        self._before = 0
        """Requests for orders that the broker had before the present engine."""
        self._slow_until = 0.0
        self._acts: dict[type[Any], Callable[[Any], None]] = {
            Send: self._send,
            Phone: self._phone,
            Quote: self._quote,
            Cancel: self._cancel,
            CancelAll: lambda step: self._rig.gateway.cancel_all(step.market),
            Flood: self._flood,
            Faults: self._faults,
            Reconnect: lambda step: self._rig.main.connect(self._rig.setting(), self._rig.name),
            Restart: self._restart,
            Await: lambda step: self._await(),
            Settle: lambda step: self._settle(),
        }

    def run(self, script: Script) -> None:
        rig = self._rig
        rig.sim.pause()
        rig.connect()
        rig.subscribe(*STOCKS)
        for vt_symbol in STOCKS:
            rig.wait_tick(vt_symbol)
            self._show(STOCKS[vt_symbol], STOCKS[vt_symbol].last, 500)
        for step in script.steps:
            self._act(step)
        self._judge()

    def _act(self, step: Step) -> None:
        self._acts[type(step)](step)

    # -- steps

    def _price(self, vt_symbol: str, direction: str, ticks: int) -> Decimal:
        """The best opposite price stands one tick from the last one; ``ticks`` beyond it."""
        tick = STOCKS[vt_symbol].tick
        side = 1 if direction == "LONG" else -1
        return self._last[vt_symbol] + side * tick * (1 + ticks)

    def _send(self, step: Send) -> None:
        stock = STOCKS[step.vt_symbol]
        market = step.ticks is None
        price = Decimal(0) if step.ticks is None else self._price(step.vt_symbol, step.direction, step.ticks)
        vt_orderid = self._rig.send(
            step.vt_symbol,
            Direction[step.direction],
            step.lots * stock.lot,
            float(price),
            OrderType.MARKET if market else OrderType.LIMIT,
        )
        self._sent.append(vt_orderid)
        self._sent_in_all += 1

    def _phone(self, step: Phone) -> None:
        stock = STOCKS[step.vt_symbol]
        price = Decimal(0) if step.ticks is None else self._price(step.vt_symbol, step.direction, step.ticks)
        kind = "MARKET" if step.ticks is None else "LIMIT"
        self._rig.sim.order(step.vt_symbol, step.direction, step.lots * stock.lot, price, type=kind)

    def _flood(self, step: Flood) -> None:
        price = self._last[step.vt_symbol] * Decimal("0.9")
        for number in range(step.count):
            self._rig.sim.order(step.vt_symbol, "LONG", 1, price + number % 7)

    def _quote(self, step: Quote) -> None:
        stock = STOCKS[step.vt_symbol]
        self._show(stock, stock.last + step.ticks * stock.tick, step.lots * stock.lot)

    def _show(self, stock: Stock, last: Decimal, size: int) -> None:
        self._last[stock.vt_symbol] = last
        self._rig.sim.quote(
            stock.vt_symbol, last=last, bid=last - stock.tick, ask=last + stock.tick, bid_size=size, ask_size=size
        )

    def _cancel(self, step: Cancel) -> None:
        working = self._rig.main.get_all_active_orders()
        if working:
            self._rig.cancel(working[step.place % len(working)].vt_orderid)

    def _faults(self, step: Faults) -> None:
        longest = max(float(fault.get("ms", 0)) / 1000 for fault in step.faults)
        self._slow_until = max(self._slow_until, longest)
        self._rig.sim.faults(step.faults)

    def _restart(self, step: Restart) -> None:
        self._rig.restart_engine()
        self._sent = []
        self._before = self._requests()
        self._rig.subscribe(*STOCKS)

    def _await(self) -> None:
        rig = self._rig

        def arrived() -> bool:
            arrived = self._requests() - self._before
            orders = [self._engine_order(vt_orderid) for vt_orderid in self._sent]
            return arrived + sum(self._never_arrives(order) for order in orders) >= len(self._sent)

        rig.wait(arrived, "the orders at the broker", DEADLINE)

    def _never_arrives(self, order: OrderData) -> bool:
        """Whether the broker need not hear of an order: it was refused here."""
        return not order.is_active() and not (order.extra or {}).get("broker_id")

    def _engine_order(self, vt_orderid: str) -> OrderData:
        order: OrderData | None = self._rig.main.get_order(vt_orderid)
        if order is None:  # its first event is still in the queue
            return OrderData("", "", Exchange.SMART, "", status=Status.SUBMITTING)
        return order

    def _settle(self) -> None:
        rig = self._rig
        rig.wait(
            lambda: all(self._engine_order(o).status is not Status.SUBMITTING for o in self._sent),
            "every order of ours settled",
            DEADLINE,
        )

    # -- the end

    def _judge(self) -> None:
        rig = self._rig
        rig.sim.clear_faults()
        self._await()
        self._pass(self._slow_until)
        self._settle()
        rig.wait_equal(DEADLINE)
        self._read_again()
        rig.wait_equal(DEADLINE)
        truth = rig.truth()
        wrong = [
            *self._wrong_requests(),
            *self._wrong_orders(truth),
            *_wrong_trades(rig.seen, {self._trade_id(row): row for row in truth["trades"]}),
            *(line for seen in (*rig.earlier, rig.seen) for line in (*_wrong_steps(seen), *_wrong_lines(seen))),
        ]
        assert not wrong, "\n".join([*wrong, "log:", *rig.seen.log_lines()[-40:]])

    def _pass(self, seconds: float) -> None:
        """Let a request that a fault has delayed reach the broker."""
        clock = self._rig.gateway.clock
        until = clock.monotonic() + seconds
        self._rig.wait(lambda: clock.monotonic() >= until, "the slowest request", DEADLINE)

    def _read_again(self) -> None:
        """Wait until the lists were read once more: equality that does not last is none."""
        rig = self._rig
        before = rig.sim.wire()[rig.broker].get(self.lists, 0)
        rig.wait(
            lambda: rig.sim.wire()[rig.broker].get(self.lists, 0) >= before + self.readings,
            "another reading of the lists",
            DEADLINE,
        )

    def _requests(self) -> int:
        """Requests for orders that the broker had so far."""
        return self._rig.sim.wire()[self._rig.broker].get(self.place, 0)

    def _trade_id(self, row: Mapping[str, Any]) -> str:
        """The engine's id of a fill in the broker's truth."""
        return str(row["id"])

    def _wrong_orders(self, truth: Mapping[str, Any]) -> list[str]:
        """What else must hold of the orders, by broker."""
        return []

    def _wrong_requests(self) -> list[str]:
        requests = self._requests()
        wrong = [f"{requests} requests for {self._sent_in_all} orders"] if requests > self._sent_in_all else []
        for vt_orderid in self._sent:
            order = self._engine_order(vt_orderid)
            if order.is_active() and not (order.extra or {}).get("broker_id"):
                wrong.append(f"{vt_orderid} is active without a number of the broker")
        return wrong


def _wrong_trades(seen: Recorder, truth: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Compare ids and times of the trades: the same from push, from list and after a restart."""
    trades: list[TradeData] = seen.of(EVENT_TRADE)
    told = Counter(trade.tradeid for trade in trades)
    real = {tradeid: datetime.fromisoformat(row["time"]) for tradeid, row in truth.items()}
    wrong = [f"trade {tradeid} told {n} times" for tradeid, n in told.items() if n > 1]
    wrong += [f"trade ids differ: {sorted(set(told) ^ set(real))}"] if set(told) != set(real) else []
    for trade in trades:
        at = real.get(trade.tradeid)
        if at and trade.datetime and abs((trade.datetime - at).total_seconds()) > TRADE_TIME_S:
            wrong.append(f"trade {trade.tradeid} at {trade.datetime}, not {at}")
    return wrong


def _wrong_steps(seen: Recorder) -> list[str]:
    """Find what went backwards on its way through one engine."""
    wrong: list[str] = []
    last: dict[str, OrderData] = {}
    for kind, data in list(seen.events):
        if kind == EVENT_TRADE and (data.vt_orderid not in last or last[data.vt_orderid].traded < data.volume):
            wrong.append(f"trade {data.tradeid} before its order said so")
        if kind != EVENT_ORDER:
            continue
        before = last.get(data.vt_orderid)
        last[data.vt_orderid] = data
        if before is None:
            continue
        ended = before.status in (Status.REJECTED, Status.ALLTRADED)
        if RANK[data.status] < RANK[before.status] or (ended and data.status is not before.status):
            wrong.append(f"{data.vt_orderid} from {before.status.name} to {data.status.name}")
        if data.traded < before.traded:
            wrong.append(f"{data.vt_orderid} from {before.traded} filled to {data.traded}")
        ids = [(order.extra or {}).get("broker_id") for order in (before, data)]
        if ids[0] and ids[0] != ids[1]:
            wrong.append(f"{data.vt_orderid} changed its number from {ids[0]} to {ids[1]}")
    return wrong


def _wrong_lines(seen: Recorder) -> list[str]:
    return [line for line in seen.log_lines() if NEVER_SAID.search(line)]
