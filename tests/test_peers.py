"""The official client is not fooled: the simulated TWS as IBKR's own Python client and vn.py's own IB gateway see it.

Both come with the extra ``peers``, which pins protobuf and so wants an environment of its own. Without them this file
is skipped; with ``BROKERS_PEERS=1`` their absence is a failure. Source: tws-api 2, 3, 6, 8, 14.3, 20.18.

Both lose news that comes sooner than TWS ever sends it. :func:`receive_all`, :class:`Remembering` and ``PeerRig.quiet``
take those races out; what the peers send and how they read it stays their own.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from vnpy.trader.constant import Direction, Exchange, Interval, Product, Status
from vnpy.trader.event import EVENT_ACCOUNT, EVENT_POSITION, EVENT_TRADE
from vnpy.trader.object import BarData, HistoryRequest

import brokersim
from tests.conformance_venues import PeerTwsVenue
from tests.harness import DEADLINE, Rig
from vnpy_brokerkit.conformance import run

PEERS = ("ibapi", "vnpy_ib")
_missing = [name for name in PEERS if importlib.util.find_spec(name) is None]
if _missing and os.environ.get("BROKERS_PEERS") != "1":
    pytest.skip(f"{', '.join(_missing)} not installed: pip install -e .[test,peers]", allow_module_level=True)


def peer(module: str, name: str) -> Any:
    """Something of a peer; imported by name since the plain environment, where types are checked, has no peers."""
    return getattr(importlib.import_module(module), name)


Connection = peer("ibapi.connection", "Connection")
Contract, Order = peer("ibapi.contract", "Contract"), peer("ibapi.order", "Order")
EClient, EWrapper = peer("ibapi.client", "EClient"), peer("ibapi.wrapper", "EWrapper")
Decoder, OrderCancel = peer("ibapi.decoder", "Decoder"), peer("ibapi.order_cancel", "OrderCancel")
ExecutionFilter = peer("ibapi.execution", "ExecutionFilter")
IbGateway = peer("vnpy_ib", "IbGateway")

MARGIN = "DU1000001"
NOTICES = {2104, 2106, 2158}
UNREADABLE = {320, 323, *range(500, 600)}
"""Codes that say that a message was not understood, by the simulator (320, 323, 505) or by the client itself."""
T = TypeVar("T")
Call = tuple[str, tuple[Any, ...]]


# -- the official client, made to complain ---------------------------------------------------------------------


class Heard:
    """What the client was told, in order: (callback, arguments); and everything that it stumbled over."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.stumbles: list[str] = []
        self._news = threading.Condition()

    def take(self, name: str, args: tuple[Any, ...]) -> None:
        with self._news:
            self.calls.append((name, args))
            self._news.notify_all()

    def stumble(self, text: str) -> None:
        with self._news:
            self.stumbles.append(text)
            self._news.notify_all()

    def of(self, name: str, since: int = 0) -> list[tuple[Any, ...]]:
        with self._news:
            return [args for told, args in self.calls[since:] if told == name]

    def wait(self, found: Callable[[], T | None], what: str) -> T:
        """The first true answer of ``found``; fails at once when the client stumbles."""
        answer: T | None = None

        def done() -> bool:
            nonlocal answer
            answer = found()
            return bool(answer) or bool(self.stumbles)

        with self._news:
            self._news.wait_for(done, DEADLINE)
            recent = "\n".join(map(str, self.calls[-20:]))
        assert not self.stumbles, self.stumbles
        assert answer, f"not within {DEADLINE:g} s: {what}\n{recent}"
        return answer


def wrapper(heard: Heard) -> Any:
    """An EWrapper of which each callback is only noted; one that EWrapper lacks is an AttributeError."""

    def noted(name: str) -> Callable[..., None]:
        return lambda self, *args: heard.take(name, args)

    callbacks = {name: noted(name) for name in vars(EWrapper) if not name.startswith("_")}
    return type("Noted", (EWrapper,), callbacks)()


class Fields(tuple[bytes, ...]):
    """A message's fields that know whether a decoder, which reads them one by one, has left some."""

    _reading: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        self._reading = super().__iter__()
        return self._reading

    def left(self) -> list[bytes]:
        return [] if self._reading is None else list(self._reading)


