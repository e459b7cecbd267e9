"""Contracts and quotes of IBKR against the simulated TWS, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from vnpy.trader.constant import Exchange, Product
from vnpy.trader.object import ContractData, TickData

import brokersim
from brokersim.client import Simulation
from brokersim.instruments import LISTINGS
from tests.harness import DATA, DEADLINE, SHORT
from vnpy_brokerkit.clock import Clock, ShiftedClock, SystemClock
from vnpy_brokerkit.contract_cache import ContractCache
from vnpy_brokerkit.errors import ConnectionFailed
from vnpy_ibkr.contracts import Contracts, Key, spelling
from vnpy_ibkr.market_data import MarketData
from vnpy_ibkr.wire.tws import Wire

SMART, SEHK = Exchange.SMART, Exchange.SEHK
APPLE: Key = ("AAPL", SMART)
TIMING = replace(SHORT, book_wait=0.3)
KINDS = {
    "stock": Product.EQUITY,
    "etf": Product.ETF,
    "forex": Product.FOREX,
    "future": Product.FUTURES,
    "option": Product.OPTION,
}


class Deaf:
    """A listener that hears nothing but errors."""

    def __init__(self, data: Callable[[], MarketData]) -> None:
        self._data = data

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None

    def on_error(self, req_id: int, code: int, text: str, reject_json: str) -> None:
        self._data().on_farm(code, text)


class Desk:
    """Contracts and market data on one connection to a simulated TWS."""

    def __init__(self, sim: Simulation, folder: Path, clock: Clock, data_type: int) -> None:
        self.sim = sim
        self.clock = clock
        self.ticks: list[TickData] = []
        self.pushed: dict[str, ContractData] = {}
        self.lines: list[str] = []
        self.used: set[Key] = set()
        self.wire: Wire
        self.contracts = Contracts(
            wire=lambda: self.wire,
            clock=clock,
            cache=ContractCache(folder, "IBKR"),
            gateway_name="IBKR",
            on_contract=lambda contract: self.pushed.update({contract.vt_symbol: contract}),
            log=self.lines.append,
        )
        self.data = MarketData(
            wire=lambda: self.wire,
            contracts=self.contracts,
            clock=clock,
            timing=TIMING,
            zone=ZoneInfo("Asia/Shanghai"),
            gateway_name="IBKR",
            synthetic_percent=3.0,
            data_type=data_type,
            on_tick=self.ticks.append,
            on_price=lambda vt_symbol: None,
            log=self.lines.append,
            in_use=lambda: self.used,
        )

    async def connect(self) -> None:
        host, _colon, port = (self.sim.tws_address or "").rpartition(":")
        for _attempt in range(100):
            self.wire = Wire(Deaf(lambda: self.data), self.clock)
            try:
                await self.wire.connect(host, int(port), 1, 5)
            except ConnectionFailed:
                await asyncio.sleep(0.05)
            else:
                return
        raise AssertionError("the simulator does not come back")

    async def show(self, *keys: Key) -> None:
        await self.data.follow(keys, show=True)

    def last(self, vt_symbol: str) -> TickData | None:
        return next((tick for tick in reversed(self.ticks) if tick.vt_symbol == vt_symbol), None)

    async def tick(self, vt_symbol: str, check: Callable[[TickData], bool] = lambda tick: True) -> TickData:
        """Wait until the newest tick of a symbol is as wanted."""

        def found() -> TickData | None:
            tick = self.last(vt_symbol)
            return tick if tick and check(tick) else None

        tick: TickData = await until(
            found, f"a tick of {vt_symbol}; the last one is {self.last(vt_symbol)}, lines {self.lines}"
        )
        return tick


async def until(found: Callable[[], Any], what: str) -> Any:
    """Poll with a deadline."""
    loop = asyncio.get_running_loop()
    end = loop.time() + DEADLINE
    while loop.time() < end:
        if result := found():
            return result
        await asyncio.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


@asynccontextmanager
async def at_desk(sim: Simulation, folder: Path, clock: Clock | None = None, data_type: int = 3) -> AsyncIterator[Desk]:
    desk = Desk(sim, folder, clock or SystemClock(), data_type)
    await desk.connect()
    try:
        yield desk
    finally:
        desk.data.close()
        desk.wire.close()


def play(
    folder: Path,
    script: Callable[[Desk], Coroutine[Any, Any, None]],
    *,
    clock: Clock | None = None,
    data_type: int = 3,
    **options: Any,
) -> None:
    async def act(sim: Simulation) -> None:
        async with at_desk(sim, folder, clock, data_type) as desk:
            await script(desk)

    with brokersim.running(vbrokers=False, tws=True, **options) as sim:
        asyncio.run(asyncio.wait_for(act(sim), 3 * DEADLINE))


def test_every_instrument_of_the_table_is_found_as_it_is(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        keys = []
        for listing in LISTINGS:
            symbol, _dot, exchange = listing.instrument.vt_symbol.rpartition(".")
            keys.append((symbol, Exchange(exchange)))
        assert [spelling(*key) for key in keys] == keys
        await desk.contracts.ensure(keys)
        assert {f"{symbol}.{exchange.value}" for symbol, exchange in keys} == set(desk.pushed)
        for listing in LISTINGS:
            instrument = listing.instrument
            contract = desk.pushed[instrument.vt_symbol]
            assert (contract.size, contract.product) == (float(instrument.size), KINDS[instrument.kind])
            if instrument.kind in ("stock", "etf"):
                assert contract.min_volume == instrument.lot
            assert contract.pricetick > 0
        # By conId, as rows of positions name them, each comes to the same key.
        for key in keys:
            known = desk.contracts.get(*key)
            assert known is not None
            assert desk.contracts.canonical_of(known.contract) == key

    play(tmp_path, script)


@pytest.mark.parametrize(
    ("typed", "exchange", "vt_symbol"),
    [
        ("8314", SMART, "IBM.SMART"),
        ("brk b", Exchange.NYSE, "BRK-B.SMART"),
        ("700-HKD-STK", SMART, "00700.SEHK"),
        ("AAPL  261218C00152500", SMART, "AAPL-20261218-C-152_5-100-USD-OPT.SMART"),
        ("ES-20261218-USD-FUT", Exchange.CME, "ES-202612-USD-FUT.CME"),
        ("ES-202612-50-USD-FUT", Exchange.CME, "ES-202612-USD-FUT.CME"),
        ("eur.usd", Exchange.IDEALPRO, "EUR-USD-CASH.IDEALPRO"),
    ],
)
def test_other_spellings_find_the_same(tmp_path: Path, typed: str, exchange: Exchange, vt_symbol: str) -> None:
    async def script(desk: Desk) -> None:
        key = spelling(typed, exchange)
        await desk.contracts.ensure([key])
        known = desk.contracts.get(*key)
        assert known is not None
        assert known.vt_symbol == vt_symbol
        assert list(desk.pushed) == [vt_symbol]

    play(tmp_path, script)


def test_a_quote_is_shown_as_it_is(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.sim.pause()
        await desk.show(APPLE, ("00700", SEHK))
        await desk.tick("AAPL.SMART", lambda tick: tick.bid_price_5 > 0 and tick.ask_price_5 > 0)
        desk.sim.quote("AAPL.SMART", last="230.10", bid="230.05", ask="230.12", bid_size="300", ask_size="700")
        tick = await desk.tick("AAPL.SMART", lambda tick: tick.ask_price_1 == 230.12 and tick.last_price == 230.1)
        assert (tick.bid_price_1, tick.bid_volume_1, tick.ask_volume_1) == (230.05, 300, 700)
        assert tick.bid_price_1 > tick.bid_price_2 > tick.bid_price_5
        assert tick.ask_price_1 < tick.ask_price_2 < tick.ask_price_5
        assert tick.pre_close > 0
        assert tick.volume > 0
        assert tick.turnover > 0
        assert tick.extra == {"segment": "regular", "delayed": False}
        assert desk.pushed["00700.SEHK"].pricetick == 0.2

    play(tmp_path, script)


def test_ticks_follow_the_market_and_time_moves_forward(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE)
        await until(lambda: len(desk.ticks) > 30, "ticks")
        times = [tick.datetime for tick in desk.ticks]
        volumes = [tick.volume for tick in desk.ticks]
        assert times == sorted(times)
        assert volumes == sorted(volumes)
        assert all(tick.bid_price_1 < tick.ask_price_1 for tick in desk.ticks if tick.bid_price_1 and tick.ask_price_1)

    play(tmp_path, script, speed=20)


def test_delayed_data_comes_and_says_so(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.sim.switches(**{"tws.us_market_data": "delayed"})
        await desk.show(APPLE, ("00700", SEHK))
        tick = await desk.tick("AAPL.SMART")
        assert (tick.extra or {})["delayed"] is True
        tencent = await desk.tick("00700.SEHK")
        assert (tencent.extra or {})["delayed"] is False
        await until(lambda: [line for line in desk.lines if "显示延迟行情" in line], "the line about delay")
        assert len([line for line in desk.lines if "显示延迟行情" in line]) == 1

    play(tmp_path, script)


def test_without_any_right_there_is_a_line_and_no_tick(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.sim.switches(**{"tws.us_market_data": "none"})
        await desk.show(APPLE)
        await until(lambda: [line for line in desk.lines if "没有行情" in line], "the line")
        assert desk.data.lines_used == 0
        assert desk.ticks == []

    play(tmp_path, script, data_type=1)


def test_fewer_lines_and_depths_than_usual(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.sim.switches(**{"tws.market_data_lines": 2, "tws.depth_lines": 1})
        await desk.show(APPLE, ("IBM", SMART))
        desk.used = {APPLE}
        await desk.show(("MSFT", SMART))
        await desk.tick("MSFT.SMART")
        assert desk.data.board(*APPLE) is not None
        assert desk.data.board("IBM", SMART) is None
        assert desk.data.lines_used == 2
        await until(lambda: [line for line in desk.lines if "一档" in line], "the line about depth")

    play(tmp_path, script)


def test_a_reset_of_the_depth_fills_it_anew(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.sim.pause()
        await desk.show(APPLE)
        await desk.tick("AAPL.SMART", lambda tick: tick.bid_price_5 > 0)
        desk.ticks.clear()
        desk.sim.faults([{"broker": "tws", "do": "notice", "code": 317}])
        desk.sim.quote("AAPL.SMART", last="230.10", bid="230.05", ask="230.12")
        tick = await desk.tick("AAPL.SMART", lambda tick: tick.bid_price_5 > 0 and tick.bid_price_1 == 230.05)
        assert tick.bid_price_1 > tick.bid_price_2 > tick.bid_price_5

    play(tmp_path, script)


def test_subscriptions_survive_a_restart_of_tws(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        await desk.show(APPLE, ("EUR-USD-CASH", Exchange.IDEALPRO))
        await desk.tick("AAPL.SMART")
        desk.sim.faults([{"broker": "tws", "do": "restart", "for_s": 0.1}])
        await asyncio.wait_for(desk.wire.closed(), DEADLINE)
        desk.data.lose()
        await asyncio.sleep(0)
        await desk.connect()
        desk.ticks.clear()
        await desk.data.resubscribe()
        await desk.tick("AAPL.SMART", lambda tick: tick.bid_price_1 > 0)
        await desk.tick("EUR-USD-CASH.IDEALPRO", lambda tick: tick.bid_price_1 > 0)

    play(tmp_path, script)


def test_an_odd_symbol_never_costs_the_connection(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        odd = ["号", "A" * 60, "ES", "AAPL-20261399-C-1-100-USD-OPT", "ZZZZ-USD-STK", "999999999", "X-USD-CMDTY"]
        await desk.show(*(spelling(text, SMART) for text in odd))
        await desk.show(APPLE)
        await desk.tick("AAPL.SMART")
        assert desk.wire.connected
        assert len(desk.lines) == len(odd)

    play(tmp_path, script)


def test_the_segment_follows_the_exchanges_day(tmp_path: Path) -> None:
    with brokersim.running(vbrokers=False, tws=True, data=DATA, clock="data") as sim:
        opens = sim.clock()
        clock = ShiftedClock(opens, frozen=True)

        async def act() -> None:
            async with at_desk(sim, tmp_path, clock) as desk:
                await desk.show(("IBM", SMART))
                known = desk.contracts.get("IBM", SMART)
                assert known is not None
                new_york = opens.astimezone(ZoneInfo("America/New_York"))
                hours = {3: "closed", 8: "pre", 12: "regular", 17: "post", 21: "closed"}
                told = {hour: desk.contracts.segment(known, new_york.replace(hour=hour)).value for hour in hours}
                assert told == hours

        asyncio.run(asyncio.wait_for(act(), 3 * DEADLINE))


def test_a_closed_market_shows_its_close_within_two_seconds(tmp_path: Path) -> None:
    with brokersim.running(vbrokers=False, tws=True, data=DATA, clock="data") as sim:
        opens = sim.clock()
        clock = ShiftedClock(opens, frozen=True)

        async def act() -> None:
            async with at_desk(sim, tmp_path, clock) as desk:
                hk_night = opens.astimezone(ZoneInfo("Asia/Hong_Kong")).hour
                assert not 9 <= hk_night < 17
                await desk.show(("00700", SEHK))
                began = asyncio.get_running_loop().time()
                tick = await desk.tick("00700.SEHK")
                assert asyncio.get_running_loop().time() - began < 2
                assert tick.last_price > 0
                assert (tick.extra or {})["segment"] == "closed"
                assert tick.datetime <= clock.now()

        asyncio.run(asyncio.wait_for(act(), 3 * DEADLINE))
