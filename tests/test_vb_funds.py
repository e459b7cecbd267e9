"""Lists are read at a rate that everything shares: what changes is read of its market alone, and quotes do not wait."""

from __future__ import annotations

from dataclasses import replace

from vnpy.trader.constant import Direction, Status

from tests.harness import SHORT, Rig
from vnpy_vbrokers.accounts import FUNDS
from vnpy_vbrokers.positions import HOLDINGS

IBM = "IBM.SMART"


def test_what_is_held_at_the_connect_has_its_funds_read_as_often_as_it_should() -> None:
    """While the day's lists were still being read the long pause of an idle account began."""
    with Rig(timing=replace(SHORT, funds_poll=0.2, funds_poll_idle=600)) as rig:
        rig.sim.order(IBM, "LONG", 100, 1000)
        slow = {"broker": "vbrokers", "do": "delay", "ms": 300, "times": 8}
        rig.sim.faults(
            [
                {**slow, "when": {"message": name}}
                for name in ("TradeQueryHistoryEntrustList", "TradeQueryRealDeliverList")
            ]
        )
        rig.connect(市场="港股+美股+A股通")
        before = reads(rig)[1]
        rig.wait(lambda: reads(rig)[1] > before + 8, "the funds read again and again")


def test_a_change_reads_positions_and_funds_of_its_market_alone() -> None:
    with Rig(timing=replace(SHORT, funds_poll=600, funds_poll_idle=600)) as rig:
        rig.connect(市场="港股+美股+A股通")
        order = rig.send(IBM, Direction.LONG, 10, 50)
        rig.wait_status(order, Status.NOTTRADED)
        rig.wait_equal()
        before = reads(rig)
        rig.cancel(order)
        rig.wait_status(order, Status.CANCELLED)
        rig.wait_equal()
        rig.wait(lambda: reads(rig) > before, "the market's funds")
        # One market of four, as often as the order was news: its end by the push, or by the lists.
        assert all(now - then <= 2 for now, then in zip(reads(rig), before, strict=True))


def reads(rig: Rig) -> tuple[int, int]:
    wire = rig.sim.wire()["vbrokers"]
    return wire[HOLDINGS], wire[FUNDS]


def test_quotes_come_before_the_lists_and_an_order_waits_for_them() -> None:
    with Rig() as rig:
        rig.sim.faults([{"broker": "vbrokers", "do": "delay", "ms": 700, "times": 1, "when": {"message": HOLDINGS}}])
        rig.main.connect(rig.setting(), rig.name)
        rig.subscribe(IBM)
        rig.wait_tick(IBM)
        assert not [line for line in rig.seen.log_lines() if "合约信息查询成功" in line]
        order = rig.send(IBM, Direction.LONG, 10, 50)
        rig.wait_status(order, Status.NOTTRADED)
        rig.wait_log("合约信息查询成功")
        rig.wait_equal()
        assert Status.REJECTED not in rig.statuses(order)