class Complaints(logging.Handler):
    """Warnings and errors of the client's log: it logs what it cannot decode, and goes on."""

    def __init__(self, heard: Heard) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.stumble(f"{record.name}: {record.getMessage()}")


def strictly(decoder: Any, heard: Heard) -> Callable[[tuple[bytes, ...], int], None]:
    """The decoder's ``interpret``, with fields left over as a stumble: the client itself passes over them silently."""

    def interpret(fields: tuple[bytes, ...], message_id: int) -> None:
        watched = Fields(fields)
        Decoder.interpret(decoder, watched, message_id)
        if left := watched.left():
            heard.stumble(f"message {message_id}: not read {left} of {fields}")

    return interpret


def receive_all(self: Any) -> bytes:
    """What ``Connection._recvAllMsg`` reads, without its loss: the client reads on after a full buffer of 4096 bytes,
    and when nothing more comes within its timeout it forgets what it has read."""
    data: bytes = self.socket.recv(65_536)
    return data


def hang_up(connection: Any) -> None:
    """End a connection so that the client's reader, which waits in recv, notices at once; it then closes the socket."""
    try:
        connection.socket.shutdown(socket.SHUT_RDWR)
    except (AttributeError, OSError):
        pass  # closed already: the client sets its socket to None


class Official:
    """The official client on a connection, with a thread that decodes; every message must decode to its last field."""

    def __init__(self, address: str, client_id: int) -> None:
        self.heard = Heard()
        self.api = EClient(wrapper(self.heard))
        self._ids = iter(range(9001, 9999))
        self._complaints = Complaints(self.heard)
        self._log = logging.getLogger("ibapi")
        host, _colon, port = address.rpartition(":")
        self._log.addHandler(self._complaints)
        try:
            self.api.connect(host, int(port), client_id)
            self._reader: threading.Thread = self.api.reader
            self.api.decoder.interpret = strictly(self.api.decoder, self.heard)
            self._thread = threading.Thread(target=self._run, name="official client")
            self._thread.start()
        except BaseException:
            self._log.removeHandler(self._complaints)
            raise

    def _run(self) -> None:
        try:
            self.api.run()
        except Exception as error:  # noqa: BLE001 - what the client dies of is a finding, told by the waiting test
            self.heard.stumble(f"the client died of {error!r}")

    def close(self) -> None:
        """Disconnect; both threads of the client end."""
        hang_up(self.api.conn)
        for thread in (self._thread, self._reader):
            thread.join(DEADLINE)
            assert not thread.is_alive()
        self._log.removeHandler(self._complaints)

    # -- asking

    def next_id(self) -> int:
        return next(self._ids)

    def ask(self, request: str, *args: Any, end: str) -> list[Call]:
        """Ask without an id; everything told up to the callback ``end``."""
        return self._ask(request, args, lambda call: call[0] == end, end)

    def ask_by_id(self, request: str, *args: Any, end: str, request_id: int | None = None) -> list[Call]:
        """Ask with an id; everything told about this id up to the callback ``end``."""
        number = self.next_id() if request_id is None else request_id
        calls = self._ask(request, (number, *args), lambda call: call[0] == end and call[1][0] == number, end)
        return [call for call in calls if call[1] and call[1][0] == number]

    def _ask(self, request: str, args: tuple[Any, ...], is_end: Callable[[Call], bool], end: str) -> list[Call]:
        begin = len(self.heard.calls)
        getattr(self.api, request)(*args)

        def answer() -> list[Call] | None:
            calls = self.heard.calls[begin:]
            return next((calls[: index + 1] for index, call in enumerate(calls) if is_end(call)), None)

        return self.heard.wait(answer, f"{end} of {request}{args}")

    def wait_call(self, name: str, test: Callable[..., bool], since: int = 0) -> tuple[Any, ...]:
        return self.heard.wait(
            lambda: next((args for args in self.heard.of(name, since) if test(*args)), None), f"{name} as wanted"
        )

    def order_id(self) -> int:
        """The next id, asked of the server as vn.py's gateway does."""
        [*_others, (_name, [order_id])] = self.ask("reqIds", 1, end="nextValidId")
        return int(order_id)

    def place(self, contract: Any, action: str, kind: str, size: int, price: float | None = None) -> int:
        order = Order()
        order.action, order.orderType, order.totalQuantity = action, kind, Decimal(size)
        order.account, order.tif, order.orderRef = MARGIN, "DAY", "peer"
        if price is not None:
            order.lmtPrice = price
        number = self.order_id()
        self.api.placeOrder(number, contract, order)
        return number

    def statuses(self, order_id: int) -> list[str]:
        return [args[1] for args in self.heard.of("orderStatus") if args[0] == order_id]


