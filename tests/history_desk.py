"""History over the wires of the simulated brokers, beside the recorded minutes that it is made of."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import TypeVar

import pytest
from vnpy.trader.constant import Exchange, Interval
from vnpy.trader.object import BarData, HistoryRequest

from tests.harness import DATA, Rig
from vnpy_brokerkit.clock import ShiftedClock

RigT = TypeVar("RigT", bound=Rig)
Ohlcv = tuple[float, ...]


def rows_of(vt_symbol: str, day: str, first: str, last: str) -> dict[datetime, Ohlcv]:
    """The minutes of a data file with trades in them, by their start (UTC, as are ``first`` and ``last``)."""
    found = {}
    with (DATA / f"{vt_symbol}.1m.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["time"].startswith(day) and first <= row["time"][11:16] < last and row["close"]:
                at = datetime.strptime(row["time"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
                found[at] = tuple(float(row[name]) for name in ("open", "high", "low", "close", "volume"))
    return found


def by_start(bars: Iterable[BarData]) -> dict[datetime, Ohlcv]:
    """Bars as such rows."""
    return {
        one.datetime.astimezone(timezone.utc): (
            one.open_price,
            one.high_price,
            one.low_price,
            one.close_price,
            one.volume,
        )
        for one in bars
    }


def download(
    rig: Rig, vt_symbol: str, interval: Interval, start: datetime, end: datetime | None = None
) -> list[BarData]:
    """Ask the main engine for bars of the rig's gateway."""
    symbol, _dot, exchange = vt_symbol.rpartition(".")
    request = HistoryRequest(symbol=symbol, exchange=Exchange(exchange), start=start, end=end, interval=interval)
    bars: list[BarData] = rig.main.query_history(request, rig.name)
    return bars


@contextlib.contextmanager
def data_time(rig_class: type[RigT], at: datetime, **setting: str) -> Iterator[RigT]:
    """Connected to a simulator whose clock stands at a moment of the recorded data."""
    if not DATA.exists():
        pytest.skip(f"the market data folder {DATA.name} is not beside the repository")
    with rig_class(data=DATA, clock="data", gateway_clock=ShiftedClock(at, frozen=True)) as rig:
        rig.sim.set_clock(at)
        rig.connect(**setting)
        yield rig
