"""The broker's order and deal lists, page by page, and said in our own words.

Lists come in pages by a cursor, newest first, and shift while new rows arrive (reference "vbrokers-openapi", sections
7.6 and 11). Who follows them through their pages is in ``order_pages.py`` and ``deals.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Direction, OrderType

from vnpy_brokerkit.lifecycle import Happening
from vnpy_brokerkit.symbols import SymbolError
from vnpy_brokerkit.tracker import FillReport, OrderReport

from .spelling import MARKETS, from_code
from .wire.push import OrderUpdate
from .wire.schema import DeliverRow, OrderRow, Rows, parse_deliveries, parse_orders
from .wire.values import parse_datetime

ORDERS_TODAY = "/trade/TradeQueryRealEntrustList"
DEALS_TODAY = "/trade/TradeQueryRealDeliverList"
ORDERS_HISTORY = "/trade/TradeQueryHistoryEntrustList"
DEALS_HISTORY = "/trade/TradeQueryHistoryDeliverList"
PAGE = 99
FIRST_CURSOR = "0"
MOST_PAGES = 250
"""Pages of one list; what is longer has no end, and counts as not read."""
MOST_IDS = 100
RESTARTS = 2
"""How often a list whose cursor got stuck is begun anew before it is left to the next time."""

ZONE_DOUBT = timedelta(hours=6)
"""New York and Hong Kong are twelve or thirteen hours apart: what is nearer than this is the right zone."""

ZERO = Decimal(0)

# Reference section 10. Codes that it calls unused, and ones that nobody knows, count as active.
STATUS2HAPPENING: Mapping[str, Happening] = {
    "0": Happening.ACKNOWLEDGED,
    "1": Happening.ACKNOWLEDGED,
    "W": Happening.ACKNOWLEDGED,
    "H": Happening.ACKNOWLEDGED,
    "2": Happening.ACCEPTED,
    "3": Happening.ACCEPTED,
    "A": Happening.ACCEPTED,
    "4": Happening.PART_FILLED,
    "7": Happening.PART_FILLED,
    "E": Happening.PART_FILLED,
    "5": Happening.CANCELLED,
    "6": Happening.CANCELLED,
    "G": Happening.CANCELLED,
    "8": Happening.FILLED,
    "9": Happening.REJECTED,
    "F": Happening.REJECTED,
    "J": Happening.REJECTED,
}
SIDE2DIRECTION: Mapping[str, Direction] = {
    "1": Direction.LONG,
    "2": Direction.SHORT,
    "3": Direction.LONG,  # buy to cover
    "4": Direction.SHORT,  # sell short
}
# Reference section 9.1; whatever is not here is a kind of limit order.
TYPE2VT: Mapping[str, OrderType] = {
    "1": OrderType.MARKET,
    "5": OrderType.MARKET,
    "8": OrderType.MARKET,
    "10": OrderType.MARKET,
}
NOTHING_FILLED = frozenset({"2", "3", "A"})


RowT = TypeVar("RowT", OrderRow, DeliverRow)
Read = Callable[[str, dict[str, Any]], Awaitable[Any]]


@dataclass(frozen=True)
class Page(Generic[RowT]):
    """One page, newest row first. ``cursor`` leads to the next one and is ``""`` on the last; ``sound`` when every row
    could be understood."""

    rows: tuple[RowT, ...]
    cursor: str
    sound: bool
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source(Generic[RowT]):
    """One list of the broker: where it is read, what is asked for, and how its rows are understood."""

    route: str
    params: Mapping[str, Any]
    parse: Callable[[object], Rows[RowT]]

    async def page(self, read: Read, cursor: str) -> Page[RowT]:
        """Read the page at a cursor. Raises :class:`BrokerError`."""
        params = {**self.params, "queryCount": PAGE, "queryParamStr": cursor}
        rows = self.parse(await read(self.route, params))
        more = rows.cursor if rows.received >= PAGE else ""
        return Page(rows.rows, more, rows.complete, rows.problems)


def orders_today(market: str) -> Source[OrderRow]:
    """Today's orders of a market."""
    return Source(ORDERS_TODAY, {"exchangeType": market}, parse_orders)


def orders_of(market: str, start: date, end: date) -> Source[OrderRow]:
    """The orders of earlier days, both days included."""
    return Source(ORDERS_HISTORY, _days(market, start, end), parse_orders)


def deals_today(market: str) -> Source[DeliverRow]:
    """Today's fills of a market."""
    return Source(DEALS_TODAY, {"exchangeType": market}, parse_deliveries)


def deals_of(market: str, start: date, end: date) -> Source[DeliverRow]:
    """The fills of earlier days, both days included."""
    return Source(DEALS_HISTORY, _days(market, start, end), parse_deliveries)


def _days(market: str, start: date, end: date) -> dict[str, Any]:
    return {"exchangeType": market, "startDate": f"{start:%Y%m%d}", "endDate": f"{end:%Y%m%d}"}


