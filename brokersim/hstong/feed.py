"""Market-data subscriptions and what they push (vbrokers-openapi 6.8, 13.4).

One set for the whole Gateway: (topic, security). A new subscription is answered with a snapshot at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from brokersim.hstong import frames
from brokersim.hstong.backend import Backend, security_of
from brokersim.hstong.broker_queue import queue_notify
from brokersim.hstong.codes import SEGMENT_CODES, GatewayError
from brokersim.hstong.params import Params
from brokersim.market import Print
from brokersim.model import Instrument, Quote, Segment
from vnpy_vbrokers.wire.proto import push_pb2 as pb

MAX_SECURITIES = 200
QUOTE, QUOTE_NIGHT = 11, 35
BROKERS, BOOK, BOOK_NIGHT = 16, 17, 36
DEPTH_TOPICS = frozenset({25, 26})
TICKER_TOPICS: dict[int, Segment] = {14: "regular", 27: "pre", 28: "post", 37: "night"}
TOPICS = frozenset({QUOTE, QUOTE_NIGHT, BROKERS, BOOK, BOOK_NIGHT, *DEPTH_TOPICS, *TICKER_TOPICS})
SIDES = {"neutral": 0, "buy": 1, "sell": 2}
DEEP_EXCHANGES = frozenset({"SEHK", "SSE", "SZSE"})
"""Exchanges whose normal book shows several levels; a US book shows one, unless more depth is asked for (6.2)."""


def shown_depth(instrument: Instrument, *, depth_right: bool) -> int | None:
    """How many levels of the book are shown: None for all of them."""
    return None if depth_right or instrument.exchange in DEEP_EXCHANGES else 1


class Feed:
    """The subscriptions, and the pushes of each played quote; none is made while ``is_heard`` says nobody hears."""

    def __init__(
        self, backend: Backend, publish: Callable[[frames.Payload], None], is_heard: Callable[[], bool]
    ) -> None:
        self._backend = backend
        self._publish = publish
        self._is_heard = is_heard
        self._topics: dict[str, set[int]] = {}
        self._security = lru_cache(maxsize=None)(lambda vt_symbol: security_of(backend.instrument(vt_symbol)))
        self.routes = {"/hq/Subscribe": self.subscribe, "/hq/Unsubscribe": self.unsubscribe}

    def follows(self, vt_symbol: str) -> bool:
        """Does any topic subscribe this instrument."""
        return vt_symbol in self._topics

    def clear(self) -> None:
        """Forget all subscriptions, as when the session ends."""
        self._topics.clear()

    def subscribe(self, params: Params) -> object:
        """Add securities to a topic, all or, beyond 200 distinct ones, none. Unknown securities are passed over."""
        topic, instruments = self._asked(params)
        if len(self._topics.keys() | {one.vt_symbol for one in instruments}) > MAX_SECURITIES:
            raise GatewayError("1016", "订阅数量超过上限")
        for instrument in instruments:
            self._topics.setdefault(instrument.vt_symbol, set()).add(topic)
            self._backend.market.watch(instrument.vt_symbol)
            quote = self._backend.market.quote(instrument.vt_symbol)
            for payload in self._payloads(topic, instrument, quote, self._last_print(instrument)):
                self._publish(payload)
        return {"success": True}

    def unsubscribe(self, params: Params) -> object:
        """Take securities off a topic; a pair that was not subscribed is no error (6.8)."""
        topic, instruments = self._asked(params)
        for instrument in instruments:
            topics = self._topics.get(instrument.vt_symbol, set())
            topics.discard(topic)
            if not topics:
                self._topics.pop(instrument.vt_symbol, None)
        return {"success": True}

    def on_quote(self, quote: Quote, previous: Quote | None) -> None:
        """A played quote: push it to the topics that subscribe it."""
        topics = self._topics.get(quote.vt_symbol)
        if not topics or not self._is_heard():
            return
        instrument = self._backend.instrument(quote.vt_symbol)
        traded = self._last_print(instrument) if previous is None or quote.volume != previous.volume else None
        same_book = previous is not None and (quote.bids, quote.asks) == (previous.bids, previous.asks)
        for topic in sorted(topics):
            if same_book and topic not in TICKER_TOPICS and topic not in {QUOTE, QUOTE_NIGHT}:
                continue
            for payload in self._payloads(topic, instrument, quote, traded):
                self._publish(payload)

    def _asked(self, params: Params) -> tuple[int, list[Instrument]]:
        topic = params.integer("topicId", 0, 999)
        if topic not in TOPICS:
            raise GatewayError("1016", "参数无效 topicId")
        rows = params.securities()
        found = (self._backend.directory.security(row.code, row.data_type) for row in rows)
        return topic, [instrument for instrument in found if instrument is not None]

    def _last_print(self, instrument: Instrument) -> Print | None:
        prints = self._backend.market.prints(instrument.vt_symbol, 1)
        return prints[-1] if prints else None

    def _payloads(
        self, topic: int, instrument: Instrument, quote: Quote, traded: Print | None
    ) -> Iterator[frames.Payload]:
        security = self._security(instrument.vt_symbol)
        quote = self._backend.shown(quote)
        night = quote.segment == "night"
        if topic == QUOTE or (topic == QUOTE_NIGHT and night):
            yield frames.quote_notify(security, quote, self._backend.trade_time(quote.last_time, instrument))
        elif topic in TICKER_TOPICS:
            if traded is not None and TICKER_TOPICS[topic] == quote.segment:
                yield pb.TickerNotify(
                    security=pb.Security(dataType=security.data_type, code=security.code),
                    ticker=self._ticker(instrument, quote, traded),
                )
        elif topic == BROKERS:
            if instrument.exchange == "SEHK":
                yield from (queue_notify(security, side, quote) for side in (frames.BID, frames.ASK))
        elif topic != BOOK_NIGHT or night:
            yield from self._book(topic, instrument, quote)

    def _book(self, topic: int, instrument: Instrument, quote: Quote) -> Iterable[frames.Payload]:
        deep = topic in DEPTH_TOPICS
        if deep and instrument.exchange != "SMART":
            return []
        depth = shown_depth(instrument, depth_right=deep)
        segment = SEGMENT_CODES[quote.segment]
        security = self._security(instrument.vt_symbol)
        return [
            frames.book_notify(security, frames.BID, quote.bids[:depth], segment),
            frames.book_notify(security, frames.ASK, quote.asks[:depth], segment),
        ]

    def _ticker(self, instrument: Instrument, quote: Quote, traded: Print) -> pb.Ticker:
        return pb.Ticker(
            time=self._backend.local(traded.time, instrument.vt_symbol).strftime("%H:%M:%S"),
            side=SIDES[traded.side],
            price=float(traded.price),
            volume=traded.volume,
            turnover=float(traded.price * traded.volume),
            timestamp=int(traded.time.timestamp() * 1000),
            mktTmType=SEGMENT_CODES[quote.segment],
        )
