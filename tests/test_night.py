"""A night in data time: whatever goes wrong in it, the engine equals the broker within 10 s of its end, with at most 10
log lines an outage, and no order was ever told with an end that it did not have.

Each thing that a night brings has its test; then all of them in a row, for each broker. Times are UTC: New York is four
hours behind in these days of March, Hong Kong and Beijing eight ahead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from vnpy.trader.constant import Direction, Status
from vnpy.trader.event import EVENT_TRADE

import brokersim
from tests.harness import SHORT, Rig
from tests.ib_harness import SHORT_IB, IbRig
from tests.night_rig import BACK, IBM, PLAIN, TENCENT, Night, night, utc
from tests.sim_hstong_client import eventually
from vnpy_brokerkit.clock import ManualClock, SystemClock, jump
from vnpy_brokerkit.errors import LoginFailed, TimedOut, UnknownOutcome
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.timing import Timing
from vnpy_vbrokers.wire.http import HttpWire

EVENING = "2026-03-10 14:00"
"""Ten in the evening in Beijing; New York's morning."""
MORNING = "2026-03-10 22:00"
"""Eight hours later, before the end of New York's day."""
VB = replace(SHORT, settle_after=2, backoff_first=0.3)
EVERY_READ = 100_000
"""More often than anything asks: until the faults are cleared."""
HONG_KONG, NEW_YORK = "Asia/Hong_Kong", "America/New_York"


def vb_night(at: str = EVENING, timing: Timing = VB, **options: Any) -> AbstractContextManager[Night]:
    return night(Rig, at, timing=timing, **options)


def ib_night(at: str = EVENING, timing: Timing = SHORT_IB, **options: Any) -> AbstractContextManager[Night]:
    return night(IbRig, at, timing=timing, **options)


@pytest.fixture
def vb() -> Iterator[Night]:
    with vb_night() as made:
        yield made.begin()


@pytest.fixture
def ib() -> Iterator[Night]:
    with ib_night() as made:
        yield made.begin()


# ---------------------------------------------------------------------- what both stand on


class Still(SystemClock):
    """Intervals by hand."""

    at = 1000.0

    def monotonic(self) -> float:
        return self.at


def test_an_outage_of_eight_hours_is_told_in_ten_lines() -> None:
    clock = Still()
    patience = Patience(60, clock, growing=True)
    told = []
    for second in range(0, 8 * 3600, 2):
        clock.at = 1000.0 + second
        if patience.may_say("down"):
            told.append(second)
    assert told[:4] == [0, 60, 180, 420]
    assert len(told) <= 10
    patience.forget("down")
    assert patience.may_say("down")
    assert not patience.may_say("down")


def test_what_comes_again_and_again_is_told_once_a_pause() -> None:
    clock = Still()
    patience = Patience(60, clock, growing=True)
    for _outage in range(9):
        assert patience.may_say("lost")
        patience.calm("lost")
        clock.at += 59
        assert not patience.may_say("lost")
        clock.at += 1


def test_a_jump_of_the_wall_clock_is_noticed_and_the_passing_of_time_is_none() -> None:
    async def watch() -> float:
        clock = ManualClock(utc(EVENING))
        noticed = asyncio.ensure_future(jump(clock))
        await clock.advance(3600)
        assert not noticed.done()
        clock._now += timedelta(hours=8)
        await clock.advance(1)
        return noticed.result()

    assert asyncio.run(watch()) == 8 * 3600


