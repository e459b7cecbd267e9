"""Ticks over RPC: our server and RemoteGateway beside plain vnpy_rpcservice, in one run, interleaved.

``python benchmarks/rpc.py [--clients 1 4 16] [--rounds 3]``

Each measurement is a server process with an engine and a gateway that makes quotes, and so many client processes with
an engine each; both kinds get the same ticks of the same symbols, and every client counts them in a handler of its own
event engine. Throughput: bursts of 200 ticks, the next one when every client has the last one whole (vn.py's service
loses what goes beyond its queue of 1,000 messages). Latency: 200 ticks a second, from before ``on_tick`` at the server
to the handler at the client, on one clock. Medians over the rounds; the last line is JSON, ``ratio`` the least of the
throughputs' ratios (ours / plain).
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

ROOT = Path(__file__).resolve().parent.parent
SYMBOLS = [f"S{number:02d}" for number in range(20)]
BURST = 200
BURSTS = {1: 50, 4: 30, 16: 12}
PACED, PACE_S = 400, 1 / 200
KINDS = ("plain", "ours")
PATIENCE_S = 90.0


# ---------------------------------------------------------------------- children


def say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


def serve(kind: str) -> None:
    """A server: makes ticks when it is told to."""
    from vnpy.event import EventEngine
    from vnpy.trader.constant import Exchange, Product
    from vnpy.trader.engine import MainEngine
    from vnpy.trader.gateway import BaseGateway
    from vnpy.trader.object import ContractData, TickData

    class Quoting(BaseGateway):
        default_name = "VBROKERS"
        exchanges = [Exchange.SMART]  # noqa: RUF012  vn.py reads it from the class

        def connect(self, setting: dict[str, Any]) -> None:
            for symbol in SYMBOLS:
                self.on_contract(ContractData("VBROKERS", symbol, Exchange.SMART, symbol, Product.EQUITY, 1, 0.01))

        def close(self) -> None: ...
        def subscribe(self, req: Any) -> None: ...
        def send_order(self, req: Any) -> str:
            return ""

        def cancel_order(self, req: Any) -> None: ...
        def query_account(self) -> None: ...
        def query_position(self) -> None: ...

        def quote(self, number: int) -> None:
            tick = TickData("VBROKERS", SYMBOLS[number % len(SYMBOLS)], Exchange.SMART, datetime.now(zone))
            tick.name, tick.volume, tick.last_price, tick.last_volume = "Name of it", number, 100.0, 100
            tick.open_price = tick.high_price = tick.low_price = tick.pre_close = 99.5
            for level in range(1, 6):
                for side, price in (("bid", 100 - level / 100), ("ask", 100 + level / 100)):
                    setattr(tick, f"{side}_price_{level}", price)
                    setattr(tick, f"{side}_volume_{level}", 100.0 * level)
            tick.extra = {"segment": "regular", "delayed": False}
            tick.turnover = time.perf_counter()
            self.on_tick(tick)

    zone = ZoneInfo("Asia/Shanghai")
    main = MainEngine(EventEngine())
    gateway = main.add_gateway(Quoting)
    assert isinstance(gateway, Quoting)
    gateway.connect({})
    if kind == "ours":
        from vnpy_brokers.rpc.server import RpcServerEngine

        service = main.add_engine(RpcServerEngine)
        service.start("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
        say(reply=service.reply_address, publish=service.publish_address)
    else:
        from vnpy_rpcservice.rpc_service.engine import RpcEngine

        plain = main.add_engine(RpcEngine)
        plain.start("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
        import zmq

        ends = [s.getsockopt_string(zmq.LAST_ENDPOINT) for s in (plain.server._socket_rep, plain.server._socket_pub)]
        say(reply=ends[0], publish=ends[1])
    number = 0
    for line in sys.stdin:
        count, pace = json.loads(line)
        due = time.perf_counter()
        for _each in range(count):
            gateway.quote(number)
            number += 1
            if pace:
                due += pace
                time.sleep(max(0.0, due - time.perf_counter()))  # the pace that is asked for
        say(made=number)
    os._exit(0)


def listen(kind: str, reply: str, publish: str) -> None:
    """A client: tells when it has as many ticks as it was told to wait for."""
    from vnpy.event import Event, EventEngine
    from vnpy.trader.constant import Exchange
    from vnpy.trader.engine import MainEngine
    from vnpy.trader.event import EVENT_CONTRACT, EVENT_TICK
    from vnpy.trader.object import SubscribeRequest

    events = EventEngine()
    main = MainEngine(events)
    contracts = threading.Semaphore(0)
    latencies: list[float] = []
    seen: set[str] = set()
    awaited = [0]
    reached = threading.Event()

    def on_tick(event: Event) -> None:
        latencies.append(time.perf_counter() - event.data.turnover)
        seen.add(event.data.symbol)
        if len(latencies) == awaited[0]:
            reached.set()

    events.register(EVENT_TICK, on_tick)
    events.register(EVENT_CONTRACT, lambda event: contracts.release())
    if kind == "ours":
        from vnpy_brokers.rpc.gateway import PUBLISH_KEY, REPLY_KEY, RemoteGateway

        main.add_gateway(RemoteGateway, "VBROKERS")
        main.connect({REPLY_KEY: reply, PUBLISH_KEY: publish}, "VBROKERS")
    else:
        from vnpy_rpcservice.rpc_gateway import RpcGateway

        main.add_gateway(RpcGateway, "VBROKERS")
        main.connect({"主动请求地址": reply, "推送订阅地址": publish}, "VBROKERS")
    for _symbol in SYMBOLS:
        assert contracts.acquire(timeout=PATIENCE_S)
    for symbol in SYMBOLS:
        main.subscribe(SubscribeRequest(symbol, Exchange.SMART), "VBROKERS")
    say(ready=True)
    for line in sys.stdin:
        command = json.loads(line)
        if command == "seen":
            say(seen=len(seen))
        elif command == "reset":
            latencies.clear()
            say(reset=True)
        elif command == "latencies":
            say(latencies=latencies)
        else:
            reached.clear()
            awaited[0] = command
            if len(latencies) >= command:
                reached.set()
            say(waiting=True)
            say(reached=reached.wait(PATIENCE_S))
    os._exit(0)


# ---------------------------------------------------------------------- the one that measures


class Child:
    def __init__(self, *arguments: str) -> None:
        folder = tempfile.mkdtemp(prefix="rpc-bench-")
        (Path(folder) / ".vntrader").mkdir()
        settings = {"database.timezone": "Asia/Shanghai", "log.active": False, "log.console": False, "log.file": False}
        (Path(folder) / ".vntrader" / "vt_setting.json").write_text(json.dumps(settings), encoding="utf-8")
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TZ": "Asia/Shanghai", "LANGUAGE": "zh_CN"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self.lines.put(json.loads(line))

    def tell(self, command: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def next(self) -> dict[str, Any]:
        return self.lines.get(timeout=PATIENCE_S)

    def ask(self, command: object) -> dict[str, Any]:
        self.tell(command)
        return self.next()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)


def measure(kind: str, clients: int) -> tuple[float, float, float]:
    """Ticks a second, and the latency's p50 and p99 in milliseconds, of one server with so many clients."""
    server = Child("--role", "server", "--kind", kind)
    ends = server.next()
    listeners = [
        Child("--role", "client", "--kind", kind, "--at", ends["reply"], ends["publish"]) for _ in range(clients)
    ]
    try:
        for listener in listeners:
            assert listener.next()["ready"]
        while any(listener.ask("seen")["seen"] < len(SYMBOLS) for listener in listeners):
            server.ask([len(SYMBOLS), 0])
            time.sleep(0.2)  # the listeners say only when asked whether a subscription has arrived
        time.sleep(0.5)  # what is still on its way must not count
        for listener in listeners:
            listener.ask("reset")
        bursts = BURSTS.get(clients, 10)
        elapsed = 0.0
        for number in range(1, bursts + 1):
            for listener in listeners:
                assert listener.ask(number * BURST) == {"waiting": True}
            began = time.perf_counter()
            server.tell([BURST, 0])
            for listener in listeners:
                assert listener.next()["reached"], "ticks were lost"
            elapsed += time.perf_counter() - began
            server.next()
        for listener in listeners:
            listener.ask("reset")
            listener.ask(PACED)
        server.tell([PACED, PACE_S])
        latencies: list[float] = []
        for listener in listeners:
            assert listener.next()["reached"], "ticks were lost"
            latencies += listener.ask("latencies")["latencies"]
        server.next()
        cuts = statistics.quantiles(latencies, n=100)
        return bursts * BURST / elapsed, cuts[49] * 1000, cuts[98] * 1000
    finally:
        for child in (*listeners, server):
            child.end()


