"""What the suite needs of a broker, so that it can cause what a gateway alone cannot: fills, faults, other people's
orders.

A :class:`Venue` is one broker that a gateway connects to: a simulated one, or a real one's paper account with as much
of this as can be had there. Each check gets a new one, between ``start()`` and ``end()``. What a venue cannot do it
names in ``lacks``, and the checks that need it are not applicable there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from vnpy.trader.constant import Direction, OrderType, Status

QUOTE = "quote"
"""Put the market somewhere: fills orders, wholly and in part."""
FLOW = "flow"
"""Let quotes and trades move by themselves."""
ELSEWHERE = "elsewhere"
"""Place an order past the gateway: another program, the broker's own."""
REFUSE = "refuse"
"""Refuse the next order, in words."""
CUT = "cut"
"""End the connection and let none be made."""
SILENCE = "silence"
"""Leave the connection open and answer nothing."""
MARKET_ORDER = "market order"
"""Take market orders."""
SECOND_SEAT = "second seat"
"""Take two gateways at once."""

FEATURES = (QUOTE, FLOW, ELSEWHERE, REFUSE, CUT, SILENCE, MARKET_ORDER, SECOND_SEAT)


@dataclass(frozen=True)
class Ground:
    """An instrument to trade. ``bid`` and ``ask`` are where the venue's quote stands when it has started, with more
    than enough shown on both sides; ``resting`` is the price of a limit buy that stays unfilled there. Prices in the
    contract's currency, volumes in units of the contract, ``lot`` the smallest of them."""

    vt_symbol: str
    bid: float
    ask: float
    resting: float
    lot: float = 1.0

    def lots(self, count: int) -> float:
        return self.lot * count


@dataclass(frozen=True)
class BrokerOrder:
    """An order as the broker has it. ``price`` means something for limit and stop orders alone."""

    vt_symbol: str
    direction: Direction
    type: OrderType
    price: float
    volume: float
    traded: float
    status: Status


@dataclass(frozen=True)
class BrokerTrade:
    """One execution as the broker has it."""

    vt_symbol: str
    direction: Direction
    price: float
    volume: float


@dataclass(frozen=True)
class Truth:
    """What the broker knows of the account at one instant; positions are signed, those of 0 left out."""

    orders: Sequence[BrokerOrder] = ()
    trades: Sequence[BrokerTrade] = ()
    positions: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Patience:
    """How long the suite waits, in seconds."""

    call: float = 0.5
    """A call that must not block: subscribe, send_order, cancel_order, the queries, connect."""
    close: float = 5.0
    """close()."""
    history: float = 30.0
    """query_history: vn.py's RPC client gives up after this."""
    deadline: float = 15.0
    """Anything that the broker has to answer, or that a gateway has to notice."""
    timer: float = 0.1
    """The interval of the engine's timer event, 1 s in vn.py: shorter, so that what gateways do every n of them
    comes sooner."""


class Venue(Protocol):
    """One broker, and the power over it. Every method returns when what it does has taken effect at the broker.

    Names of instruments are vt_symbols as the gateway spells them. Plain attributes do for the four properties.
    """

    @property
    def ready(self) -> str:
        """What a line of the gateway's log holds once it is connected and everything was read."""

    @property
    def grounds(self) -> Sequence[Ground]:
        """At least two instruments."""

    @property
    def lacks(self) -> Mapping[str, str]:
        """What of :data:`FEATURES` this venue cannot do, and why."""

    @property
    def patience(self) -> Patience:
        """How long its gateway is waited for."""

    def start(self) -> None:
        """Put it up: quotes stand still at the grounds' prices, nothing is held and no order was ever placed; nor does
        the gateway remember one, on this machine's disk or elsewhere."""

    def end(self) -> None:
        """Take it down; may be called twice, and whatever start() has done."""

    def settings(self, seat: int = 0) -> dict[str, Any]:
        """The gateway's connect settings; ``seat`` 1 for a second gateway beside the first (:data:`SECOND_SEAT`)."""

    def wrong_settings(self) -> Sequence[dict[str, Any]]:
        """Settings with which connect() cannot succeed, each wrong in its own way."""

    def quote(self, vt_symbol: str, bid: float, ask: float, size: float | None = None) -> None:
        """From now on the quote stands there, ``size`` being shown on each side (None: more than enough)."""

    def flow(self) -> None:
        """Quotes and trades of all grounds move by themselves."""

    def order_elsewhere(self, vt_symbol: str, direction: Direction, volume: float, price: float) -> None:
        """Somebody else places a limit order in the same account, past the gateway."""

    def refuse_next(self) -> str:
        """The broker refuses the next order that arrives; what its reason holds."""

    def cut(self) -> None:
        """End all connections, and refuse new ones until :meth:`heal`."""

    def silence(self) -> None:
        """Connections stand, new ones are taken, and nothing passes until :meth:`heal`."""

    def heal(self) -> None:
        """End :meth:`cut` and :meth:`silence`."""

    def truth(self) -> Truth:
        """What the broker knows."""

    def order_requests(self) -> int:
        """How many requests to place an order the broker has received from gateways since start()."""
