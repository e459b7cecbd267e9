"""Telling clients what happens to orders, in the sequences of a real server (tws-api 8.2)."""

from __future__ import annotations

from collections.abc import Iterator

from brokersim.model import ACTIVE
from brokersim.tws import messages
from brokersim.tws.client import Client
from brokersim.tws.hub import Hub
from brokersim.tws.tickets import Execution, Ticket

CANCELLED = "Order Canceled - reason:"
WAITS_FOR_OPEN = (
    "Order Message:\n{action} {volume} {symbol}\n"
    "Warning: your order will not be placed at the exchange until the regular trading hours."
)


class OrderNews:
    """Sends openOrder, orderStatus, execDetails and commissionReport to whom an order belongs."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def hearers(self, ticket: Ticket) -> Iterator[Client]:
        """The client that placed the order, if it is connected (nobody for an order from the phone that is not
        bound), and the master client, who hears of everybody's orders and fills (tws-api 12)."""
        owner = self.owner(ticket)
        if owner is not None:
            yield owner
        master = self._hub.clients.get(self._hub.switches.master_client_id)
        if master is not None and master is not owner and ticket.is_visible:
            yield master

    def owner(self, ticket: Ticket) -> Client | None:
        """The client that placed the order, to whom alone codes about it go."""
        client = self._hub.clients.get(ticket.client_id)
        return client if ticket.order_id != 0 and ticket.is_visible else None

    def _say(self, ticket: Ticket, code: int, text: str) -> None:
        owner = self.owner(ticket)
        if owner is not None:
            owner.error(ticket.order_id, code, text)

    def status(self, ticket: Ticket) -> str:
        """The wire's word for the order at this moment."""
        return ticket.status(self.in_hours(ticket))

    def in_hours(self, ticket: Ticket) -> bool:
        """Can the order trade in the present segment."""
        order = ticket.order
        if order.status not in ACTIVE:
            return True
        segment = self._hub.market.segment(order.vt_symbol)
        return segment == "regular" or (segment != "closed" and order.extended and order.type == "LIMIT")

    def show(self, ticket: Ticket, client: Client) -> None:
        """openOrder and orderStatus to one client."""
        status = self.status(ticket)
        client.send(*messages.open_order(ticket, status))
        client.send(*messages.order_status(ticket, status))

    def announce(self, ticket: Ticket) -> None:
        """A new order: PreSubmitted first, again when it is more than that or waits for its trigger."""
        ticket.announced = True
        status = self.status(ticket)
        for client in self.hearers(ticket):
            client.send(*messages.open_order(ticket, "PreSubmitted"))
            client.send(*messages.order_status(ticket, "PreSubmitted"))
            if status == "Submitted" and ticket.order.type == "LIMIT":
                self.show(ticket, client)
            elif ticket.why_held == "trigger":
                client.send(*messages.order_status(ticket, "PreSubmitted"))
        if not self.in_hours(ticket) or ticket.waits == "session":
            self._say(ticket, 399, _waits_for_open(ticket))

    def changed(self, ticket: Ticket) -> None:
        """New values or a new state."""
        for client in self.hearers(ticket):
            self.show(ticket, client)

    def cancelling(self, ticket: Ticket) -> None:
        """A cancel is on its way."""
        for client in self.hearers(ticket):
            client.send(*messages.order_status(ticket, "PendingCancel"))

    def cancelled(self, ticket: Ticket) -> None:
        """The order has ended without being filled: status, then the words (code 202)."""
        for client in self.hearers(ticket):
            client.send(*messages.order_status(ticket, self.status(ticket)))
        if not ticket.silent_end:
            self._say(ticket, 202, CANCELLED)

    def refused(self, ticket: Ticket, code: int | None, text: str) -> None:
        """The order is not accepted: Inactive, then the reason where there is one."""
        for client in self.hearers(ticket):
            self.show(ticket, client)
        if code is not None:
            self._say(ticket, code, text)

    def executed(self, ticket: Ticket, execution: Execution) -> None:
        """A fill; the commission comes last. After a modification the status precedes the execution."""
        done = not ticket.order.active
        status = self.status(ticket)
        time = self._hub.time_text(execution.fill.time, ticket.listed.instrument)
        for client in self.hearers(ticket):
            details = messages.exec_details(execution, time)
            if not ticket.changing:
                client.send(*details)
            if done:
                client.send(*messages.open_order(ticket, status))
            client.send(*messages.order_status(ticket, status))
            if ticket.changing:
                client.send(*details)
            client.send(*messages.commission_report(execution))

    def notice(self, ticket: Ticket, code: int, text: str) -> None:
        """A message about an order that changes nothing by itself."""
        self._say(ticket, code, text)


def _waits_for_open(ticket: Ticket) -> str:
    order = ticket.order
    return WAITS_FOR_OPEN.format(
        action=messages.ACTIONS[order.direction], volume=order.volume, symbol=ticket.listed.symbol
    )
