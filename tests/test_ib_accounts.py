"""Funds of every linked account and positions of the traded one, as TWS tells them bit by bit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from ib_async.contract import Contract
from vnpy.trader.constant import Direction, Exchange, Product, Status
from vnpy.trader.object import AccountData, PositionData

from tests.ib_harness import ACCOUNT, IbRig
from vnpy_brokerkit.clock import SystemClock
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, TimedOut
from vnpy_ibkr.accounts import Accounts
from vnpy_ibkr.contracts import Contracts, Instrument, Key
from vnpy_ibkr.market_data import Board
from vnpy_ibkr.positions import Positions
from vnpy_ibkr.segments import Hours
from vnpy_ibkr.wire.events import Listener
from vnpy_ibkr.wire.sending import BURST, RATE
from vnpy_ibkr.wire.tws import Wire

STOCK = Contract(conId=8314, symbol="IBM", secType="STK", exchange="NYSE", currency="USD")
HONG_KONG = Contract(conId=700, symbol="700", secType="STK", exchange="SEHK", currency="HKD")
FUTURE = Contract(conId=99, symbol="ES", secType="FUT", multiplier="50", currency="USD", localSymbol="ESZ6")
NAMES: dict[int, Key] = {
    8314: ("IBM", Exchange.SMART),
    700: ("00700", Exchange.SEHK),
    99: ("ES-202612-USD-FUT", Exchange.CME),
}
MAX_DOUBLE = 1.7976931348623157e308


def instrument(contract: Contract) -> Instrument:
    symbol, exchange = NAMES[contract.conId]
    return Instrument(
        symbol=symbol,
        exchange=exchange,
        contract=contract,
        name=symbol,
        product=Product.EQUITY,
        size=Decimal(contract.multiplier or 1),
        tick=Decimal("0.01"),
        lot=Decimal(1),
        currency=contract.currency,
        zone=ZoneInfo("America/New_York"),
        liquid_hours=Hours(),
        trading_hours=Hours(),
    )


@dataclass
class Client:
    """Remembers what was asked, by request id."""

    sent: list[tuple[Any, ...]] = field(default_factory=list)

    def reqPositions(self) -> None:
        self.sent.append(("reqPositions",))

    def cancelPositions(self) -> None:
        self.sent.append(("cancelPositions",))

    def reqPositionsMulti(self, req_id: int, account: str, model: str) -> None:
        self.sent.append(("reqPositionsMulti", req_id, account, model))

    def cancelPositionsMulti(self, req_id: int) -> None:
        self.sent.append(("cancelPositionsMulti", req_id))

    def reqAccountUpdates(self, subscribe: bool, account: str) -> None:
        self.sent.append(("reqAccountUpdates", subscribe, account))

    def reqAccountUpdatesMulti(self, req_id: int, account: str, model: str, ledger: bool) -> None:
        self.sent.append(("reqAccountUpdatesMulti", req_id, account, model, ledger))

    def cancelAccountUpdatesMulti(self, req_id: int) -> None:
        self.sent.append(("cancelAccountUpdatesMulti", req_id))

    def reqAccountSummary(self, req_id: int, group: str, tags: str) -> None:
        self.sent.append(("reqAccountSummary", req_id, group, tags))

    def cancelAccountSummary(self, req_id: int) -> None:
        self.sent.append(("cancelAccountSummary", req_id))


@dataclass
class FakeWire:
    """Plays ``rows`` into the accounts while a request waits, as the decoder does."""

    accounts: list[str]
    client: Client = field(default_factory=Client)
    rows: dict[str, list[Callable[[], None]]] = field(default_factory=dict)
    errors: dict[str, BrokerError] = field(default_factory=dict)
    summary: list[tuple[str, str, str, str]] = field(default_factory=list)
    number: int = 100

    async def ask_plain(self, key: str, send: Callable[[], None], timeout: float = 10) -> list[Any]:
        send()
        return await self._play(key)

    async def ask(self, send: Callable[[int], None], about: str, timeout: float = 10) -> list[Any]:
        self.number += 1
        send(self.number)
        if about == "reqAccountSummary" and about not in self.errors:
            return self.summary
        return await self._play(about if about in self.errors else self.client.sent[-1][2])

    async def _play(self, key: str) -> list[Any]:
        await asyncio.sleep(0)
        for row in self.rows.get(key, []):
            row()
        if key in self.errors:
            raise self.errors[key]
        return []

    def post(self, send: Callable[[], None], about: str) -> None:
        send()


class FakeContracts:
    """Knows what it was told to identify."""

    def __init__(self) -> None:
        self.known: dict[int, Instrument] = {}
        self.failing: BrokerError | None = None

    def by_con_id(self, con_id: int) -> Instrument | None:
        return self.known.get(con_id)

    def canonical_of(self, contract: Contract) -> Key:
        known = self.known.get(contract.conId)
        return known.key if known else (str(contract.conId), Exchange.SMART)

    async def identify(self, contracts: Iterable[Contract]) -> None:
        await asyncio.sleep(0)
        if self.failing:
            raise self.failing
        for contract in contracts:
            if contract.conId in NAMES:
                self.known[contract.conId] = instrument(contract)


class Rig:
    def __init__(self, *accounts: str, trading: str = "DU1", prefix: str = "") -> None:
        self.wire = FakeWire(list(accounts) or ["DU1"])
        self.contracts = FakeContracts()
        self.last: dict[Key, Decimal] = {}
        self.told: list[AccountData] = []
        self.shown: list[PositionData] = []
        self.lines: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.accounts = Accounts(
            wire=lambda: cast(Wire, self.wire),
            gateway_name="IBKR",
            account_prefix=prefix,
            trading_account=lambda: trading,
            on_account=self.told.append,
            log=self.lines.append,
            clock=SystemClock(),
        )
        self.positions = Positions(
            wire=lambda: cast(Wire, self.wire),
            contracts=cast(Contracts, self.contracts),
            board=self.board,
            gateway_name="IBKR",
            account_prefix=prefix,
            trading_account=lambda: trading,
            on_position=self.shown.append,
            spawn=self.spawn,
            log=self.lines.append,
        )

    async def start(self) -> None:
        """As the session does."""
        await self.positions.start()
        await self.accounts.start()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> object:
        self.tasks.append(asyncio.ensure_future(work))
        return self.tasks[-1]

    def board(self, symbol: str, exchange: Exchange) -> Board | None:
        last = self.last.get((symbol, exchange))
        if last is None:
            return None
        con_id = next(number for number, key in NAMES.items() if key == (symbol, exchange))
        return Board(instrument=self.contracts.known[con_id], last=last)

    def value(self, key: str, value: str, currency: str = "USD", account: str = "DU1") -> Callable[[], None]:
        return lambda: self.accounts.on_account_value(key, value, currency, account)

    def position(self, contract: Contract, volume: float, cost: float = 0, account: str = "DU1") -> Callable[[], None]:
        return lambda: self.positions.on_position(account, contract, volume, cost)

    def funds(self) -> dict[str, tuple[float, float, float]]:
        return {one.accountid: (one.balance, one.available, one.frozen) for one in self.told}

    def held(self) -> list[tuple[str, float, float, float]]:
        return [(one.vt_symbol, one.volume, one.price, one.pnl) for one in self.shown]

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        for task in self.tasks:
            task.result()


def run(work: Awaitable[None]) -> None:
    async def main() -> None:
        await work

    asyncio.run(main())


def test_funds_of_one_account_by_currency() -> None:
    async def main() -> None:
        rig = Rig()
        rig.wire.rows["accountUpdates"] = [
            rig.value("AccountReady", "true", ""),
            rig.value("AccountType", "INDIVIDUAL", ""),
            rig.value("CashBalance", "1005.25", "BASE"),
            rig.value("CashBalance", "-200.5", "USD"),
            rig.value("CashBalance", "5000", "HKD"),
            rig.value("NetLiquidation", "999", "USD"),
            rig.value("NetLiquidation-S", "999", "USD"),
            rig.value("NetLiquidationByCurrency", "1000.75", "USD"),
            rig.value("NetLiquidationByCurrency", "1777", "BASE"),
        ]
        await rig.start()
        assert rig.funds() == {"DU1-USD": (1000.75, -200.5, 1201.25), "DU1-HKD": (5000, 5000, 0)}
        assert len(rig.told) == 2
        assert {one.extra["currency"] for one in rig.told if one.extra} == {"USD", "HKD"}
        assert rig.accounts.account_type("DU1") == "INDIVIDUAL"
        assert rig.accounts.account_type("DU2") == ""
        assert ("reqAccountUpdates", True, "DU1") in rig.wire.client.sent

    run(main())


def test_a_change_is_one_event_and_no_change_is_none() -> None:
    async def main() -> None:
        rig = Rig()
        rig.wire.rows["accountUpdates"] = [
            rig.value("CashBalance", "10"),
            rig.value("NetLiquidationByCurrency", "10"),
        ]
        await rig.start()
        rig.told.clear()
        rig.value("CashBalance", "4")()
        rig.value("NetLiquidationByCurrency", "11")()
        await rig.settle()
        assert [(one.balance, one.available) for one in rig.told] == [(11, 4)]
        rig.value("NetLiquidationByCurrency", "11.0")()
        await rig.settle()
        assert len(rig.told) == 1
        rig.accounts.push_accounts()
        assert len(rig.told) == 2

    run(main())


def test_all_linked_accounts_each_with_its_own_request() -> None:
    async def main() -> None:
        rig = Rig("DU1", "DU2", prefix="SIM-")
        for account, cash in (("DU1", "1"), ("DU2", "2")):
            rig.wire.rows[account] = [rig.value("CashBalance", cash, account=account)]
        await rig.start()
        assert {name: row[0] for name, row in rig.funds().items()} == {"SIM-DU1-USD": 1, "SIM-DU2-USD": 2}
        multi = [row for row in rig.wire.client.sent if row[0] == "reqAccountUpdatesMulti"]
        assert [row[2:] for row in multi] == [("DU1", "", False), ("DU2", "", False)]

        # The link came back and the socket lived: the old subscriptions go first.
        rig.wire.client.sent.clear()
        await rig.start()
        assert rig.wire.client.sent[:4] == [
            ("cancelPositions",),
            ("reqPositions",),
            ("cancelAccountUpdatesMulti", multi[0][1]),
            ("cancelAccountUpdatesMulti", multi[1][1]),
        ]

        # A new connection knows nothing of them.
        rig.wire = FakeWire(["DU1"])
        await rig.start()
        assert rig.wire.client.sent == [("reqPositions",), ("reqAccountUpdates", True, "DU1")]
        rig.wire.client.sent.clear()
        await rig.start()
        assert rig.wire.client.sent[:3] == [
            ("cancelPositions",),
            ("reqPositions",),
            ("reqAccountUpdates", False, "DU1"),
        ]

    run(main())


def test_values_while_ib_resets_are_not_believed() -> None:
    async def main() -> None:
        rig = Rig()
        rig.wire.rows["accountUpdates"] = [rig.value("CashBalance", "10")]
        await rig.start()
        rig.told.clear()
        rig.value("AccountReady", "false", "")()
        rig.value("CashBalance", "0")()
        await rig.settle()
        assert rig.told == []
        rig.value("AccountReady", "true", "")()
        rig.value("CashBalance", "12")()
        await rig.settle()
        assert [one.balance for one in rig.told] == [12]

    run(main())


def test_funds_read_on_demand_tell_what_changed_and_leave_no_request_open() -> None:
    async def main() -> None:
        rig = Rig("DU1", "DU2")
        for account in rig.wire.accounts:
            rig.wire.rows[account] = [rig.value("CashBalance", "1", account=account)]
        await rig.start()
        rig.told.clear()
        rig.wire.client.sent.clear()
        rig.wire.summary = [
            ("DU1", "CashBalance", "1.0", "USD"),
            ("DU2", "CashBalance", "1", "USD"),
            ("DU2", "CashBalance", "3", "BASE"),
            ("DU2", "NetLiquidationByCurrency", "5", "USD"),
            ("DU2", "RealizedPnL", "7", "USD"),
        ]
        await rig.accounts.refresh_funds()
        await rig.settle()
        assert rig.funds() == {"DU2-USD": (5, 1, 4)}
        number = rig.wire.number
        assert rig.wire.client.sent == [
            ("reqAccountSummary", number, "All", "$LEDGER:ALL"),
            ("cancelAccountSummary", number),
        ]
        rig.wire.errors["reqAccountSummary"] = TimedOut("no answer")
        with pytest.raises(TimedOut):
            await rig.accounts.refresh_funds()
        assert rig.wire.client.sent[-1] == ("cancelAccountSummary", number + 1)

    run(main())


def test_of_more_than_fifty_accounts_everything_is_asked_account_by_account() -> None:
    async def main() -> None:
        names = [f"DU{number}" for number in range(1, 52)]
        rig = Rig(*names, trading="DU7")
        rig.wire.rows["DU7"] = [rig.position(STOCK, 10, 100, "DU7"), rig.value("CashBalance", "7", account="DU7")]
        await rig.start()
        sent = rig.wire.client.sent
        assert [row for row in sent if "Positions" in row[0]] == [("reqPositionsMulti", 101, "DU7", "")]
        assert [row[2] for row in sent[1:]] == ["DU7", *(name for name in names if name != "DU7")]
        assert [(holding.symbol, holding.volume) for holding in rig.positions.held] == [("IBM", Decimal(10))]
        assert rig.funds() == {"DU7-USD": (7, 7, 0)}

        # A round reads the traded account and some others in turn, and leaves nothing open.
        rounds = []
        for _ in range(11):
            sent.clear()
            await rig.accounts.refresh_funds()
            asked = [row for row in sent if row[0] == "reqAccountUpdatesMulti"]
            assert {row[4] for row in asked} == {True}
            cancelled = [row for row in sent if row[0] == "cancelAccountUpdatesMulti"]
            assert [row[1] for row in cancelled] == [row[1] for row in asked]
            rounds.append([row[2] for row in asked])
        assert {accounts[0] for accounts in rounds} == {"DU7"}
        assert {len(accounts) for accounts in rounds} == {6}
        assert {account for accounts in rounds for account in accounts} == set(names)

        sent.clear()
        await rig.start()
        assert sent[0] == ("cancelPositionsMulti", 101)
        assert ("cancelPositions",) not in sent

    run(main())


def test_many_accounts_and_none_to_trade_have_funds_and_no_positions() -> None:
    async def main() -> None:
        names = [f"DU{number}" for number in range(1, 61)]
        rig = Rig(*names, trading="")
        await rig.start()
        await rig.start()
        kinds = {row[0] for row in rig.wire.client.sent}
        assert kinds == {"reqAccountUpdatesMulti", "cancelAccountUpdatesMulti"}
        await rig.accounts.refresh_funds()
        assert rig.wire.client.sent[-1][0] == "cancelAccountUpdatesMulti"

    run(main())


@pytest.mark.parametrize("text", ["", "nan", "Infinity", "1.7976931348623157E308", "n/a"])
def test_a_value_that_is_no_number_keeps_the_old_one(text: str) -> None:
    async def main() -> None:
        rig = Rig()
        rig.wire.rows["accountUpdates"] = [rig.value("CashBalance", "10")]
        await rig.start()
        rig.value("CashBalance", text)()
        rig.value("CashBalance", text)()
        await rig.settle()
        assert rig.funds()["DU1-USD"] == (10, 10, 0)
        assert len(rig.lines) == 1

    run(main())


def test_funds_that_do_not_come_are_a_line_and_are_shown_when_they_come() -> None:
    async def main() -> None:
        rig = Rig("DU1", "DU2")
        rig.wire.errors["DU1"] = TimedOut("no answer", about="reqAccountUpdatesMulti")
        rig.wire.rows["DU2"] = [rig.value("CashBalance", "2", account="DU2")]
        await rig.start()
        assert set(rig.funds()) == {"DU2-USD"}
        assert [line for line in rig.lines if "DU1" in line]
        rig.value("CashBalance", "1")()
        await rig.settle()
        assert rig.funds()["DU1-USD"] == (1, 1, 0)
        rig.wire.errors["DU1"] = ConnectionFailed("gone")
        with pytest.raises(ConnectionFailed):
            await rig.start()

    run(main())


def test_positions_wait_for_their_contracts_and_then_change_by_push() -> None:
    async def main() -> None:
        rig = Rig()
        rig.wire.rows["positions"] = [
            rig.position(STOCK, 10.5, 100.25),
            rig.position(FUTURE, -2, 250_000),
            rig.position(HONG_KONG, 300, 400, account="DU2"),
        ]
        await rig.start()
        assert rig.shown == []
        rig.last["IBM", Exchange.SMART] = Decimal("101.25")
        rig.last["ES-202612-USD-FUT", Exchange.CME] = Decimal(4990)
        rig.positions.push_positions()
        assert rig.held() == [("IBM.SMART", 10.5, 100.25, 10.5), ("ES-202612-USD-FUT.CME", -2, 5000, 1000)]
        assert {one.direction for one in rig.shown} == {Direction.NET}
        assert rig.shown[0].extra == {"currency": "USD", "account": "DU1"}
        assert len(rig.positions.held) == 2
        held = rig.positions.holding("IBM", Exchange.SMART)
        assert held is not None
        assert (held.volume, held.cost, held.size) == (Decimal("10.5"), Decimal("100.25"), Decimal(1))

        rig.positions.push_positions()
        assert len(rig.shown) == 2
        rig.last["IBM", Exchange.SMART] = Decimal("100.75")
        rig.positions.push_position("IBM", Exchange.SMART)
        assert rig.held()[-1] == ("IBM.SMART", 10.5, 100.25, 5.25)
        rig.position(STOCK, 20, 100)()
        assert rig.held()[-1] == ("IBM.SMART", 20, 100, 15)

    run(main())


def test_what_is_gone_becomes_zero_once() -> None:
    async def main() -> None:
        rig = Rig()
        rig.wire.rows["positions"] = [rig.position(STOCK, 10, 100), rig.position(FUTURE, 1, 250_000)]
        await rig.start()
        rig.positions.push_positions()
        rig.shown.clear()
        rig.position(STOCK, 0, 0)()
        rig.position(STOCK, 0, 0)()
        assert rig.held() == [("IBM.SMART", 0, 0, 0)]
        assert rig.positions.holding("IBM", Exchange.SMART) is None
        # While away the future was closed: it is not in the list any more.
        rig.wire.rows["positions"] = []
        await rig.start()
        rig.positions.push_positions()
        rig.positions.push_positions()
        assert rig.held()[1:] == [("ES-202612-USD-FUT.CME", 0, 0, 0)]
        rig.position(STOCK, 5, 90)()
        assert rig.held()[-1] == ("IBM.SMART", 5, 90, 0)

    run(main())


def test_a_position_in_something_new_is_named_first() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.start()
        rig.position(HONG_KONG, 100, 400)()
        rig.positions.push_positions()
        assert rig.shown == []
        await rig.settle()
        assert rig.held() == [("00700.SEHK", 100, 400, 0)]
        assert rig.shown[0].extra == {"currency": "HKD", "account": "DU1"}

    run(main())


def test_a_name_that_tws_could_not_tell_at_first_replaces_the_number() -> None:
    async def main() -> None:
        rig = Rig()
        key = NAMES.pop(99)
        try:
            rig.wire.rows["positions"] = [rig.position(FUTURE, 1, 250_000)]
            await rig.start()
            rig.positions.push_positions()
            assert rig.held() == [("99.SMART", 1, 5000, 0)]
        finally:
            NAMES[99] = key
        await rig.start()
        rig.positions.push_positions()
        assert rig.held()[1:] == [("99.SMART", 0, 0, 0), ("ES-202612-USD-FUT.CME", 1, 5000, 0)]
        assert [holding.symbol for holding in rig.positions.held] == ["ES-202612-USD-FUT"]

    run(main())


def test_a_pushed_position_that_could_not_be_named_is_asked_for_again() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.start()
        rig.contracts.failing = TimedOut("no answer", about="contract")
        rig.position(STOCK, 10, 100)()
        await rig.settle()
        with pytest.raises(TimedOut):
            await rig.positions.name_rest()
        assert rig.shown == []
        rig.contracts.failing = None
        await rig.positions.name_rest()
        await rig.positions.name_rest()
        assert rig.held() == [("IBM.SMART", 10, 100, 0)]

    run(main())


def test_a_contract_that_cannot_be_asked_for_is_a_line_and_comes_with_the_next_list() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.start()
        rig.contracts.failing = ConnectionFailed("gone")
        rig.position(STOCK, 10, 100)()
        await rig.settle()
        assert rig.shown == []
        assert len(rig.lines) == 1
        rig.contracts.failing = None
        rig.wire.rows["positions"] = [rig.position(STOCK, 10, 100)]
        await rig.start()
        rig.positions.push_positions()
        assert rig.held() == [("IBM.SMART", 10, 100, 0)]

    run(main())


@pytest.mark.parametrize("cost", [MAX_DOUBLE, float("nan"), float("inf")])
def test_a_cost_that_tws_does_not_have_is_no_number_on_the_engine(cost: float) -> None:
    async def main() -> None:
        rig = Rig()
        rig.wire.rows["positions"] = [rig.position(STOCK, 10, cost)]
        await rig.start()
        rig.positions.push_positions()
        assert rig.held() == [("IBM.SMART", 10, 0, 0)]

    run(main())


def test_without_a_trading_account_there_are_no_positions() -> None:
    async def main() -> None:
        rig = Rig("DU1", "DU2", trading="")
        rig.wire.rows["positions"] = [rig.position(STOCK, 10, 100)]
        await rig.start()
        rig.positions.push_positions()
        assert rig.shown == []

    run(main())


def test_positions_that_cannot_be_read_are_an_error() -> None:
    async def main() -> None:
        rig = Rig()
        rig.wire.rows["positions"] = [rig.position(STOCK, 10, 100)]
        await rig.start()
        rig.positions.push_positions()
        rig.wire.rows["positions"] = []
        rig.wire.errors["positions"] = TimedOut("no answer")
        with pytest.raises(TimedOut):
            await rig.start()
        rig.positions.push_positions()
        assert rig.held() == [("IBM.SMART", 10, 100, 0)]
        rig.position(STOCK, 11, 100)()
        assert rig.held()[-1] == ("IBM.SMART", 11, 100, 0)

    run(main())


# ---------------------------------------------------------------------- over the wire of the simulated TWS


def position_of(rig: IbRig, vt_symbol: str) -> PositionData | None:
    return rig.main.get_position(f"{rig.name}.{vt_symbol}.{Direction.NET.value}")


def books_differ(rig: IbRig) -> list[str]:
    """What of positions and funds is not as the broker has it; orders are other tests' matter."""
    return [line for line in rig.differences() if line.startswith(("position", "account"))]


