"""Orders at TWS: out once, and followed by what openOrder, orderStatus, executions and error codes say of them.

Every order of ours carries its local id in ``orderRef`` (design, section 4), so it is found again after any loss. A
code alone never ends an order that TWS calls live (reference "tws-api", section 9); absence never ends one at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

from ib_async.contract import Contract
from ib_async.order import Order, OrderState

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import ConnectionFailed
from vnpy_brokerkit.findings import Kind
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.lifecycle import Happening, State
from vnpy_brokerkit.outlet import OrderOutlet
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.refusal import Refusal
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import OrderReport, TrackedOrder, exact

from .cancels import Cancels
from .contracts import Contracts
from .errors import OrderEffect, order_effect, words_for
from .order_checks import OrderChecks
from .order_names import Names
from .order_words import ended, filled_of, meaning, report_of
from .settings import Settings
from .turns import NOWHERE, Turns
from .wire.events import CompletedOrder, OrderStatus
from .wire.tws import Wire

TOO_FAST = 100
DUPLICATE_ID = 103
NO_CLIENT = -1
"""For completed orders, of which TWS does not tell whose they were (section 7.2)."""


class Outlet(OrderOutlet, Protocol):
    """What orders need of the gateway."""

    def spawn(self, work: Any, name: str) -> Any: ...


class Orders:
    """All orders of one session, of the trading account only. ``on_change`` is told that funds may have moved."""

    def __init__(
        self,
        outlet: Outlet,
        *,
        checks: OrderChecks,
        settings: Settings,
        wire: Callable[[], Wire],
        account: Callable[[], str],
        contracts: Contracts,
        clock: Clock,
        timing: Timing,
        on_change: Callable[[], None],
    ) -> None:
        self._outlet = outlet
        self._tracker = outlet.tracker
        self._checks = checks
        self._settings = settings
        self._wire = wire
        self._account = account
        self._contracts = contracts
        self._clock = clock
        self._timing = timing
        self._on_change = on_change
        self._patience = Patience(timing.repeat_line, clock)
        self.names = Names(outlet.tracker, letters=outlet.ids.letters, client_id=settings.client_id)
        self._not_shown: set[str] = set()
        """permIds of orders that are not shown: of other accounts, or external ones where nobody wants them."""
        self._asked_for_fills: dict[str, Decimal] = {}
        """Filled volumes, by local id, for which executions were asked since some were missing."""
        self.averages: dict[str, Decimal] = {}
        """The average price of what was filled, by local id, as TWS last said it, while fills are missing."""
        self._codes: dict[str, str] = {}
        """Why TWS refuses an order, by local id: said by a code before the status says what it means."""
        self._orphans_told = False
        self.cancels = Cancels(
            outlet,
            settings=settings,
            wire=wire,
            address_of=self.names.address_of,
            on_sent=self._forget_code,
            clock=clock,
            timing=timing,
        )
        self.readings = 0
        """How often everything was read: what a later reading still does not name, no list names."""
        self.wanted = asyncio.Event()
        """Set when the open orders should be read soon."""
        self.turns = Turns(outlet, contracts, clock, self.wanted.set)

    # ------------------------------------------------------------------ sending

    async def place(self, order: TrackedOrder) -> None:
        """Check an order and send it, once."""
        try:
            instrument, made = await self._checks.prepare(order)
            if not order.cancel_wanted:
                await self._outlet.intend(order)
            wire = self._wire()
        except Refusal as refusal:
            self._outlet.refuse(order, str(refusal))
            return
        except ConnectionFailed as error:
            self._outlet.refuse(order, _("未发送：{}").format(error.text))
            return
        except Exception as error:  # noqa: BLE001  a fault of ours must not leave the order without an end
            self._outlet.refuse(order, _("内部错误，未发送：{!r}").format(error))
            return
        if order.cancel_wanted:
            self._tracker.happen(order, Happening.CANCELLED, _("发送前已撤单"))
            self._outlet.push_order(order)
            return
        try:
            order_id = wire.next_id()
            self.names.note(order, self._settings.client_id, order_id)
            self._tracker.happen(order, Happening.SENT)
            order.sent = self._clock.monotonic()
            wire.post(lambda: wire.client.placeOrder(order_id, instrument.contract, made), "placeOrder")
            self._outlet.note(order)
        except ConnectionFailed as error:
            self._outlet.refuse(order, _("未发送：{}").format(error.text))
            return
        except Exception as error:  # noqa: BLE001  what cannot be written as a message has not left: it must have an end
            self._outlet.refuse(order, _("内部错误，未发送：{!r}").format(error))
            return
        self._outlet.spawn(self._watch(order), "watch")
        await wire.written()

    async def _watch(self, order: TrackedOrder) -> None:
        """An order that gets no answer is probably waiting in TWS for a person."""
        await self._clock.sleep(self._timing.held_line)
        if order.state in (State.SENDING, State.UNKNOWN) and not order.broker_id:
            if order.state is State.SENDING:
                # Nobody can say that engine and broker agree about it.
                self._tracker.happen(order, Happening.LOST)
                self._outlet.push_order(order)
            self._outlet.log(
                _(
                    "委托{} {}在TWS中没有回应，可能等待人工点击Transmit；请在TWS处理，"
                    "并在API设置中启用Bypass Order Precautions for API orders"
                ).format(order.orderid, order.vt_symbol)
            )
            self.wanted.set()

    def lose_connection(self) -> None:
        """The socket is gone: what was sent and not answered is unknown, and stays so until TWS names it."""
        self._not_shown.clear()
        for order in self._tracker.active():
            if order.state is State.SENDING:
                self._tracker.happen(order, Happening.LOST)
                self._outlet.push_order(order)
                self._outlet.log(
                    _("委托{} {}结果未知（连接中断）：不会重发，重连后按TWS的委托与成交核实，请勿重复下单").format(
                        order.orderid, order.vt_symbol
                    )
                )

    async def cancel(self, orderid: str) -> None:
        """Cancel one order, where TWS lets this client do it; return when TWS answered, or took too long to."""
        await self.cancels.cancel(orderid)

    async def cancel_all(self) -> None:
        """Cancel our working orders one by one; orders placed elsewhere only where 外部委托 says so."""
        await self.cancels.cancel_all()

    # ------------------------------------------------------------------ what TWS says

    def on_open_order(self, contract: Contract, order: Order, state: OrderState) -> None:
        """openOrder: everything about one order of any client."""
        if order.whatIf:
            return
        if self.is_ours(order.account):
            self.turns.take(contract, lambda: self._take_open_order(contract, order, state))
        else:
            self._not_shown.add(str(order.permId))

    def _take_open_order(self, contract: Contract, order: Order, state: OrderState) -> None:
        tracked = self._identify(contract, order, state.status)
        if tracked is None:
            self._not_shown.add(str(order.permId))
            return
        report = self._report(contract, order, state.status, tracked)
        if report:
            self._apply(tracked, report)

    def on_order_status(self, status: OrderStatus) -> None:
        """orderStatus: state and cumulative volume of an order that is known."""
        self.turns.take(NOWHERE, lambda: self._take_status(status))

    def _take_status(self, status: OrderStatus) -> None:
        tracked = self.names.find(status.perm_id, status.client_id, status.order_id)
        if tracked is None:
            if str(status.perm_id) not in self._not_shown:
                self.wanted.set()  # openOrder will introduce it
            return
        if status.perm_id:
            self._tracker.bind(tracked, str(status.perm_id))
        if exact(status.filled) > tracked.counted and status.average > 0:
            self.averages[tracked.orderid] = exact(status.average)
        else:
            self.averages.pop(tracked.orderid, None)
        happening, reason = self._meaning(tracked, status.status)
        if happening is None:
            return
        report = OrderReport(
            broker_id=str(status.perm_id or ""),
            symbol=tracked.symbol,
            exchange=tracked.exchange,
            direction=tracked.direction,
            type=tracked.type,
            price=tracked.price,
            volume=tracked.volume,
            happening=happening,
            traded=exact(status.filled),
            reason=reason,
        )
        self._apply(tracked, report)

    def on_code(self, order_id: int, code: int, text: str, reject_json: str) -> bool:
        """An error code under an order's id; return whether there is such an order."""
        tracked = self.names.of_this_client(order_id)
        if tracked is None:
            return False
        if code == DUPLICATE_ID:
            self._ask_for_ids()
        elif code == TOO_FAST:
            self.cancels.repeat(tracked)
        words = words_for(code, text)
        effect = order_effect(code, acknowledged=_is_live(tracked))
        if effect is OrderEffect.KEEP:
            self._outlet.log(_("委托{} {}：{}").format(tracked.orderid, tracked.vt_symbol, words))
        elif effect is OrderEffect.CANCEL_FAILED:
            self._outlet.log(_("委托{}的撤单或改单未成功：{}").format(tracked.orderid, words))
            self.cancels.answered(tracked.orderid)
            self.wanted.set()
        elif effect in (OrderEffect.REJECT, OrderEffect.CANCEL):
            if effect is OrderEffect.REJECT:
                self._codes[tracked.orderid] = words
                if reject_json:
                    tracked.extra["reject_json"] = reject_json
            self._outlet.spawn(self._after_code(tracked, effect, words), "code")
        else:
            self._outlet.log(_("委托{}收到未知代码{}，保持原状态并向TWS核实").format(tracked.orderid, words))
            self.wanted.set()
        return True

    async def _after_code(self, order: TrackedOrder, effect: OrderEffect, words: str) -> None:
        """A status may follow its code, or precede it: only without one does the code decide."""
        heard = (order.state, order.traded)
        await self._clock.sleep(self._timing.code_grace)
        if not order.active:
            return
        if heard == (order.state, order.traded) and not _is_live(order):
            ended = Happening.REJECTED if effect is OrderEffect.REJECT else Happening.CANCELLED
            self._tracker.happen(order, ended, words)
            self._outlet.push_order(order)
            self._tell_rejection(order)
            self.cancels.answered(order.orderid)
            if not order.broker_id:
                self.wanted.set()  # TWS has it under a number that its lost news would have told
            return
        self._outlet.log(_("委托{}收到代码{}，但TWS仍显示有效，向TWS核实").format(order.orderid, words))
        self.wanted.set()

    def _forget_code(self, orderid: str) -> None:
        """A cancel was sent: whatever was said before, the order now ends by our own wish."""
        self._codes.pop(orderid, None)

    def _ask_for_ids(self) -> None:
        """Somebody used ids beside us: TWS tells where they begin now."""
        with contextlib.suppress(ConnectionFailed):  # the next connection begins with them
            wire = self._wire()
            wire.post(lambda: wire.client.reqIds(1), "reqIds")

    def on_bound(self, perm_id: int, client_id: int, order_id: int) -> None:
        """A manual order became this client's own, under an id below zero (section 12)."""
        tracked = self._tracker.find([str(perm_id)])
        if tracked:
            self.names.note(tracked, client_id, order_id)

    def take_completed(self, completed: CompletedOrder) -> None:
        """A finished order: its original size is what was left plus what was filled (section 7.2)."""
        order, state = completed.order, completed.state
        if not self.is_ours(order.account) or not order.permId:
            return
        filled = filled_of(order)
        tracked = self.names.find(order.permId, NO_CLIENT, 0, order.orderRef)
        order.totalQuantity = float(exact(order.totalQuantity) + filled)
        if tracked is None:
            tracked = self._adopt(completed.contract, order, state.status, NO_CLIENT)
        if tracked is None:
            self._not_shown.add(str(order.permId))
            return
        self._tracker.bind(tracked, str(order.permId))
        report = self._report(completed.contract, order, state.status, tracked)
        if report:
            self._apply(tracked, ended(report, filled, state.completedStatus or ""))

    def _identify(self, contract: Contract, order: Order, status: str) -> TrackedOrder | None:
        """Return the order that is meant, introduced now if it is new here."""
        tracked = self.names.find(order.permId, order.clientId, order.orderId, order.orderRef)
        if tracked is None:
            tracked = self._adopt(contract, order, status, order.clientId)
        if tracked is None:
            return None
        if order.permId:
            self._tracker.bind(tracked, str(order.permId))
        self.names.note(tracked, order.clientId, order.orderId)
        if not tracked.external:
            self._warn_of_orphan(tracked, order.clientId)
        return tracked

    def _adopt(self, contract: Contract, order: Order, status: str, client_id: int) -> TrackedOrder | None:
        """An order that this process did not place: of an earlier run of ours, of another client, or of a person."""
        report = self._report(contract, order, status, None) if order.permId else None
        tracked = self.adopt(report, order.orderRef, client_id) if report else None
        if tracked:
            self._outlet.push_order(tracked)
        return tracked

    def adopt(self, report: OrderReport, order_ref: str, client_id: int) -> TrackedOrder | None:
        """Begin to track such an order, if it is to be shown."""
        mine = self.names.ours(order_ref, client_id)
        if mine and self._tracker.get(mine[0]):
            mine = None  # a copy of an order that is known
        if not mine and not self._settings.show_external:
            return None
        orderid = mine[0] if mine else self._outlet.ids.external(report.broker_id)
        tracked = self._tracker.adopt(orderid, report, self._clock.now())
        self._outlet.findings.add(Kind.ADOPTED, tracked)
        if mine:
            tracked.external, tracked.reference = False, mine[1]
        return tracked

    def _warn_of_orphan(self, order: TrackedOrder, client_id: int) -> None:
        if client_id == self._settings.client_id or self._orphans_told or not order.active:
            return
        self._orphans_told = True
        self._outlet.log(
            _("警告：委托{}等由客户号{}下单，当前客户号{}无法撤单；请改回原客户号后重新连接").format(
                order.orderid, client_id, self._settings.client_id
            )
        )

    def _report(
        self, contract: Contract, order: Order, status: str, tracked: TrackedOrder | None
    ) -> OrderReport | None:
        key = (tracked.symbol, tracked.exchange) if tracked else self._contracts.canonical_of(contract)
        return report_of(key, order, self._meaning(tracked, status), tracked)

    def _meaning(self, order: TrackedOrder | None, status: str) -> tuple[Happening | None, str]:
        return meaning(order, status, self._codes.get(order.orderid, "") if order else "")

    def _apply(self, order: TrackedOrder, report: OrderReport) -> None:
        was_active, was_unknown = order.active, order.state is State.UNKNOWN
        news = self._tracker.report(order, report)
        if was_unknown and order.state is not State.UNKNOWN:
            self._outlet.findings.add(Kind.SETTLED, order)
        if not news:
            self._outlet.note(order)
            return
        self._outlet.push_order(order)
        self._on_change()
        if not order.active:
            self.cancels.answered(order.orderid)
        if order.traded > order.counted:
            self._outlet.spawn(self._miss_fills(order), "fills")
        if was_active:
            self._tell_rejection(order)
        if order.cancel_wanted and order.active:
            self.cancels.send(order.orderid)

    def _tell_rejection(self, order: TrackedOrder) -> None:
        if order.state is State.REJECTED:
            self._outlet.log(
                _("委托{} {}被拒绝：{}").format(order.orderid, order.vt_symbol, order.reason or _("未说明原因"))
            )

    async def _miss_fills(self, order: TrackedOrder) -> None:
        """TWS said a volume without its executions: they mostly follow, else they are asked for, once per volume."""
        volume = order.traded
        await self._clock.sleep(self._timing.code_grace)
        if volume > order.counted and self._asked_for_fills.get(order.orderid) != volume:
            self._asked_for_fills[order.orderid] = volume
            self.wanted.set()

    def is_ours(self, account: str) -> bool:
        return not account or account == self._account()


def _is_live(order: TrackedOrder) -> bool:
    """Whether TWS itself called the order live."""
    return order.state in (State.WORKING, State.PARTIAL)
