"""Tick-by-tick data: every trade, or every change of the best bid and ask (tws-api 4.3, 6.3, 10)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from brokersim.model import Quote
from brokersim.tws.client import Client
from brokersim.tws.contracts import ContractQuery
from brokersim.tws.framing import Field, Reader
from brokersim.tws.hub import Handler, Hub
from brokersim.tws.subscriptions import Subscription, Subscriptions, data_name, data_right, find_contract

KINDS: dict[str, int] = {"Last": 1, "AllLast": 2, "BidAsk": 3, "MidPoint": 4}
TRADE_KINDS = frozenset({"Last", "AllLast"})
MOST_TICKS = 1000
NO_TRADES = frozenset({"CASH"})
NO_QUOTES = frozenset({"IND"})
TOO_MANY = "Max number of tick-by-tick requests has been reached."
FAILED = "Failed to request tick-by-tick data.No market data permissions for {}"
BAD_KIND = "Error validating request.-'cB' : cause - Tick-by-tick type must be Last, AllLast, BidAsk or MidPoint"


@dataclass(eq=False)
class Tape(Subscription):
    """One tick-by-tick request."""

    kind: str
    ignore_size: bool


class TickByTickRoom:
    """Requests 97 and 98."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tapes: Subscriptions[Tape] = Subscriptions()
        hub.market.listeners.append(self._on_quote)

    def handlers(self) -> dict[int, Handler]:
        return {97: self._request, 98: self._cancel}

    def forget(self, client: Client) -> None:
        self._tapes.forget(client)

    def lose(self) -> None:
        """Every subscription ends without a word, as after 1101."""
        self._tapes.clear()

    def _request(self, hub: Hub, client: Client, reader: Reader) -> None:
        request_id = reader.integer("reqId")
        query = ContractQuery.read(reader)
        kind = reader.text("tickType")
        past = reader.integer("numberOfTicks")
        ignore_size = reader.flag("ignoreSize")
        if kind not in KINDS:
            client.error(request_id, 321, BAD_KIND)
            return
        if self._tapes.get(client, request_id) is not None:
            client.error(request_id, 102, "Duplicate ticker ID.")
            return
        listed = find_contract(hub, client, request_id, query)
        if listed is None:
            return
        without = NO_TRADES if kind in TRADE_KINDS else NO_QUOTES
        if listed.sec_type in without or data_right(hub, listed) != "live":
            client.error(request_id, 10189, FAILED.format(data_name(listed)))
            return
        if self._tapes.count(client) >= hub.switches.tick_by_tick_lines:
            client.error(request_id, 10190, TOO_MANY)
            return
        tape = Tape(client, request_id, listed, kind, ignore_size)
        self._tapes.add(tape)
        hub.market.watch(listed.vt_symbol)
        quote = hub.market.quote(listed.vt_symbol)
        if kind in TRADE_KINDS:
            self._send_past(tape, min(past, MOST_TICKS))
        else:
            _send_quote(tape, quote)

    def _cancel(self, hub: Hub, client: Client, reader: Reader) -> None:
        request_id = reader.integer("reqId")
        if self._tapes.remove(client, request_id) is None:
            client.error(request_id, 300, f"Can't find EId with tickerId:{request_id}")

    def _send_past(self, tape: Tape, count: int) -> None:
        """The last trades of the day's tape, as one message of historical ticks."""
        if count <= 0:
            return
        prints = self._hub.market.prints(tape.listed.vt_symbol, count)
        fields: list[Field] = []
        for one in prints:
            fields += [int(one.time.timestamp()), 0, one.price, one.volume, tape.listed.primary_exchange, ""]
        tape.client.send(98, tape.request_id, len(prints), *fields, True)

    def _on_quote(self, quote: Quote, previous: Quote | None) -> None:
        for tape in self._tapes.of(quote.vt_symbol):
            if tape.kind in TRADE_KINDS:
                if previous is not None and quote.volume > previous.volume:
                    _send_trade(tape, quote, quote.volume - previous.volume)
            elif previous is None or _changed(tape, quote, previous):
                _send_quote(tape, quote)


def _changed(tape: Tape, quote: Quote, previous: Quote) -> bool:
    new, old = _best(quote), _best(previous)
    prices_only = tape.kind == "MidPoint" or tape.ignore_size
    return (new[:2] != old[:2]) if prices_only else new != old


def _best(quote: Quote) -> tuple[Decimal, Decimal, int, int]:
    """Bid, ask and their sizes, 0 where there is none."""
    bid = (quote.bids[0].price, quote.bids[0].volume) if quote.bids else (Decimal(0), 0)
    ask = (quote.asks[0].price, quote.asks[0].volume) if quote.asks else (Decimal(0), 0)
    return bid[0], ask[0], bid[1], ask[1]


def _send_trade(tape: Tape, quote: Quote, volume: int) -> None:
    venue = tape.listed.primary_exchange or tape.listed.exchange
    at = int(quote.time.timestamp())
    tape.client.send(99, tape.request_id, KINDS[tape.kind], at, quote.last, volume, 0, venue, "")


def _send_quote(tape: Tape, quote: Quote) -> None:
    bid, ask, bid_size, ask_size = _best(quote)
    at = int(quote.time.timestamp())
    if tape.kind == "BidAsk":
        tape.client.send(99, tape.request_id, KINDS[tape.kind], at, bid, ask, bid_size, ask_size, 0)
    elif bid and ask:
        tape.client.send(99, tape.request_id, KINDS[tape.kind], at, (bid + ask) / 2)