def contract(sec_type: str, symbol: str, exchange: str, currency: str, **more: Any) -> Any:
    made = Contract()
    made.secType, made.symbol, made.exchange, made.currency = sec_type, symbol, exchange, currency
    for name, value in more.items():
        setattr(made, name, value)
    return made


def aapl() -> Any:
    return contract("STK", "AAPL", "SMART", "USD")


# -- fixtures --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sim() -> Iterator[brokersim.Simulation]:
    with brokersim.running(vbrokers=False, tws=True) as running:
        yield running


@pytest.fixture(autouse=True)
def _whole_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "_recvAllMsg", receive_all)


@pytest.fixture
def official(sim: brokersim.Simulation) -> Iterator[Official]:
    """The official client as client 7, told its next order id; nothing may have gone wrong when it leaves."""
    assert sim.tws_address is not None
    client = Official(sim.tws_address, 7)
    try:
        client.wait_call("nextValidId", lambda _order_id: True)
        yield client
    finally:
        client.close()
    assert not client.heard.stumbles
    assert not {code for _id, code, _text in errors(client)} & UNREADABLE


def errors(client: Official) -> list[tuple[int, int, str]]:
    """(request id, code, text) of everything that is no farm notice."""
    return [(args[0], args[2], args[3]) for args in client.heard.of("error") if args[2] not in NOTICES]


# -- the watch itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message_id", "fields", "complaint"),
    [
        (3, (b"1", b"Filled", b"1", b"0", b"1", b"1", b"0", b"1", b"7", b"", b"0", b"surplus"), "not read"),
        (58, (b"1", b"7", b"1", b"surplus"), "diff len fields"),
    ],
)
def test_the_watch_sees_a_surplus_field(message_id: int, fields: tuple[bytes, ...], complaint: str) -> None:
    heard = Heard()
    log, complaints = logging.getLogger("ibapi"), Complaints(heard)
    decoder = Decoder(wrapper(heard), 178)
    log.addHandler(complaints)
    try:
        strictly(decoder, heard)(fields[:-1], message_id)
        assert not heard.stumbles
        strictly(decoder, heard)(fields, message_id)
    finally:
        log.removeHandler(complaints)
    [stumble] = heard.stumbles
    assert complaint in stumble


# -- the official client ---------------------------------------------------------------------------------------


def test_handshake_and_welcome(official: Official) -> None:
    official.wait_call("error", lambda _id, _time, code, *_: code == 2158)
    assert official.api.serverVersion() == 178
    assert [name for name, _args in official.heard.calls][:3] == ["connectAck", "managedAccounts", "nextValidId"]
    assert official.heard.of("managedAccounts")[0][0].startswith(MARGIN + ",")
    assert {args[2] for args in official.heard.of("error")} == NOTICES
    [(_name, [now])] = official.ask("reqCurrentTime", end="currentTime")
    assert abs(now - datetime.now(timezone.utc).timestamp()) < 60


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (("STK", "AAPL", "SMART", "USD", {}), ("AAPL", "NASDAQ", "")),
        (("STK", "700", "SEHK", "HKD", {}), ("700", "SEHK", "")),
        (("STK", "BRK B", "SMART", "USD", {}), ("BRK B", "NYSE", "")),
        (("CASH", "EUR", "IDEALPRO", "USD", {}), ("EUR", "", "")),
        (("FUT", "ES", "CME", "USD", {"lastTradeDateOrContractMonth": "202612"}), ("ES", "", "50")),
        (
            ("OPT", "AAPL", "SMART", "USD", {"lastTradeDateOrContractMonth": "20261218", "strike": 230, "right": "C"}),
            ("AAPL", "", "100"),
        ),
    ],
    ids=["AAPL", "700", "BRK B", "EUR.USD", "ES", "option"],
)
def test_contract_details(official: Official, wanted: Any, expected: tuple[str, str, str]) -> None:
    sec_type, symbol, exchange, currency, more = wanted
    asked = contract(sec_type, symbol, exchange, currency, **more)
    [(name, (_id, details)), _end] = official.ask_by_id("reqContractDetails", asked, end="contractDetailsEnd")
    assert name == "contractDetails"
    found = details.contract
    assert (found.symbol, found.primaryExchange, found.multiplier) == expected
    assert (found.secType, found.exchange, found.currency) == (sec_type, exchange, currency)
    assert found.conId > 0
    assert 0 < details.minTick <= 0.5
    assert details.minSize > 0
    assert details.timeZoneId
    assert details.liquidHours
    assert exchange in details.validExchanges.split(",")
    assert not errors(official)


