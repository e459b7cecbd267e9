"""The example strategy lives through a replayed day on each broker, and routes bring orders to the broker they name."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from vnpy.trader.constant import Exchange, Interval, Status
from vnpy.trader.object import BarData, HistoryRequest
from vnpy.trader.utility import TEMP_DIR

import brokersim
from brokersim.fees import TWS_FEES, VBROKERS_FEES, FeeSchedule
from brokersim.instruments import table
from examples.strategies.crossing_averages import CrossingAverages
from tests.cta_desk import IBM, NAME, RIGS, TIMINGS, CtaDesk, forget_strategies
from tests.cta_strategies import Teller
from tests.harness import DATA, Rig
from tests.ib_harness import IbRig
from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.clock import ShiftedClock
from vnpy_brokers.trader import TraderEngine

AIG = "AIG.SMART"
TENCENT = "00700.SEHK"
MINUTES = 388
"""The regular session, but for its last moments."""
FEES = {"VBROKERS": FeeSchedule(VBROKERS_FEES), "IBKR": FeeSchedule(TWS_FEES)}


@contextmanager
def replayed(name: str, folder: Path) -> Iterator[tuple[CtaDesk, ShiftedClock]]:
    """A broker whose clock stands at the open of a real day, and a connected engine in the same time."""
    source = DATA / f"{AIG}.1m.csv"
    if not source.exists():
        pytest.skip(f"the market data folder {DATA.name} is not beside the repository")
    (folder / source.name).write_bytes(source.read_bytes())
    broker = RIGS[name].broker
    forget_strategies()
    with brokersim.running(vbrokers=broker == "vbrokers", tws=broker == "tws", data=folder, clock="data") as sim:
        clock = ShiftedClock(sim.clock(), frozen=True)
        rig = RIGS[name](start=False, gateway_clock=clock, timing=TIMINGS[name])
        rig.sim = sim
        with rig:
            it = CtaDesk(rig, clock=clock)
            rig.connect()
            yield it, clock


@pytest.mark.parametrize("name", RIGS)
def test_a_replayed_day_ends_as_the_brokers_ledger(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with replayed(name, tmp_path) as (it, clock):
        rig = it.rig
        before = cash(rig)
        rig.subscribe(AIG)
        rig.wait_tick(AIG)
        # A clock that runs ahead is taken for a machine that slept, and all connections are made anew.
        monkeypatch.setattr("vnpy_brokerkit.clock.LEAST_JUMP", 1e9)
        # vn.py asks the machine's clock up to when history is wanted.
        monkeypatch.setattr("vnpy_ctastrategy.engine.datetime", type("Now", (), {"now": clock.now().astimezone}))
        strategy = it.begin(CrossingAverages, vt_symbol=AIG, fast_window=3, slow_window=8, volume=200, history_days=4)
        assert strategy.closes.inited, "\n".join(rig.seen.log_lines())
        for _minute in range(MINUTES):
            at = clock.now() + timedelta(minutes=1)
            clock.set(at)
            rig.sim.set_clock(at)
            seen = at - timedelta(seconds=5)  # at least a quote a second, the last of which may be on its way
            rig.wait(lambda: rig.tick(AIG).datetime >= seen, f"the quotes until {at}")  # noqa: B023  asked at once
            settled(it)
        it.cta.stop_strategy(NAME)
        rig.wait(lambda: not rig.main.get_all_active_orders(), "the end of what worked")
        rig.wait_equal()
        trades = rig.truth()["trades"]
        rig.wait(lambda: strategy.fills == len(trades), "its fills")
        assert strategy.fills >= 4, "a day on which nothing happens shows nothing"
        assert strategy.pos == it.held(AIG)
        paid = sum((flow(row) for row in trades), Decimal(0))
        assert abs(Decimal(str(strategy.cash)) - paid) < Decimal("0.01")
        assert cash(rig) - before == paid - fees(name, rig)
        # Profit: what it received, and what it holds at the last price; the broker counts the same from the cost.
        last = rig.tick(AIG).last_price
        ledger = rig.truth()["positions"]
        unrealised = sum(Decimal(row["pnl"]) for row in ledger)
        cost = sum(Decimal(row["price"]) * Decimal(row["volume"]) for row in ledger)
        profit = Decimal(str(strategy.cash + strategy.pos * last))
        assert abs(profit - (paid + cost + unrealised)) < Decimal("0.01")


def settled(it: CtaDesk) -> None:
    """Wait until the engine has heard of what the broker did with the strategy's orders."""
    rig = it.rig

    def heard() -> bool:
        orders = {(order.extra or {}).get("broker_id"): order for order in rig.main.get_all_orders()}
        if any(order.status is Status.SUBMITTING for order in orders.values()):
            return False
        told = {number: (order.status.name, order.traded) for number, order in orders.items()}
        rows = rig.truth()["orders"]
        if any(told.get(row["id"]) != (row["status"], float(row["traded"])) for row in rows):
            return False
        strategy = it.cta.strategies[NAME]
        return bool(strategy.fills == len(rig.truth()["trades"]))

    rig.wait(heard, "the orders' news")


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
    stock = table()[IBM].instrument  # the same rules as for any US stock
    return sum(
        (
            FEES[name].total(stock, "LONG" if key[1] == "LONG" else "SHORT", volume[key], turnover[key])
            for key in volume
        ),
        Decimal(0),
    )


# ------------------------------------------------------------------ both brokers


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
