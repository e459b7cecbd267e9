"""RemoteGateway: a server's gateway in a client's engine, under the server's name."""

from __future__ import annotations

import os
import secrets
from copy import copy
from datetime import datetime, timezone
from importlib import import_module
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, ClassVar

from vnpy.event import EventEngine
from vnpy.trader.constant import Exchange, Status
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.logger import logger
from vnpy.trader.object import (
    AccountData,
    BarData,
    BaseData,
    CancelRequest,
    ContractData,
    HistoryRequest,
    LogData,
    OrderData,
    OrderRequest,
    PositionData,
    SubscribeRequest,
    TickData,
    TradeData,
)
from vnpy.trader.utility import get_file_path

from vnpy_brokerkit.async_gateway import database_zone
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, HistoryError
from vnpy_brokerkit.history import StrategyInitStopped, initialising_strategy
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.identity import OrderIds, base36
from vnpy_brokerkit.leftover import tell_leftover
from vnpy_brokerkit.routes import ROUTES_FILE, registry_for
from vnpy_brokerkit.settings import Reader
from vnpy_brokerkit.settings_file import protect
from vnpy_brokerkit.symbols import SymbolError
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import exact, plain

from .addresses import PUBLISH_ADDRESS, REPLY_ADDRESS, parse_address
from .codec import name_out, time_out
from .keys import client_curve
from .link import Link, Server, read_failure
from .messages import DONE, FAILED, PART, Answer, CancelOrder, History, Query

REPLY_KEY, PUBLISH_KEY, SERVER_KEY = "请求地址", "推送地址", "服务器公钥"
SECRET_KEY = "客户端密钥 密码 Password"
"""VN Trader masks a field by a word of its own locale: 密码 or Password."""
SECRET_VARIABLE = "VNPY_RPC_SECRET_KEY"

HISTORY_LOOK_S = 1.0
HISTORY_SILENCE_S = 10.0
"""A server that reads bars says so twice a second."""

# The spellings of an instrument, by the server's gateway; a name that is not here takes them as they are.
SPELLINGS = {"VBROKERS": "vnpy_brokerkit.symbols:canonical", "IBKR": "vnpy_ibkr.spelling:spelling"}


class RemoteIds(OrderIds):
    """Ids as the server's own gateways have them, and as unique: the processes of one server may be many."""

    def __init__(self, gateway_name: str) -> None:
        super().__init__(gateway_name, datetime.now(timezone.utc))
        self._stem += base36(36**3 + secrets.randbelow(35 * 36**3))


