"""Cancels at the OpenAPI Gateway: for the orders that have their number, at once; for the others, when they get it.

Unlike an order, a cancel may be sent twice: at worst the broker answers that there is nothing to cancel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from vnpy.trader.constant import OrderType

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, UnknownOutcome
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.lifecycle import State
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import TrackedOrder, plain_text

from .spelling import EXCHANGE2MARKET, MARKETS, to_code
from .wire.schema import parse_batch_cancel

if TYPE_CHECKING:
    from .orders import Outlet

CANCEL = "/trade/TradeCancelEntrust"
CANCEL_MANY = "/trade/TradeBatchCancelEntrust"
PENDING_CANCEL = frozenset({"3", "4"})
"""The broker has the cancel, the market has not answered it yet: over a lunch break, say (section 10)."""


class Cancels:
    """The cancels of one session. ``kind_of`` gives the broker's order type, which a cancel repeats, by its number;
    ``wanted`` is set when the lists should be read.
    """

    def __init__(
        self,
        outlet: Outlet,
        *,
        mutate: Callable[[str, dict[str, Any]], Awaitable[Any]],
        kind_of: Callable[[str], str | None],
        wanted: asyncio.Event,
        cancel_external: bool,
        clock: Clock,
        timing: Timing,
    ) -> None:
        self._outlet = outlet
        self._tracker = outlet.tracker
        self._mutate = mutate
        self._kind_of = kind_of
        self._wanted = wanted
        self._cancel_external = cancel_external
        self._clock = clock
        self._timing = timing
        self._under_way: set[str] = set()
        self._doubtful: dict[str, float] = {}
        """By the broker's number, the monotonic second of a cancel whose outcome is not known: the lists tell it."""

    async def cancel(self, orderid: str) -> None:
        """Cancel one order; where that can't be done yet, as soon as it can."""
        order = self._tracker.get(orderid)
        if order is None:
            self._outlet.log(_("找不到委托{}，无法撤单").format(orderid))
        elif not order.active:
            self._outlet.log(_("委托{}已结束，无需撤单").format(orderid))
        elif not order.broker_id:
            self._want_cancel(order)
            if order.state is State.UNKNOWN:
                self._outlet.log(_("委托{}结果未知，核实后立即撤单").format(orderid))
        else:
            await self.send(order)

    def _want_cancel(self, order: TrackedOrder) -> None:
        """The wish must survive us as the order does."""
        order.cancel_wanted = True
        self._outlet.note(order)

    async def send(self, order: TrackedOrder) -> None:
        """Send the cancel of an order whose number is known, unless one is under way."""
        if order.orderid in self._under_way:
            return
        self._under_way.add(order.orderid)
        self._doubtful.pop(order.broker_id, None)
        order.cancel_wanted = False
        market = EXCHANGE2MARKET[order.exchange]
        params = {
            "exchangeType": market.code,
            "stockCode": to_code(order.symbol, order.exchange),
            "entrustId": order.broker_id,
            "entrustAmount": plain_text(order.volume),
            "entrustPrice": plain_text(order.price) if order.type is OrderType.LIMIT else "0",
        }
        if kind := self._kind_of(order.broker_id):
            params["entrustType"] = kind
        try:
            await self._mutate(CANCEL, params)
        except ConnectionFailed as error:
            self._want_cancel(order)
            self._outlet.log(_("委托{}的撤单未能发出（{}），恢复连接后自动发出").format(order.orderid, error.text))
        except UnknownOutcome as error:
            self._doubtful[order.broker_id] = self._clock.monotonic()
            self._outlet.log(_("委托{}的撤单结果未知（{}），将按券商委托列表核实").format(order.orderid, error.text))
        except BrokerError as error:
            self._outlet.log(_("委托{}的撤单被拒绝：{}").format(order.orderid, error.text))
        finally:
            self._under_way.discard(order.orderid)
            self._outlet.note(order)
            self._wanted.set()

    def listed(self, broker_id: str, status: str) -> None:
        """A list shows an order: who waits for a cancel that did nothing must know, for it is not sent again."""
        at = self._doubtful.get(broker_id)
        order = self._tracker.find([broker_id]) if at is not None else None
        if at is None or order is None:
            return
        if not order.active:
            del self._doubtful[broker_id]
        elif status not in PENDING_CANCEL and self._clock.monotonic() - at > self._timing.settle_after:
            del self._doubtful[broker_id]
            self._outlet.log(_("委托{}的撤单没有生效，委托在券商处仍有效；请再次撤单").format(order.orderid))

    async def cancel_all(self, market: str) -> None:
        """Cancel our working orders of one market in one request, never with an empty list.

        An empty list would cancel every order of that market, other programs' among them (section 7.3). Orders placed
        elsewhere are included only where 外部委托 says so.
        """
        orders = [
            order
            for order in self._tracker.active()
            if EXCHANGE2MARKET[order.exchange].code == market
            and order.broker_id
            and (not order.external or self._cancel_external)
        ]
        for order in self._tracker.active():
            if not order.broker_id and EXCHANGE2MARKET[order.exchange].code == market:
                self._want_cancel(order)
        if not orders:
            self._outlet.log(_("{}没有可撤的委托").format(_(MARKETS[market].name)))
            return
        params = {"exchangeType": market, "entrustId": [order.broker_id for order in orders]}
        try:
            reply = parse_batch_cancel(await self._mutate(CANCEL_MANY, params))
        except BrokerError as error:
            if isinstance(error, UnknownOutcome):
                self._doubtful |= {order.broker_id: self._clock.monotonic() for order in orders}
            self._outlet.log(_("{}全撤失败或结果未知：{}").format(_(MARKETS[market].name), error.text))
        else:
            for failed in reply.fail_cancel_entrust.rows:
                self._outlet.log(_("委托{}撤单失败：{}").format(failed.fail_entrust_id, failed.remark))
        finally:
            self._wanted.set()
