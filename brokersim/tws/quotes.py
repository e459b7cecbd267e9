"""Top-of-book market data: live, frozen, delayed, snapshots and generic ticks (tws-api 4.3, 6.3, 8.3, 9.4, 15).

Delayed data differs in its tick types alone: the numbers are the present ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from brokersim.model import Level, Quote
from brokersim.tws.client import Client
from brokersim.tws.contracts import ContractQuery, Listed
from brokersim.tws.details import min_tick
from brokersim.tws.framing import Field, Reader
from brokersim.tws.hub import Handler, Hub
from brokersim.tws.options import (
    ASK_COMPUTATION,
    BID_COMPUTATION,
    LAST_COMPUTATION,
    MODEL_COMPUTATION,
    computations,
)
from brokersim.tws.subscriptions import Subscription, Subscriptions, data_name, data_right, find_contract

BID_SIZE, BID, ASK, ASK_SIZE, LAST, LAST_SIZE = 0, 1, 2, 3, 4, 5
HIGH, LOW, VOLUME, CLOSE, OPEN = 6, 7, 8, 9, 14
CALL_OPEN_INTEREST, PUT_OPEN_INTEREST, FUTURES_OPEN_INTEREST = 27, 28, 86
MARK_PRICE, LAST_TIMESTAMP, SHORTABLE, RT_VOLUME, HALTED, RT_TRADE_VOLUME, SHORTABLE_SHARES = 37, 45, 46, 48, 49, 77, 89

DELAYED: dict[int, int] = {
    BID: 66,
    ASK: 67,
    LAST: 68,
    BID_SIZE: 69,
    ASK_SIZE: 70,
    LAST_SIZE: 71,
    HIGH: 72,
    LOW: 73,
    VOLUME: 74,
    CLOSE: 75,
    OPEN: 76,
    LAST_TIMESTAMP: 88,
    HALTED: 90,
    BID_COMPUTATION: 80,
    ASK_COMPUTATION: 81,
    LAST_COMPUTATION: 82,
    MODEL_COMPUTATION: 83,
}
"""Live tick type -> delayed (tws-api 15.1)."""

_COMMON = frozenset({100, 101, 104, 105, 106, 162, 165, 221, 225, 232, 233, 293, 294, 295, 318, 375, 411, 595})
GENERIC_TICKS: dict[str, frozenset[int]] = {
    "STK": _COMMON | {236, 258, 292, 456, 576, 577, 578, 586, 614, 619, 623},
    "FUT": _COMMON | {588},
    "OPT": _COMMON - {105},
    "IND": _COMMON - {233, 375},
    "CASH": frozenset({165, 221, 225, 232, 293, 294, 295}),
}
"""The generic ticks that a request may name, by security type."""

LIVE, FROZEN, DELAYED_TYPE, DELAYED_FROZEN = 1, 2, 3, 4
EASY_TO_BORROW = "3.0"
SHARES_TO_BORROW = 10_000_000
BBO_EXCHANGE = {"STK": "9c0001", "OPT": "b20001", "FUT": "", "IND": "", "CASH": ""}
SNAPSHOT_PERMISSIONS = 3
CAN_AUTO_EXECUTE = 1

BAD_GENERIC = "Error validating request.-'bN' : cause - Incorrect generic tick list of {}.  Legal ones for ({}) are: {}"
NOT_ENABLED = "Requested market data is not subscribed. Delayed market data is not enabled."
NOT_SUBSCRIBED = "Requested market data is not subscribed.{}"
SHOWN_DELAYED = "Requested market data is not subscribed. Displaying delayed market data."


@dataclass(eq=False)
class Ticker(Subscription):
    """One market data request; ``sent`` holds what was last told by tick type."""

    generic: frozenset[int]
    delayed: bool
    sent: dict[int, object] = field(default_factory=dict)

    def price(self, tick: int, price: Decimal | int, size: int = 0, mask: int = 0) -> None:
        """Send a price when it changed."""
        if self._is_news(tick, price):
            self.client.send(1, 6, self.request_id, self._type(tick), price, size, mask)

    def size(self, tick: int, size: int | Decimal) -> None:
        """Send a size when it changed."""
        if self._is_news(tick, size):
            self.client.send(2, 6, self.request_id, self._type(tick), size)

    def generic_value(self, tick: int, value: object) -> None:
        if self._is_news(tick, value):
            self.client.send(45, 6, self.request_id, self._type(tick), str(value))

    def text(self, tick: int, text: str) -> None:
        if self._is_news(tick, text):
            self.client.send(46, 6, self.request_id, self._type(tick), text)

    def computation(self, tick: int, fields: tuple[Field, ...]) -> None:
        """Send an option's greeks when they changed."""
        if self._is_news(tick, fields):
            self.client.send(21, self.request_id, self._type(tick), *fields)

    def _type(self, tick: int) -> int:
        return DELAYED.get(tick, tick) if self.delayed else tick

    def _is_news(self, tick: int, value: object) -> bool:
        if self.sent.get(tick) == value:
            return False
        self.sent[tick] = value
        return True


