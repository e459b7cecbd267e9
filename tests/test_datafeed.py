"""Bars where vn.py's users meet them: its apps on the gateways, and the datafeeds with and without one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from vnpy.event import EventEngine
from vnpy.trader import datafeed as vnpy_datafeed
from vnpy.trader.constant import Exchange, Interval
from vnpy.trader.database import DB_TZ
from vnpy.trader.engine import MainEngine
from vnpy.trader.object import BarData, HistoryRequest
from vnpy.trader.setting import SETTINGS
from vnpy.trader.utility import TEMP_DIR
from vnpy_ctastrategy import CtaStrategyApp, CtaTemplate

from tests.harness import DEADLINE, Rig
from tests.ib_harness import SHORT_IB, IbRig
from vnpy_brokerkit.clock import ManualClock
from vnpy_brokerkit.datafeed import GatewayDatafeed
from vnpy_brokerkit.errors import HistoryError
from vnpy_brokerkit.history import Bar, Part, Parts, StrategyInitStopped, initialising_strategy
from vnpy_vbrokers.datafeed import Datafeed

UTC = timezone.utc
DAY = timedelta(days=1)
KINDS = {"vbrokers": "vnpy_vbrokers", "ibkr": "vnpy_ibkr"}


def request(vt_symbol: str, days: int = 5, interval: Interval = Interval.DAILY) -> HistoryRequest:
    symbol, _dot, exchange = vt_symbol.rpartition(".")
    now = datetime.now(UTC)
    return HistoryRequest(symbol, Exchange(exchange), now - days * DAY, now, interval)


# ---------------------------------------------------------------------- parts


def made(*hours: int) -> list[Bar]:
    return [Bar(at(hour), at(hour), at(hour + 1), 1, 1, 1, 1, 1, 1) for hour in hours]


def at(hour: int) -> datetime:
    return datetime(2026, 3, 10, hour, tzinfo=UTC)


def test_spans_grow_together() -> None:
    part = Part()
    part.add(made(8, 9), at(8), at(10))
    part.add(made(2), at(2), at(3))
    below = [part.below(at(hour)) for hour in (8, 9, 10, 12)]
    assert below == [at(8), at(8), at(8), at(12)]
    part.add(made(10, 11), at(10), at(12))
    assert part.spans == [(at(2), at(3)), (at(8), at(12))]
    part.add(made(3), at(1), at(9))
    assert part.spans == [(at(1), at(12))]
    part.add(made(13), at(13), at(13))
    assert part.spans == [(at(1), at(12))]
    assert len(part.bars) == 7


def test_kept_parts_are_bounded_in_number_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vnpy_brokerkit.history.MOST_KEPT", 5)
    clock = ManualClock(at(0))
    parts = Parts(clock)

    def part(*hours: int) -> Part:
        one = Part()
        one.add(made(*hours), at(min(hours)), at(max(hours)))
        return one

    for number in range(3):
        parts.keep((number,), part(1, 2))
    assert [len(parts.take((number,)).bars) for number in range(3)] == [0, 2, 2]
    parts.keep(("much",), part(*range(1, 9)))
    parts.keep(("much",), part(1, 9, 10))
    assert len(parts.take(("much",)).bars) == 10
    assert not parts.take(("much",)).bars
    parts.keep(("old",), part(1, 2))
    clock._move(25 * 3600)
    assert not parts.take(("old",)).bars


# ---------------------------------------------------------------------- vn.py's apps on a gateway


class Loads(CtaTemplate):
    """Loads bars when it is initialised, and notes them."""

    author = "tests"
    parameters: list[str] = []  # noqa: RUF012  vn.py reads it from the class
    variables: list[str] = []  # noqa: RUF012  vn.py reads it from the class

    def on_init(self) -> None:
        self.loaded: list[BarData] = []
        self.load_bar(3, Interval.HOUR, self.loaded.append)


@contextmanager
def cta(rig: Rig) -> Iterator[Any]:
    """The CTA engine with one strategy on AAPL."""
    engine: Any = rig.main.add_app(CtaStrategyApp)
    engine.classes["Loads"] = Loads
    engine.init_engine()
    rig.subscribe("AAPL.SMART")
    rig.wait(lambda: rig.main.get_contract("AAPL.SMART"), "the contract")
    engine.add_strategy("Loads", "one", "AAPL.SMART", {})
    try:
        yield engine
    finally:
        engine.strategies.clear()
        engine.init_executor.shutdown()
        (TEMP_DIR / "cta_strategy_setting.json").unlink(missing_ok=True)


@pytest.mark.parametrize("kind", [Rig, IbRig])
def test_a_strategy_starts_on_whole_bars_or_not_at_all(kind: type[Rig]) -> None:
    message, broker = {Rig: ("/hq/KL", "vbrokers"), IbRig: ("reqHistoricalData", "tws")}[kind]
    with kind() as rig:
        rig.connect()
        with cta(rig) as engine:
            fault = {"broker": broker, "do": "error", "when": {"message": message}, "times": 9}
            rig.sim.faults([{**fault, "code": 1006 if kind is Rig else 200, "text": "no right"}])
            failure = engine.init_strategy("one").exception(DEADLINE)
            assert isinstance(failure, StrategyInitStopped)
            assert isinstance(failure.__cause__, HistoryError)
            rig.wait_log("下载AAPL.SMART的历史数据失败")
            rig.wait_log("策略one的初始化已中止")
            strategy = engine.strategies["one"]
            assert not strategy.inited
            assert not strategy.loaded
            rig.sim.clear_faults()
            engine.init_strategy("one").result(DEADLINE)
            assert strategy.inited
            assert len(strategy.loaded) > 5


def test_outside_of_an_initialisation_there_is_none() -> None:
    assert initialising_strategy() == ""
    # A function of that name that is not vn.py's.
    assert _init_strategy() == ""


def _init_strategy(strategy_name: str = "x") -> str:
    assert strategy_name
    return initialising_strategy()


@pytest.mark.parametrize("kind", [Rig, IbRig])
def test_the_data_manager_and_the_backtester_save_bars(kind: type[Rig]) -> None:
    from vnpy_ctabacktester import CtaBacktesterApp
    from vnpy_datamanager import DataManagerApp

    with kind() as rig:
        rig.connect()
        manager: Any = rig.main.add_app(DataManagerApp)
        backtester: Any = rig.main.add_app(CtaBacktesterApp)
        rig.subscribe("IBM.SMART")
        rig.wait(lambda: rig.main.get_contract("IBM.SMART"), "the contract")
        lines: list[str] = []
        # At noon no bar begins: vn.py's SQLite loses one that is exactly at the start of what is loaded.
        start = (datetime.now(DB_TZ) - 20 * DAY).replace(hour=12, minute=0, second=0, microsecond=0)
        for interval, least in (("1m", 1000), ("1h", 30), ("d", 5), ("w", 1)):
            count = manager.download_bar_data("IBM", Exchange.SMART, interval, start, lines.append)
            saved = manager.load_bar_data("IBM", Exchange.SMART, Interval(interval), start, datetime.now(DB_TZ))
            assert len(saved) == count >= least
        assert not lines
        assert manager.delete_bar_data("IBM", Exchange.SMART, Interval.DAILY)
        assert backtester.start_downloading("IBM.SMART", "d", start, datetime.now(DB_TZ))
        thread = backtester.thread
        if thread:
            thread.join(DEADLINE)
        assert manager.load_bar_data("IBM", Exchange.SMART, Interval.DAILY, start, datetime.now(DB_TZ))
        for each in Interval:
            manager.delete_bar_data("IBM", Exchange.SMART, each)


def test_a_chart_gets_its_bars_from_a_thread_of_its_own() -> None:
    """What vnpy_chartwizard does: one thread a chart, times in the database's zone."""
    with IbRig() as rig:
        rig.connect()
        answers: list[list[BarData]] = []

        def chart() -> None:
            answers.append(rig.main.query_history(request("IBM.SMART", 2, Interval.MINUTE), rig.name))

        threads = [threading.Thread(target=chart) for _number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert len(answers) == 4
        assert all(len(bars) > 100 for bars in answers)
        assert len({id(bar) for bars in answers for bar in bars}) == sum(map(len, answers))


def test_closing_ends_a_download() -> None:
    with IbRig(timing=replace(SHORT_IB, history_most=60)) as rig:
        rig.connect()
        rig.sim.faults([{"broker": "tws", "do": "stall", "for_s": 60, "when": {"message": "reqHistoricalData"}}])
        failures: list[BaseException] = []

        def ask() -> None:
            try:
                rig.main.query_history(request("IBM.SMART"), rig.name)
            except HistoryError as error:
                failures.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        rig.wait(lambda: rig.sim.wire()["tws"].get("reqHistoricalData"), "the request")
        rig.close()
        thread.join(DEADLINE)
        assert not thread.is_alive()
        assert len(failures) == 1


def test_a_silent_broker_is_given_up() -> None:
    with IbRig(timing=replace(SHORT_IB, history_most=1.5, heartbeat=60)) as rig:
        rig.connect()
        rig.sim.faults([{"broker": "tws", "do": "lose_reply", "when": {"message": "reqHistoricalData"}, "times": 9}])
        with pytest.raises(HistoryError):
            rig.main.query_history(request("IBM.SMART"), rig.name)
        rig.wait_log("下载IBM.SMART的历史数据失败")


# ---------------------------------------------------------------------- the datafeeds


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], GatewayDatafeed]]:
    """vn.py's get_datafeed() with a name in its settings."""
    made: list[GatewayDatafeed] = []

    def get(name: str) -> GatewayDatafeed:
        monkeypatch.setitem(SETTINGS, "datafeed.name", name)
        monkeypatch.setattr(vnpy_datafeed, "datafeed", None)
        feed = vnpy_datafeed.get_datafeed()
        assert isinstance(feed, GatewayDatafeed)
        made.append(feed)
        return feed

    yield get
    for feed in made:
        feed.close()
    for file in TEMP_DIR.glob("connect_*.json"):
        file.unlink()


