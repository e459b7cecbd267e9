"""Order, deal and journal lists with their cursors (vbrokers-openapi 7.6, 7.10, 11).

A Real list holds the broker's present day, a History list the days before; rows come newest first. Each row carries a
cursor of its own, the number of rows up to and including it: a list to which orders are added shifts between pages, as
the real one does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

from brokersim.hstong.backend import DATE_FORMATS, Backend
from brokersim.hstong.codes import (
    STATUS_TEXT,
    GatewayError,
    MarketCode,
    money_text,
    price_text,
    status_code,
    wire_code,
)
from brokersim.hstong.params import Params
from brokersim.model import Fill, Order

DEFAULT_COUNT, MAX_COUNT = 20, 99
FIRST_CURSOR = "0"
STUCK_CURSOR, SHIFT_PAGES = "stuck_cursor", "shift_pages"
Row = dict[str, Any]
Item = TypeVar("Item")

BUY, SELL, FEE = ("1", "买入"), ("2", "卖出"), ("3", "费用")
"""type and typeDesc of a fund journal row."""
FARES = ("fare0", "fare1", "fare2", "fare3", "fare4", "fare5", "fare6", "fare7", "fare8", "fare9", "farex")


class Lists:
    """The list routes. ``damage`` names the paging faults that strike at the present request."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.damage: Collection[str] = ()
        self.routes = {
            "/trade/TradeQueryRealEntrustList": self.real_orders,
            "/trade/TradeQueryHistoryEntrustList": self.history_orders,
            "/trade/TradeQueryRealDeliverList": self.real_deals,
            "/trade/TradeQueryHistoryDeliverList": self.history_deals,
            "/trade/TradeQueryRealFundJourList": self.real_journal,
            "/trade/TradeQueryHistoryFundJourList": self.history_journal,
        }

    # -- orders ------------------------------------------------------------------------------------------------

    def real_orders(self, params: Params) -> object:
        """The day's orders, or those named by id, paging then being ignored."""
        market = params.market()
        ids = params.ids("entrustId")
        is_today = self._today(market)
        orders = [order for order in self._backend.orders(market) if is_today(order.time)]
        if ids:
            return {"data": self._stamped([order for order in orders if order.id in ids], 0, self.order_row)}
        return self._page(orders, params, self.order_row)

    def history_orders(self, params: Params) -> object:
        """The orders of earlier days, from startDate to endDate."""
        market = params.market()
        is_wanted = self._earlier(market, params)
        orders = [order for order in self._backend.orders(market) if is_wanted(order.time)]
        return self._page(orders, params, self.order_row)

    # -- deals -------------------------------------------------------------------------------------------------

    def real_deals(self, params: Params) -> object:
        """The day's fills, one row each."""
        market = params.market()
        return self._page(self._fills(market, self._today(market)), params, self.deal_row)

    def history_deals(self, params: Params) -> object:
        """The fills of earlier days."""
        market = params.market()
        return self._page(self._fills(market, self._earlier(market, params)), params, self.deal_row)

    # -- journal -----------------------------------------------------------------------------------------------

    def real_journal(self, params: Params) -> object:
        """The day's movements of cash: each fill, and its fee."""
        market = params.market()
        return self._page(self._movements(self._fills(market, self._today(market))), params, _journal_row, paging=False)

    def history_journal(self, params: Params) -> object:
        """The movements of earlier days, with their time."""
        market = params.market()
        movements = self._movements(self._fills(market, self._earlier(market, params)))
        return self._page(movements, params, self._timed_journal_row, paging=False)

    # -- choosing ----------------------------------------------------------------------------------------------

    def _today(self, market: MarketCode) -> Callable[[datetime], bool]:
        today = self._backend.today(market)
        return lambda at: self._backend.broker_day(at, market) == today

    def _earlier(self, market: MarketCode, params: Params) -> Callable[[datetime], bool]:
        start, end = params.day("startDate"), params.day("endDate")
        today = self._backend.today(market)

        def wanted(at: datetime) -> bool:
            day: date = self._backend.broker_day(at, market)
            return start <= day <= end and day < today

        return wanted

    def _fills(self, market: MarketCode, wanted: Callable[[datetime], bool]) -> list[Fill]:
        fills = reversed(self._backend.desk.fills)
        return [fill for fill in fills if self._backend.market_of(fill.vt_symbol) is market and wanted(fill.time)]

    def _movements(self, fills: list[Fill]) -> list[tuple[Fill, tuple[str, str], Decimal]]:
        rows = []
        for fill in fills:
            value = fill.price * fill.volume * self._backend.instrument(fill.vt_symbol).size
            bought = fill.direction == "LONG"
            if fill.fee:
                rows.append((fill, FEE, -fill.fee))
            rows.append((fill, BUY if bought else SELL, -value if bought else value))
        return rows

    # -- paging ------------------------------------------------------------------------------------------------

    def _page(self, items: list[Item], params: Params, row: Callable[[Item], Row], *, paging: bool = True) -> Row:
        if paging and self._backend.switches.list_without_paging == "2001":
            params.text("queryCount")
            params.text("queryParamStr")
        count = params.integer("queryCount", 1, MAX_COUNT, DEFAULT_COUNT)
        cursor = params.text("queryParamStr", FIRST_CURSOR)
        if not cursor.isdecimal() or len(cursor) > 9:
            raise GatewayError("1016", "参数无效 queryParamStr")
        return {"data": self._stamped(items[int(cursor) :][:count], int(cursor), row)}

    def _stamped(self, items: list[Item], offset: int, row: Callable[[Item], Row]) -> list[Row]:
        rows = []
        for number, item in enumerate(items, offset + 1):
            cursor = number - 1 if SHIFT_PAGES in self.damage else number
            rows.append(row(item) | {"queryParamStr": str(offset if STUCK_CURSOR in self.damage else cursor)})
        return rows

    # -- rows --------------------------------------------------------------------------------------------------

    def order_row(self, order: Order) -> Row:
        """OrderVo of an order (7.6)."""
        size = self._backend.instrument(order.vt_symbol).size
        average = order.turnover / order.traded / size if order.traded else Decimal(0)
        row = self._shared(order, order.time)
        updated = order.updated or order.time
        return row | {
            "businessPrice": price_text(average.quantize(Decimal("0.0001"))),
            "businessAmount": str(order.traded),
            "businessBalance": money_text(order.turnover),
            "unBusinessAmount": str(order.left if order.active else 0),
            "status": status_code(order),
            "statusDesc": STATUS_TEXT[status_code(order)],
            "businessTime": self._clock_text(updated, order) if order.traded else "",
            "canBeCanceled": int(order.active),
            "canBeUpdated": int(order.active),
            "remarkType": "1" if order.status == "REJECTED" else "0",
            "remark": order.reason,
            "fareVo": None,
        }

    def deal_row(self, fill: Fill) -> Row:
        """OrderVo of one fill: business fields are the fill's; there is no fill id in it (7.6)."""
        order = self._backend.desk.orders[fill.order_id]
        status = "8" if fill.cumulative >= order.volume else "7"
        value = fill.price * fill.volume * self._backend.instrument(fill.vt_symbol).size
        return self._shared(order, fill.time) | {
            "businessPrice": price_text(fill.price),
            "businessAmount": str(fill.volume),
            "businessBalance": money_text(value),
            "unBusinessAmount": str(max(0, order.volume - fill.cumulative)),
            "status": status,
            "statusDesc": STATUS_TEXT[status],
            "businessTime": self._clock_text(fill.time, order),
            "canBeCanceled": 0,
            "canBeUpdated": 0,
            "remarkType": "0",
            "remark": "",
            "fareVo": dict.fromkeys(FARES) | {"faret": money_text(fill.fee)},
        }

    def _shared(self, order: Order, dated: datetime) -> Row:
        backend = self._backend
        instrument = backend.instrument(order.vt_symbol)
        market = backend.market_of(order.vt_symbol)
        local = backend.local(dated, order.vt_symbol)
        return {
            "stockCode": wire_code(instrument),
            "stockName": instrument.name,
            "exchangeType": market.exchange_type,
            "exchange": "SMART" if market.exchange_type == "P" else "",
            "entrustId": order.id,
            "entrustBs": order.tag["entrustBs"],
            "entrustType": order.tag["entrustType"],
            "entrustTypeNum": order.tag["entrustType"],
            "entrustPrice": price_text(order.price),
            "entrustAmount": str(order.volume),
            "date": local.strftime(DATE_FORMATS[backend.switches.order_date]),
            "entrustTime": self._clock_text(order.time, order),
            "opponentSeat": "",
        }

    def _clock_text(self, at: datetime, order: Order) -> str:
        return self._backend.local(at, order.vt_symbol).strftime("%H:%M:%S")

    def _timed_journal_row(self, movement: tuple[Fill, tuple[str, str], Decimal]) -> Row:
        fill = movement[0]
        local = self._backend.local(fill.time, fill.vt_symbol)
        return _journal_row(movement) | {"time": local.strftime("%Y-%m-%d %H:%M:%S")}


def _journal_row(movement: tuple[Fill, tuple[str, str], Decimal]) -> Row:
    _, (kind, text), amount = movement
    return {"businessBalance": money_text(amount), "type": kind, "typeDesc": text, "fundJourParentType": kind}
