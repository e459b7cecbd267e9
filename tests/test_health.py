"""What the gateways say of themselves: the lamp, its words and figures, the kill switch, the journal as a table."""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from vnpy.trader.constant import Direction, Exchange, Offset, OrderType, Status

from tests.harness import Rig
from tests.ib_harness import IbRig
from vnpy_brokerkit.clock import ManualClock, ShiftedClock
from vnpy_brokerkit.guard import Guard, Limits
from vnpy_brokerkit.health import MINUTES_KEPT, SAMPLES_KEPT, Health, Lamp, Latencies
from vnpy_brokerkit.journal import Journal
from vnpy_brokerkit.journal_reader import STRETCH, newest
from vnpy_brokerkit.lifecycle import State
from vnpy_brokerkit.tracker import TrackedOrder

NOON = datetime(2026, 3, 10, 16, 0, tzinfo=timezone.utc)


def wait_lamp(rig: Rig, lamp: Lamp, *words: str) -> Health:
    """Wait until the gateway shows this, with these words."""

    def shown() -> Health | None:
        health: Health = rig.gateway.health()
        return health if health.lamp is lamp and all(word in health.words for word in words) else None

    try:
        return rig.wait(shown, f"lamp {lamp.name} {words}")
    except AssertionError as error:
        raise AssertionError(f"shown is {rig.gateway.health()}\n{error}") from None


