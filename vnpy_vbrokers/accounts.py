"""Funds per currency, read from the broker (reference "vbrokers-openapi", section 7.8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vnpy.trader.object import AccountData

from vnpy_brokerkit.errors import PermissionDenied

from .order_lists import Read
from .spelling import MARKETS
from .wire.schema import parse_funds

FUNDS = "/trade/TradeQueryMarginFundInfo"
ACCOUNT = "VBROKERS"
"""The protocol has one account and no call that names it (section 5)."""


class Accounts:
    """Funds of one gateway. Account numbers follow the design's section 6."""

    def __init__(
        self,
        *,
        read: Read,
        markets: Callable[[], Iterable[str]],
        gateway_name: str,
        account: str,
        on_account: Callable[[AccountData], None],
        denied: Callable[[str, PermissionDenied], None],
    ) -> None:
        self._read = read
        self._markets = markets
        self._gateway_name = gateway_name
        self._account = account
        self._on_account = on_account
        self._denied = denied

    async def read(self, markets: Iterable[str] | None = None) -> None:
        """Read the funds of each currency once (沪股通 and 深股通 share one pot) and tell the engine."""
        currencies: set[str] = set()
        for market in list(self._markets() if markets is None else markets):
            currency = MARKETS[market].currency
            if currency in currencies:
                continue
            try:
                row = parse_funds(await self._read(FUNDS, {"exchangeType": market}))
            except PermissionDenied as error:
                self._denied(market, error)
                continue
            currencies.add(currency)
            account = AccountData(
                gateway_name=self._gateway_name,
                accountid=f"{self._account}-{currency}",
                balance=float(row.asset_balance),
                frozen=float(row.asset_balance - row.enable_balance),
            )
            account.extra = {"currency": currency, "cash_on_hold": float(row.cash_on_hold)}
            account.available = float(row.enable_balance)
            self._on_account(account)
