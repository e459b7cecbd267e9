"""After any disconnect, timeout, crash or restart, what the broker knows is in the engine, once (design, 1 and 9).

The numbered scripts are the same on every machine. Many of them::

    ORACLE_SCRIPTS=500 ORACLE_FIRST=1 pytest tests/test_vb_oracle.py -k numbered

What such a run has found stands below it, each as the smallest case that shows it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from vnpy.trader.constant import Direction, Status
from vnpy.trader.event import EVENT_TRADE

from tests.harness import SHORT, Rig
from tests.oracle_run import OracleRig, run
from tests.oracle_script import DEALS, FUNDS, LOGIN, ORDERS, PLACE, draw, fault
from vnpy_brokerkit.clock import ShiftedClock
from vnpy_brokerkit.timing import Timing

FIRST = int(os.environ.get("ORACLE_FIRST", "1"))
SCRIPTS = int(os.environ.get("ORACLE_SCRIPTS", "5"))


@pytest.mark.parametrize("number", range(FIRST, FIRST + SCRIPTS))
def test_numbered(number: int) -> None:
    run(draw(number))


# ---------------------------------------------------------------------- sessions and connections


def ready(rig: Rig) -> Rig:
    """Connected, quotes paused, IBM at 99.99 to 100.01."""
    rig.sim.pause()
    rig.connect()
    rig.subscribe("IBM.SMART")
    rig.wait_tick("IBM.SMART")
    rig.sim.quote("IBM.SMART", last=100, bid="99.99", ask="100.01", bid_size=1000, ask_size=1000)
    rig.wait(lambda: rig.tick("IBM.SMART").ask_price_1 == 100.01, "the quote")
    return rig


def test_a_position_closed_between_two_sessions_is_told_as_flat(rig: Rig) -> None:
    ready(rig)
    rig.wait_status(rig.send("IBM.SMART", Direction.LONG, 10, 100.01), Status.ALLTRADED)
    rig.wait_equal()
    # The old session ends, and nothing of it hears of the sale.
    rig.sim.faults([fault("refuse"), fault("drop")])
    rig.main.connect(rig.setting(), "VBROKERS")
    rig.wait_log("无法连接OpenAPI Gateway")
    rig.sim.order("IBM.SMART", "SHORT", 10, 99)
    rig.sim.clear_faults()
    rig.wait_equal()
    assert [position.volume for position in rig.main.get_all_positions()] == [0]


def test_a_displaced_login_that_is_hard_to_take_back_counts_once(rig: Rig) -> None:
    ready(rig)
    rig.sim.faults([fault("drop", when={"message": LOGIN}, times=2), fault("displace")])
    rig.wait_log("已恢复")
    assert not [line for line in rig.seen.log_lines() if "不再抢登" in line]


@pytest.mark.parametrize("code", ["1012", "1014"])
def test_a_read_that_is_told_to_log_in_again_and_again_is_no_refused_password(rig: Rig, code: str) -> None:
    ready(rig)
    rig.sim.faults([fault("error", code=code, when={"message": FUNDS}, times=6)])
    rig.wait_log("已恢复")
    rig.wait_equal()
    assert not [line for line in rig.seen.log_lines() if "交易登录被拒绝" in line]


def test_an_order_that_waits_for_its_answer_keeps_its_row_from_its_unknown_twin() -> None:
    """Else the twin, which never arrived, takes the row, and the order's own answer finds it taken."""
    timing = replace(SHORT, request_timeout=3, settle_after=0.4, settle_apart=0.1)
    with Rig(timing=timing) as rig:
        ready(rig)
        rig.sim.faults(
            [
                fault("error", code="1011", when={"message": PLACE}),
                fault("delay", ms=1800, when={"message": PLACE, "nth": 2, "phase": "after"}),
            ]
        )
        lost = rig.send("IBM.SMART", Direction.LONG, 7, 95)
        rig.wait_log("结果未知")
        slow = rig.send("IBM.SMART", Direction.LONG, 7, 95)
        found = rig.wait_status(slow, Status.NOTTRADED)
        rig.wait_status(lost, Status.REJECTED)
        assert (found.extra or {})["broker_id"]
        rig.wait_equal()
        assert not [line for line in rig.seen.log_lines() if "冲突" in line]


def test_fills_that_only_the_lists_know_are_read_soon_after_the_answer() -> None:
    """The order is filled before its answer comes, its pushes are lost, and nothing is active that would be polled."""
    with Rig(timing=replace(SHORT, orders_poll=600, orders_poll_idle=600, request_timeout=5)) as rig:
        ready(rig)
        rig.sim.faults(
            [
                fault("garbage", when={"message": "TradeStockDeliverNotify"}),
                fault("delay", ms=2000, when={"message": PLACE, "phase": "after"}),
            ]
        )
        order = rig.send("IBM.SMART", Direction.LONG, 7, 100.01)
        rig.wait_status(order, Status.ALLTRADED)
        rig.wait(lambda: rig.seen.of(EVENT_TRADE), "its trade")
        rig.wait_equal()


