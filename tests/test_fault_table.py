"""The whole fault table of the design, section 7: each fault, for each broker that has it, posted to the control
interface and read from a ``--faults`` file, and seen on the wire by bare clients.

What each fault does in detail is in test_sim_hstong_faults, test_sim_tws_connection and test_sim_tws_push_faults; here
every row of the table has its scene, and a row without one fails.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import brokersim
from brokersim.__main__ import _options, _parser
from brokersim.client import _in_thread, _simulation
from brokersim.faults import KINDS, Fault, PushMode, check
from brokersim.hstong import frames
from tests.sim_hstong_client import CIPHER, Desk, PushClient, eventually, order
from tests.sim_tws_client import AAPL, RawClient, details_request
from tests.test_sim_tws_connection import limit_order

# The table as the design writes it: parameters by fault.
DESIGN: dict[str, set[str]] = {
    "refuse": {"for_s"},
    "drop": set(),
    "stall": {"for_s"},
    "delay": {"ms"},
    "split": set(),
    "join": set(),
    "garbage": set(),
    "oversize": set(),
    "http_status": {"code"},
    "error": {"code", "text"},
    "lose_reply": set(),
    "push": {"mode"},
    "restart": {"for_s"},
    "fill_while_away": {"order"},
    "displace": set(),
    "expire": set(),
    "stuck_cursor": set(),
    "shift_pages": set(),
    "notice": {"code"},
    "daily_reset": {"for_s"},
    "hold": set(),
}
MODES: tuple[PushMode, ...] = ("duplicate", "reorder", "late", "lose", "before_reply")
CONNECTION_CODES = (1100, 1101, 1102, 2103, 2110, 10197)
ORDER_CODES = (10349, 399, 404, 202, 201)
OF_ONE_BROKER = {
    # No HTTP, no trading login and no paged lists at TWS; no notices, nightly reset and Transmit at the Gateway.
    "vbrokers": {"http_status", "displace", "expire", "stuck_cursor", "shift_pages"},
    "tws": {"notice", "daily_reset", "hold"},
}
LATE_MS = 2000
HOUR = 3600
RESTING, MARKETABLE = "100", "250"
ENTRUST, ORDERS = "/trade/TradeEntrust", "/trade/TradeQueryRealEntrustList"


@dataclass(frozen=True)
class Scene:
    """One fault and what is seen of it. ``see`` gets the clients and what lets the fault strike (or arms it)."""

    fault: dict[str, Any]
    see: Callable[[Any, Callable[[], None]], None]

    @property
    def name(self) -> str:
        detail = self.fault.get("mode") or (self.fault.get("code") if self.fault["do"] == "notice" else None)
        return f"{self.fault['do']}-{detail}" if detail else str(self.fault["do"])


@pytest.fixture(params=["control", "file"])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def armed(
    broker: str, scene: Scene, source: str, folder: Path
) -> Iterator[tuple[brokersim.Simulation, Callable[[], None]]]:
    """A simulator, and what lets the scene's fault strike: a call of the control interface, or time to pass."""
    fault = {"broker": broker, **scene.fault}
    arguments = ["--only", broker]
    if source == "file":
        if "when" not in fault:
            fault["when"] = {"after_s": HOUR}
        file = folder / "faults.json"
        file.write_text(json.dumps([fault]), encoding="utf-8")
        arguments += ["--faults", str(file)]
    with _in_thread(_options(_parser().parse_args(arguments))) as ready:
        sim = _simulation(ready)

        def strike() -> None:
            if source == "control":
                sim.faults([fault])
            elif "after_s" in fault["when"]:
                sim.advance(HOUR)

        sim.pause()
        sim.quote("AAPL.SMART", last="200", bid="199.9", ask="200.1", bid_size=500, ask_size=500)
        yield sim, strike


# ---------------------------------------------------------------------- the OpenAPI Gateway

Strike = Callable[[], None]


def entrust_fails(desk: Desk, error: type[Exception], timeout: float = 5.0) -> None:
    with pytest.raises(error):
        desk.http.post(ENTRUST, json={"params": order()}, timeout=timeout).raise_for_status().json()


def placed(desk: Desk) -> int:
    return len(desk.sim.state()["vbrokers"]["orders"])


def gateway_answers(desk: Desk) -> bool:
    try:
        return desk.http.post("/trade/TradeSubscribe", json={}, timeout=0.5).status_code == 200
    except httpx.TransportError:
        return False


