"""Accounts, positions and profit at the simulated TWS, and its messages about orders (tws-api 3, 5, 6.6, 7)."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ib_async.contract import Contract, Stock, TagValue
from ib_async.order import LimitOrder, Order, PriceCondition

from brokersim.tws import messages
from brokersim.tws.account_values import EXCHANGE_RATES
from brokersim.tws.contracts import ContractQuery
from brokersim.tws.framing import FieldError, Reader, encode, fields_of
from brokersim.tws.order_form import read_order
from tests.sim_tws_room import AAPL, BUSINESS, IRA, MARGIN, TENCENT, House, Talker, Writer, at_market, limit


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def talker(house: House) -> Talker:
    return house.talker()


def values(calls: list[tuple[str, tuple[Any, ...]]], currency: str, at: int = 0) -> dict[str, str]:
    """Key -> value of the rows of one currency; ``at``: where the key stands in the arguments."""
    return {args[at]: args[at + 1] for _, args in calls if len(args) > at + 2 and args[at + 2] == currency}


def funds(house: House, account: str, currency: str) -> dict[str, str]:
    rows = house.desk.state()["accounts"]
    [row] = [one for one in rows if (one["account"], one["currency"]) == (account, currency)]
    return dict(row)


def test_account_values_are_those_of_the_state(house: House, talker: Talker) -> None:
    talker.place(1, at_market("BUY", 10))
    talker.place(2, limit("BUY", 10, 150))
    calls = talker.reqAccountUpdates(True, MARGIN)
    assert calls[-1] == ("accountDownloadEnd", (MARGIN,))
    for currency in ("USD", "HKD"):
        told, row = values(calls, currency), funds(house, MARGIN, currency)
        assert told["NetLiquidationByCurrency"] == row["balance"]
        assert told["CashBalance"] == row["available"]
    base = values(calls, "BASE")
    hkd = Decimal(5_000_000) * EXCHANGE_RATES["HKD"]
    assert Decimal(base["CashBalance"]) == Decimal(values(calls, "USD")["CashBalance"]) + hkd
    words = values(calls, "")
    assert (words["AccountReady"], words["AccountType"], words["DayTradesRemaining"]) == ("true", "INDIVIDUAL", "-1")
    totals = values(calls, "USD")
    assert Decimal(totals["NetLiquidation-S"]) == Decimal(totals["NetLiquidation"]) > 1_000_000
    assert totals["NetLiquidation-C"] == "0.00"
    [portfolio] = [args for name, args in calls if name == "updatePortfolio"]
    contract, position, price, worth, cost, unrealised, realised, account = portfolio
    assert (contract.symbol, contract.primaryExchange, position, account) == ("AAPL", "NASDAQ", 10, MARGIN)
    assert (price, worth, cost) == (200, 2000, 200.1)
    assert (unrealised, realised) == (pytest.approx(-1), 0)


def test_an_ira_says_so(talker: Talker) -> None:
    assert values(talker.reqAccountUpdates(True, IRA), "")["AccountType"] == "IRA-ROTH"


def test_account_updates_follow_the_trades(house: House, talker: Talker) -> None:
    talker.reqAccountUpdates(True, MARGIN)
    house.accounts.turn()
    assert talker.heard() == []
    talker.place(1, at_market("BUY", 10))
    house.accounts.turn()
    calls = talker.heard()
    assert values(calls, "USD")["CashBalance"] == funds(house, MARGIN, "USD")["available"]
    assert "AccountType" not in values(calls, "")
    assert [args[1] for name, args in calls if name == "updatePortfolio"] == [10]
    talker.reqAccountUpdates(False, MARGIN)
    talker.place(2, at_market("BUY", 10))
    house.accounts.turn()
    assert talker.heard() == []


def test_multi_updates_and_the_positions_of_each_account(house: House, talker: Talker) -> None:
    talker.place(1, at_market("BUY", 10, account=BUSINESS))
    house.world.market.set_quote("00700.SEHK", bid=Decimal("399.8"), ask=Decimal("400"))
    talker.place(2, at_market("BUY", 100), TENCENT)
    calls = talker.reqAccountUpdatesMulti(5, BUSINESS, "", False)
    assert calls[-1] == ("accountUpdateMultiEnd", (5,))
    assert {args[:3] for name, args in calls[:-1]} == {(5, BUSINESS, "")}
    assert values(calls, "USD", 3)["CashBalance"] == funds(house, BUSINESS, "USD")["available"]
    rows = talker.reqPositions()
    assert rows.pop()[0] == "positionEnd"
    told = [(account, one.symbol, one.exchange, volume, cost) for _, (account, one, volume, cost) in rows]
    assert told == [(MARGIN, "700", "SEHK", 100, 400), (BUSINESS, "AAPL", "NASDAQ", 10, 200.1)]
    talker.place(3, at_market("SELL", 10, account=BUSINESS))
    [(_, (account, contract, volume, _))] = [call for call in talker_position(talker, house) if call[0] == "position"]
    assert (account, contract.symbol, volume) == (BUSINESS, "AAPL", 5)
    talker.cancelPositions()
    assert [call for call in talker_position(talker, house) if call[0] == "position"] == []
    [row, end] = talker.reqPositionsMulti(6, MARGIN, "")
    assert (row[0], end[0]) == ("positionMulti", "positionMultiEnd")


def talker_position(talker: Talker, house: House) -> list[tuple[str, tuple[Any, ...]]]:
    """What a buy of 5 shares for the business account brings."""
    order = at_market("BUY", 5, account=BUSINESS)
    return talker.placeOrder(house.hub.next_order_id(1), AAPL, order)


def test_account_summaries(house: House, talker: Talker) -> None:
    calls = talker.reqAccountSummary(3, "All", "NetLiquidation,AccountType,$LEDGER:HKD")
    assert calls.pop()[0] == "accountSummaryEnd"
    assert {args[1] for _, args in calls} == {MARGIN, IRA, BUSINESS}
    assert {args[2] for _, args in calls} >= {"NetLiquidation", "AccountType", "CashBalance"}
    assert {args[4] for _, args in calls} == {"USD", "HKD", ""}
    assert talker.reqAccountSummary(4, MARGIN, "BuyingPower")[-1][0] == "accountSummaryEnd"
    assert [call[1][:2] for call in talker.reqAccountSummary(5, "All", "NetLiquidation")] == [(5, 322)]
    talker.cancelAccountSummary(4)
    assert [call[1][:2] for call in talker.reqAccountSummary(4, "All", "Nonsense")] == [(4, 321)]
    assert [call[1][:2] for call in talker.reqAccountSummary(4, "Nobody", "SMA")] == [(4, 321)]
    house.accounts.forget(talker.client)
    assert talker.reqAccountSummary(5, "All", "NetLiquidation")[-1][0] == "accountSummaryEnd"


def test_summaries_are_refreshed_every_three_minutes(house: House, talker: Talker) -> None:
    talker.reqAccountSummary(3, MARGIN, "TotalCashValue")
    talker.place(1, at_market("BUY", 10))
    house.accounts.turn()
    assert talker.heard() == []
    house.world.clock.advance(181)
    house.accounts.turn()
    assert [name for name, _ in talker.heard()] == ["accountSummary", "accountSummaryEnd"]


def test_profit_of_account_and_position(house: House, talker: Talker) -> None:
    talker.place(1, at_market("BUY", 10))
    house.quote("209.9", "210.1", last="210")
    talker.place(2, at_market("SELL", 4))
    [(name, args)] = talker.reqPnLSingle(7, MARGIN, "", 265598)
    assert (name, args) == ("pnlSingle", (7, 6, pytest.approx(98.6), pytest.approx(59.4), pytest.approx(39.2), 1260))
    [(name, args)] = talker.reqPnL(8, MARGIN, "")
    assert (name, args) == ("pnl", (8, pytest.approx(98.6), pytest.approx(59.4), pytest.approx(39.2)))
    house.quote("219.9", "220.1", last="220")
    house.world.clock.advance(2)
    house.accounts.turn()
    assert [name for name, _ in talker.heard()] == ["pnlSingle", "pnl"]
    talker.cancelPnL(8)
    house.world.clock.advance(2)
    house.accounts.turn()
    assert talker.heard() == []
    assert [call[1][:2] for call in talker.reqPnL(9, "U1", "")] == [(9, 321)]


# -- messages ----------------------------------------------------------------------------------------------------


def written(order: Order, contract: Contract = AAPL) -> list[str]:
    writer = Writer()
    writer.placeOrder(5, contract, order)  # type: ignore[no-untyped-call] # ib_async does not type it
    return writer.written[0]


def read(fields: list[str]) -> Any:
    reader = Reader(fields)
    reader.skip()
    form = read_order(reader)
    return form, reader.left


def test_real_sizes(house: House, talker: Talker) -> None:
    talker.place(1, limit("BUY", 10, 150))
    [ticket] = house.orders._life.tickets.values()
    assert len(messages.open_order(ticket, "Submitted")) == 135
    assert len(messages.completed_order(ticket, "Filled", "", "")) == 100
    assert len(messages.order_status(ticket, "Submitted")) == 12
    talker.place(2, at_market("BUY", 10))
    [execution] = house.orders.log._all
    assert len(messages.exec_details(execution, "")) == 32
    assert len(messages.commission_report(execution)) == 8


def full_order() -> Order:
    order = LimitOrder("SELL", 100, 201.5, tif="GTC", account=MARGIN, orderRef="a|b", outsideRth=True)
    order.algoStrategy, order.algoParams = "Adaptive", [TagValue("adaptivePriority", "Normal")]
    order.scalePriceIncrement, order.hedgeType, order.hedgeParam = 0.1, "D", "1"
    order.deltaNeutralOrderType = "MKT"
    order.conditions = [PriceCondition(conId=265598, exch="SMART", isMore=True, price=10)]
    return order


def test_every_optional_group_is_read() -> None:
    assert len(written(limit("BUY", 1, 1))) == 114
    form, left = read(written(full_order()))
    assert left == 0
    assert (form.action, form.limit, form.tif, form.order_ref) == ("SELL", Decimal("201.5"), "GTC", "a|b")
    assert form.algo_params == (("adaptivePriority", "Normal"),)
    assert form.conditions == (("1", "a", "1", "10", "265598", "SMART", "0"),)
    order = limit("BUY", 1, 1)
    order.orderType = "PEG BENCH"
    assert read(written(order))[1] == 0
    combo = Contract(secType="BAG", symbol="AAPL", exchange="SMART", currency="USD")
    assert read(written(limit("BUY", 1, 1), combo))[1] == 0


def test_the_official_clients_unset_numbers_are_unset() -> None:
    fields = written(limit("BUY", 1, 1))
    for index in (91, 92, 93, 94, 95, 100):
        fields[index] = "1.7976931348623157e+308"
    fields[109] = fields[110] = "2147483647"
    form, left = read(fields)
    assert left == 0
    assert form.text("triggerPrice") == form.text("duration") == form.text("cashQty") == ""


def test_algorithms_and_attributes_are_echoed(house: House, talker: Talker) -> None:
    order = limit("BUY", 10, 150, outsideRth=True, orderRef="x", cashQty=5.0)
    order.algoStrategy, order.algoParams = "Adaptive", [TagValue("adaptivePriority", "Normal")]
    order.account = MARGIN
    _, contract, told, _ = talker.placeOrder(1, AAPL, order)[0][1]
    assert told.algoStrategy == "Adaptive"
    assert [(one.tag, one.value) for one in told.algoParams] == [("adaptivePriority", "Normal")]
    assert (told.outsideRth, told.orderRef, told.cashQty, told.tif) == (True, "x", 5.0, "DAY")
    assert (contract.conId, contract.right, contract.exchange) == (265598, "?", "SMART")
    assert told.deltaNeutralOrderType == "None"


def test_text_beyond_ascii_is_escaped() -> None:
    assert encode(4, 2, -1, 399, "等待", "") == b"\x00\x00\x00\x194\x002\x00-1\x00399\x00\\u7b49\\u5f85\x00\x00"


@settings(max_examples=150, deadline=None)
@given(
    index=st.integers(1, 113),
    text=st.one_of(st.text(max_size=8), st.sampled_from(["1e999", "NaN", "-1", "2147483647", "9" * 30, "Infinity"])),
    cut=st.integers(1, 114),
)
def test_no_message_breaks_the_reader_or_the_desk(index: int, text: str, cut: int) -> None:
    house = House()
    talker = house.talker()
    fields = written(full_order() if cut % 2 else limit("BUY", 10, 150, account=MARGIN))
    fields[index] = text.replace("\0", "")
    for message in (fields, fields[:cut]):
        with suppress(FieldError):  # what the listener answers with code 320
            house.carry_out(talker.client, message)
    talker.heard()
    house.desk.ledger.check()
    assert fields_of(b"".join(part.encode("utf-8", "replace") + b"\0" for part in fields))


def test_a_contract_query_is_what_was_asked() -> None:
    form, _ = read(written(limit("BUY", 1, 1), Stock("BRK B", "SMART", "USD", primaryExchange="NYSE")))
    assert form.query == ContractQuery(
        symbol="BRK B", sec_type="STK", exchange="SMART", primary_exchange="NYSE", currency="USD"
    )