def wait_books(rig: IbRig) -> None:
    rig.wait(lambda: not books_differ(rig), "positions and funds equal to /state")


def refresh_funds(rig: IbRig) -> None:
    """As the session does now and then: TWS's own news of prices come every three minutes."""
    gateway = rig.gateway
    work = gateway.session._rooms.accounts.refresh_funds()
    asyncio.run_coroutine_threadsafe(work, gateway._thread.loop).result(10)


def phone(rig: IbRig, vt_symbol: str, direction: str, volume: int, account: str = ACCOUNT) -> None:
    rig.sim.order(vt_symbol, direction, volume, broker="tws", account=account, type="MARKET")


def test_a_position_from_the_phone_in_something_never_seen() -> None:
    with IbRig() as rig:
        rig.connect()
        rig.sim.pause()
        rig.sim.quote("00005.SEHK", last=66, bid="65.95", ask="66.05", bid_size=4000, ask_size=4000)
        phone(rig, "00005.SEHK", "LONG", 400)
        held = rig.wait(lambda: position_of(rig, "00005.SEHK"), "the position")
        assert (held.volume, held.price) == (400, 66.05)
        assert held.extra == {"currency": "HKD", "account": rig.account}
        phone(rig, "00005.SEHK", "SHORT", 400)
        rig.wait(lambda: getattr(position_of(rig, "00005.SEHK"), "volume", None) == 0, "the position gone")
        wait_books(rig)