def test_an_unknown_contract_is_error_200(official: Official) -> None:
    [(_name, args)] = official.ask_by_id(
        "reqContractDetails", contract("STK", "NOSUCHNAME", "SMART", "USD"), end="error"
    )
    assert args[2] == 200


def test_ticks(official: Official) -> None:
    ticker = official.next_id()
    official.api.reqMktData(ticker, aapl(), "233", False, False, [])
    for kind in (1, 2, 4, 6, 7, 9, 14):  # bid, ask, last, high, low, close, open
        price = official.wait_call("tickPrice", lambda tick, of, *_, kind=kind: (tick, of) == (ticker, kind))[2]
        assert price > 0
    for kind in (0, 3, 5, 8):  # sizes of bid, ask, last; the day's volume
        size = official.wait_call("tickSize", lambda tick, of, *_, kind=kind: (tick, of) == (ticker, kind))[2]
        assert size >= 0
    official.wait_call("marketDataType", lambda tick, kind: (tick, kind) == (ticker, 1))
    official.wait_call("tickReqParams", lambda tick, *_: tick == ticker)
    seconds = official.wait_call("tickString", lambda tick, of, _text: (tick, of) == (ticker, 45))[2]
    assert int(seconds) > 1_700_000_000
    begin = len(official.heard.calls)
    official.wait_call("tickPrice", lambda tick, *_: tick == ticker, since=begin)
    official.api.cancelMktData(ticker)
    official.ask("reqCurrentTime", end="currentTime")
    begin = len(official.heard.calls)
    official.ask("reqCurrentTime", end="currentTime")
    assert not official.heard.of("tickPrice", since=begin)
    assert not errors(official)


def test_option_ticks_bring_greeks(official: Official) -> None:
    ticker = official.next_id()
    call = contract(
        "OPT", "AAPL", "SMART", "USD", lastTradeDateOrContractMonth="20261218", strike=230, right="C", multiplier="100"
    )
    official.api.reqMktData(ticker, call, "", False, False, [])
    args = official.wait_call("tickOptionComputation", lambda tick, of, *_: (tick, of) == (ticker, 13))
    assert 0 <= args[4] <= 1  # delta of a call
    official.api.cancelMktData(ticker)
    assert not errors(official)


def test_a_resting_order_is_listed_and_cancelled(official: Official) -> None:
    number = official.place(aapl(), "BUY", "LMT", 10, 1.5)
    official.wait_call("orderStatus", lambda order, status, *_: (order, status) == (number, "Submitted"))
    for request in ("reqOpenOrders", "reqAllOpenOrders"):
        calls = official.ask(request, end="openOrderEnd")
        [(placed, order, state)] = [
            args[1:] for name, args in calls if name == "openOrder" and args[0] == number and args[3].status
        ][-1:]
        assert (placed.symbol, placed.secType, order.action, order.orderType) == ("AAPL", "STK", "BUY", "LMT")
        assert (order.totalQuantity, order.lmtPrice, order.account, order.tif) == (10, 1.5, MARGIN, "DAY")
        assert (order.orderRef, order.clientId, state.status) == ("peer", 7, "Submitted")
        assert order.permId > 0
    official.api.cancelOrder(number, OrderCancel())
    official.wait_call("error", lambda order, _time, code, *_: (order, code) == (number, 202))
    assert official.statuses(number)[-1] == "Cancelled"
    assert [code for _id, code, _text in errors(official)] == [202]
    calls = official.ask("reqCompletedOrders", False, end="completedOrdersEnd")
    done = [args for name, args in calls if name == "completedOrder" and args[1].permId == order.permId]
    [(_contract, completed, state)] = done
    assert (state.status, completed.totalQuantity, completed.filledQuantity) == ("Cancelled", 10, 0)


