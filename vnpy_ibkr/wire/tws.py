"""The TWS API under our own handlers: requests that are awaited, streams that are listened to, and nothing remembered.

ib_async's ``Client`` frames, throttles (45 messages a second, below TWS's 50) and encodes; its ``Decoder`` decodes.
Its ``Wrapper`` is not used: stock ib_async marks live orders as cancelled on harmless codes, loses executions whose
time zone it does not know, and keeps state that a gateway would have to distrust (reference "tws-api", section 18).

Everything runs in the gateway's loop thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ib_async.client import Client
from ib_async.contract import Contract, ContractDetails
from ib_async.objects import BarData, CommissionReport, Execution
from ib_async.order import Order, OrderState

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, ProtocolError, TimedOut
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.waiting import within

from ..errors import error_for, is_notice

LONGEST_FRAME = 0xFFFFFF
"""Bytes that the official client accepts in one frame (section 2.1); a longer claim is no TWS."""

# Windows' names for zones that TWS writes on such hosts (section 16); what is not here falls back to the host's zone.
ZONE_NAMES = {
    "Eastern Standard Time": "America/New_York",
    "Central Standard Time": "America/Chicago",
    "Pacific Standard Time": "America/Los_Angeles",
    "Mountain Standard Time": "America/Denver",
    "Greenwich Mean Time": "Europe/London",
    "GMT Standard Time": "Europe/London",
    "Central European Standard Time": "Europe/Berlin",
    "W. Europe Standard Time": "Europe/Berlin",
    "China Standard Time": "Asia/Shanghai",
    "Hong Kong Standard Time": "Asia/Hong_Kong",
    "Hongkong": "Asia/Hong_Kong",
    "Tokyo Standard Time": "Asia/Tokyo",
    "Japan": "Asia/Tokyo",
    "Singapore Standard Time": "Asia/Singapore",
    "EST": "America/New_York",
    "EDT": "America/New_York",
    "CST": "America/Chicago",
    "PST": "America/Los_Angeles",
    "CET": "Europe/Berlin",
    "MET": "Europe/Berlin",
    "HKT": "Asia/Hong_Kong",
    "UTC": "UTC",
    "GMT": "UTC",
}


class Listener(Protocol):
    """What the connection, the orders and the accounts hear without having asked."""

    def on_error(self, req_id: int, code: int, text: str, reject_json: str) -> None: ...
    def on_open_order(self, contract: Contract, order: Order, state: OrderState) -> None: ...
    def on_order_status(self, status: OrderStatus) -> None: ...
    def on_execution(self, contract: Contract, execution: Execution, asked: bool) -> None: ...
    def on_commission(self, report: CommissionReport) -> None: ...
    def on_account_value(self, key: str, value: str, currency: str, account: str) -> None: ...
    def on_position(self, account: str, contract: Contract, volume: float, cost: float) -> None: ...
    def on_order_id(self, next_id: int) -> None: ...
    def on_order_bound(self, perm_id: int, client_id: int, order_id: int) -> None: ...
    def on_bad_message(self, text: str) -> None: ...


class Stream(Protocol):
    """Who listens to one market data, depth or bar request."""

    def on_price(self, kind: int, price: float, size: float) -> None: ...
    def on_size(self, kind: int, size: float) -> None: ...
    def on_text(self, kind: int, value: str) -> None: ...
    def on_number(self, kind: int, value: float) -> None: ...
    def on_data_type(self, kind: int) -> None: ...
    def on_depth(self, position: int, operation: int, side: int, price: float, size: float) -> None: ...
    def on_snapshot_end(self) -> None: ...
    def on_stream_error(self, code: int, text: str) -> None: ...


@dataclass(frozen=True)
class OrderStatus:
    """Message 3. ``filled`` and ``remaining`` in shares, ``why_held`` comma-joined."""

    order_id: int
    status: str
    filled: float
    remaining: float
    average: float
    perm_id: int
    parent_id: int
    last_price: float
    client_id: int
    why_held: str


@dataclass(frozen=True)
class CompletedOrder:
    """Message 101: no orderId and no clientId; match by permId or orderRef (section 7.2)."""

    contract: Contract
    order: Order
    state: OrderState


@dataclass
class _Pending:
    about: str
    future: asyncio.Future[list[Any]]
    rows: list[Any] = field(default_factory=list)


class _GuardedClient(Client):
    """ib_async's client, which trusts the length that a peer claims; this one does not."""

    def _onSocketHasData(self, data: bytes) -> None:
        head = self._data[:4] + data[: max(0, 4 - len(self._data))]
        if len(head) >= 4 and struct.unpack(">I", head[:4])[0] > LONGEST_FRAME:
            self.wrapper.on_bad_frame()
            self.disconnect()  # type: ignore[no-untyped-call]  # ib_async is untyped here
            return
        super()._onSocketHasData(data)  # type: ignore[no-untyped-call]  # ib_async is untyped here


