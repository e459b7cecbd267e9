"""Funds per currency of every linked account.

TWS pushes them after they were asked for once per connection (reference "tws-api", sections 4.6 and 6.6), every three
minutes or with a change of position. Account numbers follow the design's section 6.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import partial

from vnpy.trader.object import AccountData

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.pacing import Patience

from .wire.tws import Wire

BALANCE = "NetLiquidationByCurrency"
CASH = "CashBalance"
ACCOUNT_TYPE = "AccountType"
ALL_LEDGERS = "$LEDGER:ALL"
READY = "AccountReady"
"""False while IB's servers reset; what comes then is not to be believed (section 6.6)."""
ALL_CURRENCIES = "BASE"
"""The row of the sum over all currencies."""
REPEAT_LINE = 600
MANY_ACCOUNTS = 50
"""Above this TWS gives neither the positions nor a summary of all accounts at once (section 10)."""
AT_ONCE = 10
"""Accounts whose funds are asked for at a time: other requests need not wait behind all of them."""
PER_ROUND = 5
"""Other accounts than the traded one whose funds are read again in one round, where there are many."""

ZERO = Decimal(0)
# TWS writes the largest double, or near it, for a number that it does not have (section 3).
UNSET = Decimal("1e300")


@dataclass
class _Funds:
    """One linked account."""

    balances: dict[str, Decimal] = field(default_factory=dict)
    cash: dict[str, Decimal] = field(default_factory=dict)
    type: str = ""
    ready: bool = True
    complete: bool = False
    """The first download has ended: what comes now is a change, and news by itself."""


