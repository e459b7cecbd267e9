"""Orders at TWS: out once, and followed by what openOrder, orderStatus, executions and error codes say of them.

Every order of ours carries its local id in ``orderRef`` (design, section 4), so it is found again after any loss. A
code alone never ends an order that TWS calls live (reference "tws-api", section 9); absence never ends one at all.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

from ib_async.contract import Contract
from ib_async.order import Order, OrderState
from vnpy.trader.constant import Direction, OrderType

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.identity import OrderIds
from vnpy_brokerkit.lifecycle import Happening, State
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.refusal import Refusal
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import Fill, OrderReport, OrderTracker, TrackedOrder, exact

from .contracts import Contracts
from .errors import OrderEffect, order_effect, words_for
from .order_checks import OrderChecks
from .settings import Settings
from .wire.tws import CompletedOrder, OrderStatus, Wire, unescape

# Reference section 17. "Submitted" also while it fills: the volume tells. Inactive is decided by what came with it.
STATUS2HAPPENING = {
    "ApiPending": Happening.ACKNOWLEDGED,
    "PendingSubmit": Happening.ACKNOWLEDGED,
    "PreSubmitted": Happening.ACCEPTED,
    "Submitted": Happening.ACCEPTED,
    "PendingCancel": Happening.ACCEPTED,
    "ApiCancelled": Happening.CANCELLED,
    "Cancelled": Happening.CANCELLED,
    "Filled": Happening.FILLED,
}
INACTIVE = "Inactive"
ACTION2DIRECTION = {"BUY": Direction.LONG, "SELL": Direction.SHORT, "SSHORT": Direction.SHORT}
TYPE_IB2VT = {"LMT": OrderType.LIMIT, "MKT": OrderType.MARKET, "STP": OrderType.STOP}
MANUAL_CLIENT = 0
"""Orders placed by hand in TWS belong to client id 0 (section 12)."""
NOWHERE = Contract()
"""For news that names no instrument."""
OUR_REF = re.compile(r"([A-Z]{2}[0-9a-z]+-[0-9a-z]+)\|(.*)", re.DOTALL)


class Outlet(Protocol):
    """What orders need of the gateway."""

    tracker: OrderTracker
    ids: OrderIds

    def push_order(self, order: TrackedOrder) -> None: ...
    def refuse(self, order: TrackedOrder, reason: str) -> None: ...
    def push_trade(self, order: TrackedOrder, fill: Fill) -> None: ...
    def log(self, text: str) -> None: ...
    def spawn(self, work: Any, name: str) -> Any: ...


@dataclass
class _Address:
    """How TWS is told which order is meant: only its own client may cancel it (section 12)."""

    client_id: int
    order_id: int


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
        self._addresses: dict[str, _Address] = {}
        self._codes: dict[str, str] = {}
        """Why TWS refuses an order, by local id: said by a code before the status says what it means."""
        self._backlog: list[tuple[Contract, Callable[[], None]]] = []
        """News that waits until the instruments before it are known: a row tells neither exchange nor month."""
        self._orphans_told = False
        self.wanted = asyncio.Event()
        """Set when the open orders should be read soon."""

    # ------------------------------------------------------------------ sending

    async def place(self, order: TrackedOrder) -> None:
        """Check an order and send it, once."""
        try:
            instrument, made = await self._checks.prepare(order)
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
        order_id = wire.next_id()
        self._address(order, self._settings.client_id, order_id)
        self._tracker.happen(order, Happening.SENT)
        order.sent = self._clock.monotonic()
        try:
            wire.post(lambda: wire.client.placeOrder(order_id, instrument.contract, made), "placeOrder")
        except ConnectionFailed as error:
            self._outlet.refuse(order, _("未发送：{}").format(error.text))
            return
        self._outlet.spawn(self._watch(order), "watch")

    async def _watch(self, order: TrackedOrder) -> None:
        """An order that gets no answer is probably waiting in TWS for a person."""
        await self._clock.sleep(self._timing.held_line)
        if order.state in (State.SENDING, State.UNKNOWN) and not order.broker_id:
            self._outlet.log(
                _(
                    "委托{} {}在TWS中没有回应，可能等待人工点击Transmit；请在TWS处理，"
                    "并在API设置中启用Bypass Order Precautions for API orders"
                ).format(order.orderid, order.vt_symbol)
            )
            self.wanted.set()

    def lose_connection(self) -> None:
        """The socket is gone: what was sent and not answered is unknown, and stays so until TWS names it."""
        for order in self._tracker.active():
            if order.state is State.SENDING:
                self._tracker.happen(order, Happening.LOST)
                self._outlet.push_order(order)
                self._outlet.log(
                    _("委托{} {}结果未知（连接中断）：不会重发，重连后按TWS的委托与成交核实，请勿重复下单").format(
                        order.orderid, order.vt_symbol
                    )
                )

    # ------------------------------------------------------------------ cancelling

    async def cancel(self, orderid: str) -> None:
        """Cancel one order, where TWS lets this client do it."""
        order = self._tracker.get(orderid)
        if order is None:
            self._outlet.log(_("找不到委托{}，无法撤单").format(orderid))
            return
        if not order.active:
            self._outlet.log(_("委托{}已结束，无需撤单").format(orderid))
            return
        if order.state is State.NEW:
            order.cancel_wanted = True
            return
        address = self._addresses.get(orderid)
        if address is None or address.order_id <= 0 or address.client_id != self._settings.client_id:
            self._outlet.log(self._foreign(order, address))
            return
        try:
            wire = self._wire()
            wire.post(lambda: wire.client.cancelOrder(address.order_id), "cancelOrder")
            order.cancel_wanted = False
        except ConnectionFailed as error:
            order.cancel_wanted = True
            self._outlet.log(_("委托{}的撤单未能发出（{}），恢复连接后自动发出").format(orderid, error.text))

    def _foreign(self, order: TrackedOrder, address: _Address | None) -> str:
        if address is None or address.client_id == MANUAL_CLIENT:
            return _("委托{}是在TWS中手动下的单，只有客户号为0的连接可以撤单；请在TWS中撤单，或将“客户号”设为0").format(
                order.orderid
            )
        return _("委托{}由客户号{}下单，TWS只允许该客户号撤单；请用该客户号连接，或在TWS中撤单").format(
            order.orderid, address.client_id
        )

    async def cancel_wanted(self) -> None:
        """Send the cancels that an outage kept."""
        for order in self._tracker.active():
            if order.cancel_wanted and order.orderid in self._addresses:
                await self.cancel(order.orderid)

    async def cancel_all(self) -> None:
        """Cancel our working orders one by one; orders placed elsewhere only where 外部委托 says so."""
        for order in self._tracker.active():
            if not order.external or self._settings.cancel_external:
                await self.cancel(order.orderid)

    # ------------------------------------------------------------------ what TWS says

    def in_turn(self, contract: Contract, take: Callable[[], None]) -> None:
        """Take news of an order now, or after the instruments that earlier news brought have been looked up."""
        if not self._backlog and (not contract.conId or self._contracts.by_con_id(contract.conId)):
            take()
            return
        self._backlog.append((contract, take))
        if len(self._backlog) == 1:
            self._outlet.spawn(self._work_off(), "identify")

    async def _work_off(self) -> None:
        while self._backlog:
            try:
                await self._contracts.identify([contract for contract, _take in self._backlog if contract.conId])
            except BrokerError as error:
                self._outlet.log(_("无法查询委托或成交的合约（{}），按原始代码显示").format(error.text))
            waiting, self._backlog = self._backlog, []
            for _contract, take in waiting:
                take()

    async def caught_up(self) -> None:
        """Return when no news waits any more."""
        while self._backlog:
            await self._clock.sleep(0.01)

    def on_open_order(self, contract: Contract, order: Order, state: OrderState) -> None:
        """openOrder: everything about one order of any client."""
        if not order.whatIf and self.is_ours(order.account):
            self.in_turn(contract, lambda: self._take_open_order(contract, order, state))

    def _take_open_order(self, contract: Contract, order: Order, state: OrderState) -> None:
        tracked = self._identify(contract, order, state.status)
        if tracked is None:
            return
        report = self._report(contract, order, state.status, tracked)
        if report:
            self._apply(tracked, report)

    def on_order_status(self, status: OrderStatus) -> None:
        """orderStatus: state and cumulative volume of an order that is known."""
        self.in_turn(NOWHERE, lambda: self._take_status(status))

    def _take_status(self, status: OrderStatus) -> None:
        tracked = self._tracker.find(order_keys(status.perm_id, status.client_id, status.order_id))
        if tracked is None:
            self.wanted.set()  # openOrder will introduce it
            return
        if status.perm_id:
            self._tracker.bind(tracked, str(status.perm_id))
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
        tracked = self._tracker.find([_client_key(self._settings.client_id, order_id)])
        if tracked is None:
            return False
        words = words_for(code, text)
        effect = order_effect(code, acknowledged=_is_live(tracked))
        if effect is OrderEffect.KEEP:
            self._outlet.log(_("委托{} {}：{}").format(tracked.orderid, tracked.vt_symbol, words))
        elif effect is OrderEffect.CANCEL_FAILED:
            self._outlet.log(_("委托{}的撤单或改单未成功：{}").format(tracked.orderid, words))
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
        if effect is OrderEffect.REJECT and heard == (order.state, order.traded) and not _is_live(order):
            self._outlet.refuse(order, words)
            return
        self._outlet.log(_("委托{}收到代码{}，但TWS仍显示有效，向TWS核实").format(order.orderid, words))
        self.wanted.set()

    def on_bound(self, perm_id: int, client_id: int, order_id: int) -> None:
        """A manual order became this client's own."""
        tracked = self._tracker.find([str(perm_id)])
        if tracked:
            self._address(tracked, client_id, order_id)

    def take_completed(self, completed: CompletedOrder) -> None:
        """A finished order: its original size is what was left plus what was filled (section 7.2)."""
        order, state = completed.order, completed.state
        if not self.is_ours(order.account) or not order.permId:
            return
        filled = exact(order.filledQuantity) if _is_number(order.filledQuantity) else Decimal(0)
        ref = OUR_REF.fullmatch(order.orderRef or "")
        tracked = self._tracker.find([str(order.permId)]) or (self._tracker.get(ref[1]) if ref else None)
        order.totalQuantity = float(exact(order.totalQuantity) + filled)
        if tracked is None:
            tracked = self._adopt(completed.contract, order, state.status, ref)
        if tracked is None:
            return
        self._tracker.bind(tracked, str(order.permId))
        report = self._report(completed.contract, order, state.status, tracked)
        if report:
            ended = {Happening.ACKNOWLEDGED: Happening.REJECTED}.get(report.happening, report.happening)
            reason = report.reason or (state.completedStatus or "").strip()
            self._apply(tracked, _with(report, ended, filled, reason))

    def _identify(self, contract: Contract, order: Order, status: str) -> TrackedOrder | None:
        """Return the order that is meant, introduced now if it is new here."""
        ref = OUR_REF.fullmatch(order.orderRef or "")
        tracked = self._tracker.find(order_keys(order.permId, order.clientId, order.orderId))
        if tracked is None and ref:
            tracked = self._tracker.get(ref[1])
        if tracked is None:
            tracked = self._adopt(contract, order, status, ref)
        if tracked is None:
            return None
        if order.permId:
            self._tracker.bind(tracked, str(order.permId))
        if order.orderId or order.clientId:
            self._address(tracked, order.clientId, order.orderId)
        return tracked

    def _adopt(self, contract: Contract, order: Order, status: str, ref: re.Match[str] | None) -> TrackedOrder | None:
        """An order that this process did not place: of an earlier run of ours, of another client, or of a person."""
        if not order.permId:
            return None
        ours = ref is not None and ref[1].startswith(self._outlet.ids.letters)
        if not ours and not self._settings.show_external:
            return None
        report = self._report(contract, order, status, None)
        if report is None:
            return None
        orderid = ref[1] if ref and ours else self._outlet.ids.external(str(order.permId))
        tracked = self._tracker.adopt(orderid, report, self._clock.now())
        if ref and ours:
            tracked.external, tracked.reference = False, unescape(ref[2])
            self._warn_of_orphan(tracked, order.clientId)
        self._outlet.push_order(tracked)
        return tracked

    def _warn_of_orphan(self, order: TrackedOrder, client_id: int) -> None:
        if client_id == self._settings.client_id or self._orphans_told:
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
        direction = ACTION2DIRECTION.get(order.action)
        happening, reason = self._meaning(tracked, status)
        if direction is None or happening is None:
            return None
        kind = TYPE_IB2VT.get(order.orderType.replace(" ", ""), OrderType.LIMIT)
        symbol, exchange = (tracked.symbol, tracked.exchange) if tracked else self._contracts.canonical_of(contract)
        volume = exact(order.totalQuantity)
        traded = exact(order.filledQuantity) if _is_number(order.filledQuantity) else Decimal(0)
        return OrderReport(
            broker_id=str(order.permId or ""),
            symbol=symbol,
            exchange=exchange,
            direction=direction,
            type=kind,
            price=_price(order, kind),
            volume=volume if volume > 0 else (tracked.volume if tracked else volume),
            happening=happening,
            traded=volume if happening is Happening.FILLED and volume > 0 else traded,
            reason=reason,
        )

    def _meaning(self, order: TrackedOrder | None, status: str) -> tuple[Happening | None, str]:
        """Say a wire status as a happening; ``None`` for one that decides nothing."""
        reason = self._codes.get(order.orderid, "") if order else ""
        if status == INACTIVE:
            # It may become active later for some causes: only a rejecting code makes it an end (section 17).
            return (Happening.REJECTED, reason) if reason else (Happening.ACKNOWLEDGED, _("TWS状态为Inactive"))
        if status == "Cancelled" and reason and order is not None and order.traded == 0:
            return Happening.REJECTED, reason
        return STATUS2HAPPENING.get(status), ""

    def _apply(self, order: TrackedOrder, report: OrderReport) -> None:
        was_active = order.active
        if not self._tracker.report(order, report):
            return
        self._outlet.push_order(order)
        self._on_change()
        if was_active and order.state is State.REJECTED:
            self._outlet.log(
                _("委托{} {}被拒绝：{}").format(order.orderid, order.vt_symbol, order.reason or _("未说明原因"))
            )
        if order.cancel_wanted and order.active:
            self._outlet.spawn(self.cancel(order.orderid), "cancel")

    def _address(self, order: TrackedOrder, client_id: int, order_id: int) -> None:
        if order_id > 0:
            self._addresses[order.orderid] = _Address(client_id, order_id)
            self._tracker.alias(order, _client_key(client_id, order_id))
        else:
            self._addresses.setdefault(order.orderid, _Address(client_id, order_id))

    def is_ours(self, account: str) -> bool:
        return not account or account == self._account()


def _with(report: OrderReport, happening: Happening, traded: Decimal, reason: str) -> OrderReport:
    return replace(report, happening=happening, traded=traded, reason=reason if happening is Happening.REJECTED else "")


def order_keys(perm_id: int, client_id: int, order_id: int) -> list[str]:
    """permId is the true key; ids of a client count for that client only (section 12)."""
    keys = [str(perm_id)] if perm_id else []
    return [*keys, _client_key(client_id, order_id)] if order_id > 0 else keys


def _client_key(client_id: int, order_id: int) -> str:
    return f"c{client_id}-{order_id}"


def _is_live(order: TrackedOrder) -> bool:
    """Whether TWS itself called the order live."""
    return order.state in (State.WORKING, State.PARTIAL)


def _is_number(value: float | Decimal | None) -> bool:
    """Whether TWS set it: its words for unset are the greatest numbers there are (section 3)."""
    return value is not None and 0 <= value < 10**15


def _price(order: Order, kind: OrderType) -> Decimal:
    value = order.auxPrice if kind is OrderType.STOP else order.lmtPrice
    if kind is OrderType.MARKET or not _is_number(value):
        return Decimal(0)
    return exact(value)
