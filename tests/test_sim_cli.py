"""``python -m brokersim`` as its users start it: ready line, exit codes, signals, standard input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

COMMAND = [sys.executable, "-m", "brokersim"]
ROOT = Path(__file__).parents[1]


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    child = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        yield child, json.loads(child.stdout.readline())
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


def refused(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_ready_line_and_nothing_else_on_stdout() -> None:
    with started("--only", "vbrokers") as (child, ready):
        assert list(ready) == ["ready", "vbrokers", "push", "control"]
        assert ready["ready"] is True
        assert ready["vbrokers"].startswith("http://127.0.0.1:")
        assert ready["push"].startswith("127.0.0.1:")
        assert set(httpx.get(f"{ready['control']}/state", trust_env=False).json()) == {"vbrokers"}
        child.terminate()
        out, err = child.communicate(timeout=10)
        assert out == ""
        assert err == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals that a program can catch from outside")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_within_two_seconds(number: signal.Signals) -> None:
    with started() as (child, ready):
        client = httpx.Client(trust_env=False)
        client.get(f"{ready['control']}/state")
        begin = time.monotonic()
        child.send_signal(number)
        assert child.wait(timeout=10) == 0
        assert time.monotonic() - begin < 2
        client.close()


def test_ends_when_stdin_closes() -> None:
    with started("--until-stdin-closes", "--no-control") as (child, ready):
        assert "control" not in ready
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(timeout=5) == 0
        child.stdin = None


def test_closed_stdin_does_not_matter_without_the_option() -> None:
    with started() as (child, ready):
        assert child.stdin is not None
        child.stdin.close()
        child.stdin = None
        assert httpx.get(f"{ready['control']}/clock", trust_env=False).status_code == 200


def test_taken_port_is_one_line_and_exit_2() -> None:
    with started() as (_, ready):
        port = ready["vbrokers"].rpartition(":")[2]
        code, err = refused("--vbrokers-port", port)
        assert code == 2
        assert f"port {port} " in err
        assert "--vbrokers-port" in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("clock", ["wall", "data"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("IBM.SMART.1m.csv", ""),
        ("IBM.SMART.1m.csv", "time,open,high,low,close,volume,bid,bid_size,ask,ask_size\nyesterday,1,2\n"),
        ("NOWHERE.1m.csv", "time\n"),
        ("IBM.MOON.1m.csv", "time\n"),
        ("IBM.SMART.tick.csv.gz", "not packed"),
    ],
)
def test_a_data_file_that_is_none_is_one_line_and_exit_2(tmp_path: Path, name: str, content: str, clock: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    code, err = refused("--data", str(tmp_path), "--clock", clock)
    assert (code, err.count("\n")) == (2, 1), err
    assert "Traceback" not in err


def test_files(tmp_path: Path) -> None:
    positions, faults = tmp_path / "positions.json", tmp_path / "faults.json"
    row = {"broker": "vbrokers", "account": "VBROKERS", "vt_symbol": "AAPL.SMART", "volume": 7, "price": 101.5}
    positions.write_text(json.dumps([row]), encoding="utf-8")
    faults.write_text('[{"broker": "vbrokers", "do": "http_status", "code": 502}]', encoding="utf-8")
    options = [
        "--positions",
        str(positions),
        "--faults",
        str(faults),
        "--switch",
        "err_style=code",
        "--password",
        "secret",
    ]
    with started(*options, "--clock", "data", "--seed", "7", "--speed", "2") as (_, ready):
        state = httpx.get(f"{ready['control']}/state", trust_env=False).json()["vbrokers"]
        assert [(held["vt_symbol"], held["volume"], held["price"]) for held in state["positions"]] == [
            ("AAPL.SMART", "7", "101.5")
        ]
        url = f"{ready['vbrokers']}/trade/TradeQueryHoldsList"
        assert httpx.post(url, json={}, trust_env=False).status_code == 502
        assert httpx.post(url, json={}, trust_env=False).json()["err"] == "1012"


def test_the_positions_of_one_state_are_the_opening_positions_of_another(tmp_path: Path) -> None:
    rows = [{"account": "VBROKERS", "vt_symbol": "AAPL.SMART", "volume": "7", "price": "101.5"}]
    files = {"list": rows, "by broker": {"vbrokers": rows}}
    shown = []
    for name, content in files.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        with started("--positions", str(path), "--clock", "data") as (_, ready):
            shown.append(httpx.get(f"{ready['control']}/state", trust_env=False).json()["vbrokers"]["positions"])
    assert shown[0] == shown[1]
    path = tmp_path / "state.json"
    path.write_text(json.dumps(shown[0]), encoding="utf-8")  # with last and pnl
    with started("--positions", str(path), "--clock", "data") as (_, ready):
        assert httpx.get(f"{ready['control']}/state", trust_env=False).json()["vbrokers"]["positions"] == shown[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "moon"], "invalid choice: 'moon'"),
        (["--vbrokers-port", "70000"], "is no port"),
        (["--speed", "0"], "must be above 0"),
        (["--data", "/nowhere/at/all"], "is no folder"),
        (["--switch", "loud"], "write name=value"),
        (["--switch", "loud=1"], "unknown switch 'loud'"),
        (["--no-control", "--control-port", "1"], "not allowed with"),
    ],
)
def test_bad_options_are_named(arguments: list[str], words: str) -> None:
    code, err = refused(*arguments)
    assert code == 2
    assert words in err


def test_bad_files_are_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('[{"broker": "vbrokers", "do": "dance"}]', encoding="utf-8")
    code, err = refused("--faults", str(bad))
    assert (code, "unknown fault 'dance'" in err) == (2, True)
    code, err = refused("--positions", str(bad))
    assert (code, "positions" in err) == (2, True)
    half = {"account": "VBROKERS", "vt_symbol": "AAPL.SMART", "volume": 0.5, "price": 1}
    bad.write_text(json.dumps([half]), encoding="utf-8")
    code, err = refused("--positions", str(bad))
    assert (code, "volume must be a whole number" in err) == (2, True)
    code, err = refused("--faults", str(tmp_path / "missing.json"))
    assert (code, "missing.json" in err) == (2, True)


def test_help_documents_the_positions_file() -> None:
    done = subprocess.run([*COMMAND, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert '"vt_symbol"' in done.stdout
