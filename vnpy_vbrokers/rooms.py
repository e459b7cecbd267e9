"""What works together behind one connection."""

from __future__ import annotations

from dataclasses import dataclass

from .accounts import Accounts
from .connection import Connection
from .contracts import Contracts
from .history import History
from .market_data import MarketData
from .order_checks import OrderChecks
from .order_sync import OrderSync
from .orders import Orders


@dataclass(frozen=True)
class Rooms:
    """The rooms of one session."""

    connection: Connection
    contracts: Contracts
    market_data: MarketData
    accounts: Accounts
    checks: OrderChecks
    orders: Orders
    order_sync: OrderSync
    history: History
