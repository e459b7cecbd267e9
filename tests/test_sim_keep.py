"""What outlives the simulator's process (``--keep``): orders, fills, cash, positions and ids, once."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest
from vnpy.trader.constant import Direction, Status

import brokersim
from brokersim.clock import SimClock
from brokersim.faults import FaultRegistry
from brokersim.half import BadCall, Half, Options, World
from brokersim.hstong.gateway import VbrokersHalf
from brokersim.hstong.params import Params
from brokersim.keep import EVERY_S, Keeper
from brokersim.market import Market
from brokersim.tws.kept import KeptTws
from tests.harness import DEADLINE
from tests.ib_harness import IbRig
from tests.sim_tws_client import RawClient, connected
from tests.sim_tws_room import AAPL, MARGIN, House, Writer, at_market, limit

ROOT = Path(__file__).parents[1]
KEPT_PARTS = ("orders", "trades", "cash")
QUOTE: dict[str, Any] = {"last": 200, "bid": "199.9", "ask": "200.1", "bid_size": 1000, "ask_size": 1000}


def until(found: Callable[[], bool], what: str) -> None:
    """Look again and again, with a deadline."""
    pause, end = threading.Event(), time.monotonic() + DEADLINE
    while not found():
        assert time.monotonic() < end, what
        pause.wait(0.02)


def kept(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[broker][part] == other[broker][part] for broker in one for part in KEPT_PARTS)


@contextmanager
def process(path: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A simulator as its users start it; killed, not ended, where the block ends."""
    command = [sys.executable, "-m", "brokersim", "--keep", str(path), *arguments]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield child, json.loads(child.stdout.readline())
    finally:
        child.kill()
        child.communicate()


