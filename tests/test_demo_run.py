"""``python run.py --demo`` itself, on the real gateway and the embedded simulator."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 60.0
REAL_PORTS = (11111, 11112, 7497)


@contextmanager
def listening(ports: tuple[int, ...]) -> Iterator[list[socket.socket]]:
    """Sockets that listen where the real programs would; a port that is taken already is left to its owner."""
    with ExitStack() as stack:
        taken = []
        for port in ports:
            listener = stack.enter_context(socket.socket())
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            listener.listen()
            listener.setblocking(False)
            taken.append(listener)
        yield taken


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose vn.py folder holds what a user of the real account has there."""
    folder = tmp_path / "home" / ".vntrader"
    folder.mkdir(parents=True)
    saved = {"环境": "实盘", "地址": "127.0.0.1", "端口": 11111, "交易密码": "s3cret"}
    (folder / "connect_vbrokers.json").write_text(json.dumps(saved), encoding="utf-8")
    (folder / "vt_setting.json").write_text("{}", encoding="utf-8")
    (folder / "database.db").write_bytes(os.urandom(4096))
    return folder.parent


def events_until_the_strategy_runs(child: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    assert child.stdout is not None
    events = []
    for line in child.stdout:
        events.append(json.loads(line, parse_constant=pytest.fail))
        if events[-1]["event"] == "log" and events[-1]["gateway"] == "DEMO" and "示例策略" in events[-1]["msg"]:
            break
    return events


def test_the_demo_trades_on_the_simulator_and_touches_nothing_else(home: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = os.environ | {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "LANGUAGE": "zh_CN",
        "TMPDIR": str(temporary),
        "TEMP": str(temporary),
        "TMP": str(temporary),
    }
    before = hashes(home)
    with listening(REAL_PORTS) as listeners:
        command = [sys.executable, str(ROOT / "run.py"), "--demo", "--json", "--gateway", "VBROKERS"]
        with subprocess.Popen(
            command, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            late = threading.Timer(DEADLINE_S, child.kill)
            late.start()
            try:
                events = events_until_the_strategy_runs(child)
                assert child.stdout is not None
                child.stdout.close()  # whoever read goes away, which ends the demo
                child.stdout = None
                _, stderr = child.communicate(timeout=DEADLINE_S)
            finally:
                late.cancel()
        for listener in listeners:
            with pytest.raises(BlockingIOError):  # nobody has called
                listener.accept()

    assert child.returncode == 0, stderr.decode()
    assert b"Traceback" not in stderr
    trades = [event for event in events if event["event"] == "trade"]
    for vt_symbol in ("IBM.SMART", "09988.SEHK"):
        for direction in ("LONG", "SHORT"):
            of_leg = [trade for trade in trades if (trade["vt_symbol"], trade["direction"]) == (vt_symbol, direction)]
            assert sum(trade["volume"] for trade in of_leg) == 100
            assert len({trade["vt_tradeid"] for trade in of_leg}) == len(of_leg)
        held = [e["volume"] for e in events if e["event"] == "position" and e["vt_symbol"] == vt_symbol]
        assert 100 in held, held
        assert held[-1] == 0
    script = [event["msg"] for event in events if event["event"] == "log" and event["gateway"] == "DEMO"]
    assert any("脚本结束" in line for line in script)
    assert "已在 SPY.SMART 启动" in script[-1]
    orders = [event for event in events if event["event"] == "order"]
    resting = [order["status"] for order in orders if order["vt_symbol"] == "AAPL.SMART"]
    assert resting[0] == "SUBMITTING"
    assert resting[-1] == "NOTTRADED"
    for vt_orderid in {order["vt_orderid"] for order in orders}:
        assert next(order["status"] for order in orders if order["vt_orderid"] == vt_orderid) == "SUBMITTING"
    quoted = {event["vt_symbol"] for event in events if event["event"] == "tick"}
    assert quoted - {"SPY.SMART"} == {"IBM.SMART", "AAPL.SMART", "00700.SEHK", "09988.SEHK"}
    accounts = {event["accountid"] for event in events if event["event"] == "account"}
    assert "SIM-VBROKERS-USD" in accounts
    assert hashes(home) == before
    assert list(temporary.iterdir()) == []
