"""The wire between the IBKR rooms and the model TWS: its face to the rooms, and TWS's listener at the other end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ib_async.contract import Contract
from ib_async.objects import CommissionReport, Execution
from ib_async.order import Order, OrderState

from tests.model_tws import Line, Tws
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, HistoryError, TimedOut
from vnpy_ibkr.wire.events import OrderStatus

if TYPE_CHECKING:
    from tests.model_ib_engine import IbEngine

Each = Callable[[Any], object]


@dataclass(eq=False)
class Pending:
    """A request that waits for its end."""

    future: asyncio.Future[list[Any]]
    each: Each | None
    rows: list[Any] = field(default_factory=list)

    def fail(self, error: BrokerError) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # nobody may be left to fetch it


class ModelWire:
    """The wire's face to the rooms, and TWS's listener at the other end."""

    def __init__(self, engine: IbEngine) -> None:
        self._engine = engine
        self._pending: dict[int | str, Pending] = {}
        self._next_id = max(engine.first_id, engine.tws.next_order_id)
        self.client: Any = ModelClient(self)
        self.line: Line = engine.tws.connect(self)
        self.closed = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self.line.alive and not self._engine.outlet.deaf

    def next_id(self) -> int:
        if not self.connected:
            raise ConnectionFailed("not connected", about="TWS")
        self._next_id += 1
        self._engine.first_id = max(self._engine.first_id, self._next_id)
        return self._next_id - 1

    def post(self, send: Callable[[], None], about: str) -> None:
        if not self.connected:
            raise ConnectionFailed("not connected", about=about)
        send()

    async def written(self) -> None:
        await asyncio.sleep(0)

    async def ask(
        self,
        send: Callable[[int], None],
        about: str,
        timeout: float = 10,
        *,
        each: Each | None = None,
    ) -> list[Any]:
        req_id = self.next_id()
        return await self._await(req_id, lambda: send(req_id), about, timeout, each)

    async def ask_plain(
        self, key: str, send: Callable[[], None], timeout: float = 10, *, each: Each | None = None
    ) -> list[Any]:
        while waiting := self._pending.get(key):
            if each is None and waiting.each is None:
                return await asyncio.shield(waiting.future)
            await asyncio.wait({waiting.future})
            await asyncio.sleep(0)  # who asked takes it away
        return await self._await(key, send, key, timeout, each)

    async def _await(
        self, key: int | str, send: Callable[[], None], about: str, timeout: float, each: Each | None
    ) -> list[Any]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        pending = self._pending[key] = Pending(future, each)
        try:
            self.post(send, about)
            await asyncio.wait({future}, timeout=timeout)
            if not future.done():
                raise TimedOut("no answer", about=about)
            return future.result()
        finally:
            pending.fail(ConnectionFailed("gave up", about=about))
            if self._pending.get(key) is pending:
                del self._pending[key]

    # ------------------------------------------------------------------ what TWS says

    def on_row(self, key: int | str, row: Any) -> None:
        pending = self._pending.get(key)
        if pending and pending.each:
            pending.each(row)
        elif pending:
            pending.rows.append(row)

    def on_end(self, key: int | str) -> None:
        pending = self._pending.get(key)
        if pending and not pending.future.done():
            pending.future.set_result(pending.rows)

    def fail(self, key: int | str, error: BrokerError) -> None:
        if pending := self._pending.get(key):
            pending.fail(error)

    def on_closed(self) -> None:
        for key in list(self._pending):
            self.fail(key, ConnectionFailed("connection lost", about="TWS"))
        self.closed.set()

    def on_open_order(self, contract: Contract, order: Order, state: OrderState) -> None:
        self._next_id = max(self._next_id, order.orderId + 1)
        self.on_row("openOrders", (contract, order, state))
        self._engine.hear(lambda orders, _executions: orders.on_open_order(contract, order, state))

    def on_order_status(self, status: OrderStatus) -> None:
        self._engine.hear(lambda orders, _executions: orders.on_order_status(status))

    def on_execution(self, contract: Contract, execution: Execution, asked: bool) -> None:
        self._engine.hear(lambda _orders, executions: executions.on_execution(contract, execution, asked))

    def on_commission(self, report: CommissionReport) -> None:
        self._engine.hear(lambda _orders, executions: executions.on_commission(report))

    def on_error(self, req_id: int, code: int, text: str) -> None:
        self._engine.on_code(req_id, code, text)

    def on_position(self) -> None:
        self._engine.on_position()


class ModelClient:
    """What ib_async's client sends, put on the way to TWS."""

    def __init__(self, wire: ModelWire) -> None:
        self._wire = wire

    def _send(self, act: Callable[[Tws], object]) -> None:
        tws = self._wire.line.tws
        self._wire.line.to_tws.send(tws.way(), lambda: act(tws))

    def _ask(self, key: int | str, act: Callable[[Tws], object]) -> None:
        def arrive(tws: Tws) -> None:
            mode = tws.answer_modes.popleft() if tws.answer_modes else ""
            if mode == "error" and isinstance(key, int):
                self._wire.fail(key, HistoryError("TWS internal error", about="reqExecutions", code="323"))
            elif mode != "silent" and not tws.stale:
                act(tws)

        self._send(arrive)

    def placeOrder(self, order_id: int, contract: Contract, order: Order) -> None:
        self._wire.line.tws.requests[order.orderRef.partition("|")[0]] += 1
        self._send(lambda tws: tws.place(order_id, contract, order))

    def cancelOrder(self, order_id: int) -> None:
        self._send(lambda tws: tws.cancel_order(order_id))

    def reqAllOpenOrders(self) -> None:
        self._ask("openOrders", lambda tws: tws.open_orders())

    def reqCompletedOrders(self, api_only: bool) -> None:
        self._ask("completedOrders", lambda tws: tws.completed_orders())

    def reqExecutions(self, req_id: int, wanted: object) -> None:
        self._ask(req_id, lambda tws: tws.executions(req_id))

    def reqIds(self, number: int) -> None:
        """ib_async keeps the counter."""
