"""Clients trade through a server: the server and its clients in one process, on real sockets."""

from __future__ import annotations

from vnpy.trader.constant import Direction, Status

from tests.rpc_desk import IBM, TENCENT, served


def test_quotes_orders_and_fills_at_the_broker_that_was_named() -> None:
    with served(2) as (server, (first, second)):
        sim = server.sim
        first.subscribe(TENCENT, "VBROKERS")
        first.subscribe("ibm.NASDAQ", "IBKR")
        last = first.wait_tick(TENCENT).last_price
        assert first.wait_tick(IBM).last_price > 0
        assert second.main.get_tick(TENCENT) is None
        at_ibkr = first.send("IBKR", TENCENT, Direction.LONG, 100, round(last * 1.03, 0))
        at_vbrokers = second.send("VBROKERS", TENCENT, Direction.LONG, 200, round(last * 1.03, 0))
        for client, vt_orderid in ((first, at_ibkr), (second, at_vbrokers)):
            client.wait_status(vt_orderid, Status.ALLTRADED)
        working = second.send("IBKR", IBM, Direction.LONG, 1, 1.0)
        second.wait_status(working, Status.REJECTED, Status.NOTTRADED)
        sim.pause()
        for client in (first, second):
            client.wait_equal(sim)
            held = {p.gateway_name: p.volume for p in client.main.get_all_positions() if p.vt_symbol == TENCENT}
            assert held == {"IBKR": 100, "VBROKERS": 200}
