"""A long day at the broker: thousands of orders and fills are in the engine once, and nobody waits for all of them.

The lists take 99 rows a page at a few pages a second. What works is usable as soon as the first pages are there; the
rest follows by itself, once; afterwards only what is new is read.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from time import process_time
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from vnpy.trader.constant import Direction, Status
from vnpy.trader.event import EVENT_ORDER, EVENT_TRADE
from vnpy.trader.object import OrderData
from vnpy.trader.utility import TEMP_DIR

from tests.harness import SHORT, Rig
from tests.oracle_run import Standing
from tests.oracle_script import fault
from vnpy_brokerkit.clock import ManualClock
from vnpy_brokerkit.findings import Findings
from vnpy_brokerkit.guard import LIMITS_FILE
from vnpy_brokerkit.identity import OrderIds
from vnpy_brokerkit.pacing import Throttle
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import Fill, OrderTracker, TrackedOrder
from vnpy_vbrokers.order_sync import OrderSync
from vnpy_vbrokers.orders import Orders
from vnpy_vbrokers.settings import read_settings

ORDERS, DEALS = "/trade/TradeQueryRealEntrustList", "/trade/TradeQueryRealDeliverList"
HISTORY = "/trade/TradeQueryHistoryEntrustList"
PAGE, MARKETS = 99, 4
LONG, PATIENT = 60.0, Timing()
"""The product's own intervals: reading a long day takes half a minute, and a test that makes them short would measure
those instead."""


@contextmanager
def list_rate(per_second: float) -> Iterator[None]:
    """The rate of list reads, as a person sets it."""
    path = TEMP_DIR / LIMITS_FILE
    before = path.read_text(encoding="utf-8")
    path.write_text(json.dumps({**json.loads(before), "list_reads_per_second": per_second}), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


class Phone:
    """Places orders from elsewhere, by one connection that stays open."""

    def __init__(self, control_url: str) -> None:
        self._http = http.client.HTTPConnection(urlsplit(control_url).netloc, timeout=30)

    def __enter__(self) -> Phone:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        self._http.request("POST", path, body=json.dumps(body).encode())
        response = self._http.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        return answer

    def order(self, volume: int, price: str, vt_symbol: str = "IBM.SMART") -> str:
        body = {"broker": "vbrokers", "vt_symbol": vt_symbol, "direction": "LONG", "type": "LIMIT"}
        return str(self._post("/orders", {**body, "volume": str(volume), "price": price})["id"])

    def quote(self, size: int, last: str = "20", vt_symbol: str = "IBM.SMART") -> None:
        at = float(last)
        sizes = {"bid_size": str(size), "ask_size": str(size)}
        body = {"vt_symbol": vt_symbol, "last": last, "bid": f"{at - 0.01:.2f}", "ask": f"{at + 0.01:.2f}"}
        self._post("/quotes", {**body, **sizes})

    def day(self, orders: int, *, working: int = 0) -> None:
        """So many orders, those that work spread evenly; the others are filled, each in two fills."""
        self.quote(1)
        every = orders // working if working else orders + 1
        for number in range(1, orders + 1):
            if number % every == 0 and number // every <= working:
                self.order(1, "18")
            else:
                # The size shown fills the rest of the order before, and the first share of this one.
                self.order(2, "20.01")
                self.quote(2)
        self.quote(1000)


def wait_whole(rig: Rig, orders: int, trades: int, deadline: float = LONG) -> None:
    rig.wait(lambda: len(rig.main.get_all_orders()) == orders, f"{orders} orders", deadline)
    rig.wait(lambda: len(rig.seen.of(EVENT_TRADE)) == trades, f"{trades} trades", deadline)


def requests(rig: Rig, *routes: str) -> int:
    wire = rig.sim.wire()["vbrokers"]
    return sum(wire.get(route, 0) for route in routes)


def test_a_day_of_5000_orders_and_10000_fills_at_the_rate_of_the_product() -> None:
    orders, working, rate = 5000, 40, 5.0
    with list_rate(rate), Standing(timing=PATIENT, process=True) as rig:
        rig.sim.pause()
        with Phone(rig.sim.control_url) as phone:
            phone.day(orders, working=working)
        truth = rig.truth()
        fills = len(truth["trades"])
        assert (len(truth["orders"]), fills) == (orders, 2 * (orders - working))
        pages = orders // PAGE + 1 + fills // PAGE + 1
        clock = rig.gateway.clock

        began = clock.monotonic()
        rig.main.connect(rig.setting(), rig.name)
        rig.wait_log("合约信息查询成功")
        ready_after = clock.monotonic() - began
        wait_whole(rig, orders, fills)
        whole_after = clock.monotonic() - began
        assert "未完成" not in rig.wait_log("对账（连接）")
        told = Counter(trade.vt_tradeid for trade in rig.seen.of(EVENT_TRADE))
        assert set(told.values()) == {1}
        rig.wait_equal()
        assert ready_after < 3, ready_after
        assert whole_after < pages / rate + 3, whole_after
        # Beside the pages: the other markets, what works by number, and a round at the end.
        assert requests(rig, ORDERS, DEALS) <= pages + 2 * (MARKETS + 1)


# ---------------------------------------------------------------------- the same day without sockets


class Ear:
    """What the orders of a session tell vn.py, counted."""

    def __init__(self, clock: ManualClock) -> None:
        self.tracker = OrderTracker("VBROKERS")
        self.ids = OrderIds("VBROKERS", clock.now())
        self.findings = Findings("VBROKERS", clock)
        self.orders: list[tuple[float, str, bool]] = []
        self.trades: Counter[str] = Counter()
        self.last_trade = 0.0
        self.lines: list[str] = []
        self._clock = clock

    def push_order(self, order: TrackedOrder) -> None:
        order.shown = True
        self.orders.append((self._clock.monotonic(), order.orderid, order.active))

    def push_trade(self, order: TrackedOrder, fill: Fill) -> None:
        self.trades[fill.tradeid] += 1
        self.last_trade = self._clock.monotonic()

    def refuse(self, order: TrackedOrder, reason: str) -> None:
        raise AssertionError(reason)

    async def intend(self, order: TrackedOrder) -> None:
        raise AssertionError("nothing is sent here")

    def note(self, order: TrackedOrder) -> None: ...

    def know_foreign(self, broker_id: str) -> None: ...

    def is_foreign(self, broker_id: str) -> bool:
        return False

    def log(self, text: str) -> None:
        self.lines.append(text)


def listed(orders: int, every: int) -> dict[str, list[dict[str, str]]]:
    """The lists of a day, newest first: each order is filled in two fills, but every so many works."""
    day = {"date": "2026-03-10", "entrustTime": "10:31:02", "businessTime": "10:31:03"}
    rows: dict[str, list[dict[str, str]]] = {ORDERS: [], DEALS: [], HISTORY: []}
    for number in range(orders, 0, -1):
        works = number % every == 0
        order = {"entrustId": str(number), "stockCode": "IBM", "entrustBs": "1", "exchangeType": "P", **day}
        filled = {"status": "2", "businessAmount": "0"} if works else {"status": "8", "businessAmount": "30"}
        price = {"entrustAmount": "30", "entrustPrice": "95", "entrustTypeNum": "3"}
        rows[ORDERS].append({**order, **price, **filled})
        if not works:
            rows[DEALS] += [{**order, "businessPrice": "95", "businessAmount": part} for part in ("20", "10")]
    return rows


def test_the_rate_of_list_reads_is_all_that_a_long_day_takes() -> None:
    """In virtual time: no second and no request more than its pages, and little work for each row."""
    clock = ManualClock(datetime(2026, 3, 10, 15, 0, tzinfo=timezone.utc))
    rows, ear, rate = listed(5000, 125), Ear(clock), 5.0
    throttle = Throttle(rate, clock, at_once=5)
    asked: Counter[str] = Counter()

    async def read(route: str, params: dict[str, Any]) -> Any:
        await throttle.turn()
        asked[route] += 1
        if "entrustId" in params:
            return {"data": [row for row in rows[route] if row["entrustId"] in params["entrustId"]]}
        start = int(params["queryParamStr"])
        page = [dict(row) for row in rows[route][start : start + params["queryCount"]]]
        return {"data": [{**row, "queryParamStr": str(start + n)} for n, row in enumerate(page, 1)]}

    nothing = cast("Any", None)
    orders = Orders(
        ear,
        checks=nothing,
        settings=read_settings({}, {}),
        mutate=nothing,
        learn_name=lambda *_: None,
        denied=lambda *_: None,
        clock=clock,
        timing=PATIENT,
        on_change=lambda market: None,
    )
    sync = OrderSync(
        orders,
        ear,
        read_list=read,
        markets=lambda: ["P"],
        learn_name=lambda *_: None,
        denied=lambda *_: None,
        clock=clock,
        timing=PATIENT,
    )

    async def day() -> None:
        await sync.reconcile()
        assert clock.monotonic() == 0  # the first page is there at once
        while sync.behind:
            await sync.read_on()
        assert sync.complete

    async def go() -> None:
        work = asyncio.ensure_future(day())
        while not work.done():
            await clock.advance(0.1)
        await work

    before = process_time()
    asyncio.run(go())
    assert process_time() - before < 20  # it takes two; a look at every order for each row would take minutes
    pages = 5000 // PAGE + 1 + len(rows[DEALS]) // PAGE + 1
    assert asked == {ORDERS: 5000 // PAGE + 1, DEALS: len(rows[DEALS]) // PAGE + 1, HISTORY: 1}
    assert ear.last_trade <= pages / rate  # the days before are looked through after this one
    assert Counter(orderid for _at, orderid, _active in ear.orders) == dict.fromkeys(
        (f"VB{number}" for number in range(1, 5001)), 1
    )
    assert len(ear.trades) == len(rows[DEALS])
    assert set(ear.trades.values()) == {1}
    assert ear.lines == []


# ---------------------------------------------------------------------- shorter days


@pytest.fixture
def busy() -> Iterator[Standing]:
    """A broker with a day of six pages of orders and eleven of fills, quotes paused; nobody is connected."""
    with Standing(timing=replace(SHORT, orders_poll=30, orders_poll_idle=60)) as rig:
        rig.sim.pause()
        with Phone(rig.sim.control_url) as phone:
            phone.day(560, working=20)
        yield rig


def test_what_works_is_usable_within_3_s_of_connecting_and_orders_may_be_sent(busy: Standing) -> None:
    """At the product's rate, long before the day is known; after a restart an order of ours is there at once."""
    clock = busy.gateway.clock
    with list_rate(5):
        began = clock.monotonic()
        busy.connect()
        first = busy.main.get_all_active_orders()[0]
        busy.cancel(first.vt_orderid)
        busy.wait_status(first.vt_orderid, Status.CANCELLED)
        assert clock.monotonic() - began < 3
        ours = busy.send("IBM.SMART", Direction.LONG, 7, 19.5)
        busy.wait_status(ours, Status.NOTTRADED)
        assert len(busy.main.get_all_orders()) < 560
        with Phone(busy.sim.control_url) as phone:
            for _turn in range(2 * PAGE):
                phone.order(1, "18")
        busy.restart_engine()
        # It is on the third page by now: it is asked for by its number.
        busy.wait_status(ours, Status.NOTTRADED, deadline=3)
        busy.wait_log("合约信息查询成功")
        busy.cancel(ours)
        busy.wait_status(ours, Status.CANCELLED)


