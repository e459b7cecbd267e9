"""What the rooms of the simulated TWS share: the market, the desk, the contracts and the connected clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from brokersim.clock import SimClock
from brokersim.half import World
from brokersim.ledger import Ledger
from brokersim.market import Market
from brokersim.model import Instrument
from brokersim.tws.client import Client
from brokersim.tws.contracts import Contracts
from brokersim.tws.framing import Reader
from brokersim.tws.switches import Switches
from brokersim.tws.times import time_text

if TYPE_CHECKING:
    from brokersim.tws.desk import TwsDesk

MOST_ACCOUNTS = 60
ALL_ACCOUNTS = tuple(f"DU{1_000_001 + index}" for index in range(MOST_ACCOUNTS))
"""Every account that a login may have; those after the third are margin accounts (tws-api 20.15)."""
ACCOUNTS = ALL_ACCOUNTS[:3]
"""A margin account, a Roth IRA, a business account (design 7)."""
IRA = "DU1000002"
ADVISOR = "DF1000000"
"""The master account of an advisor's login: it has no money of its own (tws-api 13)."""
EVERYBODY = "All"
"""The virtual account of everybody's values on an advisor's login (tws-api 13, uncertain)."""
OPENING_CASH = {"USD": 1_000_000, "HKD": 5_000_000}

Handler = Callable[["Hub", Client, Reader], "Awaitable[None] | None"]
"""Carries out one request; the reader stands behind the message id. What it raises as
:class:`~brokersim.tws.framing.FieldError` is answered 320."""


@dataclass(frozen=True)
class Group:
    """An advisor's group: accounts among which an order is spread by a method."""

    name: str
    method: str
    accounts: tuple[str, ...]


class Room(Protocol):
    """A part of TWS that answers some requests."""

    def handlers(self) -> dict[int, Handler]:
        """Message id -> who answers it."""

    def forget(self, client: Client) -> None:
        """A client is gone: its subscriptions end."""


def _nobody() -> str:
    return ""


def _first(client_id: int) -> int:
    return 1


@dataclass
class Hub:
    """One simulated TWS. ``clients`` holds those that are ready, by client id."""

    world: World
    desk: TwsDesk
    switches: Switches
    contracts: Contracts
    clients: dict[int, Client] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    """The advisor's, by name."""
    aliases: dict[str, str] = field(default_factory=dict)
    """The names that the advisor gave accounts."""
    changes: int = 0
    """Grows with everything that ``--keep`` must write."""
    managed_accounts: Callable[[], str] = _nobody
    """The account list of message 15; the account room's."""
    next_order_id: Callable[[int], int] = _first
    """The order id that message 9 tells a client id; the order room's."""
    on_ready: list[Callable[[Client], None]] = field(default_factory=list)
    """Called when a client has been welcomed (15, 9 and the farm notices are sent)."""

    @property
    def sub_accounts(self) -> tuple[str, ...]:
        """The accounts of this login that hold money."""
        return ALL_ACCOUNTS[: self.switches.accounts]

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts of this login; an advisor's own is the first."""
        return (ADVISOR, *self.sub_accounts) if self.switches.fa else self.sub_accounts

    @property
    def market(self) -> Market:
        return self.world.market

    @property
    def clock(self) -> SimClock:
        return self.world.clock

    @property
    def ledger(self) -> Ledger:
        return self.desk.ledger

    def time_text(self, at: datetime, instrument: Instrument) -> str:
        """A time of an order, execution or bar as this TWS is set to write it (switch ``zone_text``)."""
        return time_text(at, instrument, self.switches.zone_text)