def test_a_future_costs_its_price_and_not_its_contract_value() -> None:
    with IbRig() as rig:
        rig.connect()
        rig.sim.pause()
        vt_symbol = "ES-202612-USD-FUT.CME"
        rig.subscribe(vt_symbol)
        rig.wait(lambda: rig.main.get_contract(vt_symbol), "the contract")
        rig.sim.quote(vt_symbol, last=5000, bid=4999, ask=5000, bid_size=10, ask_size=10)
        phone(rig, vt_symbol, "LONG", 2)
        held = rig.wait(lambda: position_of(rig, vt_symbol), "the position")
        assert held.price == pytest.approx(5000, abs=1)
        rig.sim.quote(vt_symbol, last=5010, bid=5009, ask=5010, bid_size=10, ask_size=10)
        rig.wait(lambda: getattr(position_of(rig, vt_symbol), "pnl", 0) > 900, "the profit")
        refresh_funds(rig)
        wait_books(rig)

        def open_summaries() -> int:
            wire = rig.sim.wire()["tws"]
            return wire["reqAccountSummary"] - wire["cancelAccountSummary"]

        rig.wait(lambda: not open_summaries(), "no summary left open")


def test_other_accounts_show_funds_and_no_positions() -> None:
    with IbRig() as rig:
        rig.connect()
        rig.sim.pause()
        phone(rig, "IBM.SMART", "LONG", 10, "DU1000003")

        def spent() -> bool:
            account = rig.main.get_account(f"{rig.name}.DU1000003-USD")
            return account is not None and account.available < 1_000_000

        rig.wait(spent, "the other account's funds")
        assert position_of(rig, "IBM.SMART") is None
        wait_books(rig)


