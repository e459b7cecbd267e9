"""What stands in for ``AsyncGateway`` between the rooms and vn.py: it keeps what vn.py would be told, in order.

The tracker, the journal and the findings behind it are the real ones. A kill makes it deaf first: what a dying task
still says is heard by nobody, and stands on no disk.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from vnpy.trader.constant import Direction, Exchange, Offset, OrderType, Status
from vnpy.trader.object import OrderData, OrderRequest, TradeData

from tests.model_loop import LoopClock, VirtualLoop
from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.books import Books
from vnpy_brokerkit.findings import Findings
from vnpy_brokerkit.guard import Guard, Limits
from vnpy_brokerkit.identity import OrderIds
from vnpy_brokerkit.lifecycle import Happening
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import Fill, OrderTracker, TrackedOrder, exact

RANK = {
    Status.SUBMITTING: 0,
    Status.NOTTRADED: 1,
    Status.PARTTRADED: 2,
    Status.CANCELLED: 3,
    Status.REJECTED: 4,
    Status.ALLTRADED: 4,
}
"""How far along an order is; a cancelled one may turn out to have been filled to the end."""


@dataclass(frozen=True)
class Said:
    """An order event, and the second at which it was told."""

    at: float
    order: OrderData


@dataclass
class Life:
    """What one engine told vn.py from its start to its end."""

    began: float
    orders: list[Said] = field(default_factory=list)
    trades: list[TradeData] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def wrong(self) -> list[str]:
        """Whatever vn.py must never see."""
        problems: list[str] = []
        last: dict[str, OrderData] = {}
        for said in self.orders:
            order, before = said.order, last.get(said.order.orderid)
            if before and (order.traded < before.traded or RANK[order.status] < RANK[before.status]):
                problems.append(f"{order.orderid} went back: {before.status} {before.traded} -> {order}")
            last[order.orderid] = order
        seen: set[str] = set()
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for trade in self.trades:
            if trade.tradeid in seen:
                problems.append(f"trade {trade.tradeid} was told twice")
            seen.add(trade.tradeid)
            sums[trade.orderid] += exact(trade.volume)
        for orderid, total in sums.items():
            told = last.get(orderid)
            if told is None or total > exact(told.traded):
                problems.append(f"{orderid}: trades over {total}, order {told and told.traded}")
        problems += [line for line in self.lines if "内部错误" in line or "冲突" in line]
        return problems


class Outlet:
    """The gateway as the rooms see it. ``folder`` holds the journal, ``listed_since`` is the plugin's own."""

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        clock: LoopClock,
        timing: Timing,
        folder: Path,
        listed_since: Callable[[Exchange, datetime], datetime],
    ) -> None:
        self.gateway_name = name
        self.listed_since = listed_since
        self.clock = clock
        self.timing = timing
        self.tracker = OrderTracker(name)
        self.ids = OrderIds(name, clock.now())
        self.findings = Findings(name, clock)
        self.guard = Guard(Limits())
        self.books = Books(cast("AsyncGateway", self))
        self.life = Life(clock.monotonic())
        self.deaf = False
        self.mutations: set[asyncio.Task[Any]] = set()
        self._loop = loop
        self._folder = folder

    # ------------------------------------------------------------------ what the rooms call

    def push_order(self, order: TrackedOrder) -> None:
        if self.deaf:
            return
        data = self.tracker.order_data(order)
        order.shown = True
        self.books.follow(order)
        self.life.orders.append(Said(self.clock.monotonic(), data))

    def push_trade(self, order: TrackedOrder, fill: Fill) -> None:
        if self.deaf:
            return
        if not order.shown:
            self.push_order(order)
        self.books.fill(order, fill)
        self.life.trades.append(self.tracker.trade_data(order, fill))

    def refuse(self, order: TrackedOrder, reason: str) -> None:
        self.tracker.happen(order, Happening.REFUSED, reason)
        self.push_order(order)
        self.log(f"委托{order.orderid}被拒绝：{reason}")

    def note(self, order: TrackedOrder) -> None:
        if not self.deaf:
            self.books.follow(order)

    async def intend(self, order: TrackedOrder) -> None:
        if self.deaf:
            raise asyncio.CancelledError
        await self.books.intend(order)

    def know_foreign(self, broker_id: str) -> None:
        if not self.deaf:
            self.books.know_foreign(broker_id)

    def is_foreign(self, broker_id: str) -> bool:
        return self.books.is_foreign(broker_id)

    def log(self, text: str) -> None:
        if not self.deaf:
            self.life.lines.append(text)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = self._loop.create_task(self._guarded(work, name))
        task.add_done_callback(lambda _done: work.close())
        return task

    async def _guarded(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  told as the gateway tells it, and judged by its line
            self.log(f"内部错误（{name}）：{error!r}")

    # ------------------------------------------------------------------ what vn.py calls

    def take(
        self, symbol: str, exchange: Exchange, direction: Direction, kind: OrderType, volume: int, price: Decimal
    ) -> TrackedOrder:
        """Take an order as ``send_order`` does."""
        request = OrderRequest(symbol, exchange, direction, kind, volume, float(price), Offset.NONE, "甲")
        order = self.tracker.take(self.ids.next(), request, self.clock.now(), self.clock.monotonic())
        data = self.tracker.order_data(order)
        self.life.orders.append(Said(self.clock.monotonic(), data))
        return order

    def mutate(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Start an order or a cancel."""
        task = self.spawn(work, name)
        self.mutations.add(task)
        task.add_done_callback(self.mutations.discard)

    # ------------------------------------------------------------------ the end

    async def kill(self, spare: set[asyncio.Task[Any]], to: Path) -> None:
        """End as a killed process does: the journal's files, as they are at this moment, go on in folder ``to``."""
        self.deaf = True
        journal = self.books.journal
        # Copied before anything is closed: closing would tidy up what a kill leaves.
        _copy(self._folder, to)
        await self._loop.kill(spare)
        if journal and journal._connection:
            journal._connection.close()

    async def positions(self) -> dict[str, Decimal]:
        """What the journal says is held by the fills of our own orders."""
        if self.books.journal is None:
            return {}
        rows = await self.books.journal.positions()
        return {row.vt_symbol: row.volume for row in rows if row.volume}


def _copy(folder: Path, to: Path) -> None:
    to.mkdir()
    for path in folder.iterdir():
        shutil.copyfile(path, to / path.name)
