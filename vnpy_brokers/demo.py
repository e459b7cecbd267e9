"""What the demo does by itself: a scripted buy and sell, an order that rests, and the example strategy.

All of it on the embedded simulators only.

Each leg of the script follows one table: it waits for a quote, buys, sells, and is done. An order that does not fill
in time is cancelled and priced anew, a bounded number of times. At most one order of a leg is alive at any time: the
next one is sent only after the broker's final word on the one before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto
from functools import wraps
from threading import Event as Flag

from vnpy.event import EVENT_TIMER, Event
from vnpy.trader.constant import Direction, OrderType
from vnpy.trader.engine import BaseEngine, MainEngine
from vnpy.trader.event import EVENT_ACCOUNT, EVENT_LOG, EVENT_ORDER
from vnpy.trader.object import ContractData, OrderData, OrderRequest, SubscribeRequest, TickData
from vnpy.trader.utility import extract_vt_symbol

from vnpy_brokerkit.i18n import _

SOURCE = "DEMO"
REFERENCE = "demo"

# All in events of vn.py's timer, which come once a second.
REPRICE_AFTER = 5
SUBSCRIBE_AGAIN_AFTER = 5
NO_QUOTE_LINE_AFTER = 30
POSITION_WAIT = 5
"""What was bought is seen as a position before it is sold; one that nobody tells is not waited for any longer."""

MAX_ORDERS = 6  # of one stage of one leg
BELOW = Decimal("0.97")
"""The price of an order that rests, as a part of the best bid."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trade:
    """One round trip: `volume` in shares, None for one board lot."""

    vt_symbol: str
    volume: float | None


@dataclass(frozen=True)
class Plan:
    """What the demo does on one gateway."""

    subscribe: tuple[str, ...]
    trade: tuple[Trade, ...]
    rest: tuple[Trade, ...] = ()
    """Bought far below the market, so that there is a working order to look at, and to cancel."""


PLANS: Mapping[str, Plan] = {
    "VBROKERS": Plan(
        subscribe=("IBM.SMART", "AAPL.SMART", "00700.SEHK", "09988.SEHK"),
        trade=(Trade("IBM.SMART", 100), Trade("09988.SEHK", None)),
        rest=(Trade("AAPL.SMART", 100),),
    ),
    # What VBROKERS, the first of both, does not serve: of a symbol that both know only the owner's ticks are shown.
    "IBKR": Plan(
        subscribe=("EUR-USD-CASH.IDEALPRO", "ES-202612-USD-FUT.CME"),
        trade=(Trade("EUR-USD-CASH.IDEALPRO", 25_000), Trade("ES-202612-USD-FUT.CME", 1)),
        rest=(Trade("EUR-USD-CASH.IDEALPRO", 25_000),),
    ),
}


class Stage(Enum):
    """Where a leg is."""

    WAITING = auto()
    BUYING = auto()
    SELLING = auto()
    DONE = auto()
    STOPPED = auto()


class Happening(Enum):
    """What moves a leg on."""

    QUOTED = auto()
    FILLED = auto()
    EXHAUSTED = auto()
    NOT_EMBEDDED = auto()


TRANSITIONS: Mapping[tuple[Stage, Happening], Stage] = {
    (Stage.WAITING, Happening.QUOTED): Stage.BUYING,
    (Stage.WAITING, Happening.NOT_EMBEDDED): Stage.STOPPED,
    (Stage.BUYING, Happening.FILLED): Stage.SELLING,
    (Stage.BUYING, Happening.EXHAUSTED): Stage.STOPPED,
    (Stage.BUYING, Happening.NOT_EMBEDDED): Stage.STOPPED,
    (Stage.SELLING, Happening.FILLED): Stage.DONE,
    (Stage.SELLING, Happening.EXHAUSTED): Stage.STOPPED,
    (Stage.SELLING, Happening.NOT_EMBEDDED): Stage.STOPPED,
}

DIRECTIONS: Mapping[Stage, Direction] = {Stage.BUYING: Direction.LONG, Stage.SELLING: Direction.SHORT}
ENDED = frozenset({Stage.DONE, Stage.STOPPED})


@dataclass
class Leg:
    """One round trip under way. `remaining` is in shares; `age` counts timer events since the order was sent."""

    gateway_name: str
    trade: Trade
    stage: Stage = Stage.WAITING
    bought: float = 0
    remaining: float = 0
    orders_sent: int = 0
    vt_orderid: str = ""
    age: int = 0
    waited: int = 0


@dataclass
class Watch:
    """A gateway's symbols that the demo wants quotes of."""

    gateway_name: str
    vt_symbols: tuple[str, ...]
    asked: bool = False
    connected: bool = False
    timers: int = 0


def _guarded(handler: Callable[[DemoScript, Event], None]) -> Callable[[DemoScript, Event], None]:
    """vn.py's event thread ends for good when a handler raises, so none may."""

    @wraps(handler)
    def guarded(self: DemoScript, event: Event) -> None:
        try:
            handler(self, event)
        except Exception:  # let out, it would end vn.py's event thread: it is logged whole
            logger.exception("demo script: %s", handler.__name__)

    return guarded


