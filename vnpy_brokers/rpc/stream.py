"""A client's thread on the server's second port: ticks and news, in order, to the engine."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic

import msgspec
import zmq
from vnpy.trader.object import BaseData, TickData

from .codec import Codec
from .messages import BEACON, END_OF_SYMBOL, NEWS, TICKS, Beacon
from .outbox import Outbox
from .sockets import ANEW_S, FOR_GOOD, JOINED, Bell, Curve, handshakes, make_socket, watch_handshakes

TURN_MS = 250
AT_ONCE = 500
"""Messages that are taken in one turn, before calls of other threads are made."""

logger = logging.getLogger(__name__)
_read_beacon = msgspec.msgpack.Decoder(Beacon).decode


class Stream(threading.Thread):
    """Listens at ``address``; the callbacks are called in this thread."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        curve: Curve | None,
        codec: Codec,
        outbox: Outbox,
        *,
        on_beacon: Callable[[Beacon], None],
        on_news: Callable[[int, int, BaseData], None],
        on_tick: Callable[[TickData], None],
        on_join: Callable[[], None],
        on_turn: Callable[[], None],
    ) -> None:
        super().__init__(name="rpc-stream", daemon=True)
        self._context = context
        self._address = address
        self._curve = curve
        self._codec = codec
        self._outbox = outbox
        self._on_beacon = on_beacon
        self._on_news = on_news
        self._on_tick = on_tick
        self._on_join = on_join
        self._on_turn = on_turn
        self._bell = Bell()
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._socket: zmq.Socket[bytes]
        self._monitor: zmq.Socket[bytes]
        self._poller: zmq.Poller
        self._anew: float | None = None
        """When to try with a new socket."""
        self._followed: set[str] = set()
        self._shown: dict[str, tuple[int, int, TickData]] = {}
        """By symbol: epoch and number of the last tick that was shown, and the tick."""
        self._epoch = 0
        self.missed = 0
        """Ticks that never came, as their numbers tell."""
        self._ending = False
        self._turned = 0.0

    # ------------------------------------------------------------------ for any thread

    def post(self, call: Callable[[], None]) -> None:
        """Make a call in this thread, soon."""
        self._posted.put(call)
        self._bell.ring()

    def end(self, seconds: float) -> None:
        """Stop."""
        self._ending = True
        self._bell.ring()
        self.join(seconds)

    # ------------------------------------------------------------------ in this thread

    def follow(self, vt_symbol: str) -> None:
        """Listen to the ticks of a symbol, in the server's spelling."""
        if vt_symbol not in self._followed:
            self._followed.add(vt_symbol)
            self._socket.setsockopt(zmq.SUBSCRIBE, _topic(vt_symbol))

    def show_last(self, epoch: int, number: int, tick: TickData) -> None:
        """Take the last tick that the server has of a symbol, unless a newer one was shown already."""
        its_epoch, its_number, shown = self._shown.get(tick.vt_symbol, (0, 0, None))
        if shown is not None and ((its_epoch == epoch and number <= its_number) or tick.datetime < shown.datetime):
            return
        if shown is not None and its_epoch != epoch and tick == shown:
            return
        self._shown[tick.vt_symbol] = (epoch, number, tick)
        self._on_tick(tick)

    def run(self) -> None:
        self._open()
        wait: float | None = None
        while not self._ending:
            ready = {
                source for source, _event in self._poller.poll(TURN_MS if wait is None else math.ceil(wait * 1000))
            }
            if self._bell.fileno() in ready:
                self._bell.hush()
            if self._socket in ready:
                self._receive()
            self._make_calls()
            if self._monitor in ready:
                self._look_at_handshakes()
            if self._anew is not None and monotonic() >= self._anew:
                self._close()
                self._open()
            wait = self._outbox.empty()
            if monotonic() - self._turned >= TURN_MS / 1000:
                self._turned = monotonic()
                self._guarded(self._on_turn)
        self._make_calls()
        self._close()
        self._bell.close()

    def _open(self) -> None:
        self._anew = None
        self._socket = make_socket(self._context, zmq.SUB, self._curve, self._address)
        for topic in (BEACON, NEWS, *map(_topic, self._followed)):
            self._socket.setsockopt(zmq.SUBSCRIBE, topic)
        self._monitor = watch_handshakes(self._socket)
        self._socket.connect(self._address)
        self._poller = zmq.Poller()
        for watched in (self._socket, self._bell, self._monitor):
            self._poller.register(watched, zmq.POLLIN)

    def _close(self) -> None:
        self._monitor.close(0)
        self._socket.close(0)

    def _look_at_handshakes(self) -> None:
        for handshake in handshakes(self._monitor):
            if handshake == JOINED:
                self._guarded(self._on_join)
            elif handshake in FOR_GOOD:
                self._anew = monotonic() + ANEW_S

    def _make_calls(self) -> None:
        with suppress(Empty):
            while True:
                self._guarded(self._posted.get_nowait())

    def _receive(self) -> None:
        for _turn in range(AT_ONCE):
            try:
                message = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._take(message)
            except Exception:  # one bad message must not end the link; it is told in vn.py's file
                logger.exception("RPC")

    def _take(self, message: bytes) -> None:
        kind = message[:1]
        if kind == TICKS:
            self._take_tick(memoryview(message)[message.index(END_OF_SYMBOL) + 1 :])
        elif kind == NEWS:
            self._on_news(*self._codec.read_news(memoryview(message)[1:]))
        elif kind == BEACON:
            beacon = _read_beacon(memoryview(message)[1:])
            self._epoch = beacon.epoch
            self._on_beacon(beacon)

    def _take_tick(self, body: memoryview) -> None:
        number, tick = self._codec.read_tick(body)
        vt_symbol = tick.vt_symbol
        epoch = self._epoch
        before = self._shown.get(vt_symbol)
        if before is not None:
            if before[0] == epoch:
                if number <= before[1]:
                    return  # shown already, as the last one
                self.missed += number - before[1] - 1
            elif tick.datetime < before[2].datetime:
                return  # time only moves forward: a server that began anew tells an old quote again
        self._shown[vt_symbol] = (epoch, number, tick)
        self._on_tick(tick)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # as in _receive
            logger.exception("RPC")


def _topic(vt_symbol: str) -> bytes:
    return TICKS + vt_symbol.encode() + END_OF_SYMBOL