@pytest.mark.parametrize("code", [1101, 1102])
def test_after_the_link_returns_everything_is_asked_again(code: int) -> None:
    with IbRig() as rig:
        rig.connect()
        rig.sim.pause()
        before = rig.sim.wire()["tws"]
        rig.sim.faults([{"broker": "tws", "do": "notice", "code": 1100}])
        rig.sim.faults([{"broker": "tws", "do": "notice", "code": code}])
        rig.wait_log("已恢复：")
        after = rig.sim.wire()["tws"]
        assert after["reqPositions"] == before["reqPositions"] + 1
        assert after["cancelPositions"] == before.get("cancelPositions", 0) + 1
        assert after["cancelAccountUpdatesMulti"] == before["reqAccountUpdatesMulti"]
        phone(rig, "IBM.SMART", "LONG", 10)
        rig.wait(lambda: position_of(rig, "IBM.SMART"), "the position")
        wait_books(rig)


def test_what_was_closed_while_away_becomes_zero() -> None:
    with IbRig() as rig:
        rig.connect()
        rig.sim.pause()
        phone(rig, "IBM.SMART", "LONG", 10)
        rig.wait(lambda: position_of(rig, "IBM.SMART"), "the position")
        rig.sim.faults([{"broker": "tws", "do": "refuse", "for_s": 1}, {"broker": "tws", "do": "drop"}])
        rig.wait_log("正在重连")
        phone(rig, "IBM.SMART", "SHORT", 10)
        rig.wait_log("已恢复：")
        rig.wait(lambda: getattr(position_of(rig, "IBM.SMART"), "volume", None) == 0, "the position gone")
        wait_books(rig)