def test_a_reading_that_failed_is_made_up_for_however_idle_the_account_is() -> None:
    """A fill's push is lost, the next fills the order: it is no more active, and its first fill is still missing."""
    with Rig(timing=replace(SHORT, orders_poll_idle=600)) as rig:
        ready(rig)
        rig.sim.quote("IBM.SMART", bid_size=3, ask_size=3)
        rig.sim.faults(
            [
                fault("push", mode="lose", when={"message": "TradeStockDeliverNotify", "nth": 2}),
                fault("garbage", when={"message": DEALS}, times=3),
            ]
        )
        rig.sim.order("IBM.SMART", "LONG", 7, 100.01)
        rig.sim.quote("IBM.SMART", bid_size=4, ask_size=4)
        rig.wait(lambda: rig.seen.of(EVENT_TRADE), "the second fill")
        rig.wait_equal()


# ---------------------------------------------------------------------- Hong Kong's midnight, New York's noon

BEFORE, AFTER = "2026-03-10 15:50:00", "2026-03-10 16:10:00"
"""UTC, on both sides of Hong Kong's midnight: the broker's lists of today begin anew, New York trades on."""


class Night:
    """A rig whose broker and gateway live in a time that is set."""

    def __init__(self, rig: OracleRig, clock: ShiftedClock) -> None:
        self.rig = rig
        self._clock = clock

    def go(self, text: str) -> None:
        at = _utc(text)
        self._clock.set(at)
        self.rig.sim.set_clock(at)

    def quote(self, last: str, size: int = 1000) -> None:
        at = float(last)
        self.rig.sim.quote(
            "IBM.SMART", last=at, bid=round(at - 0.01, 2), ask=round(at + 0.01, 2), bid_size=size, ask_size=size
        )


def _utc(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)


@pytest.fixture
def night() -> Iterator[Night]:
    yield from _night(SHORT)


def _night(timing: Timing, **options: Any) -> Iterator[Night]:
    clock = ShiftedClock(_utc(BEFORE), frozen=True)
    rig = OracleRig(gateway_clock=clock, clock="data", **options)
    rig._timing = timing
    with rig:
        made = Night(rig, clock)
        made.go(BEFORE)
        rig.sim.pause()
        yield made


def test_fills_on_both_sides_of_the_broker_s_midnight_are_both_told(night: Night) -> None:
    rig = night.rig.connect(市场="港股+美股+A股通")
    assert isinstance(rig, Rig)
    rig.subscribe("IBM.SMART")
    rig.wait_tick("IBM.SMART")
    night.quote("100", size=30)
    order = rig.send("IBM.SMART", Direction.LONG, 100, 100.01)
    rig.wait_status(order, Status.PARTTRADED)
    rig.wait_equal()
    night.go(AFTER)
    rig.sim.faults([fault("push", mode="lose", when={"message": "TradeStockDeliverNotify"})])
    night.quote("100", size=45)
    rig.wait(lambda: sum(trade.volume for trade in rig.seen.of(EVENT_TRADE)) == 75, "the fill after midnight")
    rig.wait_equal()


def test_an_engine_that_starts_after_the_broker_s_midnight_knows_what_was_before(night: Night) -> None:
    rig = night.rig
    night.quote("100", size=30)
    rig.sim.order("IBM.SMART", "LONG", 100, "100.01")
    rig.sim.order("IBM.SMART", "LONG", 7, "95")
    night.quote("100", size=200)
    night.go(AFTER)
    rig.connect()
    rig.subscribe("IBM.SMART")
    rig.wait_equal()


def test_an_unknown_order_is_looked_for_on_both_sides_of_the_broker_s_midnight() -> None:
    for night in _night(replace(SHORT, settle_after=2)):
        rig = night.rig
        rig.connect()
        rig.subscribe("IBM.SMART")
        rig.wait_tick("IBM.SMART")
        night.quote("100")
        rig.wait(lambda: rig.tick("IBM.SMART").ask_price_1 == 100.01, "the quote")  # noqa: B023  one night only
        rig.sim.faults(
            [
                fault("push", mode="lose", when={"message": "TradeStockDeliverNotify"}, times=9),
                fault("lose_reply", when={"message": PLACE}),
                fault("garbage", when={"message": ORDERS}, times=100),
            ]
        )
        order = rig.send("IBM.SMART", Direction.LONG, 7, 95)
        rig.wait_log("结果未知")
        night.go(AFTER)
        rig.sim.clear_faults()
        found = rig.wait_status(order, Status.NOTTRADED, Status.REJECTED)
        assert found.status is Status.NOTTRADED
        rig.wait_equal()
