"""The command line, as a child process with a deadline, on a gateway without a broker (`door_fake`)."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOOR = [sys.executable, "-m", "tests.door_fake"]
DEADLINE_S = 40
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows cannot send another process a Ctrl-C alone")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's home with a vn.py folder in use."""
    folder = tmp_path / "home" / ".vntrader"
    (folder / "log").mkdir(parents=True)
    (folder / "vt_setting.json").write_text("{}", encoding="utf-8")
    (folder / "connect_vbrokers.json").write_text('{"环境": "测试环境", "端口": 1}', encoding="utf-8")
    (folder / "database.db").write_bytes(b"\x00bars\xff")
    (folder / "log" / "vt_20260101.log").write_text("old\n", encoding="utf-8")
    return folder.parent


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """A Chinese one without a screen, whose home is `home`."""
    kept = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return kept | {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "PYTHONPATH": str(ROOT),
        "QT_QPA_PLATFORM": "offscreen",
        "TZ": "UTC",
        "LANGUAGE": "zh_CN",
    }


def door(environment: dict[str, str], home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DOOR, *arguments],
        env=environment,
        cwd=home.parent,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=DEADLINE_S,
    )


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def events(stdout: str) -> list[dict[str, object]]:
    """Every line of stdout as an object: a line that is no JSON fails the test."""
    return [json.loads(line, parse_constant=pytest.fail) for line in stdout.splitlines()]


@pytest.fixture
def taken_ports() -> Iterator[None]:
    """The real programs' ports, in use by somebody else (or by the real programs)."""
    with ExitStack() as stack:
        for port in (11111, 11112, 7497):
            taken = stack.enter_context(socket.socket())
            try:
                taken.bind(("127.0.0.1", port))
                taken.listen()
            except OSError:
                continue
        yield


@pytest.mark.usefixtures("taken_ports")
def test_demo_streams_json_and_leaves_the_users_folder_alone(environment: dict[str, str], home: Path) -> None:
    before = hashes(home)
    result = door(environment, home, "--demo", "--no-gui", "--json", "--seconds", "4")

    assert result.returncode == 0, result.stderr
    stream = events(result.stdout)
    kinds = {event["event"] for event in stream}
    assert kinds == {"log", "contract", "account", "position", "tick", "order", "trade"}
    trades = [event for event in stream if event["event"] == "trade"]
    assert sorted((trade["vt_symbol"], trade["direction"], trade["volume"]) for trade in trades) == [
        ("09988.SEHK", "LONG", 100),
        ("09988.SEHK", "SHORT", 100),
        ("IBM.SMART", "LONG", 100),
        ("IBM.SMART", "SHORT", 100),
    ]
    orders = [event for event in stream if event["event"] == "order"]
    resting = {order["vt_orderid"] for order in orders if order["vt_symbol"] == "AAPL.SMART"}
    assert len(resting) == 1
    for vt_orderid in {order["vt_orderid"] for order in orders} - resting:
        of_one = [order["status"] for order in orders if order["vt_orderid"] == vt_orderid]
        assert (of_one[0], of_one[-1]) == ("SUBMITTING", "ALLTRADED")
    account = next(event for event in stream if event["event"] == "account")
    assert account["extra"] == {"nan": None, "direction": "LONG"}
    assert "noise on descriptor 1" in result.stderr
    assert hashes(home) == before


def test_a_home_that_is_not_there_is_one_line(environment: dict[str, str], home: Path) -> None:
    environment["HOME"] = environment["USERPROFILE"] = str(home / "gone")
    result = door(environment, home, "--json", "--seconds", "0")
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert "gone" in line


def test_demo_without_gui_prints_plain_lines_into_a_pipe(environment: dict[str, str], home: Path) -> None:
    result = door(environment, home, "--demo", "--no-gui", "--seconds", "2.5")

    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("【模拟】")
    assert any(line.startswith("行情 代码=IBM.SMART") for line in lines)
    assert any("买入 IBM.SMART 已全部成交" in line for line in lines)
    assert "noise" not in result.stdout


def test_window_of_the_demo_opens_and_ends_by_itself(environment: dict[str, str], home: Path) -> None:
    pytest.importorskip("PySide6.QtWidgets", reason="Qt's system libraries are missing", exc_type=ImportError)
    before = hashes(home)
    result = door(environment, home, "--demo", "--seconds", "3")

    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert "演示" in result.stderr
    assert hashes(home) == before


def test_terminal_is_chosen_where_qt_finds_no_screen(environment: dict[str, str], home: Path) -> None:
    environment["QT_QPA_PLATFORM"] = "no-such-platform"
    result = door(environment, home, "--demo", "--seconds", "0")

    assert result.returncode == 0, result.stderr
    assert sum("无法打开窗口，改用终端" in line for line in result.stderr.splitlines()) == 1
    assert result.stdout.startswith("【模拟】")


