"""Instruments that the settings spell in another way: contract and ticks under that spelling, orders canonical."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from vnpy.trader.constant import Direction, Exchange, Interval, Status
from vnpy.trader.event import EVENT_CONTRACT, EVENT_LOG, EVENT_ORDER, EVENT_POSITION, EVENT_TICK, EVENT_TRADE
from vnpy.trader.object import BarData, HistoryRequest, TickData
from vnpy.trader.utility import TEMP_DIR

from tests.cta_desk import IBM, RIGS, TIMINGS, CtaDesk, forget_strategies
from tests.cta_strategies import Teller
from vnpy_brokerkit.aliases import Aliases, respelled
from vnpy_brokerkit.symbols import SymbolError
from vnpy_ibkr.spelling import spelled as ibkr_spelled
from vnpy_vbrokers.spelling import spelled as vbrokers_spelled

ALIAS = "IBM-USD-STK.SMART"
CTA = TEMP_DIR / "cta_strategy_setting.json"
RECORDER = TEMP_DIR / "data_recorder_setting.json"


@pytest.fixture(autouse=True)
def _no_settings() -> Iterator[None]:
    forget_strategies()
    yield
    forget_strategies()
    RECORDER.unlink(missing_ok=True)


def strategies(*vt_symbols: str) -> None:
    entries = {
        f"s{number}": {"class_name": "Teller", "vt_symbol": vt_symbol, "setting": {}}
        for number, vt_symbol in enumerate(vt_symbols)
    }
    CTA.write_text(json.dumps(entries), "utf-8")


def recorder(*vt_symbols: str) -> None:
    RECORDER.write_text(json.dumps({"tick": {}, "bar": {one: {"symbol": one} for one in vt_symbols}}), "utf-8")


@pytest.mark.parametrize("name", RIGS)
def test_contracts_of_all_spellings_come_before_the_line(name: str) -> None:
    strategies(ALIAS, "AAPL.NASDAQ", "00700.SEHK")
    recorder("700.SEHK", "aapl.SMART", ALIAS)
    with RIGS[name](timing=TIMINGS[name]) as rig:
        rig.connect()
        events = rig.seen.events
        ready = next(i for i, (kind, data) in enumerate(events) if kind == EVENT_LOG and "合约信息查询成功" in data.msg)
        told = {data.vt_symbol: data for kind, data in events[:ready] if kind == EVENT_CONTRACT}
        expected = {ALIAS, IBM, "AAPL.NASDAQ", "aapl.SMART", "AAPL.SMART", "700.SEHK", "00700.SEHK"}
        assert expected <= set(told)
        for alias, canonical in ((ALIAS, IBM), ("700.SEHK", "00700.SEHK"), ("AAPL.NASDAQ", "AAPL.SMART")):
            other, own = told[alias], told[canonical]
            assert f"{other.symbol}.{other.exchange.value}" == alias
            same = ("gateway_name", "name", "product", "size", "pricetick", "min_volume", "history_data")
            assert [getattr(other, field) for field in same] == [getattr(own, field) for field in same]
            assert other.extra == {**own.extra, "canonical": canonical}


@pytest.mark.parametrize("name", RIGS)
def test_a_strategy_that_spells_its_symbol_otherwise_is_filled(name: str) -> None:
    """It is there before the connect, reads bars, gets ticks, buys and sells; the engine's books are canonical."""
    with RIGS[name](timing=TIMINGS[name]) as rig:
        it = CtaDesk(rig)
        strategy = it.add(Teller, vt_symbol=ALIAS)
        it.quote(100)
        rig.sim.pause()
        rig.connect()
        bars: list[BarData] = []
        strategy.load_bar(2, Interval.HOUR, bars.append)
        assert bars
        assert {bar.vt_symbol for bar in bars} == {ALIAS}
        it.ready()
        it.cta.start_strategy(strategy.strategy_name)
        rig.wait(lambda: strategy.ticks, "ticks")
        strategy.buy(101, 10)
        rig.wait(lambda: strategy.pos == 10, "the fill")
        (resting,) = strategy.buy(98, 5)
        rig.wait_status(resting, Status.NOTTRADED)
        strategy.cancel_all()
        rig.wait_status(resting, Status.CANCELLED)
        rig.wait(lambda: rig.main.get_all_positions(), "the position")
        for kind in (EVENT_ORDER, EVENT_TRADE, EVENT_POSITION):
            assert {data.vt_symbol for data in rig.seen.of(kind)} == {IBM}
        rig.wait_equal()
        strategy.sell(99, 10)
        rig.wait(lambda: strategy.pos == 0, "the sale")


