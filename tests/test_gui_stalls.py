"""The window does not stand still; and the tool that measures it sees a stall, and who made it."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="Qt's system libraries are missing", exc_type=ImportError)

from PySide6 import QtCore
from pytestqt.qtbot import QtBot
from vnpy.trader.constant import Direction, Exchange, OrderType, Product
from vnpy.trader.object import ContractData, TickData
from vnpy.trader.ui.widget import ContractManager

from tests.door_fake import FakeGateway
from tests.gui_desk import bare_window
from vnpy_brokerkit.clock import SystemClock
from vnpy_brokerkit.journal_reader import JournalRow
from vnpy_brokerkit.journal_rows import Step
from vnpy_brokerkit.lifecycle import State
from vnpy_brokers.contract_finder import PART, ContractFinder
from vnpy_brokers.monitor.ui import tables
from vnpy_brokers.window import TraderWindow, short_pauses

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "benchmarks" / "gui_stalls.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = util.spec_from_file_location("gui_stalls", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[TraderWindow]:
    with bare_window(qtbot, FakeGateway) as window:
        yield window


class Paints(QtCore.QObject):
    """Counts how often a widget is painted."""

    count = 0

    def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:
        self.count += event.type() == QtCore.QEvent.Type.Paint
        return False


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def stand_still(qtbot: QtBot) -> None:
    qtbot.wait(50)
    busy(0.4)
    qtbot.wait(50)


def test_a_stall_and_its_maker_are_seen(tool: ModuleType, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "OURS", (str(Path(__file__).parent),))
    monkeypatch.setattr(tool, "MOST", 0.0)  # however late a loaded machine makes the idle window
    watch = tool.Watch()
    watch.phase("busy", lambda: qtbot.wait(200), lambda: stand_still(qtbot))
    watch.close()
    assert watch.worst["busy"] > 0.3
    assert watch.shares["busy"][0] > watch.shares["idle"][0]
    assert any("ms in busy: " in line and line.endswith(" busy") for line in watch.ours())
    assert not watch.held()


def test_a_stall_of_others_is_not_ours(tool: ModuleType, qtbot: QtBot) -> None:
    watch = tool.Watch()
    watch.phase("busy", lambda: qtbot.wait(200), lambda: stand_still(qtbot))
    watch.close()
    assert watch.stalls >= 1
    assert watch.ours() == []


def test_the_collector_leaves_alone_what_was_there(qtbot: QtBot) -> None:
    before = gc.get_freeze_count()
    with short_pauses():
        assert gc.get_freeze_count() > before + 10_000
    assert gc.get_freeze_count() == 0


def test_many_new_rows_are_painted_a_few_times(window: TraderWindow, qtbot: QtBot) -> None:
    """Each new row moves all others, so that Qt paints the whole table: not for each of two hundred."""
    table = window.monitors["行情"]
    paints = Paints()
    table.viewport().installEventFilter(paints)
    gateway = window.main_engine.gateways["VBROKERS"]
    for number in range(200):
        gateway.on_tick(TickData("VBROKERS", f"{number:05}", Exchange.SEHK, SystemClock().now(), last_price=70.0))
    qtbot.waitUntil(lambda: table.rowCount() == 200, timeout=30_000)
    qtbot.waitUntil(table.viewport().updatesEnabled, timeout=30_000)
    qtbot.waitUntil(lambda: paints.count > 0, timeout=30_000)
    assert paints.count < 100


def test_very_many_contracts_are_looked_through_in_parts(window: TraderWindow, qtbot: QtBot) -> None:
    gateway = window.main_engine.gateways["VBROKERS"]
    many = 2 * PART + 1
    for number in range(many):
        contract = ContractData("VBROKERS", f"{many - number:06}", Exchange.SEHK, "名称", Product.EQUITY, 1, 0.01)
        gateway.on_contract(contract)
    qtbot.waitUntil(lambda: len(window.main_engine.get_all_contracts()) == many, timeout=30_000)
    window.open_widget(ContractManager, "contract")
    finder = window.widgets["contract"]
    assert isinstance(finder, ContractFinder)
    model = finder.table.model()
    finder.show_contracts()
    assert model.rowCount() == 0
    qtbot.waitUntil(lambda: model.rowCount() == many, timeout=30_000)
    assert [model.data(model.index(row, 0)) for row in (0, many - 1)] == ["000001.SEHK", f"{many:06}.SEHK"]
    finder.show_contracts()
    finder.filter_line.setText("00002.sehk")  # overtakes the search for all
    finder.show_contracts()
    qtbot.waitUntil(lambda: model.rowCount() == 1, timeout=30_000)


def test_entries_of_the_journal_become_text_when_they_are_seen(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    texts = tables._texts

    def counted(row: JournalRow, gateway_name: str) -> tables.Row:
        made.append(row.orderid)
        return texts(row, gateway_name)

    monkeypatch.setattr(tables, "_texts", counted)
    rows = [(entry(number), "VBROKERS") for number in range(tables.MOST_ROWS)]
    table = tables.Table(tables.JOURNAL_HEADINGS)
    qtbot.addWidget(table)
    table.resize(1200, 300)
    table.show()
    table.show_rows(tables._Texts(rows), "")
    qtbot.waitExposed(table)
    assert table.model.rowCount() == tables.MOST_ROWS
    assert table.model.data(table.model.index(4000, 9)) == "o4000"
    assert len(made) == len(set(made)) < 200
    assert not table.model.show(tables._Texts(list(rows)))
    assert table.model.show(tables._Texts([*rows[1:], (entry(0, State.CANCELLED), "VBROKERS")]))


def entry(number: int, state: State = State.WORKING) -> JournalRow:
    return JournalRow(
        orderid=f"o{number}",
        symbol="00700",
        exchange=Exchange.SEHK,
        direction=Direction.LONG,
        type=OrderType.LIMIT,
        price=Decimal(300),
        volume=Decimal(100),
        traded=Decimal(0),
        reference="",
        time=SystemClock().now(),
        step=Step.ACKNOWLEDGED,
        state=state,
        broker_id="",
        reason="",
    )


def test_the_window_stands_still_no_longer_than_idle(tmp_path: Path) -> None:
    """At most twice as long as when nothing happens, and never in our code: while both brokers hang, while 200 symbols
    tick, and while 2,000 contracts load. One round of eight has to show it: others use the machine too.
    """
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--seconds", "2", "--rounds", "8", "--until-held"],
        cwd=tmp_path,
        env={**os.environ, "LANGUAGE": "zh_CN", "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"},
        capture_output=True,
        timeout=500,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert set(line["ratios"]) == {"hang", "ticks", "contracts"}
    assert line["idle_p99_ms"] > 0
    assert max(line["processor_share"].values()) < 0.5
    assert line["held"], line
