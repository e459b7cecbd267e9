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

from vnpy_brokerkit.clock import ManualClock
from vnpy_brokerkit.errors import ConnectionFailed
from vnpy_brokerkit.lifecycle import STATE2VT, State, move
from vnpy_vbrokers.deals import DealsReading, Need
from vnpy_vbrokers.order_lists import (
    DEALS_HISTORY,
    PAGE,
    STATUS2HAPPENING,
    Page,
    Read,
    deals_of,
    deals_today,
    fill_of_push,
    fills_of_rows,
    orders_today,
    report_of_push,
    report_of_row,
)
from vnpy_vbrokers.order_pages import OrderPages
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


class Pages:
    """What an ``OrderPages`` on a book tells, as it is read."""

    def __init__(self, read: Read) -> None:
        self.pages = OrderPages(orders_today("P"), read, ManualClock(NOW))
        self.rows: list[str] = []
        self.problems: list[str] = []

    def take(self, page: Page[OrderRow], at: float) -> None:
        self.rows += [row.entrust_id for row in page.rows]
        self.problems += page.problems

    async def look(self) -> bool:
        return await self.pages.look(self.take)

    async def read_on(self) -> None:
        while self.pages.behind:
            await self.pages.read_on(self.take)

    async def read_all(self) -> bool:
        """Read the list whole, as far as that goes."""
        await self.look()
        await self.read_on()
        return self.pages.whole


def numbers(count: int) -> set[str]:
    return {str(n) for n in range(1, count + 1)}


@pytest.mark.parametrize("same_cursor", [False, True])
@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 3 * PAGE + 7])
def test_lists_of_every_length_are_read_whole_and_once(count: int, same_cursor: bool) -> None:
    book = Book(count)
    book.same_cursor_on_all_rows = same_cursor
    list_ = Pages(book.read)
    assert asyncio.run(list_.read_all())
    assert sorted(list_.rows, key=int) == [str(n) for n in range(1, count + 1)]
    assert book.asked <= count // PAGE + 1


@pytest.mark.parametrize("length", [2 * PAGE + 5, 2 * PAGE])
@pytest.mark.parametrize(("stuck", "whole"), [(1, True), (2, True), (9, False)])
def test_a_stuck_cursor_is_begun_anew_and_then_left_alone(stuck: int, whole: bool, length: int) -> None:
    book = Book(length)
    book.stuck = stuck
    list_ = Pages(book.read)
    assert asyncio.run(list_.read_all()) is whole
    assert list_.pages.given_up is not whole
    book.stuck = 0
    list_.pages.begin_anew()
    assert asyncio.run(list_.read_all())
    assert set(list_.rows) == numbers(length)


def test_what_is_read_again_is_the_newest_page_alone() -> None:
    book = Book(5 * PAGE)

    async def go() -> None:
        list_ = Pages(book.read)
        await list_.read_all()
        asked = book.asked
        assert await list_.look()
        assert book.asked == asked + 1
        book.rows.insert(0, {**book.rows[0], "entrustId": "new"})
        assert await list_.look()
        assert book.asked == asked + 3  # the page with the new row, and one with nothing new
        assert "new" in list_.rows

    asyncio.run(go())


@pytest.mark.parametrize("arrive", [1, 30, PAGE, 150])
def test_orders_that_arrive_while_older_pages_are_read_shift_them_and_cost_nothing(arrive: int) -> None:
    """After each page some more orders stand above it; nothing is missed, and what is found is known once."""
    book = Book(4 * PAGE)

    async def go() -> None:
        list_ = Pages(book.read)
        await list_.look()
        for round_ in range(200):
            if not list_.pages.behind:
                break
            if round_ < 3:
                book.rows[:0] = [{**book.rows[0], "entrustId": f"{round_}-{n}"} for n in range(arrive)]
            await list_.pages.read_on(list_.take)
            if round_ % 2:
                assert await list_.look()
        assert list_.pages.whole
        assert await list_.look()
        everything = {row["entrustId"] for row in book.rows}
        assert list_.pages.known == everything
        assert set(list_.rows) == everything

    asyncio.run(go())


@pytest.mark.parametrize("failing", range(1, 7))
def test_a_reading_that_is_cut_short_goes_on_where_it_was(failing: int) -> None:
    book = Book(4 * PAGE + 3)

    async def sometimes(route: str, params: dict[str, Any]) -> Any:
        if book.asked == failing:
            book.asked += 1
            raise ConnectionFailed("cut", about=route)
        return await book.read(route, params)

    async def go() -> None:
        list_ = Pages(sometimes)
        for step in (list_.look, list_.read_on, list_.look, list_.read_on, list_.look, list_.look):
            try:
                await step()
            except ConnectionFailed:
                list_.pages.interrupt()
                book.rows.insert(0, {**book.rows[0], "entrustId": "meanwhile"})
        assert list_.pages.whole
        everything = {row["entrustId"] for row in book.rows}
        assert list_.pages.known == everything == set(list_.rows)
        assert book.asked <= 5 + 6

    asyncio.run(go())


def test_a_cursor_that_a_new_login_has_forgotten_is_no_end_of_the_list() -> None:
    book = Book(4 * PAGE)
    forgotten = False

    async def forgetful(route: str, params: dict[str, Any]) -> Any:
        nonlocal forgotten
        if forgotten and params["queryParamStr"] == str(2 * PAGE):
            forgotten = False
            return {"data": []}
        return await book.read(route, params)

    async def go() -> None:
        nonlocal forgotten
        list_ = Pages(forgetful)
        await list_.look()
        await list_.pages.read_on(list_.take)
        forgotten = True
        list_.pages.interrupt()
        await list_.read_on()
        assert list_.pages.whole
        assert list_.pages.known == numbers(4 * PAGE)

    asyncio.run(go())


