"""Settling orders of unknown outcome by the broker's lists (design, section 4, "Unknown is not rejected")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, LoginFailed, TimedOut
from vnpy_brokerkit.findings import Kind
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.lifecycle import State
from vnpy_brokerkit.reconcile import Key, likeness, settle
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import TrackedOrder

from .orders import UNDECIDABLE, Orders, Outlet
from .spelling import EXCHANGE2MARKET

UNREACHABLE = (ConnectionFailed, LoginFailed, TimedOut)
"""What concerns the whole Gateway; other errors of a list are its market's alone."""


class Settling:
    """Decides what became of orders that nobody answered for. ``read_all`` reads every list that may hold some orders
    of a market, and returns whether nothing of it was missed."""

    def __init__(
        self,
        orders: Orders,
        outlet: Outlet,
        *,
        read_all: Callable[[str, Sequence[TrackedOrder]], Awaitable[bool]],
        clock: Clock,
        timing: Timing,
    ) -> None:
        self._orders = orders
        self._outlet = outlet
        self._read_all = read_all
        self._clock = clock
        self._timing = timing

    async def settle(self) -> None:
        """Settle what is unknown and old enough, by two complete reads. Raises :class:`BrokerError`."""
        young = self._young()
        by_market: dict[str, list[TrackedOrder]] = {}
        for order in self._orders.unsettled():
            if likeness(order) not in young:
                by_market.setdefault(EXCHANGE2MARKET[order.exchange].code, []).append(order)
        failure: BrokerError | None = None
        for market, orders in by_market.items():
            try:
                await self._settle_market(market, orders)
            except BrokerError as error:
                if isinstance(error, UNREACHABLE):
                    raise
                failure = failure or error
        if failure:
            raise failure

    async def _settle_market(self, market: str, orders: Sequence[TrackedOrder]) -> None:
        if not await self._read_all(market, orders):
            return
        await self._clock.sleep(self._timing.settle_apart)
        if await self._read_all(market, orders):
            # Another one like it may have come to wait meanwhile, and its two reads are still to come: they wait.
            judged = {order.orderid for order in orders}
            others = {likeness(order) for order in self._orders.waiting() if order.orderid not in judged}
            await self._decide([o for o in orders if o.state is State.UNKNOWN and likeness(o) not in others])

    def _young(self) -> set[Key]:
        """While an order still waits for its answer, a row like it may be its own: its likes wait, too."""
        waiting = self._orders.waiting()
        return {likeness(order) for order in waiting if order.state is State.SENDING or self._is_young(order)}

    def _is_young(self, order: TrackedOrder) -> bool:
        return self._clock.monotonic() - order.sent < self._timing.settle_after

    async def _decide(self, orders: Sequence[TrackedOrder]) -> None:
        held = self._orders.held
        rows = sorted(
            (row.report for row in held.values()), key=lambda r: (r.time.timestamp() if r.time else 0.0, r.broker_id)
        )
        decision = settle(orders, rows, lambda order, row: held[row.broker_id].could_be(order))
        for order, report in decision.found:
            text = _("委托{}已核实：在券商处找到（券商号{}）").format(order.orderid, report.broker_id)
            self._outlet.log(text)
            self._outlet.findings.add(Kind.SETTLED, order, text)
            await self._orders.claim(order, report.broker_id)
        for order in decision.absent:
            order.inferred = True
            self._orders.given_up[likeness(order)] = order.orderid
            text = _("券商委托列表两次均无此委托，判定为未到达券商")
            self._outlet.findings.add(Kind.SETTLED, order, text)
            self._outlet.refuse(order, text)
        for order in decision.undecidable:
            order.extra[UNDECIDABLE] = "1"
            self._outlet.log(
                _("委托{}无法核实：券商处有多笔相同委托，不能判断哪一笔是它；请在APP中核对").format(order.orderid),
            )
        self._show_undecidable({likeness(order) for order in decision.undecidable})
        self._orders.release_held()
        self._orders.wanted.set()

    def _show_undecidable(self, keys: set[Key]) -> None:
        """Rows that can't be told apart are at the broker, so they are shown: as orders placed elsewhere.

        They are not written down as such: after a restart nobody could tell either.
        """
        for broker_id, row in list(self._orders.held.items()):
            if likeness(row.report) in keys:
                del self._orders.held[broker_id]
                order = self._orders.adopt(row.report)
                self._orders.count(order, row.fills)