def test_reads_over_a_dead_connection_end_when_the_wire_is_renewed_and_mutations_do_not() -> None:
    async def script(sim: brokersim.Simulation) -> None:
        url = urlsplit(sim.vbrokers_url or "")
        wire = HttpWire(url.hostname or "", url.port or 0, timeout_sec=60)
        loop = asyncio.get_running_loop()

        def both_are_there() -> bool:
            return {"/hq/BasicQot", "/trade/TradeEntrust"} <= sim.wire()["vbrokers"].keys()

        reading = asyncio.ensure_future(wire.read("/hq/BasicQot", {"security": []}))
        sending = asyncio.ensure_future(wire.mutate("/trade/TradeEntrust", {}))
        await loop.run_in_executor(None, eventually, both_are_there, "both requests")
        await wire.renew()
        with pytest.raises(TimedOut):
            await reading
        assert not sending.done()
        await loop.run_in_executor(None, sim.clear_faults)
        with pytest.raises(UnknownOutcome):
            await sending
        with pytest.raises(LoginFailed):
            await wire.read("/trade/TradeSubscribe", {})
        await wire.close()
        await wire.renew()

    with brokersim.running() as sim:
        sim.faults([{"broker": "vbrokers", "do": "stall"}])
        asyncio.run(asyncio.wait_for(script(sim), 30))


# ---------------------------------------------------------------------- VBROKERS: midnight

MIDNIGHTS = [
    # whose midnight rolls the lists of US orders; an instrument; before and after the midnight of its list
    pytest.param(HONG_KONG, IBM, "2026-03-10 15:50", "2026-03-10 16:10", id="US order, Hong Kong's midnight"),
    pytest.param(NEW_YORK, IBM, "2026-03-11 03:50", "2026-03-11 04:10", id="US order, New York's own midnight"),
    pytest.param(NEW_YORK, IBM, "2026-03-10 15:50", "2026-03-10 16:10", id="US order, a midnight that rolls nothing"),
    pytest.param(HONG_KONG, TENCENT, "2026-03-10 15:50", "2026-03-10 16:10", id="Hong Kong order, its own midnight"),
]


def at_midnight(rolls: str, before: str, vt_symbol: str) -> AbstractContextManager[Night]:
    return vb_night(before, vt_symbol=vt_symbol, switches={"day_rolls_at": rolls})


@pytest.mark.parametrize(("rolls", "vt_symbol", "before", "after"), MIDNIGHTS)
def test_an_order_that_works_across_midnight(rolls: str, vt_symbol: str, before: str, after: str) -> None:
    last, step, lot = PLAIN[vt_symbol]
    with at_midnight(rolls, before, vt_symbol) as made:
        made.begin(vt_symbol)
        rig = made.rig
        resting = made.buy(3 * lot, last - 10, vt_symbol)
        working = made.buy(20 * lot, last - step, vt_symbol)
        made.offer(6, vt_symbol)
        rig.wait_status(working, Status.PARTTRADED)
        with made.outage(restored=False):
            made.go(after)
            made.fault("push", mode="lose", when={"message": "TradeStockDeliverNotify"})
            made.offer(9, vt_symbol)
            rig.wait(lambda: sum(trade.volume for trade in rig.seen.of(EVENT_TRADE)) == 15 * lot, "both fills")
        rig.cancel(resting)
        rig.wait_status(resting, Status.CANCELLED)
        made.over()


@pytest.mark.parametrize(("rolls", "vt_symbol", "before", "after"), MIDNIGHTS)
def test_an_unknown_order_is_looked_for_on_both_sides_of_midnight(
    rolls: str, vt_symbol: str, before: str, after: str
) -> None:
    last, _step, lot = PLAIN[vt_symbol]
    with at_midnight(rolls, before, vt_symbol) as made:
        made.begin(vt_symbol)
        rig = made.rig
        made.fault("push", mode="lose", times=9)
        made.fault("lose_reply", when={"message": "/trade/TradeEntrust"})
        made.fault("garbage", when={"message": "/trade/TradeQueryRealEntrustList"}, times=EVERY_READ)
        order = rig.send(vt_symbol, Direction.LONG, lot, last - 10)
        rig.wait_log("结果未知")
        with made.outage(restored=False):
            made.go(after)
            rig.sim.clear_faults()
            found = rig.wait_status(order, Status.NOTTRADED, Status.REJECTED)
            assert found.status is Status.NOTTRADED