@pytest.mark.parametrize(("name", "kind"), [("vbrokers", Rig), ("ibkr", IbRig)])
def test_a_datafeed_uses_the_connected_gateway(
    name: str, kind: type[Rig], named: Callable[[str], GatewayDatafeed]
) -> None:
    feed = named(name)
    lines: list[str] = []
    assert feed.init(lines.append)
    with kind() as rig:
        rig.connect()
        bars = feed.query_bar_history(request("IBM.SMART"), lines.append)
        assert {bar.gateway_name for bar in bars} == {rig.name}
        assert feed._private is None
        assert not lines


@pytest.mark.parametrize("name", ["vbrokers", "ibkr"])
def test_a_datafeed_without_a_gateway_connects_by_what_was_saved(
    name: str, named: Callable[[str], GatewayDatafeed]
) -> None:
    kind = Rig if name == "vbrokers" else IbRig
    feed = named(name)
    feed.idle = 0.3
    with kind() as rig:
        (TEMP_DIR / f"connect_{name}.json").write_text(json.dumps(rig.setting()), encoding="utf-8")
        lines: list[str] = []
        assert feed.init(lines.append)
        assert feed._private is None
        first = feed.query_bar_history(request("IBM.SMART"), lines.append)
        assert first
        assert {bar.gateway_name for bar in first} == {f"{name.upper()}_DATAFEED"}
        assert not lines
        # Nothing of it reaches an engine, and a second question needs no second connection.
        assert not rig.seen.of("eContract.")
        assert feed.query_bar_history(request("IBM.SMART", 3), lines.append)
        # Idle, it goes; asked again, it comes back.

        def threads() -> list[threading.Thread]:
            return [one for one in threading.enumerate() if one.name.startswith(f"{name.upper()}_DATAFEED")]

        rig.wait(lambda: not threads(), "the end of the private gateway")
        assert feed.query_bar_history(request("IBM.SMART"), lines.append)
        feed.close()
        assert not threads()
        assert not list(TEMP_DIR.glob("*_datafeed_*orders.db"))