@pytest.mark.parametrize("name", RIGS)
def test_ticks_come_under_both_spellings_after_the_contract(name: str) -> None:
    strategies(ALIAS)
    with RIGS[name](timing=TIMINGS[name]) as rig:
        it = CtaDesk(rig)
        it.quote(100)
        rig.connect()
        rig.subscribe(ALIAS)
        rig.wait_tick(ALIAS)
        it.quote(101)
        rig.wait(lambda: rig.tick(ALIAS).last_price == rig.tick(IBM).last_price == 101, "the quote under both")
        rig.sim.pause()
        kinds = [(kind, data.vt_symbol) for kind, data in rig.seen.events if kind in (EVENT_CONTRACT, EVENT_TICK)]
        assert kinds.index((EVENT_CONTRACT, ALIAS)) < kinds.index((EVENT_TICK, ALIAS))
        tick: TickData = rig.tick(ALIAS)
        assert (tick.symbol, tick.exchange) == ("IBM-USD-STK", Exchange.SMART)
        assert (tick.extra or {})["canonical"] == IBM
        wire = rig.sim.wire()[rig.broker]
        if name == "IBKR":
            assert wire["reqMktData"] == 1, "one line of market data for one instrument"


@pytest.mark.parametrize("name", RIGS)
def test_a_strategy_that_is_added_while_connected_gets_its_spelling_too(name: str) -> None:
    with RIGS[name](timing=TIMINGS[name]) as rig:
        rig.connect()
        it = CtaDesk(rig)
        it.quote(100)
        rig.sim.pause()
        strategy = it.begin(Teller, vt_symbol=ALIAS)
        it.quote(100.5)
        rig.wait(lambda: strategy.ticks, "ticks")
        strategy.buy(101, 10)
        rig.wait(lambda: strategy.pos == 10, "the fill")


@pytest.mark.parametrize("name", RIGS)
def test_history_comes_under_the_spelling_that_asked(name: str) -> None:
    with RIGS[name](timing=TIMINGS[name]) as rig:
        rig.connect()
        now = rig.gateway.clock.now()
        request = HistoryRequest("IBM-USD-STK", Exchange.SMART, now - timedelta(days=10), now, Interval.DAILY)
        bars = rig.main.query_history(request, name)
        assert {bar.vt_symbol for bar in bars} == {ALIAS}


@pytest.mark.parametrize("name", RIGS)
def test_a_dot_in_the_settings_is_told_in_words(name: str) -> None:
    strategies("BRK.B.SMART", "AAPL.US", IBM, "NOT AN.YTHING")
    with RIGS[name](timing=TIMINGS[name]) as rig:
        rig.connect()
        lines = [line for line in rig.seen.log_lines() if "不能使用" in line]
        assert len(lines) == 2
        assert "“BRK.B.SMART”" in lines[0]
        assert "“BRK-B.SMART”" in lines[0]
        assert "“AAPL.US”" in lines[1]
        assert "“AAPL.SMART”" in lines[1]
        assert rig.main.get_contract("BRK-B.SMART")


def test_a_con_id_is_a_spelling_at_ibkr() -> None:
    with RIGS["IBKR"](timing=TIMINGS["IBKR"]) as rig:
        rig.connect()
        rig.subscribe(IBM)
        rig.wait_tick(IBM)
        con_id = rig.gateway.session._rooms.contracts.get("IBM", Exchange.SMART).con_id
    vt_symbol = f"{con_id}.SMART"
    strategies(vt_symbol)
    with RIGS["IBKR"](timing=TIMINGS["IBKR"]) as rig:
        rig.connect()
        assert rig.contract(vt_symbol).extra == {**(rig.contract(IBM).extra or {}), "canonical": IBM}
        rig.subscribe(vt_symbol)
        assert rig.wait_tick(vt_symbol).last_price == rig.wait_tick(IBM).last_price