@pytest.mark.parametrize(("rolls", "vt_symbol", "before", "after"), MIDNIGHTS)
def test_an_engine_that_starts_after_midnight_knows_what_works_since_before(
    rolls: str, vt_symbol: str, before: str, after: str
) -> None:
    last, _step, lot = PLAIN[vt_symbol]
    with at_midnight(rolls, before, vt_symbol) as made:
        made.show(vt_symbol)
        made.rig.sim.order(vt_symbol, "LONG", 2 * lot, last - 10)
        made.go(after)
        made.begin(vt_symbol)
        made.over()


# ---------------------------------------------------------------------- VBROKERS: session and connection


def lost(made: Night, since: int) -> str:
    """Wait until the gateway has noticed that the HTTP side is gone."""
    return made.wait_line("HTTP连接中断", "暂不可用", "无法连接OpenAPI", since=since)


def token_of_three_hours(made: Night) -> None:
    """Nothing was asked for three hours, so the login has run out; an order was filled meanwhile."""
    order = made.buy(30, 95)
    with made.outage():
        made.go("2026-03-10 17:30")
        made.quote(94.9)
    made.rig.wait_status(order, Status.ALLTRADED)


def test_the_login_of_three_hours_runs_out(vb: Night) -> None:
    token_of_three_hours(vb)
    logins = vb.rig.sim.wire()["vbrokers"]["/trade/TradeLogin"]
    assert logins == 2


def vb_sleeps(made: Night, until: str) -> None:
    """The machine sleeps: nothing is heard, the clock jumps, and what was open is dead and does not say so."""
    order = made.buy(30, 95)
    with made.outage():
        made.fault("stall", when={"message": "push", "phase": "after"})  # the push socket never speaks again
        made.quote(100)
        made.go(until)
        made.quote(94.9)
    made.rig.wait_status(order, Status.ALLTRADED)


def test_a_machine_that_slept_with_a_dead_push_socket(vb: Night) -> None:
    vb_sleeps(vb, MORNING)
    assert "休眠" in vb.wait_line("休眠")
    vb.quote(93)
    vb.rig.wait(lambda: vb.rig.tick(IBM).bid_price_1 == 92.99, "pushed depth again")


def test_a_machine_that_slept_with_every_socket_dead(vb: Night) -> None:
    order = vb.buy(30, 95)
    before = len(vb.lines())
    with vb.outage():
        vb.fault("stall")
        vb.go(MORNING)
        vb.quote(94.9)
        lost(vb, before)
        vb.rig.sim.clear_faults()
    vb.rig.wait_status(order, Status.ALLTRADED)


def test_a_machine_that_slept_is_itself_again_in_ten_seconds_with_the_product_s_own_intervals() -> None:
    with vb_night(timing=Timing()) as made:
        vb_sleeps(made.begin(), MORNING)


def not_logged_in(made: Night, code: str) -> None:
    """The Gateway is there and has no way to the broker; it answers everything with this code."""
    order = made.buy(30, 95)
    before = len(made.lines())
    with made.outage():
        made.fault("error", code=code, times=EVERY_READ)
        made.fault("push", mode="lose", times=EVERY_READ)
        line = made.wait_line("暂不可用", since=before)
        assert code in line
        made.quote(94.9)
        asked = probes(made)
        made.rig.wait(lambda: probes(made) >= asked + 9, "more tries")
        made.rig.sim.clear_faults()
    made.rig.wait_status(order, Status.ALLTRADED)
    made.quote(100)
    made.rig.wait_equal()


def probes(made: Night) -> int:
    return made.rig.sim.wire()["vbrokers"]["/trade/TradeQueryMarginFundInfo"]


@pytest.mark.parametrize("code", ["1004", "1017", "1018"])
def test_a_gateway_that_is_up_and_not_logged_in(vb: Night, code: str) -> None:
    not_logged_in(vb, code)


@pytest.mark.parametrize("code", ["1004", "1017", "1018"])
def test_a_gateway_that_is_not_logged_in_when_we_come(code: str) -> None:
    with vb_night() as made:
        made.fault("error", code=code, times=EVERY_READ)
        made.rig.main.connect(made.rig.setting(), "VBROKERS")
        made.wait_line("暂不可用")
        made.rig.sim.order(IBM, "LONG", 3, 95)
        made.rig.sim.clear_faults()
        made.wait_line("合约信息查询成功")
        made.rig.subscribe(IBM)
        made.over()
        assert not [line for line in made.lines() if "被拒绝" in line]


