"""A bare client of the simulated Gateway for tests: HTTP by httpx, pushes by a socket, no code of the plugin."""

from __future__ import annotations

import base64
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from Crypto.Cipher import AES
from Crypto.Util.Padding import pad

import brokersim
from vnpy_vbrokers.wire.proto import push_pb2 as pb

KEY = base64.b64decode("m+qS04/2CH1OweCnmXZ3TDZkCQS+hBzY")
CIPHER = "W1U8iZIppSE+mBMtzy9vZQ=="
HEADER = struct.Struct("<2shBBii128sBq")
DEADLINE_S = 5.0
AAPL = {"dataType": 20000, "code": "AAPL"}
TENCENT = {"dataType": 10000, "code": "00700.HK"}
PAYLOADS: dict[int, Any] = {1: pb.TradeStockDeliverNotify, 20001: pb.OrderBookFullNotify, 20002: pb.BrokerNotify}
PAYLOADS |= {20003: pb.BasicQotNotify, 20004: pb.TickerNotify}


def cipher(password: str) -> str:
    """The password as a client sends it (vbrokers-openapi 3.1)."""
    return base64.b64encode(AES.new(KEY, AES.MODE_ECB).encrypt(pad(password.encode(), 16))).decode()


class Closed(Exception):
    """The push connection was closed by the Gateway."""


class PushClient:
    """The push port, read frame by frame."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=DEADLINE_S)
        self.buffer = b""
        self.serials: list[int] = []

    def close(self) -> None:
        self.socket.close()

    def read(self, size: int, timeout: float = DEADLINE_S) -> bytes:
        """Exactly ``size`` bytes; Closed at the end, TimeoutError when they do not come."""
        self.socket.settimeout(timeout)
        while len(self.buffer) < size:
            try:
                data = self.socket.recv(65_536)
            except ConnectionError as error:
                raise Closed from error
            if not data:
                raise Closed
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def next(self, timeout: float = DEADLINE_S) -> Any:
        """The next business message."""
        magic, kind, _, _, serial, length, signature, compress, _ = HEADER.unpack(self.read(HEADER.size, timeout))
        assert (magic, kind, compress, signature) == (b"HS", 3, 0, bytes(128))
        self.serials.append(serial)
        notify = pb.PBNotify.FromString(self.read(length, timeout))
        payload = PAYLOADS[notify.notifyMsgType].FromString(notify.payload.value)
        assert notify.payload.type_url == f"type.googleapis.com/{payload.DESCRIPTOR.name}"
        return payload

    def orders(self, count: int) -> list[Any]:
        """The next ``count`` order pushes; others are passed over."""
        found: list[Any] = []
        while len(found) < count:
            payload = self.next()
            if isinstance(payload, pb.TradeStockDeliverNotify):
                found.append(payload)
        return found

    def is_silent(self, timeout: float = 0.2) -> bool:
        """Does nothing come for a while."""
        try:
            payload = self.next(timeout)
        except TimeoutError:
            return True
        raise AssertionError(f"unexpected push {payload}")

    def is_closed(self) -> bool:
        """Does the Gateway close the connection."""
        try:
            while True:
                self.read(1)
        except Closed:
            return True


@dataclass
class Desk:
    """A simulator, an HTTP client and a push client."""

    sim: brokersim.Simulation
    http: httpx.Client
    push: PushClient

    def post(self, path: str, **params: Any) -> dict[str, Any]:
        """The envelope that answers a call."""
        response = self.http.post(path, json={"timeout_sec": 10, "params": params})
        assert response.status_code == 200
        envelope: dict[str, Any] = response.json()
        assert set(envelope) == {"ok", "err", "data"}
        return envelope

    def ok(self, path: str, **params: Any) -> Any:
        """The data of a call that must succeed."""
        envelope = self.post(path, **params)
        assert envelope["ok"] is True, envelope
        assert envelope["err"] == ""
        return envelope["data"]

    def err(self, path: str, **params: Any) -> str:
        """The error of a call that must be refused."""
        envelope = self.post(path, **params)
        assert envelope["ok"] is False, envelope
        assert envelope["data"] == {}
        return str(envelope["err"])

    def login(self) -> None:
        assert self.ok("/trade/TradeLogin", password=CIPHER) == {"success": True}
        assert self.ok("/trade/TradeSubscribe") == {"success": True}

    def still(self, last: str = "200", bid: str = "199.9", ask: str = "200.1", size: int = 1000) -> None:
        """Quotes stand still, AAPL's at these prices."""
        self.sim.pause()
        self.sim.quote("AAPL.SMART", last=last, bid=bid, ask=ask, bid_size=size, ask_size=size)

    def entrust(self, **changes: Any) -> str:
        """Place an order: 10 AAPL at 150 unless changed; its id."""
        data = self.ok("/trade/TradeEntrust", **order(**changes))
        assert list(data) == ["data"]
        return str(data["data"])

    def rows(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """All rows of a list in one page."""
        wanted = {"exchangeType": "P", "queryCount": 99, "queryParamStr": "0"} | params
        rows: list[dict[str, Any]] = self.ok(path, **wanted)["data"]
        return rows

    def row(self, order_id: str, **params: Any) -> dict[str, Any]:
        """One order's row."""
        wanted = {"exchangeType": "P"} | params
        [row] = self.ok("/trade/TradeQueryRealEntrustList", entrustId=[order_id], **wanted)["data"]
        return dict(row)


def order(**changes: Any) -> dict[str, Any]:
    """The parameters of a limit buy of 10 AAPL at 150."""
    params = {
        "exchangeType": "P",
        "stockCode": "AAPL",
        "entrustAmount": "10",
        "entrustPrice": "150.00",
        "entrustBs": "1",
        "entrustType": "3",
        "sessionType": "0",
    }
    return {name: value for name, value in {**params, **changes}.items() if value is not None}


@contextmanager
def desk(*, login: bool = True, **options: Any) -> Iterator[Desk]:
    """A running simulator with its clients, logged in."""
    with (
        brokersim.running(**options) as sim,
        httpx.Client(base_url=sim.vbrokers_url or "", trust_env=False, timeout=DEADLINE_S) as http,
    ):
        push = PushClient(sim.push_address or "")
        try:
            clients = Desk(sim, http, push)
            if login:
                clients.login()
            yield clients
        finally:
            push.close()


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Poll until ``condition`` holds, a bounded time."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