def test_an_ibkr_datafeed_lives_beside_the_users_own_connection(named: Callable[[str], GatewayDatafeed]) -> None:
    """Another process holds the saved client id; here: a gateway that the datafeed does not look at."""
    with IbRig() as rig:
        rig.connect()
        (TEMP_DIR / "connect_ibkr.json").write_text(json.dumps(rig.setting()), encoding="utf-8")
        feed = named("ibkr")
        feed._connected = lambda: None  # type: ignore[method-assign]
        assert feed.query_bar_history(request("IBM.SMART"), print)
        assert not [line for line in rig.seen.log_lines() if re.search(r"\b326\b|断开", line)]


def test_what_a_datafeed_does_not_have_is_a_line(named: Callable[[str], GatewayDatafeed]) -> None:
    feed = named("vbrokers")
    lines: list[str] = []
    foreign = HistoryRequest("rb2410", Exchange.SHFE, datetime.now(UTC) - DAY, None, Interval.MINUTE)
    assert feed.query_bar_history(foreign, lines.append) == []
    assert "SHFE" in lines[0]
    assert feed.query_tick_history(request("IBM.SMART"), lines.append) == []
    assert "Tick" in lines[1]
    with Rig() as rig:
        rig.connect()
        assert feed.query_bar_history(request("NOSUCHTHING.SMART"), lines.append) == []
        assert "找不到合约" in lines[2]


