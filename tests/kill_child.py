"""A trading process that kills itself at one step of the order journal: the child of :mod:`tests.test_kill`.

Run as ``python -m tests.kill_child GATEWAY SETTINGS POINT`` in vn.py's folder. It connects, sends a resting and a
marketable order, cancels the first, and prints the vt_orderid of each. At POINT, ``before:STEP`` or ``after:STEP`` the
commit that holds STEP of one of its orders, it ends by SIGKILL; at ``wire`` its parent kills it. Exit code 3: it never
came there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from vnpy.event import Event, EventEngine
from vnpy.trader.constant import Direction, Exchange, OrderType, Status
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import EVENT_LOG, EVENT_ORDER
from vnpy.trader.object import OrderRequest

from tests.harness import SHORT
from tests.ib_harness import SHORT_IB
from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.journal import Journal, Operation
from vnpy_ibkr.gateway import IbkrGateway
from vnpy_vbrokers.gateway import VbrokersGateway

GATEWAYS: dict[str, tuple[type[AsyncGateway], Any]] = {
    "VBROKERS": (VbrokersGateway, SHORT),
    "IBKR": (IbkrGateway, SHORT_IB),
}
NEVER_CAME = 3
PATIENCE_S = 20


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still here")


def arm(point: str) -> None:
    """Put the kill in its place."""
    when, _colon, step = point.partition(":")
    commit = Journal._commit

    def holds(operations: Sequence[Operation]) -> bool:
        if step == "fill":
            return any("INTO fills" in sql for sql, _values in operations)
        return any("INTO audit" in sql and values[2] == step for sql, values in operations)

    def deadly(journal: Journal, operations: Sequence[Operation]) -> None:
        if when == "before" and holds(operations):
            die()
        commit(journal, operations)
        if when == "after" and holds(operations):
            die()

    if point != "wire":
        Journal._commit = deadly  # type: ignore[assignment, method-assign]  # the kill stands in it


def main(name: str, settings: dict[str, Any], point: str) -> int:
    kind, timing = GATEWAYS[name]
    engine = EventEngine()
    main_engine = MainEngine(engine)
    ready, working = threading.Event(), threading.Event()

    def on_log(event: Event) -> None:
        if "合约信息查询成功" in event.data.msg:
            ready.set()

    def on_order(event: Event) -> None:
        if event.data.status is Status.NOTTRADED:
            working.set()

    engine.register(EVENT_LOG, on_log)
    engine.register(EVENT_ORDER, on_order)

    def tuned(gateway: AsyncGateway, event_engine: EventEngine, gateway_name: str) -> None:
        kind.__init__(gateway, event_engine, gateway_name, timing=timing)

    main_engine.add_gateway(type("Tuned", (kind,), {"__init__": tuned}), name)
    main_engine.connect(settings, name)
    if not ready.wait(PATIENCE_S):
        return 4
    arm(point)
    vt_orderid = ""
    for price, type_ in ((90.0, OrderType.LIMIT), (0.0, OrderType.MARKET)):
        request = OrderRequest("IBM", Exchange.SMART, Direction.LONG, type_, 10, price, reference="killed")
        vt_orderid = vt_orderid or main_engine.send_order(request, name)
        if type_ is OrderType.MARKET:
            print(main_engine.send_order(request, name), flush=True)
        else:
            print(vt_orderid, flush=True)
            # Whatever becomes of the first, the second follows.
            working.wait(1.5)
    order = main_engine.get_order(vt_orderid)
    if order:
        main_engine.cancel_order(order.create_cancel_request(), name)
    threading.Event().wait(PATIENCE_S / 4)
    return NEVER_CAME


if __name__ == "__main__":
    os._exit(main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]))
