"""Rows at the broker that may be an order of ours whose number is not known yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from vnpy_brokerkit.lifecycle import TERMINAL, State, move
from vnpy_brokerkit.reconcile import may_be_ours
from vnpy_brokerkit.tracker import FillReport, OrderReport, TrackedOrder

CLOCKS_DIFFER = timedelta(hours=1)
"""A row whose own time lies so far before an order's sending is another order. Where the zone of a row is not the one
that is assumed, it reads too late, never too early (reference "vbrokers-openapi", section 7.6)."""


@dataclass
class Held:
    """A row that waits.

    ``before``: the monotonic second at which it was surely at the broker; an order that was sent later is not it.
    ``past``: of an earlier day, where an order that is none of ours concerns nobody any more.
    """

    report: OrderReport
    before: float
    past: bool = False
    fills: list[FillReport] = field(default_factory=list)

    def hear(self, report: OrderReport, *, pushed: bool) -> None:
        """The broker says more of the row. What is older than what it said does not count, and a push says nothing of
        the kind of an order."""
        kind = self.report.type if pushed else report.type
        stale = report.traded < self.report.traded or (_ended(self.report) and not _ended(report))
        self.report = replace(self.report if stale else report, type=kind)

    def could_be(self, order: TrackedOrder) -> bool:
        """Tell whether an order had been sent before the row was seen, and not long after the row was made."""
        made = self.report.time
        return order.sent <= self.before and not (made and made < order.time - CLOCKS_DIFFER)

    def may_be_one_of(self, orders: Iterable[TrackedOrder]) -> bool:
        """Tell whether the row must wait for what becomes of these orders."""
        return may_be_ours(self.report, (order for order in orders if self.could_be(order)))


def _ended(report: OrderReport) -> bool:
    return move(State.PENDING, report.happening) in TERMINAL