def test_a_market_order_fills(official: Official, sim: brokersim.Simulation) -> None:
    number = official.place(aapl(), "BUY", "MKT", 10)
    official.wait_call("orderStatus", lambda order, status, *_: (order, status) == (number, "Filled"))
    _id, bought, execution = official.wait_call("execDetails", lambda _id, _contract, done: done.orderId == number)
    report = official.wait_call("commissionAndFeesReport", lambda told: told.execId == execution.execId)[0]
    assert (bought.symbol, execution.side, execution.shares, execution.acctNumber) == ("AAPL", "BOT", 10, MARGIN)
    assert execution.price > 0
    assert (report.currency, report.commissionAndFees > 0) == ("USD", True)
    calls = official.ask_by_id("reqExecutions", ExecutionFilter(), end="execDetailsEnd")
    again = [args[2] for name, args in calls if name == "execDetails" and args[2].execId == execution.execId]
    assert [(one.orderId, one.cumQty, one.price) for one in again] == [(number, 10, execution.price)]
    assert execution.execId in [row["id"] for row in sim.state()["tws"]["trades"]]
    assert not errors(official)


def test_a_refused_order_says_why(official: Official) -> None:
    number = official.place(aapl(), "BUY", "LMT", 10, 1.23456)
    _id, _time, code, text, _json = official.wait_call("error", lambda order, *_: order == number)
    assert code == 110
    assert "price" in text


def test_account_requests(official: Official) -> None:
    bought = official.place(aapl(), "BUY", "MKT", 10)
    official.wait_call("orderStatus", lambda order, status, *_: (order, status) == (bought, "Filled"))
    calls = official.ask("reqPositions", end="positionEnd")
    [held] = [args for name, args in calls if name == "position" and args[:1] == (MARGIN,)]
    assert (held[1].symbol, held[2] >= 10, held[3] > 0) == ("AAPL", True, True)
    official.api.cancelPositions()

    calls = official.ask("reqAccountUpdates", True, MARGIN, end="accountDownloadEnd")
    values = {args[0::2][:2]: args[1] for name, args in calls if name == "updateAccountValue"}
    assert float(values["NetLiquidationByCurrency", "USD"]) > 0
    assert float(values["CashBalance", "HKD"]) == 5_000_000
    [row] = [args for name, args in calls if name == "updatePortfolio"]
    assert (row[0].conId, row[1], row[7]) == (held[1].conId, held[2], MARGIN)
    assert "updateAccountTime" in [name for name, _args in calls]
    official.api.reqAccountUpdates(False, MARGIN)

    number = official.next_id()
    calls = official.ask_by_id(
        "reqAccountSummary", "All", "NetLiquidation,$LEDGER:ALL", end="accountSummaryEnd", request_id=number
    )
    assert {args[1] for name, args in calls if name == "accountSummary"} == {MARGIN, "DU1000002", "DU1000003"}
    official.api.cancelAccountSummary(number)
    assert not errors(official)


@pytest.mark.parametrize(("size", "duration", "form", "apart"), [("1 min", "1 D", 2, 60), ("1 day", "1 M", 1, 86_400)])
def test_history(official: Official, size: str, duration: str, form: int, apart: int) -> None:
    calls = official.ask_by_id(
        "reqHistoricalData", aapl(), "", duration, size, "TRADES", 1, form, False, [], end="historicalDataEnd"
    )
    bars = [args[1] for name, args in calls if name == "historicalData"]
    assert len(bars) > 15
    times = [int(bar.date) if form == 2 else datetime.strptime(bar.date, "%Y%m%d").timestamp() for bar in bars]  # noqa: DTZ007 - a day
    assert times == sorted(set(times))
    assert min(later - before for before, later in pairwise(times)) >= apart * 0.95  # a day may lack an hour
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)
    assert all(bar.volume >= 0 for bar in bars)
    assert not errors(official)


