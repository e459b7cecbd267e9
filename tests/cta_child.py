"""A process with a trading strategy that ends by SIGKILL: the child of :mod:`tests.test_adopt`.

Run as ``python -m tests.cta_child GATEWAY SETTINGS POINT`` in vn.py's folder. The strategy buys 10 at the market and
leaves an order for 30 at 95. At POINT the process kills itself when the first fill is in its strategy's hands; at
``working`` it prints a line when both orders are where they should be, and its parent kills it. Exit code 3: it never
came there.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

import pytest
from vnpy.event import Event, EventEngine
from vnpy.trader.constant import Status
from vnpy.trader.event import EVENT_LOG, EVENT_ORDER, EVENT_TICK, EVENT_TRADE

from tests.cta_desk import IBM, NAME, TestedEngine, app_of
from tests.cta_strategies import Teller
from tests.kill_child import GATEWAYS, NEVER_CAME, PATIENCE_S, die
from vnpy_brokerkit import files
from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokers import strategy_books
from vnpy_brokers.counted_fills import CountedFills
from vnpy_brokers.trader import TraderEngine

POINTS = ("in on_trade", "after on_trade", "fill counted", "entry written", "working")


def arm(point: str) -> None:
    """Put the kill in its place."""
    on_trade, add, write = Teller.on_trade, CountedFills.add, files.write_private

    def told(strategy: Teller, trade: Any) -> None:
        on_trade(strategy, trade)
        if point == "in on_trade":
            die()

    def counted(fills: CountedFills, *args: Any) -> None:
        if point == "after on_trade":
            die()
        add(fills, *args)
        armed.set()

    def entry(*args: Any) -> None:
        if point == "fill counted" and armed.is_set():
            die()
        write(*args)
        if point == "entry written" and armed.is_set():
            die()

    armed = threading.Event()
    patch = pytest.MonkeyPatch()  # never undone: the process ends
    patch.setattr(Teller, "on_trade", told)
    patch.setattr(CountedFills, "add", counted)
    patch.setattr(strategy_books, "write_private", entry)


def main(name: str, settings: dict[str, Any], point: str) -> int:
    kind, timing = GATEWAYS[name]
    engine = EventEngine()
    main_engine = TraderEngine(engine)
    ready, quoted, filled, working = (threading.Event() for _ in range(4))

    def on_order(event: Event) -> None:
        if event.data.status is Status.NOTTRADED and event.data.price == 95:
            working.set()

    engine.register(EVENT_LOG, lambda event: ready.set() if "合约信息查询成功" in event.data.msg else None)
    engine.register(EVENT_TICK, lambda event: quoted.set())
    engine.register(EVENT_ORDER, on_order)
    engine.register(EVENT_TRADE, lambda event: filled.set())

    def tuned(gateway: AsyncGateway, event_engine: EventEngine, gateway_name: str) -> None:
        kind.__init__(gateway, event_engine, gateway_name, timing=timing)

    main_engine.add_gateway(type("Tuned", (kind,), {"__init__": tuned}), name)
    cta = main_engine.add_app(app_of(TestedEngine))
    assert isinstance(cta, TestedEngine)
    cta.init_engine()
    cta.add_strategy("Teller", NAME, IBM, {})
    main_engine.connect(settings, name)
    if not ready.wait(PATIENCE_S):
        return 4
    cta.init_strategy(NAME).result(PATIENCE_S)
    if not quoted.wait(PATIENCE_S):
        return 5
    cta.start_strategy(NAME)
    arm(point)
    strategy = cta.strategies[NAME]
    strategy.buy(95, 30)
    working.wait(PATIENCE_S)
    strategy.buy(101, 10)
    filled.wait(PATIENCE_S)
    if point == "working":
        print("working", flush=True)
    threading.Event().wait(PATIENCE_S)
    return NEVER_CAME


if __name__ == "__main__":
    os._exit(main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]))
