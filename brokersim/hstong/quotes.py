"""Market data by request: quotes, book, ticks, broker queue, option chain (vbrokers-openapi 6.1, 6.2, 6.5 to 6.7)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from brokersim.hstong import frames
from brokersim.hstong.backend import Backend, security_of
from brokersim.hstong.broker_queue import queue_rows
from brokersim.hstong.codes import SEGMENT_CODES, GatewayError, OptionTerms, option_terms
from brokersim.hstong.feed import SIDES, Feed, shown_depth
from brokersim.hstong.params import Params, Security
from brokersim.model import Instrument, Level, Quote

MAX_BATCH = 200
MAX_TICKERS = 100
DEPTH_BOOK_TYPES = frozenset({"2", "3"})
IN_THE_MONEY, OUT_OF_THE_MONEY = "1", "2"


class Quotes:
    """The pull routes."""

    def __init__(self, backend: Backend, feed: Feed) -> None:
        self._backend = backend
        self._feed = feed
        self.routes = {
            "/hq/BasicQot": self.basic_qot,
            "/hq/OrderBook": self.order_book,
            "/hq/Ticker": self.ticker,
            "/hq/Broker": self.broker,
            "/hq/UsOptionChainExpireDate": self.option_expiries,
            "/hq/UsOptionChainCode": self.option_codes,
            "/hq/UsOverNightTradeCodes": self.overnight_codes,
        }

    def find(self, security: Security) -> Instrument | None:
        """The instrument asked for; None when unknown, of another dataType or, by switch, not subscribed."""
        instrument = self._backend.directory.security(security.code, security.data_type)
        if instrument is None:
            return None
        if self._backend.switches.pull_needs_subscription and not self._feed.follows(instrument.vt_symbol):
            return None
        return instrument

    def basic_qot(self, params: Params) -> object:
        """A row for each security that is known (6.1)."""
        securities = params.securities()
        if len(securities) > MAX_BATCH:
            raise GatewayError("1016", f"单次查询不超过{MAX_BATCH}只证券")
        params.choice("needDelayFlag", {"0", "1"}, "0")
        asked = _segment_asked(params)
        found = [one for one in map(self.find, securities) if one is not None]
        return {"basicQot": [self._basic_row(instrument, asked) for instrument in found]}

    def order_book(self, params: Params) -> object:
        """The standing book (6.2)."""
        security = params.security()
        _segment_asked(params)
        deep = params.has("depthBookType") and bool(params.choice("depthBookType", DEPTH_BOOK_TYPES))
        instrument = self.find(security)
        if instrument is None:
            return {"security": security.row(), "orderBookAskList": [], "orderBookBidList": []}
        quote = self._backend.market.quote(instrument.vt_symbol)
        depth = shown_depth(instrument, depth_right=deep and instrument.exchange == "SMART")
        return {
            "security": security.row(),
            "spreadLevel": float(self._backend.market.tick_size(instrument.vt_symbol, quote.last)),
            "orderBookAskList": [_book_row(number, level) for number, level in enumerate(quote.asks[:depth], 1)],
            "orderBookBidList": [_book_row(number, level) for number, level in enumerate(quote.bids[:depth], 1)],
        }

    def ticker(self, params: Params) -> object:
        """The last trades, newest first (6.5)."""
        security = params.security()
        limit = params.integer("limit", 1, MAX_TICKERS)
        _segment_asked(params)
        instrument = self.find(security)
        rows: list[dict[str, object]] = []
        if instrument is not None:
            segment = SEGMENT_CODES[self._backend.shown(self._backend.market.quote(instrument.vt_symbol)).segment]
            rows = [
                {
                    "time": self._backend.local(one.time, instrument.vt_symbol).strftime("%H:%M:%S"),
                    "side": SIDES[one.side],
                    "price": float(one.price),
                    "volume": one.volume,
                    "turnover": float(one.price * one.volume),
                    "type": 0,
                    "timestamp": int(one.time.timestamp() * 1000),
                    "mktTmType": segment,
                }
                for one in reversed(self._backend.market.prints(instrument.vt_symbol, limit))
            ]
        return {"security": security.row(), self._backend.switches.ticker_key: rows}

    def broker(self, params: Params) -> object:
        """The broker queue of a Hong Kong stock; empty for any other (6.6)."""
        security = params.security()
        instrument = self.find(security)
        if instrument is None or instrument.exchange != "SEHK":
            return {"security": security.row(), "brokerAskList": [], "brokerBidList": []}
        quote = self._backend.market.quote(instrument.vt_symbol)
        return {
            "security": security.row(),
            "brokerAskList": queue_rows(quote, frames.ASK),
            "brokerBidList": queue_rows(quote, frames.BID),
        }

    # -- options (6.7) -----------------------------------------------------------------------------------------

    def option_expiries(self, params: Params) -> object:
        """When the options on a US stock expire, ``yyyy/MM/dd``."""
        options = self._options(params.text("securityCode"))
        return {"expireDate": sorted({_expiry(terms) for terms in options})}

    def option_codes(self, params: Params) -> object:
        """The codes of one expiry, by strike; on wish only calls or puts, in or out of the money."""
        root, expiry = params.text("securityCode"), params.text("expireDate")
        right = params.choice("optionType", {"C", "P"}, "") if params.has("optionType") else ""
        flag = params.choice("flagInOut", {IN_THE_MONEY, OUT_OF_THE_MONEY}) if params.has("flagInOut") else ""
        chain = [one for one in self._options(root) if _expiry(one) == expiry and right in ("", one.right)]
        if flag and chain:
            underlying = self._backend.directory.carried()[root]
            last = self._backend.market.quote(underlying.vt_symbol).last
            chain = [one for one in chain if _in_the_money(one, last) == (flag == IN_THE_MONEY)]
        return {"optionCode": [one.code for one in sorted(chain, key=lambda one: (one.strike, one.right))]}

    def overnight_codes(self, params: Params) -> object:
        """The US codes that trade at night: here all stocks and ETFs."""
        carried = self._backend.directory.carried()
        return {
            "securityCodes": sorted(
                code for code, one in carried.items() if one.exchange == "SMART" and one.kind in ("stock", "etf")
            )
        }

    def _options(self, root: str) -> list[OptionTerms]:
        all_terms = map(option_terms, self._backend.directory.carried().values())
        return [terms for terms in all_terms if terms is not None and terms.root == root]

    def _basic_row(self, instrument: Instrument, asked: int | None) -> dict[str, object]:
        backend = self._backend
        quote = backend.shown(backend.market.quote(instrument.vt_symbol))
        row: dict[str, object] = {
            "security": security_of(instrument).row(),
            "isSuspended": False,
            "priceSpread": float(backend.market.tick_size(instrument.vt_symbol, quote.last)),
            "lotSize": instrument.lot,
            "secStatus": 0,
            "stockStatus": "0",
            "listTime": "",
            "turnoverRate": 0.0,
            "tradeTime": backend.trade_time(quote.last_time, instrument),
            "marketTime": backend.trade_time(quote.time, instrument),
            "mktTmType": SEGMENT_CODES[quote.segment],
        }
        last_close_only = (
            asked is None
            and instrument.exchange == "SMART"
            and backend.switches.us_quote_without_segment == "last_close"
        )
        return row | (_last_close(quote) if last_close_only else _live(quote))


def _live(quote: Quote) -> dict[str, object]:
    return {
        "openPrice": float(quote.open),
        "highPrice": float(quote.high),
        "lowPrice": float(quote.low),
        "lastPrice": float(quote.last),
        "lastClosePrice": float(quote.prev_close),
        "volume": quote.volume,
        "turnover": float(quote.turnover),
        "amplitude": frames.amplitude(quote),
        "volumeStr": str(quote.volume),
    }


def _last_close(quote: Quote) -> dict[str, object]:
    """What a US quote shows when no session is named: the last close in the place of the last price (4.3)."""
    close = float(quote.prev_close)
    prices: dict[str, object] = dict.fromkeys(
        ("openPrice", "highPrice", "lowPrice", "lastPrice", "lastClosePrice"), close
    )
    return prices | {"volume": 0, "turnover": 0.0, "amplitude": 0.0, "volumeStr": "0"}


def _segment_asked(params: Params) -> int | None:
    """``mktTmType``, None when omitted. Which one is asked changes nothing: the row tells what it is (4.3)."""
    if not params.has("mktTmType"):
        return None
    return params.integer("mktTmType", -3, 1)


def _book_row(number: int, level: Level) -> dict[str, object]:
    return {
        "level": number,
        "price": float(level.price),
        "volume": level.volume,
        "orederCount": frames.orders_at(level),
        "brokeId": "",
    }


def _expiry(terms: OptionTerms) -> str:
    return datetime.strptime(terms.expiry, "%Y%m%d").strftime("%Y/%m/%d")  # noqa: DTZ007 - a calendar date has no zone


def _in_the_money(terms: OptionTerms, last: Decimal) -> bool:
    return last > terms.strike if terms.right == "C" else last < terms.strike
