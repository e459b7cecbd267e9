"""Contracts of the simulated TWS: finding them, their details, rules, hours and chains."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

import brokersim
from brokersim.instruments import table
from brokersim.tws.contracts import ContractQuery, Contracts
from tests.harness import DATA
from tests.sim_tws_client import AAPL, CALL, ES, EURUSD, TENCENT, Fields, RawClient, connected, details_request

INSTRUMENTS = {vt_symbol: listing.instrument for vt_symbol, listing in table().items()}
CONTRACTS = Contracts(INSTRUMENTS)


@pytest.fixture(scope="module")
def client() -> Iterator[RawClient]:
    with brokersim.running(vbrokers=False, tws=True) as sim:
        sim.pause()
        assert sim.tws_address is not None
        with connected(sim.tws_address) as client:
            yield client


def vt_symbols(**fields: object) -> list[str]:
    return [listed.vt_symbol for listed in CONTRACTS.resolve(ContractQuery(**fields))]  # type: ignore[arg-type] # by name


@pytest.mark.parametrize(
    ("fields", "vt_symbol"),
    [
        ({"symbol": "AAPL", "sec_type": "STK", "exchange": "SMART", "currency": "USD"}, "AAPL.SMART"),
        ({"symbol": "aapl", "sec_type": "STK"}, "AAPL.SMART"),
        ({"con_id": 265598, "exchange": "SMART"}, "AAPL.SMART"),
        ({"con_id": 8314}, "IBM.SMART"),
        ({"symbol": "BRK B", "sec_type": "STK", "exchange": "SMART"}, "BRK-B.SMART"),
        ({"local_symbol": "BRK B", "sec_type": "STK"}, "BRK-B.SMART"),
        ({"symbol": "AAPL", "sec_type": "STK", "primary_exchange": "ISLAND"}, "AAPL.SMART"),
        ({"symbol": "AAPL", "sec_type": "STK", "exchange": "ISLAND"}, "AAPL.SMART"),
        ({"symbol": "AAPL", "sec_type": "STK", "trading_class": "NMS"}, "AAPL.SMART"),
        ({"sec_type": "STK", "sec_id_type": "ISIN", "sec_id": "US0378331005"}, "AAPL.SMART"),
        ({"symbol": "700", "sec_type": "STK", "exchange": "SEHK", "currency": "HKD"}, "00700.SEHK"),
        ({"symbol": "600519", "sec_type": "STK", "exchange": "SEHKNTL", "currency": "CNH"}, "600519.SSE"),
        ({"symbol": "000001", "sec_type": "STK", "exchange": "SEHKSZSE"}, "000001.SZSE"),
        ({"symbol": "1", "sec_type": "STK", "exchange": "SEHK"}, "00001.SEHK"),
        ({"symbol": "EUR", "sec_type": "CASH", "currency": "USD"}, "EUR-USD-CASH.IDEALPRO"),
        ({"local_symbol": "EUR.USD", "sec_type": "CASH"}, "EUR-USD-CASH.IDEALPRO"),
        ({"symbol": "ES", "sec_type": "FUT", "expiry": "202612"}, "ES-202612-USD-FUT.CME"),
        ({"symbol": "ES", "sec_type": "FUT", "expiry": "20261218", "exchange": "GLOBEX"}, "ES-202612-USD-FUT.CME"),
        ({"local_symbol": "ESZ6", "sec_type": "FUT"}, "ES-202612-USD-FUT.CME"),
        ({"symbol": "ES", "sec_type": "CONTFUT", "exchange": "CME"}, "ES-202612-USD-FUT.CME"),
        ({"symbol": "HSI", "sec_type": "FUT", "multiplier": "50"}, "HSI-202612-HKD-FUT.HKFE"),
        (
            {"symbol": "AAPL", "sec_type": "OPT", "strike": Decimal("152.5"), "right": "CALL"},
            "AAPL-20261218-C-152_5-100-USD-OPT.SMART",
        ),
        (
            {"local_symbol": "AAPL  261218P00220000", "sec_type": "OPT"},
            "AAPL-20261218-P-220-100-USD-OPT.SMART",
        ),
    ],
)
def test_contracts_are_found_by_any_fields(fields: dict[str, object], vt_symbol: str) -> None:
    assert vt_symbols(**fields) == [vt_symbol]


@pytest.mark.parametrize(
    "fields",
    [
        {"symbol": "00700", "sec_type": "STK", "exchange": "SEHK"},
        {"symbol": "700", "sec_type": "STK", "exchange": "SMART"},
        {"symbol": "BRK-B", "sec_type": "STK"},
        {"symbol": "AAPL", "sec_type": "STK", "currency": "HKD"},
        {"symbol": "AAPL", "sec_type": "STK", "primary_exchange": "NYSE"},
        {"symbol": "AAPL", "sec_type": "STK", "exchange": "SEHK"},
        {"symbol": "AAPL", "sec_type": "FUT"},
        {"con_id": 265598, "symbol": "IBM"},
        {"con_id": 700},
        {"sec_type": "STK"},
        {"symbol": "ES", "sec_type": "FUT", "expiry": "2026"},
        {"symbol": "ES", "sec_type": "FUT", "expiry": "202609"},
        {"symbol": "ES", "sec_type": "FUT", "exchange": "SMART"},
        {"symbol": "EUR", "sec_type": "CASH", "exchange": "SMART"},
        {"symbol": "AAPL", "sec_type": "OPT", "right": "X"},
    ],
)
def test_fields_that_do_not_fit_find_nothing(fields: dict[str, object]) -> None:
    assert vt_symbols(**fields) == []


def test_an_open_option_query_is_ambiguous() -> None:
    assert len(vt_symbols(symbol="AAPL", sec_type="OPT")) == 3


def test_con_ids_are_unique_and_do_not_depend_on_what_else_there_is() -> None:
    ids = {listed.con_id for listed in CONTRACTS}
    assert len(ids) == len(INSTRUMENTS)
    some = Contracts({vt: one for vt, one in INSTRUMENTS.items() if vt.endswith("SEHK")})
    assert all(listed.con_id == CONTRACTS.by_vt(listed.vt_symbol).con_id for listed in some)


def test_hong_kong_by_smart_is_a_switch() -> None:
    smart = Contracts(INSTRUMENTS, hk_smart=True)
    found = smart.resolve(ContractQuery(symbol="700", sec_type="STK", exchange="SMART"))
    assert [(listed.vt_symbol, listed.exchange) for listed in found] == [("00700.SEHK", "SMART")]


# -- on the wire -----------------------------------------------------------------------------------------------


def details(client: RawClient, contract: tuple[str, ...]) -> Fields:
    client.send(*details_request(7, contract))
    row, end = client.read(), client.read()
    assert row[:2] == ["10", "7"]
    assert end == ["52", "1", "7"]
    assert len(row) == 40 + 2 * int(row[30])
    return row


def test_details_of_a_us_stock(client: RawClient) -> None:
    row = details(client, AAPL)
    assert row[2:11] == ["AAPL", "STK", "", "0", "", "SMART", "USD", "AAPL", "NMS"]
    assert row[11:14] == ["NMS", "265598", "0.01"]
    assert (row[19], row[20]) == ("Apple Inc", "NASDAQ")
    assert row[31:33] == ["ISIN", "US0378331005"]
    assert row[-3:] == ["0.0001", "0.0001", "100"]
    assert "SMART" in row[16].split(",")
    assert len(row[16].split(",")) == len(row[-6].split(","))


def test_details_of_a_hong_kong_stock_say_the_lot(client: RawClient) -> None:
    row = details(client, TENCENT)
    assert (row[2], row[9], row[13], row[25]) == ("700", "700", "0.001", "Hongkong")
    assert row[-3:] == ["100", "100", "100"]
    client.send(91, row[-6])
    rule = client.read()
    steps = list(zip(rule[3::2], rule[4::2], strict=True))
    assert (rule[0], int(rule[2])) == ("93", len(steps))
    assert steps[0] == ("0", "0.001")
    assert ("200", "0.2") in steps


def test_details_of_derivatives(client: RawClient) -> None:
    future, option = details(client, ES), details(client, CALL)
    assert (future[4], future[14], future[21], future[33]) == ("20261218 08:30 US/Central", "50", "202612", "IND")
    assert (option[4], option[5], option[6], option[14], option[18]) == ("20261218", "230", "C", "100", "265598")


def test_liquid_hours_span_now_by_the_wall_clock(client: RawClient) -> None:
    for contract in (AAPL, TENCENT, EURUSD, ES, CALL):
        row = details(client, contract)
        zone = {"US/Eastern": "America/New_York", "Hongkong": "Asia/Hong_Kong", "US/Central": "America/Chicago"}[
            row[25]
        ]
        now = datetime.now(ZoneInfo(zone)).replace(tzinfo=timezone.utc)
        spans = [
            [datetime.strptime(f"{end}+0000", "%Y%m%d:%H%M%z") for end in part.split("-")]
            for part in row[27].split(";")
        ]
        assert any(start <= now < end for start, end in spans)
        assert any(start <= now + timedelta(days=2) < end for start, end in spans)


def test_hours_of_the_data_clock_are_the_real_sessions() -> None:
    at = datetime(2026, 4, 3, 15, 0, tzinfo=timezone.utc)  # Good Friday: both exchanges are closed, until after Easter
    with brokersim.running(vbrokers=False, tws=True, clock="data") as sim:
        sim.set_clock(at)
        assert sim.tws_address is not None
        with connected(sim.tws_address) as client:
            us, hk = details(client, AAPL), details(client, TENCENT)
    assert us[26].startswith("20260403:CLOSED;20260404:CLOSED;20260405:CLOSED;20260406:0400-20260406:2000;")
    assert us[27].split(";")[3] == "20260406:0930-20260406:1600"
    assert hk[27].split(";")[:4] == [f"2026040{day}:CLOSED" for day in (3, 4, 5, 6)]
    assert "20260408:0930-20260408:1200;20260408:1300-20260408:1600" in hk[27]


def test_a_day_without_data_is_closed() -> None:
    if not DATA.exists():
        pytest.skip(f"the market data folder {DATA.name} is not beside the repository")
    with brokersim.running(vbrokers=False, tws=True, clock="data", data=DATA) as sim:
        sim.set_clock("2013-10-07T14:00:00Z")
        assert sim.tws_address is not None
        with connected(sim.tws_address) as client:
            ibm = details(client, ("8314", *[""] * 6, "SMART", *[""] * 4))
            apple = details(client, AAPL)
    assert ibm[27].startswith("20131007:0930-20131007:1600;")
    assert apple[27].startswith("20131007:CLOSED;20131008:0930-")


@pytest.mark.parametrize(
    ("contract", "code"),
    [
        (("0", "NOPE", "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""), 200),
        (("0", "AAPL", "", "", "0.0", "", "", "SMART", "", "USD", "", ""), 321),
        (("0", "AAPL", "XXX", "", "0.0", "", "", "SMART", "", "USD", "", ""), 321),
    ],
)
def test_unknown_contracts_are_told(client: RawClient, contract: tuple[str, ...], code: int) -> None:
    client.send(*details_request(11, contract))
    assert client.error()[:2] == (11, code)


def test_an_ambiguous_query_gives_every_contract(client: RawClient) -> None:
    client.send(*details_request(12, ("0", "AAPL", "OPT", "", "0.0", "", "", "SMART", "", "USD", "", "")))
    rows = client.until_id(52)[:-1]
    assert sorted(row[5] for row in rows) == ["152.5", "220", "230"]


def test_matching_symbols(client: RawClient) -> None:
    client.send(81, 3, "aa")
    row = client.read()
    assert row[:5] == ["79", "3", "1", "265598", "AAPL"]
    assert row[5:] == ["STK", "NASDAQ", "USD", "1", "OPT", "Apple Inc", ""]
    client.send(81, 4, "tencent")
    assert client.read()[4] == "700"
    client.send(81, 5, "")
    assert client.read() == ["79", "5", "0"]


def test_option_chain(client: RawClient) -> None:
    client.send(78, 6, "AAPL", "", "STK", 265598)
    *rows, end = client.until_id(76)
    assert end == ["76", "6"]
    assert {row[2] for row in rows} == {"SMART", "AMEX", "CBOE"}
    assert rows[0][3:] == ["265598", "AAPL", "100", "1", "20261218", "3", "152.5", "220", "230"]


def test_small_lists(client: RawClient) -> None:
    client.send(82)
    venues = client.read()
    assert (venues[0], len(venues)) == ("80", 2 + 5 * int(venues[1]))
    client.send(83, 8, "9c0001")
    parts = client.read()
    assert (parts[0], parts[1], len(parts)) == ("82", "8", 3 + 3 * int(parts[2]))
    client.send(91, 999_999)
    assert client.error()[1] == 321
