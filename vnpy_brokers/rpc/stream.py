"""A client's thread on the server's second port: ticks and news, in order, to the engine."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import zmq
from vnpy.trader.object import BaseData, TickData

from .codec import Codec
from .messages import BEACON, END_OF_SYMBOL, NEWS, TICKS, Beacon
from .outbox import Outbox
from .socket_thread import TURN_S, SocketThread
from .sockets import JOINED, Curve

_read_beacon = msgspec.msgpack.Decoder(Beacon).decode


class Stream(SocketThread):
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
        super().__init__("stream", context, zmq.SUB, address, curve, on_turn)
        self._codec = codec
        self._outbox = outbox
        self._on_beacon = on_beacon
        self._on_news = on_news
        self._on_tick = on_tick
        self._on_join = on_join
        self._followed: set[str] = set()
        self._shown: dict[str, tuple[int, int, TickData]] = {}
        """By symbol: epoch and number of the last tick that was shown, and the tick."""
        self._epoch = 0
        self.missed = 0
        """Ticks that never came, as their numbers tell."""

    # ------------------------------------------------------------------ in this thread

    def follow(self, vt_symbol: str) -> None:
        """Listen to the ticks of a symbol, in the server's spelling."""
        if vt_symbol not in self._followed:
            self._socket.setsockopt(zmq.SUBSCRIBE, _topic(vt_symbol))
            self._followed.add(vt_symbol)

    def show_last(self, epoch: int, number: int, tick: TickData) -> None:
        """Take the last tick that the server has of a symbol, unless a newer one was shown already."""
        its_epoch, its_number, shown = self._shown.get(tick.vt_symbol, (0, 0, None))
        if shown is not None and ((its_epoch == epoch and number <= its_number) or tick.datetime < shown.datetime):
            return
        if shown is not None and its_epoch != epoch and tick == shown:
            return
        self._shown[tick.vt_symbol] = (epoch, number, tick)
        self._on_tick(tick)

    def _prepare(self) -> None:
        for topic in (BEACON, NEWS, *map(_topic, self._followed)):
            self._socket.setsockopt(zmq.SUBSCRIBE, topic)

    def _shake_hands(self, handshake: int) -> None:
        if handshake == JOINED:
            self._on_join()

    def _go_on(self) -> float:
        wait = self._outbox.empty()
        return TURN_S if wait is None else wait

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


def _topic(vt_symbol: str) -> bytes:
    return TICKS + vt_symbol.encode() + END_OF_SYMBOL
