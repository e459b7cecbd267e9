"""How long VN Trader's window stands still: while the broker hangs, under 200 symbols, and under 2,000 contracts.

    python benchmarks/gui_stalls.py [--seconds 2] [--rounds 6] [--until-held]

A timer of the window's own thread fires every 5 ms and notes how late it is; a second thread, when the timer is long
overdue, looks at what the window's thread is doing. All phases run in one process, each right after an idle window of
the same length, again and again: what the machine does beside is in both. One JSON line comes last: the 99th percentile
of the lateness (ms) of each phase and its ratio to that of the idle window before it, medians over the rounds; the
share of a processor that the window's thread took; and the stalls with a frame of ours on top. On a loaded machine a
thread that merely waits for a processor looks like one that works: the shares tell the two apart.

It holds when no ratio is above 2 and no stall has a frame of ours on top, in one round or over all of them.
``--until-held`` ends after the first round after which it holds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple
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
STALL_S = 0.010
"""Overdue by more than this, and by more than twice what the idle window ever is, is a stall."""
MOST = 2.0
"""Times the idle window's 99th percentile."""
ROUNDS = 6
SYMBOLS = 200
TICKS_A_SECOND = 2 * SYMBOLS
CONTRACTS = 2000
BATCH_S = 0.02
SETTLE_S = 3.5
"""After the last tick: rows that were out of sight are drawn later."""


class Round(NamedTuple):
    """One phase and the idle window before it: 99th percentiles in seconds, and stalls with a frame of ours on top."""

    p99: float
    idle: float
    ours: list[str]

    @property
    def ratio(self) -> float:
        return self.p99 / max(self.idle, 1e-9)


class Watch:
    """Notes how late the window's thread is, and where it stands when it is. To be made and used in that thread."""

    def __init__(self) -> None:
        from PySide6 import QtCore

        self.rounds: defaultdict[str, list[Round]] = defaultdict(list)
        self.shares: defaultdict[str, list[float]] = defaultdict(list)
        self.worst: defaultdict[str, float] = defaultdict(float)
        """Seconds."""
        self.stalls = 0
        self._live = False
        self._late: list[float] = []
        self._seen: dict[float, str] = {}
        """By the time when the timer was due: what was on top of the stack when it was long overdue."""
        self._stalled: list[tuple[float, str]] = []
        self._window_thread = threading.get_ident()
        self._due = time.perf_counter() + PERIOD_S
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._fire)
        self._timer.start(int(PERIOD_S * 1000))
        self._end = threading.Event()
        self._looker = threading.Thread(target=self._look, name="looker", daemon=True)
        self._looker.start()

    def phase(self, name: str, idle: Callable[[], object], live: Callable[[], object]) -> None:
        """Watch while ``idle`` runs the window, then while ``live`` does."""
        base, _stalled = self._watch("idle", idle)
        p99, stalled = self._watch(name, live)
        self.stalls += len(stalled)
        least = max(STALL_S, MOST * base)
        ours = [f"{late * 1000:.0f} ms in {name}: {top}" for late, top in stalled if late > least]
        self.rounds[name].append(Round(p99, base, [line for line in ours if any(path in line for path in OURS)]))

    def _watch(self, name: str, live: Callable[[], object]) -> tuple[float, list[tuple[float, str]]]:
        self._late, self._seen, self._stalled = [], {}, []
        self._due = time.perf_counter() + PERIOD_S
        began, used = time.perf_counter(), time.thread_time()
        self._live = True
        live()
        self._live = False
        self.shares[name].append((time.thread_time() - used) / (time.perf_counter() - began))
        self.worst[name] = max(self.worst[name], *self._late)
        return quantiles(self._late, n=100)[98], self._stalled

    def _fire(self) -> None:
        now = time.perf_counter()
        if self._live:
            late = max(0.0, now - self._due)
            self._late.append(late)
            top = self._seen.pop(self._due, None)
            if top:
                self._stalled.append((late, top))
        self._due = now + PERIOD_S

    def _look(self) -> None:
        while not self._end.wait(STALL_S / 2):
            due = self._due
            if self._live and time.perf_counter() - due > STALL_S and due not in self._seen:
                self._seen[due] = _top(sys._current_frames().get(self._window_thread))

    def close(self) -> None:
        self._timer.stop()
        self._end.set()
        self._looker.join()

    def ours(self) -> list[str]:
        """Stalls with a frame of the product on top of the window's stack."""
        return [line for rounds in self.rounds.values() for one in rounds for line in one.ours]

    def held(self) -> bool:
        """Whether the newest round of every phase holds, or all of them together."""
        newest = [rounds[-1] for rounds in self.rounds.values()]
        return all(one.ratio <= MOST and not one.ours for one in newest) or (
            not self.ours() and max(self.ratios().values()) <= MOST
        )

    def ratios(self) -> dict[str, float]:
        """How much later than in the idle window before, the median over the rounds."""
        return {name: median(one.ratio for one in rounds) for name, rounds in self.rounds.items()}


