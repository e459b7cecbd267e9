"""Whose a message about an order is: permId, orderRef, and the pair of client id and order id (tws-api 7, 12)."""

from __future__ import annotations

from dataclasses import dataclass

from vnpy_brokerkit.tracker import OrderTracker, TrackedOrder

from .order_words import our_ref

MANUAL_CLIENT = 0
"""Orders placed by hand in TWS belong to client id 0 (section 12)."""


@dataclass(frozen=True, slots=True)
class Address:
    """How TWS is told which order is meant: only its own client may cancel it (section 12).

    ``order_id`` is 0 for a manual order, and below zero once client id 0 has bound it.
    """

    client_id: int
    order_id: int


class Names:
    """The names of all orders of one session. ``letters`` tell the gateway in a local id, ``client_id`` the session."""

    def __init__(self, tracker: OrderTracker, *, letters: str, client_id: int) -> None:
        self._tracker = tracker
        self._letters = letters
        self._client_id = client_id
        self._addresses: dict[str, Address] = {}
        self._by_address: dict[tuple[int, int], TrackedOrder] = {}
        """Orders by client id and order id: names that TWS may give again, so permId and orderRef come first."""

    def address_of(self, orderid: str) -> Address | None:
        """Return how TWS is told of an order, by its local id; None where TWS has not named it yet."""
        return self._addresses.get(orderid)

    def note(self, order: TrackedOrder, client_id: int, order_id: int) -> None:
        """TWS, or who sends an order to it, calls it so."""
        if order_id == 0:
            self._addresses.setdefault(order.orderid, Address(client_id, order_id))
            return
        self._addresses[order.orderid] = Address(client_id, order_id)
        self._by_address[client_id, order_id] = order

    def of_this_client(self, order_id: int) -> TrackedOrder | None:
        """Return the order that an error code of this connection is about."""
        return self._by_address.get((self._client_id, order_id))

    def find(self, perm_id: int, client_id: int, order_id: int, order_ref: str = "") -> TrackedOrder | None:
        """Return the order that news is about. permId and our own orderRef name one order for ever, other ids do not.

        A person who copies an order in TWS copies its orderRef, too: under another permId it is another order, and
        one of client id 0 is not ours by its orderRef alone.
        """
        named = self._tracker.find([str(perm_id)]) if perm_id else None
        if named is None:
            mine = self.ours(order_ref, client_id)
            named = self._tracker.get(mine[0]) if mine else self._by_address.get((client_id, order_id))
        if named and perm_id and named.broker_id not in ("", str(perm_id)):
            return None
        return named

    def ours(self, order_ref: str, client_id: int) -> tuple[str, str] | None:
        """Local id and reference of an order that this gateway placed, told by its orderRef."""
        if client_id == MANUAL_CLIENT != self._client_id:
            return None
        return our_ref(order_ref, self._letters)
