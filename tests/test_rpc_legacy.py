"""vn.py's own RpcGateway against our server: on loopback without keys, as against vn.py's."""

from __future__ import annotations

import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import zmq
from vnpy.event import EventEngine
from vnpy.trader.constant import Direction, Exchange, Interval, Offset, OrderType, Status
from vnpy.trader.event import EVENT_TRADE
from vnpy.trader.object import HistoryRequest, OrderRequest, SubscribeRequest

from tests.harness import Recorder
from tests.rpc_desk import IBM, Server, served
from vnpy_brokers.rpc.publisher import Publisher
from vnpy_brokers.trader import TraderEngine


class PlainClient:
    """vn.py's client in an engine."""

    def __init__(self) -> None:
        before = signal.getsignal(signal.SIGINT)
        from vnpy_rpcservice.rpc_gateway import RpcGateway  # vnpy.rpc takes Ctrl-C for itself when it is imported

        signal.signal(signal.SIGINT, before)
        self.events = EventEngine()
        self.main = TraderEngine(self.events)
        self.seen = Recorder(self.events)
        self.gateway: Any = self.main.add_gateway(RpcGateway, "RPC")

    def connect(self, server: Server) -> None:
        setting = {"主动请求地址": server.rpc.reply_address, "推送订阅地址": server.rpc.publish_address}
        self.main.connect(setting, "RPC")

    def close(self, server: Server) -> None:
        """End as vn.py does; its thread looks up at the next message only."""
        self.gateway.client.stop()
        ending = threading.Thread(target=self.main.close)
        ending.start()
        while ending.is_alive():
            server.main.write_log("still here")
            ending.join(0.1)
        self.gateway.client._context.term()


@contextmanager
def connected() -> Iterator[tuple[Server, PlainClient]]:
    with served(0) as (server, _clients):
        client = PlainClient()
        client.connect(server)
        try:
            yield server, client
        finally:
            client.close(server)


def test_vnpys_gateway_trades_and_reads_bars() -> None:
    with connected() as (server, client):
        main, seen = client.main, client.seen
        server.rigs["VBROKERS"].subscribe(IBM)  # its gateway knows what there is when it connects
        server.rigs["VBROKERS"].wait_tick(IBM)
        client.gateway.query_all()
        main.subscribe(SubscribeRequest("IBM", Exchange.SMART), "RPC")
        tick = seen.wait(lambda: main.get_tick(IBM), "a tick")
        assert tick.gateway_name == "RPC"
        price = round(tick.last_price * 1.02, 2)
        request = OrderRequest("IBM", Exchange.SMART, Direction.LONG, OrderType.LIMIT, 5, price, Offset.NONE, "名称")
        vt_orderid = main.send_order(request, "RPC")

        def order() -> Any:
            found = main.get_order(vt_orderid)
            return found if found and found.status is Status.ALLTRADED else None

        assert seen.wait(order, "its order filled").reference == "名称"
        seen.wait(lambda: seen.of(EVENT_TRADE), "its fill")
        low = OrderRequest("IBM", Exchange.SMART, Direction.LONG, OrderType.LIMIT, 5, round(price * 0.9, 2))
        working = main.send_order(low, "RPC")
        shown = seen.wait(lambda: main.get_order(working), "its order")
        main.cancel_order(shown.create_cancel_request(), "RPC")
        seen.wait(lambda: not main.get_all_active_orders(), "the end of its order")
        at = server.rigs["VBROKERS"].gateway.clock.now()
        bars = HistoryRequest("IBM", Exchange.SMART, at - timedelta(days=2), at, Interval.MINUTE)
        assert len(main.query_history(bars, "RPC")) > 300
        assert [contract.gateway_name for contract in main.get_all_contracts() if contract.vt_symbol == IBM] == ["RPC"]


def test_who_asks_has_its_subscription_taken_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for the next second, or for a quote: else news of its first order would be lost to it."""
    monkeypatch.setattr(Publisher, "_on_timer", lambda *_arguments: None)
    with served(0, names=("VBROKERS",)) as (server, _clients):
        rig = server.rigs["VBROKERS"]
        rig.subscribe(IBM)
        price = round(rig.wait_tick(IBM).last_price * 1.02, 2)
        server.sim.pause()
        client = PlainClient()
        client.connect(server)
        try:
            # Its second port may be slower than its first: with each question it is looked for again.
            client.seen.wait(
                lambda: client.gateway.client.get_all_ticks() and server.events._general_handlers, "its subscription"
            )
            request = OrderRequest("IBM", Exchange.SMART, Direction.LONG, OrderType.LIMIT, 5, price)
            vt_orderid = client.main.send_order(request, "RPC")
            client.seen.wait(lambda: client.main.get_order(vt_orderid), "its order")
            client.seen.wait(lambda: client.seen.of(EVENT_TRADE), "its fill")
        finally:
            client.close(server)


def test_hostile_pickles_are_refused_in_a_line_and_the_service_goes_on() -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return print, ("executed",)

    with connected() as (server, client), zmq.Context() as context:
        frames = [
            pickle.dumps(["subscribe", (Evil(),), {}]),
            pickle.dumps(["close", (), {}]),
            b"\x80\x04" + b"\xff" * 1000,
            b"",
        ]
        for frame in frames:
            with context.socket(zmq.REQ) as asker:
                asker.linger = 0
                asker.connect(server.rpc.reply_address)
                asker.send(frame)
                assert asker.poll(5000)
                assert pickle.loads(asker.recv())[0] is False
        with context.socket(zmq.DEALER) as asker:
            asker.linger = 5000
            asker.connect(server.rpc.reply_address)
            for odd in (
                [b"\x01"],
                [b"\x01" + b"\xdd\xff\xff\xff\xff"],
                [b"a", b"b", b"c", b"d"],
                [b"", b""],
                [b"\x02"],
            ):
                asker.send_multipart(odd)
        assert client.gateway.client.get_tick("nothing") is None
        refused = [line for line in server.seen.log_lines() if line.startswith("RPC拒绝了一个请求")]
        assert len(refused) == 1
        server.seen.wait(lambda: any("无法识别" in line for line in server.seen.log_lines()), "the line about garbage")


def test_pickles_are_made_only_while_somebody_wants_them() -> None:
    with served(0) as (server, _clients):
        running = server.rpc._running
        assert running is not None
        general = server.events._general_handlers
        assert general == []
        client = PlainClient()
        client.connect(server)
        server.seen.wait(lambda: general, "the first client")
        client.close(server)
        server.seen.wait(lambda: not general, "the last one gone")
