"""A model of TWS: orders, executions and the messages about them in plain Python, with a truth of its own.

Messages keep their order on a connection and are lost with it. Orders are named by permId and orderRef, fills by
execId; ids of one client only grow; a held order is in no list; what other clients and persons do is not told unasked
(reference "tws-api", sections 7, 8.2, 11, 12). It knows nothing of the rooms.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from operator import methodcaller
from typing import Any

from ib_async.contract import Contract
from ib_async.objects import CommissionReport, Execution
from ib_async.order import Order, OrderState

from tests.model_ib_script import CODE_ONLY, HELD, INACTIVE, NOTICED, TAKEN, Script
from tests.model_loop import LoopClock, VirtualLoop
from vnpy_ibkr.wire.events import CompletedOrder, OrderStatus

ACCOUNT, OTHER_ACCOUNT = "DU1", "DU2"
CLIENT = 1
ALIVE = frozenset({"PreSubmitted", "Submitted", "PendingCancel"})


@dataclass
class Deal:
    """One execution; ``revision`` grows with its corrections."""

    stem: str
    shares: int
    price: float
    total: int
    time: datetime
    revision: int = 1

    @property
    def exec_id(self) -> str:
        return f"{self.stem}.{self.revision:02d}"


@dataclass
class Ticket:
    """One order at TWS. ``local`` is the id of who placed it here, "" for others'."""

    perm_id: int
    client_id: int
    order_id: int
    contract: Contract
    action: str
    kind: str
    price: float
    volume: int
    ref: str
    account: str
    local: str = ""
    status: str = "Submitted"
    held: bool = False
    deals: list[Deal] = field(default_factory=list)

    @property
    def filled(self) -> int:
        return self.deals[-1].total if self.deals else 0

    @property
    def alive(self) -> bool:
        return self.status in ALIVE and not self.held


class Pipe:
    """One direction of a connection: what goes in comes out in order, after a while, or is lost."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], object]] = deque()
        self._open = True

    def send(self, seconds: float, arrive: Callable[[], object]) -> None:
        if self._open:
            self._waiting.append(arrive)
            self._loop.call_later(seconds, self._deliver)

    def _deliver(self) -> None:
        if self._waiting:
            self._waiting.popleft()()

    def close(self, *, delivered: bool = False) -> None:
        self._open = False
        while self._waiting and delivered:
            self._deliver()
        self._waiting.clear()


class Line:
    """A client's end of a connection, as TWS sees it. ``heard`` is what the client hears."""

    def __init__(self, tws: Tws, heard: Any, loop: VirtualLoop) -> None:
        self.tws = tws
        self.heard = heard
        self.to_tws = Pipe(loop)
        self.to_client = Pipe(loop)
        self.alive = True


