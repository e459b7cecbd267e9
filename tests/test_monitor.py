"""The monitor without a window: health as events, commands, the words of the page, the warning of shorts at 启动."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from vnpy.event import EVENT_TIMER, Event, EventEngine
from vnpy.trader.constant import Direction, Status
from vnpy.trader.engine import MainEngine
from vnpy_ctastrategy import CtaTemplate, TargetPosTemplate

from tests.cta_desk import NAME, RIGS, CtaDesk, forget_strategies
from tests.cta_strategies import Teller
from tests.harness import Rig
from tests.ib_harness import IbRig
from vnpy_brokerkit.findings import Finding, Kind, Occasion, Report
from vnpy_brokerkit.health import Health, Lamp
from vnpy_brokers.monitor import EVENT_HEALTH, BrokerMonitorApp, MonitorEngine
from vnpy_brokers.monitor.shorts import can_go_short
from vnpy_brokers.monitor.words import figures, lamp_word, marks, remark, report_rows

ROOT = Path(__file__).resolve().parent.parent
NOON = datetime(2026, 3, 10, 4, 0, tzinfo=timezone.utc)
HEALTH = Health("VBROKERS", Lamp.GOOD, "", NOON)


@pytest.fixture(params=[Rig, IbRig], ids=["VBROKERS", "IBKR"])
def either(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A rig of each broker."""
    with request.param() as made:
        yield made


def monitor_of(rig: Rig) -> MonitorEngine:
    engine = rig.main.add_app(BrokerMonitorApp)
    assert isinstance(engine, MonitorEngine)
    return engine


# ---------------------------------------------------------------------- the engine


def test_health_comes_as_events_of_built_in_types(either: Rig) -> None:
    monitor_of(either)
    told: dict[str, list[Any]] = {EVENT_HEALTH: [], EVENT_HEALTH + either.name: []}
    for kind in told:
        either.event_engine.register(kind, lambda event: told[event.type].append(event.data))
    either.connect()
    either.wait(
        lambda: all(any(plain["lamp"] == "GOOD" for plain in heard) for heard in told.values()),
        "events that say good",
    )
    for heard in told.values():
        assert heard[-1]["gateway_name"] == either.name
        assert b"vnpy" not in pickle.dumps(heard[-1])


def test_a_fault_in_the_timer_is_told_once_and_ends_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = monitor_of(rig)
    calls: list[int] = []

    def broken() -> dict[str, Health]:
        calls.append(1)
        raise RuntimeError("odd")

    monkeypatch.setattr(monitor, "health", broken)
    for _number in range(3):
        rig.event_engine.put(Event(EVENT_TIMER))
    rig.wait(lambda: len(calls) >= 3, "three calls")
    rig.wait_log("odd")
    assert sum("odd" in line for line in rig.seen.log_lines()) == 1


def test_gateways_that_cannot_tell_are_left_out(rig: Rig) -> None:
    monitor = monitor_of(rig)
    rig.main.gateways["OTHER"] = object()  # type: ignore[assignment]  # somebody else's gateway
    try:
        assert list(monitor.health()) == ["VBROKERS"]
    finally:
        del rig.main.gateways["OTHER"]


def test_cancel_all_of_every_market_means_our_orders_in_all_of_them(either: Rig) -> None:
    monitor = monitor_of(either)
    either.connect()
    either.subscribe("IBM.SMART", "00700.SEHK")
    american = round(either.wait_tick("IBM.SMART").last_price * 0.97, 2)
    asian = round(round(either.wait_tick("00700.SEHK").last_price * 0.97 / 0.2) * 0.2, 1)
    ours = [
        either.send("IBM.SMART", Direction.LONG, 1, american),
        either.send("00700.SEHK", Direction.LONG, 100, asian),
    ]
    for order in ours:
        either.wait_status(order, Status.NOTTRADED)
    either.wait(lambda: sum(m.orders for m in monitor.health()[either.name].markets) == 2, "both in the health")
    monitor.cancel_all(either.name)
    for order in ours:
        either.wait_status(order, Status.CANCELLED)


def test_the_kill_switch_of_one_and_of_all() -> None:
    with Rig(start=False) as rig:
        monitor = monitor_of(rig)
        other = rig.add("SECOND")
        monitor.stop_orders(True, "SECOND")
        assert [health.stopped for health in monitor.health().values()] == [False, True]
        monitor.stop_orders(True)
        assert [health.stopped for health in monitor.health().values()] == [True, True]
        monitor.stop_orders(False)
        assert [health.stopped for health in monitor.health().values()] == [False, False]
        assert not other.guard.stopped


def test_the_engine_needs_no_qt() -> None:
    code = "import sys, vnpy_brokers.monitor as m; m.MonitorEngine; sys.exit('PySide6' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_what_vnpy_asks_of_an_app_is_there() -> None:
    app = BrokerMonitorApp()
    assert Path(app.icon_name).is_file()
    names = ast.parse((app.app_path / "ui" / "__init__.py").read_text(encoding="utf-8"))
    assert app.widget_name in ast.dump(names)
    main = MainEngine(EventEngine())
    try:
        assert isinstance(main.add_app(BrokerMonitorApp), MonitorEngine)
    finally:
        main.close()