def control(ready: dict[str, Any], path: str, body: object = None) -> Any:
    url = f"{ready['control']}{path}"
    answer = httpx.get(url, trust_env=False) if body is None else httpx.post(url, json=body, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def place(client: RawClient, order_id: int, order: Any) -> None:
    """An order of the margin account, written by ib_async."""
    order.account = MARGIN
    writer = Writer()
    writer.placeOrder(order_id, AAPL, order)  # type: ignore[no-untyped-call] # ib_async does not type it
    client.send(*writer.written[0])


def test_a_killed_tws_knows_its_orders_fills_and_ids_again(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    with process(path, "--only", "tws") as (_, ready):
        control(ready, "/clock", {"pause": True})
        control(ready, "/quotes", {"vt_symbol": "AAPL.SMART", **QUOTE})
        with connected(ready["tws"]) as client:
            place(client, 1, at_market("BUY", 10))
            client.until_id(59)
            order = limit("BUY", 5, 150, orderRef="a|b")
            order.tif = "GTC"
            place(client, 2, order)
            client.read_until(lambda fields: fields[0] == "3" and fields[2] == "Submitted")
            before = control(ready, "/state")
            until(lambda: len(kept(path)["brokers"]["tws"]["tickets"]) == 2, "both orders in the file")
            until(lambda: len(kept(path)["brokers"]["tws"]["executions"]) == 1, "the fill in the file")
    with process(path, "--only", "tws") as (child, ready):
        after = control(ready, "/state")
        assert same(before, after)
        assert [row["volume"] for row in after["tws"]["positions"]] == ["10"]
        control(ready, "/clock", {"pause": True})
        control(ready, "/quotes", {"vt_symbol": "AAPL.SMART", **QUOTE})
        with RawClient(ready["tws"]) as client:
            welcome = client.start()
            assert [fields[2] for fields in welcome if fields[0] == "9"] == ["3"]
            client.send(5, 1)
            [row, _status, _end] = client.until_id(53)
            perm_id = before["tws"]["orders"][1]["id"]
            assert (row[1], row[18], row[23], row[25]) == ("2", "GTC", "a|b", perm_id)
            client.send(7, 3, 9, 0, "", "", "", "", "", "")
            executions = [fields for fields in client.until_id(55) if fields[0] == "11"]
            assert [fields[14] for fields in executions] == [before["tws"]["trades"][0]["id"]]
            client.send(99, 0)
            assert len(client.until_id(102)) == 2
            place(client, 3, at_market("BUY", 1))
            client.until_id(59)
            client.send(4, 1, 2, "")
            assert client.error()[:2] == (2, 202)
        last = control(ready, "/state")["tws"]
        assert len({row["id"] for row in last["orders"]}) == 3
        assert len({row["id"] for row in last["trades"]}) == 2
        child.terminate()
        child.communicate(timeout=10)
    assert {order["status"] for order in kept(path)["brokers"]["tws"]["desk"]["orders"]} == {"ALLTRADED", "CANCELLED"}


def test_both_brokers_over_clean_ends_and_none_twice(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    row = {"broker": "vbrokers", "account": "VBROKERS", "vt_symbol": "00700.SEHK", "volume": 200, "price": "320.4"}
    seen: list[dict[str, Any]] = []
    for turn in range(3):
        with brokersim.running(tws=True, keep=path, positions=[row]) as sim:
            sim.pause()
            sim.quote("AAPL.SMART", **QUOTE)
            if turn:
                assert same(seen[-1], sim.state())
            for broker in ("vbrokers", "tws"):
                sim.order("AAPL.SMART", "LONG", 3, type="MARKET", broker=broker)
                sim.order("AAPL.SMART", "LONG", 1, 150, broker=broker)
            seen.append(sim.state())
    held = {(broker, one["vt_symbol"]): one["volume"] for broker in seen[2] for one in seen[2][broker]["positions"]}
    assert held == {("vbrokers", "00700.SEHK"): "200", ("vbrokers", "AAPL.SMART"): "9", ("tws", "AAPL.SMART"): "9"}
    for part in ("orders", "trades"):
        ids = [one["id"] for broker in seen[2] for one in seen[2][broker][part]]
        assert len(ids) == len(set(ids)) == (12 if part == "orders" else 6)


def test_a_broker_that_does_not_run_keeps_its_part(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    with brokersim.running(tws=True, keep=path) as sim:
        sim.pause()
        sim.order("AAPL.SMART", "LONG", 3, 1, broker="tws")
        before = sim.state()
    with brokersim.running(keep=path) as sim:
        assert list(sim.state()) == ["vbrokers"]
    with brokersim.running(tws=True, keep=path) as sim:
        assert same(before, sim.state())


def test_day_orders_expire_when_the_kept_day_is_over(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    with brokersim.running(tws=True, keep=path) as sim:
        assert sim.tws_address is not None
        sim.pause()
        sim.quote("AAPL.SMART", **QUOTE)
        with connected(sim.tws_address) as client:
            for number, (tif, kind) in enumerate((("DAY", "LMT"), ("GTC", "LMT"), ("DAY", "STP LMT")), start=1):
                order = limit("BUY", 5, 150)
                order.tif, order.orderType, order.auxPrice = tif, kind, 300.0
                place(client, number, order)
                client.read_until(lambda fields: fields[0] == "3")
            client.ping()
        sim.order("AAPL.SMART", "LONG", 1, 150)
        before = sim.state()
    with brokersim.running(tws=True, keep=path) as sim:
        assert same(before, sim.state())
    content = kept(path)
    content["at"] = (datetime.fromisoformat(content["at"].replace("Z", "+00:00")) - timedelta(days=2)).isoformat()
    path.write_text(json.dumps(content), encoding="utf-8")
    with brokersim.running(tws=True, keep=path) as sim:
        state = sim.state()
        assert [row["status"] for row in state["tws"]["orders"]] == ["CANCELLED", "NOTTRADED", "CANCELLED"]
        assert [row["status"] for row in state["vbrokers"]["orders"]] == ["CANCELLED"]
        [funds] = [row for row in state["vbrokers"]["accounts"] if row["currency"] == "USD"]
        assert funds["frozen"] == "0"


def test_a_data_clock_goes_on_where_it_stood(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    with brokersim.running(clock="data", keep=path) as sim:
        sim.advance(600)
        sim.order("AAPL.SMART", "LONG", 1, 1)
        at, before = sim.clock(), sim.state()
    with brokersim.running(clock="data", keep=path) as sim:
        assert sim.clock() == at
        assert same(before, sim.state())
        sim.advance(86_400)
        assert [row["status"] for row in sim.state()["vbrokers"]["orders"]] == ["CANCELLED"]
    with pytest.raises(BadCall, match="--clock data"), brokersim.running(keep=path):
        raise AssertionError("it must not run")


# -- bad files ---------------------------------------------------------------------------------------------------


def broken(path: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """What is said of a good file with one change in it."""
    with brokersim.running(tws=True, keep=path) as sim:
        sim.pause()
        sim.order("AAPL.SMART", "LONG", 3, type="MARKET", broker="tws")
    content = kept(path)
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BadCall) as raised, brokersim.running(tws=True, keep=path):
        raise AssertionError("it must not run")
    return str(raised.value)


def _twice(content: dict[str, Any]) -> None:
    content["brokers"]["tws"]["desk"]["fills"] *= 2


def _unknown(content: dict[str, Any]) -> None:
    content["brokers"]["tws"]["desk"]["orders"][0]["vt_symbol"] = "MOON.SMART"


def _more(content: dict[str, Any]) -> None:
    content["brokers"]["tws"]["desk"]["fills"][0]["volume"] = 4


def _no_ticket(content: dict[str, Any]) -> None:
    content["brokers"]["tws"]["tickets"] = []


def _not_a_number(content: dict[str, Any]) -> None:
    content["brokers"]["tws"]["desk"]["fills"][0]["price"] = "NaN"


def _another_form(content: dict[str, Any]) -> None:
    content["brokers"]["vbrokers"]["desk"]["surprise"] = 1


def _no_account(content: dict[str, Any]) -> None:
    content["brokers"]["tws"]["desk"]["fills"][0]["account"] = "DU9"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_twice, "twice"),
        (_unknown, "MOON.SMART"),
        (_more, "its fills make 4"),
        (_no_ticket, "tws:"),
        (_not_a_number, "tws:"),
        (_another_form, "surprise"),
        (_no_account, "DU9 is missing"),
    ],
)
def test_a_file_that_can_not_be_true_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    path = tmp_path / "kept.json"
    said = broken(path, change)
    assert str(path) in said
    assert words in said
    assert "\n" not in said


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version":2}', b"\xff\xfe", b"[" * 100_000])
def test_a_bad_file_is_one_line_and_exit_2(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(content)
    command = [sys.executable, "-m", "brokersim", "--keep", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert str(path) in done.stderr
    assert path.read_bytes() == content


def test_a_place_that_can_not_be_written_is_one_line_and_exit_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "brokersim", "--keep", str(tmp_path / "nowhere" / "kept.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "nowhere" in done.stderr


# -- writing -----------------------------------------------------------------------------------------------------


class FakeHalf:
    def __init__(self) -> None:
        self.name, self.changes, self.asked = "tws", 0, 0

    def keep(self) -> dict[str, int]:
        self.asked += 1
        return {"changes": self.changes}


def test_it_is_written_when_it_has_changed_a_few_times_a_second_at_most(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now, half = [100.0], FakeHalf()
    halves = cast("dict[str, Half]", {"tws": half})
    path = tmp_path / "deep" / "kept.json"
    path.parent.mkdir()
    keeper = Keeper(path, SimClock(), monotonic=lambda: now[0])
    keeper.end(halves)
    assert not path.exists()
    keeper.begin(halves)
    for _ in range(50):
        half.changes += 1
        now[0] += EVERY_S / 10
        keeper.turn(halves)
    assert half.asked == 6
    for _ in range(20):
        now[0] += EVERY_S
        keeper.turn(halves)
    assert half.asked == 6
    assert kept(path)["brokers"]["tws"] == {"changes": 50}

    # A place that has gone is told once, and written again when it is back.
    moved = path.parent.rename(tmp_path / "away")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            half.changes += 1
            now[0] += EVERY_S
            keeper.turn(halves)
    assert len(caplog.records) == 1
    moved.rename(path.parent)
    now[0] += EVERY_S
    keeper.turn(halves)
    assert kept(path)["brokers"]["tws"] == {"changes": 53}
    assert [one.name for one in path.parent.iterdir()] == ["kept.json"]


# -- every kind of order -------------------------------------------------------------------------------------------


def test_every_state_of_an_order_is_the_same_afterwards() -> None:
    house = House()
    talker = house.talker()
    talker.place(1, at_market("BUY", 10))
    talker.place(2, limit("BUY", 2000, 200.1))  # in part
    talker.place(3, limit("BUY", 5, 150, transmit=False))
    parent = limit("BUY", 5, 140, transmit=False)
    talker.place(4, parent)
    talker.place(5, limit("SELL", 5, 300, parentId=4))
    stop = limit("BUY", 5, 310)
    stop.orderType, stop.auxPrice, stop.ocaGroup = "STP LMT", 305.0, "group"
    talker.place(6, stop)
    triggered = at_market("SELL", 1)
    triggered.orderType, triggered.auxPrice = "STP", 250.0
    house.quote("249.9", "250.1", size=1, last="249")
    talker.place(7, triggered)
    talker.place(8, limit("BUY", 5, 1))
    talker.cancel(8)
    talker.place(9, limit("BUY", 10**7, 100))  # refused
    house.orders.place(brokersim.half.PhoneOrder("tws", "AAPL.SMART", "LONG", 1, MARGIN, "LIMIT", 1))
    first = house.orders.keep()
    written = msgspec.json.encode(first)

    again = House()
    again.orders.restore(msgspec.json.decode(written, type=KeptTws), again.world.clock.now())
    assert msgspec.json.encode(again.orders.keep()) == written
    assert same({"tws": house.desk.state()}, {"tws": again.desk.state()})
    for account in again.desk.ledger.cash:
        for currency in again.desk.ledger.cash[account]:
            spendable = [one.desk.ledger.spendable(account, currency) for one in (house, again)]
            assert spendable[0] == spendable[1]

    # They live on: the bracket, the group, the stop, the rest of the partial fill.
    talker = again.talker()
    assert talker.place(3, limit("BUY", 5, 150))[0] == "openOrder PreSubmitted"
    talker.cancel(4)
    assert again.orders._life.find(1, 5) is not None
    assert {row["status"] for row in again.desk.state()["orders"][3:5]} == {"CANCELLED"}
    again.quote("319.9", "320.1", last="320")
    statuses = {ticket.order_id: ticket.order.status for ticket in again.orders._life.tickets.values()}
    assert statuses[6] == "NOTTRADED"
    again.quote("199.9", "200.1", last="200", size=5000)
    statuses = {ticket.order_id: ticket.order.status for ticket in again.orders._life.tickets.values()}
    assert (statuses[2], statuses[6]) == ("ALLTRADED", "ALLTRADED")
    again.desk.ledger.check()


def test_conditional_orders_outlive_the_gateway() -> None:
    clock = SimClock()
    clock.paused = True

    def half() -> VbrokersHalf:
        return VbrokersHalf(World(clock, Market(clock), FaultRegistry(clock.now), Options()))

    one = half()
    instrument = one.backend.directory.by_vt_symbol("AAPL.SMART")
    assert instrument is not None
    params = Params(
        {
            "exchangeType": "P",
            "stockCode": "AAPL",
            "entrustType": "31",
            "entrustPrice": "150",
            "validDays": 3,
            "condValue": "100000",
        }
    )
    before = one.changes
    order_id = one.conditional.add(params, one.backend.market_of("AAPL.SMART"), instrument, "2", 7)
    assert one.changes == before + 1
    written = msgspec.json.encode(one.keep())
    other = half()
    other.restore(written, clock.now())
    assert msgspec.json.encode(other.keep()) == written
    other.conditional.delete(order_id)
    assert other.changes > 0


# -- the gateway ---------------------------------------------------------------------------------------------------


def test_the_gateway_meets_the_same_broker_again(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    options: dict[str, Any] = {"vbrokers": False, "tws": True, "keep": path}
    with IbRig(start=False) as rig:
        with brokersim.running(**options) as sim:
            rig.sim = sim
            port = int((sim.tws_address or "").rpartition(":")[2])
            rig.connect(有效期="撤单前有效")
            sim.pause()
            sim.quote("AAPL.SMART", **QUOTE)
            rig.subscribe("AAPL.SMART")
            rig.wait_tick("AAPL.SMART")
            rig.wait_status(rig.send("AAPL.SMART", Direction.LONG, 10, 201), Status.ALLTRADED)
            working = rig.send("AAPL.SMART", Direction.LONG, 5, 195)
            rig.wait_status(working, Status.NOTTRADED)
            rig.wait_equal()
        rig.wait_log("正在重连")
        with brokersim.running(**options, tws_port=port) as sim:
            rig.sim = sim
            sim.pause()
            sim.quote("AAPL.SMART", **QUOTE)
            rig.wait_log("已恢复：")
            rig.wait_equal()
            rig.cancel(working)
            rig.wait_status(working, Status.CANCELLED)
            rig.wait_status(rig.send("AAPL.SMART", Direction.SHORT, 4, 199), Status.ALLTRADED)
            rig.wait_equal()