class QuoteRoom:
    """Requests 1, 2 and 59."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tickers: Subscriptions[Ticker] = Subscriptions()
        hub.market.listeners.append(self._on_quote)

    def handlers(self) -> dict[int, Handler]:
        return {1: self._request, 2: self._cancel, 59: self._set_type}

    def forget(self, client: Client) -> None:
        self._tickers.forget(client)

    def lose(self) -> None:
        """Every subscription ends without a word, as after 1101."""
        self._tickers.clear()

    # -- requests ----------------------------------------------------------------------------------

    def _set_type(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        wanted = reader.integer("marketDataType")
        if wanted not in (LIVE, FROZEN, DELAYED_TYPE, DELAYED_FROZEN):
            client.error(-1, 321, "Error validating request.-'b2' : cause - Invalid market data type: 1 to 4")
            return
        client.market_data_type = wanted

    def _cancel(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        request_id = reader.integer("reqId")
        if self._tickers.remove(client, request_id) is None:
            client.error(request_id, 300, f"Can't find EId with tickerId:{request_id}")

    def _request(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        request_id = reader.integer("reqId")
        query = ContractQuery.read(reader)
        if query.sec_type == "BAG":
            client.error(request_id, 200, "No security definition has been found for the request")
            return
        if reader.flag("deltaNeutralContract"):
            reader.skip(3)
        generic_text = reader.text("genericTickList")
        is_snapshot = reader.flag("snapshot")
        is_regulatory = reader.flag("regulatorySnapshot")
        if self._tickers.get(client, request_id) is not None:
            client.error(request_id, 102, "Duplicate ticker ID.")
            return
        listed = find_contract(hub, client, request_id, query)
        if listed is None:
            return
        generic = _generic_ticks(client, request_id, listed, generic_text)
        if generic is None:
            return
        if generic and is_snapshot:
            client.error(request_id, 414, "Snapshot market data subscription is not applicable to generic ticks.")
            return
        data_type = self._data_type(client, request_id, listed)
        if data_type is None:
            return
        ticker = Ticker(client, request_id, listed, generic, data_type in (DELAYED_TYPE, DELAYED_FROZEN))
        is_once = is_snapshot or is_regulatory
        if not is_once:
            if self._tickers.count(client) >= hub.switches.market_data_lines:
                client.error(request_id, 101, "Max number of tickers has been reached.")
                return
            self._tickers.add(ticker)
            hub.market.watch(listed.vt_symbol)
        self._welcome(ticker, data_type)
        if is_once:
            client.send(57, 1, request_id)

    def _data_type(self, client: Client, request_id: int, listed: Listed) -> int | None:
        """What kind of data the client gets; None when it has been told that there is none (tws-api 9.4)."""
        asked = client.market_data_type
        right = data_right(self._hub, listed)
        is_closed = self._hub.market.segment(listed.vt_symbol) == "closed"
        if right == "live":
            return FROZEN if is_closed and asked in (FROZEN, DELAYED_FROZEN) else LIVE
        if right == "none":
            client.error(request_id, 354, NOT_SUBSCRIBED.format(data_name(listed)))
            return None
        if asked not in (DELAYED_TYPE, DELAYED_FROZEN):
            client.error(request_id, 10168, NOT_ENABLED)
            return None
        client.error(request_id, 10167, SHOWN_DELAYED)
        return DELAYED_FROZEN if is_closed and asked == DELAYED_FROZEN else DELAYED_TYPE

    # -- ticks -------------------------------------------------------------------------------------

    def _welcome(self, ticker: Ticker, data_type: int) -> None:
        client, request_id, listed = ticker.client, ticker.request_id, ticker.listed
        client.send(58, 1, request_id, data_type)
        tick, bbo = min_tick(self._hub, listed), BBO_EXCHANGE.get(listed.sec_type, "")
        client.send(81, request_id, tick, bbo, SNAPSHOT_PERMISSIONS)
        quote = self._hub.market.quote(listed.vt_symbol)
        self._send(ticker, quote, traded=False)
        if 236 in ticker.generic:
            ticker.generic_value(SHORTABLE, EASY_TO_BORROW)
            ticker.size(SHORTABLE_SHARES, SHARES_TO_BORROW)
        for interest in _open_interest(ticker):
            ticker.size(interest, quote.volume // 3 + 1)
        ticker.generic_value(HALTED, 0)

    def _on_quote(self, quote: Quote, previous: Quote | None) -> None:
        traded = previous is not None and quote.volume != previous.volume
        for ticker in self._tickers.of(quote.vt_symbol):
            self._send(ticker, quote, traded=traded)

    def _send(self, ticker: Ticker, quote: Quote, *, traded: bool) -> None:
        _send_quote(ticker, quote, traded=traded)
        if ticker.listed.sec_type == "OPT":
            for tick, fields in computations(self._hub, ticker.listed, quote).items():
                ticker.computation(tick, fields)


def _send_quote(ticker: Ticker, quote: Quote, *, traded: bool) -> None:
    """Send what changed; ``traded``: the quote came with a trade."""
    sec_type = ticker.listed.sec_type
    if sec_type != "IND":
        _send_side(ticker, BID, BID_SIZE, quote.bids)
        _send_side(ticker, ASK, ASK_SIZE, quote.asks)
    if sec_type == "CASH":
        _send_day(ticker, quote)
        return
    if quote.open:
        if traded:
            ticker.sent.pop(LAST_SIZE, None)
        ticker.price(LAST, quote.last, quote.last_volume)
        ticker.size(LAST_SIZE, quote.last_volume)
        ticker.text(LAST_TIMESTAMP, str(int(quote.last_time.timestamp())))
    ticker.size(VOLUME, quote.volume)
    _send_day(ticker, quote)
    if quote.volume and ticker.generic & {233, 375}:
        _send_real_time_volume(ticker, quote)
    if ticker.generic & {221, 232}:
        ticker.price(MARK_PRICE, quote.last)


def _send_side(ticker: Ticker, price_tick: int, size_tick: int, levels: tuple[Level, ...]) -> None:
    price, size = (levels[0].price, levels[0].volume) if levels else (-1, 0)
    ticker.price(price_tick, price, size, CAN_AUTO_EXECUTE if levels else 0)
    ticker.size(size_tick, size)


def _send_day(ticker: Ticker, quote: Quote) -> None:
    for tick, price in ((HIGH, quote.high), (LOW, quote.low), (CLOSE, quote.prev_close), (OPEN, quote.open)):
        if price:
            ticker.price(tick, price)


def _send_real_time_volume(ticker: Ticker, quote: Quote) -> None:
    at = int(quote.last_time.timestamp() * 1000)
    average = quote.turnover / quote.volume / ticker.listed.size
    text = f"{quote.last};{quote.last_volume};{at};{quote.volume};{average:.8f};true"
    if 233 in ticker.generic:
        ticker.text(RT_VOLUME, text)
    if 375 in ticker.generic:
        ticker.text(RT_TRADE_VOLUME, text)


def _open_interest(ticker: Ticker) -> Iterator[int]:
    if 588 in ticker.generic:
        yield FUTURES_OPEN_INTEREST
    if 101 in ticker.generic and ticker.listed.sec_type == "OPT":
        yield CALL_OPEN_INTEREST if ticker.listed.right == "C" else PUT_OPEN_INTEREST


def _generic_ticks(client: Client, request_id: int, listed: Listed, text: str) -> frozenset[int] | None:
    """The generic ticks of a request; None when the client has been told that they are wrong."""
    legal = GENERIC_TICKS.get(listed.sec_type, frozenset())
    words = [word.strip() for word in text.split(",") if word.strip()]
    wanted = frozenset(int(word) for word in words if word.isdecimal() and len(word) < 6)
    if len(wanted) == len(set(words)) and wanted <= legal:
        return wanted
    legal_text = ",".join(map(str, sorted(legal)))
    client.error(request_id, 321, BAD_GENERIC.format(text, listed.sec_type, legal_text))
    return None
