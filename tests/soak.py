"""A soak: orders without end, with random faults and without, and what is left of them in memory.

Run as ``python -m tests.soak --gateway IBKR --minutes 30``. Two children run beside each other, the same orders, one
of them under random faults; each prints a line of JSON, and the last line is the verdict. What must hold: the engine
equals the broker's ``/state`` at the end; each order costs at most 2 kB beyond what vn.py's own order management keeps
of it; a reconnect costs nothing that stays; threads and sockets are back where they began.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PER_ORDER = 2048
"""Bytes that an order may cost here."""
PER_RECONNECT = 1024
"""Bytes that may stay of a reconnect: what is measured is noise below this."""
WARM_UP = 50
"""Orders before the first measurement: caches fill, modules load."""
WORKING_MOST = 40
SAMPLES = 20


def fault_of(dice: random.Random, broker: str) -> list[dict[str, Any]]:
    """One moment of bad luck."""
    faults: dict[str, list[list[dict[str, Any]]]] = {
        "vbrokers": [
            [{"do": "drop"}],
            [{"do": "restart", "for_s": 0.3}],
            [{"do": "expire"}],
            [{"do": "lose_reply"}],
            [{"do": "delay", "ms": 400, "times": 3}],
            [{"do": "push", "mode": dice.choice(["duplicate", "reorder", "late", "lose", "before_reply"]), "times": 4}],
            [{"do": "garbage"}],
            [{"do": "http_status", "code": 500}],
            [{"do": "stall", "for_s": 0.5}],
        ],
        "tws": [
            [{"do": "drop"}],
            [{"do": "restart", "for_s": 0.3}],
            [{"do": "refuse", "for_s": 0.4}, {"do": "drop"}],
            [{"do": "notice", "code": 1100}, {"do": "notice", "code": 1102, "when": {"after_s": 0.3}}],
            [{"do": "push", "mode": dice.choice(["duplicate", "reorder", "late", "lose", "before_reply"]), "times": 4}],
            [{"do": "split", "times": 5}],
            [{"do": "stall", "for_s": 0.5}],
        ],
    }
    return [{"broker": broker, **fault} for fault in dice.choice(faults[broker])]


def open_sockets() -> int:
    """Return how many sockets this process has open; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        return 0
    count = 0
    for link in folder.iterdir():
        try:
            count += os.readlink(link).startswith("socket:")
        except FileNotFoundError:  # the listing's own descriptor
            continue
    return count


def traced(samples: int = 1) -> int:
    """Return the bytes in use: the least of some samples, since a reading of the lists may be under way."""
    least = sys.maxsize
    for _sample in range(samples):
        gc.collect()
        least = min(least, tracemalloc.get_traced_memory()[0])
        threading.Event().wait(0.15 if samples > 1 else 0)
    return least