def vb_refuse(desk: Desk, strike: Strike) -> None:
    strike()
    host, port = (desk.sim.push_address or "").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    desk.entrust()  # what stands stays
    desk.sim.clear_faults()
    eventually(lambda: _takes(host, int(port)), "still refused")


def _takes(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return False
    return True


def vb_drop(desk: Desk, strike: Strike) -> None:
    strike()
    assert desk.push.is_closed()
    desk.entrust()


def vb_stall(desk: Desk, strike: Strike) -> None:
    strike()
    entrust_fails(desk, httpx.ReadTimeout, timeout=0.1)
    assert placed(desk) == 0
    desk.sim.clear_faults()
    assert desk.push.is_closed()
    desk.entrust()


def vb_delay(desk: Desk, strike: Strike) -> None:
    strike()
    began = time.monotonic()
    desk.entrust()
    assert time.monotonic() - began >= 0.2


def vb_split(desk: Desk, strike: Strike) -> None:
    strike()
    for _attempt in range(50):
        order_id = desk.entrust()
        first = desk.push.socket.recv(65_536)
        desk.push.buffer += first
        assert desk.push.orders(1)[0].recordNo == order_id
        if len(first) < frames.HEADER.size:  # a piece of a frame came alone
            return
    raise AssertionError("no frame ever came in pieces")


def vb_join(desk: Desk, strike: Strike) -> None:
    strike()
    ids = [desk.entrust(), desk.entrust()]
    data = desk.push.socket.recv(65_536)
    size = frames.HEADER.size + frames.HEADER.unpack(data[: frames.HEADER.size])[5]
    assert len(data) > size  # the second frame, or its beginning, came with the first
    desk.push.buffer = data
    assert [push.recordNo for push in desk.push.orders(2)] == ids


def vb_garbage(desk: Desk, strike: Strike) -> None:
    strike()
    entrust_fails(desk, ValueError)


def vb_oversize(desk: Desk, strike: Strike) -> None:
    strike()
    assert len(desk.http.post(ENTRUST, json={"params": order()}).content) > frames.MAX_BODY


def vb_http_status(desk: Desk, strike: Strike) -> None:
    strike()
    assert desk.http.post(ENTRUST, json={"params": order()}).status_code == 503


def vb_error(desk: Desk, strike: Strike) -> None:
    strike()
    assert desk.err(ENTRUST, **order()) == "1011 slow"
    assert placed(desk) == 0


def vb_lose_reply(desk: Desk, strike: Strike) -> None:
    strike()
    entrust_fails(desk, httpx.ReadTimeout, timeout=0.3)
    eventually(lambda: placed(desk) == 1, "carried out")


def vb_push(mode: str) -> Callable[[Desk, Strike], None]:
    def see(desk: Desk, strike: Strike) -> None:
        strike()
        if mode == "before_reply":
            _overtaken_reply(desk)
            return
        first, second = desk.entrust(), desk.entrust()
        wanted = {
            "duplicate": [first, first, second],
            "reorder": [second, first],
            "late": [second, first],
            "lose": [second],
        }[mode]
        assert [push.recordNo for push in desk.push.orders(len(wanted))] == wanted

    return see


def _overtaken_reply(desk: Desk) -> None:
    url = httpx.URL(desk.sim.vbrokers_url or "")
    body = httpx.Request("POST", url.copy_with(path=ENTRUST), json={"params": order()}).content
    head = f"POST {ENTRUST} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for _attempt in range(20):
        with socket.create_connection((url.host, url.port or 0), timeout=5) as sock:
            sock.sendall(head + body)
            desk.push.orders(1)
            sock.setblocking(False)
            try:
                sock.recv(1)
            except BlockingIOError:
                return  # the push is here, the answer is not
    raise AssertionError("no push ever came before its answer")


def vb_restart(desk: Desk, strike: Strike) -> None:
    order_id = desk.entrust()
    strike()
    assert desk.push.is_closed()
    eventually(lambda: gateway_answers(desk), "does not come back")
    assert desk.err(ORDERS, exchangeType="P", entrustId=[order_id]).startswith("1012")
    desk.ok("/trade/TradeLogin", password=CIPHER)
    assert desk.row(order_id)["status"] == "2"


def vb_fill_while_away(desk: Desk, strike: Strike) -> None:
    order_id = desk.entrust()
    desk.push.orders(1)
    strike()
    assert desk.push.is_closed()
    assert desk.row(order_id)["status"] == "8"


def vb_session_ends(code: str) -> Callable[[Desk, Strike], None]:
    def see(desk: Desk, strike: Strike) -> None:
        strike()
        assert desk.err("/trade/TradeSubscribe").startswith(code)
        desk.login()

    return see


def vb_pages(desk: Desk) -> tuple[list[str], list[dict[str, Any]], list[dict[str, Any]]]:
    whole = [row["entrustId"] for row in desk.rows(ORDERS)]
    first = desk.rows(ORDERS, queryCount=2)
    return whole, first, desk.rows(ORDERS, queryCount=2, queryParamStr=first[-1]["queryParamStr"])


def vb_stuck_cursor(desk: Desk, strike: Strike) -> None:
    for _ in range(4):
        desk.entrust()
    strike()
    _whole, first, second = vb_pages(desk)
    assert {row["queryParamStr"] for row in second} == {first[-1]["queryParamStr"]}


def vb_shift_pages(desk: Desk, strike: Strike) -> None:
    for _ in range(4):
        desk.entrust()
    strike()
    whole, first, second = vb_pages(desk)
    assert [row["entrustId"] for row in [*first, *second]] == [whole[0], whole[1], whole[1], whole[2]]


def at(message: str, **more: Any) -> dict[str, Any]:
    return {"when": {"message": message, **more}}


PUSHED = "TradeStockDeliverNotify"
VBROKERS = [
    Scene({"do": "refuse"}, vb_refuse),
    Scene({"do": "drop"}, vb_drop),
    Scene({"do": "stall"}, vb_stall),
    Scene({"do": "delay", "ms": 200, **at(ENTRUST)}, vb_delay),
    Scene({"do": "split", "times": 100, **at(PUSHED)}, vb_split),
    Scene({"do": "join", **at(PUSHED)}, vb_join),
    Scene({"do": "garbage", **at(ENTRUST)}, vb_garbage),
    Scene({"do": "oversize", **at(ENTRUST)}, vb_oversize),
    Scene({"do": "http_status", "code": 503, **at(ENTRUST)}, vb_http_status),
    Scene({"do": "error", "code": 1011, "text": "slow", **at(ENTRUST)}, vb_error),
    Scene({"do": "lose_reply", **at(ENTRUST)}, vb_lose_reply),
    *(
        Scene({"do": "push", "mode": mode, **({"ms": LATE_MS} if mode == "late" else {}), **at(PUSHED)}, vb_push(mode))
        for mode in MODES
        if mode != "before_reply"
    ),
    Scene({"do": "push", "mode": "before_reply", "times": 20, **at(ENTRUST)}, vb_push("before_reply")),
    Scene({"do": "restart", "for_s": 0.1}, vb_restart),
    Scene({"do": "fill_while_away"}, vb_fill_while_away),
    Scene({"do": "displace"}, vb_session_ends("1013")),
    Scene({"do": "expire"}, vb_session_ends("1014")),
    Scene({"do": "stuck_cursor", **at(ORDERS, nth=3)}, vb_stuck_cursor),
    Scene({"do": "shift_pages", **at(ORDERS, nth=2)}, vb_shift_pages),
]


@pytest.mark.parametrize("scene", VBROKERS, ids=lambda scene: scene.name)
def test_vbrokers(scene: Scene, source: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        sim, strike = stack.enter_context(armed("vbrokers", scene, source, tmp_path))
        http = stack.enter_context(httpx.Client(base_url=sim.vbrokers_url or "", trust_env=False, timeout=5))
        push = PushClient(sim.push_address or "")
        stack.callback(push.close)
        desk = Desk(sim, http, push)
        desk.login()
        scene.see(desk, strike)


# ---------------------------------------------------------------------- TWS


@dataclass
class Tws:
    """A simulator and one started client."""

    sim: brokersim.Simulation
    client: RawClient
    placed: int = 0

    def place(self, price: str = RESTING) -> list[str]:
        """Place an order; the kinds of message that came before the answer to a question behind it."""
        self.placed += 1
        self.client.send(*limit_order(self.placed, price))
        return [message[0] for message in self.client.ping()]

    def orders(self) -> list[str]:
        return [row["status"] for row in self.sim.state()["tws"]["orders"]]

    def again(self, client_id: int = 1) -> RawClient:
        """Another connection, as soon as one is taken."""
        made: list[RawClient] = []

        def connect() -> bool:
            client = None
            try:
                client = RawClient(self.sim.tws_address or "")
                client.start(client_id)
            except (ConnectionError, EOFError):
                if client:
                    client.socket.close()
                return False
            made.append(client)
            return True

        eventually(connect, "no connection is taken")
        return made[0]


def tws_refuse(tws: Tws, strike: Strike) -> None:
    strike()
    with pytest.raises(ConnectionRefusedError):
        RawClient(tws.sim.tws_address or "")
    assert tws.client.ping() == []  # what stands stays
    tws.sim.clear_faults()
    tws.again(2).socket.close()


def tws_drop(tws: Tws, strike: Strike) -> None:
    strike()
    assert tws.client.is_closed()
    tws.again().socket.close()


def tws_stall(tws: Tws, strike: Strike) -> None:
    strike()
    tws.client.send(49, 1)
    tws.client.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        tws.client.read()
    tws.client.socket.settimeout(5)
    tws.sim.clear_faults()
    assert tws.client.is_closed()


def tws_delay(tws: Tws, strike: Strike) -> None:
    strike()
    began = time.monotonic()
    assert "5" in tws.place()
    assert time.monotonic() - began >= 0.2


def tws_split(tws: Tws, strike: Strike) -> None:
    strike()
    for _attempt in range(50):
        tws.placed += 1
        tws.client.send(*limit_order(tws.placed))
        first = tws.client.socket.recv(65_536)
        tws.client._data += first
        assert "5" in [message[0] for message in tws.client.ping()]
        if len(first) < 100:  # openOrder has more than 135 fields: a piece of it came alone
            return
    raise AssertionError("no message ever came in pieces")


def tws_join(tws: Tws, strike: Strike) -> None:
    strike()
    tws.client.send(*limit_order(1))
    data = tws.client.socket.recv(65_536)
    assert len(data) > 4 + int.from_bytes(data[:4], "big")  # the second message, or its beginning, came with the first
    tws.client._data = data
    assert [tws.client.read()[0], tws.client.read()[0]] == ["5", "3"]


def tws_garbage(tws: Tws, strike: Strike) -> None:
    strike()
    tws.client.send(*limit_order(1))
    with pytest.raises(UnicodeDecodeError):
        tws.client.until_id(49)
    assert tws.client.ping() == []


def tws_oversize(tws: Tws, strike: Strike) -> None:
    strike()
    tws.client.send(*limit_order(1))
    assert int.from_bytes(tws.client._exactly(4), "big") > 0xFFFFFF


def tws_error(tws: Tws, strike: Strike) -> None:
    strike()
    tws.client.send(*limit_order(1))
    assert tws.client.error() == (1, 201, "no such luck")
    assert tws.orders() == []


def tws_lose_reply(tws: Tws, strike: Strike) -> None:
    strike()
    assert tws.place() == []
    assert tws.orders() == ["NOTTRADED"]


def tws_push(mode: str) -> Callable[[Tws, Strike], None]:
    usual = ["5", "3", "5", "3", "11", "5", "3", "59"]
    wanted = {
        "duplicate": [kind for kind in usual for _ in range(2)],
        "reorder": ["3", "5", "3", "5", "5", "11", "59", "3"],
        "late": [],
        "lose": [],
        "before_reply": ["11", "59", "5", "3", "5", "3", "5", "3"],
    }

    def see(tws: Tws, strike: Strike) -> None:
        strike()
        assert tws.place(MARKETABLE) == wanted[mode]
        assert tws.orders() == ["ALLTRADED"]
        if mode == "late":
            assert tws.client.until_id(59)

    return see


def tws_restart(tws: Tws, strike: Strike) -> None:
    assert tws.place() == ["5", "3", "5", "3"]
    before = tws.sim.state()["tws"]["orders"]
    strike()
    assert tws.client.is_closed()
    with tws.again() as client:
        client.send(8, 1, 1)
        assert client.read() == ["9", "1", "1"]  # lower than the order that still works
        client.send(5, 1)
        assert [row[0] for row in client.until_id(53)] == ["5", "3", "53"]
    assert tws.sim.state()["tws"]["orders"] == before


def tws_fill_while_away(tws: Tws, strike: Strike) -> None:
    tws.place()
    strike()
    assert tws.client.is_closed()
    assert tws.orders() == ["ALLTRADED"]


def tws_connection_notice(code: int) -> Callable[[Tws, Strike], None]:
    def see(tws: Tws, strike: Strike) -> None:
        strike()
        assert tws.client.error()[:2] == (-1, code)

    return see


def tws_order_notice(code: int) -> Callable[[Tws, Strike], None]:
    ends = {201: "REJECTED", 202: "CANCELLED"}

    def see(tws: Tws, strike: Strike) -> None:
        strike()
        tws.placed = 1
        tws.client.send(*limit_order(1))
        assert tws.client.error()[:2] == (1, code)
        assert tws.orders() == [ends.get(code, "NOTTRADED")]

    return see


def tws_daily_reset(tws: Tws, strike: Strike) -> None:
    strike()
    assert tws.client.error()[1] == 1100
    tws.client.send(*details_request(5, AAPL))
    assert tws.client.error()[:2] == (5, 200)
    tws.client.send(*limit_order(6))
    assert tws.client.error()[:2] == (6, 200)
    tws.client.send(16, 1)
    assert tws.client.error()[1] == 200
    tws.sim.clear_faults()
    assert tws.client.error()[1] == 1102
    assert tws.orders() == []


def tws_hold(tws: Tws, strike: Strike) -> None:
    strike()
    assert tws.place() == []
    assert tws.orders() == ["SUBMITTING"]
    tws.sim.clear_faults()
    assert tws.orders() == ["NOTTRADED"]


PLACE = "placeOrder"
TWS = [
    Scene({"do": "refuse"}, tws_refuse),
    Scene({"do": "drop"}, tws_drop),
    Scene({"do": "stall"}, tws_stall),
    Scene({"do": "delay", "ms": 200, **at(PLACE)}, tws_delay),
    Scene({"do": "split", "times": 100, **at(PLACE)}, tws_split),
    Scene({"do": "join", **at("openOrder")}, tws_join),
    Scene({"do": "garbage", **at(PLACE)}, tws_garbage),
    Scene({"do": "oversize", **at(PLACE)}, tws_oversize),
    Scene({"do": "error", "code": 201, "text": "no such luck", **at(PLACE)}, tws_error),
    Scene({"do": "lose_reply", **at(PLACE)}, tws_lose_reply),
    *(
        Scene({"do": "push", "mode": mode, **({"ms": LATE_MS} if mode == "late" else {}), **at(PLACE)}, tws_push(mode))
        for mode in MODES
    ),
    Scene({"do": "restart", "for_s": 0.1}, tws_restart),
    Scene({"do": "fill_while_away"}, tws_fill_while_away),
    *(Scene({"do": "notice", "code": code}, tws_connection_notice(code)) for code in CONNECTION_CODES),
    *(
        Scene({"do": "notice", "code": code, **at(PLACE, phase="after")}, tws_order_notice(code))
        for code in ORDER_CODES
    ),
    Scene({"do": "daily_reset"}, tws_daily_reset),
    Scene({"do": "hold", **at(PLACE)}, tws_hold),
]


@pytest.mark.parametrize("scene", TWS, ids=lambda scene: scene.name)
def test_tws(scene: Scene, source: str, tmp_path: Path) -> None:
    with armed("tws", scene, source, tmp_path) as (sim, strike), RawClient(sim.tws_address or "") as client:
        client.start()
        scene.see(Tws(sim, client), strike)


# ---------------------------------------------------------------------- nothing is left out


def test_the_simulator_s_table_is_the_design_s() -> None:
    assert set(KINDS) == set(DESIGN)
    for do, parameters in DESIGN.items():
        assert parameters <= KINDS[do].required | KINDS[do].optional, do
    assert set(PushMode.__args__) == set(MODES)  # type: ignore[attr-defined]  # a Literal's arguments


@pytest.mark.parametrize(("broker", "scenes"), [("vbrokers", VBROKERS), ("tws", TWS)])
def test_every_fault_of_the_table_has_its_scene(broker: str, scenes: list[Scene]) -> None:
    other = "tws" if broker == "vbrokers" else "vbrokers"
    assert {scene.fault["do"] for scene in scenes} == set(DESIGN) - OF_ONE_BROKER[other]
    assert {scene.fault["mode"] for scene in scenes if scene.fault["do"] == "push"} == set(MODES)
    for scene in scenes:
        check(Fault(broker=broker, do=scene.fault["do"], **_parameters(scene.fault)))  # type: ignore[arg-type]  # one of two


def test_every_code_of_the_design_has_its_scene() -> None:
    codes = {scene.fault["code"] for scene in TWS if scene.fault["do"] == "notice"}
    assert codes == {1100, 1101, 1102, 2103, 2110, 10197, 10349, 399, 404, 202, 201}


def _parameters(fault: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fault.items() if name in ("for_s", "ms", "code", "text", "mode", "order")}
