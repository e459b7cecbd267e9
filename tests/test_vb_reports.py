"""What a reconciliation found is told: always where somebody waits for it, on the timer only where it is news."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from vnpy.trader.constant import Direction, Status

import brokersim
from tests.harness import SHORT, Rig
from tests.oracle_run import Standing
from tests.oracle_script import ORDERS, PLACE, fault
from vnpy_brokerkit.findings import Finding, Kind, Occasion, Report

IBM = "IBM.SMART"


@pytest.fixture
def rig() -> Iterator[Standing]:
    """Connected, IBM at 99.99 to 100.01."""
    with Standing(timing=SHORT) as made:
        made.sim.pause()
        made.connect()
        made.subscribe(IBM)
        made.wait_tick(IBM)
        made.sim.quote(IBM, last=100, bid="99.99", ask="100.01", bid_size=1000, ask_size=1000)
        made.wait(lambda: made.tick(IBM).ask_price_1 == 100.01, "the quote")
        yield made


def reports(rig: Rig, occasion: Occasion) -> list[Report]:
    return [report for report in list(rig.gateway.findings.reports) if report.occasion is occasion]


def lines(rig: Rig, occasion: str) -> list[str]:
    return [line for line in rig.seen.log_lines() if line.startswith(f"对账（{occasion}）")]


def ask(rig: Rig) -> Report:
    """Have everything compared, and return what came of it."""
    before = len(reports(rig, Occasion.DEMAND))
    rig.gateway.reconcile()
    return rig.wait(lambda: reports(rig, Occasion.DEMAND)[before:], "the report")[0]


def named(report: Report, kind: Kind) -> list[str]:
    return [finding.orderid for finding in report.of(kind)]


def plain(vt_orderid: str) -> str:
    return vt_orderid.partition(".")[2]


def test_a_connect_is_reported_when_all_is_well(rig: Standing) -> None:
    assert lines(rig, "连接") == ["对账（连接）：引擎与券商一致"]
    [report] = reports(rig, Occasion.CONNECT)
    assert (report.complete, report.findings) == (True, ())
    assert report.began <= report.ended


def test_who_asks_is_told_also_that_nothing_was_found(rig: Standing) -> None:
    report = ask(rig)
    assert (report.complete, report.findings) == (True, ())
    assert lines(rig, "人工") == ["对账（人工）：引擎与券商一致"]


def test_the_timer_is_silent_as_long_as_it_finds_nothing(rig: Standing) -> None:
    rig.wait_status(rig.send(IBM, Direction.LONG, 7, 95), Status.NOTTRADED)
    asked = rig.sim.wire()["vbrokers"][ORDERS]
    rig.wait(lambda: rig.sim.wire()["vbrokers"][ORDERS] > asked + 12, "rounds on the timer")
    assert lines(rig, "定时") == []
    last = rig.gateway.findings.last
    assert last is not None
    assert (last.occasion, last.complete) == (Occasion.TIMER, True)


def test_a_reconnect_tells_what_was_placed_elsewhere_and_filled_meanwhile(rig: Standing) -> None:
    ours = rig.send(IBM, Direction.LONG, 7, 95)
    order = rig.wait_status(ours, Status.NOTTRADED)
    rig.sim.faults([fault("restart", for_s=1), fault("fill_while_away", order=(order.extra or {})["broker_id"])])
    rig.sim.order(IBM, "LONG", 5, 94)
    rig.wait_log("已恢复")
    [report] = rig.wait(lambda: reports(rig, Occasion.RECONNECT), "the report")
    assert named(report, Kind.FILLED) == [plain(ours)]
    assert len(report.of(Kind.ADOPTED)) == 1
    [line] = lines(rig, "恢复连接")
    assert f"补成交1笔（{plain(ours)}）" in line
    assert "接管1笔" in line


@pytest.mark.parametrize(
    ("lost", "status"),
    [
        (fault("lose_reply", when={"message": PLACE}), Status.ALLTRADED),
        (fault("error", code="1011", when={"message": PLACE, "phase": "before"}), Status.REJECTED),
    ],
    ids=["arrived", "never arrived"],
)
def test_an_unknown_order_is_reported_until_it_is_settled(
    rig: Standing, lost: dict[str, object], status: Status
) -> None:
    rig.sim.faults([lost])
    order = rig.send(IBM, Direction.LONG, 7, 100.01)
    rig.wait_log("结果未知")
    rig.wait_status(order, status)
    assert plain(order) in rig.wait_log("核实1笔")
    assert ask(rig).findings == ()
    _connect, *kept = list(rig.gateway.findings.reports)
    [settled] = [number for number, report in enumerate(kept) if report.of(Kind.SETTLED)]
    assert named(kept[settled], Kind.SETTLED) == [plain(order)]
    assert all(named(report, Kind.UNKNOWN) == [plain(order)] for report in kept[:settled])
    assert not any(report.findings for report in kept[settled + 1 :])
    # Being unknown alone is no news for the timer.
    assert not [line for line in lines(rig, "定时") if "未知" in line and "核实" not in line]


def test_what_can_not_be_decided_stays_in_the_report(rig: Standing) -> None:
    rig.sim.faults([fault("lose_reply", when={"message": PLACE})])
    order = rig.send(IBM, Direction.LONG, 7, 95)
    rig.wait(lambda: rig.sim.wire()["vbrokers"].get(PLACE) == 1, "the request")
    rig.sim.order(IBM, "LONG", 7, 95)
    rig.wait_log("无法核实")
    assert named(ask(rig), Kind.UNKNOWN) == [plain(order)]
    assert named(ask(rig), Kind.UNKNOWN) == [plain(order)]
    told = rig.main.get_order(order)
    assert told is not None
    assert (told.extra or {})["unknown"]


def test_an_acknowledged_order_that_no_list_has_is_reported_and_stays_as_it_is(rig: Standing) -> None:
    """The next engine meets a broker that has forgotten the order."""
    order = rig.send(IBM, Direction.LONG, 7, 95)
    rig.wait_status(order, Status.NOTTRADED)
    rig.close()
    rig._timing = replace(SHORT, orders_poll=0.3)
    with brokersim.running() as forgetful:
        rig.sim = forgetful
        rig.restart_engine()
        rig.wait_log("不在券商的当日和历史列表中")
        rig.wait(lambda: [line for line in lines(rig, "定时") if "缺失1笔" in line], "the report")
        assert named(ask(rig), Kind.MISSING) == [plain(order)]
        assert set(rig.statuses(order)) == {Status.NOTTRADED}
        assert len([line for line in lines(rig, "定时") if "缺失" in line]) == 1
        rig.close()


def test_an_unfinished_reading_says_so(rig: Standing) -> None:
    rig.sim.faults([fault("stuck_cursor", when={"message": ORDERS}, times=1000)])
    for number in range(120):
        rig.sim.order(IBM, "LONG", 1, 90 + number % 5)
    report = ask(rig)
    assert not report.complete
    assert lines(rig, "人工")[0].startswith("对账（人工）未完成：")
    rig.sim.clear_faults()
    rig.wait(lambda: ask(rig).complete, "a complete one")
    rig.wait_equal()


def test_a_report_names_a_few_and_counts_all() -> None:
    found = tuple(Finding(Kind.ADOPTED, f"VB{number}", IBM) for number in range(8))
    now = datetime(2026, 3, 10, tzinfo=timezone.utc)
    report = Report("VBROKERS", Occasion.TIMER, now, now, True, found)
    assert report.line() == "对账（定时）：接管8笔（VB0、VB1、VB2、VB3、VB4等）"
