"""A client's link to one server, which its gateways share: three threads and what they know.

The orders' courier and the queries' courier ask on a socket each, so that a long download never delays a cancel; the
stream listens. What the engine is told of orders, positions and quotes is told by the stream's thread alone.
"""

from __future__ import annotations

import threading
from copy import copy
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import ClassVar, Protocol
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

import msgspec
import zmq
from vnpy.event import EventEngine
from vnpy.trader.constant import Exchange, Status
from vnpy.trader.object import BaseData, ContractData, OrderData, TradeData

from vnpy_brokerkit.errors import ConnectionFailed
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.timing import Timing

from .codec import Codec
from .courier import Courier
from .follower import Follower
from .messages import (
    DONE,
    FAILED,
    MOST_NAMES,
    PART,
    Answer,
    Beacon,
    Failure,
    Poke,
    Quoted,
    SnapshotPart,
    Subscribe,
    TakeSnapshot,
)
from .mirror import Mirror
from .order_room import OrderRoom
from .outbox import Outbox
from .quotes import Quotes
from .sockets import Curve
from .stream import Stream
from .unreachable import Unreachable

SILENCE_S = 3.5
"""Without a beacon, which comes once a second, for so long the link counts as cut."""
ASK_AGAIN_S = 1.0
FIRST_LINE_S = 5.0
END_S = 2.0

_read_part = msgspec.msgpack.Decoder(SnapshotPart).decode
_read_quoted = msgspec.msgpack.Decoder(list[Quoted]).decode
read_failure = msgspec.msgpack.Decoder(Failure).decode


@dataclass(frozen=True)
class Server:
    """Which server, and as whom: what makes two links the same one."""

    reply: str
    publish: str
    curve: Curve | None


class Outlet(Protocol):
    """A gateway of this process: what the link tells it, in the stream's thread."""

    gateway_name: str
    event_engine: EventEngine

    def push(self, data: BaseData) -> None:
        """Tell the engine an object."""

    def on_whole(self) -> None:
        """Everything that the server knows has been told."""

    def log(self, text: str) -> None:
        """Write one line."""


