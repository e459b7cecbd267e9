"""What a plugin writes: the async life of one ``connect()``. Every method runs in the gateway's loop thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnpy.trader.constant import Exchange
from vnpy.trader.object import BarData, HistoryRequest

from .health import Condition, Lamp
from .tracker import TrackedOrder

if TYPE_CHECKING:
    from .async_gateway import AsyncGateway


class Session:
    """One connection's life in the loop thread. A plugin overrides what it needs; every method runs in the loop."""

    def __init__(self, gateway: AsyncGateway) -> None:
        self.gateway = gateway
        self.failure = ""
        """Why it has given up until a person connects again, in words, or ``""``."""

    async def run(self) -> None:
        """Connect and stay connected until cancelled."""

    async def place(self, order: TrackedOrder) -> None:
        """Send one order of ours, at most once; tell ``gateway.tracker`` and the engine what becomes of it."""

    async def cancel(self, orderid: str) -> None:
        """Cancel one order."""

    def subscribe(self, symbol: str, exchange: Exchange) -> None:
        """Begin to show an instrument, given in its canonical spelling."""

    def query_account(self) -> None:
        """Read the funds soon."""

    def query_position(self) -> None:
        """Read the positions soon."""

    def reconcile_soon(self) -> None:
        """Compare everything with the broker soon, since somebody asked for it."""

    def condition(self) -> Condition:
        """Say how the channels are."""
        return Condition(Lamp.GOOD)

    async def bars(self, request: HistoryRequest) -> list[BarData]:
        """Return the bars of a request, complete, oldest first. Raises :class:`BrokerError` rather than a part."""
        return []

    async def release(self) -> None:
        """Close sockets and children."""
