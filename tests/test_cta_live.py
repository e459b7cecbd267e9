"""Strategies on both brokers at once: routes bring orders to the broker that they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from vnpy.trader.constant import Exchange, Interval, Status
from vnpy.trader.object import BarData, HistoryRequest
from vnpy.trader.utility import TEMP_DIR

import brokersim
from tests.cta_desk import IBM, NAME, TIMINGS, CtaDesk, forget_strategies
from tests.cta_strategies import Teller
from tests.harness import Rig
from tests.ib_harness import IbRig
from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokers.trader import TraderEngine

TENCENT = "00700.SEHK"


@contextmanager
def both(**routes: Any) -> Iterator[CtaDesk]:
    """One engine with both gateways, VBROKERS first, and these routes."""
    forget_strategies()
    (TEMP_DIR / "broker_routes.json").write_text(json.dumps(routes), "utf-8")
    with brokersim.running(vbrokers=True, tws=True) as sim:
        sim.pause()
        rig, tws = Rig(start=False, timing=TIMINGS["VBROKERS"]), IbRig(start=False, timing=TIMINGS["IBKR"])
        rig.sim = tws.sim = sim
        with rig:
            rig.main.close()
            it = CtaDesk.__new__(CtaDesk)
            it.rig, it._clock = rig, None
            it.renew(apps=False)
            tws.main, tws.seen = rig.main, rig.seen
            tws.add("IBKR")
            it.open()
            it.quote(100)
            it.quote(400, vt_symbol=TENCENT, step=0.2)
            rig.main.connect(rig.setting(), "VBROKERS")
            rig.main.connect(tws.setting(), "IBKR")
            rig.wait(lambda: [line for line in rig.seen.log_lines() if "合约信息查询成功" in line][1:], "both ready")
            yield it
    forget_strategies()


def ledgers(it: CtaDesk, vt_symbol: str) -> dict[str, float]:
    """What each broker holds."""
    return {
        broker: sum(float(row["volume"]) for row in truth["positions"] if row["vt_symbol"] == vt_symbol)
        for broker, truth in it.rig.sim.state().items()
    }


@pytest.mark.parametrize(
    ("routes", "owner", "held"),
    [
        ({}, "VBROKERS", {"vbrokers": 100, "tws": 0}),
        ({"*.SEHK": "IBKR"}, "IBKR", {"vbrokers": 0, "tws": 100}),
        ({f"strategy:{NAME}": "IBKR"}, "VBROKERS", {"vbrokers": 0, "tws": 100}),
        ({TENCENT: {"quotes": "IBKR", "orders": "VBROKERS"}}, "IBKR", {"vbrokers": 100, "tws": 0}),
    ],
)
def test_a_strategy_trades_at_the_routed_broker_only(
    routes: dict[str, Any], owner: str, held: dict[str, float]
) -> None:
    with both(**routes) as it:
        rig = it.rig
        strategy = it.begin(Teller, vt_symbol=TENCENT)
        rig.wait(lambda: strategy.ticks, "quotes")
        assert rig.contract(TENCENT).gateway_name == rig.tick(TENCENT).gateway_name == owner
        strategy.buy(401, 100)
        rig.wait(lambda: strategy.pos == 100, "the fill")
        assert ledgers(it, TENCENT) == held
        (resting,) = strategy.buy(390, 200)
        rig.wait_status(resting, Status.NOTTRADED)
        strategy.cancel_all()
        rig.wait_status(resting, Status.CANCELLED)
        strategy.sell(399, 100)
        rig.wait(lambda: strategy.pos == 0, "the sale")
        assert set(ledgers(it, TENCENT).values()) == {0}
        other = [broker for broker, volume in held.items() if not volume]
        assert [rig.sim.state()[broker]["orders"] for broker in other] == [[]]


def test_a_stop_for_another_gateway_than_the_owner_is_a_local_one() -> None:
    with both(**{"*.SMART": {"quotes": "IBKR", "orders": "VBROKERS"}}) as it:
        strategy = it.begin(Teller, vt_symbol=IBM)
        assert it.rig.contract(IBM).stop_supported
        (stop,) = strategy.buy(105, 10, stop=True)
        assert list(it.cta.stop_orders) == [stop]
        assert all(not truth["orders"] for truth in it.rig.sim.state().values())


def test_an_order_for_a_gateway_that_is_not_there_goes_nowhere() -> None:
    with both(**{f"strategy:{NAME}": "IBKB"}) as it:
        strategy = it.begin(Teller, vt_symbol=IBM)
        assert strategy.buy(101, 10) == []
        it.rig.wait(lambda: [data for data in it.cta_log if "IBKB" in data.msg], "a line")
        assert all(not truth["orders"] for truth in it.rig.sim.state().values())


def test_history_may_come_from_another_gateway_than_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def bars(gateway: AsyncGateway, req: HistoryRequest) -> list[BarData]:
        asked.append(gateway.gateway_name)
        return []

    monkeypatch.setattr(AsyncGateway, "query_history", bars)
    with both(**{"*.SMART": {"history": "IBKR"}}) as it:
        assert isinstance(it.rig.main, TraderEngine)
        for vt_symbol, owner in ((IBM, "VBROKERS"), (TENCENT, "VBROKERS"), (IBM, "IBKR")):
            symbol, exchange = vt_symbol.split(".")
            at = it.rig.gateway.clock.now()
            request = HistoryRequest(symbol, Exchange(exchange), at - timedelta(days=1), at, Interval.MINUTE)
            it.rig.main.query_history(request, owner)
    assert asked == ["IBKR", "VBROKERS", "IBKR"]


def test_a_strategys_bars_follow_the_route_on_vnpys_own_engine_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script of one's own has vn.py's MainEngine, which knows no routes."""
    asked: list[str] = []
    query = AsyncGateway.query_history

    def bars(gateway: AsyncGateway, req: HistoryRequest) -> list[BarData]:
        asked.append(gateway.gateway_name)
        return query(gateway, req)

    monkeypatch.setattr(AsyncGateway, "query_history", bars)
    monkeypatch.delattr(TraderEngine, "query_history")
    with both(**{"*.SMART": {"history": "IBKR"}}) as it:
        for vt_symbol in (IBM, TENCENT):
            found = it.cta.load_bar(vt_symbol, 4, Interval.HOUR, lambda bar: None, False)
            assert {bar.vt_symbol for bar in found} == {vt_symbol}
        assert asked == ["IBKR", "VBROKERS"]
        it.cta.load_bar(IBM, 4, Interval.HOUR, lambda bar: None, True)
        assert len(asked) == 2, "the database alone"
