"""A real day on a simulated broker's wire, traded by the example strategy, and the same day in vn.py's back-tester.

The back-test runs in a process of its own, :mod:`tests.backtest_child`: vn.py decides its database's zone when it is
imported, and the machine's zone belongs to the process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from vnpy.trader.constant import Direction, Exchange, Interval, Status
from vnpy.trader.object import BarData, HistoryRequest, TickData

import brokersim
from examples.strategies.crossing_averages import CrossingAverages
from tests.cta_desk import NAME, RIGS, CtaDesk, forget_strategies
from tests.harness import DATA, Rig
from tests.ticks_desk import LAST_MOMENT, QUIET, Row
from vnpy_brokerkit.clock import ShiftedClock

ROOT = Path(__file__).resolve().parent.parent
AIG = "AIG.SMART"
NEW_YORK = ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)
INTO_THE_MINUTE = timedelta(seconds=1)
"""Where a minute's first quotes have just come: there the bar before it ends, and orders go out."""
DAY = date(2013, 10, 11)
OPEN = datetime(2013, 10, 11, 9, 30, tzinfo=NEW_YORK)
LAST_DECISION = datetime(2013, 10, 11, 15, 58, tzinfo=NEW_YORK)
"""The bar of the last minute would decide after the close."""
SETTING: dict[str, Any] = {"fast_window": 3, "slow_window": 8, "volume": 200, "history_days": 4}
CHILD_S = 120

needs_tz = pytest.mark.skipif(os.name == "nt", reason="on Windows a process has no time zone of its own")


@contextmanager
def replayed(name: str, folder: Path, vt_symbol: str = AIG, **setting: str) -> Iterator[tuple[CtaDesk, ShiftedClock]]:
    """A broker whose clock stands at the open of a real day, and a connected engine in the same time."""
    source = DATA / f"{vt_symbol}.1m.csv"
    if not source.exists():
        pytest.skip(f"the market data folder {DATA.name} is not beside the repository")
    (folder / source.name).write_bytes(source.read_bytes())
    broker = RIGS[name].broker
    forget_strategies()
    with brokersim.running(vbrokers=broker == "vbrokers", tws=broker == "tws", data=folder, clock="data") as sim:
        clock = ShiftedClock(sim.clock(), frozen=True)
        rig = RIGS[name](start=False, gateway_clock=clock, timing=QUIET[name])
        rig.sim = sim
        with rig:
            it = CtaDesk(rig, clock=clock)
            rig.connect(**setting)
            yield it, clock


@contextmanager
def data_time(clock: ShiftedClock) -> Iterator[None]:
    """vn.py's CTA engine and the kit's look-out for a machine that slept live in the data's time."""
    with pytest.MonkeyPatch.context() as patch:
        # A clock that runs ahead is taken for a machine that slept, and all connections are made anew.
        patch.setattr("vnpy_brokerkit.clock.LEAST_JUMP", 1e9)
        # vn.py asks the machine's clock up to when history is wanted.
        patch.setattr("vnpy_ctastrategy.engine.datetime", type("Now", (), {"now": lambda zone: clock.now()}))
        yield


def trade_through(it: CtaDesk, clock: ShiftedClock, strategy: CrossingAverages, rows: Sequence[Row]) -> None:
    """Let these minutes pass one by one, each with all that the strategy does in it.

    The clock stands still twice a minute: when all of it has come, and when the first quotes of the next one have.
    """
    rig, volume = it.rig, 0

    def seen() -> TickData:
        tick = strategy.bars.last_tick
        return rig.tick(AIG) if tick is None else tick

    def go(moment: datetime, found: Callable[[], bool]) -> None:
        clock.set(moment)
        rig.sim.set_clock(moment)
        rig.wait(found, f"the quotes until {moment}")
        settled(it)

    for row in rows:
        volume += row.volume
        close = row.prices[3]
        go(row.start + LAST_MOMENT, lambda: (seen().volume, seen().last_price) == (volume, close))  # noqa: B023  asked at once
        begun = row.start + MINUTE
        go(begun + INTO_THE_MINUTE, lambda: seen().datetime >= begun)  # noqa: B023  the same


def settled(it: CtaDesk) -> None:
    """Wait until the engine has heard of what the broker did with the strategy's orders."""
    rig = it.rig

    def heard() -> bool:
        orders = {order.vt_orderid: order for order in rig.main.get_all_orders()}
        if not orders.keys() >= it.cta.orderid_strategy_map.keys():
            return False
        if any(order.status is Status.SUBMITTING for order in orders.values()):
            return False
        told = {(order.extra or {}).get("broker_id"): (order.status.name, order.traded) for order in orders.values()}
        truth = rig.truth()
        if any(told.get(row["id"]) != (row["status"], float(row["traded"])) for row in truth["orders"]):
            return False
        strategy = it.cta.strategies[NAME]
        return bool(strategy.fills == len(truth["trades"]))

    rig.wait(heard, "the orders' news")