def _top(frame: FrameType | None) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}" if frame else "?"


@contextmanager
def _window() -> Iterator[tuple[TraderWindow, TraderEngine, Simulation, QtWidgets.QApplication]]:
    """VN Trader with both gateways connected to a simulator, the quotes standing still."""
    from vnpy.event import EventEngine
    from vnpy.trader.ui import create_qapp

    import brokersim
    from vnpy_brokers.trader import TraderEngine
    from vnpy_brokers.window import TraderWindow, short_pauses

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
            with short_pauses():
                engine.connect_all(settings)
                _wait(qapp, lambda: len({a.gateway_name for a in engine.get_all_accounts()}) == 2, 30)
                _run(qapp, 5)
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


def _contracts(engine: TraderEngine, first: int) -> threading.Event:
    """Tell the engine contracts as the gateways do those that they have seen before; the event is set at the end."""
    from vnpy.trader.constant import Exchange, Product
    from vnpy.trader.object import ContractData

    from vnpy_brokerkit.async_gateway import AsyncGateway
    from vnpy_brokerkit.pacing import in_slices

    gateway = engine.gateways["VBROKERS"]
    assert isinstance(gateway, AsyncGateway)
    loaded = threading.Event()

    async def load() -> None:
        async for number in in_slices(range(first, first + CONTRACTS), gateway.clock):
            made = ContractData("VBROKERS", f"{number:06}", Exchange.SEHK, f"名称{number}", Product.EQUITY, 1, 0.01)
            gateway.on_contract(made)
        loaded.set()

    gateway.post(lambda: gateway.spawn(load(), "contracts"))
    return loaded


def measure(seconds: float, rounds: int = ROUNDS, *, until_held: bool = False) -> dict[str, Any]:
    """Run all phases and return what the last line says; ``seconds`` for each window, idle or not."""
    from PySide6 import QtCore
    from vnpy.trader.ui.widget import ContractManager

    from vnpy_brokers.contract_finder import ContractFinder

    with _window() as (window, engine, sim, qapp):
        watch = Watch()

        def live() -> None:
            _run(qapp, seconds)

        def ticks() -> None:
            feeder = Feeder(engine)
            live()
            feeder.close()

        def contracts() -> None:
            loaded = _contracts(engine, done * CONTRACTS)
            QtCore.QTimer.singleShot(int(seconds * 500), finder.show_contracts)
            live()
            assert loaded.wait(10)

        def hang() -> None:
            sim.faults([{"broker": broker, "do": "stall", "for_s": seconds} for broker in ("vbrokers", "tws")])
            live()

        window.open_widget(ContractManager, "contract")
        finder = window.widgets["contract"]
        assert isinstance(finder, ContractFinder)
        held = False
        done = 0
        while done < rounds and not (held and until_held):
            watch.phase("contracts", live, contracts)
            watch.phase("ticks", live, ticks)
            _run(qapp, SETTLE_S)
            watch.phase("hang", live, hang)
            _run(qapp, seconds)
            _wait(qapp, lambda: _well(engine), 60)  # what reconnecting costs belongs to no other phase
            done += 1
            held = held or watch.held()
        watch.close()
        finder.close()
        ratios = {name: round(ratio, 2) for name, ratio in watch.ratios().items()}
        return {
            "benchmark": "gui_stalls",
            "rounds": done,
            "idle_p99_ms": _ms(median(one.idle for all_of in watch.rounds.values() for one in all_of)),
            "p99_ms": {name: _ms(median(one.p99 for one in all_of)) for name, all_of in watch.rounds.items()},
            "worst_ms": {name: _ms(worst) for name, worst in watch.worst.items()},
            "processor_share": {name: round(median(shares), 3) for name, shares in watch.shares.items()},
            "ratios_by_round": {name: [round(one.ratio, 2) for one in all_of] for name, all_of in watch.rounds.items()},
            "ratios": ratios,
            "ratio": max(ratios.values()),
            "stalls": watch.stalls,
            "stalls_with_ours_on_top": watch.ours(),
            "held": held,
        }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each window of each of the rounds")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--until-held", action="store_true", help="end after the first round after which it holds")
    options = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        (Path(folder) / ".vntrader").mkdir()
        os.chdir(folder)  # before anything of vn.py is imported
        (Path(folder) / ".vntrader" / "vt_setting.json").write_text('{"log.console": false}', "utf-8")
        line = measure(options.seconds, options.rounds, until_held=options.until_held)
        print(json.dumps(line, ensure_ascii=False))
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
