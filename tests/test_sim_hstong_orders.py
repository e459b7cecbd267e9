"""Orders at the simulated Gateway: life cycle over HTTP and push, lists, paging, funds, conditional orders."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.sim_hstong_client import AAPL, Desk, desk

REAL_ORDERS = "/trade/TradeQueryRealEntrustList"
REAL_DEALS = "/trade/TradeQueryRealDeliverList"
HK = {"exchangeType": "K", "stockCode": "00700.HK", "sessionType": "0"}


@pytest.fixture
def broker() -> Iterator[Desk]:
    with desk() as clients:
        clients.still()
        yield clients


def cancel(broker: Desk, order_id: str, **changes: Any) -> Any:
    params = {"exchangeType": "P", "stockCode": "AAPL", "entrustId": order_id} | changes
    return broker.ok("/trade/TradeCancelEntrust", **params)


def told(push: Any) -> tuple[str, str, str, str]:
    return push.entrustStatus, push.businessAmount, push.sumBusinessAmount, push.leftAmount


def test_partial_fill_then_cancel(broker: Desk) -> None:
    broker.still(ask="200", bid="199.9", size=40)
    order_id = broker.entrust(entrustAmount="100", entrustPrice="200")
    row = broker.row(order_id)
    levels = int(row["businessAmount"])
    assert 40 <= levels < 100
    assert cancel(broker, order_id) == {"data": order_id}
    pushes = broker.push.orders(4)
    left = str(100 - levels)
    assert [told(push) for push in pushes] == [
        ("2", "0", "0", "100"),
        ("7", str(levels), str(levels), left),
        ("4", "0", str(levels), left),
        ("5", "0", str(levels), "0"),
    ]
    assert {push.recordNo for push in pushes} == {push.entrustNo for push in pushes} == {order_id}
    assert [bool(push.matchNo) for push in pushes] == [False, True, False, False]
    assert {(p.stockCode, p.exchangeType, p.entrustBs, p.entrustAmount) for p in pushes} == {("AAPL", "P", "1", "100")}
    assert pushes[1].businessPrice == "200.000"
    row = broker.row(order_id)
    assert (row["status"], row["statusDesc"], row["businessAmount"]) == ("5", "部撤", str(levels))
    assert "canBeCanceled" not in row  # a zero that the Gateway leaves out
    assert broker.err("/trade/TradeCancelEntrust", exchangeType="P", stockCode="AAPL", entrustId=order_id).startswith(
        "1008"
    )


def test_full_fill_moves_position_cash_and_journal(broker: Desk) -> None:
    order_id = broker.entrust(entrustPrice="210")
    [accepted, filled] = broker.push.orders(2)
    assert told(accepted) == ("2", "0", "0", "10")
    assert told(filled) == ("8", "10", "10", "0")
    assert filled.businessPrice == "200.100"
    assert broker.row(order_id)["businessPrice"] == "200.100"
    [deal] = broker.rows(REAL_DEALS)
    assert (deal["entrustId"], deal["businessAmount"], deal["businessBalance"]) == (order_id, "10", "2001.00")
    assert "matchNo" not in deal
    [held] = broker.ok("/trade/TradeQueryHoldsList", exchangeType="P")["holdsList"]
    assert (held["stockCode"], held["currentAmount"], held["enableAmount"]) == ("AAPL", "10", "10")
    assert held["costPrice"] == "200.100"
    funds = broker.ok("/trade/TradeQueryMarginFundInfo", exchangeType="P")
    [account] = [row for row in broker.sim.state()["vbrokers"]["accounts"] if row["currency"] == "USD"]
    assert Decimal(funds["assetBalance"]) == Decimal(account["balance"])
    assert Decimal(funds["enableBalance"]) == Decimal(account["available"])
    journal = broker.rows("/trade/TradeQueryRealFundJourList")
    paid = -sum(Decimal(row["businessBalance"]) for row in journal)
    assert paid == 1_000_000 - Decimal(broker.sim.state()["vbrokers"]["cash"]["VBROKERS"]["USD"])
    sale = broker.entrust(entrustBs="2", entrustAmount="4", entrustPrice="0", entrustType="5")
    assert broker.row(sale)["status"] == "8"
    assert len(broker.rows("/trade/TradeQueryRealFundJourList")) > len(journal)


def test_funds_are_held_for_a_working_order(broker: Desk) -> None:
    broker.entrust(entrustAmount="100", entrustPrice="150")
    funds = broker.ok("/trade/TradeQueryMarginFundInfo", exchangeType="P")
    assert Decimal(funds["cashOnHold"]) >= 15_000
    assert Decimal(funds["enableBalance"]) == 1_000_000 - Decimal(funds["cashOnHold"])
    nested = broker.ok(
        "/trade/TradeQueryMaxAvailableAsset",
        exchangeType="P", stockCode="AAPL", entrustPrice="100", entrustType="3",
    )["data"]  # fmt: skip
    assert 9_000 < int(nested["cashAvailableToOpen"]) < 9_900


def test_change_keeps_the_id(broker: Desk) -> None:
    order_id = broker.entrust()
    changed = {"exchangeType": "P", "stockCode": "AAPL", "entrustId": order_id}
    assert broker.ok("/trade/TradeChangeEntrust", entrustAmount="20", entrustPrice="151.00", **changed) == {
        "data": order_id
    }
    pushes = broker.push.orders(3)
    assert [told(push) for push in pushes] == [("2", "0", "0", "10"), ("A", "0", "0", "20"), ("2", "0", "0", "20")]
    assert (pushes[2].originalAmount, pushes[2].originalPrice) == ("10", "150")
    assert (pushes[2].entrustAmount, pushes[2].entrustPrice) == ("20", "151.000")
    assert (broker.row(order_id)["entrustAmount"], broker.row(order_id)["entrustPrice"]) == ("20", "151.000")
    refused = broker.err("/trade/TradeChangeEntrust", entrustAmount="20", entrustPrice="151.001", **changed)
    assert refused.startswith("1016")
    assert broker.push.is_silent()


def test_off_grid_price_is_accepted_then_rejected(broker: Desk) -> None:
    order_id = broker.entrust(entrustPrice="150.001")
    [push] = broker.push.orders(1)
    assert told(push) == ("9", "0", "0", "0")
    assert "价差" in push.remark
    row = broker.row(order_id)
    assert (row["status"], row["remarkType"], row["remark"]) == ("9", "1", push.remark)


def test_odd_lot_is_rejected_unless_of_type_7(broker: Desk) -> None:
    order_id = broker.entrust(**HK, entrustAmount="50", entrustPrice="300", entrustType="3")
    assert broker.row(order_id, exchangeType="K")["status"] == "9"
    with desk(positions=[position("00700.SEHK", 150)]) as clients:
        clients.still()
        sale = clients.entrust(**HK, entrustAmount="50", entrustPrice="1000", entrustType="7", entrustBs="2")
        assert clients.row(sale, exchangeType="K")["status"] == "2"
        held = clients.ok("/trade/TradeQueryHoldsList", exchangeType="K")["holdsList"]
        assert [(row["stockCode"], row["currentAmount"], row["enableAmount"]) for row in held] == [
            ("00700.HK", "150", "100")
        ]


def position(vt_symbol: str, volume: int) -> dict[str, object]:
    return {"broker": "vbrokers", "account": "VBROKERS", "vt_symbol": vt_symbol, "volume": volume, "price": "300"}


def test_special_limit_cancels_its_rest(broker: Desk) -> None:
    order_id = broker.entrust(**HK, entrustAmount="100", entrustPrice="10", entrustType="4")
    assert broker.row(order_id, exchangeType="K")["status"] == "6"


@pytest.mark.parametrize("kind", ["0", "2", "3", "4", "7"])
def test_wall_clock_takes_every_hk_limit_type(kind: str) -> None:
    with desk(positions=[position("00700.SEHK", 150)]) as clients:
        clients.still()
        volume = "50" if kind == "7" else "100"
        order_id = clients.entrust(**HK, entrustAmount=volume, entrustPrice="1000", entrustType=kind, entrustBs="2")
        assert clients.row(order_id, exchangeType="K")["status"] in {"2", "6"}


def test_data_clock_keeps_hk_types_to_their_sessions() -> None:
    with desk(clock="data") as clients:
        day = clients.sim.clock().date()
        clients.sim.set_clock(f"{day}T01:15:00+00:00")
        clients.login()
        limit = HK | {"entrustAmount": "100", "entrustPrice": "10"}
        assert (
            clients.row(clients.entrust(**limit, entrustType="3"), exchangeType="K")["remark"]
            == "竞价时段只接受竞价委托"
        )
        assert clients.row(clients.entrust(**limit, entrustType="0"), exchangeType="K")["status"] == "2"
        at_auction = clients.entrust(**HK | {"entrustAmount": "100", "entrustPrice": "0", "entrustType": "1"})
        assert clients.row(at_auction, exchangeType="K")["status"] == "2"
        clients.sim.advance(30 * 60)
        assert clients.row(at_auction, exchangeType="K")["status"] == "8"
        assert (
            clients.row(clients.entrust(**limit, entrustType="0"), exchangeType="K")["remark"]
            == "竞价委托只能在竞价时段提交"
        )
        assert clients.row(clients.entrust(**limit, entrustType="3"), exchangeType="K")["status"] == "2"


def test_batch_cancel_names_or_all_of_one_market(broker: Desk) -> None:
    first, second, third = broker.entrust(), broker.entrust(), broker.entrust()
    hong_kong = broker.entrust(**HK, entrustAmount="100", entrustPrice="10", entrustType="2")
    reply = broker.ok("/trade/TradeBatchCancelEntrust", exchangeType="P", entrustId=[first, "77"])
    assert reply["successEntrustId"] == [first]
    assert [row["failEntrustId"] for row in reply["failCancelEntrust"]] == ["77"]
    assert all(row["remark"] for row in reply["failCancelEntrust"])
    reply = broker.ok("/trade/TradeBatchCancelEntrust", exchangeType="P", entrustId=[])
    assert sorted(reply["successEntrustId"]) == sorted([second, third])
    assert broker.row(hong_kong, exchangeType="K")["status"] == "2"


def test_list_is_newest_first_and_pages_by_the_rows_cursor(broker: Desk) -> None:
    placed = [broker.entrust() for _ in range(7)]
    seen: list[str] = []
    cursor = "0"
    while True:
        page = broker.rows(REAL_ORDERS, queryCount=3, queryParamStr=cursor)
        seen += [row["entrustId"] for row in page]
        if len(page) < 3:
            break
        assert len({row["queryParamStr"] for row in page}) == 3
        cursor = page[-1]["queryParamStr"]
    assert seen == placed[::-1]
    newer = broker.entrust()
    shifted = broker.rows(REAL_ORDERS, queryCount=3, queryParamStr="3")
    assert [row["entrustId"] for row in shifted] == seen[2:5]
    assert broker.rows(REAL_ORDERS, queryCount=1)[0]["entrustId"] == newer
    assert [row["entrustId"] for row in broker.rows(REAL_ORDERS, exchangeType="K")] == []


def test_no_push_without_trade_subscribe(broker: Desk) -> None:
    assert broker.ok("/trade/TradeUnsubscribe") == {"success": True}
    broker.entrust()
    assert broker.push.is_silent()
    broker.ok("/trade/TradeSubscribe")
    broker.entrust()
    assert broker.push.orders(1)[0].entrustStatus == "2"


def test_orders_of_yesterday_are_history_by_hong_kongs_midnight() -> None:
    with desk(clock="data") as clients:
        early = clients.entrust(entrustPrice="1.00")  # 13:30Z, before Hong Kong's midnight at 16:00Z
        today = clients.sim.clock().strftime("%Y%m%d")
        clients.sim.advance(3 * 3600)
        clients.login()
        late = clients.entrust(entrustPrice="1.00")
        assert [row["entrustId"] for row in clients.rows(REAL_ORDERS)] == [late]
        history = clients.rows("/trade/TradeQueryHistoryEntrustList", startDate=today, endDate=today)
        assert [row["entrustId"] for row in history] == [early]
        assert history[0]["status"] == "2"
        clients.sim.switches(day_rolls_at="America/New_York")
        assert [row["entrustId"] for row in clients.rows(REAL_ORDERS)] == [late, early]
        clients.sim.advance(24 * 3600)
        clients.login()
        assert clients.rows(REAL_ORDERS) == []
        history = clients.rows("/trade/TradeQueryHistoryEntrustList", startDate=today, endDate="29991231")
        assert [row["entrustId"] for row in history] == [late, early]
        assert {row["status"] for row in history} == {"6"}  # day orders end with their day


def test_history_deals_and_journal() -> None:
    with desk(clock="data") as clients:
        today = clients.sim.clock().strftime("%Y%m%d")
        order_id = clients.entrust(entrustPrice="0", entrustType="5")
        clients.sim.advance(24 * 3600)
        clients.login()
        assert clients.rows(REAL_DEALS) == []
        days = {"startDate": today, "endDate": int(today)}
        deals = clients.rows("/trade/TradeQueryHistoryDeliverList", **days)
        assert {row["entrustId"] for row in deals} == {order_id}
        assert sum(int(row["businessAmount"]) for row in deals) == 10
        journal = clients.rows("/trade/TradeQueryHistoryFundJourList", **days)
        assert {row["typeDesc"] for row in journal} == {"买入", "费用"}
        assert all(row["time"].startswith(clients.sim.clock().strftime("%Y-")) for row in journal)


def test_ids_never_repeat_between_runs() -> None:
    with desk() as clients:
        clients.still()
        first = clients.entrust()
    with desk() as clients:
        clients.still()
        assert int(clients.entrust()) > int(first)


# --- conditional orders -------------------------------------------------------------------------------------------

COND = {"entrustPrice": "205", "validDays": 5, "sessionType": "3"}


def cond_list(broker: Desk) -> list[dict[str, Any]]:
    reply = broker.ok("/trade/TradeQueryRealCondOrderList", exchangeType="P", pageNo=1, pageSize=50)
    rows: list[dict[str, Any]] = reply["data"]
    assert reply["curPageNo"] == 1
    return rows


def test_stop_loss_waits_for_a_fall(broker: Desk) -> None:
    broker.entrust(entrustPrice="0", entrustType="5")
    broker.push.orders(2)
    stop = broker.entrust(**COND | {"entrustPrice": "185"}, entrustType="33", entrustBs="2", condValue="190")
    assert [(row["condOrderId"], row["status"]) for row in cond_list(broker)] == [(stop, "1")]
    assert len(broker.rows(REAL_ORDERS)) == 1
    broker.sim.quote("AAPL.SMART", last="191", bid="190.9", ask="191.1")
    assert broker.push.is_silent()
    broker.sim.quote("AAPL.SMART", last="190", bid="189.9", ask="190.1")
    assert [push.entrustStatus for push in broker.push.orders(2)] == ["2", "8"]
    assert cond_list(broker)[0]["status"] == "2"
    assert broker.ok("/trade/TradeQueryHoldsList", exchangeType="P")["holdsList"] == []


def test_trailing_stop_follows_the_best_price(broker: Desk) -> None:
    broker.entrust(entrustPrice="0", entrustType="5")
    cond = {"entrustType": "36", "entrustBs": "2", "condValue": "5", "condTrackType": "1"}
    broker.entrust(**COND | cond)
    for last in (220, 210):
        broker.sim.quote("AAPL.SMART", last=last, bid=last - 0.1, ask=last + 0.1)
        assert cond_list(broker)[0]["status"] == "1"
    broker.sim.quote("AAPL.SMART", last=209, bid=208.9, ask=209.1)
    assert cond_list(broker)[0]["status"] == "2"


def test_take_profit_can_be_changed_and_taken_back(broker: Desk) -> None:
    profit = broker.entrust(**COND, entrustType="31", entrustBs="1", condValue="180")
    named = {"exchangeType": "P", "stockCode": "AAPL", "entrustId": profit, "entrustType": "31"}
    broker.ok("/trade/TradeChangeEntrust", **named, entrustAmount="7", condValue="170")
    [row] = cond_list(broker)
    assert (row["entrustAmount"], row["condValue"], row["canBeCancel"]) == ("7", "170", "1")
    assert broker.ok("/trade/TradeCancelEntrust", **named) == {"data": profit}
    broker.sim.quote("AAPL.SMART", last=160, bid=159.9, ask=160.1)
    assert cond_list(broker)[0]["status"] == "5"
    assert broker.err("/trade/TradeCancelEntrust", **named).startswith("1008")
    history = broker.ok(
        "/trade/TradeQueryHistoryCondOrderList",
        exchangeType="P", pageNo="1", pageSize="9", startTime="2020-01-01 00:00:00", endTime="2099-01-01 00:00:00",
    )  # fmt: skip
    assert [row["condOrderId"] for row in history["data"]] == [profit]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"condValue": None}, "2001"),
        ({"validDays": 101}, "1016"),
        ({"sessionType": "1"}, "1016"),
        ({"condValue": "0"}, "1016"),
    ],
)
def test_conditional_orders_are_checked(broker: Desk, changes: dict[str, Any], code: str) -> None:
    params = {"exchangeType": "P", "stockCode": "AAPL", "entrustAmount": "1", "entrustBs": "1", "entrustType": "31"}
    wanted = {**params, **COND, "condValue": "180", **changes}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    assert broker.err("/trade/TradeEntrust", **wanted).startswith(code)


def test_rights_and_rates(broker: Desk) -> None:
    support = "/trade/TradeQueryBeforeAndAfterSupport"
    assert broker.ok(support, exchangeType="P", stockCode="AAPL") == {"data": "1"}
    assert broker.ok(support, exchangeType="K", stockCode="00700.HK") == {"data": "0"}
    margin = broker.ok("/trade/TradeQueryMarginFullInfo", dataType="20000", stockCode=AAPL["code"])
    assert (margin["marginAllow"], margin["shortAllow"]) == ("0", "0")
    rates = broker.ok("/hs/rate/queryList", rateType="1")
    assert rates["HKD"]["USD"] == "0.1279"
