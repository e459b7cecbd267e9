"""Orders against quotes: design 7, "Trading"."""

from __future__ import annotations

import itertools
import json
import os
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersim.clock import SimClock
from brokersim.fees import NO_FEES, FeeSchedule
from brokersim.ledger import Ledger
from brokersim.market import Market
from brokersim.matching import Desk, Refused
from brokersim.model import Direction, Fill, Order, OrderType

DATA = Path(os.environ.get("BROKERS_DATA") or Path(__file__).parents[1].parent / "shared" / "data")
needs_data = pytest.mark.skipif(not (DATA / "README.md").is_file(), reason=f"no market data in {DATA}")
OPEN = datetime(2026, 3, 10, 14, 0, tzinfo=timezone.utc)
CASH = {"VBROKERS": {"HKD": 5_000_000, "USD": 1_000_000, "CNY": 1_000_000}}
D = Decimal


class Floor:
    """A market, a desk and what the desk told, on a data clock."""

    def __init__(
        self,
        start: datetime | None = OPEN,
        data: Path | None = None,
        *,
        short: bool = False,
        fees: FeeSchedule = NO_FEES,
    ) -> None:
        self.clock = SimClock("data", start)
        self.market = Market(self.clock, data)
        self.ledger = Ledger(CASH, self.market)
        ids = (str(number) for number in itertools.count(1001))
        self.desk = Desk(self.market, self.ledger, self.clock, allow_short=short, fees=fees, next_id=lambda: next(ids))
        self.changes: list[tuple[str, str, int | None]] = []
        self.desk.on_change = self._changed

    def _changed(self, order: Order, fill: Fill | None) -> None:
        self.changes.append((order.id, order.status, fill.volume if fill else None))

    def quote(self, vt_symbol: str = "IBM.SMART", **numbers: Any) -> None:
        decimals: dict[str, Any] = {name: D(n) if isinstance(n, str) else n for name, n in numbers.items()}
        self.market.set_quote(vt_symbol, **decimals)

    def order(
        self,
        direction: Direction,
        price: str,
        volume: int,
        *,
        vt_symbol: str = "IBM.SMART",
        type: OrderType = "LIMIT",
        **options: Any,
    ) -> Order:
        return self.desk.submit("VBROKERS", vt_symbol, direction, type, D(price), volume, **options)

    def step(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.market.step()


@pytest.fixture
def floor() -> Floor:
    floor = Floor()
    floor.quote(last="100", bid="99.99", ask="100.01", bid_size=300, ask_size=200)
    return floor


def test_a_buy_above_the_ask_fills_at_the_ask_by_the_size_shown(floor: Floor) -> None:
    order = floor.order("LONG", "100.01", 500, reference="me")
    assert [(f.price, f.volume) for f in floor.desk.fills] == [(D("100.01"), 200)]
    assert (order.status, order.left, order.reference) == ("PARTTRADED", 300, "me")
    assert floor.changes == [(order.id, "NOTTRADED", None), (order.id, "PARTTRADED", 200)]
    floor.desk.match(order.id)
    assert order.traded == 200, "the size shown is taken once"
    floor.quote(ask="100.00", ask_size=250)
    floor.quote(ask="100.01", ask_size=250)
    assert [(f.price, f.volume, f.cumulative) for f in floor.desk.fills[1:]] == [
        (D("100.00"), 250, 450),
        (D("100.01"), 50, 500),
    ]
    assert order.status == "ALLTRADED"
    assert order.turnover == 200 * D("100.01") + 250 * 100 + 50 * D("100.01")
    floor.ledger.check()


def test_an_order_walks_up_the_levels_to_its_limit(floor: Floor) -> None:
    asks = floor.market.quote("IBM.SMART").asks
    shown = sum(level.volume for level in asks[:3])
    order = floor.order("LONG", str(asks[2].price), shown + 50)
    assert [(f.price, f.volume) for f in floor.desk.fills] == [(a.price, a.volume) for a in asks[:3]]
    assert order.left == 50


def test_two_orders_share_the_size_shown_the_earlier_first(floor: Floor) -> None:
    first, second = floor.order("LONG", "99.50", 150), floor.order("LONG", "99.50", 150)
    floor.quote(last="99.50", bid="99.40", ask="99.50", ask_size=200)
    assert (first.traded, second.traded) == (150, 50)


def test_a_resting_order_waits_for_its_price(floor: Floor) -> None:
    order = floor.order("LONG", "99.99", 100)
    assert order.status == "NOTTRADED"
    floor.quote(bid="99.97", ask="99.98", ask_size=1000)
    assert [(f.price, f.volume) for f in floor.desk.fills] == [(D("99.98"), 100)]


def test_market_orders_take_what_is_shown(floor: Floor) -> None:
    order = floor.order("LONG", "0", 250, type="MARKET")
    assert order.status == "ALLTRADED"
    assert [f.price for f in floor.desk.fills] == [D("100.01"), D("100.02")]
    sale = floor.order("SHORT", "0", 250, type="MARKET")
    assert (sale.status, floor.desk.fills[-1].price) == ("ALLTRADED", D("99.99"))


def test_a_stop_waits_for_its_trigger(floor: Floor) -> None:
    stop = floor.order("LONG", "101", 100, type="STOP")
    assert stop.status == "NOTTRADED"
    floor.quote(last="100.99")
    assert stop.status == "NOTTRADED"
    floor.quote(last="101.00", bid="100.99", ask="101.02", ask_size=500)
    assert (stop.status, floor.desk.fills[0].price) == ("ALLTRADED", D("101.02"))


def test_defer_match(floor: Floor) -> None:
    order = floor.order("LONG", "100.01", 100, defer_match=True)
    assert (order.status, floor.desk.fills) == ("NOTTRADED", [])
    floor.desk.match(order.id)
    assert order.status == "ALLTRADED"


@pytest.mark.parametrize(
    ("vt_symbol", "price", "volume", "reason"),
    [
        ("00700.SEHK", "412.4", 150, "整数倍"),
        ("00177.SEHK", "10.40", 1000, "整数倍"),
        ("00700.SEHK", "412.3", 100, "最小价差"),
        ("IBM.SMART", "100.005", 100, "最小价差"),
        ("600519.SSE", "1500", 50, "整数倍"),
    ],
)
def test_an_odd_lot_or_an_off_grid_price_becomes_rejected(vt_symbol: str, price: str, volume: int, reason: str) -> None:
    floor = Floor()
    order = floor.order("LONG", price, volume, vt_symbol=vt_symbol)
    assert order.status == "REJECTED"
    assert reason in order.reason
    assert floor.desk.orders[order.id] is order
    assert floor.changes == [(order.id, "REJECTED", None)]
    assert floor.ledger.account("VBROKERS", "HKD").available == 5_000_000


def test_odd_lots_may_only_be_sold_and_only_as_such() -> None:
    floor = Floor(datetime(2026, 3, 10, 2, 0, tzinfo=timezone.utc))
    floor.ledger.open_position("VBROKERS", "00700.SEHK", 130, D(400))
    tag = {"odd_lot": "1"}
    assert floor.order("LONG", "412.4", 30, vt_symbol="00700.SEHK", tag=tag).status == "REJECTED"
    assert floor.order("SHORT", "412.4", 30, vt_symbol="00700.SEHK").status == "REJECTED"
    assert floor.order("SHORT", "412.4", 130, vt_symbol="00700.SEHK", tag=tag).status == "REJECTED"
    assert floor.order("SHORT", "500", 30, vt_symbol="00700.SEHK", tag=tag).status == "NOTTRADED"


def test_buying_power_counts_working_buys_and_fees() -> None:
    floor = Floor(fees=FeeSchedule())
    floor.quote(last="100", bid="99.99", ask="100.01")
    with pytest.raises(Refused, match="可用资金不足") as refused:
        floor.order("LONG", "50", 20_000)
    assert refused.value.kind == "funds"
    first = floor.order("LONG", "50", 12_000)
    held = 600_000 + D("58.80")
    assert floor.ledger.account("VBROKERS", "USD").available == 1_000_000 - held
    with pytest.raises(Refused):
        floor.order("LONG", "50", 8_000)
    floor.desk.cancel(first.id)
    assert floor.ledger.account("VBROKERS", "USD").available == 1_000_000
    assert floor.order("LONG", "50", 8_000).status == "NOTTRADED"
    assert len(floor.desk.orders) == 2


def test_a_short_sale_is_refused_counting_working_sales(floor: Floor) -> None:
    with pytest.raises(Refused) as refused:
        floor.order("SHORT", "100.05", 100)
    assert refused.value.kind == "short"
    floor.order("LONG", "100.01", 200)
    floor.order("SHORT", "101", 150)
    with pytest.raises(Refused):
        floor.order("SHORT", "101", 51)
    assert floor.order("SHORT", "101", 50).status == "NOTTRADED"
    assert floor.ledger.sellable("VBROKERS", "IBM.SMART") == 0


def test_a_short_sale_where_it_is_allowed() -> None:
    floor = Floor(short=True)
    floor.quote(last="100", bid="99.99", ask="100.01", bid_size=300)
    floor.order("SHORT", "99.99", 100)
    assert floor.ledger.positions["VBROKERS", "IBM.SMART"].volume == -100
    floor.ledger.check()


@pytest.mark.parametrize(
    ("vt_symbol", "account", "price", "volume", "kind"),
    [
        ("NONE.SMART", "VBROKERS", "1", 1, "unknown"),
        ("IBM.SMART", "OTHER", "1", 1, "unknown"),
        ("IBM.SMART", "VBROKERS", "0", 1, "invalid"),
        ("IBM.SMART", "VBROKERS", "1", 0, "invalid"),
    ],
)
def test_refusals(vt_symbol: str, account: str, price: str, volume: int, kind: str) -> None:
    floor = Floor()
    with pytest.raises(Refused) as refused:
        floor.desk.submit(account, vt_symbol, "LONG", "LIMIT", D(price), volume)
    assert refused.value.kind == kind
    assert not floor.desk.orders


def test_cancel(floor: Floor) -> None:
    order = floor.order("LONG", "99", 100)
    assert floor.desk.cancel(order.id).status == "CANCELLED"
    with pytest.raises(Refused) as refused:
        floor.desk.cancel(order.id)
    assert refused.value.kind == "terminal"
    with pytest.raises(KeyError):
        floor.desk.cancel("none")
    floor.quote(bid="98", ask="98.5", ask_size=1000)
    assert not floor.desk.fills


def test_amend(floor: Floor) -> None:
    order = floor.order("LONG", "99", 100)
    floor.desk.amend(order.id, price=D("98"), volume=200)
    assert (order.price, order.volume) == (D(98), 200)
    assert floor.ledger.account("VBROKERS", "USD").held_for_orders == 19_600
    for change in ({"volume": 10**7}, {"price": D("98.001")}, {"price": D(0)}, {"volume": 0}):
        with pytest.raises(Refused):
            floor.desk.amend(order.id, **change)
        assert (order.price, order.volume) == (D(98), 200)
    floor.desk.amend(order.id, price=D("100.01"))
    assert order.status == "ALLTRADED"
    with pytest.raises(Refused):
        floor.desk.amend(order.id, price=D("1"))


def test_fill_now_ignores_the_book(floor: Floor) -> None:
    order = floor.order("LONG", "90", 100)
    fill = floor.desk.fill_now(order.id, 40)
    assert (fill.price, fill.volume, fill.cumulative) == (D(90), 40, 40)
    assert floor.desk.fill_now(order.id).volume == 60
    assert order.status == "ALLTRADED"
    floor.ledger.check()


def test_a_market_buy_never_spends_more_than_there_is(floor: Floor) -> None:
    order = floor.order("LONG", "0", 9_400, type="MARKET")
    assert 0 < order.traded < 9_400
    floor.quote(last="300", bid="299", ask="300", ask_size=10_000)
    assert order.status == "CANCELLED"
    assert "资金不足" in order.reason
    assert 0 <= floor.ledger.cash["VBROKERS"]["USD"] < 300


def test_limit_orders_outside_the_regular_segment() -> None:
    floor = Floor(datetime(2026, 3, 10, 12, 0, tzinfo=timezone.utc))
    assert floor.market.segment("IBM.SMART") == "pre"
    resting = floor.order("LONG", "300", 100)
    extended = floor.order("LONG", "300", 100, extended=True)
    floor.quote(last="200", bid="199.99", ask="200.01", ask_size=1000)
    assert (resting.status, extended.status) == ("NOTTRADED", "ALLTRADED")
    with pytest.raises(Refused) as refused:
        floor.order("LONG", "0", 1, type="MARKET")
    assert refused.value.kind == "session"
    floor.clock.set(datetime(2026, 3, 10, 13, 31, tzinfo=timezone.utc))
    floor.market.step()
    assert resting.status == "ALLTRADED"


def test_day_orders_end_with_the_trading_day(floor: Floor) -> None:
    order = floor.order("LONG", "1", 100)
    floor.clock.set(datetime(2026, 3, 10, 23, 59, 59, tzinfo=timezone.utc))
    floor.market.step()
    assert order.status == "NOTTRADED"
    floor.step(1)
    assert (order.status, order.updated) == ("CANCELLED", datetime(2026, 3, 11, tzinfo=timezone.utc))
    assert floor.ledger.account("VBROKERS", "USD").held_for_orders == 0


@needs_data
def test_an_order_fills_over_the_real_day() -> None:
    floor = Floor(None, DATA, fees=FeeSchedule())
    order = floor.order("LONG", "0", 4_000, type="MARKET")
    floor.step(60)
    assert order.status == "ALLTRADED"
    assert len(floor.desk.fills) > 2
    assert [f.time for f in floor.desk.fills] == sorted(f.time for f in floor.desk.fills)
    assert all(D("181.85") <= f.price <= D("182.30") for f in floor.desk.fills)
    assert [f.cumulative for f in floor.desk.fills] == list(itertools.accumulate(f.volume for f in floor.desk.fills))
    floor.ledger.check()


def test_state(floor: Floor) -> None:
    floor.order("LONG", "100.01", 300, reference="策略")
    floor.order("LONG", "0", 10, type="MARKET")
    state = json.loads(json.dumps(floor.desk.state()))
    assert set(state) == {"orders", "trades", "positions", "accounts", "cash"}
    assert state["orders"][0] == {
        "id": "1001", "account": "VBROKERS", "vt_symbol": "IBM.SMART", "direction": "LONG", "type": "LIMIT",
        "price": "100.01", "volume": "300", "traded": "200", "status": "PARTTRADED", "reference": "策略",
    }  # fmt: skip
    assert state["orders"][1]["price"] == "0"
    assert state["trades"][0] == {
        "id": "1001-200", "order_id": "1001", "account": "VBROKERS", "vt_symbol": "IBM.SMART", "direction": "LONG",
        "price": "100.01", "volume": "200", "time": "2026-03-10T14:00:00+00:00",
    }  # fmt: skip
    (position,) = state["positions"]
    assert (position["volume"], position["last"]) == ("210", "100")
    assert state["cash"]["VBROKERS"]["HKD"] == "5000000"
    usd = next(row for row in state["accounts"] if row["currency"] == "USD")
    assert D(usd["balance"]) - D(usd["frozen"]) == D(usd["available"])
    floor.ledger.open_position("VBROKERS", "IBM.SMART", -210, D(100))
    assert floor.desk.state()["positions"] == []


STEPS = st.one_of(
    st.tuples(
        st.just("order"),
        st.sampled_from(["LONG", "SHORT"]),
        st.sampled_from(["LIMIT", "MARKET", "STOP"]),
        st.integers(9_800, 10_200),
        st.integers(1, 4_000),
    ),
    st.tuples(st.just("quote"), st.integers(9_800, 10_200), st.integers(1, 5), st.integers(1, 3_000)),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("amend"), st.integers(0, 30), st.integers(9_800, 10_200), st.integers(1, 4_000)),
)
SHARED = {short: Floor(short=short, fees=FeeSchedule()) for short in (False, True)}


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.lists(STEPS, max_size=30))
def test_whatever_happens_the_books_balance(short: bool, steps: list[tuple[Any, ...]]) -> None:
    floor = SHARED[short]
    floor.market.listeners.clear()
    floor.market.after_step.clear()
    floor.ledger = Ledger(CASH, floor.market)
    ids = (str(number) for number in itertools.count(1))
    desk = Desk(
        floor.market, floor.ledger, floor.clock, allow_short=short, fees=FeeSchedule(), next_id=lambda: next(ids)
    )
    floor.quote(last="100", bid="99.99", ask="100.01", bid_size=300, ask_size=200)
    refusals: set[str] = set()
    for step in steps:
        try:
            if step[0] == "order":
                desk.submit("VBROKERS", "IBM.SMART", step[1], step[2], D(step[3]) / 100, step[4])
            elif step[0] == "quote":
                floor.market.set_quote(
                    "IBM.SMART", last=D(step[1]) / 100, bid=D(step[1]) / 100, ask=D(step[1] + step[2]) / 100,
                    bid_size=step[3], ask_size=step[3],
                )  # fmt: skip
            elif step[0] == "cancel" and desk.orders:
                desk.cancel(list(desk.orders)[step[1] % len(desk.orders)])
            elif step[0] == "amend" and desk.orders:
                order_id = list(desk.orders)[step[1] % len(desk.orders)]
                desk.amend(order_id, price=D(step[2]) / 100, volume=step[3])
        except Refused as refused:
            refusals.add(refused.kind)
        floor.ledger.check()
        funds = floor.ledger.account("VBROKERS", "USD")
        assert short or (funds.cash >= 0 and floor.ledger.volume("VBROKERS", "IBM.SMART") >= 0)
        assert funds.held_for_orders >= 0
    assert refusals <= {"funds", "short", "invalid", "terminal"}
    for order in desk.orders.values():
        fills = [fill for fill in desk.fills if fill.order_id == order.id]
        assert sum(fill.volume for fill in fills) == order.traded <= order.volume
        assert [fill.cumulative for fill in fills] == list(itertools.accumulate(fill.volume for fill in fills))
        if order.type == "LIMIT" and fills and order.status == "ALLTRADED":
            assert order.left == 0
    if not any(order.active for order in desk.orders.values()):
        assert floor.ledger.account("VBROKERS", "USD").held_for_orders == 0


def test_fills_are_never_worse_than_the_limit(floor: Floor) -> None:
    orders = [floor.order("LONG", price, 400) for price in ("100.01", "100.02", "100.05", "99.00")]
    for ask in ("100.03", "98.90", "100.00"):
        floor.quote(bid="98.00", ask=ask, ask_size=700)
    limits = {order.id: order.price for order in orders}
    assert floor.desk.fills
    assert all(fill.price <= limits[fill.order_id] for fill in floor.desk.fills)


def test_a_wall_market_has_no_closing_bell() -> None:
    clock = SimClock("wall", system_time=lambda: OPEN.timestamp())
    market = Market(clock)
    ledger = Ledger(CASH, market)
    desk = Desk(market, ledger, clock, allow_short=False, fees=NO_FEES, next_id=lambda: "1")
    order = desk.submit("VBROKERS", "00700.SEHK", "LONG", "LIMIT", D("300"), 100)
    clock.advance(timedelta(days=2).total_seconds())
    for finished in market.after_step:
        finished(clock.now())
    assert order.status == "NOTTRADED"
