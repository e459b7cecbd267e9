"""The simulated Gateway's bytes: frames, cipher, HTTP envelope and strictness."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersim.hstong import frames
from brokersim.hstong.crypto import decrypt
from brokersim.http_server import MAX_BODY, pieces
from tests.sim_hstong_client import AAPL, CIPHER, Desk, cipher, desk, order
from vnpy_vbrokers.wire.proto import push_pb2 as pb

TICKER_FRAME = (
    "4853030000000700000077000000"
    + "00" * 137
    + "08a49c0112044141504c1881d8c1a28c3422640a20747970652e676f6f676c6561706973"
    "2e636f6d2f5469636b65724e6f7469667912400a0a08a09c0112044141504c12320a0830393a34353a30301001190000000000106940206429"
    "000000008094d3403880d8c1a28c3440ffffffffffffffffff01"
)
ORDER_FRAME = (
    "485303000000080000006f000000"
    + "00" * 137
    + "080112044141504c1882d8c1a28c34225e0a2b747970652e676f6f676c65617069732e"
    "636f6d2f547261646553746f636b44656c697665724e6f74696679122f12044141504c2201314a01505201326204313030318a01023130920106"
    "3138302e30309a01023130a2010431303031"
)


def test_ticker_frame_is_the_references() -> None:
    payload = pb.TickerNotify(
        security=pb.Security(dataType=20000, code="AAPL"),
        ticker=pb.Ticker(
            time="09:45:00", side=1, price=200.5, volume=100, turnover=20050, timestamp=1790000000000, mktTmType=-1
        ),
    )
    assert frames.frame(7, 1790000000001, payload) == bytes.fromhex(TICKER_FRAME)


def test_order_frame_is_the_references() -> None:
    payload = pb.TradeStockDeliverNotify(
        stockCode="AAPL",
        entrustBs="1",
        exchangeType="P",
        entrustStatus="2",
        entrustNo="1001",
        leftAmount="10",
        entrustPrice="180.00",
        entrustAmount="10",
        recordNo="1001",
    )
    assert frames.frame(8, 1790000000002, payload) == bytes.fromhex(ORDER_FRAME)


@pytest.mark.parametrize(
    ("plain", "text"),
    [
        ("123456", "W1U8iZIppSE+mBMtzy9vZQ=="),
        ("888888", "iw4dgwnqKwrMFugTb+ZcuA=="),
        ("Abc@1234", "pEDHgrWZ1r4zeAbNA8Uajg=="),
        ("1234567890123456", "BNm1Bhq2tCp+OHwEyJ7YLaEzkrWZG8OOwpN5Cdw/UcA="),
    ],
)
def test_password_vectors(plain: str, text: str) -> None:
    assert decrypt(text) == plain


@settings(derandomize=True)
@given(st.text(max_size=60))
def test_no_text_breaks_the_cipher(text: str) -> None:
    assert decrypt(text) is None or isinstance(decrypt(text), str)


@settings(derandomize=True)
@given(st.binary(max_size=5000))
def test_pieces_make_the_whole(data: bytes) -> None:
    assert b"".join(pieces(data)) == data
    assert all(pieces(data))


# --- HTTP ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gateway() -> Iterator[Desk]:
    with desk() as clients:
        clients.still()
        yield clients


def test_login_before_anything() -> None:
    with desk(login=False) as clients:
        assert clients.err("/trade/TradeQueryHoldsList", exchangeType="K") == "1012 用户未登录"
        assert clients.err("/hs/rate/queryList") == "1012 用户未登录"
        assert clients.ok("/hq/BasicQot", security=[AAPL], mktTmType=1)["basicQot"]
        assert clients.err("/trade/TradeLogin", password=cipher("654321")) == "1008 交易密码错误"
        assert clients.err("/trade/TradeLogin", password="no cipher") == "1008 交易密码错误"
        assert clients.err("/trade/TradeLogin", tradePassword=CIPHER).startswith("1016")
        assert clients.err("/trade/TradeLogin").startswith("2001")
        clients.login()
        assert clients.ok("/trade/TradeQueryHoldsList", exchangeType="K") == {"holdsList": []}
        assert clients.ok("/trade/TradeLogout") == {"success": True}
        assert clients.err("/trade/TradeQueryHoldsList", exchangeType="K") == "1012 用户未登录"


def test_password_is_an_option() -> None:
    with desk(login=False, password="Abc@1234") as clients:
        assert clients.err("/trade/TradeLogin", password=CIPHER).startswith("1008")
        assert clients.ok("/trade/TradeLogin", password=cipher("Abc@1234")) == {"success": True}


def test_session_slides_for_three_hours() -> None:
    with desk(clock="data") as clients:
        clients.sim.advance(10_000)
        clients.ok("/trade/TradeQueryMarginFundInfo", exchangeType="P")
        clients.sim.advance(10_000)
        clients.ok("/trade/TradeQueryMarginFundInfo", exchangeType="P")
        clients.sim.advance(10_801)
        assert clients.err("/trade/TradeQueryMarginFundInfo", exchangeType="P") == "1014 登录超时"
        assert clients.err("/trade/TradeQueryMarginFundInfo", exchangeType="P") == "1014 登录超时"
        clients.login()
        clients.ok("/trade/TradeQueryMarginFundInfo", exchangeType="P")


@pytest.mark.parametrize("path", ["/trade/TradeQueryHoldsListRequest", "/trade/TradeQueryHoldsListRequestMsgType"])
def test_aliases(gateway: Desk, path: str) -> None:
    assert "holdsList" in gateway.ok(path, exchangeType="P")


@pytest.mark.parametrize(
    "path",
    [
        "/trade/TradeQueryPositionList",
        "/trade/TradeQueryOrderDetails",
        "/trade/FuturesEntrust",
        "/trade/FuturesQueryFundInfo",
        "/trade/AlgoAddOrder",
        "/nothing",
        "/",
    ],
)
def test_no_such_interface(gateway: Desk, path: str) -> None:
    assert gateway.err(path).startswith("1009")


def test_only_post(gateway: Desk) -> None:
    response = gateway.http.get("/hq/BasicQot")
    assert response.status_code == 405
    assert response.json()["err"].startswith("1010")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'{"params": 3}', b"\xff\xfe", b"[" * 100_000])
def test_no_json_object(gateway: Desk, body: bytes) -> None:
    response = gateway.http.post("/hq/BasicQot", content=body)
    assert response.status_code == 400
    assert response.json()["err"].startswith("1010")


def test_body_too_large(gateway: Desk) -> None:
    response = gateway.http.post("/hq/BasicQot", content=b" " * (MAX_BODY + 1))
    assert response.status_code == 413


def test_params_may_be_missing_and_content_type_too(gateway: Desk) -> None:
    response = gateway.http.post("/trade/TradeSubscribe", content=b"{}")
    assert response.json() == {"ok": True, "err": "", "data": {"success": True}}
    assert "content-type" not in response.request.headers


def test_business_fields_outside_params_are_ignored(gateway: Desk) -> None:
    response = gateway.http.post("/trade/TradeQueryHoldsList", json={"exchangeType": "P", "params": {}})
    assert response.json()["err"].startswith("2001")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exchangeType": None}, "2001"),
        ({"stockCode": None}, "2001"),
        ({"entrustAmount": None}, "2001"),
        ({"entrustBs": None}, "2001"),
        ({"entrustType": None}, "2001"),
        ({"entrustPrice": None}, "2001"),
        ({"exchangeType": "p"}, "1016"),
        ({"exchangeType": "k"}, "1016"),
        ({"exchangeType": "V"}, "1016"),
        ({"stockCode": "NOPE"}, "1016"),
        ({"stockCode": "AAPL.US"}, "1016"),
        ({"stockCode": "00700.HK"}, "1016"),
        ({"exchangeType": "K", "stockCode": "700.HK"}, "1016"),
        ({"entrustAmount": "0"}, "1016"),
        ({"entrustAmount": "-5"}, "1016"),
        ({"entrustAmount": "1.5"}, "1016"),
        ({"entrustAmount": "1e3"}, "1016"),
        ({"entrustAmount": True}, "1016"),
        ({"entrustAmount": ["1"]}, "1016"),
        ({"entrustPrice": "0"}, "1016"),
        ({"entrustPrice": "-1"}, "1016"),
        ({"entrustPrice": "NaN"}, "1016"),
        ({"entrustBs": "5"}, "1016"),
        ({"entrustBs": "3"}, "3002"),
        ({"entrustBs": "4"}, "3002"),
        ({"entrustType": "2"}, "1016"),
        ({"entrustType": "99"}, "1016"),
        ({"entrustType": "5"}, "1016"),
        ({"entrustType": "9"}, "2001"),
        ({"entrustType": "9", "iceBergDisplaySize": "11"}, "1016"),
        ({"exchangeType": "K", "stockCode": "00700.HK", "entrustType": "5", "entrustPrice": "0"}, "1016"),
        ({"exchangeType": "K", "stockCode": "00700.HK", "sessionType": "1"}, "1016"),
        ({"sessionType": "3"}, "1016"),
        ({"entrustAmount": "99999999"}, "3002"),
        ({"entrustBs": "2"}, "3002"),
    ],
)
def test_orders_are_checked(gateway: Desk, changes: dict[str, Any], code: str) -> None:
    before = gateway.sim.state()["vbrokers"]["orders"]
    assert gateway.err("/trade/TradeEntrust", **order(**changes)).startswith(code)
    assert gateway.sim.state()["vbrokers"]["orders"] == before


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("/hq/BasicQot", {}, "2001"),
        ("/hq/BasicQot", {"security": []}, "2001"),
        ("/hq/BasicQot", {"security": ["AAPL"]}, "1016"),
        ("/hq/BasicQot", {"security": [{"code": "AAPL"}]}, "2001"),
        ("/hq/BasicQot", {"security": [AAPL] * 201}, "1016"),
        ("/hq/BasicQot", {"security": [AAPL], "mktTmType": 2}, "1016"),
        ("/hq/OrderBook", {}, "2001"),
        ("/hq/OrderBook", {"security": AAPL, "depthBookType": 1}, "1016"),
        ("/hq/Ticker", {"security": AAPL, "limit": 101}, "1016"),
        ("/hq/Ticker", {"security": AAPL}, "2001"),
        ("/hq/KL", {"security": AAPL}, "2001"),
        ("/hq/Subscribe", {"topicId": 12, "security": [AAPL]}, "1016"),
        ("/hq/Subscribe", {"topicId": 11}, "2001"),
        ("/trade/TradeQueryHoldsList", {}, "2001"),
        ("/trade/TradeQueryMarginFundInfo", {"exchangeType": "H"}, "1016"),
        ("/trade/TradeQueryRealEntrustList", {"exchangeType": "P"}, "2001"),
        ("/trade/TradeQueryRealEntrustList", {"exchangeType": "P", "queryCount": 20}, "2001"),
        ("/trade/TradeQueryRealDeliverList", {"exchangeType": "P", "queryParamStr": "0"}, "2001"),
        ("/trade/TradeQueryRealEntrustList", {"exchangeType": "P", "queryCount": 100, "queryParamStr": "0"}, "1016"),
        ("/trade/TradeQueryRealEntrustList", {"exchangeType": "P", "queryCount": 9, "queryParamStr": "x"}, "1016"),
        ("/trade/TradeQueryRealEntrustList", {"exchangeType": "P", "entrustId": ["1"] * 101}, "1016"),
        ("/trade/TradeQueryHistoryEntrustList", {"exchangeType": "P", "queryCount": 9, "queryParamStr": "0"}, "2001"),
        ("/trade/TradeQueryHistoryEntrustList", {"exchangeType": "P", "startDate": "2026", "endDate": "2026"}, "1016"),
        ("/trade/TradeCancelEntrust", {"exchangeType": "P", "stockCode": "AAPL"}, "2001"),
        ("/trade/TradeCancelEntrust", {"exchangeType": "P", "stockCode": "AAPL", "entrustId": "7"}, "1008"),
        ("/trade/TradeBatchCancelEntrust", {}, "2001"),
        ("/trade/TradeChangeEntrust", {"exchangeType": "P", "stockCode": "AAPL", "entrustId": "7"}, "2001"),
    ],
)
def test_other_calls_are_checked(gateway: Desk, path: str, params: dict[str, Any], code: str) -> None:
    assert gateway.err(path, **params).startswith(code)


def test_scalars_come_as_text_or_number(gateway: Desk) -> None:
    texts = {"security": {"dataType": "20000", "code": "AAPL"}, "limit": "5"}
    assert gateway.ok("/hq/Ticker", **texts)["ticker"]
    order_id = gateway.entrust(entrustAmount=10, entrustPrice=150.5)
    assert gateway.row(order_id)["entrustPrice"] == "150.500"


def test_trading_answers_are_texts_and_quotes_numbers(gateway: Desk) -> None:
    order_id = gateway.entrust()
    row = gateway.row(order_id)
    flags = {"canBeCanceled", "canBeUpdated"}
    assert all(isinstance(value, int if name in flags else str) for name, value in row.items() if name != "fareVo")
    funds = gateway.ok("/trade/TradeQueryMarginFundInfo", exchangeType="P")
    assert all(isinstance(value, str) for value in funds.values())
    [quote] = gateway.ok("/hq/BasicQot", security=[AAPL], mktTmType=1)["basicQot"]
    assert isinstance(quote["lastPrice"], float)
    assert isinstance(quote["volume"], int)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(min_size=1, max_size=300))
def test_garbage_on_the_http_port_ends_nothing(gateway: Desk, data: bytes) -> None:
    url = httpx.URL(gateway.sim.vbrokers_url or "")
    with socket.create_connection((url.host, url.port or 0), timeout=5) as sock:
        sock.sendall(data + b"\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        try:
            while sock.recv(65_536):
                pass
        except ConnectionError:
            pass  # closed while it was still being sent to: the next line is what matters
    assert gateway.ok("/trade/TradeSubscribe") == {"success": True}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["exchangeType", "stockCode", "security", "topicId", "entrustId", "queryCount", "queryParamStr", "limit"]
PATHS = ["/hq/BasicQot", "/hq/KL", "/hq/Subscribe", "/trade/TradeEntrust", "/trade/TradeBatchCancelEntrust"]
PATHS += ["/trade/TradeQueryRealEntrustList", "/trade/TradeQueryHoldsList", "/hq/Ticker"]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(PATHS), st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5))
def test_odd_parameters_are_refused_in_words(gateway: Desk, path: str, params: dict[str, Any]) -> None:
    response = gateway.http.post(path, content=json.dumps({"params": params}).encode())
    assert response.status_code == 200
    envelope = response.json()
    assert envelope["ok"] or envelope["err"][:4] in {"1016", "2001"}


def test_pipelined_requests_are_answered_in_turn(gateway: Desk) -> None:
    url = httpx.URL(gateway.sim.vbrokers_url or "")
    request = b"POST /trade/TradeSubscribe HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    with socket.create_connection((url.host, url.port or 0), timeout=5) as sock:
        sock.sendall(request * 3)
        received = b""
        while received.count(b'"success":true') < 3:
            received += sock.recv(65_536)
    assert received.count(b"HTTP/1.1 200") == 3
