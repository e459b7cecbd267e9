"""Orders: from a request to the wire, from the broker's words to the engine, and what to do when nobody knows.

A request goes out once. What came of it is known from its answer, from a push (which may precede the answer) or from
the lists; until then the order is SUBMITTING. The protocol has no client order id (reference "vbrokers-openapi",
section 7.1), so a row that nobody owns and that could be ours is held until the answer or the rule of the design's
section 4 says whose it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol

from vnpy.trader.constant import Direction, Exchange, OrderType

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, PermissionDenied, UnknownOutcome
from vnpy_brokerkit.guard import Guard, OrderFacts
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.identity import OrderIds
from vnpy_brokerkit.lifecycle import Happening, State
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.price_grid import align, on_grid
from vnpy_brokerkit.reconcile import likeness, may_be_ours, settle
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import ZERO, Fill, FillReport, OrderReport, OrderTracker, TrackedOrder
from vnpy_brokerkit.trading_hours import Region, Segment, auction

from .contracts import EXCHANGE2MARKET, MARKETS, Instrument, to_code
from .market_data import Board, MarketData
from .order_lists import (
    Read,
    fill_of_push,
    fills_of_rows,
    read_deals,
    read_history,
    read_orders,
    read_orders_by_id,
    report_of_push,
    report_of_row,
)
from .settings import Settings
from .wire.push import OrderUpdate
from .wire.schema import DeliverRow, OrderRow, mutation_id, parse_batch_cancel

PLACE = "/trade/TradeEntrust"
CANCEL = "/trade/TradeCancelEntrust"
CANCEL_MANY = "/trade/TradeBatchCancelEntrust"

# Reference section 9.1 and 9.2.
TYPE_LIMIT = "3"
TYPE_MARKET_US = "5"
TYPE_ENHANCED = "2"
TYPE_AUCTION_LIMIT = "0"
TYPE_ODD_LOT = "7"
SESSION_REGULAR, SESSION_EXTENDED = "0", "1"
DIRECTION2SIDE: Mapping[Direction, str] = {Direction.LONG: "1", Direction.SHORT: "2"}
ENTRUST_ALIAS = "entrustNo:"
"""recordNo and entrustNo may be numbers of two different series: the second kind is kept apart."""
FILL_READS = 3
"""How often lists that contradict each other are read before the difference is left to the next time."""


class Outlet(Protocol):
    """What orders need of the gateway."""

    tracker: OrderTracker
    ids: OrderIds

    def push_order(self, order: TrackedOrder) -> None: ...
    def refuse(self, order: TrackedOrder, reason: str) -> None: ...
    def push_trade(self, order: TrackedOrder, fill: Fill) -> None: ...
    def log(self, text: str) -> None: ...


class Orders:
    """All orders of one session. ``on_change`` is told the market whose funds and positions may have moved."""

    def __init__(
        self,
        outlet: Outlet,
        *,
        settings: Settings,
        mutate: Callable[[str, dict[str, Any]], Awaitable[Any]],
        read_list: Read,
        markets: Callable[[], Iterable[str]],
        market_data: MarketData,
        learn_name: Callable[[str, Exchange, str], None],
        denied: Callable[[str, PermissionDenied], None],
        guard: Guard,
        clock: Clock,
        timing: Timing,
        on_change: Callable[[str], None],
    ) -> None:
        self._outlet = outlet
        self._tracker = outlet.tracker
        self._settings = settings
        self._mutate = mutate
        self._read_list = read_list
        self._markets = markets
        self._market_data = market_data
        self._learn_name = learn_name
        self._denied = denied
        self._guard = guard
        self._clock = clock
        self._timing = timing
        self._on_change = on_change
        self._patience = Patience(timing.repeat_line, clock)
        self._held: dict[str, OrderReport] = {}
        """Rows that may be an order of ours whose number is not known yet."""
        self._held_fills: dict[str, list[FillReport]] = {}
        self._kinds: dict[str, str] = {}
        """The broker's order type by its number: a cancel repeats it."""
        self._matches: set[str] = set()
        self._cancelling: set[str] = set()
        self._baseline: set[str] = set()
        """Markets whose list was read whole since the connect: only then does absence mean anything."""
        self._undecidable: set[str] = set()
        """Unknown orders that the lists can't tell from others: reported, and left to a person."""
        self._inferred: dict[tuple[object, ...], str] = {}
        self._reading = asyncio.Lock()
        self.wanted = asyncio.Event()
        """Set when the lists should be read soon."""
        self.ready = False

    # ------------------------------------------------------------------ sending

    async def place(self, order: TrackedOrder) -> None:
        """Check an order and send it, once."""
        try:
            params = await self._prepare(order)
        except _Refusal as refusal:
            if order.state is State.NEW:
                self._outlet.refuse(order, str(refusal))
            return
        if order.cancel_wanted:
            self._tracker.happen(order, Happening.CANCELLED, _("发送前已撤单"))
            self._outlet.push_order(order)
            return
        self._tracker.happen(order, Happening.SENT)
        order.sent = self._clock.monotonic()
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
        else:
            if broker_id:
                self._kinds[broker_id] = params["entrustType"]
                await self._claim(order, broker_id)
            else:
                self._lose(order, _("券商没有返回委托号"))
        self._release_held()

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

    async def _prepare(self, order: TrackedOrder) -> dict[str, Any]:
        """Return the request of an order that may go out; raise :class:`_Refusal` in words for one that may not."""
        market = EXCHANGE2MARKET.get(order.exchange)
        if self._settings.read_only:
            raise _Refusal(_("当前为只读连接，未发送；如需交易请将“只读”设为“否”后重新连接"))
        if market is None or market.code not in self._markets():
            raise _Refusal(_("{}不在已启用的市场内，未发送；请检查“市场”设置和账户权限").format(order.vt_symbol))
        if not self.ready:
            raise _Refusal(_("连接尚未就绪，未发送；请等待连接完成"))
        if order.type not in (OrderType.LIMIT, OrderType.MARKET):
            raise _Refusal(_("不支持{}委托，未发送；华盛通支持限价，美股另支持市价").format(order.type.value))
        if order.type is OrderType.MARKET and market.region is not Region.US:
            raise _Refusal(_("{}不支持市价委托，未发送；请改用限价").format(market.name))
        if order.direction not in DIRECTION2SIDE:
            raise _Refusal(_("不支持的方向{}，未发送").format(order.direction.value))
        board = await self._quote(order)
        if self._clock.monotonic() - order.born > self._timing.order_max_age:
            raise _Refusal(_("等待发送超过{:g}秒，价格可能已过时，未发送").format(self._timing.order_max_age))
        instrument = board.instrument
        self._align(order, instrument)
        odd_lot = self._is_odd_lot(order, instrument)
        self._check_segment(order, board)
        refusal = self._guard.check(
            OrderFacts(
                vt_symbol=order.vt_symbol,
                direction=order.direction,
                type=order.type,
                price=order.price,
                volume=order.volume,
                lot=instrument.lot,
                tick=instrument.tick,
                size=instrument.size,
                odd_lot=odd_lot,
                last=board.price(),
                bid=board.bids[0].price if board.bids else ZERO,
                ask=board.asks[0].price if board.asks else ZERO,
            ),
            self._clock.monotonic(),
            self._clock.now().date(),
        )
        if refusal:
            raise _Refusal(refusal)
        is_limit = order.type is OrderType.LIMIT
        return {
            "exchangeType": market.code,
            "stockCode": instrument.code,
            "entrustAmount": _plain(order.volume),
            "entrustPrice": _plain(order.price) if is_limit else "0",
            "entrustBs": DIRECTION2SIDE[order.direction],
            "entrustType": self._entrust_type(order, instrument, odd_lot),
            "sessionType": SESSION_EXTENDED
            if self._settings.extended and is_limit and market.region is Region.US
            else SESSION_REGULAR,
        }

    async def _quote(self, order: TrackedOrder) -> Board:
        """Return the order's market: fresh for a market order, whose segment and size depend on it."""
        board = self._market_data.board(order.symbol, order.exchange)
        try:
            if board is None or order.type is OrderType.MARKET:
                board = await self._market_data.refresh(order.symbol, order.exchange)
        except BrokerError as error:
            raise _Refusal(_("无法核对合约{}（{}），未发送").format(order.vt_symbol, error.text)) from None
        if board is None:
            raise _Refusal(_("找不到合约{}，未发送；请检查代码和交易所").format(order.vt_symbol))
        return board

    def _align(self, order: TrackedOrder, instrument: Instrument) -> None:
        """价格对齐 = 向保守方向对齐: a buy goes down to the grid, a sell up, and the line says so."""
        price, tick = order.price, instrument.tick
        if not self._settings.align or order.type is not OrderType.LIMIT or not price.is_finite() or price <= 0:
            return
        if not on_grid(price, tick):
            order.price = align(price, tick, up=order.direction is Direction.SHORT)
            self._outlet.log(
                _("委托{} {}价格{}不在最小变动价位{}上，已对齐为{}").format(
                    order.orderid, order.vt_symbol, price, tick, order.price
                )
            )

    def _is_odd_lot(self, order: TrackedOrder, instrument: Instrument) -> bool:
        """碎股卖出 = 碎股单: what is less than a lot may be sold, in Hong Kong."""
        return (
            self._settings.odd_lots
            and order.direction is Direction.SHORT
            and order.type is OrderType.LIMIT
            and instrument.market.region is Region.HK
            and ZERO < order.volume < instrument.lot
            and order.volume == order.volume.to_integral_value()
        )

    def _check_segment(self, order: TrackedOrder, board: Board) -> None:
        if order.type is not OrderType.MARKET:
            return
        now = self._market_data.segment_of(board)
        if now is not Segment.REGULAR:
            raise _Refusal(
                _("{}当前不在常规交易时段（{}），市价委托未发送；请改用限价").format(order.vt_symbol, now.value)
            )

    def _entrust_type(self, order: TrackedOrder, instrument: Instrument, odd_lot: bool) -> str:
        if order.type is OrderType.MARKET:
            return TYPE_MARKET_US
        if odd_lot:
            return TYPE_ODD_LOT
        if instrument.market.region is not Region.HK:
            return TYPE_LIMIT
        if self._settings.hk_limit == "限价":
            return TYPE_LIMIT
        if self._settings.hk_limit == "自动" and auction(Region.HK, self._clock.now()):
            return TYPE_AUCTION_LIMIT
        return TYPE_ENHANCED

    # ------------------------------------------------------------------ cancelling

    async def cancel(self, orderid: str) -> None:
        """Cancel one order; where that can't be done yet, as soon as it can."""
        order = self._tracker.get(orderid)
        if order is None:
            self._outlet.log(_("找不到委托{}，无法撤单").format(orderid))
        elif not order.active:
            self._outlet.log(_("委托{}已结束，无需撤单").format(orderid))
        elif not order.broker_id:
            order.cancel_wanted = True
            if order.state is State.UNKNOWN:
                self._outlet.log(_("委托{}结果未知，核实后立即撤单").format(orderid))
        else:
            await self._cancel(order)

    async def _cancel(self, order: TrackedOrder) -> None:
        if order.orderid in self._cancelling:
            return
        self._cancelling.add(order.orderid)
        order.cancel_wanted = False
        market = EXCHANGE2MARKET[order.exchange]
        params = {
            "exchangeType": market.code,
            "stockCode": to_code(order.symbol, order.exchange),
            "entrustId": order.broker_id,
            "entrustAmount": _plain(order.volume),
            "entrustPrice": _plain(order.price) if order.type is OrderType.LIMIT else "0",
        }
        if order.broker_id in self._kinds:
            params["entrustType"] = self._kinds[order.broker_id]
        try:
            await self._mutate(CANCEL, params)
        except ConnectionFailed as error:
            order.cancel_wanted = True
            self._outlet.log(_("委托{}的撤单未能发出（{}），恢复连接后自动发出").format(order.orderid, error.text))
        except UnknownOutcome as error:
            self._outlet.log(_("委托{}的撤单结果未知（{}），将按券商委托列表核实").format(order.orderid, error.text))
        except BrokerError as error:
            self._outlet.log(_("委托{}的撤单被拒绝：{}").format(order.orderid, error.text))
        finally:
            self._cancelling.discard(order.orderid)
            self.wanted.set()

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
            and (not order.external or self._settings.cancel_external)
        ]
        for order in self._tracker.active():
            if not order.broker_id and EXCHANGE2MARKET[order.exchange].code == market:
                order.cancel_wanted = True
        if not orders:
            self._outlet.log(_("{}没有可撤的委托").format(MARKETS[market].name))
            return
        params = {"exchangeType": market, "entrustId": [order.broker_id for order in orders]}
        try:
            reply = parse_batch_cancel(await self._mutate(CANCEL_MANY, params))
        except BrokerError as error:
            self._outlet.log(_("{}全撤失败或结果未知：{}").format(MARKETS[market].name, error.text))
        else:
            for failed in reply.fail_cancel_entrust.rows:
                self._outlet.log(_("委托{}撤单失败：{}").format(failed.fail_entrust_id, failed.remark))
        finally:
            self.wanted.set()

    # ------------------------------------------------------------------ what the broker says

    async def _claim(self, order: TrackedOrder, broker_id: str) -> None:
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
        held = self._held.pop(broker_id, None)
        if held:
            self._tracker.report(order, held)
        self._outlet.push_order(order)
        self._count(order, self._held_fills.pop(broker_id, []))
        self._on_change(EXCHANGE2MARKET[order.exchange].code)
        if order.cancel_wanted and order.active:
            await self._cancel(order)

    def on_push(self, update: OrderUpdate) -> None:
        """A pushed change: known orders move, unknown ones wait or enter as external."""
        report = report_of_push(update, "")
        if report is None:
            return
        if update.unread:
            self.wanted.set()
        order = self._find(report, update)
        if update.stock_name:
            self._learn_name(report.symbol, report.exchange, update.stock_name)
        if order is None:
            order = self._meet(report)
        else:
            # A push does not say the kind of order: the one that we know stands.
            self._apply(order, replace(report, type=order.type))
        key = f"{report.broker_id}|{update.match_no}"
        fresh = key not in self._matches
        counted = order.counted if order else ZERO
        fill = fill_of_push(update, counted, report.volume, fresh, self._clock.now())
        if fill and update.match_no:
            self._matches.add(key)
        if fill and order:
            self._count(order, [fill])
        elif fill and report.broker_id in self._held:
            self._held_fills.setdefault(report.broker_id, []).append(fill)
        if order and order.traded > order.counted:
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

    def _apply(self, order: TrackedOrder, report: OrderReport) -> None:
        was_active = order.active
        if self._tracker.report(order, report):
            self._outlet.push_order(order)
            self._on_change(EXCHANGE2MARKET[order.exchange].code)
            if was_active and order.state is State.REJECTED:
                self._outlet.log(
                    _("委托{} {}被券商拒绝：{}").format(order.orderid, order.vt_symbol, order.reason or _("未说明原因"))
                )

    def _meet(self, report: OrderReport) -> TrackedOrder | None:
        """An order that nobody owns: wait if it may be ours, else it was placed elsewhere."""
        if may_be_ours(report, self._waiting()):
            before = self._held.get(report.broker_id)
            if before is None or report.traded >= before.traded:
                self._held[report.broker_id] = report
            return None
        if not self._settings.show_external:
            return None
        order = self._tracker.adopt(self._outlet.ids.external(report.broker_id), report, self._clock.now())
        self._tracker.report(order, report)
        self._outlet.push_order(order)
        self._on_change(EXCHANGE2MARKET[order.exchange].code)
        alarm = self._inferred.pop(likeness(report), "")
        if alarm:
            self._outlet.log(
                _("警告：委托{}曾按列表推断为未到达，现在券商处出现相同委托{}，已按外部委托显示，请核对").format(
                    alarm, report.broker_id
                )
            )
        return order

    def _release_held(self) -> None:
        """Rows that no order of ours can be any more were placed elsewhere."""
        nameless = self._waiting()
        for broker_id, report in list(self._held.items()):
            if may_be_ours(report, nameless):
                continue
            del self._held[broker_id]
            order = self._meet(report)
            fills = self._held_fills.pop(broker_id, [])
            if order:
                self._count(order, fills)

    def _count(self, order: TrackedOrder, fills: Iterable[FillReport]) -> None:
        for report in fills:
            before = (order.traded, order.state)
            new = self._tracker.fill(order, report)
            if new and (order.traded, order.state) != before:
                self._outlet.push_order(order)
            for fill in new:
                self._trade(order, fill)

    def _trade(self, order: TrackedOrder, fill: Fill) -> None:
        self._outlet.push_trade(order, fill)
        self._on_change(EXCHANGE2MARKET[order.exchange].code)

    # ------------------------------------------------------------------ the lists

    async def reconcile(self) -> None:
        """Bring the engine to the broker's lists: orders, then fills. Raises :class:`BrokerError`."""
        async with self._reading:
            for market in list(self._markets()):
                try:
                    await self._reconcile_market(market)
                except PermissionDenied as error:
                    self._denied(market, error)
        for order in self._tracker.active():
            if order.cancel_wanted and order.broker_id:
                await self._cancel(order)

    async def _reconcile_market(self, market: str) -> None:
        for _attempt in range(FILL_READS):
            await self._read_orders(market)
            missing = self._missing_fills(market)
            if not missing:
                return
            deals = await read_deals(self._read_list, market)
            if self._take_deals(market, deals.rows):
                return
        self._say_once(market, _("{}的成交与委托列表暂不一致，将继续核对").format(MARKETS[market].name))

    async def _read_orders(self, market: str) -> bool:
        listing = await read_orders(self._read_list, market)
        for problem in listing.problems:
            self._outlet.log(_("委托数据有误，已跳过：{}").format(problem))
        for row in listing.rows:
            self._take_row(row, market)
        if not listing.complete:
            self._say_once(f"{market}-pages", _("{}的委托列表没有读完整，不据此判断委托是否存在").format(market))
            return False
        self._baseline.add(market)
        await self._look_up_missing(market, {row.entrust_id for row in listing.rows})
        return True

    def _take_row(self, row: OrderRow, market: str) -> None:
        report = report_of_row(row, market)
        if report is None:
            return
        self._kinds[row.entrust_id] = row.entrust_type_num or row.entrust_type
        if row.stock_name:
            self._learn_name(report.symbol, report.exchange, row.stock_name)
        order = self._tracker.find([row.entrust_id])
        if order:
            self._apply(order, report)
        else:
            self._meet(report)

    async def _look_up_missing(self, market: str, listed: set[str]) -> None:
        """An acknowledged order that today's list does not have is looked up, never closed by absence."""
        missing = [
            order
            for order in self._tracker.active()
            if order.broker_id
            and order.broker_id not in listed
            and EXCHANGE2MARKET[order.exchange].code == market
            and self._clock.monotonic() - order.sent > self._timing.settle_apart
        ]
        if not missing:
            return
        rows = await read_orders_by_id(self._read_list, market, [order.broker_id for order in missing])
        found = {row.entrust_id for row in rows}
        if len(found) < len(missing):
            today = self._clock.now().date()
            first = min(order.time for order in missing).date() - timedelta(days=1)
            rows += (await read_history(self._read_list, market, first, today + timedelta(days=1))).rows
        wanted = {order.broker_id for order in missing}
        for row in rows:
            if row.entrust_id in wanted:
                self._take_row(row, market)
        for order in missing:
            if order.broker_id not in {row.entrust_id for row in rows}:
                self._say_once(
                    order.orderid,
                    _("委托{}（券商号{}）不在券商的当日和历史列表中，保持原状态；请在APP中核对").format(
                        order.orderid, order.broker_id
                    ),
                )

    def _missing_fills(self, market: str) -> list[TrackedOrder]:
        return [
            order
            for order in self._tracker
            if order.traded > order.counted and EXCHANGE2MARKET[order.exchange].code == market and order.broker_id
        ]

    def _take_deals(self, market: str, rows: Iterable[DeliverRow]) -> bool:
        """Count the fills of the lists; return whether they add up with the orders as far as these are known."""
        by_order: dict[str, list[DeliverRow]] = {}
        for row in rows:
            by_order.setdefault(row.entrust_id, []).append(row)
        consistent = True
        for broker_id, deals in by_order.items():
            order = self._tracker.find([broker_id])
            fills = fills_of_rows(deals, market, self._clock.now())
            if order is None:
                if broker_id in self._held:
                    self._held_fills[broker_id] = fills
                continue
            total = fills[-1].cumulative if fills else ZERO
            if total > order.traded:
                # A page that repeated rows, or a fill newer than the order's row: read both again.
                consistent = False
                continue
            self._count(order, fills)
        return consistent and not self._missing_fills(market)

    def _say_once(self, what: str, line: str) -> None:
        if self._patience.may_say(what):
            self._outlet.log(line)

    # ------------------------------------------------------------------ unknown outcomes

    async def settle_unknown(self) -> None:
        """Settle what is unknown and old enough, by two complete reads (design, section 4)."""
        now = self._clock.monotonic()
        nameless = self._waiting()
        young = {likeness(order) for order in nameless if now - order.sent < self._timing.settle_after}
        ripe = [o for o in self._unsettled() if likeness(o) not in young]
        by_market: dict[str, list[TrackedOrder]] = {}
        for order in ripe:
            by_market.setdefault(EXCHANGE2MARKET[order.exchange].code, []).append(order)
        for market, orders in by_market.items():
            if market not in self._baseline or not await self._read_twice(market):
                continue
            still = [order for order in orders if order.state is State.UNKNOWN]
            await self._settle_market(still)

    async def _read_twice(self, market: str) -> bool:
        async with self._reading:
            if not await self._read_orders(market):
                return False
        await self._clock.sleep(self._timing.settle_apart)
        async with self._reading:
            return await self._read_orders(market)

    async def _settle_market(self, orders: list[TrackedOrder]) -> None:
        rows = sorted(self._held.values(), key=lambda r: (r.time.timestamp() if r.time else 0.0, r.broker_id))
        decision = settle(orders, rows)
        for order, report in decision.found:
            self._outlet.log(_("委托{}已核实：在券商处找到（券商号{}）").format(order.orderid, report.broker_id))
            await self._claim(order, report.broker_id)
        for order in decision.absent:
            order.inferred = True
            self._inferred[likeness(order)] = order.orderid
            self._outlet.refuse(order, _("券商委托列表两次均无此委托，判定为未到达券商"))
        for order in decision.undecidable:
            self._outlet.log(
                _("委托{}无法核实：券商处有多笔相同委托，不能判断哪一笔是它；请在APP中核对").format(order.orderid),
            )
        if decision.undecidable:
            self._undecidable |= {order.orderid for order in decision.undecidable}
            self._show_undecidable({likeness(order) for order in decision.undecidable})
        self._release_held()
        self.wanted.set()

    def _show_undecidable(self, keys: set[tuple[object, ...]]) -> None:
        """Rows that can't be told apart are at the broker, so they are shown: as orders placed elsewhere."""
        for broker_id, report in list(self._held.items()):
            if likeness(report) in keys:
                del self._held[broker_id]
                order = self._tracker.adopt(self._outlet.ids.external(broker_id), report, self._clock.now())
                self._tracker.report(order, report)
                self._outlet.push_order(order)
                self._count(order, self._held_fills.pop(broker_id, []))

    def _waiting(self) -> list[TrackedOrder]:
        """Orders of ours whose number may still turn up."""
        return [order for order in self._tracker.nameless() if order.orderid not in self._undecidable]

    def _unsettled(self) -> list[TrackedOrder]:
        return [order for order in self._tracker.unknown() if order.orderid not in self._undecidable]

    @property
    def has_unknown(self) -> bool:
        """Whether the lists still have to settle something."""
        return bool(self._unsettled())


class _Refusal(Exception):
    """An order that must not leave; its text is for the trader."""


def _plain(number: Decimal) -> str:
    """Write a price or quantity as the wire wants it: no exponent, no trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
