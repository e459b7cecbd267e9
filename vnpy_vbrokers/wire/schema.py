"""What the replies contain (vbrokers-openapi 2.4, 6.1 to 6.3, 7.1 to 7.9), as frozen structs.

Attributes are the wire's own names in snake case (``entrust_id`` for ``entrustId``). Prices and money are Decimal in
the instrument's currency, quantities Decimal in shares, dates and times the wire's text (values.py reads them; their
zone is not on the wire). None: the reply does not say. Fields that no caller needs are not read, so that their damage
cannot hurt.

A list is read row by row: a damaged row is left out and reported, never the whole list. As long as ``Rows.complete``
is false, absence from the list proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from vnpy_brokerkit.errors import ProtocolError
from vnpy_brokerkit.i18n import _
from vnpy_vbrokers.wire import values

ZERO = Decimal(0)
MAX_PROBLEMS = 10
MAX_ID = 64
"""Longest id taken for one: what is longer is a text in the wrong place."""

ID_KEYS = ("data", "entrustId", "orderId", "entrustNo", "recordNo", "result")


class _Row(msgspec.Struct, frozen=True, rename="camel"):
    """Base of all rows. A field without default must be there; a blank or missing one takes its default."""


class Security(_Row, frozen=True):
    """An instrument as ``/hq`` calls and pushes name it (vbrokers-openapi 4.1)."""

    data_type: int
    code: str


class BasicQotRow(_Row, frozen=True):
    """A quote (6.1). ``volume`` in shares, ``turnover`` in the quote's currency, ``mkt_tm_type`` by 4.3."""

    security: Security
    is_suspended: bool | None = None
    open_price: Decimal | None = None
    high_price: Decimal | None = None
    low_price: Decimal | None = None
    last_price: Decimal | None = None
    last_close_price: Decimal | None = None
    price_spread: Decimal | None = None
    volume: Decimal | None = None
    volume_str: Decimal | None = None
    turnover: Decimal | None = None
    lot_size: int | None = None
    sec_status: int | None = None
    stock_status: str = ""
    list_time: str = ""
    trade_time: str = ""
    market_time: str = ""
    mkt_tm_type: int | None = None

    @property
    def day_volume(self) -> Decimal | None:
        """``volume``, or its text twin where the zero-able integer was left out."""
        return self.volume if self.volume is not None else self.volume_str


class BookLevel(_Row, frozen=True):
    """One level of depth (6.2); ``oreder_count`` is the wire's own spelling."""

    price: Decimal
    volume: Decimal = ZERO
    level: int = 0
    oreder_count: int = 0
    broke_id: str = ""


@dataclass(frozen=True)
class OrderBook:
    """Both sides of the book, best level first. ``spread_level``: minimum price step as documented, unverified."""

    security: Security
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    spread_level: Decimal | None
    problems: tuple[str, ...]


class KlineRow(_Row, frozen=True):
    """One bar (6.3). ``timestamp`` in epoch milliseconds, 0 when left out; rows stand in the reply's order."""

    open_price: Decimal
    high_price: Decimal
    low_price: Decimal
    close_price: Decimal
    last_close_price: Decimal | None = None
    volume: Decimal = ZERO
    turnover: Decimal = ZERO
    date: str = ""
    time: str = ""
    timestamp: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.timestamp < values.MAX_EPOCH_MS:
            raise ValueError(f"timestamp: {self.timestamp} is no time")


class HoldingRow(_Row, frozen=True):
    """A position (7.8). Market value and profit are left out: the vendor calls its own numbers unreliable."""

    stock_code: str
    current_amount: Decimal
    stock_name: str = ""
    exchange_type: str = ""
    enable_amount: Decimal = ZERO
    cost_price: Decimal | None = None
    keep_cost_price: Decimal | None = None
    stock_type: str = ""


class FundRow(_Row, frozen=True):
    """The funds of one market, in its currency (7.9). ``enable_balance`` is negative when margin is used."""

    asset_balance: Decimal
    enable_balance: Decimal
    cash_on_hold: Decimal = ZERO
    frozen_balance: Decimal = ZERO
    fetch_balance: Decimal | None = None
    buy_power: Decimal | None = None
    credit_value: Decimal | None = None