def compare(counts: Sequence[int], rounds: int) -> None:
    result: dict[str, Any] = {"benchmark": "rpc", "unit": "ticks/s", "rounds": rounds, "clients": {}}
    for clients in counts:
        found: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in KINDS}
        for number in range(rounds):
            for kind in KINDS if number % 2 == 0 else KINDS[::-1]:
                found[kind].append(measure(kind, clients))
                rate, p50, p99 = found[kind][-1]
                print(f"{clients:2d} clients  {kind:5s} {rate:9,.0f} ticks/s   p50 {p50:6.2f} ms   p99 {p99:6.2f} ms")
        medians = {kind: [statistics.median(column) for column in zip(*found[kind], strict=True)] for kind in KINDS}
        result["clients"][str(clients)] = {
            kind: {"ticks_per_s": round(rate), "p50_ms": round(p50, 3), "p99_ms": round(p99, 3)}
            for kind, (rate, p50, p99) in medians.items()
        } | {"ratio": round(medians["ours"][0] / medians["plain"][0], 2)}
    result["ratio"] = min(entry["ratio"] for entry in result["clients"].values())
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--role", choices=["server", "client"], help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--at", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "server":
        serve(given.kind)
    elif given.role == "client":
        listen(given.kind, *given.at)
    else:
        compare(given.clients, given.rounds)


if __name__ == "__main__":
    main()
