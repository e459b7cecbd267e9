"""One engine's life on the model broker: the real rooms of the VBrokers plugin, its journal, and what keeps them going.

The connection is told here in a few lines, as ``connection.py`` and ``session.py`` have it; everything between it and
vn.py is the product's own.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from vnpy.trader.constant import Direction, Exchange, OrderType

from tests.model_loop import LoopClock, VirtualLoop, until_first
from tests.model_outlet import Outlet
from tests.model_vb_broker import Ears, VbBroker
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, PermissionDenied, UnknownOutcome
from vnpy_brokerkit.findings import Occasion
from vnpy_brokerkit.refusal import Refusal
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.tracker import TrackedOrder, plain_text
from vnpy_vbrokers.gateway import VbrokersGateway
from vnpy_vbrokers.keepers import Keepers
from vnpy_vbrokers.order_checks import OrderChecks
from vnpy_vbrokers.order_sync import OrderSync
from vnpy_vbrokers.orders import Orders
from vnpy_vbrokers.rooms import Rooms
from vnpy_vbrokers.settings import Settings, read_settings
from vnpy_vbrokers.spelling import EXCHANGE2MARKET, to_code
from vnpy_vbrokers.wire.push import OrderUpdate

NAME = "VBROKERS"
MARKETS = ("P", "K")
TIMING = Timing()


def settings() -> Settings:
    return read_settings({"环境": "测试环境", "交易密码": "x", "市场": "港股+美股"}, {})


SETTINGS = settings()


def listed_since(exchange: Exchange, now: datetime) -> datetime:
    """The gateway's own answer, which needs nothing of a gateway."""
    return VbrokersGateway.listed_since(cast("VbrokersGateway", None), exchange, now)


class Checks:
    """Every order may go out, once its quote is there; ``local`` is for the broker's truth alone."""

    def __init__(self, clock: LoopClock, quotes: dict[str, float]) -> None:
        self._clock = clock
        self._quotes = quotes
        self.ready = False

    async def prepare(self, order: TrackedOrder) -> dict[str, Any]:
        if not self.ready:
            raise Refusal("not ready")
        if wait := self._quotes.get(order.orderid):
            await self._clock.sleep(wait)
        if self._clock.monotonic() - order.born > TIMING.order_max_age:
            raise Refusal("too old")
        market = EXCHANGE2MARKET[order.exchange].code
        limit = order.type is OrderType.LIMIT
        return {
            "exchangeType": market,
            "stockCode": to_code(order.symbol, order.exchange),
            "entrustAmount": plain_text(order.volume),
            "entrustPrice": plain_text(order.price) if limit else "0",
            "entrustBs": "1" if order.direction is Direction.LONG else "2",
            "entrustType": "5" if not limit else ("3" if market == "P" else "2"),
            "local": order.orderid,
        }


class Markets:
    """Whatever is ordered is followed."""

    async def follow(self, keys: list[tuple[str, Exchange]], *, show: bool) -> None:
        """There are no quotes here."""


class Session:
    """The rooms of one connect()."""

    def __init__(self, engine: VbEngine) -> None:
        self.checks = Checks(engine.clock, engine.quotes)
        self.orders, sync = engine.furnish(self)
        rooms = SimpleNamespace(
            connection=engine.broker, market_data=Markets(), orders=self.orders, order_sync=sync, checks=self.checks
        )
        self.rooms = cast("Rooms", rooms)
        gateway = cast("VbrokersGateway", engine.outlet)
        self.keepers = Keepers(gateway, lambda: self.up and not self.first, lambda: list(MARKETS))
        self.up = False
        self.first = True
        self.over = False
        self.lost = asyncio.Event()
        self.restore = asyncio.Event()


