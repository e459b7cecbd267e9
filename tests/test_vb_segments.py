"""Segments in the market data's own time: the simulator's clock and the gateway's are moved together."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from vnpy.trader.constant import Direction, OrderType, Status

from tests.harness import DATA, Rig
from vnpy_brokerkit.clock import ShiftedClock


def at(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)


class Day:
    """A rig in data time."""

    def __init__(self, rig: Rig, clock: ShiftedClock) -> None:
        self.rig = rig
        self._clock = clock

    def go(self, text: str) -> None:
        self.rig.sim.set_clock(at(text))
        self._clock.set(at(text))


@pytest.fixture
def day() -> Iterator[Day]:
    if not DATA.exists():
        pytest.skip(f"the market data folder {DATA.name} is not beside the repository")
    clock = ShiftedClock(at("2013-10-07 13:30:00"), frozen=True)
    with Rig(data=DATA, gateway_clock=clock, clock="data") as rig:
        yield Day(rig, clock)


@pytest.mark.parametrize(
    ("moment", "label"),
    [
        ("2013-10-07 12:00:00", "pre"),
        ("2013-10-07 14:00:00", "regular"),
        ("2013-10-07 20:30:00", "post"),
        ("2013-10-08 02:00:00", "night"),
    ],
)
def test_the_broker_s_segment_is_on_the_tick_and_market_orders_are_regular_only(
    day: Day, moment: str, label: str
) -> None:
    day.go(moment)
    rig = day.rig.connect(市场="美股")
    rig.subscribe("IBM.SMART")
    tick = rig.wait_tick("IBM.SMART")
    assert (tick.extra or {})["segment"] == label
    order = rig.wait_status(
        rig.send("IBM.SMART", Direction.LONG, 1, type=OrderType.MARKET), Status.REJECTED, Status.ALLTRADED
    )
    if label == "regular":
        assert order.status is Status.ALLTRADED
    else:
        assert "常规交易时段" in (order.extra or {})["reason"]
        assert "/trade/TradeEntrust" not in rig.sim.wire()["vbrokers"]


@pytest.mark.parametrize(("extended", "filled"), [("是", True), ("否", False)])
def test_a_limit_order_trades_before_the_open_only_where_the_setting_says_so(
    day: Day, extended: str, filled: bool
) -> None:
    day.go("2013-10-07 13:00:00")
    rig = day.rig.connect(市场="美股", 盘前盘后=extended)
    rig.subscribe("IBM.SMART")
    price = rig.wait_tick("IBM.SMART").last_price
    order = rig.send("IBM.SMART", Direction.LONG, 1, round(price * 1.02, 2))
    rig.wait_status(order, Status.ALLTRADED if filled else Status.NOTTRADED)


@pytest.mark.parametrize(
    ("moment", "setting", "entrust_type"),
    [
        ("2022-04-13 01:10:00", "自动", "0"),
        ("2022-04-13 02:00:00", "自动", "2"),
        ("2022-04-13 08:05:00", "自动", "0"),
        ("2022-04-13 02:00:00", "限价", "3"),
        ("2022-04-13 02:00:00", "增强限价", "2"),
    ],
)
def test_hong_kong_limit_orders_go_by_the_auction(day: Day, moment: str, setting: str, entrust_type: str) -> None:
    day.go(moment)
    rig = day.rig.connect(市场="港股", 港股限价单=setting)
    rig.subscribe("09988.SEHK")
    price = rig.wait_tick("09988.SEHK").last_price
    order = rig.wait_status(rig.send("09988.SEHK", Direction.LONG, 100, price - 5), Status.NOTTRADED, Status.REJECTED)
    assert order.status is Status.NOTTRADED, order.extra
    sent = rig.gateway.session.orders.kinds
    assert sent[(order.extra or {})["broker_id"]] == entrust_type


@pytest.mark.parametrize("vt_symbol", ["09988.SEHK", "IBM.SMART"])
def test_with_the_market_closed_a_subscription_still_shows_a_close(day: Day, vt_symbol: str) -> None:
    day.go("2022-04-16 03:00:00")  # a Saturday
    rig = day.rig.connect()
    rig.subscribe(vt_symbol)
    tick = rig.wait_tick(vt_symbol, deadline=2)
    assert tick.last_price > 0
    assert (tick.extra or {})["segment"] in ("closed", "regular")


def test_an_order_that_works_across_the_broker_s_midnight_is_looked_up_and_stays(day: Day) -> None:
    day.go("2013-10-07 15:50:00")
    rig = day.rig.connect(市场="港股+美股+A股通")
    rig.subscribe("IBM.SMART")
    price = rig.wait_tick("IBM.SMART").last_price
    order = rig.send("IBM.SMART", Direction.LONG, 10, round(price * 0.98, 2))
    rig.wait_status(order, Status.NOTTRADED)
    day.go("2013-10-07 16:10:00")  # ten past midnight in Hong Kong, the middle of the session in New York
    history = rig.wait(
        lambda: rig.sim.wire()["vbrokers"].get("/trade/TradeQueryHistoryEntrustList"), "the look-up in the history"
    )
    assert history
    rig.sim.quote(
        "IBM.SMART", last=round(price * 0.97, 2), bid=round(price * 0.97 - 0.01, 2), ask=round(price * 0.97, 2)
    )
    rig.wait_status(order, Status.ALLTRADED)
    rig.wait_equal()
