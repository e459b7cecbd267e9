"""Faults that concern orders at the simulated TWS: pushes lost and late, Transmit, fills while away, notices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import brokersim
from tests.sim_tws_client import Fields, RawClient, connected
from tests.test_sim_tws_connection import fault, limit_order

RESTING, MARKETABLE = "100", "250"


@pytest.fixture
def sim() -> Iterator[brokersim.Simulation]:
    with brokersim.running(vbrokers=False, tws=True) as running:
        running.pause()
        running.quote("AAPL.SMART", last="200", bid="199.9", ask="200.1", bid_size=500, ask_size=500)
        yield running


@pytest.fixture
def client(sim: brokersim.Simulation) -> Iterator[RawClient]:
    assert sim.tws_address is not None
    with connected(sim.tws_address) as one:
        yield one


def kinds(messages: list[Fields]) -> list[str]:
    return [message[0] for message in messages]


def place(client: RawClient, order_id: int, price: str) -> list[Fields]:
    client.send(*limit_order(order_id, price))
    return client.ping()


def orders(sim: brokersim.Simulation) -> list[str]:
    return [row["status"] for row in sim.state()["tws"]["orders"]]


USUAL = ["5", "3", "5", "3", "11", "5", "3", "59"]


def test_nothing_goes_wrong_by_itself(client: RawClient) -> None:
    assert kinds(place(client, 1, MARKETABLE)) == USUAL


@pytest.mark.parametrize(
    ("message", "mode", "expected"),
    [
        ("placeOrder", "duplicate", [kind for kind in USUAL for _ in range(2)]),
        ("placeOrder", "lose", []),
        ("execDetails", "lose", ["5", "3", "5", "3", "5", "3", "59"]),
        ("commissionReport", "duplicate", [*USUAL, "59"]),
        ("execDetails", "reorder", ["5", "3", "5", "3", "5", "11", "3", "59"]),
        ("placeOrder", "reorder", ["3", "5", "3", "5", "5", "11", "59", "3"]),
        ("placeOrder", "before_reply", ["11", "59", "5", "3", "5", "3", "5", "3"]),
    ],
)
def test_order_pushes_go_wrong(
    sim: brokersim.Simulation, client: RawClient, message: str, mode: str, expected: list[str]
) -> None:
    fault(sim, "push", mode=mode, when={"message": message})
    assert kinds(place(client, 1, MARKETABLE)) == expected
    assert orders(sim) == ["ALLTRADED"]
    client.send(7, 3, 9, 0, "", "", "", "", "", "")
    assert kinds(client.until_id(55)) == ["11", "59", "55"]


def test_a_late_push_comes_in_the_end(sim: brokersim.Simulation, client: RawClient) -> None:
    fault(sim, "push", mode="late", ms=100, when={"message": "execDetails"})
    assert "11" not in kinds(place(client, 1, MARKETABLE))
    assert client.until_id(11)


@pytest.mark.parametrize("do", ["join", "split"])
def test_shapes_change_no_message(sim: brokersim.Simulation, client: RawClient, do: str) -> None:
    fault(sim, do, when={"message": "placeOrder"})
    client.send(*limit_order(1, MARKETABLE))
    assert kinds(client.until_id(59)) == USUAL


def test_a_push_may_end_the_connection(sim: brokersim.Simulation, client: RawClient) -> None:
    fault(sim, "drop", when={"message": "execDetails", "phase": "after"})
    client.send(*limit_order(1, MARKETABLE))
    assert client.until_id(11)
    assert client.is_closed()
    assert orders(sim) == ["ALLTRADED"]


def test_an_error_in_place_of_an_order(sim: brokersim.Simulation, client: RawClient) -> None:
    fault(sim, "error", code=201, text="Order rejected - reason:no", when={"message": "placeOrder"})
    [error] = place(client, 1, RESTING)
    assert error[:5] == ["4", "2", "1", "201", "Order rejected - reason:no"]
    assert orders(sim) == []


def test_a_held_order_waits_for_transmit(sim: brokersim.Simulation, client: RawClient) -> None:
    fault(sim, "hold")
    assert place(client, 1, RESTING) == []
    assert orders(sim) == ["SUBMITTING"]
    client.send(16, 1)
    assert kinds(client.until_id(53)) == ["53"]
    sim.clear_faults()
    assert kinds(client.ping()) == ["5", "3", "5", "3"]
    assert orders(sim) == ["NOTTRADED"]


def test_a_fill_while_away_is_found_afterwards(sim: brokersim.Simulation, client: RawClient) -> None:
    place(client, 1, RESTING)
    fault(sim, "fill_while_away")
    assert client.is_closed()
    assert orders(sim) == ["ALLTRADED"]
    assert sim.tws_address is not None
    with connected(sim.tws_address) as again:
        again.send(5, 1)
        assert kinds(again.until_id(53)) == ["53"]
        again.send(7, 3, 9, 0, "", "", "", "", "", "")
        [execution, _, _] = again.until_id(55)
        again.send(99, 0)
        [completed, _] = again.until_id(102)
    assert execution[2] == "1"
    assert (completed[0], len(completed)) == ("101", 100)
    assert execution[21] == completed[23] == sim.state()["tws"]["orders"][0]["id"]


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [(399, "NOTTRADED", ["4"]), (10349, "NOTTRADED", ["4"]), (202, "CANCELLED", ["3", "3", "4"])],
)
def test_a_notice_about_an_order(
    sim: brokersim.Simulation, client: RawClient, code: int, status: str, expected: list[str]
) -> None:
    place(client, 1, RESTING)
    fault(sim, "notice", code=code, order=sim.state()["tws"]["orders"][0]["id"])
    messages = client.ping()
    assert kinds(messages) == expected
    assert messages[-1][2:4] == ["1", str(code)]
    assert orders(sim) == [status]


def test_an_order_from_the_phone_is_everybodys_to_see(sim: brokersim.Simulation, client: RawClient) -> None:
    perm_id = sim.order("AAPL.SMART", "LONG", 5, "150", broker="tws")
    assert client.ping() == []
    client.send(16, 1)
    [shown, _, _] = client.until_id(53)
    assert (shown[1], shown[24], shown[25]) == ("0", "0", perm_id)
    assert orders(sim) == ["NOTTRADED"]


def test_a_notice_at_an_order_names_it(sim: brokersim.Simulation, client: RawClient) -> None:
    fault(sim, "notice", code=399, when={"message": "placeOrder", "phase": "after"})
    assert [message[2:4] for message in place(client, 1, RESTING) if message[0] == "4"] == [["1", "399"]]
    fault(sim, "notice", code=201, when={"message": "placeOrder", "phase": "after"})
    assert place(client, 2, RESTING)[-1][2:4] == ["2", "201"]
    fault(sim, "notice", code=1100, when={"message": "reqOpenOrders"})
    client.send(5, 1)
    assert client.until_id(53)[0][2:4] == ["-1", "1100"]
    assert orders(sim) == ["NOTTRADED", "REJECTED"]
