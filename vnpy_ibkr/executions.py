"""Executions: counted once by the stem of their id, told with their commission, corrected by an alarm only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from ib_async.contract import Contract
from ib_async.objects import CommissionReport, Execution
from vnpy.trader.constant import Direction, OrderType

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.findings import Kind
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.lifecycle import Happening
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import Fill, FillReport, OrderReport, TrackedOrder, exact, plain_text

from .contracts import Contracts
from .orders import Orders, Outlet
from .turns import NOWHERE


class Executions:
    """The fills of one session, live or asked for; in turn with the other news of :class:`Orders`."""

    def __init__(
        self,
        orders: Orders,
        outlet: Outlet,
        *,
        contracts: Contracts,
        clock: Clock,
        timing: Timing,
        on_change: Callable[[], None],
    ) -> None:
        self._orders = orders
        self._outlet = outlet
        self._tracker = outlet.tracker
        self._contracts = contracts
        self._clock = clock
        self._timing = timing
        self._on_change = on_change
        self._executions: dict[str, str] = {}
        """Executions that were seen: the stem of execId, and the last correction of it."""
        self._unintroduced: dict[int, int] = {}
        """Orders, by permId, of which only a fill is known, and at which reading it came."""
        self._by_fills: set[str] = set()
        """Orders that no list names: their size is what was filled."""
        self._gaps: set[str] = set()
        """Orders whose missing fills were reported."""
        self._awaiting: dict[str, tuple[TrackedOrder, Fill]] = {}
        """Fills that wait for their commission, by execId."""

    def on_execution(self, contract: Contract, execution: Execution, asked: bool) -> None:
        """execDetails, live or asked for: counted once by the stem of its id."""
        if self._orders.is_ours(execution.acctNumber):
            self._orders.turns.take(contract, lambda: self._take_execution(contract, execution, asked))

    def _take_execution(self, contract: Contract, execution: Execution, asked: bool) -> None:
        orders = self._orders
        tracked = orders.names.find(execution.permId, execution.clientId, execution.orderId, execution.orderRef)
        if tracked is None:
            tracked = self._adopt_execution(contract, execution)
        if tracked is None:
            return
        if tracked.orderid in self._by_fills:
            tracked.volume = max(tracked.volume, exact(execution.cumQty))
        self._tracker.bind(tracked, str(execution.permId))
        stem, _dot, revision = execution.execId.rpartition(".")
        if stem in self._executions:
            self._correct(tracked, execution, stem, revision)
            return
        self._executions[stem] = revision
        before = (tracked.traded, tracked.state)
        report = FillReport(
            volume=exact(execution.shares),
            price=exact(execution.price),
            cumulative=exact(execution.cumQty) if execution.cumQty else tracked.counted + exact(execution.shares),
            time=execution.time if isinstance(execution.time, datetime) else self._clock.now(),
            extra={"exec_id": execution.execId, "venue": execution.exchange},
            tradeid=stem,
        )
        new = self._tracker.fill(tracked, report)
        if before != (tracked.traded, tracked.state):
            self._outlet.push_order(tracked)
        if new and asked and tracked.shown:
            self._outlet.findings.add(Kind.FILLED, tracked)
        for fill in new:
            self._hold_for_commission(tracked, fill, execution.execId)

    def infer_missing(self, listed_since: datetime) -> None:
        """After a whole reading: fills of before the day that TWS lists are told from what it says of their orders.

        A strategy must not miss that it holds something. It is one fill for all that is missing of an order, at the
        price that makes its average TWS's own, or at the order's price where TWS says no average; ``extra`` says
        ``inferred``. A market order without an average has no price at all: that is reported, and not told.
        """
        for order in self._tracker:
            missing = order.traded - order.counted
            if missing <= 0 or order.time >= listed_since or not order.shown:
                continue
            average = self._orders.averages.pop(order.orderid, None)
            price = order.price if average is None else (average * order.traded - order.value) / missing
            if price <= 0:
                self._report_gap(order, missing)
                continue
            report = FillReport(missing, price, order.traded, self._clock.now(), {"inferred": "True"})
            for fill in self._tracker.fill(order, report):
                self._outlet.push_trade(order, fill)
            self._outlet.findings.add(Kind.FILLED, order)
            self._outlet.log(
                _("警告：委托{} {}的{}成交不在TWS当日成交列表中，按{}推断价格{}推送；请按持仓核对").format(
                    order.orderid,
                    order.vt_symbol,
                    plain_text(missing),
                    _("委托价") if average is None else _("平均价"),
                    plain_text(price),
                )
            )
            self._on_change()

    def _report_gap(self, order: TrackedOrder, missing: Decimal) -> None:
        self._outlet.findings.add(Kind.UNTOLD, order, plain_text(missing))
        if order.orderid not in self._gaps:
            self._gaps.add(order.orderid)
            self._outlet.log(
                _("警告：委托{} {}另有{}成交不在TWS当日成交列表中，价格不明，未推送；请按持仓核对").format(
                    order.orderid, order.vt_symbol, plain_text(missing)
                )
            )

    def _adopt_execution(self, contract: Contract, execution: Execution) -> TrackedOrder | None:
        """A fill of an order that nobody has introduced: the lists are read first, which tell its size and state.

        Executions come again with them. An order that no list names then is known by its fills alone.
        """
        if not execution.permId:
            return None
        first_seen = self._unintroduced.setdefault(execution.permId, self._orders.readings)
        if first_seen == self._orders.readings:
            self._orders.wanted.set()
            return None
        symbol, exchange = self._contracts.canonical_of(contract)
        report = OrderReport(
            broker_id=str(execution.permId),
            symbol=symbol,
            exchange=exchange,
            direction=Direction.LONG if execution.side == "BOT" else Direction.SHORT,
            type=OrderType.LIMIT,
            price=exact(execution.price),
            volume=exact(execution.cumQty),
            happening=Happening.ACKNOWLEDGED,
        )
        tracked = self._orders.adopt(report, execution.orderRef, execution.clientId)
        if tracked:
            self._by_fills.add(tracked.orderid)
        return tracked

    def _correct(self, order: TrackedOrder, execution: Execution, stem: str, revision: str) -> None:
        """A correction is no new trade: an alarm, and the position comes from the broker (design, section 4)."""
        if revision > self._executions[stem]:
            self._executions[stem] = revision
            self._outlet.log(
                _("警告：成交{}被券商更正为{}@{}，引擎中的成交不变，请按持仓核对").format(
                    stem, execution.shares, execution.price
                )
            )
            self._on_change()

    def _hold_for_commission(self, order: TrackedOrder, fill: Fill, exec_id: str) -> None:
        """The commission follows in a message of its own, usually at once: the trade takes it along."""
        self._awaiting[exec_id] = (order, fill)
        asyncio.get_running_loop().call_later(self._timing.commission_wait, self._tell_fill, exec_id)

    def on_commission(self, report: CommissionReport) -> None:
        """The commission of a fill that was told just before."""
        self._orders.turns.take(NOWHERE, lambda: self._take_commission(report))

    def _take_commission(self, report: CommissionReport) -> None:
        waiting = self._awaiting.get(report.execId)
        if waiting:
            _order, fill = waiting
            fill.extra["commission"] = str(exact(report.commission))
            fill.extra["commission_currency"] = report.currency
            self._tell_fill(report.execId)

    def _tell_fill(self, exec_id: str) -> None:
        waiting = self._awaiting.pop(exec_id, None)
        if waiting:
            self._outlet.push_trade(*waiting)
            self._on_change()
