"""What faults act upon: one connection, the whole simulated TWS, its orders."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol


class Line(Protocol):
    """What a fault can do to one connection."""

    client_id: int

    def write(self, parts: Sequence[bytes]) -> None:
        """Queue bytes, one write per part."""

    def error(self, req_id: int, code: int, text: str, reject_json: str = "") -> None:
        """Send message 4."""

    def abort(self) -> None:
        """Close at once; what is queued is lost."""

    def finish(self) -> None:
        """Close once what is queued is written."""

    def mute(self, for_s: float | None) -> None:
        """Half-open: the socket stays, nothing is read or written any more; closed after ``for_s`` seconds."""


class House(Protocol):
    """What a fault can do to the whole simulated TWS."""

    def lines(self) -> Collection[Line]:
        """Every standing connection."""

    def shut(self, for_s: float) -> None:
        """Refuse new connections for so long (infinity: until :meth:`reopen`); the standing ones stay."""

    def reopen(self) -> None:
        """Take connections again at once."""

    def lose_data(self) -> None:
        """Forget every market data subscription, as after 1101."""

    def reset_depth(self) -> None:
        """Begin every market depth anew, as 317 says."""


class Orders(Protocol):
    """What a fault can do to orders."""

    holding: bool

    def fill_while_away(self, order_id: str | None, cut: Callable[[], None]) -> None:
        """Fill a working order (None: the latest) after ``cut`` has closed the connections."""

    def notice(self, code: int, text: str, order_id: str) -> None:
        """Tell an order's owner this code, and let it do to the order what it means."""

    def id_of(self, client_id: int, order_id: int) -> str | None:
        """The id in ``/state`` of a client's order; None if it has none."""

    def reset_ids(self) -> None:
        """Begin the order ids anew, as Reset API order ID sequence does."""

    def transmit_held(self) -> None:
        """A person presses Transmit on every order that waits for it."""
