"""Historical data of the simulated TWS: bars against the data files, durations, forms, updates, pacing, ticks."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

import brokersim
from brokersim.tws.bars import BadRequest, Duration, bar_size
from brokersim.tws.pacing import HistoricalPacing
from brokersim.tws.times import BadTime, parse_time
from tests.harness import DATA
from tests.sim_tws_client import AAPL, ES, EURUSD, TENCENT, Fields, RawClient, connected, history_request

IBM = ("8314", "", "", "", "0.0", "", "", "SMART", "", "", "", "")
START = datetime(2026, 3, 10, 14, 30, tzinfo=timezone.utc)


@pytest.fixture
def sim() -> Iterator[brokersim.Simulation]:
    with brokersim.running(vbrokers=False, tws=True, clock="data") as running:
        running.set_clock(START)
        yield running


@pytest.fixture
def client(sim: brokersim.Simulation) -> Iterator[RawClient]:
    assert sim.tws_address is not None
    with connected(sim.tws_address) as client:
        yield client


@pytest.fixture(scope="module")
def real() -> Iterator[tuple[brokersim.Simulation, RawClient]]:
    """The data files, on the evening of their last day of 2013."""
    if not DATA.exists():
        pytest.skip(f"the market data folder {DATA.name} is not beside the repository")
    with brokersim.running(vbrokers=False, tws=True, clock="data", data=DATA) as sim:
        sim.set_clock("2013-10-11T21:00:00Z")
        assert sim.tws_address is not None
        with connected(sim.tws_address) as client:
            yield sim, client


def bars(client: RawClient, *request: object) -> list[Fields]:
    """The bars of an answer: date, open, high, low, close, volume, wap, count."""
    client.send(*request)
    answer = client.until_id(17)[-1]
    count = int(answer[4])
    assert len(answer) == 5 + 8 * count
    return [answer[5 + 8 * index : 13 + 8 * index] for index in range(count)]


def refusal(client: RawClient, *request: object) -> tuple[int, str]:
    client.send(*request)
    fields = client.read()
    assert fields[0] == "4", fields
    return int(fields[3]), fields[4]


def numbers(row: Fields) -> list[Decimal]:
    return [Decimal(number) for number in row[1:6]]


def file_rows(vt_symbol: str, day: str) -> list[dict[str, str]]:
    with (DATA / f"{vt_symbol}.1m.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["time"].startswith(day) and row["open"]]


# -- against the files -----------------------------------------------------------------------------------------


def test_minutes_are_the_files(real: tuple[brokersim.Simulation, RawClient]) -> None:
    regular = [row for row in file_rows("IBM.SMART", "2013-10-11") if "13:30" <= row["time"][11:16] < "20:00"]
    got = bars(real[1], *history_request(1, IBM, "1 min", "1 D"))
    assert len(got) == len(regular) > 380
    for row, wanted in zip(got, regular, strict=True):
        at = datetime.fromtimestamp(int(row[0]), timezone.utc)
        assert f"{at:%Y-%m-%dT%H:%M}" == wanted["time"][:16]
        assert numbers(row) == [Decimal(wanted[name]) for name in ("open", "high", "low", "close", "volume")]


def test_extended_hours_add_bars(real: tuple[brokersim.Simulation, RawClient]) -> None:
    extended = bars(real[1], *history_request(1, IBM, "1 min", "1 D", rth=0))
    assert len(extended) == len([row for row in file_rows("IBM.SMART", "2013-10-11") if row["time"][11:16] < "21:00"])


def test_days_are_their_minutes(real: tuple[brokersim.Simulation, RawClient]) -> None:
    days = bars(real[1], *history_request(1, IBM, "1 day", "1 W"))
    assert [row[0] for row in days] == ["20131007", "20131008", "20131009", "20131010", "20131011"]
    minutes = [numbers(row) for row in bars(real[1], *history_request(2, IBM, "1 min", "1 D"))]
    last = numbers(days[-1])
    assert last[0] == minutes[0][0]
    assert last[1] == max(row[1] for row in minutes)
    assert last[2] == min(row[2] for row in minutes)
    assert last[3] == minutes[-1][3]
    assert last[4] == sum(row[4] for row in minutes)
    [week] = bars(real[1], *history_request(3, IBM, "1 week", "1 W"))
    assert week[0] == "20131011"
    assert numbers(week)[4] == sum(numbers(row)[4] for row in days)


def test_an_end_in_the_past(real: tuple[brokersim.Simulation, RawClient]) -> None:
    for end in ("20131009 14:00:00 UTC", "20131009-14:00:00", "20131009 10:00:00 US/Eastern", "20131009 10:00:00"):
        got = bars(real[1], *history_request(1, IBM, "1 min", "600 S", end=end))
        assert len(got) == 10
        assert datetime.fromtimestamp(int(got[-1][0]), timezone.utc).isoformat() == "2013-10-09T13:59:00+00:00"


def test_seconds_reach_back_over_the_night(real: tuple[brokersim.Simulation, RawClient]) -> None:
    got = bars(real[1], *history_request(1, IBM, "1 min", "1800 S", end="20131009-13:40:00"))
    stamps = [datetime.fromtimestamp(int(row[0]), timezone.utc) for row in got]
    assert len(got) == 30
    assert [at.day for at in stamps] == [8] * 20 + [9] * 10


@pytest.mark.parametrize(("clock", "least"), [("2026-11-20T13:33:30Z", 390), ("2026-11-21T18:00:00Z", 390)])
def test_the_young_day_of_a_wall_clock_is_no_day_yet(clock: str, least: int) -> None:
    with brokersim.running(vbrokers=False, tws=True) as sim:
        assert sim.tws_address is not None
        with connected(sim.tws_address) as client:
            sim.set_clock(clock)
            sim.pause()
            got = bars(client, *history_request(1, AAPL, "1 min", "1 D"))
            assert len(got) >= least
            assert int(got[-1][0]) > datetime.fromisoformat(clock).timestamp() - 4 * 86_400
            sim.resume()
            sim.advance(130)
            later = bars(client, *history_request(2, AAPL, "1 min", "1 D"))
            assert len(got) < len(later) <= len(got) + 3


def test_prices_before_a_split_are_adjusted(real: tuple[brokersim.Simulation, RawClient]) -> None:
    sim, client = real
    sim.set_clock("2014-06-09T21:00:00Z")
    try:
        days = bars(client, *history_request(1, AAPL, "1 day", "3 D"))
        sim.set_clock("2014-06-06T21:00:00Z")
        before = bars(client, *history_request(2, AAPL, "1 day", "1 D"))
    finally:
        sim.set_clock("2013-10-11T21:00:00Z")
    assert [row[0] for row in days] == ["20140605", "20140606", "20140609"]
    assert before[0][0] == "20140606"
    assert numbers(before[0])[3] / 7 == pytest.approx(numbers(days[1])[3], abs=Decimal("0.00001"))


def test_historical_ticks(real: tuple[brokersim.Simulation, RawClient]) -> None:
    _, client = real
    client.send(96, 4, *IBM, 0, "20131009-13:30:00", "", 8, "TRADES", 1, 0, "")
    answer = client.read()
    assert answer[:3] == ["98", "4", "8"]
    assert len(answer) == 3 + 8 * 6 + 1
    first = file_rows("IBM.SMART", "2013-10-09")
    opening = next(row for row in first if row["time"][11:16] == "13:30")
    assert Decimal(answer[5]) == Decimal(opening["open"])
    assert sum(int(answer[6 + 6 * index]) for index in range(4)) == int(opening["volume"])
    for what, message, width in (("BID_ASK", "97", 6), ("MIDPOINT", "96", 4)):
        client.send(96, 5, *IBM, 0, "", "20131009-15:00:00", 3, what, 1, 0, "")
        answer = client.read()
        assert (answer[0], answer[2], len(answer)) == (message, "3", 3 + 3 * width + 1)
    client.send(96, 6, *IBM, 0, "", "", 3, "TRADES", 1, 0, "")
    assert client.error()[:2] == (6, 321)


# -- sizes, durations, forms -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "duration", "count"),
    [
        ("1 min", "2 D", 390 + 60),
        ("5 mins", "1 D", 12),
        ("30 mins", "2 D", 13 + 2),
        ("1 hour", "3 D", 7 + 7 + 2),
        ("4 hours", "2 D", 2 + 1),
        ("1 day", "5 D", 5),
        ("1 week", "1 M", 5),
        ("1 month", "1 Y", 13),
    ],
)
def test_bar_counts(client: RawClient, size: str, duration: str, count: int) -> None:
    got = bars(client, *history_request(1, AAPL, size, duration))
    stamps = [row[0] for row in got]
    assert len(got) == count
    assert stamps == sorted(set(stamps))
    for row in got:
        open_, high, low, close, volume = numbers(row)
        assert low <= min(open_, close) <= max(open_, close) <= high
        assert volume > 0
        assert low <= Decimal(row[6]) <= high


def test_hours_begin_with_the_session(client: RawClient) -> None:
    got = bars(client, *history_request(1, AAPL, "1 hour", "1 W", form=1))
    assert [row[0] for row in got[:3]] == [
        "20260304 09:30:00 US/Eastern",
        "20260304 10:00:00 US/Eastern",
        "20260304 11:00:00 US/Eastern",
    ]


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("instrument", "20260310 09:30:00 Hongkong"),
        ("utc", "20260310 01:30:00 UTC"),
        ("none", "20260310  09:30:00"),
    ],
)
def test_zone_texts(sim: brokersim.Simulation, client: RawClient, zone: str, text: str) -> None:
    sim.switches(**{"tws.zone_text": zone})
    assert bars(client, *history_request(1, TENCENT, "1 min", "1 D", form=1))[0][0] == text


def test_seconds_bars_come_from_the_tape(sim: brokersim.Simulation, client: RawClient) -> None:
    sim.advance(120)
    got = bars(client, *history_request(1, AAPL, "5 secs", "60 S"))
    assert 1 <= len(got) <= 12
    assert all(int(row[0]) % 5 == 0 for row in got)


def test_quotes_have_no_volume(client: RawClient) -> None:
    trades = numbers(bars(client, *history_request(1, AAPL, "1 day", "1 D"))[0])
    shown = {
        what: bars(client, *history_request(1, AAPL, "1 day", "1 D", what=what))[0]
        for what in ("MIDPOINT", "BID", "ASK", "BID_ASK")
    }
    assert all(row[5:] == ["-1", "-1", "-1"] for row in shown.values())
    assert numbers(shown["BID"])[3] < trades[3] < numbers(shown["ASK"])[3]
    assert bars(client, *history_request(2, EURUSD, "1 hour", "1 D", what="MIDPOINT"))


def test_schedule(client: RawClient) -> None:
    client.send(*history_request(1, TENCENT, "1 day", "3 D", what="SCHEDULE"))
    answer = client.read()
    assert answer[:6] == ["106", "1", "20260306-09:30:00", "20260310-16:00:00", "Hongkong", "3"]
    assert answer[6:9] == ["20260306-09:30:00", "20260306-16:00:00", "20260306"]


def test_head_time_stamp(client: RawClient) -> None:
    client.send(87, 1, *AAPL, 0, 1, "TRADES", 1)
    text = client.read()[2]
    client.send(87, 2, *AAPL, 0, 1, "TRADES", 2)
    epoch = client.read()
    assert epoch[:2] == ["88", "2"]
    assert f"{datetime.fromtimestamp(int(epoch[2]), timezone.utc):%Y%m%d-%H:%M:%S}" == text
    assert text.startswith("2016")
    client.send(90, 2)
    assert client.ping() == []


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (history_request(1, AAPL, "7 mins", "1 D"), 321),
        (history_request(1, AAPL, "1 min", "1 X"), 321),
        (history_request(1, AAPL, "1 min", "400 D"), 321),
        (history_request(1, AAPL, "1 min", "90000 S"), 321),
        (history_request(1, AAPL, "1 min", "1 D", end="tomorrow"), 10314),
        (history_request(1, AAPL, "1 min", "1 D", end="20260310 10:00:00 Mars/Base"), 10314),
        (history_request(1, EURUSD, "1 min", "1 D"), 162),
        (history_request(1, AAPL, "1 min", "1 D", what="GOSSIP"), 162),
        (history_request(1, AAPL, "1 min", "1 D", what="ADJUSTED_LAST", end="20260309-15:00:00"), 321),
        (history_request(1, AAPL, "1 min", "1 D", end="20260309-15:00:00", keep=1), 321),
        (history_request(1, AAPL, "1 secs", "60 S", keep=1), 321),
        (history_request(1, (*ES[:2], "CONTFUT", *ES[3:]), "1 day", "1 D", end="20260309-15:00:00"), 10339),
        (history_request(1, AAPL, "1 min", "1 D", end="20100101-15:00:00"), 162),
        (history_request(1, ("0", "NOPE", *AAPL[2:]), "1 min", "1 D"), 200),
    ],
)
def test_refusals(client: RawClient, request_: tuple[object, ...], code: int) -> None:
    assert refusal(client, *request_)[0] == code


def test_no_right_to_history(sim: brokersim.Simulation, client: RawClient) -> None:
    sim.switches(**{"tws.us_market_data": "delayed"})
    assert refusal(client, *history_request(1, AAPL, "1 min", "1 D"))[0] == 162
    assert bars(client, *history_request(1, AAPL, "1 day", "5 D"))
    sim.switches(**{"tws.us_market_data": "none"})
    assert refusal(client, *history_request(1, AAPL, "1 day", "5 D"))[0] == 162


# -- kept up to date -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["5 secs", "1 min", "5 mins", "1 hour", "1 day", "1 week"])
def test_updates_end_in_the_bars_that_history_tells(sim: brokersim.Simulation, client: RawClient, size: str) -> None:
    """Message 90 has open, close, high, low; the last update of each bar is the bar."""
    sim.switches(**{"tws.historical_pacing": False})
    sim.set_clock(START + timedelta(seconds=25))
    duration = "60 S" if size == "5 secs" else "1 D" if size != "1 week" else "1 M"
    running: dict[str, list[Decimal]] = {}
    for row in bars(client, *history_request(1, ES, size, duration, keep=1)):
        running[row[0]] = numbers(row)
    sim.advance(400 - 25)
    for fields in client.ping():
        assert (fields[0], len(fields)) == ("90", 10)
        _, _, _, date, open_, close, high, low, _, volume = fields
        running[date] = [Decimal(number) for number in (open_, high, low, close, volume)]
    sim.advance(20)
    client.send(25, 1, 1)
    client.ping()
    told = bars(client, *history_request(2, ES, size, duration))
    compared = 0
    for row in told[:-1] if size not in ("1 day", "1 week") else []:
        if row[0] in running and (size != "5 secs" or int(row[0]) < START.timestamp() + 395):
            assert running[row[0]] == numbers(row), row[0]
            compared += 1
    assert compared >= (0 if size in ("1 hour", "1 day", "1 week") else 1)
    if size in ("1 hour", "1 day", "1 week"):
        assert told[-1][0] == max(running)
        assert numbers(told[-1])[0] == running[told[-1][0]][0]


def test_updates_stop_when_cancelled(sim: brokersim.Simulation, client: RawClient) -> None:
    bars(client, *history_request(1, ES, "1 min", "1 D", keep=1))
    sim.advance(5)
    assert {fields[0] for fields in client.ping()} == {"90"}
    client.send(25, 1, 1)
    assert client.error()[:2] == (1, 162)
    sim.advance(5)
    assert client.ping() == []
    client.send(25, 1, 1)
    assert client.error()[:2] == (1, 366)


# -- slow ------------------------------------------------------------------------------------------------------


def test_a_slow_answer_holds_up_nothing_behind_it(sim: brokersim.Simulation, client: RawClient) -> None:
    slow = {"broker": "tws", "do": "delay", "when": {"message": "reqHistoricalData"}}
    sim.faults([{**slow, "ms": 60_000}])
    client.send(*history_request(1, AAPL, "30 secs", "600 S"))
    assert client.ping() == []
    sim.faults([{**slow, "ms": 50}])
    assert bars(client, *history_request(2, AAPL, "30 secs", "1200 S"))


# -- pacing ----------------------------------------------------------------------------------------------------


def test_identical_requests_within_fifteen_seconds(sim: brokersim.Simulation, client: RawClient) -> None:
    request = history_request(1, AAPL, "30 secs", "600 S")
    bars(client, *request)
    code, text = refusal(client, *request)
    assert code == 162
    assert "pacing violation" in text
    sim.advance(15)
    bars(client, *request)
    wire = sim.wire()["tws"]
    assert (wire["reqHistoricalData"], wire["historicalPacingViolations"]) == (3, 1)
    sim.switches(**{"tws.historical_pacing": False})
    bars(client, *request)


def test_minute_bars_have_no_hard_limit(client: RawClient) -> None:
    for _ in range(5):
        bars(client, *history_request(1, AAPL, "1 min", "1 D"))


def test_pacing_counts() -> None:
    seconds = [0.0]
    pacing = HistoricalPacing(lambda: START, lambda: seconds[0])
    assert [pacing.violates(number, "AAPL", double=False) for number in range(6)] == [False] * 5 + [True]
    seconds[0] = 3
    assert [pacing.violates(number + 10, "AAPL", double=True) for number in range(3)] == [False, False, True]
    for number in range(51):
        seconds[0] += 3
        assert not pacing.violates(number + 100, "IBM", double=False)
    assert pacing.violates(999, "IBM", double=False)
    seconds[0] += 600
    assert not pacing.violates(999, "IBM", double=False)


# -- words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "D", "0 D", "1D", "-1 D", "1 W W", "366 D", "86401 S", "999999 Y"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(BadRequest):
        Duration.parse(text)


def test_spellings_of_sizes() -> None:
    assert (bar_size("1 hours"), bar_size("1 sec"), bar_size("1W")) == ("1 hour", "1 secs", "1 week")
    with pytest.raises(BadRequest):
        bar_size("1 year")


@pytest.mark.parametrize("text", ["2026", "20261301", "20260230 10:00:00", "20260310 25:00:00", "x" * 300])
def test_bad_times(text: str) -> None:
    with pytest.raises(BadTime):
        parse_time(text, "UTC")


def test_times() -> None:
    assert parse_time("", "UTC") is None
    at = datetime(2026, 3, 10, 14, 0, tzinfo=timezone.utc)
    for text in ("20260310-14:00:00", "20260310 10:00:00 US/Eastern", "20260310  10:00:00", "20260310 14:00:00 UTC"):
        assert parse_time(text, "America/New_York") == at
