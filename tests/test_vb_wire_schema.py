"""Replies in every shape that the reference lists, damaged rows among good ones, and noise."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnpy_brokerkit.errors import ProtocolError
from vnpy_vbrokers.wire import schema

ORDER_ROW: dict[str, Any] = {
    "stockCode": "AAPL", "stockName": "苹果", "exchangeType": "P", "entrustId": "1002451", "entrustBs": "1",
    "entrustType": "3", "entrustTypeNum": "3", "entrustPrice": "180.000", "entrustAmount": "1",
    "businessPrice": "0.000", "businessAmount": "0", "businessBalance": "0.00", "unBusinessAmount": "1",
    "status": "2", "statusDesc": "已报", "date": "2026-03-10", "entrustTime": "10:31:02", "businessTime": "",
    "canBeCanceled": 1, "canBeUpdated": 1, "remarkType": "0", "remark": "", "opponentSeat": "", "exchange": "SMART",
    "queryParamStr": "1002451", "fareVo": None,
}  # fmt: skip
HOLDING = {"stockCode": "00700.HK", "stockName": "腾讯控股", "exchangeType": "K", "currentAmount": "200",
           "enableAmount": "100", "costPrice": "480.500", "lastPrice": "garbage, and not read"}  # fmt: skip
QUOTE = {"security": {"dataType": 20000, "code": "AAPL"}, "isSuspended": False, "openPrice": 201.1, "lastPrice": 202.35,
         "volume": 31522010, "turnover": 6370000000.0, "lotSize": 1, "tradeTime": "20260310103015",
         "stockStatus": "0", "volumeStr": "31522010", "mktTmType": -1, "brandNewField": [1]}  # fmt: skip
KLINE = {"date": "2026-03-10", "time": "09:31", "timestamp": 1773149460000, "openPrice": 201.1, "highPrice": 201.6,
         "lowPrice": 201.0, "closePrice": 201.4, "lastClosePrice": 200.9, "volume": 412000,
         "turnover": 82900000.0}  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def test_an_order_row() -> None:
    page = schema.parse_orders({"data": [ORDER_ROW]})
    assert page.complete
    assert page.cursor == "1002451"
    row = page.rows[0]
    assert (row.entrust_id, row.status, row.entrust_type_num) == ("1002451", "2", "3")
    assert (row.entrust_price, row.entrust_amount) == (Decimal("180.000"), Decimal(1))
    assert (row.can_be_canceled, row.stock_name) == (True, "苹果")


@pytest.mark.parametrize(
    "data",
    [[ORDER_ROW], {"data": [ORDER_ROW]}, {"data": {"data": [ORDER_ROW]}}],
    ids=["bare", "documented", "nested"],
)
def test_an_order_list_in_every_shape(data: object) -> None:
    assert [row.entrust_id for row in schema.parse_orders(data).rows] == ["1002451"]


@pytest.mark.parametrize("data", [[], {"data": []}, {"data": None}, {}, None])
def test_an_empty_list_is_no_error(data: object) -> None:
    page = schema.parse_orders(data)
    assert (page.rows, page.received, page.cursor, page.complete) == ((), 0, "", True)


@pytest.mark.parametrize("data", ["text", 5, {"rows": []}, {"data": "x"}, {"data": {"data": {"data": {"data": []}}}}])
def test_no_list_is_not_an_empty_one(data: object) -> None:
    with pytest.raises(ProtocolError):
        schema.parse_orders(data)


def test_a_status_is_upper_case_and_zeros_may_be_left_out() -> None:
    sparse = {"entrustId": 7, "status": "e", "entrustAmount": 100, "stockCode": "AAPL", "canBeCanceled": "0"}
    row = schema.parse_orders([sparse]).rows[0]
    assert (row.entrust_id, row.status, row.business_amount) == ("7", "E", Decimal(0))
    assert row.can_be_canceled is False
    assert row.can_be_updated is None
    assert row.entrust_price is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("entrustId", ""),
        ("entrustId", None),
        ("entrustId", ["1"]),
        ("entrustAmount", "NaN"),
        ("entrustAmount", ""),
        ("entrustPrice", "1e999999"),
        ("businessAmount", "many"),
        ("status", None),
        ("canBeCanceled", 7),
    ],
)
def test_a_damaged_row_is_reported_and_the_others_stay(field: str, value: object) -> None:
    bad = {**ORDER_ROW, "entrustId": "bad", "queryParamStr": "next", field: value}
    page = schema.parse_orders({"data": [ORDER_ROW, bad]})
    assert [row.entrust_id for row in page.rows] == ["1002451"]
    assert (page.received, page.complete, page.cursor) == (2, False, "next")
    assert len(page.problems) == 1
    assert page.problems[0].startswith(f"OrderRow[1] {field}: ")


def test_many_damaged_rows_make_few_lines() -> None:
    page = schema.parse_orders([None] * 5000)
    assert (page.received, page.complete) == (5000, False)
    assert len(page.problems) == schema.MAX_PROBLEMS


@pytest.mark.parametrize("key", ["data", "deliverList"])
def test_deliver_rows(key: str) -> None:
    fill = {**ORDER_ROW, "businessPrice": "179.90", "businessAmount": "1", "businessTime": "10:31:03"}
    page = schema.parse_deliveries({key: [fill]})
    assert (page.rows[0].business_price, page.rows[0].business_amount) == (Decimal("179.90"), Decimal(1))


@pytest.mark.parametrize(
    "data",
    [
        {"holdsList": [HOLDING]},
        {"positionList": [HOLDING]},
        [HOLDING],
        {"data": [HOLDING]},
        {"data": {"holdsList": [HOLDING]}},
        HOLDING,
    ],
    ids=["documented", "positionList", "bare", "data", "nested", "inline"],
)
def test_holdings_in_every_shape(data: object) -> None:
    page = schema.parse_holdings(data)
    assert page.complete
    assert (page.rows[0].current_amount, page.rows[0].enable_amount) == (Decimal(200), Decimal(100))


@pytest.mark.parametrize("amount", [None, "", "-"])
def test_a_position_without_its_quantity_is_not_shown_flat(amount: object) -> None:
    page = schema.parse_holdings([{**HOLDING, "currentAmount": amount}])
    assert page.rows == ()
    assert not page.complete


def test_a_short_position_stays_negative() -> None:
    assert schema.parse_holdings([{**HOLDING, "currentAmount": "-200"}]).rows[0].current_amount == -200


def test_funds() -> None:
    funds = schema.parse_funds(
        {"assetBalance": "25010.55", "enableBalance": "-0.10", "buyPower": "", "accountStatus": "0"}
    )
    assert (funds.asset_balance, funds.enable_balance) == (Decimal("25010.55"), Decimal("-0.10"))
    assert funds.buy_power is None
    assert funds.cash_on_hold == 0


@pytest.mark.parametrize("data", [{}, None, [], {"assetBalance": "1"}, {"assetBalance": "x", "enableBalance": "1"}])
def test_funds_that_say_nothing_are_an_error(data: object) -> None:
    with pytest.raises(ProtocolError):
        schema.parse_funds(data)


def test_quotes() -> None:
    row = schema.parse_basic_qot({"basicQot": [QUOTE]}).rows[0]
    assert row.security == schema.Security(20000, "AAPL")
    assert (row.last_price, row.day_volume, row.mkt_tm_type) == (Decimal("202.35"), Decimal(31522010), -1)
    assert row.is_suspended is False
    assert row.high_price is None


def test_a_volume_that_was_left_out_is_taken_from_its_text() -> None:
    quote = {key: value for key, value in QUOTE.items() if key != "volume"}
    assert schema.parse_basic_qot({"basicQot": quote}).rows[0].day_volume == 31522010


def test_a_quote_without_its_security_belongs_to_nobody() -> None:
    page = schema.parse_basic_qot({"basicQot": [QUOTE, {**QUOTE, "security": {"dataType": 20000}}]})
    assert page.problems == ("BasicQotRow[1] security: code: missing",)
    assert len(page.rows) == 1


def test_a_book_is_sorted_and_has_no_empty_levels() -> None:
    level = {"level": 1, "volume": 8400, "orederCount": 12, "brokeId": ""}
    book = schema.parse_order_book(
        {
            "security": {"dataType": 10000, "code": "00700.HK"},
            "spreadLevel": 0.2,
            "orderBookAskList": [{**level, "price": 512.4}, {**level, "price": 512.2}, {**level, "price": 0}],
            "orderBookBidList": [{**level, "price": 511.8}, {**level, "price": 512.0}, {"volume": 5}],
        }
    )
    assert [row.price for row in book.asks] == [Decimal("512.2"), Decimal("512.4")]
    assert [row.price for row in book.bids] == [Decimal("512.0"), Decimal("511.8")]
    assert book.asks[0].oreder_count == 12
    assert book.spread_level == Decimal("0.2")
    assert book.problems == ("BookLevel[2] price: missing",)


@pytest.mark.parametrize("data", [None, [], {}, {"security": {"code": "AAPL"}}])
def test_no_book(data: object) -> None:
    with pytest.raises(ProtocolError):
        schema.parse_order_book(data)


def test_bars() -> None:
    page = schema.parse_kline({"security": {}, "kline": [KLINE, {**KLINE, "closePrice": None}]})
    assert [(row.timestamp, row.close_price) for row in page.rows] == [(1773149460000, Decimal("201.4"))]
    assert page.problems == ("KlineRow[1] closePrice: missing",)


@pytest.mark.parametrize("timestamp", [-1, 10**15, 10**19])
def test_a_bar_of_no_time_is_reported(timestamp: int) -> None:
    page = schema.parse_kline({"kline": [{**KLINE, "timestamp": timestamp}]})
    assert (page.rows, page.complete) == ((), False)
    assert f"timestamp: {timestamp}" in page.problems[0]


def test_a_batch_cancel() -> None:
    reply = schema.parse_batch_cancel(
        {"successEntrustId": ["1", 2], "failCancelEntrust": [{"failEntrustId": "3", "remark": "订单已成交"}, {}]}
    )
    assert reply.success_entrust_id == ("1", "2")
    assert [row.fail_entrust_id for row in reply.fail_cancel_entrust.rows] == ["3"]
    assert not reply.fail_cancel_entrust.complete
    with pytest.raises(ProtocolError):
        schema.parse_batch_cancel({})


@pytest.mark.parametrize(
    "data",
    [
        {"data": "1002451"},
        "1002451",
        1002451,
        " 1002451 ",
        {"entrustId": "1002451"},
        {"orderId": 1002451},
        {"entrustNo": "1002451"},
        {"recordNo": "1002451"},
        {"result": "1002451"},
        {"data": {"data": "1002451"}},
        {"data": {"entrustId": "1002451"}},
        {"data": "", "entrustId": "1002451"},
    ],
)
def test_an_id_in_every_shape(data: object) -> None:
    assert schema.mutation_id(data) == "1002451"


@pytest.mark.parametrize(
    "data",
    [None, "", {}, {"data": ""}, {"data": None}, True, 1.5, [], ["1"], {"success": True}, "x" * 65, "a\nb",
     {"data": {"data": {"data": {"data": "1"}}}}],
)  # fmt: skip
def test_no_id(data: object) -> None:
    assert schema.mutation_id(data) == ""


@pytest.mark.parametrize("data", [{"success": True}, {}, None, {"data": "ok"}, "ok", {"success": None}])
def test_success_unless_denied(data: object) -> None:
    assert schema.succeeded(data)


@pytest.mark.parametrize("data", [{"success": False}, {"success": 0}, {"success": "false"}])
def test_denied(data: object) -> None:
    assert not schema.succeeded(data)


def test_rows_cannot_be_changed() -> None:
    row = schema.parse_holdings([HOLDING]).rows[0]
    with pytest.raises(AttributeError):
        row.stock_code = "AAPL"  # type: ignore[misc]  # the very thing that must not work
    assert msgspec.structs.asdict(row)["stock_code"] == "00700.HK"


@pytest.mark.parametrize(
    "parse",
    [
        schema.parse_basic_qot,
        schema.parse_order_book,
        schema.parse_kline,
        schema.parse_holdings,
        schema.parse_funds,
        schema.parse_orders,
        schema.parse_deliveries,
        schema.parse_batch_cancel,
        schema.mutation_id,
        schema.succeeded,
    ],
)
@settings(max_examples=60, deadline=None)
@given(data=json_values)
def test_noise_is_at_most_a_protocol_error(parse: Any, data: object) -> None:
    with contextlib.suppress(ProtocolError):
        parse(data)


@settings(max_examples=200, deadline=None)
@given(field=st.sampled_from(sorted(ORDER_ROW)), value=json_values)
def test_one_bad_field_costs_at_most_its_row(field: str, value: object) -> None:
    page = schema.parse_orders([ORDER_ROW, {**ORDER_ROW, field: value}, ORDER_ROW])
    assert page.received == 3
    assert len(page.rows) + len(page.problems) == 3
    assert len(page.rows) >= 2
