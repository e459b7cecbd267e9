"""A server and clients as processes: ``run.py --rpc``, and :mod:`tests.rpc_client_child`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty, Queue
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlsplit

import vnpy.trader.utility

from brokersim.client import Simulation
from tests.harness import DEADLINE
from tests.ib_harness import ACCOUNT
from tests.rpc_desk import NAMES, READY, View, differences, simulated
from vnpy_brokers.rpc.gateway import PUBLISH_KEY, REPLY_KEY

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 30.0
T = TypeVar("T")


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens at."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _each in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def until(found: Callable[[], T | None], what: str, deadline: float = DEADLINE) -> T:
    """The first true answer of something that other processes are asked again and again."""
    end = monotonic() + deadline
    pause = threading.Event()
    while True:
        answer = found()
        if answer:
            return answer
        if monotonic() > end:
            raise AssertionError(f"not within {deadline:g} s: {what}")
        pause.wait(0.05)


class Process:
    """A child whose stdout is JSON lines."""

    def __init__(self, command: Sequence[str], home: Path, language: str) -> None:
        (home / ".vntrader").mkdir(parents=True, exist_ok=True)
        settings = {"database.timezone": "Asia/Shanghai", "log.console": False, "log.file": False}
        (home / ".vntrader" / "vt_setting.json").write_text(json.dumps(settings), encoding="utf-8")
        limits = Path(vnpy.trader.utility.TEMP_DIR) / "broker_limits.json"
        (home / ".vntrader" / "broker_limits.json").write_bytes(limits.read_bytes())
        environment = dict(os.environ)
        for name in ("LANG", "LC_ALL", "LC_MESSAGES", "LANGUAGE", "VNPY_TESTS_FOLDER", "COVERAGE_PROCESS_START"):
            environment.pop(name, None)
        environment |= {
            "PYTHONPATH": str(ROOT),
            "LANGUAGE": language,
            "LANG": f"{language}.UTF-8",
            "TZ": "Asia/Shanghai",
        }
        environment |= {"HOME": str(home), "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
        self.errors = (home / "stderr.txt").open("ab")
        self.process = subprocess.Popen(
            [*command], cwd=home, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors
        )
        self.home = home
        self.lines: Queue[dict[str, Any] | None] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def next(self, deadline: float = PATIENCE_S) -> dict[str, Any]:
        """The next line. Fails in words where none comes."""
        try:
            line = self.lines.get(timeout=deadline)
        except Empty:
            line = None
        if line is None:
            raise AssertionError(f"{self.home.name} says no more:\n{self.said()[-3000:]}")
        return line

    def said(self) -> str:
        """Its stderr."""
        return (self.home / "stderr.txt").read_text("utf-8", "replace")

    def kill(self) -> None:
        """End it at whatever instruction it is."""
        self.process.kill()
        self._wait()

    def end(self) -> None:
        """Close its stdin, or kill it when that is not enough."""
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._wait()

    def _wait(self) -> None:
        self.process.wait(10)
        self._reader.join(5)
        for file in (self.process.stdin, self.process.stdout, self.errors):
            if file is not None:
                try:
                    file.close()
                except BrokenPipeError:  # a command was never read
                    continue


class ServerProcess(Process):
    """``run.py --json --rpc`` on a simulator; its events are collected by kind."""

    def __init__(
        self,
        sim: Simulation,
        home: Path,
        ports: tuple[int, int],
        *options: str,
        host: str = "127.0.0.1",
        language: str = "en_US",
        prefix: Sequence[str] = (),
        names: Sequence[str] = NAMES,
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        (home / "settings.json").write_text(json.dumps(broker_settings(sim, names)), encoding="utf-8")
        reply, publish = (f"tcp://{host}:{port}" for port in ports)
        self.setting = {REPLY_KEY: reply, PUBLISH_KEY: publish}
        command = [*prefix, sys.executable, str(ROOT / "run.py"), "--json", "--rpc", "--rep", reply, "--pub", publish]
        command += ["--settings", str(home / "settings.json"), "--gateway", *names, *options]
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.news = threading.Condition()
        super().__init__(command, home, language)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            with self.news:
                self.events.setdefault(event["event"], []).append(event)
                self.news.notify_all()
        with self.news:
            self.news.notify_all()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Its events of one kind so far."""
        with self.news:
            return list(self.events.get(kind, []))

    def wait_ready(self, names: Sequence[str] = NAMES) -> ServerProcess:
        """Wait until its gateways have said so."""

        def ready() -> bool:
            # The fields of a finished reconciliation are told in any language by the gateway's own report line.
            told = {log["gateway"] for log in self.of("log") if log["msg"] in READY_LINES}
            assert self.process.poll() is None, self.said()[-3000:]
            return told >= set(names)

        until(ready, "the server's gateways ready", PATIENCE_S)
        return self

    def ticks(self, vt_symbol: str) -> list[list[Any]]:
        """The ticks of a symbol that its engine had, as a client's are told."""
        from datetime import datetime

        return [
            [
                datetime.fromisoformat(tick["datetime"]).timestamp(),
                *(tick[name] for name in ("last_price", "volume", "bid_price_1", "ask_price_1")),
            ]
            for tick in self.of("tick")
            if tick["vt_symbol"] == vt_symbol
        ]

    def interrupt(self) -> int:
        """Ctrl-C; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        self._wait()
        return code

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._wait()


READY_LINES = (READY, "Contract query finished")


class ClientProcess(Process):
    """A client that does what it is told."""

    def __init__(self, home: Path, *, language: str = "zh_CN", prefix: Sequence[str] = ()) -> None:
        super().__init__([*prefix, sys.executable, "-m", "tests.rpc_client_child"], home, language)
        assert self.next() == {"ready": True}

    def do(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Carry out a command and return its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.next()
        assert "failed" not in answer, answer["failed"]
        return answer

    def connect(self, setting: Mapping[str, Any]) -> ClientProcess:
        self.do("connect", setting=dict(setting))
        return self

    def send(self, name: str, vt_symbol: str, direction: str, volume: float, price: float, type: str = "LIMIT") -> str:
        return str(
            self.do("send", name=name, vt_symbol=vt_symbol, direction=direction, volume=volume, price=price, type=type)[
                "id"
            ]
        )

    def wait_order(self, vt_orderid: str, *statuses: str, deadline: float = DEADLINE) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            order = self.do("order", id=vt_orderid)
            return order if order.get("status") in statuses else None

        try:
            return until(found, f"{vt_orderid} in {statuses}", deadline)
        except AssertionError as error:
            lines = "\n".join(self.do("log")["lines"][-20:])
            raise AssertionError(f"{error}; it is {self.do('order', id=vt_orderid)}\n{lines}") from None

    def wait_equal(self, sim: Simulation, deadline: float = PATIENCE_S) -> None:
        last: list[str] = []

        def equal() -> bool:
            shown: View = self.do("view")["view"]
            last[:] = differences(shown, sim)
            return not last

        try:
            until(equal, "the client equal to /state", deadline)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *last, *self.do("log")["lines"][-15:]])) from None


def broker_settings(sim: Simulation, names: Sequence[str] = NAMES) -> dict[str, Any]:
    """Connect settings of both gateways on a simulator."""
    url, push = urlsplit(sim.vbrokers_url or ""), (sim.push_address or ":0").rpartition(":")
    host, _colon, port = (sim.tws_address or ":0").rpartition(":")
    settings: dict[str, Any] = {
        "VBROKERS": {"环境": "测试环境", "地址": url.hostname, "端口": url.port, "推送端口": int(push[2])},
        "IBKR": {"环境": "模拟盘", "TWS地址": host, "TWS端口": int(port), "客户号": 1, "交易账户": ACCOUNT},
    }
    settings["VBROKERS"] |= {"交易密码": "123456", "市场": "港股+美股+A股通"}
    return {name: settings[name] for name in names}


@contextmanager
def processes(
    folder: Path, clients: int, *options: str, **simulator: Any
) -> Iterator[tuple[ServerProcess, list[ClientProcess], Simulation]]:
    """A server process with both gateways ready, and client processes that are connected."""
    with ExitStack() as stack:
        sim = stack.enter_context(simulated(**simulator))
        server = ServerProcess(sim, folder / "server", tuple(free_ports(2)), *options)  # type: ignore[arg-type]  # two
        stack.callback(server.end)
        made = []
        for number in range(clients):
            client = ClientProcess(folder / f"client{number}")
            stack.callback(client.end)
            made.append(client)
        server.wait_ready()
        for client in made:
            client.connect(server.setting)
        yield server, made, sim