def test_rows_further_down_were_at_the_broker_when_the_first_page_was() -> None:
    book = Book(2 * PAGE)
    clock = ManualClock(NOW)
    seen: list[tuple[str, float]] = []

    def take(page: Page[OrderRow], at: float) -> None:
        seen.append((page.rows[0].entrust_id, at))

    async def go() -> None:
        pages = OrderPages(orders_today("P"), book.read, clock)
        await clock.advance(5)
        await pages.look(take)
        await clock.advance(5)
        await pages.read_on(take)
        await pages.look(take)

    asyncio.run(go())
    assert [at for _number, at in seen] == [5, 5, 10]


def test_a_damaged_row_makes_the_list_incomplete_and_costs_no_other() -> None:
    book = Book(PAGE + 5)
    damaged = book.rows[-2].pop("entrustAmount")

    async def go() -> None:
        list_ = Pages(book.read)
        assert not await list_.read_all()
        assert len(set(list_.rows)) == PAGE + 4
        assert list_.problems
        book.rows[-2]["entrustAmount"] = damaged
        list_.pages.begin_anew()
        assert await list_.read_all()

    asyncio.run(go())


# ---------------------------------------------------------------------- deals


def deal_rows(*fills: tuple[str, int]) -> list[dict[str, Any]]:
    """Rows of (order, shares), oldest first as told, newest first as listed."""
    return [
        {"entrustId": number, "businessPrice": "1", "businessAmount": str(shares), "stockCode": "AAPL"}
        for number, shares in reversed(fills)
    ]


def read_through(book: Book, needs: dict[str, Need]) -> DealsReading:
    async def go() -> DealsReading:
        reading = DealsReading([deals_today("P")], book.read, needs)
        while not reading.done:
            await reading.read_page()
        return reading

    return asyncio.run(go())


def deal_book(rows: list[dict[str, Any]]) -> Book:
    book = Book(0)
    book.rows = rows
    return book


def sizes(found: tuple[list[DeliverRow], Decimal] | None) -> list[int] | None:
    return None if found is None else [int(row.business_amount) for row in found[0]]


ZERO = Decimal(0)


def test_deals_stay_apart_even_when_they_look_the_same() -> None:
    reading = read_through(deal_book(deal_rows(("7", 5), ("7", 5), ("7", 5))), {"7": Need(ZERO, Decimal(15))})
    assert sizes(reading.rows_of("7", Need(ZERO, Decimal(15)))) == [5, 5, 5]


def test_deals_are_read_no_further_than_what_is_missing() -> None:
    fills = [("old", 1)] * 300 + [("7", 10), ("7", 20)] + [("new", 1)] * 50
    book = deal_book(deal_rows(*fills))
    need = Need(Decimal(10), Decimal(30))
    reading = read_through(book, {"7": need})
    assert book.asked == 1
    found = reading.rows_of("7", need)
    assert (sizes(found), found and found[1]) == ([20], Decimal(10))


def test_deals_that_do_not_make_up_what_the_order_says_are_not_sure() -> None:
    reading = read_through(deal_book(deal_rows(("7", 5), ("7", 6))), {"7": Need(ZERO, Decimal(9))})
    assert reading.rows_of("7", Need(ZERO, Decimal(9))) is None


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("shift", [0, 1, 5, PAGE])
def test_deals_that_shift_between_two_pages_count_once(shift: int, same: bool) -> None:
    """Fills of others arrive above while an order's own stand on two pages; its fills may all look the same."""
    own = [("7", 5 if same else n) for n in range(1, 2 * PAGE)]
    book = deal_book(deal_rows(*own))

    async def shifting(route: str, params: dict[str, Any]) -> Any:
        reply = await book.read(route, params)
        if book.asked == 1:
            book.rows[:0] = deal_rows(*[("other", 1)] * shift)
        return reply

    async def go() -> list[int] | None:
        need = Need(ZERO, Decimal(sum(shares for _number, shares in own)))
        reading = DealsReading([deals_today("P")], shifting, {"7": need})
        while not reading.done:
            await reading.read_page()
        return sizes(reading.rows_of("7", need))

    assert asyncio.run(go()) == [shares for _number, shares in own]


def test_a_stuck_cursor_of_the_deals_is_begun_anew() -> None:
    book = deal_book(deal_rows(*[("7", 1)] * (PAGE + 20)))
    book.stuck = 1
    need = Need(ZERO, Decimal(PAGE + 20))
    reading = read_through(book, {"7": need})
    assert len(sizes(reading.rows_of("7", need)) or []) == PAGE + 20


def test_deals_of_the_list_before_come_after_and_none_of_them_twice() -> None:
    """At midnight a fill may stand in both lists for a moment."""
    today, before = deal_rows(("7", 2), ("7", 3)), deal_rows(("7", 1), ("7", 2))

    async def read(route: str, params: dict[str, Any]) -> Any:
        return {"data": before if route == DEALS_HISTORY else today}

    async def go() -> list[int] | None:
        need = Need(ZERO, Decimal(6))
        sources = [deals_today("P"), deals_of("P", NOW.date(), NOW.date())]
        reading = DealsReading(sources, read, {"7": need})
        while not reading.done:
            await reading.read_page()
        return sizes(reading.rows_of("7", need))

    assert asyncio.run(go()) == [1, 2, 3]