def displaced_twice(made: Night) -> None:
    """Somebody logs in elsewhere; we take the session back once, and the second time leave it for a while."""
    order = made.buy(30, 95)
    with made.outage():
        before = len(made.lines())
        made.fault("displace")
        made.wait_line(BACK, since=before)
        second = len(made.lines())
        made.fault("displace")
        made.wait_line("不再抢登", since=second)
        made.quote(94.9)
        made.wait_line(BACK, since=second)
    made.rig.wait_status(order, Status.ALLTRADED)


def test_a_login_that_is_displaced_twice(vb: Night) -> None:
    displaced_twice(vb)


def test_eight_hours_asleep_are_eight_hours_waited() -> None:
    """A session that was left to somebody else for half an hour is taken back after a sleep, not half an hour later."""
    with vb_night(timing=replace(VB, backoff_first=600)) as made:
        made.begin()
        made.fault("displace")
        made.wait_line(BACK)
        made.fault("displace")
        made.wait_line("不再抢登")
        with made.outage():
            made.go(MORNING)


def gateway_restarts(made: Night) -> None:
    order = made.buy(30, 95)
    before = len(made.lines())
    with made.outage():
        made.fault("restart", for_s=1)
        made.quote(94.9)
        lost(made, before)
    made.rig.wait_status(order, Status.ALLTRADED)


def test_a_gateway_that_restarts_in_the_night(vb: Night) -> None:
    gateway_restarts(vb)


def test_a_gateway_that_is_away_for_hours_is_told_ever_more_rarely() -> None:
    """An outage of minutes, counted by lines that may come every 0.2 s."""
    with vb_night(timing=replace(VB, repeat_line=0.2, reconnect=0.02)) as made:
        made.begin()
        made.buy(30, 95)
        before = len(made.lines())
        made.fault("refuse")
        made.fault("drop")
        made.rig.wait(lambda: sum("无法连接OpenAPI" in line for line in made.lines(before)) >= 4, "the fourth line")
        lines = made.lines(before)
        made.rig.sim.clear_faults()
        made.wait_line(BACK, since=before)
        assert len(lines) <= 15, "\n".join(lines)
        made.over()


def test_a_whole_night_at_vbrokers(vb: Night) -> None:
    rig = vb.rig
    across = vb.buy(100, 100)  # it works, partly filled, until New York's day ends
    rig.sim.quote(IBM, ask=100, ask_size=30)
    rig.wait_status(across, Status.PARTTRADED)
    vb.quote(100.5)
    resting = vb.buy(7, 20)
    with vb.outage(restored=False):
        vb.go("2026-03-10 16:10")  # Hong Kong's midnight has passed
        vb.fault("push", mode="lose", when={"message": "TradeStockDeliverNotify"})
        rig.sim.quote(IBM, last=100, bid="99.99", ask=100, ask_size=45)
        rig.wait_status(across, Status.PARTTRADED)
    vb.quote(100.5)
    rig.cancel(resting)
    rig.wait_status(resting, Status.CANCELLED)
    resting = vb.buy(8, 20)
    token = vb.buy(30, 95)
    with vb.outage():
        vb.go("2026-03-10 19:30")
        vb.quote(94.9)
    rig.wait_status(token, Status.ALLTRADED)
    assert rig.wait_status(across, Status.ALLTRADED).traded == 100
    for code in ("1004", "1017", "1018"):
        vb.quote(100)
        not_logged_in(vb, code)
    displaced_twice(vb)
    vb.quote(100)
    gateway_restarts(vb)
    vb.quote(100)
    vb_sleeps(vb, "2026-03-10 23:50")
    ends_with_new_york_s_day(vb, resting)


def ends_with_new_york_s_day(made: Night, resting: str) -> None:
    """The broker cancels what was good for the day, and says so."""
    with made.outage(restored=False):
        made.go("2026-03-11 00:10")
        made.quote(100)
        made.rig.wait_status(resting, Status.CANCELLED)
    made.over()


