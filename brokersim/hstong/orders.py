"""Placing, cancelling and changing orders (vbrokers-openapi 7.1 to 7.4, 9.1, 17)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from decimal import Decimal

from brokersim.hstong.backend import ACCOUNT, Backend
from brokersim.hstong.codes import (
    ORDER_TYPES,
    SHORT_SELLING_SIDES,
    SIDES,
    GatewayError,
    MarketCode,
    TypeCode,
)
from brokersim.hstong.conditional import ConditionalOrders
from brokersim.hstong.notices import OrderNotices
from brokersim.hstong.params import Params
from brokersim.matching import Refused
from brokersim.model import Direction, Instrument, Order
from brokersim.truth import plain

REFUSAL_CODES = {
    "funds": "3002",
    "short": "3002",
    "session": "4001",
    "unknown": "1016",
    "invalid": "1016",
    "terminal": "1008",
}
"""The code in front of the desk's words, by why it refused."""
REGULAR, EXTENDED = "0", "1"
SESSION_TYPES = {"P": frozenset({REGULAR, EXTENDED})}
"""Only US orders may name the extended hours (7.1, 9.2)."""
HK_AUCTIONS = ((time(9, 0), time(9, 30)), (time(16, 0), time(16, 10)))
"""Hong Kong time: pre-opening and closing auction (16.2)."""
AUCTION_REACH = {"LONG": Decimal("1.1"), "SHORT": Decimal("0.9")}
"""An auction order without price is worked as a limit this far from the last price."""
MAX_AMOUNT = 100_000_000


def refusal(error: Refused) -> GatewayError:
    """The desk's refusal in the Gateway's words."""
    return GatewayError(REFUSAL_CODES[error.kind], error.text)