class RemoteGateway(BaseGateway):
    """One gateway of a server; ``main_engine.add_gateway(RemoteGateway, "VBROKERS")``, named as the server names it.

    Gateways with the same addresses share one link. Calls return at once, :meth:`query_history` aside.
    """

    default_name: str = "VBROKERS"
    default_setting: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # vn.py reads it from the class
        REPLY_KEY: REPLY_ADDRESS,
        PUBLISH_KEY: PUBLISH_ADDRESS,
        SERVER_KEY: "",
        SECRET_KEY: "",
    }
    exchanges: list[Exchange] = list(Exchange)  # noqa: RUF012  vn.py reads it from the class

    def __init__(self, event_engine: EventEngine, gateway_name: str) -> None:
        super().__init__(event_engine, gateway_name)
        self.timing = Timing()
        self.zone = database_zone()
        self.ids = RemoteIds(gateway_name)
        self.routes = registry_for(event_engine)
        self.routes.add(gateway_name, self.exchanges)
        self._link: Link | None = None
        self._closed = False
        self._mine: dict[str, None] = {}
        """Ids that were given out here."""
        self._subscribed: dict[tuple[str, Exchange], None] = {}

    # ------------------------------------------------------------------ vn.py's side, any thread

    def connect(self, setting: dict[str, Any]) -> None:
        """Connect to the server; returns at once. Called again with other settings, it goes to the other server."""
        problem = protect(get_file_path(f"connect_{self.gateway_name.lower()}.json"), ())
        if problem:
            self.log(problem)
        self._closed = False
        self.routes.load(get_file_path(ROUTES_FILE))
        for line in self.routes.take_problems():
            self.log(line)
        try:
            server = self._server(setting)
        except BrokerError as error:
            self.log(error.text)
            return
        link = self._link
        if link is not None and link.server != server:
            self._link = None
            link.detach(self)
        self._link = link = Link.attach(server, self, self.zone, self.timing)
        for symbol, exchange in list(self._subscribed):
            link.subscribe(self.gateway_name, symbol, exchange)

    def _server(self, setting: dict[str, Any]) -> Server:
        """Read the settings. Raises :class:`BrokerError` in words."""
        reader = Reader(setting, self.default_setting)
        reply = parse_address(reader.text(REPLY_KEY))
        publish = parse_address(reader.text(PUBLISH_KEY))
        server_key = reader.text(SERVER_KEY)
        secret = reader.text(SECRET_KEY)
        if server_key and not secret:
            secret = os.environ.get(SECRET_VARIABLE, "").strip()
        if reader.unknown():
            self.log(_("忽略不认识的设置项：{}").format(_("、").join(reader.unknown())))
        return Server(reply.text, publish.text, client_curve(server_key, secret))

    def close(self) -> None:
        """Wait for the answers to what was sent, 3 s at most, and let go of the link; may be called twice."""
        self._closed = True
        link, self._link = self._link, None
        if link is None:
            return
        link.room.drain(self.timing.close_answers)
        mine = [order for order in list(link.mirror.orders.values()) if order.gateway_name == self.gateway_name]
        tell_leftover(self.gateway_name, (o for o in mine if o.orderid in self._mine and o.is_active()))
        link.detach(self)

    def subscribe(self, req: SubscribeRequest) -> None:
        """Show an instrument, in any spelling; returns at once, and survives cuts of the link."""
        self._subscribed[req.symbol, req.exchange] = None
        link = self._link
        if link is None:
            self.log(_("尚未连接，{}将在连接{}后自动订阅").format(req.vt_symbol, self.gateway_name))
        else:
            link.subscribe(self.gateway_name, req.symbol, req.exchange)

    def send_order(self, req: OrderRequest) -> str:
        """Take an order and return its vt_orderid at once; it goes out from the link's thread.

        The id is this process's own, so nothing about the order can come before its caller has it: news is held until
        it has been returned. Refusals come later, as with a local gateway.
        """
        orderid = self.ids.next()
        order = req.create_order_data(orderid, self.gateway_name)
        order.datetime = datetime.now(self.zone)
        order.status = Status.SUBMITTING
        order.price, order.volume = plain(exact(req.price)), plain(exact(req.volume))
        request = copy(req)  # callers keep and change theirs
        order.symbol, order.exchange = self.canonical(req.symbol, req.exchange)
        order.__post_init__()
        self._mine[orderid] = None
        link = self._link
        if link is None or self._closed or not self._event_engine_runs():
            return self._refuse(order, link)
        link.outbox.begin(order.vt_orderid)
        self.on_order(order)
        link.room.place(order, request)
        link.outbox.returned(order.vt_orderid)
        return order.vt_orderid

    def _refuse(self, order: OrderData, link: Link | None) -> str:
        """Without a link there is no thread that could say it later."""
        closing = self._closed or not self._event_engine_runs()
        reason = _("程序正在关闭，未发送") if closing else _("尚未连接，未发送；请先连接{}").format(self.gateway_name)
        order.status = Status.REJECTED
        order.extra = {"reason": reason}
        self.on_order(order)
        line = _("委托{}被拒绝：{}").format(order.orderid, reason)
        self.log(line)
        if closing:
            logger.bind(gateway_name=self.gateway_name).warning(line)
        return order.vt_orderid

    def cancel_order(self, req: CancelRequest) -> None:
        """Ask for an order's cancel; returns at once. Without a connection it goes out when there is one again."""
        link = self._link
        if link is None:
            self.log(_("尚未连接，无法撤销委托{}；请先连接{}").format(req.orderid, self.gateway_name))
        else:
            ask = CancelOrder(self.gateway_name, req.orderid, req.symbol, req.exchange.name)
            link.room.cancel(self.gateway_name, ask)

    def query_account(self) -> None:
        """Let the server read the funds soon."""
        self._query(Query(self.gateway_name, "account"))

    def query_position(self) -> None:
        """Let the server read the positions soon."""
        self._query(Query(self.gateway_name, "position"))

    def _query(self, ask: Query) -> None:
        link = self._link
        if link is None:
            return

        def send() -> None:
            try:
                link.queries.ask(ask, lambda answer: link.queries.forget(answer.number))
            except ConnectionFailed:
                self.log(_("与RPC服务器没有连接；恢复后资金与持仓自动更新"))

        link.queries.post(send)

    def query_history(self, req: HistoryRequest) -> list[BarData]:
        """Return bars as the server's gateway does, complete; the one call that blocks its caller, as long as it reads.

        Raises :class:`HistoryError` and :class:`~vnpy_brokerkit.history.StrategyInitStopped` as a local gateway does.
        """
        try:
            return self._download(req)
        except HistoryError as error:
            self.log(_("下载{}的历史数据失败：{}").format(req.vt_symbol, error.text))
            strategy = initialising_strategy()
            if strategy:
                self.log(_("策略{}的初始化已中止：没有完整的历史数据；请排除故障后重新初始化").format(strategy))
                raise StrategyInitStopped(str(error)) from error
            raise

    def _download(self, req: HistoryRequest) -> list[BarData]:
        link = self._link
        about = req.vt_symbol
        if link is None or not link.queries.up:
            raise HistoryError(_("尚未连接，请先连接{}").format(self.gateway_name), about=about)
        start, end = time_out(req.start), time_out(req.end)
        ask = History(self.gateway_name, req.symbol, req.exchange.name, start or 0.0, end, name_out(req.interval))
        answers: SimpleQueue[Answer | str] = SimpleQueue()
        numbers: list[int] = []

        def begin() -> None:
            try:
                numbers.append(link.queries.ask(ask, answers.put))
            except (ConnectionFailed, ValueError) as error:
                answers.put(str(error))

        link.queries.post(begin)
        try:
            return self._take_bars(link, answers, about)
        finally:
            link.queries.post(lambda: link.queries.forget(*numbers))

    def _take_bars(self, link: Link, answers: SimpleQueue[Answer | str], about: str) -> list[BarData]:
        epoch, heard = link.queries.epoch, monotonic()
        bars: list[BarData] = []
        part = 0
        while True:
            if self._link is not link or link.queries.epoch != epoch or monotonic() - heard > HISTORY_SILENCE_S:
                raise HistoryError(_("连接已关闭或重新建立，下载中断；请再次下载"), about=about)
            try:
                answer = answers.get(timeout=HISTORY_LOOK_S)
            except Empty:
                continue
            heard = monotonic()
            if isinstance(answer, str):
                raise HistoryError(_("与RPC服务器没有连接：{}").format(answer), about=about)
            if answer.state == FAILED:
                failure = read_failure(answer.body)
                raise HistoryError(failure.text, about=about, code=failure.code)
            if answer.state in (PART, DONE):
                if answer.part != part:
                    raise HistoryError(_("历史数据在传输中丢失了一部分；请再次下载"), about=about)
                if answer.state == DONE:
                    return bars
                part += 1
                bars += link.codec.read_bars(answer.body)

    # ------------------------------------------------------------------ the kit's side

    def canonical(self, symbol: str, exchange: Exchange) -> tuple[str, Exchange]:
        """Return the one spelling of an instrument, as the server's gateway has it; odd text comes back as it is."""
        home = SPELLINGS.get(self.gateway_name)
        if home is None:
            return symbol, exchange
        module, name = home.split(":")
        try:
            found: tuple[str, Exchange] = getattr(import_module(module), name)(symbol, exchange)
        except SymbolError:
            return symbol, exchange
        return found

    @property
    def connected(self) -> bool:
        """Whether the server answers and this engine is in step with it."""
        link = self._link
        return link is not None and link.up

    # ------------------------------------------------------------------ the link's side, in its stream's thread

    def push(self, data: BaseData) -> None:
        """Tell the engine an object."""
        if isinstance(data, TickData):
            self.on_tick(data)
        elif isinstance(data, OrderData):
            self.on_order(data)
        elif isinstance(data, TradeData):
            self.on_trade(data)
        elif isinstance(data, PositionData):
            self.on_position(data)
        elif isinstance(data, AccountData):
            self.on_account(data)
        elif isinstance(data, ContractData):
            self.on_contract(data)
        elif isinstance(data, LogData):
            self.on_log(data)

    def on_whole(self) -> None:
        """Everything that the server knows has been told, for the first time."""
        self.log(_("合约信息查询成功"))

    def log(self, text: str) -> None:
        """Write one line to vn.py's log."""
        self.write_log(text)

    def _event_engine_runs(self) -> bool:
        return bool(getattr(self.event_engine, "_active", True))
