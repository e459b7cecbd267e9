"""Bringing the engine to the broker's lists: at connect, after each gap, on a timer, and when an outcome is unknown.

Orders first, then fills; what the two lists say must add up before fills are counted from them. Absence closes an order
only where its outcome was unknown, and only after two complete reads (design, section 4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Exchange

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError, PermissionDenied
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.lifecycle import TERMINAL, State, move
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.reconcile import Key, likeness, settle
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import ZERO, TrackedOrder

from .contracts import EXCHANGE2MARKET, MARKETS
from .order_lists import (
    STATUS2HAPPENING,
    Read,
    fills_of_rows,
    read_deal_history,
    read_deals,
    read_history,
    read_orders,
    read_orders_by_id,
    report_of_row,
)
from .orders import Orders, Outlet
from .wire.schema import DeliverRow, OrderRow
from .wire.values import parse_date

BROKER_ZONE = ZoneInfo("Asia/Hong_Kong")
"""Whose midnight moves orders and fills from today's lists to the history lists: in the middle of New York's day."""
FILL_READS = 3
"""How often lists that contradict each other are read before the difference is left to the next time."""


class OrderSync:
    """Reads the lists of one session and tells :class:`Orders` what they say."""

    def __init__(
        self,
        orders: Orders,
        outlet: Outlet,
        *,
        read_list: Read,
        markets: Callable[[], Iterable[str]],
        learn_name: Callable[[str, Exchange, str], None],
        denied: Callable[[str, PermissionDenied], None],
        clock: Clock,
        timing: Timing,
    ) -> None:
        self._orders = orders
        self._outlet = outlet
        self._tracker = outlet.tracker
        self._read_list = read_list
        self._markets = markets
        self._learn_name = learn_name
        self._denied = denied
        self._clock = clock
        self._timing = timing
        self._patience = Patience(timing.repeat_line, clock)
        self._read_on: dict[str, date] = {}
        """The broker's day on which a market's list was last read whole: before that, absence means nothing."""
        self._listed: dict[str, set[str]] = {}
        """The broker's numbers in today's list of a market, as last read."""
        self._reading = asyncio.Lock()

    async def reconcile(self) -> None:
        """Bring the engine to the broker's lists: orders, then fills. Raises :class:`BrokerError`."""
        async with self._reading:
            for market in list(self._markets()):
                try:
                    await self._reconcile_market(market)
                except PermissionDenied as error:
                    self._denied(market, error)
                except BrokerError:
                    self._want_again()
                    raise
        for order in self._tracker.active():
            if order.cancel_wanted and order.broker_id:
                await self._orders.cancel(order.orderid)

    async def _reconcile_market(self, market: str) -> None:
        for _attempt in range(FILL_READS):
            await self._read_orders(market)
            missing = self._missing_fills(market)
            if not missing:
                return
            if self._take_deals(market, await self._read_deals(market, missing)):
                return
        self._want_again()
        self._say_once(market, _("{}的成交与委托列表暂不一致，将继续核对").format(_(MARKETS[market].name)))

    def _want_again(self) -> None:
        """What was wanted has not been read: it is wanted again, in a while, however idle the account is."""
        asyncio.get_running_loop().call_later(self._timing.orders_poll, self._orders.wanted.set)

    async def _read_orders(self, market: str) -> bool:
        listing = await read_orders(self._read_list, market)
        for problem in listing.problems:
            self._outlet.log(_("委托数据有误，已跳过：{}").format(problem))
        for row in listing.rows:
            self._take_row(row, market)
        if not listing.complete:
            self._say_once(
                f"{market}-pages", _("{}的委托列表没有读完整，不据此判断委托是否存在").format(_(MARKETS[market].name))
            )
            return False
        self._listed[market] = {row.entrust_id for row in listing.rows}
        if not await self._read_session_start(market):
            return False
        self._read_on[market] = self._broker_day()
        await self._look_up_missing(market, self._listed[market])
        return True

    def _broker_day(self) -> date:
        return self._clock.now().astimezone(BROKER_ZONE).date()

    async def _read_session_start(self, market: str) -> bool:
        """Read the exchange's present day where the broker's midnight has cut it; return whether all of it was read.

        An order of New York's morning is in the history list alone once Hong Kong has gone to bed (section 12.2).
        Taken are orders that still work and those of the exchange's present day: older ones are history for us, too.
        """
        broker_day = self._broker_day()
        today = self._clock.now().astimezone(ZoneInfo(MARKETS[market].zone)).date()
        known = self._read_on.get(market) == broker_day and not self._waits_since_before(broker_day)
        if today >= broker_day or known:
            return True
        listing = await read_history(self._read_list, market, today - timedelta(days=1), broker_day)
        for row in listing.rows:
            placed = parse_date(row.date)
            present = placed is None or placed >= today or _works(row)
            if present and row.entrust_id not in self._listed[market]:
                self._take_row(row, market)
        return listing.complete

    def _waits_since_before(self, broker_day: date) -> bool:
        return any(order.time.astimezone(BROKER_ZONE).date() < broker_day for order in self._orders.waiting())

    def _take_row(self, row: OrderRow, market: str) -> None:
        report = report_of_row(row, market)
        if report is None:
            return
        self._orders.kinds[row.entrust_id] = row.entrust_type_num or row.entrust_type
        if row.stock_name:
            self._learn_name(report.symbol, report.exchange, row.stock_name)
        order = self._orders.owner(report)
        if order:
            self._orders.apply(order, report)
        else:
            self._orders.meet(report)

    async def _look_up_missing(self, market: str, listed: set[str]) -> None:
        """An acknowledged order that today's list does not have is looked up, never closed by absence."""
        missing = [
            order
            for order in self._tracker.active()
            if order.broker_id
            and order.broker_id not in listed
            and EXCHANGE2MARKET[order.exchange].code == market
            and self._clock.monotonic() - order.sent > self._timing.settle_apart
        ]
        if not missing:
            return
        rows = await read_orders_by_id(self._read_list, market, [order.broker_id for order in missing])
        found = {row.entrust_id for row in rows}
        if len(found) < len(missing):
            rows += (await read_history(self._read_list, market, *self._days_since(missing))).rows
        wanted = {order.broker_id for order in missing}
        for row in rows:
            if row.entrust_id in wanted:
                self._take_row(row, market)
        for order in missing:
            if order.broker_id not in {row.entrust_id for row in rows}:
                self._say_once(
                    order.orderid,
                    _("委托{}（券商号{}）不在券商的当日和历史列表中，保持原状态；请在APP中核对").format(
                        order.orderid, order.broker_id
                    ),
                )

    def _days_since(self, orders: Iterable[TrackedOrder]) -> tuple[date, date]:
        """Return the days that hold all of these orders, whatever the zone of the broker's dates."""
        return min(order.time for order in orders).date() - timedelta(days=1), self._broker_day() + timedelta(days=1)

    async def _read_deals(self, market: str, missing: Iterable[TrackedOrder]) -> tuple[DeliverRow, ...]:
        """Read the fills, oldest first: today's, and before them the earlier ones of orders that are not today's."""
        rows = (await read_deals(self._read_list, market)).rows
        older = [order for order in missing if order.broker_id not in self._listed.get(market, ())]
        if not older:
            return rows
        history = await read_deal_history(self._read_list, market, *self._days_since(older))
        return tuple(row for row in history.rows if row not in rows) + rows

    def _missing_fills(self, market: str) -> list[TrackedOrder]:
        return [
            order
            for order in self._tracker
            if order.traded > order.counted and EXCHANGE2MARKET[order.exchange].code == market and order.broker_id
        ]

    def _take_deals(self, market: str, rows: Iterable[DeliverRow]) -> bool:
        """Count the fills of the lists; return whether they add up with the orders as far as these are known."""
        by_order: dict[str, list[DeliverRow]] = {}
        for row in rows:
            by_order.setdefault(row.entrust_id, []).append(row)
        consistent = True
        for broker_id, deals in by_order.items():
            order = self._tracker.find([broker_id])
            fills = fills_of_rows(deals, market, self._clock.now())
            if order is None:
                if broker_id in self._orders.held:
                    self._orders.held_fills[broker_id] = fills
                continue
            total = fills[-1].cumulative if fills else ZERO
            if total > order.traded:
                # A page that repeated rows, or a fill newer than the order's row: read both again.
                consistent = False
                continue
            self._orders.count(order, fills)
        return consistent and not self._missing_fills(market)

    def _say_once(self, what: str, line: str) -> None:
        if self._patience.may_say(what):
            self._outlet.log(line)

    # ------------------------------------------------------------------ unknown outcomes

    async def settle_unknown(self) -> None:
        """Settle what is unknown and old enough, by two complete reads (design, section 4)."""
        now = self._clock.monotonic()
        nameless = self._orders.waiting()
        # While an order still waits for its answer, a row like it may be its own: its likes wait, too.
        young = {
            likeness(order)
            for order in nameless
            if order.state is State.SENDING or now - order.sent < self._timing.settle_after
        }
        ripe = [o for o in self._orders.unsettled() if likeness(o) not in young]
        by_market: dict[str, list[TrackedOrder]] = {}
        for order in ripe:
            by_market.setdefault(EXCHANGE2MARKET[order.exchange].code, []).append(order)
        for market, orders in by_market.items():
            if market not in self._read_on or not await self._read_twice(market):
                continue
            still = [order for order in orders if order.state is State.UNKNOWN]
            await self._settle_market(still)

    async def _read_twice(self, market: str) -> bool:
        async with self._reading:
            if not await self._read_orders(market):
                return False
        await self._clock.sleep(self._timing.settle_apart)
        async with self._reading:
            return await self._read_orders(market)

    async def _settle_market(self, orders: list[TrackedOrder]) -> None:
        rows = sorted(self._orders.held.values(), key=lambda r: (r.time.timestamp() if r.time else 0.0, r.broker_id))
        decision = settle(orders, rows)
        for order, report in decision.found:
            self._outlet.log(_("委托{}已核实：在券商处找到（券商号{}）").format(order.orderid, report.broker_id))
            await self._orders.claim(order, report.broker_id)
        for order in decision.absent:
            order.inferred = True
            self._orders.given_up[likeness(order)] = order.orderid
            self._outlet.refuse(order, _("券商委托列表两次均无此委托，判定为未到达券商"))
        for order in decision.undecidable:
            self._outlet.log(
                _("委托{}无法核实：券商处有多笔相同委托，不能判断哪一笔是它；请在APP中核对").format(order.orderid),
            )
        if decision.undecidable:
            self._orders.undecidable |= {order.orderid for order in decision.undecidable}
            self._show_undecidable({likeness(order) for order in decision.undecidable})
        self._orders.release_held()
        self._orders.wanted.set()

    def _show_undecidable(self, keys: set[Key]) -> None:
        """Rows that can't be told apart are at the broker, so they are shown: as orders placed elsewhere."""
        for broker_id, report in list(self._orders.held.items()):
            if likeness(report) in keys:
                del self._orders.held[broker_id]
                order = self._tracker.adopt(self._outlet.ids.external(broker_id), report, self._clock.now())
                self._tracker.report(order, report)
                self._outlet.push_order(order)
                self._orders.count(order, self._orders.held_fills.pop(broker_id, []))


def _works(row: OrderRow) -> bool:
    happening = STATUS2HAPPENING.get(row.status)
    return happening is None or move(State.PENDING, happening) not in TERMINAL
