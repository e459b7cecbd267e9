"""The volume of a day is counted once: over the night, over a reconnect, where the regular session begins."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cta_desk import RIGS
from tests.ticks_desk import AIG, TENCENT, TickDesk, at, bars_of, minutes, replaying, seen, wrong

MINUTE = timedelta(minutes=1)
OPENS, CLOSES = at("2013-10-09 13:30"), at("2013-10-09 20:00")
NEXT_OPENS = at("2013-10-10 13:30")


def day_volume(before: datetime) -> int:
    return sum(row.volume for row in minutes(AIG, OPENS, before))


@pytest.mark.parametrize("name", RIGS)
def test_a_new_day_begins_from_zero(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two minutes before the close, the evening, the next morning, and the first regular minutes."""
    first = CLOSES - 3 * MINUTE
    last_rows = minutes(AIG, first, CLOSES)
    evening = minutes(AIG, CLOSES, at("2013-10-10 00:00"))
    morning = minutes(AIG, at("2013-10-10 08:00"), NEXT_OPENS)
    next_rows = minutes(AIG, NEXT_OPENS, NEXT_OPENS + 5 * MINUTE)
    with replaying(name, tmp_path, first - MINUTE, AIG, monkeypatch) as it:
        it.show(AIG)
        close = it.play(AIG, minutes(AIG, first - MINUTE, CLOSES), volume=day_volume(first - MINUTE))
        it.play(AIG, [row for row in evening if row.volume and row.prices], volume=close)
        shown = it.rig.tick(AIG)
        assert shown.high_price == max(row.prices[1] for row in minutes(AIG, OPENS, CLOSES) + evening if row.prices)
        it.play(AIG, [row for row in morning if row.volume and row.prices])
        it.play(AIG, next_rows)
        ticks, last = it.ticks(AIG), it.rig.tick(AIG)
        bars = bars_of(ticks)
    assert wrong(bars, [*last_rows, *next_rows[:-1]]) == []
    assert [bar.volume for bar in bars if bar.volume < 0] == []
    file = {row.start: row.volume for row in [*last_rows, *evening, *morning, *next_rows]}
    assert [row for row in map(seen, bars) if row.volume > file.get(row.start, row.volume)] == []
    falls = [later for earlier, later in pairwise(ticks) if later.volume < earlier.volume]
    assert falls, "the volume never began again"
    assert {tick.volume for tick in falls} == {0}
    assert last.pre_close == last_rows[-1].prices[3]
    assert last.open_price == next_rows[0].prices[0]
    assert last.high_price == max(row.prices[1] for row in next_rows)
    assert last.low_price == min(row.prices[2] for row in next_rows)
    assert last.volume == sum(row.volume for row in next_rows)
    assert all(earlier.datetime <= later.datetime for earlier, later in pairwise(ticks))


@pytest.mark.parametrize("name", RIGS)
def test_a_reconnect_in_the_middle_of_the_day_doubles_and_loses_no_volume(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = minutes(AIG, OPENS + 60 * MINUTE, OPENS + 70 * MINUTE)
    with replaying(name, tmp_path, rows[0].start - MINUTE, AIG, monkeypatch) as it:
        it.show(AIG)
        volume = it.play(
            AIG, minutes(AIG, rows[0].start - MINUTE, rows[0].start), volume=day_volume(rows[0].start - MINUTE)
        )
        volume = it.play(AIG, rows[:4], volume=volume)
        restart(it)
        volume = it.play(AIG, rows[4:7], volume=volume)
        it.rig.main.connect(it.rig.setting(), name)  # a person presses 连接 once more
        it.rig.wait(lambda: it.rig.seen.log_lines().count("合约信息查询成功") > 1, "the second connect")
        it.rig.wait(lambda: it.ticks(AIG)[-1].volume == volume and it.ticks(AIG)[-1].bid_price_1, "a tick of it")
        volume = it.play(AIG, rows[7:], volume=volume)
        bars = bars_of(it.ticks(AIG))
    assert wrong(bars, rows[:-1]) == []


def restart(it: TickDesk) -> None:
    """The broker's program ends and returns; everything is subscribed anew."""
    it.rig.sim.faults([{"broker": it.rig.broker, "do": "restart", "for_s": 0.3}])
    it.rig.wait_log("已恢复")


@pytest.mark.parametrize("name", RIGS)
@pytest.mark.parametrize(
    ("moment", "labels"),
    [
        ("2022-04-12 01:05", {"auction"}),
        ("2022-04-12 02:00", {"regular"}),
        ("2022-04-12 04:30", {"regular", "break"}),  # VBrokers has no word for the lunch break
        ("2022-04-12 08:05", {"auction"}),
    ],
)
def test_hong_kong_auctions_are_on_the_tick(
    name: str, moment: str, labels: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with replaying(name, tmp_path, at(moment), TENCENT, monkeypatch) as it:
        it.show(TENCENT)
        assert (it.rig.tick(TENCENT).extra or {})["segment"] in labels
