"""What the wire tells its listeners: protocols and messages (tws-api 6, 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ib_async.contract import Contract
from ib_async.objects import CommissionReport, Execution
from ib_async.order import Order, OrderState


class Listener(Protocol):
    """What the connection, the orders and the accounts hear without having asked."""

    def on_error(self, req_id: int, code: int, text: str, reject_json: str) -> None: ...
    def on_open_order(self, contract: Contract, order: Order, state: OrderState) -> None: ...
    def on_order_status(self, status: OrderStatus) -> None: ...
    def on_execution(self, contract: Contract, execution: Execution, asked: bool) -> None: ...
    def on_commission(self, report: CommissionReport) -> None: ...
    def on_account_value(self, key: str, value: str, currency: str, account: str) -> None: ...
    def on_position(self, account: str, contract: Contract, volume: float, cost: float) -> None: ...
    def on_order_id(self, next_id: int) -> None: ...
    def on_order_bound(self, perm_id: int, client_id: int, order_id: int) -> None: ...
    def on_bad_message(self, text: str) -> None: ...


class Stream(Protocol):
    """Who listens to one market data, depth or bar request."""

    def on_price(self, kind: int, price: float, size: float) -> None: ...
    def on_size(self, kind: int, size: float) -> None: ...
    def on_text(self, kind: int, value: str) -> None: ...
    def on_number(self, kind: int, value: float) -> None: ...
    def on_data_type(self, kind: int) -> None: ...
    def on_depth(self, position: int, operation: int, side: int, price: float, size: float) -> None: ...
    def on_snapshot_end(self) -> None: ...
    def on_stream_error(self, code: int, text: str) -> None: ...


@dataclass(frozen=True)
class OrderStatus:
    """Message 3. ``filled`` and ``remaining`` in shares, ``why_held`` comma-joined."""

    order_id: int
    status: str
    filled: float
    remaining: float
    average: float
    perm_id: int
    parent_id: int
    last_price: float
    client_id: int
    why_held: str


@dataclass(frozen=True)
class CompletedOrder:
    """Message 101: no orderId and no clientId; match by permId or orderRef (section 7.2)."""

    contract: Contract
    order: Order
    state: OrderState
