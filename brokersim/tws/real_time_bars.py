"""Five-second bars (tws-api 4.3, 6.3, 10)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from brokersim.model import Quote
from brokersim.tws.client import Client
from brokersim.tws.contracts import ContractQuery
from brokersim.tws.framing import Field, Reader
from brokersim.tws.hub import Handler, Hub
from brokersim.tws.live_bars import WHAT_QUOTES, BarMaker, RunningBar
from brokersim.tws.subscriptions import Subscription, Subscriptions, data_name, data_right, find_contract

BAR_S = 5
WHATS = frozenset({"TRADES", "MIDPOINT", "BID", "ASK"})
NEW_IN_TEN_MINUTES = 60
TEN_MINUTES_S = 600.0


@dataclass(eq=False)
class BarStream(Subscription):
    """One real-time bar request."""

    what: str
    regular_only: bool
    maker: BarMaker = field(init=False)

    def __post_init__(self) -> None:
        self.maker = BarMaker(BAR_S, self.what, self._send)

    def _send(self, bar: RunningBar) -> None:
        amounts: tuple[Field, ...] = (bar.volume, bar.average(self.listed.size), bar.count)
        if self.what in WHAT_QUOTES:
            amounts = (-1, -1, -1)
        prices = (bar.open, bar.high, bar.low, bar.close)
        self.client.send(50, 3, self.request_id, bar.start, *prices, *amounts)


class RealTimeBarRoom:
    """Requests 50 and 51."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._streams: Subscriptions[BarStream] = Subscriptions()
        self._begun: deque[datetime] = deque()
        hub.market.listeners.append(self._on_quote)
        hub.market.after_step.append(self._on_time)

    def handlers(self) -> dict[int, Handler]:
        return {50: self._request, 51: self._cancel}

    def forget(self, client: Client) -> None:
        self._streams.forget(client)

    def lose(self) -> None:
        """Every subscription ends without a word, as after 1101."""
        self._streams.clear()

    def _request(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        request_id = reader.integer("reqId")
        query = ContractQuery.read(reader)
        reader.integer("barSize")
        what = reader.text("whatToShow").upper()
        regular_only = reader.flag("useRTH")
        if self._streams.get(client, request_id) is not None:
            client.error(request_id, 102, "Duplicate ticker ID.")
            return
        listed = find_contract(hub, client, request_id, query)
        if listed is None:
            return
        if what not in WHATS or (what == "TRADES" and listed.sec_type == "CASH"):
            client.error(request_id, 321, f"Error validating request.-'bz' : cause - Invalid what to show: {what}")
            return
        if data_right(hub, listed) != "live":
            text = f"Invalid Real-time Query:No market data permissions for {data_name(listed)}"
            client.error(request_id, 420, text)
            return
        now = hub.clock.now()
        while self._begun and (now - self._begun[0]).total_seconds() > TEN_MINUTES_S:
            self._begun.popleft()
        if len(self._begun) >= NEW_IN_TEN_MINUTES:
            client.error(request_id, 420, "Invalid Real-time Query:Pacing violation")
            return
        self._begun.append(now)
        stream = BarStream(client, request_id, listed, what, regular_only)
        self._streams.add(stream)
        hub.market.watch(listed.vt_symbol)
        stream.maker.begin(int(now.timestamp()), hub.market.quote(listed.vt_symbol))

    def _cancel(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        request_id = reader.integer("reqId")
        if self._streams.remove(client, request_id) is None:
            client.error(request_id, 365, f"No historical or real time bars query with id {request_id}")

    def _on_quote(self, quote: Quote, previous: Quote | None) -> None:
        for stream in self._streams.of(quote.vt_symbol):
            if quote.segment == "regular" or not stream.regular_only:
                stream.maker.on_quote(int(quote.time.timestamp()), quote, previous)

    def _on_time(self, now: datetime) -> None:
        for stream in self._streams:
            segment = self._hub.market.segment(stream.listed.vt_symbol)
            if segment == "regular" or (segment != "closed" and not stream.regular_only):
                stream.maker.pass_time(int(now.timestamp()))
