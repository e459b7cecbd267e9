"""A broker that replays real days, a gateway beside it in the same time, and vn.py's bars of its ticks."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from vnpy.trader.event import EVENT_TICK
from vnpy.trader.object import BarData, TickData
from vnpy.trader.utility import BarGenerator

import brokersim
from brokersim.instruments import DEFAULT_LOTS
from brokersim.instruments import table as instruments
from brokersim.prices import Grid, bands_of, read_points, to_price
from tests.cta_desk import RIGS, TIMINGS
from tests.harness import DATA, Rig
from vnpy_brokerkit.clock import ShiftedClock

AIG, IBM, TENCENT = "AIG.SMART", "IBM.SMART", "00700.SEHK"
MINUTE = timedelta(minutes=1)
LAST_MOMENT = MINUTE - timedelta(milliseconds=1)
"""Of a minute: what arrives until then belongs to it."""
QUIET = {name: replace(timing, quotes_check=60) for name, timing in TIMINGS.items()}
"""Polling is no part of these tests: a minute is played in an instant, and a poll would overtake its quotes."""
TICKS = EVENT_TICK


def at(text: str) -> datetime:
    """``2013-10-10 13:30`` in UTC."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Row:
    """One minute of a file, stamped with its start. Without prices: nothing set one in it."""

    start: datetime
    prices: tuple[float, ...]
    """Open, high, low, close; empty where nothing set a price."""
    volume: int

    def __add__(self, other: Row) -> Row:
        """Both as the minute of the later one."""
        (o, h, lo, _c), (_o, h2, l2, c) = self.prices, other.prices
        return Row(other.start, (o, max(h, h2), min(lo, l2), c), self.volume + other.volume)


