"""Settling orders with unknown outcome from the broker's lists (design, section 4, "Unknown is not rejected").

Pure: the lists come in, decisions come out. Only for a broker that has no client order id, and whose lists are complete
when they say so (VBrokers); at IBKR absence never settles an order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from vnpy.trader.constant import Direction, Exchange, OrderType

from .lifecycle import State
from .tracker import OrderReport, TrackedOrder

Key = tuple[str, Exchange, Direction, OrderType, Decimal, Decimal]


def likeness(order: TrackedOrder | OrderReport) -> Key:
    """Return what two orders must share to be taken for one: instrument, side, kind, price (of a limit) and volume."""
    price = order.price.normalize() if order.type is OrderType.LIMIT else Decimal(0)
    return order.symbol, order.exchange, order.direction, order.type, price, order.volume.normalize()


@dataclass
class Settlement:
    """What the lists decide: ``found`` pairs, ``absent`` orders that never arrived, ``undecidable`` ones."""

    found: list[tuple[TrackedOrder, OrderReport]] = field(default_factory=list)
    absent: list[TrackedOrder] = field(default_factory=list)
    undecidable: list[TrackedOrder] = field(default_factory=list)


def _always(order: TrackedOrder, report: OrderReport) -> bool:
    return True


def settle(
    unknown: Sequence[TrackedOrder],
    unmatched: Iterable[OrderReport],
    could_be: Callable[[TrackedOrder, OrderReport], bool] = _always,
) -> Settlement:
    """Match unknown orders with rows that belong to nobody, both oldest first.

    Of ``k`` identical unknowns and ``m <= k`` rows the oldest match first, the rest never arrived. With ``m > k`` rows
    nobody can say which are ours: those unknowns stay unknown and are reported. ``could_be`` tells whether a row can
    be an order that it is like: one that was at the broker before the order was sent can not. What it allows for an
    order it must allow for those sent before.
    """
    rows: dict[Key, list[OrderReport]] = {}
    for report in unmatched:
        rows.setdefault(likeness(report), []).append(report)
    waiting: dict[Key, list[TrackedOrder]] = {}
    for order in unknown:
        waiting.setdefault(likeness(order), []).append(order)
    result = Settlement()
    for key, orders in waiting.items():
        _settle_alike(orders, rows.get(key, []), could_be, result)
    return result


def _settle_alike(
    orders: Sequence[TrackedOrder],
    rows: Sequence[OrderReport],
    could_be: Callable[[TrackedOrder, OrderReport], bool],
    result: Settlement,
) -> None:
    """Rows that few orders can be choose first; where there are too many of them, those orders are undecidable."""
    choices = [(row, [order for order in orders if could_be(order, row)]) for row in rows]
    choices.sort(key=lambda choice: len(choice[1]))
    found: dict[str, tuple[TrackedOrder, OrderReport]] = {}
    undecidable: dict[str, TrackedOrder] = {}
    for row, candidates in choices:
        if not candidates:
            continue
        free = [order for order in candidates if order.orderid not in found]
        if free:
            found[free[0].orderid] = free[0], row
        else:
            undecidable |= {order.orderid: order for order in candidates}
    result.found += [pair for orderid, pair in found.items() if orderid not in undecidable]
    result.absent += [order for order in orders if order.orderid not in found]
    result.undecidable += undecidable.values()


def may_be_ours(report: OrderReport, orders: Iterable[TrackedOrder]) -> bool:
    """Tell whether a row without an owner could be one of ``orders`` that have no broker id yet: it must wait.

    More generous than :func:`settle`, for waiting costs little: a push does not say the kind of order, and which price
    a broker shows for a market order is not known.
    """
    return any(_alike(report, order) for order in orders if order.state in (State.SENDING, State.UNKNOWN))


def _alike(report: OrderReport, order: TrackedOrder) -> bool:
    mine, theirs = likeness(order), likeness(report)
    if mine == theirs:
        return True
    unpriced = order.type is OrderType.MARKET or report.price == 0
    return unpriced and (*mine[:3], mine[5]) == (*theirs[:3], theirs[5])
