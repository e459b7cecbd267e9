"""How long VN Trader's window stands still: idle, while the broker hangs, under 200 symbols, and under 2,000 contracts.

    python benchmarks/gui_stalls.py [--seconds 2] [--rounds 6]

A timer of the window's own thread fires every 5 ms and notes how late it is; a second thread, when the timer is
overdue, looks at what the window's thread is doing. All phases run in one process, one after the other, again and
again, so that what the machine does beside is in all of them. One JSON line comes last: the 99th percentile of the
lateness (ms) of each phase, the median over the rounds; its ratio to the idle window's of the same round, likewise; the
share of a processor that the window's thread took; and the stalls with a frame of ours on top. On a loaded machine a
thread that merely waits for a processor looks like one that works: the shares tell the two apart.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from PySide6 import QtWidgets

    from brokersim.client import Simulation
    from vnpy_brokers.trader import TraderEngine
    from vnpy_brokers.window import TraderWindow

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("vnpy_brokers", "vnpy_brokerkit", "vnpy_vbrokers", "vnpy_ibkr")
OURS = tuple(str(ROOT / package) + os.sep for package in PACKAGES)
PERIOD_S = 0.005
STALL_S = 0.020
"""Overdue by more than this is a stall, whose stack is looked at: a frame of a film takes as long."""
ROUNDS = 6
SYMBOLS = 200
TICKS_A_SECOND = 2 * SYMBOLS
CONTRACTS = 2000
BATCH_S = 0.02


class Watch:
    """Notes how late the window's thread is, and where it stands when it is. To be made and used in that thread."""

    def __init__(self) -> None:
        from PySide6 import QtCore

        self.rounds: defaultdict[str, list[list[float]]] = defaultdict(list)
        """Seconds of lateness by phase and round."""
        self.shares: defaultdict[str, list[float]] = defaultdict(list)
        self.stacks: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._phase = ""
        self._window_thread = threading.get_ident()
        self._due = time.perf_counter() + PERIOD_S
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._fire)
        self._timer.start(int(PERIOD_S * 1000))
        self._end = threading.Event()
        self._looker = threading.Thread(target=self._look, name="looker", daemon=True)
        self._looker.start()

    def phase(self, name: str, live: Callable[[], object]) -> None:
        """Watch while ``live`` runs the window."""
        self.rounds[name].append([])
        self._due = time.perf_counter() + PERIOD_S
        self._phase = name
        began, used = time.perf_counter(), time.thread_time()
        live()
        self._phase = ""
        self.shares[name].append((time.thread_time() - used) / (time.perf_counter() - began))

    def _fire(self) -> None:
        now = time.perf_counter()
        if self._phase:
            self.rounds[self._phase][-1].append(max(0.0, now - self._due))
        self._due = now + PERIOD_S

    def _look(self) -> None:
        seen = 0.0
        while not self._end.wait(STALL_S / 4):
            due, phase = self._due, self._phase
            if phase and time.perf_counter() - due > STALL_S and due != seen:
                seen = due
                self.stacks[phase][_top(sys._current_frames().get(self._window_thread))] += 1

    def close(self) -> None:
        self._timer.stop()
        self._end.set()
        self._looker.join()

    def p99s(self, phase: str) -> list[float]:
        """The 99th percentile of the lateness in each round, in seconds."""
        return [quantiles(late, n=100)[98] if len(late) > 1 else 0.0 for late in self.rounds[phase]]

    def p99_ms(self, phase: str) -> float:
        """The same in milliseconds, the median over the rounds."""
        return median(self.p99s(phase)) * 1000

    def ratio(self, phase: str, to: str) -> float:
        """How much later than in another phase of the same round, the median over the rounds."""
        return median(p99 / max(base, 1e-9) for p99, base in zip(self.p99s(phase), self.p99s(to), strict=True))

    def worst_ms(self, phase: str) -> float:
        """The longest stall."""
        return max((max(late, default=0.0) for late in self.rounds[phase]), default=0.0) * 1000

    def ours(self) -> list[str]:
        """Stalls with a frame of the product on top of the window's stack."""
        return sorted(f"{phase}: {top}" for phase, tops in self.stacks.items() for top in tops if top.startswith(OURS))


def _top(frame: FrameType | None) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}" if frame else "?"


@contextmanager
def _window() -> Iterator[tuple[TraderWindow, TraderEngine, Simulation, QtWidgets.QApplication]]:
    """VN Trader with both gateways connected to a simulator, the quotes standing still."""
    from vnpy.event import EventEngine
    from vnpy.trader.ui import create_qapp

    import brokersim
    from vnpy_brokers.trader import TraderEngine
    from vnpy_brokers.window import TraderWindow

    hook = sys.excepthook
    qapp = create_qapp()
    sys.excepthook = hook
    with brokersim.running(process=True, vbrokers=True, tws=True) as sim:
        sim.pause()
        engine = TraderEngine(EventEngine())
        engine.add_gateways(["VBROKERS", "IBKR"])
        window = TraderWindow(engine, demo=True)
        window.resize(1600, 1000)
        window.show()
        try:
            url, push = urlsplit(sim.vbrokers_url or ""), (sim.push_address or ":0").rpartition(":")[2]
            host, _colon, port = (sim.tws_address or ":0").rpartition(":")
            settings: dict[str, dict[str, Any]] = {
                "VBROKERS": {"环境": "测试环境", "端口": url.port, "推送端口": push, "交易密码": "123456"},
                "IBKR": {"环境": "模拟盘", "TWS地址": host, "TWS端口": port, "交易账户": "DU1000001"},
            }
            engine.connect_all(settings)
            _wait(qapp, lambda: len({a.gateway_name for a in engine.get_all_accounts()}) == 2, 30)
            _run(qapp, 3)
            yield window, engine, sim, qapp
        finally:
            window.close_unasked()
            qapp.processEvents()