class DemoScript(BaseEngine):
    """Subscribes the demo's symbols and trades them, driven by vn.py's events.

    All of its state belongs to the event thread: `start` only registers handlers, everything else happens in them,
    and none of them waits. `finished` may be waited for from any thread. vn.py closes it after that thread has ended.
    """

    def __init__(self, main_engine: MainEngine, plans: Mapping[str, Plan] = PLANS) -> None:
        super().__init__(main_engine, main_engine.event_engine, SOURCE)
        self.finished = Flag()
        names = [name for name in main_engine.get_all_gateway_names() if name in plans]
        self._watches = {name: Watch(name, plans[name].subscribe) for name in names}
        self._legs = [Leg(name, trade) for name in names for trade in plans[name].trade]
        self._rests = [(name, trade) for name in names for trade in plans[name].rest]
        """What has not been sent yet."""
        self._resting: list[str] = []

    @property
    def legs(self) -> Iterable[Leg]:
        """The round trips of the script, for looking at."""
        return tuple(self._legs)

    def start(self) -> None:
        """Begin. Call it before the gateways connect, so that no event is missed."""
        self.main_engine.engines[self.engine_name] = self
        self.event_engine.register(EVENT_LOG, self._on_log)
        self.event_engine.register(EVENT_ACCOUNT, self._on_account)
        self.event_engine.register(EVENT_ORDER, self._on_order)
        self.event_engine.register(EVENT_TIMER, self._on_timer)

    def close(self) -> None:
        """Take back what rests; the gateways, which vn.py closes next, write it out."""
        for vt_orderid in self._resting:
            order = self.main_engine.get_order(vt_orderid)
            if order is not None and order.is_active():
                self.main_engine.cancel_order(order.create_cancel_request(), order.gateway_name)

    @_guarded
    def _on_log(self, event: Event) -> None:
        """Its first line is the sign that a gateway connects: it takes up what it was asked for as soon as it can."""
        watch = self._watches.get(event.data.gateway_name)
        if watch and not watch.asked:
            watch.asked = True
            self._subscribe(watch.gateway_name, watch.vt_symbols)

    @_guarded
    def _on_account(self, event: Event) -> None:
        """An account is the first sign that a gateway is logged in."""
        watch = self._watches.get(event.data.gateway_name)
        if watch:
            watch.connected = True

    @_guarded
    def _on_timer(self, event: Event) -> None:
        for watch in self._watches.values():
            self._remind(watch)
        for leg in self._legs:
            self._advance(leg)
        self._rests = [rest for rest in self._rests if not self._sent_to_rest(*rest)]

    @_guarded
    def _on_order(self, event: Event) -> None:
        order: OrderData = event.data
        for leg in self._legs:
            if leg.vt_orderid == order.vt_orderid and not order.is_active():
                self._settle(leg, order)

    def _remind(self, watch: Watch) -> None:
        """Subscribe again what has no quote yet: a gateway may have been busy, or lost its line."""
        if not watch.connected:
            return
        watch.timers += 1
        missing = [symbol for symbol in watch.vt_symbols if self.main_engine.get_tick(symbol) is None]
        if missing and watch.timers % SUBSCRIBE_AGAIN_AFTER == 0:
            self._subscribe(watch.gateway_name, missing)
        if missing and watch.timers == NO_QUOTE_LINE_AFTER:
            self._log(_("演示：{} 秒内没有收到 {} 的行情，请查看上面的日志").format(watch.timers, ", ".join(missing)))

    def _subscribe(self, gateway_name: str, vt_symbols: Iterable[str]) -> None:
        for vt_symbol in vt_symbols:
            symbol, exchange = extract_vt_symbol(vt_symbol)
            self.main_engine.subscribe(SubscribeRequest(symbol, exchange), gateway_name)

    def _advance(self, leg: Leg) -> None:
        """One step of a leg: price an order, or cancel one that has waited long enough."""
        if leg.stage in ENDED:
            return
        if leg.vt_orderid:
            leg.age += 1
            if leg.age % REPRICE_AFTER == 0:
                self._cancel(leg)
            return
        quoted = self._quoted(leg.trade.vt_symbol)
        if quoted is None:
            return
        tick, contract = quoted
        if not self._embedded(leg.gateway_name):
            self._log(_("演示：{} 连接的不是内置模拟，不发送任何委托").format(leg.gateway_name))
            self._move(leg, Happening.NOT_EMBEDDED)
            return
        if leg.stage is Stage.WAITING:
            self._move(leg, Happening.QUOTED)
            leg.remaining = leg.trade.volume or contract.min_volume
        if leg.stage is Stage.SELLING and leg.waited < POSITION_WAIT and not self._is_held(leg):
            leg.waited += 1
            return
        self._send(leg, tick, contract)

    def _is_held(self, leg: Leg) -> bool:
        """Whether the engine has been told a position of what a leg is to sell."""
        return any(
            position.gateway_name == leg.gateway_name
            and position.vt_symbol == leg.trade.vt_symbol
            and position.volume >= leg.remaining
            for position in self.main_engine.get_all_positions()
        )

    def _sent_to_rest(self, gateway_name: str, trade: Trade) -> bool:
        """Send an order that rests, once there is a quote; tell whether nothing more is to be done for it."""
        quoted = self._quoted(trade.vt_symbol)
        if quoted is None:
            return False
        tick, contract = quoted
        if self._embedded(gateway_name):
            request = OrderRequest(
                symbol=contract.symbol,
                exchange=contract.exchange,
                direction=Direction.LONG,
                type=OrderType.LIMIT,
                volume=trade.volume or contract.min_volume,
                price=resting_price(tick, contract.pricetick),
                reference=REFERENCE,
            )
            self._resting.append(self.main_engine.send_order(request, gateway_name))
        return True

    def _quoted(self, vt_symbol: str) -> tuple[TickData, ContractData] | None:
        """The two-sided quote of a symbol with its contract, if there is one yet."""
        tick = self.main_engine.get_tick(vt_symbol)
        contract = self.main_engine.get_contract(vt_symbol)
        if tick is None or contract is None or not (tick.ask_price_1 > 0 and tick.bid_price_1 > 0):
            return None
        return tick, contract

    def _embedded(self, gateway_name: str) -> bool:
        return getattr(self.main_engine.gateways[gateway_name], "embedded", False) is True

    def _send(self, leg: Leg, tick: TickData, contract: ContractData) -> None:
        if leg.orders_sent >= MAX_ORDERS:
            self._log(self._exhausted_line(leg))
            self._move(leg, Happening.EXHAUSTED)
            return
        direction = DIRECTIONS[leg.stage]
        request = OrderRequest(
            symbol=contract.symbol,
            exchange=contract.exchange,
            direction=direction,
            type=OrderType.LIMIT,
            volume=leg.remaining,
            price=marketable_price(direction, tick, contract.pricetick, through=leg.orders_sent),
            reference=REFERENCE,
        )
        leg.orders_sent += 1
        leg.age = 0
        leg.vt_orderid = self.main_engine.send_order(request, leg.gateway_name)

    def _cancel(self, leg: Leg) -> None:
        order = self.main_engine.get_order(leg.vt_orderid)
        if order is not None:
            self.main_engine.cancel_order(order.create_cancel_request(), leg.gateway_name)

    def _settle(self, leg: Leg, order: OrderData) -> None:
        """Take the broker's final word on the leg's order."""
        leg.vt_orderid = ""
        leg.remaining -= order.traded
        if leg.stage is Stage.BUYING:
            leg.bought += order.traded
        if leg.remaining <= 0:
            self._log(self._filled_line(leg))
            self._move(leg, Happening.FILLED)

    def _move(self, leg: Leg, happening: Happening) -> None:
        leg.stage = TRANSITIONS[leg.stage, happening]
        leg.orders_sent = 0
        if leg.stage is Stage.SELLING:
            leg.remaining = leg.bought
        if all(each.stage in ENDED for each in self._legs):
            self._log(_("演示：脚本结束，行情继续"))
            self.finished.set()

    def _filled_line(self, leg: Leg) -> str:
        text = _("演示：买入 {} 已全部成交") if leg.stage is Stage.BUYING else _("演示：卖出 {} 已全部成交")
        return text.format(leg.trade.vt_symbol)

    def _exhausted_line(self, leg: Leg) -> str:
        text = _("演示：{} 的委托 {} 次仍未全部成交，不再尝试，剩余 {:g}；原因见上面的日志")
        return text.format(leg.trade.vt_symbol, MAX_ORDERS, leg.remaining)

    def _log(self, text: str) -> None:
        self.main_engine.write_log(text, SOURCE)


def marketable_price(direction: Direction, tick: TickData, pricetick: float, *, through: int) -> float:
    """A limit price that trades at once: the other side's best price, `through` ticks further. In the quote's currency.

    Decimal arithmetic, so that a price on the tick grid stays on it.
    """
    step = Decimal(str(pricetick)) * through
    if direction is Direction.LONG:
        return float(Decimal(str(tick.ask_price_1)) + step)
    return float(Decimal(str(tick.bid_price_1)) - step)


def resting_price(tick: TickData, pricetick: float) -> float:
    """A limit price to buy at that does not trade soon: 3 % below the best bid, on the tick grid."""
    step = Decimal(str(pricetick))
    return float(Decimal(str(tick.bid_price_1)) * BELOW // step * step)


def start_demo(main_engine: MainEngine) -> None:
    """Begin all of it. Call it in the demo's folder, when the gateways are added and before they connect."""
    from .demo_strategy import DemoStrategy

    script = DemoScript(main_engine)
    DemoStrategy(main_engine, SOURCE, after=script.finished).start()
    script.start()
