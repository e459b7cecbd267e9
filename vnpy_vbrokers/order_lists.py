"""The broker's order and deal lists, read whole and said in our own words.

Lists come in pages by a cursor, newest first, and shift while new rows arrive (reference "vbrokers-openapi", sections
7.6 and 11). A list that could not be read to its end says so: absence from it proves nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Direction, OrderType

from vnpy_brokerkit.lifecycle import Happening
from vnpy_brokerkit.symbols import SymbolError
from vnpy_brokerkit.tracker import FillReport, OrderReport

from .contracts import MARKETS, from_code
from .wire.push import OrderUpdate
from .wire.schema import DeliverRow, OrderRow, Rows, parse_deliveries, parse_orders
from .wire.values import parse_datetime

ORDERS_TODAY = "/trade/TradeQueryRealEntrustList"
DEALS_TODAY = "/trade/TradeQueryRealDeliverList"
ORDERS_HISTORY = "/trade/TradeQueryHistoryEntrustList"
DEALS_HISTORY = "/trade/TradeQueryHistoryDeliverList"
PAGE = 99
MOST_PAGES = 250
MOST_IDS = 100
RESTARTS = 2
"""How often a list whose cursor got stuck is begun anew before it counts as incomplete."""

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


@dataclass(frozen=True)
class Listing(Generic[RowT]):
    """A list as read, oldest row first; ``complete`` when every page was read to the end and every row understood."""

    rows: tuple[RowT, ...]
    complete: bool
    problems: tuple[str, ...] = ()


Read = Callable[[str, dict[str, Any]], Awaitable[Any]]


async def read_orders(read: Read, market: str) -> Listing[OrderRow]:
    """Read today's orders of a market; one row an order, whichever page repeated it."""
    listing = await _read_all(read, ORDERS_TODAY, {"exchangeType": market}, parse_orders)
    rows: dict[str, OrderRow] = {}
    for row in listing.rows:
        rows.setdefault(row.entrust_id, row)
    return Listing(tuple(rows.values()), listing.complete, listing.problems)


async def read_orders_by_id(read: Read, market: str, ids: list[str]) -> list[OrderRow]:
    """Read certain orders, at most 100 at a time (section 7.6)."""
    rows: list[OrderRow] = []
    for start in range(0, len(ids), MOST_IDS):
        params = {"exchangeType": market, "queryCount": PAGE, "queryParamStr": "0"}
        rows += parse_orders(await read(ORDERS_TODAY, {**params, "entrustId": ids[start : start + MOST_IDS]})).rows
    return rows


async def read_history(read: Read, market: str, start: date, end: date) -> Listing[OrderRow]:
    """Read the orders of earlier days, both days included."""
    params = {"exchangeType": market, "startDate": f"{start:%Y%m%d}", "endDate": f"{end:%Y%m%d}"}
    return await _read_all(read, ORDERS_HISTORY, params, parse_orders)


async def read_deals(read: Read, market: str) -> Listing[DeliverRow]:
    """Read today's fills of a market. They carry no id: a page that repeats rows shows in the sum per order only."""
    return await _read_all(read, DEALS_TODAY, {"exchangeType": market}, parse_deliveries)


async def read_deal_history(read: Read, market: str, start: date, end: date) -> Listing[DeliverRow]:
    """Read the fills of earlier days, both days included."""
    params = {"exchangeType": market, "startDate": f"{start:%Y%m%d}", "endDate": f"{end:%Y%m%d}"}
    return await _read_all(read, DEALS_HISTORY, params, parse_deliveries)


async def _read_all(
    read: Read, route: str, params: dict[str, Any], parse: Callable[[object], Rows[RowT]]
) -> Listing[RowT]:
    listing: Listing[RowT] = Listing((), False)
    for _attempt in range(1 + RESTARTS):
        listing, stuck = await _read_pages(read, route, params, parse)
        if not stuck:
            break
    return listing


async def _read_pages(
    read: Read, route: str, params: dict[str, Any], parse: Callable[[object], Rows[RowT]]
) -> tuple[Listing[RowT], bool]:
    """Follow the cursor; tell whether it got stuck or the pages did not end."""
    rows: list[RowT] = []
    problems: list[str] = []
    cursor, seen = "0", {"0"}
    readable = True
    for _page in range(MOST_PAGES):
        page = parse(await read(route, {**params, "queryCount": PAGE, "queryParamStr": cursor}))
        rows += page.rows
        problems += page.problems
        readable = readable and page.complete
        if page.received < PAGE or not page.cursor:
            return Listing(tuple(reversed(rows)), readable, tuple(problems)), False
        if page.cursor in seen:
            break
        cursor = page.cursor
        seen.add(cursor)
    return Listing(tuple(reversed(rows)), False, tuple(problems)), True


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


def fills_of_rows(rows: list[DeliverRow], market: str, now: datetime) -> list[FillReport]:
    """Say one order's deal rows, oldest first, as fills with the cumulative quantity that no row carries."""
    zone = ZoneInfo(MARKETS[market].zone)
    fills: list[FillReport] = []
    total = ZERO
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
