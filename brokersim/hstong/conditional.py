"""Conditional orders, types 31 to 36, which wait for a last price (vbrokers-openapi 7.7, 9.1).

Take-profit sells above and buys below the trigger, stop-loss the other way round; a trailing stop follows the best
price since it was placed, at a distance in percent or in price, or is a fixed price. A triggered order is an ordinary
one, placed at the price given (limit) or at the market. :data:`SEGMENTS` tells when prices are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec

from brokersim.hstong.backend import HONG_KONG, Backend, security_of, zone
from brokersim.hstong.codes import GatewayError, MarketCode, price_text, wire_code
from brokersim.hstong.params import Params
from brokersim.model import Instrument, Quote, Segment
from brokersim.truth import plain

TAKE_PROFIT, STOP_LOSS, TRAILING = frozenset({"31", "32"}), frozenset({"33", "34"}), frozenset({"35", "36"})
AT_MARKET = frozenset({"32", "34", "36"})
BASE_TYPES = {"K": ("2", "2"), "P": ("3", "5")}
"""The ordinary entrustType of a triggered order: limit, market."""
PERCENT, SPREAD, PRICE = "1", "2", "3"
PENDING, TRIGGERED, EXPIRED, DELETED, FAILED = "1", "2", "4", "5", "6"
SEGMENTS: dict[str, frozenset[Segment]] = {
    "3": frozenset({"regular"}),
    "5": frozenset({"regular"}),
    "6": frozenset({"pre", "post"}),
    "7": frozenset({"regular", "pre", "post"}),
    "8": frozenset({"pre"}),
    "9": frozenset({"post"}),
}
SESSION_TYPES = {"K": frozenset({"3", "5"}), "P": frozenset({"3", "6", "7", "8", "9"})}
MAX_DAYS = 100
MAX_PAGE = 99
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


@dataclass
class CondOrder:
    """One conditional order. ``best`` is the most favourable last price since it was placed (trailing types)."""

    id: str
    market: MarketCode
    instrument: Instrument
    side: str
    kind: str
    session: str
    price: Decimal
    volume: int
    value: Decimal
    track: str
    created: datetime
    until: datetime
    best: Decimal
    status: str = PENDING
    error: str = ""
    entrust_id: str = field(default="", repr=False)

    @property
    def trigger(self) -> Decimal:
        """The last price at which it goes off."""
        if self.kind not in TRAILING or self.track == PRICE:
            return self.value
        distance = self.best * self.value / 100 if self.track == PERCENT else self.value
        return self.best - distance if self.side == "2" else self.best + distance

    def follow(self, last: Decimal) -> None:
        """Move the best price along."""
        self.best = max(self.best, last) if self.side == "2" else min(self.best, last)

    def reached(self, last: Decimal) -> bool:
        """A take-profit sale waits for a rise, a stop-loss sale for a fall; a buy for the opposite."""
        rising = (self.kind in TAKE_PROFIT) == (self.side == "2")
        return last >= self.trigger if rising else last <= self.trigger


class KeptCondOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A conditional order as ``--keep`` writes it: the instrument by its vt_symbol, the market follows from it."""

    id: str
    vt_symbol: str
    side: str
    kind: str
    session: str
    price: Decimal
    volume: int
    value: Decimal
    track: str
    created: datetime
    until: datetime
    best: Decimal
    status: str
    error: str
    entrust_id: str


Place = Callable[[CondOrder, str, Decimal], str]


