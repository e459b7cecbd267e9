"""One connect(): settings in, then channels, contracts, quotes, orders and funds put together and kept going."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

from vnpy.trader.constant import Exchange
from vnpy.trader.object import BarData, HistoryRequest
from vnpy.trader.utility import TEMP_DIR

from vnpy_brokerkit import embedded, trading_hours
from vnpy_brokerkit.errors import BrokerError, HistoryError, InvalidRequest, PermissionDenied, Rejected
from vnpy_brokerkit.findings import Occasion
from vnpy_brokerkit.health import Condition, Lamp, Market
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.keepers import Gathered, together
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.routes import ROUTES_FILE
from vnpy_brokerkit.session import Session
from vnpy_brokerkit.symbols import SymbolError, canonical, canonical_vt
from vnpy_brokerkit.tracker import TrackedOrder
from vnpy_brokerkit.wishes import symbols_in_use

from .access import Access
from .accounts import ACCOUNT
from .connection import Address, Phase
from .keepers import Keepers
from .market_data import MOST_SUBSCRIBED, Key
from .orders import Orders
from .rooms import Hooks, Rooms, furnish
from .settings import Settings
from .spelling import EXCHANGE2MARKET, MARKETS
from .wire.push import BookUpdate, Damaged, OrderUpdate, PushEvent, QuoteUpdate

if TYPE_CHECKING:
    from .gateway import VbrokersGateway

SUBSCRIBE_ORDERS = "/trade/TradeSubscribe"
SILENT_AFTER = 2
"""Requests in a row without an answer after which the lamp says so."""


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
        self._keepers = Keepers(gateway, self._is_up, lambda: self._markets)
        self._to_follow = Gathered[Key](self._timing.subscribe_gather, self._follow_gathered)
        # Refused: asked for again together, however often it was refused since.
        self._refused = Gathered[Key](self._timing.quotes_check, self._follow_again)
        self._refused_to_load = Gathered[Key](self._timing.quotes_check, self._load_again)
        self._first = True
        self._unloaded: list[Key] = []
        """What must have a contract, and could not be asked for."""
        self._access = Access(settings, self._folder, self._clock, gateway.log)
        self._rooms: Rooms | None = None
        self._calendars: asyncio.Future[None] | None = None

    @property
    def orders(self) -> Orders | None:
        """The orders' room, once there is a connection to have orders on."""
        return self._rooms.orders if self._rooms else None

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Connect and stay connected until cancelled, or until only a person can help."""
        # The calendars take a second to load: meanwhile the simulator starts, and the lists are read.
        self._calendars = asyncio.get_running_loop().run_in_executor(None, trading_hours.warm)
        try:
            address = await self._find_gateway()
            self._gateway.secrets = await self._access.find()
        except BrokerError as error:
            self.failure = error.text
            self._gateway.log(error.text)
            return
        if not self._access.may_try(self._by_person):
            self.failure = _("上次登录被拒绝，为避免账户被锁定不再自动重试；请检查交易密码后手动连接")
            return
        self._gateway.routes.load(TEMP_DIR / ROUTES_FILE)
        for line in self._gateway.routes.take_problems():
            self._gateway.log(line)
        await self._gateway.open_books(self._folder, self._settings.journal_word, ACCOUNT)
        hooks = Hooks(
            access=self._access,
            keepers=self._keepers,
            synchronise=self._synchronise,
            on_push=self._on_push,
            on_push_lost=self._on_push_lost,
            denied=self._deny,
        )
        self._rooms = rooms = furnish(self._gateway, self._settings, hooks, self._markets, self._folder, address)
        works = (rooms.connection.run(), *self._keepers.tasks(rooms))
        await together([asyncio.ensure_future(work) for work in works])
        self.failure = _("交易登录被拒绝（{}），不再重试；请检查“交易密码”和“AES密钥”后重新连接").format(
            rooms.connection.problem
        )

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

    # ------------------------------------------------------------------ health

    def condition(self) -> Condition:
        lamp, words = self._lamp()
        rooms = self._rooms
        return Condition(
            lamp,
            words,
            heard=rooms.connection.heard if rooms else None,
            next_try=rooms.connection.next_try if rooms else None,
            subscriptions=rooms.market_data.subscribed if rooms else 0,
            subscriptions_most=MOST_SUBSCRIBED,
            read_only=self._settings.read_only,
            shorts=self._gateway.shorts,
            markets=tuple(Market(code, _(MARKETS[code].name), self._cancellable(code)) for code in self._markets),
        )

    def _lamp(self) -> tuple[Lamp, str]:
        """Two channels, HTTP and push: one of them alone is less than both, and the words say which is missing."""
        if self._rooms is None:
            return Lamp.RECONNECTING, _("正在启动连接")
        connection = self._rooms.connection
        if connection.phase is Phase.UP:
            if not connection.settled:
                return Lamp.RECONNECTING, _("已登录，正在核对委托、持仓与行情")
            if connection.unanswered >= SILENT_AFTER:
                return Lamp.DEGRADED, _("HTTP通道没有可用的应答（{}）；将自动重试").format(connection.silence)
            if not connection.push_up:
                return Lamp.DEGRADED, _("推送通道中断，改用轮询；请确认“推送端口”，将自动重连")
            denied = [_(MARKETS[code].name) for code in self._settings.markets if code not in self._markets]
            if denied:
                text = _("账户没有{}权限，已停用；请开通后重新连接，或修改“市场”设置")
                return Lamp.DEGRADED, text.format(_("、").join(denied))
            return Lamp.GOOD, ""
        why = connection.problem
        if not why:
            return Lamp.RECONNECTING, _("正在登录OpenAPI Gateway")
        if connection.push_up:
            return Lamp.DEGRADED, _("HTTP通道中断（{}），推送通道正常；不能下单和撤单，将自动重连").format(why)
        return Lamp.RECONNECTING, _("HTTP与推送通道均中断（{}）；请确认Gateway已启动并登录，将自动重连").format(why)

    def _cancellable(self, code: str) -> int:
        """How many orders a 全撤 of a market means."""
        return sum(
            EXCHANGE2MARKET[order.exchange].code == code and (not order.external or self._settings.cancel_external)
            for order in self._gateway.tracker.active()
            if order.exchange in EXCHANGE2MARKET
        )

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
        self._to_follow.add((symbol, exchange))

    def query_account(self) -> None:
        self._keepers.funds_wanted.set()

    def query_position(self) -> None:
        self._keepers.funds_wanted.set()

    async def bars(self, request: HistoryRequest) -> list[BarData]:
        if self._rooms is None:
            raise HistoryError(_("尚未连接，无法下载历史数据"), about=request.vt_symbol)
        return await self._rooms.history.bars(request)

    def reconcile_soon(self) -> None:
        if self._rooms:
            self._keepers.ask(self._rooms)

    def _follow_gathered(self, wanted: list[Key]) -> None:
        self._gateway.spawn(self._follow_shown(wanted), "subscribe")

    async def _follow_shown(self, wanted: list[Key]) -> None:
        # Not connected: they are in gateway.subscriptions, and the synchronisation takes them up.
        if self._rooms and self._is_up():
            await self._show(self._rooms, wanted)

    def _follow_again(self, keys: list[Key]) -> None:
        for key in keys:
            if key in self._gateway.subscriptions:
                self._to_follow.add(key)

    async def _show(self, rooms: Rooms, wanted: list[Key]) -> None:
        served = []
        for key in wanted:
            try:
                canonical(*key)
            except SymbolError as error:  # one bad code in a request costs the Gateway's whole answer
                self._gateway.subscriptions.pop(key, None)
                self._gateway.log(str(error))
                continue
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
            if self._patience.may_say("subscribe"):
                self._gateway.log(_("订阅失败，将自动重试：{}").format(error))
            # A connection that was lost takes them up when it is back; a refusal leaves it standing.
            for key in served:
                self._refused.add(key)
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

    def _deny(self, market: str, error: PermissionDenied) -> None:
        """1006: this account has no such market. It is left out from now on."""
        if market in self._markets:
            self._markets.remove(market)
            self._gateway.log(
                _("账户没有{}权限（{}），已停用该市场；开通后请重新连接").format(_(MARKETS[market].name), error.text)
            )

    # ------------------------------------------------------------------ keeping current

    async def _synchronise(self) -> None:
        """After a login or a gap: order pushes on, then orders, fills, positions, funds, quotes.

        Of a long day the newest page is read here, and what works; the rest follows while orders may be sent.
        """
        rooms = self._rooms
        if rooms is None:
            return
        first = self._first
        await rooms.connection.read(SUBSCRIBE_ORDERS, {})
        if first and self._patience.may_say("login"):
            self._gateway.log(_("OpenAPI Gateway登录成功（{}）").format(self._settings.environment))
            await rooms.contracts.load_cache()
        self._keepers.begin(Occasion.CONNECT if first else Occasion.RECONNECT, rooms)
        shown = list(self._gateway.subscriptions)
        # The lists are read at a slow rate, which quotes need not wait for.
        quotes = asyncio.create_task(self._quote_again(rooms, shown))
        try:
            await rooms.order_sync.reconcile()
            self._keepers.funds_wanted.clear()  # whatever has changed by now is read here
            await rooms.positions.read()
            await rooms.accounts.read()
            await quotes
        finally:
            quotes.cancel()
            await asyncio.wait({quotes})
        await self._load(rooms, self._needed(rooms, first))
        rooms.checks.ready.set()
        self._first = False
        if first:
            self._gateway.log(_("合约信息查询成功"))
        else:
            self._gateway.log(_("已恢复：委托、成交、持仓、资金与行情订阅均已核对"))
        self._keepers.close_round(rooms)
        late = [key for key in self._gateway.subscriptions if key not in shown]
        if late:
            self._gateway.spawn(self._show(rooms, late), "subscribe")

    async def _quote_again(self, rooms: Rooms, shown: list[Key]) -> None:
        """Quotes of what was followed before, and of what is to be shown."""
        if self._calendars:
            await asyncio.shield(self._calendars)
        await rooms.market_data.resubscribe()
        if shown:
            await self._show(rooms, shown)

    async def _load(self, rooms: Rooms, keys: list[Key]) -> None:
        """Follow what must have a contract. A Gateway that answers, and refuses quotes, may still take orders."""
        self._unloaded = keys
        try:
            await rooms.market_data.follow(keys, show=False)
            if self._unloaded is keys:
                self._unloaded = []
        except (InvalidRequest, Rejected) as error:
            if self._patience.may_say("load"):
                self._gateway.log(_("行情查询被拒绝，将自动重试：{}").format(error))
            for key in keys:
                self._refused_to_load.add(key)
        rooms.positions.push_positions()

    def _load_again(self, _keys: list[Key]) -> None:
        # Not connected: the next synchronisation takes them up.
        if self._rooms and self._is_up() and self._unloaded:
            self._gateway.spawn(self._load_quietly(self._rooms), "load")

    async def _load_quietly(self, rooms: Rooms) -> None:
        try:
            await self._load(rooms, self._unloaded)
        except BrokerError:  # a connection that is lost says so itself
            for key in self._unloaded:
                self._refused_to_load.add(key)

    def _needed(self, rooms: Rooms, first: bool) -> list[Key]:
        """What must have a contract although nobody subscribed it: held, working, preloaded, used by strategies."""
        keys = [*self._unloaded]
        keys += [(holding.symbol, holding.exchange) for holding in rooms.positions.held]
        keys += [(order.symbol, order.exchange) for order in self._gateway.tracker.active()]
        if first:
            preload = {name: self._key_of(name) for name in self._settings.preload}
            self._gateway.tell_ignored(name for name, key in preload.items() if key is None)
            named = (*preload.values(), *map(self._key_of, symbols_in_use(TEMP_DIR)))
            keys += [key for key in named if key]
        wanted = [key for key in keys if key[1] in EXCHANGE2MARKET]
        return [key for key in wanted if EXCHANGE2MARKET[key[1]].code in self._markets]

    def _key_of(self, vt_symbol: str) -> Key | None:
        """An instrument as a person wrote it; ``None`` for what is none of ours: another gateway's, or odd text."""
        with contextlib.suppress(SymbolError):
            symbol, _dot, exchange = canonical_vt(vt_symbol).rpartition(".")
            market = EXCHANGE2MARKET.get(Exchange(exchange))
            if market and market.code in self._settings.markets:
                return symbol, Exchange(exchange)
        return None

    def _is_up(self) -> bool:
        return self._rooms is not None and self._rooms.connection.phase is Phase.UP and not self._first
