"""Bringing the engine to TWS's truth: at connect, after each loss, on a timer, and when something asks for it.

Open orders first, then those that ended meanwhile, then executions. Absence from any of them ends nothing: an order may
wait in TWS for a person's Transmit (design, section 4).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from ib_async.objects import ExecutionFilter
from vnpy.trader.constant import Exchange

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed
from vnpy_brokerkit.findings import Kind
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.lifecycle import State
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.timing import Timing

from .order_names import MANUAL_CLIENT
from .orders import Orders, Outlet
from .settings import Settings
from .wire.tws import Wire


class OrderSync:
    """Asks TWS for its lists; what they hold reaches :class:`Orders` and ``Executions`` as news like any other."""

    def __init__(
        self,
        orders: Orders,
        outlet: Outlet,
        *,
        wire: Callable[[], Wire],
        account: Callable[[], str],
        settings: Settings,
        clock: Clock,
        timing: Timing,
        infer_missing: Callable[[datetime], None],
        listed_since: Callable[[Exchange, datetime], datetime],
    ) -> None:
        self._orders = orders
        self._outlet = outlet
        self._tracker = outlet.tracker
        self._wire = wire
        self._account = account
        self._settings = settings
        self._clock = clock
        self._infer_missing = infer_missing
        self._listed_since = listed_since
        self._missing: set[str] = set()
        """Orders that TWS once had and that the last whole reading did not name."""
        self._unnamed: set[str] = set()
        """Orders that the last whole reading did not name."""
        self._again = Patience(timing.orders_poll_idle, clock)
        self._patience = Patience(timing.repeat_line, clock, growing=True)
        self.incomplete = False
        """The last reading failed in part: another one is due."""

    async def reconcile(self) -> None:
        """Read everything. Raises :class:`BrokerError`."""
        wire = self._wire()
        self.incomplete = True
        if self._settings.client_id == MANUAL_CLIENT:
            wire.post(lambda: wire.client.reqAutoOpenOrders(True), "reqAutoOpenOrders")
            await wire.ask_plain("openOrders", wire.client.reqOpenOrders, each=_ignore)
        named = {order.orderid for order in self._tracker.active() if order.broker_id}
        listed = await self._read_open(wire)
        await self._read_ended(wire)
        await self._orders.turns.caught_up()
        self._note_missing(named, listed)
        if not self.incomplete:
            self._infer_missing(self._listed_since(Exchange.SMART, self._clock.now()))
        self._orders.cancels.send_wanted()

    def _note_missing(self, named: set[str], listed: set[str]) -> None:
        """Orders that TWS once had and that no list of two readings names: they stay as they are (the module's text).

        One of an earlier day, which an earlier process left: nobody says any more how it ended. It is not shown.
        """
        if self.incomplete:
            return
        missing = {
            order.orderid: order
            for order in self._tracker.active()
            if order.orderid in named and order.broker_id not in listed
        }
        for orderid, order in missing.items():
            if not order.shown:
                self._outlet.findings.add(Kind.MISSING, order)
                self._tracker.forget(order)
            elif orderid in self._missing:
                self._outlet.findings.add(Kind.MISSING, order)
                if self._patience.may_say(orderid):
                    self._outlet.log(
                        _("委托{} {}（券商号{}）不在TWS的挂单、已完成和成交列表中，无法得知结果；请在TWS中核对").format(
                            orderid, order.vt_symbol, order.broker_id
                        )
                    )
            else:
                self._orders.wanted.set()  # once more: it may have moved from one list to the other meanwhile
        self._missing = set(missing)

    async def refresh(self) -> None:
        """Read the open orders; what ended, only where one of ours is not among them. Raises :class:`BrokerError`."""
        wire = self._wire()
        listed = await self._read_open(wire)
        absent = {
            order.orderid
            for order in self._tracker.active()
            if (order.broker_id or order.state is State.UNKNOWN) and order.broker_id not in listed
        }
        # What a whole reading could not name, the next one will hardly name: those lists grow all day.
        if absent - self._unnamed or (absent and self._again.may_say("unnamed")):
            await self._read_ended(wire)
            self._unnamed = absent

    async def _read_open(self, wire: Wire) -> set[str]:
        """Read the open orders of all clients; return their permIds."""
        listed: set[str] = set()
        await wire.ask_plain(
            "openOrders", wire.client.reqAllOpenOrders, each=lambda row: listed.add(str(row[1].permId))
        )
        return listed

    async def _read_ended(self, wire: Wire) -> None:
        """Read today's completed orders and the executions of the trading account; each execution counts once."""
        self.incomplete = True
        await wire.ask_plain(
            "completedOrders",
            lambda: wire.client.reqCompletedOrders(False),
            each=lambda row: self._orders.turns.take(row.contract, partial(self._orders.take_completed, row)),
        )
        self._orders.readings += 1
        wanted = ExecutionFilter(acctCode=self._account())
        try:
            await wire.ask(lambda req_id: wire.client.reqExecutions(req_id, wanted), "reqExecutions", each=_ignore)
        except ConnectionFailed:
            raise
        except BrokerError as error:
            self._outlet.log(_("查询成交失败（{}），将自动重试").format(error.text))
            return
        self.incomplete = False


def _ignore(row: object) -> None:
    """The listener has heard it, which is all that is wanted."""
