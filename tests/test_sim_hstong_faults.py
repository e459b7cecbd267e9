"""Every fault that the simulated Gateway knows, over real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from brokersim.hstong import frames
from tests.sim_hstong_client import AAPL, CIPHER, Closed, Desk, PushClient, desk, eventually, order

ENTRUST = "/trade/TradeEntrust"
REAL_ORDERS = "/trade/TradeQueryRealEntrustList"


@pytest.fixture
def broker() -> Iterator[Desk]:
    with desk() as clients:
        clients.still()
        yield clients


def fault(do: str, **fields: Any) -> dict[str, Any]:
    return {"broker": "vbrokers", "do": do} | fields


def at(message: str, **fields: Any) -> dict[str, Any]:
    return {"message": message} | fields


def placed(broker: Desk) -> list[dict[str, Any]]:
    orders: list[dict[str, Any]] = broker.sim.state()["vbrokers"]["orders"]
    return orders


def fails(broker: Desk, error: type[httpx.HTTPError], timeout: float = 5.0) -> None:
    with pytest.raises(error):
        broker.http.post(ENTRUST, json={"params": order()}, timeout=timeout)


# --- the answer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("phase", "count"), [("before", 0), ("after", 1)])
def test_drop(broker: Desk, phase: str, count: int) -> None:
    broker.sim.faults([fault("drop", when=at("TradeEntrust", phase=phase))])
    fails(broker, httpx.RemoteProtocolError)
    assert len(placed(broker)) == count
    broker.entrust()


def test_drop_at_the_second_and_third_time(broker: Desk) -> None:
    broker.sim.faults([fault("drop", when=at("/trade/TradeEntrust", nth=2), times=2)])
    broker.entrust()
    fails(broker, httpx.RemoteProtocolError)
    fails(broker, httpx.RemoteProtocolError)
    broker.entrust()
    assert len(placed(broker)) == 2


@pytest.mark.parametrize(("phase", "count"), [("before", 0), ("after", 1)])
def test_stalled_request(broker: Desk, phase: str, count: int) -> None:
    broker.sim.faults([fault("stall", when=at("TradeEntrust", phase=phase))])
    fails(broker, httpx.ReadTimeout, timeout=0.1)
    assert len(placed(broker)) == count
    broker.entrust()


def test_stalled_request_is_closed_after_its_time(broker: Desk) -> None:
    broker.sim.faults([fault("stall", for_s=0.05, when=at("TradeEntrust"))])
    fails(broker, httpx.RemoteProtocolError)
    assert placed(broker) == []


def test_lost_reply(broker: Desk) -> None:
    broker.sim.faults([fault("lose_reply")])
    broker.ok(REAL_ORDERS, exchangeType="P", entrustId=["1"])  # a read is not what it is about
    fails(broker, httpx.ReadTimeout, timeout=0.1)
    assert len(placed(broker)) == 1
    assert broker.push.orders(1)[0].entrustStatus == "2"
    broker.entrust()


def test_clearing_faults_releases_what_hangs(broker: Desk) -> None:
    broker.sim.faults([fault("stall"), fault("refuse")])
    with (
        httpx.Client(base_url=broker.sim.vbrokers_url or "", trust_env=False) as other,
        pytest.raises(httpx.ConnectError),
    ):
        other.post("/trade/TradeSubscribe", json={})
    broker.sim.clear_faults()
    assert broker.push.is_closed()
    broker.entrust()


def test_delay(broker: Desk) -> None:
    broker.sim.faults([fault("delay", ms=80, when=at("TradeEntrust", phase="after"))])
    begin = time.monotonic()
    broker.entrust()
    assert time.monotonic() - begin >= 0.08


def test_error_instead_of_the_answer(broker: Desk) -> None:
    broker.sim.faults(
        [
            fault("error", code=1011, when=at("TradeEntrust"), times=2),
            fault("error", code="1015", text="慢", when=at("TradeEntrust", nth=3, phase="after")),
        ]
    )
    assert broker.err(ENTRUST, **order()) == "1011 系统繁忙"
    assert broker.err(ENTRUST, **order()) == "1011 系统繁忙"
    assert placed(broker) == []
    assert broker.err(ENTRUST, **order()) == "1015 慢"
    assert len(placed(broker)) == 1


def test_http_status(broker: Desk) -> None:
    broker.sim.faults([fault("http_status", code=503), fault("http_status", when=at("TradeEntrust"))])
    assert broker.http.post("/trade/TradeSubscribe", json={}).status_code == 503
    broker.sim.faults([fault("http_status", code="502", when=at("TradeSubscribe"))])
    assert broker.http.post("/trade/TradeSubscribe", json={}).status_code == 502
    assert broker.http.post(ENTRUST, json={"params": order()}).status_code == 500
    assert placed(broker) == []


def test_garbage_and_oversize(broker: Desk) -> None:
    broker.sim.faults(
        [fault("garbage", when=at("TradeEntrust", phase="after")), fault("oversize", when=at(REAL_ORDERS))]
    )
    with pytest.raises(ValueError):
        broker.http.post(ENTRUST, json={"params": order()}).json()
    assert len(placed(broker)) == 1
    assert len(broker.http.post(REAL_ORDERS, json={}).content) > frames.MAX_BODY


def test_split_answer(broker: Desk) -> None:
    broker.sim.faults([fault("split", when=at("BasicQot"))])
    whole = broker.ok("/hq/BasicQot", security=[AAPL], mktTmType=1)
    assert whole == broker.ok("/hq/BasicQot", security=[AAPL], mktTmType=1)


# --- pushes -------------------------------------------------------------------------------------------------------


def test_split_and_joined_pushes(broker: Desk) -> None:
    broker.sim.faults([fault("split", when=at("push"), times=2)])
    ids = [broker.entrust(), broker.entrust()]
    assert [push.recordNo for push in broker.push.orders(2)] == ids
    broker.sim.faults([fault("join")])
    ids = [broker.entrust(), broker.entrust()]
    assert [push.recordNo for push in broker.push.orders(2)] == ids
    broker.sim.faults([fault("join")])
    assert broker.entrust() == broker.push.orders(1)[0].recordNo  # alone when nothing follows


def test_duplicate_push(broker: Desk) -> None:
    broker.sim.faults([fault("push", mode="duplicate")])
    order_id = broker.entrust()
    assert [push.recordNo for push in broker.push.orders(2)] == [order_id] * 2
    assert broker.push.serials[-1] == broker.push.serials[-2]


@pytest.mark.parametrize(
    "changes",
    [{}, {"times": 2}, {"when": at("TradeEntrust")}],
    ids=["the next push", "both of a pair", "the pushes of a request"],
)
def test_reordered_pushes(broker: Desk, changes: dict[str, Any]) -> None:
    broker.sim.faults([fault("push", mode="reorder", **changes)])
    broker.entrust(entrustPrice="0", entrustType="5")
    assert [push.entrustStatus for push in broker.push.orders(2)] == ["8", "2"]


def test_lost_and_late_pushes(broker: Desk) -> None:
    broker.sim.faults([fault("push", mode="lose", when=at("TradeStockDeliverNotify", nth=2))])
    first, _, third = broker.entrust(), broker.entrust(), broker.entrust()
    assert [push.recordNo for push in broker.push.orders(2)] == [first, third]
    broker.sim.faults([fault("push", mode="late", ms=60)])
    late, prompt = broker.entrust(), broker.entrust()
    assert [push.recordNo for push in broker.push.orders(2)] == [prompt, late]


def test_pushes_of_one_request(broker: Desk) -> None:
    broker.sim.faults([fault("push", mode="lose", when=at("TradeEntrust", nth=2))])
    kept, _ = broker.entrust(), broker.entrust()
    assert broker.push.orders(1)[0].recordNo == kept
    assert broker.push.is_silent()


@pytest.mark.parametrize("how", ["fault", "switch"])
def test_push_before_the_answer(broker: Desk, how: str) -> None:
    if how == "fault":
        broker.sim.faults([fault("push", mode="before_reply")])
    else:
        broker.sim.switches(push_before_reply=True)
    url = httpx.URL(broker.sim.vbrokers_url or "")
    request = httpx.Request("POST", url.copy_with(path=ENTRUST), json={"params": order()})
    head = f"POST {ENTRUST} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(request.content)}\r\n\r\n".encode()
    with socket.create_connection((url.host, url.port or 0), timeout=5) as sock:
        sock.sendall(head + request.content)
        broker.push.orders(1)
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        sock.settimeout(5)
        assert sock.recv(65_536).startswith(b"HTTP/1.1 200")


def test_garbage_push(broker: Desk) -> None:
    broker.sim.faults([fault("garbage", when=at("push"))])
    broker.entrust()
    assert broker.push.read(frames.HEADER.size)[:2] == b"XX"


def test_oversize_push(broker: Desk) -> None:
    broker.sim.faults([fault("oversize", when=at("push"))])
    broker.entrust()
    assert frames.HEADER.unpack(broker.push.read(frames.HEADER.size))[5] > frames.MAX_BODY


@pytest.mark.parametrize("phase", ["before", "after"])
def test_push_connection_dropped(broker: Desk, phase: str) -> None:
    broker.sim.faults([fault("drop", when=at("push", phase=phase))])
    broker.entrust()
    if phase == "after":
        assert broker.push.orders(1)
    with pytest.raises(Closed):
        broker.push.next()


def test_stalled_push_connection(broker: Desk) -> None:
    broker.sim.faults([fault("stall", for_s=0.1, when=at("push", phase="after"))])
    first, _ = broker.entrust(), broker.entrust()
    assert broker.push.orders(1)[0].recordNo == first
    with pytest.raises(Closed):
        broker.push.next()


# --- the whole Gateway --------------------------------------------------------------------------------------------


def test_drop_now_closes_everything(broker: Desk) -> None:
    broker.sim.faults([fault("drop")])
    assert broker.push.is_closed()
    broker.entrust()  # a new connection is welcome


def test_refuse_for_a_while(broker: Desk) -> None:
    broker.sim.faults([fault("refuse", for_s=0.2)])
    host, port = (broker.sim.push_address or "").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    broker.entrust()  # the standing connections stay
    assert broker.push.orders(1)

    def accepts() -> bool:
        try:
            socket.create_connection((host, int(port))).close()
        except ConnectionRefusedError:
            return False
        return True

    eventually(accepts, "still refused")


def test_stall_now(broker: Desk) -> None:
    broker.sim.faults([fault("stall", for_s=0.4)])
    fails(broker, httpx.ReadTimeout, timeout=0.05)
    assert placed(broker) == []
    broker.sim.order("AAPL.SMART", "LONG", 1, 100)
    assert broker.push.is_closed()  # nothing but silence, then the end
    eventually(lambda: _answers(broker), "still silent")


def _answers(broker: Desk) -> bool:
    try:
        return broker.http.post("/trade/TradeSubscribe", json={}, timeout=0.1).status_code == 200
    except httpx.TransportError:
        return False


def test_restart_forgets_login_and_subscriptions_but_no_order(broker: Desk) -> None:
    order_id = broker.entrust()
    broker.ok("/hq/Subscribe", topicId=11, security=[AAPL])
    broker.sim.faults([fault("restart", for_s=0.1)])
    assert broker.push.is_closed()
    eventually(lambda: _answers(broker), "does not come back")
    assert broker.err(REAL_ORDERS, exchangeType="P", entrustId=[order_id]) == "1012 用户未登录"
    push = PushClient(broker.sim.push_address or "")
    broker.ok("/trade/TradeLogin", password=CIPHER)
    assert broker.row(order_id)["status"] == "2"
    broker.entrust()
    broker.sim.quote("AAPL.SMART", last="199", bid="198.9")
    assert push.is_silent()  # neither orders nor quotes before they are subscribed anew
    push.close()


def test_restart_during_a_request(broker: Desk) -> None:
    broker.sim.faults([fault("restart", for_s=0.05, when=at("TradeEntrust", phase="after"))])
    fails(broker, httpx.RemoteProtocolError)
    assert len(placed(broker)) == 1
    eventually(lambda: _answers(broker), "does not come back")


@pytest.mark.parametrize(("do", "err"), [("displace", "1013 用户被挤下线"), ("expire", "1014 登录超时")])
def test_displaced_and_expired(broker: Desk, do: str, err: str) -> None:
    broker.sim.faults([fault(do, when=at("TradeEntrust"))])
    assert broker.err(ENTRUST, **order()) == err
    assert broker.err("/trade/TradeSubscribe") == err
    assert placed(broker) == []
    broker.login()
    broker.sim.faults([fault(do)])
    assert broker.err("/trade/TradeSubscribe") == err


def test_fill_while_away(broker: Desk) -> None:
    first, second = broker.entrust(), broker.entrust(entrustAmount="20")
    broker.push.orders(2)
    broker.sim.faults([fault("fill_while_away", order=first)])
    assert broker.push.is_closed()
    assert broker.row(first)["status"] == "8"
    broker.sim.faults([fault("fill_while_away")])
    assert broker.row(second)["businessAmount"] == "20"
    assert broker.row(second)["businessPrice"] == "150.000"
    broker.sim.faults([fault("fill_while_away"), fault("fill_while_away", order="77")])  # nothing to fill: no harm
    assert len(broker.sim.state()["vbrokers"]["trades"]) == 2


def test_after_a_while_by_the_simulators_clock(broker: Desk) -> None:
    broker.sim.faults([fault("displace", when={"after_s": 3600})])
    broker.ok("/trade/TradeSubscribe")
    broker.sim.advance(3601)
    assert broker.err("/trade/TradeSubscribe").startswith("1013")


# --- paging -------------------------------------------------------------------------------------------------------


def test_stuck_cursor_and_shifted_pages(broker: Desk) -> None:
    for _ in range(5):
        broker.entrust()
    whole = [row["entrustId"] for row in broker.rows(REAL_ORDERS)]
    broker.sim.faults([fault("stuck_cursor", when=at("TradeQueryRealEntrustList", nth=2))])
    first = broker.rows(REAL_ORDERS, queryCount=2)
    second = broker.rows(REAL_ORDERS, queryCount=2, queryParamStr=first[-1]["queryParamStr"])
    assert {row["queryParamStr"] for row in second} == {first[-1]["queryParamStr"]}
    broker.sim.faults([fault("shift_pages")])
    first = broker.rows(REAL_ORDERS, queryCount=2)
    second = broker.rows(REAL_ORDERS, queryCount=2, queryParamStr=first[-1]["queryParamStr"])
    assert [row["entrustId"] for row in [*first, *second]] == [whole[0], whole[1], whole[1], whole[2]]
