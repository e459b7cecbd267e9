"""The window does not stand still; and the tool that measures it sees a stall, and who made it."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="Qt's system libraries are missing", exc_type=ImportError)

from pytestqt.qtbot import QtBot

from vnpy_brokers.window import short_pauses

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


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_a_stall_and_its_maker_are_seen(tool: ModuleType, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "OURS", (str(Path(__file__).parent),))
    monkeypatch.setattr(tool, "MOST", 0.0)  # however late a loaded machine makes the idle window
    watch = tool.Watch()

    def stand_still() -> None:
        qtbot.wait(50)
        busy(0.4)
        qtbot.wait(50)

    watch.phase("busy", lambda: qtbot.wait(200), stand_still)
    watch.close()
    assert watch.worst["busy"] > 0.3
    assert watch.shares["busy"][0] > watch.shares["idle"][0]
    assert any("ms in busy: " in line and line.endswith(" busy") for line in watch.ours())
    assert not watch.held()


def test_a_stall_of_others_is_not_ours(tool: ModuleType, qtbot: QtBot) -> None:
    watch = tool.Watch()
    watch.phase("busy", lambda: qtbot.wait(200), lambda: (qtbot.wait(50), busy(0.4), qtbot.wait(50)))
    watch.close()
    assert watch.stalls >= 1
    assert watch.ours() == []


def test_the_collector_leaves_alone_what_was_there(qtbot: QtBot) -> None:
    before = gc.get_freeze_count()
    with short_pauses():
        assert gc.get_freeze_count() > before + 10_000
    assert gc.get_freeze_count() == 0


def test_the_window_stands_still_no_longer_than_idle(tmp_path: Path) -> None:
    """At most twice as long as when nothing happens, and never in our code: while both brokers hang, while 200 symbols
    tick, and while 2,000 contracts load. One round of five has to show it: others use the machine too.
    """
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--seconds", "2", "--rounds", "5", "--until-held"],
        cwd=tmp_path,
        env={**os.environ, "LANGUAGE": "zh_CN", "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"},
        capture_output=True,
        timeout=420,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert set(line["ratios"]) == {"hang", "ticks", "contracts"}
    assert line["idle_p99_ms"] > 0
    assert max(line["processor_share"].values()) < 0.5
    assert line["held"], line
