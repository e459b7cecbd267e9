"""Instruments at IBKR: how they are written, asked for, told apart and remembered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ib_async.contract import Contract, ContractDetails
from vnpy.trader.constant import Exchange, OptionType, Product
from vnpy.trader.object import ContractData

from tests.ib_fake_wire import FakeWire, answering, details
from vnpy_brokerkit.clock import ManualClock
from vnpy_brokerkit.contract_cache import ContractCache
from vnpy_brokerkit.errors import TimedOut
from vnpy_brokerkit.symbols import SymbolError
from vnpy_brokerkit.trading_hours import Region, Segment
from vnpy_ibkr.contracts import Contracts, spelling, to_query
from vnpy_ibkr.segments import parse_hours, segment_by_hours
from vnpy_ibkr.spelling import to_queries, written_form

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=timezone.utc)
SMART, SEHK, SSE, SZSE, CME = Exchange.SMART, Exchange.SEHK, Exchange.SSE, Exchange.SZSE, Exchange.CME
IDEALPRO = Exchange.IDEALPRO
NEW_YORK = ZoneInfo("America/New_York")

AAPL = details("AAPL", 265598, trading_class="NMS")
TENCENT = details(
    "700", 123, exchange="SEHK", primary="SEHK", currency="HKD", zone="Hongkong", minSize=100, sizeIncrement=100
)
EURUSD = details("EUR", 12087792, kind="CASH", exchange="IDEALPRO", primary="", rules="", sizeIncrement=1, minSize=1)
ES = details(
    "ES", 495512563, kind="FUT", exchange="CME", primary="", zone="US/Central", rules="9", expiry="20261218",
    contractMonth="202612", multiplier="50", local="ESZ6", minTick=0.25, minSize=1, sizeIncrement=1,
)  # fmt: skip
OPTION = details(
    "AAPL", 777, kind="OPT", primary="", expiry="20261218", strike=152.5, right="C", multiplier="100",
    local="AAPL  261218C00152500",
)  # fmt: skip


class Desk:
    """Contracts over a fake wire, and what they said."""

    def __init__(self, folder: Path, *known: ContractDetails) -> None:
        self.clock = ManualClock(NOW)
        self.wire = FakeWire(answering(*known))
        self.pushed: list[ContractData] = []
        self.lines: list[str] = []
        self.contracts = Contracts(
            wire=lambda: self.wire,  # type: ignore[arg-type, return-value]  # as much of a Wire as is used
            clock=self.clock,
            cache=ContractCache(folder, "IBKR"),
            gateway_name="IBKR",
            on_contract=self.pushed.append,
            log=self.lines.append,
        )


T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 10))


# ------------------------------------------------------------------ spelling


@pytest.mark.parametrize(
    ("typed", "exchange", "symbol", "home"),
    [
        ("aapl", SMART, "AAPL", SMART),
        (" AAPL ", Exchange.NASDAQ, "AAPL", SMART),
        ("AAPL-USD-STK", SMART, "AAPL", SMART),
        ("BRK B", SMART, "BRK-B", SMART),
        ("BRK.B", Exchange.NYSE, "BRK-B", SMART),
        ("700", SEHK, "00700", SEHK),
        ("700-HKD-STK", SMART, "00700", SEHK),
        ("600519.SH", SMART, "600519", SSE),
        ("600519-CNH-STK", SMART, "600519", SSE),
        ("000001-CNH-STK", SMART, "000001", SZSE),
        ("eur.usd", IDEALPRO, "EUR-USD-CASH", IDEALPRO),
        ("EURUSD", IDEALPRO, "EUR-USD-CASH", IDEALPRO),
        ("EUR-USD-CASH", SMART, "EUR-USD-CASH", IDEALPRO),
        ("ES-202612-USD-FUT", CME, "ES-202612-USD-FUT", CME),
        ("ES-202612-USD-FUT", Exchange.GLOBEX, "ES-202612-USD-FUT", CME),
        ("SI-202612-1000-USD-FUT", Exchange.COMEX, "SI-202612-1000-USD-FUT", Exchange.COMEX),
        ("AAPL-20261218-C-152.5-100-USD-OPT", SMART, "AAPL-20261218-C-152_5-100-USD-OPT", SMART),
        ("AAPL-20261218-CALL-152.50-100-USD-OPT", Exchange.CBOE, "AAPL-20261218-C-152_5-100-USD-OPT", SMART),
        ("AAPL-20261218-P-230-USD-OPT", SMART, "AAPL-20261218-P-230-100-USD-OPT", SMART),
        ("AAPL  261218C00152500", SMART, "AAPL-20261218-C-152_5-100-USD-OPT", SMART),
        ("AAPL261218P00230000", Exchange.NASDAQ, "AAPL-20261218-P-230-100-USD-OPT", SMART),
        ("SPX-USD-IND", Exchange.CBOE, "SPX-USD-IND", Exchange.CBOE),
        ("SAP-EUR-STK", SMART, "SAP-EUR-STK", SMART),
        ("265598", Exchange.NASDAQ, "265598", SMART),
        ("XAUUSD-USD-CMDTY", SMART, "XAUUSD-USD-CMDTY", SMART),
    ],
)
def test_every_spelling_of_an_instrument_comes_to_one(
    typed: str, exchange: Exchange, symbol: str, home: Exchange
) -> None:
    assert spelling(typed, exchange) == (symbol, home)
    assert spelling(symbol, home) == (symbol, home)
    assert to_query(symbol, home) is not None


@pytest.mark.parametrize(
    ("symbol", "exchange", "fields"),
    [
        ("AAPL", SMART, {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"}),
        ("BRK-B", SMART, {"symbol": "BRK B", "secType": "STK"}),
        ("00700", SEHK, {"symbol": "700", "exchange": "SEHK", "currency": "HKD"}),
        ("600519", SSE, {"symbol": "600519", "exchange": "SEHKNTL", "currency": "CNH"}),
        ("000001", SZSE, {"symbol": "000001", "exchange": "SEHKSZSE", "currency": "CNH"}),
        ("265598", SMART, {"conId": 265598, "symbol": "", "exchange": ""}),
        ("EUR-USD-CASH", IDEALPRO, {"symbol": "EUR", "currency": "USD", "exchange": "IDEALPRO", "secType": "CASH"}),
        ("ES-202612-USD-FUT", CME, {"lastTradeDateOrContractMonth": "202612", "exchange": "CME", "multiplier": ""}),
        (
            "AAPL-20261218-C-152_5-100-USD-OPT",
            SMART,
            {"strike": 152.5, "right": "C", "multiplier": "100", "lastTradeDateOrContractMonth": "20261218"},
        ),
    ],
)
def test_a_query_has_the_fields_that_tws_takes(symbol: str, exchange: Exchange, fields: dict[str, Any]) -> None:
    query = to_query(symbol, exchange)
    assert query is not None
    assert {name: getattr(query, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("symbol", "exchange"),
    [("号", SMART), ("AAPL\x00", SMART), ("", SMART), ("ES", CME), ("70000000", SEHK), ("99999999999", SMART)],
)
def test_a_spelling_that_can_be_nothing_is_never_asked_for(symbol: str, exchange: Exchange) -> None:
    assert to_query(symbol, exchange) is None


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40), st.sampled_from(list(Exchange)))
def test_spelling_is_its_own_spelling_and_never_puts_odd_text_on_the_wire(text: str, exchange: Exchange) -> None:
    try:
        key = spelling(text, exchange)
    except SymbolError:
        return
    assert spelling(*key) == key
    for query in to_queries(*key):
        assert all(32 <= ord(c) < 127 for c in query.symbol + query.localSymbol + query.exchange)


PARTS = [
    "AAPL",
    "ES",
    "202612",
    "20261218",
    "C",
    "P",
    "152_5",
    "230.50",
    "100",
    "50",
    "USD",
    "HKD",
    "FUT",
    "OPT",
    "STK",
]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([*PARTS, "CASH", "FOP", "700"]), min_size=1, max_size=8), st.sampled_from(list(Exchange))
)
def test_written_forms_are_their_own_spelling(parts: list[str], exchange: Exchange) -> None:
    key = spelling("-".join(parts), exchange)
    assert spelling(*key) == key


def test_positions_and_executions_are_named_without_details() -> None:
    def row(**fields: Any) -> Contract:
        return Contract(conId=1, **fields)

    assert written_form(row(secType="STK", symbol="BRK B", exchange="IEX", currency="USD")) == ("BRK-B", SMART)
    assert written_form(row(secType="STK", symbol="700", exchange="SEHK", currency="HKD")) == ("00700", SEHK)
    assert written_form(row(secType="STK", symbol="600519", exchange="SEHKNTL", currency="CNH")) == ("600519", SSE)
    assert written_form(row(secType="CASH", symbol="EUR", currency="USD")) == ("EUR-USD-CASH", IDEALPRO)
    option = row(
        secType="OPT", symbol="AAPL", currency="USD", strike=152.5, right="C", multiplier="100",
        lastTradeDateOrContractMonth="20261218", tradingClass="AAPL",
    )  # fmt: skip
    assert written_form(option) == ("AAPL-20261218-C-152_5-100-USD-OPT", SMART)
    weekly = row(
        secType="OPT", symbol="SPX", currency="USD", strike=6000.0, right="P", multiplier="100",
        lastTradeDateOrContractMonth="20261218", tradingClass="SPXW",
    )  # fmt: skip
    assert written_form(weekly) == ("SPXW-20261218-P-6000-100-USD-OPT", SMART)
    # Its exchange is empty, and the month of its last day need not be the contract's (crude oil).
    assert (
        written_form(row(secType="FUT", symbol="CL", currency="USD", lastTradeDateOrContractMonth="20261119")) is None
    )


# ------------------------------------------------------------------ learning


def test_a_stock_is_learned_and_pushed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, AAPL)

    async def script() -> None:
        await desk.contracts.ensure([("AAPL", SMART)])

    run(script())
    known = desk.contracts.get("AAPL", SMART)
    assert known is not None
    assert (known.con_id, known.lot, known.size, known.currency) == (265598, Decimal(1), Decimal(1), "USD")
    assert known.contract.exchange == "SMART"
    assert known.tick_at(Decimal("0.5")) == Decimal("0.0001")
    assert known.tick_at(Decimal("400")) == Decimal("0.01")
    (contract,) = desk.pushed
    assert (contract.vt_symbol, contract.name, contract.pricetick) == ("AAPL.SMART", "AAPL INC", 0.01)
    assert (contract.min_volume, contract.size, contract.product) == (1, 1, Product.EQUITY)
    assert contract.stop_supported
    assert contract.net_position
    assert contract.history_data
    assert contract.extra == {"currency": "USD", "con_id": 265598}
    assert type(contract.min_volume) is float
    assert desk.contracts.by_con_id(265598) == known


def test_a_known_instrument_is_not_asked_for_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path, AAPL)

    async def script() -> None:
        await desk.contracts.ensure([("AAPL", SMART)])
        await desk.contracts.ensure([("AAPL", SMART)])

    run(script())
    assert len(desk.wire.of("reqContractDetails")) == 1
    assert len(desk.pushed) == 1


def test_a_con_id_is_the_instrument_that_it_stands_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, AAPL, OPTION)

    async def script() -> None:
        await desk.contracts.ensure([("265598", SMART), ("777", SMART)])

    run(script())
    known = desk.contracts.get("265598", SMART)
    assert known is not None
    assert known.vt_symbol == "AAPL.SMART"
    assert desk.contracts.key_of("265598", SMART) == ("AAPL", SMART)
    assert {c.vt_symbol for c in desk.pushed} == {"AAPL.SMART", "AAPL-20261218-C-152_5-100-USD-OPT.SMART"}
    option = next(c for c in desk.pushed if c.product is Product.OPTION)
    assert (option.size, option.option_strike, option.option_type) == (100, 152.5, OptionType.CALL)
    assert option.option_expiry is not None
    assert option.option_expiry.date() == date(2026, 12, 18)


def test_a_row_for_each_venue_is_one_contract_routed_by_smart(tmp_path: Path) -> None:
    venues = [details("AAPL", 265598, exchange=venue) for venue in ("NYSE", "SMART", "NASDAQ")]
    desk = Desk(tmp_path, *venues)
    run(desk.contracts.ensure([("265598", SMART)]))
    known = desk.contracts.get("AAPL", SMART)
    assert known is not None
    assert known.contract.exchange == "SMART"


def test_hong_kong_lots_and_ticks_come_from_tws(tmp_path: Path) -> None:
    desk = Desk(tmp_path, TENCENT)
    run(desk.contracts.ensure([("00700", SEHK)]))
    known = desk.contracts.get("00700", SEHK)
    assert known is not None
    assert known.lot == 100
    assert known.contract.exchange == "SEHK"
    assert known.zone == ZoneInfo("Asia/Hong_Kong")


def test_a_warrant_is_found_by_its_code(tmp_path: Path) -> None:
    warrant = details(
        "700", 31, kind="WAR", exchange="SEHK", primary="SEHK", currency="HKD", local="13012", minSize=5000,
        sizeIncrement=5000, multiplier="1",
    )  # fmt: skip
    desk = Desk(tmp_path, TENCENT, warrant)
    run(desk.contracts.ensure([("13012", SEHK)]))
    known = desk.contracts.get("13012", SEHK)
    assert known is not None
    assert (known.product, known.lot) == (Product.WARRANT, Decimal(5000))


def test_a_future_of_a_position_gets_its_contract_month(tmp_path: Path) -> None:
    oil = details(
        "CL", 42, kind="FUT", exchange="NYMEX", primary="", rules="", expiry="20261119", contractMonth="202612",
        multiplier="1000", sizeIncrement=1, minSize=1,
    )  # fmt: skip
    desk = Desk(tmp_path, oil, ES)
    held = Contract(conId=42, secType="FUT", symbol="CL", currency="USD", lastTradeDateOrContractMonth="20261119")
    assert desk.contracts.canonical_of(held) == ("42", SMART)
    run(desk.contracts.identify([held]))
    assert desk.contracts.canonical_of(held) == ("CL-202612-USD-FUT", Exchange.NYMEX)
    known = desk.contracts.by_con_id(42)
    assert known is not None
    assert known.size == 1000
    assert known.contract.exchange == "NYMEX"


def test_prices_in_cents_make_the_size_smaller(tmp_path: Path) -> None:
    corn = details(
        "ZC", 43, kind="FUT", exchange="CBOT", primary="", rules="", expiry="20261214", contractMonth="202612",
        multiplier="5000", priceMagnifier=100, sizeIncrement=1,
    )  # fmt: skip
    desk = Desk(tmp_path, corn)
    run(desk.contracts.ensure([("ZC-202612-USD-FUT", Exchange.CBOT)]))
    known = desk.contracts.get("ZC-202612-USD-FUT", Exchange.CBOT)
    assert known is not None
    assert known.size == 50


def test_the_class_named_like_the_product_is_meant(tmp_path: Path) -> None:
    silver = {"kind": "FUT", "exchange": "COMEX", "primary": "", "rules": "", "expiry": "20261229"}
    full = details("SI", 1, multiplier="5000", contractMonth="202612", **silver)
    mini = details("SI", 2, multiplier="1000", contractMonth="202612", trading_class="SIL", **silver)
    desk = Desk(tmp_path, mini, full)
    comex = Exchange.COMEX
    run(desk.contracts.ensure([("SI-202612-USD-FUT", comex), ("SI-202612-1000-USD-FUT", comex)]))
    first = desk.contracts.get("SI-202612-USD-FUT", comex)
    second = desk.contracts.get("SI-202612-1000-USD-FUT", comex)
    assert first is not None
    assert second is not None
    assert (first.con_id, second.con_id) == (1, 2)


def test_what_cannot_be_told_apart_is_one_line_with_the_candidates(tmp_path: Path) -> None:
    vix = {
        "kind": "FUT",
        "exchange": "CFE",
        "primary": "",
        "rules": "",
        "contractMonth": "202612",
        "multiplier": "1000",
    }
    rows = [
        details("VIX", number, trading_class=name, expiry=day, local=name, **vix)
        for number, name, day in ((5, "VX", "20261216"), (6, "VX49", "20261209"))
    ]
    desk = Desk(tmp_path, *rows)
    run(desk.contracts.ensure([("VIX-202612-USD-FUT", Exchange.CFE)]))
    assert desk.contracts.get("VIX-202612-USD-FUT", Exchange.CFE) is None
    (line,) = desk.lines
    assert "conId 5" in line
    assert "conId 6" in line
    run(desk.contracts.ensure([("VIX-20261209-USD-FUT", Exchange.CFE)]))
    weekly = desk.contracts.get("VIX-20261209-USD-FUT", Exchange.CFE)
    assert weekly is not None
    assert weekly.symbol == "VIX-20261209-1000-USD-FUT"


def test_an_index_option_class_is_found_by_its_occ_code(tmp_path: Path) -> None:
    weekly = details(
        "SPX", 9, kind="OPT", primary="", expiry="20261218", strike=6000.0, right="P", multiplier="100",
        trading_class="SPXW", local="SPXW  261218P06000000",
    )  # fmt: skip
    desk = Desk(tmp_path, weekly)
    key = spelling("SPXW  261218P06000000", SMART)
    run(desk.contracts.ensure([key]))
    known = desk.contracts.get(*key)
    assert known is not None
    assert (known.con_id, known.key) == (9, key)


def test_missing_is_remembered_for_a_while_only(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def script() -> None:
        await desk.contracts.ensure([("NOPE", SMART)])
        await desk.contracts.ensure([("NOPE", SMART)])
        assert len(desk.wire.of("reqContractDetails")) == 1
        assert desk.contracts.is_missing("NOPE", SMART)
        desk.wire.answers = answering(details("NOPE", 5))  # TWS was in its nightly reset
        await desk.clock.advance(61)
        await desk.contracts.ensure([("NOPE", SMART)])

    run(script())
    assert desk.contracts.get("NOPE", SMART) is not None
    assert not desk.contracts.is_missing("NOPE", SMART)


def test_an_impossible_spelling_is_missing_and_costs_no_request(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    run(desk.contracts.ensure([("号", SMART)]))
    assert desk.contracts.is_missing("号", SMART)
    assert desk.wire.sent == []


def test_one_that_cannot_be_asked_does_not_cost_the_others(tmp_path: Path) -> None:
    desk = Desk(tmp_path, AAPL)
    asked = desk.wire.answers

    def answers(query: Contract) -> list[ContractDetails]:
        if query.symbol == "IBM":
            raise TimedOut("no answer", about="IBM")
        return asked(query)

    desk.wire.answers = answers
    with pytest.raises(TimedOut):
        run(desk.contracts.ensure([("IBM", SMART), ("AAPL", SMART)]))
    assert desk.contracts.get("AAPL", SMART) is not None
    assert not desk.contracts.is_missing("IBM", SMART)


def test_the_cache_keeps_the_con_id_over_a_restart(tmp_path: Path) -> None:
    first = Desk(tmp_path, ES)
    run(first.contracts.ensure([("ES-202612-USD-FUT", CME)]))
    rows = json.loads((tmp_path / "ibkr_contracts.json").read_text("utf-8"))["contracts"]
    assert rows[0]["hints"]["con_id"] == "495512563"
    second = Desk(tmp_path, ES)
    assert run(second.contracts.load_cache()) == 1
    assert [c.vt_symbol for c in second.pushed] == ["ES-202612-USD-FUT.CME"]
    held = Contract(conId=495512563, secType="FUT", symbol="ES", lastTradeDateOrContractMonth="20261218")
    assert second.contracts.canonical_of(held) == ("ES-202612-USD-FUT", CME)
    assert second.contracts.seen_before("ES-202612-USD-FUT", CME)
    run(second.contracts.ensure([("ES-202612-USD-FUT", CME)]))
    assert second.wire.of("reqContractDetails")[0][1].conId == 495512563
    assert len(second.pushed) == 1, "nothing changed: nothing is pushed again"


def test_a_con_id_that_tws_no_longer_knows_falls_back_to_the_name(tmp_path: Path) -> None:
    first = Desk(tmp_path, AAPL)
    run(first.contracts.ensure([("AAPL", SMART)]))
    second = Desk(tmp_path, details("AAPL", 5, trading_class="NMS"))
    run(second.contracts.load_cache())
    run(second.contracts.ensure([("AAPL", SMART)]))
    known = second.contracts.get("AAPL", SMART)
    assert known is not None
    assert known.con_id == 5


def test_the_contract_is_pushed_again_when_its_price_step_changes(tmp_path: Path) -> None:
    desk = Desk(tmp_path, AAPL)
    run(desk.contracts.ensure([("AAPL", SMART)]))
    known = desk.contracts.get("AAPL", SMART)
    assert known is not None
    assert desk.contracts.at_price(known, Decimal("200")).tick == Decimal("0.01")
    assert len(desk.pushed) == 1
    assert desk.contracts.at_price(known, Decimal("0.8")).tick == Decimal("0.0001")
    assert [c.pricetick for c in desk.pushed] == [0.01, 0.0001]


def test_a_dollar_stock_listed_abroad_is_no_us_ticker(tmp_path: Path) -> None:
    abroad = details("VUSD", 88, exchange="LSEETF", primary="LSEETF", zone="GB", trading_class="ETF")
    desk = Desk(tmp_path, abroad)
    held = Contract(conId=88, secType="STK", symbol="VUSD", exchange="LSEETF", currency="USD")
    run(desk.contracts.identify([held]))
    assert desk.contracts.canonical_of(held) == ("88", SMART)
    assert desk.contracts.get("VUSD", SMART) is None


# ------------------------------------------------------------------ segments

LIQUID = "20261119:0930-20261119:1600;20261120:0930-20261120:1300;20261121:CLOSED"
TRADING = "20261119:0400-20261119:2000;20261120:0400-20261120:1700;20261121:CLOSED"


@pytest.mark.parametrize(
    ("moment", "segment"),
    [
        ("2026-11-19 03:59", Segment.CLOSED),
        ("2026-11-19 04:00", Segment.PRE),
        ("2026-11-19 09:29", Segment.PRE),
        ("2026-11-19 09:30", Segment.REGULAR),
        ("2026-11-19 15:59", Segment.REGULAR),
        ("2026-11-19 16:00", Segment.POST),
        ("2026-11-19 20:00", Segment.CLOSED),
        ("2026-11-20 13:30", Segment.POST),
        ("2026-11-21 11:00", Segment.CLOSED),
        ("2026-11-23 11:00", Segment.REGULAR),
        ("2026-11-26 11:00", Segment.CLOSED),
    ],
)
def test_the_segment_is_that_of_the_contracts_hours_and_beyond_them_the_calendars(
    moment: str, segment: Segment
) -> None:
    at = datetime.fromisoformat(moment).replace(tzinfo=NEW_YORK).astimezone(timezone.utc)
    liquid, trading = parse_hours(LIQUID, NEW_YORK), parse_hours(TRADING, NEW_YORK)
    assert segment_by_hours(liquid, trading, at, NEW_YORK, Region.US) is segment


def test_lunch_in_hong_kong_is_a_break() -> None:
    zone = ZoneInfo("Asia/Hong_Kong")
    hours = parse_hours("20261120:0930-20261120:1200;20261120:1300-20261120:1600", zone)
    noon = datetime(2026, 11, 20, 12, 30, tzinfo=zone)
    assert segment_by_hours(hours, hours, noon, zone, Region.HK) is Segment.BREAK


def test_a_future_trades_around_the_clock_and_has_no_calendar_here() -> None:
    zone = ZoneInfo("America/Chicago")
    trading = parse_hours("20261118:1700-20261119:1600;20261119:1700-20261120:1600", zone)
    liquid = parse_hours("20261119:0830-20261119:1600;20261120:0830-20261120:1600", zone)
    night = datetime(2026, 11, 19, 20, 0, tzinfo=zone)
    assert segment_by_hours(liquid, trading, night, zone, None) is Segment.PRE
    pause = datetime(2026, 11, 19, 16, 30, tzinfo=zone)
    assert segment_by_hours(liquid, trading, pause, zone, None) is not Segment.REGULAR
    unknown = datetime(2027, 1, 4, 16, 30, tzinfo=zone)
    assert segment_by_hours(liquid, trading, unknown, zone, None) is Segment.REGULAR


def test_old_builds_write_spans_of_a_day_with_commas() -> None:
    hours = parse_hours("20090507:0700-1830,1900-2330;20090508:CLOSED", NEW_YORK)
    assert len(hours.spans) == 2
    assert date(2009, 5, 8) in hours.days


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=60), st.from_regex(r"(20[0-9]{6}:([0-9]{4}-20[0-9]{6}:[0-9]{4}|CLOSED);?){0,3}")))
def test_no_text_of_hours_does_harm(text: str) -> None:
    hours = parse_hours(text, NEW_YORK)
    assert all(start < end for start, end in hours.spans)
    assert isinstance(segment_by_hours(hours, hours, NOW, NEW_YORK, None), Segment)


def test_hours_that_ended_are_asked_for_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path, AAPL)

    async def script() -> None:
        await desk.contracts.ensure([("AAPL", SMART)])
        await desk.contracts.renew()
        assert len(desk.wire.of("reqContractDetails")) == 1
        await desk.clock.advance(3 * 86400)
        desk.wire.answers = answering(
            details("AAPL", 265598, trading_class="NMS", liquidHours="20261123:0930-20261123:1600", tradingHours="")
        )
        await desk.contracts.renew()
        known = desk.contracts.get("AAPL", SMART)
        assert known is not None
        assert desk.contracts.segment(known, desk.clock.now()) is Segment.REGULAR
        await desk.contracts.renew()
        assert len(desk.wire.of("reqContractDetails")) == 2

    run(script())
