"""Checks of an order before it may leave for TWS, and the order that it becomes."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from ib_async.order import Order
from vnpy.trader.constant import Direction, OrderType, Product

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError
from vnpy_brokerkit.guard import Guard, OrderFacts
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.price_grid import align, on_grid
from vnpy_brokerkit.refusal import Refusal
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import ZERO, OrderTracker, TrackedOrder, plain_text
from vnpy_brokerkit.trading_hours import Segment

from .contracts import Contracts, Instrument
from .market_data import Board, MarketData
from .positions import Positions
from .settings import Settings
from .wire.texts import escape

# Reference section 17.
TYPE_VT2IB = {OrderType.LIMIT: "LMT", OrderType.MARKET: "MKT", OrderType.STOP: "STP"}
DIRECTION_VT2IB = {Direction.LONG: "BUY", Direction.SHORT: "SELL"}
CLOCKLESS = frozenset({Product.FOREX, Product.FUTURES, Product.INDEX})
"""Products whose market orders are not bound to a stock exchange's regular session."""

BY_HAND = frozenset({"", "ManualTrading"})
"""References of orders that no strategy sends; vn.py's own order window writes the latter."""


class OrderChecks:
    """Turns an order into TWS's, or refuses it. ``blocked`` says why nothing may be sent at all, or ``""``."""

    def __init__(
        self,
        *,
        settings: Settings,
        blocked: Callable[[], str],
        account: Callable[[], str],
        can_short: Callable[[], bool],
        contracts: Contracts,
        market_data: MarketData,
        positions: Positions,
        tracker: OrderTracker,
        guard: Guard,
        clock: Clock,
        timing: Timing,
        log: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._blocked = blocked
        self._account = account
        self._can_short = can_short
        self._contracts = contracts
        self._market_data = market_data
        self._positions = positions
        self._tracker = tracker
        self._guard = guard
        self._clock = clock
        self._timing = timing
        self._log = log

    async def prepare(self, order: TrackedOrder) -> tuple[Instrument, Order]:
        """Return the contract and order that may go out; raise :class:`Refusal` in words."""
        if blocked := self._blocked():
            raise Refusal(blocked)
        if order.type not in TYPE_VT2IB:
            raise Refusal(_("不支持{}委托，未发送；IBKR接口支持限价、市价和停止单").format(order.type.value))
        if order.direction not in DIRECTION_VT2IB:
            raise Refusal(_("不支持的方向{}，未发送").format(order.direction.value))
        board = await self._quote(order)
        if self._clock.monotonic() - order.born > self._timing.order_max_age:
            raise Refusal(_("等待发送超过{:g}秒，价格可能已过时，未发送").format(self._timing.order_max_age))
        if blocked := self._blocked():
            raise Refusal(blocked)
        instrument = board.instrument
        self._align(order, instrument)
        self._check_position(order, instrument)
        self._check_data(order, board)
        self._check_segment(order, board)
        self._check_limits(order, board)
        return instrument, self._order(order, instrument)

    async def _quote(self, order: TrackedOrder) -> Board:
        # A conId stands for an instrument once it was looked up.
        order.symbol, order.exchange = self._contracts.key_of(order.symbol, order.exchange)
        board = self._market_data.board(order.symbol, order.exchange)
        try:
            if board is None:
                board = await self._market_data.refresh(order.symbol, order.exchange)
        except BrokerError as error:
            raise Refusal(_("无法核对合约{}（{}），未发送").format(order.vt_symbol, error.text)) from None
        if board is None:
            raise Refusal(_("找不到合约{}，未发送；请检查代码和交易所").format(order.vt_symbol))
        order.symbol, order.exchange = board.instrument.key
        return board

    def _align(self, order: TrackedOrder, instrument: Instrument) -> None:
        price = order.price
        if not self._settings.align or order.type is OrderType.MARKET or not price.is_finite() or price <= 0:
            return
        tick = instrument.tick_at(price)
        if not on_grid(price, tick):
            order.price = align(price, tick, up=order.direction is Direction.SHORT)
            self._log(
                _("委托{} {}价格{}不在最小变动价位{}上，已对齐为{}").format(
                    order.orderid, order.vt_symbol, price, tick, order.price
                )
            )

    def _held(self, order: TrackedOrder) -> Decimal:
        holding = self._positions.holding(order.symbol, order.exchange)
        return holding.volume if holding else ZERO

    def _reduces(self, order: TrackedOrder) -> bool:
        """Whether the order only takes away from what is held."""
        held = self._held(order)
        against = held if order.direction is Direction.SHORT else -held
        return ZERO < order.volume <= against

    def _check_position(self, order: TrackedOrder, instrument: Instrument) -> None:
        """A sale beyond the holding opens a short by itself on a margin account (section 13)."""
        if order.direction is not Direction.SHORT or self._can_short() or instrument.product in CLOCKLESS:
            return
        selling = sum(
            (
                other.volume - other.traded
                for other in self._tracker.active()
                if other is not order
                and other.direction is Direction.SHORT
                and (other.symbol, other.exchange) == (order.symbol, order.exchange)
            ),
            ZERO,
        )
        free = self._held(order) - selling
        if order.volume > free:
            raise Refusal(
                _("{}：可卖{}，委托卖出{}会形成卖空，该账户不允许，未发送").format(
                    order.vt_symbol, plain_text(free), plain_text(order.volume)
                )
            )

    def _check_data(self, order: TrackedOrder, board: Board) -> None:
        """A strategy must not open on prices of a quarter of an hour ago."""
        if self._settings.delayed_orders_allowed or order.reference in BY_HAND or self._reduces(order):
            return
        if self._market_data.delayed(board):
            raise Refusal(
                _("{}的行情是延迟行情，策略开仓委托未发送；请订阅实时行情，或将“延迟行情下单”设为“允许”").format(
                    order.vt_symbol
                )
            )

    def _check_segment(self, order: TrackedOrder, board: Board) -> None:
        if order.type is not OrderType.MARKET or board.instrument.product in CLOCKLESS:
            return
        now = self._market_data.segment_of(board)
        if now is not Segment.REGULAR:
            raise Refusal(
                _("{}当前不在常规交易时段（{}），市价委托未发送；请改用限价").format(order.vt_symbol, now.value)
            )

    def _check_limits(self, order: TrackedOrder, board: Board) -> None:
        instrument = board.instrument
        refusal = self._guard.check(
            OrderFacts(
                vt_symbol=order.vt_symbol,
                direction=order.direction,
                type=order.type,
                price=order.price,
                volume=order.volume,
                lot=ZERO if self._reduces(order) and instrument.lot == 1 else instrument.lot,
                tick=instrument.tick_at(order.price) if order.price.is_finite() else instrument.tick,
                size=instrument.size,
                last=board.price(),
                bid=board.bids[0].price if board.bids else ZERO,
                ask=board.asks[0].price if board.asks else ZERO,
            ),
            self._clock.monotonic(),
            self._clock.now().date(),
        )
        if refusal:
            raise Refusal(refusal)

    def _order(self, order: TrackedOrder, instrument: Instrument) -> Order:
        made = Order(
            action=DIRECTION_VT2IB[order.direction],
            totalQuantity=_number(order.volume),
            orderType=TYPE_VT2IB[order.type],
            tif=self._settings.tif,
            account=self._account(),
            orderRef=f"{order.orderid}|{escape(order.reference)}"[:128],
            outsideRth=self._settings.extended and order.type is OrderType.LIMIT,
            transmit=True,
        )
        if order.type is OrderType.LIMIT:
            made.lmtPrice = float(order.price)
        elif order.type is OrderType.STOP:
            made.auxPrice = float(order.price)
        return made


def _number(volume: Decimal) -> float:
    """Whole shares as an int, so that the wire says 100 and not 100.0."""
    return int(volume) if volume == volume.to_integral_value() else float(volume)