def download(rig: Rig, vt_symbol: str, start: datetime, end: datetime) -> list[BarData]:
    """One-minute bars as vn.py's apps ask the gateway for them."""
    symbol, _dot, exchange = vt_symbol.partition(".")
    request = HistoryRequest(symbol, Exchange(exchange), start, end, Interval.MINUTE)
    return rig.main.query_history(request, rig.name)


# ------------------------------------------------------------------ side by side


@dataclass(frozen=True)
class Deal:
    """A decision and what came of it. ``bar``: start of the bar that made it; ``fills``: time, price, volume."""

    bar: datetime
    direction: Direction
    volume: float
    fills: tuple[tuple[datetime, float, float], ...]

    @property
    def traded(self) -> float:
        return sum(volume for _time, _price, volume in self.fills)

    @property
    def price(self) -> float:
        """The average of the fills, weighted by volume."""
        return sum(price * volume for _time, price, volume in self.fills) / self.traded


def live_deals(rig: Rig) -> list[Deal]:
    """The orders of an engine, oldest first; the bar is the minute before the one in which the order was sent."""
    fills: defaultdict[str, list[tuple[datetime, float, float]]] = defaultdict(list)
    for trade in rig.main.get_all_trades():
        assert trade.datetime is not None
        fills[trade.vt_orderid].append((trade.datetime, trade.price, trade.volume))
    deals = []
    for order in rig.main.get_all_orders():
        assert order.datetime is not None
        assert order.direction is not None
        bar = order.datetime.astimezone(NEW_YORK).replace(second=0, microsecond=0) - MINUTE
        deals.append(Deal(bar, order.direction, order.volume, tuple(sorted(fills[order.vt_orderid]))))
    return sorted(deals, key=lambda deal: deal.bar)


# ------------------------------------------------------------------ the back-test


@dataclass(frozen=True)
class Backtest:
    """What :mod:`tests.backtest_child` tells of its run."""

    bars: dict[datetime, dict[str, float]]
    """By start, as the database gave them back."""
    deals: list[Deal]
    days: dict[date, int]
    """Day of vn.py's daily result -> trades in it."""
    bars_of: dict[date, int]
    """Date of the bars' own stamps -> how many."""
    zone_line: str | None
    """What the start says of the two zones."""


def back_test(
    bars: Sequence[BarData], first: date, last: date, folder: Path, *, zone: str, tz: str, **setting: Any
) -> Backtest:
    """Save bars to vn.py's database in ``folder`` and run the example strategy over the days, in another process."""
    home = vnpy_folder(folder, zone)
    job = {
        "vt_symbol": bars[0].vt_symbol,
        "bars": [
            [bar.datetime.isoformat(), bar.open_price, bar.high_price, bar.low_price, bar.close_price, bar.volume]
            for bar in bars
        ],
        "first": first.isoformat(),
        "last": last.isoformat(),
        "setting": setting,
    }
    told = run_child("tests.backtest_child", home, tz, stdin=json.dumps(job))
    return Backtest(
        bars={datetime.fromisoformat(at): bar for at, bar in told["bars"].items()},
        deals=[
            Deal(
                datetime.fromisoformat(row["bar"]),
                Direction[row["direction"]],
                row["volume"],
                tuple((datetime.fromisoformat(at), price, volume) for at, price, volume in row["fills"]),
            )
            for row in told["deals"]
        ],
        days={date.fromisoformat(day): count for day, count in told["days"].items()},
        bars_of={date.fromisoformat(day): count for day, count in told["bars_of"].items()},
        zone_line=told["zone_line"],
    )


def vnpy_folder(folder: Path, zone: str, **settings: str) -> Path:
    """Make a vn.py folder whose database is in ``zone``; return where a process must begin to use it."""
    (folder / ".vntrader").mkdir(parents=True)
    (folder / ".vntrader" / "vt_setting.json").write_text(
        json.dumps({"database.timezone": zone, "log.console": False, "log.file": False, **settings}), encoding="utf-8"
    )
    (folder / ".vntrader" / "broker_limits.json").write_text(
        json.dumps({"list_reads_per_second": 500, "orders_per_second": 200}), encoding="utf-8"
    )
    return folder


def run_child(module: str, folder: Path, tz: str, *args: str, stdin: str = "", **environment: str) -> dict[str, Any]:
    """Run ``python -m module args`` in a vn.py folder under a time zone; return its last line, which is JSON."""
    run = subprocess.run(
        [sys.executable, "-m", module, *args],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=CHILD_S,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
            "LANGUAGE": "zh_CN",
            "BROKERS_DATA": str(DATA),
            "TZ": tz,
            **environment,
        },
    )
    assert run.returncode == 0, run.stderr[-4000:]
    told: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return told
