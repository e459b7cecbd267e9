"""The child process of 内置模拟: shared, counted, and gone without a trace.

A script of a few lines stands for the simulator; one test starts the real one.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from vnpy_brokerkit import embedded
from vnpy_brokerkit.embedded import Address, EmbeddedSimulator, temporary_folder
from vnpy_brokerkit.errors import ConnectionFailed

ROOT = Path(__file__).resolve().parent.parent
READY = (
    '{"ready": true, "vbrokers": "http://127.0.0.1:40001", "push": "127.0.0.1:40002", '
    '"tws": "127.0.0.1:40003", "control": null}'
)
# What a child writes down about itself, in a file of its own in the folder that is its first argument.
NOTE = """
import json, os, sys
note = {"pid": os.getpid(), "cwd": os.getcwd(), "argv": sys.argv[2:]}
if hasattr(os, "getsid"):
    note["leads its session"] = os.getsid(0) == os.getpid()
with open(os.path.join(sys.argv[1], f"{os.getpid()}.part"), "w") as file:
    json.dump(note, file)
os.replace(file.name, file.name.replace(".part", ".json"))
"""
SERVE = f"{NOTE}\nprint({READY!r}, flush=True)\nsys.stdin.read()\n"


class Venue:
    """Makes simulators out of scripts, ends them, and reads the notes of their children."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[EmbeddedSimulator] = []

    def simulator(self, script: str = SERVE, start_timeout: float = 20.0) -> EmbeddedSimulator:
        command = [sys.executable, "-c", script, str(self.folder)]
        self.made.append(EmbeddedSimulator(command, start_timeout=start_timeout))
        return self.made[-1]

    def notes(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text("utf-8")) for path in sorted(self.folder.glob("*.json"))]

    def pids(self) -> set[int]:
        return {note["pid"] for note in self.notes()}


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    venue = Venue(tmp_path)
    yield venue
    for simulator in venue.made:
        simulator.release("A")
        simulator.release("B")
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("brokersim")]


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.01)


def exists(pid: int) -> bool:
    """Whether the process is there, be it as a zombie."""
    if sys.platform == "win32":
        listed = subprocess.run(["tasklist", "/FO", "CSV"], capture_output=True, text=True, check=True)
        return f'"{pid}"' in listed.stdout
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def open_files() -> set[str]:
    folder = Path("/proc/self/fd")
    return set(os.listdir(folder)) if folder.exists() else set()


def test_the_endpoints_are_what_the_ready_line_says(venue: Venue) -> None:
    endpoints = venue.simulator().acquire("A")
    assert endpoints.vbrokers == Address("127.0.0.1", 40001)
    assert endpoints.vbrokers_url == "http://127.0.0.1:40001"
    assert endpoints.push == Address("127.0.0.1", 40002)
    assert endpoints.tws == Address("127.0.0.1", 40003)


def test_a_simulator_without_tws(venue: Venue) -> None:
    line = '{"ready": true, "vbrokers": "http://127.0.0.1:1", "push": "127.0.0.1:2"}'
    assert venue.simulator(f"import sys; print({line!r}, flush=True); sys.stdin.read()").acquire("A").tws is None


def test_one_child_for_all_until_the_last_leaves(venue: Venue) -> None:
    simulator = venue.simulator()
    assert simulator.acquire("A") == simulator.acquire("B") == simulator.acquire("A")
    (pid,) = venue.pids()
    simulator.release("A")
    simulator.release("A")
    assert exists(pid)
    simulator.release("B")
    assert not exists(pid)
    simulator.release("B")


def test_many_threads_get_one_child(venue: Venue) -> None:
    simulator = venue.simulator()
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(simulator.acquire, ["A", "B"] * 4))) == 1
    assert len(venue.pids()) == 1


def test_nothing_is_left_behind(venue: Venue) -> None:
    simulator = venue.simulator()
    temporary_folder()
    files, threads = open_files(), set(threading.enumerate())
    for _ in range(3):
        simulator.acquire("A")
        simulator.release("A")
    assert open_files() == files
    assert set(threading.enumerate()) == threads
    assert len(venue.pids()) == 3
    assert not [pid for pid in venue.pids() if exists(pid)]


def test_a_child_that_died_is_followed_by_another(venue: Venue) -> None:
    simulator = venue.simulator()
    files = open_files()
    simulator.acquire("A")
    (first,) = venue.pids()
    os.kill(first, 9)
    # It does not stay as a zombie, nor do its pipes, though nobody asked for it.
    wait_for(lambda: not exists(first) and open_files() == files)
    simulator.acquire("A")
    (second,) = venue.pids() - {first}
    assert exists(second)
    simulator.release("A")
    assert not exists(second)


def test_a_child_that_does_not_start_says_its_last_line(venue: Venue) -> None:
    simulator = venue.simulator("import sys; print('first', file=sys.stderr); sys.exit('no such folder: 数据')")
    with pytest.raises(ConnectionFailed, match="no such folder: 数据"):
        simulator.acquire("A")


def test_a_child_that_ends_without_a_word_says_its_code(venue: Venue) -> None:
    with pytest.raises(ConnectionFailed, match="3"):
        venue.simulator("raise SystemExit(3)").acquire("A")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed):
        EmbeddedSimulator([str(tmp_path / "missing")]).acquire("A")


