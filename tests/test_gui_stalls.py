"""The tool that measures how long the window stands still: it sees a stall, and who made it."""

from __future__ import annotations

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
    watch = tool.Watch()
    watch.phase("idle", lambda: qtbot.wait(200))

    def stand_still() -> None:
        qtbot.wait(50)
        busy(0.4)
        qtbot.wait(50)

    watch.phase("busy", stand_still)
    watch.close()
    assert watch.worst_ms("busy") > 300
    assert watch.shares["busy"][0] > watch.shares["idle"][0]
    assert any(line.startswith("busy: ") and " busy" in line for line in watch.ours())


def test_a_short_run_tells_all_phases(tmp_path: Path) -> None:
    """What a loaded machine makes of the times is not tested: that many ticks leave the window's thread idle is."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--seconds", "1.5", "--rounds", "2"],
        cwd=tmp_path,
        env={**os.environ, "LANGUAGE": "zh_CN", "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"},
        capture_output=True,
        timeout=180,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert set(line["ratios"]) == {"hang", "ticks", "contracts"}
    assert line["ratio"] == max(line["ratios"].values())
    assert line["idle_p99_ms"] > 0
    assert max(line["processor_share"].values()) < 0.5
