"""Orders at the simulated TWS: the sequences, codes and ids of tws-api 8.2, 9.2 and 12."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from ib_async.contract import Stock
from ib_async.objects import ExecutionFilter
from ib_async.order import Order, StopLimitOrder, StopOrder

from brokersim.half import BadCall, PhoneOrder
from tests.sim_tws_room import IRA, MARGIN, TENCENT, House, Talker, at_market, limit

PLACED = [
    "openOrder PreSubmitted",
    "orderStatus PreSubmitted 0/10",
    "openOrder Submitted",
    "orderStatus Submitted 0/10",
]
FILLED = ["execDetails BOT 10@200.1", "openOrder Filled", "orderStatus Filled 10/0", "commissionReport"]
CANCELLED = ["orderStatus PendingCancel 0/10", "orderStatus Cancelled 0/10", "error 202"]


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def talker(house: House) -> Talker:
    return house.talker()


def statuses(house: House) -> list[str]:
    return [row["status"] for row in house.desk.state()["orders"]]


def test_a_market_order_fills(house: House, talker: Talker) -> None:
    assert talker.place(1, at_market("BUY", 10)) == [*PLACED[:2], *FILLED]
    assert house.order()["status"] == "ALLTRADED"
    [trade] = house.desk.state()["trades"]
    assert re.fullmatch(r"0000e0d5\.[0-9a-f]{8}\.01\.01", trade["id"])


def test_a_limit_order_rests_and_is_cancelled(house: House, talker: Talker) -> None:
    assert talker.place(1, limit("BUY", 10, 150, orderRef="CTA|demo")) == PLACED
    row = house.order()
    assert (row["status"], row["reference"], row["price"], row["account"]) == ("NOTTRADED", "CTA|demo", "150", MARGIN)
    assert talker.cancel(1) == CANCELLED
    assert house.order()["status"] == "CANCELLED"
    assert talker.cancel(1) == ["error 10148"]
    assert talker.cancel(99) == ["error 10147"]


def test_partial_fills_keep_the_status_submitted(house: House, talker: Talker) -> None:
    house.quote(size=4)
    talker.place(1, limit("BUY", 10, 200.1))
    house.quote(size=6)
    news = [text for text in talker.news() if text.startswith("orderStatus")]
    assert news[-1] == "orderStatus Filled 10/0"
    assert house.order()["traded"] == "10"


def test_a_modification_to_market_tells_the_status_before_the_execution(house: House, talker: Talker) -> None:
    talker.place(1, limit("BUY", 10, 150))
    assert talker.place(1, limit("BUY", 20, 151)) == ["openOrder Submitted", "orderStatus Submitted 0/20"]
    news = talker.place(1, at_market("BUY", 20))
    assert news[-4:] == [
        "openOrder Filled",
        "orderStatus Filled 20/0",
        "execDetails BOT 20@200.1",
        "commissionReport",
    ]
    assert talker.place(1, limit("BUY", 20, 151)) == ["error 104"]
    assert len(house.desk.orders) == 1


def test_a_modification_must_match_and_fit(house: House, talker: Talker) -> None:
    talker.place(1, limit("BUY", 10, 150))
    assert talker.place(1, limit("SELL", 10, 150)) == ["error 105"]
    assert talker.place(1, limit("BUY", 10, 150), Stock("IBM", "SMART", "USD")) == ["error 105"]
    assert talker.place(1, limit("BUY", 10, 150.001)) == ["error 110"]
    assert talker.place(1, limit("BUY", 99_999_999, 150)) == ["error 134"]
    row = house.order()
    assert (row["status"], row["price"], row["volume"]) == ("NOTTRADED", "150", "10")


@pytest.mark.parametrize(
    ("order", "contract", "code"),
    [
        (limit("BUY", 10, 150.001), None, 110),
        (limit("BUY", 0, 150), None, 434),
        (limit("BUY", 1.5, 150), None, 10243),
        (limit("BUY", 10, 150), Stock("NOTHING", "SMART", "USD"), 200),
        (limit("BUY", 10, 150), Stock("AAPL", "", "USD"), 321),
        (limit("BUY", 50, 400), TENCENT, 355),
        (limit("BUY", 10, 0), None, 321),
        (Order(action="BUY", totalQuantity=10, orderType="XYZ", tif="DAY"), None, 321),
        (Order(action="BUY", totalQuantity=10, orderType="TRAIL", tif="DAY", auxPrice=1), None, 387),
        (Order(action="BUY", totalQuantity=10, orderType="LMT", tif="NEVER", lmtPrice=10), None, 321),
        (limit("BUY", 10, 150, account="U1"), None, 321),
        (limit("BUY", 10, 150, parentId=77), None, 10006),
    ],
)
def test_what_is_wrong_is_told_by_code_and_leaves_nothing(
    house: House, talker: Talker, order: Order, contract: Any, code: int
) -> None:
    assert talker.place(1, order, *([contract] if contract else [])) == [f"error {code}"]
    assert not house.desk.orders


def test_an_account_is_needed_when_there_are_several(house: House, talker: Talker) -> None:
    calls = talker.placeOrder(1, Stock("AAPL", "SMART", "USD"), limit("BUY", 10, 150))
    assert [call[1][1] for call in calls] == [435]
    house.hub.switches.accounts = 1
    assert len(talker.placeOrder(2, Stock("AAPL", "SMART", "USD"), limit("BUY", 10, 150))) == 4
    assert house.order()["account"] == MARGIN


def test_no_short_sale_and_no_debt(house: House, talker: Talker) -> None:
    short_sale = ["openOrder Inactive", "orderStatus Inactive 0/10", "error 201"]
    assert talker.place(1, limit("SELL", 10, 200, account=IRA)) == short_sale
    assert talker.place(2, limit("BUY", 10_000, 200))[-1] == "error 201"
    assert statuses(house) == ["REJECTED", "REJECTED"]
    assert talker.place(3, limit("SELL", 10, 250)) == PLACED
    assert talker.cancel(1) == ["error 161"]
    house.desk.ledger.check()


def test_order_ids_only_grow_and_begin_anew_after_a_reset(house: House, talker: Talker) -> None:
    assert house.hub.next_order_id(1) == 1
    talker.place(7, limit("BUY", 10, 150))
    talker.cancel(7)
    assert talker.place(7, limit("BUY", 10, 150)) == ["error 103"]
    assert talker.place(5, limit("BUY", 10, 150)) == ["error 103"]
    talker.place(8, limit("BUY", 10, 150))
    assert house.hub.next_order_id(1) == 9
    house.orders.reset_ids()
    assert house.hub.next_order_id(1) == 1
    assert talker.place(7, limit("BUY", 10, 151)) == PLACED
    assert statuses(house) == ["CANCELLED", "NOTTRADED", "NOTTRADED"]
    assert talker.place(8, limit("BUY", 10, 152)) == ["openOrder Submitted", "orderStatus Submitted 0/10"]


def test_stop_orders_wait_for_their_trigger(house: House, talker: Talker) -> None:
    waiting = "orderStatus PreSubmitted 0/10 trigger"
    assert talker.place(1, StopOrder("BUY", 10, 205, tif="DAY")) == ["openOrder PreSubmitted", waiting, waiting]
    assert talker.place(2, StopLimitOrder("BUY", 10, 205, 204.5, tif="DAY"))[:2] == ["openOrder PreSubmitted", waiting]
    house.quote("204.5", "204.7", last="204.6")
    news = talker.news()
    assert "execDetails BOT 10@204.7" in news
    assert statuses(house) == ["NOTTRADED", "ALLTRADED"]
    house.quote("205", "205.2", last="205.1")
    assert "orderStatus Filled 10/0" in talker.news()
    assert statuses(house) == ["ALLTRADED", "ALLTRADED"]
    assert house.order()["type"] == "LIMIT"


def test_ioc_leaves_nothing_behind_and_fok_is_inactive(house: House, talker: Talker) -> None:
    news = talker.place(1, limit("BUY", 10, 150), tif="IOC")
    assert news[-2:] == ["orderStatus PendingCancel 0/10", "orderStatus Cancelled 0/10"]
    fok = limit("BUY", 10, 200.1)
    fok.tif = "FOK"
    assert talker.place(2, fok) == ["openOrder Inactive", "orderStatus Inactive 0/10"]
    assert statuses(house) == ["CANCELLED", "REJECTED"]


def test_untransmitted_orders_are_silent_until_they_come_again(house: House, talker: Talker) -> None:
    assert talker.place(1, limit("BUY", 10, 150), transmit=False) == []
    assert house.order()["status"] == "SUBMITTING"
    assert [call[0] for call in talker.reqOpenOrders()] == ["openOrderEnd"]
    assert talker.place(1, limit("BUY", 10, 151), transmit=True) == PLACED
    assert house.order()["price"] == "151"
    talker.place(2, limit("BUY", 10, 150), transmit=False)
    assert talker.cancel(2) == ["orderStatus ApiCancelled 0/10", "error 202"]


def test_a_bracket_starts_with_its_parent_and_its_children_end_each_other(house: House, talker: Talker) -> None:
    talker.place(1, limit("BUY", 10, 150), transmit=False)
    talker.place(2, limit("SELL", 10, 260, parentId=1), transmit=False)
    news = talker.place(3, StopOrder("SELL", 10, 100, tif="DAY", parentId=1), transmit=True)
    assert news[:4] == PLACED
    assert news.count("orderStatus PreSubmitted 0/10 child") == 2
    house.quote("149.8", "150", last="149.9")
    talker.news()
    assert statuses(house) == ["ALLTRADED", "NOTTRADED", "NOTTRADED"]
    house.quote("260.5", "260.7", last="260.6")
    assert "error 202" in talker.news()
    assert statuses(house) == ["ALLTRADED", "ALLTRADED", "CANCELLED"]
    assert house.desk.ledger.volume(MARGIN, "AAPL.SMART") == 0


def test_a_group_is_cancelled_by_its_first_fill(house: House, talker: Talker) -> None:
    for order_id, price in ((1, 150), (2, 151)):
        talker.place(order_id, limit("BUY", 10, price, ocaGroup="one", ocaType=1))
    house.quote("150.5", "150.9", last="150.7")
    assert statuses(house) == ["CANCELLED", "ALLTRADED"]


def test_orders_belong_to_their_client(house: House, talker: Talker) -> None:
    other = house.talker(2)
    talker.place(1, limit("BUY", 10, 150))
    assert other.news() == []
    assert other.cancel(1) == ["error 10147"]
    assert [call[0] for call in other.reqOpenOrders()] == ["openOrderEnd"]
    shown = other.reqAllOpenOrders()
    assert [call[0] for call in shown] == ["openOrder", "orderStatus", "openOrderEnd"]
    order = shown[0][1][2]
    assert (order.clientId, order.orderId, str(order.permId)) == (1, 1, house.order()["id"])
    other.reqGlobalCancel()
    assert talker.news() == CANCELLED


def test_an_order_from_the_phone_is_bound_by_client_0_alone(house: House, talker: Talker) -> None:
    zero = house.talker(0)
    phone = PhoneOrder(broker="tws", vt_symbol="AAPL.SMART", direction="LONG", volume=10, price=150)
    perm_id = house.orders.place(phone)
    assert zero.news() == talker.news() == []
    [(_, (_, _, order, _)), _, _] = talker.reqAllOpenOrders()
    assert (order.clientId, order.orderId, str(order.permId), order.account) == (0, 0, perm_id, MARGIN)
    assert [call[1][1] for call in talker.reqAutoOpenOrders(True)] == [327]
    assert zero.reqAutoOpenOrders(True) == []
    bound = zero.reqOpenOrders()
    assert bound[0] == ("orderBound", (int(perm_id), 0, -1))
    assert zero.cancel(-1) == CANCELLED
    house.orders.place(phone)
    assert zero.heard()[0][0] == "orderBound"
    with pytest.raises(BadCall, match="110"):
        house.orders.place(PhoneOrder(broker="tws", vt_symbol="AAPL.SMART", direction="LONG", volume=1, price="1.001"))
    with pytest.raises(BadCall, match="no account"):
        house.orders.place(
            PhoneOrder(broker="tws", vt_symbol="AAPL.SMART", direction="LONG", volume=1, price=1, account="U1")
        )


def test_completed_orders_are_told_by_perm_id(house: House, talker: Talker) -> None:
    talker.place(1, at_market("BUY", 10))
    talker.place(2, limit("BUY", 10, 150))
    talker.cancel(2)
    talker.place(3, limit("BUY", 10, 150))
    filled, cancelled, end = talker.reqCompletedOrders(False)
    assert end[0] == "completedOrdersEnd"
    _, order, state = filled[1]
    assert (order.totalQuantity, order.filledQuantity, state.status) == (0, 10, "Filled")
    assert state.completedStatus == "Filled Size: 10"
    _, order, state = cancelled[1]
    assert (order.totalQuantity, order.filledQuantity, state.status) == (10, 0, "Cancelled")
    assert str(order.permId) == house.desk.state()["orders"][1]["id"]


def test_executions_pass_the_filter(house: House, talker: Talker) -> None:
    talker.place(1, at_market("BUY", 10, orderRef="mine"))
    house.talker(2).place(1, at_market("SELL", 4))

    def found(**asked: Any) -> list[tuple[str, float]]:
        calls = talker.reqExecutions(9, ExecutionFilter(**asked))
        assert calls[-1][0] == "execDetailsEnd"
        return [(args[2].side, args[2].shares) for name, args in calls if name == "execDetails"]

    assert found() == [("BOT", 10), ("SLD", 4)]
    assert found(clientId=2) == [("SLD", 4)]
    assert found(side="BUY", symbol="AAPL", secType="STK", acctCode=MARGIN) == [("BOT", 10)]
    assert found(acctCode=IRA) == found(symbol="IBM") == found(time="20990101-00:00:00") == []
    calls = talker.reqExecutions(9, ExecutionFilter())
    report = calls[-2][1][0]
    assert report.realizedPNL == pytest.approx(4 * -0.2 - report.commission)
    assert calls[0][1][2].orderRef == "mine"
    assert calls[0][1][2].exchange != "SMART"


def test_a_what_if_order_places_nothing(house: House, talker: Talker) -> None:
    order = limit("BUY", 10, 150, whatIf=True, account=MARGIN)
    first, second = talker.placeOrder(1, Stock("AAPL", "SMART", "USD"), order)
    assert float(first[1][3].initMarginChange) > 1e300
    assert (second[1][3].status, float(second[1][3].initMarginChange)) == ("PreSubmitted", 1500)
    assert (second[1][3].minCommission, second[1][3].commissionCurrency) == (1, "USD")
    assert not house.desk.orders


def test_read_only_refuses_orders_and_order_queries(house: House, talker: Talker) -> None:
    house.hub.switches.read_only = True
    assert talker.place(1, limit("BUY", 10, 150)) == ["error 321"]
    assert talker.cancel(1) == ["error 321"]
    assert [call[0] for call in talker.reqOpenOrders()] == ["error", "openOrderEnd"]
    assert [call[0] for call in talker.reqCompletedOrders(False)] == ["error", "completedOrdersEnd"]
    assert not house.desk.orders


def test_a_notice_about_an_order_does_what_it_means(house: House, talker: Talker) -> None:
    for order_id in (1, 2, 3):
        talker.place(order_id, limit("BUY", 10, 150))
    one, two, three = house.desk.orders
    house.orders.notice(399, "Order Message", one)
    assert talker.news() == ["error 399"]
    house.orders.notice(202, "", two)
    assert talker.news() == CANCELLED
    house.orders.notice(201, "Order rejected - reason:no", three)
    assert talker.news() == ["openOrder Inactive", "orderStatus Inactive 0/10", "error 201"]
    assert statuses(house) == ["NOTTRADED", "CANCELLED", "REJECTED"]


def test_a_market_order_waits_for_the_open(house: House) -> None:
    house = House("data")
    house.world.clock.advance(-3600)
    house.world.market.step()
    talker = house.talker()
    assert house.world.market.segment("AAPL.SMART") == "pre"
    assert talker.place(1, at_market("BUY", 10)) == [*PLACED[:2], "error 399"]
    assert talker.place(2, limit("BUY", 10, 1000)) == [*PLACED[:2], "error 399"]
    assert talker.place(3, limit("BUY", 10, 1000, outsideRth=True))[-1] == "commissionReport"
    assert statuses(house) == ["NOTTRADED", "NOTTRADED", "ALLTRADED"]
    house.world.clock.advance(3700)
    house.world.market.step()
    assert statuses(house) == ["ALLTRADED"] * 3
    talker.place(4, limit("BUY", 10, 1))
    talker.place(5, limit("BUY", 10, 1), tif="GTC")
    talker.news()
    house.world.clock.advance(86_400)
    house.world.market.step()
    assert statuses(house)[3:] == ["CANCELLED", "NOTTRADED"]
    assert "error 202" in talker.news()


def test_a_good_till_date_order_ends_then(house: House, talker: Talker) -> None:
    until = f"{house.world.clock.now():%Y%m%d}-23:59:59"
    assert talker.place(1, limit("BUY", 10, 150, goodTillDate=until), tif="GTD") == PLACED
    assert talker.place(2, limit("BUY", 10, 150), tif="GTD") == ["error 391"]
    house.world.clock.paused = False
    house.world.clock.advance(86_400)
    house.world.market.step()
    assert statuses(house) == ["CANCELLED"]


def test_fees_and_ledger_balance(house: House, talker: Talker) -> None:
    talker.place(1, at_market("BUY", 10))
    talker.place(2, at_market("SELL", 25))
    house.desk.ledger.check()
    [position] = house.desk.state()["positions"]
    assert (position["volume"], Decimal(position["price"])) == ("-15", Decimal("199.9"))
