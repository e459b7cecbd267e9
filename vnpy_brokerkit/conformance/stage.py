"""The stage of one check: a real vn.py engine with the gateway on one side, the venue on the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

from vnpy.event import EVENT_TIMER, Event, EventEngine
from vnpy.trader.constant import Direction, Exchange, Offset, OrderType, Status
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import EVENT_LOG, EVENT_ORDER, EVENT_TICK, EVENT_TRADE
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.object import (
    CancelRequest,
    LogData,
    OrderData,
    OrderRequest,
    SubscribeRequest,
    TickData,
    TradeData,
)

from .calls import within
from .recorder import Recorder
from .venue import Ground, Venue
from .verdict import Failed, must

T = TypeVar("T")

PROBE = "eConformanceProbe"
FALLBACK_NAME = "GATEWAY"
ATTEMPTS = 50
"""Orders that a gateway which is still coming back may refuse."""


class Stage:
    """Engine, gateway and venue of one check, and the few verbs that checks are written in.

    vn.py's MainEngine changes the process's working directory to its own folder; the stage leaves it there.
    """

    def __init__(self, gateway_class: type[BaseGateway], venue: Venue) -> None:
        self.gateway_class = gateway_class
        self.venue = venue
        self.patience = venue.patience
        self.name = gateway_class.default_name or FALLBACK_NAME
        self.before: list[Recorder] = []
        """What the engines before a restart have seen."""
        self.open()

    def open(self) -> None:
        """Put up an engine with the gateway, not connected yet."""
        # vn.py writes int and sleeps as long as it is told: a fraction of a second does as well.
        self.engine = EventEngine(cast(int, self.patience.timer))
        # A gateway that never lets go of the event thread must not keep the process.
        self.engine._thread.daemon = True
        self.main = MainEngine(self.engine)
        self.seen = Recorder(self.engine)
        self.threads_before = set(threading.enumerate())
        self.gateway = self.add(self.name)

    def add(self, name: str) -> BaseGateway:
        """Add the gateway under this name."""
        return self.main.add_gateway(self.seen.watch(self.gateway_class), name)

    def close(self) -> None:
        """End the engine as VN Trader does. Raises :class:`Failed` when that does not end."""
        if self.engine._active:
            limit = self.patience.close * len(self.main.gateways) + self.patience.deadline
            within(limit, "MainEngine.close()", self.main.close)

    def end(self) -> None:
        """The last word of a check: the event engine still lives, and everything ends."""
        if self.engine._active:
            self.check_engine()
        self.close()

    def restart(self) -> None:
        """End the engine and put up another one, which knows nothing of before."""
        self.close()
        self.before.append(self.seen)
        self.open()

    # -- the two ends

    @property
    def ground(self) -> Ground:
        """The instrument that most checks trade."""
        return self.venue.grounds[0]

    @property
    def other(self) -> Ground:
        """A second instrument."""
        return self.venue.grounds[1]

    def call(self, what: str, function: Callable[[], T], limit: float | None = None) -> T:
        """Call something that must not block its caller, nor raise."""
        return within(self.patience.call if limit is None else limit, what, function)

    def check_engine(self) -> None:
        """The event engine lives and handles events within a call's patience: nothing has killed or blocked it."""
        answered = threading.Event()

        def answer(_event: Event) -> None:
            answered.set()

        self.engine.register(PROBE, answer)
        self.engine.put(Event(PROBE))
        try:
            within(self.patience.call, "the event engine's thread", lambda: self._answered(answered))
        finally:
            with suppress(ValueError):
                self.engine.unregister(PROBE, answer)

    def _answered(self, answered: threading.Event) -> None:
        must(self.engine._thread.is_alive(), "the event engine's thread is dead")
        must(answered.wait(self.patience.deadline), "the event engine handles no events any more")

    def timers(self, count: int) -> None:
        """Wait until the engine has handled this many more timer events."""
        left = threading.Semaphore(0)

        def tick(_event: Event) -> None:
            left.release()

        self.engine.register(EVENT_TIMER, tick)
        try:
            for _number in range(count):
                must(left.acquire(timeout=self.patience.deadline), "the event engine handles no timer events any more")
        finally:
            self.engine.unregister(EVENT_TIMER, tick)

    # -- doing

    def connect(self, setting: dict[str, Any] | None = None, name: str = "") -> None:
        """Connect and wait until the gateway says that it is ready."""
        name = name or self.name
        before = self.count_ready(name)
        self.main.connect(self.venue.settings() if setting is None else setting, name)
        self.wait_ready(before + 1, name)

    def count_ready(self, name: str = "") -> int:
        """How often the gateway has said that it is ready."""
        return sum(self.venue.ready in line for line in self.seen.lines(name or self.name))

    def wait_ready(self, times: int, name: str = "") -> None:
        self.wait(lambda: self.count_ready(name) >= times, f"“{self.venue.ready}” in the log, {times} times")

    def cut_and_heal(self, meanwhile: Callable[[], None] | None = None) -> None:
        """An outage that the gateway has noticed, and its end; it may reconnect in its own time."""
        lines = len(self.seen.lines(self.name))
        self.venue.cut()
        self.wait(lambda: len(self.seen.lines(self.name)) > lines, "a line about the lost connection")
        if meanwhile:
            meanwhile()
        self.venue.heal()

    def subscribe(self, ground: Ground, name: str = "") -> None:
        symbol, exchange = split(ground.vt_symbol)
        self.main.subscribe(SubscribeRequest(symbol, exchange), name or self.name)

    def market(self, ground: Ground) -> TickData:
        """Subscribe, and wait for a tick that shows the ground's quote."""
        self.subscribe(ground)
        return self.wait_quote(ground, ground.bid, ground.ask)

    def order(
        self,
        ground: Ground,
        price: float,
        volume: float,
        direction: Direction = Direction.LONG,
        type: OrderType = OrderType.LIMIT,
        reference: str = "",
    ) -> OrderRequest:
        symbol, exchange = split(ground.vt_symbol)
        return OrderRequest(symbol, exchange, direction, type, volume, price, Offset.NONE, reference)

    def send(self, request: OrderRequest, name: str = "") -> str:
        """Send an order; its vt_orderid. Raises :class:`Failed` when there is none."""
        vt_orderid = self.main.send_order(request, name or self.name)
        must(vt_orderid, "send_order returned no vt_orderid")
        return vt_orderid

    def cancel(self, vt_orderid: str) -> None:
        """Cancel an order by the request that its latest OrderData makes."""
        order = self.wait(lambda: self.main.get_order(vt_orderid), f"{vt_orderid} in the engine")
        self.main.cancel_order(order.create_cancel_request(), order.gateway_name)

    def cancel_request(self, vt_orderid: str, ground: Ground) -> CancelRequest:
        symbol, exchange = split(ground.vt_symbol)
        return CancelRequest(vt_orderid.partition(".")[2], symbol, exchange)

    def trade_again(self) -> None:
        """Wait until the gateway is back after an outage: it shows a quote of the present, and a buy of nine lots
        goes its way; until everything is read again it may refuse one. The ground was subscribed before; needs a
        venue whose quotes can be put somewhere."""
        ground = self.ground
        step = round(10 * (ground.ask - ground.bid), 6)
        for below in (step, 0.0):
            self.venue.quote(ground.vt_symbol, ground.bid - below, ground.ask - below)
            self.wait_quote(ground, ground.bid - below, ground.ask - below)
        for _attempt in range(ATTEMPTS):
            sent = self.send(self.order(ground, ground.ask, ground.lots(9)))
            if self.wait_status(sent, Status.ALLTRADED, Status.REJECTED).status is Status.ALLTRADED:
                return
            self.timers(1)
        raise Failed(f"{ATTEMPTS} orders refused after the outage")

    # -- waiting

    def wait(self, found: Callable[[], T | None], what: str, deadline: float | None = None) -> T:
        return self.seen.wait(found, what, self.patience.deadline if deadline is None else deadline)

    def wait_quote(self, ground: Ground, bid: float, ask: float) -> TickData:
        def shown() -> TickData | None:
            tick: TickData | None = self.main.get_tick(ground.vt_symbol)
            return tick if tick and same(tick.bid_price_1, bid) and same(tick.ask_price_1, ask) else None

        return self.wait(shown, f"a tick of {ground.vt_symbol} with {bid:g} and {ask:g}")

    def wait_status(self, vt_orderid: str, *statuses: Status, traded: float | None = None) -> OrderData:
        def found() -> OrderData | None:
            order: OrderData | None = self.main.get_order(vt_orderid)
            there = order is not None and order.status in statuses
            return order if there and order and (traded is None or same(order.traded, traded)) else None

        much = "" if traded is None else f" with {traded:g} traded"
        wanted = " or ".join(status.name for status in statuses) + much
        try:
            return self.wait(found, f"{vt_orderid} {wanted}")
        except Failed as error:
            raise Failed(f"{error}; it was told as {self.told(vt_orderid)}") from None

    def wait_volume(self, vt_orderid: str, volume: float) -> list[TradeData]:
        """The trades of an order once they come to this volume."""

        def found() -> list[TradeData] | None:
            trades = self.trades(vt_orderid)
            return trades if same(sum(trade.volume for trade in trades), volume) else None

        return self.wait(found, f"trades of {vt_orderid} over {volume:g}")

    # -- looking

    def orders(self, vt_orderid: str = "") -> list[OrderData]:
        """Every OrderData as it was pushed, of one order or of all."""
        return [order for order in self._was(EVENT_ORDER) if vt_orderid in ("", order.vt_orderid)]

    def trades(self, vt_orderid: str = "") -> list[TradeData]:
        """Every TradeData as it was pushed, of one order or of all."""
        return [trade for trade in self._was(EVENT_TRADE) if vt_orderid in ("", trade.vt_orderid)]

    def ticks(self, vt_symbol: str = "") -> list[TickData]:
        """Every TickData as it was pushed, of one instrument or of all."""
        return [tick for tick in self._was(EVENT_TICK) if vt_symbol in ("", tick.vt_symbol)]

    def _was(self, kind: str) -> list[Any]:
        return [push.was for push in self.seen.pushes(kind)]

    def told(self, vt_orderid: str) -> str:
        """How an order was told so far, in short."""
        told = [f"{push.status.name}({push.traded:g})" for push in self.orders(vt_orderid)]
        return " ".join(told) or "nothing"

    def lines_since(self, count: int) -> Sequence[str]:
        """The gateway's log lines after the first ``count`` of them."""
        return self.seen.lines(self.name)[count:]

    def log_tail(self) -> tuple[str, ...]:
        lines: list[LogData] = self.seen.of(EVENT_LOG)
        return tuple(f"{line.gateway_name}: {line.msg}" for line in lines[-25:])


def split(vt_symbol: str) -> tuple[str, Exchange]:
    """Symbol and exchange of a vt_symbol."""
    symbol, _dot, exchange = vt_symbol.rpartition(".")
    return symbol, Exchange(exchange)


def same(one: float, other: float) -> bool:
    """Whether two prices or volumes are the same number but for binary noise."""
    return abs(float(one) - float(other)) < 1e-6
