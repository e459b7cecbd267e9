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

import brokersim
from brokersim.tws import messages
from brokersim.tws.account_values import EXCHANGE_RATES
from brokersim.tws.advisor import AdvisorRoom, BadGroups, read_aliases, read_groups
from brokersim.tws.contracts import ContractQuery
from brokersim.tws.framing import FieldError, Reader, encode, fields_of
from brokersim.tws.hub import ADVISOR
from brokersim.tws.order_form import read_order
from tests.sim_tws_client import RawClient, connected
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


# -- many accounts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "tail"), [(1, ""), (2, ","), (60, ",")])
def test_managed_accounts_of_any_number(count: int, tail: str) -> None:
    with brokersim.running(vbrokers=False, tws=True, switches={"tws.accounts": count}) as sim:
        assert sim.tws_address is not None
        with RawClient(sim.tws_address) as client:
            welcome = client.start()
            assert welcome[0] == ["15", "1", ",".join(f"DU{1_000_001 + one}" for one in range(count)) + tail]
            rows = sim.state()["tws"]["accounts"]
            assert len({row["account"] for row in rows}) == max(3, count)
            assert {row["balance"] for row in rows} == {"1000000", "5000000"}
        with pytest.raises(brokersim.client.ControlError, match="accounts"):
            sim.switches(**{"tws.accounts": 61})


def many(count: int) -> House:
    house = House()
    house.hub.switches.accounts = count
    house.desk.open_accounts(house.hub.accounts)
    return house


def test_more_than_fifty_accounts_are_not_told_all_at_once() -> None:
    house = many(51)
    talker = house.talker()
    [(name, args)] = talker.reqPositions()
    assert (name, args[:2]) == ("error", (-1, 321))
    assert [call[1][:2] for call in talker.reqAccountSummary(3, "All", "NetLiquidation")] == [(3, 321)]
    last = "DU1000051"
    assert [call[0] for call in talker.reqAccountSummary(4, last, "SMA")] == ["accountSummary", "accountSummaryEnd"]
    assert values(talker.reqAccountUpdatesMulti(5, last, "", True), "HKD", 3)["CashBalance"] == "5000000"
    assert talker.reqPositionsMulti(6, last, "") == [("positionMultiEnd", (6,))]
    told = talker.placeOrder(1, AAPL, at_market("BUY", 10, account=last))
    assert [args[1] for name, args in told if name == "positionMulti"] == [last]
    house.accounts.turn()
    assert values(talker.heard(), "USD", 3)["CashBalance"] == funds(house, last, "USD")["available"]
    assert values(talker.reqAccountUpdates(True, last), "")["AccountType"] == "INDIVIDUAL"
    house.hub.switches.accounts = 50
    assert talker.reqPositions()[-1][0] == "positionEnd"
    assert talker.reqAccountSummary(7, "All", "SMA")[-1][0] == "accountSummaryEnd"


# -- an advisor --------------------------------------------------------------------------------------------------

GROUPS = (
    '<?xml version="1.0" encoding="UTF-8"?><ListOfGroups><Group><name>Both</name><defaultMethod>Equal</defaultMethod>'
    f'<ListOfAccts varName="list"><Account><acct>{MARGIN}</acct></Account><Account><acct>{BUSINESS}</acct></Account>'
    "</ListOfAccts></Group></ListOfGroups>"
)


class Advisory(House):
    """A house whose login is an advisor's."""

    def __init__(self) -> None:
        super().__init__()
        self.hub.switches.fa = True
        self.desk.open_accounts(self.hub.accounts)

    def carry_out(self, client: Any, fields: list[str]) -> None:
        handlers = AdvisorRoom().handlers()
        if int(fields[0]) not in handlers:
            super().carry_out(client, fields)
            return
        reader = Reader(fields)
        reader.skip()
        assert handlers[int(fields[0])](self.hub, client, reader) is None


def for_group(order: Order, **changes: Any) -> Order:
    order.account, order.faGroup = ADVISOR, "Both"
    for name, value in changes.items():
        setattr(order, name, value)
    return order


def bought(house: House) -> dict[str, str]:
    return {row["account"]: row["volume"] for row in house.desk.state()["positions"]}


def test_an_advisor_has_groups_and_aliases() -> None:
    house = Advisory()
    talker = house.talker()
    assert house.accounts.managed_accounts() == f"{ADVISOR},{MARGIN},{IRA},{BUSINESS},"
    [(name, (kind, xml))] = talker.requestFA(1)
    assert (name, kind, xml.endswith("<ListOfGroups></ListOfGroups>")) == ("receiveFA", 1, True)
    assert talker.replaceFA(7, 1, GROUPS) == [("replaceFAEnd", (7, "success"))]
    [(_, (_, xml))] = talker.requestFA(1)
    assert [group.accounts for group in read_groups(xml, house.hub.sub_accounts)] == [(MARGIN, BUSINESS)]
    [(_, (kind, xml))] = talker.requestFA(3)
    assert read_aliases(xml, house.hub.accounts) == {name: name for name in house.hub.accounts}
    talker.replaceFA(8, 3, xml.replace(f"<alias>{IRA}", "<alias>A & B".replace("&", "&amp;")))
    assert read_aliases(talker.requestFA(3)[0][1][1], house.hub.accounts)[IRA] == "A & B"
    assert [call[1][1] for call in talker.requestFA(2)] == [585]
    assert [call[1][:2] for call in talker.replaceFA(9, 2, "")] == [(9, 585)]
    assert [call[1][:2] for call in talker.replaceFA(9, 1, GROUPS.replace(MARGIN, "DU9"))] == [(9, 10231)]
    assert [call[1][:2] for call in talker.replaceFA(9, 1, "<ListOfGroups>")] == [(9, 10230)]
    assert house.hub.groups["Both"].method == "Equal"


