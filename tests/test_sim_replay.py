"""Data files as days, and minutes as quotes: what design 7 says of the data, checked against the real files."""

from __future__ import annotations

import csv
import gzip
import os
import random
from collections import defaultdict
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersim.instruments import table
from brokersim.pacing import SLOTS, Pacer, split_volume, waypoints
from brokersim.prices import Grid, bands_of, read_points, to_points
from brokersim.replay import DataError, FileSeries, find_files
from brokersim.series import Day, Minute
from brokersim.sessions import day_spans, regular_spans

DATA = Path(os.environ.get("BROKERS_DATA") or Path(__file__).parents[1].parent / "shared" / "data")
needs_data = pytest.mark.skipif(not (DATA / "README.md").is_file(), reason=f"no market data in {DATA}")
INSTRUMENTS = {vt_symbol: listing.instrument for vt_symbol, listing in table().items()}


def grid_of(vt_symbol: str, on: date = date(2022, 4, 11)) -> Grid:
    return Grid.of(bands_of(INSTRUMENTS[vt_symbol], on))


def series_of(vt_symbol: str) -> FileSeries:
    instrument = INSTRUMENTS[vt_symbol]
    grid = grid_of(vt_symbol)
    around = instrument.exchange == "SEHK"
    pacer = Pacer(grid, instrument.lot, f"1|{vt_symbol}", around_last=around)
    return FileSeries(instrument, find_files(DATA)[vt_symbol], grid, pacer)


@needs_data
def test_two_files_of_one_symbol_are_one_instrument_whose_live_day_has_the_ticks() -> None:
    files = find_files(DATA)
    assert files["IBM.SMART"].minutes is not None
    assert files["IBM.SMART"].ticks is not None
    assert len(files) == 6
    assert series_of("IBM.SMART").live == date(2013, 10, 7)
    assert series_of("SPY.SMART").live == date(2013, 10, 11)
    assert series_of("00700.SEHK").live == date(2022, 4, 13)


@needs_data
def test_us_minutes_are_stamped_with_their_start_and_hong_kong_ones_with_their_end() -> None:
    ibm = series_of("IBM.SMART").day(date(2013, 10, 7))
    assert ibm is not None
    regular = ibm.regular()
    assert regular[0].at == regular_spans(ibm.spans)[0].start
    assert regular[0].volume == 174289
    tencent = series_of("00700.SEHK").day(date(2022, 4, 13))
    assert tencent is not None
    assert [minute.auction for minute in tencent.minutes] == [True] + [False] * 330
    assert tencent.minutes[1].at == regular_spans(tencent.spans)[0].start
    assert tencent.minutes[-1].at + 60_000 == regular_spans(tencent.spans)[-1].end
    assert len(tencent.regular()) == 331


@needs_data
@pytest.mark.parametrize("vt_symbol", ["00700.SEHK", "09988.SEHK"])
def test_hong_kong_prices_are_snapped_to_the_grid(vt_symbol: str) -> None:
    grid, series = grid_of(vt_symbol), series_of(vt_symbol)
    files = find_files(DATA)[vt_symbol]
    assert files.minutes is not None
    with files.minutes.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    minutes = [m for on in series.history(date(2030, 1, 1)) for m in (series.day(on) or pytest.fail("no day")).minutes]
    assert len(minutes) == len(rows) == 993
    for row, minute in zip(rows, minutes, strict=True):
        for name, price in zip(("open", "high", "low", "close"), minute[1:5], strict=True):
            assert price % grid.tick(price) == 0
            assert abs(price - read_points(row[name])) * 2 <= grid.tick(price)
        assert minute.low <= min(minute.open, minute.close)
        assert max(minute.open, minute.close) <= minute.high


@needs_data
def test_splits_apply_to_the_previous_close() -> None:
    apple = series_of("AAPL.SMART")
    before, after = apple.previous_close(date(2014, 6, 6)), apple.previous_close(date(2014, 6, 9))
    close = apple.daily(date(2014, 6, 6))
    assert close is not None
    assert before > to_points(Decimal(600))
    assert abs(after * 7 - close.close) <= 7 * 1000


