"""Strategies keep their orders, fills and stops over a restart: vn.py's CTA app, with the same window.

``main_engine.add_app(CtaStrategyApp)`` with the app from here instead of vn.py's; strategies need no change.

**Whose order is it.** The CTA engine puts ``CtaStrategy_<name>`` into each order's reference; the gateways keep it in
their journals (IBKR: also at the broker) and show it again after a restart. An order with a strategy's reference on the
strategy's symbol is that strategy's, whichever process sent it. This also holds for an order whose news comes before
``send_order`` has returned to an ``on_start`` in another thread (reference "vnpy-engine", section 0, trap 4).

**Which fills are counted.** Each counted fill has a number of its strategy in :mod:`vnpy_brokers.counted_fills`, and
the strategy's entry in ``cta_strategy_data.json`` holds position, variables and the number of the last fill that they
include, replaced as a whole in one step. For a fill the order is: position and ``on_trade`` in memory; the fill under
the next number, on disk; the entry with that number, on disk. A process that is killed at any instruction leaves either
the entry of before, whose position lacks the fill, and then the fill's number is taken back at the next start and the
fill is delivered; or the entry of after, and then it never is. What is delivered comes from the broker's lists, and
from the gateway's journal where the lists do not tell it any more. Variables are not saved while ``on_trade`` runs: a
``sync_data`` within it is done at its end. An order that a killed ``on_trade`` had sent already is not undone by this:
it comes back as a working order of the strategy, and ``on_trade`` can see it.

**When.** Nothing reaches a strategy before its saved data does, that is before 初始化 has ended; what came earlier then
follows, orders first, oldest fill first, whatever the order of 连接, 初始化 and 启动.

**First meeting.** An entry without a record was last written by vn.py alone, which counts each fill as it is told: what
the journal held when it was opened is taken as counted, the rest is delivered. A strategy without any entry begins now:
older orders with its name are not its own.

**Local stops** wait in the entry too and work again from 启动 on: :mod:`vnpy_brokers.local_stops`.

**Routes.** Orders, bars and quotes go the ways of ``broker_routes.json``: :mod:`vnpy_brokers.routed_strategies`.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable
from copy import copy
from datetime import datetime, timezone
from typing import Any

from vnpy.event import EVENT_TIMER, Event, EventEngine
from vnpy.trader.constant import Exchange
from vnpy.trader.database import DB_TZ
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import EVENT_CONTRACT, EVENT_TRADE
from vnpy.trader.object import OrderData, TradeData
from vnpy_ctastrategy import CtaStrategyApp as VnpyCtaStrategyApp
from vnpy_ctastrategy.engine import CtaEngine
from vnpy_ctastrategy.template import CtaTemplate

from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.journal import Journal
from vnpy_brokerkit.journal_rows import EarlierFill
from vnpy_brokerkit.tracker import ZERO, exact, plain

from .earlier_fills import OpenJournal, counted, named, trade_of
from .monitor.shorts import warn_of_shorts
from .routed_strategies import RoutingCtaEngine
from .saved_strategies import variables_of
from .strategy_books import CountedFill, StrategyBooks
from .strategy_instruments import trades_it
from .zones import start_warning

EVENT_ADOPT = "eBrokersAdopt"
"""Something may be ready to be told: the engine has its strategies, or one of them (by name) its saved data."""

Handler = Callable[["AdoptingCtaEngine", Event], None]


def _contained(handler: Handler) -> Handler:
    """An exception out of an event handler would end vn.py's event thread for good (reference, section 0, trap 1)."""

    @functools.wraps(handler)
    def contained(engine: AdoptingCtaEngine, event: Event) -> None:
        try:
            handler(engine, event)
        except Exception as error:  # noqa: BLE001  whatever it is, it is told, and events go on
            engine.write_log(_("内部错误：{!r}；请将日志反馈给开发者").format(error))

    return contained


DAWN = datetime.min.replace(tzinfo=timezone.utc)


