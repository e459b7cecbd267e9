"""One minute as a gateway and vn.py's apps tell it, in a process with a time zone of its own.

Run as ``python -m tests.zone_child GATEWAY VT_SYMBOL DATA_FOLDER`` in vn.py's folder. It prints one JSON object: for
each kind of event and bar of the minute, its time and the name of its zone.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from vnpy.trader.constant import Direction, Exchange, Interval, Status
from vnpy.trader.database import DB_TZ, get_database
from vnpy.trader.datafeed import get_datafeed
from vnpy.trader.event import EVENT_TICK
from vnpy.trader.object import BarData, HistoryRequest, TickData
from vnpy.trader.utility import BarGenerator
from vnpy_ctastrategy.backtesting import BacktestingEngine

from tests.cta_days import INTO_THE_MINUTE, MINUTE, data_time, download, replayed
from tests.cta_desk import CtaDesk
from tests.ticks_desk import LAST_MOMENT
from vnpy_brokerkit.clock import ShiftedClock


def main(name: str, vt_symbol: str, data: Path) -> dict[str, Any]:
    with replayed(name, data, vt_symbol) as (it, clock), data_time(clock):
        times = seen_live(it, clock, vt_symbol)
        minute = at_minute(times["tick"])
        begin, end = minute - MINUTE, minute + MINUTE
        bars = download(it.rig, vt_symbol, begin, end)
        times["gateway bar"] = stamp(bars, minute)
        symbol, _dot, exchange = vt_symbol.partition(".")
        request = HistoryRequest(symbol, Exchange(exchange), begin, end, Interval.MINUTE)
        times["datafeed bar"] = stamp(get_datafeed().query_bar_history(request), minute)
        get_database().save_bar_data(bars)
        # Times without a zone are the database's own; bars that are read shifted are looked for a day around.
        local = minute.astimezone(DB_TZ).replace(tzinfo=None)
        read = get_database().load_bar_data(
            symbol, Exchange(exchange), Interval.MINUTE, local - timedelta(hours=1), local + timedelta(hours=1)
        )
        saved = sorted(bar.datetime for bar in download(it.rig, vt_symbol, begin, end))
        times["database bar"] = read[saved.index(minute)].datetime
        engine = Silent()
        day = local.replace(hour=0, minute=0)
        engine.set_parameters(
            vt_symbol, Interval.MINUTE, day, rate=0, slippage=0, size=1, pricetick=0.01, end=day + timedelta(days=1)
        )
        engine.load_data()
        times["back-test bar"] = engine.history_data[saved.index(minute)].datetime
        lines = [line.msg for line in it.cta_log if "时区" in line.msg]
    return {
        "times": {kind: [at.isoformat(), getattr(at.tzinfo, "key", "")] for kind, at in times.items()},
        "minute": minute.astimezone(timezone.utc).isoformat(),
        "lines": lines,
    }


class Silent(BacktestingEngine):
    """Its progress goes to nobody."""

    def output(self, msg: str) -> None:
        """Say nothing."""


def seen_live(it: CtaDesk, clock: ShiftedClock, vt_symbol: str) -> dict[str, datetime]:
    """Tick, order, trade and vn.py's own bar of the second minute of the day."""
    rig = it.rig
    rig.subscribe(vt_symbol)
    rig.wait_tick(vt_symbol)
    minute = clock.now() + MINUTE

    def go(moment: datetime, seen: datetime) -> None:
        clock.set(moment)
        rig.sim.set_clock(moment)
        rig.wait(lambda: rig.tick(vt_symbol).datetime >= seen, f"the quotes until {moment}")

    go(minute + INTO_THE_MINUTE, minute)
    rig.wait(lambda: rig.tick(vt_symbol).ask_price_1, "the book")
    tick = rig.tick(vt_symbol)
    # The book may move while the order is on its way.
    price = round(tick.ask_price_1 + 20 * rig.contract(vt_symbol).pricetick, 2)
    vt_orderid = rig.send(vt_symbol, Direction.LONG, 100, price)
    order = rig.wait_status(vt_orderid, Status.ALLTRADED)
    trade = rig.wait(lambda: next(iter(rig.main.get_all_trades()), None), "the fill")
    go(minute + LAST_MOMENT, minute + INTO_THE_MINUTE)
    go(minute + MINUTE + INTO_THE_MINUTE, minute + MINUTE)
    made: list[BarData] = []
    generator = BarGenerator(made.append)
    ticks: list[TickData] = rig.seen.of(EVENT_TICK)
    for each in ticks:
        generator.update_tick(each)
    assert order.datetime is not None
    assert trade.datetime is not None
    return {
        "tick": tick.datetime,
        "order": order.datetime,
        "trade": trade.datetime,
        "bar of ticks": stamp(made, minute),
    }


def at_minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def stamp(bars: list[BarData], minute: datetime) -> datetime:
    """The stamp of the minute's bar."""
    (found,) = (bar.datetime for bar in bars if bar.datetime == minute)
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))), flush=True)
    os._exit(0)
