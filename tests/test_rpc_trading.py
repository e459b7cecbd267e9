"""Clients trade through a server: the server and its clients in one process, on real sockets."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from time import monotonic

import pytest
from vnpy.trader.constant import Direction, Exchange, OrderType, Status
from vnpy.trader.event import EVENT_CONTRACT, EVENT_TICK
from vnpy.trader.object import OrderRequest

from tests.rpc_children import free_ports
from tests.rpc_desk import IBM, READY, TENCENT, Client, Server, served, simulated
from tests.rpc_proxy import Proxy
from vnpy_brokers.rpc.gateway import PUBLISH_KEY, REPLY_KEY, SECRET_KEY, SERVER_KEY, RemoteGateway


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


def test_connecting_again_tells_nothing_twice_and_another_address_works() -> None:
    with served(1) as (server, (client,)):
        client.subscribe(IBM, "VBROKERS")
        price = round(client.wait_tick(IBM).last_price * 1.02, 2)
        client.wait_status(client.send("IBKR", IBM, Direction.LONG, 5, price), Status.ALLTRADED)
        gateway = client.gateways["IBKR"]
        told = client.seen.log_lines().count(READY)
        client.main.connect(server.setting, "IBKR")
        client.wait(lambda: client.seen.log_lines().count(READY) == told + 1, "the same once more")
        other = Proxy(server.rpc.publish_address)
        try:
            client.main.connect({**server.setting, PUBLISH_KEY: other.address}, "IBKR")
            client.wait(lambda: client.seen.log_lines().count(READY) == told + 2, "another address")
            client.wait_status(client.send("IBKR", IBM, Direction.LONG, 5, price), Status.ALLTRADED)
            server.sim.pause()
            client.wait_equal(server.sim)
            assert gateway._link is not client.gateways["VBROKERS"]._link
        finally:
            client.close()
            other.close()
            server.sim.resume()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({REPLY_KEY: "nowhere"}, "地址“nowhere”无效"),
        ({PUBLISH_KEY: "tcp://*:5"}, "地址“tcp://*:5”无效"),
        ({SERVER_KEY: "short"}, "“服务器公钥”应为40个字符"),
        ({SERVER_KEY: "a" * 40, SECRET_KEY: "no file"}, "“客户端密钥”应为"),
    ],
)
def test_settings_that_can_not_be_are_refused_in_words(changes: dict[str, str], words: str) -> None:
    client = Client(("IBKR",))
    try:
        client.main.connect(changes, "IBKR")
        client.wait(lambda: any(words in line for line in client.seen.log_lines()), words)
        refused = client.send("IBKR", IBM, Direction.LONG, 1, 1.0)
        assert "尚未连接" in (client.wait_status(refused, Status.REJECTED).extra or {})["reason"]
    finally:
        client.close()


def test_the_key_is_masked_in_any_locale_and_the_settings_are_vnpys() -> None:
    assert "密码" in SECRET_KEY
    assert "Password" in SECRET_KEY
    assert all(isinstance(value, str) for value in RemoteGateway.default_setting.values())


def test_without_a_server_it_says_so_and_goes_on_trying() -> None:
    with simulated() as sim:
        reply, publish = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
        client = Client(("IBKR",))
        try:
            client.connect({REPLY_KEY: reply, PUBLISH_KEY: publish}, wait=False)
            client.wait(lambda: any("连接不上RPC服务器" in line for line in client.seen.log_lines()), "the line")
            server = Server(sim, ends=(reply, publish))
            try:
                server.connect()
                client.wait(lambda: client.ready("IBKR"), "the server found", 10)
            finally:
                server.close()
        finally:
            client.close()


def test_who_subscribes_at_once_gets_the_contract_before_the_first_tick() -> None:
    """The tick comes as an answer, the contract in the snapshot, by another socket."""
    symbols = ("IBM", "AAPL", "TSLA", "SPY")
    with served(0, names=("VBROKERS",)) as (server, _clients), ExitStack() as stack:
        for symbol in symbols:
            server.rigs["VBROKERS"].subscribe(f"{symbol}.SMART")
            server.rigs["VBROKERS"].wait_tick(f"{symbol}.SMART")
        news = Proxy(server.rpc.publish_address)
        stack.callback(news.close)
        client = Client(("VBROKERS",))
        stack.callback(client.close)
        told: list[tuple[str, str]] = []
        for kind in (EVENT_CONTRACT, EVENT_TICK):
            client.events.register(kind, lambda event: told.append((event.type, event.data.symbol)))
        news.passes = False  # so that the answer is certainly first
        client.connect({REPLY_KEY: server.rpc.reply_address, PUBLISH_KEY: news.address}, wait=False)
        for symbol in symbols:
            client.subscribe(f"{symbol}.SMART", "VBROKERS")
        link = client.gateways["VBROKERS"]._link
        assert link is not None
        client.wait(lambda: all(link._wanted.values()) and len(link._wanted) == len(symbols), "the answers")
        news.mend()
        for symbol in symbols:
            client.wait_tick(f"{symbol}.SMART")
            assert told.index((EVENT_CONTRACT, symbol)) < told.index((EVENT_TICK, symbol))


def test_one_of_two_gateways_alone_has_the_contracts_of_what_it_subscribes() -> None:
    """At the server the other one owns the symbol; a tick without a contract is no use to vn.py's apps."""
    with served(0) as (server, _clients), ExitStack() as stack:
        client = Client(("IBKR",))
        stack.callback(client.close)
        client.connect(server.setting)
        client.subscribe(IBM, "IBKR")
        price = round(client.wait_tick(IBM).last_price * 1.02, 2)
        contract = client.main.get_contract(IBM)
        assert contract is not None
        assert (contract.gateway_name, contract.pricetick) == ("IBKR", 0.01)
        client.wait_status(client.send("IBKR", IBM, Direction.LONG, 5, price), Status.ALLTRADED)
        server.sim.pause()
        client.wait_equal(server.sim)


