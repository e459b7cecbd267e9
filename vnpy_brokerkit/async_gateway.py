"""The only bridge between vn.py's threads and a gateway's loop thread (design, section 3).

vn.py calls a gateway from up to five threads. Each gateway has one thread with one asyncio loop, and everything that
changes lives there. Calls go in by ``call_soon_threadsafe`` and return at once; results come out as vn.py events.
Nothing locks, the first start of the thread aside. What a plugin writes is a
:class:`~vnpy_brokerkit.session.Session`: the async life of one ``connect()``.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from abc import abstractmethod
from collections.abc import Callable, Collection, Coroutine, Iterable
from concurrent.futures import Future
from copy import copy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from vnpy.event import EventEngine
from vnpy.trader.constant import Exchange, OrderType, Status
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.logger import logger
from vnpy.trader.object import (
    BarData,
    CancelRequest,
    ContractData,
    HistoryRequest,
    OrderRequest,
    PositionData,
    SubscribeRequest,
    TickData,
)
from vnpy.trader.utility import TEMP_DIR, get_file_path

from .books import Books
from .clock import Clock, SystemClock
from .credentials import mask
from .fetching import fetch
from .findings import Findings
from .guard import Guard, Limits, load_limits, malformed, unfit
from .health import Condition, Health, Latencies, Pulse
from .history import Parts, note_gateway
from .i18n import _
from .identity import OrderIds
from .journal import Journal
from .journal_reader import JournalRow, Standing, newest
from .latch import person_connects
from .leftover import tell_leftover
from .lifecycle import Happening
from .loop_thread import LoopThread
from .refusal import Refusal
from .routes import registry_for
from .seat import Seat
from .session import Session
from .settings import PASSWORD_KEYS
from .settings_file import protect
from .timing import Timing
from .tracker import Fill, OrderTracker, TrackedOrder, exact, plain
from .underway import Underway
from .young_orders import YoungOrders


def database_zone() -> ZoneInfo:
    """Return the one zone in which every datetime on the engine is: vn.py's database zone."""
    from vnpy.trader.database import DB_TZ

    return DB_TZ