def minutes(vt_symbol: str, first: datetime, end: datetime) -> list[Row]:
    """The rows of an instrument's minute file from ``first`` up to ``end``, prices on the exchange's grid."""
    hong_kong = vt_symbol.rpartition(".")[2] in DEFAULT_LOTS
    rows = []
    with (DATA / f"{vt_symbol}.1m.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            start = _time(row["time"]) - (MINUTE if hong_kong else timedelta(0))
            if first <= start < end:
                texts = [row[name] for name in ("open", "high", "low", "close")]
                prices = tuple(_snap(vt_symbol, text) for text in texts) if texts[0] else ()
                rows.append(Row(start, prices, int(row["volume"] or 0)))
    return rows


def traded(vt_symbol: str, first: datetime, end: datetime) -> list[Row]:
    """The same of a tick file."""
    found: dict[datetime, list[tuple[float, int, bool]]] = {}
    with gzip.open(DATA / f"{vt_symbol}.tick.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "T" and first <= (stamp := _time(row["time"])) < end:
                start = stamp.replace(second=0, microsecond=0)
                marks = bool(int(row["condition"], 16) & 1)
                found.setdefault(start, []).append((float(row["price"]), int(row["size"]), marks))
    rows = []
    for start, trades in found.items():
        marked = [price for price, _size, marks in trades if marks]
        prices = (marked[0], max(marked), min(marked), marked[-1]) if marked else ()
        rows.append(Row(start, prices, sum(size for _price, size, _marks in trades)))
    return rows


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)


def _snap(vt_symbol: str, text: str) -> float:
    if vt_symbol.rpartition(".")[2] not in DEFAULT_LOTS:
        return float(text)
    instrument = instruments()[vt_symbol].instrument
    grid = Grid.of(bands_of(instrument, datetime(2022, 4, 12).date()))  # noqa: DTZ001  a date of the file
    return float(to_price(grid.snap(read_points(text))))


def bars_of(ticks: Iterable[TickData]) -> list[BarData]:
    """The bars that vn.py makes of ticks; the last one, which no later tick has closed, is left out."""
    bars: list[BarData] = []
    generator = BarGenerator(bars.append)
    for tick in ticks:
        generator.update_tick(tick)
    return bars


def seen(bar: BarData) -> Row:
    prices = (bar.open_price, bar.high_price, bar.low_price, bar.close_price)
    return Row(bar.datetime.astimezone(timezone.utc), prices, int(bar.volume))


class TickDesk:
    """A rig in the data's time."""

    def __init__(self, rig: Rig, clock: ShiftedClock) -> None:
        self.rig = rig
        self.clock = clock

    def go(self, moment: datetime) -> None:
        """Both clocks stand at a moment; everything until then has been played."""
        self.clock.set(moment)
        self.rig.sim.set_clock(moment)

    def show(self, vt_symbol: str) -> None:
        self.rig.subscribe(vt_symbol)
        self.rig.wait_tick(vt_symbol)

    def ticks(self, vt_symbol: str) -> list[TickData]:
        return [tick for tick in self.rig.seen.of(EVENT_TICK) if tick.vt_symbol == vt_symbol]

    def play(self, vt_symbol: str, rows: Iterable[Row], volume: int = 0) -> int:
        """Play these minutes one by one, each until its last trade is on the engine; the day's volume after them."""
        last = 0.0
        for row in rows:
            volume += row.volume
            last = row.prices[3] if row.prices else last
            self.go(row.start + LAST_MOMENT)
            self.reach(vt_symbol, volume, last)
        return volume

    def reach(self, vt_symbol: str, volume: int, last: float = 0.0) -> None:
        """Wait until a day's volume, and a last price, are on the engine."""

        def there() -> bool:
            tick = self.rig.tick(vt_symbol)
            return int(tick.volume) == volume and last in (0.0, tick.last_price)

        try:
            self.rig.wait(there, f"{volume} at {last} of {vt_symbol}")
        except AssertionError as error:
            tick = self.rig.tick(vt_symbol)
            raise AssertionError(f"{tick.datetime} {tick.volume} {tick.last_price}: {error}") from None


def replaying_files(folder: Path, vt_symbol: str, monkeypatch: pytest.MonkeyPatch, *suffixes: str) -> None:
    """Put an instrument's files where a broker reads them; the clocks beside it may run ahead."""
    for suffix in suffixes or (".1m.csv",):
        source = DATA / f"{vt_symbol}{suffix}"
        if not source.exists():
            pytest.skip(f"the market data folder {DATA.name} is not beside the repository")
        (folder / source.name).write_bytes(source.read_bytes())
    # A clock that runs ahead is taken for a machine that slept, and all connections are made anew.
    monkeypatch.setattr("vnpy_brokerkit.clock.LEAST_JUMP", 1e9)


@contextmanager
def replaying(
    name: str, folder: Path, start: datetime, vt_symbol: str, monkeypatch: pytest.MonkeyPatch, *suffixes: str
) -> Iterator[TickDesk]:
    """A gateway beside its broker, both at ``start`` of the days in an instrument's file."""
    replaying_files(folder, vt_symbol, monkeypatch, *suffixes)
    broker = RIGS[name].broker
    with brokersim.running(
        vbrokers=broker == "vbrokers", tws=broker == "tws", data=folder, clock="data", process=True
    ) as sim:
        clock = ShiftedClock(start, frozen=True)
        sim.set_clock(start)
        rig = RIGS[name](start=False, gateway_clock=clock, timing=QUIET[name])
        rig.sim = sim
        with rig:
            rig.connect()
            yield TickDesk(rig, clock)


def wrong(bars: Iterable[BarData], rows: Iterable[Row]) -> list[Any]:
    """How bars differ from a file's minutes, by their start."""
    made: dict[datetime, list[Row]] = {}
    for bar in bars:
        row = seen(bar)
        made.setdefault(row.start, []).append(row)
    return [(row, made.get(row.start, [])) for row in rows if made.get(row.start) != [row]]


def cents(value: float) -> Decimal:
    return Decimal(str(value)).quantize(Decimal("0.01"))
