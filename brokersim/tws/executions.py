"""The day's executions, and answering for them (tws-api 4.5, 6.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from brokersim.model import Fill
from brokersim.tws import messages
from brokersim.tws.client import Client
from brokersim.tws.framing import Reader
from brokersim.tws.hub import Hub
from brokersim.tws.kept import KeptExecution
from brokersim.tws.tickets import Execution, Ticket
from brokersim.tws.times import BadTime, parse_time

HOST_ZONE = "America/New_York"
"""Where this TWS stands: its day begins there at midnight, and times without a zone are its."""
US_VENUES = ("IEX", "ISLAND", "ARCA", "DRCTEDGE", "NYSE")
"""Where orders to SMART execute; an execution never says SMART."""
SIDES = {"BUY": "LONG", "SELL": "SHORT", "BOT": "LONG", "SLD": "SHORT"}


class ExecutionLog:
    """Every fill with its order, oldest first."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._all: list[Execution] = []
        self._realised: dict[tuple[str, str], Decimal] = {}

    def record(self, ticket: Ticket, fill: Fill) -> Execution:
        """Keep a fill that the ledger has just booked."""
        key = (fill.account, fill.vt_symbol)
        before = self._realised.get(key, Decimal(0))
        after = self._realised[key] = self._hub.ledger.realised(*key)
        realised = after - before - fill.fee if self._closed(fill) else None
        venue = _venue(ticket, len(self._all))
        execution = Execution(fill, ticket, ticket.average_price, realised, venue)
        self._all.append(execution)
        return execution

    def keep(self) -> tuple[KeptExecution, ...]:
        """What is told of each fill beside the fill, in their order."""
        return tuple(KeptExecution(one.average_price, one.realised, one.venue) for one in self._all)

    def restore(self, fills: Sequence[Fill], tickets: Mapping[str, Ticket], kept: Sequence[KeptExecution]) -> None:
        """Take the fills of an earlier process; the ledger has booked them already. ValueError or KeyError when it can
        not be so."""
        for fill, one in zip(fills, kept, strict=True):
            ticket = tickets[fill.order_id]
            self._all.append(Execution(fill, ticket, one.average_price, one.realised, one.venue))
            key = (fill.account, fill.vt_symbol)
            self._realised[key] = self._hub.ledger.realised(*key)

    def _closed(self, fill: Fill) -> bool:
        """Did the fill close (part of) a position."""
        volume = self._hub.ledger.volume(fill.account, fill.vt_symbol)
        signed = fill.volume if fill.direction == "LONG" else -fill.volume
        return (volume - signed) * signed < 0

    def answer(self, hub: Hub, client: Client, reader: Reader) -> None:
        """reqExecutions: those of the present day that pass the filter, each with its commission, then the end."""
        reader.skip()
        req_id = reader.integer("reqId")
        client_id = reader.integer("clientId")
        account, since_text, symbol = reader.text("acctCode"), reader.text("time"), reader.text("symbol").upper()
        sec_type, exchange, side = reader.text("secType"), reader.text("exchange"), reader.text("side").upper()
        try:
            since = parse_time(since_text, HOST_ZONE)
        except BadTime as error:
            client.error(req_id, 391, str(error))
            return
        for execution in self._today():
            ticket, fill = execution.ticket, execution.fill
            passes = (
                (client_id == 0 or ticket.client_id == client_id)
                and account in ("", fill.account)
                and (since is None or fill.time >= since)
                and symbol in ("", ticket.listed.symbol)
                and sec_type in ("", ticket.listed.sec_type)
                and exchange in ("", "SMART", execution.venue)
                and (not side or SIDES.get(side) == fill.direction)
            )
            if passes:
                time = hub.time_text(fill.time, ticket.listed.instrument)
                client.send(*messages.exec_details(execution, time, req_id))
                client.send(*messages.commission_report(execution))
        client.send(55, 1, req_id)

    def _today(self) -> list[Execution]:
        """The present day's, as a Gateway keeps them: since midnight (tws-api 11)."""
        begin = midnight(self._hub.clock.now())
        return [execution for execution in self._all if execution.fill.time >= begin]


def midnight(now: datetime) -> datetime:
    """When the present day of this TWS began."""
    local = now.astimezone(ZoneInfo(HOST_ZONE))
    return local.replace(hour=0, minute=0, second=0, microsecond=0)


def _venue(ticket: Ticket, count: int) -> str:
    listed = ticket.listed
    if listed.exchange != "SMART":
        return listed.exchange
    return US_VENUES[count % len(US_VENUES)]
