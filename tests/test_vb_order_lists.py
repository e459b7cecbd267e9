"""The broker's words about orders and fills, said in our own: the tables of the reference, row by row."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vnpy.trader.constant import Direction, Exchange, OrderType, Status

from vnpy_brokerkit.lifecycle import STATE2VT, State, move
from vnpy_vbrokers.order_lists import (
    PAGE,
    STATUS2HAPPENING,
    fill_of_push,
    fills_of_rows,
    read_deals,
    read_orders,
    report_of_push,
    report_of_row,
)
from vnpy_vbrokers.wire.push import OrderUpdate
from vnpy_vbrokers.wire.schema import DeliverRow, OrderRow

NOW = datetime(2026, 3, 10, 14, 30, tzinfo=timezone.utc)

# Reference section 10, its last column.
STATUS2VT = {
    "0": Status.SUBMITTING,
    "1": Status.SUBMITTING,
    "2": Status.NOTTRADED,
    "3": Status.NOTTRADED,
    "4": Status.PARTTRADED,
    "5": Status.CANCELLED,
    "6": Status.CANCELLED,
    "7": Status.PARTTRADED,
    "8": Status.ALLTRADED,
    "9": Status.REJECTED,
    "A": Status.NOTTRADED,
    "E": Status.PARTTRADED,
    "W": Status.SUBMITTING,
    "H": Status.SUBMITTING,
    "F": Status.REJECTED,
    "G": Status.CANCELLED,
    "J": Status.REJECTED,
}


@pytest.mark.parametrize(("code", "status"), STATUS2VT.items())
def test_each_status_code(code: str, status: Status) -> None:
    assert STATE2VT[move(State.SENDING, STATUS2HAPPENING[code])] is status


def push(**fields: Any) -> OrderUpdate:
    known: dict[str, Any] = {
        "record_no": "7",
        "entrust_no": "7",
        "stock_code": "AAPL",
        "exchange_type": "P",
        "entrust_bs": "1",
        "entrust_amount": Decimal(100),
        "entrust_price": Decimal("180"),
        "business_date": "20260310",
        "business_time": "103000",
    }
    return OrderUpdate(**{**known, **fields})


@pytest.mark.parametrize(
    ("status", "total", "left", "traded"),
    [
        ("2", 0, 100, 0),
        ("2", 100, 100, 0),  # "total" meant the order's quantity
        ("7", 40, 60, 40),
        ("4", 40, 60, 40),
        ("5", 40, 0, 40),
        ("8", None, 0, 100),
        ("7", 4000, 60, 0),  # cannot be a quantity of this order: the list will say
        ("9", 0, 0, 0),
    ],
)
def test_the_filled_quantity_of_a_push(status: str, total: int | None, left: int, traded: int) -> None:
    report = report_of_push(
        push(
            entrust_status=status,
            sum_business_amount=None if total is None else Decimal(total),
            left_amount=Decimal(left),
        ),
        "",
    )
    assert report is not None
    assert report.traded == traded


def test_a_push_that_does_not_name_its_market_is_read_with_the_order_s() -> None:
    update = push(entrust_status="2", exchange_type="", stock_code="00700.HK")
    assert report_of_push(update, "") is None
    report = report_of_push(update, "K")
    assert report is not None
    assert (report.symbol, report.exchange) == ("00700", Exchange.SEHK)


@pytest.mark.parametrize(
    ("fields", "cumulative"),
    [
        ({"sum_business_amount": Decimal(40)}, 40),
        ({"sum_business_amount": None, "match_no": "M1"}, 40),
        ({"sum_business_amount": Decimal(4000), "match_no": "M1"}, 40),
        ({"sum_business_amount": None, "match_no": ""}, None),
    ],
)
def test_the_cumulative_quantity_of_a_pushed_fill(fields: dict[str, Any], cumulative: int | None) -> None:
    update = push(entrust_status="7", business_amount=Decimal(40), business_price=Decimal(180), **fields)
    fill = fill_of_push(update, Decimal(0), Decimal(100), True, NOW)
    assert (fill.cumulative if fill else None) == cumulative


def test_a_cancel_push_holds_no_fill() -> None:
    assert (
        fill_of_push(push(entrust_status="6", business_amount=Decimal(0)), Decimal(0), Decimal(100), True, NOW) is None
    )


@pytest.mark.parametrize(
    ("clock", "notified"),
    [
        ("103000", datetime(2026, 3, 10, 14, 30, 1, tzinfo=timezone.utc)),  # New York
        ("223000", datetime(2026, 3, 10, 14, 30, 1, tzinfo=timezone.utc)),  # Hong Kong
    ],
)
def test_the_zone_of_a_pushed_time_is_the_one_that_fits_the_push(clock: str, notified: datetime) -> None:
    update = push(
        entrust_status="7",
        business_amount=Decimal(40),
        business_price=Decimal(180),
        sum_business_amount=Decimal(40),
        business_time=clock,
        notify_time=int(notified.timestamp() * 1000),
    )
    fill = fill_of_push(update, Decimal(0), Decimal(100), True, NOW)
    assert fill is not None
    assert fill.time == NOW


def test_a_row_in_our_own_words() -> None:
    row = OrderRow(
        entrust_id="7",
        status="7",
        entrust_amount=Decimal(200),
        stock_code="00700.HK",
        entrust_bs="2",
        entrust_type_num="2",
        entrust_price=Decimal("400.2"),
        business_amount=Decimal(100),
        date="2026-03-10",
        entrust_time="10:31:02",
    )
    report = report_of_row(row, "K")
    assert report is not None
    assert (report.symbol, report.direction, report.type) == ("00700", Direction.SHORT, OrderType.LIMIT)
    assert report.time == datetime(2026, 3, 10, 2, 31, 2, tzinfo=timezone.utc)


@pytest.mark.parametrize("odd", [{"entrust_bs": "x"}, {"stock_code": "..."}])
def test_rows_that_are_none_of_ours_are_left_out(odd: dict[str, Any]) -> None:
    fields: dict[str, Any] = {
        "entrust_id": "7",
        "status": "2",
        "entrust_amount": Decimal(1),
        "stock_code": "AAPL",
        "entrust_bs": "1",
    }
    assert report_of_row(OrderRow(**{**fields, **odd}), "P") is None


def deal(volume: int) -> DeliverRow:
    return DeliverRow(
        entrust_id="7",
        business_price=Decimal(100),
        business_amount=Decimal(volume),
        stock_code="AAPL",
        date="20260310",
        business_time="10:30:00",
    )


@given(st.lists(st.integers(0, 500), max_size=20))
def test_deal_rows_get_the_cumulative_quantity_that_no_row_carries(volumes: list[int]) -> None:
    fills = fills_of_rows([deal(volume) for volume in volumes], "P", NOW)
    assert [fill.volume for fill in fills] == [volume for volume in volumes if volume]
    assert not fills or fills[-1].cumulative == sum(volumes)


# ---------------------------------------------------------------------- paging


class Book:
    """A list at the broker, newest row first, with the reference's offset cursor."""

    def __init__(self, count: int) -> None:
        self.rows = [
            {"entrustId": str(n), "status": "2", "entrustAmount": "1", "stockCode": "AAPL", "entrustBs": "1"}
            for n in range(count, 0, -1)
        ]
        self.asked = 0
        self.stuck = 0
        self.same_cursor_on_all_rows = False

    async def read(self, route: str, params: dict[str, Any]) -> Any:
        self.asked += 1
        start = int(params["queryParamStr"])
        page = [dict(row) for row in self.rows[start : start + params["queryCount"]]]
        for number, row in enumerate(page, start + 1):
            row["queryParamStr"] = str(start + len(page) if self.same_cursor_on_all_rows else number)
        if self.same_cursor_on_all_rows and len(page) + start == len(self.rows):
            for row in page:
                row["queryParamStr"] = ""
        if self.stuck and start:
            self.stuck -= 1
            for row in page:
                row["queryParamStr"] = str(start)
        return {"data": page}


