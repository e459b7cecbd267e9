"""What a plugin's orders see of their gateway: where they tell the engine, the journal and the log what they know."""

from __future__ import annotations

from typing import Protocol

from .findings import Findings
from .identity import OrderIds
from .tracker import Fill, OrderTracker, TrackedOrder


class OrderOutlet(Protocol):
    """The part of :class:`~vnpy_brokerkit.async_gateway.AsyncGateway` that both plugins' orders need."""

    tracker: OrderTracker
    ids: OrderIds
    findings: Findings

    def push_order(self, order: TrackedOrder) -> None: ...
    def push_trade(self, order: TrackedOrder, fill: Fill) -> None: ...
    def refuse(self, order: TrackedOrder, reason: str) -> None: ...
    async def intend(self, order: TrackedOrder) -> None: ...
    def note(self, order: TrackedOrder) -> None: ...
    def log(self, text: str) -> None: ...