class Wire:
    """One connection to TWS or IB Gateway. Make a new one for each connect: nothing of an old one may speak again."""

    # ib_async's decoder asks its wrapper for these.
    defaultTimezone = timezone.utc
    TimezoneTWS = ""

    def __init__(self, listener: Listener, clock: Clock, *, patience: float = 10, first_id: int = 0) -> None:
        """``patience``: seconds that a request may take. Ids begin at ``first_id``, or above it where TWS says so."""
        self._listener = listener
        self._clock = clock
        self._patience = patience
        self._first_id = first_id
        self._pending: dict[int | str, _Pending] = {}
        self._streams: dict[int, Stream] = {}
        self._closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reason = ""
        self.ib = self
        self.accounts: list[str] = []
        self.last_data = clock.monotonic()
        """Monotonic second at which anything arrived."""
        self.client: Any = _GuardedClient(self)  # type: ignore[no-untyped-call]  # ib_async is untyped here
        # ib_async logs what it then raises or reports anyway; only what it can't decode is told nowhere else.
        self.client._logger = _logger(None)
        self.client.decoder.logger = _logger(listener.on_bad_message)
        self.client.decoder.handlers[11] = self._decode_execution
        self.client.decoder.handlers[1] = self._decode_price

    # ------------------------------------------------------------------ connecting

    async def connect(self, host: str, port: int, client_id: int, timeout: float) -> None:
        """Connect until TWS named the accounts and the next order id. Raises :class:`ConnectionFailed`."""
        try:
            await self.client.connectAsync(host, port, client_id, timeout)
        except (OSError, asyncio.TimeoutError) as error:
            self._end(type(error).__name__)
            reason = self._reason if self._reason not in ("", type(error).__name__) else _describe(error)
            raise ConnectionFailed(reason, about=f"{host}:{port}", code=self._refusal) from None
        self.client.updateReqId(self._first_id)

    _refusal = ""

    @property
    def connected(self) -> bool:
        return bool(self.client.isReady()) and not self._closed.done()

    async def closed(self) -> str:
        """Return why, when the connection has ended."""
        return await asyncio.shield(self._closed)

    def close(self) -> None:
        """Close the socket; open orders stay at the broker."""
        self._end("closed")
        with contextlib.suppress(OSError, AttributeError):
            self.client.disconnect()

    def _end(self, reason: str) -> None:
        if not self._closed.done():
            self._closed.set_result(self._reason or reason)
        error = ConnectionFailed(_("与TWS的连接已断开"), about="TWS")
        for pending in list(self._pending.values()):
            _fail(pending.future, error)
        self._pending.clear()
        self._streams.clear()

    # ------------------------------------------------------------------ asking

    def next_id(self) -> int:
        """A request or order id: TWS reports errors of both by it, so they come from one series (section 12)."""
        try:
            allotted = int(self.client.getReqId())
        except ConnectionError:
            raise ConnectionFailed(_("未连接TWS"), about="TWS") from None
        self._first_id = max(self._first_id, allotted + 1)
        return allotted

    @property
    def first_free_id(self) -> int:
        """The next connection's ids begin here: an id that was used is never used again (section 12)."""
        return self._first_id

    def _skip_ids(self, order_id: int) -> None:
        """Stay above every order id that TWS names: it may tell a lower next one while an order still has it."""
        self._first_id = max(self._first_id, order_id + 1)
        self.client.updateReqId(order_id + 1)

    async def ask(self, send: Callable[[int], None], about: str, timeout: float | None = None) -> list[Any]:
        """Send a request with an id and return its rows. Raises :class:`BrokerError`."""
        req_id = self.next_id()
        return await self._await(req_id, lambda: send(req_id), about, timeout)

    async def ask_plain(self, key: str, send: Callable[[], None], timeout: float | None = None) -> list[Any]:
        """The same for requests without an id; ``key`` is the name of what ends them."""
        waiting = self._pending.get(key)
        if waiting:
            return list(await asyncio.shield(waiting.future))
        return await self._await(key, send, key, timeout)

    async def _await(self, key: int | str, send: Callable[[], None], about: str, timeout: float | None) -> list[Any]:
        patience = self._patience if timeout is None else timeout
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        pending = self._pending[key] = _Pending(about, future)
        try:
            self._send(send, about)
            return await within(patience, _result(future))
        except asyncio.TimeoutError:
            late = TimedOut(_("TWS在{:g}秒内没有应答").format(patience), about=about)
            _fail(future, late)
            raise late from None
        finally:
            # Who asked for the same meanwhile must not wait for ever.
            _fail(future, ConnectionFailed(_("与TWS的连接已断开"), about=about))
            if self._pending.get(key) is pending:
                del self._pending[key]

    def post(self, send: Callable[[], None], about: str) -> None:
        """Send something that is not answered by itself. Raises :class:`ConnectionFailed` when nothing was sent."""
        self._send(send, about)

    def _send(self, send: Callable[[], None], about: str) -> None:
        try:
            send()
        except ConnectionError:
            raise ConnectionFailed(_("未连接TWS"), about=about) from None

    async def written(self) -> None:
        """Return when everything that was posted has gone to the socket, or there is none any more.

        ib_async keeps back what exceeds 45 messages a second; what it keeps is lost with the connection.
        """
        while self.connected and self.client._msgQ:
            await self._clock.sleep(0.01)

    def listen(self, req_id: int, stream: Stream) -> None:
        """Hear everything that comes under a request id."""
        self._streams[req_id] = stream

    def forget(self, req_id: int) -> None:
        """Hear no more of it."""
        self._streams.pop(req_id, None)

    def _row(self, key: int | str, row: Any) -> None:
        pending = self._pending.get(key)
        if pending:
            pending.rows.append(row)

    def _done(self, key: int | str) -> None:
        pending = self._pending.get(key)
        if pending and not pending.future.done():
            pending.future.set_result(pending.rows)

    # ------------------------------------------------------------------ decoding that ib_async gets wrong

    def _decode_execution(self, fields: list[str]) -> None:
        """An execution must never be lost to a zone name that Python does not know (section 18)."""
        fields = list(fields)
        fields[15] = _utc_text(fields[15], self._clock.now())
        self.client.decoder.execDetails(fields)

    def _decode_price(self, fields: list[str]) -> None:
        _id, _version, req_id, kind, price, size, _mask = fields
        stream = self._streams.get(int(req_id))
        if stream:
            stream.on_price(int(kind), float(price or 0), float(size or 0))

    def on_bad_frame(self) -> None:
        """A peer that claims a frame of gigabytes is no TWS."""
        self._reason = ProtocolError(_("对方不是TWS：报文长度异常")).text

    # ------------------------------------------------------------------ ib_async's handlers: session

    def tcpDataArrived(self) -> None:
        self.last_data = self._clock.monotonic()

    def connectAck(self) -> None:
        """The version frame came; ib_async sends startApi by itself."""

    def setEventsDone(self) -> None:
        """ib_async's way to end its own events; there are none here. It is called for every lost socket."""
        self._end("lost")

    def connectionClosed(self) -> None:
        self._end("lost")

    def managedAccounts(self, accounts: str) -> None:
        self.accounts = [account for account in accounts.split(",") if account]

    def nextValidId(self, order_id: int) -> None:
        self.client.updateReqId(order_id)
        self._listener.on_order_id(order_id)

    def currentTime(self, seconds: int) -> None:
        self._row("currentTime", seconds)
        self._done("currentTime")

    def error(self, req_id: int, code: int, text: str, reject_json: str = "") -> None:
        text = unescape(text)
        if not self.client.isReady() and not is_notice(code):
            # 326 and its like come before the connection is ready, and TWS then closes it.
            self._reason, self._refusal = self._reason or text, self._refusal or str(code)
            return
        pending = self._pending.get(req_id)
        if pending and not is_notice(code):
            if not pending.future.done():
                pending.future.set_exception(error_for(code, text, about=pending.about))
            return
        stream = self._streams.get(req_id)
        if stream:
            stream.on_stream_error(code, text)
            return
        self._listener.on_error(req_id, code, text, reject_json)

    # ------------------------------------------------------------------ contracts

    def contractDetails(self, req_id: int, details: ContractDetails) -> None:
        self._row(req_id, details)

    bondContractDetails = contractDetails

    def contractDetailsEnd(self, req_id: int) -> None:
        self._done(req_id)

    def symbolSamples(self, req_id: int, samples: list[Any]) -> None:
        for sample in samples:
            self._row(req_id, sample)
        self._done(req_id)

    def marketRule(self, rule_id: int, increments: list[Any]) -> None:
        key = f"marketRule:{rule_id}"
        for increment in increments:
            self._row(key, increment)
        self._done(key)

    # ------------------------------------------------------------------ market data

    def tickSize(self, req_id: int, kind: int, size: float) -> None:
        if stream := self._streams.get(req_id):
            stream.on_size(kind, size)

    def tickString(self, req_id: int, kind: int, value: str) -> None:
        if stream := self._streams.get(req_id):
            stream.on_text(kind, value)

    def tickGeneric(self, req_id: int, kind: int, value: float) -> None:
        if stream := self._streams.get(req_id):
            stream.on_number(kind, value)

    def marketDataType(self, req_id: int, kind: int) -> None:
        if stream := self._streams.get(req_id):
            stream.on_data_type(kind)

    def tickReqParams(self, req_id: int, min_tick: float, bbo_exchange: str, permissions: int) -> None:
        """Nothing in it that the contract details do not say better."""

    def tickSnapshotEnd(self, req_id: int) -> None:
        if stream := self._streams.get(req_id):
            stream.on_snapshot_end()

    def tickOptionComputation(self, req_id: int, *values: Any) -> None:
        """Greeks are not shown by vn.py's tick."""

    def updateMktDepth(self, req_id: int, position: int, operation: int, side: int, price: float, size: float) -> None:
        if stream := self._streams.get(req_id):
            stream.on_depth(position, operation, side, price, size)

    def updateMktDepthL2(
        self,
        req_id: int,
        position: int,
        market_maker: str,
        operation: int,
        side: int,
        price: float,
        size: float,
        is_smart: bool = False,
    ) -> None:
        if stream := self._streams.get(req_id):
            stream.on_depth(position, operation, side, price, size)

    def historicalData(self, req_id: int, bar: BarData) -> None:
        self._row(req_id, bar)

    def historicalDataEnd(self, req_id: int, start: str, end: str) -> None:
        self._done(req_id)

    def headTimestamp(self, req_id: int, text: str) -> None:
        self._row(req_id, text)
        self._done(req_id)

    # ------------------------------------------------------------------ orders and executions

    def openOrder(self, order_id: int, contract: Contract, order: Order, state: OrderState) -> None:
        self._skip_ids(order_id)
        self._row("openOrders", (contract, order, state))
        self._listener.on_open_order(contract, order, state)

    def openOrderEnd(self) -> None:
        self._done("openOrders")

    def orderStatus(
        self,
        order_id: int,
        status: str,
        filled: float,
        remaining: float,
        average: float,
        perm_id: int,
        parent_id: int,
        last_price: float,
        client_id: int,
        why_held: str,
        cap_price: float = 0.0,
    ) -> None:
        self._listener.on_order_status(
            OrderStatus(
                order_id, status, filled, remaining, average, perm_id, parent_id, last_price, client_id, why_held
            )
        )

    def completedOrder(self, contract: Contract, order: Order, state: OrderState) -> None:
        self._row("completedOrders", CompletedOrder(contract, order, state))

    def completedOrdersEnd(self) -> None:
        self._done("completedOrders")

    def execDetails(self, req_id: int, contract: Contract, execution: Execution) -> None:
        self._row(req_id, (contract, execution))
        self._listener.on_execution(contract, execution, req_id in self._pending)

    def execDetailsEnd(self, req_id: int) -> None:
        self._done(req_id)

    def commissionReport(self, report: CommissionReport) -> None:
        self._listener.on_commission(report)

    def orderBound(self, perm_id: int, client_id: int, order_id: int) -> None:
        self._listener.on_order_bound(perm_id, client_id, order_id)

    # ------------------------------------------------------------------ accounts

    def updateAccountValue(self, key: str, value: str, currency: str, account: str) -> None:
        self._listener.on_account_value(key, value, currency, account)

    def updatePortfolio(self, *values: Any) -> None:
        """Positions come by their own request, which covers all accounts."""

    def updateAccountTime(self, text: str) -> None:
        """The minute of the last account update; ours are stamped on arrival."""

    def accountDownloadEnd(self, account: str) -> None:
        self._done("accountUpdates")

    def accountUpdateMulti(self, req_id: int, account: str, model: str, key: str, value: str, currency: str) -> None:
        self._listener.on_account_value(key, value, currency, account)

    def accountUpdateMultiEnd(self, req_id: int) -> None:
        self._done(req_id)

    def accountSummary(self, req_id: int, account: str, tag: str, value: str, currency: str) -> None:
        self._row(req_id, (account, tag, value, currency))

    def accountSummaryEnd(self, req_id: int) -> None:
        self._done(req_id)

    def position(self, account: str, contract: Contract, volume: float, cost: float) -> None:
        self._row("positions", (account, contract, volume, cost))
        self._listener.on_position(account, contract, volume, cost)

    def positionEnd(self) -> None:
        self._done("positions")


