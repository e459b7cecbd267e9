"""The link is cut, the server restarts, answers are lost: nothing is lost or doubled, and clients are whole again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from vnpy.trader.constant import Direction, Status

from tests.rpc_children import ClientProcess, ServerProcess, free_ports, processes, until
from tests.rpc_desk import IBM, NAMES, TENCENT, Client, Server, served, simulated
from tests.rpc_proxy import Proxy
from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.timing import Timing
from vnpy_brokers.rpc.gateway import PUBLISH_KEY, REPLY_KEY

BACK_S = 10.0


@contextmanager
def cuttable() -> Iterator[tuple[Server, Client, Proxy, Proxy, Callable[[], None]]]:
    """A server, and a client that reaches it through proxies."""
    with ExitStack() as stack:
        server, _clients = stack.enter_context(served(0))
        replies, news = Proxy(server.rpc.reply_address), Proxy(server.rpc.publish_address)
        client = Client()
        for close in (replies.close, news.close, client.close):
            stack.callback(close)
        client.connect({REPLY_KEY: replies.address, PUBLISH_KEY: news.address})

        def mend() -> None:
            replies.mend()
            news.mend()

        yield server, client, replies, news, mend


def test_what_happens_while_the_link_is_cut_is_told_once_when_it_is_back() -> None:
    with cuttable() as (server, client, replies, news, mend):
        sim = server.sim
        client.subscribe(IBM, "VBROKERS")
        price = round(client.wait_tick(IBM).last_price * 1.02, 2)
        first = client.send("IBKR", IBM, Direction.LONG, 10, price)
        client.wait_status(first, Status.ALLTRADED)
        for proxy in (replies, news):
            proxy.cut()
        client.wait(lambda: not client.gateways["IBKR"].connected, "the cut")
        refused = client.send("IBKR", IBM, Direction.LONG, 10, price)
        assert "没有连接" in (client.wait_status(refused, Status.REJECTED).extra or {})["reason"]
        at_server = [server.rigs[name].send(IBM, Direction.LONG, 7, price) for name in ("IBKR", "VBROKERS")]
        for vt_orderid, name in zip(at_server, ("IBKR", "VBROKERS"), strict=True):
            server.rigs[name].wait_status(vt_orderid, Status.ALLTRADED)
        server.rigs["IBKR"].subscribe("AAPL.SMART")  # a contract that appears while nobody listens
        server.rigs["VBROKERS"].subscribe("TSLA.SMART")
        server.rigs["VBROKERS"].wait_tick("TSLA.SMART")
        assert client.main.get_order(at_server[0]) is None
        before = client.wait_tick(IBM).datetime
        mend()
        client.wait(lambda: client.gateways["IBKR"].connected, "the return", BACK_S)
        client.wait_status(at_server[0], Status.ALLTRADED, deadline=BACK_S)
        client.wait(lambda: client.main.get_contract("TSLA.SMART"), "the new contract", BACK_S)
        client.wait(lambda: client.wait_tick(IBM).datetime > before, "quotes", BACK_S)
        sim.pause()
        client.wait_equal(sim)
        assert any("连接中断" in line for line in client.seen.log_lines())
        assert sim.wire()["tws"]["placeOrder"] == 2


@pytest.mark.parametrize("which", ["replies", "news"])
def test_one_port_alone_is_cut(which: str) -> None:
    with cuttable() as (server, client, replies, news, mend):
        sim = server.sim
        client.subscribe(IBM, "VBROKERS")
        price = round(client.wait_tick(IBM).last_price * 1.02, 2)
        (replies if which == "replies" else news).cut()
        gateway = client.gateways["IBKR"]
        client.wait(lambda: not gateway.connected, "the cut")
        told = server.rigs["IBKR"].send(IBM, Direction.LONG, 7, price)
        server.rigs["IBKR"].wait_status(told, Status.ALLTRADED)
        mend()
        client.wait(lambda: gateway.connected, "the return", BACK_S)
        sent = client.send("IBKR", IBM, Direction.LONG, 5, price)
        client.wait_status(sent, Status.ALLTRADED)
        sim.pause()
        client.wait_equal(sim)


def test_an_order_whose_answer_is_lost_is_placed_once() -> None:
    with cuttable() as (server, client, replies, _news, mend):
        sim = server.sim
        client.subscribe(IBM, "VBROKERS")
        price = round(client.wait_tick(IBM).last_price * 1.02, 2)
        replies.deaf = True
        sent = [client.send(name, IBM, Direction.LONG, 3, price) for name in ("IBKR", "VBROKERS")]
        for vt_orderid in sent:
            client.wait_status(vt_orderid, Status.ALLTRADED)  # the news comes by the other port
        replies.cut()
        client.wait(lambda: not client.gateways["IBKR"].connected, "the cut")
        mend()
        client.wait(lambda: client.gateways["IBKR"].connected, "the return", BACK_S)
        sim.pause()
        client.wait_equal(sim)
        link = client.gateways["IBKR"]._link
        assert link is not None
        client.wait(lambda: link.room.drain(0.1), "nothing in doubt", BACK_S)
        assert (sim.wire()["tws"]["placeOrder"], sim.wire()["vbrokers"]["/trade/TradeEntrust"]) == (1, 1)


def test_a_cancel_without_a_connection_goes_out_when_there_is_one() -> None:
    with cuttable() as (server, client, replies, news, mend):
        client.subscribe(IBM, "VBROKERS")
        low = round(client.wait_tick(IBM).last_price * 0.97, 2)
        working = client.send("IBKR", IBM, Direction.LONG, 3, low)
        client.wait_status(working, Status.NOTTRADED)
        for proxy in (replies, news):
            proxy.cut()
        client.wait(lambda: not client.gateways["IBKR"].connected, "the cut")
        client.cancel(working)
        mend()
        client.wait_status(working, Status.CANCELLED, deadline=BACK_S)
        server.sim.pause()
        client.wait_equal(server.sim)


def test_the_server_restarts_and_a_client_dies(tmp_path: Path) -> None:
    with ExitStack() as stack:
        sim = stack.enter_context(simulated())
        ports = free_ports(2)
        server = ServerProcess(sim, tmp_path / "server", (ports[0], ports[1]))
        stack.callback(lambda: server.end())
        clients = [ClientProcess(tmp_path / f"client{number}") for number in range(3)]
        for client in clients:
            stack.callback(client.end)
        server.wait_ready()
        for client in clients:
            client.connect(server.setting).do("subscribe", vt_symbol=TENCENT, name="VBROKERS")
        for client in clients:
            until(lambda: client.do("ticks", vt_symbol=TENCENT)["ticks"], "ticks")  # noqa: B023  asked at once
        last = clients[0].do("ticks", vt_symbol=TENCENT)["ticks"][-1][1]
        low, high = round(last * 0.97), round(last * 1.03)
        held = [clients[0].send(name, TENCENT, "LONG", 200, high) for name in ("IBKR", "VBROKERS")]
        working = [clients[1].send(name, TENCENT, "LONG", 100, low) for name in ("IBKR", "VBROKERS")]
        for vt_orderid in held:
            clients[0].wait_order(vt_orderid, "ALLTRADED")
        for vt_orderid in working:
            clients[1].wait_order(vt_orderid, "NOTTRADED")
        clients[2].kill()
        server.kill()
        until(lambda: not clients[0].do("connected")["all"], "the loss seen")
        # While no server is there: one position is sold elsewhere, one working order cancelled by nobody.
        sim.order(TENCENT, "SHORT", 200, low)
        server = ServerProcess(sim, tmp_path / "server", (ports[0], ports[1]))
        server.wait_ready()
        for client in clients[:2]:
            until(lambda: client.do("connected")["all"], "the return", BACK_S)  # noqa: B023  asked at once
        sim.pause()
        for client in clients[:2]:
            client.wait_equal(sim)
        sim.resume()
        # Its own order of before, under its own id.
        clients[1].do("cancel", id=working[0])
        clients[1].wait_order(working[0], "CANCELLED")
        late = ClientProcess(tmp_path / "late")
        stack.callback(late.end)
        late.connect(server.setting)
        sim.pause()
        for client in (*clients[:2], late):
            client.wait_equal(sim)
        assert sim.wire()["tws"]["placeOrder"] == 2


def test_clients_of_processes_survive_a_cut(tmp_path: Path) -> None:
    with processes(tmp_path, 0) as (server, _clients, sim), ExitStack() as stack:
        replies, news = Proxy(server.setting[REPLY_KEY]), Proxy(server.setting[PUBLISH_KEY])
        client = ClientProcess(tmp_path / "client")
        for close in (replies.close, news.close, client.end):
            stack.callback(close)
        client.connect({REPLY_KEY: replies.address, PUBLISH_KEY: news.address})
        client.do("subscribe", vt_symbol=IBM, name="IBKR")
        until(lambda: client.do("ticks", vt_symbol=IBM)["ticks"], "ticks")
        for _round in range(3):
            replies.cut()
            news.cut()
            until(lambda: not client.do("connected")["all"], "the cut")
            replies.mend()
            news.mend()
            until(lambda: client.do("connected")["all"], "the return", BACK_S)
            price = round(client.do("ticks", vt_symbol=IBM)["ticks"][-1][1] * 1.02, 2)
            client.wait_order(client.send("IBKR", IBM, "LONG", 1, price), "ALLTRADED")
        sim.pause()
        client.wait_equal(sim)


def test_an_order_that_a_server_took_and_did_not_send_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answered, and died before its gateway came to the order: nothing is left of it but the client's word."""
    ports = free_ports(2)
    ends = (f"tcp://127.0.0.1:{ports[0]}", f"tcp://127.0.0.1:{ports[1]}")
    with ExitStack() as stack:
        sim = stack.enter_context(simulated())
        server = Server(sim, ends=ends)
        stack.callback(lambda: server.close())
        server.connect()
        clients = [Client(), Client()]
        for client in clients:
            stack.callback(client.close)
            client.connect(server.setting)
        first, second = clients
        first.subscribe(IBM, "VBROKERS")
        price = round(first.wait_tick(IBM).last_price * 0.97, 2)
        monkeypatch.setattr(AsyncGateway, "_take_order", lambda *_arguments: None)
        lost = [first.send(name, IBM, Direction.LONG, 3, price) for name in NAMES]
        for vt_orderid in lost:
            second.wait_status(vt_orderid, Status.SUBMITTING)
        link = first.gateways["IBKR"]._link
        assert link is not None
        first.wait(lambda: link.room.drain(0.1), "the server's word")
        monkeypatch.undo()
        server.close()
        server = Server(sim, ends=ends)
        server.connect()
        for client in clients:
            for vt_orderid in lost:
                client.wait_status(vt_orderid, Status.REJECTED, deadline=BACK_S)
            # However fast the server was back: it began anew, and that is told.
            client.wait(lambda: any("已恢复" in line for line in client.seen.log_lines()), "the line")  # noqa: B023  asked at once
        working = first.send("IBKR", IBM, Direction.LONG, 3, price)
        first.wait_status(working, Status.NOTTRADED)
        sim.pause()
        for client in clients:
            client.wait_equal(sim)
        assert sim.wire()["tws"]["placeOrder"] == 1


