"""What a client's engine was told, so that it is told once, over cuts of the link and restarts of the server.

No I/O; for the stream's thread. An object comes in with the epoch of the server's process that told it; what is news to
the engine comes out.
"""

from __future__ import annotations

from copy import copy
from typing import TypeVar

from vnpy.trader.constant import Status
from vnpy.trader.object import (
    AccountData,
    BaseData,
    ContractData,
    LogData,
    OrderData,
    PositionData,
    TradeData,
)

LEAST = 1e-9
"""Shares below this are binary noise."""
D = TypeVar("D", bound=BaseData)


class Mirror:
    """Orders, trades, positions, accounts and contracts of every gateway of one server."""

    def __init__(self) -> None:
        self.orders: dict[str, OrderData] = {}
        self._orders_told: dict[str, int] = {}
        """The epoch that told an order last, or took it."""
        self._trades: set[str] = set()
        self._told: dict[str, float] = {}
        """Shares of the trades of an order that were told."""
        self._told_by: dict[str, int] = {}
        """The epoch that told the first trade of an order."""
        self._positions: dict[str, tuple[int, PositionData]] = {}
        self._accounts: dict[str, AccountData] = {}
        self.contracts: dict[str, ContractData] = {}

    def take(self, data: BaseData, epoch: int) -> BaseData | None:
        """The object as the engine is to be told it, or None where it knows already."""
        if isinstance(data, OrderData):
            return self._order(data, epoch)
        if isinstance(data, TradeData):
            return self._trade(data, epoch)
        if isinstance(data, PositionData):
            _epoch, before = self._positions.get(data.vt_positionid, (0, None))
            self._positions[data.vt_positionid] = (epoch, data)
            return None if data == before else data
        if isinstance(data, AccountData):
            return _news(self._accounts, data.vt_accountid, data)
        if isinstance(data, ContractData):
            return _news(self.contracts, data.vt_symbol, data)
        return data if isinstance(data, LogData) else None

    def numbered(self, con_id: str) -> list[ContractData]:
        """The contracts of a conId."""
        return [data for data in self.contracts.values() if str((data.extra or {}).get("con_id", "")) == con_id]

    def expect(self, order: OrderData, epoch: int) -> None:
        """A server of this epoch has taken an order of ours: news of it follows, unless that server dies first."""
        if order.vt_orderid not in self.orders:
            self.orders[order.vt_orderid] = order
            self._orders_told[order.vt_orderid] = epoch

    def lost_orders(self, gateway_name: str, epoch: int) -> list[tuple[OrderData, int]]:
        """Orders that an earlier process took and was not heard to send, and that this one says nothing of; once each.

        With each the epoch that took it.
        """
        lost = []
        for key, order in self.orders.items():
            told = self._orders_told[key]
            if told != epoch and order.gateway_name == gateway_name and order.status is Status.SUBMITTING:
                self._orders_told[key] = epoch
                lost.append((order, told))
        return lost

    def gone_positions(self, gateway_name: str, epoch: int) -> list[PositionData]:
        """Positions of a gateway that has read its broker's lists and told nothing of them: they are flat now."""
        gone = []
        for key, (told, position) in self._positions.items():
            if position.gateway_name == gateway_name and told != epoch:
                flat = copy(position)
                flat.volume = flat.frozen = flat.pnl = flat.price = 0.0
                self._positions[key] = (epoch, flat)
                if position.volume:
                    gone.append(flat)
        return gone

    def _order(self, order: OrderData, epoch: int) -> OrderData | None:
        self._orders_told[order.vt_orderid] = epoch
        before = self.orders.get(order.vt_orderid)
        if before is not None:
            if order == before or (order.is_active() and not before.is_active()):
                return None  # a server that was killed may have forgotten an end that it told
            order.traded = max(order.traded, before.traded)
        self.orders[order.vt_orderid] = order
        return order

    def _trade(self, trade: TradeData, epoch: int) -> TradeData | None:
        """A list tells in one piece what another process may have told in several: only what is new of it counts."""
        if trade.vt_tradeid in self._trades:
            return None
        self._trades.add(trade.vt_tradeid)
        told = self._told.get(trade.vt_orderid, 0.0)
        order = self.orders.get(trade.vt_orderid)
        if told and order and self._told_by[trade.vt_orderid] != epoch:
            rest = order.traded - told
            if rest < LEAST:
                return None
            if trade.volume > rest + LEAST:
                trade = copy(trade)
                trade.volume = rest
        self._told_by.setdefault(trade.vt_orderid, epoch)
        self._told[trade.vt_orderid] = told + trade.volume
        return trade


def _news(known: dict[str, D], key: str, data: D) -> D | None:
    if known.get(key) == data:
        return None
    known[key] = data
    return data