async def _result(future: asyncio.Future[list[Any]]) -> list[Any]:
    """Wait for an answer that others may wait for, too: giving up must not cancel it, which would look to them as if
    they themselves were cancelled."""
    return await asyncio.shield(future)


def _fail(future: asyncio.Future[list[Any]], error: BrokerError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # seen, also where nobody else waits


class _Teller(logging.Handler):
    """Hands log records on as text."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage()[:200])


def _logger(tell: Callable[[str], None] | None) -> logging.Logger:
    """Return a logger of one connection, outside the process's logging."""
    logger = logging.Logger("vnpy_ibkr.wire")
    logger.addHandler(_Teller(tell) if tell else logging.NullHandler())
    return logger


def unescape(text: str) -> str:
    """Undo the ``\\uXXXX`` that TWS writes for what is not ASCII (section 3); other backslashes stay."""
    if "\\u" not in text:
        return text
    out, rest = "", text
    while True:
        before, mark, rest = rest.partition("\\u")
        out += before
        if not mark:
            return out
        code, tail = rest[:4], rest[4:]
        try:
            out += chr(int(code, 16)) if len(code) == 4 else mark + code
        except ValueError:
            out += mark + code
        rest = tail


def escape(text: str) -> str:
    """Write text as ASCII with ``\\uXXXX`` for the rest: what TWS carries in orderRef (design, section 4)."""
    return "".join(c if 32 <= ord(c) < 127 and c != "\\" else f"\\u{ord(c):04x}" for c in text if ord(c) < 0x10000)


def parse_time(text: str, fallback: datetime) -> datetime:
    """Read a time as TWS writes it in orders and executions (section 6.5); ``fallback`` where it can't be read.

    ``20260413 15:27:04 US/Eastern`` in current builds, two blanks and no zone in old ones (then the host's zone), a
    dash between day and time means UTC.
    """
    day, _sep, rest = text.strip().partition("-" if "-" in text[:9] else " ")
    clock, _sep, zone_name = rest.strip().partition(" ")
    try:
        naive = datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007  the zone is added below
    except ValueError:
        return fallback
    if "-" in text[:9]:
        return naive.replace(tzinfo=timezone.utc)
    zone_name = zone_name.strip()
    if not zone_name:
        return naive.astimezone()
    try:
        return naive.replace(tzinfo=ZoneInfo(ZONE_NAMES.get(zone_name, zone_name)))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return naive.astimezone()


def _utc_text(text: str, now: datetime) -> str:
    return f"{parse_time(text, now).astimezone(timezone.utc):%Y%m%d %H:%M:%S} UTC"


def _describe(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return _("连接被拒绝")
    if isinstance(error, asyncio.TimeoutError):
        return _("没有应答")
    return getattr(error, "strerror", None) or type(error).__name__