class Tws:
    """TWS and IB behind it, for one client of ours."""

    def __init__(self, loop: VirtualLoop, clock: LoopClock, script: Script) -> None:
        self._loop = loop
        self._clock = clock
        self._script = script
        self._ways = itertools.cycle(script.latencies)
        self._numbers = itertools.count(1)
        self.tickets: list[Ticket] = []
        self.fates: dict[str, int] = {}
        self.arrivals: dict[str, int] = {}
        self.requests: Counter[str] = Counter()
        self.coded: set[str] = set()
        """Local ids of orders that were refused by a code alone."""
        self.news_modes: deque[str] = deque()
        self.answer_modes: deque[str] = deque()
        self.wrong: list[str] = []
        self.cancelled: set[int] = set()
        """permIds that a cancel of ours named."""
        self.line: Line | None = None
        self.up = True
        self.stale = False
        self.next_order_id = 1
        self._highest = 0
        self._late: list[Callable[[Line], None]] = []

    def way(self) -> float:
        return next(self._ways)

    # ------------------------------------------------------------------ the connection

    def connect(self, heard: Any) -> Line:
        self.line = Line(self, heard, self._loop)
        return self.line

    def cut(self, *, delivered: bool) -> None:
        """The socket is gone. What TWS had on its way to us is lost."""
        line, self.line = self.line, None
        if line:
            line.alive = False
            line.to_client.close()
            line.to_tws.close(delivered=delivered)
            line.heard.on_closed()

    def leave(self, *, delivered: bool) -> None:
        """The client is dead."""
        line, self.line = self.line, None
        if line:
            line.alive = False
            line.to_client.close()
            line.to_tws.close(delivered=delivered)

    def tell(self, say: Callable[[Any], object]) -> None:
        """Send something to the client, in order."""
        line = self.line
        if line:
            line.to_client.send(self.way(), lambda: say(line.heard))

    def _news(self, say: Callable[[Any], object]) -> None:
        """The same for news of orders, which may go wrong."""
        mode = self.news_modes.popleft() if self.news_modes else ""
        if mode == "lose":
            return
        if mode == "last":
            self._late.append(lambda line: line.to_client.send(self.way(), lambda: say(line.heard)))
            return
        if mode == "late":
            self._loop.call_later(4.0, lambda: self.tell(say))
            return
        self.tell(say)
        if mode == "twice":
            self.tell(say)
        late, self._late = self._late, []
        for send in late:
            if self.line:
                send(self.line)

    # ------------------------------------------------------------------ what the client asks

    def place(self, order_id: int, contract: Contract, order: Order) -> None:
        local = order.orderRef.partition("|")[0]
        if any(t.order_id == order_id and t.client_id == CLIENT and t.alive for t in self.tickets):
            self.wrong.append(f"{local} changed the live order under id {order_id}")
            return
        fate = self.fates.get(local, TAKEN)
        if fate == CODE_ONLY or order_id <= self._highest:
            code = 103 if order_id <= self._highest else 201
            self.coded.add(local)
            self.tell(lambda heard: heard.on_error(order_id, code, "refused"))
            return
        self._highest = max(self._highest, order_id)
        self.next_order_id = max(self.next_order_id, order_id + 1)
        price = order.auxPrice if order.orderType == "STP" else order.lmtPrice
        ticket = Ticket(
            0,
            CLIENT,
            order_id,
            contract,
            order.action,
            order.orderType,
            0.0 if order.orderType == "MKT" or price is None else float(price),
            int(order.totalQuantity),
            order.orderRef,
            order.account,
            local,
        )
        if fate == HELD:
            ticket.held = True
            self.tickets.append(ticket)
            return
        self._enter(ticket)
        if fate == INACTIVE:
            ticket.status = "Inactive"
            self.show(ticket)
            self._code(ticket, 201)
        elif fate == NOTICED:
            self._code(ticket, 399)
        else:
            self.fill(ticket, self.arrivals.get(local, 0))

    def _enter(self, ticket: Ticket) -> None:
        ticket.perm_id = 1_000_000 + next(self._numbers)
        ticket.held = False
        if ticket not in self.tickets:
            self.tickets.append(ticket)
        self.show(ticket, "PreSubmitted")
        self.show(ticket)

    def cancel_order(self, order_id: int) -> None:
        ticket = next((t for t in self.tickets if t.order_id == order_id and t.client_id == CLIENT), None)
        if ticket is None or not ticket.alive:
            self.tell(lambda heard: heard.on_error(order_id, 10147 if ticket is None else 161, "not cancellable"))
            return
        self.cancelled.add(ticket.perm_id)
        if self._script.told_pending:
            ticket.status = "PendingCancel"
            self._status(ticket)
            self._loop.call_later(self.way(), lambda: self.cancel(ticket))
        else:
            self.cancel(ticket)

    def open_orders(self) -> None:
        for ticket in self.tickets:
            if ticket.alive:
                self._show(ticket, ticket.status, self.tell)
        self.tell(lambda heard: heard.on_end("openOrders"))

    def completed_orders(self) -> None:
        for ticket in self.tickets:
            if not ticket.alive and not ticket.held:
                row = _completed(ticket)
                self.tell(methodcaller("on_row", "completedOrders", row))
        self.tell(lambda heard: heard.on_end("completedOrders"))

    def executions(self, req_id: int) -> None:
        deals = [(deal, ticket) for ticket in self.tickets if ticket.account == ACCOUNT for deal in ticket.deals]
        for deal, ticket in sorted(deals, key=lambda pair: pair[0].time):
            self._execution(deal, ticket, self.tell, asked=True)
            self._commission(deal)
        self.tell(lambda heard: heard.on_end(req_id))

    # ------------------------------------------------------------------ what happens at the broker

    def foreign(self, contract: Contract, client: int, account: str, volume: int, quarters: int, ref: str = "") -> None:
        """Another client or a person places an order."""
        ticket = Ticket(0, client, 0 if client == 0 else 7, contract, "BUY", "LMT", 100.0, volume, ref, account)
        self._enter(ticket)
        self.fill(ticket, quarters)

    def transmit(self, ticket: Ticket) -> None:
        if ticket.held:
            self._enter(ticket)

    def cancel(self, ticket: Ticket) -> None:
        if ticket.alive:
            ticket.status = "Cancelled"
            self._status(ticket)
            self._code(ticket, 202)

    def fill(self, ticket: Ticket, quarters: int, *, halves: bool = False) -> None:
        """Fill so many quarters of the order's size, or what is left, each fill at a price of its own."""
        wanted = min(ticket.volume - ticket.filled, ticket.volume * quarters // 4)
        for part in [wanted // 2, wanted - wanted // 2] if halves else [wanted]:
            if not ticket.alive or part <= 0:
                return
            number = next(self._numbers)
            total = ticket.filled + part
            deal = Deal(f"0000e0d5.{number:08x}.01", part, 100 + number / 100, total, self._clock.now())
            ticket.deals.append(deal)
            if total == ticket.volume:
                ticket.status = "Filled"
            if self._hears(ticket):
                if self._script.status_first:
                    self._status(ticket)
                self._execution(deal, ticket, self._news, asked=False)
                if not self._script.status_first:
                    self._status(ticket)
                self._loop.call_later(self._script.commission_s, self._commission, deal)
            if ticket.account == ACCOUNT:
                self.tell(lambda heard: heard.on_position())

    def correct(self, ticket: Ticket) -> None:
        """The last execution is said anew at another price."""
        if ticket.deals:
            deal = ticket.deals[-1]
            deal.revision += 1
            if self._hears(ticket):
                self._execution(deal, ticket, self._news, asked=False, price=deal.price + 1)

    # ------------------------------------------------------------------ messages

    def _hears(self, ticket: Ticket) -> bool:
        return ticket.client_id == CLIENT

    def show(self, ticket: Ticket, status: str = "") -> None:
        if self._hears(ticket):
            self._show(ticket, status or ticket.status, self._news)

    def _show(self, ticket: Ticket, status: str, send: Callable[[Callable[[Any], object]], None]) -> None:
        contract, order, state = ticket.contract, _order(ticket), OrderState(status=status)
        messages: list[Callable[[Any], object]] = [
            lambda heard: heard.on_open_order(contract, order, state),
            self._status_message(ticket, status),
        ]
        for message in reversed(messages) if self._script.status_first else messages:
            send(message)

    def _status(self, ticket: Ticket) -> None:
        if self._hears(ticket):
            self._news(self._status_message(ticket, ticket.status))

    @staticmethod
    def _status_message(ticket: Ticket, status: str) -> Callable[[Any], object]:
        said = OrderStatus(
            ticket.order_id,
            status,
            float(ticket.filled),
            float(ticket.volume - ticket.filled),
            0.0,
            ticket.perm_id,
            0,
            0.0,
            ticket.client_id,
            "",
        )
        return lambda heard: heard.on_order_status(said)

    def _code(self, ticket: Ticket, code: int) -> None:
        if self._hears(ticket):
            self._news(lambda heard: heard.on_error(ticket.order_id, code, "the broker's words"))

    @staticmethod
    def _execution(
        deal: Deal,
        ticket: Ticket,
        send: Callable[[Callable[[Any], object]], None],
        *,
        asked: bool,
        price: float = 0.0,
    ) -> None:
        execution = Execution(
            execId=deal.exec_id,
            time=deal.time,
            acctNumber=ticket.account,
            exchange="IEX",
            side="BOT" if ticket.action == "BUY" else "SLD",
            shares=float(deal.shares),
            price=price or deal.price,
            permId=ticket.perm_id,
            clientId=ticket.client_id,
            orderId=ticket.order_id,
            cumQty=float(deal.total),
            orderRef=ticket.ref,
        )
        contract = ticket.contract
        send(lambda heard: heard.on_execution(contract, execution, asked))

    def _commission(self, deal: Deal) -> None:
        report = CommissionReport(execId=deal.exec_id, commission=1.0, currency="USD")
        self.tell(lambda heard: heard.on_commission(report))


def _order(ticket: Ticket) -> Order:
    order = Order(
        orderId=ticket.order_id,
        clientId=ticket.client_id,
        permId=ticket.perm_id,
        action=ticket.action,
        totalQuantity=float(ticket.volume),
        orderType=ticket.kind,
        account=ticket.account,
        orderRef=ticket.ref,
    )
    if ticket.kind == "STP":
        order.auxPrice = ticket.price
    else:
        order.lmtPrice = ticket.price
    return order


def _completed(ticket: Ticket) -> CompletedOrder:
    """What was left as the size, and what was filled beside it (section 7.2)."""
    order = _order(ticket)
    order.orderId = order.clientId = 0
    order.totalQuantity = float(ticket.volume - ticket.filled)
    order.filledQuantity = float(ticket.filled)
    return CompletedOrder(ticket.contract, order, OrderState(status=ticket.status, completedStatus="Ended"))
