"""The simulated OpenAPI Gateway: its inside put together, one ledger and desk behind one HTTP and one push port."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from brokersim.fees import FeeSchedule
from brokersim.half import BadCall, PhoneOrder, World, decimal, positive_volume, switches_of
from brokersim.hstong.access import Access
from brokersim.hstong.assets import Assets
from brokersim.hstong.backend import ACCOUNT, OPENING_CASH, Backend
from brokersim.hstong.bars import Bars
from brokersim.hstong.codes import MARKET_OF_EXCHANGE, Directory, GatewayError
from brokersim.hstong.conditional import ConditionalOrders, CondOrder, KeptCondOrder
from brokersim.hstong.dispatch import Dispatcher
from brokersim.hstong.door import Door
from brokersim.hstong.feed import Feed
from brokersim.hstong.lists import Lists
from brokersim.hstong.notices import OrderNotices
from brokersim.hstong.orders import EXTENDED, REGULAR, Orders
from brokersim.hstong.push import PushServer
from brokersim.hstong.quotes import Quotes
from brokersim.hstong.session import LoginSession
from brokersim.hstong.switches import Switches
from brokersim.kept_desk import KeptDesk
from brokersim.ledger import Ledger
from brokersim.matching import Desk
from brokersim.model import Fill, Order
from brokersim.switches import BadSwitch

PHONE_SIDES = {"LONG": "1", "SHORT": "2"}
PHONE_TYPES: dict[tuple[str, str], str] = {
    ("K", "LIMIT"): "2",
    ("P", "LIMIT"): "3",
    ("P", "MARKET"): "5",
    ("v", "LIMIT"): "3",
    ("t", "LIMIT"): "3",
}
"""The entrustType of an order from the phone, by market and type."""
COND_EXTENDED = frozenset({"6", "7", "8", "9"})
"""Conditional sessionTypes whose order may trade outside the regular session (9.2)."""
IDS_A_SECOND = 100_000
"""Ids begin with the time at which the simulator starts, so that they are not those of an earlier run."""


class KeptVbrokers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the simulated Gateway writes for ``--keep``: its desk, the next order id, its conditional orders."""

    desk: KeptDesk
    next_id: int
    conditional: tuple[KeptCondOrder, ...]


class VbrokersHalf:
    """The VBrokers half of the simulator."""

    name = "vbrokers"

    def __init__(self, world: World) -> None:
        options = world.options
        self._changes = 0
        self.switches = Switches()
        self.change_switches(switches_of(options.switches, self.name))
        self._next = int(world.clock.now().timestamp() * IDS_A_SECOND)
        next_id = self._next_id
        ledger = Ledger({ACCOUNT: OPENING_CASH}, world.market)
        self.desk = Desk(world.market, ledger, world.clock, allow_short=False, fees=FeeSchedule(), next_id=next_id)
        self.backend = Backend(
            market=world.market,
            clock=world.clock,
            desk=self.desk,
            switches=self.switches,
            directory=Directory(world.market.instruments),
            session=LoginSession(world.clock.now, lambda: self.switches.session_s),
        )
        self.push = PushServer(options.push_port, world.faults, world.clock.now)
        self._notices = OrderNotices(self.backend, self.push.publish)
        self.desk.on_change = self._on_change
        self.conditional = conditional = ConditionalOrders(self.backend, next_id, self._place_triggered)
        self.orders = Orders(self.backend, self._notices, conditional, next_id)
        feed = Feed(self.backend, self.push.publish, lambda: self.push.is_heard)
        self.backend.session.on_end = feed.clear
        world.market.listeners.append(feed.on_quote)
        quotes = Quotes(self.backend, feed)
        lists = Lists(self.backend)
        parts = (
            Access(self.backend, options.password),
            Assets(self.backend),
            self.orders,
            conditional,
            lists,
            feed,
            quotes,
            Bars(self.backend, quotes),
        )
        routes = {path: act for part in parts for path, act in part.routes.items()}
        dispatcher = Dispatcher(routes, self.backend.session, self.switches)
        self.door = Door(world, self.backend, dispatcher, lists, self.push)
        for position in options.positions:
            if position.broker == self.name:
                self._open_position(position.account, position.vt_symbol, position.volume, str(position.price))

    def bind(self) -> None:
        self.door.bind()

    async def open(self) -> None:
        await self.door.open()

    def addresses(self) -> dict[str, str]:
        return self.door.addresses()

    def state(self) -> dict[str, Any]:
        return self.desk.state()

    def wire(self) -> dict[str, int]:
        return dict(self.door.received)

    def place(self, order: PhoneOrder) -> str:
        if order.account not in (None, ACCOUNT):
            raise BadCall(f"broker {self.name!r} has no account {order.account!r}: its only one is {ACCOUNT!r}")
        instrument = self.backend.directory.by_vt_symbol(order.vt_symbol)
        if instrument is None:
            raise BadCall(f"broker {self.name!r} has no instrument {order.vt_symbol!r}")
        kind = PHONE_TYPES.get((MARKET_OF_EXCHANGE[instrument.exchange].exchange_type, order.type))
        if kind is None:
            raise BadCall(f"broker {self.name!r} takes no {order.type} order on {instrument.exchange}")
        volume, price = positive_volume(order.volume), decimal(order.price or 0, "price")
        try:
            return self.orders.place(instrument, PHONE_SIDES[order.direction], kind, price, volume).id
        except GatewayError as error:
            raise BadCall(f"order refused: {error.text}") from error

    def change_switches(self, changes: Mapping[str, object]) -> dict[str, Any]:
        try:
            self.switches.change(changes)
        except BadSwitch as error:
            raise BadCall(str(error)) from error
        return dataclasses.asdict(self.switches)

    @property
    def changes(self) -> int:
        return self._changes + self.conditional.changes

    def keep(self) -> KeptVbrokers:
        return KeptVbrokers(self.desk.keep(), self._next, self.conditional.keep())

    def restore(self, kept: bytes, at: datetime) -> None:
        standing = msgspec.json.decode(kept, type=KeptVbrokers)
        self.desk.restore(standing.desk)
        self._next = standing.next_id
        self.conditional.restore(standing.conditional)
        self.desk.end_day(at)

    async def turn(self) -> None:
        await self.door.turn()

    def clear_faults(self) -> None:
        self.door.clear_faults()

    async def settle(self) -> None:
        await self.push.settle()

    async def stop(self) -> None:
        await self.door.stop()

    def _next_id(self) -> str:
        """Order ids: opaque, growing, and not those of an earlier run."""
        given = self._next
        self._next += 1
        return str(given)

    def _on_change(self, order: Order, fill: Fill | None) -> None:
        self._changes += 1
        self._notices.on_change(order, fill)

    def _place_triggered(self, order: CondOrder, kind: str, price: Any) -> str:
        session = EXTENDED if order.session in COND_EXTENDED else REGULAR
        return self.orders.place(order.instrument, order.side, kind, price, order.volume, session=session).id

    def _open_position(self, account: str, vt_symbol: str, volume: int, price: str) -> None:
        if account != ACCOUNT or self.backend.directory.by_vt_symbol(vt_symbol) is None:
            raise BadCall(f"positions: broker {self.name!r} has no {vt_symbol!r} in account {account!r}")
        self.desk.ledger.open_position(account, vt_symbol, volume, decimal(price, "price"))
