"""What is on its way to the broker: the orders and cancels that a close, or a new connect(), waits for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from .tracker import OrderTracker
from .waiting import within


class Underway:
    """The mutations of one gateway, and the cancelled orders whose end is still to come. For the loop thread."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending: set[str] = set()
        """Orders whose cancel was asked for and whose end has not been heard of."""
        self._ended = asyncio.Event()
        """Set when an order has ended."""

    def add(self, task: asyncio.Task[Any]) -> None:
        """A mutation has begun."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancelling(self, orderid: str) -> None:
        """The cancel of a working order was asked for."""
        self._ending.add(orderid)

    def ended(self, orderid: str) -> None:
        """An order works no more."""
        self._ending.discard(orderid)
        self._ended.set()

    async def answers(self, seconds: float) -> None:
        """Return when everything is answered, or after so many seconds: what has none by then is unknown."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    async def ends(self, tracker: OrderTracker, seconds: float) -> None:
        """The same, and what was cancelled has ended: that may follow its answer. Nothing is on its way after it."""
        with contextlib.suppress(asyncio.TimeoutError):
            await within(seconds, self._ends(tracker))
        self._tasks.clear()

    async def _ends(self, tracker: OrderTracker) -> None:
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        while any(order.active and order.orderid in self._ending for order in tracker):
            self._ended.clear()
            await self._ended.wait()