# ---------------------------------------------------------------------- IBKR


@pytest.mark.parametrize(
    ("before", "after"),
    [("2026-03-10 15:50", "2026-03-10 16:10"), ("2026-03-11 03:50", "2026-03-11 04:10")],
    ids=["Beijing", "New York"],
)
def test_an_order_at_tws_works_across_midnight(before: str, after: str) -> None:
    with ib_night(before) as made:
        made.begin()
        rig = made.rig
        working = made.buy(100, 100)
        rig.sim.quote(IBM, ask=100, ask_size=30)
        rig.wait_status(working, Status.PARTTRADED)
        resting = made.buy(3, 90)
        with made.outage(restored=False):
            made.go(after)
            rig.sim.quote(IBM, ask=100, ask_size=45)
            rig.wait(lambda: sum(trade.volume for trade in rig.seen.of(EVENT_TRADE)) == 75, "both fills")
        rig.cancel(resting)
        rig.wait_status(resting, Status.CANCELLED)
        made.over()


def tws_sleeps(made: Night, until: str) -> None:
    """The machine sleeps: the socket is dead and still open, and an order is filled meanwhile."""
    order = made.buy(30, 95)
    with made.outage():
        made.fault("stall")
        made.go(until)
        made.quote(94.9)
    made.rig.wait_status(order, Status.ALLTRADED)


def test_a_machine_that_slept_with_a_dead_socket_to_tws(ib: Night) -> None:
    tws_sleeps(ib, MORNING)
    assert "休眠" in ib.wait_line("休眠")


def test_a_machine_that_slept_finds_tws_again_in_ten_seconds_with_the_product_s_own_intervals() -> None:
    with ib_night(timing=Timing()) as made:
        # The client id is held by the dead connection until TWS notices.
        made.begin()
        order = made.buy(30, 95)
        with made.outage():
            made.fault("stall", for_s=1)
            made.go(MORNING)
            made.quote(94.9)
        made.rig.wait_status(order, Status.ALLTRADED)


def nightly_reset(made: Night) -> None:
    """TWS says 1100 and answers 200 to everything; what we knew before it is not lost by that."""
    order = made.buy(30, 95)
    with made.outage():
        before = len(made.lines())
        made.fault("daily_reset")
        made.wait_line("暂停下单", since=before)
        made.rig.subscribe("AAPL.SMART")  # 200 is no reason to forget it
        refused = made.rig.send(IBM, Direction.LONG, 1, 95)
        made.rig.wait_status(refused, Status.REJECTED)
        made.quote(94.9)
        made.rig.sim.clear_faults()
    made.rig.wait_status(order, Status.ALLTRADED)


def test_the_nightly_reset_of_tws(ib: Night) -> None:
    nightly_reset(ib)


def test_a_connection_that_is_made_in_the_middle_of_the_reset(ib: Night) -> None:
    order = ib.buy(30, 95)
    before = len(ib.lines())
    with ib.outage():
        ib.fault("daily_reset")
        ib.wait_line("暂停下单", since=before)
        ib.fault("drop")
        asked = ib.rig.sim.wire()["tws"]["startApi"]
        ib.rig.wait(lambda: ib.rig.sim.wire()["tws"]["startApi"] >= asked + 5, "five connections", 30)
        ib.quote(94.9)
        ib.rig.sim.clear_faults()
    ib.rig.wait_status(order, Status.ALLTRADED)


def test_a_cancel_in_the_reset_is_sent_again_after_it(ib: Night) -> None:
    order = ib.buy(30, 95)
    with ib.outage():
        ib.fault("daily_reset")
        ib.wait_line("暂停下单")
        ib.rig.cancel(order)
        ib.rig.wait(lambda: ib.rig.sim.wire()["tws"].get("cancelOrder"), "the cancel")
        ib.rig.sim.clear_faults()
        ib.rig.wait_status(order, Status.CANCELLED)


