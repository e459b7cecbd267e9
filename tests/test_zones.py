"""One zone for everything that tells a time, and a line at the start where the database's is another one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.cta_days import ROOT, needs_tz, run_child, vnpy_folder
from tests.cta_desk import RIGS
from vnpy_brokers.refusal import Refusal
from vnpy_brokers.zones import start_warning

SHANGHAI, NEW_YORK = "Asia/Shanghai", "America/New_York"
NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
KINDS = {
    "tick",
    "order",
    "trade",
    "bar of ticks",
    "gateway bar",
    "datafeed bar",
    "database bar",
    "back-test bar",
}
READ = {"database bar", "back-test bar"}
"""What comes out of vn.py's database."""

pytestmark = needs_tz


def one_minute(name: str, vt_symbol: str, folder: Path, *, zone: str, tz: str) -> dict[str, Any]:
    home = vnpy_folder(folder / "home", zone, **{"datafeed.name": name.lower()})
    (folder / "data").mkdir()
    return run_child("tests.zone_child", home, tz, name, vt_symbol, str(folder / "data"))


@pytest.mark.parametrize(
    ("name", "zone", "vt_symbol"),
    [
        *((name, zone, "AIG.SMART") for name in RIGS for zone in (SHANGHAI, NEW_YORK)),
        ("VBROKERS", NEW_YORK, "00700.SEHK"),
        ("IBKR", SHANGHAI, "00700.SEHK"),
    ],
)
def test_one_minute_is_one_time_in_one_zone(name: str, zone: str, vt_symbol: str, tmp_path: Path) -> None:
    told = one_minute(name, vt_symbol, tmp_path, zone=zone, tz=zone)
    times, minute = told["times"], datetime.fromisoformat(told["minute"])
    assert times.keys() == KINDS
    assert {key for _at, key in times.values()} == {zone}
    for kind, (text, _key) in times.items():
        at = datetime.fromisoformat(text)
        if "bar" in kind:
            assert at == minute, kind
        else:
            assert minute <= at < minute + timedelta(minutes=1), kind
    assert not told["lines"]


def test_another_zone_of_the_process_shifts_what_the_database_gives_back(tmp_path: Path) -> None:
    """And nothing else: what the gateways tell is right in any zone. The CTA engine's log names both zones."""
    told = one_minute("IBKR", "AIG.SMART", tmp_path, zone=SHANGHAI, tz="UTC")
    minute = datetime.fromisoformat(told["minute"])
    assert {key for _at, key in told["times"].values()} == {SHANGHAI}
    for kind, (text, _key) in told["times"].items():
        shift = datetime.fromisoformat(text).replace(second=0, microsecond=0) - minute
        assert shift == timedelta(hours=8 if kind in READ else 0), kind
    (line,) = told["lines"]
    assert SHANGHAI in line
    assert "UTC" in line


# ------------------------------------------------------------------ the line at the start

SCRIPT = """
import sys
from datetime import datetime, timezone
from vnpy_brokers.zones import start_warning
print(start_warning(sys.argv[1], datetime(2026, 3, 2, 12, tzinfo=timezone.utc)))
"""


def said(tz: str, database: str, **environment: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, database],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "TZ": tz, **environment},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.parametrize(
    ("tz", "database"), [(SHANGHAI, "PRC"), (NEW_YORK, "US/Eastern"), ("UTC", "Etc/UTC"), (NEW_YORK, NEW_YORK)]
)
def test_the_same_clock_under_two_names_is_no_line(tz: str, database: str) -> None:
    assert said(tz, database) == "None"


@pytest.mark.parametrize(
    ("tz", "database"),
    [
        ("UTC", SHANGHAI),
        (SHANGHAI, NEW_YORK),
        ("Europe/London", "UTC"),  # the same in winter only
    ],
)
def test_two_clocks_are_named(tz: str, database: str) -> None:
    line = said(tz, database)
    assert tz in line
    assert database in line


def test_a_zone_that_the_system_does_not_know_is_named() -> None:
    """The C library then counts in UTC and says nothing, while Python finds the zone in a package of its own."""
    line = said(NEW_YORK, NEW_YORK, TZDIR="/nonexistent")
    assert line.count(NEW_YORK) == 2
    assert "+0000" in line


def test_a_database_zone_that_is_none_is_refused() -> None:
    with pytest.raises(Refusal, match="Mars/Olympus"):
        start_warning("Mars/Olympus", NOW)


@pytest.mark.parametrize("options", [("--json",), ("--no-gui",)])
def test_the_door_says_it_before_anything_else(options: tuple[str, ...], tmp_path: Path) -> None:
    home = vnpy_folder(tmp_path / "home", SHANGHAI)
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"IBKR": {"环境": "模拟盘", "TWS端口": 1}}), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *options, "--settings", str(settings), "--seconds", "0"],
        cwd=home,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, "LANGUAGE": "zh_CN", "PYTHONIOENCODING": "utf-8", "TZ": NEW_YORK},
    )
    assert run.returncode == 0, run.stderr
    first = run.stderr.splitlines()[0]
    assert SHANGHAI in first
    assert NEW_YORK in first