@pytest.mark.parametrize("same_cursor", [False, True])
@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 3 * PAGE + 7])
def test_lists_of_every_length_are_complete_and_oldest_first(count: int, same_cursor: bool) -> None:
    book = Book(count)
    book.same_cursor_on_all_rows = same_cursor
    listing = asyncio.run(read_orders(book.read, "P"))
    assert listing.complete
    assert [row.entrust_id for row in listing.rows] == [str(n) for n in range(1, count + 1)]


@pytest.mark.parametrize(("stuck", "complete"), [(1, True), (2, True), (9, False)])
def test_a_stuck_cursor_is_begun_anew_and_then_called_incomplete(stuck: int, complete: bool) -> None:
    book = Book(3 * PAGE)
    book.stuck = stuck
    listing = asyncio.run(read_orders(book.read, "P"))
    assert listing.complete is complete


def test_rows_that_are_repeated_by_shifting_pages_count_once() -> None:
    book = Book(2 * PAGE)

    async def shifting(route: str, params: dict[str, Any]) -> Any:
        reply = await book.read(route, params)
        book.rows.insert(0, {**book.rows[0], "entrustId": f"new{book.asked}"})
        return reply

    listing = asyncio.run(read_orders(shifting, "P"))
    ids = [row.entrust_id for row in listing.rows]
    assert len(ids) == len(set(ids))
    assert {str(n) for n in range(1, 2 * PAGE + 1)} <= set(ids)


def test_a_damaged_row_makes_the_list_incomplete_and_costs_no_other() -> None:
    book = Book(5)
    del book.rows[2]["entrustAmount"]
    listing = asyncio.run(read_orders(book.read, "P"))
    assert not listing.complete
    assert len(listing.rows) == 4
    assert listing.problems


def test_deals_stay_apart_even_when_they_look_the_same() -> None:
    rows = [{"entrustId": "7", "businessPrice": "1", "businessAmount": "5", "stockCode": "AAPL"}] * 3

    async def read(route: str, params: dict[str, Any]) -> Any:
        return {"data": rows}

    assert len(asyncio.run(read_deals(read, "P")).rows) == 3
