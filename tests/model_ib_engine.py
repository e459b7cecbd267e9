"""One engine's life on the model TWS: the real rooms of the IBKR plugin, its journal, and what keeps them going.

The wire, the connection and the keeper of the orders are told here in a few lines, as ``wire/tws.py``,
``connection.py`` and ``session.py`` have them; everything between them and vn.py is the product's own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from ib_async.contract import Contract
from ib_async.order import Order
from vnpy.trader.constant import Direction, Exchange, OrderType

from tests.model_ib_wire import ModelWire
from tests.model_loop import LoopClock, VirtualLoop, until_first
from tests.model_outlet import Outlet
from tests.model_tws import ACCOUNT, CLIENT, Tws
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed
from vnpy_brokerkit.findings import Occasion
from vnpy_brokerkit.refusal import Refusal
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import TrackedOrder
from vnpy_brokerkit.waiting import within
from vnpy_ibkr.contracts import Contracts
from vnpy_ibkr.executions import Executions
from vnpy_ibkr.gateway import IbkrGateway
from vnpy_ibkr.order_checks import DIRECTION_VT2IB, TYPE_VT2IB, OrderChecks
from vnpy_ibkr.order_sync import OrderSync
from vnpy_ibkr.orders import Orders
from vnpy_ibkr.settings import read_settings
from vnpy_ibkr.wire.texts import escape
from vnpy_ibkr.wire.tws import Wire

NAME = "IBKR"
TIMING = Timing()
SETTINGS = read_settings({"环境": "模拟盘", "交易账户": ACCOUNT, "客户号": str(CLIENT)})
STOCKS = ("IBM", "AAPL", "TSLA")
PRICES = {OrderType.LIMIT: Decimal(100), OrderType.MARKET: Decimal(0), OrderType.STOP: Decimal(110)}
LINK_LOST, LINK_BACK_LOST, LINK_BACK_KEPT = 1100, 1101, 1102


def listed_since(exchange: Exchange, now: datetime) -> datetime:
    """The gateway's own answer, which needs nothing of a gateway."""
    return IbkrGateway.listed_since(cast("IbkrGateway", None), exchange, now)


class ModelContracts:
    """Instruments by conId; one that was never seen is looked up first, which takes a moment and a connection."""

    def __init__(self, engine: IbEngine) -> None:
        self._engine = engine
        self._known: set[int] = set()

    def by_con_id(self, con_id: int) -> bool:
        return con_id in self._known

    def canonical_of(self, contract: Contract) -> tuple[str, Exchange]:
        return STOCKS[contract.conId - 1], Exchange.SMART

    async def identify(self, contracts: Iterable[Contract]) -> None:
        wanted = {contract.conId for contract in contracts} - self._known
        if wanted:
            await self._engine.clock.sleep(self._engine.tws.way())
            self._engine.present_wire()
            self._known |= wanted


class ModelChecks:
    """Every order may go out while the link is up, once its quote is there."""

    def __init__(self, engine: IbEngine) -> None:
        self._engine = engine

    async def prepare(self, order: TrackedOrder) -> tuple[SimpleNamespace, Order]:
        engine = self._engine
        if not engine.ready:
            raise Refusal("not ready")
        if wait := engine.quotes.get(order.orderid):
            await engine.clock.sleep(wait)
        if not engine.ready or engine.clock.monotonic() - order.born > TIMING.order_max_age:
            raise Refusal("not ready, or too old")
        made = Order(
            action=DIRECTION_VT2IB[order.direction],
            totalQuantity=float(order.volume),
            orderType=TYPE_VT2IB[order.type],
            account=ACCOUNT,
            orderRef=f"{order.orderid}|{escape(order.reference)}",
        )
        if order.type is OrderType.LIMIT:
            made.lmtPrice = float(order.price)
        elif order.type is OrderType.STOP:
            made.auxPrice = float(order.price)
        return SimpleNamespace(contract=Contract(conId=STOCKS.index(order.symbol) + 1, symbol=order.symbol)), made