@needs_data
def test_tick_events_are_the_file() -> None:
    """Each trade is one event; after each millisecond the newest bid and ask rows stand."""
    bid = ask = 0
    trades: list[tuple[int, int, bool]] = []
    standing: list[tuple[int, int]] = []
    last_stamp = ""
    with gzip.open(DATA / "IBM.SMART.tick.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "T":
                trades.append((read_points(row["price"]), int(row["size"]), bool(int(row["condition"], 16) & 1)))
                last_stamp = ""
                continue
            bid = read_points(row["bid"]) or bid
            ask = read_points(row["ask"]) or ask
            if row["time"] == last_stamp:
                standing[-1] = (bid, ask)
            else:
                standing.append((bid, ask))
            last_stamp = row["time"]
    events = list(series_of("IBM.SMART").events(date(2013, 10, 7)))
    assert [(e.price, e.size, e.marks) for e in events if e.size] == trades
    bid = ask = 0
    shown = []
    for event in events:
        if not event.size:
            bid, ask = event.bid or bid, event.ask or ask
            shown.append((bid, ask))
    assert shown == standing
    assert [e.at for e in events] == sorted(e.at for e in events)


@needs_data
@pytest.mark.parametrize("vt_symbol", ["AIG.SMART", "SPY.SMART", "00700.SEHK"])
def test_a_traded_minute_is_played_as_the_file_has_it(vt_symbol: str) -> None:
    series = series_of(vt_symbol)
    day = series.day(series.live)
    assert day is not None
    played = defaultdict(list)
    events_of_day = list(series.events(series.live))
    if day.minutes[0].auction:
        print_ = events_of_day.pop(0)
        assert (print_.at, print_.size) == (regular_spans(day.spans)[0].start, day.minutes[0].volume)
    for event in events_of_day:
        played[event.at // 60_000 * 60_000].append(event)
    for minute in day.minutes:
        if not minute.open or minute.auction:
            continue
        events = played[minute.at]
        prices = [e.price for e in events if e.marks]
        assert (prices[0], max(prices), min(prices), prices[-1]) == minute[1:5]
        assert sum(e.size for e in events) == minute.volume
        assert {(e.at - minute.at) // 1000 for e in events} == set(range(60))
        if minute.bid and minute.ask:
            assert (events[-1].bid, events[-1].ask) == (minute.bid, minute.ask)


@st.composite
def minutes(draw: st.DrawFn) -> Minute:
    low = draw(st.integers(100, 50_000))
    high = low + draw(st.integers(0, 40))
    open_, close = draw(st.integers(low, high)), draw(st.integers(low, high))
    volume = draw(st.one_of(st.integers(0, 10), st.integers(0, 10_000_000)))
    ohlc = (price * 1000 for price in (open_, high, low, close))
    o, h, lo, c = ohlc
    return Minute(1_381_152_600_000, o, h, lo, c, volume, 0)


@settings(max_examples=150, deadline=None)
@given(minutes(), st.sampled_from([1, 100, 400, 2000]), st.booleans())
def test_playing_any_minute_keeps_its_numbers(minute: Minute, lot: int, around: bool) -> None:
    pacer = Pacer(grid_of("IBM.SMART"), lot, "seed", around_last=around, spread=2)
    instrument = INSTRUMENTS["IBM.SMART"]
    events = list(pacer.play(Day(date(2013, 10, 7), day_spans(instrument, date(2013, 10, 7)), (minute,))))
    prices = [e.price for e in events if e.marks]
    assert sum(e.size for e in events) == minute.volume
    assert (prices[0], max(prices), min(prices), prices[-1]) == minute[1:5]
    assert len(events) == SLOTS
    assert all(0 < e.bid < e.ask and e.bid_size > 0 and e.ask_size > 0 for e in events)
    nearer_first = [price for _, price in waypoints(minute)]
    if minute.high - minute.open < minute.open - minute.low:
        assert nearer_first.index(minute.high) < nearer_first.index(minute.low)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 50_000_000), st.sampled_from([1, 100, 2000]), st.integers(1, 4), st.integers(0, 99))
def test_a_split_volume_sums_exactly(volume: int, lot: int, stops: int, seed: int) -> None:
    sizes = split_volume(volume, [0, 19, 39, 59][:stops], lot, random.Random(seed))
    assert sum(sizes) == volume
    assert min(sizes) >= 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("IBM.SMART.1m.csv", "time,open\n2013-10-07T13:30:00.000Z,182\n"),
        ("IBM.SMART.1m.csv", "time,open,high,low,close,volume,bid,bid_size,ask,ask_size\nyesterday,1,1,1,1,1,,,,\n"),
        ("00700.SEHK.1m.csv", "time,open,high,low,close,volume,turnover\n2022-04-11T01:30:00.000Z,a,1,1,1,1,1\n"),
    ],
)
def test_a_broken_file_is_named_with_its_row(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    vt_symbol = name.removesuffix(".1m.csv")
    grid = grid_of(vt_symbol)
    series = FileSeries(INSTRUMENTS[vt_symbol], find_files(tmp_path)[vt_symbol], grid, Pacer(grid, 1, "s"))
    with pytest.raises(DataError, match=f"{name}, row 1"):
        series.day(date(2013, 10, 7))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        find_files(tmp_path / "nowhere")


def test_a_tick_file_alone_makes_minutes(tmp_path: Path) -> None:
    rows = [
        "time,kind,price,size,bid,bid_size,ask,ask_size,venue,condition",
        "2013-10-07T13:30:00.072Z,T,181.9,200,,,,,P,2000",
        "2013-10-07T13:30:01.000Z,T,182,100,,,,,P,1",
        "2013-10-07T13:30:02.000Z,T,182.5,100,,,,,P,20000021",
    ]
    with gzip.open(tmp_path / "IBM.SMART.tick.csv.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(rows))
    grid = grid_of("IBM.SMART")
    series = FileSeries(INSTRUMENTS["IBM.SMART"], find_files(tmp_path)["IBM.SMART"], grid, Pacer(grid, 1, "s"))
    day = series.day(date(2013, 10, 7))
    assert day is not None
    (minute,) = day.minutes
    assert minute[1:6] == (18_200_000, 18_250_000, 18_200_000, 18_250_000, 400)


def test_hong_kong_ticks_depend_on_the_date() -> None:
    old, new = grid_of("00177.SEHK", date(2025, 8, 3)), grid_of("00177.SEHK", date(2025, 8, 4))
    price = to_points(Decimal("10.40"))
    assert (old.tick(price), new.tick(price)) == (2000, 1000)
    assert (old.tick(to_points(Decimal(30))), new.tick(to_points(Decimal(30)))) == (5000, 2000)
    assert (old.up(to_points(Decimal(10))), old.down(to_points(Decimal(10)))) == (1_002_000, 999_000)


@given(st.integers(1, 10**9))
@settings(max_examples=200, deadline=None)
def test_steps_on_the_grid(points: int) -> None:
    grid = grid_of("00700.SEHK", date(2026, 1, 2))
    snapped = grid.snap(points)
    assert grid.down(snapped) < snapped < grid.up(snapped)
    assert grid.down(grid.up(snapped)) == snapped
