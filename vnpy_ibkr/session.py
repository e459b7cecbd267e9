"""One connect(): settings in, then connection, contracts, quotes, orders and accounts put together and kept going."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ib_async.contract import Contract
from ib_async.objects import CommissionReport, Execution
from ib_async.order import Order, OrderState
from vnpy.trader.constant import Exchange
from vnpy.trader.object import BarData, HistoryRequest
from vnpy.trader.utility import TEMP_DIR

from vnpy_brokerkit import embedded, trading_hours
from vnpy_brokerkit.contract_cache import ContractCache
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, HistoryError
from vnpy_brokerkit.findings import Occasion
from vnpy_brokerkit.guard import load_limits
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.session import Session
from vnpy_brokerkit.symbols import canonical_vt
from vnpy_brokerkit.tracker import TrackedOrder
from vnpy_brokerkit.waiting import within
from vnpy_brokerkit.wishes import symbols_in_use

from .accounts import Accounts
from .connection import Connection, Link
from .contracts import Contracts, Key, spelling
from .errors import words_for
from .executions import Executions
from .history import History
from .market_data import MarketData
from .order_checks import OrderChecks
from .order_sync import OrderSync
from .orders import Orders
from .settings import Settings, candidate_ports, interlock
from .wire.tws import OrderStatus, Wire

if TYPE_CHECKING:
    from .gateway import IbkrGateway

SIMULATED_PREFIX = "SIM-"
REFUSED_AS_INVALID = 321
ROUTES_FILE = "broker_routes.json"
CASH_KINDS = frozenset({"现金", "IRA"})
NO_SHORT_WORDS = ("IRA", "ROTH", "CASH")
"""In the broker's own name of an account's kind (section 13)."""


@dataclass(frozen=True)
class Rooms:
    """What works together behind one connection."""

    connection: Connection
    contracts: Contracts
    market_data: MarketData
    accounts: Accounts
    orders: Orders
    executions: Executions
    order_sync: OrderSync
    history: History


class IbkrSession(Session):
    """The rooms of one connection and the tasks that keep them current. Lives in the gateway's loop thread."""

    def __init__(self, gateway: IbkrGateway, settings: Settings) -> None:
        super().__init__(gateway)
        self._gateway = gateway
        self._settings = settings
        self._clock = gateway.clock
        self._timing = gateway.timing
        self._folder: Path = embedded.temporary_folder() if settings.embedded else TEMP_DIR
        self._owner = f"{gateway.gateway_name}-{id(gateway)}"
        self._patience = Patience(self._timing.repeat_line, self._clock)
        self._funds_wanted = asyncio.Event()
        self._marks_wanted = asyncio.Event()
        self._to_mark: set[str] = set()
        self._to_follow: dict[Key, None] = {}
        self._first = True
        self._ready = False
        self._demanded = False
        """Somebody asked for a reconciliation."""
        self._account = settings.account
        self._said_once: set[int] = set()
        """Codes that are told once on a connection."""
        self._locked = ""
        """Why no order may be sent on this connection, for as long as it lasts."""
        self._used = {self._key_of(name) for name in symbols_in_use(TEMP_DIR)} - {None}
        self._rooms: Rooms | None = None

    @property
    def orders(self) -> Orders | None:
        """The orders' room, once there is a connection to have orders on."""
        return self._rooms.orders if self._rooms else None

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Connect and stay connected until cancelled."""
        # The calendars take a second to load: meanwhile the simulator starts.
        calendars = asyncio.get_running_loop().run_in_executor(None, trading_hours.warm)
        try:
            host, ports = await self._find_tws()
        except BrokerError as error:
            self._gateway.log(error.text)
            return
        self._gateway.routes.load(TEMP_DIR / ROUTES_FILE)
        for line in self._gateway.routes.take_problems():
            self._gateway.log(line)
        await calendars
        self._rooms = rooms = self._furnish(host, ports)
        keepers = (self._keep_orders, self._keep_funds, self._keep_marks, self._keep_quotes)
        tasks = [asyncio.ensure_future(rooms.connection.run())]
        tasks += [asyncio.ensure_future(keep(rooms)) for keep in keepers]
        try:
            done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.cancelled():
                    raise RuntimeError("a keeper was cancelled by nobody")
                task.result()  # none of them ends by itself: what broke it is told by who started us
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def release(self) -> None:
        """Close the socket, and let go of the embedded simulator."""
        if self._rooms:
            self._rooms.market_data.close()
            await self._rooms.connection.close()
        if self._settings.embedded:
            await asyncio.get_running_loop().run_in_executor(None, embedded.SIMULATOR.release, self._owner)

    async def _find_tws(self) -> tuple[str, tuple[int, ...]]:
        if not self._settings.embedded:
            return self._settings.host, candidate_ports(self._settings)
        self._gateway.log(_("启动内置模拟：账户与成交均为模拟；CTA数据和录制的行情与实盘共用"))
        ends = await asyncio.get_running_loop().run_in_executor(None, embedded.SIMULATOR.acquire, self._owner)
        if ends.tws is None:
            raise ConnectionFailed(_("内置模拟没有提供TWS"), about="brokersim")
        return ends.tws.host, (ends.tws.port,)

    def _furnish(self, host: str, ports: tuple[int, ...]) -> Rooms:
        gateway, settings = self._gateway, self._settings
        limits, problem = load_limits(TEMP_DIR)
        if problem:
            gateway.log(problem)
        connection = Connection(
            host=host,
            ports=ports,
            client_id=settings.client_id,
            listener=self,
            clock=self._clock,
            timing=self._timing,
            log=gateway.log,
            on_up=self._synchronise,
            on_down=self._on_down,
        )

        def wire() -> Wire:
            return connection.wire

        contracts = Contracts(
            wire=wire,
            clock=self._clock,
            cache=ContractCache(self._folder, gateway.gateway_name),
            gateway_name=gateway.gateway_name,
            on_contract=gateway.push_contract,
            log=gateway.log,
        )
        market_data = MarketData(
            wire=wire,
            contracts=contracts,
            clock=self._clock,
            timing=self._timing,
            zone=gateway.zone,
            gateway_name=gateway.gateway_name,
            synthetic_percent=limits.synthetic_limit_percent,
            data_type=settings.data_type,
            on_tick=gateway.push_tick,
            on_price=self._on_price,
            log=gateway.log,
            in_use=self._in_use,
        )
        accounts = Accounts(
            wire=wire,
            contracts=contracts,
            board=market_data.board,
            gateway_name=gateway.gateway_name,
            account_prefix=SIMULATED_PREFIX if settings.embedded else "",
            trading_account=lambda: self._account,
            on_account=gateway.on_account,
            on_position=gateway.on_position,
            spawn=gateway.spawn,
            log=gateway.log,
            clock=self._clock,
        )
        checks = OrderChecks(
            settings=settings,
            blocked=self._blocked,
            account=lambda: self._account,
            can_short=self._can_short,
            contracts=contracts,
            market_data=market_data,
            accounts=accounts,
            tracker=gateway.tracker,
            guard=gateway.guarded_by(limits),
            clock=self._clock,
            timing=self._timing,
            log=gateway.log,
        )
        orders = Orders(
            gateway,
            checks=checks,
            settings=settings,
            wire=wire,
            account=lambda: self._account,
            contracts=contracts,
            clock=self._clock,
            timing=self._timing,
            on_change=self._funds_wanted.set,
        )
        history = History(
            wire=wire,
            contracts=contracts,
            clock=self._clock,
            zone=gateway.zone,
            gateway_name=gateway.gateway_name,
            adjusted=settings.forward_adjusted,
            extended=settings.extended,
        )
        executions = Executions(
            orders,
            gateway,
            contracts=contracts,
            clock=self._clock,
            timing=self._timing,
            on_change=self._funds_wanted.set,
        )
        order_sync = OrderSync(
            orders, gateway, wire=wire, account=lambda: self._account, settings=settings, clock=self._clock
        )
        return Rooms(connection, contracts, market_data, accounts, orders, executions, order_sync, history)

    # ------------------------------------------------------------------ vn.py's requests

    async def place(self, order: TrackedOrder) -> None:
        if self._rooms is None:
            self._gateway.refuse(order, _("连接尚未就绪，未发送；请等待连接完成"))
        else:
            await self._rooms.orders.place(order)

    async def cancel(self, orderid: str) -> None:
        if self._rooms:
            await self._rooms.orders.cancel(orderid)
        else:
            self._gateway.log(_("连接尚未就绪，无法撤单{}").format(orderid))

    def subscribe(self, symbol: str, exchange: Exchange) -> None:
        if not self._to_follow:
            asyncio.get_running_loop().call_later(self._timing.subscribe_gather, self._follow_gathered)
        self._to_follow[symbol, exchange] = None

    def query_account(self) -> None:
        self._funds_wanted.set()

    def query_position(self) -> None:
        self._funds_wanted.set()

    async def bars(self, request: HistoryRequest) -> list[BarData]:
        if self._rooms is None:
            raise HistoryError(_("尚未连接，无法下载历史数据"), about=request.vt_symbol)
        return await self._rooms.history.bars(request)

    def _follow_gathered(self) -> None:
        wanted, self._to_follow = list(self._to_follow), {}
        if self._rooms and self._rooms.connection.up and not self._first:
            self._gateway.spawn(self._show(self._rooms, wanted), "subscribe")

    async def _show(self, rooms: Rooms, wanted: list[Key]) -> None:
        try:
            await rooms.market_data.follow(wanted, show=True)
        except BrokerError as error:
            self._gateway.log(_("订阅失败，恢复连接后自动重试：{}").format(error))
            return
        for key in wanted:
            # What was there in an earlier session is not forgotten because a resetting TWS denies it today.
            if rooms.contracts.is_missing(*key) and not rooms.contracts.seen_before(*key):
                self._gateway.subscriptions.pop(key, None)

    # ------------------------------------------------------------------ what TWS says unasked

    def on_error(self, req_id: int, code: int, text: str, reject_json: str) -> None:
        rooms = self._rooms
        if rooms is None:
            return
        if rooms.connection.on_code(code, text):
            rooms.market_data.on_farm(code, text)
            return
        if req_id not in (0, -1) and rooms.orders.on_code(req_id, code, text, reject_json):
            return
        if code == REFUSED_AS_INVALID:
            # A read-only API refuses every list, and would say so at each reading.
            if code in self._said_once:
                return
            self._said_once.add(code)
        if self._patience.may_say(f"code-{code}-{req_id}"):
            self._gateway.log(words_for(code, text))

    def on_open_order(self, contract: Contract, order: Order, state: OrderState) -> None:
        if self._rooms:
            self._rooms.orders.on_open_order(contract, order, state)

    def on_order_status(self, status: OrderStatus) -> None:
        if self._rooms:
            self._rooms.orders.on_order_status(status)

    def on_execution(self, contract: Contract, execution: Execution, asked: bool) -> None:
        if self._rooms:
            self._rooms.executions.on_execution(contract, execution, asked)

    def on_commission(self, report: CommissionReport) -> None:
        if self._rooms:
            self._rooms.executions.on_commission(report)

    def on_account_value(self, key: str, value: str, currency: str, account: str) -> None:
        if self._rooms:
            self._rooms.accounts.on_account_value(key, value, currency, account)

    def on_position(self, account: str, contract: Contract, volume: float, cost: float) -> None:
        if self._rooms:
            self._rooms.accounts.on_position(account, contract, volume, cost)
            self._funds_wanted.set()
            if self._ready:
                # A position that moved without an order of ours: somebody else's order was filled.
                self._rooms.orders.wanted.set()

    def on_order_id(self, next_id: int) -> None:
        """ib_async keeps the counter; nothing else depends on it."""

    def on_order_bound(self, perm_id: int, client_id: int, order_id: int) -> None:
        if self._rooms:
            self._rooms.orders.on_bound(perm_id, client_id, order_id)

    def on_bad_message(self, text: str) -> None:
        if self._patience.may_say("bad-message"):
            self._gateway.log(_("一条TWS消息无法解析，已跳过：{}").format(text))
        if self._rooms:
            self._rooms.orders.wanted.set()  # it may have been news of an order

    def _on_price(self, vt_symbol: str) -> None:
        self._to_mark.add(vt_symbol)
        self._marks_wanted.set()

    def _on_down(self) -> None:
        self._ready = False
        self._said_once.clear()
        if self._rooms:
            self._rooms.market_data.on_link(False)
            self._rooms.orders.cancels.recall()
            if self._rooms.connection.link is Link.DOWN:
                self._rooms.market_data.lose()
                self._rooms.orders.lose_connection()

    # ------------------------------------------------------------------ keeping current

    async def _synchronise(self, data_lost: bool) -> None:
        """After a connect or a return of the link: account, orders, fills, positions, funds, quotes."""
        rooms = self._rooms
        if rooms is None:
            return
        first = self._first
        if data_lost:
            self._choose_account(rooms.connection.wire.accounts, rooms.connection.port, first)
            if self._account:
                await self._gateway.open_books(self._folder, self._settings.journal_word, self._account)
        self._gateway.findings.begin()
        if first and self._patience.may_say("cache"):
            rooms.contracts.load_cache()
        rooms.orders.cancels.recall()
        await rooms.order_sync.reconcile()
        await rooms.accounts.start()
        rooms.market_data.on_link(True)
        if data_lost:
            await rooms.market_data.resubscribe()
        if first:
            named = self._named()
            await rooms.contracts.ensure(named)
            for symbol, exchange in named:
                if rooms.contracts.is_missing(symbol, exchange):
                    self._gateway.log(_("找不到合约{}.{}，请检查“预加载合约”和策略设置").format(symbol, exchange.value))
        await rooms.market_data.follow(self._at_stake(rooms), show=False)
        rooms.accounts.push_positions()
        self._ready = True
        self._first = False
        if first:
            self._gateway.log(_("合约信息查询成功"))
        else:
            self._gateway.log(_("已恢复：委托、成交、持仓、资金与行情订阅均已核对"))
        self._report(rooms, Occasion.CONNECT if first else Occasion.RECONNECT)
        if self._gateway.subscriptions:
            self._gateway.spawn(self._show(rooms, list(self._gateway.subscriptions)), "subscribe")

    def _report(self, rooms: Rooms, occasion: Occasion) -> None:
        """Close a round; the log tells it when somebody waited for it or when it found something."""
        complete = not rooms.order_sync.incomplete
        report = self._gateway.findings.report(occasion, self._gateway.tracker.unknown(), complete=complete)
        if occasion is not Occasion.TIMER or report.news:
            self._gateway.log(report.line())

    def reconcile_soon(self) -> None:
        self._demanded = True
        if self._rooms:
            self._rooms.orders.wanted.set()

    def _choose_account(self, accounts: list[str], port: int, first: bool) -> None:
        """Blank and one account: that one; blank and several, or one not there: no orders (design, section 6)."""
        settings = self._settings
        listed = _("、").join(accounts)
        self._locked = ""
        if settings.account and settings.account in accounts:
            self._account = settings.account
        elif settings.account:
            self._account = settings.account
            self._locked = _("交易账户{}不在TWS的账户列表（{}）中，只读连接；请修改“交易账户”").format(
                settings.account, listed
            )
        elif len(accounts) == 1 or (settings.embedded and accounts):
            self._account = accounts[0]
        else:
            self._account = ""
            self._locked = _("TWS有多个账户（{}），未指定“交易账户”，不能下单；请在连接设置中填写其中一个").format(
                listed
            )
        self._locked = self._locked or interlock(settings, accounts, port)
        if first or self._locked:
            self._gateway.log(_("TWS连接成功（{}，端口{}，账户{}）").format(settings.environment, port, listed))
        if self._locked:
            self._gateway.log(self._locked)

    def _can_short(self) -> bool:
        """Whether the account may sell short: the stricter of the setting and of the broker's own word wins."""
        if self._settings.account_kind in CASH_KINDS:
            return False
        kind = self._rooms.accounts.account_type(self._account).upper() if self._rooms else ""
        return not any(word in kind for word in NO_SHORT_WORDS)

    def _blocked(self) -> str:
        """Why nothing may be sent now, or ``""``."""
        if self._settings.read_only:
            return _("当前为只读连接，未发送；如需交易请将“只读”设为“否”后重新连接")
        if self._locked:
            return _("未发送：{}").format(self._locked)
        if self._rooms is None or not self._rooms.connection.up:
            return _("与TWS或IB服务器的连接中断，未发送；恢复后请重新下单")
        if not self._ready:
            return _("连接尚未就绪，未发送；请等待连接完成")
        return ""

    def _in_use(self) -> set[Key]:
        """Symbols whose quotes are never dropped: held, working, or used by a strategy."""
        keys: set[Key] = {key for key in self._used if key}
        keys |= {(order.symbol, order.exchange) for order in self._gateway.tracker.active()}
        if self._rooms:
            keys |= {(holding.symbol, holding.exchange) for holding in self._rooms.accounts.held}
        return keys

    def _at_stake(self, rooms: Rooms) -> list[Key]:
        """What is held or ordered: its quotes are needed although nobody subscribed it."""
        keys: list[Key] = [(holding.symbol, holding.exchange) for holding in rooms.accounts.held]
        return keys + [(order.symbol, order.exchange) for order in self._gateway.tracker.active()]

    def _named(self) -> list[Key]:
        """What the settings and the strategies name: a contract is enough, which costs no line of market data."""
        keys = (self._key_of(name) for name in (*self._settings.preload, *symbols_in_use(TEMP_DIR)))
        return [key for key in keys if key]

    def _key_of(self, vt_symbol: str) -> Key | None:
        """An instrument as a person wrote it; ``None`` for what is none of ours."""
        try:
            symbol, _dot, exchange = vt_symbol.rpartition(".")
            if exchange not in Exchange.__members__ and exchange not in {e.value for e in Exchange}:
                symbol, _dot, exchange = canonical_vt(vt_symbol).rpartition(".")
            key = spelling(symbol, Exchange(exchange))
        except ValueError:
            return None
        return key if key[1] in self._gateway.exchanges else None

    async def _keep_orders(self, rooms: Rooms) -> None:
        """Read open orders when something asks for it, and at intervals while orders are active."""
        while True:
            busy = bool(self._gateway.tracker.active()) or rooms.order_sync.incomplete
            pause = self._timing.orders_poll if busy else self._timing.orders_poll_idle
            with contextlib.suppress(asyncio.TimeoutError):
                await within(pause, rooms.orders.wanted.wait())
            if not self._ready or not rooms.connection.up:
                await self._clock.sleep(min(pause, 0.2))
                continue
            everything = rooms.orders.wanted.is_set() or rooms.order_sync.incomplete
            rooms.orders.wanted.clear()
            occasion, self._demanded = Occasion.DEMAND if self._demanded else Occasion.TIMER, False
            async with self._surviving():
                self._gateway.findings.begin()
                await (rooms.order_sync.reconcile() if everything else rooms.order_sync.refresh())
                self._report(rooms, occasion)
            # However much is asked for: TWS is not to be flooded with readings.
            await self._clock.sleep(self._timing.settle_apart)

    async def _keep_funds(self, rooms: Rooms) -> None:
        """Positions and funds, soon after a change and at intervals: TWS by itself tells funds every 3 minutes."""
        while True:
            busy = bool(self._gateway.tracker.active() or rooms.accounts.held)
            with contextlib.suppress(asyncio.TimeoutError):
                await within(
                    self._timing.funds_poll if busy else self._timing.funds_poll_idle, self._funds_wanted.wait()
                )
            if not self._ready or not rooms.connection.up:
                await self._clock.sleep(0.2)
                continue
            await self._clock.sleep(self._timing.after_change)
            self._funds_wanted.clear()
            async with self._surviving():
                held = [(holding.symbol, holding.exchange) for holding in rooms.accounts.held]
                await rooms.market_data.follow(held, show=False)
                rooms.accounts.push_positions()
                await rooms.accounts.refresh_funds()

    async def _keep_quotes(self, rooms: Rooms) -> None:
        """Try again what TWS could not give for the time being."""
        while True:
            await self._clock.sleep(self._timing.quotes_check)
            if self._ready and rooms.connection.up:
                async with self._surviving():
                    await rooms.market_data.tend()

    async def _keep_marks(self, rooms: Rooms) -> None:
        """Mark positions at the last price, at most once per interval and never missing the last change."""
        while True:
            await self._marks_wanted.wait()
            self._marks_wanted.clear()
            marked, self._to_mark = self._to_mark, set()
            for vt_symbol in marked:
                symbol, _dot, exchange = vt_symbol.rpartition(".")
                rooms.accounts.push_position(symbol, Exchange(exchange))
            await self._clock.sleep(self._timing.position_interval)

    @contextlib.asynccontextmanager
    async def _surviving(self) -> AsyncIterator[None]:
        """A round of a keeper that fails is told once in a while; the next round comes all the same."""
        try:
            yield
        except BrokerError as error:  # the connection deals with it
            if self._patience.may_say(f"read-{error.about}"):
                self._gateway.log(_("查询失败，将自动重试：{}").format(error))
        except Exception as error:  # noqa: BLE001  a fault of ours must not end what keeps the engine current
            if self._patience.may_say(f"fault-{type(error).__name__}"):
                self._gateway.log(_("内部错误：{!r}；将自动重试，请将日志反馈给开发者").format(error))
