"""IBKR: vn.py's contract for Interactive Brokers, thin. The work is done by the rooms beside this one."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Exchange

from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.errors import BrokerError, InvalidRequest
from vnpy_brokerkit.health import Market
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.symbols import SymbolError
from vnpy_brokerkit.tracker import TrackedOrder

from .contracts import Contracts, spelling
from .session import IbkrSession
from .settings import default_setting, read_settings

SERVER_ZONE = ZoneInfo("America/New_York")
"""Where TWS's day is taken to begin; at which midnight a Gateway forgets executions is not documented."""


class IbkrGateway(AsyncGateway):
    """Trades what Interactive Brokers offers, through TWS or IB Gateway on the trader's own machine.

    ``main_engine.add_gateway(IbkrGateway)``; connect with 内置模拟 and nothing else is needed to try it.
    """

    default_name: str = "IBKR"
    default_setting: dict[str, Any] = default_setting()
    exchanges: list[Exchange] = [  # noqa: RUF012  vn.py reads it from the class
        Exchange.SMART,
        Exchange.SEHK,
        Exchange.HKFE,
        Exchange.SSE,
        Exchange.SZSE,
        Exchange.NASDAQ,
        Exchange.NYSE,
        Exchange.ARCA,
        Exchange.AMEX,
        Exchange.IDEALPRO,
        Exchange.CME,
        Exchange.CBOT,
        Exchange.NYMEX,
        Exchange.COMEX,
        Exchange.CBOE,
        Exchange.GLOBEX,
        Exchange.ICE,
        Exchange.SGX,
        Exchange.EUREX,
    ]

    cancels_external = False
    """Whether 全撤 means orders that were placed elsewhere too (外部委托); for any thread to read."""

    def open_session(self, setting: dict[str, Any], by_person: bool) -> IbkrSession:
        settings = read_settings(setting)
        self.cancels_external = settings.cancel_external
        if settings.unknown_keys:
            self.log(_("忽略不认识的设置项：{}").format(_("、").join(settings.unknown_keys)))
        self.embedded = settings.embedded
        self.enter(settings.world)
        return IbkrSession(self, settings)

    def listed_since(self, exchange: Exchange, now: datetime) -> datetime:
        """New York's midnight: TWS tells executions of the present day alone (tws-api 12)."""
        return now.astimezone(SERVER_ZONE).replace(hour=0, minute=0, second=0, microsecond=0)

    def canonical(self, symbol: str, exchange: Exchange) -> tuple[str, Exchange]:
        try:
            return spelling(symbol, exchange)
        except SymbolError:
            return symbol, exchange

    def resolve(self, symbol: str, exchange: Exchange, tell: Callable[[str], None]) -> None:
        """Find out what a conId or a written form stands for; returns at once.

        ``tell`` gets its vt_symbol, in the loop thread, and is not called where TWS knows none: the subscription that
        goes with the question says so.
        """
        self.post(self._resolve, (symbol, exchange), tell)

    def _resolve(self, key: tuple[str, Exchange], tell: Callable[[str], None]) -> None:
        contracts = self.session.contracts if isinstance(self.session, IbkrSession) else None
        if contracts:
            self.spawn(_tell_of(contracts, key, tell), "resolve")

    def cancel_all(self, market: str | Exchange = "") -> None:
        """Cancel this gateway's working orders, of one exchange or of all, one by one; returns at once.

        Orders placed elsewhere are left alone unless 外部委托 is 显示，全撤包含 and this client id may cancel them.
        Raises :class:`InvalidRequest` for an exchange that is none of this gateway's.
        """
        name = market.value if isinstance(market, Exchange) else market
        names = [exchange.value for exchange in self.exchanges]
        if name and name not in names:
            raise InvalidRequest(_("没有市场“{}”；可用：{}").format(name, " / ".join(names)))
        self.post(self._cancel_all, name)

    def _cancel_all(self, name: str) -> None:
        session = self.session
        if not isinstance(session, IbkrSession) or not session.orders:
            self.log(_("尚未连接，无法全撤；请先连接{}").format(self.gateway_name))
        elif not name:
            self._mutate(session.orders.cancel_all(), "cancel-all")
        else:
            for order in self._cancellable():
                if order.exchange.value == name:
                    self._mutate(session.orders.cancel(order.orderid), "cancel-all")

    def markets(self) -> tuple[Market, ...]:
        """Return the exchanges on which orders work that cancel_all means; for the loop thread."""
        counts = Counter(order.exchange.value for order in self._cancellable())
        return tuple(Market(name, name, orders) for name, orders in sorted(counts.items()))

    def _cancellable(self) -> list[TrackedOrder]:
        return [order for order in self.tracker.active() if not order.external or self.cancels_external]


async def _tell_of(contracts: Contracts, key: tuple[str, Exchange], tell: Callable[[str], None]) -> None:
    with contextlib.suppress(BrokerError):  # the subscription says so, and tries again
        await contracts.ensure([key])
        found = contracts.get(*key)
        if found:
            tell(found.vt_symbol)
