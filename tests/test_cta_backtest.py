"""One strategy, one real day: live on each broker's wire and in vn.py's back-tester, deal by deal.

``pytest -s -n0 tests/test_cta_backtest.py`` prints the table that docs/strategies.md shows the head of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from vnpy.trader.constant import Direction

from brokersim.fees import TWS_FEES, VBROKERS_FEES, FeeSchedule
from brokersim.instruments import table as instruments
from examples.strategies.crossing_averages import CrossingAverages
from tests.cta_days import (
    AIG,
    DAY,
    INTO_THE_MINUTE,
    LAST_DECISION,
    MINUTE,
    NEW_YORK,
    OPEN,
    ROOT,
    SETTING,
    Backtest,
    Deal,
    back_test,
    data_time,
    download,
    live_deals,
    needs_tz,
    replayed,
    trade_through,
)
from tests.cta_desk import NAME, RIGS, CtaDesk
from tests.harness import Rig
from tests.ticks_desk import minutes
from vnpy_brokerkit.clock import ShiftedClock

FEES = {"VBROKERS": FeeSchedule(VBROKERS_FEES), "IBKR": FeeSchedule(TWS_FEES)}
SPREAD = 0.02
"""The widest between bid and ask in that day's replayed quotes at the moments of the orders, in USD."""
SHOWN = 8
"""Rows of the table in the documents."""


