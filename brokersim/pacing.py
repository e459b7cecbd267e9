"""How a minute is played: open, the nearer extreme, the other extreme, close, with a quote every second (design 7,
"Market")."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from brokersim.prices import Grid
from brokersim.series import MINUTE_MS, Day, Event, Minute

SLOTS = 60
"""Quotes of a traded minute: one a second."""
WAYPOINT_SLOTS = (0, 19, 39, 59)
WIDEST_SPREAD = 20
"""Ticks: within a minute the spread is that of the closing quote, but no wider."""


@dataclass(frozen=True)
class Pacer:
    """Plays the minutes of one instrument.

    ``around_last``: bid and ask one tick around the last (Hong Kong files, which hold no quotes). Otherwise each
    trade is at the bid or at the ask, with the spread of the minute's closing quote, or of ``spread`` ticks where
    there is none.
    """

    grid: Grid
    lot: int
    seed: str
    around_last: bool = False
    spread: int = 1

    def play(self, day: Day) -> Iterator[Event]:
        """The day's events, oldest first."""
        for minute in day.minutes:
            if minute.auction:
                yield self._auction(minute)
            elif minute.open:
                yield from self._traded(minute)
            elif minute.volume or minute.bid or minute.ask:
                yield Event(
                    minute.at + MINUTE_MS - 1000, 0, minute.volume, False,
                    minute.bid, minute.bid_size, minute.ask, minute.ask_size,
                )  # fmt: skip

    def _auction(self, minute: Minute) -> Event:
        rng = random.Random(f"{self.seed}|{minute.at}")
        bid, ask = self._book(minute.close, 0, rng)
        at = minute.at + MINUTE_MS
        return Event(at, minute.close, minute.volume, True, bid, self._size(minute, rng), ask, self._size(minute, rng))

    def _traded(self, minute: Minute) -> Iterator[Event]:
        rng = random.Random(f"{self.seed}|{minute.at}")
        stops = waypoints(minute)
        prices = self._path(stops)
        sizes = split_volume(minute.volume, [stop[0] for stop in stops], self.lot, rng)
        spread = self._spread_of(minute)
        previous = minute.open
        for slot, (price, size) in enumerate(zip(prices, sizes, strict=True)):
            bid, ask = self._book(price, spread, rng, up=price > previous or (price == previous and rng.random() < 0.5))
            bid_size, ask_size = self._size(minute, rng), self._size(minute, rng)
            if slot == SLOTS - 1 and (minute.bid or minute.ask):
                bid, bid_size, ask, ask_size = minute.bid, minute.bid_size, minute.ask, minute.ask_size
            # A path between two extremes is only marked where something trades: a stop always sets the price.
            marks = size > 0 or any(slot == stop for stop, _ in stops)
            yield Event(minute.at + slot * 1000, price if marks else 0, size, marks, bid, bid_size, ask, ask_size)
            previous = price

    def _path(self, stops: Sequence[tuple[int, int]]) -> list[int]:
        """A price for each slot: straight from stop to stop, on the grid."""
        prices = [stops[-1][1]] * SLOTS
        for (start, from_price), (end, to_price) in pairwise(stops):
            for slot in range(start, end):
                price = from_price + (to_price - from_price) * (slot - start) // (end - start)
                snapped = self.grid.snap(price)
                low, high = min(from_price, to_price), max(from_price, to_price)
                prices[slot] = min(max(snapped, low), high)
        if len(stops) == 1:
            prices = [stops[0][1]] * SLOTS
        for slot, price in stops:
            prices[slot] = price
        return prices

    def _book(self, price: int, spread: int, rng: random.Random, *, up: bool = False) -> tuple[int, int]:
        if self.around_last:
            return self.grid.down(price), self.grid.up(price)
        bid, ask = (0, price) if up else (price, 0)
        for _ in range(max(1, spread)):
            if up:
                bid = self.grid.down(bid or price)
            else:
                ask = self.grid.up(ask or price)
        return bid, ask

    def _spread_of(self, minute: Minute) -> int:
        """Ticks between bid and ask within the minute."""
        if minute.bid and minute.ask > minute.bid:
            return min(WIDEST_SPREAD, max(1, (minute.ask - minute.bid) // self.grid.tick(minute.close)))
        return self.spread

    def _size(self, minute: Minute, rng: random.Random) -> int:
        """A size to show: round lots, in proportion to what the minute trades."""
        board = self.lot if self.lot > 1 else 100
        usual = max(1, minute.volume // (SLOTS * board))
        return board * (1 + int(rng.random() * (2 * usual + 4)))


def waypoints(minute: Minute) -> list[tuple[int, int]]:
    """(slot, price) of open, the nearer extreme, the other extreme and close; repeated prices once."""
    to_high, to_low = minute.high - minute.open, minute.open - minute.low
    extremes = (minute.low, minute.high) if to_low <= to_high else (minute.high, minute.low)
    stops: list[tuple[int, int]] = []
    for slot, price in zip(WAYPOINT_SLOTS, (minute.open, *extremes, minute.close), strict=True):
        if not stops or stops[-1][1] != price:
            stops.append((slot, price))
    return stops


def split_volume(volume: int, stops: Sequence[int], lot: int, rng: random.Random) -> list[int]:
    """Split a minute's volume over its slots: whole lots, each stop trading something if there is enough, the sum
    exact."""
    sizes = [0] * SLOTS
    board = lot if lot > 1 and volume >= lot * len(stops) else 1
    if board == 1 and volume >= 100 * SLOTS:
        board = 100
    lots, rest = divmod(volume, board)
    for slot in stops[:lots]:
        sizes[slot] += board
    lots -= min(len(stops), lots)
    weights = [rng.random() for _ in range(SLOTS)]
    total = sum(weights)
    given = running = 0
    weight = 0.0
    for slot in range(SLOTS):
        weight += weights[slot]
        running = lots if slot == SLOTS - 1 else int(lots * weight / total)
        sizes[slot] += (running - given) * board
        given = running
    sizes[stops[-1]] += rest
    return sizes