class Orders:
    """The order mutations; each answers ``{"data": "<entrustId>"}``."""

    def __init__(
        self, backend: Backend, notices: OrderNotices, conditional: ConditionalOrders, next_id: Callable[[], str]
    ) -> None:
        self._backend = backend
        self._notices = notices
        self._conditional = conditional
        self._next_id = next_id
        self.routes = {
            "/trade/TradeEntrust": self.entrust,
            "/trade/TradeCancelEntrust": self.cancel,
            "/trade/TradeBatchCancelEntrust": self.batch_cancel,
            "/trade/TradeChangeEntrust": self.change,
        }

    # -- routes ------------------------------------------------------------------------------------------------

    def entrust(self, params: Params) -> object:
        """A new order (7.1)."""
        market = params.market()
        code = params.text("stockCode")
        volume = params.integer("entrustAmount", 1, MAX_AMOUNT)
        side = params.choice("entrustBs", SIDES)
        params.integer("clientType", 0, 99, 0)
        instrument = self._backend.directory.tradable(code, market)
        if instrument is None:
            raise GatewayError("1016", f"证券代码不存在 {code}")
        if side in SHORT_SELLING_SIDES:
            raise GatewayError("3002", "现金账户不支持卖空")
        if params.conditional(market):
            return {"data": self._conditional.add(params, market, instrument, side, volume)}
        kind = params.choice("entrustType", ORDER_TYPES[market.exchange_type])
        type_code = ORDER_TYPES[market.exchange_type][kind]
        price = _price(params, type_code)
        session = params.choice("sessionType", SESSION_TYPES.get(market.exchange_type, frozenset({REGULAR})), REGULAR)
        if type_code.iceberg:
            params.integer("iceBergDisplaySize", 1, volume)
        return {"data": self.place(instrument, side, kind, price, volume, session=session).id}

    def cancel(self, params: Params) -> object:
        """Cancel one order; a conditional one by its own entrustType (7.2)."""
        market = params.market()
        params.text("stockCode")
        order_id = params.text("entrustId")
        if params.conditional(market):
            self._conditional.delete(order_id)
        else:
            self._cancel(self._found(order_id, market, params.text("stockCode")))
        return {"data": order_id}

    def batch_cancel(self, params: Params) -> object:
        """Cancel the orders named or, with none named, every working one of the market (7.3)."""
        market = params.market()
        ids = params.ids("entrustId") or [order.id for order in self._backend.orders(market) if order.active]
        done, failed = [], []
        for order_id in ids:
            try:
                self._cancel(self._found(order_id, market, None))
                done.append(order_id)
            except GatewayError as error:
                failed.append({"failEntrustId": order_id, "remark": error.text})
        return {"successEntrustId": done, "failCancelEntrust": failed}

    def change(self, params: Params) -> object:
        """Change price and total volume of a working order; the id stays (7.4)."""
        market = params.market()
        code, order_id = params.text("stockCode"), params.text("entrustId")
        volume = params.integer("entrustAmount", 1, MAX_AMOUNT)
        if params.conditional(market):
            self._conditional.change(order_id, params, volume)
            return {"data": order_id}
        order = self._found(order_id, market, code)
        price = params.number("entrustPrice") if order.type != "MARKET" else None
        if price is not None and price <= 0:
            raise GatewayError("1016", "参数无效 entrustPrice")
        self._notices.modifying(order_id)
        try:
            self._backend.desk.amend(order_id, price=price, volume=volume)
        except Refused as error:
            raise refusal(error) from error
        finally:
            self._notices.settled(order_id)
        return {"data": order_id}

    # -- used by the control interface and by triggered orders too ---------------------------------------------

    def place(
        self,
        instrument: Instrument,
        side: str,
        kind: str,
        price: Decimal,
        volume: int,
        *,
        session: str = REGULAR,
        reference: str = "",
    ) -> Order:
        """Hand an order to the desk by its codes; :class:`GatewayError` when it is refused."""
        market = self._backend.market_of(instrument.vt_symbol)
        type_code = ORDER_TYPES[market.exchange_type][kind]
        tag = {
            "entrustType": kind,
            "entrustBs": side,
            "sessionType": session,
            "originalAmount": str(volume),
            "originalPrice": plain(price),
        }
        if type_code.odd_lot:
            tag["odd_lot"] = "1"
        direction: Direction = "LONG" if SIDES[side] == "LONG" else "SHORT"
        base = type_code.base
        if reason := self._wrong_time(instrument, type_code):
            return self._rejected(instrument, direction, base, price, volume, tag, reason)
        if type_code.auction and base == "MARKET" and self._has_auctions:
            base, price = "LIMIT", self._auction_price(instrument, direction)
        try:
            order = self._backend.desk.submit(
                ACCOUNT,
                instrument.vt_symbol,
                direction,
                base,
                price,
                volume,
                reference=reference,
                extended=session == EXTENDED,
                tag=tag,
            )
        except Refused as error:
            raise refusal(error) from error
        if type_code.fill_and_kill and order.active:
            self._backend.desk.cancel(order.id, "特别限价盘余量撤销")
        return order

    # -- inside ------------------------------------------------------------------------------------------------

    def _found(self, order_id: str, market: MarketCode, code: str | None) -> Order:
        order = self._backend.desk.orders.get(order_id)
        if order is None or self._backend.market_of(order.vt_symbol) is not market:
            raise GatewayError("1008", f"委托不存在 {order_id}")
        if code is not None and self._backend.directory.tradable(code, market) is not self._backend.instrument(
            order.vt_symbol
        ):
            raise GatewayError("1008", f"委托不存在 {order_id}：证券代码不符")
        return order

    def _cancel(self, order: Order) -> None:
        self._notices.cancelling(order.id)
        try:
            self._backend.desk.cancel(order.id)
        except Refused as error:
            raise refusal(error) from error
        finally:
            self._notices.settled(order.id)

    @property
    def _has_auctions(self) -> bool:
        """With the wall clock the market is always in its regular session, and every type is accepted (design 7)."""
        return self._backend.clock.mode == "data"

    def _wrong_time(self, instrument: Instrument, type_code: TypeCode) -> str:
        """Why this type cannot be an order now, in words; empty if it can."""
        if type_code.grey:
            return "暗盘委托只能在暗盘时段提交"
        if instrument.exchange != "SEHK" or not self._has_auctions or type_code.odd_lot:
            return ""
        local = self._backend.local(self._backend.clock.now(), instrument.vt_symbol).time()
        in_auction = any(begin <= local < end for begin, end in HK_AUCTIONS)
        if type_code.auction and not in_auction:
            return "竞价委托只能在竞价时段提交"
        if in_auction and not type_code.auction:
            return "竞价时段只接受竞价委托"
        return ""

    def _auction_price(self, instrument: Instrument, direction: Direction) -> Decimal:
        market = self._backend.market
        reach = market.quote(instrument.vt_symbol).last * AUCTION_REACH[direction]
        tick = market.tick_size(instrument.vt_symbol, reach)
        return reach // tick * tick

    def _rejected(
        self,
        instrument: Instrument,
        direction: Direction,
        base: str,
        price: Decimal,
        volume: int,
        tag: dict[str, str],
        reason: str,
    ) -> Order:
        """An order that the Gateway took and the exchange did not: status 9 with its remark."""
        now = self._backend.clock.now()
        order = Order(
            id=self._next_id(),
            account=ACCOUNT,
            vt_symbol=instrument.vt_symbol,
            direction=direction,
            type="MARKET" if base == "MARKET" else "LIMIT",
            price=price,
            volume=volume,
            time=now,
            status="REJECTED",
            reason=reason,
            updated=now,
            tag=tag,
        )
        self._backend.desk.orders[order.id] = order
        self._backend.desk.on_change(order, None)
        return order


def _price(params: Params, type_code: TypeCode) -> Decimal:
    """The limit, above 0; a market type carries none, or 0."""
    if type_code.base == "MARKET":
        if params.number("entrustPrice", "0") != 0:
            raise GatewayError("1016", "市价委托的 entrustPrice 须为 0")
        return Decimal(0)
    price = params.number("entrustPrice")
    if price <= 0:
        raise GatewayError("1016", "参数无效 entrustPrice")
    return price