# ---------------------------------------------------------------------- the words


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "正常"),
        ({"lamp": Lamp.RECONNECTING, "next_try": 3.4}, "连接中（3秒后重试）"),
        ({"lamp": Lamp.RESET}, "每日重置"),
        ({"stopped": True}, "紧急停止 · 正常"),
    ],
)
def test_the_lamp_in_a_word(changes: dict[str, Any], word: str) -> None:
    assert lamp_word(replace(HEALTH, **changes)) == word


def test_the_remark_is_never_empty_and_marks_tell_what_is_not_real() -> None:
    assert remark(HEALTH)
    assert marks(HEALTH) == []
    assert marks(replace(HEALTH, embedded=True, read_only=True)) == ["模拟", "只读"]


def test_figures_say_what_is_not_known() -> None:
    assert dict(figures(HEALTH, NOON)) == {
        "最近心跳": "—",
        "往返延迟": "—",
        "行情订阅": "—",
        "活动委托": "0",
        "结果未知": "0",
    }
    known = replace(
        HEALTH,
        heartbeat=NOON - timedelta(seconds=5),
        latency=0.0123,
        subscriptions=3,
        subscriptions_most=200,
        unknown=2,
    )
    shown = dict(figures(known, NOON))
    assert shown["最近心跳"] == "11:59:55（5秒前）"
    assert (shown["往返延迟"], shown["行情订阅"], shown["结果未知"]) == ("12.3 毫秒", "3 / 200", "2")
    assert dict(figures(replace(HEALTH, latency=2.5), NOON))["往返延迟"] == "2.5 秒"


def test_a_report_as_rows() -> None:
    findings = (Finding(Kind.ADOPTED, "x1", "IBM.SMART"), Finding(Kind.UNKNOWN, "x2", "AAPL.SMART", "why"))
    report = Report("IBKR", Occasion.DEMAND, NOON, NOON, False, findings)
    head = ("IBKR", "12:00:00", "人工")
    rows = report_rows("IBKR", report)
    assert [row[:3] for row in rows] == [head] * 3
    assert [row[3:] for row in rows] == [
        ("没有读完", "", "有列表没有读完，将自动重试", ""),
        ("接管", "IBM.SMART", "在别处或此前下的委托，已显示", "x1"),
        ("未知", "AAPL.SMART", "why", "x2"),
    ]
    assert report_rows("IBKR", replace(report, complete=True, findings=())) == [(*head, "一致", "", "", "")]


def test_every_kind_of_finding_has_a_remark() -> None:
    for kind in Kind:
        report = Report("IBKR", Occasion.TIMER, NOON, NOON, True, (Finding(kind, "x", "IBM.SMART"),))
        assert report_rows("IBKR", report)[0][5]


# ---------------------------------------------------------------------- shorts


class LongOnly(Teller):
    """Buys and sells."""

    def on_start(self) -> None:
        self.sell(1, 1)


class Shorter(Teller):
    """Goes short somewhere."""

    def later(self) -> None:
        if self.pos:
            self.short(1, 1)


class Heir(Shorter):
    """Goes short by what it inherits."""


class Target(TargetPosTemplate):
    """vn.py's template goes short by itself where the target asks for it."""


class Talker(Teller):
    """Only speaks of it."""

    short_window = 3

    def later(self) -> None:
        """self.short(1, 1)"""
        self.write_log("self.short(1, 1)")


@pytest.mark.parametrize(
    ("kind", "short"), [(LongOnly, False), (Shorter, True), (Heir, True), (Target, True), (Talker, False)]
)
def test_a_strategy_that_can_go_short_is_told_by_its_source(kind: type[CtaTemplate], short: bool) -> None:
    assert can_go_short(kind) is short


def test_a_strategy_without_source_is_let_pass() -> None:
    space: dict[str, Any] = {"Teller": Teller}
    exec("class Made(Teller):\n    def f(self):\n        self.short(1, 1)\n", space)
    assert not can_go_short(space["Made"])


@pytest.mark.parametrize(
    ("name", "settings", "kind", "warned"),
    [
        ("VBROKERS", {}, Shorter, True),
        ("VBROKERS", {}, Heir, True),
        ("VBROKERS", {}, LongOnly, False),
        ("IBKR", {}, Shorter, False),
        ("IBKR", {"账户类型": "现金"}, Shorter, True),
        ("IBKR", {"交易账户": "DU1000002"}, Shorter, True),
    ],
)
def test_a_strategy_that_can_go_short_is_warned_of_at_its_start(
    name: str, settings: dict[str, str], kind: type[CtaTemplate], warned: bool
) -> None:
    forget_strategies()
    with RIGS[name]() as rig:
        desk = CtaDesk(rig)
        desk.cta.classes[kind.__name__] = kind
        rig.connect(**settings)
        rig.wait(lambda: rig.gateway.health().lamp is Lamp.GOOD, "a good lamp")
        strategy = desk.add(kind)
        desk.cta.start_strategy(NAME)  # not ready yet: vn.py says so, and that is all
        desk.ready()
        desk.cta.start_strategy(NAME)
        assert strategy.trading
        desk.cta.start_strategy(NAME)  # again: no second warning
        desk.cta.write_log("the end of it")
        rig.wait(lambda: any("the end of it" in line.msg for line in desk.cta_log), "the CTA log")
        for lines in ([line.msg for line in desk.cta_log], rig.seen.log_lines()):
            found = [line for line in lines if "卖空" in line]
            assert len(found) == int(warned)
            assert not warned or (NAME in found[0] and name in found[0] and "IBM.SMART" in found[0])
