"""The server's second port: news and ticks to whoever subscribed them. Lives in vn.py's event thread.

The socket is opened before the first event and closed after the last; in between only the event thread touches it, so
that the numbers, the snapshots and the order of events are one thing. What other threads want of it comes as an event.

Subscriptions are taken one by one (``XPUB_MANUAL``): only topics of ours are, and the empty one of vn.py's own client
becomes a topic of its own. So ticks that nobody subscribed are not even encoded, and pickles are made only where
somebody wants them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from time import monotonic

import zmq
from vnpy.event import EVENT_TIMER, Event, EventEngine
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import (
    EVENT_ACCOUNT,
    EVENT_CONTRACT,
    EVENT_LOG,
    EVENT_ORDER,
    EVENT_POSITION,
    EVENT_TICK,
    EVENT_TRADE,
)
from vnpy.trader.object import BaseData, TickData

from vnpy_brokerkit.async_gateway import AsyncGateway

from .codec import Codec, encode
from .messages import BEACON, END_OF_SYMBOL, MOST_TOPIC_BYTES, NEWS, TICKS, Beacon

EVENT_RPC = "eBrokersRpc"
"""Its data is a call to be made in the event thread."""
LOOK_EVERY_S = 0.1
"""How often new subscriptions are looked for while ticks go out."""
MOST_TOPICS = 50_000
SAME_LINE_S = 60.0

logger = logging.getLogger(__name__)


class Publisher:
    """Publishes an engine's events on ``socket``, an XPUB that is bound already."""

    def __init__(
        self,
        main_engine: MainEngine,
        socket: zmq.Socket[bytes],
        codec: Codec,
        epoch: int,
        *,
        on_plain_subscriber: Callable[[bool], None],
        admits_plain: bool,
    ) -> None:
        self._main_engine = main_engine
        self._events: EventEngine = main_engine.event_engine
        self._socket = socket
        self._codec = codec
        self.epoch = epoch
        self.number = 0
        """Of the last news."""
        self.ready: set[str] = set()
        """Gateways that have read their broker's lists."""
        self._ready_soon: set[str] = set()
        self._wanted: Counter[str] = Counter()
        """How many clients subscribed a symbol's ticks."""
        self._numbers: Counter[str] = Counter()
        """Of the last tick of each symbol."""
        self._on_plain_subscriber = on_plain_subscriber
        self._admits_plain = admits_plain
        self._plain = 0
        self._looked = 0.0
        self._told = 0.0

    def register(self) -> None:
        """Begin to publish."""
        for event_type in (EVENT_ORDER, EVENT_TRADE, EVENT_POSITION, EVENT_ACCOUNT, EVENT_CONTRACT, EVENT_LOG):
            self._events.register(event_type, self._on_news)
        self._events.register(EVENT_TICK, self._on_tick)
        self._events.register(EVENT_TIMER, self._on_timer)
        self._events.register(EVENT_RPC, self._on_call)

    # ------------------------------------------------------------------ for any thread

    def call(self, what: Callable[[], None]) -> None:
        """Make a call in the event thread, after the events that are there already."""
        self._events.put(Event(EVENT_RPC, what))

    # ------------------------------------------------------------------ in the event thread

    def poke(self) -> None:
        """Take new subscriptions and publish the beacon."""
        self.look()
        beacon = Beacon(self.epoch, self.number, sorted(self.ready))
        self._socket.send(BEACON + encode(beacon), zmq.NOBLOCK)

    def tick_number(self, vt_symbol: str) -> int:
        """The number of the last tick of a symbol."""
        return self._numbers[vt_symbol]

    def publish_plain(self, frames: list[bytes]) -> None:
        """Publish to vn.py's own clients."""
        self._socket.send_multipart(frames, zmq.NOBLOCK)

    def _on_tick(self, event: Event) -> None:
        tick: TickData = event.data
        try:
            vt_symbol = tick.vt_symbol
            number = self._numbers[vt_symbol] = self._numbers[vt_symbol] + 1
            if monotonic() - self._looked > LOOK_EVERY_S:
                self.look()
            if vt_symbol in self._wanted:
                body = self._codec.tick(number, tick)
                self._socket.send(TICKS + vt_symbol.encode() + END_OF_SYMBOL + body, zmq.NOBLOCK)
        except Exception as error:  # noqa: BLE001  an exception would end vn.py's event thread (trap 1); it is told
            self._tell(tick, error)

    def _on_news(self, event: Event) -> None:
        data: BaseData = event.data
        try:
            body = self._codec.news(self.epoch, self.number + 1, data)
            self.number += 1
            self._socket.send(NEWS + body, zmq.NOBLOCK)
            if event.type == EVENT_LOG:
                self._look_at_gateways()
        except Exception as error:  # noqa: BLE001  as above
            self._tell(data, error)

    def _on_timer(self, event: Event) -> None:
        try:
            self._look_at_gateways()
            self.poke()
        except Exception as error:  # noqa: BLE001  as above
            self._tell(event, error)

    def _on_call(self, event: Event) -> None:
        try:
            event.data()
        except Exception as error:  # noqa: BLE001  as above
            self._tell(event.data, error)

    def _tell(self, about: object, error: Exception) -> None:
        if monotonic() - self._told > SAME_LINE_S:
            self._told = monotonic()
            # Not by vn.py's log: that is an event, which would be published, and fail again.
            logger.error("RPC: %s could not be published: %r", type(about).__name__, error)

    def _look_at_gateways(self) -> None:
        """Find out whose broker's lists have been read, once what was told of them before is published."""
        for name, gateway in self._main_engine.gateways.items():
            if name in self._ready_soon or (isinstance(gateway, AsyncGateway) and gateway.findings.last is None):
                continue
            # What it told is in the queue already, and this comes behind.
            self._ready_soon.add(name)
            self.call(lambda name=name: self._be_ready(name))  # type: ignore[misc]  # mypy can't type the default

    def _be_ready(self, name: str) -> None:
        self.ready.add(name)
        self.poke()

    # ------------------------------------------------------------------ subscriptions

    def look(self) -> None:
        """Take new subscriptions."""
        self._looked = monotonic()
        while True:
            try:
                message = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if message[:1] in (b"\x00", b"\x01"):
                self._take(message[1:], message[:1] == b"\x01")

    def _take(self, topic: bytes, wanted: bool) -> None:
        """What is set here holds for the client whose message was read last."""
        for mine in self._topics(topic):
            self._socket.setsockopt(zmq.SUBSCRIBE if wanted else zmq.UNSUBSCRIBE, mine)
        if topic[:1] == TICKS:
            self._count(topic[1:-1].decode("utf-8", "replace"), 1 if wanted else -1)
        elif not topic and self._admits_plain:
            self._plain = max(0, self._plain + (1 if wanted else -1))
            self._on_plain_subscriber(self._plain > 0)

    def _topics(self, topic: bytes) -> list[bytes]:
        """What a client gets that asks for a topic."""
        if topic in (BEACON, NEWS):
            return [topic]
        if topic[:1] == TICKS and topic[-1:] == END_OF_SYMBOL and len(topic) <= MOST_TOPIC_BYTES:
            known = topic[1:-1].decode("utf-8", "replace") in self._wanted
            return [topic] if known or len(self._wanted) < MOST_TOPICS else []
        if not topic and self._admits_plain:
            return [PLAIN_NEWS, PLAIN_HEARTBEAT]
        return []

    def _count(self, vt_symbol: str, change: int) -> None:
        if change > 0 and (vt_symbol in self._wanted or len(self._wanted) < MOST_TOPICS):
            self._wanted[vt_symbol] += 1
        elif change < 0 and vt_symbol in self._wanted:
            self._wanted[vt_symbol] -= 1
            if self._wanted[vt_symbol] <= 0:
                del self._wanted[vt_symbol]


PLAIN_NEWS = b"vnpy"
"""Under which vn.py's own clients get everything; they look at the topic only for their heartbeat."""
PLAIN_HEARTBEAT = b"heartbeat"