@posix_only
@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (signal.SIGINT, ["--demo"]),  # vn.py's RPC, one of the window's apps, takes Ctrl-C for itself
        (signal.SIGTERM, ["--demo"]),
        (signal.SIGINT, ["--demo", "--json"]),
        (signal.SIGTERM, ["--demo", "--no-gui"]),
    ],
)
def test_a_signal_ends_it_cleanly(
    environment: dict[str, str], home: Path, tmp_path: Path, arguments: list[str], number: signal.Signals
) -> None:
    environment["TMPDIR"] = str(tmp_path)
    with subprocess.Popen(
        [*DOOR, *arguments], env=environment, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if b"DEMO" in line:  # the script trades, so everything is up
                break
        child.send_signal(number)
        _, stderr = child.communicate(timeout=6)

    assert child.returncode == 0, stderr.decode()
    assert b"Traceback" not in stderr
    assert list(tmp_path.glob("vnpy-demo-*")) == []


@posix_only
def test_a_reader_that_goes_away_ends_it_cleanly(environment: dict[str, str], home: Path) -> None:
    with subprocess.Popen(
        [*DOOR, "--demo", "--json"], env=environment, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["event"] == "log"
        child.stdout.close()
        child.stdout = None
        _, stderr = child.communicate(timeout=DEADLINE_S)

    assert child.returncode == 0, stderr.decode()
    assert b"Traceback" not in stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--bogus"], "--bogus"),
        (["--gateway", "FUTU"], "FUTU"),
        (["--seconds", "soon"], "soon"),
        (["--seconds", "-1"], "-1"),
        (["--data", "nowhere"], "nowhere"),
        (["--settings", "missing.json"], "missing.json"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(
    environment: dict[str, str], home: Path, arguments: list[str], named: str
) -> None:
    result = door(environment, home, *arguments)

    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert named in result.stderr


@pytest.mark.parametrize(
    "text",
    ['{"VBROKERS": {"交易密码": "s3cret"', '{"FUTU": {"交易密码": "s3cret"}}', '["s3cret"]', '{"VBROKERS": "s3cret"}'],
)
def test_a_bad_settings_file_is_one_line_without_its_secrets(
    environment: dict[str, str], home: Path, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text, encoding="utf-8")
    result = door(environment, home, "--no-gui", "--settings", str(file))

    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert str(file) in result.stderr
    assert "s3cret" not in result.stdout + result.stderr


def test_the_demo_refuses_another_environment(environment: dict[str, str], home: Path, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"VBROKERS": {"环境": "实盘"}}', encoding="utf-8")
    result = door(environment, home, "--demo", "--json", "--settings", str(file))

    assert result.returncode == 2
    assert "--demo" in result.stderr.splitlines()[-1]
    assert all(event["event"] == "log" for event in events(result.stdout))


def test_a_gateway_that_raises_costs_a_line_and_no_secret(
    environment: dict[str, str], home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"VBROKERS": {"环境": "测试环境", "交易密码": "raise"}}', encoding="utf-8")
    result = door(environment, home, "--json", "--settings", str(file), "--seconds", "1")

    assert result.returncode == 0
    errors = [event for event in events(result.stdout) if event["event"] == "log" and event["level"] == "ERROR"]
    assert [event["gateway"] for event in errors] == ["VBROKERS"]
    assert "交易密码" not in result.stdout + result.stderr


def test_settings_written_by_notepad_are_read(environment: dict[str, str], home: Path, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"VBROKERS": {"环境": "测试环境"}}', encoding="utf-8-sig")
    result = door(environment, home, "--json", "--settings", "settings.json", "--seconds", "1")

    assert result.returncode == 0, result.stderr
    assert any(event.get("msg") == "已连接" for event in events(result.stdout))


def test_a_database_zone_that_differs_is_named_beside_the_systems(environment: dict[str, str], home: Path) -> None:
    setting = home / ".vntrader" / "vt_setting.json"
    setting.write_text('{"database.timezone": "Asia/Shanghai"}', encoding="utf-8")
    environment["TZ"] = "America/New_York"
    result = door(environment, home, "--no-gui", "--seconds", "0")

    assert result.returncode == 0, result.stderr
    warnings = [line for line in result.stderr.splitlines() if "Asia/Shanghai" in line]
    assert len(warnings) == 1
    assert "America/New_York" in warnings[0]


def test_headless_modes_load_no_qt(environment: dict[str, str], home: Path) -> None:
    code = (
        "import sys; from tests.door_fake import main; sys.argv[1:] = ['--demo', '--json', '--seconds', '1'];"
        "code = main();"
        "sys.exit(code or any(name.split('.')[0] == 'PySide6' for name in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=home, capture_output=True, timeout=DEADLINE_S
    )
    assert result.returncode == 0, result.stderr.decode()


def test_help_is_on_stdout() -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "--help"], capture_output=True, text=True, encoding="utf-8", timeout=20
    )
    assert result.returncode == 0
    for option in ("--demo", "--no-gui", "--json", "--gateway", "--settings", "--data", "--seconds", "--rpc", "--keys"):
        assert option in result.stdout
