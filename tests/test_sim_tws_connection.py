"""Faults at the socket of the simulated TWS: refusing, dropping, silence, restarts, cut and joined messages."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import brokersim
from tests.sim_tws_client import AAPL, DEADLINE_S, RawClient, connected, details_request, framed, market_data_request


@pytest.fixture
def sim() -> Iterator[brokersim.Simulation]:
    with brokersim.running(vbrokers=False, tws=True) as running:
        running.pause()
        running.quote("AAPL.SMART", last="200", bid="199.9", ask="200.1", bid_size=500, ask_size=500)
        yield running


@pytest.fixture
def tws(sim: brokersim.Simulation) -> str:
    assert sim.tws_address is not None
    return sim.tws_address


def fault(sim: brokersim.Simulation, do: str, **fields: Any) -> None:
    sim.faults([{"broker": "tws", "do": do, **fields}])


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} never held")


def accepts(tws: str) -> bool:
    try:
        with RawClient(tws) as client:
            client.shake_hands()
    except (ConnectionError, EOFError):
        return False
    return True


def limit_order(order_id: int, price: str = "100", quantity: int = 10) -> tuple[object, ...]:
    """placeOrder with 114 fields (reference tws-api 5)."""
    fields: list[object] = [3, order_id, *AAPL, "", "", "BUY", quantity, "LMT", price, "", "DAY", "", "DU1000001"]
    fields += ["", 0, f"ref{order_id}", 1, 0, 0, 0, 0, 0, 0, 0, "", "", "", "", "", "", "", "", 0, "", -1, 0]
    fields += [""] * (114 - len(fields))
    return tuple(fields)


def test_refuse_keeps_the_standing_connections(sim: brokersim.Simulation, tws: str) -> None:
    with connected(tws) as client:
        fault(sim, "refuse")
        assert not accepts(tws)
        assert client.ping() == []
        sim.clear_faults()
        until(lambda: accepts(tws))


def test_refuse_ends_by_itself(sim: brokersim.Simulation, tws: str) -> None:
    fault(sim, "refuse", for_s=0.2)
    assert not accepts(tws)
    until(lambda: accepts(tws))


def test_drop_now(sim: brokersim.Simulation, tws: str) -> None:
    with connected(tws) as first, connected(tws, 2) as second:
        fault(sim, "drop")
        assert first.is_closed()
        assert second.is_closed()
    with connected(tws) as again:
        assert again.ping() == []


@pytest.mark.parametrize(("phase", "count"), [("before", 0), ("after", 1)])
def test_drop_at_an_order(sim: brokersim.Simulation, tws: str, phase: str, count: int) -> None:
    with connected(tws) as client:
        fault(sim, "drop", when={"message": "placeOrder", "phase": phase})
        client.send(*limit_order(1))
        with pytest.raises((EOFError, ConnectionError)):
            client.until_id(99999)
    assert len(sim.state()["tws"]["orders"]) == count
    with connected(tws) as again:
        again.send(5, 1)
        rows = again.until_id(53)
        assert [row[0] for row in rows] == ["5", "3"] * count + ["53"]


def test_the_order_is_answered(sim: brokersim.Simulation, tws: str) -> None:
    with connected(tws) as client:
        client.send(*limit_order(1))
        messages = client.ping()
        assert messages[0][0] == "5"
        assert len(messages[0]) == 135
        assert {len(message) for message in messages if message[0] == "3"} == {12}
        client.send(*limit_order(2, "250"))
        kinds = [message[0] for message in client.ping()]
        assert {"5", "3", "11", "59"} <= set(kinds)
    [resting, filled] = sim.state()["tws"]["orders"]
    assert (resting["status"], filled["status"]) == ("NOTTRADED", "ALLTRADED")


def test_a_reply_that_is_lost_was_carried_out(sim: brokersim.Simulation, tws: str) -> None:
    with connected(tws) as client:
        fault(sim, "lose_reply", when={"message": "placeOrder"})
        client.send(*limit_order(1))
        assert client.ping() == []
        assert len(sim.state()["tws"]["orders"]) == 1


def test_stall_is_silence_on_an_open_socket(sim: brokersim.Simulation, tws: str) -> None:
    with connected(tws) as client:
        fault(sim, "stall")
        client.send(49, 1)
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.read()
        with RawClient(tws) as same:  # the half-open one still holds its id
            same.shake_hands()
            same.send(71, 2, 1, "")
            assert same.until_id(4)[-1][3] == "326"
        with connected(tws, 2) as other:
            assert other.ping() == []
        client.socket.settimeout(DEADLINE_S)
        sim.clear_faults()
        assert client.is_closed()
    with connected(tws) as again:
        assert again.ping() == []


def test_a_stall_ends_with_the_connection(sim: brokersim.Simulation, tws: str) -> None:
    with connected(tws) as client:
        fault(sim, "stall", for_s=0.1)
        assert client.is_closed()


def test_restart_keeps_orders_and_begins_ids_anew(sim: brokersim.Simulation, tws: str) -> None:
    with connected(tws) as client:
        client.send(*limit_order(50))
        client.ping()
        client.send(8, 1, 1)
        assert client.read() == ["9", "1", "51"]
        before = sim.state()["tws"]["orders"]
        fault(sim, "restart", for_s=0.1)
        assert client.is_closed()
    until(lambda: accepts(tws))
    with RawClient(tws) as client:
        welcome = client.start()
        assert int(welcome[1][2]) < 50
        client.send(16, 1)
        assert [row[0] for row in client.until_id(53)] == ["5", "3", "53"]
    assert sim.state()["tws"]["orders"] == before


def test_daily_reset_answers_200_to_everything(sim: brokersim.Simulation, tws: str) -> None:
    with connected(tws) as client:
        fault(sim, "daily_reset")
        assert client.error()[1] == 1100
        client.send(*market_data_request(4, AAPL))
        assert client.error()[:2] == (4, 200)
        client.send(*details_request(5, AAPL))
        assert client.error()[:2] == (5, 200)
        sim.clear_faults()
        assert client.error()[1] == 1102
        client.send(*details_request(6, AAPL))
        assert client.read()[0] == "10"


def test_split_messages_are_whole_in_the_end(sim: brokersim.Simulation, tws: str) -> None:
    with connected(tws) as client:
        fault(sim, "split", times=20)
        client.send(*details_request(5, AAPL))
        assert [row[0] for row in client.until_id(52)] == ["10", "52"]


def test_garbage_then_sense(sim: brokersim.Simulation, tws: str) -> None:
    with connected(tws) as client:
        fault(sim, "garbage", when={"message": "reqContractDetails"})
        client.send(*details_request(5, AAPL))
        size = int.from_bytes(_exactly(client.socket, 4), "big")
        _exactly(client.socket, size)
        client.send(*details_request(6, AAPL))
        assert client.read()[:2] == ["10", "6"]


def test_an_error_instead_of_an_answer(sim: brokersim.Simulation, tws: str) -> None:
    with connected(tws) as client:
        fault(sim, "error", code=201, text="no such luck", when={"message": "placeOrder"})
        client.send(*limit_order(9))
        assert client.error() == (9, 201, "no such luck")
        assert sim.state()["tws"]["orders"] == []


def test_a_client_that_does_not_read_is_dropped(sim: brokersim.Simulation, tws: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("brokersim.tws.client.MAX_QUEUED", 200_000)
    sim.switches(**{"tws.message_rate": 0})
    with RawClient(tws, receive_buffer=4096) as client, connected(tws, 2) as other:
        client.start()
        deadline = time.monotonic() + DEADLINE_S
        dropped = False
        while not dropped and time.monotonic() < deadline:
            try:
                client.socket.sendall(framed(*details_request(1, AAPL)) * 200)
            except (ConnectionError, TimeoutError):
                dropped = True
        assert dropped
        assert other.ping() == []


def test_notices_reach_every_client(sim: brokersim.Simulation, tws: str) -> None:
    with connected(tws) as first, connected(tws, 2) as second:
        fault(sim, "notice", code=2103)
        assert {first.error()[1], second.error()[1]} == {2103}


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += sock.recv(count - len(data))
    return data
