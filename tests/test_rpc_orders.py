"""Orders over the link: once, in step with the caller, and never behind a download."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from decimal import Decimal
from time import monotonic
from typing import Any

import pytest
from vnpy.trader.constant import Direction, Exchange, Interval, Offset, OrderType, Status
from vnpy.trader.event import EVENT_ORDER
from vnpy.trader.object import BarData, HistoryRequest

from tests.cta_desk import PlainEngine, TestedEngine, app_of, forget_strategies
from tests.cta_strategies import Teller
from tests.rpc_desk import BROKERS, IBM, Client, Server, served, truth
from tests.rpc_proxy import Proxy
from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.errors import HistoryError
from vnpy_brokerkit.lifecycle import State
from vnpy_brokerkit.tracker import TrackedOrder
from vnpy_brokers.rpc.desk import ORDER_ID
from vnpy_brokers.rpc.gateway import PUBLISH_KEY, REPLY_KEY, RemoteIds
from vnpy_brokers.rpc.messages import ACCEPTED, REFUSED, UNSURE, Doubt, KnowOrders, PlaceOrder, Verdict

BACK_S = 10.0
ROUNDS = 200


@contextmanager
def through_a_proxy() -> Iterator[tuple[Server, Client, Proxy]]:
    """A client whose questions go through a proxy, with quotes of IBM."""
    with ExitStack() as stack:
        server, _clients = stack.enter_context(served(0))
        proxy = Proxy(server.rpc.reply_address)
        client = Client()
        stack.callback(proxy.close)
        stack.callback(client.close)
        client.connect({REPLY_KEY: proxy.address, PUBLISH_KEY: server.rpc.publish_address})
        client.subscribe(IBM, "VBROKERS")
        client.wait_tick(IBM)
        yield server, client, proxy


def near(client: Client, factor: float) -> float:
    return round(client.wait_tick(IBM).last_price * factor, 2)


def placed(server: Server) -> tuple[int, int]:
    """Orders that reached the brokers: IBKR's and VBROKERS'."""
    wire = server.sim.wire()
    return wire["tws"].get("placeOrder", 0), wire["vbrokers"].get("/trade/TradeEntrust", 0)


def test_an_order_that_is_swallowed_on_its_way_is_refused_in_the_end_and_never_placed() -> None:
    with through_a_proxy() as (server, client, proxy):
        proxy.mute = True
        sent = [client.send(name, IBM, Direction.LONG, 3, near(client, 1.02)) for name in ("IBKR", "VBROKERS")]
        for vt_orderid in sent:
            client.wait_status(vt_orderid, Status.SUBMITTING)
        proxy.cut()
        client.wait(lambda: not client.gateways["IBKR"].connected, "the cut")
        assert client.wait_status(sent[0], Status.SUBMITTING)
        proxy.mend()
        for vt_orderid in sent:
            rejected = client.wait_status(vt_orderid, Status.REJECTED, deadline=BACK_S)
            assert "没有到达服务器" in (rejected.extra or {})["reason"]
        assert placed(server) == (0, 0)


def ask_desk(server: Server, ask: Any) -> Any:
    """The desk's answer to a question, as a client would get it."""
    answers: list[Any] = []
    there = threading.Event()

    class Caller:
        def done(self, body: object, part: int = 0) -> None:
            answers.append(body)
            there.set()

    running = server.rpc._running
    assert running is not None
    running.front.post(lambda: running.desk.handle(ask, Caller()))  # type: ignore[arg-type]  # a caller to look into
    assert there.wait(10)
    return answers[0]


def an_order(server: Server, **changes: Any) -> PlaceOrder:
    running = server.rpc._running
    assert running is not None
    fields: dict[str, Any] = {
        "gateway": "IBKR", "orderid": RemoteIds("IBKR").next(), "epoch": running.desk._publisher.epoch,
        "seen": monotonic(), "symbol": "IBM", "exchange": "SMART", "direction": "LONG", "type": "LIMIT",
        "offset": "NONE", "volume": 1.0, "price": 0.01, "reference": "",
    }  # fmt: skip
    return PlaceOrder(**{**fields, **changes})


