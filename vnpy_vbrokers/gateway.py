"""VBROKERS: vn.py's contract for 华盛通 VBrokers, thin. The work is done by the rooms beside this one."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Exchange

from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.credentials import Memory
from vnpy_brokerkit.errors import InvalidRequest
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.symbols import SymbolError, canonical

from .session import VbrokersSession
from .settings import default_setting, read_settings
from .spelling import EXCHANGE2MARKET, MARKETS, serves

MARKET_NAMES = {"港股": ("K",), "美股": ("P",), "A股通": ("t", "v"), "沪股通": ("t",), "深股通": ("v",)}


class VbrokersGateway(AsyncGateway):
    """Trades Hong Kong, US and Stock Connect shares through the OpenAPI Gateway on the trader's own machine.

    ``main_engine.add_gateway(VbrokersGateway)``; connect with 内置模拟 and nothing else is needed to try it.
    """

    default_name: str = "VBROKERS"
    shorts = False
    default_setting: dict[str, Any] = default_setting()
    exchanges: list[Exchange] = [  # noqa: RUF012  vn.py reads it from the class
        Exchange.SMART,
        Exchange.SEHK,
        Exchange.SSE,
        Exchange.SZSE,
        Exchange.NASDAQ,
        Exchange.NYSE,
        Exchange.ARCA,
        Exchange.AMEX,
    ]

    cancels_external = False
    """Whether 全撤 means orders of other programs too (外部委托); for any thread to read."""

    @cached_property
    def passwords(self) -> Memory:
        """What was typed in this process and no keychain took."""
        return Memory()

    def open_session(self, setting: dict[str, Any], by_person: bool) -> VbrokersSession:
        settings = replace(read_settings(setting, os.environ), memory=self.passwords)
        self.cancels_external = settings.cancel_external
        if settings.unknown_keys:
            self.log(_("忽略不认识的设置项：{}").format(_("、").join(settings.unknown_keys)))
        self.embedded = settings.embedded
        # A market that the settings leave out is nobody's here: another gateway may own its symbols.
        served = {MARKETS[code].exchange for code in settings.markets}
        venues = set(self.exchanges) - set(EXCHANGE2MARKET) if Exchange.SMART in served else set()
        self.routes.add(self.gateway_name, served | venues, self.serves)
        self.enter(settings.world)
        return VbrokersSession(self, settings, by_person)

    def listed_since(self, exchange: Exchange, now: datetime) -> datetime:
        """The midnight of the exchange: what the broker's own midnight has cut off the day is read from its history."""
        market = EXCHANGE2MARKET.get(exchange)
        local = now.astimezone(ZoneInfo(market.zone if market else "Asia/Hong_Kong"))
        return local.replace(hour=0, minute=0, second=0, microsecond=0)

    @staticmethod
    def serves(vt_symbol: str) -> bool:
        """Stocks and this broker's own option codes; not conIds, nor what is written as SYMBOL-USD-KIND."""
        return serves(vt_symbol)

    def canonical(self, symbol: str, exchange: Exchange) -> tuple[str, Exchange]:
        try:
            return canonical(symbol, exchange)
        except SymbolError:
            return symbol, exchange

    def cancel_all(self, market: str | Exchange = "") -> None:
        """Cancel this gateway's working orders of a market in one request, or of every market; returns at once.

        ``market`` is 港股, 美股, A股通 (or 沪股通, 深股通), the broker's code (K, P, t, v) or an Exchange. Orders of
        other programs are left alone unless 外部委托 is 显示，全撤包含. Raises :class:`InvalidRequest` otherwise.
        """
        if not market:
            self.post(self._cancel_everywhere)
            return
        if isinstance(market, Exchange):
            found = EXCHANGE2MARKET.get(market)
            codes: tuple[str, ...] = (found.code,) if found else ()
        else:
            codes = MARKET_NAMES.get(market, (market,) if market in MARKETS else ())
        if not codes:
            raise InvalidRequest(_("没有市场“{}”；可用：{}").format(market, " / ".join(MARKET_NAMES)))
        self.post(self._cancel_all, codes)

    def _cancel_everywhere(self) -> None:
        """One request for each market in which something works, and one line where nothing does."""
        exchanges = {order.exchange for order in self.tracker.active()}
        codes = tuple(code for code, market in MARKETS.items() if market.exchange in exchanges)
        if codes:
            self._cancel_all(codes)
        else:
            self.log(_("{}没有可撤的委托").format(self.gateway_name))

    def _cancel_all(self, codes: tuple[str, ...]) -> None:
        session = self.session
        if not isinstance(session, VbrokersSession) or session.orders is None:
            self.log(_("尚未连接，无法全撤；请先连接{}").format(self.gateway_name))
            return
        for code in codes:
            self._mutate(session.orders.cancel_all(code), "cancel-all")
