"""Bringing the engine to TWS's truth: at connect, after each loss, on a timer, and when something asks for it.

Open orders first, then those that ended meanwhile, then executions. Absence from any of them ends nothing: an order may
wait in TWS for a person's Transmit (design, section 4).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ib_async.objects import ExecutionFilter

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed
from vnpy_brokerkit.findings import Kind
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.lifecycle import State

from .cancels import MANUAL_CLIENT
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
    ) -> None:
        self._orders = orders
        self._outlet = outlet
        self._tracker = outlet.tracker
        self._wire = wire
        self._account = account
        self._settings = settings
        self._clock = clock
        self._told_missing: set[str] = set()
        self.incomplete = False
        """The last reading failed in part: another one is due."""

    async def reconcile(self) -> None:
        """Read everything. Raises :class:`BrokerError`."""
        wire = self._wire()
        self.incomplete = True
        if self._settings.client_id == MANUAL_CLIENT:
            wire.post(lambda: wire.client.reqAutoOpenOrders(True), "reqAutoOpenOrders")
            await wire.ask_plain("openOrders", wire.client.reqOpenOrders)
        rows = await wire.ask_plain("openOrders", wire.client.reqAllOpenOrders)
        await self._read_ended(wire)
        await self._orders.caught_up()
        self._note_missing({str(order.permId) for _contract, order, _state in rows})
        self._orders.cancels.send_wanted()

    def _note_missing(self, listed: set[str]) -> None:
        """Orders that TWS once had and no list names: they stay as they are (the module's text).

        One of an earlier day, which an earlier process left: nobody says any more how it ended. It is not shown.
        """
        if self.incomplete:
            return
        for order in self._tracker.active():
            if not order.broker_id or order.broker_id in listed:
                continue
            self._outlet.findings.add(Kind.MISSING, order)
            if order.orderid not in self._told_missing:
                self._told_missing.add(order.orderid)
                self._outlet.log(
                    _("委托{} {}（券商号{}）不在TWS的挂单、已完成和成交列表中，无法得知结果；请在TWS中核对").format(
                        order.orderid, order.vt_symbol, order.broker_id
                    )
                )
            if not order.shown:
                self._tracker.forget(order)

    async def refresh(self) -> None:
        """Read the open orders; what ended, only where one of ours is not among them. Raises :class:`BrokerError`."""
        wire = self._wire()
        rows = await wire.ask_plain("openOrders", wire.client.reqAllOpenOrders)
        listed = {str(order.permId) for _contract, order, _state in rows}
        named = [order for order in self._tracker.active() if order.broker_id or order.state is State.UNKNOWN]
        if any(order.broker_id not in listed for order in named):
            await self._read_ended(wire)

    async def _read_ended(self, wire: Wire) -> None:
        """Read today's completed orders and the executions of the trading account; each execution counts once."""
        self.incomplete = True
        for row in await wire.ask_plain("completedOrders", lambda: wire.client.reqCompletedOrders(False)):
            self._orders.in_turn(row.contract, partial(self._orders.take_completed, row))
        self._orders.readings += 1
        wanted = ExecutionFilter(acctCode=self._account())
        try:
            await wire.ask(lambda req_id: wire.client.reqExecutions(req_id, wanted), "reqExecutions")
        except ConnectionFailed:
            raise
        except BrokerError as error:
            self._outlet.log(_("查询成交失败（{}），将自动重试").format(error.text))
            return
        self.incomplete = False
