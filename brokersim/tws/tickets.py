"""One order as TWS keeps it: whose it is, what it waits for, and its status in the wire's words (tws-api 12, 17)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from brokersim.model import ZERO, Fill, Order
from brokersim.tws.contracts import Listed
from brokersim.tws.order_form import OrderForm

Waits = Literal["", "transmit", "child", "trigger", "session"]
"""What an order that is not at the desk yet waits for: a person, its parent, its trigger, the regular session."""

WHY_HELD: dict[Waits, str] = {"": "", "transmit": "", "child": "child", "trigger": "trigger", "session": ""}
"""The words of orderStatus.whyHeld."""


@dataclass
class Ticket:
    """One order. ``order`` is what the desk matches and ``/state`` shows; ``client_id`` and ``order_id`` are 0 for an
    order from the phone, ``order_id`` is negative once client 0 has bound it."""

    listed: Listed
    form: OrderForm
    order: Order
    client_id: int
    order_id: int
    waits: Waits = ""
    held: bool = False
    """Does it wait for Transmit by the fault ``hold``, not by its own flag."""
    expires: datetime | None = None
    """When it ends by itself, where that is not the desk's business."""
    triggered: bool = False
    """Has a stop order met its stop price."""
    announced: bool = False
    """Has its client heard of it."""
    last_price: Decimal = ZERO
    """Of its last fill."""
    changing: bool = False
    """Is a modification being carried out: its status may then precede the execution (tws-api 8.2)."""
    silent_end: bool = False
    """Its cancellation needs no words: a rest that was not to wait."""
    unacknowledged: bool = False
    """Cancelled before the broker had it."""

    @property
    def perm_id(self) -> int:
        return int(self.order.id)

    @property
    def is_live(self) -> bool:
        return self.order.active

    @property
    def is_visible(self) -> bool:
        """Does the broker know of it: an order that waits for Transmit is nowhere on the wire."""
        return self.waits != "transmit"

    @property
    def average_price(self) -> Decimal:
        """Of its fills, in the contract's currency; 0 without one."""
        if not self.order.traded:
            return ZERO
        return self.order.turnover / self.order.traded / self.listed.size

    def status(self, in_hours: bool) -> str:
        """The wire's word. ``in_hours``: can it trade in the present segment."""
        order = self.order
        if order.status == "ALLTRADED":
            return "Filled"
        if order.status == "CANCELLED":
            return "ApiCancelled" if self.unacknowledged else "Cancelled"
        if order.status == "REJECTED":
            return "Inactive"
        if self.waits or (order.type == "STOP" and not self.triggered) or not in_hours:
            return "PreSubmitted"
        return "Submitted"

    @property
    def why_held(self) -> str:
        if self.waits:
            return WHY_HELD[self.waits]
        return "trigger" if self.order.active and self.order.type == "STOP" and not self.triggered else ""


@dataclass(frozen=True)
class Execution:
    """One fill with the order that it belongs to, as it stood then."""

    fill: Fill
    ticket: Ticket
    average_price: Decimal
    realised: Decimal | None
    """Profit of the part that closed a position, fee included; None when it opened one."""
    venue: str
