"""What TWS says unasked, handed to the room that it is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ib_async.contract import Contract
from ib_async.objects import CommissionReport, Execution
from ib_async.order import Order, OrderState

from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.pacing import Patience

from .errors import words_for
from .wire.events import OrderStatus

if TYPE_CHECKING:
    from .rooms import Rooms

REFUSED_AS_INVALID = 321


class Listener:
    """The ear of one session. ``rooms`` are None until there is a connection; ``on_position`` is told of any change."""

    def __init__(
        self,
        *,
        rooms: Callable[[], Rooms | None],
        on_position: Callable[[], None],
        patience: Patience,
        log: Callable[[str], None],
    ) -> None:
        self._rooms = rooms
        self._on_position = on_position
        self._patience = patience
        self._log = log
        self._said_once: set[int] = set()
        """Codes that are told once on a connection."""

    def reset(self) -> None:
        """The connection is gone: what was told once may be told again on the next."""
        self._said_once.clear()

    def on_error(self, req_id: int, code: int, text: str, reject_json: str) -> None:
        rooms = self._rooms()
        if rooms is None:
            return
        if rooms.connection.on_code(code, text):
            rooms.market_data.on_farm(code, text)
            return
        if req_id not in (0, -1) and rooms.orders.on_code(req_id, code, text, reject_json):
            return
        if code == REFUSED_AS_INVALID:
            # A read-only API refuses every list, and would say so at each reading.
            if code in self._said_once:
                return
            self._said_once.add(code)
        if self._patience.may_say(f"code-{code}-{req_id}"):
            self._log(words_for(code, text))

    def on_open_order(self, contract: Contract, order: Order, state: OrderState) -> None:
        if rooms := self._rooms():
            rooms.orders.on_open_order(contract, order, state)

    def on_order_status(self, status: OrderStatus) -> None:
        if rooms := self._rooms():
            rooms.orders.on_order_status(status)

    def on_execution(self, contract: Contract, execution: Execution, asked: bool) -> None:
        if rooms := self._rooms():
            rooms.executions.on_execution(contract, execution, asked)

    def on_commission(self, report: CommissionReport) -> None:
        if rooms := self._rooms():
            rooms.executions.on_commission(report)

    def on_account_value(self, key: str, value: str, currency: str, account: str) -> None:
        if rooms := self._rooms():
            rooms.accounts.on_account_value(key, value, currency, account)

    def on_position(self, account: str, contract: Contract, volume: float, cost: float) -> None:
        if rooms := self._rooms():
            rooms.positions.on_position(account, contract, volume, cost)
            self._on_position()

    def on_order_id(self, next_id: int) -> None:
        """ib_async keeps the counter; nothing else depends on it."""

    def on_order_bound(self, perm_id: int, client_id: int, order_id: int) -> None:
        if rooms := self._rooms():
            rooms.orders.on_bound(perm_id, client_id, order_id)

    def on_bad_message(self, text: str) -> None:
        if self._patience.may_say("bad-message"):
            self._log(_("一条TWS消息无法解析，已跳过：{}").format(text))
        if rooms := self._rooms():
            rooms.orders.wanted.set()  # it may have been news of an order