ODD_LINES = ["hello", "[]", "{}", READY.replace("40001", "x"), READY.replace(":40002", ""), "[" * 4000]


@pytest.mark.parametrize("line", ODD_LINES)
def test_another_first_line_is_refused(venue: Venue, line: str) -> None:
    simulator = venue.simulator(f"{NOTE}\nprint({line!r}, flush=True)\nsys.stdin.read()")
    with pytest.raises(ConnectionFailed):
        simulator.acquire("A")
    (pid,) = venue.pids()
    assert not exists(pid)


def test_a_silent_child_is_given_up(venue: Venue) -> None:
    simulator = venue.simulator("import sys; sys.stdin.read()", start_timeout=0.1)
    with pytest.raises(ConnectionFailed, match=r"0\.1"):
        simulator.acquire("A")


def test_releasing_interrupts_a_start(venue: Venue) -> None:
    simulator = venue.simulator(f"{NOTE}\nsys.stdin.read()", start_timeout=60)
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(simulator.acquire, "A")
        wait_for(lambda: bool(venue.pids()))
        simulator.release("A")
        with pytest.raises(ConnectionFailed):
            starting.result(15)
    assert not [pid for pid in venue.pids() if exists(pid)]


def test_after_a_failed_start_the_other_owner_can_start_again(venue: Venue) -> None:
    flag = venue.folder / "works"
    simulator = venue.simulator(f"import os\nif not os.path.exists({str(flag)!r}): raise SystemExit(1)\n{SERVE}")
    with pytest.raises(ConnectionFailed):
        simulator.acquire("A")
    flag.touch()
    simulator.acquire("B")
    (pid,) = venue.pids()
    simulator.release("B")
    assert not exists(pid)


def test_a_child_that_does_not_listen_is_ended(venue: Venue) -> None:
    deaf = "import signal, threading\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    simulator = venue.simulator(f"{deaf}{NOTE}\nprint({READY!r}, flush=True)\nthreading.Event().wait()")
    simulator.acquire("A")
    (pid,) = venue.pids()
    began = time.monotonic()
    simulator.release("A")
    assert not exists(pid)
    assert time.monotonic() - began < 5


def test_a_talkative_child_is_never_stopped_by_a_full_pipe(venue: Venue) -> None:
    talk = "for stream in (sys.stdout, sys.stderr): stream.write('x' * 1_000_000 + '\\n' * 1000); stream.flush()"
    done = "open(os.path.join(sys.argv[1], 'talked'), 'w').close()"
    simulator = venue.simulator(f"{NOTE}\nprint({READY!r}, flush=True)\n{talk}\n{done}\nsys.stdin.read()")
    simulator.acquire("A")
    wait_for((venue.folder / "talked").exists)


def test_the_child_has_its_own_stdout_session_and_folder(venue: Venue, capfd: pytest.CaptureFixture[str]) -> None:
    simulator = venue.simulator()
    simulator.acquire("A", data=Path("some data"), speed=2.5)
    simulator.release("A")
    (note,) = venue.notes()
    assert note.get("leads its session", True) is True
    assert Path(note["cwd"]).samefile(temporary_folder())
    assert note["argv"] == ["--data", str(Path("some data").resolve()), "--speed", "2.5"]
    assert capfd.readouterr() == ("", "")


def test_configured_data_is_where_it_was_when_it_was_said(
    venue: Venue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    simulator = venue.simulator()
    monkeypatch.setattr(embedded, "SIMULATOR", simulator)
    monkeypatch.chdir(tmp_path)
    embedded.configure(Path("market"))
    monkeypatch.chdir(ROOT)
    simulator.acquire("A")
    simulator.release("A")
    embedded.configure(None)
    simulator.acquire("A")
    simulator.release("A")
    assert sorted(note["argv"] for note in venue.notes()) == [[], ["--data", str(tmp_path / "market")]]


def test_it_goes_with_a_process_that_does_not_release_it(venue: Venue) -> None:
    program = f"""
import sys
from pathlib import Path
from vnpy_brokerkit.embedded import EmbeddedSimulator, temporary_folder
EmbeddedSimulator([sys.executable, "-c", {SERVE!r}, {str(venue.folder)!r}]).acquire("A")
print(temporary_folder())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    (pid,) = venue.pids()
    assert not exists(pid)
    assert not Path(done.stdout.decode().strip()).exists()


def test_one_temporary_folder_which_is_ours_alone() -> None:
    with ThreadPoolExecutor(8) as pool:
        (folder,) = set(pool.map(lambda _: temporary_folder(), range(32)))
    assert folder.is_dir()
    if sys.platform != "win32":
        assert folder.stat().st_mode & 0o777 == 0o700


def test_the_real_simulator_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('a user\\'s file hides the standard library')")
    monkeypatch.chdir(tmp_path)
    simulator = EmbeddedSimulator()
    try:
        endpoints = simulator.acquire("A")
        listening = [endpoints.vbrokers, endpoints.push]
        for address in listening:
            socket.create_connection((address.host, address.port), 10).close()
    finally:
        simulator.release("A")
    for address in listening:
        with pytest.raises(OSError):
            socket.create_connection((address.host, address.port), 10)