def test_head_time_stamp_depth_and_tick_by_tick(official: Official) -> None:
    [(_name, (_id, first))] = official.ask_by_id("reqHeadTimeStamp", aapl(), "TRADES", 1, 1, end="headTimestamp")
    assert datetime.strptime(first, "%Y%m%d-%H:%M:%S").year < 2027  # noqa: DTZ007 - UTC by definition

    depth = official.next_id()
    official.api.reqMktDepth(depth, aapl(), 5, True, [])
    for side in (0, 1):
        *_, price, size, smart = official.wait_call(
            "updateMktDepthL2", lambda number, _row, _maker, _do, of, *_, side=side: (number, of) == (depth, side)
        )
        assert price > 0
        assert size >= 0
        assert smart
    official.api.cancelMktDepth(depth, True)

    for kind, callback in (("Last", "tickByTickAllLast"), ("BidAsk", "tickByTickBidAsk")):
        number = official.next_id()
        official.api.reqTickByTickData(number, aapl(), kind, 0, False)
        official.wait_call(callback, lambda told, *_, number=number: told == number)
        official.api.cancelTickByTickData(number)
    assert not errors(official)


def test_the_other_requests_are_answered(official: Official, sim: brokersim.Simulation) -> None:
    """The requests of section 4 that nothing above makes."""
    official.ask_by_id("reqMatchingSymbols", "AAPL", end="symbolSamples")
    official.ask("reqMarketRule", 26, end="marketRule")
    official.ask("reqMktDepthExchanges", end="mktDepthExchanges")
    official.ask("reqFamilyCodes", end="familyCodes")
    official.ask("reqManagedAccts", end="managedAccounts")
    official.ask_by_id("reqUserInfo", end="userInfo")
    official.ask_by_id("reqSecDefOptParams", "AAPL", "", "STK", 265598, end="securityDefinitionOptionParameterEnd")
    official.ask_by_id("reqPnL", MARGIN, "", end="pnl")
    official.ask_by_id("reqPnLSingle", MARGIN, "", 265598, end="pnlSingle")
    official.ask_by_id("reqPositionsMulti", MARGIN, "", end="positionMultiEnd")
    official.ask_by_id("reqAccountUpdatesMulti", MARGIN, "", True, end="accountUpdateMultiEnd")
    official.ask_by_id("reqRealTimeBars", aapl(), 5, "TRADES", True, [], end="realtimeBar")
    until = f"{sim.clock():%Y%m%d %H:%M:%S} UTC"
    official.ask_by_id("reqHistoricalTicks", aapl(), "", until, 20, "TRADES", 1, True, [], end="historicalTicksLast")
    official.ask_by_id(
        "reqHistoricalData", aapl(), "", "1 W", "1 day", "SCHEDULE", 1, 1, False, [], end="historicalSchedule"
    )
    assert not errors(official)


# -- vn.py's own IB gateway ------------------------------------------------------------------------------------


FORMS = {
    "700-HKD-STK.SEHK": (Product.EQUITY, 1),
    "265598.SMART": (Product.EQUITY, 1),
    "EUR-USD-CASH.IDEALPRO": (Product.FOREX, 1),
    "ES-202612-USD-FUT.CME": (Product.FUTURES, 50),
    "AAPL-20261218-C-230-100-USD-OPT.SMART": (Product.OPTION, 100),
}
"""The gateway's forms of a symbol (tws-api 14.3): product and size."""


class Remembering(threading.Condition):
    """The gateway's history condition, which remembers: it asks before it waits, so an answer that is quicker than
    its next line would leave it waiting its ten minutes."""

    _told = False

    def notify(self, n: int = 1) -> None:
        self._told = True
        super().notify(n)

    def wait(self, timeout: float | None = None) -> bool:
        told = self._told or super().wait(DEADLINE)
        self._told = False
        return told


