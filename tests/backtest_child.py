"""vn.py's back-tester on given bars, in a process with a time zone of its own: the child of :mod:`tests.cta_days`.

Run as ``python -m tests.backtest_child`` in vn.py's folder, with one JSON object on stdin: the bars, the first and the
last day, the example strategy's setting. It saves the bars to vn.py's database, reads them back as the back-tester
does, and prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, defaultdict
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

from vnpy.trader.constant import Exchange, Interval
from vnpy.trader.database import get_database
from vnpy.trader.object import BarData
from vnpy.trader.setting import SETTINGS
from vnpy_ctastrategy.backtesting import BacktestingEngine

from examples.strategies.crossing_averages import CrossingAverages
from vnpy_brokers.zones import start_warning


class Silent(BacktestingEngine):
    """Its progress goes to nobody; a failure ends the process."""

    def output(self, msg: str) -> None:
        if "Traceback" in msg:
            raise SystemExit(msg)


def main(job: dict[str, Any]) -> dict[str, Any]:
    symbol, _dot, exchange = job["vt_symbol"].partition(".")
    bars = [
        BarData(
            "TEST",
            symbol,
            Exchange(exchange),
            datetime.fromisoformat(at),
            Interval.MINUTE,
            open_price=o,
            high_price=h,
            low_price=low,
            close_price=c,
            volume=volume,
        )
        for at, o, h, low, c, volume in job["bars"]
    ]
    get_database().save_bar_data(bars)
    engine = Silent()
    # vn.py's back-tester takes its days without a zone, as its window does in the database's.
    first, last = date.fromisoformat(job["first"]), date.fromisoformat(job["last"])
    engine.set_parameters(
        vt_symbol=job["vt_symbol"],
        interval=Interval.MINUTE,
        start=datetime.combine(first, time()),
        # Within one calendar day it divides by zero (vnpy_ctastrategy 1.4.1, load_data).
        end=datetime.combine(last, time()) + timedelta(days=1),
        rate=0,
        slippage=0,
        size=1,
        pricetick=0.01,
        capital=1_000_000,
    )
    engine.add_strategy(CrossingAverages, job["setting"])
    engine.load_data()
    engine.run_backtesting()
    engine.calculate_result()
    fills = defaultdict(list)
    for trade in engine.get_all_trades():
        fills[trade.vt_orderid].append((trade.datetime.isoformat(), trade.price, trade.volume))
    return {
        "bars": {
            bar.datetime.isoformat(): {
                "open": bar.open_price,
                "high": bar.high_price,
                "low": bar.low_price,
                "close": bar.close_price,
                "volume": bar.volume,
            }
            for bar in engine.history_data
        },
        "deals": [
            {
                "bar": order.datetime.isoformat(),
                "direction": order.direction.name,
                "volume": order.volume,
                "fills": fills[order.vt_orderid],
            }
            for order in engine.get_all_orders()
        ],
        "days": {day.isoformat(): len(result.trades) for day, result in engine.daily_results.items()},
        "bars_of": Counter(bar.datetime.date().isoformat() for bar in engine.history_data),
        "zone_line": start_warning(SETTINGS["database.timezone"], datetime.now(timezone.utc)),
    }


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))), flush=True)
    os._exit(0)
