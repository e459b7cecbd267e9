"""What the simulated TWS writes for ``--keep``: its desk, the tickets of its orders, ids, executions, groups
(tws-api 12, 20.9). What belongs to a connection is not in it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from brokersim.kept_desk import KeptDesk
from brokersim.tws.hub import Group
from brokersim.tws.order_form import OrderForm
from brokersim.tws.tickets import Waits


class KeptTicket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One order as TWS has it, beside what the desk has of it."""

    perm_id: str
    con_id: int
    form: OrderForm
    client_id: int
    order_id: int
    is_named: bool
    """Is it what its client means by that order id: after a reset of the ids one that has ended is not."""
    waits: Waits
    held: bool
    expires: datetime | None
    triggered: bool
    announced: bool
    last_price: Decimal
    silent_end: bool
    unacknowledged: bool


class KeptExecution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What TWS tells of a fill beside the fill; in the order of the desk's fills."""

    average_price: Decimal
    realised: Decimal | None
    venue: str


class KeptTws(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it. ``highest``: the highest order id that each client has used."""

    desk: KeptDesk
    next_perm_id: int
    next_execution: int
    tickets: tuple[KeptTicket, ...]
    executions: tuple[KeptExecution, ...]
    highest: dict[int, int]
    last_bound: int
    groups: tuple[Group, ...] = ()
    aliases: dict[str, str] = {}
