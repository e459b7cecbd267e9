"""Plays one instrument: its series' events, in order along a timeline, into the standing quote.

The timeline is whole milliseconds. In data mode they are epoch milliseconds and every day has its own hours. In wall
mode they count from the start of the simulator, days follow each other without a gap, and only regular sessions are
played, without pause for lunch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from brokersim.book import Book
from brokersim.clock import Mode
from brokersim.model import Instrument, Quote, Segment
from brokersim.prices import Grid, to_money, to_points, to_price
from brokersim.series import MINUTE_MS, Event, Minute, Series
from brokersim.sessions import DAY, Span, day_spans, from_ms, local_date, midnight_ms, regular_spans, segment_at, to_ms

PRINTS_KEPT = 1000
NEVER = 1 << 62

Side = Literal["buy", "sell", "neutral"]
Stamp = Callable[[int], datetime]
"""Timeline milliseconds -> the instant that a quote shows."""


class Print(NamedTuple):
    """One trade on the tape; ``side`` is the side of the book that it took from."""

    time: datetime
    price: Decimal
    volume: int
    side: Side


class Player:
    """The state of one instrument's market. ``book_around_last``: where the source holds no quotes, show one tick
    around the last."""

    def __init__(
        self, instrument: Instrument, series: Series, grid: Grid, book: Book, mode: Mode, *, book_around_last: bool
    ) -> None:
        self.instrument = instrument
        self.series = series
        self.grid = grid
        self._book = book
        self._wall = mode == "wall"
        self._around_last = book_around_last
        self._quote: Quote | None = None
        self._date = series.live
        self._spans: tuple[Span, ...] = ()
        self._now = self._until = self._wall_end = 0
        self._regular_from = NEVER
        self._regular_began = False
        self.last = self.last_volume = self.prev_close = self._last_mark = 0
        self.open = self.high = self.low = self.volume = self.turnover = 0
        self.bid = self.bid_size = self.ask = self.ask_size = 0
        self.newer = ""
        self.time = self.last_time = from_ms(0)
        self._events: Iterator[tuple[int, Event]] = iter(())
        self._next: tuple[int, Event] | None = None
        self._coming: tuple[date, int] | None = None
        self.prints: deque[Print] = deque(maxlen=PRINTS_KEPT)
        self.live_minutes: list[Minute] = []
        """Wall mode: minutes of this run by the times that the quotes showed, oldest first."""
        self.trading = False
        """Data mode: does the instrument trade on the day that it stands at."""

    # -- along the timeline ------------------------------------------------------------------------

    @property
    def next_at(self) -> int:
        """When the next event is due, timeline milliseconds; NEVER when there is none."""
        return NEVER if self._next is None else self._next[0]

    def reset(self, position: int, stamp: Stamp) -> None:
        """Stand at a position, as if the day had been played silently up to it."""
        self.prints.clear()
        self.live_minutes.clear()
        if self._wall:
            self._coming = None
            self._begin(self.series.live, 0, stamp(0))
            self._events = self._wall_events(self.series.live, 0)
        else:
            self._stand_on(local_date(position, self.instrument.zone), from_ms(position))
        self._fetch()
        self.advance(position, stamp)

    def advance(self, position: int, stamp: Stamp) -> None:
        """Play silently up to a position, included."""
        while self.next_at <= position:
            self._play(stamp)
        if not self._wall:
            self._settle(position)

    def play(self, stamp: Stamp) -> Quote:
        """Play the next event and return the quote that it makes."""
        self._play(stamp)
        return self.quote()

    def _play(self, stamp: Stamp) -> None:
        assert self._next is not None
        at, event = self._next
        if self._coming is not None:
            on, start = self._coming
            self._coming = None
            self._begin(on, start, stamp(at))
        if not self._regular_began and at >= self._regular_from:
            self._restart()
        self._apply(event, stamp(at))
        self._now = at
        self._fetch()

    def _fetch(self) -> None:
        """Look up the next event; at the end of a day, the first of the following one that has any."""
        self._next = next(self._events, None)
        on, wrapped = self._date, False
        while self._next is None:
            following = self.series.next_date(on)
            if following is None:
                if wrapped or not self._wall:
                    return
                following, wrapped = self.series.live, True
            on = following
            start = self._wall_end if self._wall else 0
            self._coming = (on, start)
            self._events = self._wall_events(on, start) if self._wall else ((e.at, e) for e in self.series.events(on))
            self._next = next(self._events, None)

    def _wall_events(self, on: date, start: int) -> Iterator[tuple[int, Event]]:
        """A day's regular events, its sessions put end to end from ``start`` on the timeline."""
        spans = regular_spans(day_spans(self.instrument, on))
        events = self.series.events(on)
        event = next(events, None)
        for span in spans:
            while event is not None and event.at < span.start:
                event = next(events, None)
            while event is not None and event.at < span.end:
                yield start + event.at - span.start, event
                event = next(events, None)
            start += span.end - span.start

    # -- days --------------------------------------------------------------------------------------

    def _begin(self, on: date, start: int, at: datetime) -> None:
        """Start a day that trades: numbers at zero, the previous close known, quotes from before the open standing."""
        again = self._wall and start > 0 and on == self.series.live
        self._set_day(on, self._last_mark if again else self.series.previous_close(on), at)
        self.trading = True
        self._regular_from = 0 if self._wall else regular_spans(self._spans)[0].start
        self._regular_began = self._wall
        if self._wall:
            self._wall_end = start + sum(span.end - span.start for span in regular_spans(self._spans))
            self._prime(on)
        if self._around_last and not self.bid:
            self.bid, self.ask = self.grid.down(self.last), self.grid.up(self.last)
            self.bid_size = self.ask_size = max(self.instrument.lot, 100)

    def _stand_on(self, on: date, at: datetime) -> None:
        """Data mode: begin a date, or stand closed on one without data."""
        self._date = on
        self._coming = None
        if self.series.day(on) is None:
            self._close_on(on, at)
            self._events = iter(())
        else:
            self._begin(on, 0, at)
            self._events = ((e.at, e) for e in self.series.events(on))

    def _close_on(self, on: date, at: datetime) -> None:
        self._set_day(on, self.series.previous_close(on), at)
        self.trading = False
        self._regular_from = NEVER
        self._regular_began = False

    def _set_day(self, on: date, previous_close: int, at: datetime) -> None:
        self._date = on
        self._spans = day_spans(self.instrument, on)
        self._until = NEVER if self._wall else midnight_ms(on + DAY, self.instrument.zone)
        self.last = self.prev_close = self._last_mark = previous_close
        self.last_volume = 0
        self.bid = self.bid_size = self.ask = self.ask_size = 0
        self.newer = ""
        self.time = self.last_time = at
        self._now = to_ms(at)
        self._restart()

    def _restart(self) -> None:
        """A day's own numbers begin anew: at its start, and at its regular open (pre-market trades are not the
        day's)."""
        self.open = self.high = self.low = self.volume = self.turnover = 0
        self._regular_began = True
        self._quote = None

    def _prime(self, on: date) -> None:
        """Wall mode starts at the regular open: take the newest bid and ask from before it."""
        opens = regular_spans(self._spans)[0].start
        for event in self.series.events(on):
            if event.at >= opens:
                return
            self._take_book(event)

    def _settle(self, position: int) -> None:
        """Data mode, nothing left to play up to ``position``: what the mere passing of time changes."""
        if position >= self._until:
            self._close_on(local_date(position, self.instrument.zone), from_ms(position))
            if self.series.day(self._date) is not None:
                self._begin(self._date, 0, from_ms(position))
                self._coming = None
        if not self._regular_began and position >= self._regular_from:
            self._restart()
        self._now = position

    # -- one event ---------------------------------------------------------------------------------

    def _apply(self, event: Event, at: datetime) -> None:
        if event.bid or event.ask:
            self._take_book(event)
        if event.size or event.price:
            self._take_trade(event, at)
        self.time = at
        self._quote = None

    def _take_book(self, event: Event) -> None:
        moved = event.newer
        if event.bid:
            if not moved and event.bid != self.bid:
                moved = "bid"
            self.bid, self.bid_size = event.bid, event.bid_size
        if event.ask:
            if not moved and event.ask != self.ask:
                moved = "ask"
            self.ask, self.ask_size = event.ask, event.ask_size
        self.newer = moved or self.newer

    def _take_trade(self, event: Event, at: datetime) -> None:
        price = event.price or self.last
        self.volume += event.size
        self.turnover += price * event.size
        if event.size:
            self.prints.append(Print(at, to_price(price), event.size, self._side(price)))
        if event.marks:
            self.last = price
            self.last_volume = event.size
            self.last_time = at
            self._mark(price)
        if self._wall:
            self._add_live(event, price, at)

    def _mark(self, price: int) -> None:
        if not self.open:
            self.open = self.high = self.low = price
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self._last_mark = price

    def _side(self, price: int) -> Side:
        if self.ask and price >= self.ask:
            return "buy"
        if self.bid and price <= self.bid:
            return "sell"
        return "neutral"

    def _add_live(self, event: Event, price: int, at: datetime) -> None:
        stamp = to_ms(at) // MINUTE_MS * MINUTE_MS
        marked = price if event.marks else 0
        if not self.live_minutes or self.live_minutes[-1].at != stamp:
            self.live_minutes.append(Minute(stamp, marked, marked, marked, marked, event.size, price * event.size))
            return
        minute = self.live_minutes[-1]
        if marked:
            minute = minute._replace(
                open=minute.open or marked,
                high=max(minute.high, marked),
                low=min(minute.low or marked, marked),
                close=marked,
            )
        self.live_minutes[-1] = minute._replace(
            volume=minute.volume + event.size, turnover=minute.turnover + price * event.size
        )

    # -- the quote ---------------------------------------------------------------------------------

    def segment(self) -> Segment:
        """The segment where the player stands."""
        if self._wall:
            return "regular"
        return segment_at(self._spans, self._now) if self.trading else "closed"

    def quote(self) -> Quote:
        """The standing quote; the same object until something changes."""
        segment = self.segment()
        quote = self._quote
        if quote is None:
            bid, ask = self.bid, self.ask
            if 0 < ask <= bid:
                bid, ask = self._book.uncross(bid, ask, self.newer)
            quote = Quote(
                self.instrument.vt_symbol,
                self.time,
                to_price(self.last),
                self.last_volume,
                self.last_time,
                to_price(self.open),
                to_price(self.high),
                to_price(self.low),
                to_price(self.prev_close),
                self.volume,
                to_money(self.turnover, self.instrument.size),
                self._book.bids(bid, self.bid_size),
                self._book.asks(ask, self.ask_size),
                segment,
            )
            self._quote = quote
        elif quote.segment != segment:
            quote = self._quote = replace(quote, segment=segment)
        return quote

    def override(
        self,
        at: datetime,
        last: Decimal | None,
        bid: Decimal | None,
        ask: Decimal | None,
        bid_size: int | None,
        ask_size: int | None,
    ) -> Quote:
        """Show these numbers now, until the next event replaces them. Raises ValueError for a crossed pair or a
        number below 0."""
        for number in (last, bid, ask, bid_size, ask_size):
            if number is not None and number <= 0:
                raise ValueError(f"prices and sizes of a quote are above 0, not {number}")
        if bid is not None and ask is not None and bid >= ask:
            raise ValueError(f"bid {bid} is not below ask {ask}")
        if last is not None:
            self.last = to_points(last)
            self.last_time = at
            self._mark(self.last)
            if bid is None and ask is None and not self.bid <= self.last <= self.ask:
                self.bid, self.ask = self.grid.down(self.last), self.grid.up(self.last)
        if bid is not None:
            self.bid, self.newer = to_points(bid), "bid"
        if ask is not None:
            self.ask, self.newer = to_points(ask), "ask"
        self.bid, self.ask = self._book.uncross(self.bid, self.ask, self.newer)
        board = max(self.instrument.lot, 100)
        self.bid_size = bid_size or self.bid_size or board
        self.ask_size = ask_size or self.ask_size or board
        self.time = at
        self._quote = None
        return self.quote()
