"""A strategy whose symbol is understood with its contract only has its orders and fills back after a restart, too."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from vnpy.trader.constant import Exchange, Status
from vnpy.trader.event import EVENT_TRADE

from tests.cta_desk import IBM, NAME, ORDERS, CtaDesk
from tests.cta_strategies import Teller
from tests.harness import Rig
from tests.ib_harness import IbRig
from tests.night_rig import utc
from tests.test_adopt import desk
from vnpy_brokerkit.clock import ShiftedClock

FUTURE = "ES-20261218-USD-FUT.CME"


def by_con_id(rig: Rig) -> str:
    """IBM's conId as a vt_symbol; the instrument itself is known by then."""
    rig.subscribe(IBM)
    rig.wait_tick(IBM)
    contract = rig.contract(IBM)
    assert contract.exchange is Exchange.SMART
    return f"{(contract.extra or {})['con_id']}.SMART"


@pytest.mark.parametrize("steps", ORDERS, ids="".join)
def test_a_con_id(steps: Sequence[str]) -> None:
    with desk("IBKR") as it:
        working = it.leave_working(it.begin(Teller, vt_symbol=by_con_id(it.rig)))
        it.renew()
        it.go_through(steps)
        strategy = it.teller()
        it.wait_equal(strategy, 22)
        it.rig.wait(lambda: it.cta.strategy_orderid_map[NAME] == {working}, "the order")
        it.rig.wait(lambda: strategy.ticks, "quotes")
        strategy.cancel_all()
        it.rig.wait(lambda: not it.cta.strategy_orderid_map[NAME], "its own cancel")
        it.wait_equal(strategy, 22)


@pytest.mark.parametrize("steps", ORDERS, ids="".join)
def test_the_last_trading_day_of_a_future(steps: Sequence[str]) -> None:
    with desk("IBKR") as it:
        strategy = it.begin(Teller, vt_symbol=FUTURE)
        tick = it.rig.wait_tick(FUTURE)
        strategy.buy(tick.ask_price_1, 1)
        it.rig.wait(lambda: strategy.pos == 1, "the fill")
        (working,) = strategy.buy(tick.bid_price_1 - 100, 1)
        it.rig.wait_status(working, Status.NOTTRADED)
        it.drop()
        it.renew()
        it.go_through(steps)
        it.rig.wait(lambda: it.cta.strategy_orderid_map[NAME] == {working}, "the order")
        assert it.teller().pos == 1
        assert len(it.teller().told) == 1


def test_a_fill_that_only_the_journal_tells() -> None:
    """As in test_adopt: it came to a process whose strategy was not ready, a week ago."""
    clock = ShiftedClock(utc("2026-03-10 15:00"), frozen=True)
    with desk("IBKR"):
        pass  # no strategies, empty books
    with IbRig(gateway_clock=clock, clock="data") as rig:
        rig.sim.set_clock(clock.now())
        rig.sim.pause()
        it = CtaDesk(rig, clock=clock)
        it.quote(100)
        rig.connect()
        strategy = it.begin(Teller, vt_symbol=by_con_id(rig))
        (working,) = strategy.buy(95, 30)
        rig.wait_status(working, Status.NOTTRADED)
        it.drop()
        it.quote(94)
        it.renew()
        rig.connect()
        rig.wait(lambda: rig.seen.of(EVENT_TRADE), "the fill, told to the engine")
        it.drop()
        clock.set(utc("2026-03-17 15:00"))
        rig.sim.set_clock(clock.now())
        for _start in range(2):
            it.renew()
            it.go_through(ORDERS[0])
            rig.wait(lambda: it.teller().pos == 30, "the fill")
            rig.wait(lambda: it.teller().ticks, "quotes")
            assert not rig.seen.of(EVENT_TRADE), "no list tells it"
            assert [line.partition(" ")[0] for line in it.teller().told] == [working]
            it.drop()