def test_nobody_else_has_them() -> None:
    with brokersim.running(vbrokers=False, tws=True) as sim:
        assert sim.tws_address is not None
        with connected(sim.tws_address) as client:
            client.send(18, 1, 1)
            assert client.error()[:2] == (-1, 321)
            client.send(19, 1, 1, GROUPS, 7)
            assert client.error()[:2] == (7, 321)
            sim.switches(**{"tws.fa": True})
            client.send(19, 1, 1, GROUPS, 8)
            assert client.until_id(103)[-1] == ["103", "8", "success"]
            client.send(17, 1)
            assert client.until_id(15)[-1][2].startswith(f"{ADVISOR},{MARGIN},")
            rows = [row for row in sim.state()["tws"]["accounts"] if row["account"] == ADVISOR]
            assert {(row["currency"], row["balance"]) for row in rows} == {("USD", "0"), ("HKD", "0")}


@pytest.mark.parametrize("text", ["", "x", "<a/>", "<!DOCTYPE x [<!ENTITY a 'b'>]><ListOfGroups/>", "<ListOfGroups>\0"])
def test_what_is_no_list_of_groups_is_refused(text: str) -> None:
    with pytest.raises(BadGroups):
        read_groups(text, [MARGIN])


def test_an_advisors_order_names_an_account_or_a_group() -> None:
    house = Advisory()
    talker = house.talker()
    talker.replaceFA(7, 1, GROUPS)
    order = at_market("BUY", 10)
    assert [short_error(call) for call in talker.placeOrder(1, AAPL, order)] == [435]
    order.account = ADVISOR
    assert [short_error(call) for call in talker.placeOrder(2, AAPL, order)] == [436]
    order.faGroup = "Nobody"
    assert [short_error(call) for call in talker.placeOrder(3, AAPL, order)] == [321]
    assert [short_error(call) for call in talker.placeOrder(4, AAPL, for_group(order, faMethod="PctChange"))] == [321]
    assert "orderStatus Filled 10/0" in talker.place(5, at_market("BUY", 10, account=BUSINESS))
    assert bought(house) == {BUSINESS: "10"}


def short_error(call: tuple[str, tuple[Any, ...]]) -> int:
    assert call[0] == "error"
    return int(call[1][1])


def test_a_groups_order_is_spread_over_its_accounts() -> None:
    house = Advisory()
    talker = house.talker()
    talker.replaceFA(7, 1, GROUPS)
    calls = talker.placeOrder(1, AAPL, for_group(at_market("BUY", 7), faMethod="Equal"))
    told = [(args[2].acctNumber, args[2].shares, args[2].cumQty) for name, args in calls if name == "execDetails"]
    assert told == [(MARGIN, 4, 4), (BUSINESS, 3, 7)]
    orders = [args[2] for name, args in calls if name == "openOrder"]
    assert {(order.account, order.faGroup, order.faMethod) for order in orders} == {(ADVISOR, "Both", "Equal")}
    assert bought(house) == {MARGIN: "4", BUSINESS: "3"}
    house.desk.ledger.check()
    rows = talker.reqAccountSummary(3, "Both", "NetLiquidation")
    assert {args[1] for name, args in rows if name == "accountSummary"} == {MARGIN, BUSINESS}
    everybody = values(talker.reqAccountUpdates(True, "All"), "USD")
    assert Decimal(everybody["CashBalance"]) == sum(house.desk.ledger.cash[name]["USD"] for name in house.hub.accounts)


def test_a_groups_order_fills_bit_by_bit_and_may_grow() -> None:
    house = Advisory()
    talker = house.talker()
    talker.replaceFA(7, 1, GROUPS.replace(">Equal<", ">NetLiq<"))
    house.quote("199.9", "200.1", size=3)
    talker.placeOrder(1, AAPL, for_group(limit("BUY", 10, 200.1)))
    assert bought(house) == {MARGIN: "3"}
    assert house.desk.ledger.spendable(BUSINESS, "USD") < 1_000_000
    house.quote("199.9", "200.1", size=4)
    assert bought(house) == {MARGIN: "5", BUSINESS: "2"}
    talker.placeOrder(1, AAPL, for_group(limit("BUY", 12, 200.1)))
    house.quote("199.9", "200.1", size=100)
    assert bought(house) == {MARGIN: "5", BUSINESS: "7"}
    assert house.order()["status"] == "ALLTRADED"
    house.desk.ledger.check()


def test_an_ira_in_a_group_sells_nothing_that_it_has_not() -> None:
    house = Advisory()
    talker = house.talker()
    talker.replaceFA(7, 1, GROUPS.replace(BUSINESS, IRA))
    calls = talker.placeOrder(1, AAPL, for_group(limit("SELL", 10, 300)))
    assert [args[1] for name, args in calls if name == "error"] == [201]
    assert house.order()["status"] == "REJECTED"


# -- the master client -------------------------------------------------------------------------------------------


def test_the_master_client_hears_of_all_orders(house: House, talker: Talker) -> None:
    house.hub.switches.master_client_id = 9
    master = house.talker(9)
    talker.place(1, limit("BUY", 10, 150))
    assert "orderStatus Submitted 0/10" in master.news()
    assert "error 202" in talker.cancel(1)
    assert master.news() == ["orderStatus PendingCancel 0/10", "orderStatus Cancelled 0/10"]
    talker.place(2, at_market("BUY", 10))
    assert "execDetails BOT 10@200.1" in master.news()
    assert "orderStatus Filled 5/0" in master.place(1, at_market("BUY", 5))
    assert talker.news() == []
