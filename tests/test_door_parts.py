"""The small parts of the door, in this process."""

from __future__ import annotations

import io
import json
import math
import os
import socket
import subprocess
import sys
import threading
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from vnpy.event import Event, EventEngine
from vnpy.trader.constant import Direction, Exchange, OrderType, Status
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import EVENT_TICK
from vnpy.trader.object import LogData, OrderData, TickData

from tests.door_fake import FakeGateway
from vnpy_brokers import door, trader
from vnpy_brokers import settings as door_settings
from vnpy_brokers.console import LineWriter
from vnpy_brokers.json_events import EVENT_NAMES, JsonEvents, event_line
from vnpy_brokers.options import RpcOptions, parse
from vnpy_brokers.qt_probe import why_no_window
from vnpy_brokers.refusal import Refusal
from vnpy_brokers.stopping import StopRequest
from vnpy_brokers.terminal import LiveTable, PlainLines, RecentLogs
from vnpy_brokers.zones import zone_warning

JSON_TEXT = st.recursive(
    st.sampled_from(["1", '"x"', "null", "NaN", "{}", "[" * 2000]),
    lambda inner: inner.map(lambda value: f'{{"VBROKERS": {value}}}') | inner.map(lambda value: f"[{value}]"),
    max_leaves=3,
)
NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)


def test_options_are_absolute_before_anything_changes_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = parse(["--data", ".", "--settings", "a.json", "--seconds", "1.5"])
    assert (options.data, options.settings, options.seconds) == (tmp_path, tmp_path / "a.json", 1.5)


def test_json_means_no_window() -> None:
    assert parse([]).gui
    assert not parse(["--json"]).gui
    assert not parse(["--no-gui"]).gui


def test_gateways_come_in_the_tables_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_settings, "GATEWAYS", {"A": "", "B": "", "C": ""})
    assert parse(["--gateway", "c", "A"]).gateways == ("A", "C")
    assert parse(["--gateway", "B", "--gateway", "A"]).gateways == ("A", "B")
    assert parse([]).gateways == ("A", "B", "C")


def test_demo_settings_are_defaults_on_the_embedded_simulator() -> None:
    default = {"环境": ["内置模拟", "实盘"], "端口": 1, "只读": ["否", "是"]}
    assert door_settings.demo_setting("X", default, {}) == {"环境": "内置模拟", "端口": 1, "只读": "否"}
    assert door_settings.demo_setting("X", default, {"只读": ["是"]})["只读"] == "是"
    with pytest.raises(Refusal, match="内置模拟"):
        door_settings.demo_setting("X", default, {"环境": ["实盘"]})


@given(st.binary(max_size=60) | JSON_TEXT.map(str.encode))
@settings(max_examples=150, deadline=None)
def test_any_settings_file_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "settings.json"
    path.write_bytes(content)
    refusal = ""
    try:
        read = door_settings.read_settings(path)
    except Refusal as error:
        refusal = str(error)
    else:
        assert all(isinstance(setting, dict) for setting in read.values())
    assert "\n" not in refusal


def order(**changes: object) -> OrderData:
    data = OrderData("GW", "IBM", Exchange.SMART, "7", OrderType.LIMIT, Direction.SHORT, price=1.5, volume=3)
    for name, value in changes.items():
        setattr(data, name, value)
    return data


def test_an_order_as_json_has_every_field_with_enums_by_name() -> None:
    zone = timezone(timedelta(hours=8))
    line = json.loads(event_line("order", order(datetime=datetime(2026, 3, 2, 9, 30, 0, 5000, zone))))
    assert set(line) == {field.name for field in fields(OrderData)} - {"gateway_name"} | {
        "event",
        "gateway",
        "vt_symbol",
        "vt_orderid",
    }
    assert (line["event"], line["gateway"], line["vt_orderid"]) == ("order", "GW", "GW.7")
    assert (line["exchange"], line["type"], line["direction"], line["status"]) == (
        "SMART",
        "LIMIT",
        "SHORT",
        Status.SUBMITTING.name,
    )
    assert line["datetime"] == "2026-03-02T09:30:00.005000+08:00"