class Socket:
    """Remembers what went out, and when; ``complete`` is set when all that was expected did."""

    def __init__(self, expected: int) -> None:
        self.sent: list[tuple[float, bytes]] = []
        self.complete = asyncio.Event()
        self._expected = expected

    def sendMsg(self, data: bytes) -> None:
        self.sent.append((asyncio.get_running_loop().time(), data))
        if len(self.sent) == self._expected:
            self.complete.set()


def test_messages_go_out_evenly_and_orders_first() -> None:
    async def main() -> None:
        wire = Wire(cast(Listener, SimpleNamespace(on_bad_message=None)), SystemClock())
        wire.client.conn = socket = Socket(63)
        for number in range(60):
            wire.client.sendMsg(f"76\0{number}\0")
        assert len(socket.sent) == BURST
        for number in range(3):
            wire.client.sendMsg(f"3\0{number}\0")
        assert wire.client.gone == BURST
        await asyncio.wait_for(socket.complete.wait(), 15)
        assert wire.client.gone == 63
        order = [data[4:].split(b"\0")[:2] for _at, data in socket.sent]
        assert order[BURST : BURST + 3] == [[b"3", b"0"], [b"3", b"1"], [b"3", b"2"]]
        bulk = [int(fields[1]) for fields in order if fields[0] == b"76"]
        assert bulk == list(range(60))
        times = [at for at, _data in socket.sent]
        assert max(sum(begin <= at <= begin + 1 for at in times) for begin in times) <= BURST + RATE + 1

    run(main())


