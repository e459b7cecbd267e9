"""Checks of an order before it may leave, and the request that it becomes.

Everything that can be known to be wrong is refused here, in words, before a byte goes out (design, section 4,
"Guards on the wire"); what only the broker knows is left to the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from vnpy.trader.constant import Direction, Exchange, Offset, OrderType

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError
from vnpy_brokerkit.guard import Guard, OrderFacts
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.price_grid import align, on_grid
from vnpy_brokerkit.refusal import Refusal
from vnpy_brokerkit.symbols import SymbolError, canonical
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import ZERO, TrackedOrder, plain_text
from vnpy_brokerkit.trading_hours import Region, Segment, auction
from vnpy_brokerkit.waiting import within

from .instruments import Instrument
from .market_data import Board, MarketData
from .settings import Settings
from .spelling import EXCHANGE2MARKET

# Reference section 9.1 and 9.2.
TYPE_LIMIT = "3"
TYPE_MARKET_US = "5"
TYPE_ENHANCED = "2"
TYPE_AUCTION_LIMIT = "0"
TYPE_ODD_LOT = "7"
SESSION_REGULAR, SESSION_EXTENDED = "0", "1"
DIRECTION2SIDE: Mapping[Direction, str] = {Direction.LONG: "1", Direction.SHORT: "2"}


class OrderChecks:
    """Turns an order into a request, or refuses it."""

    def __init__(
        self,
        *,
        settings: Settings,
        markets: Callable[[], Iterable[str]],
        market_data: MarketData,
        sellable: Callable[[str, Exchange], Decimal],
        logged_in: Callable[[], bool],
        guard: Guard,
        clock: Clock,
        timing: Timing,
        log: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._markets = markets
        self._market_data = market_data
        self._sellable = sellable
        self._guard = guard
        self._clock = clock
        self._timing = timing
        self._log = log
        self._logged_in = logged_in
        self.ready = asyncio.Event()
        """Set once the broker's orders are known: before that, an order of ours could not be told from them."""

    async def _wait_until_ready(self, order: TrackedOrder) -> None:
        """Quotes come before the lists have been read: who acts on the first of them need not be refused."""
        left = order.born + self._timing.order_max_age - self._clock.monotonic()
        if not self.ready.is_set() and self._logged_in() and left > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await within(left, self.ready.wait())
        if not self.ready.is_set():
            raise Refusal(_("连接尚未就绪，未发送；请等待连接完成"))

    async def prepare(self, order: TrackedOrder) -> dict[str, Any]:
        """Return the request of an order that may go out; raise :class:`Refusal` in words for one that may not."""
        market = EXCHANGE2MARKET.get(order.exchange)
        if self._settings.read_only:
            raise Refusal(_("当前为只读连接，未发送；如需交易请将“只读”设为“否”后重新连接"))
        if market is None or market.code not in self._markets():
            raise Refusal(_("{}不在已启用的市场内，未发送；请检查“市场”设置和账户权限").format(order.vt_symbol))
        await self._wait_until_ready(order)
        if order.type not in (OrderType.LIMIT, OrderType.MARKET):
            raise Refusal(_("不支持{}委托，未发送；华盛通支持限价，美股另支持市价").format(order.type.value))
        if order.type is OrderType.MARKET and market.region is not Region.US:
            raise Refusal(_("{}不支持市价委托，未发送；请改用限价").format(_(market.name)))
        if order.direction not in DIRECTION2SIDE:
            raise Refusal(_("不支持的方向{}，未发送").format(order.direction.value))
        board = await self._quote(order)
        if self._clock.monotonic() - order.born > self._timing.order_max_age:
            raise Refusal(_("等待发送超过{:g}秒，价格可能已过时，未发送").format(self._timing.order_max_age))
        instrument = board.instrument
        self._align(order, instrument)
        odd_lot = self._is_odd_lot(order, instrument)
        self._check_short(order)
        self._check_segment(order, board)
        refusal = self._guard.check(
            OrderFacts(
                vt_symbol=order.vt_symbol,
                direction=order.direction,
                type=order.type,
                price=order.price,
                volume=order.volume,
                lot=instrument.lot,
                tick=instrument.tick_at(order.price, self._clock.now().date()),
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
            raise Refusal(refusal)
        is_limit = order.type is OrderType.LIMIT
        return {
            "exchangeType": market.code,
            "stockCode": instrument.code,
            "entrustAmount": plain_text(order.volume),
            "entrustPrice": plain_text(order.price) if is_limit else "0",
            "entrustBs": DIRECTION2SIDE[order.direction],
            "entrustType": self._entrust_type(order, instrument, odd_lot),
            "sessionType": SESSION_EXTENDED
            if self._settings.extended and is_limit and market.region is Region.US
            else SESSION_REGULAR,
        }

    async def _quote(self, order: TrackedOrder) -> Board:
        """Return the order's market: fresh for a market order, whose segment and size depend on it."""
        try:
            canonical(order.symbol, order.exchange)
        except SymbolError as error:  # what can be no code is not asked of the Gateway either
            raise Refusal(_("{}，未发送").format(error)) from None
        board = self._market_data.board(order.symbol, order.exchange)
        try:
            if board is None or order.type is OrderType.MARKET:
                board = await self._market_data.refresh(order.symbol, order.exchange)
        except BrokerError as error:
            raise Refusal(_("无法核对合约{}（{}），未发送").format(order.vt_symbol, error.text)) from None
        if board is None:
            raise Refusal(_("找不到合约{}，未发送；请检查代码和交易所").format(order.vt_symbol))
        return board

    def _align(self, order: TrackedOrder, instrument: Instrument) -> None:
        """价格对齐 = 向保守方向对齐: a buy goes down to the grid, a sell up, and the line says so."""
        price = order.price
        tick = instrument.tick_at(price, self._clock.now().date())
        if not self._settings.align or order.type is not OrderType.LIMIT or not price.is_finite() or price <= 0:
            return
        if not on_grid(price, tick):
            order.price = align(price, tick, up=order.direction is Direction.SHORT)
            self._log(
                _("委托{} {}价格{}不在最小变动价位{}上，已对齐为{}").format(
                    order.orderid, order.vt_symbol, price, tick, order.price
                )
            )

    def _is_odd_lot(self, order: TrackedOrder, instrument: Instrument) -> bool:
        """碎股卖出 = 碎股单: an odd rest may be sold.

        Hong Kong has a kind of order for less than a lot; of A shares a plain sale may have any number (whole lots are
        what is bought, reference section 16.3).
        """
        may_be = (
            self._settings.odd_lots
            and order.direction is Direction.SHORT
            and order.type is OrderType.LIMIT
            and order.volume.is_finite()
            and order.volume == order.volume.to_integral_value()
        )
        if instrument.market.region is Region.HK:
            return may_be and ZERO < order.volume < instrument.lot
        return may_be and instrument.market.region is Region.CONNECT

    def _check_short(self, order: TrackedOrder) -> None:
        """A strategy's ``short`` opens a position that this broker refuses (reference section 9.1: a plain sale).

        ``sell`` closes, and is the broker's to judge: what is held was read some seconds ago.
        """
        if order.direction is not Direction.SHORT or order.offset is not Offset.OPEN:
            return
        free = self._sellable(order.symbol, order.exchange)
        if order.volume > free:
            raise Refusal(
                _("{}：可卖{}，卖出开仓{}会形成卖空，华盛通不支持，未发送；请改用只做多的策略，平仓请用sell").format(
                    order.vt_symbol, free, order.volume
                )
            )

    def _check_segment(self, order: TrackedOrder, board: Board) -> None:
        if order.type is not OrderType.MARKET:
            return
        now = self._market_data.segment_of(board)
        if now is not Segment.REGULAR:
            raise Refusal(
                _("{}当前不在常规交易时段（{}），市价委托未发送；请改用限价").format(order.vt_symbol, now.value)
            )

    def _entrust_type(self, order: TrackedOrder, instrument: Instrument, odd_lot: bool) -> str:
        if order.type is OrderType.MARKET:
            return TYPE_MARKET_US
        if instrument.market.region is not Region.HK:
            return TYPE_LIMIT
        if odd_lot:
            return TYPE_ODD_LOT
        if self._settings.hk_limit == "限价":
            return TYPE_LIMIT
        if self._settings.hk_limit == "自动" and auction(Region.HK, self._clock.now()):
            return TYPE_AUCTION_LIMIT
        return TYPE_ENHANCED
