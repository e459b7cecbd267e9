"""A US session is one day in the back-tester's daily result where process and database are in New York."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from vnpy.trader.object import BarData

from tests.cta_days import AIG, NEW_YORK, Backtest, back_test, data_time, download, needs_tz, replayed

REAL = [date(2013, 10, day) for day in (8, 9, 10)]
"""In AIG's file, from 04:00 to 20:00."""
IBM = "IBM.SMART"
"""Without a file of its own it has two years of generated minutes before the day of the others."""
WINTER = [date(2013, 1, day) for day in (7, 8, 9)]
SUMMER = [date(2013, 7, day) for day in (8, 9, 10)]
CHANGE = [date(2013, 3, day) for day in (7, 8, 11, 12)]
"""Summer time began on the 10th."""
SETTING = {"fast_window": 3, "slow_window": 8, "volume": 200, "history_days": 0}

pytestmark = needs_tz


def bars_of(name: str, vt_symbol: str, days: Sequence[date], folder: Path, **setting: str) -> list[BarData]:
    """One-minute bars of these sessions, downloaded through the gateway."""
    folder.mkdir()
    with replayed(name, folder, **setting) as (it, clock), data_time(clock):
        begin, end = (datetime.combine(day, time(), NEW_YORK) for day in (days[0], days[-1] + timedelta(days=1)))
        return download(it.rig, vt_symbol, begin, end)


def run_over(bars: Sequence[BarData], days: Sequence[date], folder: Path, zone: str) -> Backtest:
    last = days[-1] + timedelta(days=1)  # in Shanghai the last session ends on the day after
    return back_test(bars, days[0], last, folder / zone.replace("/", "-"), zone=zone, tz=zone, **SETTING)


@pytest.mark.parametrize(
    ("name", "vt_symbol", "days", "setting"),
    [
        ("VBROKERS", IBM, WINTER, {}),
        ("VBROKERS", AIG, REAL, {}),
        ("IBKR", IBM, SUMMER, {}),
        ("IBKR", IBM, CHANGE, {}),
        ("IBKR", AIG, REAL, {"盘前盘后": "是"}),
    ],
    ids=["vbrokers-winter", "vbrokers-real", "ibkr-summer", "ibkr-change", "ibkr-extended"],
)
def test_a_session_is_one_day_in_new_york(
    name: str, vt_symbol: str, days: Sequence[date], setting: dict[str, str], tmp_path: Path
) -> None:
    bars = bars_of(name, vt_symbol, days, tmp_path / "data", **setting)
    counts = Counter(bar.datetime.astimezone(NEW_YORK).date() for bar in bars)
    assert list(counts) == list(days)
    assert all(count > 390 if setting else count == 390 for count in counts.values())
    there = run_over(bars, days, tmp_path, NEW_YORK.key)
    assert there.bars_of == counts
    assert list(there.days) == list(days)
    assert all(there.days.values()), "a day without a trade shows nothing"

    # The reason: midnight in Shanghai is in the middle of the session, and vn.py's days are calendar days.
    here = run_over(bars, days, tmp_path, "Asia/Shanghai")
    assert list(here.bars) == list(there.bars), "the same instants"
    both_halves = {day for session in days for day in (session, session + timedelta(days=1))}
    assert set(here.days) == both_halves
    assert len(both_halves) > len(days)
    assert here.bars_of[days[0]] < counts[days[0]]
    assert sum(here.days.values()) == sum(there.days.values()), "the same trades"