class AdoptingCtaEngine(RoutingCtaEngine):
    """vn.py's CTA engine with the module's promises."""

    def __init__(self, main_engine: MainEngine, event_engine: EventEngine) -> None:
        super().__init__(main_engine, event_engine)
        self._started = self.clock.now()
        self._judged: set[str] = set()
        """Orders of which is known whose they are."""
        self._adopted: set[str] = set()
        """Those of earlier processes that strategies got back."""
        self._orders: defaultdict[str, dict[str, OrderData]] = defaultdict(dict)
        """By strategy: the last word on each order, for when the strategy is ready."""
        self._trades: defaultdict[str, list[TradeData]] = defaultdict(list)
        self._undecided: set[str] = set()
        """Orders that name a strategy whose instrument is not known yet by the spelling in its settings."""
        self._journals: dict[str, OpenJournal] = {}
        """By gateway: the journal whose fills are looked at."""
        self._ended: set[str] = set()
        """Orders whose end an earlier process told of."""

    def init_engine(self) -> None:
        """Begin, once: vn.py's page does it when it is opened, and is shown what a script has begun before."""
        if self._books is None:
            super().init_engine()
        for strategy in self.strategies.values():
            self.put_strategy_event(strategy)

    def register_event(self) -> None:
        super().register_event()
        self.event_engine.register(EVENT_ADOPT, self.process_adopt_event)
        self.event_engine.register(EVENT_CONTRACT, self.process_contract_event)
        self.event_engine.register(EVENT_TIMER, self.process_timer_event)
        # VN Trader begins this engine when its window is opened, which may be long after a gateway was connected.
        self.event_engine.put(Event(EVENT_ADOPT, ""))
        # Strategies and the back-tester read bars from the database; the door's line may be far away, or not there.
        warning = start_warning(DB_TZ.key, self.clock.now())
        if warning:
            self.write_log(warning)

    def _init_strategy(self, strategy_name: str) -> None:
        strategy = self.strategies[strategy_name]
        again = strategy.inited
        super()._init_strategy(strategy_name)
        if again:
            return
        if strategy_name not in self.strategy_data:
            # From now on it may trade: that it has counted nothing so far is on disk before.
            self.sync_strategy_data(strategy)
        self.event_engine.put(Event(EVENT_ADOPT, strategy_name))

    def start_strategy(self, strategy_name: str) -> None:
        warn_of_shorts(self, strategy_name)
        super().start_strategy(strategy_name)

    def remove_strategy(self, strategy_name: str) -> bool:
        removed: bool = super().remove_strategy(strategy_name)
        if removed:
            with self._lock:
                self._orders.pop(strategy_name, None)
                self._trades.pop(strategy_name, None)
        return removed

    # ------------------------------------------------------------------ orders

    @_contained
    def process_order_event(self, event: Event) -> None:
        with self._lock:
            self._look_at_journals()
            self._take_order(event.data)

    def _take_order(self, order: OrderData) -> None:
        strategy = self._owner_of(order.vt_orderid, order)
        if strategy is None or order.vt_orderid in self._ended:
            return
        if not order.is_active():
            self.strategy_orderid_map[strategy.strategy_name].discard(order.vt_orderid)
        self._orders[strategy.strategy_name][order.vt_orderid] = order
        self._tell(strategy)

    def send_server_order(self, strategy: CtaTemplate, *args: Any, **kwargs: Any) -> list[str]:
        vt_orderids: list[str] = super().send_server_order(strategy, *args, **kwargs)
        with self._lock:
            # Its end may have been handled before vn.py noted its id here: it would count as working for ever.
            for vt_orderid in vt_orderids:
                order = self.main_engine.get_order(vt_orderid)
                if order and not order.is_active():
                    self.strategy_orderid_map[strategy.strategy_name].discard(vt_orderid)
        return vt_orderids

    def _owner_of(self, vt_orderid: str, order: OrderData | None) -> CtaTemplate | None:
        """Return whose order it is, and note it; None where it is no strategy's."""
        known: CtaTemplate | None = self.orderid_strategy_map.get(vt_orderid)
        if order is None or vt_orderid in self._judged:
            return known
        strategy = known or self._named(order.reference)
        if strategy is not None and known is None:
            fits = trades_it(self.main_engine, strategy.vt_symbol, order.gateway_name, (order.symbol, order.exchange))
            if fits is None:
                self._undecided.add(vt_orderid)
                return None
            strategy = strategy if fits else None
        self._judged.add(vt_orderid)
        # What this engine has sent is its own, whatever the clocks say.
        before = known is None and order.datetime is not None and order.datetime < self._started
        earlier = before or vt_orderid in self._adopted
        if strategy is None or (earlier and not self._may_adopt(strategy, order)):
            return None
        self.orderid_strategy_map[vt_orderid] = strategy
        if order.is_active():
            self.strategy_orderid_map[strategy.strategy_name].add(vt_orderid)
        if earlier:
            self._adopted.add(vt_orderid)
            if order.is_active():
                self.write_log(_("接管上次运行的委托{}").format(vt_orderid), strategy)
        return strategy

    def _may_adopt(self, strategy: CtaTemplate, order: OrderData) -> bool:
        """Tell whether an order of an earlier process is still this strategy's."""
        record = self._record(strategy.strategy_name)
        if record is None or order.datetime is None:
            return False
        if record.new and order.datetime < record.since:
            if order.is_active():
                text = _("委托{}早于本策略（没有更早的保存数据），不接管；请自行处理")
                self.write_log(text.format(order.vt_orderid), strategy)
            return False
        return True

    def _named(self, reference: str) -> CtaTemplate | None:
        """Return the strategy that a reference names."""
        name = named(reference)
        strategy: CtaTemplate | None = self.strategies.get(name) if name else None
        return strategy

    @_contained
    def process_contract_event(self, event: Event) -> None:
        """Some spellings are understood with their contract only: then orders and fills of before are looked at again.

        A conId, or a future's last trading day where the one vt_symbol has the month.
        """
        with self._lock:
            if not self.symbol_strategy_map.get(event.data.vt_symbol):
                return
            self._look_at_journals()
            undecided, self._undecided = self._undecided, set()
            if undecided:
                self._take_all(lambda vt_orderid: vt_orderid in undecided)

    # ------------------------------------------------------------------ fills

    @_contained
    def process_trade_event(self, event: Event) -> None:
        with self._lock:
            self._look_at_journals()
            self._take_trade(event.data)

    def _take_trade(self, trade: TradeData) -> None:
        strategy = self._owner_of(trade.vt_orderid, self.main_engine.get_order(trade.vt_orderid))
        if strategy is not None:
            self._trades[strategy.strategy_name].append(trade)
            self._tell(strategy)

    @_contained
    def process_adopt_event(self, event: Event) -> None:
        with self._lock:
            self._look_at_journals()
            if not event.data:
                self._take_all(lambda vt_orderid: True)
            for strategy in list(self.strategies.values()):
                self._tell(strategy)
        self.subscribe_late()

    def _take_all(self, wanted: Callable[[str], bool]) -> None:
        """Take what the engine was told of these orders, oldest fill first."""
        for order in self.main_engine.get_all_orders():
            if wanted(order.vt_orderid):
                self._take_order(order)
        trades: list[TradeData] = self.main_engine.get_all_trades()
        for trade in sorted(trades, key=lambda trade: trade.datetime or DAWN):
            if wanted(trade.vt_orderid):
                self._take_trade(trade)

    @_contained
    def process_timer_event(self, event: Event) -> None:
        with self._lock:
            self._look_at_journals()
            for strategy in list(self.strategies.values()):
                self._tell(strategy)

    def _tell(self, strategy: CtaTemplate) -> None:
        """Tell a strategy what waits for it, if it is ready; in the event thread."""
        name = strategy.strategy_name
        orders, trades = self._orders[name], self._trades[name]
        while strategy.inited and orders:
            super().process_order_event(Event("", orders.pop(next(iter(orders)))))
        missed = 0.0
        while strategy.inited and trades:
            missed += self._deliver(strategy, trades.pop(0))
        if missed:
            text = _("补记上次运行之后的成交{:g}，持仓{:g}")
            self.write_log(text.format(missed, strategy.pos), strategy)

    def _deliver(self, strategy: CtaTemplate, trade: TradeData) -> float:
        """Count a fill, once; return its volume if it is of before this process, else 0."""
        name, books = strategy.strategy_name, self._books
        if books is None or trade.vt_tradeid in self.vt_tradeids:
            return 0
        earlier = trade.vt_orderid in self._adopted
        if books.has(name, trade.vt_orderid, trade.tradeid):
            return 0
        if earlier:
            if not books.works:
                return 0
            trade = self._rest_of(name, books, trade)
            if trade.volume <= 0:
                return 0
        self.orderid_strategy_map[trade.vt_orderid] = strategy
        self._delivering = name
        try:
            super().process_trade_event(Event(EVENT_TRADE, trade))
        finally:
            self._delivering = ""
        at = trade.datetime or self.clock.now()
        self._note_stops(name)
        books.count(name, CountedFill(trade.vt_orderid, trade.tradeid, exact(trade.volume), at), variables_of(strategy))
        return float(trade.volume) if earlier and at < self._started else 0

    def _rest_of(self, name: str, books: StrategyBooks, trade: TradeData) -> TradeData:
        """A list may tell as one fill what was told in parts before: only what is new of the order counts."""
        order = self.main_engine.get_order(trade.vt_orderid)
        if order is None:
            return trade
        rest = exact(order.traded) - books.volume(name, trade.vt_orderid)
        if exact(trade.volume) <= rest:
            return trade
        part = copy(trade)
        part.volume = plain(max(rest, ZERO))
        return part

    def _look_at_journals(self) -> None:
        """Take up what a gateway's journal held when it was opened: the broker's lists may not tell it again."""
        if self._books is None:
            return
        for gateway_name, gateway in list(self.main_engine.gateways.items()):
            journal = gateway.journal if isinstance(gateway, AsyncGateway) else None
            if journal is None:
                continue
            opened = self._journals.get(gateway_name)
            if opened is None or opened.journal is not journal:
                opened = self._journals[gateway_name] = OpenJournal.of(journal, self.strategies)
                self._ended |= {f"{gateway_name}.{orderid}" for orderid in journal.ended}
            for name, fills in list(opened.waiting.items()):
                self._look_at_waiting(gateway_name, opened, name, fills)

    def _look_at_waiting(self, gateway_name: str, opened: OpenJournal, name: str, fills: list[EarlierFill]) -> None:
        """Look at a strategy's fills in a journal, once, as soon as it is known which of them are its instrument's."""
        strategy = self.strategies.get(name)
        fits: dict[tuple[str, Exchange], bool | None] = {}
        if strategy is not None:
            keys = {(fill.symbol, fill.exchange) for fill in fills}
            fits = {key: trades_it(self.main_engine, strategy.vt_symbol, gateway_name, key) for key in keys}
            if None in fits.values():
                return
        del opened.waiting[name]
        if strategy is not None:
            own = [fill for fill in fills if fits[fill.symbol, fill.exchange]]
            self._look_at_fills(strategy, gateway_name, opened.journal, own)

    def _look_at_fills(
        self, strategy: CtaTemplate, gateway_name: str, journal: Journal, fills: list[EarlierFill]
    ) -> None:
        name = strategy.strategy_name
        record = self._record(name)
        if record is None or self._books is None:
            return
        if not record.new:
            told = [counted(gateway_name, fill) for fill in fills]
            if self._books.take_over(name, f"{journal.path.name} {journal.account}", told):
                return
        for fill in fills:
            trade = trade_of(gateway_name, fill)
            older = record.new and fill.placed < record.since
            if not older and not self._books.has(name, trade.vt_orderid, trade.tradeid):
                self._adopted.add(trade.vt_orderid)
                self._trades[name].append(trade)


class CtaStrategyApp(VnpyCtaStrategyApp):
    """vn.py's app of CTA strategies; the same menu, window and files."""

    engine_class: type[CtaEngine] = AdoptingCtaEngine
