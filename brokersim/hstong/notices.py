"""Order pushes: one TradeStockDeliverNotify for each change of an order (vbrokers-openapi 13.4)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from brokersim.hstong.backend import ACCOUNT, Backend
from brokersim.hstong.codes import money_text, price_text, status_code, wire_code
from brokersim.model import Fill, Order
from vnpy_vbrokers.wire.proto import push_pb2 as pb

CANCEL_PENDING = {False: "3", True: "4"}
MODIFY_PENDING = {False: "A", True: "E"}
"""The status between asking and doing, by whether the order has traded."""
FIRST_MATCH_NO = 5_000_001
ENTRUST_NO_PREFIX = "9"
"""What makes entrustNo differ from recordNo when the switch says that it does."""


class OrderNotices:
    """Turns the desk's changes into pushes, while somebody has called TradeSubscribe."""

    def __init__(self, backend: Backend, publish: Callable[[pb.TradeStockDeliverNotify], None]) -> None:
        self._backend = backend
        self._publish = publish
        self._pending: dict[str, dict[bool, str]] = {}

    def cancelling(self, order_id: str) -> None:
        """The order's next change is a cancel that a client asked for: the pending status goes out before it."""
        self._pending[order_id] = CANCEL_PENDING

    def modifying(self, order_id: str) -> None:
        """The order's next change is a modification that a client asked for."""
        self._pending[order_id] = MODIFY_PENDING

    def settled(self, order_id: str) -> None:
        """The request is over, whether it changed the order or not."""
        self._pending.pop(order_id, None)

    def on_change(self, order: Order, fill: Fill | None) -> None:
        """The desk has changed ``order``; ``fill`` when the change is a fill."""
        pending = self._pending.pop(order.id, None)
        if not self._backend.session.pushes_orders:
            return
        if pending is not None:
            self._publish(self._notice(order, pending[order.traded > 0], None))
        self._publish(self._notice(order, status_code(order), fill))

    def _notice(self, order: Order, status: str, fill: Fill | None) -> pb.TradeStockDeliverNotify:
        backend = self._backend
        instrument = backend.instrument(order.vt_symbol)
        at: datetime = fill.time if fill else order.updated or order.time
        local = backend.local(at, order.vt_symbol)
        working = order.active or status in ("3", "4", "A", "E")
        different = backend.switches.record_no == "different"
        return pb.TradeStockDeliverNotify(
            fundAccount=ACCOUNT,
            stockCode=wire_code(instrument),
            stockName=instrument.name,
            entrustBs=order.tag["entrustBs"],
            businessPrice=price_text(fill.price if fill else Decimal(0)),
            businessAmount=str(fill.volume if fill else 0),
            businessDate=local.strftime("%Y%m%d"),
            businessTime=local.strftime("%H%M%S"),
            exchangeType=backend.market_of(order.vt_symbol).exchange_type,
            entrustStatus=status,
            clientId="1",
            entrustNo=ENTRUST_NO_PREFIX + order.id if different else order.id,
            sumBusinessAmount=str(order.traded),
            sumBusinessBalance=money_text(order.turnover),
            originalAmount=order.tag["originalAmount"],
            originalPrice=order.tag["originalPrice"],
            leftAmount=str(order.left if working else 0),
            entrustPrice=price_text(order.price),
            entrustAmount=str(order.volume),
            recordNo=order.id,
            remark=order.reason,
            matchNo=f"M{FIRST_MATCH_NO + len(backend.desk.fills)}" if fill else "",
        )