@pytest.mark.parametrize("text", ["{", "[1]", '{"环境": "月球"}'])
def test_settings_that_cannot_be_used_are_a_line(text: str, named: Callable[[str], GatewayDatafeed]) -> None:
    feed = named("ibkr")
    (TEMP_DIR / "connect_ibkr.json").write_text(text, encoding="utf-8")
    lines: list[str] = []
    assert not feed.init(lines.append)
    with pytest.raises(HistoryError):
        feed.query_bar_history(request("IBM.SMART"), lines.append)
    assert len(lines) == 2


def test_a_broker_that_is_not_there_is_an_error_in_words(named: Callable[[str], GatewayDatafeed]) -> None:
    feed = named("vbrokers")
    feed.connect_within = 1
    nowhere = {"环境": "测试环境", "端口": 1, "推送端口": 1, "交易密码": "123456"}
    (TEMP_DIR / "connect_vbrokers.json").write_text(json.dumps(nowhere), encoding="utf-8")
    lines: list[str] = []
    with pytest.raises(HistoryError, match="无法连接OpenAPI Gateway"):
        feed.query_bar_history(request("IBM.SMART"), lines.append)
    assert lines
    assert feed._private is None


def test_a_strategy_whose_datafeed_fails_is_not_initialised(named: Callable[[str], GatewayDatafeed]) -> None:
    feed = named("ibkr")
    asked = request("IBM.SMART")
    scope: dict[str, Any] = {"__name__": "vnpy_ctastrategy.engine"}
    exec("def _init_strategy(strategy_name, ask): return ask()", scope)
    lines: list[str] = []

    def ask() -> list[BarData]:
        return feed.query_bar_history(asked, lines.append)

    (TEMP_DIR / "connect_ibkr.json").write_text("{", encoding="utf-8")
    with pytest.raises(StrategyInitStopped):
        scope["_init_strategy"]("one", ask)
    assert len(lines) == 1
    with IbRig() as rig:
        rig.connect()
        when = {"message": "reqHistoricalData"}
        rig.sim.faults([{"broker": "tws", "do": "error", "code": 200, "text": "gone", "when": when, "times": 9}])
        with pytest.raises(StrategyInitStopped):
            scope["_init_strategy"]("one", ask)
        assert len(lines) == 2
        rig.wait_log("策略one的初始化已中止")


@pytest.mark.parametrize("name", ["vbrokers", "ibkr"])
def test_a_script_with_a_datafeed_on_the_embedded_simulator_ends(name: str, tmp_path: Path) -> None:
    """No saved settings: 内置模拟. The process ends by itself, without a close()."""
    (tmp_path / ".vntrader").mkdir()
    (tmp_path / ".vntrader" / "vt_setting.json").write_text(
        json.dumps({"datafeed.name": name, "log.console": False}), encoding="utf-8"
    )
    script = textwrap.dedent(
        """
        import sys
        from datetime import datetime, timedelta, timezone
        from vnpy.trader.constant import Exchange, Interval
        from vnpy.trader.datafeed import get_datafeed
        from vnpy.trader.object import HistoryRequest
        feed = get_datafeed()
        said = []
        assert feed.init(said.append)
        now = datetime.now(timezone.utc)
        req = HistoryRequest("AAPL", Exchange.SMART, now - timedelta(days=30), None, Interval.DAILY)
        bars = feed.query_bar_history(req, said.append)
        bars = feed.query_bar_history(req, said.append)
        sys.stdout.write(f"{len(bars)} {len(said)}")
        """
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=90,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONIOENCODING": "utf-8"},
    )
    assert run.returncode == 0, run.stderr
    count, said = map(int, run.stdout.split())
    assert count > 15
    assert said == 1
    assert not run.stderr


def test_names_are_exported() -> None:
    import vnpy_ibkr
    import vnpy_vbrokers

    for module in (vnpy_ibkr, vnpy_vbrokers):
        assert issubclass(module.Datafeed, GatewayDatafeed)
        assert "Datafeed" in dir(module)


def test_a_gateway_that_was_never_connected_is_no_datafeeds() -> None:
    with Rig() as rig:
        engine = MainEngine(EventEngine())
        try:
            engine.add_gateway(type(rig.gateway), "OTHER")
            assert Datafeed()._connected() is None
        finally:
            engine.close()
