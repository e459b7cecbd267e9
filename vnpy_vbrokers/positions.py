"""Positions, read from the broker and marked by our own quotes.

The broker's own profit and market value are stale by its own word (reference "vbrokers-openapi", section 7.8): cost and
quantity come from the holdings, the last price from the quotes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from decimal import Decimal

from vnpy.trader.constant import Direction, Exchange
from vnpy.trader.object import PositionData

from vnpy_brokerkit.errors import PermissionDenied
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.symbols import SymbolError

from .market_data import Board
from .order_lists import Read
from .spelling import EXCHANGE2MARKET, MARKETS, from_code
from .wire.schema import HoldingRow, parse_holdings

HOLDINGS = "/trade/TradeQueryHoldsList"

Key = tuple[str, Exchange]
ZERO = Decimal(0)


@dataclass
class Holding:
    """What is held of one instrument: shares, of which ``frozen`` can't be sold now, at an average cost."""

    symbol: str
    exchange: Exchange
    volume: Decimal
    frozen: Decimal
    cost: Decimal


class Positions:
    """Positions of one gateway; tells the engine what changed, and what went to zero."""

    def __init__(
        self,
        *,
        read_list: Read,
        markets: Callable[[], Iterable[str]],
        board: Callable[[str, Exchange], Board | None],
        gateway_name: str,
        account: str,
        shown: dict[str, PositionData],
        on_position: Callable[[PositionData], None],
        denied: Callable[[str, PermissionDenied], None],
        log: Callable[[str], None],
    ) -> None:
        self._read_list = read_list
        self._markets = markets
        self._board = board
        self._gateway_name = gateway_name
        self._account = account
        self._on_position = on_position
        self._denied = denied
        self._log = log
        self._holdings: dict[Key, Holding] = {}
        self._shown = shown
        """What the engine was last told of each position held, by an earlier session too."""

    @property
    def held(self) -> list[Holding]:
        """Everything that is held, of all markets."""
        return [holding for holding in self._holdings.values() if holding.volume]

    def holding(self, symbol: str, exchange: Exchange) -> Holding | None:
        """What is held of one instrument, as last read."""
        return self._holdings.get((symbol, exchange))

    def sellable(self, symbol: str, exchange: Exchange) -> Decimal:
        """Shares of an instrument that could be sold when the holdings were last read."""
        holding = self._holdings.get((symbol, exchange))
        return max(holding.volume - holding.frozen, ZERO) if holding else ZERO

    async def read(self, markets: Iterable[str] | None = None) -> None:
        """Read the holdings; what is not among them any more becomes 0. Raises :class:`BrokerError`."""
        for market in list(self._markets() if markets is None else markets):
            try:
                rows = parse_holdings(await self._read_list(HOLDINGS, {"exchangeType": market}))
            except PermissionDenied as error:
                self._denied(market, error)
                continue
            for problem in rows.problems:
                self._log(_("持仓数据有误，已跳过：{}").format(problem))
            found: dict[Key, Holding] = {}
            for row in rows.rows:
                holding = self._holding(row, market)
                if holding:
                    found[holding.symbol, holding.exchange] = holding
            if rows.complete:
                exchange = MARKETS[market].exchange
                told = [(position.symbol, position.exchange) for position in self._shown.values()]
                for key in (*self._holdings, *told):
                    if key[1] is exchange and key not in found:
                        found[key] = Holding(*key, ZERO, ZERO, ZERO)
            self._holdings.update(found)

    def _holding(self, row: HoldingRow, market: str) -> Holding | None:
        try:
            symbol, exchange = from_code(row.stock_code, market)
        except SymbolError as error:
            self._log(_("持仓代码无法识别，已跳过：{}").format(error))
            return None
        return Holding(
            symbol=symbol,
            exchange=exchange,
            volume=row.current_amount,
            frozen=max(row.current_amount - row.enable_amount, ZERO) if row.current_amount > 0 else ZERO,
            cost=row.cost_price or ZERO,
        )

    def push_positions(self) -> None:
        """Tell the engine every position that changed since it was last told."""
        for key in list(self._holdings):
            self.push_position(*key)

    def push_position(self, symbol: str, exchange: Exchange) -> None:
        """Tell the engine one position, marked at the last price, if that is news."""
        holding = self._holdings.get((symbol, exchange))
        if holding is None:
            return
        board = self._board(symbol, exchange)
        last = board.price() if board else ZERO
        size = board.instrument.size if board else Decimal(1)
        pnl = (last - holding.cost) * holding.volume * size if last and holding.volume else ZERO
        position = PositionData(
            gateway_name=self._gateway_name,
            symbol=symbol,
            exchange=exchange,
            direction=Direction.NET,
            volume=float(holding.volume),
            frozen=float(holding.frozen),
            price=float(holding.cost),
            pnl=float(pnl),
        )
        position.extra = {"currency": EXCHANGE2MARKET[exchange].currency, "account": self._account}
        shown = self._shown.get(position.vt_symbol)
        if shown == position or (shown is None and not holding.volume):
            return
        self._shown[position.vt_symbol] = position
        self._on_position(copy(position))
        if not holding.volume:
            # Flat and told so: nothing more to say until it is held again.
            del self._holdings[symbol, exchange]
            del self._shown[position.vt_symbol]