async def read_orders_by_id(read: Read, market: str, ids: Sequence[str]) -> Page[OrderRow]:
    """Read certain orders of today, at most 100 at a time (section 7.6). Numbers that are not of today do not come."""
    rows: list[OrderRow] = []
    sound = True
    for start in range(0, len(ids), MOST_IDS):
        params = {"exchangeType": market, "queryCount": PAGE, "queryParamStr": FIRST_CURSOR}
        part = parse_orders(await read(ORDERS_TODAY, {**params, "entrustId": list(ids[start : start + MOST_IDS])}))
        rows += part.rows
        sound = sound and part.complete
    return Page(tuple(rows), "", sound)


# ---------------------------------------------------------------------- in our own words


def report_of_row(row: OrderRow, market: str) -> OrderReport | None:
    """Say an order row in our own words; ``None`` for one whose instrument or side is none of ours (futures)."""
    try:
        symbol, exchange = from_code(row.stock_code, row.exchange_type or market)
    except SymbolError:
        return None
    direction = SIDE2DIRECTION.get(row.entrust_bs)
    if direction is None:
        return None
    happening = STATUS2HAPPENING.get(row.status, Happening.ACKNOWLEDGED)
    zone = ZoneInfo(MARKETS[market].zone)
    return OrderReport(
        broker_id=row.entrust_id,
        symbol=symbol,
        exchange=exchange,
        direction=direction,
        type=TYPE2VT.get(row.entrust_type_num or row.entrust_type, OrderType.LIMIT),
        price=row.entrust_price or ZERO,
        volume=row.entrust_amount,
        happening=happening,
        traded=max(row.business_amount, row.entrust_amount) if happening is Happening.FILLED else row.business_amount,
        time=parse_datetime(row.date, row.entrust_time, zone),
        reason=row.remark if happening is Happening.REJECTED else "",
    )


def report_of_push(update: OrderUpdate, default_market: str) -> OrderReport | None:
    """Say a pushed change of an order in our own words (section 13.4, "Filled quantity")."""
    market = update.exchange_type or default_market
    direction = SIDE2DIRECTION.get(update.entrust_bs)
    if direction is None or market not in MARKETS:
        return None
    try:
        symbol, exchange = from_code(update.stock_code, market)
    except SymbolError:
        return None
    volume = update.entrust_amount or update.original_amount or ZERO
    happening = STATUS2HAPPENING.get(update.entrust_status, Happening.ACKNOWLEDGED)
    traded = update.sum_business_amount or ZERO
    if volume and traded > volume:
        traded = ZERO  # "total" meant something else here: the list will say
    if update.entrust_status in NOTHING_FILLED and update.left_amount == volume:
        traded = ZERO
    if happening is Happening.FILLED:
        traded = volume
    price = update.entrust_price or update.original_price or ZERO
    return OrderReport(
        broker_id=update.record_no or update.entrust_no,
        symbol=symbol,
        exchange=exchange,
        direction=direction,
        # The push does not say the kind of order; one without a price is a market order.
        type=OrderType.LIMIT if price else OrderType.MARKET,
        price=price,
        volume=volume,
        happening=happening,
        traded=traded,
        time=_push_time(update, market),
        reason=update.remark if happening is Happening.REJECTED else "",
    )


def fill_of_push(
    update: OrderUpdate, counted: Decimal, volume: Decimal, is_new: bool, now: datetime
) -> FillReport | None:
    """Say the fill in a push, if it holds one. ``counted`` and ``volume`` are the order's, ``is_new`` its matchNo's.

    The cumulative quantity is the broker's, or ours plus this fill where the broker's cannot be one.
    """
    amount, price = update.business_amount, update.business_price
    if not amount or amount <= 0 or not price or price <= 0:
        return None
    total = update.sum_business_amount
    if total is None or not amount <= total <= volume:
        if not update.match_no or not is_new:
            return None
        total = counted + amount
    time = _push_time(update, update.exchange_type) or now
    return FillReport(amount, price, total, time, {"match_no": update.match_no} if update.match_no else {})


def fills_of_rows(rows: Sequence[DeliverRow], market: str, now: datetime, before: Decimal = ZERO) -> list[FillReport]:
    """Say one order's deal rows, oldest first, as fills with the cumulative quantity that no row carries.

    ``before``: what the order had filled before the first of them.
    """
    zone = ZoneInfo(MARKETS[market].zone)
    fills: list[FillReport] = []
    total = before
    for row in rows:
        if row.business_amount <= 0:
            continue
        total += row.business_amount
        time = parse_datetime(row.date, row.business_time, zone) or now
        fills.append(FillReport(row.business_amount, row.business_price, total, time))
    return fills


def _push_time(update: OrderUpdate, market: str) -> datetime | None:
    """The moment of a pushed change, in the exchange's zone, or in Hong Kong's where only that fits the push itself.

    Which of the two the broker writes is not documented (section 7.6); the push carries its own time beside it.
    """
    if market not in MARKETS:
        return None
    pushed = datetime.fromtimestamp(update.notify_time / 1000, timezone.utc) if update.notify_time > 0 else None
    moments = [
        parse_datetime(update.business_date, update.business_time, ZoneInfo(zone))
        for zone in (MARKETS[market].zone, "Asia/Hong_Kong")
    ]
    if pushed is None:
        return moments[0]
    near = (m for m in moments if m and abs(m - pushed) < ZONE_DOUBT)
    return next(near, pushed)
