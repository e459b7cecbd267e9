"""What never leaves this machine, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from vnpy.trader.constant import Direction, OrderType

from vnpy_brokerkit.guard import LIMITS_FILE, Guard, Limits, OrderFacts, load_limits

DAY = date(2026, 3, 10)
GOOD = OrderFacts(
    vt_symbol="00700.SEHK",
    direction=Direction.LONG,
    type=OrderType.LIMIT,
    price=Decimal("400.2"),
    volume=Decimal(100),
    lot=Decimal(100),
    tick=Decimal("0.2"),
    last=Decimal(400),
    bid=Decimal("399.8"),
    ask=Decimal("400.2"),
)


def check(facts: OrderFacts) -> str:
    return Guard(Limits()).check(facts, 0.0, DAY)


def test_a_good_order_passes() -> None:
    assert check(GOOD) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"price": Decimal(0)},
        {"price": Decimal(-1)},
        {"price": Decimal("NaN")},
        {"price": Decimal("400.1")},
        {"volume": Decimal(0)},
        {"volume": Decimal(-100)},
        {"volume": Decimal("NaN")},
        {"volume": Decimal("Infinity")},
        {"volume": Decimal(150)},
        {"volume": Decimal("0.5"), "lot": Decimal(1)},
        {"price": Decimal("420.4")},
        {"volume": Decimal(2500)},
    ],
)
def test_refused_in_words(change: dict[str, Any]) -> None:
    refusal = check(replace(GOOD, **change))
    assert "00700.SEHK" in refusal


@pytest.mark.parametrize(("price", "passes"), [("380.0", True), ("379.8", False)])
def test_a_sell_below_the_bid_has_the_same_reach(price: str, passes: bool) -> None:
    facts = replace(GOOD, direction=Direction.SHORT, price=Decimal(price))
    assert (check(facts) == "") is passes


def test_without_any_quote_the_price_can_not_be_judged_and_passes() -> None:
    assert check(replace(GOOD, last=Decimal(0), bid=Decimal(0), ask=Decimal(0), price=Decimal(900))) == ""


def test_an_odd_lot_passes_where_it_is_one() -> None:
    assert check(replace(GOOD, volume=Decimal(30), odd_lot=True, direction=Direction.SHORT)) == ""


def test_a_market_order_is_measured_at_the_worst_side() -> None:
    facts = replace(GOOD, type=OrderType.MARKET, price=Decimal(0), volume=Decimal(2500))
    assert "1,000" in check(facts)


def test_ten_a_second_and_the_day_s_number() -> None:
    guard = Guard(Limits(orders_per_day=12))
    assert [bool(guard.check(GOOD, 0.0, DAY)) for _ in range(11)] == [False] * 10 + [True]
    assert [bool(guard.check(GOOD, 1.0, DAY)) for _ in range(3)] == [False, False, True]
    assert guard.check(GOOD, 2.0, date(2026, 3, 11)) == ""


def test_refused_orders_are_not_counted() -> None:
    guard = Guard(Limits(orders_per_second=1))
    assert guard.check(replace(GOOD, volume=Decimal(0)), 0.0, DAY)
    assert guard.check(GOOD, 0.0, DAY) == ""


def test_limits_come_from_the_file(tmp_path: Path) -> None:
    (tmp_path / LIMITS_FILE).write_text('{"aggressive_percent": 10, "max_notional": 5000000}')
    limits, problem = load_limits(tmp_path)
    assert (limits.aggressive_percent, limits.max_notional, limits.orders_per_second, problem) == (10, 5e6, 10, "")


@pytest.mark.parametrize(
    "text", ["{", '{"agressive_percent": 3}', '{"orders_per_second": 0}', "[]", '{"max_notional": -1}']
)
def test_a_bad_file_loosens_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / LIMITS_FILE).write_text(text)
    limits, problem = load_limits(tmp_path)
    assert limits == Limits()
    assert LIMITS_FILE in problem


def test_no_file_is_no_problem(tmp_path: Path) -> None:
    assert load_limits(tmp_path) == (Limits(), "")


def test_numbers_are_told_as_a_person_writes_them() -> None:
    assert "150不是每手100股" in check(replace(GOOD, volume=Decimal("150.0"), lot=Decimal("100.0")))


@pytest.mark.parametrize("kind", [OrderType.LIMIT, OrderType.STOP])
@pytest.mark.parametrize("price", ["NaN", "Infinity", "-Infinity", "0", "-1", "1e308", "400.1"])
def test_a_price_that_goes_out_is_one_and_on_the_grid(kind: OrderType, price: str) -> None:
    refusal = check(replace(GOOD, type=kind, price=Decimal(price), last=Decimal(0), bid=Decimal(0), ask=Decimal(0)))
    assert "00700.SEHK" in refusal
    assert len(refusal) < 80


def test_a_stop_is_measured_at_its_own_price_where_that_is_more() -> None:
    stop = replace(GOOD, type=OrderType.STOP, price=Decimal(600), volume=Decimal(2000))
    assert "1,200,000" in check(stop)
    assert "1,200,000" in check(replace(stop, last=Decimal(0), bid=Decimal(0), ask=Decimal(0)))


@pytest.mark.parametrize("volume", ["1e308", "1e30", "1e15"])
def test_a_volume_beyond_all_arithmetic_is_refused_in_words(volume: str) -> None:
    assert "委托数量" in check(replace(GOOD, volume=Decimal(volume)))
