"""ib_async, an independent client, against the simulated TWS: it connects, and everything a trader does works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from ib_async import IB, ContFuture, Contract, Forex, Future, LimitOrder, MarketOrder, Option, Stock, StopOrder, Trade

import brokersim

ACCOUNT = "DU1000001"
DEADLINE_S = 15.0


@pytest.fixture(scope="module")
def sim() -> Iterator[brokersim.Simulation]:
    with brokersim.running(vbrokers=False, tws=True) as running:
        yield running


@asynccontextmanager
async def connection(sim: brokersim.Simulation, client_id: int = 1, **options: Any) -> AsyncIterator[IB]:
    assert sim.tws_address is not None
    host, port = sim.tws_address.split(":")
    ib = IB()
    await ib.connectAsync(host, int(port), clientId=client_id, **options)
    try:
        yield ib
    finally:
        ib.disconnect()


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(_awaited(work), 60))


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition holds; TimeoutError when it never does."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_S
    while not condition():
        if loop.time() > deadline:
            raise TimeoutError(f"{condition} never held")
        await asyncio.sleep(0.005)


async def qualified(ib: IB, contract: Contract) -> Contract:
    [found] = await ib.qualifyContractsAsync(contract)
    assert isinstance(found, Contract)
    return found


def order(made: Any, **fields: Any) -> Any:
    made.account = ACCOUNT
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_connects_and_synchronises(sim: brokersim.Simulation) -> None:
    async def work() -> None:
        async with connection(sim) as ib:
            assert ib.client.serverVersion() == 178
            assert ib.managedAccounts() == ["DU1000001", "DU1000002", "DU1000003"]
            values = {(row.account, row.tag, row.currency): row.value for row in ib.accountValues()}
            for account in ib.managedAccounts():
                for currency in ("USD", "HKD"):
                    assert float(values[account, "NetLiquidationByCurrency", currency]) > 0
                    assert float(values[account, "CashBalance", currency]) > 0

    run(work)


def test_connects_at_once_and_answers_every_request_of_the_synchronisation(sim: brokersim.Simulation) -> None:
    before = sim.wire()["tws"]

    async def work() -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with connection(sim, 0):
            assert loop.time() - begin < 3  # an unanswered one would take its whole time-out, 4 s

    run(work)
    after = sim.wire()["tws"]
    for name in ("reqPositions", "reqOpenOrders", "reqCompletedOrders", "reqExecutions", "reqAutoOpenOrders"):
        assert after[name] == before.get(name, 0) + 1


@pytest.mark.parametrize(
    ("contract", "local"),
    [
        (Stock("AAPL", "SMART", "USD"), "AAPL"),
        (Stock("700", "SEHK", "HKD"), "700"),
        (Stock("BRK B", "SMART", "USD"), "BRK B"),
        (Forex("EURUSD"), "EUR.USD"),
        (Future("ES", "202612", "CME"), "ESZ6"),
        (ContFuture("ES", "CME"), "ESZ6"),
        (Option("AAPL", "20261218", 230, "C", "SMART"), "AAPL  261218C00230000"),
        (Contract(conId=8314, exchange="SMART"), "IBM"),
    ],
    ids=lambda value: value.symbol if isinstance(value, Contract) else value,
)
def test_contracts_qualify_stream_and_have_history(sim: brokersim.Simulation, contract: Contract, local: str) -> None:
    async def work() -> None:
        async with connection(sim) as ib:
            found = await qualified(ib, contract)
            assert found.localSymbol == local
            ticker = ib.reqMktData(found)
            await until(lambda: ticker.bid > 0 and ticker.ask > ticker.bid and ticker.close > 0)
            assert ticker.marketDataType == 1
            if found.secType != "CASH":
                await until(lambda: ticker.last > 0 and ticker.volume > 0)
            what = "MIDPOINT" if found.secType == "CASH" else "TRADES"
            for size, duration in (("1 min", "2 D"), ("1 hour", "1 W"), ("1 day", "1 M"), ("1 week", "1 Y")):
                bars = await ib.reqHistoricalDataAsync(found, "", duration, size, what, True, formatDate=2)
                assert bars, (size, duration)
                assert all(bar.low <= bar.open <= bar.high and bar.low <= bar.close <= bar.high for bar in bars)
                assert [bar.date for bar in bars] == sorted({bar.date for bar in bars})

    run(work)


def test_ticks_go_on(sim: brokersim.Simulation) -> None:
    async def work() -> None:
        async with connection(sim) as ib:
            ticker = ib.reqMktData(await qualified(ib, Future("ES", "202612", "CME")))
            await until(lambda: ticker.volume > 0)
            volume, seen = ticker.volume, ticker.time
            await until(lambda: ticker.volume > volume and ticker.time != seen)
            depth = ib.reqMktDepth(await qualified(ib, Stock("700", "SEHK", "HKD")), 5)
            await until(lambda: len(depth.domBids) == 5 and len(depth.domAsks) == 5)

    run(work)


def test_bars_are_kept_up_to_date(sim: brokersim.Simulation) -> None:
    async def work() -> None:
        async with connection(sim) as ib:
            contract = await qualified(ib, Future("ES", "202612", "CME"))
            bars = await ib.reqHistoricalDataAsync(
                contract, "", "1 D", "1 min", "TRADES", True, formatDate=2, keepUpToDate=True
            )
            updates: list[bool] = []
            bars.updateEvent += lambda _, is_new: updates.append(is_new)
            await until(lambda: len(updates) > 2)
            ib.cancelHistoricalData(bars)

    run(work)


def test_orders_from_placing_to_the_end(sim: brokersim.Simulation) -> None:
    async def work() -> None:
        async with connection(sim) as ib, connection(sim, 2) as other:
            contract = await qualified(ib, Stock("AAPL", "SMART", "USD"))
            market = ib.placeOrder(contract, order(MarketOrder("BUY", 20), orderRef="mine|策略"))
            await until(market.isDone)
            assert market.orderStatus.status == "Filled"
            await until(lambda: all(fill.commissionReport.commission > 0 for fill in market.fills))
            assert sum(fill.execution.shares for fill in market.fills) == 20

            resting = ib.placeOrder(contract, order(LimitOrder("BUY", 10, 100)))
            stop = ib.placeOrder(contract, order(StopOrder("SELL", 10, 100)))
            await until(lambda: resting.orderStatus.status == "Submitted" and stop.orderStatus.status == "PreSubmitted")
            assert stop.orderStatus.whyHeld == "trigger"

            resting.order.lmtPrice = 101
            ib.placeOrder(contract, resting.order)
            await until(lambda: _orders(sim)[resting.orderStatus.permId]["price"] == "101")

            seen = {trade.order.permId: trade for trade in await other.reqAllOpenOrdersAsync()}
            assert {resting.orderStatus.permId, stop.orderStatus.permId} <= seen.keys()
            assert seen[resting.orderStatus.permId].order.clientId == 1

            ib.cancelOrder(resting.order)
            ib.cancelOrder(stop.order)
            await until(lambda: resting.isDone() and stop.isDone())
            assert {resting.orderStatus.status, stop.orderStatus.status} == {"Cancelled"}

            fills = await other.reqExecutionsAsync()
            assert market.orderStatus.permId in {fill.execution.permId for fill in fills}
            completed = {trade.order.permId: trade for trade in await other.reqCompletedOrdersAsync(False)}
            assert completed[market.orderStatus.permId].order.filledQuantity == 20
            assert completed[stop.orderStatus.permId].orderStatus.status == "Cancelled"
            await until(lambda: _position(ib) == _position(other) == _held(sim))

    run(work)


def test_a_new_connection_finds_everything(sim: brokersim.Simulation) -> None:
    async def work() -> None:
        async with connection(sim, 7) as ib:
            contract = await qualified(ib, Stock("700", "SEHK", "HKD"))
            trade = ib.placeOrder(contract, order(LimitOrder("BUY", 100, 100)))
            await until(lambda: trade.orderStatus.status == "Submitted")
        async with connection(sim, 7) as again:
            [found] = again.openTrades()
            assert found.order.permId == trade.orderStatus.permId
            assert found.order.orderId == trade.order.orderId
            assert again.client.getReqId() > trade.order.orderId
            again.cancelOrder(found.order)
            await until(found.isDone)

    run(work)


def test_what_if_places_nothing(sim: brokersim.Simulation) -> None:
    async def work() -> None:
        async with connection(sim) as ib:
            contract = await qualified(ib, Stock("AAPL", "SMART", "USD"))
            before = len(_orders(sim))
            state = await ib.whatIfOrderAsync(contract, order(LimitOrder("BUY", 10, 100)))
            assert float(state.initMarginChange) > 0
            assert len(_orders(sim)) == before

    run(work)


def test_refused_orders_are_told(sim: brokersim.Simulation) -> None:
    async def work() -> None:
        async with connection(sim) as ib:
            errors: dict[int, int] = {}
            ib.errorEvent += lambda req_id, code, *_: errors.setdefault(req_id, code)
            apple = await qualified(ib, Stock("AAPL", "SMART", "USD"))
            tencent = await qualified(ib, Stock("700", "SEHK", "HKD"))
            placed: list[tuple[Trade, int]] = [
                (ib.placeOrder(apple, LimitOrder("BUY", 1, 100)), 435),
                (ib.placeOrder(apple, order(LimitOrder("BUY", 10, 100.001))), 110),
                (ib.placeOrder(tencent, order(LimitOrder("BUY", 50, 400))), 355),
                (ib.placeOrder(apple, order(LimitOrder("BUY", 10**7, 200))), 201),
                (ib.placeOrder(apple, order(MarketOrder("SELL", 10), account="DU1000002")), 201),
            ]
            await until(lambda: {trade.order.orderId for trade, _ in placed} <= errors.keys())
            assert {trade.order.orderId: code for trade, code in placed}.items() <= errors.items()

    run(work)


def test_an_order_from_the_phone_is_seen(sim: brokersim.Simulation) -> None:
    async def work() -> None:
        async with connection(sim) as ib:
            loop = asyncio.get_running_loop()
            perm_id = await loop.run_in_executor(
                None, lambda: sim.order("AAPL.SMART", "LONG", 10, "100", broker="tws", account="DU1000003")
            )
            trades = {trade.order.permId: trade for trade in await ib.reqAllOpenOrdersAsync()}
            found = trades[int(perm_id)]
            assert (found.order.clientId, found.order.orderId, found.order.account) == (0, 0, "DU1000003")

    run(work)


def _orders(sim: brokersim.Simulation) -> dict[int, dict[str, str]]:
    return {int(row["id"]): row for row in sim.state()["tws"]["orders"]}


def _position(ib: IB) -> float:
    held = [one.position for one in ib.positions(ACCOUNT) if one.contract.symbol == "AAPL"]
    return sum(held)


def _held(sim: brokersim.Simulation) -> float:
    rows = sim.state()["tws"]["positions"]
    return sum(float(row["volume"]) for row in rows if (row["account"], row["vt_symbol"]) == (ACCOUNT, "AAPL.SMART"))
