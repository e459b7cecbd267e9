"""The order and account rooms of the simulated TWS without sockets: what clients send is written by ib_async, what they
are sent is read by it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timezone
from decimal import Decimal
from typing import Any

from ib_async.client import Client as IbClient
from ib_async.contract import Contract, Stock
from ib_async.decoder import Decoder
from ib_async.order import LimitOrder, MarketOrder, Order

from brokersim.clock import SimClock
from brokersim.faults import FaultRegistry
from brokersim.half import Options, World
from brokersim.market import Market
from brokersim.tws.accounts import AccountRoom
from brokersim.tws.client import Client
from brokersim.tws.contracts import Contracts
from brokersim.tws.desk import TwsDesk
from brokersim.tws.framing import Reader, fields_of
from brokersim.tws.hub import Hub
from brokersim.tws.orders import OrderRoom
from brokersim.tws.switches import Switches

MARGIN, IRA, BUSINESS = "DU1000001", "DU1000002", "DU1000003"
AAPL = Stock("AAPL", "SMART", "USD")
TENCENT = Stock("700", "SEHK", "HKD")


@dataclass
class Heard:
    """A wrapper that keeps what ib_async's decoder calls: (name, arguments)."""

    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    defaultTimezone: timezone = timezone.utc

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args: self.calls.append((name, args))


def decoded(fields: list[str]) -> tuple[str, tuple[Any, ...]]:
    """One message as ib_async reads it; fails where ib_async fails."""
    heard = Heard()
    decoder = Decoder(heard, 178)  # type: ignore[arg-type] # any object with the wrapper's methods will do
    handler = decoder.handlers[int(fields[0])]
    assert handler is not None
    handler(fields)
    [call] = heard.calls
    return call


class Writer(IbClient):
    """ib_async's client, writing into a list in place of a socket."""

    def __init__(self) -> None:
        super().__init__(Heard())  # type: ignore[no-untyped-call] # ib_async does not type it
        self._serverVersion = 178
        self.written: list[list[str]] = []

    def isConnected(self) -> bool:
        return True

    def sendMsg(self, msg: str) -> None:
        self.written.append(msg.removesuffix("\0").split("\0"))


class Talker:
    """One API client of the rooms: it speaks through ib_async and keeps what it is sent."""

    def __init__(self, house: House, client_id: int) -> None:
        self.house = house
        self.client = Client(client_id + 100, None, self._hear)  # type: ignore[arg-type] # it writes to no socket
        self.client.client_id, self.client.ready = client_id, True
        self.writer = Writer()
        self.frames: list[list[str]] = []
        house.hub.clients[client_id] = self.client

    def _hear(self, client: Client, name: str, data: bytes) -> None:
        [size] = struct.unpack(">I", data[:4])
        assert size == len(data) - 4
        self.frames.append(fields_of(data[4:]))

    def __getattr__(self, name: str) -> Callable[..., list[tuple[str, tuple[Any, ...]]]]:
        """Any request of ib_async's client, carried out; what was sent back, decoded."""

        def request(*args: Any) -> list[tuple[str, tuple[Any, ...]]]:
            getattr(self.writer, name)(*args)
            self.house.carry_out(self.client, self.writer.written.pop())
            return self.heard()

        return request

    def heard(self) -> list[tuple[str, tuple[Any, ...]]]:
        """What has been sent since the last look."""
        frames, self.frames = self.frames, []
        return [decoded(frame) for frame in frames]

    def place(self, order_id: int, order: Order, contract: Contract = AAPL, **changes: Any) -> list[str]:
        """Place an order (of the margin account unless it says otherwise); what was sent back, in short."""
        order.account = order.account or MARGIN
        for name, value in changes.items():
            setattr(order, name, value)
        return [short(call) for call in self.placeOrder(order_id, contract, order)]

    def cancel(self, order_id: int) -> list[str]:
        return [short(call) for call in self.cancelOrder(order_id)]

    def news(self) -> list[str]:
        return [short(call) for call in self.heard()]


class House:
    """Desk, order room and account room on a market that stands still at 199.9 / 200.1."""

    def __init__(self, mode: Any = "wall") -> None:
        clock = SimClock(mode)
        market = Market(clock, None)
        self.world = World(clock, market, FaultRegistry(clock.now), Options())
        clock.paused = mode == "wall"
        self.desk = TwsDesk(self.world)
        self.hub = Hub(self.world, self.desk, Switches(), Contracts(market.instruments))
        self.orders = OrderRoom(self.hub)
        self.accounts = AccountRoom(self.hub)
        self.quote()

    def quote(self, bid: str = "199.9", ask: str = "200.1", size: int = 1000, last: str = "200") -> None:
        prices = {"last": Decimal(last), "bid": Decimal(bid), "ask": Decimal(ask)}
        self.world.market.set_quote("AAPL.SMART", **prices, bid_size=size, ask_size=size)

    def talker(self, client_id: int = 1) -> Talker:
        return Talker(self, client_id)

    def carry_out(self, client: Client, fields: list[str]) -> None:
        reader = Reader(fields)
        reader.skip()
        handler = {**self.orders.handlers(), **self.accounts.handlers()}[int(fields[0])]
        done = handler(self.hub, client, reader)
        if done is not None:
            asyncio.run(done)  # type: ignore[arg-type] # a handler is a coroutine function where it returns anything

    def order(self, index: int = -1) -> dict[str, str]:
        row: dict[str, str] = self.desk.state()["orders"][index]
        return row


def limit(action: str, size: float, price: float, **changes: Any) -> Order:
    return LimitOrder(action, size, price, tif="DAY", **changes)


def at_market(action: str, size: float, **changes: Any) -> Order:
    return MarketOrder(action, size, tif="DAY", **changes)


def short(call: tuple[str, tuple[Any, ...]]) -> str:
    """``openOrder Filled``, ``orderStatus Filled 100/0``, ``error 202``, ``execDetails BOT 100@200.1``."""
    name, args = call
    if name == "openOrder":
        return f"openOrder {args[3].status}"
    if name == "orderStatus":
        why = f" {args[9]}" if args[9] else ""
        return f"orderStatus {args[1]} {args[2]:g}/{args[3]:g}{why}"
    if name == "error":
        return f"error {args[1]}"
    if name == "execDetails":
        return f"execDetails {args[2].side} {args[2].shares:g}@{args[2].price:g}"
    return name
