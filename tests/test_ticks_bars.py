"""Bars that vn.py makes of a gateway's ticks are those of the file that its broker replays."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.cta_desk import RIGS
from tests.ticks_desk import AIG, IBM, TENCENT, at, bars_of, minutes, replaying, traded, wrong

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("name", RIGS)
def test_a_day_of_a_minute_file_comes_out_as_its_bars(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens, closes = at("2013-10-10 13:30"), at("2013-10-10 20:00")
    early, regular = minutes(AIG, at("2013-10-10 08:00"), opens), minutes(AIG, opens, closes)
    with replaying(name, tmp_path, opens - 5 * MINUTE, AIG, monkeypatch) as it:
        it.show(AIG)
        it.play(AIG, early[-5:], volume=sum(row.volume for row in early[:-5]))
        day = it.play(AIG, regular)
        it.play(AIG, minutes(AIG, closes, closes + MINUTE), volume=day)
        bars = bars_of(it.ticks(AIG))
    assert len(regular) == 390
    assert wrong(bars, regular) == []
    assert len(bars) == len({bar.datetime for bar in bars}), "a bar came twice"


@pytest.mark.parametrize("name", RIGS)
def test_hong_kong_has_its_auction_once_and_no_bar_at_lunch(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The opening print falls on 09:30:00, so its volume and price are in the first minute's bar."""
    opens = at("2022-04-12 01:30")
    auction, first, *rest = minutes(TENCENT, opens - MINUTE, at("2022-04-12 08:01"))
    with replaying(name, tmp_path, opens - 10 * MINUTE, TENCENT, monkeypatch) as it:
        it.show(TENCENT)
        assert it.rig.tick(TENCENT).volume == 0
        expected = [auction + first, *rest]
        it.play(TENCENT, expected)
        it.go(at("2022-04-12 08:09"))
        it.go(at("2022-04-13 01:31"))
        it.rig.wait(lambda: it.rig.tick(TENCENT).datetime > at("2022-04-13 01:30"), "the next day")
        bars = bars_of(it.ticks(TENCENT))
    assert wrong(bars, expected) == []
    lunch = [bar for bar in bars if at("2022-04-12 04:00") <= bar.datetime < at("2022-04-12 05:00")]
    assert lunch == []
    assert len(bars) == len({bar.datetime for bar in bars}), "a bar came twice"


@pytest.mark.parametrize("name", RIGS)
def test_trades_and_quotes_of_a_real_day_come_out_as_its_bars(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TWS samples, so a price may be missed that stood for some milliseconds."""
    opens, closes = at("2013-10-07 16:00"), at("2013-10-07 17:40")
    before = traded(IBM, at("2013-10-07 13:30"), opens)
    rows = traded(IBM, opens, closes)
    with replaying(name, tmp_path, opens - MINUTE, IBM, monkeypatch, ".1m.csv", ".tick.csv.gz") as it:
        it.show(IBM)
        day = it.play(IBM, before[-1:], volume=sum(row.volume for row in before[:-1]))
        day = it.play(IBM, rows, volume=day)
        it.play(IBM, traded(IBM, closes, closes + MINUTE), volume=day)
        bars = bars_of(it.ticks(IBM))
    assert len(rows) == 100
    assert len(wrong(bars, rows)) <= 1, wrong(bars, rows)
    assert len(bars) == len({bar.datetime for bar in bars}), "a bar came twice"
