"""The tasks that keep a session current: orders and fills, positions and funds, quotes, marks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from vnpy_brokerkit.findings import Kind, Occasion
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.keepers import Marks, Rounds
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.waiting import first_set, within

from .market_data import Key
from .rooms import Rooms
from .spelling import EXCHANGE2MARKET

if TYPE_CHECKING:
    from .gateway import VbrokersGateway


class Keepers:
    """Keeps the rooms of one session current; its tasks never end by themselves.

    ``is_up`` tells whether there is a Gateway to ask, ``markets`` for what.
    """

    def __init__(
        self, gateway: VbrokersGateway, is_up: Callable[[], bool], markets: Callable[[], Iterable[str]]
    ) -> None:
        self._gateway = gateway
        self._is_up = is_up
        self._markets = markets
        self._clock = gateway.clock
        self._timing = gateway.timing
        self._rounds = Rounds(Patience(self._timing.repeat_line, self._clock), gateway.log)
        self._patience_with_push = Patience(self._timing.push_patience, self._clock)
        self._patience_to_subscribe = Patience(self._timing.repeat_line, self._clock)
        self.funds_wanted = asyncio.Event()
        """Set when all positions and funds should be read soon."""
        self._moved: set[str] = set()
        """Markets whose positions and funds an order has changed since they were read."""
        self._change = asyncio.Event()
        self.marks = Marks(self._clock, self._timing.position_interval)
        self._opening: Occasion | None = None
        """The connect or reconnect whose reconciliation has not been reported yet."""
        self._asked = False
        """Whether somebody asked for a reconciliation."""
        self._last_round = 0.0
        self._looked = asyncio.Event()
        """Set when a session has taken its first look: there may be more to be read."""
        self._followed: set[Key] = set()
        """Instruments of working orders that the market data was told of."""

    def tasks(self, rooms: Rooms) -> list[Coroutine[Any, Any, None]]:
        """What has to run as long as the session does."""
        marks = self.marks.keep(rooms.positions.push_position)
        return [self._keep_orders(rooms), self._keep_funds(rooms), self._keep_quotes(rooms), marks]

    # ------------------------------------------------------------------ reports

    def begin(self, occasion: Occasion, rooms: Rooms) -> None:
        """A reconciliation after a connect or a gap begins; it is reported when the day is known whole."""
        if self._opening is None:
            self._opening = occasion
            self._gateway.findings.begin()
        self._last_round = self._clock.monotonic()
        rooms.order_sync.interrupt()

    def ask(self, rooms: Rooms) -> None:
        """Somebody wants everything to be compared with the broker, and a report."""
        self._asked = True
        rooms.orders.wanted.set()
        self.funds_wanted.set()

    def moved(self, market: str) -> None:
        """An order has changed what this market's positions and funds are."""
        self._moved.add(market)
        self._change.set()

    def close_round(self, rooms: Rooms) -> None:
        """A round has ended: report it where it was asked for or found something."""
        sync = rooms.order_sync
        self._looked.set()
        if self._opening and not sync.behind:
            occasion, self._opening = self._opening, None
        elif self._asked:
            occasion, self._asked = Occasion.DEMAND, False
        elif self._opening:
            return
        else:
            occasion = Occasion.TIMER
        findings = self._gateway.findings
        if occasion is not Occasion.TIMER:
            for order in sync.missing.values():
                findings.add(Kind.MISSING, order)
        report = findings.report(occasion, self._gateway.tracker.unknown(), complete=sync.complete)
        if occasion is not Occasion.TIMER or any(finding.kind is not Kind.UNKNOWN for finding in report.findings):
            self._gateway.log(report.line())
        findings.begin()

    # ------------------------------------------------------------------ orders

    async def _keep_orders(self, rooms: Rooms) -> None:
        """Read the lists when something asks for it, and at intervals that follow what is at stake; between two such
        rounds read on in a day that is not known yet."""
        sync, wanted = rooms.order_sync, rooms.orders.wanted
        failed = False
        while True:
            if failed or not (self._is_up() and sync.behind) or wanted.is_set():
                await self._woken(self._orders_interval(rooms), wanted, self._looked)
            if not self._is_up():
                continue
            if self._looked.is_set():
                self._looked.clear()
                failed = False
                continue
            failed = True
            if wanted.is_set() or not sync.behind or self._is_overdue(rooms):
                wanted.clear()
                self._last_round = self._clock.monotonic()
                compared = False
                async with self._rounds.surviving():
                    await sync.reconcile()
                    compared = True
                async with self._rounds.surviving():
                    await sync.settle_unknown()  # also where the list of another market can't be read
                    if compared:
                        self.close_round(rooms)
                        self._looked.clear()
                        failed = False
            else:
                async with self._rounds.surviving():
                    await sync.read_on()
                    failed = False
                if not sync.behind and not failed:
                    self.close_round(rooms)
                    if rooms.orders.has_unknown:
                        wanted.set()
            async with self._rounds.surviving():
                await self._follow_working(rooms)

    def _is_overdue(self, rooms: Rooms) -> bool:
        """Whether a day that is being read must wait: what works may change unseen."""
        pause = self._timing.orders_poll_idle if rooms.connection.push_up else self._timing.orders_poll
        return self._clock.monotonic() - self._last_round >= pause

    def _orders_interval(self, rooms: Rooms) -> float:
        if rooms.orders.has_unknown:
            return self._timing.orders_poll_alone
        if self._gateway.tracker.active():
            return self._timing.orders_poll if rooms.connection.push_up else self._timing.orders_poll_alone
        return self._timing.orders_poll_idle if rooms.connection.push_up else self._timing.orders_poll

    async def _follow_working(self, rooms: Rooms) -> None:
        """What works has a contract and a price, also where an order was found late."""
        working = {(order.symbol, order.exchange) for order in self._gateway.tracker.active()} - self._followed
        served = set(self._markets())
        keys = [key for key in working if key[1] in EXCHANGE2MARKET and EXCHANGE2MARKET[key[1]].code in served]
        if keys:
            await rooms.market_data.follow(keys, show=False)
            self._followed.update(keys)

    # ------------------------------------------------------------------ positions, funds, quotes

    async def _keep_funds(self, rooms: Rooms) -> None:
        """Positions and funds: a market's soon after its change, all at intervals; this keeps the login alive, too."""
        whole = self._clock.monotonic()
        while True:
            await self._woken(self._timing.funds_poll, self.funds_wanted, self._change)
            if not self._is_up():
                continue
            # Asked after the wait: the day's lists may have been read, or something filled, meanwhile.
            busy = bool(self._gateway.tracker.active() or rooms.positions.held) and not rooms.order_sync.behind
            pause = self._timing.funds_poll if busy else self._timing.funds_poll_idle
            woken = self.funds_wanted.is_set() or self._change.is_set()
            if not woken and self._clock.monotonic() - whole < pause:
                continue
            await self._clock.sleep(self._timing.after_change)
            everything = self.funds_wanted.is_set() or self._clock.monotonic() - whole >= pause
            markets = set(self._markets()) if everything else self._moved & set(self._markets())
            self.funds_wanted.clear()
            self._change.clear()
            self._moved.clear()
            if everything:
                whole = self._clock.monotonic()
            async with self._rounds.surviving():
                await rooms.positions.read(markets)
                held = [(holding.symbol, holding.exchange) for holding in rooms.positions.held]
                await rooms.market_data.follow(held, show=False)
                rooms.positions.push_positions()
                await rooms.accounts.read(markets)

    async def _keep_quotes(self, rooms: Rooms) -> None:
        """Poll quotes where there is no push; with push, ask for what has been silent and find a push that is stuck."""
        while True:
            alone = not rooms.connection.push_up or rooms.market_data.unsubscribed
            await self._clock.sleep(self._timing.quotes_poll if alone else self._timing.quotes_check)
            if not self._is_up():
                continue
            async with self._rounds.surviving():
                if rooms.market_data.unsubscribed and self._patience_to_subscribe.may_say("rest"):
                    await rooms.market_data.subscribe_rest()
                stuck = await rooms.market_data.poll(everything=not rooms.connection.push_up)
                if stuck and rooms.connection.push_up and self._patience_with_push.may_say("stuck"):
                    self._gateway.log(_("推送没有更新而行情已变化，重新连接推送"))
                    rooms.connection.drop_push()

    async def _woken(self, seconds: float, *events: asyncio.Event) -> None:
        """Return when one of these is set, or after so many seconds."""
        with contextlib.suppress(asyncio.TimeoutError):
            await within(seconds, first_set(*events))
        if not self._is_up():
            # Nothing to read yet; an event that stays set must not spin.
            await self._clock.sleep(min(seconds, 0.2))
