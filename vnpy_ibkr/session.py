"""One connect(): settings in, then connection, contracts, quotes, orders and accounts put together and kept going."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vnpy.trader.constant import Exchange
from vnpy.trader.object import BarData, HistoryRequest
from vnpy.trader.utility import TEMP_DIR

from vnpy_brokerkit import embedded, trading_hours
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, HistoryError
from vnpy_brokerkit.findings import Occasion
from vnpy_brokerkit.health import Condition, Lamp, joined
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.keepers import Gathered, Marks, Rounds, together, woken
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.routes import ROUTES_FILE
from vnpy_brokerkit.session import Session
from vnpy_brokerkit.symbols import canonical_vt
from vnpy_brokerkit.tracker import TrackedOrder
from vnpy_brokerkit.wishes import symbols_in_use

from .connection import Link
from .contracts import Contracts, Key, spelling
from .listener import Listener
from .orders import Orders
from .rights import Rights
from .rooms import Hooks, Rooms, furnish
from .settings import Settings, candidate_ports

if TYPE_CHECKING:
    from .gateway import IbkrGateway


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
        self._marks = Marks(self._clock, self._timing.position_interval)
        self._to_follow = Gathered[Key](self._timing.subscribe_gather, self._follow_gathered)
        self._rounds = Rounds(self._patience, gateway.log)
        self._first = True
        self._ready = False
        self._demanded = False
        """Somebody asked for a reconciliation."""
        self._unlearned = True
        """TWS has not yet told something of the instruments that are needed."""
        self._told_missing: set[Key] = set()
        self._unshown: dict[Key, None] = {}
        """Subscriptions with which something went wrong: they are tried again while the connection stands."""
        self._rooms: Rooms | None = None
        self._listener = Listener(
            rooms=lambda: self._rooms, on_position=self._on_position, patience=self._patience, log=gateway.log
        )
        self._rights = Rights(
            settings,
            is_up=lambda: self._rooms is not None and self._rooms.connection.up,
            is_ready=lambda: self._ready,
            account_type=lambda account: self._rooms.accounts.account_type(account) if self._rooms else "",
            log=gateway.log,
        )

    @property
    def orders(self) -> Orders | None:
        """The orders' room, once there is a connection to have orders on."""
        return self._rooms.orders if self._rooms else None

    @property
    def contracts(self) -> Contracts | None:
        """The contracts, while there is a connection to ask for more of them."""
        return self._rooms.contracts if self._rooms and self._rooms.connection.up else None

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Connect and stay connected until cancelled."""
        # The calendars take a second to load: meanwhile the simulator starts.
        calendars = asyncio.get_running_loop().run_in_executor(None, trading_hours.warm)
        try:
            host, ports = await self._find_tws()
        except BrokerError as error:
            self.failure = error.text
            self._gateway.log(error.text)
            return
        self._gateway.routes.load(TEMP_DIR / ROUTES_FILE)
        for line in self._gateway.routes.take_problems():
            self._gateway.log(line)
        await calendars
        hooks = Hooks(
            self._listener,
            self._rights,
            self._synchronise,
            self._on_down,
            self._marks.price,
            self._in_use,
            self._funds_wanted,
        )
        self._rooms = rooms = furnish(self._gateway, self._settings, hooks, self._folder, host, ports)
        keepers = (self._keep_orders, self._keep_funds, self._keep_quotes)
        tasks = [asyncio.ensure_future(rooms.connection.run())]
        tasks += [asyncio.ensure_future(keep(rooms)) for keep in keepers]
        tasks += [asyncio.ensure_future(self._marks.keep(rooms.positions.push_position))]
        await together(tasks)

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

    # ------------------------------------------------------------------ health

    def condition(self) -> Condition:
        lamp, words = self._lamp()
        rooms = self._rooms
        return Condition(
            lamp,
            words,
            heard=rooms.connection.heard if rooms else None,
            next_try=rooms.connection.next_try if rooms else None,
            subscriptions=rooms.market_data.lines_used if rooms else 0,
            subscriptions_most=rooms.market_data.lines_most if rooms else 0,
            read_only=self._settings.read_only or self._rights.locked,
            shorts=self._rights.can_short(),
            markets=self._gateway.markets(),
        )

    def _lamp(self) -> tuple[Lamp, str]:
        """The way has three parts: the socket to TWS, TWS's link to IB's servers, the data farms behind it."""
        if self._rooms is None:
            return Lamp.RECONNECTING, _("正在启动连接")
        connection = self._rooms.connection
        if connection.link is Link.DOWN:
            return Lamp.RECONNECTING, connection.problem or _("正在连接TWS")
        if connection.link is Link.STALE:
            if connection.in_reset:
                return Lamp.RESET, _("IB服务器每日重置（1100），暂停下单；通常几分钟后自动恢复")
            return Lamp.DEGRADED, _("TWS与IB服务器的链路中断（1100），暂停下单；TWS会自动重连，请检查其网络")
        if not self._ready:
            return Lamp.RECONNECTING, _("已连接TWS，正在核对委托、持仓与行情")
        blocked = "" if self._settings.read_only else self._rights.blocked()
        farms = [_("{}（{}）").format(words, name) for (_code, name), words in connection.broken_farms.items()]
        if blocked or farms:
            return Lamp.DEGRADED, joined([blocked, *farms, *([_("等待自动恢复")] if farms else [])])
        return Lamp.GOOD, ""

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
        self._to_follow.add((symbol, exchange))

    def query_account(self) -> None:
        self._funds_wanted.set()

    def query_position(self) -> None:
        self._funds_wanted.set()

    async def bars(self, request: HistoryRequest) -> list[BarData]:
        if self._rooms is None:
            raise HistoryError(_("尚未连接，无法下载历史数据"), about=request.vt_symbol)
        return await self._rooms.history.bars(request)

    def _follow_gathered(self, wanted: list[Key]) -> None:
        if self._rooms and self._rooms.connection.up and not self._first:
            self._gateway.spawn(self._show(self._rooms, wanted), "subscribe")

    async def _show(self, rooms: Rooms, wanted: list[Key]) -> None:
        try:
            await rooms.market_data.follow(wanted, show=True)
        except BrokerError as error:
            self._unshown.update(dict.fromkeys(wanted))
            if not rooms.connection.up:
                self._gateway.log(_("订阅失败，恢复连接后自动重试：{}").format(error))
            elif self._patience.may_say(f"learn-{error.about}"):
                self._gateway.log(_("查询合约失败，将自动重试：{}").format(error))
            return
        for key in wanted:
            # What was there in an earlier session is not forgotten because a resetting TWS denies it today.
            if rooms.contracts.is_missing(*key) and not rooms.contracts.seen_before(*key):
                self._gateway.subscriptions.pop(key, None)

    # ------------------------------------------------------------------ events

    def _on_position(self) -> None:
        self._funds_wanted.set()
        if self._ready and self._rooms:
            # A position that moved without an order of ours: somebody else's order was filled.
            self._rooms.orders.wanted.set()

    def _on_down(self) -> None:
        self._ready = False
        self._listener.reset()
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
            tell = first and self._patience.may_say("connected")
            self._rights.choose(rooms.connection.wire.accounts, rooms.connection.port, tell=tell)
            if self._rights.account:
                await self._gateway.open_books(self._folder, self._settings.journal_word, self._rights.account)
        self._gateway.findings.begin()
        if first and self._patience.may_say("cache"):
            await rooms.contracts.load_cache()
        rooms.orders.cancels.recall()
        await rooms.order_sync.reconcile()
        await rooms.positions.start()
        await rooms.accounts.start()
        rooms.market_data.on_link(True)
        if data_lost:
            await rooms.market_data.resubscribe()
        if first:
            self._gateway.tell_ignored(name for name in self._settings.preload if self._key_of(name) is None)
        await self._learn(rooms)
        rooms.positions.push_positions()
        self._ready = True
        self._first = False
        if first:
            self._gateway.log(_("合约信息查询成功"))
        else:
            self._gateway.log(_("已恢复：委托、成交、持仓、资金与行情订阅均已核对"))
        self._report(rooms, Occasion.CONNECT if first else Occasion.RECONNECT)
        if self._gateway.subscriptions:
            self._gateway.spawn(self._show(rooms, list(self._gateway.subscriptions)), "subscribe")

    async def _learn(self, rooms: Rooms) -> None:
        """Learn what the settings name, and follow what is at stake.

        An instrument that TWS refuses or does not answer for costs neither the others nor orders and positions: it is
        asked for again later. Raises :class:`BrokerError` where the connection is gone.
        """
        named = self._named() if self._unlearned else []
        at_stake, wire = self._at_stake(rooms), rooms.connection.wire
        self._unlearned = False
        for ask in (partial(rooms.contracts.ensure, named), partial(rooms.market_data.follow, at_stake, show=False)):
            try:
                await ask()
            except BrokerError as error:
                self._unlearned = True
                if not wire.connected:
                    raise
                if self._patience.may_say(f"learn-{error.about}"):
                    self._gateway.log(_("查询合约失败，将自动重试：{}").format(error))
        for key in named:
            if rooms.contracts.is_missing(*key) and key not in self._told_missing:
                self._told_missing.add(key)
                self._gateway.log(_("找不到合约{}.{}，请检查“预加载合约”和策略设置").format(key[0], key[1].value))

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

    def _in_use(self) -> set[Key]:
        """Symbols whose quotes are never dropped: held, working, or used by a strategy."""
        # Read anew, seldom as it is asked for: strategies are added while the connection stands.
        keys: set[Key] = {key for key in map(self._key_of, symbols_in_use(TEMP_DIR)) if key}
        keys |= {(order.symbol, order.exchange) for order in self._gateway.tracker.active()}
        if self._rooms:
            keys |= {(holding.symbol, holding.exchange) for holding in self._rooms.positions.held}
        return keys

    def _at_stake(self, rooms: Rooms) -> list[Key]:
        """What is held or ordered: its quotes are needed although nobody subscribed it."""
        keys: list[Key] = [(holding.symbol, holding.exchange) for holding in rooms.positions.held]
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
            await woken(rooms.orders.wanted, pause)
            if not self._ready or not rooms.connection.up:
                await self._clock.sleep(min(pause, 0.2))
                continue
            everything = rooms.orders.wanted.is_set() or rooms.order_sync.incomplete
            rooms.orders.wanted.clear()
            demanded, self._demanded = self._demanded, False
            reported = False
            async with self._rounds.surviving():
                self._gateway.findings.begin()
                await (rooms.order_sync.reconcile() if everything else rooms.order_sync.refresh())
                self._report(rooms, Occasion.DEMAND if demanded else Occasion.TIMER)
                reported = True
            if demanded and not reported:
                self._demanded = True  # who asked is still waiting for the report
            # However much is asked for: TWS is not to be flooded with readings.
            await self._clock.sleep(self._timing.settle_apart)

    async def _keep_funds(self, rooms: Rooms) -> None:
        """Positions and funds, soon after a change and at intervals: TWS by itself tells funds every 3 minutes."""
        while True:
            busy = bool(self._gateway.tracker.active() or rooms.positions.held)
            await woken(self._funds_wanted, self._timing.funds_poll if busy else self._timing.funds_poll_idle)
            if not self._ready or not rooms.connection.up:
                await self._clock.sleep(0.2)
                continue
            await self._clock.sleep(self._timing.after_change)
            self._funds_wanted.clear()
            async with self._rounds.surviving():
                held = [(holding.symbol, holding.exchange) for holding in rooms.positions.held]
                await rooms.market_data.follow(held, show=False)
            async with self._rounds.surviving():  # one instrument that cannot be asked for holds up no funds
                rooms.positions.push_positions()
                await rooms.accounts.refresh_funds()

    async def _keep_quotes(self, rooms: Rooms) -> None:
        """Try again what TWS could not give for the time being."""
        while True:
            await self._clock.sleep(self._timing.quotes_check)
            if self._ready and rooms.connection.up:
                async with self._rounds.surviving():
                    await rooms.positions.name_rest()
                async with self._rounds.surviving():
                    if self._unlearned:
                        await self._learn(rooms)
                    again, self._unshown = list(self._unshown), {}
                    if again:
                        await self._show(rooms, again)
                    await rooms.market_data.tend()
