"""Fills from the broker's lists: which are missing, and reading as far as they need it.

An order says how much it has filled; what is not counted of that is missing. The fills of a long day are read once, a
page at a time; what is missed later is looked for from the newest row down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError
from vnpy_brokerkit.findings import Kind
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import ZERO, FillReport, TrackedOrder

from .day import Day, crossed_midnight, first_day
from .deals import DealsReading, Need, covered
from .order_lists import Read, Source, deals_of, deals_today, fills_of_rows
from .orders import Orders, Outlet
from .spelling import EXCHANGE2MARKET
from .wire.schema import DeliverRow

FILL_READS = 3
"""How often lists that contradict each other are read before the difference is left to the next time."""


class FillSync:
    """Counts the fills that the lists know and we do not. ``ask`` reads certain orders anew."""

    def __init__(
        self,
        orders: Orders,
        outlet: Outlet,
        *,
        read_list: Read,
        ask: Callable[[Day, Sequence[str]], Awaitable[object]],
        clock: Clock,
        timing: Timing,
    ) -> None:
        self._orders = orders
        self._outlet = outlet
        self._tracker = outlet.tracker
        self._read_list = read_list
        self._ask = ask
        self._clock = clock
        self._vain = Patience(timing.orders_poll, clock, growing=True)
        """For fills that the list does not have although the order says so."""
        self.gained: set[str] = set()
        """Orders of which the lists told first that they have filled more: their fills were missed."""

    async def read(self, day: Day) -> bool:
        """Count what is missing of a market; return whether nothing is left. Raises :class:`BrokerError`.

        While its orders are still being read on, nothing is looked for: their fills come in one go afterwards.
        """
        if day.orders_behind:
            return True
        if not day.fills_begun:
            self.begin(day)
            if day.fills:
                await self.read_page(day)
        being_read = day.fills.needs if day.fills else {}
        missing = [
            order
            for order in self._missing(day.market)
            if order.broker_id not in being_read and self._vain.may_say(_claim(order))
        ]
        if not missing:
            return True
        claims = [_claim(order) for order in missing]
        try:
            met = await self._look_for(day, missing)
        except BrokerError:
            for claim in claims:
                self._vain.forget(claim)
            raise
        for claim in claims if met else ():
            self._vain.forget(claim)
        return met

    def begin(self, day: Day) -> None:
        """The day's orders are known: begin to read the fills that they say they have."""
        day.fills_begun = True
        missing = self._missing(day.market)
        if missing:
            needs = {order.broker_id: Need(ZERO, order.traded) for order in missing}
            day.fills = DealsReading(self._sources(day, missing), self._read_list, needs)

    async def read_page(self, day: Day) -> None:
        """Read one more page of the day's fills. Raises :class:`BrokerError`; the next call goes on from there."""
        reading = day.fills
        if reading is None:
            return
        brought = await reading.read_page()
        if reading.done:
            day.fills = None
        self._orders.quiet = True
        try:
            for number in reading.needs if reading.ended else brought:
                order = self._tracker.find([number])
                # What works may have filled more since its rows were read: those are sure when all have been.
                if order and order.traded > order.counted and (not order.active or reading.ended):
                    self._count(order, reading, Need(ZERO, order.traded))
        finally:
            self._orders.quiet = False
        if reading.done and self._missing(day.market):
            self._orders.wanted.set()  # what is missing still is looked for by itself

    def _missing(self, market: str) -> list[TrackedOrder]:
        return [
            order
            for order in self._tracker
            if order.shown
            and order.broker_id
            and EXCHANGE2MARKET[order.exchange].code == market
            and order.traded > order.counted
        ]

    def _sources(self, day: Day, orders: Iterable[TrackedOrder]) -> list[Source[DeliverRow]]:
        """Today's list, and that of the days before where an order is older than it."""
        now = self._clock.now()
        older = [o for o in orders if o.broker_id not in day or crossed_midnight(day.market, o, now)]
        sources = [deals_today(day.market)]
        if older:
            sources.append(deals_of(day.market, first_day(day.market, older), day.today + timedelta(days=1)))
        return sources

    async def _look_for(self, day: Day, orders: list[TrackedOrder]) -> bool:
        """Read from the newest fill down to the oldest that is missing."""
        for attempt in range(FILL_READS):
            needs = {order.broker_id: Need(ZERO if attempt else covered(order.fills), order.traded) for order in orders}
            reading = DealsReading(self._sources(day, orders), self._read_list, needs)
            while not reading.done:
                await reading.read_page()
            # What an order says after its fills were read is what they must make up.
            moving = [order.broker_id for order in orders if order.active]
            if moving:
                await self._ask(day, moving)
            orders = [order for order in orders if not self._count(order, reading, needs[order.broker_id])]
            if not orders:
                return True
            if attempt and all(reading.falls_short(order.broker_id, order.traded) for order in orders):
                return False  # they are not in the list yet: no use to read it again at once
        return False

    def _count(self, order: TrackedOrder, reading: DealsReading, need: Need) -> bool:
        """Count the fills of an order as far as they are sure; return whether none is missing any more."""
        if need.start and order.traded != need.traded:
            return False
        found = reading.rows_of(order.broker_id, Need(need.start, order.traded))
        if found:
            rows, before = found
            market = EXCHANGE2MARKET[order.exchange].code
            fills = fills_of_rows(rows, market, self._clock.now(), before)
            if before and not _agree(order, fills):
                return False
            counted = order.counted
            self._orders.count(order, fills)
            if order.counted > counted and order.orderid in self.gained:
                self._outlet.findings.add(Kind.FILLED, order)
        if order.counted < order.traded:
            return False
        self.gained.discard(order.orderid)
        return True


def _claim(order: TrackedOrder) -> str:
    return f"{order.broker_id}:{order.traded}"


def _agree(order: TrackedOrder, fills: Iterable[FillReport]) -> bool:
    """Tell whether fills that were placed from the top down meet those that are counted without overlap."""
    for fill in fills:
        low, high = fill.cumulative - fill.volume, fill.cumulative
        if any((s.low, s.high) != (low, high) and s.low < high and low < s.high for s in order.fills):
            return False
    return True