class Link:
    """The gateways of one engine share a link to a server: :meth:`attach` and :meth:`detach`."""

    _links: ClassVar[dict[tuple[Server, EventEngine], Link]] = {}
    _mirrors: ClassVar[WeakKeyDictionary[EventEngine, Mirror]] = WeakKeyDictionary()
    """What each engine was told; it outlives a link."""
    _starting = threading.Lock()
    """Links begin and end one at a time; nothing else locks."""

    def __init__(self, server: Server, mirror: Mirror, zone: ZoneInfo, timing: Timing) -> None:
        self.server = server
        self.codec = Codec(zone)
        self.outbox = Outbox()
        self.mirror = mirror
        self.quotes = Quotes(mirror, self._outlet_of, self._asked_by)
        self._outlets: list[Outlet] = []
        self._whole: set[str] = set()
        """Gateways that have been told everything once."""
        self._missing: set[str] = set()
        self._wanted: dict[tuple[str, str, Exchange], str] = {}
        """What was subscribed, and under which gateway: the server's spelling, once it is known."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.room = OrderRoom(self._accept, self._reject, self._log_for, timing)
        self._unreachable = Unreachable(server.reply, server.curve is not None, self.log)
        self.orders = Courier(
            "orders",
            self._context,
            server.reply,
            server.curve,
            on_turn=self.room.on_turn,
            on_refused=self._unreachable.refused,
        )
        self.room.courier = self.orders
        self.queries = Courier(
            "queries", self._context, server.reply, server.curve, on_turn=lambda: None, on_refused=lambda _why: None
        )
        self.follower = Follower(self._ask_snapshot, self._apply, self._tell_state)
        self.stream = Stream(
            self._context,
            server.publish,
            server.curve,
            self.codec,
            self.outbox,
            on_beacon=self._on_beacon,
            on_news=self.follower.news,
            on_tick=self.quotes.tick,
            on_join=self._on_join,
            on_turn=self._on_turn,
        )
        self._parts: list[SnapshotPart] = []
        self._began = monotonic()
        self._heard = 0.0
        """When the last beacon came."""
        self._lost = False
        self._asked_quotes = 0.0

    # ------------------------------------------------------------------ sharing

    @classmethod
    def attach(cls, server: Server, outlet: Outlet, zone: ZoneInfo, timing: Timing) -> Link:
        """The engine's link to a server, with one more gateway on it."""
        with cls._starting:
            key = (server, outlet.event_engine)
            link = cls._links.get(key)
            begins = link is None
            if link is None:
                mirror = cls._mirrors.setdefault(outlet.event_engine, Mirror())
                link = cls._links[key] = cls(server, mirror, zone, timing)
            link._outlets = [*(other for other in link._outlets if other is not outlet), outlet]
            if begins:
                for thread in (link.orders, link.queries, link.stream):
                    thread.start()
            else:
                link.stream.post(partial(link._welcome, outlet))
            return link

    def detach(self, outlet: Outlet) -> None:
        """One gateway less; with the last one the link ends."""
        with self._starting:
            self._outlets = [other for other in self._outlets if other is not outlet]
            key = (self.server, outlet.event_engine)
            if self._outlets or self._links.get(key) is not self:
                return
            del self._links[key]
        for thread in (self.stream, self.queries, self.orders):
            thread.end(END_S)
        self._context.destroy(0)

    # ------------------------------------------------------------------ what gateways ask

    def subscribe(self, gateway_name: str, symbol: str, exchange: Exchange) -> None:
        """Show an instrument; it survives cuts and restarts."""
        self.stream.post(lambda: self._subscribe(gateway_name, symbol, exchange))

    @property
    def up(self) -> bool:
        """Whether the server answers and the engine is in step with it."""
        return self.orders.up and self.follower.whole and not self._lost

    # ------------------------------------------------------------------ the stream's thread

    def _subscribe(self, gateway_name: str, symbol: str, exchange: Exchange) -> None:
        wish = (gateway_name, symbol, exchange)
        self._wanted.setdefault(wish, "")
        self.stream.follow(f"{symbol}.{exchange.value}")
        self._ask_quotes([wish])
        if symbol.isdigit():
            for contract in self.mirror.numbered(symbol):
                self._subscribe(gateway_name, contract.symbol, contract.exchange)

    def _ask_quotes(self, wishes: list[tuple[str, str, Exchange]]) -> None:
        by_gateway: dict[str, list[tuple[str, str, Exchange]]] = {}
        for wish in wishes:
            by_gateway.setdefault(wish[0], []).append(wish)
        for gateway_name, several in by_gateway.items():
            for start in range(0, len(several), MOST_NAMES):
                part = several[start : start + MOST_NAMES]
                ask = Subscribe(gateway_name, [(symbol, exchange.name) for _name, symbol, exchange in part])
                self.queries.post(partial(self._send_subscribe, ask, part))

    def _send_subscribe(self, ask: Subscribe, wishes: list[tuple[str, str, Exchange]]) -> None:
        """In the queries' thread."""

        def on_answer(answer: Answer) -> None:
            self.queries.forget(answer.number)
            epoch = self.queries.epoch
            if answer.state == FAILED:
                self._log_for(ask.gateway, read_failure(answer.body).text)
                self.stream.post(lambda: self._give_up(wishes))
            else:
                quoted = _read_quoted(answer.body)
                self.stream.post(lambda: self._on_quotes(wishes, quoted, epoch))

        try:
            self.queries.ask(ask, on_answer)
        except ConnectionFailed:
            return  # asked again by and by
        except ValueError as error:
            self._log_for(ask.gateway, _("请求无效，未发送：{}").format(error))
            self.stream.post(lambda: self._give_up(wishes))

    def _on_quotes(self, wishes: list[tuple[str, str, Exchange]], quoted: list[Quoted], epoch: int) -> None:
        for wish, quote in zip(wishes, quoted, strict=True):
            self._wanted[wish] = quote.vt_symbol
            self.stream.follow(quote.vt_symbol)
            for body in quote.ticks:
                self.stream.show_last(epoch, *self.codec.read_tick(body))

    def _give_up(self, wishes: list[tuple[str, str, Exchange]]) -> None:
        """The server will not have them: they are asked for again when the link has been cut, not before."""
        for wish in wishes:
            self._wanted[wish] = self._wanted[wish] or f"{wish[1]}.{wish[2].value}"

    def _on_join(self) -> None:
        """The second port is connected, for the first time or again: what went by meanwhile is asked for."""
        self._heard = 0.0
        self._ask_quotes(list(self._wanted))

    def _on_turn(self) -> None:
        now = monotonic()
        silent = now - self._heard > SILENCE_S or not self.orders.up
        if not self._heard:
            self.queries.post(self._poke)
        self._tell_state()
        unanswered = [wish for wish, vt_symbol in self._wanted.items() if not vt_symbol]
        if unanswered and now - self._asked_quotes > ASK_AGAIN_S:
            self._asked_quotes = now
            self._ask_quotes(unanswered)
        if silent:
            self._lose()
        if not self._whole and now - self._began > FIRST_LINE_S and not self.orders.up:
            self._unreachable.silent()

    def _lose(self) -> None:
        if self._whole and not self._lost:
            self._lost = True
            self.log(_("与RPC服务器{}的连接中断，自动重连中；恢复前不能下单").format(self.server.reply))

    def _poke(self) -> None:
        """In the queries' thread."""
        try:
            self.queries.ask(Poke(), lambda answer: self.queries.forget(answer.number))
        except ConnectionFailed:
            return  # the next turn tries again

    def _on_beacon(self, beacon: Beacon) -> None:
        self._heard = monotonic()
        if beacon.epoch != self.follower.epoch:
            self._lose()  # it began anew, faster than its silence could be heard
        if self.follower.beacon(beacon):
            for outlet in self._outlets:
                if outlet.gateway_name in beacon.ready:
                    for order, epoch in self.mirror.lost_orders(outlet.gateway_name, beacon.epoch):
                        self.room.doubt(order, epoch)
                    for position in self.mirror.gone_positions(outlet.gateway_name, beacon.epoch):
                        outlet.push(position)
            self.quotes.all_told()
            self._tell_state()

    def _outlet_of(self, gateway_name: str) -> Outlet | None:
        """The gateway of this name, else the first one."""
        outlets = self._outlets
        for outlet in outlets:
            if outlet.gateway_name == gateway_name:
                return outlet
        return outlets[0] if outlets else None

    def _asked_by(self, vt_symbol: str) -> str:
        """The gateway through which a symbol was subscribed."""
        return next((wish[0] for wish, wanted in self._wanted.items() if wanted == vt_symbol), "")

    def _apply(self, data: BaseData, epoch: int) -> None:
        """Tell an object to its gateway, if that is here and does not know it."""
        for outlet in self._outlets:
            if outlet.gateway_name == data.gateway_name:
                told = self.mirror.take(data, epoch)
                if isinstance(told, (OrderData, TradeData)):
                    self.outbox.push(told.vt_orderid, partial(outlet.push, told))
                elif told is not None:
                    outlet.push(told)
                if isinstance(data, ContractData):
                    self.quotes.contract(data, here=True)
                if isinstance(told, ContractData):
                    self._follow_number(told)
                return
        if isinstance(data, ContractData):
            self.quotes.contract(data, here=False)

    def _follow_number(self, contract: ContractData) -> None:
        """A conId that somebody subscribed is this instrument."""
        number = str((contract.extra or {}).get("con_id", ""))
        for gateway_name, symbol, _exchange in list(self._wanted):
            if symbol == number:
                self._subscribe(gateway_name, contract.symbol, contract.exchange)

    def _accept(self, order: OrderData, epoch: int) -> None:
        """For any thread: the server has taken an order."""
        self.stream.post(lambda: self.mirror.expect(order, epoch))

    def _reject(self, order: OrderData, reason: str) -> None:
        """For any thread: an order did not reach the server."""
        rejected = copy(order)
        rejected.status = Status.REJECTED
        rejected.extra = {"reason": reason}
        self.stream.post(lambda: self._apply(rejected, self.follower.epoch))
        self._log_for(order.gateway_name, _("委托{}被拒绝：{}").format(order.orderid, reason))

    # ------------------------------------------------------------------ snapshots

    def _ask_snapshot(self) -> None:
        self.queries.post(self._send_snapshot)

    def _send_snapshot(self) -> None:
        """In the queries' thread."""
        self._parts = []
        try:
            number = self.queries.ask(TakeSnapshot(), lambda answer: self._on_part(answer))
        except ConnectionFailed:
            self.stream.post(self.follower.failed)
            return
        self._snapshot_number = number

    def _on_part(self, answer: Answer) -> None:
        """In the queries' thread."""
        if answer.number != self._snapshot_number:
            self.queries.forget(answer.number)  # another one was asked for since
            return
        if answer.state in (PART, DONE) and answer.part == len(self._parts):
            self._parts.append(_read_part(answer.body))
            self.stream.post(self.follower.progress)
            if answer.state == PART:
                return
            parts, self._parts = self._parts, []
            self.stream.post(lambda: self._on_snapshot(parts))
        else:
            self.stream.post(self.follower.failed)
        self.queries.forget(answer.number)

    def _on_snapshot(self, parts: list[SnapshotPart]) -> None:
        head = parts[0]
        for outlet in self._outlets:
            name = outlet.gateway_name
            if name in head.gateways:
                self._missing.discard(name)
            elif name not in self._missing:
                self._missing.add(name)
                outlet.log(_("服务器没有名为{}的接口，可用：{}").format(name, _("、").join(head.gateways)))
        rows = (self.codec.read_row(kind, row) for part in parts for kind, row in part.rows)
        self.follower.snapshot(head.epoch, head.number, rows)

    def _tell_state(self) -> None:
        """Say what a person may rely on now: everything has been told, and orders can be sent."""
        if not (self.orders.up and self.follower.whole and monotonic() - self._heard < SILENCE_S):
            return
        for outlet in self._outlets:
            if outlet.gateway_name not in self._whole | self._missing:
                self._whole.add(outlet.gateway_name)
                outlet.on_whole()
        if self._lost:
            self._lost = False
            self.log(_("已恢复与RPC服务器的连接：合约、委托、成交、持仓与资金已核对"))

    def _welcome(self, outlet: Outlet) -> None:
        """One more gateway on a link that is there, or the same once more: what it was not told is in a snapshot."""
        self._whole.discard(outlet.gateway_name)
        self.follower.renew()

    # ------------------------------------------------------------------ lines

    def log(self, text: str) -> None:
        """One line, by the gateway that was attached first."""
        for outlet in self._outlets[:1]:
            outlet.log(text)

    def _log_for(self, gateway_name: str, text: str) -> None:
        for outlet in self._outlets:
            if outlet.gateway_name == gateway_name:
                outlet.log(text)
