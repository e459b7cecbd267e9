"""Orders: from a request to the wire, from the broker's words to the engine, and what to do when nobody knows.

A request goes out once. What came of it is known from its answer, from a push (which may precede the answer) or from
the lists; until then the order is SUBMITTING. The protocol has no client order id (reference "vbrokers-openapi",
section 7.1), so a row that nobody owns and that could be ours is held until the answer or the rule of the design's
section 4 says whose it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Protocol

from vnpy.trader.constant import Exchange

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, PermissionDenied, UnknownOutcome
from vnpy_brokerkit.findings import Kind
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.lifecycle import Happening, State
from vnpy_brokerkit.outlet import OrderOutlet
from vnpy_brokerkit.reconcile import Key, likeness
from vnpy_brokerkit.refusal import Refusal
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import ZERO, Fill, FillReport, OrderReport, TrackedOrder

from .cancels import Cancels
from .held import Held
from .order_checks import OrderChecks
from .order_lists import fill_of_push, report_of_push
from .settings import Settings
from .spelling import EXCHANGE2MARKET
from .wire.push import OrderUpdate
from .wire.schema import mutation_id

PLACE = "/trade/TradeEntrust"

ENTRUST_ALIAS = "entrustNo:"
"""recordNo and entrustNo may be numbers of two different series: the second kind is kept apart."""


UNDECIDABLE = "undecidable"
"""In ``extra`` of an unknown order that the lists can't tell from others: it is reported, and left to a person."""


class Outlet(OrderOutlet, Protocol):
    """What orders need of the gateway."""

    def know_foreign(self, broker_id: str) -> None: ...
    def is_foreign(self, broker_id: str) -> bool: ...


