"""One connect(): settings in, then channels, contracts, quotes, orders and funds put together and kept going."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vnpy.trader.constant import Exchange
from vnpy.trader.object import TickData
from vnpy.trader.utility import TEMP_DIR

from vnpy_brokerkit import embedded, trading_hours
from vnpy_brokerkit.contract_cache import ContractCache
from vnpy_brokerkit.errors import BrokerError, PermissionDenied
from vnpy_brokerkit.guard import load_limits
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.session import Session
from vnpy_brokerkit.symbols import SymbolError, canonical_vt
from vnpy_brokerkit.tracker import TrackedOrder
from vnpy_brokerkit.waiting import within
from vnpy_brokerkit.wishes import symbols_in_use

from .access import Access
from .accounts import ACCOUNT, Accounts
from .connection import Address, Connection, Phase
from .contracts import EXCHANGE2MARKET, MARKETS, Contracts
from .market_data import Key, MarketData
from .order_checks import OrderChecks
from .order_sync import OrderSync
from .orders import Orders
from .settings import Settings
from .wire.push import BookUpdate, Damaged, OrderUpdate, PushEvent, QuoteUpdate

if TYPE_CHECKING:
    from .gateway import VbrokersGateway

SUBSCRIBE_ORDERS = "/trade/TradeSubscribe"
SIMULATED_PREFIX = "SIM-"
ROUTES_FILE = "broker_routes.json"


@dataclass(frozen=True)
class Rooms:
    """What works together behind one connection."""

    connection: Connection
    contracts: Contracts
    market_data: MarketData
    accounts: Accounts
    checks: OrderChecks
    orders: Orders
    order_sync: OrderSync


class VbrokersSession(Session):
    """The rooms of one connection and the tasks that keep them current. Lives in the gateway's loop thread."""

    def __init__(self, gateway: VbrokersGateway, settings: Settings, by_person: bool) -> None:
        super().__init__(gateway)
        self._gateway = gateway
        self._settings = settings
        self._by_person = by_person
        self._clock = gateway.clock
        self._timing = gateway.timing
        self._folder: Path = embedded.temporary_folder() if settings.embedded else TEMP_DIR
        self._owner = f"{gateway.gateway_name}-{id(gateway)}"
        self._markets = list(settings.markets)
        self._patience = Patience(self._timing.repeat_line, self._clock)
        self._patience_with_push = Patience(self._timing.push_patience, self._clock)
        self._funds_wanted = asyncio.Event()
        self._marks_wanted = asyncio.Event()
        self._to_mark: set[str] = set()
        self._to_follow: dict[Key, None] = {}
        self._first = True
        self._access = Access(settings, self._folder, self._clock, gateway.log)
        self._rooms: Rooms | None = None

    @property
    def orders(self) -> Orders | None:
        """The orders' room, once there is a connection to have orders on."""
        return self._rooms.orders if self._rooms else None

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Connect and stay connected until cancelled, or until only a person can help."""
        # The calendars take a second to load: meanwhile the simulator starts.
        calendars = asyncio.get_running_loop().run_in_executor(None, trading_hours.warm)
        try:
            address = await self._find_gateway()
            self._gateway.secrets = await self._access.find()
        except BrokerError as error:
            self._gateway.log(error.text)
            return
        if not self._access.may_try(self._by_person):
            return
        self._gateway.routes.load(TEMP_DIR / ROUTES_FILE)
        for line in self._gateway.routes.take_problems():
            self._gateway.log(line)
        await calendars
        await self._gateway.open_books(self._folder, self._settings.journal_word, ACCOUNT)
        self._rooms = rooms = self._furnish(address)
        keepers = (self._keep_orders, self._keep_funds, self._keep_quotes, self._keep_marks)
        tasks = [asyncio.ensure_future(rooms.connection.run())]
        tasks += [asyncio.ensure_future(keep(rooms)) for keep in keepers]
        try:
            done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.cancelled():
                    raise RuntimeError(_("内部任务中断"))
                task.result()  # a keeper never ends by itself: what broke it is told by who started us
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def release(self) -> None:
        """Close the sockets, and let go of the embedded simulator."""
        if self._rooms:
            await self._rooms.connection.close()
        if self._settings.embedded:
            await asyncio.get_running_loop().run_in_executor(None, embedded.SIMULATOR.release, self._owner)

    async def _find_gateway(self) -> Address:
        if not self._settings.embedded:
            self._warn_of_remote()
            return Address(self._settings.host, self._settings.port, self._settings.host, self._settings.push_port)
        self._gateway.log(_("启动内置模拟：账户与成交均为模拟；CTA数据和录制的行情与实盘共用"))
        ends = await asyncio.get_running_loop().run_in_executor(None, embedded.SIMULATOR.acquire, self._owner)
        return Address(ends.vbrokers.host, ends.vbrokers.port, ends.push.host, ends.push.port)

    def _warn_of_remote(self) -> None:
        host = self._settings.host
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host).is_loopback:
                return
        if host != "localhost":
            self._gateway.log(
                _("警告：地址{}不是本机，请求以明文HTTP传输且密码只用公开密钥加密；请仅在可信网络中使用").format(host)
            )

    def _furnish(self, address: Address) -> Rooms:
        gateway, settings = self._gateway, self._settings
        limits, problem = load_limits(TEMP_DIR)
        if problem:
            gateway.log(problem)
        connection = Connection(
            address,
            cipher=self._access.cipher,
            probe_market=settings.markets[0],
            clock=self._clock,
            timing=self._timing,
            list_rate=limits.list_reads_per_second,
            log=gateway.log,
            on_up=self._synchronise,
            on_push=self._on_push,
            on_push_lost=self._on_push_lost,
            on_refused_login=self._access.refused,
            on_good_login=self._access.accepted,
        )
        contracts = Contracts(
            read=connection.read,
            clock=self._clock,
            cache=ContractCache(self._folder, gateway.gateway_name),
            gateway_name=gateway.gateway_name,
            on_contract=gateway.push_contract,
            log=gateway.log,
        )
        market_data = MarketData(
            read=connection.read,
            contracts=contracts,
            clock=self._clock,
            timing=self._timing,
            zone=gateway.zone,
            gateway_name=gateway.gateway_name,
            synthetic_percent=limits.synthetic_limit_percent,
            on_tick=self._on_tick,
            on_price=self._on_price,
            log=gateway.log,
        )
        accounts = Accounts(
            read_list=connection.read_list,
            markets=lambda: self._markets,
            board=market_data.board,
            gateway_name=gateway.gateway_name,
            account_prefix=SIMULATED_PREFIX if settings.embedded else "",
            shown=gateway.shown_positions,
            on_account=gateway.on_account,
            on_position=gateway.on_position,
            denied=self._deny,
            log=gateway.log,
        )
        checks = OrderChecks(
            settings=settings,
            markets=lambda: self._markets,
            market_data=market_data,
            guard=gateway.guarded_by(limits),
            clock=self._clock,
            timing=self._timing,
            log=gateway.log,
        )
        orders = Orders(
            gateway,
            checks=checks,
            settings=settings,
            mutate=connection.mutate,
            learn_name=contracts.learn_name,
            denied=self._deny,
            clock=self._clock,
            timing=self._timing,
            on_change=lambda market: self._funds_wanted.set(),
        )
        order_sync = OrderSync(
            orders,
            gateway,
            read_list=connection.read_list,
            markets=lambda: self._markets,
            learn_name=contracts.learn_name,
            denied=self._deny,
            clock=self._clock,
            timing=self._timing,
        )
        return Rooms(connection, contracts, market_data, accounts, checks, orders, order_sync)

    # ------------------------------------------------------------------ vn.py's requests

    async def place(self, order: TrackedOrder) -> None:
        if self.orders is None:
            self._gateway.refuse(order, _("连接尚未就绪，未发送；请等待连接完成"))
        else:
            await self.orders.place(order)

    async def cancel(self, orderid: str) -> None:
        if self.orders:
            await self.orders.cancel(orderid)
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

    def _follow_gathered(self) -> None:
        wanted, self._to_follow = list(self._to_follow), {}
        self._gateway.spawn(self._follow_shown(wanted), "subscribe")

    async def _follow_shown(self, wanted: list[Key]) -> None:
        # Not connected: they are in gateway.subscriptions, and the synchronisation takes them up.
        if self._rooms and self._is_up(self._rooms):
            await self._show(self._rooms, wanted)

    async def _show(self, rooms: Rooms, wanted: list[Key]) -> None:
        served = []
        for key in wanted:
            market = EXCHANGE2MARKET.get(key[1])
            if market is None or market.code not in self._settings.markets:
                self._gateway.subscriptions.pop(key, None)
                self._gateway.log(
                    _("{}.{}不在所选市场内，无法订阅；请检查代码、交易所和“市场”设置").format(key[0], key[1].value)
                )
            else:
                served.append(key)
        try:
            await rooms.market_data.follow(served, show=True)
        except BrokerError as error:
            self._gateway.log(_("订阅失败，恢复连接后自动重试：{}").format(error))
            return
        for key in served:
            if rooms.contracts.get(*key) is None:
                self._gateway.subscriptions.pop(key, None)
        await self._clock.sleep(self._timing.book_wait)
        for key in served:
            board = rooms.market_data.board(*key)
            if board and board.pushed and not board.bids and not board.asks:
                with contextlib.suppress(BrokerError):  # depth comes by push later; the quote is there
                    await rooms.market_data.fetch_book(*key)

    # ------------------------------------------------------------------ events

    def _on_push(self, event: PushEvent) -> None:
        """One decoded frame; what goes wrong in one must not cost the others."""
        rooms = self._rooms
        if rooms is None:
            return
        try:
            if isinstance(event, QuoteUpdate):
                rooms.market_data.on_quote(event)
            elif isinstance(event, BookUpdate):
                rooms.market_data.on_book(event)
            elif isinstance(event, OrderUpdate):
                rooms.orders.on_push(event)
            elif isinstance(event, Damaged) and self._patience.may_say("damaged"):
                self._gateway.log(_("一条推送无法解析（{}），已跳过并改为查询").format(event.reason))
                rooms.orders.wanted.set()
        except Exception as error:  # noqa: BLE001  one odd frame must not end the channel; it is told
            if self._patience.may_say("push-fault"):
                self._gateway.log(_("内部错误（推送）：{!r}；请将日志反馈给开发者").format(error))
            rooms.orders.wanted.set()

    def _on_push_lost(self) -> None:
        if self._rooms:
            self._rooms.market_data.lose_push()
            self._rooms.orders.wanted.set()

    def _on_tick(self, tick: TickData) -> None:
        self._gateway.push_tick(tick)

    def _on_price(self, vt_symbol: str) -> None:
        self._to_mark.add(vt_symbol)
        self._marks_wanted.set()

    def _deny(self, market: str, error: PermissionDenied) -> None:
        """1006: this account has no such market. It is left out from now on."""
        if market in self._markets:
            self._markets.remove(market)
            self._gateway.log(
                _("账户没有{}权限（{}），已停用该市场；开通后请重新连接").format(_(MARKETS[market].name), error.text)
            )

    # ------------------------------------------------------------------ keeping current

    async def _synchronise(self) -> None:
        """After a login or a gap: order pushes on, then orders, fills, positions, funds, quotes."""
        rooms = self._rooms
        if rooms is None:
            return
        first = self._first
        await rooms.connection.read(SUBSCRIBE_ORDERS, {})
        if first and self._patience.may_say("login"):
            self._gateway.log(_("OpenAPI Gateway登录成功（{}）").format(self._settings.environment))
            rooms.contracts.load_cache()
        await rooms.order_sync.reconcile()
        await rooms.accounts.read_positions()
        await rooms.accounts.read_funds()
        await rooms.market_data.resubscribe()
        await rooms.market_data.follow(self._needed(rooms, first), show=False)
        rooms.accounts.push_positions()
        rooms.checks.ready = True
        self._first = False
        if first:
            self._gateway.log(_("合约信息查询成功"))
        else:
            self._gateway.log(_("已恢复：委托、成交、持仓、资金与行情订阅均已核对"))
        if self._gateway.subscriptions:
            self._gateway.spawn(self._show(rooms, list(self._gateway.subscriptions)), "subscribe")

    def _needed(self, rooms: Rooms, first: bool) -> list[Key]:
        """What must have a contract although nobody subscribed it: held, working, preloaded, used by strategies."""
        keys = [(holding.symbol, holding.exchange) for holding in rooms.accounts.held]
        keys += [(order.symbol, order.exchange) for order in self._gateway.tracker.active()]
        if first:
            for vt_symbol in (*self._settings.preload, *symbols_in_use(TEMP_DIR)):
                with contextlib.suppress(SymbolError):  # not an instrument of ours: another gateway's, or odd text
                    symbol, _dot, exchange = canonical_vt(vt_symbol).rpartition(".")
                    keys.append((symbol, Exchange(exchange)))
        wanted = [key for key in keys if key[1] in EXCHANGE2MARKET]
        return [key for key in wanted if EXCHANGE2MARKET[key[1]].code in self._markets]

    async def _keep_orders(self, rooms: Rooms) -> None:
        """Read the lists when something asks for it, and at intervals that follow what is at stake."""
        while True:
            await self._woken(rooms, rooms.orders.wanted, self._orders_interval(rooms))
            if not self._is_up(rooms):
                continue
            rooms.orders.wanted.clear()
            async with self._surviving():
                await rooms.order_sync.reconcile()
                await rooms.order_sync.settle_unknown()

    def _orders_interval(self, rooms: Rooms) -> float:
        if rooms.orders.has_unknown:
            return self._timing.orders_poll_alone
        if self._gateway.tracker.active():
            return self._timing.orders_poll if rooms.connection.push_up else self._timing.orders_poll_alone
        return self._timing.orders_poll_idle if rooms.connection.push_up else self._timing.orders_poll

    async def _keep_funds(self, rooms: Rooms) -> None:
        """Positions and funds: soon after a change, at intervals otherwise; this keeps the login alive, too."""
        while True:
            busy = bool(self._gateway.tracker.active() or rooms.accounts.held)
            pause = self._timing.funds_poll if busy else self._timing.funds_poll_idle
            await self._woken(rooms, self._funds_wanted, pause)
            if not self._is_up(rooms):
                continue
            await self._clock.sleep(self._timing.after_change)
            self._funds_wanted.clear()
            async with self._surviving():
                await rooms.accounts.read_positions()
                held = [(holding.symbol, holding.exchange) for holding in rooms.accounts.held]
                await rooms.market_data.follow(held, show=False)
                rooms.accounts.push_positions()
                await rooms.accounts.read_funds()

    async def _keep_quotes(self, rooms: Rooms) -> None:
        """Poll quotes where there is no push; with push, ask for what has been silent and find a push that is stuck."""
        while True:
            alone = not rooms.connection.push_up
            await self._clock.sleep(self._timing.quotes_poll if alone else self._timing.quotes_check)
            if not self._is_up(rooms):
                continue
            async with self._surviving():
                stuck = await rooms.market_data.poll(everything=not rooms.connection.push_up)
                if stuck and rooms.connection.push_up and self._patience_with_push.may_say("stuck"):
                    self._gateway.log(_("推送没有更新而行情已变化，重新连接推送"))
                    rooms.connection.drop_push()

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

    def _is_up(self, rooms: Rooms) -> bool:
        return rooms.connection.phase is Phase.UP and not self._first

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

    async def _woken(self, rooms: Rooms, event: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await within(seconds, event.wait())
        if not self._is_up(rooms):
            # Nothing to read yet; an event that stays set must not spin.
            await self._clock.sleep(min(seconds, 0.2))