def test_the_server_takes_an_id_once_and_never_after_it_was_asked_for_it() -> None:
    with served(0) as (server, _clients):
        order = an_order(server)
        assert [ask_desk(server, order) for _twice in range(2)] == [Verdict(ACCEPTED)] * 2
        lost = an_order(server)
        [verdict] = ask_desk(server, KnowOrders("IBKR", [Doubt(lost.orderid, lost.epoch, 1.0)]))
        assert verdict.word == REFUSED
        assert ask_desk(server, lost) == verdict
        [again, known] = ask_desk(
            server, KnowOrders("IBKR", [Doubt(lost.orderid, 1, 1.0), Doubt(order.orderid, order.epoch, 1.0)])
        )
        assert (again, known.word) == (verdict, ACCEPTED)
        # Of another process's time: the journal tells, and a very old one can't be told.
        [foreign, old] = ask_desk(server, KnowOrders("IBKR", [Doubt("IBaaaaaaaaaa-1", 1, 5.0), Doubt("IBb-1", 1, 1e7)]))
        assert (foreign.word, old.word) == (REFUSED, UNSURE)
        orders = [order.orderid for order in server.seen.of(EVENT_ORDER) if order.status is Status.SUBMITTING]
        assert set(orders) == {order.orderid}


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": 1},
        {"seen": -3600.0},
        {"gateway": "NOBODY"},
        {"gateway": "VBROKERS"},
        {"orderid": "IB1-1; drop"},
        {"orderid": "XX1234567-1"},
        {"exchange": "NOWHERE"},
        {"direction": "UP"},
        {"type": "ICEBERG"},
    ],
    ids=str,
)
def test_an_order_that_can_not_be_meant_is_refused_in_words(changes: dict[str, Any], desk: Server) -> None:
    before = placed(desk)
    verdict = ask_desk(desk, an_order(desk, **changes))
    assert verdict.word == REFUSED
    assert verdict.reason
    assert placed(desk) == before


@pytest.fixture(scope="module")
def desk() -> Iterator[Server]:
    with served(0) as (server, _clients):
        yield server


def test_a_server_that_ends_takes_no_order_whose_end_nobody_would_hear() -> None:
    with served(0) as (server, _clients):
        server.events.stop()  # vn.py's first step
        verdict = ask_desk(server, an_order(server))
        assert (verdict.word, "正在关闭" in verdict.reason) == (REFUSED, True)


def test_an_order_of_before_that_has_ended_is_shown_to_who_asks_after_it() -> None:
    with served(0, names=("VBROKERS",)) as (server, _clients):
        gateway = server.rigs["VBROKERS"].gateway
        ended = TrackedOrder(
            orderid="VBaaaaaaaaaa-1", symbol="IBM", exchange=Exchange.SMART, direction=Direction.LONG,
            offset=Offset.NONE, type=OrderType.LIMIT, price=Decimal(5), volume=Decimal(3), reference="",
            time=gateway.clock.now(), state=State.REJECTED, broker_id="7", shown=False,
        )  # fmt: skip
        gateway.post(gateway.tracker.restore, ended)
        [verdict] = ask_desk(server, KnowOrders("VBROKERS", [Doubt(ended.orderid, 1, 5.0)]))
        assert verdict.word == ACCEPTED
        shown = server.seen.wait(lambda: server.main.get_order(f"VBROKERS.{ended.orderid}"), "the order")
        assert shown.status is Status.REJECTED


def test_ids_have_the_gateways_shape_and_do_not_meet() -> None:
    several = [RemoteIds("IBKR") for _each in range(50)]
    ids = [one.next() for one in several for _each in range(3)]
    assert len(set(ids)) == 150
    assert all(ORDER_ID.fullmatch(orderid) and orderid.startswith("IB") for orderid in ids)