class Accounts:
    """Funds of one gateway; tells the engine what changed."""

    def __init__(
        self,
        *,
        wire: Callable[[], Wire],
        gateway_name: str,
        account_prefix: str,
        trading_account: Callable[[], str],
        on_account: Callable[[AccountData], None],
        log: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._wire = wire
        self._gateway_name = gateway_name
        self._prefix = account_prefix
        self._trading_account = trading_account
        self._on_account = on_account
        self._log = log
        self._patience = Patience(REPEAT_LINE, clock)

        self._subscribed_on: Wire | None = None
        self._multi_ids: list[int] = []
        self._single = ""
        self._next_round = 0
        """Where among many accounts the next round of reading begins."""

        self._funds: dict[str, _Funds] = {}
        self._told: dict[str, AccountData] = {}
        self._changed: dict[tuple[str, str], None] = {}

    # ------------------------------------------------------------------ asking

    async def start(self) -> None:
        """Ask for the funds, and wait for them; to be called after each connect and return of the link.

        They go to the engine at once. Raises :class:`ConnectionFailed`; funds that do not come are one line.
        """
        wire = self._wire()
        if wire is self._subscribed_on:
            self._unsubscribe(wire)
        self._subscribed_on = wire
        self._multi_ids, self._single = [], ""
        gate = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._read_funds(wire, account, gate) for account in self._traded_first(wire.accounts)))

    def _unsubscribe(self, wire: Wire) -> None:
        """The link returned and the socket lived: the old subscriptions would answer beside the new ones."""
        client = wire.client
        for req_id in self._multi_ids:
            wire.post(partial(client.cancelAccountUpdatesMulti, req_id), "cancelAccountUpdatesMulti")
        if self._single:
            wire.post(partial(client.reqAccountUpdates, False, self._single), "reqAccountUpdates")

    def _traded_first(self, accounts: list[str]) -> list[str]:
        traded = self._trading_account()
        return sorted(accounts, key=lambda account: account != traded)

    async def _read_funds(self, wire: Wire, account: str, gate: asyncio.Semaphore) -> None:
        async with gate:
            await self._read_funds_of(wire, account)

    async def _read_funds_of(self, wire: Wire, account: str) -> None:
        funds = self._funds.setdefault(account, _Funds())
        funds.ready, funds.complete = True, False
        try:
            if len(wire.accounts) == 1:
                self._single = account
                await wire.ask_plain("accountUpdates", lambda: wire.client.reqAccountUpdates(True, account))
            else:
                await wire.ask(lambda req_id: self._ask_multi(wire, req_id, account), "reqAccountUpdatesMulti")
        except ConnectionFailed:
            raise
        except BrokerError as error:
            if self._patience.may_say(f"funds-{account}"):
                self._log(_("账户{}的资金查询失败（{}），收到更新后显示").format(account, error.text))
        else:
            self._patience.forget(f"funds-{account}")
        funds.complete = True
        self._push_funds((account, currency) for currency in _currencies(funds))

    async def refresh_funds(self) -> None:
        """Read the funds now, and tell what changed; TWS by itself tells what prices do to them every three minutes.

        Of many accounts the traded one is read, and some of the others in turn. Raises :class:`BrokerError`.
        """
        wire = self._wire()
        if len(wire.accounts) <= MANY_ACCOUNTS:
            await self._read_summary(wire)
            return
        for account in self._round(wire.accounts):
            await self._read_ledger(wire, account)

    def _round(self, accounts: list[str]) -> list[str]:
        """The traded account and the next few others."""
        first, *others = self._traded_first(accounts)
        begin = self._next_round % len(others)
        self._next_round = begin + PER_ROUND
        return [first, *(others * 2)[begin : begin + PER_ROUND]]

    async def _read_ledger(self, wire: Wire, account: str) -> None:
        """One account's ledger; its standing subscription stays."""
        sent: list[int] = []

        def send(req_id: int) -> None:
            sent.append(req_id)
            wire.client.reqAccountUpdatesMulti(req_id, account, "", True)

        try:
            await wire.ask(send, "reqAccountUpdatesMulti")
        finally:
            with contextlib.suppress(ConnectionFailed):
                for req_id in sent:
                    wire.post(partial(wire.client.cancelAccountUpdatesMulti, req_id), "cancelAccountUpdatesMulti")

    async def _read_summary(self, wire: Wire) -> None:
        sent: list[int] = []

        def send(req_id: int) -> None:
            sent.append(req_id)
            wire.client.reqAccountSummary(req_id, "All", ALL_LEDGERS)

        try:
            rows = await wire.ask(send, "reqAccountSummary")
        finally:
            # At most two may be open (section 10), and one that was answered stays open.
            with contextlib.suppress(ConnectionFailed):
                for req_id in sent:
                    wire.post(partial(wire.client.cancelAccountSummary, req_id), "cancelAccountSummary")
        for account, tag, value, currency in rows:
            self.on_account_value(tag, value, currency, account)

    def _ask_multi(self, wire: Wire, req_id: int, account: str) -> None:
        self._multi_ids.append(req_id)
        wire.client.reqAccountUpdatesMulti(req_id, account, "", False)

    # ------------------------------------------------------------------ funds

    def account_type(self, account: str) -> str:
        """Return what the broker calls the account's kind, ``""`` while that is not known."""
        funds = self._funds.get(account)
        return funds.type if funds else ""

    def on_account_value(self, key: str, value: str, currency: str, account: str) -> None:
        """Take one account value."""
        funds = self._funds.setdefault(account, _Funds())
        if key == READY:
            funds.ready = value.lower() != "false"
        elif key == ACCOUNT_TYPE:
            funds.type = value
        elif key in (BALANCE, CASH) and currency not in ("", ALL_CURRENCIES) and funds.ready:
            amount = amount_of(value)
            if amount is None:
                if self._patience.may_say(f"value-{account}-{key}"):
                    self._log(_("账户{}的{}不是数值（{}），保留原值").format(account, key, value[:40]))
                return
            (funds.balances if key == BALANCE else funds.cash)[currency] = amount
            if funds.complete:
                self._flush_soon(account, currency)

    def _flush_soon(self, account: str, currency: str) -> None:
        """The values of one change come one by one in one packet: they go out together, after it."""
        if not self._changed:
            asyncio.get_running_loop().call_soon(self._flush)
        self._changed[account, currency] = None

    def _flush(self) -> None:
        changed, self._changed = self._changed, {}
        self._push_funds(changed, only_news=True)

    def push_accounts(self) -> None:
        """Tell the engine the funds of every account again."""
        self._push_funds(
            (account, currency) for account, funds in self._funds.items() for currency in _currencies(funds)
        )

    def _push_funds(self, wanted: Iterable[tuple[str, str]], *, only_news: bool = False) -> None:
        for account, currency in wanted:
            data = self._account_data(account, currency)
            if only_news and self._told.get(data.accountid) == data:
                continue
            self._told[data.accountid] = data
            self._on_account(copy(data))

    def _account_data(self, account: str, currency: str) -> AccountData:
        funds = self._funds[account]
        cash = funds.cash.get(currency, ZERO)
        # A currency without securities in it may have no row of its own: its net assets are its cash.
        balance = funds.balances.get(currency, cash)
        data = AccountData(
            gateway_name=self._gateway_name,
            accountid=f"{self._prefix}{account}-{currency}",
            balance=float(balance),
            frozen=float(balance - cash),
        )
        data.extra = {"currency": currency, "account": f"{self._prefix}{account}"}
        data.available = float(cash)
        return data


def _currencies(funds: _Funds) -> list[str]:
    return list(funds.balances | funds.cash)


def amount_of(text: str) -> Decimal | None:
    """Return the number that TWS wrote, or ``None`` for one that it does not have, or that is none."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and abs(amount) < UNSET else None
