"""The rooms of one connection: what each of them is handed, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vnpy_brokerkit.contract_cache import ContractCache
from vnpy_brokerkit.errors import PermissionDenied

from .access import Access
from .accounts import ACCOUNT, Accounts
from .connection import Address, Connection, Phase
from .contracts import Contracts
from .history import History
from .market_data import MarketData
from .order_checks import OrderChecks
from .order_sync import OrderSync
from .orders import Orders
from .positions import Positions
from .settings import Settings
from .wire.push import PushEvent

if TYPE_CHECKING:
    from .gateway import VbrokersGateway
    from .keepers import Keepers

SIMULATED_PREFIX = "SIM-"


@dataclass(frozen=True)
class Rooms:
    """What works together behind one connection."""

    connection: Connection
    contracts: Contracts
    market_data: MarketData
    accounts: Accounts
    positions: Positions
    checks: OrderChecks
    orders: Orders
    order_sync: OrderSync
    history: History


@dataclass(frozen=True)
class Hooks:
    """What the rooms call in their session."""

    access: Access
    keepers: Keepers
    synchronise: Callable[[], Awaitable[None]]
    on_push: Callable[[PushEvent], None]
    on_push_lost: Callable[[], None]
    denied: Callable[[str, PermissionDenied], None]


def furnish(
    gateway: VbrokersGateway, settings: Settings, hooks: Hooks, markets: list[str], folder: Path, address: Address
) -> Rooms:
    """Put the rooms of one session together. ``markets``: those that are served, fewer once one has been denied."""
    clock, timing = gateway.clock, gateway.timing
    limits = gateway.read_limits()
    connection = Connection(
        address,
        cipher=hooks.access.cipher,
        probe_market=settings.markets[0],
        clock=clock,
        timing=timing,
        list_rate=limits.list_reads_per_second,
        log=gateway.log,
        on_up=hooks.synchronise,
        on_push=hooks.on_push,
        on_push_lost=hooks.on_push_lost,
        on_refused_login=hooks.access.refused,
        on_good_login=hooks.access.accepted,
        on_round_trip=gateway.latencies.add,
    )
    contracts = Contracts(
        read=connection.read,
        clock=clock,
        cache=ContractCache(folder, gateway.gateway_name),
        gateway_name=gateway.gateway_name,
        on_contract=gateway.push_contract,
        log=gateway.log,
    )
    market_data = MarketData(
        read=connection.read,
        contracts=contracts,
        clock=clock,
        timing=timing,
        zone=gateway.zone,
        gateway_name=gateway.gateway_name,
        synthetic_percent=limits.synthetic_limit_percent,
        on_tick=gateway.push_tick,
        on_price=hooks.keepers.marks.price,
        log=gateway.log,
    )
    account = f"{SIMULATED_PREFIX if settings.embedded else ''}{ACCOUNT}"
    accounts = Accounts(
        read=connection.read,
        markets=lambda: markets,
        gateway_name=gateway.gateway_name,
        account=account,
        on_account=gateway.on_account,
        denied=hooks.denied,
    )
    positions = Positions(
        read_list=connection.read_list,
        markets=lambda: markets,
        board=market_data.board,
        gateway_name=gateway.gateway_name,
        account=account,
        shown=gateway.shown_positions,
        on_position=gateway.on_position,
        denied=hooks.denied,
        log=gateway.log,
    )
    checks = OrderChecks(
        settings=settings,
        markets=lambda: markets,
        market_data=market_data,
        sellable=positions.sellable,
        logged_in=lambda: connection.phase is Phase.UP,
        guard=gateway.guard,
        clock=clock,
        timing=timing,
        log=gateway.log,
    )
    orders = Orders(
        gateway,
        checks=checks,
        settings=settings,
        mutate=connection.mutate,
        learn_name=contracts.learn_name,
        denied=hooks.denied,
        clock=clock,
        timing=timing,
        on_change=hooks.keepers.moved,
    )
    order_sync = OrderSync(
        orders,
        gateway,
        read_list=connection.read_list,
        markets=lambda: markets,
        learn_name=contracts.learn_name,
        denied=hooks.denied,
        clock=clock,
        timing=timing,
    )
    history = History(gateway, settings, connection.read, contracts)
    return Rooms(connection, contracts, market_data, accounts, positions, checks, orders, order_sync, history)
