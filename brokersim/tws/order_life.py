"""The life of orders: how they reach the desk, what they wait for before, how brackets and groups hang together
(tws-api 8.2, 12, 17)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from brokersim.matching import Refused
from brokersim.model import ZERO, Fill, Order, Quote
from brokersim.tws.advisor import tag_of
from brokersim.tws.executions import ExecutionLog
from brokersim.tws.hub import Hub
from brokersim.tws.kept import KeptTicket
from brokersim.tws.order_form import OrderForm
from brokersim.tws.order_news import OrderNews
from brokersim.tws.order_rules import LASTING_TIFS, REFUSED_CODES, REFUSED_TEXTS, Rejection, Wanted
from brokersim.tws.tickets import Ticket

CANCEL_GROUP = "1"
"""The ocaType that cancels the others of a group at the first fill; the other types reduce them."""
REDUCE_GROUP = "3"

logger = logging.getLogger(__name__)


class OrderLife:
    """Every order that this TWS has had, by permId."""

    def __init__(self, hub: Hub, news: OrderNews, log: ExecutionLog) -> None:
        self.tickets: dict[str, Ticket] = {}
        self._hub = hub
        self._desk = hub.desk
        self._news = news
        self._log = log
        self._by_client: dict[tuple[int, int], Ticket] = {}
        self._live: dict[str, Ticket] = {}
        self._waiting: dict[str, Ticket] = {}
        hub.desk.listeners.append(self._on_change)
        hub.market.listeners.append(self._on_quote)
        hub.market.after_step.append(self._on_time)

    # -- in ----------------------------------------------------------------------------------------

    def add(self, wanted: Wanted, form: OrderForm, client_id: int, order_id: int, *, held: bool = False) -> Ticket:
        """A new order: on its way at once, or waiting for Transmit (``held``: for a person, whatever it says)."""
        ticket = Ticket(wanted.listed, form, self._order(wanted, form, self._desk.new_id()), client_id, order_id)
        ticket.expires = wanted.expires
        self._keep(ticket)
        if held or not form.transmit:
            ticket.waits, ticket.held = "transmit", held
        else:
            self._transmit(ticket)
        return ticket

    def draft(self, wanted: Wanted, form: OrderForm, client_id: int) -> Ticket:
        """An order that is only looked at (what-if): it has no permId and is kept nowhere."""
        return Ticket(wanted.listed, form, self._order(wanted, form, "0"), client_id, form.order_id)

    def transmit(self, ticket: Ticket, wanted: Wanted, form: OrderForm) -> None:
        """The order came again before it was transmitted: it is now what it says, and goes out if it says so."""
        ticket.form, ticket.listed, ticket.expires = form, wanted.listed, wanted.expires
        ticket.order = self._order(wanted, form, ticket.order.id)
        self._keep(ticket)
        if form.transmit:
            self._transmit(ticket)

    def press_transmit(self, ticket: Ticket) -> None:
        """A person does it."""
        ticket.held = False
        self._transmit(ticket)

    def _order(self, wanted: Wanted, form: OrderForm, perm_id: str) -> Order:
        return Order(
            perm_id,
            wanted.account,
            wanted.listed.vt_symbol,
            wanted.direction,
            wanted.type,
            wanted.price,
            wanted.volume,
            self._hub.clock.now(),
            reference=form.order_ref,
            extended=form.outside_rth,
            tag=tag_of(wanted.shares),
        )

    def _keep(self, ticket: Ticket) -> None:
        self._hub.changes += 1
        self.tickets[ticket.order.id] = ticket
        self._live[ticket.order.id] = ticket
        self._desk.orders[ticket.order.id] = ticket.order
        if ticket.order_id:
            self._by_client[ticket.client_id, ticket.order_id] = ticket

    # -- on its way --------------------------------------------------------------------------------

    def _transmit(self, ticket: Ticket) -> None:
        """Out it goes; the last order of a bracket takes the others with it, its parent first."""
        ticket.waits = ""
        for relative in self._bracket(ticket):
            if relative.waits == "transmit" and not relative.held:
                relative.waits = ""
                self._start(relative)
        self._start(ticket)

    def _bracket(self, ticket: Ticket) -> Iterator[Ticket]:
        """The parent and the siblings of a child, the parent first."""
        parent = self.parent_of(ticket)
        if parent is not None:
            yield parent
            yield from [one for one in self._children_of(parent) if one is not ticket]

    def parent_of(self, ticket: Ticket) -> Ticket | None:
        parent_id = ticket.form.parent_id
        return self.find(ticket.client_id, parent_id) if parent_id else None

    def _children_of(self, parent: Ticket) -> list[Ticket]:
        if parent.order_id == 0:
            return []
        return [
            one for one in self.live() if one.client_id == parent.client_id and one.form.parent_id == parent.order_id
        ]

    def find(self, client_id: int, order_id: int) -> Ticket | None:
        """A client's latest order by the client's own id."""
        return self._by_client.get((client_id, order_id))

    def live(self) -> list[Ticket]:
        """Every order that has not ended, oldest first."""
        return [ticket for ticket in self._live.values() if ticket.is_live]

    def bind(self, ticket: Ticket, order_id: int) -> None:
        """Give an order from the phone an id of client 0."""
        self._hub.changes += 1
        ticket.order_id = order_id
        self._by_client[ticket.client_id, order_id] = ticket

    def forget_ended(self) -> None:
        """Orders that have ended do not hold their clients' ids any more."""
        self._hub.changes += 1
        self._by_client = {key: ticket for key, ticket in self._by_client.items() if ticket.is_live}

    def _start(self, ticket: Ticket) -> None:
        parent = self.parent_of(ticket)
        if parent is not None and parent.order.status != "ALLTRADED":
            if parent.is_live:
                self._wait(ticket, "child")
            else:
                self._end_waiting(ticket)
        elif ticket.form.tif == "FOK":
            self._refuse(ticket, None, "")
        elif ticket.form.order_type == "STP LMT":
            self._wait(ticket, "trigger")
            self._look(ticket, self._hub.market.quote(ticket.order.vt_symbol))
        elif ticket.order.type == "MARKET" and not self._news.in_hours(ticket):
            self._wait(ticket, "session")
        else:
            self._to_desk(ticket)

    def _wait(self, ticket: Ticket, reason: str) -> None:
        self._hub.changes += 1
        ticket.waits = "child" if reason == "child" else "trigger" if reason == "trigger" else "session"
        ticket.order.status = "NOTTRADED"
        ticket.order.updated = self._hub.clock.now()
        if ticket.expires is None and ticket.form.tif not in LASTING_TIFS:
            ticket.expires = self._hub.market.day_end(ticket.order.vt_symbol)
        self._waiting[ticket.order.id] = ticket
        self._hub.market.watch(ticket.order.vt_symbol)
        self._news.announce(ticket)

    def _to_desk(self, ticket: Ticket) -> None:
        self._waiting.pop(ticket.order.id, None)
        ticket.waits = ""
        order = ticket.order
        try:
            with self._desk.under(order.id):
                self._desk.submit(
                    order.account,
                    order.vt_symbol,
                    order.direction,
                    order.type,
                    order.price,
                    order.volume,
                    reference=order.reference,
                    extended=order.extended,
                    tag=order.tag,
                    defer_match=True,
                    lasting=ticket.form.tif in LASTING_TIFS,
                )
        except Refused as refused:
            self._refuse(ticket, REFUSED_CODES[refused.kind], REFUSED_TEXTS[refused.kind])
            return
        self._desk.match(order.id)
        if ticket.form.tif == "IOC" and ticket.is_live:
            ticket.silent_end = True
            self.cancel(ticket)

    def _refuse(self, ticket: Ticket, code: int | None, text: str) -> None:
        self._finish(ticket, "REJECTED", text)
        self._news.refused(ticket, code, text)
        self._end_relatives(ticket)

    def _finish(self, ticket: Ticket, status: str, reason: str = "") -> None:
        """End an order that the desk does not have."""
        self._hub.changes += 1
        self._waiting.pop(ticket.order.id, None)
        ticket.waits = ""
        ticket.order.status = "REJECTED" if status == "REJECTED" else "CANCELLED"
        ticket.order.reason = reason
        ticket.order.updated = self._hub.clock.now()
        self._desk.orders[ticket.order.id] = ticket.order

    # -- changes -----------------------------------------------------------------------------------

    def change(self, ticket: Ticket, wanted: Wanted, form: OrderForm) -> None:
        """A live order's new values. :class:`Rejection` when it stays as it was (tws-api 9.2, action M)."""
        order = ticket.order
        if wanted.volume <= order.traded:
            raise Rejection(105, "Order being modified does not match original order.")
        if (form.order_type == "STP LMT") != (ticket.form.order_type == "STP LMT"):
            raise Rejection(329, "Order modify failed. Cannot change to the new order type.")
        self._hub.changes += 1
        before_form, ticket.form = ticket.form, form
        if wanted.expires is not None or form.tif != before_form.tif:
            ticket.expires = wanted.expires
        before = order.type, order.price, order.extended
        order.type, order.extended = wanted.type, form.outside_rth
        if ticket.waits:
            order.price, order.volume = wanted.price, wanted.volume
            self._news.changed(ticket)
            return
        order.price = wanted.price
        ticket.changing = True
        try:
            self._desk.amend(order.id, price=wanted.price, volume=wanted.volume)
        except Refused as refused:
            order.type, order.price, order.extended = before
            ticket.form = before_form
            raise Rejection(134, f"Modify order failed. {REFUSED_TEXTS[refused.kind]}") from refused
        finally:
            ticket.changing = False

    def cancel(self, ticket: Ticket) -> None:
        """End a live order on somebody's wish."""
        if ticket.waits == "transmit":
            ticket.unacknowledged = True
        if ticket.waits:
            self._end_waiting(ticket)
            return
        self._news.cancelling(ticket)
        self._desk.cancel(ticket.order.id)

    def reject(self, ticket: Ticket, text: str) -> None:
        """The broker refuses a live order after all."""
        if ticket.waits:
            self._finish(ticket, "REJECTED", text)
            self._news.changed(ticket)
            self._end_relatives(ticket)
        else:
            self._desk.reject(ticket.order.id, text)

    def _end_waiting(self, ticket: Ticket) -> None:
        self._finish(ticket, "CANCELLED")
        self._news.cancelled(ticket)
        self._end_relatives(ticket)

    # -- what the desk and the market do -----------------------------------------------------------

    def _on_change(self, order: Order, fill: Fill | None) -> None:
        self._hub.changes += 1
        ticket = self.tickets[order.id]
        ticket.order = order
        if fill is not None:
            ticket.triggered = True
            ticket.last_price = fill.price
            self._news.executed(ticket, self._log.record(ticket, fill))
            self._after_fill(ticket, fill)
        elif order.active and not ticket.announced:
            self._news.announce(ticket)
        elif order.active or order.status == "REJECTED":
            self._news.changed(ticket)
        else:
            self._news.cancelled(ticket)
        if not order.active:
            self._end_relatives(ticket)

    def _after_fill(self, ticket: Ticket, fill: Fill) -> None:
        group, how = self._group(ticket)
        for other in group:
            if not other.is_live:
                continue
            if how == CANCEL_GROUP or other.order.left <= fill.volume:
                self.cancel(other)
            else:
                self._reduce(other, fill.volume)

    def _reduce(self, ticket: Ticket, volume: int) -> None:
        if ticket.waits:
            self._hub.changes += 1
            ticket.order.volume -= volume
            self._news.changed(ticket)
            return
        try:
            self._desk.amend(ticket.order.id, volume=ticket.order.volume - volume)
        except Refused:  # what would be left is no order any more, such as an odd lot
            self.cancel(ticket)

    def _group(self, ticket: Ticket) -> tuple[list[Ticket], str]:
        """The live orders of the same OCA group, or the siblings in a bracket; and how a fill touches them."""
        name = ticket.form.oca_group
        if name:
            others = [
                one
                for one in self.live()
                if one is not ticket and one.form.oca_group == name and self._same_owner(one, ticket)
            ]
            how = ticket.form.text("ocaType", "0")
            return others, CANCEL_GROUP if how in ("0", CANCEL_GROUP) else REDUCE_GROUP
        parent = self.parent_of(ticket)
        if parent is None:
            return [], REDUCE_GROUP
        return [one for one in self._children_of(parent) if one is not ticket], REDUCE_GROUP

    def _same_owner(self, one: Ticket, other: Ticket) -> bool:
        return (one.client_id, one.order.account) == (other.client_id, other.order.account)

    def _end_relatives(self, ticket: Ticket) -> None:
        """A parent that is filled sets its children free, one that ended otherwise takes them along."""
        for child in self._children_of(ticket):
            if ticket.order.status != "ALLTRADED":
                self.cancel(child)
            elif child.waits == "child":
                child.waits = ""
                self._waiting.pop(child.order.id, None)
                self._start(child)

    def _on_quote(self, quote: Quote, previous: Quote | None) -> None:
        for ticket in [one for one in self._waiting.values() if one.order.vt_symbol == quote.vt_symbol]:
            if ticket.order.active and not self._expired(ticket, quote.time):
                self._look(ticket, quote)

    def _look(self, ticket: Ticket, quote: Quote) -> None:
        """Has come what the order waits for."""
        order = ticket.order
        if ticket.waits == "session" and quote.segment == "regular":
            self._to_desk(ticket)
        elif ticket.waits == "trigger" and (quote.segment == "regular" or order.extended):
            reached = quote.last >= order.price if order.direction == "LONG" else quote.last <= order.price
            if reached:
                ticket.triggered = True
                order.type, order.price = "LIMIT", ticket.form.limit or ZERO
                self._to_desk(ticket)

    def _on_time(self, now: datetime) -> None:
        for ticket in self.live():
            self._expired(ticket, now)
        self._live = {perm_id: ticket for perm_id, ticket in self._live.items() if ticket.is_live}

    def _expired(self, ticket: Ticket, now: datetime) -> bool:
        """Cancel an order whose time is over; whether it did."""
        if ticket.expires is None or now < ticket.expires or not ticket.is_live or ticket.waits == "transmit":
            return False
        self.cancel(ticket)
        return True

    # -- outliving the process ---------------------------------------------------------------------

    def keep(self) -> tuple[KeptTicket, ...]:
        """Every order, oldest first, as :meth:`restore` takes it."""
        return tuple(self._kept(ticket) for ticket in self.tickets.values())

    def _kept(self, ticket: Ticket) -> KeptTicket:
        fields = {name: text for name, text in ticket.form.fields.items() if text}
        return KeptTicket(
            perm_id=ticket.order.id,
            con_id=ticket.listed.con_id,
            form=replace(ticket.form, fields=fields),
            client_id=ticket.client_id,
            order_id=ticket.order_id,
            is_named=self.find(ticket.client_id, ticket.order_id) is ticket,
            waits=ticket.waits,
            held=ticket.held,
            expires=ticket.expires,
            triggered=ticket.triggered,
            announced=ticket.announced,
            last_price=ticket.last_price,
            silent_end=ticket.silent_end,
            unacknowledged=ticket.unacknowledged,
        )

    def restore(self, kept: Iterable[KeptTicket]) -> None:
        """Take the orders of an earlier process; the desk has its part of them already. ValueError or KeyError when it
        can not be so."""
        for one in kept:
            listed = self._hub.contracts.by_con_id(one.con_id)
            order = self._desk.orders[one.perm_id]
            if listed is None or listed.vt_symbol != order.vt_symbol:
                raise ValueError(f"order {order.id}: contract {one.con_id} is not {order.vt_symbol}")
            ticket = Ticket(listed, one.form, order, one.client_id, one.order_id, one.waits, one.held, one.expires)
            ticket.triggered, ticket.announced = one.triggered, one.announced
            ticket.last_price = one.last_price
            ticket.silent_end, ticket.unacknowledged = one.silent_end, one.unacknowledged
            self.tickets[order.id] = ticket
            if one.is_named and one.order_id:
                self._by_client[one.client_id, one.order_id] = ticket
            if ticket.is_live:
                self._live[order.id] = ticket
                if ticket.waits not in ("", "transmit"):
                    self._waiting[order.id] = ticket
                    self._hub.market.watch(order.vt_symbol)
        if self.tickets.keys() != self._desk.orders.keys():
            raise ValueError("the tickets are not those of the desk's orders")

    def end_day(self, since: datetime) -> None:
        """End the day orders that wait outside the desk and whose day ended between then and now."""
        for ticket in self.live():
            stays = ticket.waits in ("", "transmit") or ticket.form.tif in LASTING_TIFS or ticket.expires is not None
            if ticket.is_live and not stays and self._desk.day_is_over(ticket.order.vt_symbol, since):
                self.cancel(ticket)