class VbEngine(Ears):
    """From the start of a process to its end."""

    orders_class: type[Orders] = Orders
    sync_class: type[OrderSync] = OrderSync

    def __init__(self, loop: VirtualLoop, clock: LoopClock, broker: VbBroker, folder: Path) -> None:
        self.loop = loop
        self.clock = clock
        self.broker = broker
        self.folder = folder
        self.outlet = Outlet(NAME, loop, clock, TIMING, folder, listed_since)
        self.quotes: dict[str, float] = {}
        """Seconds that the quote of an order takes, by local id."""
        self.session: Session | None = None
        self._runner: asyncio.Task[None] | None = None

    def furnish(self, session: Session) -> tuple[Orders, OrderSync]:
        async def mutate(route: str, params: dict[str, Any]) -> Any:
            return await self._mutate(session, route, params)

        def denied(market: str, error: PermissionDenied) -> None:
            raise AssertionError("nothing is denied here")

        common: dict[str, Any] = {
            "learn_name": lambda symbol, exchange, name: None,
            "denied": denied,
            "clock": self.clock,
            "timing": TIMING,
        }
        orders = self.orders_class(
            self.outlet,
            checks=cast("OrderChecks", session.checks),
            settings=SETTINGS,
            mutate=mutate,
            on_change=lambda market: None,
            **common,
        )
        sync = self.sync_class(
            orders, self.outlet, read_list=self.broker.read_list, markets=lambda: list(MARKETS), **common
        )
        return orders, sync

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        self.broker.ears = self
        self._runner = self.outlet.spawn(self._run(), "session")

    async def _run(self) -> None:
        await self.outlet.books.open(self.folder, "model", NAME)
        self.session = session = Session(self)
        await until_first(self._connection(session), session.keepers._keep_orders(session.rooms))

    async def renew(self) -> None:
        """connect() again: what is on its way is waited for, then everything but the tracker is made anew."""
        if self.outlet.mutations:
            await asyncio.wait(set(self.outlet.mutations), timeout=TIMING.close_answers)
        if self._runner:
            self._runner.cancel()
            await asyncio.wait({self._runner})
        if self.session:
            self.session.up, self.session.over = False, True
        self.session = None
        self.start()

    async def kill(self, spare: set[asyncio.Task[Any]], to: Path) -> None:
        self.broker.ears = None
        await self.outlet.kill(spare, to)

    async def close(self) -> None:
        """A clean end."""
        if self._runner:
            self._runner.cancel()
            await asyncio.wait({self._runner})
        await self.outlet.books.close()

    async def _connection(self, session: Session) -> None:
        while True:
            if self.broker.up:
                session.lost.clear()
                session.restore.clear()
                session.up = True
                try:
                    await self._synchronise(session)
                except BrokerError:
                    session.up = False
                else:
                    await until_first(session.restore.wait(), session.lost.wait())
                    if not session.lost.is_set():
                        continue
            session.up = False
            await self.clock.sleep(TIMING.reconnect)

    async def _synchronise(self, session: Session) -> None:
        rooms = session.rooms
        session.keepers.begin(Occasion.CONNECT if session.first else Occasion.RECONNECT, rooms)
        await rooms.order_sync.reconcile()
        session.checks.ready = True
        session.first = False
        session.keepers.close_round(rooms)

    # ------------------------------------------------------------------ the connection's news

    async def _mutate(self, session: Session, route: str, params: dict[str, Any]) -> Any:
        if self.outlet.deaf:
            raise asyncio.CancelledError
        if not session.up or session.over:
            raise ConnectionFailed("not connected", about=route)
        try:
            return await self.broker.mutate(route, params)
        except ConnectionFailed:
            session.lost.set()
            raise
        except UnknownOutcome:
            session.restore.set()
            raise

    def on_push(self, update: OrderUpdate) -> None:
        if self.session:
            try:
                self.session.orders.on_push(update)
            except Exception as error:  # noqa: BLE001  told as the session tells it, and judged by its line
                self.outlet.log(f"内部错误（推送）：{error!r}")
                self.session.orders.wanted.set()

    def on_cut(self) -> None:
        if self.session:
            self.session.lost.set()

    def on_push_lost(self) -> None:
        if self.session:
            self.session.orders.wanted.set()

    def on_push_back(self) -> None:
        if self.session:
            self.session.restore.set()

    # ------------------------------------------------------------------ what vn.py calls

    def place(self, order: TrackedOrder) -> None:
        if self.session is None:
            self.outlet.refuse(order, "not connected")
        else:
            self.outlet.mutate(self.session.orders.place(order), "order")

    def cancel(self, orderid: str) -> None:
        if self.session:
            self.outlet.mutate(self.session.orders.cancel(orderid), "cancel")

    def cancel_all(self, market: str) -> None:
        if self.session:
            self.outlet.mutate(self.session.orders.cancel_all(market), "cancel all")
