"""A server and three clients, each a process of its own, under different languages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from brokersim.client import Simulation
from tests.rpc_children import ROOT, Process, processes, until
from tests.rpc_desk import IBM, NAMES, READY, TENCENT


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
            # The quotes are paused: what it had last, it had last, and all of it since its first.
            assert told["ticks"] == server.ticks(TENCENT)[-len(told["ticks"]) :]
        assert server.interrupt() == 0


def test_the_door_of_a_client(tmp_path: Path) -> None:
    """``run.py --remote``: the server's gateways, in another language, from a settings file."""
    with processes(tmp_path, 0) as (server, _clients, _sim):
        home = tmp_path / "door"
        home.mkdir()
        settings = home / "settings.json"
        settings.write_text(json.dumps(dict.fromkeys(NAMES, server.setting)), encoding="utf-8")
        command = [sys.executable, str(ROOT / "run.py"), "--json", "--remote", "--settings", str(settings)]
        door = Process([*command, "--seconds", "8"], home, "zh_CN")
        told: list[dict[str, Any]] = []
        try:
            wanted = {("log", "VBROKERS", READY), ("log", "IBKR", READY)}
            while not wanted <= {(line["event"], line["gateway"], line.get("msg")) for line in told}:
                told.append(door.next())
        finally:
            door.end()
        accounts = {line["vt_accountid"] for line in told if line["event"] == "account"}
        assert accounts >= {"VBROKERS.VBROKERS-HKD", "IBKR.DU1000001-USD"}
        assert server.interrupt() == 0


def subscriptions(sim: Simulation) -> dict[str, int]:
    """The requests for quotes that the brokers have had."""
    wire = sim.wire()
    return {
        name: calls.get(name, 0) for calls, name in ((wire["vbrokers"], "/hq/Subscribe"), (wire["tws"], "reqMktData"))
    }