class PeerRig(Rig):
    """Simulator, engine and vn.py's IbGateway, whose two threads outlive its close() unless they are waited for."""

    name = "IB"
    broker = "tws"

    def __init__(self) -> None:
        super().__init__(vbrokers=False, tws=True)
        self.heard = Heard()
        self.quiet = threading.Lock()
        """Held while the gateway sends: it notes an order or a subscription only after it has sent it, and takes an
        answer that comes before the note for a stranger's."""

    def add(self, name: str) -> Any:
        gateway: Any = self.main.add_gateway(IbGateway, name)
        gateway.api.history_condition = Remembering()
        return gateway

    def setting(self, **changes: Any) -> dict[str, Any]:
        host, _colon, port = (self.sim.tws_address or ":0").rpartition(":")
        return {"TWS地址": host, "TWS端口": int(port), "客户号": 1, "交易账户": MARGIN, **changes}

    def connect(self, **changes: Any) -> PeerRig:
        self.main.connect(self.setting(**changes), self.name)
        self.wait_log("2158")
        decoder = self.gateway.api.client.decoder
        interpret = strictly(decoder, self.heard)

        def quietly(fields: tuple[bytes, ...], message_id: int) -> None:
            with self.quiet:
                interpret(fields, message_id)

        decoder.interpret = quietly
        return self

    def subscribe(self, *vt_symbols: str) -> None:
        with self.quiet:
            super().subscribe(*vt_symbols)

    def send(self, *args: Any, **more: Any) -> str:
        with self.quiet:
            return super().send(*args, **more)

    def has_market(self, vt_symbol: str) -> bool:
        tick = self.main.get_tick(vt_symbol)
        return tick is not None and 0 < tick.bid_price_1 < tick.ask_price_1

    def close(self) -> None:
        api = self.gateway.api
        threads = [thread for thread in (getattr(api, "thread", None), api.client.reader) if thread is not None]
        hang_up(api.client.conn)
        super().close()
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()


@pytest.fixture
def peer_rig() -> Iterator[PeerRig]:
    with PeerRig() as made:
        yield made.connect()
    assert not made.heard.stumbles
    lines = made.seen.log_lines()
    assert not [line for line in lines if "未订阅" in line or "不支持" in line]
    assert not [line for line in lines if any(f"代码：{code}，" in line for code in UNREADABLE)]


def test_vnpy_ib_trades(peer_rig: PeerRig) -> None:
    rig, vt_symbol = peer_rig, "AAPL-USD-STK.SMART"
    rig.subscribe(vt_symbol)
    rig.wait(lambda: rig.main.get_contract(vt_symbol), "contract")
    found = rig.contract(vt_symbol)
    assert (found.product, found.size, found.pricetick) == (Product.EQUITY, 1, 0.01)
    rig.wait(partial(rig.has_market, vt_symbol), "bid and ask")
    tick = rig.tick(vt_symbol)
    assert 0 < tick.bid_price_1 < tick.ask_price_1
    rig.wait(lambda: rig.tick(vt_symbol).last_price > 0 and rig.tick(vt_symbol).volume > 0, "last price, volume")

    near = rig.send(vt_symbol, Direction.LONG, 10, round(tick.ask_price_1 * 1.01, 2))
    rig.wait_status(near, Status.ALLTRADED)
    trades = rig.wait(lambda: [t for t in rig.seen.of(EVENT_TRADE) if t.vt_orderid == near], "trade")
    assert [(t.vt_symbol, t.direction, t.volume) for t in trades] == [(vt_symbol, Direction.LONG, 10)]

    far = rig.send(vt_symbol, Direction.LONG, 10, 1.5)
    rig.wait_status(far, Status.NOTTRADED)
    rig.cancel(far)
    rig.wait_status(far, Status.CANCELLED)

    held = rig.wait(lambda: [p for p in rig.seen.of(EVENT_POSITION) if p.volume == 10], "position")
    assert held[-1].price > 0
    rig.wait(lambda: [a for a in rig.seen.of(EVENT_ACCOUNT) if a.accountid == f"{MARGIN}.USD" and a.balance], "account")


def test_vnpy_ib_reads_history(peer_rig: PeerRig) -> None:
    rig, vt_symbol = peer_rig, "AAPL-USD-STK.SMART"
    rig.subscribe(vt_symbol)
    rig.wait(lambda: rig.main.get_contract(vt_symbol), "contract")
    now = rig.sim.clock()
    wanted = HistoryRequest(
        "AAPL-USD-STK", Exchange.SMART, start=now - timedelta(days=2), end=now, interval=Interval.MINUTE
    )
    bars: list[BarData] = rig.main.query_history(wanted, rig.name)
    assert len(bars) > 100
    assert all(bar.vt_symbol == vt_symbol and bar.interval is Interval.MINUTE for bar in bars)
    assert [bar.datetime for bar in bars] == sorted({bar.datetime for bar in bars})
    assert bars[-1].datetime <= now
    assert all(0 < bar.low_price <= bar.close_price <= bar.high_price for bar in bars)