def test_what_works_is_told_first_of_each_page_and_the_rest_follows_once(busy: Standing) -> None:
    with list_rate(40):
        busy.connect()
    wait_whole(busy, 560, 1080)
    busy.wait_equal()
    told: list[OrderData] = busy.seen.of(EVENT_ORDER)
    page = [order.is_active() for order in told[:PAGE]]
    assert page == sorted(page, reverse=True)
    assert any(page)
    assert len(told) == 560  # nothing was told twice


def test_once_the_day_is_known_only_what_is_new_is_read(busy: Standing) -> None:
    busy.connect()
    wait_whole(busy, 560, 1080)
    busy.wait_log("对账（连接）")
    before = requests(busy, ORDERS), requests(busy, DEALS)
    busy.gateway.reconcile()
    busy.wait_log("对账（人工）")
    # The newest page of each market, and what works on older ones by number.
    assert (requests(busy, ORDERS) - before[0], requests(busy, DEALS) - before[1]) == (MARKETS + 1, 0)
    busy.main.connect(busy.setting(), busy.name)
    busy.wait(lambda: len([x for x in busy.seen.log_lines() if "对账（连接）" in x]) == 2, "the second connect")
    busy.wait_equal()


def test_a_fill_that_was_missed_costs_one_page_of_fills_in_the_longest_day(busy: Standing) -> None:
    busy.connect()
    wait_whole(busy, 560, 1080)
    busy.wait_log("对账（连接）")
    before = requests(busy, DEALS)
    busy.sim.faults([fault("push", mode="lose", when={"message": "TradeStockDeliverNotify"}, times=4)])
    with Phone(busy.sim.control_url) as phone:
        phone.order(3, "20.01")
    busy.gateway.reconcile()
    busy.wait(lambda: len(busy.seen.of(EVENT_TRADE)) == 1081, "the fill")
    busy.wait_equal()
    assert requests(busy, DEALS) - before == 1


