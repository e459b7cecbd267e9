"""A client in a process of its own: the child of :mod:`tests.rpc_children`.

Reads one JSON command a line on stdin and answers each with a JSON line on stdout. Ends with stdin.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from vnpy.trader.constant import Direction, Exchange, Interval, OrderType
from vnpy.trader.event import EVENT_TICK
from vnpy.trader.object import HistoryRequest, TickData

from tests.rpc_desk import NAMES, Client, view
from vnpy_brokerkit.errors import HistoryError

Answer = dict[str, Any]


def tick_row(tick: TickData) -> list[Any]:
    """A tick as the server's JSON lines tell it, too."""
    return [tick.datetime.timestamp(), tick.last_price, tick.volume, tick.bid_price_1, tick.ask_price_1]


class Child:
    """The commands."""

    def __init__(self) -> None:
        self.client = Client(NAMES)
        self.histories: dict[str, Answer] = {}

    def connect(self, setting: dict[str, Any], wait: bool = True) -> Answer:
        self.client.connect(setting, wait=wait)
        return {}

    def subscribe(self, vt_symbol: str, name: str) -> Answer:
        self.client.subscribe(vt_symbol, name)
        return {}

    def send(self, name: str, vt_symbol: str, direction: str, volume: float, price: float, type: str) -> Answer:
        vt_orderid = self.client.send(name, vt_symbol, Direction[direction], volume, price, OrderType[type])
        return {"id": vt_orderid}

    def cancel(self, id: str) -> Answer:
        self.client.cancel(id)
        return {}

    def order(self, id: str) -> Answer:
        order = self.client.main.get_order(id)
        if order is None:
            return {}
        return {"status": order.status.name, "traded": order.traded, "reason": (order.extra or {}).get("reason", "")}

    def view(self) -> Answer:
        return {"view": view(self.client.main, self.client.seen)}

    def ticks(self, vt_symbol: str) -> Answer:
        ticks: list[TickData] = [tick for tick in self.client.seen.of(EVENT_TICK) if tick.vt_symbol == vt_symbol]
        link = self.client.gateways["VBROKERS"]._link
        return {"ticks": [tick_row(tick) for tick in ticks], "missed": link.stream.missed if link else -1}

    def contract(self, vt_symbol: str) -> Answer:
        contract = self.client.main.get_contract(vt_symbol)
        return {"contract": contract and [contract.gateway_name, contract.product.name, contract.min_volume]}

    def history(self, key: str, name: str, vt_symbol: str, start: str, end: str, interval: str) -> Answer:
        symbol, _dot, exchange = vt_symbol.rpartition(".")
        times = datetime.fromisoformat(start), datetime.fromisoformat(end)
        request = HistoryRequest(symbol, Exchange(exchange), *times, Interval[interval])

        def download() -> None:
            try:
                bars = self.client.main.query_history(request, name)
                self.histories[key] = {
                    "bars": [[bar.datetime.timestamp(), bar.close_price, bar.volume] for bar in bars]
                }
            except HistoryError as error:
                self.histories[key] = {"error": error.text}

        threading.Thread(target=download, daemon=True).start()
        return {}

    def downloaded(self, key: str) -> Answer:
        return self.histories.get(key, {})

    def log(self) -> Answer:
        return {"lines": self.client.seen.log_lines()}

    def connected(self) -> Answer:
        return {"all": all(gateway.connected for gateway in self.client.gateways.values())}


def main() -> int:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    child = Child()
    out.write('{"ready": true}\n')
    for line in sys.stdin:
        command = json.loads(line)
        do: Callable[..., Answer] = getattr(child, command.pop("do"))
        try:
            answer = do(**command)
        except Exception as error:  # noqa: BLE001  the parent shows it
            answer = {"failed": repr(error)}
        out.write(json.dumps(answer) + "\n")
    child.client.close()
    out.write('{"closed": true}\n')
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
