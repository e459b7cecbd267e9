"""Market data of the simulated TWS: ticks, rights, snapshots, depth, tick by tick, real-time bars, option values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import brokersim
from tests.sim_tws_client import AAPL, CALL, ES, EURUSD, TENCENT, Fields, RawClient, connected, market_data_request


@pytest.fixture
def sim() -> Iterator[brokersim.Simulation]:
    with brokersim.running(vbrokers=False, tws=True) as running:
        running.pause()
        running.quote("AAPL.SMART", last="200", bid="199.9", ask="200.1", bid_size=500, ask_size=600)
        yield running


@pytest.fixture
def client(sim: brokersim.Simulation) -> Iterator[RawClient]:
    assert sim.tws_address is not None
    with connected(sim.tws_address) as client:
        yield client


def ticks(messages: list[Fields]) -> dict[tuple[str, str], list[str]]:
    """(message id, tick type) -> what follows."""
    found = {}
    for message in messages:
        if message[0] in ("1", "2", "45", "46"):
            assert len(message) == (7 if message[0] == "1" else 5)
            found[message[0], message[3]] = message[4:]
        elif message[0] == "21":
            assert len(message) == 12
            found[message[0], message[2]] = message[4:]
    return found


def ask(client: RawClient, req_id: int, contract: tuple[str, ...], generic: str = "", **more: Any) -> list[Fields]:
    client.send(*market_data_request(req_id, contract, generic, **more))
    return client.ping()


# -- top of book -----------------------------------------------------------------------------------------------


def test_a_subscription_is_answered_at_once(client: RawClient) -> None:
    messages = ask(client, 5, AAPL)
    assert messages[0] == ["58", "1", "5", "1"]
    assert messages[1] == ["81", "5", "0.01", "9c0001", "3"]
    found = ticks(messages)
    assert found["1", "1"] == ["199.90", "500", "1"]
    assert found["2", "0"] == ["500"]
    assert found["1", "2"] == ["200.10", "600", "1"]
    assert found["2", "3"] == ["600"]
    assert found["1", "4"][0] == "200.00"
    assert {("1", "9"), ("1", "14"), ("1", "6"), ("1", "7"), ("2", "8"), ("2", "5"), ("46", "45")} <= found.keys()
    assert found["45", "49"] == ["0"]


def test_only_what_changed_follows(sim: brokersim.Simulation, client: RawClient) -> None:
    ask(client, 5, AAPL)
    sim.quote("AAPL.SMART", bid="199.8", bid_size=500)
    assert client.ping() == [["1", "6", "5", "1", "199.80", "500", "1"]]
    sim.quote("AAPL.SMART", bid_size=700)
    assert client.ping() == [["2", "6", "5", "0", "700"]]


def test_a_cancelled_subscription_is_silent(sim: brokersim.Simulation, client: RawClient) -> None:
    ask(client, 5, AAPL)
    client.send(2, 2, 5)
    assert client.ping() == []
    sim.quote("AAPL.SMART", bid="199")
    assert client.ping() == []
    client.send(2, 2, 5)
    assert client.error()[:2] == (5, 300)


def test_a_trade_that_repeats_price_and_size_is_told(client: RawClient, sim: brokersim.Simulation) -> None:
    ask(client, 5, AAPL)
    sim.resume()
    volume = client.read_until(lambda fields: fields[0] == "2" and fields[3] == "8")
    assert any(fields[0] == "2" and fields[3] == "5" for fields in volume)


def test_duplicate_ids_and_too_many_lines(sim: brokersim.Simulation, client: RawClient) -> None:
    sim.switches(**{"tws.market_data_lines": 2})
    ask(client, 1, AAPL)
    assert ask(client, 1, TENCENT)[0][2:4] == ["1", "102"]
    ask(client, 2, TENCENT)
    assert ask(client, 3, EURUSD)[0][2:4] == ["3", "101"]
    client.send(2, 2, 1)
    assert ask(client, 4, EURUSD)[0][0] == "58"


def test_a_snapshot_ends(sim: brokersim.Simulation, client: RawClient) -> None:
    messages = ask(client, 6, AAPL, snapshot=1)
    assert messages[-1] == ["57", "1", "6"]
    assert ("1", "4") in ticks(messages)
    sim.quote("AAPL.SMART", bid="199")
    assert client.ping() == []
    assert ask(client, 7, AAPL, "233", snapshot=1)[0][2:4] == ["7", "414"]


def test_generic_ticks(client: RawClient) -> None:
    found = ticks(ask(client, 8, AAPL, "233,236"))
    assert found["45", "46"] == ["3.0"]
    assert found["2", "89"] == ["10000000"]
    assert ("2", "86") in ticks(ask(client, 9, ES, "588"))
    for contract, wrong in ((AAPL, "588"), (ES, "236"), (AAPL, "x"), (EURUSD, "233")):
        assert ask(client, 10, contract, wrong)[0][2:4] == ["10", "321"]


def test_forex_has_no_trades(client: RawClient) -> None:
    found = ticks(ask(client, 11, EURUSD))
    assert {("1", "1"), ("1", "2"), ("1", "9")} <= found.keys()
    assert not {("1", "4"), ("2", "5"), ("2", "8"), ("46", "45")} & found.keys()


# -- rights ----------------------------------------------------------------------------------------------------


def test_delayed_only(sim: brokersim.Simulation, client: RawClient) -> None:
    sim.switches(**{"tws.us_market_data": "delayed"})
    assert ask(client, 1, AAPL)[0][2:4] == ["1", "10168"]
    assert ask(client, 2, TENCENT)[0] == ["58", "1", "2", "1"]
    client.send(59, 1, 3)
    messages = ask(client, 3, AAPL)
    assert messages[0][2:4] == ["3", "10167"]
    assert messages[1] == ["58", "1", "3", "3"]
    found = ticks(messages)
    assert found["1", "66"][0] == "199.90"
    assert {("1", "68"), ("2", "74"), ("1", "75"), ("46", "88")} <= found.keys()
    assert not {("1", "1"), ("1", "4")} & found.keys()


def test_no_right_at_all(sim: brokersim.Simulation, client: RawClient) -> None:
    sim.switches(**{"tws.hk_market_data": "none"})
    client.send(59, 1, 3)
    assert ask(client, 1, TENCENT)[0][2:4] == ["1", "354"]
    assert ask(client, 2, AAPL)[0] == ["58", "1", "2", "1"]


def test_a_closed_market_is_frozen_where_that_was_asked_for() -> None:
    with brokersim.running(vbrokers=False, tws=True, clock="data") as sim:
        sim.set_clock("2026-03-10T05:00:00Z")
        assert sim.tws_address is not None
        with connected(sim.tws_address) as client:
            assert ask(client, 1, AAPL)[0] == ["58", "1", "1", "1"]
            client.send(59, 1, 2)
            assert ask(client, 2, AAPL)[0] == ["58", "1", "2", "2"]


def test_a_wrong_data_type_is_told(client: RawClient) -> None:
    client.send(59, 1, 7)
    assert client.error()[:2] == (-1, 321)


@pytest.mark.parametrize(
    ("contract", "code"),
    [
        (("0", "NOPE", "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""), "200"),
        (("0", "AAPL", "OPT", "", "0.0", "", "", "SMART", "", "USD", "", ""), "200"),
        (("265598", "", "", "", "0.0", "", "", "", "", "", "", ""), "321"),
    ],
)
def test_contracts_that_are_not_one(client: RawClient, contract: tuple[str, ...], code: str) -> None:
    assert ask(client, 1, contract)[0][2:4] == ["1", code]


# -- depth -----------------------------------------------------------------------------------------------------


def depth(client: RawClient, req_id: int, contract: tuple[str, ...], rows: int, smart: int) -> list[Fields]:
    client.send(10, 5, req_id, *contract, rows, smart, "")
    return client.ping()


def test_smart_depth_has_venues_and_the_others_none(client: RawClient) -> None:
    smart = depth(client, 1, AAPL, 2, 1)
    assert {fields[0] for fields in smart} == {"13"}
    assert [fields[3:7] for fields in smart] == [[row, "NASDAQ", "0", side] for side in "01" for row in "01"]
    assert smart[2][7:] == ["199.90", "500", "1"]
    plain = depth(client, 2, TENCENT, 5, 0)
    assert {fields[0] for fields in plain} == {"12"}
    assert {len(fields) for fields in plain} == {8}


def test_depth_follows_the_book(sim: brokersim.Simulation, client: RawClient) -> None:
    rows: dict[tuple[str, str], list[str]] = {}

    def apply(messages: list[Fields]) -> None:
        for fields in messages:
            _, _, _, position, operation, side, *level = fields
            if operation == "2":
                del rows[side, position]
            else:
                assert (operation == "0") == ((side, position) not in rows)
                rows[side, position] = level

    apply(depth(client, 2, TENCENT, 5, 0))
    for bid in ("400", "410", "380"):
        sim.quote("00700.SEHK", bid=bid, ask="420")
        apply(client.ping())
        assert rows["1", "0"][0] == f"{bid}.00"
        prices = [float(rows["1", str(position)][0]) for position in range(5)]
        assert prices == sorted(prices, reverse=True)


def test_depth_limits_and_cancel(client: RawClient) -> None:
    for req_id in (1, 2, 3):
        assert depth(client, req_id, TENCENT, 1, 0)[0][0] == "12"
    assert depth(client, 4, TENCENT, 1, 0)[0][2:4] == ["4", "309"]
    client.send(11, 1, 1, 0)
    assert depth(client, 4, TENCENT, 1, 0)[0][0] == "12"
    client.send(11, 1, 77, 0)
    assert client.error()[:2] == (77, 310)
    assert depth(client, 5, AAPL, 5, 0)[0][2:4] == ["5", "10092"]


def test_depth_reset(sim: brokersim.Simulation, client: RawClient) -> None:
    before = depth(client, 2, TENCENT, 3, 0)
    sim.faults([{"broker": "tws", "do": "notice", "code": 317}])
    notice, *after = client.ping()
    assert notice[2:4] == ["2", "317"]
    assert after == before


# -- tick by tick ----------------------------------------------------------------------------------------------


def tape(client: RawClient, req_id: int, contract: tuple[str, ...], kind: str, past: int = 0) -> list[Fields]:
    client.send(97, req_id, *contract, kind, past, 0)
    return client.ping()


def test_bid_and_ask_tick_by_tick(sim: brokersim.Simulation, client: RawClient) -> None:
    assert [row[4:] for row in tape(client, 1, AAPL, "BidAsk")] == [["199.90", "200.10", "500", "600", "0"]]
    assert [row[4:] for row in tape(client, 2, AAPL, "MidPoint")] == [["200.00"]]
    sim.quote("AAPL.SMART", bid_size=900)
    assert [row[1:3] for row in client.ping()] == [["1", "3"]]
    sim.quote("AAPL.SMART", bid="199.8")
    assert [row[1:3] for row in client.ping()] == [["1", "3"], ["2", "4"]]


def test_trades_tick_by_tick_add_up_to_the_volume(sim: brokersim.Simulation, client: RawClient) -> None:
    def volume() -> int:
        return int(float(ticks(ask(client, 50, ES, snapshot=1))["2", "8"][0]))

    before = volume()
    assert tape(client, 1, ES, "AllLast") == []
    sim.resume()
    sim.advance(10)
    sim.pause()
    rows = [row for row in client.ping() if row[0] == "99"]
    assert rows
    assert {(row[1], row[2], len(row)) for row in rows} == {("1", "2", 9)}
    assert sum(int(row[5]) for row in rows) == volume() - before


def test_past_trades_come_first(sim: brokersim.Simulation, client: RawClient) -> None:
    sim.resume()
    sim.advance(30)
    sim.pause()
    [row] = tape(client, 1, AAPL, "Last", 3)
    assert (row[0], row[2], len(row), row[-1]) == ("98", "3", 3 + 3 * 6 + 1, "1")


def test_tick_by_tick_limits(sim: brokersim.Simulation, client: RawClient) -> None:
    for req_id in range(1, 6):
        tape(client, req_id, AAPL, "AllLast")
    assert tape(client, 6, AAPL, "AllLast")[0][2:4] == ["6", "10190"]
    assert tape(client, 1, AAPL, "AllLast")[0][2:4] == ["1", "102"]
    client.send(98, 1)
    assert tape(client, 6, EURUSD, "Last")[0][2:4] == ["6", "10189"]
    assert tape(client, 6, AAPL, "Sometimes")[0][2:4] == ["6", "321"]


# -- real-time bars --------------------------------------------------------------------------------------------


def test_real_time_bars_every_five_seconds() -> None:
    with brokersim.running(vbrokers=False, tws=True, clock="data") as sim:
        assert sim.tws_address is not None
        with connected(sim.tws_address) as client:
            client.send(50, 3, 1, *AAPL, 5, "TRADES", 1, "")
            client.send(50, 3, 2, *EURUSD, 5, "MIDPOINT", 0, "")
            client.ping()
            sim.advance(60)
            rows = [row for row in client.ping() if row[0] == "50"]
    trades = [row for row in rows if row[2] == "1"]
    assert {len(row) for row in rows} == {11}
    assert len(trades) == 12
    stamps = [int(row[3]) for row in trades]
    assert stamps == list(range(stamps[0], stamps[0] + 60, 5))
    for row in trades:
        open_, high, low, close, volume, average = (float(number) for number in row[4:10])
        assert low <= min(open_, close) <= max(open_, close) <= high
        assert volume >= 0
        assert low - 0.01 <= average <= high + 0.01
    assert [row[8:] for row in rows if row[2] == "2"] == [["-1", "-1", "-1"]] * 12


def test_real_time_bar_refusals(sim: brokersim.Simulation, client: RawClient) -> None:
    client.send(50, 3, 1, *EURUSD, 5, "TRADES", 1, "")
    assert client.error()[:2] == (1, 321)
    sim.switches(**{"tws.us_market_data": "delayed"})
    client.send(50, 3, 1, *AAPL, 5, "TRADES", 1, "")
    assert client.error()[:2] == (1, 420)
    client.send(51, 1, 1)
    assert client.error()[:2] == (1, 365)


# -- options ---------------------------------------------------------------------------------------------------


def test_an_option_comes_with_greeks() -> None:
    with brokersim.running(vbrokers=False, tws=True, clock="data") as sim:
        assert sim.tws_address is not None
        with connected(sim.tws_address) as client:
            found = ticks(ask(client, 1, CALL))
            volatility, delta, price, dividend, gamma, vega, theta, under = map(float, found["21", "13"])
            assert 0 < volatility < 5
            assert 0 < delta < 1
            assert gamma > 0
            assert vega > 0
            assert theta < 0
            assert dividend == 0
            client.send(55, 3, 2, *CALL, volatility, under, 0, "")
            computed = client.read()
            assert computed[:4] == ["21", "2", "53", "1"]
            assert float(computed[6]) == pytest.approx(price, abs=0.01)
            client.send(54, 3, 3, *CALL, price, under, "")
            assert float(client.read()[4]) == pytest.approx(volatility, abs=1e-4)
            client.send(54, 3, 4, *AAPL, price, under, "")
            assert client.error()[:2] == (4, 321)


# -- losses ----------------------------------------------------------------------------------------------------


def test_1101_ends_every_subscription_and_1102_none(sim: brokersim.Simulation, client: RawClient) -> None:
    ask(client, 1, AAPL)
    depth(client, 2, TENCENT, 1, 0)
    for code in (1100, 1102):
        sim.faults([{"broker": "tws", "do": "notice", "code": code}])
    sim.quote("AAPL.SMART", bid="199.8")
    assert [message[0] for message in client.ping()] == ["4", "4", "1"]
    sim.faults([{"broker": "tws", "do": "notice", "code": 1101}])
    sim.quote("AAPL.SMART", bid="199.7")
    assert [message[3] for message in client.ping()] == ["1101"]
    assert ask(client, 1, AAPL)[0][0] == "58"


def test_a_client_that_leaves_takes_its_subscriptions_along(sim: brokersim.Simulation) -> None:
    assert sim.tws_address is not None
    with connected(sim.tws_address, 4) as first:
        ask(first, 1, AAPL)
    with connected(sim.tws_address, 4) as second:
        sim.quote("AAPL.SMART", bid="199.5")
        assert second.ping() == []
        assert ask(second, 1, AAPL)[0][0] == "58"
