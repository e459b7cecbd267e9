"""The rooms of one connection: what each of them is handed, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vnpy_brokerkit.contract_cache import ContractCache

from .accounts import Accounts
from .connection import Connection
from .contracts import Contracts, Key
from .executions import Executions
from .history import History
from .listener import Listener
from .market_data import MarketData
from .order_checks import OrderChecks
from .order_sync import OrderSync
from .orders import Orders
from .positions import Positions
from .rights import Rights
from .settings import Settings
from .wire.tws import Wire

if TYPE_CHECKING:
    from .gateway import IbkrGateway

SIMULATED_PREFIX = "SIM-"
Ports = tuple[int, ...]


@dataclass(frozen=True)
class Rooms:
    """What works together behind one connection."""

    connection: Connection
    contracts: Contracts
    market_data: MarketData
    accounts: Accounts
    positions: Positions
    orders: Orders
    executions: Executions
    order_sync: OrderSync
    history: History


@dataclass(frozen=True)
class Hooks:
    """What the rooms call in their session."""

    listener: Listener
    rights: Rights
    synchronise: Callable[[bool], Awaitable[None]]
    on_down: Callable[[], None]
    on_price: Callable[[str], None]
    in_use: Callable[[], set[Key]]
    funds_wanted: asyncio.Event


def furnish(gateway: IbkrGateway, settings: Settings, hooks: Hooks, folder: Path, host: str, ports: Ports) -> Rooms:
    """Put the rooms of one session together."""
    clock, timing = gateway.clock, gateway.timing
    limits = gateway.read_limits()
    connection = Connection(
        host=host,
        ports=ports,
        client_id=settings.client_id,
        listener=hooks.listener,
        clock=clock,
        timing=timing,
        log=gateway.log,
        on_up=hooks.synchronise,
        on_down=hooks.on_down,
        on_round_trip=gateway.latencies.add,
    )

    def wire() -> Wire:
        return connection.wire

    def account() -> str:
        return rights.account

    rights = hooks.rights
    contracts = Contracts(
        wire=wire,
        clock=clock,
        cache=ContractCache(folder, gateway.gateway_name),
        gateway_name=gateway.gateway_name,
        on_contract=gateway.push_contract,
        log=gateway.log,
    )
    market_data = MarketData(
        wire=wire,
        contracts=contracts,
        clock=clock,
        timing=timing,
        zone=gateway.zone,
        gateway_name=gateway.gateway_name,
        synthetic_percent=limits.synthetic_limit_percent,
        data_type=settings.data_type,
        on_tick=gateway.push_tick,
        on_price=hooks.on_price,
        log=gateway.log,
        in_use=hooks.in_use,
    )
    prefix = SIMULATED_PREFIX if settings.embedded else ""
    accounts = Accounts(
        wire=wire,
        gateway_name=gateway.gateway_name,
        account_prefix=prefix,
        trading_account=account,
        on_account=gateway.on_account,
        log=gateway.log,
        clock=clock,
    )
    positions = Positions(
        wire=wire,
        contracts=contracts,
        board=market_data.board,
        gateway_name=gateway.gateway_name,
        account_prefix=prefix,
        trading_account=account,
        on_position=gateway.on_position,
        spawn=gateway.spawn,
        log=gateway.log,
    )
    checks = OrderChecks(
        settings=settings,
        blocked=rights.blocked,
        account=account,
        can_short=rights.can_short,
        contracts=contracts,
        market_data=market_data,
        positions=positions,
        tracker=gateway.tracker,
        guard=gateway.guard,
        clock=clock,
        timing=timing,
        log=gateway.log,
    )
    orders = Orders(
        gateway,
        checks=checks,
        settings=settings,
        wire=wire,
        account=account,
        contracts=contracts,
        clock=clock,
        timing=timing,
        on_change=hooks.funds_wanted.set,
    )
    history = History(
        wire=wire,
        contracts=contracts,
        clock=clock,
        zone=gateway.zone,
        gateway_name=gateway.gateway_name,
        adjusted=settings.forward_adjusted,
        extended=settings.extended,
    )
    executions = Executions(
        orders,
        gateway,
        contracts=contracts,
        clock=clock,
        timing=timing,
        on_change=hooks.funds_wanted.set,
    )
    order_sync = OrderSync(
        orders,
        gateway,
        wire=wire,
        account=account,
        settings=settings,
        clock=clock,
        timing=timing,
        infer_missing=executions.infer_missing,
        listed_since=gateway.listed_since,
    )
    return Rooms(connection, contracts, market_data, accounts, positions, orders, executions, order_sync, history)
