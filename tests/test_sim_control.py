"""The control interface, the fault table and the ``running`` context manager."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import brokersim
from brokersim.client import ControlError
from brokersim.faults import KINDS, BadFault, Fault, FaultRegistry, parse
from brokersim.half import BadCall
from brokersim.net import PortTaken


@pytest.fixture
def sim() -> Iterator[brokersim.Simulation]:
    with brokersim.running() as running:
        running.pause()
        running.quote("AAPL.SMART", last="200", bid="199.9", ask="200.1", bid_size=500, ask_size=500)
        yield running


def test_state_has_the_designs_shapes(sim: brokersim.Simulation) -> None:
    order_id = sim.order("AAPL.SMART", "LONG", 10, "250")
    resting = sim.order("AAPL.SMART", "LONG", 10, "100")
    state = sim.state()
    assert list(state) == ["vbrokers"]
    half = state["vbrokers"]
    assert set(half) == {"orders", "trades", "positions", "accounts", "cash"}
    fields = {"id", "account", "vt_symbol", "direction", "type", "price", "volume", "traded", "status", "reference"}
    assert [set(row) for row in half["orders"]] == [fields, fields]
    assert [(row["id"], row["status"]) for row in half["orders"]] == [(order_id, "ALLTRADED"), (resting, "NOTTRADED")]
    [trade] = half["trades"]
    assert set(trade) == {"id", "order_id", "account", "vt_symbol", "direction", "price", "volume", "time"}
    assert datetime.fromisoformat(trade["time"]).tzinfo is not None
    [position] = half["positions"]
    assert set(position) == {"account", "vt_symbol", "volume", "price", "last", "pnl"}
    assert (position["volume"], position["price"], position["last"]) == ("10", "200.1", "200")
    assert {row["currency"] for row in half["accounts"]} == {"HKD", "USD", "CNY"}
    assert all(set(row) == {"account", "currency", "balance", "frozen", "available"} for row in half["accounts"])
    assert set(half["cash"]["VBROKERS"]) == {"HKD", "USD", "CNY"}
    numbers = [row[key] for row in half["orders"] for key in ("price", "volume", "traded")]
    assert all(isinstance(number, str) and Decimal(number).is_finite() for number in numbers)


def test_wire_counts_requests_by_route(sim: brokersim.Simulation) -> None:
    assert sim.wire() == {"vbrokers": {}}
    for path in ("/trade/TradeEntrust", "/trade/TradeEntrustRequest", "/nothing"):
        httpx.post(f"{sim.vbrokers_url}{path}", json={}, trust_env=False)
    assert sim.wire() == {"vbrokers": {"/trade/TradeEntrust": 2, "/nothing": 1}}


def test_clock_calls(sim: brokersim.Simulation) -> None:
    begin = sim.clock()
    assert abs(begin - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert sim.advance(60) - begin >= timedelta(seconds=60)
    wanted = begin + timedelta(days=1)
    assert timedelta(0) <= sim.set_clock(wanted) - wanted < timedelta(minutes=1)
    assert sim.pause() <= sim.resume()


@pytest.mark.parametrize("clock", ["wall", "data"])
def test_a_clock_moved_by_a_year_answers_at_once_and_keeps_the_push_client(clock: str) -> None:
    with brokersim.running(clock=clock) as sim, socket.create_connection(_address(sim.push_address)) as push:
        securities = [{"dataType": 20000, "code": code} for code in ("AAPL", "IBM", "TSLA")]
        body = {"params": {"topicId": 17, "security": securities}}
        httpx.post(f"{sim.vbrokers_url}/hq/Subscribe", json=body, trust_env=False)
        begin = sim.clock()
        assert sim.advance(365 * 86_400) - begin >= timedelta(days=365)
        push.settimeout(10)
        assert push.recv(2) == b"HS"
        sim.advance(1)  # nothing has hung


def _address(text: str | None) -> tuple[str, int]:
    assert text is not None
    host, _, port = text.rpartition(":")
    return host, int(port)


def test_a_long_move_of_the_clock_leaves_other_connections_their_turn() -> None:
    with brokersim.running(clock="data") as sim, socket.create_connection(_address(sim.push_address)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = {"params": {"topicId": 17, "security": [{"dataType": 20000, "code": "AAPL"}]}}
        httpx.post(f"{sim.vbrokers_url}/hq/Subscribe", json=body, trust_env=False)
        moving = threading.Thread(target=sim.advance, args=(86_400,))
        begin = sim.clock()
        moving.start()
        try:
            answers = 0
            while moving.is_alive():
                answers += begin < sim.clock() < begin + timedelta(days=1)
        finally:
            moving.join()
        assert answers > 1


def test_data_clock_stands_still_and_pause_stops_the_quotes() -> None:
    with brokersim.running(clock="data") as sim:
        begin = sim.clock()
        assert sim.clock() == begin
        assert sim.advance(90.5) == begin + timedelta(seconds=90.5)
        assert sim.set_clock(begin.isoformat().replace("+00:00", "Z")) == begin
        sim.order("AAPL.SMART", "LONG", 1, "0.01")  # whatever has a working order is played
        sim.advance(60)
        sim.pause()
        standing = sim.quote("AAPL.SMART")
        sim.advance(60)
        assert sim.quote("AAPL.SMART")["last"] == standing["last"]


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "/clock", {}, "give one of"),
        ("POST", "/clock", {"advance_s": 1, "pause": True}, "give one of"),
        ("POST", "/clock", {"advance_s": -1}, "advance_s must be"),
        ("POST", "/clock", {"advance_s": "soon"}, "advance_s"),
        ("POST", "/clock", {"set": "yesterday"}, "no ISO 8601 time"),
        ("POST", "/clock", {"set": "2026-03-10T10:00:00"}, "no offset"),
        ("POST", "/clock", {"go": 1}, "unknown field `go`"),
        ("POST", "/orders", {"broker": "vbrokers"}, "missing required field"),
        ("POST", "/quotes", {"vt_symbol": "NOPE.SMART"}, "no instrument 'NOPE.SMART'"),
        ("POST", "/quotes", {"vt_symbol": "AAPL.SMART", "last": "much"}, "last must be a number"),
        ("POST", "/quotes", {"vt_symbol": "AAPL.SMART", "last": -1}, "last must be above 0"),
        ("POST", "/quotes", {"vt_symbol": "AAPL.SMART", "bid": 300, "ask": 200}, "quote refused"),
        ("POST", "/faults", {"do": "drop"}, "faults: Expected `array`"),
        ("POST", "/faults", [{"broker": "tws", "do": "drop"}], "no broker 'tws' here"),
        ("POST", "/switches", {"nope": 1}, "unknown switch 'nope'"),
    ],
)
def test_bad_calls_are_one_clear_line(
    sim: brokersim.Simulation, method: str, path: str, body: object, words: str
) -> None:
    response = httpx.request(method, sim.control_url + path, json=body, trust_env=False)
    assert response.status_code == 400
    error = response.json()["error"]
    assert words in error
    assert "\n" not in error


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/state", 405)])
def test_unknown_calls(sim: brokersim.Simulation, method: str, path: str, status: int) -> None:
    response = httpx.request(method, sim.control_url + path, trust_env=False)
    assert response.status_code == status
    assert "error" in response.json()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vt_symbol": "NOPE.SMART"}, "no instrument"),
        ({"account": "DU1"}, "no account 'DU1'"),
        ({"broker": "ibkr"}, "no broker 'ibkr' here"),
        ({"volume": 0}, "volume must be a whole number"),
        ({"volume": "1.5"}, "volume must be a whole number"),
        ({"price": "NaN"}, "price must be a number"),
        ({"price": 0}, "order refused"),
        ({"vt_symbol": "00700.SEHK", "type": "MARKET"}, "takes no MARKET order on SEHK"),
        ({"direction": "SHORT"}, "order refused: 可卖数量不足"),
    ],
)
def test_orders_from_the_phone_are_checked(sim: brokersim.Simulation, changes: dict[str, Any], words: str) -> None:
    wanted: dict[str, Any] = {"vt_symbol": "AAPL.SMART", "direction": "LONG", "volume": 1, "price": 100} | changes
    with pytest.raises(ControlError, match=words):
        sim.order(**wanted)


@pytest.mark.parametrize("price", [None, 0, "0"])
def test_a_market_order_from_the_phone_needs_no_price(sim: brokersim.Simulation, price: object) -> None:
    body = {"broker": "vbrokers", "account": "VBROKERS", "vt_symbol": "AAPL.SMART", "direction": "LONG"}
    body |= {"type": "MARKET", "volume": "1", "price": price}  # type: ignore[dict-item] # JSON of any kind
    answer = httpx.post(f"{sim.control_url}/orders", json=body, trust_env=False)
    assert answer.json()["id"] == sim.state()["vbrokers"]["orders"][-1]["id"]


def test_control_is_on_loopback_only(sim: brokersim.Simulation) -> None:
    for address in (sim.control_url, sim.vbrokers_url, sim.push_address):
        assert "127.0.0.1" in (address or "")


# --- faults as data -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"broker": "vbrokers", "do": "explode"}, "unknown fault 'explode'"),
        ({"broker": "moon", "do": "drop"}, "Invalid enum value 'moon'"),
        ({"broker": "vbrokers", "do": "hold"}, "not for broker 'vbrokers'"),
        ({"broker": "tws", "do": "displace"}, "not for broker 'tws'"),
        ({"broker": "vbrokers", "do": "delay"}, "needs ms"),
        ({"broker": "vbrokers", "do": "push"}, "needs mode"),
        ({"broker": "vbrokers", "do": "push", "mode": "twice"}, "Invalid enum value 'twice'"),
        ({"broker": "vbrokers", "do": "drop", "ms": 5}, "takes no ms"),
        ({"broker": "vbrokers", "do": "http_status", "code": 204}, "400 to 599"),
        ({"broker": "vbrokers", "do": "drop", "times": 0}, "times"),
        ({"broker": "vbrokers", "do": "drop", "when": {"nth": 0}}, "nth"),
        ({"broker": "vbrokers", "do": "drop", "when": {"phase": "during"}}, "Invalid enum value 'during'"),
        ({"broker": "vbrokers", "do": "refuse", "for_s": -1}, "for_s"),
        ({"broker": "vbrokers", "do": "drop", "whenever": 1}, "unknown field `whenever`"),
    ],
)
def test_bad_faults_are_one_clear_line(fault: dict[str, Any], words: str) -> None:
    with pytest.raises(BadFault, match=words) as caught:
        parse(msgspec.json.encode([fault]))
    assert "\n" not in str(caught.value)


def test_the_table_of_the_design_is_whole() -> None:
    assert set(KINDS) == {
        "refuse", "drop", "stall", "delay", "split", "join", "garbage", "oversize", "http_status", "error",
        "lose_reply", "push", "restart", "fill_while_away", "displace", "expire", "stuck_cursor", "shift_pages",
        "notice", "daily_reset", "hold",
    }  # fmt: skip
    tws = (
        b'[{"broker": "tws", "do": "drop", "when": {"message": "placeOrder", "nth": 2, "phase": "after"}, "times": 1}]'
    )
    [fault] = parse(tws)
    assert (fault.when.message, fault.when.nth, fault.when.phase) == ("placeOrder", 2, "after")
    assert parse(
        b'[{"broker": "tws", "do": "notice", "code": 1100}, {"broker": "tws", "do": "daily_reset", "for_s": 9}]'
    )


@settings(max_examples=200, derandomize=True)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_body_breaks_the_parser(body: bytes) -> None:
    try:
        faults = parse(body)
    except BadFault:
        return
    assert all(isinstance(fault, Fault) for fault in faults)


def test_registry_counts_and_forgets() -> None:
    now = [datetime(2026, 1, 1, tzinfo=timezone.utc)]
    seconds = [0.0]
    registry = FaultRegistry(lambda: now[0], lambda: seconds[0])
    registry.add(
        parse(b'[{"broker": "vbrokers", "do": "drop", "when": {"message": "A", "nth": 2, "after_s": 5}, "times": 2}]')
    )
    struck: list[bool] = []

    def hit(name: str) -> None:
        struck.append(bool(registry.hit("vbrokers", {name}, {"request"})))

    hit("A")
    seconds[0] = 5.0
    hit("B")
    hit("A")
    assert struck == [False, False, False]
    hit("A")
    hit("A")
    hit("A")
    assert struck[3:] == [True, True, False]
    registry.add(parse(b'[{"broker": "vbrokers", "do": "drop", "when": {"after_s": 60}}]'))
    assert registry.due("vbrokers") == []
    now[0] += timedelta(seconds=61)
    assert registry.due("tws") == []
    assert [fault.do for fault in registry.due("vbrokers")] == ["drop"]
    assert registry.due("vbrokers") == []


# --- running ------------------------------------------------------------------------------------------------------


def test_running_leaves_nothing_behind() -> None:
    before = set(threading.enumerate())
    with brokersim.running() as sim:
        port = httpx.URL(sim.control_url).port or 0
        open_connection = socket.create_connection(("127.0.0.1", port))
    assert set(threading.enumerate()) == before
    with open_connection:
        assert open_connection.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_running_in_a_process_is_the_same() -> None:
    position = {"broker": "vbrokers", "account": "VBROKERS", "vt_symbol": "00700.SEHK", "volume": 200, "price": "320.4"}
    switches = {"err_style": "code", "omit_zeros": False}
    with brokersim.running(process=True, clock="data", positions=[position], switches=switches) as sim:
        [held] = sim.state()["vbrokers"]["positions"]
        assert (held["vt_symbol"], held["volume"], held["price"]) == ("00700.SEHK", "200", "320.4")
        assert sim.switches()["err_style"] == "code"
        assert sim.switches()["omit_zeros"] is False
        control = sim.control_url
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{control}/state", trust_env=False)


def test_running_refuses_in_words() -> None:
    with pytest.raises(BadCall, match="choose at least one broker"), brokersim.running(vbrokers=False):
        pass
    with pytest.raises(BadFault, match="unknown fault"), brokersim.running(faults=[{"broker": "vbrokers", "do": "x"}]):
        pass
    with pytest.raises(BadCall, match="positions"), brokersim.running(positions=[{"broker": "vbrokers"}]):
        pass
    with pytest.raises(BadCall, match="no prefix"), brokersim.running(switches={"vbrokers.err_style": "code"}):
        pass
    stranger = {"broker": "vbrokers", "account": "DU1", "vt_symbol": "AAPL.SMART", "volume": 1, "price": 1}
    with pytest.raises(BadCall, match=r"no 'AAPL\.SMART' in account 'DU1'"), brokersim.running(positions=[stranger]):
        pass
    with (
        brokersim.running() as sim,
        pytest.raises(PortTaken, match="--push-port"),
        brokersim.running(push_port=int((sim.push_address or "").rpartition(":")[2])),
    ):
        pass


def test_importing_brokersim_loads_nothing_heavy() -> None:
    heavy = (
        "[name for name in ('vnpy', 'vnpy_vbrokers', 'google.protobuf', 'asyncio', 'msgspec') if name in sys.modules]"
    )
    command = [sys.executable, "-c", f"import sys, brokersim; print({heavy})"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
    command = [sys.executable, "-c", "import sys, brokersim; brokersim.running; print('vnpy' in sys.modules)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"