def test_a_cancel_goes_through_while_a_history_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reading lasts as long as the test lets it: whatever a download takes, up to its 60 s and beyond."""
    let_go = threading.Event()
    read = AsyncGateway.query_history

    def slow(gateway: AsyncGateway, request: HistoryRequest) -> list[BarData]:
        assert let_go.wait(60)
        return read(gateway, request)

    with served(1) as (server, (client,)):
        monkeypatch.setattr(AsyncGateway, "query_history", slow)
        client.subscribe(IBM, "VBROKERS")
        working = [client.send(name, IBM, Direction.LONG, 1, near(client, 0.97)) for name in ("IBKR", "VBROKERS")]
        for vt_orderid in working:
            client.wait_status(vt_orderid, Status.NOTTRADED)
        results: dict[str, Any] = {}

        def download(name: str) -> None:
            try:
                at = server.rigs[name].gateway.clock.now()
                request = HistoryRequest("IBM", Exchange.SMART, at - timedelta(days=3), at, Interval.MINUTE)
                results[name] = client.gateways[name].query_history(request)
            except HistoryError as error:
                results[name] = error

        threads = [threading.Thread(target=download, args=(name,)) for name in ("IBKR", "VBROKERS", "IBKR")]
        for thread in threads:
            thread.start()
        running = server.rpc._running
        assert running is not None
        client.wait(lambda: len(running.desk._downloads) == 3, "the downloads under way")
        began = monotonic()
        for vt_orderid in working:
            client.cancel(vt_orderid)
        for vt_orderid in working:
            client.wait_status(vt_orderid, Status.CANCELLED)
        assert monotonic() - began < 1
        assert results == {}
        let_go.set()
        for thread in threads:
            thread.join(30)
        assert all(isinstance(bars, list) and len(bars) > 300 for bars in results.values()), results
        assert {bar.gateway_name for bar in results["IBKR"]} == {"IBKR"}


@pytest.mark.parametrize(("name", "message"), [("VBROKERS", "/hq/KL"), ("IBKR", "reqHistoricalData")])
def test_a_cancel_goes_through_while_a_broker_is_slow_with_bars(name: str, message: str) -> None:
    with served(1) as (server, (client,)):
        client.subscribe(IBM, "VBROKERS")
        working = [client.send(each, IBM, Direction.LONG, 1, near(client, 0.97)) for each in ("IBKR", "VBROKERS")]
        for vt_orderid in working:
            client.wait_status(vt_orderid, Status.NOTTRADED)
        broker = BROKERS[name]
        server.sim.faults([{"broker": broker, "do": "delay", "ms": 60_000, "times": 20, "when": {"message": message}}])
        asked = server.sim.wire()[broker].get(message, 0)
        at = server.rigs[name].gateway.clock.now()
        request = HistoryRequest("IBM", Exchange.SMART, at - timedelta(days=3), at, Interval.MINUTE)
        results: list[Any] = []

        def download() -> None:
            try:
                results.append(client.gateways[name].query_history(request))
            except HistoryError as error:
                results.append(error)

        reading = threading.Thread(target=download)
        reading.start()
        client.wait(lambda: server.sim.wire()[broker].get(message, 0) > asked, "the download under way")
        began = monotonic()
        for vt_orderid in working:
            client.cancel(vt_orderid)
        for vt_orderid in working:
            client.wait_status(vt_orderid, Status.CANCELLED)
        assert monotonic() - began < 1
        assert results == []
        client.gateways[name].close()  # it gives the download up
        reading.join(10)
        assert isinstance(results[0], HistoryError)


def test_a_history_that_fails_says_so_and_poisons_nothing() -> None:
    with served(1) as (server, (client,)):
        at = server.rigs["IBKR"].gateway.clock.now()
        with pytest.raises(HistoryError):
            client.gateways["IBKR"].query_history(
                HistoryRequest("NOSUCHTHING", Exchange.SMART, at - timedelta(days=1), at, Interval.MINUTE)
            )
        request = HistoryRequest("IBM", Exchange.SMART, at - timedelta(days=3), at, Interval.MINUTE)
        far = client.gateways["IBKR"].query_history(request)
        near_by = server.rigs["IBKR"].gateway.query_history(request)
        assert [vars(bar) for bar in far] == [vars(bar) for bar in near_by]


def test_a_gateway_that_the_server_does_not_have_is_one_line() -> None:
    with served(0) as (server, _clients), ExitStack() as stack:
        client = Client(("VBROKERS", "NOBODY"))
        stack.callback(client.close)
        client.connect(server.setting, wait=False)
        client.wait(lambda: client.ready("VBROKERS"), "the other one")
        client.wait(lambda: any("没有名为NOBODY的接口" in line for line in client.seen.log_lines()), "the line")
        assert not client.ready("NOBODY")
        refused = client.send("NOBODY", IBM, Direction.LONG, 1, 1.0)
        assert "NOBODY" in (client.wait_status(refused, Status.REJECTED).extra or {})["reason"]


class SellsAtTheEnd(Teller):
    """Sells what it holds when it is stopped, at a price that is met at once."""

    price: float = 100.0
    parameters = ["price"]  # noqa: RUF012  vn.py reads it from the class

    def on_stop(self) -> None:
        self.sell(self.price * 0.97, abs(self.pos))


@pytest.mark.parametrize("engine", [PlainEngine, TestedEngine], ids=["vn.py's engine", "ours"])
@pytest.mark.parametrize("name", ["VBROKERS", "IBKR"])
def test_a_strategy_that_sells_in_on_stop_keeps_its_position(name: str, engine: Any) -> None:
    """vn.py notes an order's id after send_order returned, in the caller's thread: the main one, here (trap 4)."""
    forget_strategies()
    kind = type("Selling", (engine,), {"load_strategy_class": lambda self: self.classes.update(S=SellsAtTheEnd)})
    with served(1, names=(name,)) as (server, (client,)):
        client.subscribe(IBM, name)
        last = round(client.wait_tick(IBM).last_price, 2)
        server.sim.pause()
        cta: Any = client.main.add_app(app_of(kind))
        cta.init_engine()
        cta.add_strategy("S", "s", IBM, {"price": last})
        cta.init_strategy("s").result(30)
        strategy = cta.strategies["s"]
        sold = 0
        for _round in range(ROUNDS // 4):
            cta.start_strategy("s")
            if not strategy.pos:
                strategy.buy(round(last * 1.02, 2), 1)
                client.wait(lambda: strategy.pos == 1, "what it bought")
            cta.stop_strategy("s")
            # vn.py notes the order while it is sent; the engine hears of it only later.
            client.wait(lambda: not cta.strategy_orderid_map["s"], "the end of its order at vn.py's engine")
            client.wait(lambda: not client.main.get_all_active_orders(), "the end of its order")
            held = sum(float(row["volume"]) for row in truth(server.sim, name)["positions"] if row["vt_symbol"] == IBM)
            client.wait(lambda: strategy.pos == held, f"the broker's position {held}")  # noqa: B023  asked at once
            sold += not held
        assert sold > 0
        client.wait_equal(server.sim)


def test_a_strategy_of_a_client_gets_its_orders_and_fills_back_after_a_restart() -> None:
    """Our CTA engine at a client that begins anew: what the server shows is enough, while the server lives."""
    forget_strategies()
    with served(0) as (server, _clients), ExitStack() as stack:
        first = Client()
        stack.callback(first.close)
        cta = begin(first, server)
        strategy = cta.strategies["t"]
        price = near(first, 1.0)
        working = strategy.buy(round(price * 0.97, 2), 30)
        strategy.buy(round(price * 1.02, 2), 10)
        first.wait(lambda: strategy.pos == 10, "its first fill")
        first.wait_status(working[0], Status.NOTTRADED)
        drop(first, cta)
        # While it is away, what works is filled.
        low = round(price * 0.96, 2)
        server.sim.quote(IBM, last=low, bid=low - 0.01, ask=low)
        name = working[0].partition(".")[0]
        server.rigs[name].wait_status(working[0], Status.ALLTRADED)
        second = Client()
        stack.callback(second.close)
        cta = begin(second, server)
        strategy = cta.strategies["t"]
        second.wait(lambda: strategy.pos == 40, "what was filled while it was away")
        assert len(strategy.told) == len({line.split()[1] for line in strategy.told})


def begin(client: Client, server: Server) -> Any:
    """A client with a CTA engine and one strategy on IBM that trades."""
    cta: Any = client.main.add_app(app_of(TestedEngine))
    cta.init_engine()
    client.connect(server.setting)
    client.subscribe(IBM, "VBROKERS")
    client.wait_tick(IBM)
    if "t" not in cta.strategies:
        cta.add_strategy("Teller", "t", IBM, {})
    cta.init_strategy("t").result(30)
    cta.start_strategy("t")
    return cta


def drop(client: Client, cta: Any) -> None:
    """The process is gone: nothing is stopped, cancelled or saved."""
    client.events.stop()
    for gateway in client.gateways.values():
        gateway.close()
    cta._books.close()