def test_vnpy_ib_finds_and_streams_every_form_of_symbol(peer_rig: PeerRig) -> None:
    rig = peer_rig
    rig.subscribe(*FORMS)
    for vt_symbol, expected in FORMS.items():
        rig.wait(partial(rig.main.get_contract, vt_symbol), f"contract {vt_symbol}")
        found = rig.contract(vt_symbol)
        assert (found.product, found.size, found.pricetick > 0) == (*expected, True)
        rig.wait(partial(rig.has_market, vt_symbol), f"bid and ask of {vt_symbol}")


# -- vn.py's own IB gateway in the conformance suite -----------------------------------------------------------


FAULTS = {
    "connect_returns_while_the_broker_is_silent": "connect() blocked its caller",
    "event_engine_goes_on_while_reconnecting": "the event engine",
    "fills_during_an_outage_come_once": "ALLTRADED",
    "restart_brings_everything_again": "order missing in the engine",
    "fills_between_two_engines_come_once": "trade missing in the engine",
    "order_placed_elsewhere_breaks_nothing": "the connection was lost and made again",
    "order_placed_elsewhere_before": "the order placed elsewhere",
    "partial_fills_are_told": "PARTTRADED",
    "positions_follow": "position only in the engine",
    "ids_are_unique": "ids given twice",
    "contracts_are_whole": "min_volume is a Decimal",
    "pushed_objects_stay_as_they_were": "OrderData was",
    "subscription_during_an_outage_lives": "a tick of AAPL",
    "history_returns_while_the_broker_is_silent": "query_history blocked its caller",
}
"""Checks that IbGateway must fail, and a part of the reason (vnpy-engine 4 and 6): it connects on its caller's thread
and reconnects on the event engine's, asks for no executions and no open orders, takes any orderRef for a time, knows no
PARTTRADED, names a position otherwise than its order, counts ids anew for each client id, hands out Decimals and the
objects that it goes on changing, drops what is asked of it while it is not connected, and waits 600 s for bars."""
SOUND = (
    "connects",
    "second_connect_is_safe",
    "close_leaves_nothing",
    "contract_comes_before_ticks",
    "ticks_follow_the_quote",
    "ticks_are_plain",
    "subscribing_twice_is_one_subscription",
    "unknown_symbols_are_harmless",
    "send_order_returns_an_id_at_once",
    "resting_order_and_cancel",
    "limit_order_fills",
    "market_order_fills",
    "cancel_of_the_rest_keeps_the_fills",
    "trades_add_up",
    "calls_return_during_an_outage",
    "subscriptions_live_again",
    "working_order_keeps_its_id",
    "pushed_objects_pickle",
    "history_is_a_list_of_bars",
)
"""Checks that it must pass, so that the suite is fair."""
CHILD_S = 400.0
ROOT = Path(__file__).resolve().parent.parent
Verdicts = dict[str, tuple[str, str]]


def conformance_child(*names: str) -> None:
    """Put IbGateway through checks, one line of JSON for each, in a process that ends with everything that hangs."""
    Connection._recvAllMsg = receive_all
    for name in names:
        [result] = run(IbGateway, PeerTwsVenue, [name])
        reason = "\n".join([result.reason, *result.log])
        sys.stdout.write(json.dumps([result.name, result.outcome.name, reason]) + "\n")
        sys.stdout.flush()
    os._exit(0)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """How the checks ended, by name. A process of its own: threads of this gateway die of exceptions, or never end."""
    code = (
        "import sys; import tests.conftest; from tests.test_peers import conformance_child;"
        "conformance_child(*sys.argv[1:])"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, *FAULTS, *SOUND],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("conformance"))},
        capture_output=True,
        encoding="utf-8",
        timeout=CHILD_S,
    )
    rows = [json.loads(line) for line in child.stdout.splitlines() if line.startswith('["')]
    assert len(rows) == len(FAULTS) + len(SOUND), child.stderr[-3000:]
    return {name: (outcome, reason) for name, outcome, reason in rows}


@pytest.mark.parametrize("name", FAULTS)
def test_the_suite_finds_the_faults_of_vnpy_ib(verdicts: Verdicts, name: str) -> None:
    outcome, reason = verdicts[name]
    assert outcome == "FAILED"
    assert FAULTS[name] in reason.partition("\n")[0]


@pytest.mark.parametrize("name", SOUND)
def test_the_suite_passes_what_vnpy_ib_does_well(verdicts: Verdicts, name: str) -> None:
    outcome, reason = verdicts[name]
    assert outcome == "PASSED", reason
