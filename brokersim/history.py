"""Bars of one instrument out of its series: intervals, splits, and history moved to the present in wall mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Literal

from brokersim.model import Bar, Instrument, Interval, Segment
from brokersim.prices import Grid, to_money, to_price
from brokersim.series import MINUTE_MS, Minute, Series, merge
from brokersim.sessions import DAY, TradingDays, from_ms, local_date, midnight_ms
from brokersim.splits import ratio

Adjust = Literal["none", "forward", "backward"]
HOUR_MS = 60 * MINUTE_MS


@dataclass(frozen=True)
class Scope:
    """What of the data is history: days before ``today``, shown on other dates when ``moved``; splits up to
    ``split_until`` took effect."""

    today: date
    moved: bool
    split_until: date


@dataclass(frozen=True)
class History:
    """The bars of one instrument."""

    instrument: Instrument
    series: Series
    grid: Grid

    def minutes(
        self, scope: Scope, start: int, end: int, *, extended: bool, adjust: Adjust
    ) -> Iterator[tuple[Minute, Segment]]:
        """Past days' minutes that begin in [start, end), epoch milliseconds, oldest first, each with its segment."""
        for source, shown in self._shown(scope, self.series.history, start, end):
            day = self.series.day(source)
            if day is None:
                continue
            shift = self._midnight(shown) - self._midnight(source)
            for minute in day.minutes:
                segment = day.segment_of(minute)
                if (segment != "regular" and not extended) or not start <= minute.at + shift < end or not minute.open:
                    continue
                yield self._adjusted(minute._replace(at=minute.at + shift), source, scope, adjust), segment

    def days(self, scope: Scope, start: int, end: int, *, adjust: Adjust) -> Iterator[Minute]:
        """Past days' regular sessions as bars stamped with the date's midnight in the exchange's zone, oldest first."""
        for source, shown in self._shown(scope, self.series.daily_dates, start, end):
            bar = self.series.daily(source)
            at = self._midnight(shown)
            if bar is not None and start <= at < end:
                yield self._adjusted(bar._replace(at=at), source, scope, adjust)

    def adjust_today(self, minute: Minute, scope: Scope, adjust: Adjust) -> Minute:
        """The present day's minute, adjusted like the past ones."""
        return self._adjusted(minute, scope.split_until, scope, adjust)

    def aggregate(self, minutes: Iterable[tuple[Minute, Segment]], interval: Interval) -> list[Bar]:
        """Minutes as bars of an interval; an hour is a clock hour, its first bar stamped with the first minute of the
        session."""
        if interval == "1m":
            return [self.bar(minute, segment) for minute, segment in minutes]
        bars = []
        for _, group in groupby(minutes, lambda pair: (pair[0].at // HOUR_MS, pair[1])):
            rows = list(group)
            merged = merge((minute for minute, _ in rows), rows[0][0].at)
            if merged is not None:
                bars.append(self.bar(merged, rows[0][1]))
        return bars

    def weeks(self, days: Iterable[Minute]) -> Iterator[Minute]:
        """Daily bars as weekly ones stamped with Monday's midnight in the exchange's zone."""
        zone = self.instrument.zone

        def monday(day: Minute) -> date:
            on = local_date(day.at, zone)
            return on - timedelta(days=on.weekday())

        for begin, group in groupby(days, monday):
            week = merge(group, self._midnight(begin))
            if week is not None:
                yield week

    def bar(self, minute: Minute, segment: Segment = "regular") -> Bar:
        """Points -> decimals."""
        return Bar(
            from_ms(minute.at),
            to_price(minute.open),
            to_price(minute.high),
            to_price(minute.low),
            to_price(minute.close),
            minute.volume,
            to_money(minute.turnover, self.instrument.size),
            segment,
        )

    def _shown(
        self, scope: Scope, dates_before: Callable[[date], list[date]], start: int, end: int
    ) -> Iterator[tuple[date, date]]:
        """(day in the data, date that it is shown on) of the days that touch [start, end)."""
        before = scope.split_until if scope.moved else scope.today
        sources = dates_before(before)
        shown = TradingDays.of(self.instrument.exchange).last(len(sources), scope.today) if scope.moved else sources
        for source, on in zip(sources, shown, strict=True):
            if self._midnight(on + DAY) > start and self._midnight(on) < end:
                yield source, on

    def _adjusted(self, minute: Minute, on: date, scope: Scope, adjust: Adjust) -> Minute:
        """Prices of a day in the shares of the latest day (forward) or of the first one (backward); turnover stays."""
        if adjust == "forward":
            factor = Decimal(ratio(self.instrument.vt_symbol, on, scope.split_until))
        elif adjust == "backward":
            factor = 1 / Decimal(ratio(self.instrument.vt_symbol, date.min, on))
        else:
            return minute
        if factor == 1:
            return minute
        prices = (round(price / factor) for price in (minute.open, minute.high, minute.low, minute.close))
        open_, high, low, close = prices
        return minute._replace(open=open_, high=high, low=low, close=close, volume=int(minute.volume * factor))

    def _midnight(self, on: date) -> int:
        return midnight_ms(on, self.instrument.zone)