class OrderRow(_Row, frozen=True):
    """An order of the day's or the history list (7.6). ``business_*`` is what was filled so far."""

    entrust_id: str
    status: str
    entrust_amount: Decimal
    stock_code: str
    stock_name: str = ""
    exchange_type: str = ""
    exchange: str = ""
    entrust_bs: str = ""
    entrust_type: str = ""
    entrust_type_num: str = ""
    entrust_price: Decimal | None = None
    business_price: Decimal = ZERO
    business_amount: Decimal = ZERO
    business_balance: Decimal = ZERO
    un_business_amount: Decimal | None = None
    status_desc: str = ""
    date: str = ""
    entrust_time: str = ""
    business_time: str = ""
    can_be_canceled: bool | None = None
    can_be_updated: bool | None = None
    remark_type: str = ""
    remark: str = ""
    query_param_str: str = ""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "status", self.status.upper())


class DeliverRow(_Row, frozen=True):
    """One fill (7.6): ``business_*`` is this fill alone. Rows carry no fill id."""

    entrust_id: str
    business_price: Decimal
    business_amount: Decimal
    stock_code: str
    stock_name: str = ""
    exchange_type: str = ""
    exchange: str = ""
    entrust_bs: str = ""
    business_balance: Decimal = ZERO
    status: str = ""
    date: str = ""
    entrust_time: str = ""
    business_time: str = ""
    opponent_seat: str = ""
    real_status: str = ""
    real_type: str = ""
    remark: str = ""
    query_param_str: str = ""


class FailedCancel(_Row, frozen=True):
    """An order that a batch cancel could not reach, and why (7.3)."""

    fail_entrust_id: str
    remark: str = ""


RowT = TypeVar("RowT", bound=_Row)


@dataclass(frozen=True)
class Rows(Generic[RowT]):
    """One list, or one page of one.

    ``received`` counts the rows on the wire, the damaged among them: what "fewer than queryCount" is measured by.
    ``cursor`` is the last row's ``queryParamStr`` (section 11), also when that row is damaged otherwise.
    """

    rows: tuple[RowT, ...]
    problems: tuple[str, ...]
    received: int
    cursor: str = ""

    @property
    def complete(self) -> bool:
        """True when every row that came could be read."""
        return len(self.rows) == self.received


@dataclass(frozen=True)
class BatchCancelReply:
    """What a batch cancel says (7.3): ids whose cancel was accepted, and those that failed."""

    success_entrust_id: tuple[str, ...]
    fail_cancel_entrust: Rows[FailedCancel]


def parse_basic_qot(data: object) -> Rows[BasicQotRow]:
    """Read ``/hq/BasicQot``. Raises ProtocolError when there is no list; rows are matched by their security."""
    return _rows(BasicQotRow, data, ("basicQot", "data"), inline="security")


def parse_order_book(data: object) -> OrderBook:
    """Read ``/hq/OrderBook``; levels without a price are no levels. Raises ProtocolError when it is no book."""
    if not isinstance(data, dict):
        raise _malformed("OrderBook")
    bids = _rows(BookLevel, data.get("orderBookBidList"), ())
    asks = _rows(BookLevel, data.get("orderBookAskList"), ())
    try:
        security = _build(Security, data.get("security"))
        spread = values.number(data.get("spreadLevel"))
    except ValueError as exc:
        raise _malformed(f"OrderBook: {exc}") from exc
    return OrderBook(
        security,
        best_first(bids.rows, bid=True),
        best_first(asks.rows, bid=False),
        spread,
        bids.problems + asks.problems,
    )


def best_first(levels: tuple[BookLevel, ...], *, bid: bool) -> tuple[BookLevel, ...]:
    """Sort one side of a book and leave out the levels without a price: an empty side is sent as price 0."""
    return tuple(sorted((row for row in levels if row.price > 0), key=lambda row: row.price, reverse=bid))


def parse_kline(data: object) -> Rows[KlineRow]:
    """Read ``/hq/KL``. Raises ProtocolError when there is no list."""
    return _rows(KlineRow, data, ("kline", "data"))


def parse_holdings(data: object) -> Rows[HoldingRow]:
    """Read ``TradeQueryHoldsList`` in all shapes of 2.4. Raises ProtocolError when there is no list."""
    return _rows(HoldingRow, data, ("holdsList", "positionList", "data"), inline="stockCode")


def parse_funds(data: object) -> FundRow:
    """Read ``TradeQueryMarginFundInfo``. Raises ProtocolError when the two balances are not there."""
    try:
        return _build(FundRow, data)
    except ValueError as exc:
        raise _malformed(f"TradeQueryMarginFundInfo: {exc}") from exc


def parse_orders(data: object) -> Rows[OrderRow]:
    """Read a page of an order list. Raises ProtocolError when there is no list."""
    return _rows(OrderRow, data, ("data",))