def test_sixty_accounts() -> None:
    """Orders, positions and funds of all of them, without one request that TWS refuses; 60 requests take more than a
    second to go out, and none is given up for that (the time-out here is one second)."""
    with IbRig(switches={"tws.accounts": 60}) as rig:
        rig.connect()
        rig.sim.pause()
        assert len(rig.main.get_all_accounts()) == 120
        rig.sim.quote("AAPL.SMART", last=200, bid="199.9", ask="200.1", bid_size=1000, ask_size=1000)
        rig.subscribe("AAPL.SMART")
        rig.wait_tick("AAPL.SMART")
        bought = rig.send("AAPL.SMART", Direction.LONG, 10, 201)
        rig.wait_status(bought, Status.ALLTRADED)
        phone(rig, "IBM.SMART", "LONG", 7, "DU1000040")
        rig.wait_equal()
        sold = rig.send("AAPL.SMART", Direction.SHORT, 4, 199)
        rig.wait_status(sold, Status.ALLTRADED)
        rig.wait_equal()
        rig.sim.quote("IBM.SMART", last=333, bid="332.9", ask="333.1", bid_size=1000, ask_size=1000)
        rig.wait_equal(60)  # another account's funds, which no trade changed: its turn comes

        rig.sim.faults([{"broker": "tws", "do": "notice", "code": 1100}])
        rig.sim.faults([{"broker": "tws", "do": "notice", "code": 1102}])
        rig.wait_log("已恢复：")
        phone(rig, "AAPL.SMART", "LONG", 5)
        rig.wait_equal()
        wire = rig.sim.wire()["tws"]
        assert not {"reqPositions", "reqAccountSummary", "reqAccountUpdates"} & wire.keys()
        assert (wire["reqPositionsMulti"], wire["cancelPositionsMulti"]) == (2, 1)
        assert not [line for line in rig.seen.log_lines() if "Max rate" in line or "321" in line or "失败" in line]


def test_an_advisors_login() -> None:
    """The master account is one of those that are shown; it has no money."""
    with IbRig(switches={"tws.fa": True}) as rig:
        rig.connect()
        rig.sim.pause()
        phone(rig, "IBM.SMART", "LONG", 10)
        rig.wait(lambda: position_of(rig, "IBM.SMART"), "the position")
        rig.wait_equal()
        assert {one.accountid for one in rig.main.get_all_accounts()} >= {"DF1000000-USD", "DU1000003-HKD"}
