"""What the simulator's server expects of each simulated broker, and what it gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from brokersim.clock import SimClock
from brokersim.faults import Fault, FaultRegistry
from brokersim.market import Market

Number = int | float | str


class BadCall(ValueError):
    """A control call, option or file that makes no sense; the text is one line that says what is wrong."""


class PhoneOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order that somebody places past the wire under test (``POST /orders``)."""

    broker: str
    vt_symbol: str
    direction: Literal["LONG", "SHORT"]
    volume: Number
    account: str | None = None
    type: Literal["LIMIT", "MARKET", "STOP"] = "LIMIT"
    price: Number | None = None


class OpeningPosition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One item of ``--positions``: ``volume`` signed, ``price`` the average cost."""

    broker: str
    account: str
    vt_symbol: str
    volume: int
    price: Number


@dataclass(frozen=True)
class Options:
    """How to run the simulator; the command line's options by the same names (design 7). Port 0 takes a free one."""

    only: str | None = None
    vbrokers_port: int = 0
    push_port: int = 0
    tws_port: int = 0
    control: bool = True
    control_port: int = 0
    data: Path | None = None
    seed: int = 1
    speed: float = 1.0
    clock: Literal["wall", "data"] = "wall"
    faults: tuple[Fault, ...] = ()
    positions: tuple[OpeningPosition, ...] = ()
    password: str = "123456"
    switches: Mapping[str, object] = field(default_factory=dict)
    """Of all brokers, by :func:`switches_of`."""
    keep: Path | None = None
    """The file that orders, fills and the ledger outlive the process in; None: they do not."""


@dataclass(frozen=True)
class World:
    """What all halves share."""

    clock: SimClock
    market: Market
    faults: FaultRegistry
    options: Options


class Half(Protocol):
    """One simulated broker."""

    name: str

    def bind(self) -> None:
        """Take the ports; :class:`brokersim.net.PortTaken` when one is taken."""

    async def open(self) -> None:
        """Begin to listen."""

    def addresses(self) -> dict[str, str]:
        """What the ready line says of this half."""

    def state(self) -> dict[str, Any]:
        """This broker's part of ``GET /state``."""

    def wire(self) -> dict[str, int]:
        """This broker's part of ``GET /wire``: requests received, by name."""

    def place(self, order: PhoneOrder) -> str:
        """Place an order past the wire; its id. :class:`BadCall` when it is refused."""

    def change_switches(self, changes: Mapping[str, object]) -> dict[str, Any]:
        """Set switches (:class:`BadCall` for a wrong one); all of them."""

    @property
    def changes(self) -> int:
        """Grows with everything that :meth:`keep` must be asked for again."""

    def keep(self) -> Any:
        """Orders, fills, ledger and ids, as msgspec writes them (``--keep``)."""

    def restore(self, kept: bytes, at: datetime) -> None:
        """Go on where an earlier process stood at ``at``, before anything happened here; day orders whose day is over
        expire. msgspec.DecodeError, ValueError, KeyError or ArithmeticError when it can not be so."""

    async def turn(self) -> None:
        """Called at each turn of the simulator's loop: let the faults strike whose moment has come."""

    def clear_faults(self) -> None:
        """End what faults have caused and still lasts: refusing, silence."""

    async def settle(self) -> None:
        """Wait, a bounded time, until what was pushed has been written."""

    async def stop(self) -> None:
        """Close everything."""


def switch_prefix(broker: str) -> str:
    """What the names of a broker's switches begin with, where the switches of all stand together."""
    return "" if broker == "vbrokers" else f"{broker}."


def switches_of(switches: Mapping[str, object], broker: str) -> dict[str, object]:
    """One broker's own switches among those of all: ``tws.read_only`` is ``read_only`` of tws.

    Raises :class:`BadCall` for a prefix where there is none: the switch would be passed over without a word.
    """
    prefix = switch_prefix(broker)
    for name in switches:
        if not prefix and name.startswith(f"{broker}."):
            raise BadCall(f"unknown switch {name!r}: those of {broker} have no prefix")
    return {
        name[len(prefix) :]: value
        for name, value in switches.items()
        if (name.startswith(prefix) if prefix else "." not in name)
    }


def positive_volume(value: Number) -> int:
    """A whole number of shares above 0; :class:`BadCall` otherwise."""
    volume = decimal(value, "volume")
    if volume <= 0 or volume != int(volume):
        raise BadCall(f"volume must be a whole number above 0, not {value}")
    return int(volume)


def decimal(value: Number, name: str) -> Decimal:
    """A finite decimal of a number or numeric text; :class:`BadCall` otherwise."""
    try:
        number = Decimal(str(value))
    except ArithmeticError as error:
        raise BadCall(f"{name} must be a number, not {value!r}") from error
    if not number.is_finite() or abs(number.adjusted()) > 15:
        raise BadCall(f"{name} must be a number of ordinary size, not {value!r}")
    return number