def test_a_server_that_dies_before_it_answers_knows_the_order_from_its_journal(tmp_path: Path) -> None:
    with ExitStack() as stack:
        sim = stack.enter_context(simulated())
        ports = free_ports(2)
        server = ServerProcess(sim, tmp_path / "server", (ports[0], ports[1]))
        stack.callback(lambda: server.end())
        replies, news = Proxy(server.setting[REPLY_KEY]), Proxy(server.setting[PUBLISH_KEY])
        client = ClientProcess(tmp_path / "client")
        for close in (replies.close, news.close, client.end):
            stack.callback(close)
        server.wait_ready()
        client.connect({REPLY_KEY: replies.address, PUBLISH_KEY: news.address})
        client.do("subscribe", vt_symbol=IBM, name="VBROKERS")
        until(lambda: client.do("ticks", vt_symbol=IBM)["ticks"], "ticks")
        price = round(client.do("ticks", vt_symbol=IBM)["ticks"][-1][1] * 1.02, 2)
        replies.deaf = news.deaf = True
        taken = [client.send(name, IBM, "LONG", 3, price) for name in ("IBKR", "VBROKERS")]
        wire = sim.wire
        until(lambda: wire()["tws"].get("placeOrder") and wire()["vbrokers"].get("/trade/TradeEntrust"), "both placed")
        replies.mute = True
        lost = client.send("IBKR", IBM, "LONG", 3, price)
        server.kill()
        for proxy in (replies, news):
            proxy.cut()
        until(lambda: not client.do("connected")["all"], "the loss seen")
        server = ServerProcess(sim, tmp_path / "server", (ports[0], ports[1]))
        for proxy in (replies, news):
            proxy.mend()
        server.wait_ready()
        # Killed before it had read VBrokers' answer, the server settles that order by the lists, and not earlier.
        for vt_orderid in taken:
            client.wait_order(vt_orderid, "ALLTRADED", deadline=BACK_S + Timing().settle_after)
        assert "never reached the server" in client.wait_order(lost, "REJECTED", deadline=BACK_S)["reason"]
        sim.pause()
        client.wait_equal(sim)
        assert (wire()["tws"]["placeOrder"], wire()["vbrokers"]["/trade/TradeEntrust"]) == (1, 1)
