"""Cancels at TWS: sent for the orders that this client may cancel, and sent again when they were lost.

Unlike an order, a cancel may be sent twice: at worst TWS answers that there is nothing to cancel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import ConnectionFailed
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.lifecycle import State
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import TrackedOrder

from .order_names import MANUAL_CLIENT, Address
from .settings import Settings
from .wire.tws import Wire

if TYPE_CHECKING:
    from .orders import Outlet


class Cancels:
    """The cancels of one session. ``on_sent`` is told the local id of each order whose cancel left."""

    def __init__(
        self,
        outlet: Outlet,
        *,
        settings: Settings,
        wire: Callable[[], Wire],
        address_of: Callable[[str], Address | None],
        on_sent: Callable[[str], None],
        clock: Clock,
        timing: Timing,
    ) -> None:
        self._outlet = outlet
        self._tracker = outlet.tracker
        self._settings = settings
        self._wire = wire
        self._address_of = address_of
        self._on_sent = on_sent
        self._clock = clock
        self._timing = timing
        self._under_way: dict[str, asyncio.Future[None]] = {}
        """By local id: done when TWS has spoken of the cancel."""

    async def cancel(self, orderid: str) -> None:
        """Cancel one order, where TWS lets this client do it; return when TWS answered, or took too long to."""
        if answered := self.send(orderid):
            await self._wire().written()
            await asyncio.wait({answered}, timeout=self._timing.close_answers)

    async def cancel_all(self) -> None:
        """Cancel our working orders one by one; orders placed elsewhere only where 外部委托 says so."""
        wanted = [o.orderid for o in self._tracker.active() if not o.external or self._settings.cancel_external]
        await asyncio.gather(*(self.cancel(orderid) for orderid in wanted))

    def send(self, orderid: str) -> asyncio.Future[None] | None:
        """Send a cancel now, or say or note why not; what is returned is done when TWS has answered."""
        order = self._tracker.get(orderid)
        if order is None:
            self._outlet.log(_("找不到委托{}，无法撤单").format(orderid))
            return None
        if not order.active:
            self._outlet.log(_("委托{}已结束，无需撤单").format(orderid))
            return None
        if order.state is State.NEW:
            order.cancel_wanted = True
            return None
        address = self._address_of(orderid)
        if address is None and not order.external:
            # Of before this connect, and TWS has not named it yet.
            self._wish(order, True)
            if order.state is State.UNKNOWN:
                self._outlet.log(_("委托{}结果未知，TWS确认收到后自动撤单").format(orderid))
            else:
                self._outlet.log(_("委托{}尚未由TWS报出，报出后自动撤单").format(orderid))
            return None
        if address is None or address.order_id == 0 or address.client_id != self._settings.client_id:
            self._wish(order, False)
            self._outlet.log(_foreign(order, address))
            return None
        try:
            wire = self._wire()
            wire.post(lambda: wire.client.cancelOrder(address.order_id), "cancelOrder")
        except ConnectionFailed as error:
            self._wish(order, True)
            self._outlet.log(_("委托{}的撤单未能发出（{}），恢复连接后自动发出").format(orderid, error.text))
            return None
        self._wish(order, False)
        self._on_sent(orderid)
        return self._under_way.setdefault(orderid, asyncio.get_running_loop().create_future())

    def _wish(self, order: TrackedOrder, wanted: bool) -> None:
        """The wish must survive us as the order does."""
        order.cancel_wanted = wanted
        self._outlet.note(order)

    def send_wanted(self) -> None:
        """Send the cancels that an outage kept."""
        for order in self._tracker.active():
            if order.cancel_wanted and self._address_of(order.orderid):
                self.send(order.orderid)

    def answered(self, orderid: str) -> None:
        """The order ended, or TWS said why it can't be cancelled."""
        answered = self._under_way.pop(orderid, None)
        if answered and not answered.done():
            answered.set_result(None)

    def recall(self) -> None:
        """TWS or its link to IB was gone: cancels that were not answered are sent again once all is read."""
        for orderid in list(self._under_way):
            order = self._tracker.get(orderid)
            if order and order.active:
                self._wish(order, True)
            self.answered(orderid)

    def repeat(self, order: TrackedOrder) -> None:
        """TWS passed over a message about this order, since messages came too fast: a cancel is sent again."""
        if order.orderid in self._under_way:
            self._outlet.spawn(self._repeat(order), "cancel")

    async def _repeat(self, order: TrackedOrder) -> None:
        await self._clock.sleep(self._timing.settle_apart)
        if order.active and order.orderid in self._under_way:
            self.send(order.orderid)


def _foreign(order: TrackedOrder, address: Address | None) -> str:
    if address is None or address.client_id == MANUAL_CLIENT:
        return _("委托{}是在TWS中手动下的单，只有客户号为0的连接可以撤单；请在TWS中撤单，或将“客户号”设为0").format(
            order.orderid
        )
    return _("委托{}由客户号{}下单，TWS只允许该客户号撤单；请用该客户号连接，或在TWS中撤单").format(
        order.orderid, address.client_id
    )