def test_a_log_as_json_has_its_level_by_name_and_an_offset() -> None:
    line = json.loads(event_line("log", LogData("GW", "中文\n第二行", 40)))
    assert (line["level"], line["msg"], line["gateway"]) == ("ERROR", "中文\n第二行", "GW")
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.decimals() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON_LIKE)
@settings(max_examples=150, deadline=None)
def test_whatever_is_in_extra_one_strict_json_line_comes_out(extra: object) -> None:
    line = event_line("order", order(extra={"x": extra}))
    assert "\n" not in line
    json.loads(line, parse_constant=pytest.fail)


def test_extra_goes_out_as_it_is() -> None:
    extra = {"segment": "pre", "levels": [1, 2.5, None], "deep": {"nan": math.nan, "direction": Direction.LONG}}
    line = json.loads(event_line("order", order(extra=extra, price=Decimal("1.10"))))
    assert line["extra"] == {
        "segment": "pre",
        "levels": [1, 2.5, None],
        "deep": {"nan": None, "direction": "LONG"},
    }
    assert line["price"] == "1.10"


def test_a_broken_event_does_not_raise_in_the_handler() -> None:
    engine = EventEngine()
    lines: list[str] = []
    JsonEvents(engine, lines.append)
    engine._process(Event(EVENT_TICK, None))
    engine._process(Event(EVENT_TICK, TickData("GW", "IBM", Exchange.SMART, NOW)))
    assert [json.loads(line)["event"] for line in lines] == ["tick"]
    assert set(EVENT_NAMES.values()) == {"tick", "order", "trade", "position", "account", "contract", "log"}


def test_the_writer_writes_whole_lines_in_order() -> None:
    read_end, write_end = os.pipe()
    received: list[bytes] = []

    def read() -> None:
        with open(read_end, "rb") as pipe:
            received.append(pipe.read())

    reader = threading.Thread(target=read)
    reader.start()
    with io.FileIO(write_end, "wb") as stdout:
        writer = LineWriter(stdout, lambda: pytest.fail("the reader is there"))
        lines = [f"{number} 行情 " + "x" * 5000 for number in range(200)]
        for line in lines:
            writer.write(line)
        writer.close()
    reader.join(10)
    assert received[0].decode() == "".join(f"{line}\n" for line in lines)


def test_the_writer_reports_a_reader_that_went_away() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    gone = threading.Event()
    with io.FileIO(write_end, "wb") as stdout:
        writer = LineWriter(stdout, gone.set)
        writer.write("anything")
        assert gone.wait(5)
        writer.write("more")
        writer.close()


@pytest.mark.parametrize(
    ("database", "system", "warned"),
    [
        ("Asia/Shanghai", "Asia/Shanghai", False),
        ("PRC", "Asia/Shanghai", False),
        ("Etc/UTC", "UTC", False),
        ("Asia/Shanghai", "UTC", True),
        ("Europe/London", "UTC", True),  # the same clock in winter only
    ],
)
def test_zones_are_compared_by_their_clocks(database: str, system: str, warned: bool) -> None:
    line = zone_warning(database, system, NOW)
    assert (line is not None) == warned
    if line is not None:
        assert database in line
        assert system in line


def test_a_zone_that_is_none_is_refused() -> None:
    with pytest.raises(Refusal, match="Mars/Olympus"):
        zone_warning("Mars/Olympus", "UTC", NOW)


def child(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_probe_takes_what_works() -> None:
    assert why_no_window(child("pass")) is None


def test_the_probe_survives_an_abort_and_quotes_the_reason() -> None:
    code = "import os, sys; sys.stderr.write('no plugin\\n'); sys.stderr.flush(); os.abort()"
    assert why_no_window(child(code)) == "no plugin"
    reason = why_no_window(child("import no_such_module"))
    assert reason is not None
    assert "no_such_module" in reason


def test_the_probe_does_not_wait_for_ever() -> None:
    assert why_no_window(child("import threading; threading.Event().wait()"), deadline_s=0.5) is not None


def test_a_stop_is_requested_by_anybody_and_by_time() -> None:
    stop = StopRequest()
    assert not stop.requested()
    stop.request_after(0)
    assert stop.wait(60)
    other = StopRequest()
    other.request()
    assert other.requested()


def test_a_stop_during_the_start_begins_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trader, "TraderEngine", lambda *arguments: pytest.fail("an engine was made"))
    stop = StopRequest()
    stop.request()
    with (tmp_path / "stdout").open("wb", buffering=0) as stdout:
        door._run(parse(["--demo", "--json"]), None, gui=False, stdout=stdout, stop=stop)


