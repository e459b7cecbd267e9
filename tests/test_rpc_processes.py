"""A server and three clients, each a process of its own, under different languages."""

from __future__ import annotations

from pathlib import Path

from brokersim.client import Simulation
from tests.rpc_children import processes, until
from tests.rpc_desk import IBM, TENCENT


def test_three_clients_see_every_tick_their_fills_and_the_brokers_state(tmp_path: Path) -> None:
    with processes(tmp_path, 3) as (server, clients, sim):
        for number, client in enumerate(clients):
            client.do("subscribe", vt_symbol=TENCENT, name="VBROKERS")
            if number < 2:
                client.do("subscribe", vt_symbol=IBM, name="IBKR")
                until(lambda: len(client.do("ticks", vt_symbol=IBM)["ticks"]) > 4, "ticks")  # noqa: B023  asked at once
            until(lambda: len(client.do("ticks", vt_symbol=TENCENT)["ticks"]) > 4, "ticks")  # noqa: B023  as above
            if number == 0:
                asked = subscriptions(sim)
        # However many clients want a symbol, the broker is asked once.
        assert asked["/hq/Subscribe"] > 0
        assert subscriptions(sim) == asked
        last = clients[0].do("ticks", vt_symbol=TENCENT)["ticks"][-1][1]
        price = round(last * 1.03)
        orders = [
            clients[0].send("IBKR", TENCENT, "LONG", 100, price),
            clients[1].send("VBROKERS", TENCENT, "LONG", 200, price),
            clients[2].send("VBROKERS", TENCENT, "LONG", 300, price),
        ]
        for client, vt_orderid in zip(clients, orders, strict=True):
            assert client.wait_order(vt_orderid, "ALLTRADED")["traded"] in (100, 200, 300)
        until(lambda: len(clients[2].do("ticks", vt_symbol=TENCENT)["ticks"]) > 20, "more ticks")
        sim.pause()
        for client in clients:
            client.wait_equal(sim)
        assert clients[2].do("ticks", vt_symbol=IBM)["ticks"] == []
        for client in clients:
            told = client.do("ticks", vt_symbol=TENCENT)
            assert told["missed"] == 0
            of_server = server.ticks(TENCENT)
            first = of_server.index(told["ticks"][0])
            assert told["ticks"] == of_server[first:]
        assert server.interrupt() == 0


def subscriptions(sim: Simulation) -> dict[str, int]:
    """The requests for quotes that the brokers have had."""
    wire = sim.wire()
    return {
        name: calls.get(name, 0) for calls, name in ((wire["vbrokers"], "/hq/Subscribe"), (wire["tws"], "reqMktData"))
    }
