"""What the traps of vn.py's engine ask of everything that a gateway pushes, whichever broker is behind it."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from vnpy.trader.constant import Status
from vnpy.trader.event import EVENT_ORDER, EVENT_TRADE

from tests.harness import Rig

PLAIN_NUMBERS = ("price", "volume", "last_price", "balance", "available", "frozen")


def check_plain(events: Iterable[Any]) -> None:
    """Times are aware, numbers are numbers, everything pickles, ``extra`` holds plain values (traps 2, 3, 10)."""
    for data in events:
        assert pickle.loads(pickle.dumps(data)) == data
        if type(data).__name__ == "LogData":
            continue
        for name, value in vars(data).items():
            where = f"{type(data).__name__}.{name}"
            if name in ("datetime", "localtime"):
                assert value.tzinfo is not None, where
            elif isinstance(value, float):
                assert value == value, where
                assert value not in (float("inf"), float("-inf")), where
            elif name == "pnl":
                assert value is not None
            elif name in PLAIN_NUMBERS:
                assert isinstance(value, (int, float)), where
        for value in (getattr(data, "extra", None) or {}).values():
            assert value is None or isinstance(value, (str, int, float, bool)), data


class Returned:
    """Notes what is told of an order before its ``send_order`` has returned (trap 4)."""

    def __init__(self, rig: Rig) -> None:
        self.early: list[Any] = []
        self._known: set[str] = set()
        rig.event_engine.register(EVENT_ORDER, self._on_order)
        rig.event_engine.register(EVENT_TRADE, self._on_trade)

    def note(self, vt_orderid: str) -> str:
        self._known.add(vt_orderid)
        return vt_orderid

    def _on_order(self, event: Any) -> None:
        if event.data.vt_orderid not in self._known and event.data.status is not Status.SUBMITTING:
            self.early.append(event.data)

    def _on_trade(self, event: Any) -> None:
        if event.data.vt_orderid not in self._known:
            self.early.append(event.data)


def check_forward(ticks: Iterable[Any]) -> None:
    """Per symbol, time and the day's volume only grow (trap 11)."""
    for earlier, later in pairwise(ticks):
        assert earlier.datetime <= later.datetime
        assert earlier.volume <= later.volume
