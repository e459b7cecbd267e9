"""Where strategies trade and whose quotes and bars they get: the ways of ``broker_routes.json``.

Orders go to the gateway that it names for the strategy or its symbol (:mod:`vnpy_brokerkit.routes`), under the contract
of the symbol's owner; bars come from the one that it names for history, quotes from the owner. A server stop that would
go to another gateway than the owner is kept as a local one, since the contract speaks of the owner's abilities only.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from datetime import timedelta
from typing import Any

from vnpy.event import Event
from vnpy.trader.constant import Direction, Interval, Offset, OrderType
from vnpy.trader.database import DB_TZ
from vnpy.trader.object import BarData, ContractData, HistoryRequest, SubscribeRequest, TickData
from vnpy.trader.utility import BarGenerator, extract_vt_symbol, get_file_path
from vnpy_ctastrategy.template import CtaTemplate

from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.routes import ROUTES_FILE, registry_for

from .local_stops import StopKeepingCtaEngine


class RoutingCtaEngine(StopKeepingCtaEngine):
    """vn.py's CTA engine on routes, its stops kept."""

    def __init__(self, *engines: Any) -> None:
        super().__init__(*engines)
        self._unsubscribed: set[str] = set()
        """Strategies whose quotes nobody gives, for want of a contract."""
        self._quoted_by: dict[str, str] = {}

    def register_event(self) -> None:
        super().register_event()
        # Which gateway quotes a symbol may be asked before any of them was connected.
        registry_for(self.event_engine).load(get_file_path(ROUTES_FILE))

    def _init_strategy(self, strategy_name: str) -> None:
        strategy = self.strategies[strategy_name]
        known = strategy.inited or self.main_engine.get_contract(strategy.vt_symbol) is not None
        super()._init_strategy(strategy_name)
        if not known:
            self._unsubscribed.add(strategy_name)

    # ------------------------------------------------------------------ orders

    def send_server_order(
        self,
        strategy: CtaTemplate,
        contract: ContractData,
        direction: Direction,
        offset: Offset,
        price: float,
        volume: float,
        type: OrderType,
        lock: bool,
        net: bool,
    ) -> list[str]:
        gateway_name = self._order_gateway(strategy, contract)
        if gateway_name not in self.main_engine.gateways:
            text = _("委托路由指向没有加载的接口{}，未发送；请检查broker_routes.json")
            self.write_log(text.format(gateway_name), strategy)
            return []
        if gateway_name != contract.gateway_name:
            contract = copy(contract)
            contract.gateway_name = gateway_name
        vt_orderids: list[str] = super().send_server_order(
            strategy, contract, direction, offset, price, volume, type, lock, net
        )
        return vt_orderids

    def send_server_stop_order(
        self,
        strategy: CtaTemplate,
        contract: ContractData,
        direction: Direction,
        offset: Offset,
        price: float,
        volume: float,
        lock: bool,
        net: bool,
    ) -> list[str]:
        vt_orderids: list[str]
        if self._order_gateway(strategy, contract) != contract.gateway_name:
            vt_orderids = self.send_local_stop_order(strategy, direction, offset, price, volume, lock, net)
        else:
            vt_orderids = super().send_server_stop_order(
                strategy, contract, direction, offset, price, volume, lock, net
            )
        return vt_orderids

    def _order_gateway(self, strategy: CtaTemplate, contract: ContractData) -> str:
        routed = registry_for(self.event_engine).orders(contract.vt_symbol, strategy.strategy_name)
        return routed or str(contract.gateway_name)

    # ------------------------------------------------------------------ bars and quotes

    def load_bar(
        self, vt_symbol: str, days: int, interval: Interval, callback: Callable[[BarData], None], use_database: bool
    ) -> list[BarData]:
        """As vn.py's, from the gateway that ``broker_routes.json`` names: vn.py's own MainEngine asks the owner."""
        contract = self.main_engine.get_contract(vt_symbol)
        routes = registry_for(self.event_engine)
        named = routes.history(vt_symbol)
        if contract and contract.gateway_name == routes.owner(vt_symbol) != named and not use_database:
            end = self.clock.now().astimezone(DB_TZ)
            request = HistoryRequest(*extract_vt_symbol(vt_symbol), end - timedelta(days), end, interval)
            bars: list[BarData] = self.main_engine.query_history(request, named)
            if bars:
                return bars
            use_database = True
        found: list[BarData] = super().load_bar(vt_symbol, days, interval, callback, use_database)
        return found

    def subscribe_late(self) -> None:
        """A strategy that was made ready before its contract was known gets its quotes from the symbol's owner.

        A gateway that is not connected yet keeps the wish; the contract comes before the first tick.
        """
        for name in list(self._unsubscribed):
            strategy = self.strategies.get(name)
            if strategy is not None:
                owner = registry_for(self.event_engine).owner(strategy.vt_symbol)
                if not owner:
                    continue
                self.main_engine.subscribe(SubscribeRequest(*extract_vt_symbol(strategy.vt_symbol)), owner)
            self._unsubscribed.discard(name)

    def process_tick_event(self, event: Event) -> None:
        """Where a person has given the symbol another owner, its volume counts from its first tick on."""
        tick: TickData = event.data
        if self._quoted_by.setdefault(tick.vt_symbol, tick.gateway_name) != tick.gateway_name:
            self._quoted_by[tick.vt_symbol] = tick.gateway_name
            for strategy in self.symbol_strategy_map[tick.vt_symbol]:
                for generator in vars(strategy).values():
                    if isinstance(generator, BarGenerator):
                        generator.last_tick = None
        super().process_tick_event(event)
