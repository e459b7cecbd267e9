"""Quotes of IBKR: the ticks that go out, the budget of lines, depth, delayed data and a lost channel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from ib_async.contract import Contract, ContractDetails
from vnpy.trader.constant import Exchange, Product
from vnpy.trader.object import BarData, TickData
from vnpy.trader.utility import BarGenerator

from tests.harness import SHORT
from tests.ib_fake_wire import FakeWire, answering, details
from tests.test_ib_contracts import AAPL, ES, EURUSD, TENCENT
from vnpy_brokerkit.clock import ManualClock
from vnpy_brokerkit.contract_cache import ContractCache
from vnpy_ibkr.board import Board, Level
from vnpy_ibkr.contracts import Contracts, Instrument, Key
from vnpy_ibkr.market_data import MOST_LINES, MarketData
from vnpy_ibkr.segments import Hours

OPEN = datetime(2026, 11, 20, 15, 0, tzinfo=timezone.utc)
NIGHT = datetime(2026, 11, 21, 15, 0, tzinfo=timezone.utc)
SMART = Exchange.SMART
APPLE: Key = ("AAPL", SMART)
EURO: Key = ("EUR-USD-CASH", Exchange.IDEALPRO)
TIMING = replace(SHORT, book_wait=0.2)


INSTRUMENT = Instrument(
    symbol="AAPL",
    exchange=SMART,
    contract=Contract(conId=265598, secType="STK", symbol="AAPL", exchange="SMART", currency="USD"),
    name="APPLE INC",
    product=Product.EQUITY,
    size=Decimal(1),
    tick=Decimal("0.01"),
    lot=Decimal(1),
    currency="USD",
    zone=ZoneInfo("America/New_York"),
    liquid_hours=Hours(),
    trading_hours=Hours(),
)


class Desk:
    """Market data over a fake wire, with what it gave out. Make it inside the loop."""

    def __init__(self, folder: Path, *known: ContractDetails, now: datetime = OPEN, data_type: int = 3) -> None:
        self.clock = ManualClock(now)
        self.wire = FakeWire(answering(*known))
        self.ticks: list[TickData] = []
        self.prices: list[str] = []
        self.lines: list[str] = []
        self.events: list[str] = []
        self.used: set[Key] = set()
        self.contracts = Contracts(
            wire=self._wire,
            clock=self.clock,
            cache=ContractCache(folder, "IBKR"),
            gateway_name="IBKR",
            on_contract=lambda contract: self.events.append("contract"),
            log=self.lines.append,
        )
        self.data = MarketData(
            wire=self._wire,
            contracts=self.contracts,
            clock=self.clock,
            timing=TIMING,
            zone=ZoneInfo("Asia/Shanghai"),
            gateway_name="IBKR",
            synthetic_percent=3.0,
            data_type=data_type,
            on_tick=self._on_tick,
            on_price=self.prices.append,
            log=self.lines.append,
            in_use=lambda: self.used,
        )

    def _wire(self) -> Any:
        return self.wire

    def _on_tick(self, tick: TickData) -> None:
        self.events.append("tick")
        self.ticks.append(tick)

    async def show(self, *keys: Key) -> None:
        await self.data.follow(keys, show=True)

    def board(self, key: Key = APPLE) -> Board:
        board = self.data.board(*key)
        assert board is not None
        return board

    def request(self, symbol: str, name: str = "reqMktData") -> int:
        """The id of the newest request for a symbol."""
        return int(next(args[0] for args in reversed(self.wire.of(name)) if args[1].symbol == symbol))

    def stream(self, symbol: str = "AAPL") -> Any:
        return self.wire.streams[self.request(symbol)]

    def depth(self, symbol: str = "AAPL") -> Any:
        return self.wire.streams[self.request(symbol, "reqMktDepth")]

    async def settle(self) -> None:
        """Let what was scheduled run."""
        await self.clock.advance(0)


def run(
    folder: Path, script: Callable[[Desk], Coroutine[Any, Any, None]], *known: ContractDetails, **more: Any
) -> Desk:
    async def play() -> Desk:
        desk = Desk(folder, *known, **more)
        await script(desk)
        await desk.settle()
        desk.data.close()
        return desk

    return asyncio.run(asyncio.wait_for(play(), 20))


def trade(stream: Any, price: float, size: float, volume: float) -> None:
    """A trade as TWS tells it (section 8.3): price, size, the size again, the day's volume; at first its high."""
    stream.on_price(4, price, size)
    stream.on_size(5, size)
    stream.on_size(8, volume)
    if not stream.board.high:
        stream.on_price(6, price, 0)


