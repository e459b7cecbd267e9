"""Reading data files: one-minute bars and ticks become days (format: the data folder's README).

US minute stamps are starts, Hong Kong's are ends, the first of a day being the opening auction. Hong Kong prices are
snapped to the tick grid, since a forward-adjusted file is off it. Files are read when the instrument is first used,
ticks when their day is first played.
"""

from __future__ import annotations

import csv
import gzip
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from brokersim.model import Instrument
from brokersim.pacing import Pacer
from brokersim.prices import Grid, read_points
from brokersim.series import MINUTE_MS, Day, Event, Minute, merge
from brokersim.sessions import day_spans, local_date, midnight_ms, regular_spans
from brokersim.splits import ratio

MINUTE_SUFFIX = ".1m.csv"
TICK_SUFFIX = ".tick.csv.gz"
OHLC = ("open", "high", "low", "close")
STAMPED_AT_END = frozenset({"SEHK"})
"""Exchanges whose files stamp a minute with its end."""


class DataError(ValueError):
    """A data file that can not be read; the message names the file and the line."""


@dataclass(frozen=True)
class DataFiles:
    """The files of one vt_symbol; at least one of them is there."""

    minutes: Path | None = None
    ticks: Path | None = None


def find_files(folder: Path) -> dict[str, DataFiles]:
    """Every instrument of a data folder, by vt_symbol. Raises DataError if the folder is not there."""
    if not folder.is_dir():
        raise DataError(f"data folder {folder} does not exist")
    found: dict[str, DataFiles] = {}
    for path in sorted(folder.iterdir()):
        if path.name.endswith(MINUTE_SUFFIX):
            vt_symbol = path.name[: -len(MINUTE_SUFFIX)]
            found[vt_symbol] = DataFiles(path, found.get(vt_symbol, DataFiles()).ticks)
        elif path.name.endswith(TICK_SUFFIX):
            vt_symbol = path.name[: -len(TICK_SUFFIX)]
            found[vt_symbol] = DataFiles(found.get(vt_symbol, DataFiles()).minutes, path)
    return found


class FileSeries:
    """The days of one instrument's files. ``grid`` snaps Hong Kong prices; ``pacer`` plays minutes."""

    def __init__(self, instrument: Instrument, files: DataFiles, grid: Grid, pacer: Pacer) -> None:
        self._instrument = instrument
        self._files = files
        self._grid = grid
        self._pacer = pacer
        self._days: dict[date, Day] | None = None
        self._ticks: tuple[Event, ...] | None = None

    @property
    def live(self) -> date:
        """The day with tick data, else the last (read from the ends of the files alone)."""
        if self._files.ticks is not None:
            first = next(_rows(self._files.ticks), None)
        else:
            assert self._files.minutes is not None
            first = _last_row(self._files.minutes)
        if first is None:
            raise DataError(f"{self._files.ticks or self._files.minutes} holds no rows")
        try:
            return local_date(_stamp(first[0]), self._instrument.zone)
        except ValueError as error:
            raise DataError(f"{self._files.ticks or self._files.minutes}: {error}") from error

    def day(self, on: date) -> Day | None:
        return self._all().get(on)

    def events(self, on: date) -> Iterator[Event]:
        if self._files.ticks is not None and on == self.live:
            yield from self._read_ticks()
            return
        day = self._all().get(on)
        if day is not None:
            yield from self._pacer.play(day)

    def next_date(self, on: date) -> date | None:
        dates = list(self._all())
        index = bisect_right(dates, on)
        return dates[index] if index < len(dates) else None

    def previous_close(self, on: date) -> int:
        """The last close before a day, split applied; the first price of the file when nothing is earlier."""
        dates = list(self._all())
        for earlier in reversed(dates[: bisect_left(dates, on)]):
            summary = self.daily(earlier)
            if summary is not None:
                return self._grid.snap(round(summary.close / ratio(self._instrument.vt_symbol, earlier, on)))
        return next((m.open for day in self._all().values() for m in day.minutes if m.open), 0)

    def history(self, today: date) -> list[date]:
        return [on for on in self._all() if on < today]

    def daily(self, on: date) -> Minute | None:
        day = self.day(on)
        return day.summary() if day else None

    def daily_dates(self, today: date) -> list[date]:
        return self.history(today)

    def _all(self) -> dict[date, Day]:
        if self._days is None:
            minutes = self._read_minutes() if self._files.minutes else _minutes_of(self._read_ticks())
            zone = self._instrument.zone
            self._days = {
                on: Day(on, day_spans(self._instrument, on), tuple(rows))
                for on, rows in groupby(minutes, lambda m: local_date(m.at, zone))
            }
        return self._days

    def _read_minutes(self) -> list[Minute]:
        path = self._files.minutes
        assert path is not None
        read = self._hong_kong_minute if self._instrument.exchange in STAMPED_AT_END else _us_minute
        minutes: list[Minute] = []
        try:
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    minutes.append(read(row))
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{path}, row {len(minutes) + 1}: {error}") from error
        return self._with_auctions(minutes)

    def _hong_kong_minute(self, row: dict[str, str]) -> Minute:
        snap = self._grid.snap
        open_, high, low, close = (snap(read_points(row[name])) if row[name] else 0 for name in OHLC)
        turnover = read_points(row["turnover"])
        return Minute(_stamp(row["time"]) - MINUTE_MS, open_, high, low, close, int(row["volume"] or 0), turnover)

    def _with_auctions(self, minutes: list[Minute]) -> list[Minute]:
        """Mark the Hong Kong opening prints: minutes that end when the regular session opens."""
        if self._instrument.exchange not in STAMPED_AT_END:
            return minutes
        marked = []
        for minute in minutes:
            opens = regular_spans(day_spans(self._instrument, local_date(minute.at, self._instrument.zone)))[0].start
            marked.append(minute._replace(auction=minute.at + MINUTE_MS == opens))
        return marked

    def _read_ticks(self) -> tuple[Event, ...]:
        if self._ticks is None:
            assert self._files.ticks is not None
            self._ticks = tuple(_tick_events(self._files.ticks))
        return self._ticks


