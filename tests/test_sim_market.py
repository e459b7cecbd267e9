"""The simulated market on both clocks (design 7, "Market")."""

from __future__ import annotations

import csv
import gzip
import os
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from brokersim.clock import SimClock
from brokersim.market import Market
from brokersim.model import Quote
from brokersim.sessions import TradingDays

DATA = Path(os.environ.get("BROKERS_DATA") or Path(__file__).parents[1].parent / "shared" / "data")
needs_data = pytest.mark.skipif(not (DATA / "README.md").is_file(), reason=f"no market data in {DATA}")
NEW_YORK = ZoneInfo("America/New_York")
FILES = ("IBM.SMART", "AIG.SMART", "SPY.SMART", "AAPL.SMART", "00700.SEHK", "09988.SEHK")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[misc, arg-type]  # year to second, as given


class Wall:
    """A machine's time that stands still, so that a wall market is deterministic."""

    def __init__(self, at: datetime) -> None:
        self.at = at.timestamp()

    def __call__(self) -> float:
        return self.at


def wall_market(at: datetime, data: Path | None = DATA, speed: float = 1.0) -> tuple[SimClock, Market]:
    clock = SimClock("wall", system_time=Wall(at))
    return clock, Market(clock, data, speed=speed)


def data_market(start: datetime | None = None, data: Path | None = DATA) -> tuple[SimClock, Market]:
    clock = SimClock("data", start)
    return clock, Market(clock, data)


def record(market: Market, *vt_symbols: str) -> list[Quote]:
    quotes: list[Quote] = []
    for vt_symbol in vt_symbols:
        market.watch(vt_symbol)
    market.listeners.append(lambda new, previous: quotes.append(new))
    return quotes