def run(gateway_name: str, seconds: float, faults: bool, rate: float) -> dict[str, Any]:
    """One engine beside one broker in a process of its own; what was measured."""
    # Imported here: vn.py looks for its folder when it is imported.
    from vnpy.event import Event, EventEngine
    from vnpy.trader.constant import Direction, Exchange, OrderType, Status
    from vnpy.trader.engine import MainEngine, OmsEngine
    from vnpy.trader.event import EVENT_LOG, EVENT_ORDER, EVENT_TRADE
    from vnpy.trader.object import OrderRequest

    import brokersim
    from tests.harness import Rig
    from tests.ib_harness import IbRig

    kind: type[Rig] = {"VBROKERS": Rig, "IBKR": IbRig}[gateway_name]
    dice = random.Random(7)
    with brokersim.running(vbrokers=gateway_name == "VBROKERS", tws=gateway_name == "IBKR", process=True) as sim:
        rig = kind(start=False)
        rig.sim = sim
        threads, sockets = threading.active_count(), open_sockets()
        rig._stack.__enter__()
        rig.event_engine = EventEngine()
        rig.main = MainEngine(rig.event_engine)
        ready, counts = threading.Event(), {"reconnects": 0, "lines": 0}

        def on_log(event: Event) -> None:
            counts["lines"] += 1
            counts["reconnects"] += "已恢复" in event.data.msg
            if "合约信息查询成功" in event.data.msg:
                ready.set()

        rig.event_engine.register(EVENT_LOG, on_log)
        rig.gateway = rig.add(rig.name)
        rig.main.connect(rig.setting(), rig.name)
        assert ready.wait(30)
        sim.pause()
        sim.quote("IBM.SMART", last=100, bid="99.99", ask="100.01", bid_size=10**6, ask_size=10**6)

        orders = 0

        def send() -> None:
            nonlocal orders
            direction = Direction.LONG if orders % 2 else Direction.SHORT
            price = 100 + (0.5 if direction is Direction.LONG else -0.5) * (1 if dice.random() < 0.7 else -1)
            request = OrderRequest(
                "IBM", Exchange.SMART, direction, OrderType.LIMIT, dice.choice([1, 2, 5]), price, reference="soak"
            )
            rig.main.send_order(request, rig.name)
            orders += 1
            working = rig.main.get_all_active_orders()
            for order in working[: max(0, len(working) - WORKING_MOST)]:
                if order.status is not Status.SUBMITTING:
                    rig.main.cancel_order(order.create_cancel_request(), rig.name)

        def calm() -> list[str]:
            """Wait until the engine equals the broker; return what differs in the end."""
            end = time.monotonic() + 60
            wrong = ["?"]
            while wrong and time.monotonic() < end:
                wrong = [line for line in differences(rig) if "trade" not in line]
                pause.wait(0.2)
            return wrong

        pause = threading.Event()
        # Shares to sell: VBrokers lends none.
        rig.main.send_order(OrderRequest("IBM", Exchange.SMART, Direction.LONG, OrderType.LIMIT, 2000, 100.5), rig.name)
        for _warming in range(WARM_UP):
            send()
            pause.wait(1 / rate)
        calm()
        tracemalloc.start()
        before, first, began = traced(SAMPLES), orders, time.monotonic()
        next_fault = began + 2
        while time.monotonic() - began < seconds:
            send()
            pause.wait(1 / rate)
            if faults and time.monotonic() > next_fault:
                sim.faults(fault_of(dice, rig.broker))
                next_fault = time.monotonic() + dice.uniform(1, 5)
        sim.clear_faults()
        wrong = calm()
        grown, counted = traced(SAMPLES) - before, orders - first

        trades = rig.main.get_all_trades()
        told = rig.main.get_all_orders()[-counted:], trades[len(trades) - (len(trades) * counted) // max(1, orders) :]
        rig.main.close()
        rig._stack.close()
        # The same orders and trades in vn.py's own order management alone, now that nothing else runs.
        oms = OmsEngine(rig.main, EventEngine())
        base = traced()
        for order in told[0]:
            oms.process_order_event(Event(EVENT_ORDER, deepcopy(order)))
        for trade in told[1]:
            oms.process_trade_event(Event(EVENT_TRADE, deepcopy(trade)))
        vnpys = traced() - base
        tracemalloc.stop()
        deadline = time.monotonic() + 10
        while (threading.active_count() > threads or open_sockets() > sockets) and time.monotonic() < deadline:
            pause.wait(0.1)
        return {
            "gateway": gateway_name,
            "faults": faults,
            "orders": counted,
            "bytes_per_order": round((grown - vnpys) / max(1, counted)),
            "vnpy_bytes_per_order": round(vnpys / max(1, counted)),
            "grown": grown - vnpys,
            "reconnects": counts["reconnects"],
            "log_lines": counts["lines"],
            "threads_left": threading.active_count() - threads,
            "sockets_left": open_sockets() - sockets,
            "differences": wrong[:5],
        }


def differences(rig: Any) -> list[str]:
    """How the engine differs from the broker, trades apart: nothing here records them as events."""
    from tests import harness

    truth = rig.truth()
    return [
        *harness._compare("order", rig._engine_orders(), harness._orders(truth)),
        *harness._compare("position", rig._engine_positions(), harness._positions(truth)),
        *harness._compare("account", rig._engine_accounts(), harness._accounts(truth)),
    ]


def child(arguments: argparse.Namespace, faults: bool) -> dict[str, Any]:
    """Run one half of the soak in a process and a vn.py folder of its own."""
    with tempfile.TemporaryDirectory(prefix="soak-") as home:
        folder = Path(home) / ".vntrader"
        folder.mkdir()
        (folder / "vt_setting.json").write_text('{"log.console": false, "log.file": false}', encoding="utf-8")
        limits = {"orders_per_second": 200, "orders_per_day": 10**6, "list_reads_per_second": 50}
        (folder / "broker_limits.json").write_text(json.dumps(limits), encoding="utf-8")
        command = [sys.executable, "-m", "tests.soak", "--child", "--gateway", arguments.gateway]
        command += ["--minutes", str(arguments.minutes), "--rate", str(arguments.rate), *["--faults"] * faults]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "LANGUAGE": "zh_CN"}
        done = subprocess.run(
            command, cwd=home, env=environment, capture_output=True, timeout=arguments.minutes * 60 + 600, check=False
        )
    if done.returncode:
        raise SystemExit(done.stderr.decode()[-3000:])
    result: dict[str, Any] = json.loads(done.stdout.decode().strip().splitlines()[-1])
    return result


def verdict(plain: dict[str, Any], faulty: dict[str, Any]) -> list[str]:
    """Return what does not hold."""
    wrong = []
    for result in (plain, faulty):
        name = "with faults" if result["faults"] else "without faults"
        if result["bytes_per_order"] > PER_ORDER:
            wrong.append(f"{name}: {result['bytes_per_order']} bytes per order")
        wrong += [f"{name}: {line}" for line in result["differences"]]
        wrong += [f"{name}: {result[what]} {what}" for what in ("threads_left", "sockets_left") if result[what] > 0]
    rate = plain["bytes_per_order"]
    extra = faulty["grown"] - rate * faulty["orders"]
    if faulty["reconnects"] and extra / faulty["reconnects"] > PER_RECONNECT:
        wrong.append(f"{extra / faulty['reconnects']:.0f} bytes stay of each reconnect")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--gateway", choices=("VBROKERS", "IBKR"), default="IBKR")
    parser.add_argument("--minutes", type=float, default=30, help="of each of the two runs")
    parser.add_argument("--rate", type=float, default=5, help="orders a second")
    parser.add_argument("--faults", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(run(arguments.gateway, arguments.minutes * 60, arguments.faults, arguments.rate)))
        return 0
    with ThreadPoolExecutor(2) as pool:
        plain, faulty = pool.map(lambda faults: child(arguments, faults=faults), (False, True))
    print(json.dumps(plain))
    print(json.dumps(faulty), flush=True)
    wrong = verdict(plain, faulty)
    print(json.dumps({"holds": not wrong, "wrong": wrong}))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