def _run(qapp: QtWidgets.QApplication, seconds: float) -> None:
    """Let the window live for so long."""
    from PySide6 import QtCore

    loop = QtCore.QEventLoop()
    QtCore.QTimer.singleShot(int(seconds * 1000), loop.quit)
    loop.exec()


def _wait(qapp: QtWidgets.QApplication, true: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise SystemExit("the gateways did not connect")
        _run(qapp, 0.1)


def _well(engine: TraderEngine) -> bool:
    from vnpy_brokerkit.async_gateway import AsyncGateway
    from vnpy_brokerkit.health import Lamp

    gateways = [gateway for gateway in engine.gateways.values() if isinstance(gateway, AsyncGateway)]
    return all(gateway.health().lamp is Lamp.GOOD for gateway in gateways)


class Feeder:
    """Ticks of many symbols at a steady rate, from a thread as a gateway's are."""

    def __init__(self, engine: TraderEngine) -> None:
        self._gateway = engine.gateways["VBROKERS"]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="feeder", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        number = 0
        while not self._end.wait(BATCH_S):
            for _tick in range(round(TICKS_A_SECOND * BATCH_S)):
                number += 1
                self._gateway.on_tick(_tick_of(number))

    def close(self) -> None:
        self._end.set()
        self._thread.join()


def _tick_of(number: int) -> Any:
    from vnpy.trader.constant import Exchange
    from vnpy.trader.object import TickData

    from vnpy_brokerkit.clock import SystemClock

    tick = TickData("VBROKERS", f"{number % SYMBOLS:05}", Exchange.SEHK, SystemClock().now(), volume=number)
    tick.last_price = tick.bid_price_1 = tick.ask_price_1 = 100 + number % 97 / 100
    tick.bid_volume_1 = tick.ask_volume_1 = number % 1000
    return tick


def _contracts(engine: TraderEngine, first: int) -> threading.Thread:
    from vnpy.trader.constant import Exchange, Product
    from vnpy.trader.object import ContractData

    gateway = engine.gateways["VBROKERS"]

    def load() -> None:
        for number in range(first, first + CONTRACTS):
            made = ContractData("VBROKERS", f"{number:06}", Exchange.SEHK, f"名称{number}", Product.EQUITY, 1, 0.01)
            gateway.on_contract(made)

    thread = threading.Thread(target=load, name="contracts", daemon=True)
    thread.start()
    return thread


def measure(seconds: float, rounds: int = ROUNDS) -> dict[str, Any]:
    """Run all phases and return what the last line says; ``seconds`` for each phase of each round."""
    from PySide6 import QtCore
    from vnpy.trader.ui.widget import ContractManager

    from vnpy_brokers.contract_finder import ContractFinder

    with _window() as (window, engine, sim, qapp):
        watch = Watch()

        def live() -> None:
            _run(qapp, seconds)

        window.open_widget(ContractManager, "contract")
        finder = window.widgets["contract"]
        assert isinstance(finder, ContractFinder)
        for turn in range(rounds):
            watch.phase("idle", live)
            feeder = Feeder(engine)
            watch.phase("ticks", live)
            feeder.close()
            _run(qapp, 0.5)
            loader = _contracts(engine, turn * CONTRACTS)
            QtCore.QTimer.singleShot(int(seconds * 500), finder.show_contracts)
            watch.phase("contracts", live)
            loader.join()
            sim.faults([{"broker": broker, "do": "stall", "for_s": seconds} for broker in ("vbrokers", "tws")])
            watch.phase("hang", live)
            _run(qapp, seconds)
            _wait(qapp, lambda: _well(engine), 60)  # what reconnecting costs belongs to no other phase
        watch.close()
        finder.close()
        p99 = {name: round(watch.p99_ms(name), 3) for name in watch.rounds}
        idle = p99.pop("idle")
        ratios = {name: round(watch.ratio(name, "idle"), 2) for name in p99}
        return {
            "benchmark": "gui_stalls",
            "idle_p99_ms": idle,
            "p99_ms": p99,
            "worst_ms": {name: round(watch.worst_ms(name), 1) for name in watch.rounds},
            "processor_share": {name: round(median(shares), 3) for name, shares in watch.shares.items()},
            "ratios": ratios,
            "ratio": max(ratios.values()),
            "stalls": sum(sum(tops.values()) for tops in watch.stacks.values()),
            "stalls_with_ours_on_top": watch.ours(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each phase of each of the rounds")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        (Path(folder) / ".vntrader").mkdir()
        os.chdir(folder)  # before anything of vn.py is imported
        (Path(folder) / ".vntrader" / "vt_setting.json").write_text('{"log.console": false}', "utf-8")
        line = measure(options.seconds, options.rounds)
        print(json.dumps(line, ensure_ascii=False))
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