def test_what_no_order_can_hold_is_refused_in_words() -> None:
    with served(1, names=("IBKR",)) as (_server, (client,)):
        gateway = client.gateways["IBKR"]
        for changes in ({"volume": "many"}, {"price": None}, {"direction": None}, {"reference": None}):
            request = OrderRequest("IBM", Exchange.SMART, Direction.LONG, OrderType.LIMIT, 1, 1.0)
            vars(request).update(changes)
            rejected = client.wait_status(client.main.send_order(request, "IBKR"), Status.REJECTED)
            assert "请求无效" in (rejected.extra or {})["reason"]
        assert gateway._link is not None
        assert gateway._link.room.drain(10)


def test_a_conid_brings_the_instrument_that_it_stands_for() -> None:
    with served(2, names=("IBKR",)) as (server, (first, second)):
        server.rigs["IBKR"].subscribe("AAPL.SMART")
        server.rigs["IBKR"].wait_tick("AAPL.SMART")
        number = (server.rigs["IBKR"].contract("AAPL.SMART").extra or {})["con_id"]
        for client in (first, second):
            client.wait(lambda: client.main.get_contract("AAPL.SMART"), "its contract")  # noqa: B023  asked at once
            client.subscribe(f"{number}.SMART", "IBKR")
            client.wait_tick("AAPL.SMART")


def test_closing_takes_no_longer_than_a_gateway_may_and_sends_what_waits() -> None:
    with served(1) as (server, (client,)):
        client.subscribe(IBM, "VBROKERS")
        working = client.send("IBKR", IBM, Direction.LONG, 5, round(client.wait_tick(IBM).last_price * 0.97, 2))
        client.wait_status(working, Status.NOTTRADED)
        before = {thread.name for thread in threading.enumerate()}
        assert "rpc-orders" in before
        client.cancel(working)
        began = monotonic()
        client.close()
        assert monotonic() - began < 8  # vn.py's event engine may take some seconds of it
        assert not any(thread.name in ("rpc-orders", "rpc-queries", "rpc-stream") for thread in threading.enumerate())
        server.rigs["IBKR"].wait_status(working, Status.CANCELLED)
        # vn.py stops its event engine before it closes the gateways: an order of that moment is not sent.
        late = client.send("IBKR", IBM, Direction.LONG, 5, 1.0)
        assert late.startswith("IBKR.IB")
        assert server.main.get_order(late) is None
