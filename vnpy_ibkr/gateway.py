"""IBKR: vn.py's contract for Interactive Brokers, thin. The work is done by the rooms beside this one."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Exchange

from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.symbols import SymbolError

from .contracts import spelling
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

    def open_session(self, setting: dict[str, Any], by_person: bool) -> IbkrSession:
        settings = read_settings(setting)
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

    def cancel_all(self) -> None:
        """Cancel this gateway's working orders one by one; returns at once.

        Orders placed elsewhere are left alone unless 外部委托 is 显示，全撤包含 and this client id may cancel them.
        """
        self._post(self._cancel_all)

    def _cancel_all(self) -> None:
        session = self.session
        if isinstance(session, IbkrSession) and session.orders:
            self._mutate(session.orders.cancel_all(), "cancel-all")
        else:
            self.log(_("尚未连接，无法全撤；请先连接{}").format(self.gateway_name))