@needs_tz
@pytest.mark.parametrize("name", RIGS)
def test_a_day_live_is_the_day_in_the_back_tester(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with replayed(name, tmp_path / "data") as (it, clock), data_time(clock):
        before = cash(it.rig)
        strategy = live(it)
        trade_through(it, clock, strategy, minutes(AIG, OPEN, LAST_DECISION + MINUTE))
        it.cta.stop_strategy(NAME)
        it.rig.wait(lambda: not it.rig.main.get_all_active_orders(), "the end of what worked")
        the_books_are_the_brokers(name, it, strategy, cash(it.rig) - before)
        deals = live_deals(it.rig)
        charged = fees(name, it.rig)
        in_back_test = backtested(it, clock, tmp_path)
    assert in_back_test.zone_line is None
    assert in_back_test.days == {DAY: sum(len(deal.fills) for deal in in_back_test.deals)}
    same_decisions(deals, in_back_test.deals)
    for mine, its in zip(deals, in_back_test.deals, strict=True):
        explained(mine, its, in_back_test)
    lines = table(deals, in_back_test.deals)
    print(name, *lines, *figures(name, deals, in_back_test.deals, charged).items(), sep="\n")
    the_documents_say_so(lines, figures(name, deals, in_back_test.deals, charged))


@pytest.mark.parametrize("name", RIGS)
def test_a_start_in_the_middle_of_the_day_reads_its_finished_minutes(name: str, tmp_path: Path) -> None:
    """As after a restart: the averages go on from the day's own bars; the running minute is left to the ticks."""
    with replayed(name, tmp_path) as (it, clock), data_time(clock):
        moment = OPEN + timedelta(minutes=30, seconds=30)
        it.rig.sim.set_clock(moment)
        clock.set(moment)
        strategy = live(it)
        closes = [row.prices[3] for row in minutes(AIG, OPEN, moment - MINUTE + INTO_THE_MINUTE)]
        assert len(closes) == 30
        asked = len(strategy.closes.close)
        assert list(strategy.closes.close) == closes[-asked:]


def live(it: CtaDesk) -> CrossingAverages:
    """The strategy at work before the first minute."""
    it.rig.subscribe(AIG)
    it.rig.wait_tick(AIG)
    strategy = it.begin(CrossingAverages, vt_symbol=AIG, **SETTING)
    assert strategy.closes.inited, "\n".join(it.rig.seen.log_lines())
    return strategy


def backtested(it: CtaDesk, clock: ShiftedClock, folder: Path) -> Backtest:
    """What a person does in the evening: download the days through the gateway, and run the back-tester."""
    evening = OPEN.replace(hour=16, minute=30)
    it.rig.sim.set_clock(evening)
    clock.set(evening)
    bars = download(it.rig, AIG, OPEN - timedelta(days=SETTING["history_days"]), evening)
    return back_test(bars, DAY, DAY, folder / "backtest", zone=NEW_YORK.key, tz=NEW_YORK.key, **SETTING)


def the_books_are_the_brokers(name: str, it: CtaDesk, strategy: CrossingAverages, received: Decimal) -> None:
    """Fills, position, cash and profit, to the cent."""
    rig = it.rig
    rig.wait_equal()
    trades = rig.truth()["trades"]
    rig.wait(lambda: strategy.fills == len(trades), "its fills")
    assert strategy.pos == it.held(AIG)
    paid = sum((flow(row) for row in trades), Decimal(0))
    assert abs(Decimal(str(strategy.cash)) - paid) < Decimal("0.01")
    assert received == paid - fees(name, rig)
    # Profit: what it received, and what it holds at the last price; the broker counts the same from the cost.
    ledger = rig.truth()["positions"]
    unrealised = sum(Decimal(row["pnl"]) for row in ledger)
    cost = sum(Decimal(row["price"]) * Decimal(row["volume"]) for row in ledger)
    profit = Decimal(str(strategy.cash + strategy.pos * rig.tick(AIG).last_price))
    assert abs(profit - (paid + cost + unrealised)) < Decimal("0.01")


# ------------------------------------------------------------------ side by side


def same_decisions(live: Sequence[Deal], its: Sequence[Deal]) -> None:
    """One to one: the same bar, direction and volume, all of it filled."""
    mine, others = [decision(deal) for deal in live], [decision(deal) for deal in its]
    assert mine == others
    assert len(mine) > 20, "a day on which nothing happens shows nothing"
    assert all(deal.traded == deal.volume for deal in (*live, *its))


def decision(deal: Deal) -> tuple[datetime, Direction, float]:
    return deal.bar, deal.direction, deal.volume


def explained(live: Deal, its: Deal, run: Backtest) -> None:
    """The differences that docs/strategies.md explains, and no others."""
    # The back-tester fills in the next bar, at its open, and stamps it with that bar's start.
    following = live.bar + MINUTE
    assert [at for at, _price, _volume in its.fills] == [following]
    bar = run.bars[following]
    assert its.price == bar["open"]
    # Live, the order goes out when the first quote of the next minute has closed the bar, and fills at once.
    assert {at for at, _price, _volume in live.fills} == {following + INTO_THE_MINUTE}
    # At the other side's quote: as far from the open as that minute's prices go, and the spread.
    for _at, price, _volume in live.fills:
        assert bar["low"] - SPREAD <= price <= bar["high"] + SPREAD
    assert -1e-6 < worse(live, its) < SPREAD + 1e-6


def worse(live: Deal, its: Deal) -> float:
    """How much less good the live price was, in USD a share."""
    return live.price - its.price if live.direction is Direction.LONG else its.price - live.price


def table(live: Sequence[Deal], its: Sequence[Deal]) -> list[str]:
    """Both lists in one table, a line for each decision."""
    lines = []
    for mine, other in zip(live, its, strict=True):
        side = "+" if mine.direction is Direction.LONG else "-"
        parts = " + ".join(f"{volume:g} @ {price:.2f}" for _at, price, volume in mine.fills)
        cells = (
            f"{mine.bar:%H:%M}",
            f"{side}{mine.volume:g}",
            f"{mine.fills[0][0].astimezone(NEW_YORK):%H:%M:%S}",
            parts,
            f"{other.fills[0][0].astimezone(NEW_YORK):%H:%M}",
            f"{other.price:.2f}",
            f"{worse(mine, other):.3f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def figures(name: str, live: Sequence[Deal], its: Sequence[Deal], charged: Decimal) -> dict[str, str]:
    """The sums that the documents name."""

    def received(deals: Sequence[Deal]) -> float:
        return sum(
            price * volume * (-1 if deal.direction is Direction.LONG else 1)
            for deal in deals
            for _at, price, volume in deal.fills
        )

    prices = [round(worse(*pair), 6) for pair in zip(live, its, strict=True)]
    # The day ends with shares in hand, the same in both: what was paid for them is no difference.
    return {
        "decisions": str(len(live)),
        "same price": str(sum(price == 0 for price in prices)),
        "on average": f"{sum(prices) / len(prices):.4f}",
        "in sum": f"{received(its) - received(live):.2f}",
        "in two fills": str(sum(len(deal.fills) == 2 for deal in live)),
        f"fees {name}": f"{charged:.2f}",
    }


def the_documents_say_so(lines: Sequence[str], numbers: dict[str, str]) -> None:
    for document in ("strategies.md", "strategies_cn.md"):
        text = (ROOT / "docs" / document).read_text("utf-8")
        missing = [line for line in lines[:SHOWN] if line not in text]
        missing += [f"{what}: {number}" for what, number in numbers.items() if f"**{number}**" not in text]
        assert not missing, document


# ------------------------------------------------------------------ the broker's books


def cash(rig: Rig) -> Decimal:
    """The ledger's cash of the account that trades, in US dollars."""
    account = getattr(rig, "account", "VBROKERS")
    return Decimal(rig.truth()["cash"][account]["USD"])


def flow(row: dict[str, Any]) -> Decimal:
    paid = Decimal(row["price"]) * Decimal(row["volume"])
    return -paid if row["direction"] == "LONG" else paid


def fees(name: str, rig: Rig) -> Decimal:
    """What the broker charges for these fills, order by order."""
    volume: defaultdict[tuple[str, str], int] = defaultdict(int)
    turnover: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in rig.truth()["trades"]:
        key = row["order_id"], row["direction"]
        volume[key] += int(Decimal(row["volume"]))
        turnover[key] += Decimal(row["price"]) * Decimal(row["volume"])
    stock = instruments()["IBM.SMART"].instrument  # the same rules as for any US stock
    return sum(
        (
            FEES[name].total(stock, "LONG" if key[1] == "LONG" else "SHORT", volume[key], turnover[key])
            for key in volume
        ),
        Decimal(0),
    )