# ------------------------------------------------------------------ ticks


def test_a_packet_is_one_tick_with_everything_in_it(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        stream = desk.stream()
        stream.on_data_type(1)
        for kind, price, size in ((1, 228.4, 300), (2, 228.6, 200), (4, 228.5, 100), (6, 230, 0), (7, 227, 0)):
            stream.on_price(kind, price, size)
        stream.on_price(9, 226.0, 0)
        stream.on_price(14, 227.5, 0)
        stream.on_size(8, 1000)
        await desk.settle()

    desk = run(tmp_path, script, AAPL)
    assert desk.events == ["contract", "tick"], "the contract comes before the first tick"
    (tick,) = desk.ticks
    assert (tick.last_price, tick.last_volume, tick.volume) == (228.5, 100, 1000)
    assert (tick.bid_price_1, tick.bid_volume_1, tick.ask_price_1, tick.ask_volume_1) == (228.4, 300, 228.6, 200)
    assert (tick.open_price, tick.high_price, tick.low_price, tick.pre_close) == (227.5, 230, 227, 226)
    assert tick.turnover == 228500
    assert (tick.limit_up, tick.limit_down) == (235.35, 221.65)
    assert tick.extra == {"segment": "regular", "delayed": False, "synthetic_limit": True}
    assert tick.datetime == OPEN
    assert tick.datetime.utcoffset() == timedelta(hours=8)
    assert tick.name == "AAPL INC"
    assert all(type(getattr(tick, f)) is float for f in ("last_price", "volume", "turnover", "bid_price_1", "limit_up"))


def test_the_request_asks_for_rt_volume_and_the_data_type_once(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE, EURO)
        await desk.show(APPLE)

    desk = run(tmp_path, script, AAPL, EURUSD)
    assert desk.wire.of("reqMarketDataType") == [(3,)]
    assert [(args[1].symbol, args[2]) for args in desk.wire.of("reqMktData")] == [("AAPL", "233"), ("EUR", "")]


def test_two_trades_in_a_packet_are_two_ticks(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        trade(desk.stream(), 228.5, 100, 1000)
        trade(desk.stream(), 228.7, 50, 1050)
        await desk.settle()

    desk = run(tmp_path, script, AAPL)
    assert [(t.last_price, t.volume, t.last_volume) for t in desk.ticks] == [(228.5, 1000, 100), (228.7, 1050, 50)]
    assert desk.ticks[1].turnover == 228500 + 50 * 228.7


def test_nothing_new_is_no_tick(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        trade(desk.stream(), 228.5, 100, 1000)
        await desk.settle()
        trade(desk.stream(), 228.5, 100, 1000)
        await desk.settle()

    assert len(run(tmp_path, script, AAPL).ticks) == 1


def test_unset_values_of_the_wire_never_reach_a_tick(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        stream = desk.stream()
        trade(stream, 228.5, 100, 1000)
        for kind in (1, 2, 4, 6, 7, 9, 14):
            stream.on_price(kind, -1.0, 0)
        stream.on_price(4, float("nan"), float("nan"))
        stream.on_price(6, 1.7976931348623157e308, 0)
        stream.on_size(8, -1)
        stream.on_size(8, float("inf"))
        stream.on_text(48, ";;;;;")
        stream.on_text(48, "nonsense")
        stream.on_text(45, "x")
        stream.on_price(1, 228.4, 10)
        await desk.settle()

    (tick,) = run(tmp_path, script, AAPL).ticks
    assert (tick.last_price, tick.volume, tick.high_price, tick.low_price) == (228.5, 1000, 228.5, 0)
    assert (tick.bid_price_1, tick.ask_price_1, tick.ask_volume_1) == (228.4, 0, 0)


def test_a_quote_that_is_withdrawn_is_gone(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        trade(desk.stream(), 228.5, 100, 1000)
        desk.stream().on_price(1, 228.4, 300)
        await desk.settle()
        desk.stream().on_price(1, -1, 0)
        await desk.settle()

    desk = run(tmp_path, script, AAPL)
    assert [(t.bid_price_1, t.bid_volume_1) for t in desk.ticks] == [(228.4, 300), (0, 0)]


def test_forex_has_its_middle_for_a_last_price(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(EURO)
        desk.stream("EUR").on_price(9, 1.07, 0)
        desk.stream("EUR").on_price(1, 1.0851, 1e6)
        desk.stream("EUR").on_price(2, 1.0853, 1e6)
        await desk.settle()
        desk.data.lose()
        await desk.settle()

    desk = run(tmp_path, script, EURUSD)
    assert [(t.last_price, t.bid_price_1) for t in desk.ticks] == [(1.0852, 1.0851), (1.0852, 0)]


def test_rt_volume_gives_turnover_and_milliseconds(tmp_path: Path) -> None:
    at = OPEN - timedelta(milliseconds=250)

    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        stream = desk.stream()
        trade(stream, 228.5, 100, 1000)
        stream.on_text(48, f"228.5;100;{int(at.timestamp() * 1000)};1000;228.1;true")
        await desk.settle()
        trade(stream, 228.6, 100, 1100)
        await desk.settle()

    first, second = run(tmp_path, script, AAPL).ticks
    assert first.datetime == at
    assert first.turnover == 228100
    assert second.datetime == OPEN


def test_a_quote_without_a_trade_stays_in_the_minute_of_the_last_one(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        stream = desk.stream()
        await desk.clock.advance(30)
        trade(stream, 228.5, 100, 1000)
        await desk.settle()
        for _news in range(2):
            await desk.clock.advance(20)
            stream.on_price(1, 228.4, 1 + desk.clock.monotonic())
            await desk.settle()
        trade(stream, 228.5, 100, 1100)
        await desk.settle()

    ticks = run(tmp_path, script, AAPL).ticks
    end = OPEN + timedelta(seconds=60) - timedelta(microseconds=1)
    assert [tick.datetime - OPEN for tick in ticks] == [
        timedelta(seconds=30),
        timedelta(seconds=50),
        end - OPEN,
        timedelta(seconds=70),
    ]
    assert [(tick.localtime or OPEN) - OPEN for tick in ticks] == [timedelta(seconds=s) for s in (30, 50, 70, 70)]


def test_volume_before_the_first_price_of_the_day_opens_no_bar_at_the_previous_close(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        stream = desk.stream()
        stream.on_price(9, 226.0, 0)
        await desk.settle()
        await desk.clock.advance(60)
        stream.on_size(8, 70)  # an odd lot
        await desk.settle()
        trade(stream, 228.5, 100, 170)
        await desk.settle()

    ticks = run(tmp_path, script, AAPL).ticks
    assert [(tick.last_price, tick.volume) for tick in ticks] == [(226, 0), (226, 0), (228.5, 170)]
    assert [(tick.datetime - OPEN) >= timedelta(seconds=60) for tick in ticks] == [False, False, True]


def test_a_trade_at_the_last_price_is_not_covered_by_the_next_one(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        stream = desk.stream()
        trade(stream, 228.5, 100, 1000)
        await desk.settle()
        stream.on_size(5, 200)  # TWS tells what changed: the price of this trade is that of the one before
        stream.on_size(8, 1200)
        trade(stream, 228.7, 100, 1300)
        await desk.settle()

    ticks = run(tmp_path, script, AAPL).ticks
    assert [(tick.last_price, tick.volume) for tick in ticks] == [(228.5, 1000), (228.5, 1200), (228.7, 1300)]


def test_the_first_ticks_in_several_packets_make_no_volume_and_no_high_of_a_bar(tmp_path: Path) -> None:
    """What the day has traded before the subscription belongs to no minute of vn.py's bars."""

    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        stream = desk.stream()
        stream.on_price(1, 228.4, 100)
        await desk.settle()
        stream.on_price(4, 228.5, 100)
        stream.on_text(45, str(int(OPEN.timestamp())))
        await desk.settle()
        stream.on_size(8, 5_000_000)
        await desk.settle()
        stream.on_price(6, 240.0, 0)
        await desk.settle()
        stream.on_price(7, 220.0, 0)
        await desk.settle()
        await desk.clock.advance(5)
        trade(stream, 228.6, 100, 5_000_100)
        await desk.settle()
        await desk.clock.advance(60)
        trade(stream, 228.7, 100, 5_000_200)
        await desk.settle()

    bars: list[BarData] = []
    generator = BarGenerator(bars.append)
    for tick in run(tmp_path, script, AAPL).ticks:
        generator.update_tick(tick)
    (bar,) = bars
    assert (bar.open_price, bar.high_price, bar.low_price, bar.close_price) == (228.5, 228.6, 228.5, 228.6)
    assert (bar.volume, bar.turnover) == (100, 22860)


def test_a_price_without_the_days_volume_comes_a_little_later(tmp_path: Path) -> None:
    """An index has none, and before the open there is none yet."""

    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        desk.stream().on_price(4, 228.5, 100)
        await desk.settle()
        assert desk.ticks == []
        await desk.clock.advance(TIMING.book_wait)

    (tick,) = run(tmp_path, script, AAPL).ticks
    assert (tick.last_price, tick.volume) == (228.5, 0)


def test_time_only_moves_forward(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        stream = desk.stream()
        await desk.clock.advance(10)
        trade(stream, 228.5, 100, 1000)
        await desk.settle()
        old = int((OPEN - timedelta(hours=1)).timestamp() * 1000)
        trade(stream, 228.6, 100, 1100)
        stream.on_text(48, f"228.6;100;{old};1100;228.1;true")
        await desk.settle()

    first, second = run(tmp_path, script, AAPL).ticks
    assert second.datetime >= first.datetime


def test_a_closed_market_shows_the_previous_close_soon(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        desk.stream().on_price(9, 226.0, 0)
        await desk.settle()
        assert desk.ticks == []
        await desk.clock.advance(TIMING.book_wait)
        await desk.settle()

    (tick,) = run(tmp_path, script, AAPL, now=NIGHT).ticks
    assert (tick.last_price, tick.pre_close, tick.volume) == (226, 226, 0)
    assert tick.extra is not None
    assert tick.extra["segment"] == "closed"


def test_a_closed_markets_last_trade_keeps_its_time(tmp_path: Path) -> None:
    closed_at = datetime(2026, 11, 20, 21, 0, tzinfo=timezone.utc)

    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        desk.stream().on_price(4, 228.5, 100)
        await desk.settle()
        desk.stream().on_text(45, str(int(closed_at.timestamp())))
        await desk.clock.advance(TIMING.book_wait)
        await desk.settle()

    (tick,) = run(tmp_path, script, AAPL, now=NIGHT).ticks
    assert tick.datetime == closed_at


def test_a_new_day_begins_its_turnover_anew(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        trade(desk.stream(), 200.0, 100, 100000)
        await desk.settle()
        trade(desk.stream(), 210.0, 100, 100)
        await desk.settle()

    desk = run(tmp_path, script, AAPL)
    assert [(t.turnover, t.volume) for t in desk.ticks] == [(20_000_000, 100_000), (0, 0), (21_000, 100)]


def test_what_nobody_shows_makes_prices_and_no_ticks(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.data.follow([APPLE], show=False)
        trade(desk.stream(), 228.5, 100, 1000)
        await desk.settle()
        assert desk.ticks == []
        assert desk.prices == ["AAPL.SMART"]
        await desk.show(APPLE)
        await desk.settle()

    desk = run(tmp_path, script, AAPL)
    assert [t.last_price for t in desk.ticks] == [228.5]
    assert len(desk.wire.of("reqMktData")) == 1


def test_a_halt_is_in_the_tick(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        trade(desk.stream(), 228.5, 100, 1000)
        desk.stream().on_number(49, 1.0)
        await desk.settle()

    (tick,) = run(tmp_path, script, AAPL).ticks
    assert tick.extra is not None
    assert tick.extra["halted"] is True


def test_a_future_may_trade_below_zero_and_a_stock_may_not(tmp_path: Path) -> None:
    es: Key = ("ES-202612-USD-FUT", Exchange.CME)

    async def script(desk: Desk) -> None:
        await desk.show(es, APPLE)
        trade(desk.stream("ES"), -37.5, 1, 10)
        trade(desk.stream("AAPL"), -37.5, 1, 10)
        await desk.settle()

    (tick,) = run(tmp_path, script, ES, AAPL).ticks
    assert tick.last_price == -37.5
    assert tick.limit_down < tick.last_price < tick.limit_up


# ------------------------------------------------------------------ depth


def test_depth_gives_five_levels_behind_the_quote(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        stream, depth = desk.stream(), desk.depth()
        trade(stream, 228.5, 100, 1000)
        stream.on_price(1, 228.4, 300)
        stream.on_price(2, 228.6, 200)
        for position in range(5):
            depth.on_depth(position, 0, 1, round(228.4 - position / 100, 2), 10 + position)
            depth.on_depth(position, 0, 0, round(228.6 + position / 100, 2), 20 + position)
        await desk.settle()

    desk = run(tmp_path, script, AAPL)
    (args,) = desk.wire.of("reqMktDepth")
    assert args[2:4] == (5, True)
    (tick,) = desk.ticks
    assert [tick.bid_price_1, tick.bid_price_2, tick.bid_price_5] == [228.4, 228.39, 228.36]
    assert [tick.bid_volume_1, tick.bid_volume_2, tick.ask_volume_5] == [300, 11, 24]
    assert tick.limit_up == 0
    assert "synthetic_limit" not in (tick.extra or {})


def test_odd_depth_operations_are_tolerated_and_317_clears(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        depth = desk.depth()
        depth.on_depth(3, 2, 1, 0, 0)
        depth.on_depth(7, 1, 1, 228.1, 5)
        depth.on_depth(0, 0, 1, 228.3, 7)
        depth.on_depth(-1, 0, 1, 1.0, 1)
        depth.on_depth(0, 9, 1, 1.0, 1)
        assert desk.board().bids == (Level(Decimal("228.3"), Decimal(7)), Level(Decimal("228.1"), Decimal(5)))
        depth.on_depth(0, 2, 1, 0, 0)
        assert [level.price for level in desk.board().bids] == [Decimal("228.1")]
        depth.on_stream_error(317, "reset")
        assert desk.board().bids == ()

    run(tmp_path, script, AAPL)


def test_the_venues_of_smart_depth_add_up(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        for position, size in enumerate((100, 200, 50)):
            desk.depth().on_depth(position, 0, 0, 228.6 if position < 2 else 228.7, size)
        assert desk.board().asks == (Level(Decimal("228.6"), Decimal(300)), Level(Decimal("228.7"), Decimal(50)))

    run(tmp_path, script, AAPL)


def test_depth_follows_what_was_shown_last(tmp_path: Path) -> None:
    stocks = [details(f"S{letter}", number) for number, letter in enumerate("ABCD", 1)]

    async def script(desk: Desk) -> None:
        for letter in "ABCD":
            await desk.show((f"S{letter}", SMART))

    desk = run(tmp_path, script, *stocks)
    assert [args[1].symbol for args in desk.wire.of("reqMktDepth")] == ["SA", "SB", "SC", "SD"]
    assert [args[0] for args in desk.wire.of("cancelMktDepth")] == [desk.wire.of("reqMktDepth")[0][0]]


def test_without_a_right_to_depth_there_is_level_one_and_one_line(tmp_path: Path) -> None:
    stocks = [details(f"S{letter}", number) for number, letter in enumerate("ABC", 1)]

    async def script(desk: Desk) -> None:
        await desk.show(("SA", SMART))
        await desk.show(("SB", SMART))
        desk.depth("SA").on_stream_error(10092, "Deep market data is not supported")
        desk.depth("SB").on_stream_error(10092, "Deep market data is not supported")
        await desk.show(("SA", SMART))

    desk = run(tmp_path, script, *stocks)
    assert len(desk.wire.of("reqMktDepth")) == 2
    assert len([line for line in desk.lines if "一档" in line]) == 1


def test_depth_that_was_refused_is_asked_for_again_on_the_next_connection(tmp_path: Path) -> None:
    """In its nightly reset TWS refuses what it gives on every day."""

    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        desk.depth().on_stream_error(200, "No security definition has been found for the request")
        desk.wire.connected = False
        desk.data.lose()
        desk.wire = FakeWire(desk.wire.answers)
        await desk.data.resubscribe()

    desk = run(tmp_path, script, AAPL)
    assert len(desk.wire.of("reqMktDepth")) == 1
    assert len([line for line in desk.lines if "一档" in line]) == 1


def test_fewer_depth_lines_than_usual_are_accepted(tmp_path: Path) -> None:
    stocks = [details(f"S{letter}", number) for number, letter in enumerate("ABC", 1)]

    async def script(desk: Desk) -> None:
        await desk.show(("SA", SMART))
        await desk.show(("SB", SMART))
        desk.depth("SB").on_stream_error(309, "Max number (1) of market depth requests has been reached")
        await desk.show(("SC", SMART))

    desk = run(tmp_path, script, *stocks)
    assert len(desk.wire.of("cancelMktDepth")) == 1, "SA gives its one place to SC"
    assert len([line for line in desk.lines if "一档" in line]) == 1


# ------------------------------------------------------------------ delayed and denied


def test_delayed_ticks_are_taken_and_flagged(tmp_path: Path) -> None:
    traded_at = OPEN - timedelta(minutes=15)

    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        stream = desk.stream()
        stream.on_stream_error(10167, "Displaying delayed market data")
        stream.on_data_type(3)
        stream.on_price(68, 227.5, 100)
        stream.on_price(66, 227.4, 100)
        stream.on_size(74, 900)
        stream.on_price(72, 228.0, 0)
        stream.on_price(75, 226.0, 0)
        stream.on_text(88, str(int(traded_at.timestamp())))
        await desk.settle()
        assert desk.data.delayed(desk.board())

    desk = run(tmp_path, script, AAPL)
    (tick,) = desk.ticks
    assert (tick.last_price, tick.bid_price_1, tick.volume, tick.pre_close) == (227.5, 227.4, 900, 226)
    assert tick.extra is not None
    assert tick.extra["delayed"] is True
    assert tick.datetime == traded_at
    assert len([line for line in desk.lines if "延迟" in line]) == 1


def test_without_live_data_delayed_data_is_asked_for_once(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        desk.stream().on_stream_error(354, "Requested market data is not subscribed")
        desk.stream().on_stream_error(354, "Requested market data is not subscribed")
        assert desk.data.delayed(desk.board())

    desk = run(tmp_path, script, AAPL)
    assert desk.wire.of("reqMarketDataType") == [(3,), (3,)]
    assert len(desk.wire.of("reqMktData")) == 2
    assert any("没有行情" in line for line in desk.lines)


def test_live_only_never_asks_for_delayed_data(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        desk.stream().on_stream_error(10168, "not subscribed, delayed not enabled")
        assert desk.data.lines_used == 0

    desk = run(tmp_path, script, AAPL, data_type=1)
    assert desk.wire.of("reqMarketDataType") == [(1,)]
    assert len([line for line in desk.lines if "没有行情" in line]) == 1


def test_a_right_that_was_denied_in_passing_is_asked_for_again_and_trusted_again(tmp_path: Path) -> None:
    """While IBKR's servers reset, TWS denies what it grants a minute later."""

    async def script(desk: Desk) -> None:
        await desk.data.follow([APPLE], show=False)
        desk.stream().on_stream_error(354, "Requested market data is not subscribed")
        for _round in range(10):  # a held one is followed at each reading of the funds
            await desk.data.follow([APPLE], show=False)
        await desk.data.tend()
        assert len(desk.wire.of("reqMktData")) == 2
        desk.stream().on_stream_error(354, "Requested market data is not subscribed")
        assert desk.data.delayed(desk.board())
        await desk.clock.advance(TIMING.repeat_line)
        await desk.data.tend()
        assert len(desk.wire.of("reqMktData")) == 3
        desk.stream().on_data_type(1)
        trade(desk.stream(), 100, 1, 1)
        assert not desk.data.delayed(desk.board())

    desk = run(tmp_path, script, AAPL, data_type=1)
    assert len([line for line in desk.lines if "没有行情" in line]) == 1


def test_a_right_that_is_denied_for_good_is_told_ever_more_rarely(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        for _minute in range(60):
            desk.stream().on_stream_error(354, "Requested market data is not subscribed")
            await desk.clock.advance(TIMING.repeat_line)
            await desk.data.tend()

    desk = run(tmp_path, script, AAPL, data_type=1)
    assert len(desk.wire.of("reqMktData")) == 61
    assert len([line for line in desk.lines if "没有行情" in line]) == 6


def test_extra_ticks_that_are_wrong_for_the_type_are_done_without(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        desk.stream().on_stream_error(321, "Error validating request")

    assert [args[2] for args in run(tmp_path, script, AAPL).wire.of("reqMktData")] == ["233", ""]


def test_a_session_elsewhere_takes_the_data_and_gives_it_back(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        desk.stream().on_stream_error(10197, "No market data during competing live session")
        assert desk.data.delayed(desk.board())
        await desk.data.tend()
        assert not desk.data.delayed(desk.board())

    desk = run(tmp_path, script, AAPL)
    assert len(desk.wire.of("reqMktData")) == 2
    assert len(desk.lines) == 1


# ------------------------------------------------------------------ lines


def hundred(count: int = MOST_LINES) -> list[ContractDetails]:
    return [details(f"S{number}", number) for number in range(1, count + 1)]


def keys_of(rows: list[ContractDetails]) -> list[Key]:
    return [(row.contract.symbol, SMART) for row in rows if row.contract]


def test_beyond_the_lines_the_one_asked_for_longest_ago_gives_way(tmp_path: Path) -> None:
    rows = hundred(MOST_LINES + 1)
    keys = keys_of(rows)

    async def script(desk: Desk) -> None:
        await desk.show(*keys[:-1])
        desk.used = {keys[0]}
        await desk.show(keys[2])
        await desk.show(keys[-1])
        assert desk.data.lines_used == MOST_LINES
        assert desk.data.board(*keys[0]) is not None
        assert desk.data.board(*keys[1]) is None

    desk = run(tmp_path, script, *rows)
    assert len(desk.wire.of("cancelMktData")) == 1
    assert len([line for line in desk.lines if "S2.SMART" in line]) == 1


def test_where_all_lines_are_in_use_the_newcomer_gets_none(tmp_path: Path) -> None:
    rows = hundred(MOST_LINES + 1)
    keys = keys_of(rows)

    async def script(desk: Desk) -> None:
        desk.used = set(keys[:-1])
        await desk.show(*keys)
        assert desk.data.lines_used == MOST_LINES
        await desk.show(keys[-1])

    desk = run(tmp_path, script, *rows)
    assert desk.wire.of("cancelMktData") == []
    assert len([line for line in desk.lines if f"S{MOST_LINES + 1}.SMART" in line]) == 1


def test_fewer_lines_than_usual_are_accepted(tmp_path: Path) -> None:
    rows = hundred(3)

    async def script(desk: Desk) -> None:
        await desk.show(*keys_of(rows))
        desk.stream("S3").on_stream_error(101, "Max number of tickers has been reached")
        assert desk.data.lines_used == 2
        assert desk.data.board("S1", SMART) is None

    desk = run(tmp_path, script, *rows)
    assert [args[1].symbol for args in desk.wire.of("reqMktData")] == ["S1", "S2", "S3", "S3"]


def test_everything_comes_back_on_a_new_connection(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE, EURO)
        trade(desk.stream(), 228.5, 100, 1000)
        desk.stream().on_price(1, 228.4, 1)
        await desk.settle()
        desk.wire.connected = False
        desk.data.lose()
        assert desk.data.delayed(desk.board())
        await desk.settle()
        desk.wire = FakeWire(desk.wire.answers)
        await desk.data.resubscribe()
        assert not desk.data.delayed(desk.board())
        trade(desk.stream(), 229.0, 10, 1100)
        await desk.settle()

    desk = run(tmp_path, script, AAPL, EURUSD)
    assert desk.wire.of("reqMarketDataType") == [(3,)]
    assert {args[1].symbol for args in desk.wire.of("reqMktData")} == {"AAPL", "EUR"}
    assert desk.wire.of("cancelMktData") == []
    assert [(t.last_price, t.bid_price_1) for t in desk.ticks] == [(228.5, 228.4), (228.5, 0), (229.0, 0)]


def test_after_1101_old_lines_are_closed_and_opened_once(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        desk.data.on_link(False)
        assert desk.data.delayed(desk.board())
        desk.data.on_link(True)
        await desk.data.resubscribe()
        assert desk.data.lines_used == 1

    desk = run(tmp_path, script, AAPL)
    assert len(desk.wire.of("reqMktData")) == 2
    assert len(desk.wire.of("cancelMktData")) == 1
    assert len(desk.wire.of("reqMktDepth")) == 2


def test_a_broken_farm_makes_its_market_stale_until_it_is_well(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE, ("00700", Exchange.SEHK))
        apple, tencent = desk.board(), desk.board(("00700", Exchange.SEHK))
        desk.data.on_farm(2103, "Market data farm connection is broken:usfarm.nj")
        assert desk.data.delayed(apple)
        assert not desk.data.delayed(tencent)
        desk.data.on_farm(2104, "Market data farm connection is OK:usfarm.nj")
        assert not desk.data.delayed(apple)
        desk.data.on_farm(2103, "Market data farm connection is broken:somewhere")
        assert desk.data.delayed(apple)

    run(tmp_path, script, AAPL, TENCENT)


def test_an_unknown_symbol_is_one_line_and_costs_nothing_else(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(("NOPE", SMART), ("号", SMART), APPLE)
        assert desk.data.board(*APPLE) is not None

    desk = run(tmp_path, script, AAPL)
    assert len(desk.lines) == 2
    assert "NOPE.SMART" in desk.lines[0]


def test_an_instrument_that_was_there_yesterday_is_tried_again(tmp_path: Path) -> None:
    async def yesterday(desk: Desk) -> None:
        await desk.show(APPLE)

    run(tmp_path, yesterday, AAPL)

    async def today(desk: Desk) -> None:
        await desk.contracts.load_cache()
        answers, desk.wire.answers = desk.wire.answers, answering()
        await desk.show(APPLE)
        assert desk.data.board(*APPLE) is None
        assert "每日重置" in desk.lines[0]
        desk.wire.answers = answers
        await desk.clock.advance(61)
        await desk.data.tend()
        assert desk.board().shown

    run(tmp_path, today, AAPL)


def test_refresh_waits_for_the_first_price_only(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        asked = asyncio.ensure_future(desk.data.refresh(*APPLE))
        await desk.settle()
        trade(desk.stream(), 228.5, 100, 1000)
        board = await asked
        assert board is not None
        assert board.price() == Decimal("228.5")
        again = await desk.data.refresh(*APPLE)
        assert again is board
        assert await desk.data.refresh("NOPE", SMART) is None

    run(tmp_path, script, AAPL)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-2, 100),
            st.floats(allow_nan=True, allow_infinity=True),
            st.floats(allow_nan=True, allow_infinity=True),
            st.text(alphabet="0123456789.;-eE", max_size=40),
        ),
        max_size=25,
    )
)
def test_no_tick_of_the_wire_does_harm(rows: list[tuple[int, float, float, str]]) -> None:
    board = Board(INSTRUMENT)
    for kind, price, size, text in rows:
        board.take_price(kind, price, size)
        board.take_size(kind, size)
        board.take_text(kind, text)
        board.take_number(kind, price)
        board.take_depth(kind, kind % 3, kind % 2, price, size)
    numbers = [board.price(), board.volume, board.turnover, board.bid_size, *(lv.volume for lv in board.bids)]
    assert all(number.is_finite() and number >= 0 for number in numbers)
    assert [lv.price for lv in board.bids] == sorted((lv.price for lv in board.bids), reverse=True)
