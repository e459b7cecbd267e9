"""The ledger always balances, and its account numbers are those of design 6."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersim.clock import SimClock
from brokersim.fees import NO_FEES, VBROKERS_FEES, FeeSchedule
from brokersim.ledger import Hold, Ledger, LedgerError
from brokersim.market import Market
from brokersim.model import Direction, Fill

START = datetime(2026, 3, 10, 15, 0, tzinfo=timezone.utc)
MARKET = Market(SimClock("data", START))
SYMBOLS = ("IBM.SMART", "00700.SEHK", "00177.SEHK", "ES-202612-USD-FUT.CME")
CASH = {"A": {"HKD": 5_000_000, "USD": 1_000_000}, "B": {"USD": 10}}


def fill(direction: Direction, price: str, volume: int, *, fee: str = "0", vt_symbol: str = "IBM.SMART") -> Fill:
    return Fill("f", "o", "A", vt_symbol, direction, Decimal(price), volume, volume, START, Decimal(fee))


def test_average_cost_and_cash() -> None:
    ledger = Ledger(CASH, MARKET)
    ledger.apply(fill("LONG", "100", 100, fee="1"))
    ledger.apply(fill("LONG", "110", 50))
    assert ledger.positions["A", "IBM.SMART"].price == Decimal("103.333333")
    ledger.apply(fill("SHORT", "120", 60, fee="1.5"))
    position = ledger.positions["A", "IBM.SMART"]
    assert (position.volume, position.price) == (90, Decimal("103.333333"))
    assert ledger.cash["A"]["USD"] == 1_000_000 - 10_000 - 5_500 + 7_200 - Decimal("2.5")
    assert ledger.fees["A"]["USD"] == Decimal("2.5")
    ledger.apply(fill("SHORT", "120", 100))
    assert ledger.positions["A", "IBM.SMART"].volume == -10
    assert ledger.positions["A", "IBM.SMART"].price == 120
    ledger.apply(fill("LONG", "90", 10))
    assert ledger.volume("A", "IBM.SMART") == 0
    assert ledger.pnl("A", "IBM.SMART") == 0
    ledger.check()


def test_account_numbers_defined_once() -> None:
    ledger = Ledger(CASH, MARKET)
    ledger.apply(fill("LONG", "100", 100))
    ledger.hold("1", Hold("A", "IBM.SMART", "USD", cash=Decimal(5000)))
    ledger.hold("2", Hold("A", "IBM.SMART", "USD", shares=30))
    last = MARKET.quote("IBM.SMART").last
    funds = ledger.account("A", "USD")
    assert funds.cash == 990_000
    assert funds.balance == 990_000 + 100 * last
    assert funds.available == 985_000
    assert funds.held_for_orders == 5000
    assert funds.frozen == funds.balance - funds.available
    assert ledger.pnl("A", "IBM.SMART") == (last - 100) * 100
    assert (ledger.sellable("A", "IBM.SMART"), ledger.sellable("A", "IBM.SMART", besides="2")) == (70, 100)
    ledger.release("1")
    assert ledger.account("A", "USD").available == 990_000
    assert ledger.account("A", "HKD").balance == 5_000_000


def test_where_holds_do_not_reduce_what_is_available() -> None:
    ledger = Ledger(CASH, MARKET, holds_reduce_available=False)
    ledger.hold("1", Hold("A", "IBM.SMART", "USD", cash=Decimal(5000)))
    assert ledger.account("A", "USD").available == 1_000_000
    assert ledger.spendable("A", "USD") == 995_000


def test_opening_positions_cost_no_cash_and_balance() -> None:
    ledger = Ledger(CASH, MARKET)
    ledger.open_position("A", "00700.SEHK", 300, Decimal("401.2"))
    assert ledger.cash["A"]["HKD"] == 5_000_000
    assert ledger.positions["A", "00700.SEHK"].price == Decimal("401.2")
    ledger.apply(fill("SHORT", "410", 300, vt_symbol="00700.SEHK"))
    ledger.check()
    with pytest.raises(KeyError):
        ledger.open_position("B", "00700.SEHK", 100, Decimal(1))
    with pytest.raises(KeyError):
        ledger.open_position("C", "00700.SEHK", 100, Decimal(1))


@pytest.mark.parametrize("harm", ["cash", "fees", "position"])
def test_books_that_do_not_balance_are_found(harm: str) -> None:
    ledger = Ledger(CASH, MARKET)
    ledger.apply(fill("LONG", "100", 100, fee="1"))
    ledger.check()
    if harm == "position":
        ledger.positions["A", "IBM.SMART"].volume += 1
    else:
        getattr(ledger, harm)["A"]["USD"] += Decimal("0.01")
    with pytest.raises(LedgerError, match="A "):
        ledger.check()


fills = st.builds(
    lambda vt_symbol, direction, cents, volume, fee: Fill(
        "f", "o", "A", vt_symbol, direction, Decimal(cents) / 100, volume, volume, START, Decimal(fee) / 100
    ),
    st.sampled_from(SYMBOLS),
    st.sampled_from(["LONG", "SHORT"]),
    st.integers(1, 100_000),
    st.integers(1, 5000),
    st.integers(0, 10_000),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(fills, max_size=25))
def test_the_ledger_balances_after_any_fills(trades: list[Fill]) -> None:
    ledger = Ledger(CASH, MARKET)
    for trade in trades:
        ledger.apply(trade)
        ledger.check()
        position = ledger.positions["A", trade.vt_symbol]
        assert (position.volume == 0) == (position.price == 0)
        assert position.price >= 0
    for currency in ("HKD", "USD"):
        funds = ledger.account("A", currency)
        assert funds.available == funds.balance - funds.frozen


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50_000), st.integers(1, 900)), min_size=1, max_size=8), st.sampled_from(SYMBOLS)
)
def test_partial_fills_cost_in_fees_what_one_fill_would(parts: list[tuple[int, int]], vt_symbol: str) -> None:
    schedule = FeeSchedule(VBROKERS_FEES)
    instrument = MARKET.instruments[vt_symbol]
    volume, turnover, charged = 0, Decimal(0), Decimal(0)
    for cents, shares in parts:
        volume += shares
        turnover += Decimal(cents) / 100 * shares
        step = schedule.total(instrument, "SHORT", volume, turnover) - charged
        assert step >= 0
        charged += step
    assert charged == schedule.total(instrument, "SHORT", volume, turnover)
    assert charged == charged.quantize(Decimal("0.01"))


def test_known_fees() -> None:
    schedule = FeeSchedule()
    ibm, tencent = MARKET.instruments["IBM.SMART"], MARKET.instruments["00700.SEHK"]
    assert schedule.total(ibm, "LONG", 100, Decimal(18_000)) == Decimal("0.99")
    assert schedule.total(ibm, "LONG", 1000, Decimal(180_000)) == Decimal("4.90")
    assert schedule.total(ibm, "SHORT", 1000, Decimal(180_000)) == Decimal("4.90") + Decimal("5.00")
    assert schedule.total(tencent, "LONG", 100, Decimal(40_050)) == Decimal("12.02") + Decimal("3.40") + 41
    assert schedule.total(ibm, "LONG", 0, Decimal(0)) == 0
    assert NO_FEES.total(ibm, "LONG", 100, Decimal(18_000)) == 0
