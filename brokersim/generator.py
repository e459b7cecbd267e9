"""A market without data: prices, volumes and spreads that look real, from a seed, each day computed on its own when
it is asked for.

A day's close is a function of the date alone (fractal noise around the listed price), so no day needs the days before
it; the minutes of a day run from its open to its close and touch its high and low exactly, so daily bars agree with
minutes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from statistics import NormalDist

from brokersim.instruments import Listing
from brokersim.pacing import Pacer
from brokersim.prices import Grid, to_points
from brokersim.series import MINUTE_MS, Day, Event, Minute
from brokersim.sessions import TradingDays, day_spans, regular_spans

MINUTE_HISTORY = timedelta(days=2 * 365)
DAILY_HISTORY = timedelta(days=10 * 365)
OCTAVES = (1, 3, 9, 27, 81, 243, 729)
"""Days between the knots of the noise, each octave swinging as wide as a random walk would over that time."""
YEARLY_DRIFT = 0.06
_NORMAL = NormalDist()


class GeneratedSeries:
    """The generated days of one listing. The price stands at the listed one on the day ``anchor``, which is also the
    live day."""

    def __init__(self, listing: Listing, grid: Grid, pacer: Pacer, seed: int, anchor: date) -> None:
        self._listing = listing
        self._instrument = listing.instrument
        self._grid = grid
        self._pacer = pacer
        self._seed = f"{seed}|{listing.instrument.vt_symbol}"
        self.live = anchor
        self._knot = lru_cache(maxsize=20_000)(self._noise_knot)
        self._close = lru_cache(maxsize=8192)(self._close_of)
        self._minutes = lru_cache(maxsize=16)(self._minutes_of)
        self._anchor_noise = self._noise(anchor)

    @property
    def _days(self) -> TradingDays:
        return TradingDays.of(self._instrument.exchange)

    def day(self, on: date) -> Day | None:
        """That day's minutes. The live day trades whatever the calendar says: a wall clock's market is always open."""
        if on != self.live and not self._days.is_open(on):
            return None
        return self._minutes(on)

    def events(self, on: date) -> Iterator[Event]:
        day = self.day(on)
        if day is not None:
            yield from self._pacer.play(day)

    def next_date(self, on: date) -> date | None:
        return self._days.after(on)

    def previous_close(self, on: date) -> int:
        return self._close(self._days.before(on))

    def history(self, today: date) -> list[date]:
        return self._days.between(today - MINUTE_HISTORY, today - timedelta(days=1))

    def daily_dates(self, today: date) -> list[date]:
        return self._days.between(today - DAILY_HISTORY, today - timedelta(days=1))

    def daily(self, on: date) -> Minute | None:
        """The day's bar; the minutes are made to fit it."""
        rng = random.Random(f"{self._seed}|{on.isoformat()}")
        volatility = self._listing.volatility
        snap = self._grid.snap
        close = self._close(on)
        open_ = snap(round(self.previous_close(on) * math.exp(rng.gauss(0, volatility * 0.25))))
        high = snap(round(max(open_, close) * (1 + abs(rng.gauss(0, volatility * 0.35)))))
        low = snap(round(min(open_, close) / (1 + abs(rng.gauss(0, volatility * 0.35)))))
        lot = self._instrument.lot
        volume = max(1, round(self._listing.day_volume * math.exp(rng.gauss(0, 0.25)) / lot)) * lot
        spans = day_spans(self._instrument, on)
        high, low = max(open_, close, high), min(open_, close, low)
        turnover = (open_ + high + low + close) * volume // 4
        return Minute(spans[0].start, open_, high, low, close, volume, turnover)

    # -- a day's minutes ---------------------------------------------------------------------------

    def _minutes_of(self, on: date) -> Day:
        bar = self.daily(on)
        assert bar is not None
        rng = random.Random(f"{self._seed}|{on.isoformat()}|minutes")
        spans = day_spans(self._instrument, on)
        stamps = [at for span in regular_spans(spans) for at in range(span.start, span.end, MINUTE_MS)]
        path = self._path(bar, len(stamps), rng)
        volumes = _volumes(bar.volume // self._instrument.lot, len(stamps), rng)
        minutes = []
        for index, at in enumerate(stamps):
            open_, close = path[index], path[index + 1]
            wick = abs(bar.high - bar.low) * 0.02
            high = min(bar.high, self._grid.snap(round(max(open_, close) + abs(rng.gauss(0, wick)))))
            low = max(bar.low, self._grid.snap(round(min(open_, close) - abs(rng.gauss(0, wick)))))
            volume = volumes[index] * self._instrument.lot
            high, low = max(high, open_, close), min(low, open_, close)
            minutes.append(Minute(at, open_, high, low, close, volume, (open_ + high + low + close) * volume // 4))
        return Day(on, spans, tuple(minutes))

    def _path(self, bar: Minute, count: int, rng: random.Random) -> list[int]:
        """``count`` + 1 prices from open to close that touch high and low, on the grid and within them."""
        first, second = sorted(rng.sample(range(1, count), 2))
        extremes = (bar.high, bar.low) if rng.random() < 0.5 else (bar.low, bar.high)
        stops = [(0, bar.open), (first, extremes[0]), (second, extremes[1]), (count, bar.close)]
        step = (bar.high - bar.low) / math.sqrt(count) * 0.8
        path: list[int] = []
        for (start, from_price), (end, to_price) in pairwise(stops):
            walk = [0.0]
            for _ in range(start, end):
                walk.append(walk[-1] + rng.gauss(0, step))
            for offset in range(end - start):
                part = offset / (end - start)
                price = from_price + (to_price - from_price) * part + walk[offset] - walk[-1] * part
                path.append(min(bar.high, max(bar.low, self._grid.snap(round(price)))))
            path[start] = from_price
        return [*path, bar.close]

    # -- the level ---------------------------------------------------------------------------------

    def _close_of(self, on: date) -> int:
        level = self._noise(on) - self._anchor_noise + YEARLY_DRIFT * (on - self.live).days / 365
        return self._grid.snap(round(to_points(self._listing.price) * math.exp(level)))

    def _noise(self, on: date) -> float:
        day = on.toordinal()
        total = 0.0
        for octave in OCTAVES:
            knot, offset = divmod(day, octave)
            part = offset / octave
            before, after = self._knot(octave, knot), self._knot(octave, knot + 1)
            total += math.sqrt(octave) * (before + (after - before) * part * part * (3 - 2 * part))
        return total * self._listing.volatility * 0.4

    def _noise_knot(self, octave: int, knot: int) -> float:
        digest = blake2b(f"{self._seed}|{octave}|{knot}".encode(), digest_size=7).digest()
        return _NORMAL.inv_cdf((int.from_bytes(digest, "big") + 0.5) / 2**56)


def _volumes(lots: int, count: int, rng: random.Random) -> list[int]:
    """A day's lots over its minutes: much at the open and the close, little at noon, the sum exact."""
    weights = [(0.5 + 4 * (index / count - 0.5) ** 2) * rng.uniform(0.5, 1.5) for index in range(count)]
    total = sum(weights)
    volumes = []
    given = 0
    weight = 0.0
    for index in range(count):
        weight += weights[index]
        running = lots if index == count - 1 else int(lots * weight / total)
        volumes.append(running - given)
        given = running
    return volumes
