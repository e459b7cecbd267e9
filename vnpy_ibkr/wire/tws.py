"""The TWS API under our own handlers: requests that are awaited, streams that are listened to, and nothing remembered.

ib_async's ``Client`` frames and encodes, its ``Decoder`` decodes; how fast messages go out is our own.
Its ``Wrapper`` is not used: stock ib_async marks live orders as cancelled on harmless codes, loses executions whose
time zone it does not know, and keeps state that a gateway would have to distrust (reference "tws-api", section 18).

Everything runs in the gateway's loop thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timezone
from typing import Any

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, ProtocolError, TimedOut
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.waiting import within

from ..errors import error_for, is_notice
from .events import Listener, Stream
from .handlers import Handlers
from .sending import GuardedClient
from .texts import unescape

Take = Callable[[Any], object]

NO_REQUEST = -1
"""The id of what TWS says about no request in particular."""
REFUSED_AS_INVALID = 321
READ_ONLY = "read-only"


@dataclass
class _Pending:
    about: str
    future: asyncio.Future[list[Any]]
    take: Take | None = None
    """Who takes the rows as they come; None: they are gathered."""
    rows: list[Any] = field(default_factory=list)


class Wire(Handlers):
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
        self.client: Any = GuardedClient(self)
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

    async def ask(
        self,
        send: Callable[[int], None],
        about: str,
        timeout: float | None = None,
        *,
        each: Take | None = None,
    ) -> list[Any]:
        """Send a request with an id and return its rows. Raises :class:`BrokerError`.

        ``each`` takes the rows as they come, and then none are returned: a day's lists are long.
        """
        req_id = self.next_id()
        return await self._await(req_id, lambda: send(req_id), about, timeout, each)

    async def ask_plain(
        self, key: str, send: Callable[[], None], timeout: float | None = None, *, each: Take | None = None
    ) -> list[Any]:
        """The same for requests without an id; ``key`` is the name of what ends them."""
        while waiting := self._pending.get(key):
            if each is None and waiting.take is None:
                return list(await asyncio.shield(waiting.future))
            await asyncio.wait({waiting.future})
            await asyncio.sleep(0)  # who asked takes it away
        return await self._await(key, send, key, timeout, each)

    async def _await(
        self, key: int | str, send: Callable[[], None], about: str, timeout: float | None, take: Take | None
    ) -> list[Any]:
        patience = self._patience if timeout is None else timeout
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        pending = self._pending[key] = _Pending(about, future, take)
        try:
            self._send(send, about)
            await self._departure()
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

    async def _departure(self) -> None:
        """Return when what was sent last has gone to the socket: TWS cannot answer before that, and a request must not
        be given up while it still waits its turn behind many others."""
        number = self.client.handed
        while self.connected and self.client.gone < number:
            await self._clock.sleep(0.01)

    async def written(self) -> None:
        """Return when everything that was posted has gone to the socket, or there is none any more.

        What exceeds the rate is kept back; what is kept back is lost with the connection.
        """
        while self.connected and self.client._msgQ:
            await self._clock.sleep(0.01)

    def listen(self, req_id: int, stream: Stream) -> None:
        """Hear everything that comes under a request id."""
        self._streams[req_id] = stream

    def forget(self, req_id: int) -> None:
        """Hear no more of it."""
        self._streams.pop(req_id, None)

    def _is_pending(self, key: int | str) -> bool:
        return key in self._pending

    def _row(self, key: int | str, row: Any) -> None:
        pending = self._pending.get(key)
        if pending:
            (pending.take or pending.rows.append)(row)

    def _done(self, key: int | str) -> None:
        pending = self._pending.get(key)
        if pending and not pending.future.done():
            pending.future.set_result(pending.rows)

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
        if req_id == NO_REQUEST and code == REFUSED_AS_INVALID and READ_ONLY in text.lower():
            # A read-only API refuses the lists of orders (section 1), and need not end them.
            self._done("openOrders")
            self._done("completedOrders")
        stream = self._streams.get(req_id)
        if stream:
            stream.on_stream_error(code, text)
            return
        self._listener.on_error(req_id, code, text, reject_json)

    def on_bad_frame(self) -> None:
        """A peer that claims a frame of gigabytes is no TWS."""
        self._reason = ProtocolError(_("对方不是TWS：报文长度异常")).text


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


def _describe(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return _("连接被拒绝")
    if isinstance(error, asyncio.TimeoutError):
        return _("没有应答")
    return getattr(error, "strerror", None) or type(error).__name__
