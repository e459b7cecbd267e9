"""Historical bars, the first timestamp, and bars kept up to date (tws-api 4.4, 6.4, 9.3, 16)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from brokersim.model import Bar, Quote
from brokersim.sessions import TradingDays, day_spans, from_ms, regular_spans
from brokersim.tws.bars import BAR_SECONDS, DAY_S, SECONDS_BARS, BadRequest, BarSource, Duration, bar_size
from brokersim.tws.client import Client
from brokersim.tws.contracts import ContractQuery, Listed
from brokersim.tws.framing import Field, Reader
from brokersim.tws.hub import Handler, Hub
from brokersim.tws.live_bars import WHAT_QUOTES, RunningBar, shown_price, traded
from brokersim.tws.pacing import HistoricalPacing
from brokersim.tws.subscriptions import Subscription, Subscriptions, data_name, data_right, find_contract
from brokersim.tws.times import BadTime, parse_time, zone_text

WHATS = frozenset({"TRADES", "ADJUSTED_LAST", "SCHEDULE", "AGGTRADES", *WHAT_QUOTES})
TRADE_WHATS = frozenset({"TRADES", "ADJUSTED_LAST", "AGGTRADES"})
NO_UPDATES = frozenset({"ADJUSTED_LAST", "SCHEDULE"})
FAILED = "Historical Market Data Service error message:{}"
PACING = "API historical data query pacing violation"
CANCELLED = "API historical data query cancelled: {}"
INVALID = "Error validating request.-'bT' : cause - {}"
SHORTEST_UPDATED_S = 5
SCHEDULE_TIME = "%Y%m%d-%H:%M:%S"


@dataclass(frozen=True)
class BarRequest:
    """One reqHistoricalData as it was asked."""

    query: ContractQuery
    end: str
    size: str
    duration: str
    regular_only: bool
    what: str
    epoch: bool
    """Intraday bars are stamped with epoch seconds (formatDate 2)."""
    updated: bool

    @classmethod
    def read(cls, reader: Reader) -> BarRequest:
        query = ContractQuery.read(reader)
        reader.flag("includeExpired")
        end, size, duration = reader.text("endDateTime"), reader.text("barSizeSetting"), reader.text("durationStr")
        regular_only, what = reader.flag("useRTH"), reader.text("whatToShow").upper()
        epoch = reader.integer("formatDate") == 2
        if query.sec_type == "BAG":
            reader.skip(4 * reader.count("comboLegs", 4))
        return cls(query, end.strip(), size, duration, regular_only, what, epoch, reader.flag("keepUpToDate"))


@dataclass(eq=False)
class Kept(Subscription):
    """One history that is kept up to date: the bar that is running."""

    request: BarRequest
    size: str
    source: BarSource
    slot: datetime
    bar: RunningBar

    def add(self, quote: Quote, previous: Quote | None) -> None:
        """Let a quote change the running bar, or begin a new one."""
        price = shown_price(quote, self.request.what)
        if price is None:
            return
        slot = self.source.slot(self.size, quote.time)
        if slot > self.slot:
            self.slot, self.bar = slot, RunningBar.at(slot, price)
        if BAR_SECONDS[self.size] >= DAY_S:
            self.bar.start = int(self.source.slot("1 day", quote.time).timestamp())
        volume, turnover = traded(quote, previous, self.request.what)
        self.bar.add(price, volume, turnover)


class HistoryRoom:
    """Requests 20, 25, 87 and 90."""

    def __init__(self, hub: Hub) -> None:
        self.counts: Counter[str] = Counter()
        """For ``/wire``: pacing violations, as ``historicalPacingViolations``."""
        self._hub = hub
        self._pacing = HistoricalPacing(hub.clock.now)
        self._kept: Subscriptions[Kept] = Subscriptions()
        self._firsts: dict[str, datetime | None] = {}
        hub.market.listeners.append(self._on_quote)

    def handlers(self) -> dict[int, Handler]:
        return {20: self._request, 25: self._cancel, 87: self._head, 90: self._cancel_head}

    def forget(self, client: Client) -> None:
        self._kept.forget(client)

    def lose(self) -> None:
        """Every subscription ends without a word, as after 1101."""
        self._kept.clear()

    # -- bars --------------------------------------------------------------------------------------

    async def _request(self, hub: Hub, client: Client, reader: Reader) -> None:
        request_id = reader.integer("reqId")
        request = BarRequest.read(reader)
        listed = find_contract(hub, client, request_id, request.query)
        if listed is None:
            return
        try:
            size, duration = bar_size(request.size), Duration.parse(request.duration)
            end = parse_time(request.end, listed.instrument.zone)
        except BadRequest as error:
            client.error(request_id, 321, INVALID.format(error))
            return
        except BadTime as error:
            client.error(request_id, 10314, f"End Date/Time: The date, time, or time-zone entered is invalid. {error}")
            return
        if not self._is_sound(client, request_id, request, listed, size):
            return
        now = hub.clock.now()
        end = min(end or now, now)
        if request.what == "SCHEDULE":
            self._send_schedule(client, request_id, listed, duration, end)
            return
        source = BarSource(hub.market, listed.instrument)
        bars = await source.bars(size, duration, end, request.what, regular_only=request.regular_only)
        if not bars and not request.updated:
            client.error(request_id, 162, FAILED.format(f"HMDS query returned no data: {_query_name(listed, request)}"))
            return
        if request.updated:
            bars = self._keep(client, request_id, listed, request, source, size, bars)
        self._send_bars(client, request_id, listed, request, size, bars, end)

    def _is_sound(self, client: Client, request_id: int, request: BarRequest, listed: Listed, size: str) -> bool:
        """May it be asked; False when the client has been told why not."""
        seconds = BAR_SECONDS[size]
        code, text = 321, ""
        if request.what not in WHATS or (request.what in TRADE_WHATS and listed.sec_type == "CASH"):
            code, text = 162, FAILED.format(f"No historical market data for {_query_name(listed, request)}")
        elif request.what in NO_UPDATES and request.updated:
            text = INVALID.format(f"{request.what} cannot be kept up to date")
        elif request.updated and (request.end or seconds < SHORTEST_UPDATED_S):
            text = INVALID.format("Bars kept up to date need an empty end date and a bar size of at least 5 secs")
        elif request.what == "ADJUSTED_LAST" and request.end:
            text = INVALID.format("End Date not supported with adjusted last")
        elif request.what == "SCHEDULE" and size != "1 day":
            text = INVALID.format("Only 1-day bars are supported with SCHEDULE")
        elif listed.sec_type == "CONTFUT" and request.end:
            code, text = 10339, "Setting end date/time for continuous future security type is not allowed."
        elif data_right(self._hub, listed) == "none" or (data_right(self._hub, listed) != "live" and seconds < DAY_S):
            code, text = 162, FAILED.format(f"No market data permissions for {data_name(listed)}")
        elif self._kept.get(client, request_id) is not None:
            code, text = 386, "Duplicate ticker ID for API historical data query."
        elif seconds <= SECONDS_BARS and self._is_too_soon(request):
            code, text = 162, FAILED.format(PACING)
        if text:
            client.error(request_id, code, text)
        return not text

    def _is_too_soon(self, request: BarRequest) -> bool:
        if not self._hub.switches.historical_pacing:
            return False
        contract = (request.query, request.what)
        violates = self._pacing.violates(request, contract, double=request.what == "BID_ASK")
        if violates:
            self.counts["historicalPacingViolations"] += 1
        return violates

    def _send_bars(
        self,
        client: Client,
        request_id: int,
        listed: Listed,
        request: BarRequest,
        size: str,
        bars: list[Bar],
        end: datetime,
    ) -> None:
        fields: list[Field] = []
        for bar in bars:
            fields += [self._stamp(bar.time, listed, request, size), bar.open, bar.high, bar.low, bar.close]
            fields += _amounts(bar, listed, request.what)
        begin = bars[0].time if bars else end
        texts = [self._hub.time_text(at, listed.instrument) for at in (begin, end)]
        client.send(17, request_id, *texts, len(bars), *fields)

    def _stamp(self, at: datetime, listed: Listed, request: BarRequest, size: str) -> str:
        """A bar's date text: the day, or the instant in the form that was asked for."""
        if BAR_SECONDS[size] >= DAY_S:
            return f"{at.astimezone(ZoneInfo(listed.instrument.zone)):%Y%m%d}"
        return str(int(at.timestamp())) if request.epoch else self._hub.time_text(at, listed.instrument)

    def _cancel(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        request_id = reader.integer("reqId")
        if self._kept.remove(client, request_id) is not None:
            client.error(request_id, 162, FAILED.format(CANCELLED.format(request_id)))
        else:
            client.error(request_id, 366, f"No historical data query found for ticker id:{request_id}")

    # -- kept up to date ---------------------------------------------------------------------------

    def _keep(
        self,
        client: Client,
        request_id: int,
        listed: Listed,
        request: BarRequest,
        source: BarSource,
        size: str,
        bars: list[Bar],
    ) -> list[Bar]:
        """Subscribe; the bars with the running one as their last."""
        market = self._hub.market
        market.watch(listed.vt_symbol)
        quote = market.quote(listed.vt_symbol)
        slot = source.slot(size, self._hub.clock.now())
        begun = source.begun(size, slot, request.what, regular_only=request.regular_only)
        price = shown_price(quote, request.what)
        if begun is not None:
            running = RunningBar.of(begun)
        elif price is not None:
            running = RunningBar.at(slot, price)
        else:
            running = RunningBar.at(slot, quote.prev_close)
        self._kept.add(Kept(client, request_id, listed, request, size, source, slot, running))
        whole = [bar for bar in bars if source.slot(size, bar.time) < slot]
        return whole if begun is None else [*whole, begun]

    def _on_quote(self, quote: Quote, previous: Quote | None) -> None:
        for kept in self._kept.of(quote.vt_symbol):
            if quote.segment == "regular" or not kept.request.regular_only:
                kept.add(quote, previous)
                self._send_update(kept)

    def _send_update(self, kept: Kept) -> None:
        """Message 90, whose prices come as open, close, high, low."""
        bar = kept.bar
        stamp = self._stamp(from_ms(bar.start * 1000), kept.listed, kept.request, kept.size)
        amounts: tuple[Field, ...] = (bar.average(kept.listed.size), bar.volume)
        count = bar.count
        if kept.request.what in WHAT_QUOTES:
            amounts, count = (-1, -1), -1
        kept.client.send(90, kept.request_id, count, stamp, bar.open, bar.close, bar.high, bar.low, *amounts)

    # -- sessions and the first timestamp ----------------------------------------------------------

    def _send_schedule(
        self, client: Client, request_id: int, listed: Listed, duration: Duration, end: datetime
    ) -> None:
        """Message 106: the regular sessions of the days (tws-api 6.4)."""
        instrument = listed.instrument
        zone = ZoneInfo(instrument.zone)
        begin = BarSource(self._hub.market, instrument).begin(duration, end)
        last = end.astimezone(zone).date()
        rows: list[Field] = []
        days = TradingDays.of(instrument.exchange).between(begin.date(), last)
        for on in days:
            spans = regular_spans(day_spans(instrument, on))
            rows += [_schedule_time(spans[0].start, zone), _schedule_time(spans[-1].end, zone), f"{on:%Y%m%d}"]
        bounds = (rows[0], rows[-2]) if rows else ("", "")
        client.send(106, request_id, *bounds, zone_text(instrument), len(days), *rows)

    def _head(self, hub: Hub, client: Client, reader: Reader) -> None:
        request_id = reader.integer("reqId")
        query = ContractQuery.read(reader)
        reader.flag("includeExpired")
        reader.flag("useRTH")
        what = reader.text("whatToShow").upper()
        epoch = reader.integer("formatDate") == 2
        listed = find_contract(hub, client, request_id, query)
        if listed is None:
            return
        if listed.vt_symbol not in self._firsts:
            self._firsts[listed.vt_symbol] = BarSource(hub.market, listed.instrument).first()
        first = self._firsts[listed.vt_symbol]
        if first is None or what not in WHATS or (what in TRADE_WHATS and listed.sec_type == "CASH"):
            client.error(request_id, 162, FAILED.format(f"No head time stamp for {listed.symbol} {what}"))
            return
        client.send(88, request_id, int(first.timestamp()) if epoch else f"{first:{SCHEDULE_TIME}}")

    def _cancel_head(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.integer("reqId")  # it has been answered: there is nothing to cancel


def _amounts(bar: Bar, listed: Listed, what: str) -> tuple[Field, Field, Field]:
    """volume, wap, barCount; -1 each where quotes are shown. The market keeps no count of trades: round lots."""
    if what in WHAT_QUOTES:
        return -1, -1, -1
    average = round(bar.turnover / bar.volume / listed.size, 6) if bar.volume else bar.close
    return bar.volume, average, max(1, bar.volume // 100)


def _query_name(listed: Listed, request: BarRequest) -> str:
    return f"{listed.symbol}@{listed.exchange} {request.what.capitalize()}"


def _schedule_time(ms: int, zone: ZoneInfo) -> str:
    return f"{from_ms(ms).astimezone(zone):{SCHEDULE_TIME}}"