class IbEngine:
    """From the start of a process to its end."""

    orders_class: type[Orders] = Orders
    executions_class: type[Executions] = Executions
    sync_class: type[OrderSync] = OrderSync

    def __init__(self, loop: VirtualLoop, clock: LoopClock, tws: Tws, folder: Path) -> None:
        self.clock = clock
        self.tws = tws
        self.folder = folder
        self.outlet = Outlet(NAME, loop, clock, TIMING, folder, listed_since)
        self.quotes: dict[str, float] = {}
        self.first_id = 0
        self.ready = False
        self.orders: Orders | None = None
        self._executions: Executions | None = None
        self._sync: OrderSync | None = None
        self._wire: ModelWire | None = None
        self._runner: asyncio.Task[None] | None = None
        self._again = asyncio.Event()
        self._data_lost = False
        self._stale = False

    def present_wire(self) -> Wire:
        if self._wire is None or not self._wire.connected:
            raise ConnectionFailed("not connected", about="TWS")
        return cast("Wire", self._wire)

    def _furnish(self) -> OrderSync:
        contracts = cast("Contracts", ModelContracts(self))
        common: dict[str, Any] = {"clock": self.clock, "timing": TIMING}
        self.orders = self.orders_class(
            self.outlet,
            checks=cast("OrderChecks", ModelChecks(self)),
            settings=SETTINGS,
            wire=self.present_wire,
            account=lambda: ACCOUNT,
            contracts=contracts,
            on_change=lambda: None,
            **common,
        )
        self._executions = self.executions_class(
            self.orders, self.outlet, contracts=contracts, on_change=lambda: None, **common
        )
        self._sync = self.sync_class(
            self.orders,
            self.outlet,
            wire=self.present_wire,
            account=lambda: ACCOUNT,
            settings=SETTINGS,
            infer_missing=self._executions.infer_missing,
            listed_since=listed_since,
            **common,
        )
        return self._sync

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        self._runner = self.outlet.spawn(self._run(), "session")

    async def _run(self) -> None:
        sync = self._furnish()
        await until_first(self._connection(sync), self._keep_orders(sync))

    async def renew(self) -> None:
        """connect() again: what is on its way is waited for, then everything but the tracker is made anew."""
        if self.outlet.mutations:
            await asyncio.wait(set(self.outlet.mutations), timeout=TIMING.close_answers)
        await self._stop()
        self.start()

    async def _stop(self) -> None:
        if self._runner:
            self._runner.cancel()
            await asyncio.wait({self._runner})
        self.tws.leave(delivered=True)

    async def kill(self, spare: set[asyncio.Task[Any]], to: Path, *, written: bool) -> None:
        self.tws.leave(delivered=written)
        await self.outlet.kill(spare, to)

    async def close(self) -> None:
        await self._stop()
        await self.outlet.books.close()

    async def _connection(self, sync: OrderSync) -> None:
        while True:
            if not self.tws.up:
                await self.clock.sleep(TIMING.reconnect)
                continue
            await self.clock.sleep(0.01)
            began = self.clock.monotonic()
            self._wire = wire = ModelWire(self)
            self._stale, self._data_lost = False, True
            self._again.set()
            try:
                await until_first(self._synchronise(sync), self._lost(wire))
            except BrokerError as error:
                self.outlet.log(f"TWS连接已放弃（{error.text}），重新连接")
            finally:
                self._wire = None
                if self.tws.line is wire.line:
                    self.tws.leave(delivered=True)
                wire.on_closed()
                self._on_down(link_down=True)
            if self.clock.monotonic() - began < TIMING.reconnect:
                await self.clock.sleep(TIMING.reconnect)

    @staticmethod
    async def _lost(wire: ModelWire) -> None:
        await wire.closed.wait()

    async def _synchronise(self, sync: OrderSync) -> None:
        while True:
            await self._again.wait()
            self._again.clear()
            data_lost, self._data_lost = self._data_lost, False
            if data_lost:
                await self.outlet.books.open(self.folder, "model", ACCOUNT)
            self.outlet.findings.begin()
            if self.orders:
                self.orders.cancels.recall()
            await sync.reconcile()
            self.ready = True
            self._report(sync, Occasion.RECONNECT)

    def _report(self, sync: OrderSync, occasion: Occasion) -> None:
        unknown = self.outlet.tracker.unknown()
        self.outlet.findings.report(occasion, unknown, complete=not sync.incomplete)

    async def _keep_orders(self, sync: OrderSync) -> None:
        """As in ``IbkrSession``."""
        assert self.orders is not None
        wanted = self.orders.wanted
        while True:
            busy = bool(self.outlet.tracker.active()) or sync.incomplete
            pause = TIMING.orders_poll if busy else TIMING.orders_poll_idle
            with contextlib.suppress(asyncio.TimeoutError):
                await within(pause, wanted.wait())
            if not self.ready:
                await self.clock.sleep(min(pause, 0.2))
                continue
            everything = wanted.is_set() or sync.incomplete
            wanted.clear()
            try:
                self.outlet.findings.begin()
                await (sync.reconcile() if everything else sync.refresh())
                self._report(sync, Occasion.TIMER)
            except BrokerError as error:
                self.outlet.log(f"查询失败，将自动重试：{error}")
            except Exception as error:  # noqa: BLE001  told as the session tells it, and judged by its line
                self.outlet.log(f"内部错误：{error!r}")
            await self.clock.sleep(TIMING.settle_apart)

    def _on_down(self, *, link_down: bool) -> None:
        self.ready = False
        if self.orders and not self.outlet.deaf:
            self.orders.cancels.recall()
            if link_down:
                self.orders.lose_connection()

    # ------------------------------------------------------------------ what TWS says

    def hear(self, take: Callable[[Orders, Executions], None]) -> None:
        if self.orders and self._executions and not self.outlet.deaf:
            take(self.orders, self._executions)

    def on_code(self, req_id: int, code: int, text: str) -> None:
        if code == LINK_LOST:
            self._stale = True
            self._on_down(link_down=False)
        elif code in (LINK_BACK_LOST, LINK_BACK_KEPT):
            self._stale = False
            self._data_lost = self._data_lost or code == LINK_BACK_LOST
            self._again.set()
        else:
            self.hear(lambda orders, _executions: _take_code(orders, req_id, code, text))

    def on_position(self) -> None:
        if self.ready:
            self.hear(lambda orders, _executions: orders.wanted.set())

    # ------------------------------------------------------------------ what vn.py calls

    def take(self, stock: int, direction: Direction, kind: OrderType, volume: int) -> TrackedOrder:
        return self.outlet.take(STOCKS[stock], Exchange.SMART, direction, kind, volume, PRICES[kind])

    def place(self, order: TrackedOrder) -> None:
        if self.orders is None:
            self.outlet.refuse(order, "not connected")
        else:
            self.outlet.mutate(self.orders.place(order), "order")

    def cancel(self, orderid: str) -> None:
        if self.orders:
            self.outlet.mutate(self.orders.cancel(orderid), "cancel")

    def cancel_all(self) -> None:
        if self.orders:
            self.outlet.mutate(self.orders.cancel_all(), "cancel all")


def _take_code(orders: Orders, req_id: int, code: int, text: str) -> None:
    orders.on_code(req_id, code, text, "")