def tws_restarts(made: Night) -> None:
    order = made.buy(30, 95)
    before = len(made.lines())
    with made.outage():
        made.fault("restart", for_s=1)
        made.quote(94.9)
        made.wait_line("无法连接TWS", since=before)
    made.rig.wait_status(order, Status.ALLTRADED)


def test_the_daily_restart_of_tws(ib: Night) -> None:
    tws_restarts(ib)


def tws_not_logged_in(made: Night) -> None:
    """IB Gateway's port is open, and nothing but silence comes from it until somebody has logged in."""
    order = made.buy(30, 95)
    before = len(made.lines())
    with made.outage():
        made.fault("stall", for_s=30, when={"message": "startApi"}, times=3)
        made.fault("drop")
        made.quote(94.9)
        made.wait_line("无法连接TWS", since=before)
    made.rig.wait_status(order, Status.ALLTRADED)


def test_a_gateway_of_ib_that_is_up_and_not_logged_in(ib: Night) -> None:
    tws_not_logged_in(ib)


def tws_displaced_twice(made: Night) -> None:
    """The user logs in elsewhere: TWS loses the session (1100, 10197), gets it back, and loses it again."""
    order = made.buy(30, 95)
    for code in (1101, 1102):
        before = len(made.lines())
        with made.outage():
            made.fault("notice", code=1100)
            made.fault("notice", code=10197)
            made.wait_line("暂停下单", since=before)
            made.quote(94.9)
            made.fault("notice", code=code)
    made.rig.wait_status(order, Status.ALLTRADED)


def test_a_login_at_ib_that_is_displaced_twice(ib: Night) -> None:
    tws_displaced_twice(ib)


MANY = ("AAPL", "TSLA", "SPY", "QQQ", "BRK-B")


def test_data_lost_for_many_symbols_is_one_outage_too(ib: Night) -> None:
    """1101 ends every subscription: that they are gone is no news about each of them."""
    names = [f"{name}.SMART" for name in MANY]
    ib.rig.subscribe(*names)
    for name in names:
        ib.rig.wait_tick(name)
    with ib.outage():
        ib.fault("notice", code=1100)
        ib.wait_line("暂停下单")
        ib.fault("notice", code=1101)


def test_a_fill_before_new_york_s_midnight_that_was_missed_is_told_after_it() -> None:
    """TWS lists the executions of its own day alone, and of a completed order no price: its own is the best guess."""
    with ib_night("2026-03-11 03:50") as made:
        made.begin()
        order = made.buy(30, 95)
        with made.outage():
            made.fault("refuse")
            made.fault("drop")
            made.quote(94.99)
            made.go("2026-03-11 04:10")
            made.rig.sim.clear_faults()
        made.rig.wait_status(order, Status.ALLTRADED)
        [trade] = made.rig.seen.of(EVENT_TRADE)
        assert (trade.volume, trade.price, trade.extra["inferred"]) == (30, 95, "True")
        assert [line for line in made.lines() if "推断价格95" in line]
        made.rig.gateway.reconcile()
        made.wait_line("对账（人工）")
        made.over()


def test_a_whole_night_at_ibkr(ib: Night) -> None:
    rig = ib.rig
    across = ib.buy(100, 100)
    rig.sim.quote(IBM, ask=100, ask_size=30)
    rig.wait_status(across, Status.PARTTRADED)
    ib.quote(100.5)
    resting = ib.buy(7, 20)
    with ib.outage(restored=False):
        ib.go("2026-03-10 16:10")
        rig.sim.quote(IBM, last=100, bid="99.99", ask=100, ask_size=45)
        rig.wait(lambda: sum(trade.volume for trade in rig.seen.of(EVENT_TRADE)) == 75, "both fills")
    for bad in (nightly_reset, tws_not_logged_in, tws_displaced_twice, tws_restarts):
        ib.quote(100.5)
        bad(ib)
    assert rig.wait_status(across, Status.ALLTRADED).traded == 100
    ib.quote(100.5)
    tws_sleeps(ib, "2026-03-10 23:50")
    ends_with_new_york_s_day(ib, resting)
