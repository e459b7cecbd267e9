"""Bringing the engine to the broker's lists: at connect, after each gap, on a timer, and when an outcome is unknown.

Orders first, then fills. A round reads what is new at the top of each market's list and asks by number for what still
works and was not there; the rest of a long day is read once, page by page, between the rounds. As long as a market's
day is not known whole, absence means nothing. It closes an order only where its outcome was unknown, and only after
two complete reads (design, section 4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Exchange

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError, PermissionDenied
from vnpy_brokerkit.findings import Kind
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.lifecycle import TERMINAL, State, move
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import TrackedOrder

from .day import BROKER_ZONE, LOOK_BACK, Day, crossed_midnight, first_day, mark_of
from .fill_sync import FillSync
from .order_lists import STATUS2HAPPENING, Page, Read, orders_of, orders_today, read_orders_by_id, report_of_row
from .order_pages import OrderPages, Take
from .orders import Orders, Outlet
from .settling import UNREACHABLE, Settling
from .spelling import EXCHANGE2MARKET, MARKETS
from .wire.schema import OrderRow
from .wire.values import parse_date


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
        self._retries = Patience(timing.orders_poll_idle, clock)
        """For lists that could not be read to their end."""
        self._searches = Patience(timing.orders_poll, clock)
        """For orders that today's list does not have: the history list takes many pages."""
        self._days: dict[str, Day] = {}
        self.missing: dict[str, TrackedOrder] = {}
        """By the broker's number, acknowledged orders that no list has, looked up twice."""
        self._sought: set[str] = set()
        """Numbers that were looked up once: an order may be on its way from one list to the other."""
        self._sound = False
        self._reading = asyncio.Lock()
        self._again: asyncio.TimerHandle | None = None
        """Set while the lists will be wanted again by themselves."""
        self._fills = FillSync(orders, outlet, read_list=read_list, ask=self._ask, clock=clock, timing=timing)
        self._settling = Settling(orders, outlet, read_all=self._read_all, clock=clock, timing=timing)

    # ------------------------------------------------------------------ how far it is

    @property
    def behind(self) -> bool:
        """Whether the day is still being read: :meth:`read_on` has work to do."""
        return any(self._days[market].behind for market in self._markets() if market in self._days)

    @property
    def complete(self) -> bool:
        """Whether the last round missed nothing, and the whole day is known."""
        days = [self._days.get(market) for market in self._markets()]
        return self._sound and all(day is not None and day.whole for day in days)

    def interrupt(self) -> None:
        """The connection was lost: what was being read goes on where it was, if the Gateway still knows where."""
        for day in self._days.values():
            for pages in [*day.lists, *([day.older] if day.older else [])]:
                pages.interrupt()
            if day.fills:
                day.fills.interrupt()

    def _day(self, market: str) -> Day:
        """Return the broker's present day of a market; a new one takes over what the one before knows."""
        now = self._clock.now()
        today = now.astimezone(BROKER_ZONE).date()
        before = self._days.get(market)
        if before is not None and before.today == today:
            return before
        day = Day(market, today, OrderPages(orders_today(market), self._read_list, self._clock))
        start = now.astimezone(ZoneInfo(MARKETS[market].zone)).date()
        if start < today:
            # New York's morning is in the history list alone once Hong Kong has gone to bed (section 12.2).
            known = before.orders.known if before and before.orders.whole and start <= before.today else None
            day.session_start = start
            day.session = OrderPages(orders_of(market, start, today), self._read_list, self._clock, known)
        if before is None:
            older = orders_of(market, start - LOOK_BACK, today)
            day.older = OrderPages(older, self._read_list, self._clock)
        self._days[market] = day
        return day

    # ------------------------------------------------------------------ a round

    async def reconcile(self) -> None:
        """Bring the engine to the newest of the broker's lists: orders, then fills. Raises :class:`BrokerError`."""
        async with self._reading:
            self._sound, sound = False, True
            failure: BrokerError | None = None
            for market in list(self._markets()):
                try:
                    sound = await self._look(market) and sound
                    sound = await self._read_fills(market) and sound
                except PermissionDenied as error:
                    self._denied(market, error)
                except BrokerError as error:
                    self._want_again()
                    if isinstance(error, UNREACHABLE):
                        raise
                    # One market's list that is refused must not hide the others' orders.
                    failure, sound = failure or error, False
            self._sound = sound
        for order in self._tracker.active():
            if order.cancel_wanted and order.broker_id:
                await self._orders.cancel(order.orderid)
        if failure:
            raise failure

    async def settle_unknown(self) -> None:
        """Settle what is unknown and old enough. Raises :class:`BrokerError`."""
        await self._settling.settle()

    def _want_again(self) -> None:
        """What was wanted has not been read: it is wanted again, in a while, however idle the account is."""
        if self._again is None:
            # One for all markets: each of them would make a round, and each round one more for each of them.
            self._again = asyncio.get_running_loop().call_later(self._timing.orders_poll, self._want_now)

    def _want_now(self) -> None:
        self._again = None
        self._orders.wanted.set()

    async def _look(self, market: str) -> bool:
        """Read what is new of a market's orders, and what became of those that work; return whether none was missed."""
        day = self._day(market)
        self._begin_anew(day)
        sound = await day.orders.look(self._take_today(day))
        if day.session and not day.session_read:
            sound = await day.session.look(self._take_session(day)) and sound
            day.session_read = True
        await self._ask_for_unseen(day)
        if not sound:
            self._say_once(
                f"{market}-pages", _("{}的委托列表没有读完整，不据此判断委托是否存在").format(_(MARKETS[market].name))
            )
            self._want_again()
        return sound and day is self._day(market)

    async def _read_fills(self, market: str) -> bool:
        if await self._fills.read(self._day(market)):
            return True
        self._want_again()
        self._say_once(market, _("{}的成交与委托列表暂不一致，将继续核对").format(_(MARKETS[market].name)))
        return False

    def _begin_anew(self, day: Day) -> None:
        """A list that could not be read to its end is tried again where that matters, else now and then."""
        given_up = [pages for pages in day.lists if pages.given_up]
        if given_up and (self._orders.has_unknown or self._retries.may_say(f"{day.market}-anew")):
            for pages in given_up:
                pages.begin_anew()
            day.session_read = False

    async def _ask_for_unseen(self, day: Day) -> None:
        """What works and was not on the pages is asked for by number; what no list has is told, never closed."""
        for number, order in list(self.missing.items()):
            if not order.active or number in day.orders.seen:
                del self.missing[number]
        unseen = {
            order.broker_id: order
            for order in self._tracker.active()
            if order.broker_id
            and order.broker_id not in day.orders.seen
            and EXCHANGE2MARKET[order.exchange].code == day.market
            and self._clock.monotonic() - order.sent > self._timing.settle_apart
        }
        if not unseen:
            return
        page = await self._ask(day, list(unseen))
        for row in page.rows:
            self.missing.pop(row.entrust_id, None)
            unseen.pop(row.entrust_id, None)
        if page.sound:
            lost = {n: order for n, order in unseen.items() if order.active and self._searches.may_say(n)}
            if lost:
                await self._look_up(day, lost)

    async def _ask(self, day: Day, numbers: Sequence[str]) -> Page[OrderRow]:
        """Read certain orders of today anew."""
        page = await read_orders_by_id(self._read_list, day.market, numbers)
        self._take_page(day, page, self._clock.monotonic())
        return page

    async def _look_up(self, day: Day, lost: dict[str, TrackedOrder]) -> None:
        """Look for orders in the history list that today's does not have."""
        found: set[str] = set()

        def take(page: Page[OrderRow], at: float) -> None:
            rows = tuple(row for row in page.rows if row.entrust_id in lost)
            found.update(row.entrust_id for row in rows)
            self._take_page(day, Page(rows, "", page.sound), at)

        if not await self._read_history(day, list(lost.values()), take):
            return
        for number, order in lost.items():
            if number in found:
                self.missing.pop(number, None)
                self._sought.discard(number)
                continue
            if number not in self._sought:
                self._sought.add(number)
                continue
            if number not in self.missing:
                self.missing[number] = order
                self._outlet.findings.add(Kind.MISSING, order)
            self._say_once(
                order.orderid,
                _("委托{}（券商号{}）不在券商的当日和历史列表中，保持原状态；请在APP中核对").format(
                    order.orderid, number
                ),
            )

    # ------------------------------------------------------------------ complete reads

    async def _read_all(self, market: str, orders: Sequence[TrackedOrder]) -> bool:
        """Read every list that may hold some orders of unknown outcome; return whether nothing was missed."""
        async with self._reading:
            if market not in self._markets() or self._day(market).orders_behind or not await self._look(market):
                return False
            day = self._day(market)
            now = self._clock.now()
            older = [order for order in orders if crossed_midnight(market, order, now)]
            if older and day.session and day.session_start and day.session_start <= first_day(market, older):
                sound = await day.session.look(self._take_session(day)) and day.session.whole
            elif older:
                sound = await self._read_history(day, older, self._take_past(day))
            else:
                sound = True
            return sound and day.orders.whole and day is self._day(market)

    async def _read_history(self, day: Day, orders: Sequence[TrackedOrder], take: Take) -> bool:
        """Read the history list from the oldest of some orders on, whole; return whether that could be done."""
        source = orders_of(day.market, first_day(day.market, orders), day.today + timedelta(days=1))
        pages = OrderPages(source, self._read_list, self._clock)
        sound = await pages.look(take)
        while sound and pages.behind:
            await pages.read_on(take)
        return sound and pages.whole

    # ------------------------------------------------------------------ the rest of the day

    async def read_on(self) -> None:
        """Read one more page of what is not known yet of the day. Raises :class:`BrokerError`."""
        async with self._reading:
            markets = [market for market in self._markets() if market in self._days]
            days = [self._day(market) for market in markets]
            # The orders of every market first, then fills, then older days.
            for day in sorted((day for day in days if day.behind), key=_priority):
                try:
                    await self._read_page(day)
                except PermissionDenied as error:
                    self._denied(day.market, error)
                return

    async def _read_page(self, day: Day) -> None:
        if day.orders.behind:
            await day.orders.read_on(self._take_today(day, quiet=True))
        elif day.session and day.session.behind:
            await day.session.read_on(self._take_session(day, quiet=True))
        elif day.fills:
            await self._fills.read_page(day)
        elif day.older:
            await day.older.read_on(self._take_working(day))
            if not day.older.behind:
                day.older = None
        if not day.orders_behind and not day.fills_begun:
            self._fills.begin(day)

    # ------------------------------------------------------------------ rows

    def _take_today(self, day: Day, *, quiet: bool = False) -> Take:
        return lambda page, at: self._take_page(day, page, at, quiet=quiet)

    def _take_session(self, day: Day, *, quiet: bool = False) -> Take:
        """Of the history list, orders of the exchange's present day are taken, and those that still work."""

        def take(page: Page[OrderRow], at: float) -> None:
            rows = tuple(row for row in page.rows if row.entrust_id not in day and _is_present(day, row))
            self._take_page(day, Page(rows, "", page.sound, page.problems), at, quiet=quiet)

        return take

    def _take_working(self, day: Day) -> Take:
        """Of the days before, what still works is taken."""

        def take(page: Page[OrderRow], at: float) -> None:
            rows = tuple(row for row in page.rows if row.entrust_id not in day and _works(row))
            self._take_page(day, Page(rows, "", page.sound), at)

        return take

    def _take_past(self, day: Day) -> Take:
        """Of older days, what may be an order of ours is taken."""

        def take(page: Page[OrderRow], at: float) -> None:
            rows = tuple(
                row
                for row in page.rows
                if row.entrust_id not in day and not (day.session and row.entrust_id in day.session)
            )
            self._take_page(day, Page(rows, "", page.sound, page.problems), at, past=True)

        return take

    def _take_page(self, day: Day, page: Page[OrderRow], at: float, *, quiet: bool = False, past: bool = False) -> None:
        """Apply rows: what works first, then oldest first. ``at``: see :data:`~.order_pages.Take`."""
        for problem in page.problems:
            self._say_once(f"problem-{problem}", _("委托数据有误，已跳过：{}").format(problem))
        rows = list(reversed(page.rows))
        rows.sort(key=lambda row: not _works(row))
        waiting = self._orders.waiting()
        self._orders.quiet = quiet
        try:
            for row in rows:
                mark = mark_of(row)
                if day.applied.get(row.entrust_id) == mark:
                    continue
                self._take_row(day.market, row, waiting, at, past=past)
                if not past and row.entrust_id not in self._orders.held:
                    day.applied[row.entrust_id] = mark
        finally:
            self._orders.quiet = False
        for row in rows if not past else ():
            self._orders.cancels.listed(row.entrust_id, row.status)

    def _take_row(self, market: str, row: OrderRow, waiting: Sequence[TrackedOrder], at: float, *, past: bool) -> None:
        report = report_of_row(row, market)
        if report is None:
            return
        self._orders.kinds[row.entrust_id] = row.entrust_type_num or row.entrust_type
        if row.stock_name:
            self._learn_name(report.symbol, report.exchange, row.stock_name)
        order = self._orders.owner(report)
        if order is None:
            self._orders.meet(report, waiting, at, past=past)
        elif order.active or not past:
            before = order.traded
            self._orders.apply(order, report)
            if order.traded > before:
                self._fills.gained.add(order.orderid)

    def _say_once(self, what: str, line: str) -> None:
        if self._patience.may_say(what):
            self._outlet.log(line)


def _works(row: OrderRow) -> bool:
    happening = STATUS2HAPPENING.get(row.status)
    return happening is None or move(State.PENDING, happening) not in TERMINAL


def _priority(day: Day) -> int:
    return 0 if day.orders_behind else 1 if day.fills else 2


def _is_present(day: Day, row: OrderRow) -> bool:
    placed = parse_date(row.date)
    return placed is None or day.session_start is None or placed >= day.session_start or _works(row)