def test_a_close_that_hangs_ends_the_process_in_words() -> None:
    code = (
        "import threading; from vnpy_brokers.stopping import ends_in_time\n"
        "with ends_in_time(0.2): threading.Event().wait()"
    )
    result = subprocess.run(
        child(code), capture_output=True, timeout=20, cwd=Path(__file__).parent.parent, text=True, encoding="utf-8"
    )
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MainEngine:
    """An engine whose event queue the test empties itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(EventEngine, "start", lambda self: None)
    return MainEngine(EventEngine())


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def test_rpc_serves_on_loopback_or_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reply, publish = free_address(), free_address()
    first, second = trader.TraderEngine(EventEngine()), trader.TraderEngine(EventEngine())
    try:
        first.start_rpc(RpcOptions(reply, publish, None))
        with pytest.raises(Refusal, match=reply):
            second.start_rpc(RpcOptions(reply, publish, None))
        with pytest.raises(Refusal, match=r"tcp://0\.0\.0\.0:1"):
            second.start_rpc(RpcOptions(reply, "tcp://0.0.0.0:1", None))
        with pytest.raises(Refusal, match=r"vnpy_brokers\.rpc\.keys"):
            second.start_rpc(RpcOptions("tcp://*:1", publish, tmp_path))
    finally:
        for engine in (first, second):
            engine.close()


def test_rpc_options() -> None:
    assert parse(["--rpc"]).rpc == RpcOptions("tcp://127.0.0.1:2014", "tcp://127.0.0.1:4102", None)
    assert parse(["--rpc", "--rep", "a", "--pub", "b", "--keys", "/k"]).rpc == RpcOptions(
        "a", "b", Path("/k").absolute()
    )
    assert parse([]).rpc is None
    assert parse(["--remote"]).remote
    for wrong in (["--keys", "k"], ["--pub", "b"], ["--remote", "--rpc"], ["--remote", "--demo"]):
        with pytest.raises(Refusal):
            parse(wrong)


def drain(engine: MainEngine) -> None:
    queue = engine.event_engine._queue
    while not queue.empty():
        engine.event_engine._process(queue.get())


def fill_engine(engine: MainEngine) -> FakeGateway:
    gateway = engine.add_gateway(FakeGateway)
    assert isinstance(gateway, FakeGateway)
    gateway.connect({"环境": "内置模拟"})
    gateway.push_tick("09988")
    drain(engine)
    return gateway


def test_the_live_table_shows_quotes_accounts_and_logs(engine: MainEngine) -> None:
    table = LiveTable(engine, RecentLogs(engine), "【模拟】")
    fill_engine(engine)
    screen = Console(file=io.StringIO(), force_terminal=True, width=160, height=60)
    with screen.capture() as picture:
        screen.print(table.picture())
    wanted = {"【模拟】", "09988.SEHK", "名称09988", "+1.11%", "100.2", "SIM-VBROKERS-USD", "1,000,000.00", "已连接"}
    assert {text for text in wanted if text in picture.get()} == wanted


def test_plain_lines_tell_only_what_changed(engine: MainEngine) -> None:
    lines = PlainLines(engine, RecentLogs(engine), "")
    gateway = fill_engine(engine)
    first = list(lines.changes())
    assert any("=09988.SEHK " in line for line in first)
    assert any("已连接" in line for line in first)
    assert list(lines.changes()) == []
    gateway.push_order(order(gateway_name="VBROKERS"), Status.NOTTRADED)
    drain(engine)
    (line,) = lines.changes()
    assert "IBM.SMART" in line