class AsyncGateway(BaseGateway):
    """Base of both gateways: vn.py's contract on the outside, one loop thread inside.

    ``clock`` and ``timing`` are handed in by tests; vn.py itself passes the engine and a name only.
    """

    shorts = True
    """Whether the broker lets anybody go short at all."""

    def __init__(
        self,
        event_engine: EventEngine,
        gateway_name: str,
        *,
        clock: Clock | None = None,
        timing: Timing | None = None,
    ) -> None:
        super().__init__(event_engine, gateway_name)
        self.clock: Clock = clock or SystemClock()
        self.timing = timing or Timing()
        self.zone = database_zone()
        self.ids = OrderIds(gateway_name, self.clock.now())
        self.tracker = OrderTracker(gateway_name)
        self.routes = registry_for(event_engine)
        self.routes.add(gateway_name, self.exchanges, self.serves)
        self.connects = 0
        """How often connect() was called in this process."""
        self.embedded = False
        """Whether the session trades on the embedded simulator."""
        self._seat = Seat(self.spawn, self.log)
        self._young = YoungOrders(self.clock, self.timing.return_grace)
        self.guard = Guard(Limits())
        """One for the gateway's life, so that a reconnect lifts no limit."""
        self._world = ""
        self._books = Books(self)
        self.findings = Findings(gateway_name, self.clock)
        """What the present reconciliation found, and the reports of the earlier ones."""
        self.subscriptions: dict[tuple[str, Exchange], None] = {}
        """What was subscribed, in order; it outlives a session."""
        self.kept_bars = Parts(self.clock)
        """What failed downloads have read; it outlives a session."""
        self.shown_positions: dict[str, PositionData] = {}
        """What the engine was last told of each position held; it outlives a session, for what went flat in between."""
        self.secrets: list[str] = []
        """Texts that must never be seen: scrubbed out of every line that leaves."""
        self._thread = LoopThread(gateway_name, self._tell_fault, self._begin)
        self._underway = Underway()
        self.latencies = Latencies(self.clock)
        """Round trips of requests; it outlives a session."""
        self._pulse = Pulse(self)
        note_gateway(self)

    # ------------------------------------------------------------------ vn.py's side, any thread

    def connect(self, setting: dict[str, Any]) -> None:
        """Connect with these settings; returns at once. Called again, it closes and connects anew.

        Who calls it may have written the settings to VN Trader's file: the password is taken out of that here, before
        anything else can fail.
        """
        problem = protect(get_file_path(f"connect_{self.gateway_name.lower()}.json"), PASSWORD_KEYS)
        if problem:
            self.log(problem)
        self.connects += 1
        self._thread.closing = False
        # Asked in the caller's thread: only there can an open connect dialog be seen.
        self.post(self._reconnect, dict(setting), person_connects(self.connects))

    def subscribe(self, req: SubscribeRequest) -> None:
        """Show an instrument, in any spelling; returns at once, and survives reconnects."""
        self.post(self._subscribe, req)

    def send_order(self, req: OrderRequest) -> str:
        """Take an order and return its vt_orderid at once; it goes out from the loop thread.

        No I/O, no lock, no waiting. Only SUBMITTING is pushed from here: refusals, too, come from a later turn of the
        loop, so that the caller knows the id before the first word about it (reference "vnpy-engine", trap 4).
        """
        return self.send_order_as(req, self.ids.next())

    def send_order_as(self, req: OrderRequest, orderid: str) -> str:
        """The same under an id that another process gave out, of the shape and as unique as ``identity`` has it."""
        order = req.create_order_data(orderid, self.gateway_name)
        now = self.clock.now()
        order.datetime = now.astimezone(self.zone)
        order.status = Status.SUBMITTING
        # The engine's own copy of the request: callers keep and change theirs.
        request = copy(req)
        if request.type is OrderType.MARKET:
            request.price = 0.0  # what a caller wrote is neither sent nor the price of anything
        order.price, order.volume = plain(exact(request.price)), plain(exact(req.volume))
        order.reference = request.reference = "" if req.reference is None else str(req.reference)
        order.symbol, order.exchange = self.canonical(req.symbol, req.exchange)
        order.__post_init__()
        self.on_order(order)
        self.post(self._take_order, orderid, request, now, self.clock.monotonic())
        return order.vt_orderid

    def knows_order(self, orderid: str, answer: Callable[[bool | None], None]) -> None:
        """Tell whether an order of this id was ever taken, by this process or an earlier one; returns at once.

        ``answer`` is called once from the loop thread, with None while the journal that would tell is not open. How an
        order of an earlier process has ended is news to who asks: it is shown then.
        """

        def look() -> None:
            order = self.tracker.get(orderid)
            if order is not None and not order.shown and not order.active:
                self.push_order(order)
            known = order is not None or orderid in self._books.shown_as_foreign
            answer(known if known or self.journal is not None else None)

        self.post(look)

    def cancel_order(self, req: CancelRequest) -> None:
        """Ask for an order's cancel; returns at once."""
        self.post(self._cancel_order, req.orderid)

    def query_account(self) -> None:
        """Read the funds soon."""
        self.post(self._query, "query_account")

    def query_position(self) -> None:
        """Read the positions soon."""
        self.post(self._query, "query_position")

    def health(self) -> Health:
        """Return how the gateway is, at most about a second old. Never waits."""
        return self._pulse.now()

    def stop_orders(self, on: bool) -> None:
        """The kill switch: refuse every new order, in words, until it is taken back; cancels go on.

        It holds at once, also for orders that wait to be sent, and over reconnects; not over a restart of the process.
        """
        # The one flag that other threads set: it must also hold for what a busy loop has not come to yet.
        if self.guard.stopped is not on:
            self.guard.stopped = on
            self.log(_("紧急停止已启用：拒绝一切新委托，撤单照常") if on else _("紧急停止已解除：可以下单"))

    def read_journal(
        self, search: str = "", limit: int = 500, standings: Collection[Standing] = ()
    ) -> Future[list[JournalRow]] | None:
        """Return the newest entries of the order journal in which a text occurs, newest first, when they are read.

        So do those that stand as one of ``standings``, the words for which only a page knows.
        ``None`` while no journal is open. A journal of any length holds up neither the caller nor an order.
        """
        journal = self.journal
        return self._thread.submit(newest(journal, search, limit, standings)) if journal else None

    def query_history(self, req: HistoryRequest) -> list[BarData]:
        """Return the bars that start from ``start`` to ``end``, complete; the one call that blocks its caller.

        It takes as long as there is progress. Only whole bars come, stamped with their start; without data in that time
        the list is empty. Raises :class:`HistoryError`, and writes its line to the log, whenever the whole cannot be
        had: vn.py's apps would go on with a part, or with what an earlier day left in the database. What was read
        until then is kept, and the next call goes on from there. Where one of vn.py's apps is initialising a strategy
        it raises :class:`~vnpy_brokerkit.history.StrategyInitStopped` instead.
        """
        return fetch(self, self._thread, req)

    def close(self) -> None:
        """End everything: queued cancels first, then sockets, child and thread. 5 s at most; may be called twice."""
        self._thread.closing = True
        self._thread.end(self._shut_down, self.timing.close_most)
        self._pulse.end()

    # ------------------------------------------------------------------ what a plugin provides

    @staticmethod
    def serves(vt_symbol: str) -> bool:
        """Tell by its canonical vt_symbol whether an instrument can be one of this gateway's."""
        return True

    @abstractmethod
    def cancel_all(self, market: str | Exchange = "") -> None:
        """Cancel this gateway's working orders, of one market (a key of ``health().markets``) or of all, at once."""

    @abstractmethod
    def listed_since(self, exchange: Exchange, now: datetime) -> datetime:
        """Return the instant since which the broker's lists tell the fills of an exchange to a new process."""

    @abstractmethod
    def open_session(self, setting: dict[str, Any], by_person: bool) -> Session:
        """Make the session of one connect(); raise :class:`BrokerError` with one clear line where that can't be.

        ``by_person`` tells a connect() that a person made from one that a service makes when it starts.
        """

    @abstractmethod
    def canonical(self, symbol: str, exchange: Exchange) -> tuple[str, Exchange]:
        """Return the one spelling of an instrument; odd text comes back as it is."""

    # ------------------------------------------------------------------ the loop's side

    def push_order(self, order: TrackedOrder) -> None:
        """Tell the engine an order as it now is."""
        data = self.tracker.order_data(order)
        data.datetime = order.time.astimezone(self.zone)
        order.shown = True
        if not order.active:
            self._underway.ended(order.orderid)
        self._books.follow(order)
        self._young.tell(None if order.external else order.born, lambda: self.on_order(data))

    def push_trade(self, order: TrackedOrder, fill: Fill) -> None:
        """Tell the engine a fill that was counted."""
        if not order.shown:
            self.push_order(order)
        data = self.tracker.trade_data(order, fill)
        data.datetime = fill.time.astimezone(self.zone)
        self._books.fill(order, fill)
        self._young.tell(None if order.external else order.born, lambda: self.on_trade(data))

    async def intend(self, order: TrackedOrder) -> None:
        """Put an order on disk that is about to be sent; raise :class:`Refusal` where that can't be done."""
        await self._books.intend(order)
        if stopped := self.guard.stop_reason():  # pulled while the checks and the disk took their time
            raise Refusal(stopped)

    def note(self, order: TrackedOrder) -> None:
        """Put on disk where an order stands, though nothing changed that vn.py sees."""
        self._books.follow(order)

    def know_foreign(self, broker_id: str) -> None:
        """Put on disk that an order at the broker is none of ours."""
        self._books.know_foreign(broker_id)

    def is_foreign(self, broker_id: str) -> bool:
        """Tell whether an earlier process knew that an order at the broker was none of ours."""
        return self._books.is_foreign(broker_id)

    async def open_books(self, folder: Path, environment: str, account: str) -> None:
        """Open the journal of this environment and account, and take up what an earlier process left in it."""
        await self._books.open(folder, environment, account)

    @property
    def session(self) -> Session | None:
        """What the last connect() made, while it stands."""
        return self._seat.session

    @property
    def journal(self) -> Journal | None:
        """The order journal, while it is open; to be read only."""
        return self._books.journal

    def reconcile(self) -> None:
        """Compare everything with the broker soon, and report; returns at once."""
        self.post(self._query, "reconcile_soon")

    def push_contract(self, contract: ContractData) -> None:
        """Tell the engine a contract, if this gateway owns its vt_symbol (design, section 5)."""
        if self.owns(contract.vt_symbol):
            self.on_contract(copy(contract))

    def push_tick(self, tick: TickData) -> None:
        """Tell the engine a tick, if this gateway owns its vt_symbol."""
        if self.owns(tick.vt_symbol):
            self.on_tick(tick)

    def owns(self, vt_symbol: str) -> bool:
        """Tell whether this gateway's contract and ticks of an instrument reach the engine."""
        return self.routes.owner(vt_symbol) == self.gateway_name

    def enter(self, world: str) -> None:
        """Begin to trade in this world: another broker's truth, whose orders must not be mixed with those of before."""
        if self._world and self._world != world:
            self.tracker = OrderTracker(self.gateway_name)
            self.kept_bars = Parts(self.clock)
            self._books.leave()
        self._world = world

    def read_limits(self) -> Limits:
        """Read the file of limits anew and put the guard under them; what is wrong with the file is told."""
        limits, problem = load_limits(TEMP_DIR)
        if problem:
            self.log(problem)
        self.guard.limits = limits
        return limits

    def log(self, text: str) -> None:
        """Write one line to vn.py's log, without the secrets."""
        self.write_log(mask(text, *self.secrets))

    def tell_ignored(self, preload: Iterable[str]) -> None:
        """Write one line on what 预加载合约 names and this gateway has not, if there is anything."""
        names = _("、").join(preload)
        if names:
            self.log(_("“预加载合约”中的{}不是{}的合约，已忽略；请检查代码和交易所").format(names, self.gateway_name))

    def refuse(self, order: TrackedOrder, reason: str) -> None:
        """Close an order that did not leave, in words."""
        reason = mask(reason, *self.secrets)
        self.tracker.happen(order, Happening.REFUSED, reason)
        self.push_order(order)
        self.log(_("委托{}被拒绝：{}").format(order.orderid, reason))

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start a task that belongs to the loop; what it throws becomes one line and ends nothing else."""
        return self._thread.spawn(work, name)

    def _mutate(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        self._underway.add(self.spawn(work, name))

    def _tell_fault(self, error: BaseException) -> None:
        self.log(_("内部错误：{!r}；请将日志反馈给开发者").format(error))
        self.log_trace(error)

    def log_trace(self, error: BaseException) -> None:
        """Write a traceback at debug level: as plain text, since loguru's own shows the values of variables."""
        trace = mask("".join(traceback.format_exception(error)), *self.secrets)
        logger.bind(gateway_name=self.gateway_name).debug("{}", trace)

    async def _reconnect_now(self, setting: dict[str, Any], by_person: bool) -> None:
        async def leave() -> bool:
            await self._end_session()
            return not self._thread.closing

        await self._seat.give(lambda: self.open_session(setting, by_person), leave=leave)
        self._pulse.beat()

    def _reconnect(self, setting: dict[str, Any], by_person: bool) -> None:
        self.spawn(self._reconnect_now(setting, by_person), "connect")

    def _subscribe(self, req: SubscribeRequest) -> None:
        key = self.canonical(req.symbol, req.exchange)
        self.subscriptions[key] = None
        if self.session:
            self.session.subscribe(*key)
        else:
            self.log(_("尚未连接，{}将在连接{}后自动订阅").format(req.vt_symbol, self.gateway_name))

    def _take_order(self, orderid: str, request: OrderRequest, time: datetime, born: float) -> None:
        symbol, exchange = self.canonical(request.symbol, request.exchange)
        request.symbol, request.exchange = symbol, exchange
        if odd := malformed(request):
            self._refuse_malformed(orderid, request, time, born, odd)
            return
        order = self.tracker.take(orderid, request, time, born)
        if self._thread.closing or not self.event_engine_runs():
            self.refuse(order, _("程序正在关闭，未发送"))
        elif stopped := self.guard.stop_reason():
            self.refuse(order, stopped)
        elif odd := unfit(order.vt_symbol, order.type, order.price, order.volume):
            self.refuse(order, odd)
        elif self.session is None:
            self.refuse(order, _("尚未连接，未发送；请先连接{}").format(self.gateway_name))
        elif self.clock.monotonic() - born > self.timing.order_max_age:
            self.refuse(order, _("等待发送超过{:g}秒，价格可能已过时，未发送").format(self.timing.order_max_age))
        else:
            self._mutate(self.session.place(order), "order")

    def _refuse_malformed(self, orderid: str, request: OrderRequest, time: datetime, born: float, reason: str) -> None:
        """What is no order can be neither tracked nor written down; its caller still hears how it ended."""
        data = request.create_order_data(orderid, self.gateway_name)
        data.status, data.datetime = Status.REJECTED, time.astimezone(self.zone)
        data.price, data.volume = plain(exact(request.price)), plain(exact(request.volume))
        data.extra = {"broker_id": "", "external": False, "reason": reason}
        self._young.tell(born, lambda: self.on_order(data))
        self.log(_("委托{}被拒绝：{}").format(orderid, reason))

    def condition(self) -> Condition:
        """Say how the session and its channels are; for the loop thread."""
        return self._seat.condition(shorts=self.shorts)

    def wall(self, monotonic: float) -> datetime:
        """Return the instant of a second of the monotonic clock, in vn.py's zone."""
        ago = timedelta(seconds=self.clock.monotonic() - monotonic)
        return (self.clock.now() - ago).astimezone(self.zone)

    def _query(self, what: str) -> None:
        if self.session:
            getattr(self.session, what)()

    def _cancel_order(self, orderid: str) -> None:
        if self.session:
            order = self.tracker.get(orderid)
            if order and order.active:
                self._underway.cancelling(orderid)
            self._mutate(self.session.cancel(orderid), "cancel")
        else:
            self.log(_("尚未连接，无法撤销委托{}；请先连接{}").format(orderid, self.gateway_name))

    def post(self, call: Callable[..., object], *args: object) -> None:
        """Hand a call to the loop thread, which the first one starts; returns at once."""
        self._thread.post(call, *args)

    def event_engine_runs(self) -> bool:
        """Tell whether vn.py still handles events: while it ends, the event engine stops before the gateways do."""
        return bool(getattr(self.event_engine, "_active", True))

    # ------------------------------------------------------------------ beginning and end

    def _begin(self) -> None:
        """A loop has begun; what waits belongs to one loop."""
        self._seat.begin()
        self._underway = Underway()
        self._pulse.beat()

    async def _end_session(self) -> None:
        await self._underway.answers(self.timing.close_answers)
        await self._seat.leave()

    async def _shut_down(self, done: threading.Event) -> None:
        try:
            await self._underway.ends(self.tracker, self.timing.close_answers)
            tell_leftover(self.gateway_name, map(self.tracker.order_data, self.tracker.active()))
            await self._end_session()
            await self._books.close()
        finally:
            done.set()
