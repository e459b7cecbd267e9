"""The tracker: every share counted once, whatever order, repetition or channel it comes by."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vnpy.trader.constant import Direction, Exchange, Offset, OrderType, Status
from vnpy.trader.object import OrderRequest

from vnpy_brokerkit.lifecycle import Happening, State
from vnpy_brokerkit.reconcile import may_be_ours, settle
from vnpy_brokerkit.tracker import FillReport, OrderReport, OrderTracker, TrackedOrder, exact

NOW = datetime(2026, 3, 10, 14, 30, tzinfo=timezone.utc)


def request(volume: float = 100, price: float = 10.4) -> OrderRequest:
    return OrderRequest(
        symbol="00177",
        exchange=Exchange.SEHK,
        direction=Direction.LONG,
        type=OrderType.LIMIT,
        volume=volume,
        price=price,
        offset=Offset.OPEN,
        reference="CtaStrategy_a",
    )


def report(
    broker_id: str = "7", happening: Happening = Happening.ACCEPTED, traded: int = 0, volume: int = 100
) -> OrderReport:
    return OrderReport(
        broker_id=broker_id,
        symbol="00177",
        exchange=Exchange.SEHK,
        direction=Direction.LONG,
        type=OrderType.LIMIT,
        price=Decimal("10.40"),
        volume=Decimal(volume),
        happening=happening,
        traded=Decimal(traded),
    )


def fill(volume: int, cumulative: int, price: str = "10.4") -> FillReport:
    return FillReport(Decimal(volume), Decimal(price), Decimal(cumulative), NOW)


def sent(tracker: OrderTracker, orderid: str = "VB1-1", born: float = 0.0) -> TrackedOrder:
    order = tracker.take(orderid, request(), NOW, born)
    tracker.happen(order, Happening.SENT)
    order.sent = born
    return order


def working(tracker: OrderTracker) -> TrackedOrder:
    order = sent(tracker)
    tracker.bind(order, "7")
    tracker.report(order, report())
    return order


@given(
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    data=st.data(),
)
def test_shares_are_counted_once_in_any_order_and_by_any_channel(cuts: list[int], data: st.DataObject) -> None:
    tracker = OrderTracker("VBROKERS")
    order = working(tracker)
    total = 0
    pushed: list[FillReport] = []
    for cut in cuts:
        total += cut
        pushed.append(fill(cut, total))
    # The list knows the same fills; those of one second may stand there in another order.
    shuffled = data.draw(st.permutations(cuts))
    at, listed = 0, []
    for cut in shuffled:
        at += cut
        listed.append(fill(cut, at))
    known = data.draw(st.lists(st.sampled_from(pushed), max_size=12))
    again = data.draw(st.lists(st.sampled_from(pushed + listed), max_size=6))
    told = [new for item in (*known, *listed, *again) for new in tracker.fill(order, item)]
    assert order.counted == total == sum(new.volume for new in told)
    assert len({new.tradeid for new in told}) == len(told)


def test_a_fill_has_the_same_id_from_push_and_list() -> None:
    tracker = OrderTracker("VBROKERS")
    order = working(tracker)
    (first,) = tracker.fill(order, fill(40, 40))
    assert first.tradeid == "7-40"
    assert tracker.fill(order, fill(40, 40)) == []
    (second,) = tracker.fill(order, fill(60, 100))
    assert second.tradeid == "7-100"
    assert order.state is State.FILLED


def test_a_late_acceptance_changes_nothing() -> None:
    tracker = OrderTracker("VBROKERS")
    order = working(tracker)
    tracker.report(order, report(happening=Happening.CANCELLED, traded=40))
    assert (order.state, order.traded) == (State.CANCELLED, Decimal(40))
    assert not tracker.report(order, report(happening=Happening.ACCEPTED))
    assert (order.state, order.traded) == (State.CANCELLED, Decimal(40))


def test_filled_volume_only_grows() -> None:
    tracker = OrderTracker("VBROKERS")
    order = working(tracker)
    tracker.report(order, report(happening=Happening.PART_FILLED, traded=60))
    tracker.report(order, report(happening=Happening.PART_FILLED, traded=20))
    assert order.traded == 60


def test_a_missing_fill_shows_as_the_difference() -> None:
    tracker = OrderTracker("VBROKERS")
    order = working(tracker)
    tracker.fill(order, fill(60, 100))
    tracker.report(order, report(happening=Happening.FILLED, traded=100))
    assert order.traded - order.counted == 40


def test_what_the_engine_gets_is_plain_and_aware() -> None:
    tracker = OrderTracker("VBROKERS")
    order = working(tracker)
    (counted,) = tracker.fill(order, fill(40, 40))
    data, trade = tracker.order_data(order), tracker.trade_data(order, counted)
    assert (type(data.price), type(data.volume), type(data.traded)) == (float, float, float)
    assert data.datetime is not None
    assert data.datetime.tzinfo is not None
    assert (data.status, data.reference, data.offset) == (Status.PARTTRADED, "CtaStrategy_a", Offset.OPEN)
    assert (trade.vt_orderid, trade.price, trade.volume) == ("VBROKERS.VB1-1", 10.4, 40.0)


@pytest.mark.parametrize("odd", [None, "", "x", float("nan")])
def test_a_number_that_is_none_never_raises(odd: object) -> None:
    assert not exact(odd).is_finite()


# ---------------------------------------------------------------------- unknown outcomes


def unknown(tracker: OrderTracker, count: int) -> list[TrackedOrder]:
    orders = [sent(tracker, f"VB1-{n}", float(n)) for n in range(count)]
    for order in orders:
        tracker.happen(order, Happening.LOST)
    return orders


@pytest.mark.parametrize(("unknowns", "rows"), [(1, 0), (1, 1), (2, 1), (3, 3)])
def test_the_oldest_match_first_and_the_rest_never_arrived(unknowns: int, rows: int) -> None:
    orders = unknown(OrderTracker("VBROKERS"), unknowns)
    decision = settle(orders, [report(str(n)) for n in range(rows)])
    assert [(o.orderid, r.broker_id) for o, r in decision.found] == [(f"VB1-{n}", str(n)) for n in range(rows)]
    assert decision.absent == orders[rows:]
    assert decision.undecidable == []


def test_more_rows_than_unknowns_can_not_be_decided() -> None:
    orders = unknown(OrderTracker("VBROKERS"), 1)
    decision = settle(orders, [report("1"), report("2")])
    assert (decision.found, decision.absent, decision.undecidable) == ([], [], orders)


def test_a_row_of_another_price_is_not_ours() -> None:
    orders = unknown(OrderTracker("VBROKERS"), 1)
    other = OrderReport(
        "9", "00177", Exchange.SEHK, Direction.LONG, OrderType.LIMIT, Decimal("10.41"), Decimal(100), Happening.ACCEPTED
    )
    assert not may_be_ours(other, orders)
    assert settle(orders, [other]).absent == orders


def test_a_push_that_shows_a_price_for_a_market_order_still_waits_for_the_reply() -> None:
    tracker = OrderTracker("VBROKERS")
    order = tracker.take("VB1-9", replace_type(request(price=0), OrderType.MARKET), NOW, 0.0)
    tracker.happen(order, Happening.SENT)
    assert may_be_ours(report(), [order])
    assert not may_be_ours(report(volume=200), [order])


def replace_type(made: OrderRequest, kind: OrderType) -> OrderRequest:
    made.type = kind
    return made


def test_prices_compare_as_numbers() -> None:
    orders = unknown(OrderTracker("VBROKERS"), 1)
    assert may_be_ours(report(), orders)
    assert orders[0].price == Decimal("10.4")
