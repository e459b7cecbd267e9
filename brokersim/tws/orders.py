"""The order requests of the TWS wire, the order ids of its clients, and what faults do to orders (tws-api 4.5, 5, 8.2,
9.2, 12)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from brokersim.half import BadCall, PhoneOrder, decimal, positive_volume
from brokersim.matching import Refused
from brokersim.tws import messages
from brokersim.tws.client import Client
from brokersim.tws.contracts import ContractQuery
from brokersim.tws.executions import ExecutionLog
from brokersim.tws.framing import Reader
from brokersim.tws.hub import ADVISOR, Handler, Hub
from brokersim.tws.kept import KeptTws
from brokersim.tws.names import REQUESTS
from brokersim.tws.order_form import OrderForm, read_order
from brokersim.tws.order_life import OrderLife
from brokersim.tws.order_news import OrderNews
from brokersim.tws.order_rules import READ_ONLY, Rejection, Wanted, check, invalid
from brokersim.tws.preview import preview
from brokersim.tws.tickets import Ticket

PHONE_TYPES = {"LIMIT": "LMT", "MARKET": "MKT", "STOP": "STP"}
PHONE_ACTIONS = {"LONG": "BUY", "SHORT": "SELL"}
MANUAL_CLIENT = 0
"""The client id of orders from the phone, and of the one client that may bind them."""
WHAT_IF_WARNING = "This is a preview: no order is placed."

logger = logging.getLogger(__name__)


class OrderRoom:
    """Orders of all clients. It is what :class:`brokersim.tws.fault_targets.Orders` asks for."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._desk = hub.desk
        self.holding = False
        """While set, what is placed waits for a person to press Transmit."""
        self.log = ExecutionLog(hub)
        self._news = OrderNews(hub)
        self._life = OrderLife(hub, self._news, self.log)
        self._highest: dict[int, int] = {}
        self._auto_bind = False
        self._last_bound = 0
        hub.next_order_id = self.next_valid_id
        hub.on_ready.append(self.joined)
        self._handlers: dict[int, Handler] = {
            3: self._place_order,
            4: self._cancel_order,
            5: self._open_orders,
            7: self.log.answer,
            15: self._auto_open_orders,
            16: self._all_open_orders,
            21: self._exercise,
            58: self._global_cancel,
            99: self._completed_orders,
        }
        self.names = {message: REQUESTS[message][0] for message in self._handlers}

    def handlers(self) -> dict[int, Handler]:
        return dict(self._handlers)

    def forget(self, client: Client) -> None:
        """A client is gone: its orders stay at the broker."""
        if client.client_id == MANUAL_CLIENT:
            self._auto_bind = False

    def joined(self, client: Client) -> None:
        """A client has been welcomed: its open orders, where the setting is on."""
        if self._hub.switches.download_open_orders:
            self._show_own(client)

    # -- order ids ---------------------------------------------------------------------------------

    def next_valid_id(self, client_id: int) -> int:
        """One above every order id that this client has used since the sequence was last reset."""
        return self._highest.get(client_id, 0) + 1

    def reset_ids(self) -> None:
        """Reset API order ID sequence: ids begin at 1 again; those of live orders stay what they are."""
        self._hub.changes += 1
        self._highest.clear()
        self._life.forget_ended()

    # -- mutations ---------------------------------------------------------------------------------

    def _place_order(self, hub: Hub, client: Client, reader: Reader) -> None:
        form = read_order(reader)
        try:
            self._writable("bU")
            self._take(client, form)
        except Rejection as rejection:
            client.error(form.order_id, rejection.code, rejection.text, rejection.reject_json)

    def _take(self, client: Client, form: OrderForm) -> None:
        known = self._life.find(client.client_id, form.order_id)
        if known is not None and not form.what_if:
            self._modify(known, form)
            return
        if form.order_id <= 0:
            raise Rejection(135, f"Can't find order with id = {form.order_id}")
        if form.order_id <= self._highest.get(client.client_id, 0):
            raise Rejection(103, "Duplicate order id")
        self._highest[client.client_id] = form.order_id
        self._hub.changes += 1
        wanted = check(self._hub, form)
        if form.what_if:
            self._preview(client, form, wanted)
            return
        if form.parent_id and self._life.find(client.client_id, form.parent_id) is None:
            raise Rejection(10006, f"Missing parent order {form.parent_id}")
        self._life.add(wanted, form, client.client_id, form.order_id, held=self.holding)

    def _modify(self, ticket: Ticket, form: OrderForm) -> None:
        order = ticket.order
        if order.status == "ALLTRADED":
            raise Rejection(104, "Cannot modify a filled order.")
        if not order.active:
            raise Rejection(103, "Duplicate order id")
        if self.holding:
            return
        wanted = check(self._hub, form)
        if ticket.waits == "transmit":
            self._life.transmit(ticket, wanted, form)
            return
        same = (ticket.listed.con_id, order.direction, order.account)
        if same != (wanted.listed.con_id, wanted.direction, wanted.account):
            raise Rejection(105, "Order being modified does not match original order.")
        self._life.change(ticket, wanted, form)

    def _preview(self, client: Client, form: OrderForm, wanted: Wanted) -> None:
        """A what-if order: first without numbers, then with them; nothing is placed (tws-api 7.1)."""
        ticket = self._life.draft(wanted, form, client.client_id)
        numbers = preview(self._hub, wanted)
        client.send(*messages.open_order(ticket, "PreSubmitted", what_if=True, warning=WHAT_IF_WARNING))
        client.send(*messages.open_order(ticket, "PreSubmitted", what_if=True, preview=numbers))

    def _cancel_order(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        order_id = reader.integer("orderId")
        try:
            self._writable("bS")
            ticket = self._life.find(client.client_id, order_id)
            if ticket is None:
                raise Rejection(10147, f"OrderId {order_id} that needs to be cancelled is not found.")
            if ticket.order.status == "REJECTED":
                raise Rejection(
                    161,
                    "Cancel attempted when order is not in a cancellable state.  Order permId = " + ticket.order.id,
                )
            if not ticket.is_live:
                state = self._news.status(ticket)
                raise Rejection(
                    10148, f"OrderId {order_id} that needs to be cancelled can not be cancelled, state: {state}."
                )
        except Rejection as rejection:
            client.error(order_id, rejection.code, rejection.text)
            return
        self._life.cancel(ticket)

    def _global_cancel(self, hub: Hub, client: Client, reader: Reader) -> None:
        """Cancel every order of every client and of the phone."""
        try:
            self._writable("bS")
        except Rejection as rejection:
            client.error(-1, rejection.code, rejection.text)
            return
        for ticket in self._life.live():
            if ticket.is_live and ticket.is_visible:
                self._life.cancel(ticket)

    def _exercise(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        rejection = invalid("bE", "Options are not exercised by the simulated broker")
        client.error(reader.integer("reqId"), rejection.code, rejection.text)

    def _writable(self, letters: str) -> None:
        if self._hub.switches.read_only:
            raise invalid(letters, READ_ONLY)

    # -- lists -------------------------------------------------------------------------------------

    def _open_orders(self, hub: Hub, client: Client, reader: Reader) -> None:
        """The client's own; client 0 binds those from the phone by asking."""
        if self._is_readable(client, "bG"):
            if client.client_id == MANUAL_CLIENT:
                for ticket in self._life.live():
                    self._bind(client, ticket)
            self._show_own(client)
        client.send(53, 1)

    def _show_own(self, client: Client) -> None:
        for ticket in self._life.live():
            if ticket.client_id == client.client_id and ticket.order_id != 0 and ticket.is_visible:
                self._news.show(ticket, client)

    def _all_open_orders(self, hub: Hub, client: Client, reader: Reader) -> None:
        """Everybody's; it binds nothing."""
        if self._is_readable(client, "bG"):
            for ticket in self._life.live():
                if ticket.is_visible:
                    self._news.show(ticket, client)
        client.send(53, 1)

    def _auto_open_orders(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        wanted = reader.flag("autoBind")
        if client.client_id != MANUAL_CLIENT:
            client.error(-1, 327, "Only the default client (i.e 0) can auto bind orders.")
            return
        self._auto_bind = wanted

    def _completed_orders(self, hub: Hub, client: Client, reader: Reader) -> None:
        api_only = reader.flag("apiOnly")
        if self._is_readable(client, "bI"):
            for ticket in self._life.tickets.values():
                if not ticket.is_live and not ticket.unacknowledged and not (api_only and ticket.order_id == 0):
                    self._show_completed(ticket, client)
        client.send(102)

    def _show_completed(self, ticket: Ticket, client: Client) -> None:
        order = ticket.order
        status = self._news.status(ticket)
        how = {"Filled": f"Filled Size: {order.traded}", "Cancelled": "Cancelled by Trader"}.get(
            status, f"Cancelled by System:\n{order.reason}"
        )
        at = self._hub.time_text(order.updated or order.time, ticket.listed.instrument)
        client.send(*messages.completed_order(ticket, status, at, how))

    def _is_readable(self, client: Client, letters: str) -> bool:
        """Read-Only API refuses the order queries too (tws-api 1)."""
        try:
            self._writable(letters)
        except Rejection as rejection:
            client.error(-1, rejection.code, rejection.text)
            return False
        return True

    def _bind(self, client: Client, ticket: Ticket) -> None:
        """Give an order from the phone an id of client 0's, below zero."""
        if ticket.client_id == MANUAL_CLIENT and ticket.order_id == 0:
            self._last_bound -= 1
            self._life.bind(ticket, self._last_bound)
            client.send(100, ticket.perm_id, MANUAL_CLIENT, ticket.order_id)

    # -- past the wire -----------------------------------------------------------------------------

    def place(self, order: PhoneOrder) -> str:
        """An order from the phone; its permId. :class:`BadCall` when it is refused."""
        if order.vt_symbol not in self._hub.market.instruments:
            raise BadCall(f"broker 'tws' has no instrument {order.vt_symbol!r}")
        accounts = [name for name in self._hub.ledger.cash if name != ADVISOR]
        account = order.account or accounts[0]
        if account not in accounts:
            raise BadCall(f"broker 'tws' has no account {account!r}: there is {', '.join(accounts)}")
        form = self._phone_form(order, account)
        try:
            wanted = check(self._hub, form)
        except Rejection as rejection:
            raise BadCall(f"order refused: {rejection.code} {rejection.text}") from rejection
        ticket = self._life.add(wanted, form, MANUAL_CLIENT, 0)
        if ticket.order.status == "REJECTED":
            raise BadCall(f"order refused: {ticket.order.reason}")
        client = self._hub.clients.get(MANUAL_CLIENT)
        if self._auto_bind and client is not None and ticket.is_live:
            self._bind(client, ticket)
            self._news.changed(ticket)
        return ticket.order.id

    def _phone_form(self, order: PhoneOrder, account: str) -> OrderForm:
        listed = self._hub.contracts.by_vt(order.vt_symbol)
        price = decimal(order.price or 0, "price")
        return OrderForm(
            order_id=0,
            query=ContractQuery(con_id=listed.con_id, exchange=listed.exchange),
            action=PHONE_ACTIONS[order.direction],
            quantity=Decimal(positive_volume(order.volume)),
            order_type=PHONE_TYPES[order.type],
            limit=price if order.type == "LIMIT" else None,
            aux=price if order.type == "STOP" else None,
            tif="DAY",
            oca_group="",
            account=account,
            fields={"transmit": "1"},
        )

    # -- outliving the process ---------------------------------------------------------------------

    def keep(self) -> KeptTws:
        """Everything that :meth:`restore` needs to go on in another process."""
        return KeptTws(
            desk=self._desk.keep(),
            next_perm_id=self._desk.next_perm_id,
            next_execution=self._desk.next_execution,
            tickets=self._life.keep(),
            executions=self.log.keep(),
            highest=dict(self._highest),
            last_bound=self._last_bound,
            groups=tuple(self._hub.groups.values()),
            aliases=dict(self._hub.aliases),
        )

    def restore(self, kept: KeptTws, at: datetime) -> None:
        """Go on where an earlier process stood at ``at``. ValueError, KeyError or ArithmeticError when it can not."""
        self._desk.restore(kept.desk)
        self._desk.next_perm_id, self._desk.next_execution = kept.next_perm_id, kept.next_execution
        self._life.restore(kept.tickets)
        self.log.restore(kept.desk.fills, self._life.tickets, kept.executions)
        self._highest, self._last_bound = dict(kept.highest), kept.last_bound
        self._hub.groups, self._hub.aliases = {group.name: group for group in kept.groups}, dict(kept.aliases)
        self._desk.end_day(at)
        self._life.end_day(at)

    # -- faults ------------------------------------------------------------------------------------

    def fill_while_away(self, order_id: str | None, cut: Callable[[], None]) -> None:
        """Fill a working order (None: the latest) that nobody hears of, since ``cut`` has closed the connections."""
        working = [ticket for ticket in self._life.live() if not ticket.waits]
        found = [ticket for ticket in working if order_id in (None, ticket.order.id)]
        if not found:
            logger.warning("brokersim: fill_while_away finds no working order %s", order_id or "")
            return
        cut()
        try:
            self._desk.fill_now(found[-1].order.id)
        except Refused as refused:
            logger.warning("brokersim: fill_while_away: %s", refused.text)

    def notice(self, code: int, text: str, order_id: str) -> None:
        """Tell an order's owner this code. 201 rejects the order, 202 cancels it, any other changes nothing."""
        ticket = self._life.tickets.get(order_id)
        if ticket is None:
            logger.warning("brokersim: notice %s finds no order %s", code, order_id)
            return
        if code == 202 and ticket.is_live:
            self._life.cancel(ticket)
            return
        if code == 201 and ticket.is_live:
            self._life.reject(ticket, text)
        self._news.notice(ticket, code, text)

    def id_of(self, client_id: int, order_id: int) -> str | None:
        ticket = self._life.find(client_id, order_id)
        return None if ticket is None else ticket.order.id

    def transmit_held(self) -> None:
        """A person presses Transmit on every order that the fault ``hold`` keeps."""
        for ticket in self._life.live():
            if ticket.held:
                self._life.press_transmit(ticket)