class ConditionalOrders:
    """The broker's book of conditional orders."""

    def __init__(self, backend: Backend, next_id: Callable[[], str], place: Place) -> None:
        self._backend = backend
        self._next_id = next_id
        self._place = place
        self._orders: dict[str, CondOrder] = {}
        self.changes = 0
        """Grows with everything that :meth:`keep` must be asked for again."""
        self.routes = {
            "/trade/TradeQueryRealCondOrderList": self.real_list,
            "/trade/TradeQueryHistoryCondOrderList": self.history_list,
        }
        backend.market.listeners.append(self._on_quote)

    def add(self, params: Params, market: MarketCode, instrument: Instrument, side: str, volume: int) -> str:
        """Keep a conditional order; its id."""
        kind = params.text("entrustType")
        price = Decimal(0) if kind in AT_MARKET else params.number("entrustPrice")
        if kind not in AT_MARKET and price <= 0:
            raise GatewayError("1016", "参数无效 entrustPrice")
        days = params.integer("validDays", 1, MAX_DAYS)
        session = params.choice("sessionType", SESSION_TYPES[market.exchange_type], "3")
        track = params.choice("condTrackType", {PERCENT, SPREAD, PRICE}) if kind in TRAILING else ""
        now = self._backend.clock.now()
        order = CondOrder(
            id=self._next_id(),
            market=market,
            instrument=instrument,
            side=side,
            kind=kind,
            session=session,
            price=price,
            volume=volume,
            value=_positive(params, "condValue"),
            track=track,
            created=now,
            until=now + timedelta(days=days),
            best=self._backend.market.quote(instrument.vt_symbol).last,
        )
        self._orders[order.id] = order
        self.changes += 1
        self._backend.market.watch(instrument.vt_symbol)
        return order.id

    def delete(self, order_id: str) -> None:
        """Take a pending order back."""
        self._pending(order_id).status = DELETED
        self.changes += 1

    def change(self, order_id: str, params: Params, volume: int) -> None:
        """Change a pending order's volume, and price, trigger and validity where they are given (7.4)."""
        order = self._pending(order_id)
        price = (
            _positive(params, "entrustPrice")
            if params.has("entrustPrice") and order.kind not in AT_MARKET
            else order.price
        )
        value = _positive(params, "condValue") if params.has("condValue") else order.value
        if params.has("validDays"):
            order.until = self._backend.clock.now() + timedelta(days=params.integer("validDays", 1, MAX_DAYS))
        order.volume, order.price, order.value = volume, price, value
        self.changes += 1

    def keep(self) -> tuple[KeptCondOrder, ...]:
        """Every conditional order, oldest first, as :meth:`restore` takes it."""
        names = set(KeptCondOrder.__struct_fields__) - {"vt_symbol"}
        return tuple(
            KeptCondOrder(vt_symbol=order.instrument.vt_symbol, **{name: getattr(order, name) for name in names})
            for order in self._orders.values()
        )

    def restore(self, kept: Iterable[KeptCondOrder]) -> None:
        """Take the orders of an earlier process. ValueError for an instrument that this broker has not."""
        for one in kept:
            instrument = self._backend.directory.by_vt_symbol(one.vt_symbol)
            if instrument is None:
                raise ValueError(f"conditional order {one.id}: this market has no {one.vt_symbol}")
            fields = msgspec.structs.asdict(one)
            del fields["vt_symbol"]
            market = self._backend.market_of(one.vt_symbol)
            self._orders[one.id] = CondOrder(market=market, instrument=instrument, **fields)
            self._backend.market.watch(one.vt_symbol)

    def real_list(self, params: Params) -> object:
        """The conditional orders of the present day and all pending ones, newest first (7.7)."""
        market = params.market()
        today = self._backend.today(market)
        wanted = [
            order
            for order in self._of(market, params)
            if order.status == PENDING or self._backend.broker_day(order.created, market) == today
        ]
        return self._page(wanted, params)

    def history_list(self, params: Params) -> object:
        """Those created between two times, Hong Kong time (7.7)."""
        market = params.market()
        start, end = _moment(params, "startTime"), _moment(params, "endTime")
        return self._page([order for order in self._of(market, params) if start <= order.created <= end], params)

    # -- inside ------------------------------------------------------------------------------------------------

    def _pending(self, order_id: str) -> CondOrder:
        order = self._orders.get(order_id)
        if order is None:
            raise GatewayError("1008", f"条件单不存在 {order_id}")
        self._expire(order)
        if order.status != PENDING:
            raise GatewayError("1008", f"条件单{order_id}已结束")
        return order

    def _expire(self, order: CondOrder) -> None:
        if order.status == PENDING and self._backend.clock.now() >= order.until:
            order.status = EXPIRED
            self.changes += 1

    def _on_quote(self, quote: Quote, previous: Quote | None) -> None:
        for order in self._orders.values():
            if order.status != PENDING or order.instrument.vt_symbol != quote.vt_symbol:
                continue
            self._expire(order)
            if order.status == PENDING and quote.segment in SEGMENTS[order.session]:
                best = order.best
                order.follow(quote.last)
                self.changes += order.kind in TRAILING and order.best != best
                if order.reached(quote.last):
                    self._go_off(order)

    def _go_off(self, order: CondOrder) -> None:
        self.changes += 1
        order.status = TRIGGERED
        limit, market = BASE_TYPES[order.market.exchange_type]
        try:
            order.entrust_id = self._place(order, market if order.kind in AT_MARKET else limit, order.price)
        except GatewayError as error:
            order.status, order.error = FAILED, error.text

    def _of(self, market: MarketCode, params: Params) -> list[CondOrder]:
        code = params.text("stockCode", "")
        return [
            order
            for order in reversed(self._orders.values())
            if order.market is market and code in ("", wire_code(order.instrument))
        ]

    def _page(self, orders: list[CondOrder], params: Params) -> dict[str, object]:
        number = params.integer("pageNo", 1, 1_000_000)
        size = params.integer("pageSize", 1, MAX_PAGE)
        page = orders[(number - 1) * size : number * size]
        return {
            "data": [self._row(order) for order in page],
            "curPageNo": number,
            "curPageSize": len(page),
            "totalPages": -(-len(orders) // size),
        }

    def _row(self, order: CondOrder) -> dict[str, Any]:
        self._expire(order)
        open_flag = "1" if order.status == PENDING else "0"
        instrument = order.instrument
        return {
            "condOrderId": order.id,
            "dataType": str(security_of(instrument).data_type),
            "stockCode": wire_code(instrument),
            "stockName": instrument.name,
            "stockNameTc": instrument.name,
            "stockNameEn": instrument.name_en,
            "exchangeType": order.market.exchange_type,
            "entrustType": order.kind,
            "sessionType": order.session,
            "status": order.status,
            "canBeCancel": open_flag,
            "canBeModify": open_flag,
            "entrustBs": order.side,
            "entrustAmount": str(order.volume),
            "createTime": _text(order.created),
            "startTime": _text(order.created),
            "endTime": _text(order.until),
            "errorCode": "",
            "errorMsg": order.error,
            "condValue": plain(order.value),
            "condPrice": price_text(order.price),
            "condTrackType": order.track,
        }


def _positive(params: Params, name: str) -> Decimal:
    value = params.number(name)
    if value <= 0:
        raise GatewayError("1016", f"参数无效 {name}")
    return value


def _text(at: datetime) -> str:
    return at.astimezone(zone(HONG_KONG)).strftime(TIME_FORMAT)


def _moment(params: Params, name: str) -> datetime:
    try:
        parsed = datetime.strptime(params.text(name), TIME_FORMAT).replace(tzinfo=zone(HONG_KONG))
    except ValueError as error:
        raise GatewayError("1016", f"参数无效 {name}") from error
    return parsed.astimezone(timezone.utc)
