"""TWS's words about orders, said in our own (tws-api 7.2, 17). Tables and pure functions."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

from ib_async.order import Order
from vnpy.trader.constant import Direction, Exchange, OrderType

from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.lifecycle import Happening
from vnpy_brokerkit.tracker import OrderReport, TrackedOrder, exact

from .wire.texts import unescape

# Reference section 17. "Submitted" also while it fills: the volume tells. Inactive is decided by what came with it.
STATUS2HAPPENING = {
    "ApiPending": Happening.ACKNOWLEDGED,
    "PendingSubmit": Happening.ACKNOWLEDGED,
    "PreSubmitted": Happening.ACCEPTED,
    "Submitted": Happening.ACCEPTED,
    "PendingCancel": Happening.ACCEPTED,
    "ApiCancelled": Happening.CANCELLED,
    "Cancelled": Happening.CANCELLED,
    "Filled": Happening.FILLED,
}
INACTIVE = "Inactive"
ACTION2DIRECTION = {"BUY": Direction.LONG, "SELL": Direction.SHORT, "SSHORT": Direction.SHORT}
TYPE_IB2VT = {"LMT": OrderType.LIMIT, "MKT": OrderType.MARKET, "STP": OrderType.STOP}
OUR_REF = re.compile(r"([A-Z]{2}[0-9a-z]+-[0-9a-z]+)\|(.*)", re.DOTALL)


def our_ref(order_ref: str, letters: str) -> tuple[str, str] | None:
    """Return local id and reference of an orderRef that a gateway of these letters wrote, now or in an earlier run."""
    ref = OUR_REF.fullmatch(order_ref or "")
    return (ref[1], unescape(ref[2])) if ref and ref[1].startswith(letters) else None


def meaning(order: TrackedOrder | None, status: str, refusal: str) -> tuple[Happening | None, str]:
    """Say a wire status as a happening and its reason; ``None`` for one that decides nothing.

    ``refusal`` is why TWS refused the order, told by a code before, or ``""``.
    """
    if status == INACTIVE:
        # It may become active later for some causes: only a rejecting code makes it an end (section 17).
        return (Happening.REJECTED, refusal) if refusal else (Happening.ACKNOWLEDGED, _("TWS状态为Inactive"))
    if status == "Cancelled" and refusal and order is not None and order.traded == 0:
        return Happening.REJECTED, refusal
    return STATUS2HAPPENING.get(status), ""


def report_of(
    key: tuple[str, Exchange], order: Order, said: tuple[Happening | None, str], tracked: TrackedOrder | None
) -> OrderReport | None:
    """Say an order row in our own words; ``None`` for a side or status that is none of ours.

    ``key`` is its instrument, ``said`` what its status means.
    """
    direction = ACTION2DIRECTION.get(order.action)
    happening, reason = said
    if direction is None or happening is None:
        return None
    kind = TYPE_IB2VT.get(order.orderType.replace(" ", ""), OrderType.LIMIT)
    volume = exact(order.totalQuantity)
    traded = filled_of(order)
    return OrderReport(
        broker_id=str(order.permId or ""),
        symbol=key[0],
        exchange=key[1],
        direction=direction,
        type=kind,
        price=_price(order, kind),
        volume=volume if volume > 0 else (tracked.volume if tracked else volume),
        happening=happening,
        traded=volume if happening is Happening.FILLED and volume > 0 else traded,
        reason=reason,
    )


def ended(report: OrderReport, traded: Decimal, completed: str) -> OrderReport:
    """Say that an order has ended. ``completed`` is TWS's text about it, a reason where it was refused."""
    happening = {Happening.ACKNOWLEDGED: Happening.REJECTED}.get(report.happening, report.happening)
    reason = (report.reason or completed.strip()) if happening is Happening.REJECTED else ""
    return replace(report, happening=happening, traded=traded, reason=reason)


def filled_of(order: Order) -> Decimal:
    """Return the filled volume of a row, 0 where it has none."""
    return exact(order.filledQuantity) if _is_number(order.filledQuantity) else Decimal(0)


def _is_number(value: float | Decimal | None) -> bool:
    """Whether TWS set it: its words for unset are the greatest numbers there are (section 3)."""
    return value is not None and 0 <= value < 10**15


def _price(order: Order, kind: OrderType) -> Decimal:
    value = order.auxPrice if kind is OrderType.STOP else order.lmtPrice
    if kind is OrderType.MARKET or not _is_number(value):
        return Decimal(0)
    return exact(value)
