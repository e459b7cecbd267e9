"""The simulated market: every instrument's standing quote, played from data files or from a seeded generator (design
7, "Market").

``wall``: quotes are stamped now and the market is always open. Each instrument's replay starts at its regular open
when the market is made, and runs at ``speed`` times real time: the live day, the days after it, then the live day
again as a new trading day. Days before the live day are history, shown on the last trading days before today.

``data``: the data's own time. Each instrument trades on the days that it has data for, in its exchange's segments,
and is closed on others.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import date, datetime, timezone
from decimal import Decimal
from itertools import islice
from pathlib import Path

from brokersim.book import Book
from brokersim.clock import Mode, SimClock
from brokersim.generator import GeneratedSeries
from brokersim.history import Adjust, History, Scope
from brokersim.instruments import DEFAULT_LOTS, Listing, instrument_of_file, table
from brokersim.model import Bar, Instrument, Interval, Quote, Segment
from brokersim.pacing import Pacer
from brokersim.player import Player, Print
from brokersim.prices import Grid, bands_of, to_points, to_price
from brokersim.replay import DataError, FileSeries, find_files
from brokersim.series import MINUTE_MS, Minute, Series, merge
from brokersim.sessions import (
    MILLISECOND,
    TradingDays,
    day_spans,
    from_ms,
    local_date,
    midnight_ms,
    regular_spans,
    to_ms,
)

__all__ = ["Adjust", "Market", "Print"]

START_WITHOUT_DATA = datetime(2026, 3, 10, 13, 30, tzinfo=timezone.utc)
"""Where a data clock starts when there is no data file: a usual New York open."""
LONGEST_PLAYED: dict[Mode, int] = {"data": 36 * 3600 * 1000, "wall": 8 * 3600 * 1000}
"""A step over more milliseconds of the clock than this is a jump: a clock set far ahead, a machine that slept. Nothing
in between is played; a wall replay goes on where it was."""
PLAYED_OF_JUMP = 60 * 1000
"""Milliseconds before the end of a jump that are played quote by quote, so that everybody sees the new quotes."""

Listener = Callable[[Quote, "Quote | None"], None]


class Market:
    """All instruments on one clock.

    ``data``: a folder of data files (its README), or None. ``seed``: of everything generated. ``speed``: seconds of
    market for one second of a wall clock; None takes the clock's. A data clock that stands nowhere yet is set to the
    earliest live day's regular open. Raises :class:`~brokersim.replay.DataError` for a folder that can not be read.
    """

    def __init__(self, clock: SimClock, data: Path | None = None, seed: int = 1, speed: float | None = None) -> None:
        self.clock = clock
        self.seed = seed
        self.speed = clock.speed if speed is None else speed
        self.listeners: list[Listener] = []
        """Called with (new quote, the one before) for each quote played of a watched instrument."""
        self.after_step: list[Callable[[datetime], None]] = []
        """Called with the present time at the end of each step."""
        self._listings = table()
        self._files = find_files(Path(data)) if data is not None else {}
        self.instruments: dict[str, Instrument] = {
            **{vt_symbol: listing.instrument for vt_symbol, listing in self._listings.items()},
            **{vt_symbol: _of_file(vt_symbol) for vt_symbol in self._files if vt_symbol not in self._listings},
        }
        self._series: dict[str, Series] = {}
        self._players: dict[str, Player] = {}
        self._watched: dict[str, Player] = {}
        self._due: list[tuple[int, str]] = []
        self._stepping = False
        self._rules_date = clock.now().date()
        earliest_open = self._earliest_open()  # in any case: a file that holds no day is found here, not in a trade
        if clock.mode == "data" and not clock.started:
            clock.set(earliest_open)
            self._rules_date = clock.now().date()
        self._anchor = clock.now()
        self._origin = clock.unpaused()
        self._position = self._target()

    # -- quotes ------------------------------------------------------------------------------------

    def quote(self, vt_symbol: str) -> Quote:
        """The standing quote, as of the last step. KeyError if the instrument is unknown.

        Without a trade yet, ``last`` is the previous close and open, high and low are 0; a side without a quote is an
        empty tuple.
        """
        player = self._player(vt_symbol)
        if vt_symbol not in self._watched:
            player.advance(self._position, self._stamp)
        return player.quote()

    def watch(self, vt_symbol: str) -> None:
        """From now on :meth:`step` plays this instrument quote by quote to the listeners. KeyError if unknown."""
        if vt_symbol in self._watched:
            return
        player = self._player(vt_symbol)
        player.advance(self._position, self._stamp)
        self._watched[vt_symbol] = player
        if self._stepping:
            heapq.heappush(self._due, (player.next_at, vt_symbol))

    def step(self) -> None:
        """Play everything up to the clock's now, in time order over all watched instruments. Does nothing while
        paused."""
        if self.clock.paused or self._stepping:
            return
        target = self._target()
        if target < self._position:
            self._go_back(target)
        elif target - self._position > LONGEST_PLAYED[self.clock.mode] * self._pace:
            self._jump(target)
        target = self._target()
        self._stepping = True
        try:
            self._play_to(target)
        finally:
            self._stepping = False
        self._position = target
        for player in self._watched.values():
            player.advance(target, self._stamp)
        now = self.clock.now()
        for finished in self.after_step:
            finished(now)

    def set_quote(
        self,
        vt_symbol: str,
        *,
        last: Decimal | None = None,
        bid: Decimal | None = None,
        ask: Decimal | None = None,
        bid_size: int | None = None,
        ask_size: int | None = None,
    ) -> Quote:
        """Show a quote of one's own now (control ``POST /quotes``), until the next played one replaces it; listeners
        are told.

        KeyError if unknown, ValueError for a crossed pair or a number that is not above 0. A lone side that would
        cross moves the other one tick away.
        """
        previous = self.quote(vt_symbol)
        quote = self._player(vt_symbol).override(self.clock.now(), last, bid, ask, bid_size, ask_size)
        self._tell(quote, previous)
        return quote

    def prints(self, vt_symbol: str, limit: int = 100) -> list[Print]:
        """The last trades of the day's tape, oldest first, at most 1000."""
        self.quote(vt_symbol)
        newest_first = islice(reversed(self._player(vt_symbol).prints), max(0, limit))
        return list(newest_first)[::-1]

    def _play_to(self, target: int) -> None:
        self._due = [(player.next_at, vt_symbol) for vt_symbol, player in self._watched.items()]
        heapq.heapify(self._due)
        while self._due and self._due[0][0] <= target:
            at, vt_symbol = self._due[0]
            player = self._watched[vt_symbol]
            self._position = max(self._position, at)
            previous = player.quote()
            quote = player.play(self._stamp)
            heapq.heapreplace(self._due, (player.next_at, vt_symbol))
            for listener in self.listeners:
                listener(quote, previous)

    def _tell(self, quote: Quote, previous: Quote) -> None:
        for listener in self.listeners:
            listener(quote, previous)

    # -- time --------------------------------------------------------------------------------------

    def segment(self, vt_symbol: str) -> Segment:
        """The present segment: always regular in wall mode. KeyError if unknown."""
        return self.quote(vt_symbol).segment

    def day_end(self, vt_symbol: str) -> datetime | None:
        """When a day order given now expires: the end of the trading day, or of the next one. None in wall mode,
        where no day ends."""
        instrument = self.instruments[vt_symbol]
        if self.clock.mode == "wall":
            return None
        now = to_ms(self.clock.now())
        days = TradingDays.of(instrument.exchange)
        on = local_date(now, instrument.zone)
        while not days.is_open(on) or day_spans(instrument, on)[-1].end <= now:
            on = days.after(on)
        return from_ms(day_spans(instrument, on)[-1].end)

    def _target(self) -> int:
        if self.clock.mode == "data":
            return to_ms(self.clock.now())
        return round((self.clock.unpaused() - self._origin) / MILLISECOND * self.speed)

    @property
    def _pace(self) -> float:
        """Milliseconds of the timeline in one of the clock."""
        return 1 if self.clock.mode == "data" else self.speed

    def _stamp(self, position: int) -> datetime:
        """The instant that a quote at a position of the timeline shows."""
        if self.clock.mode == "data":
            return from_ms(position)
        return self._origin + self.clock.paused_for + MILLISECOND * (position / self.speed)

    def _go_back(self, target: int) -> None:
        if self.clock.mode == "wall":
            self._origin += self.clock.unpaused() - self._origin - MILLISECOND * (self._position / self.speed)
        else:
            self._stand_at(target)

    def _jump(self, target: int) -> None:
        if self.clock.mode == "wall":
            self._origin += MILLISECOND * ((target - self._position) / self.speed - PLAYED_OF_JUMP)
        else:
            self._stand_at(target - PLAYED_OF_JUMP)

    def _stand_at(self, position: int) -> None:
        self._position = position
        for player in self._players.values():
            player.reset(position, self._stamp)

    def _earliest_open(self) -> datetime:
        opens = []
        for vt_symbol in self._files:
            instrument = self.instruments[vt_symbol]
            opens.append(regular_spans(day_spans(instrument, self._series_of(vt_symbol).live))[0].start)
        return from_ms(min(opens)) if opens else START_WITHOUT_DATA

    # -- ticks and bars ----------------------------------------------------------------------------

    def tick_size(self, vt_symbol: str, price: Decimal) -> Decimal:
        """The smallest price step at a price, by the rules of the clock's date (vbrokers-openapi 16.4). KeyError if
        unknown."""
        grid = Grid.of(bands_of(self.instruments[vt_symbol], self.clock.now().date()))
        return to_price(grid.tick(to_points(price))).normalize()

    def bars(
        self,
        vt_symbol: str,
        interval: Interval,
        start: datetime,
        end: datetime,
        *,
        adjust: Adjust = "none",
        extended: bool = False,
    ) -> list[Bar]:
        """Bars that begin in [start, end), oldest first, only whole minutes and nothing later than now.

        ``adjust``: prices as traded, in the latest day's shares (forward) or in the first day's (backward).
        ``extended`` adds pre- and post-market minutes to minute and hour bars; daily and weekly bars are of the
        regular session. KeyError if unknown.
        """
        instrument = self.instruments[vt_symbol]
        history = History(instrument, self._series_of(vt_symbol), self._grid(instrument))
        scope = self._scope(instrument)
        first, last = to_ms(start), to_ms(end)
        today = [
            (history.adjust_today(minute, scope, adjust), segment)
            for minute, segment in self._minutes_of_today(vt_symbol)
        ]
        if interval in ("1m", "1h"):
            past = history.minutes(scope, first, last, extended=extended, adjust=adjust)
            present = [pair for pair in today if first <= pair[0].at < last and (extended or pair[1] == "regular")]
            return history.aggregate([*past, *present], interval)
        begin = midnight_ms(scope.today, instrument.zone)
        running = merge((minute for minute, segment in today if segment == "regular"), begin)
        if interval == "1w":
            first -= 6 * 24 * 3600 * 1000
        days = list(history.days(scope, first, last, adjust=adjust))
        if running is not None and first <= begin < last:
            days.append(running)
        if interval == "1d":
            return [history.bar(day) for day in days]
        return [history.bar(week) for week in history.weeks(days) if to_ms(start) <= week.at < last]

    def _scope(self, instrument: Instrument) -> Scope:
        today = local_date(to_ms(self.clock.now()), instrument.zone)
        if self.clock.mode == "data":
            return Scope(today, moved=False, split_until=today)
        moved = instrument.vt_symbol in self._files
        return Scope(today, moved, self._series_of(instrument.vt_symbol).live if moved else today)

    def _minutes_of_today(self, vt_symbol: str) -> list[tuple[Minute, Segment]]:
        """The present day's whole minutes that traded."""
        now = to_ms(self.clock.now())
        if self.clock.mode == "wall":
            self.quote(vt_symbol)
            minutes = self._player(vt_symbol).live_minutes
            return [(m, "regular") for m in minutes if m.open and m.at + MINUTE_MS <= now]
        instrument = self.instruments[vt_symbol]
        day = self._series_of(vt_symbol).day(local_date(now, instrument.zone))
        if day is None:
            return []
        return [(m, day.segment_of(m)) for m in day.minutes if m.open and m.at + MINUTE_MS <= now]

    # -- instruments -------------------------------------------------------------------------------

    def _player(self, vt_symbol: str) -> Player:
        player = self._players.get(vt_symbol)
        if player is None:
            instrument = self.instruments[vt_symbol]
            grid = self._grid(instrument)
            player = Player(
                instrument,
                self._series_of(vt_symbol),
                grid,
                Book(grid, instrument.lot, f"{self.seed}|{vt_symbol}"),
                self.clock.mode,
                book_around_last=vt_symbol not in self._files or instrument.exchange in DEFAULT_LOTS,
            )
            player.reset(self._position, self._stamp)
            self._players[vt_symbol] = player
        return player

    def _series_of(self, vt_symbol: str) -> Series:
        series = self._series.get(vt_symbol)
        if series is None:
            instrument = self.instruments[vt_symbol]
            series = self._series[vt_symbol] = self._make_series(instrument)
        return series

    def _make_series(self, instrument: Instrument) -> Series:
        vt_symbol = instrument.vt_symbol
        grid = self._grid(instrument)
        seed = f"{self.seed}|{vt_symbol}"
        files = self._files.get(vt_symbol)
        if files is not None:
            around = instrument.exchange in DEFAULT_LOTS
            return FileSeries(instrument, files, grid, Pacer(grid, instrument.lot, seed, around_last=around))
        listing = self._listings[vt_symbol]
        pacer = Pacer(grid, instrument.lot, seed, spread=_usual_spread(listing, grid))
        return GeneratedSeries(listing, grid, pacer, self.seed, self._anchor_date(instrument))

    def _anchor_date(self, instrument: Instrument) -> date:
        return local_date(to_ms(self._anchor), instrument.zone)

    def _grid(self, instrument: Instrument) -> Grid:
        """The grid that quotes stand on, by the rules of the date on which the market was made."""
        return Grid.of(bands_of(instrument, self._rules_date))


def _usual_spread(listing: Listing, grid: Grid) -> int:
    """Ticks between bid and ask: about one basis point of the price, at least one tick."""
    points = to_points(listing.price)
    return max(1, points // 10_000 // grid.tick(points))


def _of_file(vt_symbol: str) -> Instrument:
    try:
        return instrument_of_file(vt_symbol)
    except ValueError as error:
        raise DataError(f"data file of {error}") from error