def test_orders_may_be_sent_and_lost_while_the_day_is_being_read(busy: Standing) -> None:
    """Its outcome is settled when the day is known; an older row that looks the same is not it."""
    place = "/trade/TradeEntrust"
    busy.sim.order("IBM.SMART", "LONG", 11, 19.5)
    with Phone(busy.sim.control_url) as phone:
        phone.day(120)
    busy.sim.faults([fault("drop", when={"message": place, "phase": "before"})])
    with list_rate(8):
        busy.connect()
    order = busy.send("IBM.SMART", Direction.LONG, 11, 19.5)
    busy.wait_log("结果未知")
    assert not busy.gateway.session._rooms.order_sync.complete
    found = busy.wait_status(order, Status.REJECTED, deadline=LONG)
    assert "未到达" in (found.extra or {})["reason"]
    busy.wait_equal()
    assert not [line for line in busy.seen.log_lines() if "警告" in line or "无法核实" in line]


DAMAGE: list[list[dict[str, Any]]] = [
    [fault("shift_pages", when={"message": ORDERS}, times=9), fault("shift_pages", when={"message": DEALS}, times=30)],
    [
        fault("stuck_cursor", when={"message": ORDERS, "nth": 3}),
        fault("stuck_cursor", when={"message": DEALS, "nth": 4}),
    ],
    [fault("stuck_cursor", when={"message": ORDERS}, times=4), fault("stuck_cursor", when={"message": DEALS}, times=4)],
    [fault("http_status", code=500, when={"message": ORDERS, "nth": 3}, times=5)],
    [fault("drop", when={"message": DEALS, "nth": 5}, times=4)],
    [fault("expire", when={"message": DEALS, "nth": 3})],
    [fault("restart", for_s=0.5, when={"message": ORDERS, "nth": 4})],
]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: "-".join(f"{f['do']}" for f in d))
def test_a_day_that_is_hard_to_read_is_known_whole_and_once(busy: Standing, damage: list[dict[str, Any]]) -> None:
    busy.sim.faults(damage)
    busy._timing = replace(SHORT, orders_poll=1, orders_poll_idle=3)
    busy.restart_engine()
    busy.wait_log("合约信息查询成功")
    wait_whole(busy, 560, 1080)
    busy.wait_equal()
    told = Counter(trade.vt_tradeid for trade in busy.seen.of(EVENT_TRADE))
    assert set(told.values()) == {1}


def test_orders_and_fills_that_arrive_while_the_day_is_being_read(busy: Standing) -> None:
    with list_rate(20):
        busy.connect()
    with Phone(busy.sim.control_url) as phone:
        for _turn in range(60):
            phone.order(2, "20.01")
            phone.quote(2)
        phone.quote(1000)
    busy.wait_equal(LONG)
    assert busy.truth()["orders"][-1]["status"] == "ALLTRADED"