def parse_deliveries(data: object) -> Rows[DeliverRow]:
    """Read a page of a deal list, newest fill first. Raises ProtocolError when there is no list."""
    return _rows(DeliverRow, data, ("data", "deliverList"))


def parse_batch_cancel(data: object) -> BatchCancelReply:
    """Read ``TradeBatchCancelEntrust``. Raises ProtocolError when it names neither list."""
    if not isinstance(data, dict) or not ({"successEntrustId", "failCancelEntrust"} & data.keys()):
        raise _malformed("TradeBatchCancelEntrust")
    accepted = _find_list(data.get("successEntrustId"), (), "")
    ids = tuple(entrust_id for entrust_id in map(_id, accepted) if entrust_id)
    return BatchCancelReply(ids, _rows(FailedCancel, data.get("failCancelEntrust"), ()))


def mutation_id(data: object, depth: int = 3) -> str:
    """Find the id in a mutation's reply, whatever its shape (2.4); ``""`` when there is none.

    An empty id is no success: the outcome of that mutation is unknown.
    """
    if not isinstance(data, dict):
        return _id(data)
    if depth == 0:
        return ""
    return next(filter(None, (mutation_id(data.get(key), depth - 1) for key in ID_KEYS)), "")


def succeeded(data: object) -> bool:
    """Say whether the ``data`` of an ``ok: true`` reply stands for success: unless it says the opposite (2.4, 3.1)."""
    return not (isinstance(data, dict) and data.get("success") in (False, 0, "false", "0"))


def _id(value: object) -> str:
    try:
        found = values.text(value)
    except ValueError:
        return ""
    return found if len(found) <= MAX_ID and found.isprintable() else ""


# How a field is read, by its annotation. Every reader gives None or "" for a value that is not there.
_READERS: dict[object, Callable[[object], object]] = {
    str: values.text,
    int: values.integer,
    int | None: values.integer,
    bool | None: values.flag,
    Decimal: values.number,
    Decimal | None: values.number,
    Security: lambda value: _build(Security, value),
}


@cache
def _plan(kind: type[_Row]) -> tuple[tuple[str, str, Callable[[object], object], bool], ...]:
    """Per field: attribute, name on the wire, reader, whether it must be there."""
    fields = msgspec.structs.fields(kind)
    return tuple((field.name, field.encode_name, _READERS[field.type], field.required) for field in fields)


def _build(kind: type[RowT], raw: object) -> RowT:
    """Make one row. Raises ValueError that names the field."""
    if not isinstance(raw, dict):
        raise ValueError("no object")
    found: dict[str, Any] = {}
    for name, wire_name, read, required in _plan(kind):
        try:
            value = read(raw.get(wire_name))
        except ValueError as exc:
            raise ValueError(f"{wire_name}: {exc}") from exc
        if value is not None and value != "":
            found[name] = value
        elif required:
            raise ValueError(f"{wire_name}: missing")
    return kind(**found)


def _rows(kind: type[RowT], data: object, keys: tuple[str, ...], *, inline: str = "") -> Rows[RowT]:
    """Read a list's rows; ``keys`` tell where it may be, ``inline`` the key by which a single row is known."""
    raw = _find_list(data, keys, inline)
    rows: list[RowT] = []
    problems: list[str] = []
    for index, item in enumerate(raw):
        try:
            rows.append(_build(kind, item))
        except ValueError as exc:
            if len(problems) < MAX_PROBLEMS:
                problems.append(f"{kind.__name__}[{index}] {exc}")
    last = raw[-1] if raw else None
    cursor = last.get("queryParamStr") if isinstance(last, dict) else ""
    return Rows(tuple(rows), tuple(problems), len(raw), _id(cursor))


def _find_list(data: object, keys: tuple[str, ...], inline: str, depth: int = 3) -> list[Any]:
    """Find the list of a reply (2.4). An absent one is empty: protobuf's JSON leaves out what has no elements."""
    if data is None:
        return []
    if isinstance(data, list):
        return data
    if isinstance(data, dict) and depth:
        if inline and inline in data:
            return [data]
        present = [key for key in keys if key in data]
        if present:
            return _find_list(data[present[0]], keys, inline, depth - 1)
        if not data:
            return []
    raise _malformed(_("应为列表"))


def _malformed(what: str) -> ProtocolError:
    return ProtocolError(_("应答格式与文档不符（{what}），请确认Gateway版本").format(what=what))
