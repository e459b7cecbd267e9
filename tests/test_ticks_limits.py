"""What a strategy may not send, told in words and never on the wire; and prices for its stops where depth is short."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from vnpy.trader.constant import Direction, OrderType, Status

from tests.cta_desk import IBM, RIGS, TIMINGS, CtaDesk, forget_strategies
from tests.cta_strategies import Teller
from tests.harness import Rig

PLACE = {"VBROKERS": "/trade/TradeEntrust", "IBKR": "placeOrder"}
TENCENT = "00700.SEHK"


@pytest.fixture(autouse=True)
def _no_strategies() -> Iterator[None]:
    forget_strategies()
    yield
    forget_strategies()


@pytest.mark.parametrize("name", RIGS)
def test_prices_and_volumes_that_can_not_be_are_refused_in_words(name: str) -> None:
    with RIGS[name](timing=TIMINGS[name]) as rig:
        rig.connect()
        rig.subscribe(IBM)
        rig.subscribe(TENCENT)
        ibm, tencent = rig.wait_tick(IBM).last_price, rig.wait_tick(TENCENT).last_price
        for vt_symbol, volume, price, words in (
            (IBM, 10, 0, "价格必须大于0"),
            (IBM, 10, -1, "价格必须大于0"),
            (IBM, 0, ibm, "数量必须大于0"),
            (IBM, 10, ibm + 0.003, "最小变动价位"),
            (IBM, 0.5, ibm, "整数倍"),
            (TENCENT, 150, tencent, "整数倍"),
            (TENCENT, 100, tencent + 0.01, "最小变动价位"),
        ):
            order = rig.send(vt_symbol, Direction.LONG, volume, price)
            reason = (rig.wait_status(order, Status.REJECTED).extra or {})["reason"]
            assert words in reason, (vt_symbol, volume, price, reason)
            assert vt_symbol in reason
        assert PLACE[name] not in rig.sim.wire()[rig.broker]


def test_the_first_short_of_a_strategy_on_vbrokers_is_refused_in_words() -> None:
    with RIGS["VBROKERS"](timing=TIMINGS["VBROKERS"]) as rig:
        it = CtaDesk(rig)
        it.quote(100)
        rig.sim.pause()
        rig.connect()
        strategy = it.begin(Teller, vt_symbol=IBM)
        (short,) = strategy.short(99, 10)
        order = rig.wait_status(short, Status.REJECTED)
        reason = (order.extra or {})["reason"]
        assert IBM in reason
        assert "卖空" in reason
        assert "sell" in reason, "no remedy"
        assert any(reason in line for line in rig.seen.log_lines())
        rig.wait(lambda: strategy.orders and strategy.orders[-1].status is Status.REJECTED, "on_order")
        assert strategy.pos == 0
        assert PLACE["VBROKERS"] not in rig.sim.wire()["vbrokers"]
        strategy.buy(101, 20)
        rig.wait(lambda: strategy.pos == 20, "the fill")
        rig.wait(lambda: [one for one in rig.main.get_all_positions() if one.volume == 20], "the position")
        strategy.sell(99, 10)
        rig.wait(lambda: strategy.pos == 10, "the sale")
        rig.wait(lambda: [one for one in rig.main.get_all_positions() if one.volume == 10], "the position")
        (more,) = strategy.short(99, 11)  # beyond what is held
        rig.wait_status(more, Status.REJECTED)
        strategy.short(99, 10)
        rig.wait(lambda: strategy.pos == 0, "what is held may be sold by whatever name")
        rig.wait_equal()


def test_a_persons_sale_is_the_brokers_to_judge() -> None:
    with RIGS["VBROKERS"](timing=TIMINGS["VBROKERS"]) as rig:
        rig.connect()
        rig.subscribe(IBM)
        rig.wait_tick(IBM)
        order = rig.wait_status(rig.send(IBM, Direction.SHORT, 10, type=OrderType.MARKET), Status.REJECTED)
        assert (order.extra or {})["reason"]
        assert rig.sim.wire()["vbrokers"][PLACE["VBROKERS"]] == 1


def _local_stop(rig: Rig, it: CtaDesk) -> None:
    strategy = it.begin(Teller, vt_symbol=IBM)
    rig.wait(lambda: strategy.ticks, "ticks")
    tick = rig.tick(IBM)
    assert tick.ask_price_5 == 0
    assert (tick.extra or {})["synthetic_limit"] is True
    strategy.buy(101, 10, stop=True)
    it.quote(101.5)
    rig.wait(lambda: strategy.pos == 10, "the stop's fill")
    (order,) = rig.seen.of("eOrder.")[-1:]
    assert order.price == rig.tick(IBM).limit_up
    assert order.price == 104.54, "3 % above the last, down to the grid"


def test_a_local_stop_has_a_price_where_depth_is_short() -> None:
    with RIGS["VBROKERS"](timing=TIMINGS["VBROKERS"]) as rig:
        denied = {"broker": "vbrokers", "do": "error", "code": "1006", "text": "无权限"}
        rig.sim.faults([{**denied, "when": {"message": "Subscribe", "nth": nth}} for nth in (3, 4)])
        it = CtaDesk(rig)
        it.quote(100)
        rig.sim.pause()
        rig.connect()
        _local_stop(rig, it)