@pytest.fixture(params=[Rig, IbRig], ids=["VBROKERS", "IBKR"])
def either(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A rig of each broker."""
    with request.param() as made:
        yield made


# ---------------------------------------------------------------------- both gateways


def test_before_a_connect_the_lamp_is_off_and_says_where_to_connect(either: Rig) -> None:
    health = either.gateway.health()
    assert health.lamp is Lamp.OFF
    assert "系统" in health.words


def test_a_good_connection_tells_its_figures(either: Rig) -> None:
    either.connect()
    either.subscribe("IBM.SMART")
    either.wait_tick("IBM.SMART")
    either.wait(lambda: either.gateway.health().subscriptions == 1, "one subscription")
    health = wait_lamp(either, Lamp.GOOD)
    assert health.words == ""
    assert health.subscriptions_most == (200 if either.name == "VBROKERS" else 100)
    assert (health.working, health.unknown, health.stopped, health.embedded, health.read_only) == (0, 0, *[False] * 3)
    assert health.next_try is None
    assert health.report is not None
    assert health.checked is not None
    either.wait(lambda: either.gateway.health().latency, "a latency")
    either.wait(either.gateway.latencies.points, "a point of the latency plot")
    [point] = either.gateway.latencies.points()[-1:]
    assert 0 < point.median <= point.worst < 10
    heartbeat = either.gateway.health().heartbeat
    assert heartbeat is not None
    assert abs(datetime.now(timezone.utc) - heartbeat) < timedelta(seconds=20)
    assert heartbeat.utcoffset() == timedelta(hours=8)


def test_a_broker_that_is_gone_is_being_reconnected_with_the_seconds_to_the_next_try(either: Rig) -> None:
    either.connect()
    wait_lamp(either, Lamp.GOOD)
    either.sim.faults([{"broker": either.broker, "do": "restart", "for_s": 4}])
    wait_lamp(either, Lamp.RECONNECTING)
    either.wait(lambda: either.gateway.health().next_try is not None, "a next try")
    next_try = either.gateway.health().next_try
    assert next_try is None or 0 <= next_try <= 1
    wait_lamp(either, Lamp.GOOD)


def test_a_read_only_connection_is_good_and_flagged(either: Rig) -> None:
    either.connect(只读="是")
    assert wait_lamp(either, Lamp.GOOD).read_only


def test_settings_that_cannot_be_used_need_a_person(either: Rig) -> None:
    either.main.connect(either.setting(环境=""), either.name)
    assert wait_lamp(either, Lamp.FAILED).words


def test_closed_is_off(either: Rig) -> None:
    either.connect()
    wait_lamp(either, Lamp.GOOD)
    either.close()
    assert either.gateway.health().lamp is Lamp.OFF


def test_health_goes_to_other_processes_as_built_in_types(either: Rig) -> None:
    either.connect()
    plain = wait_lamp(either, Lamp.GOOD).plain()
    assert (plain["gateway_name"], plain["lamp"]) == (either.name, "GOOD")
    assert {type(value) for value in plain.values()} <= {str, bool, int, float, type(None)}
    assert b"vnpy" not in pickle.dumps(plain)


def test_the_kill_switch_refuses_new_orders_in_words_and_cancels_go_on(either: Rig) -> None:
    either.connect()
    either.subscribe("IBM.SMART")
    price = round(either.wait_tick("IBM.SMART").last_price * 0.96, 2)
    resting = either.send("IBM.SMART", Direction.LONG, 100, price)
    either.wait_status(resting, Status.NOTTRADED)
    sent = sum(either.sim.wire()[either.broker].get(name, 0) for name in ("/trade/TradeEntrust", "placeOrder"))

    either.gateway.stop_orders(True)
    health = either.gateway.health()
    assert health.stopped
    assert "紧急停止" in health.words
    refused = either.wait_status(either.send("IBM.SMART", Direction.LONG, 100, price), Status.REJECTED)
    assert "紧急停止" in (refused.extra or {})["reason"]
    either.wait_log("紧急停止中")
    either.cancel(resting)
    either.wait_status(resting, Status.CANCELLED)
    assert sent == sum(either.sim.wire()[either.broker].get(name, 0) for name in ("/trade/TradeEntrust", "placeOrder"))

    # It holds over a new connect() of the process, and can be taken back.
    either.seen.events.clear()
    either.connect()
    assert either.gateway.health().stopped
    again = either.send("IBM.SMART", Direction.LONG, 100, price)
    either.wait_status(again, Status.REJECTED)
    either.gateway.stop_orders(False)
    assert not either.gateway.health().stopped
    either.wait_status(either.send("IBM.SMART", Direction.LONG, 100, price), Status.NOTTRADED)


def test_an_order_that_waits_for_its_checks_is_stopped_too(either: Rig) -> None:
    """The switch is pulled while an order's contract is being asked for."""
    either.connect()
    message = "/hq/BasicQot" if either.name == "VBROKERS" else "reqContractDetails"
    fault = {"broker": either.broker, "do": "delay", "ms": 600, "when": {"message": message}, "times": 3}
    asked = either.sim.wire()[either.broker].get(message, 0)
    either.sim.faults([fault])
    order = either.send("TSLA.SMART", Direction.LONG, 1, 1.0)
    either.wait(lambda: either.sim.wire()[either.broker].get(message, 0) > asked, "the question")
    either.gateway.stop_orders(True)
    refused = either.wait_status(order, Status.REJECTED)
    assert "紧急停止" in (refused.extra or {})["reason"]


def test_what_is_to_be_loaded_and_is_none_of_its_contracts_is_one_line(either: Rig) -> None:
    """Nobody would learn else why a contract is missing; what another gateway's strategies name is no matter."""
    either.connect(预加载合约="nonsense， 700.HK; FOO.LME")
    line = either.wait_log("预加载合约")
    assert all(name in line for name in ("nonsense", "FOO.LME", either.name))
    assert "700" not in line
    assert either.main.get_contract("00700.SEHK") is not None


def test_the_journal_is_found_by_any_text(either: Rig) -> None:
    assert either.gateway.read_journal() is None
    either.connect()
    either.subscribe("IBM.SMART")
    price = round(either.wait_tick("IBM.SMART").last_price * 0.96, 2)
    good = either.send("IBM.SMART", Direction.LONG, 100, price, reference="CtaStrategy_one%")
    either.wait_status(good, Status.NOTTRADED)
    bad = either.send("IBM.SMART", Direction.LONG, 0, price)
    either.wait_status(bad, Status.REJECTED)

    def rows(search: str) -> list[str]:
        answer = either.gateway.read_journal(search)
        return [f"{either.name}.{row.orderid}" for row in answer.result(10)]

    either.wait(lambda: rows("") == [bad, good], "both, newest first")
    assert rows("数量") == [bad]
    assert rows("ibm.smart") == [bad, good]
    assert rows("one%") == [good]
    assert rows("%") == [good]
    assert rows("_") == [good]
    assert rows("nothing like it") == []
    assert rows(bad.split(".")[1]) == [bad]
    [row] = either.gateway.read_journal("数量").result(10)
    assert "必须大于0" in row.reason


@pytest.mark.parametrize("orders", [1, 3])
def test_markets_tell_how_many_orders_a_cancel_all_means(either: Rig, orders: int) -> None:
    either.connect()
    either.subscribe("IBM.SMART", "00700.SEHK")
    price = round(either.wait_tick("IBM.SMART").last_price * 0.96, 2)
    ours = [either.send("IBM.SMART", Direction.LONG, 1, price) for _number in range(orders)]
    tick = either.wait_tick("00700.SEHK")
    kept = either.send("00700.SEHK", Direction.LONG, 100, round(round(tick.last_price * 0.97 / 0.2) * 0.2, 1))
    account = "VBROKERS" if either.name == "VBROKERS" else "DU1000001"
    other = either.sim.order("IBM.SMART", "LONG", 5, price, broker=either.broker, account=account)
    for order in (*ours, kept):
        either.wait_status(order, Status.NOTTRADED)
    either.wait(lambda: any(o.extra and o.extra["external"] for o in either.main.get_all_orders()), "the phone's order")

    def counts() -> dict[str, int]:
        return {market.key: market.orders for market in either.gateway.health().markets if market.orders}

    american, asian = ("P", "K") if either.name == "VBROKERS" else ("SMART", "SEHK")
    either.wait(lambda: counts() == {american: orders, asian: 1}, "the orders by market")
    either.gateway.cancel_all(american)
    for order in ours:
        either.wait_status(order, Status.CANCELLED)
    either.wait(lambda: counts() == {asian: 1}, "the other market's order alone")
    truth = {row["id"]: row["status"] for row in either.truth()["orders"]}
    assert truth[other] == "NOTTRADED"
    assert either.main.get_order(kept).status is Status.NOTTRADED  # type: ignore[union-attr]  # it is known


# ---------------------------------------------------------------------- VBrokers: two channels


def test_push_down_and_http_up_is_degraded_and_names_the_push(rig: Rig) -> None:
    rig.connect(推送端口=1)
    health = wait_lamp(rig, Lamp.DEGRADED, "推送通道中断")
    assert "推送端口" in health.words


READS = ("TradeQueryMarginFundInfo", "TradeQueryHoldsList", "TradeQueryRealEntrustList", "TradeQueryRealDeliverList")


def test_http_down_and_push_up_is_degraded_and_names_http(rig: Rig) -> None:
    rig.connect()
    wait_lamp(rig, Lamp.GOOD)
    drops = [{"do": "drop", "when": {"message": f"/trade/{route}"}, "times": 100_000} for route in READS]
    rig.sim.faults([{"broker": "vbrokers", **drop} for drop in drops])
    wait_lamp(rig, Lamp.DEGRADED, "HTTP通道中断", "推送通道正常")
    rig.sim.clear_faults()
    wait_lamp(rig, Lamp.GOOD)


def test_http_that_answers_nonsense_is_degraded_too(rig: Rig) -> None:
    rig.connect()
    wait_lamp(rig, Lamp.GOOD)
    rig.sim.faults([{"broker": "vbrokers", "do": "http_status", "code": 500, "times": 100_000}])
    wait_lamp(rig, Lamp.DEGRADED, "HTTP通道没有可用的应答", "HTTP 500")
    rig.sim.clear_faults()
    wait_lamp(rig, Lamp.GOOD)


def test_a_wrong_password_needs_a_person(rig: Rig) -> None:
    rig.main.connect(rig.setting(交易密码="654321"), rig.name)
    health = wait_lamp(rig, Lamp.FAILED, "交易密码")
    assert health.next_try is None
    assert "654321" not in str(health)
    rig.connect()
    wait_lamp(rig, Lamp.GOOD)


def test_vbrokers_shorts_nothing(rig: Rig) -> None:
    assert not rig.gateway.health().shorts
    rig.connect()
    assert not wait_lamp(rig, Lamp.GOOD).shorts


# ---------------------------------------------------------------------- IBKR: socket, link, farms


@pytest.fixture
def ib() -> Iterator[IbRig]:
    with IbRig() as made:
        yield made


def notice(code: int) -> list[dict[str, Any]]:
    return [{"broker": "tws", "do": "notice", "code": code}]


def test_a_lost_link_to_ib_is_degraded_and_comes_back(ib: IbRig) -> None:
    ib.connect()
    wait_lamp(ib, Lamp.GOOD)
    ib.sim.faults(notice(1100))
    if not ib.gateway.session._rooms.connection.in_reset:
        wait_lamp(ib, Lamp.DEGRADED, "1100", "暂停下单")
    ib.sim.faults(notice(1102))
    wait_lamp(ib, Lamp.GOOD)


@pytest.mark.parametrize(("broken", "word"), [(2103, "usfarm"), (2105, "ushmds")])
def test_a_broken_farm_is_degraded_and_named(ib: IbRig, broken: int, word: str) -> None:
    ib.connect()
    wait_lamp(ib, Lamp.GOOD)
    ib.sim.faults(notice(broken))
    wait_lamp(ib, Lamp.DEGRADED, word)
    ib.sim.faults(notice(broken + 1))
    wait_lamp(ib, Lamp.GOOD)


@pytest.mark.parametrize(("at", "lamp"), [("2026-03-11T03:30Z", Lamp.RESET), ("2026-03-11T15:00Z", Lamp.DEGRADED)])
def test_the_nightly_reset_is_told_from_a_broken_link(at: str, lamp: Lamp) -> None:
    clock = ShiftedClock(datetime.fromisoformat(at.replace("Z", "+00:00")))
    with IbRig(gateway_clock=clock) as ib:
        ib.connect()
        wait_lamp(ib, Lamp.GOOD)
        ib.sim.faults([{"broker": "tws", "do": "daily_reset", "for_s": 3}])
        wait_lamp(ib, lamp, "1100")
        wait_lamp(ib, Lamp.GOOD)


def test_an_account_that_is_not_chosen_is_degraded_with_the_accounts(ib: IbRig) -> None:
    ib.connect(交易账户="")
    wait_lamp(ib, Lamp.DEGRADED, "交易账户", "DU1000002")


@pytest.mark.parametrize(("kind", "shorts"), [("普通", True), ("现金", False)])
def test_the_kind_of_account_tells_whether_it_may_go_short(ib: IbRig, kind: str, shorts: bool) -> None:
    ib.connect(账户类型=kind)
    assert wait_lamp(ib, Lamp.GOOD).shorts is shorts


# ---------------------------------------------------------------------- without a broker


def test_a_loop_that_hangs_shows_as_one() -> None:
    clock = _Steps()
    with Rig(gateway_clock=clock) as rig:
        rig.connect()
        wait_lamp(rig, Lamp.GOOD)
        go = threading.Event()
        rig.gateway._thread.loop.call_soon_threadsafe(go.wait)
        clock.ahead = 30.0
        try:
            wait_lamp(rig, Lamp.DEGRADED, "没有响应")
        finally:
            go.set()
        wait_lamp(rig, Lamp.GOOD)


class _Steps(ShiftedClock):
    """Real time, and a jump of the monotonic clock that a test makes."""

    def __init__(self) -> None:
        super().__init__(datetime.now(timezone.utc))
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def test_latencies_keep_a_median_and_the_worst_of_each_minute_of_a_day() -> None:
    clock = ManualClock(NOON)
    latencies = Latencies(clock)
    assert latencies.points() == ()
    for seconds in (0.01, 0.5, 0.02):
        latencies.add(seconds)
    latencies.publish()
    [point] = latencies.points()
    assert (point.minute, point.median, point.worst, latencies.last) == (NOON, 0.02, 0.5, 0.02)

    async def two_days() -> None:
        for _minute in range(2 * MINUTES_KEPT):
            await clock.advance(60)
            latencies.add(0.1)

    asyncio.run(two_days())
    latencies.publish()
    points = latencies.points()
    assert len(points) == MINUTES_KEPT + 1
    assert points[-1].minute == NOON + timedelta(days=2)
    assert all(a.minute < b.minute for a, b in pairwise(points))


def test_latencies_of_a_busy_minute_are_bounded_and_their_worst_is_kept() -> None:
    latencies = Latencies(ManualClock(NOON))
    for _number in range(10 * SAMPLES_KEPT):
        latencies.add(0.1)
    latencies.add(9.0)
    latencies.publish()
    [point] = latencies.points()
    assert (point.median, point.worst) == (0.1, 9.0)
    assert len(latencies._samples) == SAMPLES_KEPT


def test_the_guard_gives_the_stop_as_its_reason() -> None:
    guard = Guard(Limits())
    assert guard.stop_reason() == ""
    guard.stopped = True
    assert "紧急停止" in guard.stop_reason()


def test_a_long_journal_is_read_in_stretches(tmp_path: Path) -> None:
    """Also what lies behind many entries is found, each entry once, with commits in between."""
    count = 2 * STRETCH + 7
    order = TrackedOrder(
        orderid="x0",
        symbol="IBM",
        exchange=Exchange.SMART,
        direction=Direction.LONG,
        offset=Offset.NONE,
        type=OrderType.LIMIT,
        price=Decimal("1.5"),
        volume=Decimal(10),
        reference="first",
        time=NOON,
        state=State.NEW,
    )

    def fill(connection: sqlite3.Connection) -> None:
        rows = [dict(row) for row in _rows(connection)]
        names = list(rows[0])
        values = [
            tuple({**rows[0], "orderid": f"x{number}", "reference": "later"}[name] for name in names)
            for number in range(1, count)
        ]
        marks = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO orders ({', '.join(names)}) VALUES ({marks})", values)

    async def run() -> None:
        journal = Journal(tmp_path / "j.db", "A", clock=ManualClock(NOON), log=lambda line: None)
        await journal.open()
        try:
            await journal.intend(order)
            await journal.read(fill)
            everything = await newest(journal, "", 10 * count)
            assert [row.orderid for row in everything] == [f"x{number}" for number in reversed(range(count))]
            assert len(await newest(journal, "", 500)) == 500
            [found] = await newest(journal, "first", 500)
            assert (found.orderid, found.price, found.vt_symbol) == ("x0", Decimal("1.5"), "IBM.SMART")
            assert found.time == NOON
            assert len(await newest(journal, "LATER", 10 * count)) == count - 1
        finally:
            await journal.close()

    asyncio.run(run())


def _rows(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    cursor = connection.execute("SELECT * FROM orders")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