class Orders:
    """All orders of one session. ``on_change`` is told the market whose funds and positions may have moved."""

    def __init__(
        self,
        outlet: Outlet,
        *,
        checks: OrderChecks,
        settings: Settings,
        mutate: Callable[[str, dict[str, Any]], Awaitable[Any]],
        learn_name: Callable[[str, Exchange, str], None],
        denied: Callable[[str, PermissionDenied], None],
        clock: Clock,
        timing: Timing,
        on_change: Callable[[str], None],
    ) -> None:
        self._outlet = outlet
        self._tracker = outlet.tracker
        self._checks = checks
        self._settings = settings
        self._mutate = mutate
        self._learn_name = learn_name
        self._denied = denied
        self._clock = clock
        self._timing = timing
        self._on_change = on_change
        self.held: dict[str, Held] = {}
        """By the broker's number, rows that may be an order of ours whose number is not known yet."""
        self.quiet = False
        """Whether what is applied is old news that moves no funds: the rest of a day that is being read."""
        self.kinds: dict[str, str] = {}
        """The broker's order type by its number: a cancel repeats it."""
        self._matches: set[str] = set()
        self.given_up: dict[Key, str] = {likeness(order): order.orderid for order in self._tracker if order.inferred}
        """Orders that absence from the lists closed, by likeness: should one turn up, that is worth an alarm."""
        self.wanted = asyncio.Event()
        """Set when the lists should be read soon."""
        self.cancels = Cancels(
            outlet,
            mutate=mutate,
            kind_of=self.kinds.get,
            wanted=self.wanted,
            cancel_external=settings.cancel_external,
            clock=clock,
            timing=timing,
        )

    # ------------------------------------------------------------------ sending

    async def place(self, order: TrackedOrder) -> None:
        """Check an order and send it, once."""
        try:
            params = await self._checks.prepare(order)
            if not order.cancel_wanted:
                await self._outlet.intend(order)
        except Refusal as refusal:
            self._outlet.refuse(order, str(refusal))
            return
        except Exception as error:  # noqa: BLE001  a fault of ours must not leave the order without an end
            self._outlet.refuse(order, _("内部错误，未发送：{!r}").format(error))
            return
        if order.cancel_wanted:
            self._tracker.happen(order, Happening.CANCELLED, _("发送前已撤单"))
            self._outlet.push_order(order)
            return
        self._tracker.happen(order, Happening.SENT)
        order.sent = self._clock.monotonic()
        self._outlet.note(order)
        try:
            broker_id = mutation_id(await self._mutate(PLACE, params))
        except ConnectionFailed as error:
            self._outlet.refuse(order, _("未发送：{}").format(error.text))
        except UnknownOutcome as error:
            self._lose(order, error.text)
        except PermissionDenied as error:
            self._denied(params["exchangeType"], error)
            self._outlet.refuse(order, error.text)
        except BrokerError as error:
            self._outlet.refuse(order, error.text)
        except asyncio.CancelledError:
            self._lose(order, _("连接正在关闭"))
            raise
        except Exception as error:  # noqa: BLE001  whatever broke after sending: it may have been carried out
            self._lose(order, repr(error))
        else:
            if broker_id:
                self.kinds[broker_id] = params["entrustType"]
                await self.claim(order, broker_id)
            else:
                self._lose(order, _("券商没有返回委托号"))
        self.release_held()

    def _lose(self, order: TrackedOrder, why: str) -> None:
        if order.state is not State.SENDING:
            return  # a push told more than the answer could
        self._tracker.happen(order, Happening.LOST)
        self._outlet.push_order(order)
        self._outlet.log(
            _("委托{} {}结果未知（{}）：不会重发，将在{:g}秒后按券商委托列表核实，请勿重复下单").format(
                order.orderid, order.vt_symbol, why, self._timing.settle_after
            )
        )
        self.wanted.set()

    async def cancel(self, orderid: str) -> None:
        """Cancel one order; where that can't be done yet, as soon as it can."""
        await self.cancels.cancel(orderid)

    async def cancel_all(self, market: str) -> None:
        """Cancel our working orders of one market in one request, never with an empty list."""
        await self.cancels.cancel_all(market)

    # ------------------------------------------------------------------ what the broker says

    async def claim(self, order: TrackedOrder, broker_id: str) -> None:
        """The order has its number: what was held under it is its own."""
        other = self._tracker.find([broker_id])
        if other is not None and other is not order:
            self._outlet.log(
                _("委托号{}已属于{}，与{}冲突，请核对；两者都按券商列表继续核实").format(
                    broker_id, other.orderid, order.orderid
                )
            )
        self._tracker.bind(order, broker_id)
        self._tracker.happen(order, Happening.ACKNOWLEDGED)
        held = self.held.pop(broker_id, None)
        if held:
            self._tracker.report(order, held.report)
        self._outlet.push_order(order)
        self.count(order, held.fills if held else ())
        self._moved(order)
        self._seek_fills(order)
        if order.cancel_wanted and order.active:
            await self.cancels.send(order)

    def on_push(self, update: OrderUpdate) -> None:
        """A pushed change: known orders move, unknown ones wait or enter as external."""
        known = self._tracker.find([update.record_no, update.entrust_no])
        report = report_of_push(update, EXCHANGE2MARKET[known.exchange].code if known else "")
        if report is None:
            self.wanted.set()  # it says too little: the lists will say the rest
            return
        if update.unread:
            self.wanted.set()
        order = self._find(report, update)
        if update.stock_name:
            self._learn_name(report.symbol, report.exchange, update.stock_name)
        if order is None:
            order = self.meet(report, self.waiting(), self._clock.monotonic(), pushed=True)
        else:
            # A push does not say the kind of order: the one that we know stands.
            self.apply(order, replace(report, type=order.type))
        key = f"{report.broker_id}|{update.match_no}"
        fresh = key not in self._matches
        counted = order.counted if order else ZERO
        fill = fill_of_push(update, counted, report.volume, fresh, self._clock.now())
        if fill and update.match_no:
            self._matches.add(key)
        if fill and order:
            self.count(order, [fill])
        elif fill and report.broker_id in self.held:
            self.held[report.broker_id].fills.append(fill)
        if order:
            self._seek_fills(order)

    def _seek_fills(self, order: TrackedOrder) -> None:
        """A fill is missing whose push was lost or is on its way: the lists will say."""
        if order.traded > order.counted:
            self.wanted.set()

    def _find(self, report: OrderReport, update: OrderUpdate) -> TrackedOrder | None:
        """Match by recordNo, then entrustNo (section 13.4); a match on another instrument or side is none."""
        alias = f"{ENTRUST_ALIAS}{update.entrust_no}" if update.entrust_no else ""
        for broker_id in (update.record_no, alias, update.entrust_no):
            order = self._tracker.find([broker_id])
            if order and (order.symbol, order.exchange, order.direction) == likeness(report)[:3]:
                if alias:
                    self._tracker.bind(order, alias)
                return order
        return None

    def owner(self, report: OrderReport) -> TrackedOrder | None:
        """Return the order that a listed row is about.

        Numbers may be given again on another day: an order of an earlier process that has ended, and is of another
        instrument or side, is not meant.
        """
        order = self._tracker.find([report.broker_id])
        if order and not order.shown and not order.active and likeness(order)[:3] != likeness(report)[:3]:
            self._tracker.release(report.broker_id)
            return None
        held = self.held.pop(report.broker_id, None) if order else None
        if order and held:
            # An answer that reached an earlier session has told whose it is.
            self.apply(order, replace(held.report, type=order.type))
            self.count(order, held.fills)
        return order

    def apply(self, order: TrackedOrder, report: OrderReport) -> None:
        """The broker says this of an order that is known."""
        was_active = order.active
        # Which kind an order from elsewhere is, a push could not say.
        learned = order.external and order.type is not report.type
        if learned:
            order.type, order.price = report.type, report.price
        if self._tracker.report(order, report) or learned:
            self._outlet.push_order(order)
            self._moved(order)
            if was_active and order.state is State.REJECTED:
                self._outlet.log(
                    _("委托{} {}被券商拒绝：{}").format(order.orderid, order.vt_symbol, order.reason or _("未说明原因"))
                )

    def meet(
        self,
        report: OrderReport,
        waiting: Iterable[TrackedOrder],
        before: float,
        *,
        pushed: bool = False,
        past: bool = False,
    ) -> TrackedOrder | None:
        """An order that nobody owns: hold it if it may be one of ``waiting``, else it was placed elsewhere.

        ``before`` and ``past`` are those of :class:`Held`; of an earlier day only what may be ours is taken.
        """
        held = self.held.pop(report.broker_id, None)
        if held:
            held.hear(report, pushed=pushed)
        else:
            held = Held(report, before, past)
        if not self._outlet.is_foreign(report.broker_id) and held.may_be_one_of(waiting):
            self.held[report.broker_id] = held
            return None
        if held.past:
            return None
        self._outlet.know_foreign(report.broker_id)
        if not self._settings.show_external:
            return None
        order = self.adopt(held.report)
        self.count(order, held.fills)
        self._outlet.findings.add(Kind.ADOPTED, order)
        alarm = self.given_up.pop(likeness(report), "")
        if alarm:
            self._outlet.log(
                _("警告：委托{}曾按列表推断为未到达，现在券商处出现相同委托{}，已按外部委托显示，请核对").format(
                    alarm, report.broker_id
                )
            )
        return order

    def adopt(self, report: OrderReport) -> TrackedOrder:
        """Show an order that was placed elsewhere."""
        order = self._tracker.adopt(self._outlet.ids.external(report.broker_id), report, self._clock.now())
        self._tracker.report(order, report)
        self._outlet.push_order(order)
        self._moved(order)
        return order

    def release_held(self) -> None:
        """Rows that no order of ours can be any more were placed elsewhere."""
        if not self.held:
            return
        nameless = self.waiting()
        for broker_id, held in list(self.held.items()):
            # An answer that reached an earlier session may have told whose it is.
            order = self._tracker.find([broker_id])
            if order is None and held.may_be_one_of(nameless):
                continue
            del self.held[broker_id]
            if order:
                self.apply(order, replace(held.report, type=order.type))
            else:
                order = self.meet(held.report, (), held.before, past=held.past)
            if order:
                self.count(order, held.fills)
                self._seek_fills(order)

    def count(self, order: TrackedOrder, fills: Iterable[FillReport]) -> None:
        for report in fills:
            before = (order.traded, order.state)
            new = self._tracker.fill(order, report)
            if new and (order.traded, order.state) != before:
                self._outlet.push_order(order)
            for fill in new:
                self._trade(order, fill)

    def _trade(self, order: TrackedOrder, fill: Fill) -> None:
        self._outlet.push_trade(order, fill)
        self._moved(order)

    def _moved(self, order: TrackedOrder) -> None:
        """Funds and positions may have changed with it."""
        if not self.quiet:
            self._on_change(EXCHANGE2MARKET[order.exchange].code)

    def waiting(self) -> list[TrackedOrder]:
        """Orders of ours whose number may still turn up."""
        return [order for order in self._tracker.nameless() if UNDECIDABLE not in order.extra]

    def unsettled(self) -> list[TrackedOrder]:
        """Orders whose outcome the lists still have to tell, oldest sent first."""
        return [order for order in self._tracker.unknown() if UNDECIDABLE not in order.extra]

    @property
    def has_unknown(self) -> bool:
        """Whether the lists still have to settle something."""
        return bool(self.unsettled())