def _us_minute(row: dict[str, str]) -> Minute:
    open_, high, low, close = (read_points(row[name]) for name in OHLC)
    volume = int(row["volume"] or 0)
    return Minute(
        _stamp(row["time"]),
        open_,
        high,
        low,
        close,
        volume,
        (open_ + high + low + close) * volume // 4,
        read_points(row["bid"]),
        int(row["bid_size"] or 0),
        read_points(row["ask"]),
        int(row["ask_size"] or 0),
    )


@lru_cache(maxsize=64)
def _midnight(day: str) -> int:
    return midnight_ms(date(int(day[:4]), int(day[5:7]), int(day[8:10])), "UTC")


def _stamp(text: str) -> int:
    """``2013-10-07T08:00:00.054Z`` -> epoch milliseconds. Raises ValueError for any other form."""
    if len(text) != 24 or text[23] != "Z":
        raise ValueError(f"{text!r} is no UTC time with milliseconds")
    seconds = (int(text[11:13]) * 60 + int(text[14:16])) * 60 + int(text[17:19])
    return _midnight(text[:10]) + seconds * 1000 + int(text[20:23])


def _rows(path: Path) -> Iterator[list[str]]:
    """The rows of a gzipped CSV after its header."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        next(reader, None)
        yield from reader


def _last_row(path: Path) -> list[str] | None:
    """The last row of a CSV, read from its end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4096))
        lines = file.read().decode("utf-8").splitlines()
    return lines[-1].split(",") if len(lines) > 1 else None


def _tick_events(path: Path) -> Iterator[Event]:
    """The events of a tick file: each trade one, quote rows of one millisecond together (the newest bid and ask row
    count)."""
    bid = ask = at = 0
    held: Event | None = None
    count = 0
    try:
        for row in _rows(path):
            count += 1
            stamp, kind, price, size, bid_text, bid_size, ask_text, ask_size, _venue, condition = row
            at = _stamp(stamp)
            if held is not None and (kind == "T" or held.at != at):
                yield held
                held = None
            if kind == "T":
                yield Event(at, read_points(price), int(size), bool(int(condition, 16) & 1))
                continue
            event = held or Event(at)
            new_bid, new_ask = read_points(bid_text), read_points(ask_text)
            if new_bid:
                newer = event.newer if new_bid == bid else "bid"
                event = event._replace(bid=new_bid, bid_size=int(bid_size), newer=newer)
                bid = new_bid
            if new_ask:
                newer = event.newer if new_ask == ask else "ask"
                event = event._replace(ask=new_ask, ask_size=int(ask_size), newer=newer)
                ask = new_ask
            held = event
    except ValueError as error:
        raise DataError(f"{path}, row {count}: {error}") from error
    if held is not None:
        yield held


def _minute_of_trade(trade: Event) -> Minute:
    price = trade.price if trade.marks else 0
    return Minute(trade.at, price, price, price, price, trade.size, trade.price * trade.size)


def _minutes_of(events: Iterable[Event]) -> list[Minute]:
    """One-minute bars of trades, for a tick file without its minute file."""
    minutes = []
    for at, group in groupby((e for e in events if e.size), lambda e: e.at // MINUTE_MS * MINUTE_MS):
        trades = [_minute_of_trade(event) for event in group]
        minute = merge(trades, at) or Minute(
            at, 0, 0, 0, 0, sum(t.volume for t in trades), sum(t.turnover for t in trades)
        )
        minutes.append(minute)
    return minutes
