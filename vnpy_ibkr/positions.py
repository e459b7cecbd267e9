"""Positions of the account that is traded, marked by our own quotes.

TWS pushes them after they were asked for once per connection (reference "tws-api", section 6.6). Account numbers follow
the design's section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from copy import copy
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

from ib_async.contract import Contract
from vnpy.trader.constant import Direction, Exchange
from vnpy.trader.object import PositionData

from vnpy_brokerkit.errors import BrokerError
from vnpy_brokerkit.i18n import _

from .accounts import MANY_ACCOUNTS, ZERO, amount_of
from .contracts import Contracts, Key
from .market_data import Board
from .wire.tws import Wire


@dataclass
class Holding:
    """What the traded account holds of one instrument: exact volume, negative when short, at an average price."""

    symbol: str
    exchange: Exchange
    volume: Decimal
    cost: Decimal
    """Price units: TWS's average cost has the multiplier in it, this has not."""
    size: Decimal
    currency: str


@dataclass(frozen=True)
class _Row:
    """A position as TWS last said it."""

    contract: Contract
    volume: Decimal
    cost: Decimal


class Positions:
    """Positions of one gateway; tells the engine what changed, and what went to zero."""

    def __init__(
        self,
        *,
        wire: Callable[[], Wire],
        contracts: Contracts,
        board: Callable[[str, Exchange], Board | None],
        gateway_name: str,
        account_prefix: str,
        trading_account: Callable[[], str],
        on_position: Callable[[PositionData], None],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
        log: Callable[[str], None],
    ) -> None:
        self._wire = wire
        self._contracts = contracts
        self._board = board
        self._gateway_name = gateway_name
        self._prefix = account_prefix
        self._trading_account = trading_account
        self._on_position = on_position
        self._spawn = spawn
        self._log = log
        self._subscribed_on: Wire | None = None
        self._request: int | None = None
        """The request for the traded account's positions alone."""
        self._rows: dict[int, _Row] = {}
        self._keys: dict[int, Key] = {}
        self._seen: set[int] | None = None
        """The conIds of the positions list that is being read, None between lists."""
        self._holdings: dict[Key, Holding] = {}
        self._shown: dict[str, PositionData] = {}

    # ------------------------------------------------------------------ asking

    async def start(self) -> None:
        """Ask for the positions, and wait for them; to be called after each connect and return of the link.

        They go to the engine by :meth:`push_positions`, when their contracts and quotes are there. Raises
        :class:`BrokerError`.
        """
        wire = self._wire()
        if wire is self._subscribed_on:
            self._unsubscribe(wire)
        self._subscribed_on, self._request = wire, None
        await self._read(wire)

    def _unsubscribe(self, wire: Wire) -> None:
        """The link returned and the socket lived: the old subscription would answer beside the new one."""
        client = wire.client
        if len(wire.accounts) <= MANY_ACCOUNTS:
            wire.post(client.cancelPositions, "cancelPositions")
        elif self._request is not None:
            wire.post(partial(client.cancelPositionsMulti, self._request), "cancelPositionsMulti")

    async def _read(self, wire: Wire) -> None:
        seen: set[int] = set()
        self._seen = seen
        try:
            if len(wire.accounts) <= MANY_ACCOUNTS:
                await wire.ask_plain("positions", wire.client.reqPositions)
            elif self._trading_account() in wire.accounts:
                await wire.ask(lambda req_id: self._ask(wire, req_id), "reqPositionsMulti")
        finally:
            self._seen = None
        for con_id, row in self._rows.items():
            if con_id not in seen:
                self._rows[con_id] = replace(row, volume=ZERO)
        try:
            await self._contracts.identify([row.contract for row in self._rows.values()])
        except BrokerError as error:
            if not wire.connected:
                raise
            # What is held is known all the same, if by a name that may change.
            self._log(_("查询持仓的合约失败，将自动重试：{}").format(error))
        for con_id in list(self._rows):
            self._take(con_id)

    def _ask(self, wire: Wire, req_id: int) -> None:
        self._request = req_id
        wire.client.reqPositionsMulti(req_id, self._trading_account(), "")

    # ------------------------------------------------------------------ what TWS says

    @property
    def held(self) -> list[Holding]:
        """Everything that the traded account holds."""
        return [holding for holding in self._holdings.values() if holding.volume]

    def holding(self, symbol: str, exchange: Exchange) -> Holding | None:
        """What is held of one instrument, as last heard."""
        return self._holdings.get((symbol, exchange))

    def on_position(self, account: str, contract: Contract, volume: float, cost: float) -> None:
        """Take one position: a row of the list that :meth:`start` asked for, or a change since then."""
        if account != self._trading_account():
            return
        con_id = contract.conId
        self._rows[con_id] = _Row(contract, _exact(volume), _exact(cost))
        if self._seen is not None:
            self._seen.add(con_id)
        elif self._contracts.by_con_id(con_id):
            self.push_position(*self._take(con_id))
        else:
            self._spawn(self._introduce(con_id, contract), "position")

    async def _introduce(self, con_id: int, contract: Contract) -> None:
        """A position in something that was never seen here: its contract first."""
        try:
            await self._contracts.identify([contract])
        except BrokerError as error:
            self._log(
                _("持仓合约{}暂时无法识别（{}），恢复连接后重试").format(contract.localSymbol or con_id, error.text)
            )
            return
        if con_id in self._rows:  # a list that was read meanwhile may have taken it
            self.push_position(*self._take(con_id))

    async def name_rest(self) -> None:
        """Ask again for what could not be named when it was pushed. Raises :class:`BrokerError`."""
        rest = [con_id for con_id in self._rows if con_id not in self._keys]
        if not rest:
            return
        await self._contracts.identify([self._rows[con_id].contract for con_id in rest])
        for con_id in rest:
            if con_id in self._rows:
                self.push_position(*self._take(con_id))

    def _take(self, con_id: int) -> Key:
        """Bring the holding of a row up to date; return its name."""
        row = self._rows[con_id]
        instrument = self._contracts.by_con_id(con_id)
        key = (instrument.symbol, instrument.exchange) if instrument else self._contracts.canonical_of(row.contract)
        before = self._keys.get(con_id, key)
        self._keys[con_id] = key
        if before != key and before in self._holdings:
            # It had no name while TWS could not say what it is; that entry ends.
            self._holdings[before].volume = ZERO
            self.push_position(*before)
        size = instrument.size if instrument else _multiplier(row.contract)
        self._holdings[key] = Holding(*key, row.volume, row.cost / size, size, row.contract.currency)
        if not row.volume:
            del self._rows[con_id], self._keys[con_id]
        return key

    def push_positions(self) -> None:
        """Tell the engine every position that changed since it was last told, or has its name by now."""
        for con_id, key in list(self._keys.items()):  # what is still to be named has none
            if con_id in self._rows and key != self._contracts.canonical_of(self._rows[con_id].contract):
                self._take(con_id)
        for key in list(self._holdings):
            self.push_position(*key)

    def push_position(self, symbol: str, exchange: Exchange) -> None:
        """Tell the engine one position, marked at the last price, if that is news."""
        holding = self._holdings.get((symbol, exchange))
        if holding is None:
            return
        position = self._position_data(holding)
        shown = self._shown.get(position.vt_symbol)
        if not holding.volume:
            # Flat and told so: nothing more to say until it is held again.
            del self._holdings[symbol, exchange]
            self._shown.pop(position.vt_symbol, None)
        else:
            self._shown[position.vt_symbol] = position
        if shown != position and (shown or holding.volume):
            self._on_position(copy(position))

    def _position_data(self, holding: Holding) -> PositionData:
        board = self._board(holding.symbol, holding.exchange)
        last = board.price() if board else ZERO
        pnl = (last - holding.cost) * holding.volume * holding.size if last else ZERO
        position = PositionData(
            gateway_name=self._gateway_name,
            symbol=holding.symbol,
            exchange=holding.exchange,
            direction=Direction.NET,
            volume=float(holding.volume),
            price=float(holding.cost) if holding.volume else 0.0,
            pnl=float(pnl),
        )
        position.extra = {"currency": holding.currency, "account": f"{self._prefix}{self._trading_account()}"}
        return position


def _exact(number: float) -> Decimal:
    """The decimal that the wire wrote; 0 for a number that TWS does not have."""
    return amount_of(str(number)) or ZERO


def _multiplier(contract: Contract) -> Decimal:
    size = amount_of(contract.multiplier or "") or ZERO
    return size if size > 0 else Decimal(1)