def test_a_half_strike_in_another_spelling_trades_at_ibkr() -> None:
    """The strike of 152.5 is written 152_5; its decimal point is a dot, which is told in words."""
    own, alias = "AAPL-20261218-C-152_5-100-USD-OPT.SMART", "AAPL-20261218-CALL-152_5-USD-OPT.SMART"
    strategies(alias, "AAPL-20261218-C-152.5-100-USD-OPT.SMART")
    with RIGS["IBKR"](timing=TIMINGS["IBKR"]) as rig:
        rig.connect()
        (line,) = [line for line in rig.seen.log_lines() if "不能使用" in line]
        assert f"“{own}”" in line
        assert rig.contract(alias).option_strike == rig.contract(own).option_strike == 152.5
        rig.subscribe(alias)
        tick = rig.wait_tick(alias)
        order = rig.send(alias, Direction.LONG, 1, tick.ask_price_1)
        rig.wait_status(order, Status.ALLTRADED)
        assert {data.vt_symbol for data in rig.seen.of(EVENT_TRADE)} == {own}


@pytest.mark.parametrize(
    ("vt_symbol", "vbrokers", "ibkr"),
    [
        ("aapl.SMART", "AAPL", "AAPL"),
        ("AAPL-USD-STK.NYSE", "AAPL", "AAPL"),
        ("US.AAPL", "AAPL", "AAPL"),
        ("BRK B.SMART", "BRK-B", "BRK-B"),
        ("EUR.USD.IDEALPRO", None, "EUR-USD-CASH"),
        ("AAPL-20261218-C-152.5-100-USD-OPT.SMART", None, "AAPL-20261218-C-152_5-100-USD-OPT"),
        ("265598.SMART", None, "265598"),
    ],
)
def test_what_a_gateway_makes_of_a_spelling(vt_symbol: str, vbrokers: str | None, ibkr: str | None) -> None:
    assert (vbrokers_spelled(vt_symbol) or (None,))[0] == vbrokers
    assert (ibkr_spelled(vt_symbol) or (None,))[0] == ibkr


def test_settings_are_read_again_when_they_change(tmp_path: Path) -> None:
    def spelled(text: str) -> tuple[str, Exchange] | None:
        if text == "??":
            raise SymbolError(text)
        return ("AAPL", Exchange.SMART) if "AAPL" in text.upper() else None

    lines: list[str] = []
    aliases = Aliases(spelled, lines.append, tmp_path)
    key = ("AAPL", Exchange.SMART)

    def write(*vt_symbols: str) -> None:
        tick: dict[str, Any] = {one: {} for one in vt_symbols}
        (tmp_path / "data_recorder_setting.json").write_text(json.dumps({"tick": tick, "bar": {}}), "utf-8")

    assert aliases.renew()
    assert not aliases.renew()
    assert aliases.of(key) == []
    write("AAPL.SMART", "aapl.SMART", "AAPL.NASDAQ", "??", "TSLA.SMART", "AAPL.US", "AAPL.US.SMART")
    assert aliases.renew()
    assert not aliases.renew()
    assert aliases.of(key) == [("aapl", Exchange.SMART), ("AAPL", Exchange.NASDAQ)]
    assert aliases.of(("TSLA", Exchange.SMART)) == []
    assert len(lines) == 2
    write("AAPL.SMART", "AAPL.US")
    assert aliases.renew()
    assert aliases.of(key) == []
    assert len(lines) == 2, "the same line twice"


def test_a_copy_shares_nothing_with_its_original() -> None:
    tick = TickData("X", "AAPL", Exchange.SMART, datetime=None)  # type: ignore[arg-type]  # not looked at
    tick.extra = {"segment": "regular"}
    other = respelled(tick, ("aapl", Exchange.NASDAQ))
    assert (other.vt_symbol, tick.vt_symbol) == ("aapl.NASDAQ", "AAPL.SMART")
    assert (other.extra, tick.extra) == ({"segment": "regular", "canonical": "AAPL.SMART"}, {"segment": "regular"})
