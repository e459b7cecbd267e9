"""An order desk and its ledger as ``--keep`` writes them, and what must hold of them when they are read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from decimal import Decimal

import msgspec

from brokersim.ledger import OpenedPosition
from brokersim.model import Fill, Order


class KeptDesk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a desk needs to go on. The books are not in it: opening cash, opening positions and the fills
    make them."""

    opening: dict[str, dict[str, Decimal]]
    given: tuple[OpenedPosition, ...]
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    working: dict[str, datetime | None]
    """The orders at the desk, and when each expires by the clock; None where no day ends by itself."""
    lasting: tuple[str, ...]
    """Those of them that are good till cancelled."""
    triggered: tuple[str, ...]
    """Stop orders that have met their stop."""

    def check(self, instruments: Collection[str]) -> None:
        """Raise ValueError, with one line, when it contradicts itself or names what this market does not have."""
        orders = {order.id: order for order in self.orders}
        if len(orders) != len(self.orders):
            raise ValueError("an order is in it twice")
        if len({fill.id for fill in self.fills}) != len(self.fills):
            raise ValueError("a fill is in it twice")
        named = {*(one.vt_symbol for one in self.orders), *(one.vt_symbol for one in self.fills)}
        if unknown := sorted({*named, *(one.vt_symbol for one in self.given)} - set(instruments)):
            raise ValueError(f"this market has no {unknown[0]}")
        filled: Counter[str] = Counter()
        for fill in self.fills:
            filled[fill.order_id] += fill.volume
        for order_id in (*self.working, *filled):
            if order_id not in orders:
                raise ValueError(f"order {order_id} is missing")
        for order in self.orders:
            if filled[order.id] != order.traded:
                raise ValueError(f"order {order.id}: traded {order.traded}, its fills make {filled[order.id]}")
        for order_id in self.working:
            if not orders[order_id].active:
                raise ValueError(f"order {order_id} works and has ended")
