"""Historical ticks (tws-api 4.4, 6.4): the last trades of the present day from the tape, older ones out of minutes.

A minute that is no longer on the tape is told as four trades: open, the nearer extreme, the other one, close.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from brokersim.model import Bar
from brokersim.tws.client import Client
from brokersim.tws.contracts import ContractQuery, Listed
from brokersim.tws.framing import Field, Reader
from brokersim.tws.hub import Handler, Hub
from brokersim.tws.subscriptions import data_name, data_right, find_contract
from brokersim.tws.times import BadTime, parse_time

MOST_TICKS = 1000
LOOK_AROUND = timedelta(days=7)
"""How far from the time given ticks are looked for."""
TRADES, BID_ASK, MIDPOINT = "TRADES", "BID_ASK", "MIDPOINT"
INVALID = "Error validating request.-'cC' : cause - {}"


class Tick(NamedTuple):
    """One trade."""

    at: datetime
    price: Decimal
    volume: int


class HistoricalTickRoom:
    """Request 96."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def handlers(self) -> dict[int, Handler]:
        return {96: self._request}

    def forget(self, client: Client) -> None:
        """Nothing is kept by client."""

    def _request(self, hub: Hub, client: Client, reader: Reader) -> None:
        request_id = reader.integer("reqId")
        query = ContractQuery.read(reader)
        reader.flag("includeExpired")
        start_text, end_text = reader.text("startDateTime"), reader.text("endDateTime")
        count, what = reader.integer("numberOfTicks"), reader.text("whatToShow").upper()
        regular_only = reader.flag("useRTH")
        listed = find_contract(hub, client, request_id, query)
        if listed is None:
            return
        try:
            start = parse_time(start_text, listed.instrument.zone)
            end = parse_time(end_text, listed.instrument.zone)
        except BadTime as error:
            client.error(request_id, 10314, f"The date, time, or time-zone entered is invalid. {error}")
            return
        if what not in (TRADES, BID_ASK, MIDPOINT) or not 1 <= count <= MOST_TICKS or (not start and not end):
            cause = "1 to 1000 ticks of TRADES, BID_ASK or MIDPOINT, with a start or an end"
            client.error(request_id, 321, INVALID.format(cause))
            return
        if data_right(hub, listed) != "live" or (what == TRADES and listed.sec_type == "CASH"):
            client.error(request_id, 10187, f"Failed to request historical ticks:{data_name(listed)}")
            return
        ticks = self._ticks(listed, start, end, regular_only=regular_only)
        chosen = ticks[:count] if start is not None else ticks[-count:]
        self._send(client, request_id, listed, what, chosen)

    def _ticks(self, listed: Listed, start: datetime | None, end: datetime | None, *, regular_only: bool) -> list[Tick]:
        market, vt_symbol = self._hub.market, listed.vt_symbol
        now = self._hub.clock.now()
        last = min(end or (start or now) + LOOK_AROUND, now)
        first = start or last - LOOK_AROUND
        tape = [Tick(one.time, one.price, one.volume) for one in market.prints(vt_symbol, MOST_TICKS)]
        taped_from = tape[0].at if tape else now
        bars = market.bars(vt_symbol, "1m", first, last, adjust="forward", extended=not regular_only)
        ticks = [tick for bar in bars for tick in _told(bar) if tick.at < taped_from]
        return [tick for tick in [*ticks, *tape] if first <= tick.at <= last]

    def _send(self, client: Client, request_id: int, listed: Listed, what: str, ticks: list[Tick]) -> None:
        fields: list[Field] = []
        for tick in ticks:
            at = int(tick.at.timestamp())
            if what == TRADES:
                fields += [at, 0, tick.price, tick.volume, listed.primary_exchange or listed.exchange, ""]
            elif what == MIDPOINT:
                fields += [at, 0, tick.price, 0]
            else:
                step = self._hub.market.tick_size(listed.vt_symbol, tick.price)
                fields += [at, 0, tick.price - step, tick.price, tick.volume, tick.volume]
        client.send(MESSAGE_OF[what], request_id, len(ticks), *fields, True)


MESSAGE_OF = {MIDPOINT: 96, BID_ASK: 97, TRADES: 98}


def _told(bar: Bar) -> Iterator[Tick]:
    """A minute as four trades, a quarter of its volume each."""
    rising = abs(bar.open - bar.low) <= abs(bar.open - bar.high)
    extremes = (bar.low, bar.high) if rising else (bar.high, bar.low)
    quarter, rest = divmod(bar.volume, 4)
    for index, price in enumerate((bar.open, *extremes, bar.close)):
        yield Tick(bar.time + timedelta(seconds=15 * index), price, quarter + (rest if index == 3 else 0))