def rows_of(vt_symbol: str, start: str, end: str) -> list[dict[str, str]]:
    with (DATA / f"{vt_symbol}.1m.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if start <= row["time"] < end]


def assert_book(quote: Quote) -> None:
    bids, asks = [level.price for level in quote.bids], [level.price for level in quote.asks]
    assert bids == sorted(set(bids), reverse=True)
    assert asks == sorted(set(asks))
    assert len(bids) <= 5
    assert len(asks) <= 5
    if bids and asks:
        assert bids[0] < asks[0]
    assert all(level.volume > 0 for level in quote.bids + quote.asks)


# -- data clock
# ----------------------------------------------------------------------------------------------------------


@needs_data
def test_a_data_clock_starts_at_the_earliest_live_days_open_and_stands_still() -> None:
    clock, market = data_market()
    assert clock.now() == utc(2013, 10, 7, 13, 30)
    quotes = record(market, "IBM.SMART")
    market.step()
    assert quotes == []
    quote = market.quote("IBM.SMART")
    assert quote.segment == "regular"
    assert quote.prev_close == Decimal("184.10")
    assert (quote.bids[0].price, quote.asks[0].price) == (Decimal("181.69"), Decimal("181.90"))


@needs_data
@pytest.mark.parametrize("vt_symbol", ["AAPL.SMART", "00700.SEHK"])
def test_without_data_on_the_clocks_day_an_instrument_is_closed(vt_symbol: str) -> None:
    _, market = data_market()
    quote = market.quote(vt_symbol)
    assert quote.segment == market.segment(vt_symbol) == "closed"
    assert quote.last > 0
    assert quote.bids == quote.asks == ()


@needs_data
def test_after_its_days_an_instrument_shows_its_last_close() -> None:
    clock, market = data_market(utc(2013, 10, 12, 15, 0))
    close = rows_of("SPY.SMART", "2013-10-11T19:59", "2013-10-11T20:00")[0]["close"]
    quote = market.quote("SPY.SMART")
    assert (quote.segment, quote.last, quote.volume) == ("closed", Decimal(close), 0)
    clock.set(utc(2013, 10, 11, 19, 0))
    market.step()
    assert market.segment("SPY.SMART") == "regular"
    clock.set(utc(2013, 10, 13, 19, 0))
    market.step()
    assert (market.segment("SPY.SMART"), market.quote("SPY.SMART").last) == ("closed", Decimal(close))


@needs_data
def test_real_segments_in_data_mode() -> None:
    clock, market = data_market(utc(2013, 10, 7, 8, 0))
    seen = {}
    for hour, minute in ((8, 30), (13, 30), (19, 59), (20, 0), (23, 59)):
        clock.set(utc(2013, 10, 7, hour, minute))
        market.step()
        seen[hour, minute] = market.segment("AIG.SMART")
    assert list(seen.values()) == ["pre", "regular", "regular", "post", "post"]
    clock.set(utc(2013, 10, 8, 1, 0))
    market.step()
    assert market.segment("AIG.SMART") == "closed"
    hong_kong = {
        (1, 0): "pre",
        (1, 30): "regular",
        (4, 30): "closed",
        (5, 0): "regular",
        (8, 5): "post",
        (9, 0): "closed",
    }
    for (hour, minute), segment in hong_kong.items():
        clock.set(utc(2022, 4, 13, hour, minute))
        market.step()
        assert market.segment("00700.SEHK") == segment


@needs_data
def test_last_high_and_low_follow_marked_trades_and_all_trades_make_the_volume() -> None:
    clock, market = data_market()
    marked, volume = [], 0
    with gzip.open(DATA / "IBM.SMART.tick.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "T" and "2013-10-07T13:30" <= row["time"] < "2013-10-07T15:30":
                volume += int(row["size"])
                if int(row["condition"], 16) & 1:
                    marked.append(Decimal(row["price"]))
    quotes = record(market, "IBM.SMART")
    clock.set(utc(2013, 10, 7, 15, 30) - timedelta(milliseconds=1))
    market.step()
    quote = market.quote("IBM.SMART")
    assert (quote.open, quote.high, quote.low, quote.last) == (marked[0], max(marked), min(marked), marked[-1])
    assert quote.volume == volume
    assert quotes[-1] is quote
    assert [q.volume for q in quotes] == sorted(q.volume for q in quotes)


@needs_data
def test_a_shown_book_is_never_crossed_over_a_whole_day_with_wild_quotes() -> None:
    clock, market = data_market(utc(2013, 10, 7, 8, 0))
    quotes = record(market, "IBM.SMART", "AIG.SMART", "SPY.SMART", "TSLA.SMART")
    clock.set(utc(2013, 10, 8, 0, 30))
    market.step()
    assert len(quotes) > 150_000
    assert [q.time for q in quotes] == sorted(q.time for q in quotes)
    for quote in quotes:
        if quote.bids and quote.asks:
            assert quote.bids[0].price < quote.asks[0].price
    for quote in quotes[::97]:
        assert_book(quote)


@needs_data
def test_where_the_data_crosses_the_side_that_did_not_change_moves_one_tick_away() -> None:
    """Follow the raw rows beside the quotes: where they lock or cross, the newer side stands as it came."""
    clock, market = data_market(utc(2013, 10, 7, 8, 0))
    shown: dict[datetime, Quote] = {}
    market.watch("IBM.SMART")
    market.listeners.append(lambda new, previous: shown.__setitem__(new.time, new))
    clock.set(utc(2013, 10, 7, 23, 0))
    market.step()
    raw: dict[datetime, tuple[Decimal, Decimal, str]] = {}
    bid = ask = Decimal(0)
    newer = ""
    with gzip.open(DATA / "IBM.SMART.tick.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "Q":
                if row["bid"] != "0" and Decimal(row["bid"]) != bid:
                    bid, newer = Decimal(row["bid"]), "bid"
                if row["ask"] != "0" and Decimal(row["ask"]) != ask:
                    ask, newer = Decimal(row["ask"]), "ask"
            at = datetime.strptime(row["time"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
            raw[at] = (bid, ask, newer)
    crossed = 0
    tick = Decimal("0.01")
    for at, quote in shown.items():
        bid, ask, newer = raw[at]
        if bid and ask:
            if bid >= ask:
                crossed += 1
                bid, ask = (ask - tick, ask) if newer == "ask" else (bid, bid + tick)
            assert (quote.bids[0].price, quote.asks[0].price) == (bid, ask)
    assert crossed > 100


@needs_data
def test_a_day_of_six_instruments_plays_in_one_step_and_twice_alike() -> None:
    def play() -> list[Quote]:
        clock, market = data_market()
        quotes = record(market, "IBM.SMART", "AIG.SMART", "TSLA.SMART")
        clock.advance(1800)
        market.step()
        return quotes

    first = play()
    assert first == play()
    assert len(first) > 5_000


@needs_data
def test_one_step_plays_what_many_steps_play() -> None:
    clock, market = data_market()
    one = record(market, "IBM.SMART", "AIG.SMART")
    clock.advance(120)
    market.step()
    clock, market = data_market()
    many = record(market, "IBM.SMART", "AIG.SMART")
    for _ in range(60):
        clock.advance(2)
        market.step()
    assert one == many


@needs_data
def test_a_clock_set_back_shows_the_earlier_market_again() -> None:
    clock, market = data_market()
    record(market, "IBM.SMART")
    before = market.quote("IBM.SMART")
    clock.advance(600)
    market.step()
    assert market.quote("IBM.SMART").volume > 0
    clock.advance(-600)
    market.step()
    assert market.quote("IBM.SMART") == before


@needs_data
def test_minute_bars_in_data_mode_are_the_files_and_end_now() -> None:
    _, market = data_market(utc(2013, 10, 7, 15, 0, 30))
    rows = [row for row in rows_of("IBM.SMART", "2013-10-07T13:30", "2013-10-07T15:00") if row["open"]]
    bars = market.bars("IBM.SMART", "1m", utc(2013, 10, 7, 13, 0), utc(2013, 10, 8))
    assert [(b.open, b.high, b.low, b.close, b.volume) for b in bars] == [
        (Decimal(r["open"]), Decimal(r["high"]), Decimal(r["low"]), Decimal(r["close"]), int(r["volume"])) for r in rows
    ]
    extended = market.bars("IBM.SMART", "1m", utc(2013, 10, 7), utc(2013, 10, 8), extended=True)
    assert {b.segment for b in extended} == {"pre", "regular"}
    hours = market.bars("IBM.SMART", "1h", utc(2013, 10, 7), utc(2013, 10, 8))
    assert [b.time for b in hours] == [utc(2013, 10, 7, 13, 30), utc(2013, 10, 7, 14)]
    assert sum(b.volume for b in hours) == sum(b.volume for b in bars)


@needs_data
def test_splits_in_bars() -> None:
    _, market = data_market(utc(2014, 6, 10, 0, 0))
    span = (utc(2014, 6, 1), utc(2014, 6, 10))
    traded = market.bars("AAPL.SMART", "1d", *span)
    forward = market.bars("AAPL.SMART", "1d", *span, adjust="forward")
    backward = market.bars("AAPL.SMART", "1d", *span, adjust="backward")
    assert [b.close > 600 for b in traded] == [True, True, False]
    assert all(b.close < 100 for b in forward)
    assert all(b.close > 600 for b in backward)
    assert forward[1].volume == traded[1].volume * 7
    assert forward[1].turnover == traded[1].turnover
    assert forward[2] == traded[2]
    assert market.quote("AAPL.SMART").prev_close == Decimal("92.22")


# -- wall clock
# ----------------------------------------------------------------------------------------------------------

NOW = utc(2026, 3, 10, 20, 0)


@needs_data
def test_a_wall_market_is_always_open_and_starts_at_the_regular_open() -> None:
    clock, market = wall_market(NOW)
    quotes = record(market, *FILES)
    for vt_symbol in FILES:
        quote = market.quote(vt_symbol)
        assert quote.segment == "regular"
        assert quote.time == NOW
        assert_book(quote)
    assert market.quote("IBM.SMART").prev_close == Decimal("184.10")
    assert market.quote("IBM.SMART").volume == 0
    assert market.quote("AAPL.SMART").prev_close == Decimal("92.22")
    auction = 479270
    assert market.quote("00700.SEHK").volume >= auction
    clock.advance(3)
    market.step()
    assert {q.vt_symbol for q in quotes} == set(FILES)
    assert all(NOW <= q.time <= NOW + timedelta(seconds=3) and q.segment == "regular" for q in quotes)


@needs_data
@pytest.mark.parametrize(("vt_symbol", "day"), [("00700.SEHK", 330), ("AAPL.SMART", 390)])
def test_the_live_day_is_played_without_pause_and_then_again_as_a_new_day(vt_symbol: str, day: int) -> None:
    clock, market = wall_market(NOW)
    quotes = record(market, vt_symbol)
    clock.advance(day * 60 - 1)
    market.step()
    end = market.quote(vt_symbol)
    rows = (
        rows_of(vt_symbol, "2022-04-13", "2022-04-14")
        if day == 330
        else rows_of(vt_symbol, "2014-06-09T13:30", "2014-06-09T20:00")
    )
    assert end.volume == sum(int(row["volume"] or 0) for row in rows)
    gaps = [later.time - earlier.time for earlier, later in pairwise(quotes)]
    assert max(gaps) <= timedelta(seconds=1)
    clock.advance(61)
    market.step()
    again = market.quote(vt_symbol)
    assert again.volume < end.volume
    assert again.prev_close == end.last


@needs_data
def test_the_days_after_the_live_day_are_played_next() -> None:
    clock, market = wall_market(NOW, speed=3600)
    market.watch("IBM.SMART")
    closes = []
    for _ in range(5):
        clock.advance(6.5)
        market.step()
        closes.append(market.quote("IBM.SMART").prev_close)
    files = [rows_of("IBM.SMART", f"2013-10-{d:02}T13:30", f"2013-10-{d:02}T20:00")[-1]["close"] for d in (7, 8, 9, 10)]
    assert closes[:4] == [Decimal(close) for close in files]
    clock.advance(6.5)
    market.step()
    assert market.quote("IBM.SMART").last > 0


@needs_data
def test_history_is_moved_to_the_last_trading_days_before_today() -> None:
    _, market = wall_market(NOW)
    days = TradingDays.of("SMART").last(2, date(2026, 3, 10))
    bars = market.bars("AAPL.SMART", "1d", NOW - timedelta(days=30), NOW)
    assert [b.time.astimezone(NEW_YORK).date() for b in bars] == days
    minutes = market.bars("AAPL.SMART", "1m", NOW - timedelta(days=30), NOW)
    assert {b.time.astimezone(NEW_YORK).strftime("%H:%M") for b in minutes} >= {"09:30", "15:59"}
    assert all(b.close > 600 for b in bars)
    assert all(b.close < 100 for b in market.bars("AAPL.SMART", "1d", NOW - timedelta(days=30), NOW, adjust="forward"))


@needs_data
def test_speed_and_pause() -> None:
    clock, market = wall_market(NOW, speed=60)
    quotes = record(market, "AIG.SMART")
    clock.advance(1)
    market.step()
    assert 55 <= len(quotes) <= 65
    clock.paused = True
    count, standing = len(quotes), market.quote("AIG.SMART")
    clock.advance(5)
    market.step()
    assert (len(quotes), market.quote("AIG.SMART")) == (count, standing)
    clock.paused = False
    clock.advance(0.5)
    market.step()
    assert count < len(quotes) <= count + 35
    assert quotes[count].time >= NOW + timedelta(seconds=6)


@needs_data
def test_a_wall_clock_set_back_leaves_the_replay_where_it_was() -> None:
    clock, market = wall_market(utc(2026, 11, 20, 12), data=None)
    clock.advance(120)
    market.step()
    before = market.quote("AAPL.SMART")
    assert before.volume > 0
    clock.set(utc(2013, 10, 7, 14))
    market.step()
    after = market.quote("AAPL.SMART")
    assert (after.last, after.volume) == (before.last, before.volume)


@pytest.mark.parametrize("speed", [1.0, 60.0])
def test_a_machine_that_slept_does_not_play_what_it_missed(speed: float) -> None:
    clock, market = wall_market(utc(2026, 11, 20, 12), data=None, speed=speed)
    quotes = record(market, "AAPL.SMART")
    clock.advance(60)
    market.step()
    played = len(quotes)
    volume = quotes[-1].volume
    clock.advance(400 * 86_400)
    market.step()
    assert played <= len(quotes) - played <= 2 * played
    assert clock.now() - quotes[-1].time <= timedelta(seconds=1)
    assert volume < quotes[-1].volume < 10 * volume  # the same day goes on


def test_a_data_clock_set_to_another_day_plays_its_last_minute_alone() -> None:
    clock, market = data_market(utc(2026, 3, 10, 14), data=None)
    quotes = record(market, "AAPL.SMART")
    clock.set(utc(2026, 3, 20, 15))
    market.step()
    assert quotes[0].time >= utc(2026, 3, 20, 14, 59)
    assert quotes[-1].volume == market.quote("AAPL.SMART").volume > 100_000


def test_wall_bars_of_today_are_the_quotes_played() -> None:
    clock, market = wall_market(NOW, speed=5)
    quotes = record(market, "SPY.SMART")
    clock.advance(130)
    market.step()
    bars = market.bars("SPY.SMART", "1m", NOW, NOW + timedelta(minutes=10))
    assert [b.time for b in bars] == [NOW, NOW + timedelta(minutes=1)]
    first = [q for q in quotes if q.time < NOW + timedelta(minutes=1)]
    assert bars[0].close == first[-1].last
    assert bars[0].volume == first[-1].volume


# -- generated
# -----------------------------------------------------------------------------------------------------------


def test_every_instrument_of_the_table_is_generated_and_ticks() -> None:
    clock, market = wall_market(NOW, data=None)
    quotes = record(market, *market.instruments)
    clock.advance(5)
    market.step()
    assert {q.vt_symbol for q in quotes} == set(market.instruments)
    for vt_symbol in market.instruments:
        quote = market.quote(vt_symbol)
        assert_book(quote)
        tick = market.tick_size(vt_symbol, quote.last)
        assert quote.last % tick == 0
        assert all(level.price % market.tick_size(vt_symbol, level.price) == 0 for level in quote.bids + quote.asks)
    names = ("AAPL.SMART", "BRK-B.SMART", "00005.SEHK", "600519.SSE", "000001.SZSE", "EUR-USD-CASH.IDEALPRO")
    assert set(names) <= set(market.instruments)
    assert abs(market.quote("00177.SEHK").last - Decimal("10.40")) < Decimal("0.5")
    lots = {
        "00700.SEHK": 100,
        "09988.SEHK": 100,
        "00005.SEHK": 400,
        "00177.SEHK": 2000,
        "TSLA.SMART": 1,
        "600519.SSE": 100,
    }
    assert {vt_symbol: market.instruments[vt_symbol].lot for vt_symbol in lots} == lots


@pytest.mark.parametrize("vt_symbol", ["TSLA.SMART", "00177.SEHK", "EUR-USD-CASH.IDEALPRO"])
def test_generated_daily_bars_agree_with_their_minutes(vt_symbol: str) -> None:
    _, market = wall_market(NOW, data=None)
    days = market.bars(vt_symbol, "1d", NOW - timedelta(days=9), NOW)
    assert len(days) >= 5
    for day in days:
        minutes = market.bars(vt_symbol, "1m", day.time, day.time + timedelta(days=1))
        assert (minutes[0].open, minutes[-1].close) == (day.open, day.close)
        assert (max(m.high for m in minutes), min(m.low for m in minutes)) == (day.high, day.low)
        assert sum(m.volume for m in minutes) == day.volume


def test_generated_history_reaches_back_two_and_ten_years() -> None:
    _, market = wall_market(NOW, data=None)
    days = market.bars("IBM.SMART", "1d", NOW - timedelta(days=4000), NOW)
    assert 2480 <= len(days) <= 2530
    weeks = market.bars("IBM.SMART", "1w", NOW - timedelta(days=4000), NOW)
    assert sum(w.volume for w in weeks[1:-1]) < sum(d.volume for d in days) == sum(w.volume for w in weeks)
    begin = NOW - timedelta(days=725)
    assert market.bars("IBM.SMART", "1m", begin, begin + timedelta(days=4))
    assert not market.bars("IBM.SMART", "1m", NOW - timedelta(days=760), NOW - timedelta(days=740))


def test_the_seed_decides() -> None:
    clock = SimClock("wall", system_time=Wall(NOW))
    one, same, other = Market(clock, None, 1), Market(clock, None, 1), Market(clock, None, 2)
    span = (NOW - timedelta(days=30), NOW)
    assert one.bars("IBM.SMART", "1d", *span) == same.bars("IBM.SMART", "1d", *span)
    assert one.bars("IBM.SMART", "1d", *span) != other.bars("IBM.SMART", "1d", *span)


# -- set_quote and tape
# --------------------------------------------------------------------------------------------------


def test_a_quote_of_ones_own_stands_until_the_next_one_and_is_told() -> None:
    clock, market = wall_market(NOW, data=None)
    quotes = record(market, "00177.SEHK")
    clock.paused = True
    quote = market.set_quote(
        "00177.SEHK", last=Decimal("10.40"), bid=Decimal("10.39"), ask=Decimal("10.41"), ask_size=6000
    )
    assert quotes == [quote]
    assert market.quote("00177.SEHK") is quote
    assert (quote.last, quote.bids[0].price, quote.asks[0].price, quote.asks[0].volume) == (
        Decimal("10.40"), Decimal("10.39"), Decimal("10.41"), 6000,
    )  # fmt: skip
    lone = market.set_quote("00177.SEHK", bid=Decimal("10.50"))
    assert (lone.bids[0].price, lone.asks[0].price) == (Decimal("10.50"), Decimal("10.51"))
    moved = market.set_quote("00177.SEHK", last=Decimal("11.00"))
    assert moved.bids[0].price < moved.last < moved.asks[0].price
    assert moved.high == Decimal("11.00")
    for quote in (lone, moved):
        assert_book(quote)
    clock.paused = False
    clock.advance(2)
    market.step()
    assert market.quote("00177.SEHK").time > moved.time


@pytest.mark.parametrize(
    "numbers",
    [{"bid": Decimal(11), "ask": Decimal(11)}, {"last": Decimal(0)}, {"bid_size": 0}, {"ask": Decimal(-1)}],
)
def test_an_impossible_quote_is_refused(numbers: dict[str, Decimal]) -> None:
    _, market = wall_market(NOW, data=None)
    before = market.quote("00177.SEHK")
    with pytest.raises(ValueError):
        market.set_quote("00177.SEHK", **numbers)  # type: ignore[arg-type]  # sizes and prices drawn together
    assert market.quote("00177.SEHK") == before


def test_an_unknown_instrument_is_a_key_error() -> None:
    _, market = wall_market(NOW, data=None)
    with pytest.raises(KeyError):
        market.quote("XXXX.SMART")
    with pytest.raises(KeyError):
        market.watch("XXXX.SMART")


@needs_data
def test_the_tape_holds_the_trades() -> None:
    clock, market = data_market()
    record(market, "IBM.SMART")
    clock.advance(60)
    market.step()
    prints = market.prints("IBM.SMART", 20)
    assert len(prints) == 20
    assert [p.time for p in prints] == sorted(p.time for p in prints)
    assert {p.side for p in prints} <= {"buy", "sell", "neutral"}
    assert prints[-1].time <= clock.now()


@pytest.mark.parametrize(
    ("price", "on", "tick"),
    [("10.40", utc(2025, 8, 1), "0.02"), ("10.40", utc(2025, 8, 4), "0.01"), ("0.2", utc(2026, 1, 2), "0.001")],
)
def test_tick_size_by_the_clocks_date(price: str, on: datetime, tick: str) -> None:
    _, market = data_market(on, data=None)
    assert market.tick_size("00177.SEHK", Decimal(price)) == Decimal(tick)


def test_day_end_is_the_end_of_this_or_the_next_trading_day() -> None:
    clock, market = data_market(utc(2013, 10, 4, 15, 0), data=None)
    assert market.day_end("AAPL.SMART") == utc(2013, 10, 5, 0, 0)
    clock.set(utc(2013, 10, 5, 12, 0))
    assert market.day_end("AAPL.SMART") == utc(2013, 10, 8, 0, 0)
    assert market.day_end("00700.SEHK") == utc(2013, 10, 7, 8, 10)
    assert wall_market(NOW, data=None)[1].day_end("AAPL.SMART") is None


def test_a_naive_time_and_a_speed_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        SimClock("data").set(datetime(2013, 10, 7))  # noqa: DTZ001 - the mistake under test
    with pytest.raises(ValueError, match="speed"):
        SimClock("wall", speed=0)
